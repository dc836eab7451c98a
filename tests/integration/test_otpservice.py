"""System 3 through a whole node: what customers of the OTP Service API send, and what they get."""
import json
import os
import subprocess
import threading
import urllib.parse

import pytest

from node import BUILD, SLOW, Node, http, wait_for

LOGIN = {"username": "demo", "password": "demo-pass"}
MORE_ACCOUNTS = """accounts:
  shop:
    password_hash: %(hash)s
    integration: demo-local
    text: "{otp} opens the shop. Thank you!"
  sleeping:
    password_hash: %(hash)s
    active: false
    integration: demo-local
  bare:
    password_hash: %(hash)s
  stopped:
    password_hash: %(hash)s
    integration: stopped
  advertised:
    password_hash: %(hash)s
    integration: demo
integrations:
  stopped:
    paused: true
    maker: otpq
    text: "{otp}"
    send:
      method: POST
      url: http://127.0.0.1:8090/otp/send
      form:
        msisdn: "{msisdn}"
        text: "{text}"
      answer:
        success:
          http: 200
"""


class Customer:
    """Of one node."""

    def __init__(self, node):
        self.node = node
        self.last = 66812360000

    def number(self, ending=None):
        self.last += 1
        return str(self.last) if ending is None else "6681%03d%s" % (self.last % 1000, ending)

    def get(self, path, params, method="GET", body=None):
        status, text, headers = http("%s%s?%s" % (self.node.gateway, path, urllib.parse.urlencode(params)),
                                     method=method, body=body)
        assert headers["Content-Type"] == "application/json" and headers["X-Request-Id"]
        return status, json.loads(text)

    def send(self, msisdn=None, login=None, **more):
        """The answer; HTTP is 200 whatever it says."""
        status, answer = self.get("/send", dict(login or LOGIN, msisdn=msisdn or self.number(), **more))
        assert status == 200 and list(answer)[:4] == ["STATUS", "MSG", "CODE", "MSGID"]
        assert isinstance(answer["MSGID"], str) and (answer["MSG"] == "") == (answer["STATUS"] == "SUCCESS")
        return answer

    def code(self, sid, code, login=None, **more):
        status, answer = self.get("/code", dict(login or LOGIN, sid=sid, code=code, **more))
        assert status == 200 and list(answer)[:6] == ["STATUS", "MSG", "CODE", "MSGID", "EXTID", "RESULT"]
        assert isinstance(answer["MSGID"], int)
        return answer

    def sent(self, **more):
        """(MSGID, code) of a message that has arrived."""
        number = self.number()
        answer = self.send(number, **more)
        assert answer["STATUS"] == "SUCCESS", answer
        return answer["MSGID"], self.node.inbox(number)[0]["otp"]


@pytest.fixture(scope="module")
def customer():
    with Node() as node:
        made = subprocess.run([os.path.join(BUILD, "bin", "otpq"), "hash-password"], input=b"more-pass\n",
                              stdout=subprocess.PIPE, check=True, timeout=30).stdout.decode().strip()
        path = os.path.join(node.dir, "more.yaml")
        with open(path, "w", encoding="utf-8") as f:
            f.write(MORE_ACCOUNTS % {"hash": made})
        node.command("apply", "-f", path)
        c = Customer(node)
        wait_for(lambda: c.send(login={"username": "bare", "password": "more-pass"})["CODE"] == "412", 10,
                 "the gateway has the records")
        yield c


def more(name):
    return {"username": name, "password": "more-pass"}


def wrong(code):
    return "%06d" % ((int(code) + 1) % 1000000)


def test_send_and_code_as_published(customer):
    number = customer.number()
    answer = customer.send(number, eid="order-7")
    assert answer == {"STATUS": "SUCCESS", "MSG": "", "CODE": "200", "MSGID": answer["MSGID"]}
    assert 0 < int(answer["MSGID"]) < 2 ** 53
    otp = customer.node.inbox(number)[0]["otp"]
    assert customer.code(answer["MSGID"], otp) == {"STATUS": "SUCCESS", "MSG": "", "CODE": "200", "EXTID": "order-7",
                                                   "MSGID": int(answer["MSGID"]), "RESULT": "PASS"}


def test_a_wrong_code_is_a_success_that_failed(customer):
    msgid, otp = customer.sent()
    answer = customer.code(msgid, wrong(otp))
    assert (answer["STATUS"], answer["CODE"], answer["RESULT"], answer["EXTID"]) == ("SUCCESS", "200", "FAILED", "")
    assert answer["MSG"].startswith("wrong_otp: ") and answer["attempts_left"] == 4
    assert customer.code(msgid, otp)["RESULT"] == "PASS"
    again = customer.code(msgid, otp)
    assert (again["CODE"], again["RESULT"]) == ("200", "FAILED") and again["MSG"].startswith("already_verified: ")


def test_the_checks_are_used_up(customer):
    msgid, otp = customer.sent()
    for _ in range(5):
        assert customer.code(msgid, wrong(otp))["RESULT"] == "FAILED"
    answer = customer.code(msgid, otp)
    assert (answer["CODE"], answer["RESULT"]) == ("200", "FAILED")
    assert answer["MSG"].startswith("too_many_attempts: ")


def test_an_expired_code(customer):
    msgid, otp = customer.sent(eid="e")
    redis = customer.node.redis()
    key, = redis.scan_iter("otpq:s:*:" + msgid, 10000)
    redis.hset(key, "exp", 1)  # the time of it has passed
    answer = customer.code(msgid, otp)
    assert (answer["RESULT"], answer["MSG"][:13]) == ("FAILED", "otp_expired: ")


def test_ids_stay_numbers(customer):
    msgid, otp = customer.sent()
    assert customer.code("0000" + msgid, otp)["RESULT"] == "PASS"
    for sid in ("", "r00" + "a" * 20, "-1", "1.0", "1e3", str(2 ** 53), "9" * 40, " 1"):
        answer = customer.code(sid, otp)
        assert (answer["STATUS"], answer["CODE"], answer["RESULT"]) == ("ERROR", "400", "FAILED")
        assert answer["MSG"].startswith("invalid_request: sid is ")
    unknown = customer.code(2 ** 53 - 1, otp)
    assert (unknown["CODE"], unknown["MSGID"]) == ("400", 2 ** 53 - 1)
    assert unknown["MSG"].startswith("request_not_found: ")


def test_a_resend_too_soon(customer):
    number = customer.number()
    assert customer.send(number)["CODE"] == "200"
    answer = customer.send(number)
    assert (answer["STATUS"], answer["CODE"]) == ("ERROR", "500") and 0 < answer["retry_after"] <= 30
    assert answer["MSG"].startswith("resend_too_soon: ") and len(customer.node.inbox(number)) == 1


def test_the_text_of_the_account(customer):
    number = customer.number()
    answer = customer.send(number, more("shop"))
    assert answer["CODE"] == "200", answer
    arrived = customer.node.inbox(number)[0]
    assert arrived["text"] == arrived["otp"] + " opens the shop. Thank you!"


def test_an_advertiser_that_makes_the_code(customer):
    number = customer.number()
    msgid = customer.send(number, more("advertised"))["MSGID"]
    otp = customer.node.inbox(number)[0]["otp"]
    assert customer.code(msgid, wrong(otp), more("advertised"))["RESULT"] == "FAILED"
    assert customer.code(msgid, otp, more("advertised"))["RESULT"] == "PASS"


def callbacks(customer, key, value):
    """What the customer's address was told of a request, oldest first."""
    told = json.loads(http(customer.node.sandbox + "/callbacks?name=otpservice")[1])
    return [c for c in reversed(told) if c["query"][key] == value]


def test_both_callbacks(customer):
    msgid, otp = customer.sent(eid="order 7 & more")
    customer.code(msgid, wrong(otp))
    customer.code(msgid, otp)
    told = wait_for(lambda: (lambda c: len(c) == 3 and c)(callbacks(customer, "MSGID", msgid)), 10, "three callbacks")
    assert all(c["method"] == "GET" and c["body"] == "" and c["answered"] == 200 for c in told)
    assert all(c["query"]["EXTID"] == "order 7 & more" and c["headers"]["webhook-id"] for c in told)
    sends = [c["query"] for c in told if c["query"]["TYPE"] == "0"]
    checks = [c["query"] for c in told if c["query"]["TYPE"] == "1"]
    assert [(q["STATUS"], q["CODE"], q["MSG"]) for q in sends] == [("SUCCESS", "200", "")]
    assert sorted((q["STATUS"], q["MSG"]) for q in checks) == [("ERROR", "wrong_otp"), ("SUCCESS", "")]


def test_a_send_that_failed_is_called_back_too(customer):
    customer.send(customer.number("9004"), eid="blocked-1")
    told, = wait_for(lambda: callbacks(customer, "EXTID", "blocked-1"), 10, "a callback")
    assert [told["query"][k] for k in ("TYPE", "STATUS", "CODE", "MSG")] == ["0", "ERROR", "400", "msisdn_blocked"]


@pytest.mark.parametrize("login", [
    {"username": "demo", "password": "demo-pasS"}, {"username": "Demo", "password": "demo-pass"},
    {"username": "nobody", "password": "demo-pass"}, {"username": "sleeping", "password": "demo-pass"},
    {"username": "demo", "password": "x" * 1000}, {"username": "demo", "password": "$6$"}])
def test_wrong_credentials(customer, login):
    for ask in (lambda: customer.send(login=login), lambda: customer.code("1", "1", login)):
        answer, = wait_for(lambda: [a for a in [ask()] if not a["MSG"].startswith("rate_limited: ")], 10,
                           "wrong passwords are looked at again")
        assert (answer["STATUS"], answer["CODE"]) == ("ERROR", "401")
        assert answer["MSG"].startswith("invalid_user_credentials: ")


def test_accounts_that_cannot_send(customer):
    for name in ("sleeping", "bare"):
        for answer in (customer.send(login=more(name)), customer.code("1", "1", more(name))):
            assert (answer["STATUS"], answer["CODE"]) == ("ERROR", "412")
            assert answer["MSG"].startswith("account_not_activated: ")
    answer = customer.send(login=more("stopped"))
    assert answer["CODE"] == "500" and answer["MSG"].startswith("integration_paused: ")


@pytest.mark.parametrize("params,msg", [
    ({"msisdn": ""}, "invalid_request: msisdn is missing"), ({"msisdn": "12"}, "invalid_msisdn: msisdn must have"),
    ({"msisdn": "abc"}, "invalid_msisdn: msisdn "), ({"msisdn": "6621234567"}, "msisdn_blocked: a landline"),
    ({"eid": "x" * 129}, "invalid_request: eid has more than 128 bytes"),
    ({"eid": "a\nb"}, "invalid_request: eid is not UTF-8 or has control characters"),
    ({"username": ""}, "invalid_request: username is missing"), ({"password": ""}, "invalid_request: password is")])
def test_incorrect_parameters(customer, params, msg):
    status, answer = customer.get("/send", dict(LOGIN, **dict({"msisdn": customer.number()}, **params)))
    assert (status, answer["STATUS"], answer["CODE"], answer["MSGID"]) == (200, "ERROR", "400", "")
    assert answer["MSG"].startswith(msg), answer


@pytest.mark.parametrize("ending,code,word", [
    ("9000", "400", "invalid_msisdn"), ("9001", "400", "already_subscribed"), ("9003", "400", "not_eligible"),
    ("9004", "400", "msisdn_blocked"), ("9005", "500", "fraud_suspected")])
def test_what_the_advertiser_says(customer, ending, code, word):
    answer = customer.send(customer.number(ending))
    assert (answer["STATUS"], answer["CODE"]) == ("ERROR", code) and answer["MSG"].startswith(word + ": ")


def test_no_clear_answer_still_has_an_id(customer):
    answer = customer.send(customer.number("9014"))
    assert (answer["STATUS"], answer["CODE"]) == ("ERROR", "500")
    assert answer["MSG"].startswith("outcome_unknown: ") and 0 < int(answer["MSGID"]) < 2 ** 53


def test_forms_and_json_bodies(customer):
    for body in (urllib.parse.urlencode(dict(LOGIN, msisdn=customer.number())).encode(),
                 json.dumps(dict(LOGIN, msisdn="+" + customer.number())).encode()):
        status, answer = customer.get("/send", {}, method="POST", body=body)
        assert (status, answer["CODE"]) == (200, "200"), answer
    status, answer = customer.get("/send", dict(LOGIN, msisdn="1"), method="POST", body=b"msisdn=2")
    assert (status, answer["CODE"]) == (200, "400") and "given twice" in answer["MSG"]


def test_requests_of_others_are_not_found(customer):
    msgid, otp = customer.sent()
    answer = customer.code(msgid, otp, more("shop"))
    assert answer["CODE"] == "400" and answer["MSG"].startswith("request_not_found: ")
    assert customer.code(msgid, otp)["RESULT"] == "PASS"


def test_a_flood_of_wrong_passwords_is_no_business_of_others(customer):
    """The hash of a password is slow; the gateway is one thread."""
    assert customer.send()["CODE"] == "200"
    stop = threading.Event()
    told = []

    def guess(name):
        tries = 0
        while not stop.is_set():
            told.append(customer.send(login={"username": name, "password": "guess %d" % tries})["CODE"])
            tries += 1

    threads = [threading.Thread(target=guess, args=(name,)) for name in ("demo", "shop", "nobody", "nobody too")]
    for t in threads:
        t.start()
    try:
        for _ in range(50):
            assert customer.send()["CODE"] == "200"
            assert http(customer.node.gateway + "/healthz")[0] == 200
        wait_for(lambda: len(told) > 200, 20, "a flood")
    finally:
        stop.set()
        for t in threads:
            t.join(10 * SLOW)
    assert set(told) == {"401", "500"}  # looked at, and not


def test_passwords_and_codes_never_reach_a_log(customer):
    msgid, otp = customer.sent()
    customer.code(msgid, otp)
    customer.send(login={"username": "demo", "password": "a-password-of-nobody"})
    text = customer.node.logs()
    for secret in ("demo-pass", "more-pass", "a-password-of-nobody", "otp=" + otp, str(customer.last)):
        assert secret not in text
