"""Callbacks taken in, through a whole node: a provider of system 3, played here, that tells by itself how messages
fared, before or after it answers."""
import http.server
import json
import os
import threading
import urllib.parse

import pytest

from node import Node, http as call, wait_for

TOKEN = "an-unguessable-token-7f1c0a"
RECORDS = """integrations:
  provider:
    dialect: otpservice
    base_url: http://127.0.0.1:%d
    username: us
    password: our-password
    timeout_ms: 2000
    callback_token: %s
"""


class Provider(http.server.BaseHTTPRequestHandler):
    """Answers /send and /code as its server is told."""

    def do_GET(self):
        url = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(url.query))
        self.server.calls.append((url.path, query))
        body = self.server.act(url.path, query)
        if body is None:
            self.close_connection = True
            return
        body = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def sent(path, query):
    if path == "/code":
        right = query["code"] == "1234"
        return {"STATUS": "SUCCESS", "MSG": "", "CODE": "200", "MSGID": int(query["sid"]), "EXTID": "",
                "RESULT": "PASS" if right else "FAILED"}
    return {"STATUS": "SUCCESS", "MSG": "", "CODE": "200", "MSGID": "100"}


class World:
    """A node, the provider, and what it tells."""

    def __init__(self, node, provider):
        self.node = node
        self.provider = provider
        self.last = 66812370000

    def gen(self):
        self.last += 1
        return self.node.gen(str(self.last), partner="provider")

    def verify(self, otp, request_id):
        return self.node.verify(str(self.last), otp, partner="provider", request_id=request_id)

    def tell(self, kind, extid, status="SUCCESS", code="200", token=TOKEN, method="GET"):
        """The callback as system 3 publishes it: (status, body)."""
        query = urllib.parse.urlencode({"STATUS": status, "MSG": "", "TYPE": kind, "CODE": code, "MSGID": "100",
                                        "EXTID": extid})
        path = "/cb/otpservice/provider/" + token
        if method == "POST":
            return call(self.node.gateway + path, method="POST", body=query.encode())[:2]
        return call(self.node.gateway + path + "?" + query)[:2]

    def trace(self, request_id):
        return self.node.command("trace", request_id).stdout.decode()


@pytest.fixture(scope="module")
def world():
    provider = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Provider)
    provider.calls = []
    provider.act = sent
    threading.Thread(target=provider.serve_forever, daemon=True).start()
    with Node(env={"OTPQ_OUTGOING_ALLOW": "127.0.0.0/8"}) as node:
        path = os.path.join(node.dir, "provider.yaml")
        with open(path, "w", encoding="utf-8") as f:
            f.write(RECORDS % (provider.server_address[1], TOKEN))
        node.command("apply", "-f", path)
        w = World(node, provider)
        wait_for(lambda: w.tell("9", "x")[0] == 400, 10, "the gateway has the records")
        wait_for(lambda: w.gen()[1].get("response") == "otp_sent", 10, "the worker has the records")
        yield w
    provider.shutdown()


@pytest.fixture(autouse=True)
def as_usual(world):
    world.provider.act = sent
    world.provider.calls.clear()


def test_the_provider_is_told_our_id(world):
    status, answer = world.gen()
    assert (status, answer["response"]) == (200, "otp_sent")
    assert world.provider.calls[0] == ("/send", {"msisdn": str(world.last), "username": "us",
                                                 "password": "our-password", "eid": answer["data"]})


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_delivery_changes_nothing_that_went_well(world, method):
    request_id = world.gen()[1]["data"]
    for _ in range(3):  # duplicates
        assert world.tell("0", request_id, method=method) == (200, "")
    assert world.verify("9999", request_id)[1]["error"] == "wrong_otp"
    assert world.verify("1234", request_id)[1]["response"] == "otp_verified"


def test_a_delivery_corrects_what_was_unknown(world):
    world.provider.act = lambda path, query: None
    assert world.gen()[1]["error"] == "outcome_unknown"
    request_id = world.provider.calls[0][1]["eid"]
    assert len(world.provider.calls) == 1  # never repeated
    before = world.node.conversions()
    assert world.tell("0", request_id) == (200, "")
    world.provider.act = sent
    assert world.verify("1234", request_id)[1]["response"] == "otp_verified"
    assert world.provider.calls[-1][1]["sid"] == "100"  # the callback told it, the answer could not
    assert world.node.conversions() == before + 1


def test_a_callback_may_come_before_the_answer(world):
    told = []

    def early(path, query):
        if path == "/send":
            told.append(world.tell("0", query["eid"]))
        return sent(path, query)

    world.provider.act = early
    status, answer = world.gen()
    assert (status, answer["response"], told) == (200, "otp_sent", [(200, "")])
    world.provider.act = sent
    assert world.verify("1234", answer["data"])[1]["response"] == "otp_verified"


def test_a_verification_told_counts_once(world):
    before = world.node.conversions()
    request_id = world.gen()[1]["data"]
    for _ in range(3):
        assert world.tell("1", request_id) == (200, "")
    assert world.node.conversions() == before + 1
    assert world.verify("1234", request_id)[1]["error"] == "already_verified"
    assert world.node.conversions() == before + 1
    request_id = world.gen()[1]["data"]
    assert world.verify("1234", request_id)[1]["response"] == "otp_verified"
    assert world.tell("1", request_id) == (200, "")
    assert world.node.conversions() == before + 2


def test_many_at_once_count_once(world):
    before = world.node.conversions()
    request_id = world.gen()[1]["data"]
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(world.tell("1", request_id))) for _ in range(20)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert answers == [(200, "")] * 20
    assert world.node.conversions() == before + 1


def test_a_delivery_that_failed_is_told_and_believes_the_user_all_the_same(world):
    request_id = world.gen()[1]["data"]
    assert world.tell("0", request_id, "ERROR", "400") == (200, "")
    assert "session failed" in world.trace(request_id) and "invalid_msisdn" in world.trace(request_id)
    assert world.verify("1234", request_id)[1]["response"] == "otp_verified"  # who has the code got the message


def test_strangers_change_nothing_and_learn_nothing(world):
    request_id = world.gen()[1]["data"]
    before = world.node.conversions()
    for token in ("x", TOKEN + "x", TOKEN[:-1], TOKEN.upper()):
        assert world.tell("1", request_id, token=token)[0] == 404
    unknown = world.tell("1", "r07" + "a" * 20)
    assert unknown == world.tell("1", "nobody's") == (200, "")
    assert world.node.conversions() == before
    assert world.verify("1234", request_id)[1]["response"] == "otp_verified"


def test_a_callback_that_says_nothing_is_refused(world):
    request_id = world.gen()[1]["data"]
    assert world.tell("2", request_id)[0] == 400
    assert world.tell("0", request_id, status="MAYBE")[0] == 400


def test_the_token_and_numbers_never_reach_a_log(world):
    request_id = world.gen()[1]["data"]
    assert world.tell("0", request_id)[0] == 200
    text = world.node.logs()
    for secret in (TOKEN, "our-password", str(world.last)):
        assert secret not in text
