"""The whole node: what README and docs promise, with real processes and a real Redis."""
import concurrent.futures
import json
import os
import re
import shutil
import signal
import subprocess
import threading
import time

import pytest

from client import Client, send_job
from node import BUILD, ROOT, SLOW, Node, http, wait_for


@pytest.fixture(scope="module")
def node():
    with Node(workers=2, gateways=2) as n:
        yield n


def number(tail, count=[0]):
    """A fresh number that ends in these four digits."""
    count[0] += 1
    return "6682%03d%s" % (count[0], tail)


def sent(node, msisdn, partner="demo"):
    status, answer = node.gen(msisdn, partner)
    assert (status, answer["response"]) == (200, "otp_sent"), answer
    return answer["data"], wait_for(lambda: node.inbox(msisdn), 5, "an OTP arrives")[0]["otp"]


@pytest.mark.parametrize("partner", ["demo", "demo-local"])
def test_a_first_otp_is_sent_and_verified(node, partner):
    msisdn = number("0000")
    rid, otp = sent(node, msisdn, partner)
    wrong = "%06d" % ((int(otp) + 1) % 1000000)
    assert node.verify(msisdn, wrong, partner, request_id=rid)[1]["error"] == "wrong_otp"
    assert node.verify(msisdn, otp, partner, request_id=rid) == (
        200, {"status": "200", "response": "otp_verified"})
    assert node.verify(msisdn, otp, partner, request_id=rid)[1]["error"] == "already_verified"


@pytest.mark.parametrize("tail, keys", [("9100", {"attempts_left", "expires_in"}), ("9101", set()),
                                        ("9103", set()), ("9106", set()), ("9107", {"attempts_left"})])
def test_a_failure_says_only_what_applies(node, tail, keys):
    msisdn = number(tail)
    _, otp = sent(node, msisdn)
    answer = node.verify(msisdn, otp)[1]
    assert set(answer) - {"status", "error", "detail"} == keys, answer
    assert answer.get("attempts_left") in (None, 0, 4)


def test_verify_without_a_request_id_means_the_newest(node):
    msisdn = number("0001")
    _, otp = sent(node, msisdn)
    assert node.verify(msisdn, otp)[1]["response"] == "otp_verified"


def test_the_generated_endpoint_binds_affiliate_and_integration(node):
    msisdn = number("0002")
    status, answer = node.call("/e/demo1001/otp_gen", key="demo-key-1001", msisdn=msisdn)
    assert (status, answer) == (200, {"status": "200", "response": "otp_sent_successfully"})
    otp = node.inbox(msisdn)[0]["otp"]
    status, answer = node.call("/e/demo1001/otp_verify", key="demo-key-1001", msisdn=msisdn, otp=otp)
    assert (status, answer) == (200, {"status": "200", "response": "otp_verified_successfully"})


def test_the_python_example_of_the_docs_runs_as_it_stands(node):
    with open(os.path.join(ROOT, "docs", "job-protocol.md"), encoding="utf-8") as f:
        examples = re.findall(r"```python\n(.*?)```", f.read(), re.S)
    code = [e for e in examples if "zmq.REQ" in e][0].replace("tcp://127.0.0.1:5560", node.clients)
    for _ in range(2):  # the id is the idempotency key
        out = subprocess.run(["/usr/bin/python3", "-c", code], stdout=subprocess.PIPE, check=True,
                             timeout=30 * SLOW).stdout.decode()
        assert "b'OQ1R'" in out and "'otp_sent'" in out, out
    assert node.ledger("66812345678")["sends"] == 1


# What the sandbox's numbers make of a send, and how often the advertiser saw it.
MISBEHAVIOUR = [
    ("9000", "invalid_msisdn"), ("9001", "already_subscribed"), ("9002", "insufficient_balance"),
    ("9003", "not_eligible"), ("9004", "msisdn_blocked"), ("9005", "fraud_suspected"),
    ("9012", "outcome_unknown"), ("9013", "outcome_unknown"), ("9014", "outcome_unknown"),
    ("9015", "outcome_unknown"), ("9017", "outcome_unknown"), ("9019", "advertiser_refused"),
]


@pytest.mark.parametrize("tail,error", MISBEHAVIOUR)
def test_a_misbehaving_advertiser_has_a_name_and_is_called_once(node, tail, error):
    msisdn = number(tail)
    status, answer = node.gen(msisdn)
    assert (status, answer["status"], answer["error"]) == (400, "400", error), answer
    assert node.ledger(msisdn)["sends"] == 1


def test_a_slow_answer_is_waited_for(node):
    assert node.gen(number("9010"))[1]["response"] == "otp_sent"


def test_credentials_are_checked_before_anything_else(node):
    msisdn = number("0003")
    for change in ({"key": "wrong"}, {"aid": 7}, {"mid": 2}, {"aid": 1002, "key": "demo-key-1002"},
                   {"aid": 1001, "key": "demo-key-1002"}):
        params = dict({"key": "demo-key-1001", "aid": 1001, "mid": 1, "partner": "demo", "msisdn": msisdn}, **change)
        for path in ("/api/af/otp_gen", "/api/af/otp_verify"):
            assert node.call(path, otp="123456", **params) == (
                400, {"status": "400", "error": "invalid_user_credentials"})
    assert node.ledger(msisdn)["sends"] == 0


def test_a_foreign_request_is_not_found(node):
    msisdn, other = number("0004"), number("0005")
    rid, otp = sent(node, msisdn)
    before = node.ledger()["verifies"]
    assert node.verify(other, otp, request_id=rid)[1]["error"] == "request_not_found"
    assert node.verify(msisdn, otp, "demo-local", request_id=rid)[1]["error"] == "request_not_found"
    assert node.verify(msisdn, otp, request_id="r00aaaaaaaaaaaaaaaaaaaa")[1]["error"] == "request_not_found"
    assert node.ledger()["verifies"] == before


def test_resends_are_limited_where_otpq_makes_the_code(node):
    msisdn = number("0006")
    sent(node, msisdn, "demo-local")
    status, answer = node.gen(msisdn, "demo-local")
    assert answer["error"] == "resend_too_soon" and 0 < answer["retry_after"] <= 30, answer
    assert node.ledger(msisdn)["sends"] == 1


def test_wrong_codes_run_out(node):
    msisdn = number("0007")
    rid, otp = sent(node, msisdn, "demo-local")
    wrong = "%06d" % ((int(otp) + 1) % 1000000)
    left = [node.verify(msisdn, wrong, "demo-local", request_id=rid)[1] for _ in range(5)]
    assert [a["error"] for a in left] == ["wrong_otp"] * 4 + ["too_many_attempts"] or \
        [a["error"] for a in left] == ["wrong_otp"] * 5, left
    assert node.verify(msisdn, otp, "demo-local", request_id=rid)[1]["error"] == "too_many_attempts"


@pytest.mark.parametrize("partner", ["demo", "demo-local"])
def test_a_thousand_right_verifies_convert_once(node, partner):
    msisdn = number("0008")
    rid, otp = sent(node, msisdn, partner)
    before = node.conversions()
    jobs = [({"id": "%s-v%d" % (partner, i), "op": "verify", "route": partner, "ttl_ms": 60000},
             {"msisdn": msisdn, "otp": otp, "request_id": rid, "aid": 1001}) for i in range(1000)]
    with Client(node.clients) as client:
        client.submit(*jobs)
        results = client.wait([job[0]["id"] for job in jobs], 70)
    codes = [envelope["code"] for envelope, _ in results]
    assert codes.count("otp_verified") == 1, {c: codes.count(c) for c in set(codes)}
    assert codes.count("already_verified") == 999
    assert node.conversions() == before + 1
    assert node.ledger(msisdn)["verifies"] == (1 if partner == "demo" else 0)


def test_a_late_job_never_reaches_the_advertiser(node):
    msisdn = number("0009")
    with Client(node.clients) as client:
        envelope, body = client.call(*send_job("late-1", msisdn, ttl_ms=200, delay_ms=5000))
        assert (envelope["state"], envelope["code"]) == ("expired", "deadline_passed")
    assert node.ledger(msisdn)["sends"] == 0


def test_trace_shows_every_step(node):
    msisdn = number("0010")
    rid, otp = sent(node, msisdn)
    node.verify(msisdn, otp, request_id=rid)
    wanted = ["accepted", "dispatched", "started", "first_byte", "answer", "session_written", "answered"]
    def steps():
        flow = json.loads(node.command("trace", rid, "--json").stdout)
        found = [s["step"] for s in flow["steps"]]
        return found if found.count("answered") == 2 else None
    found = wait_for(steps, 5, "both answers are on the time-line")
    for step in wanted:
        assert found.count(step) == 2, (step, found)
    text = node.command("trace", rid).stdout.decode()
    assert "ms" in text and otp not in text and msisdn not in text


def test_a_callers_trace_is_on_the_time_line(node):
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    def details(rid):
        flow = json.loads(node.command("trace", rid, "--json").stdout)
        return [s["detail"] for s in flow["steps"] if s["step"] == "accepted"]
    with Client(node.clients) as client:
        _, body = client.call(*send_job("traced-1", number("0012"), trace=trace))
        assert details(body["request_id"]) == ["trace " + trace]
        assert trace in node.command("trace", body["request_id"]).stdout.decode()
    for header, wanted in ((trace, "trace " + trace), ("00-" + "0" * 32 + trace[35:], "")):
        query = "key=demo-key-1001&aid=1001&mid=1&partner=demo&msisdn=%s&userId=u" % number("0013")
        status, text, _ = http("%s/api/af/otp_gen?%s" % (node.gateway, query), headers={"traceparent": header})
        assert status == 200, text
        assert details(json.loads(text)["data"]) == [wanted]


def test_records_change_within_a_second_and_come_back_as_they_were(node, tmp_path):
    before = node.command("export").stdout
    with open(os.path.join(node.dir, "demo.yaml"), "rb") as f:
        assert f.read() == before
    changed = before.replace(b"  demo:\n", b"  demo:\n    paused: true\n", 1)
    assert changed != before
    path = tmp_path / "records.yaml"
    path.write_bytes(changed)
    diff = node.command("apply", "-f", str(path)).stdout.decode()
    assert "paused" in diff, diff
    began = time.monotonic()
    msisdn = number("0011")
    with Client(node.clients) as client:
        counter = [0]
        def paused():
            counter[0] += 1
            job = send_job("paused-%d" % counter[0], number("0011"), ttl_ms=150)
            return client.call(*job)[0]["state"] == "expired"
        wait_for(paused, 3, "the pause arrives")
        assert time.monotonic() - began < 1.5 * SLOW
    path.write_bytes(before)
    node.command("apply", "-f", str(path))
    assert node.command("export").stdout == before
    assert "unchanged" in node.command("apply", "-f", str(path)).stdout.decode().lower()
    wait_for(lambda: node.gen(number("0012"))[0] == 200, 5, "the route goes on")


def test_a_bad_record_file_changes_nothing(node, tmp_path):
    before = node.command("export").stdout
    path = tmp_path / "bad.yaml"
    path.write_bytes(before.replace(b"{msisdn}", b"{msisdm}", 1))
    done = node.command("apply", "-f", str(path), check=False)
    assert done.returncode != 0
    assert re.search(rb"bad\.yaml:\d+:\d+: .*msisdm.*msisdn", done.stderr), done.stderr
    assert node.command("export").stdout == before


def test_logs_metrics_and_redis_hold_no_secrets(node):
    msisdn = number("0013")
    rid, otp = sent(node, msisdn, "demo-local")
    node.verify(msisdn, otp, "demo-local", request_id=rid)
    seen = node.logs() + http(node.metrics + "/metrics")[1]
    assert msisdn not in seen and "demo-key-1001" not in seen and otp not in re.findall(r"\d+", seen)
    r = node.redis()
    for key in r.scan_iter("otpq:*{*}*%s*" % rid, count=1000):
        kind = r.type(key)
        value = r.hgetall(key) if kind == b"hash" else r.lrange(key, 0, -1) if kind == b"list" else r.get(key)
        assert otp.encode() not in re.findall(rb"\b\d{6}\b", repr(value).encode()), (key, value)


def test_every_key_has_an_end(node):
    r = node.redis()
    for key in r.scan_iter("otpq:*", count=1000):
        of_brokers = key.startswith((b"otpq:so:", b"otpq:sj:")) or key in (b"otpq:brokers", b"otpq:shelves")
        if b"{rec}" not in key and not of_brokers:  # these go when their broker leaves, or is buried
            assert r.ttl(key) > 0, key


def test_a_gateway_dies_and_the_port_goes_on(node):
    victim = node.children()["otpq-gateway"]
    os.kill(victim, signal.SIGKILL)
    # gone for good: exe goes before the sockets do, and what comes until then is reset
    wait_for(lambda: not os.path.exists("/proc/%d" % victim), 5, "it is dead")
    for i in range(20):
        assert node.gen(number("0014"))[0] == 200
    wait_for(lambda: list(node.children()).count("otpq-gateway+") == 1, 10, "it is started again")


def test_a_client_that_hangs_up_does_not_cancel_its_send(node):
    import socket
    msisdn = number("9018")
    s = socket.create_connection(("127.0.0.1", node.ports["gateway"]))
    s.sendall(("GET /api/af/otp_gen?key=demo-key-1001&aid=1001&mid=1&partner=demo&msisdn=%s HTTP/1.1\r\n"
               "Host: x\r\n\r\n" % msisdn).encode())
    wait_for(lambda: node.ledger(msisdn)["sends"] == 1, 5, "the send begins")
    s.close()
    wait_for(lambda: node.inbox(msisdn), 5, "the OTP arrives")
    wait_for(lambda: http(node.gateway + "/healthz")[0] == 200, 10, "it is healthy")


def test_top_info_push_get_and_cancel_speak_json(node):
    info = json.loads(node.command("info", "--json").stdout)
    assert info["broker"]["workers"] == 2, info
    assert json.loads(node.command("top", "--json").stdout)
    msisdn = number("0015")
    pushed = json.loads(node.command("push", "demo", msisdn, "--aid", "1001", "--id", "push-1", "--json").stdout)
    assert pushed["code"] == "otp_sent", pushed
    assert json.loads(node.command("get", "push-1", "--json").stdout)["code"] == "otp_sent"
    done = node.command("cancel", "push-1", "--json", check=False)
    assert json.loads(done.stdout), done


def test_up_speaks_json_and_checks_its_configuration(tmp_path):
    node = Node()
    argv = [os.path.join(BUILD, "bin", "otpq"), "up", "--dir", node.dir, "--config", node.config]
    try:
        done = subprocess.run(argv + ["--demo", "--once", "--json"], stdout=subprocess.PIPE, timeout=60 * SLOW)
        assert done.returncode == 0
        assert json.loads(done.stdout)["verified"] is True
        assert subprocess.run(argv + ["--check-config"], stdout=subprocess.PIPE).returncode == 0
        with open(node.config, "a", encoding="utf-8") as f:
            f.write("nodes: 3\n")
        done = subprocess.run(argv + ["--check-config"], stderr=subprocess.PIPE)
        assert done.returncode == 2 and b'did you mean "node"' in done.stderr, done.stderr
    finally:
        node.log.close()
        shutil.rmtree(node.dir)
