"""What a worker does when an advertiser, a store or it itself fails half-way."""
import os
import signal
import time

import msgpack
import pytest
import zmq
from client import send_job
from node import BUILD, SLOW, free_ports, wait_for
from rig import CALL_MS, Rig


@pytest.fixture(scope="module")
def rig():
    """With one worker; for tests that leave it as it was."""
    with Rig() as r:
        r.worker()
        yield r


def verify_job(job_id, msisdn, otp, route="ok", request_id=None, **envelope):
    body = {"msisdn": msisdn, "otp": otp, "aid": 1001}
    if request_id:
        body["request_id"] = request_id
    return dict({"id": job_id, "op": "verify", "route": route}, **envelope), body


def test_a_send_and_its_verify(rig):
    envelope, body = rig.client.call(*send_job("s-1", "66810000001", route="ok"))
    assert (envelope["state"], envelope["code"]) == ("done", "otp_sent")
    assert body["response"] == "otp_sent" and body["data"] == body["request_id"]
    assert body["advertiser"]["http"] == 200
    envelope, body = rig.client.call(*verify_job("v-1", "66810000001", "123456", request_id=body["data"]))
    assert (envelope["state"], envelope["code"]) == ("done", "otp_verified")
    envelope, _ = rig.client.call(*verify_job("v-2", "66810000001", "123456"))
    assert envelope["code"] in ("already_verified", "request_not_found")
    assert rig.seen("/ok/verify", "66810000001") == 1


@pytest.mark.parametrize("how", ["hang", "reset", "close", "half", "fail", "garbage"])
def test_what_went_out_and_came_to_nothing_is_unknown_and_not_repeated(rig, how):
    msisdn = "668200%05d" % (hash(how) % 10000)
    envelope, body = rig.client.call(*send_job("u-" + how, msisdn, route=how))
    assert (envelope["state"], envelope["code"]) == ("unknown", "outcome_unknown")
    assert envelope["attempts"] == 1
    if how == "half":
        assert body["advertiser"]["body"] == '{"sta', "what came is passed on"
    assert rig.seen("/%s/send" % how, msisdn) == 1


def test_an_advertisers_no_is_passed_on(rig):
    envelope, body = rig.client.call(*send_job("no-1", "66830000001", route="no"))
    assert (envelope["state"], envelope["code"]) == ("refused", "msisdn_blocked")
    assert b"blocked" in body["advertiser"]["body"] if isinstance(body["advertiser"]["body"], bytes) \
        else "blocked" in body["advertiser"]["body"]


def test_a_kept_connection_that_dies_is_no_second_send(rig):
    for i in range(8):
        rig.client.call(*send_job("k-%d" % i, "6684000%04d" % i, route="silent"))
    results = [rig.client.results["k-%d" % i][0]["code"] for i in range(8)]
    assert results == ["otp_sent", "outcome_unknown"] * 4
    assert [rig.seen("/silent/send", "6684000%04d" % i) for i in range(8)] == [1] * 8


def test_what_was_provably_not_sent_is_tried_again_and_then_refused(rig):
    envelope, body = rig.client.call(*send_job("n-1", "66850000001", route="nobody", ttl_ms=10000))
    assert (envelope["state"], envelope["code"]) == ("refused", "advertiser_unreachable")
    assert envelope["attempts"] > 1
    # The id is free of any trace of a call: nothing stands in the way of sending it later.
    assert body["error"] == "advertiser_unreachable" if body else True


def test_a_route_may_insist(rig):
    envelope, _ = rig.client.call(*send_job("i-1", "66860000001", route="insists", ttl_ms=1500))
    assert (envelope["state"], envelope["code"]) == ("unknown", "outcome_unknown")
    assert rig.seen("/reset/send", "66860000001") > 1


def test_bad_jobs_are_refused_without_a_call(rig):
    cases = [
        (dict(send_job("b-1", "12", route="ok")[0]), {"msisdn": "12"}, "invalid_msisdn",
         "msisdn must have 7 to 15 digits with its country code"),
        ({"id": "b-2", "op": "send", "route": "ok"}, {"aid": 1001}, "invalid_request",
         "msisdn: needed, a string of 1 to 32 bytes of UTF-8 without control characters"),
        ({"id": "b-3", "op": "verify", "route": "ok"}, {"msisdn": "66810000009"}, "invalid_request",
         "otp: needed, a string of 1 to 64 bytes of UTF-8 without control characters"),
        ({"id": "b-4", "op": "flash.create", "route": "ok"}, {"ft_id": "1"}, "invalid_request",
         "account: 1 to 48 bytes of A-Z a-z 0-9 _ . : -"),
        ({"id": "b-8", "op": "send", "route": "ok"}, {"msisdn": "6621234567"}, "msisdn_blocked",
         "a landline cannot receive SMS"),
        ({"id": "b-9", "op": "verify", "route": "ok"}, {"request_id": "nobody's", "otp": "1", "aid": 1001},
         "request_not_found", None),
        ({"id": "b-7", "op": "send", "route": "ok"}, {"msisdn": "66810000007", "user_id": "a\r\nb"},
         "invalid_request", "user_id: a string of at most 256 bytes of UTF-8 without control characters"),
        ({"id": "b-6", "op": "send", "route": "local"}, {"msisdn": "66810000008", "text": "no code"},
         "invalid_request", "text: needs {otp}, and at most 4096 bytes with the OTP"),
        ({"id": "b-5", "op": "verify", "route": "ok"}, {"msisdn": "66810000009", "otp": "1", "aid": 1001},
         "request_not_found", None),
    ]
    for envelope, body, code, detail in cases:
        result, said = rig.client.call(envelope, body)
        assert (result["state"], result["code"]) == ("refused", code), envelope
        assert said.get("detail") == detail


def test_the_same_id_again_never_calls_again(rig):
    first = rig.client.call(*send_job("same-1", "66870000001", route="ok"))
    rig.client.results.clear()
    again = rig.client.call(*send_job("same-1", "66870000001", route="ok"))
    assert first[1]["request_id"] == again[1]["request_id"]
    assert rig.seen("/ok/send", "66870000001") == 1


def test_a_thousand_right_verifies_are_one_conversion(rig):
    msisdn = "66880000001"
    _, body = rig.client.call(*send_job("t-s", msisdn, route="slowcheck"))
    ids = ["t-%d" % i for i in range(1000)]
    rig.client.submit(*(verify_job(i, msisdn, "123456", route="slowcheck", request_id=body["data"],
                                   ttl_ms=60000) for i in ids))
    codes = [envelope["code"] for envelope, _ in rig.client.wait(ids, 60)]
    assert codes.count("otp_verified") == 1
    assert set(codes) == {"otp_verified", "already_verified"}
    assert rig.seen("/slow/verify", msisdn) == 1


def test_codes_of_our_own_are_checked_here(rig):
    msisdn = "66890000001"
    envelope, body = rig.client.call(*send_job("l-s", msisdn, route="local"))
    assert envelope["code"] == "otp_sent"
    result, wrong = rig.client.call(*verify_job("l-1", msisdn, "x", route="local", request_id=body["data"]))
    assert (result["code"], wrong["attempts_left"]) == ("wrong_otp", 4)
    assert rig.seen("/ok/verify", msisdn) == 0


def test_no_number_and_no_code_stands_in_a_log(rig):
    rig.client.call(*send_job("quiet-1", "66891234567", route="ok"))
    rig.client.call(*verify_job("quiet-2", "66891234567", "918273"))
    assert "66891234567" not in rig.output() and "918273" not in rig.output()


def test_a_worker_killed_before_the_claim_costs_its_jobs_no_time():
    with Rig() as rig:
        first = rig.worker()
        rig.client.call(*send_job("warm", "66811000000", route="ok"))
        first.send_signal(signal.SIGSTOP)
        rig.client.submit(*(send_job("h-%d" % i, "6681100%04d" % (i + 1), route="ok") for i in range(10)))
        time.sleep(0.1)
        rig.worker()
        first.kill()
        began = time.monotonic()
        results = rig.client.wait(["h-%d" % i for i in range(10)], 10)
        assert time.monotonic() - began < 1.5 * SLOW
        assert {e["code"] for e, _ in results} == {"otp_sent"}
        assert [rig.seen("/ok/send", "6681100%04d" % (i + 1)) for i in range(10)] == [1] * 10


def test_a_worker_killed_after_the_claim_leaves_an_unknown():
    with Rig() as rig:
        first = rig.worker()
        msisdn = "66812000001"
        rig.client.submit(send_job("dies", msisdn, route="hang", ttl_ms=60000))
        wait_for(lambda: rig.seen("/hang/send", msisdn) == 1, 10, "the call is out")
        began = time.monotonic()
        first.kill()
        rig.worker()
        (envelope, _), = rig.client.wait(["dies"], 30)
        assert (envelope["state"], envelope["code"]) == ("unknown", "outcome_unknown")
        assert time.monotonic() - began < CALL_MS / 1000 + 2 + 1.5 * SLOW
        assert rig.seen("/hang/send", msisdn) == 1


def test_a_worker_told_to_end_finishes_what_it_began():
    with Rig() as rig:
        first = rig.worker()
        numbers = ["6681300%04d" % i for i in range(200)]
        rig.client.submit(*(send_job("e-" + n, n, route="slow", ttl_ms=60000) for n in numbers))
        wait_for(lambda: rig.seen("/slow/send", numbers[0]) == 1, 10, "calls are out")
        first.send_signal(signal.SIGTERM)
        later = ["6681400%04d" % i for i in range(50)]
        rig.client.submit(*(send_job("e-" + n, n, route="slow", ttl_ms=60000) for n in later))
        assert first.wait(20 * SLOW) == 0
        rig.worker()
        results = rig.client.wait(["e-" + n for n in numbers + later], 30)
        assert {e["code"] for e, _ in results} == {"otp_sent"}
        assert [rig.seen("/slow/send", n) for n in numbers + later] == [1] * 250


def test_a_second_signal_ends_a_worker_at_once():
    with Rig() as rig:
        worker = rig.worker()
        rig.client.submit(send_job("late", "66815000001", route="hang", ttl_ms=60000))
        wait_for(lambda: rig.seen("/hang/send", "66815000001") == 1, 10, "the call is out")
        worker.send_signal(signal.SIGTERM)
        time.sleep(0.2)
        assert worker.poll() is None
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(3 * SLOW) == 1


def test_a_late_job_is_never_sent():
    with Rig() as rig:
        worker = rig.worker()
        rig.client.call(*send_job("warm", "66816000000", route="ok"))
        worker.send_signal(signal.SIGSTOP)
        rig.client.submit(send_job("tardy", "66816000001", route="ok", ttl_ms=300))
        time.sleep(0.6)
        worker.send_signal(signal.SIGCONT)
        (envelope, _), = rig.client.wait(["tardy"], 20)
        assert (envelope["state"], envelope["code"]) == ("expired", "deadline_passed")
        time.sleep(0.3)
        assert rig.seen("/ok/send", "66816000001") == 0


def test_a_send_that_is_out_is_not_repeated_when_its_worker_dies_and_can_be_verified():
    """Also with on_unknown: retry: settling is not sending."""
    with Rig() as rig:
        first = rig.worker()
        msisdn = "66817000001"
        rig.client.submit(send_job("out", msisdn, route="insists-hang", ttl_ms=2500 * SLOW))
        wait_for(lambda: rig.seen("/hang/send", msisdn) == 1, 10, "the call is out")
        first.kill()
        rig.worker()
        (envelope, _), = rig.client.wait(["out"], 30)
        assert (envelope["state"], envelope["code"]) == ("unknown", "outcome_unknown")
        envelope, _ = rig.client.call(*verify_job("v", msisdn, "1234", route="insists-hang"))
        assert (envelope["state"], envelope["code"]) == ("done", "otp_verified")
        assert rig.seen("/hang/send", msisdn) == 1


class BareBroker:
    """The workers' socket of a broker, for saying what a broker never would."""

    def __init__(self, rig):
        port, = free_ports(1)
        self.context = zmq.Context()
        self.socket = self.context.socket(zmq.ROUTER)
        self.socket.linger = 0
        self.socket.bind("tcp://127.0.0.1:%d" % port)
        self.heard = []  # (verb, flat list of values)
        self.peer = None
        with open(rig.dir + "/otpq.yaml", encoding="utf-8") as f:
            text = f.read().replace("brokers: [tcp://127.0.0.1:%d]" % rig.workers_port,
                                    "brokers: [tcp://127.0.0.1:%d]" % port)
        rig.write("other.yaml", text, 0o644)

    def until(self, verb, seconds=10):
        """Answers pings until the worker has said this; gives what it said with it."""
        deadline = time.monotonic() + seconds * SLOW
        while time.monotonic() < deadline:
            if not self.socket.poll(100):
                continue
            self.peer, frame = self.socket.recv_multipart()
            unpacker = msgpack.Unpacker()
            unpacker.feed(frame[4:])
            if frame[3:4] == b"P":
                self.say(b"O")
            if frame[3:4] == verb:
                return list(unpacker)
        raise AssertionError("the worker does not say %r" % verb)

    def say(self, verb, *values):
        self.socket.send_multipart([self.peer, b"OW1" + verb + b"".join(msgpack.packb(v) for v in values)])

    def close(self):
        self.socket.close()
        self.context.term()


def test_jobs_lost_in_a_bad_message_cost_no_credit(rig):
    broker = BareBroker(rig)
    worker = None
    try:
        worker = rig.spawn([os.path.join(BUILD, "bin", "otpq-worker"), "--config", rig.dir + "/other.yaml"])
        broker.until(b"H")
        capacity = broker.until(b"C")[0]["total"]
        envelope, body = send_job("lost-1", "66818000001", route="ok", attempt=1, ttl_ms=10000, queued_ms=0)
        broker.say(b"J", {"id": 7}, {}, envelope, body)
        broker.until(b"H")  # whatever was sent comes again
        assert broker.until(b"C")[0]["total"] == capacity
        broker.say(b"J", envelope, body)
        assert broker.until(b"R")[0]["code"] == "otp_sent"
    finally:
        if worker:
            worker.kill()
        broker.close()
