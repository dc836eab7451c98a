#!/usr/bin/python3
"""Kills of random processes at random moments, under load.

    chaos.py [--kills N] [--pace S] [--seed S] [--fsync everysec|always] [--keep]

Every 0.8 s or so (--pace) one process of the farm is killed with -9 and started again: Redis, a broker, a
worker, a gateway or a client of the queue; or it stands still (SIGSTOP), for up to 3 s. Then everything
is let run out, and what clients were told is held against Redis and the sandbox's ledger:

  lost      acknowledged as stored, and nobody knows how it ended
  doubled   the advertiser saw it twice
  late      sent after its deadline
  torn      more than one terminal state
  unbalanced  a broker whose accepted is not its ended + live

Exit code 0: none of these.
"""
import argparse
import random
import sys
import threading
import time

from journal import Journal, Verdict
from world import SLOW, Pusher, World, http, wait_for

# how often each is the one; Redis less often: nothing starts while it is away
VICTIMS = ["redis"] + ["broker"] * 3 + ["worker"] * 4 + ["gateway"] * 2 + ["client"] * 2
STOPPED = {"redis": 1.0, "broker": 3.0, "worker": 3.0, "gateway": 1.0, "client": 1.0}


class Visitor(threading.Thread):
    """Asks for an OTP over HTTP and types it in; a request that fails is another visitor's next."""

    def __init__(self, world, journal, chance):
        super().__init__(daemon=True)
        self.world, self.journal, self.chance = world, journal, chance
        self.ended = False
        self.verified = []
        self.failed = 0

    def call(self, path, number, **more):
        query = "&".join("%s=%s" % pair for pair in dict(
            {"key": "demo-key-1001", "aid": 1001, "mid": 1, "partner": "demo", "msisdn": number, "userId": "v"},
            **more).items())
        return http("http://127.0.0.1:%d/api/af/%s?%s" % (self.chance.choice(self.world.gateway_ports), path, query),
                    timeout=40)

    def visit(self):
        with self.journal.lock:
            number = self.journal.number()
        if '"otp_sent"' not in self.call("otp_gen", number)[1]:
            self.failed += 1
            return
        otp = self.world.ask_sandbox("inbox", number)[0]["otp"]
        if '"otp_verified"' in self.call("otp_verify", number, otp=otp)[1]:
            self.verified.append(number)
        else:
            self.failed += 1

    def run(self):
        while not self.ended:
            try:
                self.visit()
            except (OSError, ValueError, IndexError):
                self.failed += 1
            time.sleep(0.02)


class Chaos:
    def __init__(self, seed, fsync, note=lambda text: None):
        self.chance = random.Random(seed)
        self.note = note
        self.journal = Journal()
        self.world = World(fsync=fsync)
        self.kills = {}
        self.stops = 0
        self.fell = []             # crashed by themselves
        self.could_not_start = 0   # said so and left, as a worker does while Redis is away
        self.looked = 0.0
        self.pushers = [Pusher(self.world, self.journal, "p%d" % i, per_s=60) for i in range(3)]
        self.visitors = [Visitor(self.world, self.journal, random.Random(seed + i)) for i in range(2)]
        self.all = self.world.processes + self.pushers
        for visitor in self.visitors:
            visitor.start()

    def strike(self):
        kind = self.chance.choice(VICTIMS)
        victim = self.chance.choice([p for p in self.all if p.kind == kind])
        if victim.stopped_until is None and self.chance.random() < 0.15:
            victim.stand_still(self.chance.uniform(0.2, STOPPED[kind]))
            self.stops += 1
        else:
            victim.kill()
            self.kills[kind] = self.kills.get(kind, 0) + 1

    def tend(self):
        """What a supervisor does: who left is started again, not too often."""
        again = time.monotonic() - self.looked > 0.3
        self.looked = time.monotonic() if again else self.looked
        for process in self.all:
            if process.tend() and process.kind != "client" and again:
                if process.process.returncode == 1:
                    self.could_not_start += 1
                else:
                    self.fell.append((process.kind, process.process.returncode))
                process.start()

    def run(self, kills, pace):
        while sum(self.kills.values()) < kills:
            until = time.monotonic() + self.chance.uniform(0.4, 1.6) * pace
            while time.monotonic() < until:
                self.tend()
                time.sleep(0.02)
            self.strike()
            self.note("%d of %d kills, %d jobs, %d stored, %d results" % (
                sum(self.kills.values()), kills, len(self.journal.jobs), len(self.journal.stored),
                len(self.journal.results)))

    def settle(self):
        """Nobody dies any more: clients get their answers, then nothing is live."""
        for process in self.all:
            process.go_on()
        for visitor in self.visitors:
            visitor.ended = True
        for pusher in self.pushers:
            pusher.finish()
        for visitor in self.visitors:
            visitor.join(60 * SLOW)
        self.world.processes = [p for p in self.world.processes if p.kind != "client"]
        wait_for(self.idle, 150, "nothing is live any more")

    def idle(self):
        self.tend()
        try:
            left = sum(self.world.redis().hlen(key) for key in self.world.redis().scan_iter("otpq:sj:*", count=1000))
            return left == 0 and all(self.world.metrics(p[2])["otpq_broker_jobs"] == 0
                                     for p in self.world.broker_ports)
        except OSError:
            return False

    def end(self):
        for pusher in self.pushers:
            pusher.ended = True
            pusher.life += 1
            if pusher.process.poll() is None:
                pusher.go_on()
                pusher.process.kill()
            pusher.process.wait()
        for visitor in self.visitors:
            visitor.ended = True
        self.world.end()


def run(kills, seed, fsync="everysec", keep=False, note=lambda text: None, pace=0.8):
    """(report as a dict, verdict)"""
    began = time.monotonic()
    chaos = Chaos(seed, fsync, note)
    try:
        chaos.run(kills, pace)
        chaos.settle()
        verdict = Verdict(chaos.world, chaos.journal)
        twice = [n for v in chaos.visitors for n in v.verified if chaos.world.ask_sandbox("ledger", n)["verifies"] > 1]
        j = chaos.journal
        report = {"seed": seed, "fsync": fsync, "seconds": round(time.monotonic() - began),
                  "kills": dict(sorted(chaos.kills.items())), "stops": chaos.stops, "jobs": len(j.jobs),
                  "stored": len(j.stored), "results": len(j.results), "not_taken": j.refused,
                  "done": verdict.done, "unknown": verdict.unknown, "dead_letters": verdict.dead,
                  "visitors_verified": sum(len(v.verified) for v in chaos.visitors),
                  "visitors_failed": sum(v.failed for v in chaos.visitors), "verified_twice": twice,
                  "longest_stall_s": round(j.longest_stall, 2), "lost": verdict.lost, "doubled": verdict.doubled,
                  "late": verdict.late, "torn": verdict.torn, "unbalanced": verdict.unbalanced,
                  "could_not_start": chaos.could_not_start, "crashed": chaos.fell}
        good = verdict.good() and not twice and not chaos.fell
        return good, report
    finally:
        chaos.end()
        if not keep:
            chaos.world.remove()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=60)
    parser.add_argument("--pace", type=float, default=0.8, help="seconds between two kills, about")
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--fsync", choices=("everysec", "always"), default="everysec")
    parser.add_argument("--keep", action="store_true", help="keep the folder with logs and Redis' files")
    args = parser.parse_args()
    seed = args.seed if args.seed is not None else random.SystemRandom().randrange(1 << 31)
    print("chaos: seed=%d kills=%d" % (seed, args.kills), flush=True)

    def note(text):
        if sys.stderr.isatty():
            sys.stderr.write("\r\033[K" + text)
            sys.stderr.flush()
    good, report = run(args.kills, seed, args.fsync, args.keep, note, args.pace)
    note("")
    for name, value in report.items():
        shown = value if not isinstance(value, list) else "%d %s" % (len(value), value[:10] if value else "")
        print("%-18s %s" % (name, shown))
    print("chaos: %s" % ("ok" if good else "FAILED"))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
