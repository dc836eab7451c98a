"""otpq push --ack: what is printed of a job before its result, and instead of it."""
import json
import os
import subprocess

import pytest

from fake_broker import FakeBroker, sent
from node import BUILD, SLOW, free_ports


def accepted(state, envelope):
    return "A", {"id": envelope["id"], "state": state}, {}


@pytest.fixture
def broker():
    with FakeBroker(free_ports(1)[0]) as b:
        yield b


def push(broker, *arguments, lines=None):
    text = None if lines is None else "".join(json.dumps(line) + "\n" for line in lines)
    done = subprocess.run([os.path.join(BUILD, "bin", "otpq"), "push", "--brokers", broker.address, *arguments],
                          input=text, capture_output=True, text=True, timeout=20 * SLOW)
    return done.returncode, done.stdout, done.stderr


def objects(text):
    return [json.loads(line) for line in text.splitlines()]


def test_no_wait_ends_when_it_is_stored(broker):
    broker.answer = lambda envelope, body: accepted("stored", envelope)
    code, out, err = push(broker, "demo", "66812340000", "--id", "o-1", "--ack", "stored", "--no-wait", "--json")
    assert (code, err) == (0, "")
    assert objects(out) == [{"outcome": "stored", "id": "o-1", "state": "stored"}]
    assert broker.jobs[0][0]["ack"] == "stored"
    code, out, _ = push(broker, "demo", "66812340000", "--ack", "stored", "--no-wait")
    assert code == 0 and "stored" in out


def test_a_result_follows_what_was_accepted(broker):
    for ack in ("stored", "queued"):
        broker.answer = lambda envelope, _, state=ack: accepted(state, envelope)
        first = subprocess.Popen([os.path.join(BUILD, "bin", "otpq"), "push", "--brokers", broker.address, "demo",
                                  "66812340000", "--id", "o-" + ack, "--ack", ack, "--json"],
                                 stdout=subprocess.PIPE, text=True)
        line = first.stdout.readline()
        assert json.loads(line) == {"outcome": ack, "id": "o-" + ack, "state": ack}
        broker.stop()  # and its successor knows how it ended
        broker.answer = sent
        broker.start()
        rest, _ = first.communicate(timeout=20 * SLOW)
        assert first.returncode == 0
        assert [o["code"] for o in objects(rest)] == ["otp_sent"]
        assert broker.jobs[-1][0]["again"] is True


def test_lines_have_their_own_ack(broker):
    def answer(envelope, body):
        return sent(envelope, body) if envelope.get("ack", "result") == "result" else accepted("stored", envelope)

    broker.answer = answer
    body = {"msisdn": "66812340000"}
    lines = [{"id": "a", "route": "demo", "body": body, "ack": "stored"}, {"id": "b", "route": "demo", "body": body}]
    code, out, _ = push(broker, "-f", "-", "--json", "--no-wait", lines=lines)
    assert code == 0
    assert {o["id"]: o["outcome"] for o in objects(out)} == {"a": "stored", "b": "result"}
    code, out, _ = push(broker, "-f", "-", "--ack", "stored", "--no-wait", lines=[{"id": "c", "route": "demo",
                                                                                   "body": body}])
    assert code == 0 and out.split()[:2] == ["c", "stored"]


def test_a_store_that_is_away(broker):
    broker.answer = lambda e, b: ("N", {"id": e["id"], "error": "store_unavailable", "retry_after_ms": 500}, {})
    code, out, _ = push(broker, "demo", "66812340000", "--id", "o-1", "--ack", "stored", "--no-wait", "--json")
    assert code == 1
    assert objects(out) == [{"outcome": "not_taken", "id": "o-1", "code": "store_unavailable", "retry_after_ms": 500}]


@pytest.mark.parametrize("arguments, why", [
    (["demo", "66812340000", "--ack", "disk"], "--ack is result, queued or stored"),
    (["demo", "66812340000", "--no-wait"], "--no-wait needs --ack stored"),
    (["demo", "66812340000", "--ack", "queued", "--no-wait"], "--no-wait needs --ack stored"),
])
def test_wrong_usage(broker, arguments, why):
    code, _, err = push(broker, *arguments)
    assert code == 2 and why in err
    assert broker.jobs == []


def test_a_wrong_ack_in_a_line(broker):
    code, _, err = push(broker, "-f", "-", lines=[{"route": "demo", "body": {}, "ack": "disk"}])
    assert code == 2 and "line 1: ack: one of result, queued, stored" in err
