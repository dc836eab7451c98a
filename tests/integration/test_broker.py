"""The broker on its own sockets: OTPQ/1 with DEALER and REQ, OTPQ-W/1, limits, deaths, metrics."""
import random
import signal
import socket
import time

import msgpack
import pytest
import zmq

from harness import Broker, Client, SLOW, Worker, free_ports, http, message, pairs_of, wait_for

JOB = {"id": "m-1", "op": "send", "route": "demo"}
BODY = {"msisdn": "66812345678"}


@pytest.fixture(scope="module")
def broker():
    with Broker() as b:
        yield b


@pytest.fixture
def client(broker):
    with Client(broker.clients) as c:
        yield c


@pytest.fixture
def worker(broker):
    with Worker(broker.workers) as w:
        wait_for(lambda: joined(broker) == 1, 5, "the worker joined")
        yield w
        w.send("Q")
    wait_for(lambda: joined(broker) == 0, 5, "the worker left")


def joined(broker):
    return broker.metrics()["otpq_broker_workers"]


def fresh(counter=[0]):
    counter[0] += 1
    return "t-%d" % counter[0]


# ---- jobs and answers ------------------------------------------------------------------------------

def test_a_job_comes_back_done(client, worker):
    job = fresh()
    client.submit(job, tenant="1001", trace="00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
    (envelope, body), = worker.jobs(1)
    assert body == BODY
    assert (envelope["id"], envelope["op"], envelope["route"]) == (job, "send", "demo")
    assert (envelope["tenant"], envelope["attempt"]) == ("1001", 1)
    assert envelope["trace"].startswith("00-4bf9") and 29000 < envelope["ttl_ms"] <= 30000
    worker.started((envelope, body))
    worker.done((envelope, body))
    verb, result, answer = client.one()
    assert (verb, result["id"], result["state"], result["code"]) == ("R", job, "done", "otp_sent")
    assert result["attempts"] == 1 and answer == {"request_id": "q-" + job}
    assert {"queued_ms", "run_ms"} <= set(result)


def test_the_body_is_passed_on_byte_for_byte(client, worker):
    job = fresh()
    odd = b"\xde\x00\x01\xd9\x01a\xcf\x00\x00\x00\x00\x00\x00\x00\x01"  # a map16, str8, uint64: longest forms
    client.raw(b"OQ1S" + msgpack.packb(dict(JOB, id=job)) + odd)
    verb = None
    while verb != "J":
        frame = worker.socket.recv()
        verb = frame[3:4].decode()
    assert frame.endswith(odd)
    worker.done((pairs_of(frame)[1][0][0], {}))
    assert client.one()[0] == "R"


def test_a_batch_goes_both_ways(client, worker):
    ids = [fresh() for _ in range(100)]
    client.send("S", *[(dict(JOB, id=i), BODY) for i in ids])
    jobs = worker.jobs(100)
    worker.done(*jobs)
    verb, results = client.receive()
    assert verb == "R" and sorted(e["id"] for e, _ in results) == sorted(ids)


def test_a_thousand_pairs_and_no_more(client, worker):
    ids = [fresh() for _ in range(1001)]
    client.send("S", *[(dict(JOB, id=i, ttl_ms=60000), {}) for i in ids])
    verb, envelope, _ = client.one()
    assert verb == "N" and envelope["error"] == "malformed" and "1000" in envelope["detail"]
    worker.credit(2000)
    jobs = worker.jobs(1000)
    worker.done(*jobs)
    got = []
    while len(got) < 1000:
        got += client.receive()[1]
    assert {e["id"] for e, _ in got} == set(ids[:1000])


def test_unknown_envelope_keys_are_ignored(client, worker):
    job = fresh()
    client.submit(job, colour="green", nested={"a": [1, 2]})
    worker.done(*worker.jobs(1))
    assert client.one()[0] == "R"


def test_ack_queued_comes_first(client, worker):
    job = fresh()
    client.submit(job, ack="queued")
    assert client.one()[:2] == ("A", {"id": job, "state": "queued"})
    client.submit(job, ack="queued")
    assert client.one()[:2] == ("A", {"id": job, "state": "duplicate"})
    worker.done(*worker.jobs(1))
    assert client.one()[0] == "R"
    client.submit(job, ack="queued")
    assert client.one()[0] == "R"


def test_without_a_store_nothing_is_stored(client):
    client.submit(fresh(), ack="stored")
    verb, envelope, _ = client.one()
    assert verb == "N" and envelope["error"] == "store_unavailable"
    assert envelope["retry_after_ms"] > 0


def test_ping_and_info(client, worker):
    client.send("P")
    assert client.receive() == ("O", [])
    client.submit(fresh(), delay_ms=60000, ttl_ms=70000)
    client.send("I", ({"id": "question"}, {}))
    verb, envelope, body = client.one()
    assert verb == "I" and envelope == {"id": "question"}
    assert body["broker"]["workers"] == 1 and body["broker"]["delayed"] >= 1
    assert [r for r in body["routes"] if r["name"] == "demo"][0]["delayed"] >= 1


def test_get_and_cancel(client, worker):
    job = fresh()
    client.ask("G", job)
    assert client.one()[1]["error"] == "not_found"
    client.ask("X", job)
    assert client.one()[1]["error"] == "not_found"
    client.submit(job)
    taken = worker.jobs(1)
    client.ask("G", job)
    assert client.one()[:2] == ("A", {"id": job, "state": "dispatched"})
    worker.started(*taken)
    client.ask("X", job)
    verb, envelope, _ = client.one()
    assert (verb, envelope["error"]) == ("N", "too_late")
    worker.done(*taken)
    assert client.one()[:2][1]["state"] == "done"
    with Client(client.socket.last_endpoint) as other:
        other.ask("G", job)
        verb, envelope, body = other.one()
        assert (verb, envelope["state"], body) == ("R", "done", {"request_id": "q-" + job})
        other.ask("X", job)
        assert other.one()[1]["state"] == "done"


def test_cancel_before_start(client):
    job = fresh()
    client.submit(job, delay_ms=20000)
    client.ask("X", job)
    verb, envelope, _ = client.one()
    assert (verb, envelope["state"], envelope["code"]) == ("R", "cancelled", "cancelled")


def test_duplicates_and_conflicts(client, worker):
    job = fresh()
    client.submit(job)
    taken = worker.jobs(1)
    client.submit(job)
    with Client(client.socket.last_endpoint) as other:
        other.submit(job)
        other.send("P")
        assert other.receive()[0] == "O"
        client.submit(job, {"msisdn": "66800000000"})
        verb, envelope, _ = client.one()
        assert (verb, envelope["id"], envelope["error"]) == ("N", job, "conflict")
        worker.done(*taken)
        assert client.one()[0] == "R" and other.one()[0] == "R"
    client.submit(job)
    assert client.one()[1]["state"] == "done"
    client.submit(job, op="verify")
    assert client.one()[1]["error"] == "conflict"


def test_a_late_job_expires(client):
    job = fresh()
    client.submit(job, ttl_ms=100)
    verb, envelope, _ = client.one()
    assert (verb, envelope["state"], envelope["code"]) == ("R", "expired", "deadline_passed")


def test_not_before_its_time(client, worker):
    job = fresh()
    began = time.monotonic()
    client.submit(job, delay_ms=300)
    worker.done(*worker.jobs(1))
    assert time.monotonic() - began >= 0.3
    assert client.one()[0] == "R"


def test_higher_priorities_go_first():
    with Broker() as b, Client(b.clients) as c:
        ids = {pri: "p-%d" % pri for pri in range(10)}
        c.send("S", *[(dict(JOB, id=ids[pri], pri=pri), BODY) for pri in range(10)])
        wait_for(lambda: b.metrics()['otpq_broker_jobs{state="queued"}'] == 10, 5, "queued")
        with Worker(b.workers, credit=10) as w:
            order = [e["id"] for e, _ in w.jobs(10)]
    assert order.index(ids[9]) < 3 and order.index(ids[0]) > order.index(ids[9])


# ---- REQ -------------------------------------------------------------------------------------------

@pytest.fixture
def req(broker):
    with Client(broker.clients, zmq.REQ) as c:
        yield c


def test_req_gets_one_answer_to_each_question(req, worker):
    req.send("P")
    assert req.receive() == ("O", [])
    job = fresh()
    req.submit(job)
    worker.done(*worker.jobs(1))
    assert req.one()[1]["state"] == "done"
    assert req.info()["broker"]["workers"] == 1
    req.ask("G", job)
    assert req.one()[1]["state"] == "done"
    req.ask("G", fresh())
    assert req.one()[1]["error"] == "not_found"


def test_req_may_ask_later_for_what_was_queued(req, worker):
    job, other = fresh(), fresh()
    req.submit(job, ack="queued")
    assert req.one()[:2] == ("A", {"id": job, "state": "queued"})
    taken = worker.jobs(1)
    req.submit(other)
    worker.done(*taken)  # answers the first question: not what is asked now
    worker.done(*worker.jobs(1))
    assert req.one()[1]["id"] == other
    req.ask("G", job)
    assert req.one()[:2][1]["id"] == job


def test_req_cannot_send_batches(req):
    req.send("S", (dict(JOB, id=fresh()), BODY), (dict(JOB, id=fresh()), BODY))
    verb, envelope, _ = req.one()
    assert (verb, envelope["error"]) == ("N", "malformed") and "REQ" in envelope["detail"]
    req.send("P")
    assert req.receive()[0] == "O"


# ---- what is wrong ---------------------------------------------------------------------------------

ENVELOPE = msgpack.packb(JOB)
MALFORMED = [
    (b"", 0), (b"OQ1", 0), (b"HTTP", 0), (b"OQ2S" + ENVELOPE + b"\x80", 0), (b"OQ1z", 3), (b"OQ1R", 3),
    (b"OQ1S", 4), (b"OQ1G", 4), (b"OQ1X", 4), (b"OQ1S\xc1", 4), (b"OQ1S\x80", None),
    (b"OQ1S" + ENVELOPE, 4 + len(ENVELOPE)),
    (b"OQ1S" + ENVELOPE + b"\xc0", 4 + len(ENVELOPE)),
    (b"OQ1S" + ENVELOPE + b"\x91\x01", 4 + len(ENVELOPE)),
    (b"OQ1S" + ENVELOPE + b"\x81\xa1a", None),
    (b"OQ1S" + ENVELOPE + b"\xdf\xff\xff\xff\xff", None),
    (b"OQ1S\xdd\x0f\xff\xff\xff", 4), (b"OQ1S\xdf\x0f\xff\xff\xff", None), (b"OQ1S\x81\xdb\xff\xff\xff\xff", None),
    (b"OQ1S" + ENVELOPE + b"\x81\xa1a" * 20 + b"\x80", None),
    (b"OQ1P\x80", 4), (b"OQ1I\x80\x80\x80\x80", 6), (b"OQ1I\xc1", 4), (b"OQ1G\x81", None),
]


@pytest.mark.parametrize("frame,offset", MALFORMED, ids=range(len(MALFORMED)))
@pytest.mark.parametrize("kind", [zmq.DEALER, zmq.REQ], ids=["dealer", "req"])
def test_malformed_messages_get_one_answer(broker, frame, offset, kind):
    with Client(broker.clients, kind) as c:
        c.raw(frame)
        verb, envelope, body = c.one()
        assert (verb, envelope["error"], body) == ("N", "malformed", {})
        assert not envelope.get("id")
        if offset is not None:
            assert envelope["detail"].startswith("at byte %d:" % offset), envelope
        else:
            assert envelope["detail"].startswith("at byte ")
        c.send("P")
        assert c.receive() == ("O", [])


def test_pairs_before_the_bad_one_are_taken(client, worker):
    job = fresh()
    good = msgpack.packb(dict(JOB, id=job)) + msgpack.packb(BODY)
    client.raw(b"OQ1S" + good + b"\xc1")
    verb, envelope, _ = client.one()
    assert verb == "N" and envelope["detail"].startswith("at byte %d:" % (4 + len(good)))
    worker.done(*worker.jobs(1))
    assert client.one()[1]["id"] == job


def test_more_than_one_frame_is_malformed(client):
    client.raw(b"OQ1P", b"more", b"and more")
    verb, envelope, _ = client.one()
    assert (verb, envelope["error"]) == ("N", "malformed") and "frame" in envelope["detail"]
    client.raw(b"", b"OQ1P", b"more")  # as a REQ would
    assert client.socket.recv_multipart()[0] == b""


INVALID = [
    (dict(JOB, id=""), "id"), (dict(JOB, id="a" * 65), "id"), (dict(JOB, id="a b"), "id"),
    (dict(JOB, id=5), "id"), ({"op": "send", "route": "demo"}, "id"), (dict(JOB, op="sell"), "op"),
    ({"id": "i-1", "route": "demo"}, "op"), (dict(JOB, route=""), "route"),
    (dict(JOB, route="r" * 65), "route"), ({"id": "i-1", "op": "send"}, "route"),
    (dict(JOB, pri=10), "pri"), (dict(JOB, pri=-1), "pri"), (dict(JOB, ttl_ms=0), "ttl_ms"),
    (dict(JOB, ttl_ms=86400001), "ttl_ms"), (dict(JOB, delay_ms=-5), "delay_ms"),
    (dict(JOB, delay_ms="1"), "delay_ms"), (dict(JOB, ack="maybe"), "ack"),
    (dict(JOB, tenant="t" * 65), "tenant"), (dict(JOB, trace="x" * 55), "trace"),
]


@pytest.mark.parametrize("envelope,key", INVALID, ids=range(len(INVALID)))
def test_a_broken_rule_refuses_that_job_alone(client, worker, envelope, key):
    good = fresh()
    client.send("S", (envelope, BODY), (dict(JOB, id=good), BODY))
    verb, nack, _ = client.one()
    assert (verb, nack["error"]) == ("N", "invalid") and nack["detail"].startswith(key + ":")
    worker.done(*worker.jobs(1))
    assert client.one()[1]["id"] == good


def test_sizes_at_their_limits(client, worker):
    def body(size):
        head = len(msgpack.packb({"text": "x" * 40000})) - 40000
        return {"text": "x" * (size - head - (0 if size - head < 65536 else 2))}
    job = fresh()
    client.submit(job, body(65536))
    worker.done(*worker.jobs(1))
    assert client.one()[1]["id"] == job
    client.submit(fresh(), body(65540))
    verb, nack, _ = client.one()
    assert (verb, nack["error"]) == ("N", "invalid") and "65536" in nack["detail"]
    client.raw(b"OQ1S" + b"\x80" * (1024 * 1024))
    verb, nack, _ = client.one()
    assert (verb, nack["error"]) == ("N", "malformed") and "1048576" in nack["detail"]


def test_a_giant_message_ends_that_connection_alone(broker):
    with Client(broker.clients) as big, Client(broker.clients) as other:
        big.raw(b"OQ1S" + b"\x80" * (4 * 1024 * 1024))
        other.send("P")
        assert other.receive() == ("O", [])


def test_noise_never_ends_the_broker():
    seed = random.randrange(1 << 32)
    print("seed", seed)
    rng = random.Random(seed)
    seeds = [message(b"OQ1", "S", (dict(JOB, id="z-%d" % i, ttl_ms=1000), BODY)) for i in range(3)]
    with Broker() as b, Client(b.clients) as c, Worker(b.workers) as w:
        for _ in range(3000):
            frame = bytearray(rng.choice(seeds))
            for _ in range(rng.randrange(1, 5)):
                frame[rng.randrange(len(frame))] = rng.randrange(256)
            c.raw(bytes(frame[:rng.randrange(len(frame) + 1)]) if rng.random() < 0.3 else bytes(frame))
            frame[:3] = b"OW1"
            frame[3:4] = rng.choice([b"C", b"Y", b"R", b"B", b"H", b"P", b"z"])
            w.raw(bytes(frame))
        c.send("P")
        verb = None
        while verb != b"O":
            verb = c.socket.recv()[3:4]


# ---- limits ----------------------------------------------------------------------------------------

@pytest.mark.parametrize("option,key", [
    ("  jobs_max: 3\n", "broker.jobs_max"),
    ("  route_jobs_max: 3\n", "broker.route_jobs_max"),
    ("  tenant_jobs_max: 3\n", "broker.tenant_jobs_max"),
])
def test_over_a_limit_is_said_with_a_time(option, key):
    with Broker(option) as b, Client(b.clients) as c:
        for i in range(3):
            c.submit("f-%d" % i)
        c.submit("f-3")
        verb, nack, _ = c.one()
        assert (verb, nack["id"], nack["error"]) == ("N", "f-3", "queue_full")
        assert key in nack["detail"] and 50 <= nack["retry_after_ms"] <= 10000
        c.ask("G", "f-3")
        assert c.one()[1]["error"] == "not_found"
        with Worker(b.workers) as w:
            w.done(*w.jobs(3))
            got = []
            while len(got) < 3:
                got += c.receive()[1]
            c.submit("f-3")
            w.done(*w.jobs(1))
            assert c.one()[1]["id"] == "f-3"


def test_bytes_are_limited():
    with Broker("  bytes_max: 1048576\n") as b, Client(b.clients) as c:
        for i in range(30):
            c.submit("b-%d" % i, {"text": "x" * 50000})
        verb, nacks = c.receive()
        assert verb == "N" and nacks[0][0]["error"] == "queue_full"
        assert "broker.bytes_max" in nacks[0][0]["detail"]


def test_without_records_no_route_is_called_unknown():
    with Broker(accept=False) as b, Client(b.clients) as c:
        c.submit("u-1", route="nowhere")
        verb, nack, _ = c.one(15)  # clients are let in late when nobody brings records
        assert (verb, nack["error"]) == ("N", "store_unavailable")
        assert nack["retry_after_ms"] > 0
        status, text, _ = http(b.http + "/readyz")
        assert status == 503 and "records" in text


def test_the_longest_silent_client_makes_room():
    with Broker("  clients_max: 2\n") as b, Client(b.clients) as first, Client(b.clients) as second:
        for c in (first, second):
            c.send("P")
            assert c.receive()[0] == "O"
        first.submit("o-1")
        first.send("P")  # its answer says that the job before it has arrived
        assert first.receive()[0] == "O"
        with Client(b.clients) as third, Worker(b.workers) as w:
            third.send("P")
            assert third.receive()[0] == "O"
            w.done(*w.jobs(1))
            assert first.one()[1]["id"] == "o-1"
            assert b.metrics()["otpq_broker_clients_dropped_total"] == 1


# ---- workers ---------------------------------------------------------------------------------------

def test_credit_bounds_what_a_worker_holds(broker, client):
    with Worker(broker.workers, credit=2) as w:
        ids = [fresh() for _ in range(5)]
        for i in ids:
            client.submit(i)
        first = w.jobs(2)
        w.send("P")
        verb, _ = w.receive()
        assert verb == "O"  # and no third job before it
        w.done(*first)
        w.credit(5)
        w.done(*w.jobs(3))
        got = []
        while len(got) < 5:
            got += client.receive()[1]
        w.send("Q")


def test_a_job_given_back_goes_out_again(client, worker):
    job = fresh()
    client.submit(job)
    taken = worker.jobs(1)
    worker.back(*taken, attempt_seen=4, code="advertiser_unreachable")
    (again, body), = worker.jobs(1)
    assert again["id"] == job and again["attempt"] > 4
    worker.done((again, body))
    assert client.one()[1]["state"] == "done"


def test_a_stranger_is_asked_who_it_is(broker, client):
    with Worker(broker.workers) as w:
        job = fresh()
        client.submit(job)
        taken = w.jobs(1)
        w.send("Q")
        with Worker(broker.workers) as other:
            (again, body), = other.jobs(1)
            assert again["attempt"] == 2
            w.done(*taken)  # a stranger now, but its result is a fact
            assert client.one()[1]["state"] == "done"
            assert w.receive() == ("W", [])
            other.send("Q")
    wait_for(lambda: joined(broker) == 0, 5, "both left")


def test_jobs_of_a_dead_worker_go_to_another(broker, client):
    with Worker(broker.workers, name="dies") as dying:
        job = fresh()
        client.submit(job)
        assert dying.jobs(1)[0][0]["attempt"] == 1
        with Worker(broker.workers, name="lives") as other:
            dying.socket.close()
            died = time.monotonic()
            (again, body), = other.jobs(1)
            assert time.monotonic() - died <= 1.5 * SLOW
            assert (again["id"], again["attempt"]) == (job, 2)
            other.done((again, body))
            assert client.one()[1]["attempts"] == 2
            other.send("Q")


def test_jobs_of_a_silent_worker_go_to_another(broker, client):
    with Worker(broker.workers, name="hangs") as hanging:
        job = fresh()
        client.submit(job)
        hanging.jobs(1)
        fell_silent = time.monotonic()
        with Worker(broker.workers, name="lives") as other:
            (again, body), = other.jobs(1)
            assert 0.5 <= time.monotonic() - fell_silent <= 1.5 * SLOW
            other.done((again, body))
            assert client.one()[0] == "R"
            other.send("Q")
    assert broker.metrics()["otpq_broker_workers_lost_total"] >= 1


# ---- the process -----------------------------------------------------------------------------------

def test_sigterm_answers_what_is_in_flight():
    with Broker() as b, Client(b.clients) as c, Worker(b.workers) as w:
        c.submit("d-1")
        taken = w.jobs(1)
        b.terminate()
        wait_for(lambda: http(b.http + "/readyz")[0] == 503, 5, "not ready")
        assert http(b.http + "/livez")[0] == 200
        c.submit("d-2")
        verb, nack, _ = c.one()
        assert (verb, nack["id"], nack["error"]) == ("N", "d-2", "draining")
        assert nack["retry_after_ms"] > 0
        assert b.process.poll() is None
        w.done(*taken)
        assert c.one()[1]["id"] == "d-1"
        assert b.wait() == 0


def test_an_idle_broker_leaves_at_once_and_a_second_signal_is_obeyed():
    with Broker() as b:
        b.terminate()
        assert b.wait(3) == 0
    with Broker() as b, Client(b.clients) as c, Worker(b.workers) as w:
        c.submit("d-3")
        w.jobs(1)
        b.terminate()
        wait_for(lambda: "draining" in b.output(), 5, "draining")
        b.process.send_signal(signal.SIGINT)
        assert b.wait(3) == 1


@pytest.mark.parametrize("which,key", enumerate(["broker.clients", "broker.workers", "broker.metrics"]))
def test_a_port_in_use_names_port_and_key(which, key):
    ports = free_ports(3)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", ports[which]))
        taken.listen()
        b = Broker(ports=ports)
        try:
            assert b.wait(5) == 1
            text = b.output()
            assert str(ports[which]) in text and key in text and "in use" in text, text
        finally:
            b.__exit__()


def test_other_hosts_are_kept_out():
    b = Broker(env={"OTPQ_BROKER_WORKERS": "tcp://0.0.0.0:5561"})
    try:
        assert b.wait(5) == 2
        assert "OTPQ_BROKER_WORKERS" in b.output() and "curve_secret_file" in b.output()
    finally:
        b.__exit__()


def test_metrics_and_health(broker, client, worker):
    before = broker.metrics()
    job = fresh()
    client.submit(job)
    worker.done(*worker.jobs(1))
    assert client.one()[0] == "R"
    after = broker.metrics()
    assert after["otpq_broker_accepted_total"] == before["otpq_broker_accepted_total"] + 1
    for name in ('otpq_broker_ended_total{state="done"}', 'otpq_route_ended_total{route="demo",state="done"}'):
        assert after[name] == before.get(name, 0) + 1
    assert after["otpq_store_up"] == 0
    status, text, _ = http(broker.http + "/metrics")
    families = [line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")]
    assert len(families) == len(set(families))
    assert http(broker.http + "/livez")[:2] == (200, "alive\n")
    assert http(broker.http + "/readyz")[:2] == (200, "ready\n")
    assert http(broker.http + "/else")[0] == 404
    assert http(broker.http + "/metrics", method="POST", body=b"")[0] == 405
