"""A whole node on a Redis Cluster of six real servers (docs/operations.md, "Redis Cluster")."""
import collections
import itertools
import json
import os
import signal
import subprocess
import threading
import time

import pytest
import redis

from client import Client, send_job
from cluster import Cluster, ClusterNode, Watched, slot_of, tag_of_number
from node import BUILD, ROOT, SLOW, wait_for

NUMBERS = ("6684%03d%04d" % (i // 9000, i % 9000) for i in itertools.count())
LOCK = threading.Lock()


def fresh(tags=None):
    """A number that nobody used; of one of the tags."""
    with LOCK:
        return next(n for n in NUMBERS if tags is None or tag_of_number(n) in tags)


@pytest.fixture(scope="module")
def cluster():
    with Cluster() as c:
        yield c


def whole_flow(node, msisdn, partner):
    """One request from the first call to the last: what was answered, in words."""
    said = []
    status, answer = node.gen(msisdn, partner)
    said.append(answer.get("response") or answer.get("error"))
    if said != ["otp_sent"]:
        return said
    rid = answer["data"]
    otp = wait_for(lambda: node.inbox(msisdn), 10, "an OTP arrives")[0]["otp"]
    wrong = "%06d" % ((int(otp) + 1) % 1000000)
    for code in (wrong, otp, otp):
        answer = node.verify(msisdn, code, partner, request_id=rid)[1]
        said.append(answer.get("response") or answer.get("error"))
    return said


GOOD = ["otp_sent", "wrong_otp", "otp_verified", "already_verified"]


class Load:
    """with Load(node, tags) as l: requests flow; l.flows has what was answered, by number."""

    def __init__(self, node, tags=None, people=4):
        self.node, self.tags, self.flows, self.errors = node, tags, {}, []
        self.over = threading.Event()
        self.begun = collections.Counter()  # requests by tag
        self.threads = [threading.Thread(target=self.person) for _ in range(people)]

    def person(self):
        for partner in itertools.cycle(("demo", "demo-local")):
            if self.over.is_set():
                return
            msisdn = fresh(self.tags)
            with LOCK:
                self.begun[tag_of_number(msisdn)] += 1
            try:
                self.flows[msisdn] = whole_flow(self.node, msisdn, partner)
            except Exception as error:  # is judged by the test
                self.errors.append((msisdn, repr(error)))

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        for thread in self.threads:
            thread.join()

    def flow(self, more):
        """Waits until so many more requests went all their way."""
        want = len(self.flows) + more
        wait_for(lambda: len(self.flows) >= want or self.errors, 60, "%d requests more" % more)


def test_a_whole_node(cluster, tmp_path):
    """Every form of request and command; and no script touches a key of another slot than its own."""
    with ClusterNode(cluster, workers=2, brokers=2) as node, Watched(cluster) as watched:
        for i in range(40):
            msisdn = fresh()
            assert whole_flow(node, msisdn, ("demo", "demo-local")[i % 2]) == GOOD
            assert node.ledger(msisdn)["sends"] == 1
        msisdn = fresh()
        rid = node.gen(msisdn)[1]["data"]
        flow = wait_for(lambda: (lambda f: f if "answered" in json.dumps(f) else None)(
            json.loads(node.command("trace", rid, "--json").stdout)), 10, "the time-line is whole")
        assert [s["step"] for s in flow["steps"]].count("started") == 1
        with Client(node.clients) as client:
            ids = ["cluster-%d" % i for i in range(300)]
            numbers = [fresh() for _ in ids]
            client.submit(*[send_job(i, n, ttl_ms=60000) for i, n in zip(ids, numbers)])
            results = client.wait(ids, 60)
            assert {e["code"] for e, _ in results} == {"otp_sent"}
            assert all(node.ledger(n)["sends"] == 1 for n in numbers[::17])
        with Client(node.clients) as client:  # one that knows nothing of them
            again = client.call(*send_job(ids[0], numbers[0]))[0]
        assert again["code"] == "otp_sent" and node.ledger(numbers[0])["sends"] == 1
        before = node.command("export").stdout
        changed = before.replace(b"  demo:\n", b"  demo:\n    paused: true\n", 1)
        path = tmp_path / "records.yaml"
        path.write_bytes(changed)
        began = time.monotonic()
        assert b"paused" in node.command("apply", "-f", str(path)).stdout
        with Client(node.clients) as client:
            counter = itertools.count()
            def paused():
                job = send_job("paused-%d" % next(counter), fresh(), ttl_ms=150)
                return client.call(*job)[0]["state"] == "expired"
            wait_for(paused, 5, "the news of the records arrives")
        assert time.monotonic() - began < 2.5 * SLOW
        path.write_bytes(before)
        node.command("apply", "-f", str(path))
        assert node.command("export").stdout == before
        node.command("callbacks", "list")
        node.command("unknown", "list")
        node.command("pause", "demo-local")
        assert b"demo-local" in node.command("pause", "--list").stdout
        node.command("resume", "demo-local")
        assert len(cluster.client(cluster.owner(slot_of("otpq:brokers"))).hgetall("otpq:brokers")) == 2
        wait_for(lambda: node.gen(fresh())[0] == 200, 5, "the route goes on")
    wrong, scripts, commands = watched.strays()
    assert wrong == []
    assert scripts > 1000 and commands > scripts
    places = cluster.keys()
    assert all(len(ports) == 1 for ports in places.values())
    assert len({slot_of(key) for key in places}) > 100
    for port in cluster.alive():
        assert "errorstat_ERR" not in cluster.client(port).info("errorstats")


def stored(client, ids):
    """The jobs among them that were acknowledged as stored."""
    client.receive(0.05)
    return {e["id"] for verb, e, _ in client.answers if verb == "A" and e["id"] in ids}


def test_stored_jobs_outlive_their_broker(cluster):
    """Shelves and what is on them have slots of their own; who adopts them reads one that moves meanwhile."""
    with ClusterNode(cluster) as node:
        with Client(node.clients) as client, Watched(cluster) as watched:
            ids = ["stored-%d" % i for i in range(600)]
            numbers = [fresh() for _ in ids]
            jobs = [send_job(i, n, ttl_ms=60000, ack="stored") for i, n in zip(ids, numbers)]
            client.submit(*jobs)
            wait_for(lambda: len(stored(client, ids)) == len(ids), 20, "all are stored")
            os.kill(node.children()["otpq-broker"], signal.SIGKILL)
            shelf = next(k for k in cluster.keys() if k.startswith("otpq:sj:"))
            target = next(p for p in cluster.primaries() if p != cluster.owner(slot_of(shelf)))
            assert list(cluster.moving(slot_of(shelf), target))[-1] == "done"
        with Client(node.clients) as client:
            client.submit(*jobs)  # to whoever is there now; what they have become is answered
            results = client.wait(ids, 40)
        codes = [e["code"] for e, _ in results]
        assert set(codes) <= {"otp_sent", "outcome_unknown"}, set(codes)
        assert codes.count("otp_sent") > len(codes) // 2
        assert [n for n in numbers if node.ledger(n)["sends"] > 1] == []
    assert watched.strays()[0] == []


def test_slots_move_under_load(cluster):
    """A request whose slot is between two nodes waits; none is answered wrongly, none is sent twice."""
    with ClusterNode(cluster, workers=2) as node:
        tags = ["%02x" % (7 * i) for i in range(12)]
        with Load(node, tags) as load:
            load.flow(24)
            for tag in tags:
                slot = slot_of("{%s}" % tag)
                source = cluster.owner(slot)
                target = next(p for p in cluster.primaries() if p != source)
                for step in cluster.moving(slot, target):
                    if step in ("begun", "half"):
                        before = load.begun[tag]
                        wait_for(lambda: load.begun[tag] > before, 10, "a request of %s comes by" % tag)
                assert cluster.owner(slot) == target
            load.flow(24)
        assert load.errors == []
        bad = {n: said for n, said in load.flows.items() if said != GOOD}
        assert bad == {}, (len(load.flows), bad)
        assert all(node.ledger(n)["sends"] == 1 for n in load.flows)
        assert all(len(ports) == 1 for ports in cluster.keys().values())
        assert "script failed" not in node.logs()


def test_a_send_ends_while_its_slot_moves(cluster):
    """Its job is still on the first node, and its session would be a key that is said to be elsewhere: without
    a guard the script that writes the result would end after its first writes."""
    with ClusterNode(cluster) as node:
        numbers = ["6685%03d9010" % i for i in range(6)]  # the sandbox takes 3 s to answer
        said = {}
        def send(msisdn):
            said[msisdn] = node.gen(msisdn)
        threads = [threading.Thread(target=send, args=(n,)) for n in numbers]
        for thread in threads:
            thread.start()
        wait_for(lambda: all(node.ledger(n)["sends"] == 1 for n in numbers), 10, "all are at the advertiser")
        before = cluster.refusals()
        moves = []
        for slot in {slot_of("{%s}" % tag_of_number(n)) for n in numbers}:
            target = next(p for p in cluster.primaries() if p != cluster.owner(slot))
            moves.append(cluster.moving(slot, target))
            assert next(moves[-1]) == "begun"
        assert said == {}
        wait_for(lambda: cluster.refusals() - before >= len(moves), 20, "scripts refuse to begin")
        for move in moves:
            assert list(move) == ["half", "all", "done"]
        for thread in threads:
            thread.join()
        for msisdn in numbers:
            status, answer = said[msisdn]
            assert (status, answer.get("response")) == (200, "otp_sent"), answer
            steps = json.loads(node.command("trace", answer["data"], "--json").stdout)["steps"]
            assert [s["step"] for s in steps].count("session_written") == 1
            otp = node.inbox(msisdn)[0]["otp"]
            assert node.verify(msisdn, otp, request_id=answer["data"])[1]["response"] == "otp_verified"
            assert node.ledger(msisdn) == {"sends": 1, "verifies": 1}
        assert "script failed" not in node.logs()


@pytest.mark.parametrize("key", ["guarded:j:{t1}:job", "guarded:plain"])
def test_the_guard_refuses_before_the_first_write(cluster, key):
    """As in front of every script: on each side of a moving slot, and when all is quiet."""
    with open(os.path.join(ROOT, "common/adapters/lua/cluster_guard.lua"), encoding="utf-8") as f:
        guard = f.read()
    write = "redis.call('SET', KEYS[1], ARGV[1]) redis.call('SET', ARGV[2], '2') return 'written'"
    slot, other = slot_of(key), (key if "{" in key else "{%s}" % key) + ":2"
    source = cluster.owner(slot)
    target = next(p for p in cluster.primaries() if p != source)

    def run(port, value, text=guard + write):
        try:
            return cluster.do(port, "EVAL", text, 1, key, value, other).decode()
        except redis.exceptions.RedisError as error:
            return str(error).split()[0]

    assert (run(source, "a"), run(target, "a")) == ("written", "MOVED")
    cluster.do(source, "DEL", other)
    for step in cluster.moving(slot, target):
        if step == "begun":
            assert (run(source, "b"), run(target, "b")) == ("TRYAGAIN", "MOVED")
            assert cluster.do(source, "GET", key) == b"a"
            assert run(source, "torn", write) == "Script"  # what it is there against
            assert cluster.do(source, "GET", key) == b"torn"
        elif step == "all":
            assert (run(source, "c"), run(target, "c")) == ("ASK", "MOVED")
    assert (run(source, "d"), run(target, "d")) == ("MOVED", "written")
    cluster.do(target, "DEL", key)
    cluster.do(target, "DEL", other)


def test_what_is_wrong_with_a_node_is_said_at_start(cluster, tmp_path):
    """Each owner of slots is looked at, and one of them alone is no address."""
    pepper = tmp_path / "pepper"
    pepper.write_text("0123456789abcdef0123456789abcdef\n")
    pepper.chmod(0o600)

    def worker(address):
        done = subprocess.run([os.path.join(BUILD, "bin", "otpq-worker")], timeout=30 * SLOW,
                              env=dict(os.environ, OTPQ_REDIS_ADDRESS=address,
                                       OTPQ_SECRETS_PEPPER_FILE=str(pepper)),
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
        assert done.returncode != 0
        return done.stdout.decode()

    last = cluster.primaries()[-1]
    cluster.do(last, "CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    said = worker(cluster.env["OTPQ_REDIS_ADDRESS"])
    cluster.do(last, "CONFIG", "SET", "maxmemory-policy", "noeviction")
    assert ":%d" % last in said and "noeviction" in said
    assert "node of a cluster" in worker("tcp://127.0.0.1:%d" % last)


def test_the_records_slot_moves(cluster, tmp_path):
    with ClusterNode(cluster) as node:
        slot = slot_of("{rec}")
        target = next(p for p in cluster.primaries() if p != cluster.owner(slot))
        before = node.command("export").stdout
        for step in cluster.moving(slot, target):
            if step == "done":
                break
            done = node.command("apply", "-f", os.path.join(node.dir, "demo.yaml"), check=False)
            assert done.returncode in (0, 1), done.stderr
            assert node.gen(fresh())[0] == 200  # the last records stay in use
        assert node.command("export").stdout == before
        path = tmp_path / "records.yaml"
        path.write_bytes(before)
        assert b"unchanged" in node.command("apply", "-f", str(path)).stdout.lower()


def test_a_primary_dies_under_load():
    """Its replica takes its place; each request and each stored job ends, each number was sent to at most once."""
    with Cluster() as cluster, ClusterNode(cluster, workers=2) as node, Client(node.clients) as client:
        with Load(node) as load:
            load.flow(20)
            ids = ["over-%d" % i for i in range(400)]
            numbers = [fresh() for _ in ids]
            client.submit(*[send_job(i, n, ttl_ms=60000, ack="stored") for i, n in zip(ids, numbers)])
            victim = cluster.owner(slot_of("{rec}"))
            cluster.kill(victim)
            wait_for(lambda: cluster.owner(slot_of("{rec}")) not in (victim, None), 20, "a replica is promoted")
            msisdn = fresh()
            wait_for(lambda: node.gen(fresh())[0] == 200, 20, "work goes on")
            load.flow(40)
        states = [e["code"] for e, _ in client.wait(ids, 60)]
        assert set(states) <= {"otp_sent", "outcome_unknown"} and states.count("otp_sent") > 200, states
        assert [n for n in numbers if node.ledger(n)["sends"] > 1] == []
        lost = {n: said for n, said in load.flows.items() if said != GOOD}
        known = {"store_unavailable", "outcome_unknown", "timeout", "expired", "request_not_found",
                 "too_many_attempts", *GOOD}
        assert all(set(said) <= known for said in lost.values()), lost
        assert len(lost) < len(load.flows)
        assert [n for n in load.flows if node.ledger(n)["sends"] > 1] == []
        assert whole_flow(node, msisdn, "demo") == GOOD
        cluster.spawn(victim)  # as a replica now
        wait_for(lambda: cluster.settled(victim), 20, "it is back")
        assert whole_flow(node, fresh(), "demo-local") == GOOD
