"""System 5 through a whole node: the scenarios that CAMARA publishes for one-time-password-sms, each by its id."""
import json
import re
import uuid

import pytest

from node import Node, http

CODES = "ONE_TIME_PASSWORD_SMS."
MESSAGE = "{{code}} is your code"
CORRELATOR = "b4333c46-49c0-4f62-80d7-f0ef930f1c46"
UNKNOWN_TOKENS = ("demo-token-of-old", "x", "demo-toke", "demo-tokenn")


class Caller:
    """Of one node: send-code and validate-code as the published background sets them up."""

    def __init__(self, node):
        self.node = node
        self.last = 66812350000

    def number(self, ending=None):
        """A phone number of which nothing was asked yet; the sandbox goes by the last four digits."""
        self.last += 1
        return "+%d" % self.last if ending is None else "+6681%03d%s" % (self.last % 1000, ending)

    def post(self, call, body, token="demo-token", correlator=CORRELATOR):
        """(status, JSON or None, headers); body is sent as it is when it is bytes or None."""
        headers = {"Content-Type": "application/json"}
        if token is not None:
            headers["Authorization"] = "Bearer " + token
        if correlator is not None:
            headers["x-correlator"] = correlator
        if isinstance(body, dict):
            body = json.dumps(body).encode()
        status, text, headers = http(self.node.gateway + "/one-time-password-sms/v1/" + call, method="POST",
                                     body=body, headers=headers)
        if correlator is not None:
            assert headers["x-correlator"] == correlator
        return status, json.loads(text) if text else None, headers

    def send(self, number=None, message=MESSAGE, **more):
        return self.post("send-code", {"phoneNumber": number or self.number(), "message": message}, **more)

    def validate(self, authentication_id, code, **more):
        return self.post("validate-code", {"authenticationId": authentication_id, "code": code}, **more)

    def sent(self):
        """(authenticationId, code) of a message that has arrived."""
        number = self.number()
        status, answer, _ = self.send(number)
        assert status == 200, answer
        return answer["authenticationId"], self.node.inbox(number[1:])[0]["otp"]

    def refused(self, answered, status, code):
        got, body, headers = answered
        assert (got, headers["Content-Type"]) == (status, "application/json")
        assert (body["status"], body["code"]) == (status, code), body
        assert re.match(r"[a-z_]+: \w", body["message"]), body
        return body


@pytest.fixture(scope="module")
def caller():
    with Node() as node:
        yield Caller(node)


def test_OTPvalidationAPI_01_send_code_success_scenario(caller):
    number = caller.number()
    status, answer, headers = caller.send(number, "Ihr Code für heute: {{code}}")
    assert (status, headers["Content-Type"], list(answer)) == (200, "application/json", ["authenticationId"])
    assert 0 < len(answer["authenticationId"]) <= 36
    arrived = caller.node.inbox(number[1:])[0]
    assert arrived["text"] == "Ihr Code für heute: " + arrived["otp"]


def test_OTPvalidationAPI_02_send_code_success_scenario_without_x_correlator(caller):
    status, answer, headers = caller.send(correlator=None)
    assert status == 200 and list(answer) == ["authenticationId"]
    assert uuid.UUID(headers["x-correlator"]).version == 4


def test_OTPvalidationAPI_400_1_send_code_no_request_body(caller):
    caller.refused(caller.post("send-code", None), 400, "INVALID_ARGUMENT")


def test_OTPvalidationAPI_400_2_send_code_empty_request_body(caller):
    caller.refused(caller.post("send-code", {}), 400, "INVALID_ARGUMENT")


def test_OTPvalidationAPI_400_4_send_code_incorrect_phone_number_request_body(caller):
    caller.refused(caller.send("3301"), 400, "INVALID_ARGUMENT")
    # as published in form, and nobody's
    caller.refused(caller.send("+66123"), 400, "INVALID_ARGUMENT")
    caller.refused(caller.send("+669999999999999"), 400, "INVALID_ARGUMENT")


def test_OTPvalidationAPI_400_5_send_code_missing_message(caller):
    for body in ({}, {"message": None}, {"message": ""}):
        caller.refused(caller.post("send-code", dict(body, phoneNumber=caller.number())), 400, "INVALID_ARGUMENT")


def test_OTPvalidationAPI_400_6_send_code_missing_code_request_body(caller):
    caller.refused(caller.send(message="message without code"), 400, "INVALID_ARGUMENT")


def test_OTPvalidationAPI_400_7_send_code_message_too_long(caller):
    longest = "{{code}}" + "é" * 152
    assert caller.send(message=longest)[0] == 200
    caller.refused(caller.send(message=longest + "é"), 400, "INVALID_ARGUMENT")


def test_OTPvalidationAPI_401_1_send_code_no_authorization_header(caller):
    caller.refused(caller.send(token=None), 401, "UNAUTHENTICATED")


def test_OTPvalidationAPI_401_2_send_code_expired_access_token(caller):
    """Tokens of otpq end by being taken out of the records."""
    for token in UNKNOWN_TOKENS:
        caller.refused(caller.send(token=token), 401, "UNAUTHENTICATED")


def test_OTPvalidationAPI_401_3_send_code_invalid_access_token(caller):
    for token in ("", " ", "demo-token demo-token", "%", "é"):
        caller.refused(caller.send(token=token), 401, "UNAUTHENTICATED")


def test_OTPvalidationAPI_03_send_code_max_otp_code(caller):
    number = caller.number()
    assert caller.send(number)[0] == 200
    answer = caller.refused(caller.send(number), 403, CODES + "MAX_OTP_CODES_EXCEEDED")
    assert 0 < answer["retry_after"] <= 30
    assert len(caller.node.inbox(number[1:])) == 1


def test_OTPvalidationAPI_04_send_code_phone_number_not_allowed(caller):
    caller.refused(caller.send(caller.number("9003")), 403, CODES + "PHONE_NUMBER_NOT_ALLOWED")


def test_OTPvalidationAPI_05_send_code_phone_number_not_allowed_3(caller):
    """A landline: nobody is called for it."""
    caller.refused(caller.send("+6621234567"), 403, CODES + "PHONE_NUMBER_NOT_ALLOWED")
    assert caller.node.ledger("6621234567")["sends"] == 0


def test_OTPvalidationAPI_06_send_code_phone_number_blocked(caller):
    caller.refused(caller.send(caller.number("9004")), 403, CODES + "PHONE_NUMBER_BLOCKED")


def test_OTPvalidationAPI_404_1_send_code_phone_number_not_belong_to_operator(caller):
    caller.refused(caller.send(caller.number("9000")), 404, "NOT_FOUND")


def test_OTPvalidationAPI_01_validate_code_success_scenario(caller):
    authentication_id, code = caller.sent()
    status, answer, headers = caller.validate(authentication_id, code)
    assert (status, answer, headers.get("Content-Length", "0")) == (204, None, "0")


def test_OTPvalidationAPI_02_validate_code_success_scenario_without_x_correlator(caller):
    authentication_id, code = caller.sent()
    status, _, headers = caller.validate(authentication_id, code, correlator=None)
    assert status == 204 and uuid.UUID(headers["x-correlator"]).version == 4


def test_OTPvalidationAPI_400_1_validate_code_no_request_body(caller):
    caller.refused(caller.post("validate-code", None), 400, "INVALID_ARGUMENT")


def test_OTPvalidationAPI_400_2_validate_code_empty_request_body(caller):
    caller.refused(caller.post("validate-code", {}), 400, "INVALID_ARGUMENT")


def test_OTPvalidationAPI_400_3_validate_code_missing_authenticationId(caller):
    for body in ({"code": "1234"}, {"code": "1234", "authenticationId": None}):
        caller.refused(caller.post("validate-code", body), 400, "INVALID_ARGUMENT")


def test_OTPvalidationAPI_400_3_validate_code_missing_code(caller):
    authentication_id, code = caller.sent()
    for body in ({}, {"code": None}, {"code": ""}):
        caller.refused(caller.post("validate-code", dict(body, authenticationId=authentication_id)), 400,
                       "INVALID_ARGUMENT")
    assert caller.validate(authentication_id, code)[0] == 204


def test_OTPvalidationAPI_400_4_validate_code_exceed_code_max_length(caller):
    authentication_id, _ = caller.sent()
    caller.refused(caller.validate(authentication_id, "thisCodeExceedsTenCharacters"), 400, "INVALID_ARGUMENT")


def wrong(code):
    return "%06d" % ((int(code) + 1) % 1000000)


def test_OTPvalidationAPI_400_5_validate_code_invalid_otp_scenario(caller):
    authentication_id, code = caller.sent()
    answer = caller.refused(caller.validate(authentication_id, wrong(code)), 400, CODES + "INVALID_OTP")
    assert answer["attempts_left"] == 4
    assert caller.validate(authentication_id, code)[0] == 204


def test_OTPvalidationAPI_400_6_validate_code_verification_expired_scenario_1(caller):
    authentication_id, code = caller.sent()
    redis = caller.node.redis()
    key, = redis.scan_iter("otpq:s:*" + authentication_id, 10000)
    redis.hset(key, "exp", 1)  # the time of it has passed
    caller.refused(caller.validate(authentication_id, code), 400, CODES + "VERIFICATION_EXPIRED")


def test_OTPvalidationAPI_400_8_validate_code_verification_expired_scenario_3(caller):
    authentication_id, code = caller.sent()
    assert caller.validate(authentication_id, code)[0] == 204
    caller.refused(caller.validate(authentication_id, code), 400, CODES + "VERIFICATION_EXPIRED")


def test_OTPvalidationAPI_400_9_validate_code_verification_failed_scenario(caller):
    authentication_id, code = caller.sent()
    answers = [caller.validate(authentication_id, wrong(code))[1]["code"] for _ in range(5)]
    assert answers[:4] == [CODES + "INVALID_OTP"] * 4
    assert answers[4] in (CODES + "INVALID_OTP", CODES + "VERIFICATION_FAILED")
    caller.refused(caller.validate(authentication_id, code), 400, CODES + "VERIFICATION_FAILED")


def test_OTPvalidationAPI_401_1_validate_code_no_authorization_header(caller):
    caller.refused(caller.validate("r00", "1", token=None), 401, "UNAUTHENTICATED")


def test_OTPvalidationAPI_401_2_validate_code_expired_access_token(caller):
    authentication_id, code = caller.sent()
    for token in UNKNOWN_TOKENS:
        caller.refused(caller.validate(authentication_id, code, token=token), 401, "UNAUTHENTICATED")
    assert caller.validate(authentication_id, code)[0] == 204


def test_OTPvalidationAPI_401_3_validate_code_invalid_access_token(caller):
    caller.refused(caller.validate("r00", "1", token="x"), 401, "UNAUTHENTICATED")


def test_OTPvalidationAPI_404_validate_code_resource_not_found(caller):
    for unknown in ("r07" + "a" * 20, str(uuid.uuid4()), "0" * 32, "100", "nothing"):
        caller.refused(caller.validate(unknown, "123456"), 404, "NOT_FOUND")


def test_an_authentication_id_of_somebody_else_is_not_found(caller):
    """Systems do not see each other's requests."""
    number = caller.number()[1:]
    status, text, _ = http(caller.node.gateway + "/send?username=demo&password=demo-pass&msisdn=" + number)
    assert status == 200
    caller.refused(caller.validate(json.loads(text)["MSGID"], caller.node.inbox(number)[0]["otp"]), 404, "NOT_FOUND")


def test_the_published_schema_is_strict(caller):
    body = {"phoneNumber": caller.number(), "message": MESSAGE}
    for wrong_body in (dict(body, sender="x"), dict(body, phoneNumber=66812340000), dict(body, message=["{{code}}"]),
                       dict(body, phoneNumber=body["phoneNumber"] + " "), b"[]", b"{", b'{"message":"a\x00"}',
                       b'{"message":"{{code}}","message":"{{code}}","phoneNumber":"+66812340000"}', b"\xff"):
        caller.refused(caller.post("send-code", wrong_body), 400, "INVALID_ARGUMENT")
    assert caller.node.ledger(body["phoneNumber"][1:])["sends"] == 0


def test_a_bad_correlator_is_refused_and_not_given_back(caller):
    for bad in ("a b", "a,b", "é", "x" * 257):
        status, answer, headers = caller.post("send-code", {}, correlator=None)
        request = http(caller.node.gateway + "/one-time-password-sms/v1/send-code", method="POST", body=b"{}",
                       headers={"Authorization": "Bearer demo-token", "x-correlator": bad.encode("latin-1")})
        status, answer, headers = request[0], json.loads(request[1]), request[2]
        assert (status, answer["code"]) == (400, "INVALID_ARGUMENT") and "x-correlator" in answer["message"]
        assert uuid.UUID(headers["x-correlator"]).version == 4


def test_other_methods_are_told_which_one_is_right(caller):
    for method in ("GET", "PUT", "DELETE"):
        status, text, headers = http(caller.node.gateway + "/one-time-password-sms/v1/send-code", method=method)
        assert (status, headers["Allow"], json.loads(text)["code"]) == (405, "POST", "METHOD_NOT_ALLOWED")
        assert headers["x-correlator"]


def test_tokens_and_codes_never_reach_a_log(caller):
    authentication_id, code = caller.sent()
    assert caller.validate(authentication_id, code)[0] == 204
    caller.send(token="a-token-of-nobody")
    text = caller.node.logs()
    for secret in ("demo-token", "a-token-of-nobody", "otp=" + code, "+%d" % caller.last):
        assert secret not in text
