"""What clients gave and what they were told, and the judgement on it."""
import threading
import time

from world import records_of

TTL_MS = 30000
HURRY_MS = 1500  # every fifth job may not be sent later than this


class Journal:
    def __init__(self):
        self.lock = threading.Lock()
        self.jobs = {}     # id: (number, ttl in ms)
        self.stored = {}   # id: when it was said to be stored
        self.results = {}  # id: set of (state, code)
        self.refused = 0   # not taken: nothing was promised
        self.last = None   # when the latest result came
        self.longest_stall = 0.0
        self.next = 0

    def number(self):
        """Ordinary ones of the sandbox, each once."""
        i, self.next = self.next, self.next + 1
        return "66%05d%04d" % (81000 + i // 9000, i % 9000)

    def new_jobs(self, name, count):
        jobs = []
        with self.lock:
            for i in range(count):
                number, ttl = self.number(), HURRY_MS if i % 5 == 4 else TTL_MS
                self.jobs["%s-%d" % (name, i)] = (number, ttl)
                jobs.append({"id": "%s-%d" % (name, i), "route": "demo", "ttl_ms": ttl,
                             "body": {"msisdn": number, "aid": 1001}})
        return jobs

    def heard(self, said):
        now = time.time()
        with self.lock:
            if said.get("outcome") == "stored":
                self.stored.setdefault(said["id"], now)
            elif said.get("outcome") == "result":
                self.results.setdefault(said["id"], set()).add((said["state"], said["code"]))
                if self.last is not None:
                    self.longest_stall = max(self.longest_stall, now - self.last)
                self.last = now
            else:
                self.refused += 1


class Verdict:
    """Once everything is up again and nothing is live."""

    def __init__(self, world, journal):
        self.lost, self.doubled, self.late, self.torn, self.unbalanced = [], [], [], [], []
        self.unknown = self.done = self.dead = 0
        claims, letters = records_of(world, "j"), records_of(world, "dl")
        for job, (number, ttl) in journal.jobs.items():
            self.judge(world, journal, job, number, ttl, claims, letters)
        for ports in world.broker_ports:
            self.balance(world.metrics(ports[2]))

    def judge(self, world, journal, job, number, ttl, claims, letters):
        ends = set(journal.results.get(job, ()))
        claim = claims.get(job, {})
        written = claim.get("st") == "ended"
        if written:
            end = (claim["fin"], claim["code"])
            if not ends or not (claim.get("corrected") or ends == {("unknown", "outcome_unknown")}):
                ends.add(end)
        if not ends and job in letters:
            ends.add((letters[job][b"state"].decode(), letters[job][b"code"].decode()))
            self.dead += 1
        if job in journal.stored and not ends:
            self.lost.append(job)
        if len(ends) > 1:
            self.torn.append((job, sorted(ends)))
        self.unknown += any(state == "unknown" for state, _ in ends)
        self.done += any(state == "done" for state, _ in ends)
        sends = world.ask_sandbox("ledger", number)["sends"]
        if sends > 1:
            self.doubled.append((job, number, sends))
        if sends == 1 and ends and not any(state in ("done", "unknown") for state, _ in ends):
            self.torn.append((job, sorted(ends), "but it was sent"))
        if sends >= 1 and job in journal.stored:
            came = world.ask_sandbox("inbox", number)
            if came and came[0]["at_ms"] > journal.stored[job] * 1000 + ttl:
                self.late.append((job, came[0]["at_ms"] - journal.stored[job] * 1000 - ttl))

    def balance(self, m):
        """What came to a broker, by clients or from a dead one, has ended, is live or went to another."""
        came = m["otpq_broker_accepted_total"] + m["otpq_broker_adopted_total"]
        went = m["otpq_broker_ended_total"] + m["otpq_broker_handed_over_total"] + m["otpq_broker_jobs"]
        if came != went:
            self.unbalanced.append((came, went))

    def good(self):
        return not (self.lost or self.doubled or self.late or self.torn or self.unbalanced)
