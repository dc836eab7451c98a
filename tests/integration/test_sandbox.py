"""The sandbox advertiser as a process of its own: every way in which a number misbehaves."""
import json
import os
import re
import signal
import socket
import subprocess
import time
import urllib.parse

import pytest

from node import BUILD, SLOW, free_ports, http, wait_for

OTPQ = os.path.join(BUILD, "bin", "otpq")


class Sandbox:
    def __init__(self, *arguments):
        self.port, = free_ports(1)
        self.process = subprocess.Popen(
            [OTPQ, "sandbox", "--listen", "127.0.0.1:%d" % self.port, *arguments],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)

    def __enter__(self):
        wait_for(self._listens, 10, "the sandbox listens")
        return self

    def _listens(self):
        assert self.process.poll() is None
        with socket.socket() as s:
            return s.connect_ex(("127.0.0.1", self.port)) == 0

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(10 * SLOW) == 0
        self.process.stdout.close()

    def url(self, path, **params):
        return "http://127.0.0.1:%d%s?%s" % (self.port, path, urllib.parse.urlencode(params))

    def call(self, path, **params):
        status, text, _ = http(self.url(path, **params))
        return status, json.loads(text)

    def raw(self, path, seconds=5, **params):
        """Everything until the server closes or the time is over: (bytes, closed by reset?)."""
        request = "GET %s?%s HTTP/1.1\r\nHost: h\r\n\r\n" % (path, urllib.parse.urlencode(params))
        received = b""
        with socket.create_connection(("127.0.0.1", self.port), timeout=seconds) as s:
            s.sendall(request.encode())
            try:
                while True:
                    more = s.recv(65536)
                    if not more:
                        return received, "closed"
                    received += more
            except socket.timeout:
                return received, "open"
            except ConnectionResetError:
                return received, "reset"


@pytest.fixture(scope="module")
def sandbox():
    with Sandbox() as s:
        yield s


def test_an_ordinary_flow(sandbox):
    status, sent = sandbox.call("/otp/send", msisdn="+66812340000")
    assert status == 200 and sent["status"] == "ok" and re.fullmatch(r"sb-\d+", sent["request_id"])
    inbox = sandbox.call("/inbox", msisdn="66812340000")[1]
    assert [list(m) for m in inbox] == [["msisdn", "otp", "text", "at_ms"]]
    assert inbox[0]["msisdn"] == "66812340000" and re.fullmatch(r"\d{6}", inbox[0]["otp"])
    assert abs(inbox[0]["at_ms"] - time.time() * 1000) < 10000 * SLOW
    wrong = sandbox.call("/otp/verify", msisdn="66812340000", otp="x")
    assert wrong == (200, {"status": "error", "error": "wrong_otp"})
    right = dict(msisdn="66812340000", otp=inbox[0]["otp"], request_id=sent["request_id"])
    assert sandbox.call("/otp/verify", **right) == (200, {"status": "ok"})
    assert sandbox.call("/otp/verify", **right)[1]["error"] == "no_request"
    assert sandbox.call("/ledger", msisdn="66812340000") == (200, {"sends": 1, "verifies": 3})


def test_forms_json_and_texts(sandbox):
    url = "http://127.0.0.1:%d/otp/send" % sandbox.port
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    assert http(url, "POST", b"msisdn=66812340001&text=Code+4711+now", form)[0] == 200
    body = json.dumps({"msisdn": "66812340001", "text": "C\u00f3digo 123456"}).encode()
    assert http(url, "POST", body, {"Content-Type": "application/json"})[0] == 200
    inbox = sandbox.call("/inbox", msisdn="66812340001")[1]
    assert [(m["otp"], m["text"]) for m in inbox] == [("123456", "C\u00f3digo 123456"), ("4711", "Code 4711 now")]


@pytest.mark.parametrize("tail,word", [
    ("9000", "wrong_number"), ("9001", "already_subscribed"), ("9002", "insufficient_balance"),
    ("9003", "not_eligible"), ("9004", "blocked"), ("9005", "fraud"), ("9999", "wrong_number")])
def test_words(sandbox, tail, word):
    for path in ("/otp/send", "/otp/verify"):
        assert sandbox.call(path, msisdn="6681234" + tail, otp="1") == (200, {"status": "error", "error": word})
    assert sandbox.call("/inbox", msisdn="6681234" + tail)[1] == []
    assert sandbox.call("/ledger", msisdn="6681234" + tail)[1] == {"sends": 1, "verifies": 1}


@pytest.mark.parametrize("tail,status,start", [
    ("9014", 500, "<html>"), ("9017", 503, "<html>"), ("9019", 403, "<html>"), ("9022", 200, "")])
def test_bad_answers(sandbox, tail, status, start):
    got, text, _ = http(sandbox.url("/otp/send", msisdn="6681235" + tail))
    assert got == status and text.startswith(start) and (start or text == "")


def test_more_bad_answers(sandbox):
    garbage, _ = sandbox.raw("/otp/send", 0.5, msisdn="66812359015")
    assert b"200 OK" in garbage and b"\xff" in garbage
    large = http(sandbox.url("/otp/send", msisdn="66812359020"))[1]
    assert len(large) > 65536 and json.loads(large)["status"] == "ok"
    status, _, headers = http(sandbox.url("/otp/send", msisdn="66812359023"))
    assert status == 429 and headers["Retry-After"] == "2"
    first, second = (sandbox.call("/otp/send", msisdn="66812359016")[1] for _ in range(2))
    assert first == second and len(sandbox.call("/inbox", msisdn="66812359016")[1]) == 2


def test_connections_that_break(sandbox):
    assert sandbox.raw("/otp/send", msisdn="66812369012") == (b"", "reset")
    half, end = sandbox.raw("/otp/send", msisdn="66812369013")
    assert end == "closed" and half.startswith(b"HTTP/1.1 200 OK\r\n")
    length = int(re.search(rb"Content-Length: (\d+)", half).group(1))
    assert 0 < len(half.split(b"\r\n\r\n")[1]) < length
    assert sandbox.raw("/otp/send", 1, msisdn="66812369011") == (b"", "open")
    drip, end = sandbox.raw("/otp/send", 1, msisdn="66812369021")
    assert end == "closed" or 5 <= len(drip) <= 30, drip
    for tail in ("9011", "9012", "9013", "9021"):
        assert sandbox.call("/ledger", msisdn="6681236" + tail)[1] == {"sends": 1, "verifies": 0}
        assert len(sandbox.call("/inbox", msisdn="6681236" + tail)[1]) == 1


def test_slow_answers(sandbox):
    began = time.monotonic()
    assert sandbox.call("/otp/send", msisdn="66812349018")[1]["status"] == "ok"
    assert 0.45 < time.monotonic() - began < 1.5 * SLOW
    began = time.monotonic()
    assert sandbox.call("/otp/send", msisdn="66812349010")[1]["status"] == "ok"
    assert 2.9 < time.monotonic() - began < 4 * SLOW


@pytest.mark.parametrize("tail,word", [
    ("9100", "wrong_otp"), ("9101", "expired"), ("9106", "no_request"), ("9107", "too_many_attempts")])
def test_verifies_that_fail(sandbox, tail, word):
    msisdn = "6681234" + tail
    assert sandbox.call("/otp/send", msisdn=msisdn)[1]["status"] == "ok"
    otp = sandbox.call("/inbox", msisdn=msisdn)[1][0]["otp"]
    assert sandbox.call("/otp/verify", msisdn=msisdn, otp=otp)[1] == {"status": "error", "error": word}


def test_verifies_that_misbehave(sandbox):
    for tail in ("9102", "9103", "9104", "9105"):
        assert sandbox.call("/otp/send", msisdn="6681234" + tail)[1]["status"] == "ok"
    assert sandbox.raw("/otp/verify", 0.5, msisdn="66812349102", otp="1") == (b"", "open")
    assert http(sandbox.url("/otp/verify", msisdn="66812349103", otp="1"))[0] == 500
    assert sandbox.raw("/otp/verify", msisdn="66812349104", otp="1") == (b"", "reset")
    assert b"\xff" in sandbox.raw("/otp/verify", 0.5, msisdn="66812349105", otp="1")[0]
    for tail in ("9102", "9103", "9104", "9105"):
        assert sandbox.call("/ledger", msisdn="6681234" + tail)[1] == {"sends": 1, "verifies": 1}


def test_bad_requests(sandbox):
    for path in ("/otp/send", "/otp/verify", "/inbox"):
        assert sandbox.call(path)[0] == 400
        assert sandbox.call(path, msisdn="abc")[0] == 400
    assert sandbox.call("/nothing")[0] == 404
    status, _, headers = http("http://127.0.0.1:%d/otp/send" % sandbox.port, "DELETE")
    assert status == 405 and headers["Allow"] == "GET, POST"


def test_the_table_prints_itself(sandbox):
    table = subprocess.run([OTPQ, "sandbox", "--numbers"], stdout=subprocess.PIPE, check=True).stdout.decode()
    rows = json.loads(subprocess.run([OTPQ, "sandbox", "--numbers", "--json"], stdout=subprocess.PIPE,
                                     check=True).stdout)
    assert len(rows) > 20
    for row in rows:
        assert re.search(r"%s +%s +%s" % (row["last4"], row["side"], re.escape(row["meaning"])), table)
    assert table in http("http://127.0.0.1:%d/" % sandbox.port)[1]


def test_delay_and_bad_arguments():
    with Sandbox("--delay-ms", "200") as s:
        began = time.monotonic()
        assert s.call("/otp/send", msisdn="66812340000")[1]["status"] == "ok"
        assert 0.19 < time.monotonic() - began < 1 * SLOW
        taken = subprocess.run([OTPQ, "sandbox", "--listen", "127.0.0.1:%d" % s.port],
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
        assert taken.returncode != 0
        assert str(s.port).encode() in taken.stderr and b"sandbox.listen" in taken.stderr
    for arguments in (["--delay-ms", "x"], ["--what"], ["more"]):
        assert subprocess.run([OTPQ, "sandbox", *arguments], stderr=subprocess.DEVNULL, check=False).returncode == 2


def test_the_customer_remembers_callbacks_and_fails_the_first_of_each_message():
    with Sandbox() as s:
        url = s.url("/customer/shop", fail="2", STATUS="SUCCESS", MSG="")
        assert [http(url)[0] for _ in range(4)] == [500, 500, 200, 200]
        other = s.url("/customer/shop", fail="2", STATUS="ERROR")
        assert http(other)[0] == 500
        push = json.dumps({"code": "3872"}).encode()
        by_id = {"webhook-id": "msg_1", "Content-Type": "application/json"}
        status, text, _ = http(s.url("/customer/fotp"), "POST", push, by_id)
        assert (status, json.loads(text)) == (200, {"code": "0"})
        shop = s.call("/callbacks", name="shop")[1]
        assert [c["answered"] for c in shop] == [500, 200, 200, 500, 500]
        assert shop[0]["query"] == {"fail": "2", "STATUS": "ERROR"}
        assert shop[1]["query"] == {"fail": "2", "STATUS": "SUCCESS", "MSG": ""}
        assert (shop[1]["name"], shop[1]["method"], shop[1]["body"]) == ("shop", "GET", "")
        fotp, = s.call("/callbacks", name="fotp")[1]
        assert fotp["method"] == "POST" and fotp["body"] == push.decode()
        assert {k.lower(): v for k, v in fotp["headers"].items()}["webhook-id"] == "msg_1"
        assert abs(fotp["at_ms"] / 1000 - time.time()) < 60
        assert len(s.call("/callbacks")[1]) == 6
        assert s.call("/callbacks", name="nobody") == (200, [])


def test_the_customer_says_what_is_wrong_with_an_address():
    with Sandbox() as s:
        assert s.call("/customer/shop", fail="x")[0] == 400
        assert s.call("/customer/a%2Fb")[0] == 404
        assert s.call("/customer/" + "x" * 65)[0] == 404
        assert s.call("/callbacks") == (200, [])


def test_one_webhook_id_is_one_message_whatever_it_carries():
    with Sandbox() as s:
        url = s.url("/customer/shop", fail="1")
        same = {"webhook-id": "msg_2"}
        assert http(url, "POST", b"a", same)[0] == 500
        assert http(url, "POST", b"b", same)[0] == 200
        assert http(url, "POST", b"b", {"webhook-id": "msg_3"})[0] == 500
