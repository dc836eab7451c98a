"""Flash requests as jobs: made, answered by an SMS, asked for; with real processes and a real Redis."""
import itertools
import os
import re
import signal

import pytest

from client import Client
from node import Node, wait_for

LANE = "flash:2"
ACCOUNT = "demo"
MOBILE, RECEIVER = "6285273203675", "1008611"


@pytest.fixture(scope="module")
def node():
    with Node(workers=2) as n:
        yield n


@pytest.fixture
def client(node):
    with Client(node.clients) as c:
        yield c


ids = ("t-%d" % i for i in itertools.count())
codes = ("%06d" % i for i in itertools.count(700000))


def create(client, job_id=None, **body):
    return client.call({"id": job_id or next(ids), "op": "flash.create", "route": LANE},
                       dict({"ft_id": "2", "account": ACCOUNT}, **body))


def created(client, **body):
    envelope, result = create(client, **body)
    assert (envelope["state"], envelope["code"]) == ("done", "otp_sent"), (envelope, result)
    return result


def query(client, token, account=ACCOUNT, **body):
    body = dict({"ft_token": token}, **body)
    if account:
        body["account"] = account
    return client.call({"id": next(ids), "op": "flash.query", "route": LANE}, body)


def mo_job(code, mobile=MOBILE):
    return ({"id": next(ids), "op": "report", "route": LANE},
            {"event": "mo", "otp": code, "mobile": mobile, "sender": RECEIVER,
             "send_time": "2025-04-29 17:47:00", "deliver_time": "2025-04-29 17:48:23"})


def mo(client, code):
    envelope, _ = client.call(*mo_job(code))
    return envelope["state"], envelope["code"]


def steps(node, token, step):
    timeline = node.redis().lrange("otpq:t:{%s}:%s" % (token[:2], token), 0, -1)
    return sum(b'"step":"%s"' % step.encode() in element for element in timeline)


def pushes(node, token):
    """Tasks of the outbox that tell the account of this request's SMS."""
    r = node.redis()
    tasks = [r.hmget(key, "kind", "rid") for key in r.scan_iter("otpq:o:{%s}:*" % token[:2], count=1000)]
    return tasks.count([b"push", token.encode()])


def test_a_request_is_made_answered_and_asked_for(node, client):
    made = created(client)
    token, flash = made["request_id"], made["flash"]
    assert re.fullmatch("[0-9a-f]{32}", token) and made["data"] == token
    assert re.fullmatch("[0-9]{4}", flash["code"]) and "sealed" not in flash and "url" not in made
    assert 0 < int(flash["message_id"]) < 2 ** 63
    assert (flash["status"], flash["ft_id"], made["expires_in"]) == ("0", "2", 300)

    envelope, state = query(client, token)
    assert (envelope["state"], envelope["code"], state["flash"]["status"]) == ("done", "pending", "0")

    before = node.conversions()
    assert mo(client, flash["code"]) == ("done", "delivered")
    envelope, state = query(client, token)
    assert (envelope["code"], state["flash"]) == ("otp_verified", {
        "status": "2", "ft_id": "2", "code": flash["code"], "mobile": MOBILE, "sender": RECEIVER,
        "send_time": "2025-04-29 17:47:00", "deliver_time": "2025-04-29 17:48:23"})
    assert node.conversions() == before + 1
    assert pushes(node, token) == 1


def test_the_same_job_again_is_the_same_request(node, client):
    job_id = next(ids)
    first = create(client, job_id)[1]
    with Client(node.clients) as again:
        assert create(again, job_id)[1] == first


def test_no_code_lies_in_redis(node, client):
    code = next(codes)
    token = created(client, code=code)["request_id"]
    r = node.redis()
    for key in r.scan_iter(count=1000):
        assert code.encode() not in key
        kind = r.type(key)
        whole = {b"string": r.get, b"hash": r.hgetall, b"list": lambda k: r.lrange(k, 0, -1),
                 b"stream": r.xrange, b"zset": lambda k: r.zrange(k, 0, -1)}[kind](key)
        assert code not in str(whole), key
    assert query(client, token)[1]["flash"]["code"] == code
    assert code not in node.logs()


def test_the_page_sees_receiver_and_text_and_nothing_of_the_user(client):
    made = created(client)
    envelope, page = query(client, made["request_id"], account=None)
    assert (envelope["state"], envelope["code"]) == ("done", "otp_sent")
    assert page["flash"] == {"status": "0", "ft_id": "2", "receiver": RECEIVER,
                             "text": "Send this to continue: ##FG5x-%s##" % made["flash"]["code"]}
    assert 0 < page["expires_in"] <= 300
    assert mo(client, made["flash"]["code"]) == ("done", "delivered")
    envelope, page = query(client, made["request_id"], account=None)
    assert (envelope["state"], envelope["code"]) == ("refused", "already_verified")
    assert MOBILE not in str(page)
    assert query(client, "0" * 32, account=None)[0]["code"] == "request_not_found"


def test_a_wrong_and_a_second_sms_change_nothing(node, client):
    made = created(client)
    token, code = made["request_id"], made["flash"]["code"]
    assert mo(client, "999999") == ("refused", "request_not_found")
    assert query(client, token)[1]["flash"]["status"] == "0"
    assert mo(client, code) == ("done", "delivered")
    first = query(client, token)[1]["flash"]
    envelope, _ = client.call(*mo_job(code, mobile="6281111111111"))
    assert (envelope["state"], envelope["code"]) == ("done", "delivered")
    assert query(client, token)[1]["flash"] == first
    assert steps(node, token, "report") == 1 and steps(node, token, "report_ignored") == 1
    assert pushes(node, token) == 1


def test_a_late_sms_changes_nothing(node, client):
    made = created(client, validity_s=1)
    token = made["request_id"]
    wait_for(lambda: query(client, token)[1]["flash"]["status"] == "1", 10, "the request is over")
    assert mo(client, made["flash"]["code"]) == ("done", "delivered")
    assert query(client, token)[1]["flash"]["status"] == "1"
    assert steps(node, token, "report_ignored") == 1 and pushes(node, token) == 0
    assert query(client, token, account=None)[0]["code"] == "otp_expired"


def test_200_identical_sms_at_once_are_one_match(node, client):
    made = created(client)
    token, before = made["request_id"], node.conversions()
    jobs = [mo_job(made["flash"]["code"]) for _ in range(200)]
    client.submit(*jobs)
    for envelope, _ in client.wait([e["id"] for e, _ in jobs], 60):
        assert (envelope["state"], envelope["code"]) == ("done", "delivered")
    assert node.conversions() == before + 1
    assert pushes(node, token) == 1 and steps(node, token, "report") == 1


def test_a_flood_of_wrong_sms_does_not_grow_the_store(node, client):
    created(client)
    r = node.redis()
    mo(client, "999999")
    counted = sum(int(v) for key in r.scan_iter("otpq:c:*") for k, v in r.hgetall(key).items()
                  if k.endswith(b"mo_unmatched"))
    keys = r.dbsize()
    jobs = [mo_job("9%05d" % i) for i in range(500)]
    client.submit(*jobs)
    client.wait([e["id"] for e, _ in jobs], 60)
    assert r.dbsize() <= keys
    assert counted + 500 == sum(int(v) for key in r.scan_iter("otpq:c:*")
                                for k, v in r.hgetall(key).items() if k.endswith(b"mo_unmatched"))


def test_a_token_is_its_accounts(client):
    token = created(client)["request_id"]
    for other in ("other", "dem", "demo2"):
        envelope, _ = query(client, token, account=other)
        assert (envelope["state"], envelope["code"]) == ("refused", "request_not_found")
    envelope, _ = create(client, account="other")
    assert (envelope["state"], envelope["code"]) == ("refused", "integration_not_found")


@pytest.mark.parametrize("body, code", [
    ({"ft_id": "77"}, "integration_not_found"), ({"code": "12"}, "invalid_request"),
    ({"validity_s": 601}, "invalid_request"), ({"ft_id": ""}, "invalid_request")])
def test_what_cannot_be_made_is_refused(client, body, code):
    envelope, _ = create(client, **body)
    assert (envelope["state"], envelope["code"]) == ("refused", code)


def test_a_code_is_one_live_requests(client):
    code = next(codes)
    created(client, code=code)
    envelope, result = create(client, code=code)
    assert (envelope["state"], envelope["code"]) == ("refused", "conflict"), result
    assert code not in str(result)


def test_codes_made_here_are_never_two_live_requests(client):
    jobs = [({"id": next(ids), "op": "flash.create", "route": LANE}, {"ft_id": "2", "account": ACCOUNT})
            for _ in range(300)]
    client.submit(*jobs)
    made = [body["flash"]["code"] for _, body in client.wait([e["id"] for e, _ in jobs], 60)]
    assert len(set(made)) == len(made)


def test_a_nonce_counts_once_and_for_its_job_again(client):
    job_id = next(ids)
    first = create(client, job_id, nonce="1653043349000")
    assert first[0]["code"] == "otp_sent"
    envelope, _ = create(client, nonce="1653043349000")
    assert (envelope["state"], envelope["code"]) == ("refused", "invalid_user_credentials")
    token = first[1]["request_id"]
    assert query(client, token, nonce="n1")[0]["state"] == "done"
    envelope, _ = query(client, token, nonce="n1")
    assert (envelope["state"], envelope["code"]) == ("refused", "invalid_user_credentials")


def test_a_report_that_is_about_nobody_is_refused(client):
    envelope, body = mo_job("1234")
    del body["otp"]
    assert client.call(envelope, body)[0]["code"] == "invalid_request"
    envelope, body = mo_job("1234", mobile="nobody")
    assert client.call(envelope, body)[0]["code"] == "invalid_msisdn"


def test_a_request_outlives_broker_and_worker(node, client):
    """The stored result is opened by whoever answers: not by the broker that remembers it."""
    job_id = next(ids)
    made = create(client, job_id, nonce="outlives")[1]
    old = node.children()
    os.kill(old["otpq-broker"], signal.SIGKILL)
    wait_for(lambda: node.children().get("otpq-broker") not in (None, old["otpq-broker"]), 20,
             "another broker")
    with Client(node.clients) as again:
        assert create(again, job_id, nonce="outlives")[1] == made
