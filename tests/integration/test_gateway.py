"""One gateway process between a fake broker and a real Redis: what HTTP clients do, and what they
get."""
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import urllib.parse

import pytest

from fake_broker import FakeBroker, result, sent
from node import BUILD, ROOT, SLOW, free_ports, http, wait_for

CREDENTIALS = {"key": "demo-key-1001", "aid": "1001", "mid": "1"}
GEN = dict(CREDENTIALS, partner="demo", msisdn="66812340000")
CREDENTIALS_REFUSED = {"status": "400", "error": "invalid_user_credentials"}


class Gateway:
    """redis-server, a fake broker and one otpq-gateway in a folder of their own."""

    def __init__(self, **options):
        self.dir = tempfile.mkdtemp(prefix="otpq-")
        self.port, broker_port = free_ports(2)
        self.broker = FakeBroker(broker_port)
        self.env = dict(os.environ, OTPQ_DIR=self.dir, OTPQ_GATEWAY_LISTEN="127.0.0.1:%d" % self.port,
                        OTPQ_GATEWAY_BROKERS=self.broker.address, OTPQ_LOG_LEVEL="debug",
                        **{"OTPQ_GATEWAY_" + k.upper(): str(v) for k, v in options.items()})
        self.log_path = os.path.join(self.dir, "gateway.log")
        self.redis = self.process = None

    def start_redis(self):
        socket_path = os.path.join(self.dir, "redis.sock")
        self.redis = subprocess.Popen(["redis-server", "--port", "0", "--unixsocket", socket_path, "--save", "",
                                       "--dir", self.dir], stdout=subprocess.DEVNULL)
        wait_for(lambda: os.path.exists(socket_path), 10, "redis-server is there")
        self.apply(os.path.join(ROOT, "deploy", "demo.yaml"))

    def apply(self, path):
        subprocess.run([os.path.join(BUILD, "bin", "otpq"), "apply", "-f", path], env=self.env, check=True,
                       stdout=subprocess.DEVNULL, timeout=30 * SLOW)

    def start_gateway(self):
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen([os.path.join(BUILD, "bin", "otpq-gateway")], env=self.env, stderr=log)
        wait_for(lambda: self.listens() or self.process.poll() is not None, 10, "the gateway listens")

    def listens(self):
        with socket.socket() as s:
            return s.connect_ex(("127.0.0.1", self.port)) == 0

    def __enter__(self):
        self.start_redis()
        self.broker.start()
        self.start_gateway()
        wait_for(lambda: self.health()[0] == 200, 10, "the gateway is healthy")
        return self

    def __exit__(self, *_):
        try:
            self.process.send_signal(signal.SIGTERM)
            assert self.process.wait(20 * SLOW) == 0
        finally:
            self.process.kill()
            self.broker.stop()
            self.redis.kill()
            self.redis.wait()
            shutil.rmtree(self.dir)

    def log(self):
        with open(self.log_path, "rb") as f:
            return f.read().decode()

    def url(self, path, params):
        return "http://127.0.0.1:%d%s?%s" % (self.port, path, urllib.parse.urlencode(params))

    def call(self, path, params, **more):
        status, text, headers = http(self.url(path, params), **more)
        return status, json.loads(text), headers

    def health(self):
        return self.call("/healthz", {})

    def raw(self, request, seconds=5):
        """Everything until the server closes."""
        received = b""
        with socket.create_connection(("127.0.0.1", self.port), timeout=seconds * SLOW) as s:
            s.sendall(request)
            while True:
                try:
                    more = s.recv(65536)
                except ConnectionResetError:
                    return received.decode()
                if not more:
                    return received.decode()
                received += more


@pytest.fixture(scope="module")
def gateway():
    with Gateway(request_ms=1000) as g:
        yield g


@pytest.fixture(autouse=True)
def answers_as_usual(gateway):
    gateway.broker.answer = sent
    gateway.broker.jobs.clear()
    yield
    gateway.broker.release()


def test_system_2(gateway):
    status, answer, headers = gateway.call("/api/af/otp_gen", dict(GEN, userId="u1", color="red"), method="POST")
    assert (status, answer) == (200, {"status": "200", "response": "otp_sent", "data": "r00" + "a" * 20})
    assert list(answer) == ["status", "response", "data"]
    (envelope, body), = gateway.broker.jobs
    assert envelope["id"] == headers["X-Request-Id"] and re.fullmatch(r"g-[a-z2-7]{26}", envelope["id"])
    assert (envelope["op"], envelope["route"], envelope["tenant"]) == ("send", "demo", "1001")
    assert body["msisdn"] == "66812340000" and body["user_id"] == "u1" and body["ip"] == "127.0.0.1"
    assert body["params"] == {"color": "red"} and body["user_agent"].startswith("Python-urllib")
    assert "key" not in json.dumps(body)
    status, answer, _ = gateway.call("/api/af/otp_verify", dict(GEN, otp="123456", request_id=answer["data"]))
    assert (status, answer) == (200, {"status": "200", "response": "otp_verified"})
    assert gateway.broker.jobs[1][1]["otp"] == "123456"


def test_the_user_is_who_the_parameters_say(gateway):
    headers = {"User-Agent": "server/1", "Accept-Language": "th, en;q=0.5", "X-Forwarded-For": "203.0.113.1"}
    gateway.call("/api/af/otp_gen", GEN, headers=headers)
    gateway.call("/api/af/otp_gen", dict(GEN, ip="203.0.113.9", userAgent="Opera", lang="en"), headers=headers)
    told = [[body[key] for key in ("ip", "user_agent", "lang")] for _, body in gateway.broker.jobs]
    assert told == [["127.0.0.1", "server/1", "th"], ["203.0.113.9", "Opera", "en"]]


def test_system_1(gateway):
    params = {"key": "demo-key-1001", "msisdn": "66812340000"}
    assert gateway.call("/e/demo1001/otp_gen", params)[:2] == (
        200, {"status": "200", "response": "otp_sent_successfully"})
    assert gateway.call("/e/demo1001/otp_verify", dict(params, otp="1234"))[:2] == (
        200, {"status": "200", "response": "otp_verified_successfully"})
    gateway.broker.answer = lambda e, b: result(e, "refused", "already_subscribed", error="already_subscribed",
                                                advertiser={"http": 200, "body": "{}", "ms": 3})
    assert gateway.call("/e/demo1001/otp_gen", params)[:2] == (
        400, {"status": "400", "error": "already_subscribed", "advertiser": {"http": 200, "body": "{}"}})
    assert gateway.call("/e/nobody/otp_gen", params)[0] == 404


def test_bodies(gateway):
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    rest = urllib.parse.urlencode({"partner": "demo", "msisdn": "66812340000"}).encode()
    assert gateway.call("/api/af/otp_gen", CREDENTIALS, method="POST", body=rest, headers=form)[0] == 200
    whole = json.dumps(dict(GEN, aid=1001)).encode()
    for method in ("POST", "GET"):
        assert gateway.call("/api/af/otp_gen", {}, method=method, body=whole,
                            headers={"Content-Type": "application/json"})[0] == 200
    assert gateway.call("/api/af/otp_gen", {}, method="POST", body=whole,
                        headers={"Content-Type": "text/plain"})[0] == 200
    assert len(gateway.broker.jobs) == 4
    for kind in ("text/plain", "multipart/form-data", "application/json"):
        status, answer, _ = gateway.call("/api/af/otp_gen", CREDENTIALS, method="POST", body=rest,
                                         headers={"Content-Type": kind})
        assert (status, answer["error"]) == (400, "invalid_request") and "JSON object" in answer["detail"]
    assert len(gateway.broker.jobs) == 4


@pytest.mark.parametrize("change", [
    {"key": "wrong"}, {"aid": "7"}, {"mid": "2"}, {"aid": "1002"}, {"key": "demo-key-1002"},
    {"aid": "1002", "key": "demo-key-1002"}])
@pytest.mark.parametrize("path", ["/api/af/otp_gen", "/api/af/otp_verify", "/e/demo1001/otp_gen"])
def test_credentials_take_no_queue_slot(gateway, path, change):
    status, answer, headers = gateway.call(path, dict(dict(GEN, otp="1"), **change))
    assert (status, answer) == (400, CREDENTIALS_REFUSED) and headers["X-Request-Id"]
    assert not gateway.broker.jobs


@pytest.mark.parametrize("query,error,detail", [
    ("msisdn=", "invalid_request", "msisdn is missing"),
    ("msisdn=66812340000&msisdn=66812340001", "invalid_request", "msisdn is given twice with different values"),
    ("msisdn=66%0d%0a1", "invalid_request", "msisdn is not UTF-8 or has control characters"),
    ("msisdn=66%001", "invalid_request", "msisdn is not UTF-8 or has control characters"),
    ("msisdn=%ff", "invalid_request", "msisdn is not UTF-8 or has control characters"),
    ("msisdn=%4", "invalid_request", None), ("msisdn=123", "invalid_msisdn", None),
    ("msisdn=abc", "invalid_msisdn", None), ("x=" + "y" * 1025, "invalid_request", "x has more than 1024 bytes"),
    ("msisdn=66812340000&partner2=1&" + "&".join("p%d=1" % i for i in range(40)), "invalid_request",
     "more than 32 parameters beside the published ones")])
def test_bad_parameters(gateway, query, error, detail):
    base = "http://127.0.0.1:%d/api/af/otp_gen?%s&partner=demo&" % (gateway.port, urllib.parse.urlencode(CREDENTIALS))
    status, text, _ = http(base + query)
    answer = json.loads(text)
    assert (status, answer["status"], answer["error"]) == (400, "400", error), answer
    assert answer["detail"] == detail or (detail is None and answer["detail"])
    assert not gateway.broker.jobs


def test_unknown_partner(gateway):
    status, answer, _ = gateway.call("/api/af/otp_gen", dict(GEN, partner="nobody"))
    assert (status, answer["error"]) == (400, "integration_not_found")


def test_paths_and_methods(gateway):
    for path in ("/", "/api/af", "/api/af/otp_gen/", "/e/x/otp_send"):
        status, answer, headers = gateway.call(path, {})
        assert (status, answer["status"]) == (404, "404") and headers["X-Request-Id"]
    for path in ("/api/af/otp_gen", "/api/af/otp_verify", "/e/demo1001/otp_gen", "/e/demo1001/otp_verify"):
        for method in ("PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"):
            status, answer, headers = gateway.call(path, GEN, method=method)
            assert (status, answer["status"], headers["Allow"]) == (405, "405", "GET, POST")
            assert answer["error"] == "invalid_request" and "Allow" in answer["detail"]
        status, text, headers = http(gateway.url(path, GEN), method="HEAD")
        assert (status, text, headers["Allow"]) == (405, "", "GET, POST") and int(headers["Content-Length"]) > 0
    assert not gateway.broker.jobs


def test_results_of_the_queue(gateway):
    gateway.broker.answer = lambda e, b: result(e, "refused", "wrong_otp", error="wrong_otp", attempts_left=3,
                                                expires_in=100)
    assert gateway.call("/api/af/otp_verify", dict(GEN, otp="1"))[:2] == (
        400, {"status": "400", "error": "wrong_otp", "attempts_left": 3, "expires_in": 100})
    gateway.broker.answer = lambda e, b: ("N", {"id": e["id"], "error": "queue_full", "detail": "full",
                                                "retry_after_ms": 2500}, {})
    status, answer, headers = gateway.call("/api/af/otp_gen", GEN)
    assert (status, answer["error"], answer["retry_after"], headers["Retry-After"]) == (503, "queue_full", 3, "3")
    gateway.broker.answer = lambda e, b: result(e, "refused", "store_unavailable", error="store_unavailable")
    status, answer, headers = gateway.call("/api/af/otp_verify", dict(GEN, otp="1"))
    assert (status, answer, headers["Retry-After"]) == (
        503, {"status": "503", "error": "store_unavailable", "retry_after": 1}, "1")


LOGIN = {"username": "demo", "password": "demo-pass", "msisdn": "66812340000"}
SEND_CODE = "/one-time-password-sms/v1/send-code"
MESSAGE = {"phoneNumber": "+66812340000", "message": "{{code}} is your code"}


def send_code(gateway, token="demo-token"):
    return gateway.call(SEND_CODE, {}, method="POST", body=json.dumps(MESSAGE).encode(),
                        headers={"Authorization": "Bearer " + token, "x-correlator": "c-1"})


def test_system_3(gateway):
    gateway.broker.answer = lambda e, b: result(e, "done", "otp_sent", request_id="8123456789012", response="otp_sent")
    status, answer, headers = gateway.call("/send", dict(LOGIN, eid="order-7", color="red"))
    assert (status, answer) == (200, {"STATUS": "SUCCESS", "MSG": "", "CODE": "200", "MSGID": "8123456789012"})
    gateway.broker.answer = lambda e, b: result(e, "refused", "wrong_otp", request_id="8123456789012", eid="order-7",
                                                error="wrong_otp", attempts_left=4)
    status, answer, _ = gateway.call("/code", dict(LOGIN, sid=answer["MSGID"], code="1234", msisdn=""))
    assert (status, answer["CODE"], answer["RESULT"], answer["EXTID"]) == (200, "200", "FAILED", "order-7")
    (first, body), (second, code) = gateway.broker.jobs
    assert first["id"] == headers["X-Request-Id"] and (first["op"], second["op"]) == ("send", "verify")
    assert first["route"] == second["route"] == "demo-local"
    assert first["tenant"] == second["tenant"] == body["party"] == code["party"] == body["lane"] == "account:demo"
    assert (body["id_as"], body["eid"], body["params"]) == ("number", "order-7", {"color": "red"})
    assert (code["request_id"], code["otp"]) == ("8123456789012", "1234") and "msisdn" not in code
    assert "demo-pass" not in json.dumps([body, code]) + gateway.log()


def test_system_5(gateway):
    status, answer, headers = send_code(gateway)
    assert (status, answer, headers["x-correlator"]) == (200, {"authenticationId": "r00" + "a" * 20}, "c-1")
    envelope, body = gateway.broker.jobs.pop()
    assert (envelope["op"], envelope["route"], envelope["tenant"]) == ("send", "demo-local", "token:demo")
    assert (body["party"], body["text"], body["msisdn"]) == ("token:demo", "{otp} is your code", "66812340000")
    assert send_code(gateway, "demo-tokem")[0] == 401 and not gateway.broker.jobs
    text = gateway.log()
    assert "demo-token" not in text and "demo-tokem" not in text


def check_overload(gateway):
    """Everybody is told in the own words, with the same status and header."""
    status, answer, headers = gateway.call("/send", LOGIN)
    assert (status, headers["Retry-After"], answer["STATUS"], answer["CODE"]) == (503, "1", "ERROR", "500")
    status, answer, headers = gateway.call("/code", dict(LOGIN, sid=5, code=1, msisdn=""))
    assert (status, headers["Retry-After"], answer["MSGID"], answer["RESULT"]) == (503, "1", 5, "FAILED")
    status, answer, headers = send_code(gateway)
    assert (status, headers["Retry-After"], answer["code"], answer["status"]) == (503, "1", "UNAVAILABLE", 503)
    assert headers["x-correlator"] == "c-1"
    return answer["message"].split(":")[0]


def test_overload_in_the_words_of_each_system(gateway):
    for word in ("queue_full", "store_unavailable"):
        gateway.broker.answer = lambda e, b: ("N", {"id": e["id"], "error": word, "detail": "later"}, {})
        assert check_overload(gateway) == word


def test_addresses_of_callbacks_tell_nothing(gateway):
    """A wrong token, an integration without callbacks, one that is not there: as any unknown path."""
    elsewhere = gateway.call("/cb/x", {})[:2]
    for path in ("/cb/template/demo/x", "/cb/otpservice/demo/x", "/cb/otpservice/nobody/x", "/cb/x/y/z",
                 "/cb/template/demo/" + "x" * 2000):
        for method in ("GET", "POST"):
            assert gateway.call(path, {"STATUS": "SUCCESS"}, method=method)[:2] == elsewhere
    assert elsewhere[0] == 404 and not gateway.broker.jobs
    assert gateway.call("/cb/x/y/z", {}, method="PUT")[0] == 405


def test_without_records_nobody_is_refused_for_good():
    """A gateway that starts while Redis is away: its callers are told to come back, each in its words."""
    g = Gateway()
    try:
        g.broker.start()
        g.start_gateway()
        assert check_overload(g) == "store_unavailable"
        assert g.call("/api/af/otp_gen", GEN)[1]["error"] == "store_unavailable"
        g.process.terminate()
        assert g.process.wait(20 * SLOW) == 0
    finally:
        g.process.kill()
        g.broker.stop()
        shutil.rmtree(g.dir)


def request_line(gateway, params, path="/api/af/otp_gen"):
    return gateway.url(path, params)[len("http://127.0.0.1:%d" % gateway.port):]


def test_answers_are_deferred_side_by_side(gateway):
    gateway.broker.answer = lambda e, b: None
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(gateway.call("/api/af/otp_gen", GEN)[0]))
               for _ in range(50)]
    for t in threads:
        t.start()
    wait_for(lambda: len(gateway.broker.held) == 50, 10, "all are queued")
    assert gateway.health()[0] == 200
    gateway.broker.release()
    for t in threads:
        t.join(10 * SLOW)
    assert answers == [200] * 50


def test_a_client_that_hangs_up_cancels_nothing(gateway):
    gateway.broker.answer = lambda e, b: None
    with socket.create_connection(("127.0.0.1", gateway.port)) as s:
        s.sendall(("GET %s HTTP/1.1\r\nHost: h\r\n\r\n" % request_line(gateway, GEN)).encode())
        wait_for(lambda: len(gateway.broker.held) == 1, 5, "it is queued")
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
    job_id = gateway.broker.jobs[0][0]["id"]
    gateway.broker.release()
    wait_for(lambda: job_id in gateway.log(), 5, "the result came")
    assert gateway.health()[0] == 200 and len(gateway.broker.jobs) == 1


def test_a_slow_request_is_cut(gateway):
    began = time.monotonic()
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=10 * SLOW) as s:
        s.sendall(b"GET / HTTP/1.1\r\nX: ")
        s.settimeout(0.1)
        received = b""
        while time.monotonic() - began < 10 * SLOW:
            try:
                s.sendall(b"a")  # a byte now and then: inactivity is not what counts
                received = s.recv(4096)
                break
            except socket.timeout:
                continue
            except OSError:
                break
    assert 0.9 < time.monotonic() - began < 3 * SLOW
    assert received == b"" or received.startswith(b"HTTP/1.1 408")


@pytest.mark.parametrize("head,status", [
    (b"POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na", "400"),
    (b"POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: +1\r\n\r\na", "400"),
    (b"POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "400"),
    (b"POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 65537\r\n\r\n", "413"),
    (b"GET /x HTTP/1.1\r\nHost: h\r\nX: " + b"x" * 8200 + b"\r\n\r\n", "431"),
    (b"GET /x HTTP/1.1\r\n\r\n", "400"), (b"GET /x HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "400"),
    (b"POST /x HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "400"),
    (b"GET /x HTTP/1.1\nHost: h\n\n", "400"), (b"BREW /x HTTP/1.1\r\n\r\n", "501"),
    (b"GET /x HTTP/2.0\r\n\r\n", "505"), (b"GET /x HTTP/1.1\r\nHost: h\r\nExpect: tea\r\n\r\n", "417"),
    (b"nonsense\r\n\r\n", "400")])
def test_bad_framing_is_refused_and_closed(gateway, head, status):
    answer = gateway.raw(head)
    assert answer.startswith("HTTP/1.1 " + status), answer
    assert "X-Request-Id: " in answer and "Connection: close" in answer
    body = json.loads(answer.split("\r\n\r\n", 1)[1])
    assert body["status"] == status and body["detail"]


def test_a_whole_address_is_taken_for_its_path(gateway):
    answer = gateway.raw(("GET %s HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n" %
                          gateway.url("/api/af/otp_gen", GEN)).encode())
    assert answer.startswith("HTTP/1.1 200 OK") and '"otp_sent"' in answer


def test_a_body_of_64_kib_is_taken(gateway):
    body = json.dumps(dict(GEN)).encode()
    body += b" " * (65536 - len(body))
    assert gateway.call("/api/af/otp_gen", {}, method="POST", body=body)[0] == 200


def test_otp_and_key_never_reach_the_log(gateway):
    gateway.call("/api/af/otp_verify", dict(GEN, otp="918273", msisdn="66899990000"))
    gateway.call("/api/af/otp_verify", dict(GEN, otp="918273", msisdn="66899990000", key="wrong-key-x"))
    text = gateway.log()
    assert "otp_verified" in text
    for secret in ("918273", "demo-key-1001", "wrong-key-x", "66899990000"):
        assert secret not in text


def test_several_processes_share_the_port(gateway):
    with open(gateway.log_path, "ab") as log:
        second = subprocess.Popen([os.path.join(BUILD, "bin", "otpq-gateway")], env=gateway.env, stderr=log)
    try:
        wait_for(lambda: gateway.log().count("msg=ready") >= 2 or gateway.log().count('"ready"') >= 2, 10, "both")
        assert all(gateway.call("/api/af/otp_gen", GEN)[0] == 200 for _ in range(20))
    finally:
        second.terminate()
        assert second.wait(20 * SLOW) == 0


def test_limits_and_health():
    with Gateway(inflight_max=2, connections_max=20) as g:
        g.broker.answer = lambda e, b: None
        threads = [threading.Thread(target=g.call, args=("/api/af/otp_gen", GEN)) for _ in range(2)]
        for t in threads:
            t.start()
        wait_for(lambda: len(g.broker.held) == 2, 5, "two wait")
        status, answer, headers = g.call("/api/af/otp_gen", GEN)
        assert (status, answer["error"], headers["Retry-After"]) == (503, "queue_full", "1")
        g.broker.release()
        for t in threads:
            t.join(5 * SLOW)
        kept = [socket.create_connection(("127.0.0.1", g.port)) for _ in range(20)]
        assert g.raw(b"GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n").startswith("HTTP/1.1 503")
        for s in kept:
            s.close()
        wait_for(lambda: g.health()[0] == 200, 5, "room again")
        g.broker.stop()
        wait_for(lambda: g.health()[0] == 503, 5, "health tells that the broker is away")
        assert "broker" in g.health()[1]["reasons"][0]
        status, answer, headers = g.call("/api/af/otp_gen", GEN)
        assert (status, answer["error"], headers["Retry-After"]) == (503, "queue_full", "1")
        g.broker.start()
        g.broker.answer = sent
        wait_for(lambda: g.health()[0] == 200, 10, "the broker is back")
        assert g.call("/api/af/otp_gen", GEN)[0] == 200


def test_the_drain_finishes_what_is_open():
    with Gateway() as g:
        g.broker.answer = lambda e, b: None
        answers = []
        t = threading.Thread(target=lambda: answers.append(g.call("/api/af/otp_gen", GEN)[0]))
        t.start()
        wait_for(lambda: len(g.broker.held) == 1, 5, "it waits")
        g.process.send_signal(signal.SIGTERM)
        wait_for(lambda: not g.listens(), 5, "nobody new is let in")
        g.broker.release()
        t.join(10 * SLOW)
        assert answers == [200]
        assert g.process.wait(10 * SLOW) == 0


def test_a_port_in_use_is_named():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        s.listen()
        port = s.getsockname()[1]
        done = subprocess.run([os.path.join(BUILD, "bin", "otpq-gateway")], stderr=subprocess.PIPE, timeout=20 * SLOW,
                              env=dict(os.environ, OTPQ_GATEWAY_LISTEN="127.0.0.1:%d" % port), check=False)
    assert done.returncode != 0
    assert str(port).encode() in done.stderr and b"gateway.listen" in done.stderr
