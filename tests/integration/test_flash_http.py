"""FOTP (system 4) over HTTP against a whole node: links asked for with every signature, opened,
answered by SMSs as an SMSC hands them in, and asked for again."""
import hashlib
import hmac
import json
import os
import threading
import time
import urllib.parse

import pytest

from node import Node, http, wait_for
from test_gateway import Gateway

PEOPLE = iter(range(66811000000, 66811999999))
ANDROID = {"User-Agent": "Mozilla/5.0 (Linux; Android 14) Mobile"}
RECORDS = """
accounts:
  mac:
    sign: hmac-sha256-sorted
    secret: mac-secret
    header_account: X-Account
    header_nonce: X-Nonce
    header_sign: X-Sign
    time_zone: Asia/Bangkok
  pair:
    sign: static
    secret: pair-secret
  local:
    sign: none
  asleep:
    active: false
    secret: asleep-secret
flash_templates:
  mac:
    account: mac
    receivers: [1008611, 2000]
    content: "Reply MAC-{code} please"
    code_digits: 6
  pair:
    account: pair
    receivers: [1008611]
    content: "PAIR-{code}"
  local:
    account: local
    receivers: [1008611]
    content: "LOCAL-{code}"
  pin:
    account: demo
    receivers: [3000]
    content: "JOIN-{code}"
    integration: demo
"""


@pytest.fixture(scope="module")
def node():
    with Node() as n:
        path = os.path.join(n.dir, "flash.yaml")
        with open(path, "w", encoding="utf-8") as f:
            f.write(RECORDS)
        n.command("apply", "-f", path)
        wait_for(lambda: ask(n, "local", "verify", ftId="local")[0] == 200, 20, "the gateway knows the templates")
        yield n


_nonces = {"last": 0}
_lock = threading.Lock()


def fresh_nonce():
    """Of now, and never twice."""
    with _lock:
        _nonces["last"] = max(_nonces["last"] + 1, int(time.time() * 1000))
        return str(_nonces["last"])


def signed(account, body, nonce):
    pairs = dict(body, account=account, nonce=nonce)
    text = "".join(k + str(pairs[k]) for k in sorted(pairs) if pairs[k] != "")
    if account == "mac":
        sign = hmac.new(b"mac-secret", text.encode(), "sha256").hexdigest()
        return {"X-Account": account, "X-Nonce": nonce, "X-Sign": sign}
    if account == "pair":
        return {"account": account, "sign": "pair-secret"}
    if account == "local":
        return {"account": account}
    return {"account": account, "nonce": nonce, "sign": hashlib.md5((text + account + "-secret").encode()).hexdigest()}


def post(node, op, headers, body):
    status, text, got = http("%s/flash/opt/%s" % (node.gateway, op), "POST", json.dumps(body).encode(), headers)
    assert got["X-Request-Id"]
    return status, json.loads(text)


def ask(node, account, op, more=None, **body):
    return post(node, op, dict(signed(account, body, fresh_nonce()), **(more or {})), body)


def link(node, account="demo", **body):
    status, answer = ask(node, account, "verify", **dict({"ftId": "2" if account == "demo" else account}, **body))
    assert (status, answer["code"], answer["success"], answer["message"]) == (200, "000000", True, "请求成功"), answer
    return answer["data"]


def state(node, made, account="demo"):
    status, answer = ask(node, account, "query", ftToken=made["ftToken"])
    assert status == 200, answer
    return answer["data"]


def send_sms(node, text, to="1008611", sender=None, token="demo-mo", **more):
    query = urllib.parse.urlencode(dict({"from": sender or str(next(PEOPLE)), "to": to, "text": text}, **more))
    return http("%s/flash/opt/mo/%s?%s" % (node.gateway, token, query))[:2]


def pushes(node, code, mobile):
    """Bodies of what the customer was told about this code of this user."""
    told = [json.loads(c["body"]) for c in json.loads(http(node.sandbox + "/callbacks?name=fotp")[1])]
    return [t for t in told if t["code"] == code and t["mobile"] == mobile]


def test_the_whole_way(node):
    made = link(node)
    assert list(made) == ["messageId", "url", "ftToken", "code"]
    assert made["messageId"].isdigit() and int(made["messageId"]) < 2 ** 63
    assert len(made["ftToken"]) == 32 and len(made["code"]) == 4
    assert made["url"] == node.gateway + "/flash/opt/redirect/" + made["ftToken"]
    assert state(node, made) == {"status": "0", "code": made["code"]}
    status, page, _ = http(made["url"], headers=ANDROID)
    body = urllib.parse.quote("Send this to continue: ##FG5x-%s##" % made["code"], safe="")
    assert status == 200 and 'href="sms:1008611?body=%s" data-auto' % body in page
    assert send_sms(node, "Send this to continue: ##FG5x-%s##" % made["code"], sender="+66812340001",
                    time="2025-04-29 17:47") == (200, "")
    seen = state(node, made)
    assert list(seen) == ["status", "mobile", "sender", "sendTime", "code", "deliverTime"]
    assert dict(seen, deliverTime="") == {"status": "2", "mobile": "66812340001", "sender": "1008611",
                                          "sendTime": "2025-04-29 17:47:00", "code": made["code"], "deliverTime": ""}
    assert abs(time.time() - time.mktime(time.strptime(seen["deliverTime"], "%Y-%m-%d %H:%M:%S")) + time.timezone) < 60
    status, page, _ = http(made["url"], headers=ANDROID)
    assert status == 410 and "sms:" not in page
    told = wait_for(lambda: pushes(node, made["code"], "66812340001"), 20, "the push is there")
    assert len(told) == 1 and list(told[0])[:4] == ["mobile", "sender", "sendTime", "code"]
    assert told[0] == {"mobile": "66812340001", "sender": "1008611", "sendTime": seen["sendTime"],
                       "code": made["code"], "content": "Send this to continue: ##FG5x-%s##" % made["code"],
                       "deliverTime": seen["deliverTime"]}


@pytest.mark.parametrize("account", ["mac", "pair", "local"])
def test_every_signature(node, account):
    made = link(node, account)
    word = {"mac": "MAC-", "pair": "PAIR-", "local": "LOCAL-"}[account]
    assert send_sms(node, word.lower() + made["code"], time="2025-04-29 17:47:09") == (200, "")
    seen = state(node, made, account)
    assert seen["status"] == "2"
    assert seen["sendTime"] == {"mac": "2025-04-30 00:47:09"}.get(account, "2025-04-29 17:47:09")


def test_codes_and_validity_of_the_customer(node):
    assert len(link(node, "mac")["code"]) == 6
    made = link(node, code="007700", validityPeriod="10")
    assert made["code"] == "007700"
    status, page, _ = http(made["url"], headers=dict(ANDROID, **{"Accept-Language": "en"}))
    assert status == 200 and "another 10 min" in page
    # a second live link with the same code could not be told from the first
    status, answer = ask(node, "demo", "verify", ftId="2", code="007700")
    assert (status, answer["code"], answer["success"], "data" in answer) == (409, "100003", False, False)
    assert send_sms(node, "##FG5x-007700##") == (200, "")
    assert state(node, made)["status"] == "2"


def test_a_request_is_taken_once(node):
    body = {"ftId": "2"}
    headers = signed("demo", body, fresh_nonce())
    assert post(node, "verify", headers, body)[0] == 200
    refused = {"code": "200001", "success": False, "message": "鉴权失败"}
    assert post(node, "verify", headers, body) == (401, refused)
    made = link(node)
    body = {"ftToken": made["ftToken"]}
    headers = signed("demo", body, fresh_nonce())
    assert post(node, "query", headers, body)[0] == 200
    assert post(node, "query", headers, body) == (401, refused)
    # another account's nonces are its own
    nonce = fresh_nonce()
    assert post(node, "verify", signed("demo", {"ftId": "2"}, nonce), {"ftId": "2"})[0] == 200
    assert post(node, "verify", signed("mac", {"ftId": "mac"}, nonce), {"ftId": "mac"})[0] == 200


def test_all_failures_of_authentication_are_alike(node):
    body = {"ftId": "2"}
    now = int(time.time() * 1000)
    good = signed("demo", body, fresh_nonce())
    attempts = [
        {}, dict(good, account="nobody"), dict(good, account="asleep"), dict(good, sign="0" * 32),
        dict(good, nonce=str(int(good["nonce"]) + 1)), signed("demo", {"ftId": "3"}, fresh_nonce()),
        signed("demo", body, str(now - 310000)), signed("demo", body, str(now + 310000)),
        {"account": "pair", "sign": "pair-secres"}, {"account": "local", "X-Forwarded-For": "192.0.2.1"},
        {"X-Account": "demo", "nonce": good["nonce"], "sign": good["sign"]},
    ]
    for headers in attempts:
        status, text, got = http(node.gateway + "/flash/opt/verify", "POST", json.dumps(body).encode(), headers)
        assert (status, text) == (401, '{"code":"200001","success":false,"message":"鉴权失败"}'), headers
    assert ask(node, "asleep", "verify", ftId="2")[1]["code"] == "200002"


def test_a_link_is_visible_to_its_account_alone(node):
    made = link(node)
    assert ask(node, "mac", "query", ftToken=made["ftToken"])[1]["code"] == "300008"
    assert ask(node, "mac", "verify", ftId="2")[1]["code"] == "200003"
    assert ask(node, "demo", "query", ftToken="0" * 32)[1]["code"] == "300008"
    english = ask(node, "demo", "query", {"Accept-Language": "en"}, ftToken="0" * 32)[1]
    assert english["message"].isascii() and english["success"] is False


def test_wrong_late_and_second_messages_change_nothing(node):
    made = link(node)
    other = "%04d" % ((int(made["code"]) + 1) % 10000)
    for text, to in (("##FG5x-%s##" % other, "1008611"), ("##FG5x-%s" % made["code"], "1008611"),
                     ("##FG5x-%s##" % made["code"], "2000"), (made["code"], "1008611")):
        assert send_sms(node, text, to=to) == (200, "")
        assert state(node, made) == {"status": "0", "code": made["code"]}
    right = "##FG5x-%s##" % made["code"]
    assert send_sms(node, right, sender="66812340002") == (200, "")
    first = state(node, made)
    assert (first["status"], first["mobile"]) == ("2", "66812340002")
    assert send_sms(node, right, sender="66812340003") == (200, "")
    assert state(node, made) == first


def test_an_expired_link(node):
    """As if its time were over: the session's end is moved into the past."""
    made = link(node)
    node.redis().hset("otpq:s:{%s}:%s" % (made["ftToken"][:2], made["ftToken"]), "exp", int(time.time() * 1000) - 1)
    for language, title in (("en", "This link has expired"), ("zh-CN", "链接已过期")):
        status, page, headers = http(made["url"], headers=dict(ANDROID, **{"Accept-Language": language}))
        assert status == 410 and title in page and headers["Cache-Control"] == "no-store"
    assert send_sms(node, "##FG5x-%s##" % made["code"]) == (200, "")
    assert state(node, made) == {"status": "1", "code": made["code"]}


def test_many_at_once_convert_once(node):
    made = link(node)
    before = node.conversions()
    text = "##FG5x-%s##" % made["code"]
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(send_sms(node, text))) for _ in range(40)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert answers == [(200, "")] * 40
    assert state(node, made)["status"] == "2"
    assert node.conversions() == before + 1
    winner = state(node, made)["mobile"]
    assert len(wait_for(lambda: pushes(node, made["code"], winner), 20, "the push is there")) == 1


def test_a_flood_makes_no_jobs():
    """Against a broker of the test's own, which sees every job."""
    with Gateway() as g:
        def mo(**query):
            return http(g.url("/flash/opt/mo/demo-mo", query))[:2]

        for i in range(300):
            assert mo(**{"from": str(next(PEOPLE)), "to": "1008611", "text": "WIN A PRIZE %d" % i}) == (200, "")
        # only the beginning of a long one is looked at
        assert mo(**{"from": "66812340000", "to": "1008611", "text": "x\n" * 1000 + "##FG5x-1234##"}) == (200, "")
        assert mo(**{"from": "66812340000", "to": "1008611", "text": "##FG5x-12345678##"}) == (200, "")
        assert mo(**{"from": "66812340000"})[0] == 400
        assert http(g.url("/flash/opt/mo/wrong-token", {"from": "1", "to": "2", "text": "3"}))[0] == 404
        assert g.broker.jobs == []
        assert "WIN A PRIZE" not in g.log() and "6681" not in g.log()
        # one that is a template's is a job; not taken, it is to be sent again
        g.broker.answer = lambda e, b: ("N", {"id": e["id"], "error": "queue_full", "detail": "",
                                              "retry_after_ms": 1500}, {})
        status, text, headers = http(g.url("/flash/opt/mo/demo-mo", {
            "from": "66812340000", "to": "1008611", "text": "##FG5x-1234##", "time": "2025-04-29 17:47"}))
        assert (status, text, headers["Retry-After"]) == (503, "", "2")
        (envelope, body), = g.broker.jobs
        assert (envelope["op"], envelope["route"], envelope["tenant"]) == ("report", "flash:2", "account:demo")
        assert {k: body[k] for k in ("event", "otp", "mobile", "sender", "send_time")} == {
            "event": "mo", "otp": "1234", "mobile": "66812340000", "sender": "1008611",
            "send_time": "2025-04-29 17:47:00"}


def test_a_code_of_the_advertiser(node):
    mobile = str(next(PEOPLE))
    assert ask(node, "demo", "verify", ftId="pin")[1]["code"] == "100001"
    made = link(node, ftId="pin", mobile=mobile)
    assert list(made) == ["messageId", "ftToken"]
    otp = wait_for(lambda: node.inbox(mobile), 10, "the OTP is in the inbox")[-1]["otp"]
    assert state(node, made)["status"] == "0"
    assert send_sms(node, "JOIN-%06d" % ((int(otp) + 1) % 1000000), to="3000", sender=mobile) == (200, "")
    assert state(node, made)["status"] == "0"
    assert send_sms(node, "Join-" + otp, to="3000", sender=mobile) == (200, "")
    seen = state(node, made)
    assert (seen["status"], seen["mobile"], seen["sender"]) == ("2", mobile, "3000")


def test_a_signed_send_again_sends_nothing(node):
    mobile = str(next(PEOPLE))
    body = {"ftId": "pin", "mobile": mobile}
    headers = signed("demo", body, fresh_nonce())
    first = post(node, "verify", headers, body)
    assert first[0] == 200
    assert post(node, "verify", headers, body) == first
    assert post(node, "verify", dict(headers, sign="0" * 32), body)[0] == 401
    assert len(node.inbox(mobile)) == 1


def test_logs_hold_no_codes_and_no_numbers(node):
    made = link(node, code="582915")
    assert send_sms(node, "##FG5x-582915##", sender="66812349876") == (200, "")
    assert state(node, made)["status"] == "2"
    assert send_sms(node, "nothing for 66812349877", sender="66812349878") == (200, "")
    logs = wait_for(lambda: "SMS ignored" in node.logs() and node.logs(), 10, "the ignored SMS is logged")
    for secret in ("582915", "66812349876", "66812349877", "66812349878", "demo-secret", "mac-secret", "demo-mo",
                   made["ftToken"]):
        assert secret not in logs, secret
