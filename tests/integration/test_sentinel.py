"""Fail-over by real sentinels under load: nothing twice, nothing hangs, an old primary is not believed."""
import signal
import time

from client import Client, send_job
from node import SLOW, Node, http, wait_for
from sentinels import Sentinels

TTL_MS = 15000 * SLOW
SOUND = {"otp_sent", "outcome_unknown", "deadline_passed", "store_unavailable"}


def ordinary(i):
    """The i-th ordinary number: last four digits under 9000."""
    return "6683%03d%04d" % (i // 9000, i % 9000)


def refused_for_now(client, seen):
    """Ids that a broker could not take since the seen-th answer: a library would submit them again, and so do we."""
    found = []
    for verb, envelope, _ in client.answers[seen:]:
        if verb == "N":
            assert envelope["error"] in ("store_unavailable", "moved"), envelope
            found.append((envelope["id"], envelope["error"] == "moved"))
    return found


def load(client, count, during):
    """Submits steadily, every third to be stored; `during` is called with the number submitted so far. The results,
    all of them."""
    jobs = {}
    for i in range(count):
        more = {"ack": "stored"} if i % 3 == 0 else {}
        jobs["load-%d" % i] = send_job("load-%d" % i, ordinary(i), ttl_ms=TTL_MS, **more)
        client.submit(jobs["load-%d" % i])
        client.receive(0.002)
        during(i)
    seen = 0
    deadline = time.monotonic() + (TTL_MS / 1000 + 10) * SLOW
    while set(jobs) - set(client.results):
        missing = set(jobs) - set(client.results)
        assert time.monotonic() < deadline, "nothing hangs beyond its deadline: %s" % sorted(missing)[:3]
        refused = refused_for_now(client, seen)
        seen = len(client.answers)
        for job_id, moved in refused:
            envelope, body = jobs[job_id]
            client.submit((dict(envelope, **({"again": True} if moved else {})), body))
        quiet = time.monotonic() + 0.2
        while time.monotonic() < quiet:
            client.receive(0.05)
    return [client.results[job_id] for job_id in jobs]


def at_most_once(node, count):
    return [i for i in range(count) if node.ledger(ordinary(i))["sends"] > 1] == []


def goes_on(node, msisdn):
    """A whole flow, on the primary of now."""
    wait_for(lambda: node.gen(msisdn)[0] == 200, 30, "a send goes through")
    status, answer = node.verify(msisdn, node.inbox(msisdn)[-1]["otp"])
    assert status == 200, answer


def test_the_primary_is_killed_under_load():
    with Sentinels("min-replicas-to-write 1\nmin-replicas-max-lag 2\n") as s, \
            Node(workers=2, env=s.env) as node, Client(node.clients) as client:
        old = s.primary()
        results = load(client, 1500, lambda i: i == 300 and s.signal(old, signal.SIGKILL))
        codes = [envelope["code"] for envelope, _ in results]
        assert set(codes) <= SOUND, set(codes)
        assert codes.count("otp_sent") > 1000, {c: codes.count(c) for c in set(codes)}
        stored = {e["id"] for verb, e, _ in client.answers if verb == "A" and e["state"] == "stored"}
        assert len(stored) == 500
        assert at_most_once(node, 1500)
        new = wait_for(lambda: s.failed_over(old), 20, "there is another primary")
        goes_on(node, ordinary(9001))
        assert "server=127.0.0.1:%d" % new in node.logs()
        assert "writes of the last moments may be gone" in node.logs()


def test_an_old_primary_that_was_paused_is_not_believed():
    """It says `role:master` when it goes on, until the sentinels tell it otherwise: no write of ours."""
    with Sentinels() as s, Node(workers=2, env=s.env) as node, Client(node.clients) as client:
        old = s.primary()
        result = client.call(*send_job("before", ordinary(5000), ttl_ms=TTL_MS))
        assert result[0]["code"] == "otp_sent"
        s.signal(old, signal.SIGSTOP)
        results = load(client, 300, lambda i: None)
        assert at_most_once(node, 300)
        assert {envelope["code"] for envelope, _ in results} <= SOUND
        new = wait_for(lambda: s.failed_over(old), 20, "there is another primary")
        client.call(*send_job("after", ordinary(5001), ttl_ms=TTL_MS))
        s.all_sentinels("end")  # they would tell it at once
        s.signal(old, signal.SIGCONT)
        wait_for(lambda: s.info(old).get("role") == "master", 10, "the old one believes that it is one")
        for i in range(20):
            result = client.call(*send_job("meanwhile-%d" % i, ordinary(5100 + i), ttl_ms=TTL_MS))
            assert result[0]["code"] == "otp_sent"
            assert s.client(new).keys("otpq:j:*:meanwhile-%d" % i)
            assert not s.client(old).keys("otpq:j:*:meanwhile-%d" % i)
        s.all_sentinels("start")
        wait_for(lambda: s.info(old).get("role") == "slave", 30, "the old one is told")
        goes_on(node, ordinary(5200))
        assert node.ledger(ordinary(5000))["sends"] == 1


def test_without_a_primary_nothing_is_verified_and_nothing_sent():
    short = {"gateway": "  job_ttl_ms: %d\n" % (3000 * SLOW)}
    with Sentinels() as s, Node(short, env=s.env) as node, Client(node.clients) as client:
        msisdn = ordinary(6000)
        assert node.gen(msisdn)[0] == 200
        otp = node.inbox(msisdn)[-1]["otp"]
        s.all_sentinels("end")  # nobody fails over
        s.signal(s.servers[0], signal.SIGKILL)
        began = time.monotonic()
        status, answer = node.verify(msisdn, otp)
        assert status != 200, answer
        assert time.monotonic() - began < 5 * SLOW, "it ends at its deadline"
        assert node.ledger(msisdn)["verifies"] == 0
        late = send_job("late", ordinary(6001), ttl_ms=500)
        assert client.call(*late)[0]["state"] in ("expired", "refused")
        done = node.command("export", check=False)
        assert done.returncode == 1 and b"redis.address" in done.stderr, done
        s.again(s.servers[0])
        s.all_sentinels("start")
        goes_on(node, ordinary(6002))
        assert node.ledger(ordinary(6001))["sends"] == 0


def test_commands_find_the_primary():
    with Sentinels() as s, Node(workers=1, env=s.env) as node:
        status, answer = node.gen(ordinary(7000))
        assert status == 200
        trace = node.command("trace", answer["data"]).stdout
        assert b"claimed" in trace or b"send" in trace, trace
        records = node.command("export").stdout
        assert node.command("apply", "-f", "-", stdin=records).stdout.startswith(b"0 added, 0 changed")
        assert node.command("callbacks", "list").returncode == 0
        assert b"durability everysec" in node.command("info").stdout
        assert 'otpq_store_durability{level="everysec"} 1' in http(node.metrics + "/metrics")[1]
        s.client(s.sentinels[0]).execute_command("SENTINEL", "FAILOVER", "otpq-main")
        wait_for(lambda: s.failed_over(s.servers[0]), 30, "there is another primary")
        assert node.command("export").stdout == records
        goes_on(node, ordinary(7001))
