"""Every served system leaves through every called one: A serves it, A calls B, B delivers."""
import concurrent.futures
import json
import time
import urllib.parse

import pytest

from interop import DIALECTS, PASSWORD, Pair, callbacks, mo, send_link_sms, signed
from node import http, wait_for


@pytest.fixture(scope="module")
def pair():
    with Pair() as p:
        yield p


class Affiliate:
    """Systems 1 and 2 at A: a flow of one affiliate."""

    def __init__(self, path, parameters):
        self.path, self.parameters = path, parameters

    def call(self, pair, dialect, what, msisdn, **more):
        return pair.a.call(self.path % dialect + what, key="demo-key-1001", msisdn=msisdn, userId="u1",
                           **{k: v % dialect if "%" in v else v for k, v in self.parameters.items()},
                           **more)

    def send(self, pair, dialect, msisdn):
        status, answer = self.call(pair, dialect, "/otp_gen", msisdn)
        assert status == 200 and answer["response"].startswith("otp_sent"), answer
        return answer

    def verify(self, pair, dialect, msisdn, sent, code):
        more = {"request_id": sent["data"]} if "data" in sent else {}
        status, answer = self.call(pair, dialect, "/otp_verify", msisdn, otp=code, **more)
        if status == 200:
            return answer["response"].replace("_successfully", "")
        return answer.get("error", answer.get("response"))


class OtpService:
    """System 3 at A: a flow of one account."""

    @staticmethod
    def call(pair, dialect, path, **parameters):
        status, text, _ = http("%s%s?%s" % (pair.a.gateway, path, urllib.parse.urlencode(
            dict(parameters, username="acc-" + dialect, password=PASSWORD))))
        assert status == 200
        return json.loads(text)

    def send(self, pair, dialect, msisdn):
        answer = self.call(pair, dialect, "/send", msisdn=msisdn, eid="eid-" + dialect)
        assert (answer["STATUS"], answer["CODE"]) == ("SUCCESS", "200"), answer
        return answer

    def verify(self, pair, dialect, msisdn, sent, code):
        answer = self.call(pair, dialect, "/code", sid=sent["MSGID"], code=code)
        assert (answer["STATUS"], answer["EXTID"]) == ("SUCCESS", "eid-" + dialect), answer
        assert answer["MSGID"] == int(sent["MSGID"])
        return {"PASS": "otp_verified", "FAILED": "wrong_otp"}[answer["RESULT"]]


class Camara:
    """System 5 at A: a flow of one bearer."""

    @staticmethod
    def call(pair, dialect, path, body):
        status, text, _ = http(pair.a.gateway + "/one-time-password-sms/v1" + path, "POST",
                               json.dumps(body).encode(),
                               {"Authorization": "Bearer interop-token-" + dialect,
                                "Content-Type": "application/json"})
        return status, json.loads(text) if text else {}

    def send(self, pair, dialect, msisdn):
        status, answer = self.call(pair, dialect, "/send-code", {
            "phoneNumber": "+" + msisdn, "message": "{{code}} is your code"})
        assert status == 200, answer
        return answer

    def verify(self, pair, dialect, msisdn, sent, code):
        status, answer = self.call(pair, dialect, "/validate-code", {
            "authenticationId": sent["authenticationId"], "code": code})
        return "otp_verified" if status == 204 else answer["code"]


class Flash:
    """System 4 at A: the user sends the code in an SMS to A, or, when B has the link, to B."""

    def send(self, pair, dialect, msisdn):
        body = {"ftId": "ft-" + dialect}
        if dialect != "fotp":
            body["mobile"] = msisdn
        answer = signed(pair.a.gateway, "/flash/opt/verify", "acc-" + dialect, body)
        assert answer["success"] is True, answer
        return answer["data"]

    def state(self, pair, dialect, sent):
        return signed(pair.a.gateway, "/flash/opt/query", "acc-" + dialect,
                      {"ftToken": sent["ftToken"]})["data"]

    def verify(self, pair, dialect, msisdn, sent, code):
        if code is not None:
            mo(pair.a, msisdn, "1008611", "Send ##%s-%s##" % (dialect, code))
        state = self.state(pair, dialect, sent)
        if state["status"] == "2":
            assert (state["mobile"], len(state["sendTime"])) == (msisdn, 19), state
        return {"0": "wrong_otp", "1": "otp_expired", "2": "otp_verified"}[state["status"]]


SERVED = {
    "endpoint": Affiliate("/e/ep-%s", {}),
    "af": Affiliate("/api/af%.0s", {"aid": "1001", "mid": "1", "partner": "to-%s"}),
    "otpservice": OtpService(),
    "fotp": Flash(),
    "camara": Camara(),
}
WRONG = {"otp_verified": False, "wrong_otp": True, "pending": True,
         "ONE_TIME_PASSWORD_SMS.INVALID_OTP": True}


def number(system, dialect):
    return "668175%d%d000" % (list(SERVED).index(system), DIALECTS.index(dialect))


def link_of(sent):
    return next((v for k, v in sent.items() if k.lower() == "url" and v.startswith("http")), None)


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("system", SERVED)
def test_a_flow_goes_through_both_nodes(pair, system, dialect):
    served, msisdn = SERVED[system], number(system, dialect)
    sent = served.send(pair, dialect, msisdn)
    if dialect == "fotp":
        assert WRONG[served.verify(pair, dialect, msisdn, sent,
                                   None if system == "fotp" else "000000")]
        send_link_sms(pair.b, link_of(sent), msisdn)
        code = None if system == "fotp" else "000000"
    else:
        code = pair.otp(msisdn, 1)
        wrong = "%06d" % ((int(code) + 1) % 1000000)
        assert WRONG[served.verify(pair, dialect, msisdn, sent, wrong)]
    assert wait_for(lambda: served.verify(pair, dialect, msisdn, sent, code) == "otp_verified", 15,
                    "verified at A") is True
    assert len(pair.b.inbox(msisdn)) == (0 if dialect == "fotp" else 1)


def test_links_asked_for_in_one_moment_are_no_replays_of_each_other(pair):
    served = SERVED["af"]
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        sent = list(pool.map(lambda i: served.send(pair, "fotp", "668176%05d" % (98000 + i)), range(60)))
    assert len({link_of(s) for s in sent}) == 60


@pytest.mark.parametrize("dialect", DIALECTS)
def test_the_affiliate_of_a_is_told_of_its_conversion_once(pair, dialect):
    served, msisdn = SERVED["af"], "6681759%d000" % DIALECTS.index(dialect)
    sent = served.send(pair, dialect, msisdn)
    if dialect == "fotp":
        send_link_sms(pair.b, link_of(sent), msisdn)
        code = "000000"
    else:
        code = pair.otp(msisdn, 1)
    wait_for(lambda: served.verify(pair, dialect, msisdn, sent, code) == "otp_verified", 15, "verified")
    postback, = wait_for(lambda: [c["query"] for c in callbacks(pair.a, "postback")
                                  if c["query"]["click"] == sent["data"]], 10, "a postback")
    assert (postback["status"], postback["aid"]) == ("otp_verified", "1001"), postback


def test_customers_of_a_hear_what_b_tells(pair):
    """The callbacks of systems 3 and 4 of A, after B's own came to A."""
    msisdn = "66817597000"
    sent = SERVED["otpservice"].send(pair, "otpservice", msisdn)
    code = pair.otp(msisdn, 1)
    assert SERVED["otpservice"].verify(pair, "otpservice", msisdn, sent, code) == "otp_verified"
    for kind in ("0", "1"):
        said, = wait_for(lambda: [c["query"] for c in callbacks(pair.a, "acc-otpservice")
                                  if (c["query"]["MSGID"], c["query"]["TYPE"]) == (sent["MSGID"], kind)],
                         10, "callback of type " + kind)
        assert (said["STATUS"], said["CODE"], said["EXTID"]) == ("SUCCESS", "200", "eid-otpservice")
    made = SERVED["fotp"].send(pair, "fotp", "66817597001")
    send_link_sms(pair.b, made["url"], "66817597001")
    push, = wait_for(lambda: [json.loads(c["body"]) for c in callbacks(pair.a, "push-fotp")
                              if json.loads(c["body"]).get("mobile") == "66817597001"], 15, "a push")
    assert set(push) >= {"mobile", "sender", "sendTime", "code"} and "err" not in push
    assert abs(time.time() - time.mktime(time.strptime(push["sendTime"], "%Y-%m-%d %H:%M:%S"))) < 86400


def test_the_push_of_a_code_that_a_makes_and_sends_carries_it(pair):
    msisdn = "66817597555"
    sent = signed(pair.a.gateway, "/flash/opt/verify", "acc-template",
                  {"ftId": "ft-own", "mobile": msisdn})["data"]
    code = wait_for(lambda: pair.a.inbox(msisdn) and pair.a.inbox(msisdn)[0]["otp"], 10, "an OTP")
    assert "code" not in sent and "code" not in SERVED["fotp"].state(pair, "template", sent)
    mo(pair.a, msisdn, "1008611", "Send ##own-%s##" % code)
    push, = wait_for(lambda: [json.loads(c["body"]) for c in callbacks(pair.a, "push-own")], 15, "a push")
    assert (push["code"], push["mobile"]) == (code, msisdn)


@pytest.mark.parametrize("dialect", ["template", "offer18", "otpservice"])
def test_the_push_of_an_advertisers_code_carries_it(pair, dialect):
    """Nobody but the user and the advertiser knew it before, and who asks first is not told."""
    served, msisdn = SERVED["fotp"], "6681759%d444" % DIALECTS.index(dialect)
    sent = served.send(pair, dialect, msisdn)
    code = pair.otp(msisdn, 1)
    assert "code" not in sent and "code" not in served.state(pair, dialect, sent)
    text = "Send ##%s-%s##" % (dialect, code)
    mo(pair.a, msisdn, "1008611", text)
    push, = wait_for(lambda: [json.loads(c["body"]) for c in callbacks(pair.a, "push-" + dialect)
                              if json.loads(c["body"])["mobile"] == msisdn], 15, "a push")
    assert (push["code"], push["content"], "err" in push) == (code, text, False)
    assert served.state(pair, dialect, sent)["code"] == code


@pytest.mark.parametrize("system", ["af", "otpservice"])
def test_an_sms_from_another_phone_proves_nothing_of_the_number(pair, system):
    served, msisdn = SERVED[system], "66817596%d55" % list(SERVED).index(system)
    sent = served.send(pair, "fotp", msisdn)
    send_link_sms(pair.b, link_of(sent), "66817596999")
    for _ in range(3):
        assert WRONG[served.verify(pair, "fotp", msisdn, sent, "000000")]
