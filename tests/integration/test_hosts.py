"""Three hosts and what may happen to the wire between them. Whatever it is, the same holds: a stored job ends
once, no number is sent to twice, nothing goes out late, every broker's figures add up, no wrong code is
taken as right, and when the wire is whole again so is everything else."""
import http.client
import json
import os
import sys
import threading
import time
import urllib.parse

import pytest

from hosts import ROOT, Hosts, between, possible
from node import BUILD, SLOW, http as get, wait_for

sys.path.insert(0, os.path.join(ROOT, "tests", "chaos"))

from journal import Journal, Verdict  # noqa: E402
from world import Process, Pusher  # noqa: E402

pytestmark = pytest.mark.skipif(not possible(), reason="hosts need root, ip and /dev/net/tun")
CUT = {"cut": True}


class Client(Pusher):
    """`otpq push` on h3 with the keys of a client; first: the broker it asks first."""

    def __init__(self, hosts, journal, first, ack):
        self.journal, self.name, self.per_s = journal, "%s-%s-%d" % (ack, first, time.monotonic_ns()), 10
        self.life = 0
        self.ended = False
        self.hosts = hosts
        Process.__init__(self, hosts, "client", [
            os.path.join(BUILD, "bin", "otpq"), "push", "-f", "-", "--json", "--ack", ack, "--timeout-ms", "60000",
            "--config", os.path.join(hosts.dir, "h3.yaml" if first == 1 else "h3-other.yaml")])

    def start(self):
        with self.hosts.host[3].inside():
            super().start()

    def count(self):
        """Jobs of it that were done."""
        with self.journal.lock:
            return sum(job.startswith(self.name) and any(state == "done" for state, _ in ends)
                       for job, ends in self.journal.results.items())


class Visitor(threading.Thread):
    """Of one gateway: gets an OTP, types a wrong one, then the right one."""

    def __init__(self, hosts, journal, n):
        super().__init__(daemon=True)
        self.hosts, self.journal, self.n = hosts, journal, n
        self.name = "visitor-%d" % n
        self.ended = threading.Event()
        self.verified = []
        self.taken_wrong = []
        self.numbers = []
        self.said = []  # for a failed test

    def call(self, path, msisdn, **more):
        query = urllib.parse.urlencode(dict({"key": "demo-key-1001", "aid": 1001, "mid": 1, "partner": "demo",
                                             "msisdn": msisdn, "userId": "v"}, **more))
        began = time.monotonic()
        answer = "none"
        try:
            answer = get("http://10.77.0.%d:8080/api/af/%s?%s" % (self.n, path, query), timeout=5)[1]
        finally:
            self.said.append("%s %s %.2f s: %.200s" % (path, msisdn, time.monotonic() - began, answer))
        return answer

    def visit(self):
        with self.journal.lock:
            msisdn = self.journal.number()
        self.numbers.append(msisdn)
        if '"otp_sent"' not in self.call("otp_gen", msisdn):
            return
        otp = json.loads(get("http://10.77.0.3:8090/inbox?msisdn=" + msisdn)[1])[0]["otp"]
        if "otp_verified" in self.call("otp_verify", msisdn, otp="%06d" % ((int(otp) + 1) % 1000000)):
            self.taken_wrong.append(msisdn)
        if '"otp_verified"' in self.call("otp_verify", msisdn, otp=otp):
            self.verified.append(msisdn)

    def run(self):
        with self.hosts.host[3].inside():
            while not self.ended.wait(0.02):
                try:
                    self.visit()
                except (OSError, http.client.HTTPException):
                    pass

    def count(self):
        return len(self.verified)


class Load:
    """with Load(hosts) as load: … Clients of each broker first, with stored jobs and with those in memory, and
    visitors of each gateway; afterwards load.judge()"""

    next_number = 0

    def __init__(self, hosts):
        self.hosts = hosts
        self.journal = Journal()
        self.journal.next = Load.next_number
        self.clients = {n: [Client(hosts, self.journal, n, ack) for ack in ("stored", "result")] for n in (1, 2)}
        self.visitors = {n: [Visitor(hosts, self.journal, n)] for n in (1, 2)}

    def everybody(self):
        return [one for some in (self.clients, self.visitors) for n in some for one in some[n]]

    def __enter__(self):
        for n in self.visitors:
            for visitor in self.visitors[n]:
                visitor.start()
        return self

    def __exit__(self, failure, *_):
        for n in self.visitors:
            for visitor in self.visitors[n]:
                visitor.ended.set()
        for n in self.clients:
            for client in self.clients[n]:
                if failure:
                    client.process.kill()
                client.finish()
        for n in self.visitors:
            for visitor in self.visitors[n]:
                visitor.join(60 * SLOW)
        Load.next_number = self.journal.next

    def flows(self, who, more, seconds=30):
        """Each gets so many more of what it wants."""
        before = {one: one.count() for one in who}
        try:
            wait_for(lambda: all(one.count() >= before[one] + more for one in who), seconds, "it flows")
        except AssertionError:
            raise AssertionError("in %d s: %s" % (seconds * SLOW, {
                one.name: (one.count(), one.count() - before[one], getattr(one, "said", [])[-30:])
                for one in who})) from None

    def judge(self):
        wait_for(self.hosts.idle, 30, "nothing is live any more")
        verdict = Verdict(self.hosts, self.journal)
        assert verdict.good(), vars(verdict)
        assert self.journal.stored and verdict.done > len(self.journal.jobs) / 2, vars(verdict)
        for visitor in self.visitors[1] + self.visitors[2]:
            assert visitor.taken_wrong == []
            for msisdn in visitor.numbers:
                assert self.hosts.ask_sandbox("ledger", msisdn)["sends"] <= 1, msisdn


@pytest.fixture(scope="module")
def hosts():
    with Hosts() as made:
        yield made


def test_brokers_of_hosts_with_one_name_leave_each_other_alone(hosts):
    """Both listen on every address; what tells them apart is where they say that they are."""
    assert [hosts.metrics(n)["otpq_shelf_deposed_total"] for n in (1, 2)] == [0, 0]


def run(hosts, lines, under):
    """Load, then the fault until `under` has seen enough of it, then everything as before."""
    with Load(hosts) as load:
        load.flows(load.everybody(), 2)
        with hosts.network.lines(lines):
            under(load)
            counts = hosts.network.counts()
        load.flows(load.everybody(), 4)
        hosts.wait_until_whole()
    load.judge()
    return counts


def felt(counts, lines, what):
    """Whether any packet was "lost" or "late" there: else the test has tested nothing."""
    return any(counts.get(pair, [0, 0, 0])[{"lost": 1, "late": 2}[what]] for pair in lines)


# which packets are lost
WAYS = {"": {}, "there": {"back": False}, "back": {"there": False}}


# The sanitizers look for other things than which pair it is: one of each kind is enough for them.
CUTS = ["h1-h2", "h1-h2 there", "h1-h2 back", "h1-h3", "h1-h3 there", "h2-h3", "h2-h3 back"]
PAIRS = [(1, 2), (1, 3), (2, 3)]


@pytest.mark.parametrize("cut", CUTS if SLOW == 1 else ["h1-h2", "h1-h3 there"])
def test_cut(hosts, cut):
    """Whom the cut leaves a way is served all the time. Redis is h1's: h2 without h1 is a broker whose shelves
    another one takes."""
    pair, _, way = cut.partition(" ")
    (a, b), served = {"h1-h2": ((1, 2), 1), "h1-h3": ((1, 3), 2), "h2-h3": ((2, 3), 1)}[pair]
    lines = between(a, b, CUT, **WAYS[way])
    buries = (a, b) == (1, 2)
    deposed = hosts.metrics(2)["otpq_shelf_deposed_total"]

    def under(load):
        if buries:
            wait_for(lambda: hosts.metrics(1)["otpq_brokers"] == 1, 10, "broker 2 is buried")
        load.flows(load.visitors[served], 10 if buries else 2)  # half of all calls try the cut first

    counts = run(hosts, lines, under)
    assert felt(counts, lines, "lost")
    if buries:
        assert hosts.metrics(2)["otpq_shelf_deposed_total"] > deposed


def test_one_broker_alone_loses_redis(hosts):
    lines = {(2, 11): CUT, (11, 2): CUT}
    deposed = hosts.metrics(2)["otpq_shelf_deposed_total"]

    def under(load):
        wait_for(lambda: hosts.metrics(1)["otpq_brokers"] == 1, 10, "broker 2 is buried")
        load.flows(load.visitors[1], 10)

    assert felt(run(hosts, lines, under), lines, "lost")
    assert hosts.metrics(2)["otpq_shelf_deposed_total"] > deposed


@pytest.mark.parametrize("how", [{"loss": 0.2}, {"delay_ms": 100, "jitter_ms": 30}, {"rate_kbit": 512}],
                         ids=["loss", "delay", "slow"])
@pytest.mark.parametrize("a, b", PAIRS if SLOW == 1 else [(1, 2)], ids=lambda h: "h%d" % h)
def test_bad_line(hosts, a, b, how):
    """It goes on, if not as fast."""
    lines = between(a, b, how)
    counts = run(hosts, lines, lambda load: load.flows(load.everybody(), 2, 60))
    assert felt(counts, lines, "lost" if "loss" in how else "late")
