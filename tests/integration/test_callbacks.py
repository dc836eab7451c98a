"""Callbacks out, with real processes: who was to be told is told, once received, over every death."""
import base64
import hashlib
import hmac
import http.server
import json
import os
import signal
import threading
import time
import urllib.parse

import pytest

from client import Client
from node import Node, SLOW, http as get, wait_for

KEY = b"a key of twenty-four byte"
SECRET = "whsec_" + base64.b64encode(KEY).decode()
RETRY = "  callback_retry_s: [1, 1, 2]\n"


class Customer:
    """Keeps every request; answers by what was planned for its path, 200 when nothing was."""

    def __init__(self):
        self.seen, self.plan, self.lock = [], {}, threading.Lock()
        customer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self):
                length = int(self.headers.get("content-length") or 0)
                customer.handle(self, self.rfile.read(length).decode())

            do_GET = do_POST = answer

            def log_message(self, *_):
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 100

        self.server = Server(("127.0.0.1", 0), Handler)
        self.url = "http://127.0.0.1:%d" % self.server.server_port
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def handle(self, request, body):
        path, _, query = request.path.partition("?")
        with self.lock:
            steps = self.plan.get(path, [])
            step = steps.pop(0) if steps else {}
            self.seen.append({"path": path, "query": dict(urllib.parse.parse_qsl(query, True)),
                              "order": [p.split("=")[0] for p in query.split("&")],
                              "method": request.command, "body": body, "at": time.monotonic(),
                              "headers": {k.lower(): v for k, v in request.headers.items()},
                              "status": step.get("status", 200)})
        time.sleep(step.get("wait", 0))  # a customer that is slow: part of the scene, not of the test
        text = step.get("body", "{}").encode()
        request.send_response(step.get("status", 200))
        for name, value in step.get("headers", {}).items():
            request.send_header(name, value)
        request.send_header("content-length", str(len(text)))
        request.end_headers()
        request.wfile.write(text)

    def at(self, path):
        with self.lock:
            return [s for s in self.seen if s["path"] == path]

    def close(self):
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture(scope="module")
def customer():
    c = Customer()
    yield c
    c.close()


def records(customer):
    return """network:
  mid: 1
affiliates:
  1001:
    name: Demo affiliate
    key: demo-key-1001
    api_access: true
    callback_secret: %(secret)s
    postback_url: %(url)s/postback?cid={click_id}&aid={aid}&s1={sub1}&s2={sub2}&s3={sub3}&s4={sub4}&s5={sub5}&pay={payout}&st={status}&u={user_id}&x={param.extra}
accounts:
  demo:
    password_hash: $6$MXupZ2YsfvHkqlmd$5ZVvoWWx3ybqnAz35TLb0ZpXEJ3Dshy9.ZPE/Nk34TDjFvnPD8U.MIwDY84wOfe4y.hauR48qp7.19wHySeBc1
    integration: demo-local
    callback_url: %(url)s/account?from=otpq
    callback_secret: %(secret)s
    secret: demo-secret
    time_zone: Asia/Bangkok
flash_templates:
  2:
    title: Demo template
    account: demo
    receivers:
      - "1008611"
    content: "Send this to continue: ##FG5x-{code}##"
    callback_url: %(url)s/push
""" % {"url": customer.url, "secret": SECRET}


@pytest.fixture(scope="module")
def node(customer):
    with Node(config={"worker": RETRY}, env={"OTPQ_OUTGOING_ALLOW": "127.0.0.0/8"}) as n:
        path = os.path.join(n.dir, "callbacks.yaml")
        with open(path, "w", encoding="utf-8") as f:
            f.write(records(customer))
        n.command("apply", "-f", path)
        yield n


numbers = iter("6681555%04d" % i for i in range(1000))


def send(node):
    """Through system 3: (number, MSGID, reference)."""
    number = next(numbers)
    eid = "ref %s" % number
    status, answer = node.call("/send", msisdn=number, username="demo", password="demo-pass", eid=eid)
    assert (status, answer["STATUS"]) == (200, "SUCCESS"), answer
    return number, answer["MSGID"], eid


def told(customer, path, eid, kind="0", count=1, status=200):
    """The callbacks of one request that were answered so."""
    def enough():
        found = [s for s in customer.at(path) if s["query"].get("EXTID") == eid and
                 s["query"].get("TYPE") == kind and s["status"] == status]
        return found if len(found) >= count else None
    return wait_for(enough, 20, "%d callbacks of type %s, answered %d" % (count, kind, status))


def callbacks(node, *argv):
    done = node.command("callbacks", "list", "--json", *argv)
    return [json.loads(line) for line in done.stdout.decode().splitlines()]


def signature(key, seen):
    """As the standard says, and nothing of otpq in it."""
    h = seen["headers"]
    text = "%s.%s.%s" % (h["webhook-id"], h["webhook-timestamp"], seen["body"])
    return "v1," + base64.b64encode(hmac.new(key, text.encode(), hashlib.sha256).digest()).decode()


def test_status_and_result(node, customer):
    number, msgid, eid = send(node)
    seen = told(customer, "/account", eid)[0]
    assert seen["order"] == ["from", "STATUS", "MSG", "TYPE", "CODE", "MSGID", "EXTID"]
    assert seen["query"] == {"from": "otpq", "STATUS": "SUCCESS", "MSG": "", "TYPE": "0",
                             "CODE": "200", "MSGID": msgid, "EXTID": eid}
    assert seen["method"] == "GET" and seen["body"] == ""
    assert seen["headers"]["webhook-id"].startswith("msg_")
    assert abs(int(seen["headers"]["webhook-timestamp"]) - time.time()) < 30 * SLOW
    assert seen["headers"]["webhook-signature"] == signature(KEY, seen)
    code = node.inbox(number)[0]["otp"]
    wrong = "%06d" % ((int(code) + 1) % 1000000)
    for otp, result in ((wrong, "FAILED"), (code, "PASS")):
        answer = node.call("/code", sid=msgid, code=otp, username="demo", password="demo-pass")[1]
        assert answer["RESULT"] == result
    results = told(customer, "/account", eid, kind="1", count=2)
    assert [(r["query"]["STATUS"], r["query"]["MSG"], r["query"]["CODE"]) for r in results] == [
        ("ERROR", "wrong_otp", "400"), ("SUCCESS", "", "200")]


def test_three_failures_then_one_receipt(node, customer):
    customer.plan["/account"] = [{"status": 500}, {"status": 503}, {"status": 302, "headers": {
        "location": customer.url + "/elsewhere"}}]
    _, _, eid = send(node)
    good = told(customer, "/account", eid)
    failed = [s for s in customer.at("/account") if s["query"]["EXTID"] == eid and s["status"] != 200]
    assert [f["status"] for f in failed] == [500, 503, 302]
    assert len({s["headers"]["webhook-id"] for s in good + failed}) == 1
    assert not customer.at("/elsewhere")
    wait_for(lambda: not callbacks(node, "--state", "due") and
             not callbacks(node, "--state", "running"), 10, "nothing is due any more")
    assert len(told(customer, "/account", eid)) == 1


def test_gone_is_the_end_and_replay_begins_anew(node, customer):
    customer.plan["/account"] = [{"status": 410}]
    _, _, eid = send(node)
    first = told(customer, "/account", eid, status=410)[0]
    dead = wait_for(lambda: callbacks(node, "--state", "dead", "--lane", "account:demo"), 10,
                    "a dead letter")[0]
    assert dead["id"] == first["headers"]["webhook-id"][4:]
    assert dead["attempts"] == 1 and dead["tries"][-1]["http"] == 410
    text = node.command("callbacks", "show", dead["id"]).stdout.decode()
    assert "http 410" in text and eid not in text
    node.command("callbacks", "replay", dead["id"])
    again = told(customer, "/account", eid)[0]
    assert again["headers"]["webhook-id"] == first["headers"]["webhook-id"]
    wait_for(lambda: json.loads(node.command("callbacks", "show", dead["id"], "--json").stdout)[
        "state"] == "done", 10, "done")
    assert node.command("callbacks", "replay", "0" * 22, check=False).returncode == 1
    assert node.command("callbacks", "replay", "nonsense", check=False).returncode == 2


def test_dead_letter_at_the_end_of_the_schedule(node, customer):
    customer.plan["/account"] = [{"status": 500}] * 4
    _, _, eid = send(node)
    told(customer, "/account", eid, status=500, count=4)
    dead = wait_for(lambda: callbacks(node, "--state", "dead"), 10, "a dead letter")[0]
    assert dead["attempts"] == 4
    node.command("callbacks", "replay", dead["id"])
    told(customer, "/account", eid)
    wait_for(lambda: not callbacks(node, "--state", "dead"), 10, "none is dead")


def test_retry_after(node, customer):
    customer.plan["/account"] = [{"status": 503, "headers": {"retry-after": "4"}}]
    _, _, eid = send(node)
    good = told(customer, "/account", eid)[0]
    first = told(customer, "/account", eid, status=503)[0]
    assert good["at"] - first["at"] >= 3.9


def test_worker_killed_during_an_attempt(customer):
    """Its lease is over after 20 s; then the task is due again, at the other worker."""
    with Node(config={"worker": RETRY}, workers=2, env={"OTPQ_OUTGOING_ALLOW": "127.0.0.0/8"}) as n:
        path = os.path.join(n.dir, "callbacks.yaml")
        with open(path, "w", encoding="utf-8") as f:
            f.write(records(customer))
        n.command("apply", "-f", path)
        customer.plan["/account"] = [{"wait": 60}]
        _, _, eid = send(n)
        told(customer, "/account", eid)
        for name, pid in n.children().items():
            if name.startswith("otpq-worker"):
                os.kill(pid, signal.SIGKILL)
        second = wait_for(lambda: len(told(customer, "/account", eid)) == 2, 60, "a second attempt")
        assert second
        assert len({s["headers"]["webhook-id"] for s in told(customer, "/account", eid)}) == 1


def test_broker_killed(node, customer):
    """What waits for its time is fed by the next broker."""
    customer.plan["/account"] = [{"status": 500}]
    _, _, eid = send(node)
    told(customer, "/account", eid, status=500)
    os.kill(node.children()["otpq-broker"], signal.SIGKILL)
    assert told(customer, "/account", eid)


def test_postback(node, customer):
    number = next(numbers)
    status, answer = node.gen(number, sub1="one", sub2="two & a half", sub3="3", sub5="5", extra="\u00e9")
    assert status == 200
    otp = node.inbox(number)[0]["otp"]
    assert node.verify(number, otp, request_id=answer["data"])[0] == 200
    seen = wait_for(lambda: customer.at("/postback"), 10, "the postback")
    assert len(seen) == 1
    assert seen[0]["query"] == {
        "cid": answer["data"], "aid": "1001", "s1": "one", "s2": "two & a half", "s3": "3", "s4": "",
        "s5": "5", "pay": "", "st": "otp_verified", "u": "u1", "x": "\u00e9"}
    assert seen[0]["headers"]["webhook-signature"] == signature(KEY, seen[0])

    def steps():
        trace = json.loads(node.command("trace", answer["data"], "--json").stdout)
        return [s["detail"] for s in trace["steps"] if s["step"] == "callback"]
    assert wait_for(steps, 10, "a step in the time-line") == ["postback 1 http 200"]


def test_a_clients_own(node, customer):
    customer.plan["/own"] = [{"body": "no"}, {"body": "it is OK"}]
    body = {"method": "POST", "url": customer.url + "/own", "body": b"hello",
            "headers": {"X-One": "1"}, "expect": "OK"}

    def job(name, body):
        with Client(node.clients) as c:
            c.submit(({"id": name, "op": "callback", "route": "demo"}, body))
            c.wait([name], 20)
            return c.results[name][0]["state"], c.results[name][0]["code"]

    assert [job("own-1", body) for _ in range(2)] == [("done", "pending")] * 2
    assert job("own-2", dict(body, headers={"Host": "x"})) == ("refused", "invalid_request")
    seen = wait_for(lambda: len(customer.at("/own")) == 2 and customer.at("/own"), 20, "two attempts")
    assert {(s["method"], s["body"], s["headers"]["x-one"]) for s in seen} == {("POST", "hello", "1")}
    assert "webhook-signature" not in seen[0]["headers"]
    wait_for(lambda: [t for t in callbacks(node, "--state", "done") if t["kind"] == "http"], 10, "done")


def create(node, name, **body):
    """A link of the template: its code and token."""
    with Client(node.clients) as c:
        c.submit(({"id": name, "op": "flash.create", "route": "flash:2"},
                  dict(body, ft_id="2", account="demo")))
        c.wait([name], 20)
        envelope, answer = c.results[name]
    assert envelope["state"] == "done", (envelope, answer)
    return answer["flash"]["code"], answer["request_id"]


def pushes(customer, code):
    return [s for s in customer.at("/push") if json.loads(s["body"])["code"] == code]


def test_push(node, customer):
    customer.plan["/push"] = [{"body": "received, thank you"}, {"body": '{"code":"1"}'},
                              {"body": '{"code":"0"}'}]
    code, _ = create(node, "flash-1")
    status, _, _ = get("%s/flash/opt/mo/demo-mo?%s" % (node.gateway, urllib.parse.urlencode({
        "from": "66812349999", "to": "1008611", "time": "2025-04-29 17:47:00",
        "text": "##FG5x-%s##" % code})))
    assert status == 200
    seen = wait_for(lambda: len(pushes(customer, code)) == 3 and pushes(customer, code), 20,
                    "a push that is answered rightly")
    bodies = [json.loads(s["body"]) for s in seen]
    assert bodies[0] == bodies[1] == bodies[2]
    assert bodies[0]["mobile"] == "66812349999" and bodies[0]["sender"] == "1008611"
    assert bodies[0]["sendTime"] == "2025-04-30 00:47:00" and "err" not in bodies[0]
    assert seen[2]["headers"]["webhook-signature"] == signature(KEY, seen[2])
    wait_for(lambda: [t for t in callbacks(node, "--state", "done") if t["kind"] == "push"], 10, "done")


def test_expiry(node, customer):
    customer.plan["/push"] = [{"body": '{"code":0}'}]
    code, _ = create(node, "flash-2", validity_s=1)
    seen = wait_for(lambda: pushes(customer, code), 20, "the push of an expiry")
    body = json.loads(seen[0]["body"])
    assert body["err"] == "otp_expired" and body["mobile"] == "" and body["sender"] == "1008611"


def test_logs_and_metrics(node, customer):
    text = node.logs()
    assert "msg=callback" in text and customer.url not in text and SECRET not in text
    metrics = wait_for(lambda: (lambda m: m if "otpq_callbacks_oldest_seconds 0\n" in m else None)(
        get(node.metrics + "/metrics")[1]), 10, "nothing is late")
    fed = [l for l in metrics.splitlines() if l.startswith("otpq_callbacks_fed_total")]
    assert int(float(fed[0].split()[1])) > 0
