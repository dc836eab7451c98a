"""Who dies, and what follows (docs/architecture.md)."""
import os
import signal
import subprocess
import threading
import time

from client import Client, send_job
from node import BUILD, SLOW, Node, http, wait_for

ORDINARY = "66830%06d"


def ordinary(i):
    """The i-th ordinary number: last four digits under 9000."""
    return "6683%03d%04d" % (i // 9000, i % 9000)


def sends(node):
    """All that the advertiser saw, but for the node's own first flow."""
    return node.ledger()["sends"] - 1


def test_once_sends_verifies_and_leaves_nothing_running(tmp_path):
    with Node() as node:
        pids = list(node.children().values())
    for pid in pids:
        assert not os.path.exists("/proc/%d/exe" % pid)


def test_the_broker_is_restarted_under_load(tmp_path):
    """Clients submit unanswered ids again: each ends, each was at the advertiser at most once."""
    jobs = [send_job("restart-%d" % i, ordinary(i), ttl_ms=60000) for i in range(2000)]
    ids = [job[0]["id"] for job in jobs]
    with Node(workers=2) as node, Client(node.clients) as client:
        client.submit(*jobs)
        wait_for(lambda: client.receive(0.05) is not None and len(client.results) > 100, 20, "it flows")
        os.kill(node.children()["otpq-broker"], signal.SIGKILL)
        deadline = time.monotonic() + 60 * SLOW
        while len(client.results) < len(ids):
            assert time.monotonic() < deadline, "%d of %d" % (len(client.results), len(ids))
            missing = [job for job in jobs if job[0]["id"] not in client.results]
            with Client(node.clients) as again:  # a fresh connection, as a restarted service would
                again.submit(*missing)
                quiet = time.monotonic() + 3 * SLOW
                while len(again.results) < len(missing) and time.monotonic() < quiet:
                    if again.receive(0.2):
                        quiet = time.monotonic() + 3 * SLOW
                client.results.update(again.results)
        codes = [client.results[i][0]["code"] for i in ids]
        assert set(codes) <= {"otp_sent", "outcome_unknown"}, set(codes)
        doubled = [i for i in range(len(jobs)) if node.ledger(ordinary(i))["sends"] > 1]
        assert doubled == []
        assert sends(node) <= len(jobs)


def test_an_id_stays_one_job_when_the_broker_is_gone():
    """The next broker knows nothing of it, and the other number's keys know nothing of the first."""
    with Node() as node:
        with Client(node.clients) as client:
            for name in ("id-1", "id-2"):
                assert client.call(*send_job(name, ordinary(1)))[0]["code"] == "otp_sent"
        broker = node.children()["otpq-broker"]
        os.kill(broker, signal.SIGKILL)
        wait_for(lambda: node.children().get("otpq-broker", broker) != broker, 10, "another broker")
        verify = {"id": "id-2", "op": "verify", "route": "demo"}, {"msisdn": ordinary(3), "otp": "123456"}
        with Client(node.clients) as client:
            for job in (send_job("id-1", ordinary(2)), verify):
                envelope, _ = client.call(*job)
                assert (envelope["state"], envelope["code"]) == ("refused", "conflict")
        assert node.ledger(ordinary(1))["sends"] == 2
        assert node.ledger(ordinary(2))["sends"] == 0
        assert node.ledger(ordinary(3))["verifies"] == 0


def test_redis_stops_and_comes_back():
    with Node() as node, Client(node.clients) as client:
        client.call(*send_job("before", ordinary(1)))
        redis = node.children()["redis"]
        os.kill(redis, signal.SIGSTOP)
        jobs = [send_job("away-%d" % i, ordinary(100 + i), ttl_ms=20000 * SLOW) for i in range(50)]
        client.submit(*jobs)
        client.receive(1.0)
        assert sends(node) == 1, "nothing starts without a claim"
        os.kill(redis, signal.SIGCONT)
        results = client.wait([job[0]["id"] for job in jobs], 20)
        assert [e["code"] for e, _ in results].count("otp_sent") >= 49, [e["code"] for e, _ in results]
        assert all(node.ledger(ordinary(100 + i))["sends"] <= 1 for i in range(50))


def test_redis_is_killed_and_started_again():
    with Node() as node, Client(node.clients) as client:
        client.call(*send_job("before", ordinary(1)))
        os.kill(node.children()["redis"], signal.SIGKILL)
        jobs = [send_job("killed-%d" % i, ordinary(200 + i), ttl_ms=20000 * SLOW) for i in range(50)]
        client.submit(*jobs)
        results = client.wait([job[0]["id"] for job in jobs], 25)
        assert [e["code"] for e, _ in results].count("otp_sent") >= 49, [e["code"] for e, _ in results]
        assert all(node.ledger(ordinary(200 + i))["sends"] <= 1 for i in range(50))


def test_a_late_redis_never_makes_a_late_send():
    with Node() as node, Client(node.clients) as client:
        redis = node.children()["redis"]
        os.kill(redis, signal.SIGSTOP)
        jobs = [send_job("late-%d" % i, ordinary(300 + i), ttl_ms=300) for i in range(20)]
        client.submit(*jobs)
        results = client.wait([job[0]["id"] for job in jobs], 10)
        os.kill(redis, signal.SIGCONT)
        assert {e["state"] for e, _ in results} <= {"expired", "refused"}, results
        client.call(*send_job("after", ordinary(1), ttl_ms=20000 * SLOW))
        assert sends(node) == 1


def test_a_worker_is_killed_before_the_claim():
    """Its jobs are with another worker within 1.5 s."""
    with Node(workers=2) as node, Client(node.clients) as client:
        client.call(*send_job("warm", ordinary(1)))
        victim = node.children()["otpq-worker"]
        os.kill(victim, signal.SIGSTOP)  # what it is handed now it cannot claim
        jobs = [send_job("handed-%d" % i, ordinary(400 + i), ttl_ms=20000) for i in range(20)]
        client.submit(*jobs)
        client.receive(0.1)
        os.kill(victim, signal.SIGKILL)
        began = time.monotonic()
        results = client.wait([job[0]["id"] for job in jobs], 10)
        assert time.monotonic() - began < 1.5 * SLOW
        assert {e["code"] for e, _ in results} == {"otp_sent"}
        assert all(node.ledger(ordinary(400 + i))["sends"] == 1 for i in range(20))
        assert any(e["attempts"] > 1 for e, _ in results), "the stopped worker was handed none"


def test_a_worker_is_killed_after_the_claim():
    """unknown within the call's time-out + 2 s, and the advertiser saw it once."""
    with Node(workers=2) as node, Client(node.clients) as client:
        msisdn = "66840019011"  # the sandbox takes it and hangs
        client.submit(send_job("hangs", msisdn, ttl_ms=60000))
        wait_for(lambda: client.receive(0.01) is not None and node.ledger(msisdn)["sends"] == 1, 10, "it is out")
        began = time.monotonic()
        for name, pid in node.children().items():
            if name.startswith("otpq-worker"):
                os.kill(pid, signal.SIGKILL)
        (envelope, _), = client.wait(["hangs"], 20)
        assert (envelope["state"], envelope["code"]) == ("unknown", "outcome_unknown")
        assert time.monotonic() - began < (10 + 2 + 3) * SLOW
        assert node.ledger(msisdn)["sends"] == 1


def test_a_worker_is_ended_in_order_under_load():
    with Node(workers=2) as node, Client(node.clients) as client:
        jobs = [send_job("term-%d" % i, ordinary(1000 + i), ttl_ms=60000) for i in range(2000)]
        client.submit(*jobs)
        wait_for(lambda: client.receive(0.05) is not None and len(client.results) > 100, 20, "it flows")
        os.kill(node.children()["otpq-worker"], signal.SIGTERM)
        results = client.wait([job[0]["id"] for job in jobs], 60)
        assert {e["code"] for e, _ in results} == {"otp_sent"}
        assert sends(node) == 2000
        assert all(node.ledger(ordinary(1000 + i))["sends"] == 1 for i in range(0, 2000, 37))


def test_a_hangup_restarts_every_process_and_work_goes_on():
    with Node() as node, Client(node.clients) as client:
        before = node.children()
        with open(node.config, encoding="utf-8") as f:
            text = f.read()
        with open(node.config, "w", encoding="utf-8") as f:
            f.write(text.replace("workers: 1\n", "workers: 2\n"))
        node.process.send_signal(signal.SIGHUP)
        wait_for(lambda: "node.workers changed" in node.output(), 10, "it says what stays")
        wait_for(lambda: "all processes were restarted" in node.output(), 30, "all are restarted")
        after = node.children()
        assert sorted(after) == sorted(before)
        stayed = {name for name in before if before[name] == after[name]}
        assert stayed == {"redis", "sandbox"}, (before, after)
        assert client.call(*send_job("after", ordinary(1)))[0]["code"] == "otp_sent"


def test_an_end_during_a_restart_ends_all():
    with Node() as node:
        node.process.send_signal(signal.SIGHUP)
        assert node.stop() == 0


def test_a_process_that_cannot_live_is_not_started_again_and_again():
    with Node() as node:
        os.rename(os.path.join(node.dir, "pepper"), os.path.join(node.dir, "away"))
        os.kill(node.children()["otpq-worker"], signal.SIGKILL)
        wait_for(lambda: "after_ms=800" in node.output(), 20, "the wait grows")
        starts = node.output().count("child ended")
        assert starts <= 6, node.output()
        os.rename(os.path.join(node.dir, "away"), os.path.join(node.dir, "pepper"))
        wait_for(lambda: node.gen(ordinary(2))[0] == 200, 20, "it works again")


def p99(client, name, count):
    times = []
    for i in range(count):
        began = time.monotonic()
        client.call(*send_job("%s-%d" % (name, i), ordinary(5000 + i)))
        times.append(time.monotonic() - began)
    return sorted(times)[int(count * 0.99)]


def test_a_route_that_hangs_does_not_slow_another(tmp_path):
    """p99 of one route, alone and beside 300 hanging calls of another: at most 10 % more, above the
    machine's own noise of a few milliseconds; the best of three, since the machine is shared."""
    with Node() as node, Client(node.clients) as client, Client(node.clients) as other:
        text = node.command("export").stdout.decode()
        begin, end = text.index("  demo:\n"), text.index("  demo-local:\n")
        records = tmp_path / "more.yaml"
        records.write_text("integrations:\n" + text[begin:end].replace("  demo:\n", "  hangs:\n", 1))
        node.command("apply", "-f", str(records))
        wait_for(lambda: "integration_not_found" not in str(
            other.call(*send_job("probe-%d" % time.monotonic_ns(), ordinary(1), route="hangs"))), 5,
            "the route is there")
        tried = []
        for attempt in range(3):
            alone = p99(client, "alone%d" % attempt, 300)
            hanging = [send_job("h%d-%d" % (attempt, i), "6684%03d9011" % i, route="hangs") for i in range(300)]
            other.submit(*hanging)
            wait_for(lambda: node.ledger("66840009011")["sends"] >= 1, 10, "they hang")
            beside = p99(client, "beside%d" % attempt, 300)
            tried.append((alone, beside))
            if beside <= alone * 1.10 + 0.005:
                break
            other.wait([job[0]["id"] for job in hanging], 30)
        assert any(b <= a * 1.10 + 0.005 for a, b in tried), tried


def test_a_port_in_use_is_named_with_its_key():
    with Node() as node:
        done = subprocess.run([os.path.join(BUILD, "bin", "otpq-broker"), "--config", node.config],
                              env=dict(os.environ, OTPQ_DIR=node.dir), stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=20 * SLOW)
        assert done.returncode != 0
        text = done.stdout.decode()
        assert str(node.ports["clients"]) in text or str(node.ports["workers"]) in text or \
            str(node.ports["metrics"]) in text, text
        assert "broker." in text, text


def test_two_nodes_do_not_share_a_folder():
    with Node() as node:
        done = subprocess.run([os.path.join(BUILD, "bin", "otpq"), "up", "--dir", node.dir], timeout=20,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        assert done.returncode == 1 and b"--dir" in done.stdout


def test_a_planned_restart_of_the_broker_fails_no_request():
    """A job that hangs keeps the broker draining, while others come."""
    with Node() as node:
        said, stop = [], threading.Event()

        def load():
            for i in range(100000):
                if stop.is_set():
                    return
                status, body = node.gen(ordinary(i))
                said.append((status, body.get("error")))

        threading.Thread(target=node.gen, args=("66840019011",), daemon=True).start()
        wait_for(lambda: node.ledger("66840019011")["sends"] == 1, 10, "the slow call is out")
        client = threading.Thread(target=load)
        client.start()
        try:
            wait_for(lambda: len(said) > 20, 20, "it flows")
            before = node.children()["otpq-broker"]
            os.kill(before, signal.SIGTERM)
            wait_for(lambda: node.children().get("otpq-broker", before) != before, 40, "a new broker")
            seen = len(said)
            wait_for(lambda: len(said) > seen + 20, 30, "it flows again")
        finally:
            stop.set()
            client.join()
        assert {status for status, _ in said} <= {200, 503}, set(said)
