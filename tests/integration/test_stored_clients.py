"""What the clients of stored jobs are told: by ack, by kind of socket, by otpq push, and when another
broker takes their jobs over."""
import json
import os
import signal
import subprocess

import msgpack
import zmq

from client import send_job
from node import BUILD, SLOW, wait_for
from test_stored import Farm, nothing_left, number


def otpq(farm, *arguments):
    done = subprocess.run([os.path.join(BUILD, "bin", "otpq"), *arguments, "--config", farm.dir + "/otpq-0.yaml"],
                          capture_output=True, text=True, timeout=30 * SLOW)
    return done.returncode, done.stdout + done.stderr


def said(client, job_id, seconds=10):
    """The next thing said of this job."""
    found = []
    wait_for(lambda: found or found.extend(a for a in client.receive(0.05) if a[1]["id"] == job_id), seconds,
             "something is said of " + job_id)
    return found[0][0], found[0][1]


def silent(client, seconds=0.3):
    return client.receive(seconds) == []


def store_route(farm):
    with open(farm.dir + "/records.yaml", encoding="utf-8") as f:
        text = f.read()
    farm.write("stored.yaml", text.replace("  ok:\n", "  ok:\n    accept: stored\n"), 0o644)
    code, out = otpq(farm, "apply", "-f", farm.dir + "/stored.yaml")
    assert code == 0, out


class Req:
    """A REQ socket: one question, one answer."""

    def __init__(self, address):
        self.context = zmq.Context()
        self.socket = self.context.socket(zmq.REQ)
        self.socket.linger = 0
        self.socket.connect(address)

    def ask(self, verb, envelope, body):
        self.socket.send(b"OQ1" + verb.encode() + msgpack.packb(envelope) + msgpack.packb(body))
        assert self.socket.poll(10000 * SLOW)
        frame = self.socket.recv()
        unpacker = msgpack.Unpacker()
        unpacker.feed(frame[4:])
        return (chr(frame[3]), *unpacker)

    def close(self):
        self.socket.close()
        self.context.term()


def test_a_req_socket_is_told_once_and_asks_for_the_result():
    with Farm(1) as farm:
        farm.broker(0)
        req = Req("tcp://127.0.0.1:%d" % farm.ports[0][0])
        try:
            job = send_job("a", number(1), route="ok", ack="stored")
            assert req.ask("S", *job) == ("A", {"id": "a", "state": "stored"}, {})
            farm.worker()
            nothing_left(farm)  # its result was answered to nobody: the next answer is to this question
            assert req.ask("S", *send_job("b", number(2), route="ok", ack="stored"))[:2] == (
                "A", {"id": "b", "state": "stored"})
            verb, envelope, _ = req.ask("G", {"id": "a"}, {})
            assert (verb, envelope["id"], envelope["code"]) == ("R", "a", "otp_sent")
        finally:
            req.close()


def test_a_route_may_have_all_its_jobs_stored():
    with Farm(1) as farm:
        farm.broker(0)
        store_route(farm)
        client = farm.client(0)
        client.submit(send_job("slow", number(1), route="slow", ack="queued"))
        assert said(client, "slow") == ("A", {"id": "slow", "state": "queued"})

        def stored():  # as soon as the broker has the record
            client.submit(send_job("q%d" % farm.on_shelves(), number(2), route="ok", ack="queued"))
            return farm.on_shelves() > 0
        wait_for(stored, 10, "jobs are stored")
        client.submit(send_job("queued", number(3), route="ok", ack="queued"))
        assert said(client, "queued") == ("A", {"id": "queued", "state": "stored"})
        client.submit(send_job("again", number(4), route="ok", ack="stored"))
        assert said(client, "again") == ("A", {"id": "again", "state": "stored"})
        client.submit(send_job("again", number(4), route="ok", ack="stored"))
        assert said(client, "again") == ("A", {"id": "again", "state": "stored"})
        client.submit(send_job("result", number(5), route="ok"))
        wait_for(lambda: farm.on_shelves() >= 4, 10, "it is stored as well")
        assert silent(client)
        farm.worker()
        client.wait(["queued", "again", "result"], 20)
        nothing_left(farm)


def test_push_stores_and_the_result_is_had_later():
    with Farm(1) as farm:
        farm.broker(0)
        code, out = otpq(farm, "push", "ok", number(1), "--id", "p", "--ack", "stored", "--no-wait", "--json")
        assert (code, json.loads(out)) == (0, {"outcome": "stored", "id": "p", "state": "stored"})
        assert farm.on_shelves() == 1
        code, out = otpq(farm, "get", "p", "--json")
        assert (code, json.loads(out)["state"]) == (0, "queued")
        farm.worker()
        wait_for(lambda: json.loads(otpq(farm, "get", "p", "--json")[1]).get("code") == "otp_sent", 20, "it is done")


def test_who_waits_at_a_deposed_broker_is_told_that_the_job_has_moved():
    with Farm(2) as farm:
        first = farm.broker(0)
        client = farm.client(0)
        client.submit(send_job("m", number(1), route="ok", ack="stored", ttl_ms=60000))
        assert said(client, "m") == ("A", {"id": "m", "state": "stored"})
        farm.broker(1)
        first.send_signal(signal.SIGSTOP)
        wait_for(lambda: farm.metric(1, "otpq_broker_adopted_total") == 1, 20, "the other has it")
        first.send_signal(signal.SIGCONT)
        verb, envelope = said(client, "m", 20)
        assert (verb, envelope["error"]) == ("N", "moved")
        other = farm.client(1)
        other.submit(send_job("m", number(1), route="ok", ack="stored", again=True, ttl_ms=50000))
        assert said(other, "m") == ("A", {"id": "m", "state": "stored"})
        farm.worker()
        envelope, _ = other.wait(["m"], 20)[0]
        assert envelope["code"] == "otp_sent"
        assert farm.seen(number(1)) == 1
        assert farm.metric(0, "otpq_broker_handed_over_total") == 1
