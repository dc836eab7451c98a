#!/usr/bin/python3
"""Stored jobs beside Redis Streams alone, on the same machine with the same settings: how many a
second, what an acknowledgement takes, what processors do for them; and how soon 1,000,000 of them go
on when their broker is killed. 250-byte bodies; the sides take turns.

    tests/bench/stored.py [--rounds N] [--quick] [--part life|deaths]
"""
import argparse
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests", "integration"))

from node import BUILD, free_ports, http, wait_for  # noqa: E402

TICK_US = 1e6 / os.sysconf("SC_CLK_TCK")
RATE_GOAL = 0.5  # of the bare push rate
FIRST_GOAL_S, LAST_GOAL_S = 1.0, 4.0
STORED = 1000000
# window, jobs of a message as libotpq gathers them, jobs of one run
SHAPES = [(1000, 32, 300000), (64, 16, 100000)]


def bench(name):
    return os.path.join(BUILD, "bench", name)


def cpu_us(process):
    with open("/proc/%d/stat" % process.pid, encoding="ascii") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) * TICK_US


class Redis:
    """No rewriting of its log: it would come at other moments on either side."""

    def __init__(self, folder, fsync):
        self.dir, self.socket = folder, os.path.join(folder, "redis.sock")
        self.argv = ["redis-server", "--port", "0", "--unixsocket", self.socket, "--save", "", "--dir", folder,
                     "--appendonly", "yes", "--appendfsync", fsync, "--auto-aof-rewrite-percentage", "0",
                     "--maxmemory-policy", "noeviction"]
        self.process = None

    def start(self):
        """Seconds until it answers."""
        began = time.monotonic()
        self.process = subprocess.Popen(self.argv, stdout=subprocess.DEVNULL)
        wait_for(self.there, 60, "Redis is there")
        return time.monotonic() - began

    def there(self):
        return os.path.exists(self.socket) and self.command("PING") == ["PONG"]

    def command(self, *words):
        done = subprocess.run(["redis-cli", "-s", self.socket, *words], stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL, timeout=60)
        return done.stdout.decode().splitlines()

    def on_shelves(self):
        return sum(int(self.command("HLEN", key)[0]) for key in self.command("KEYS", "otpq:sj:*"))

    def end(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()


class Broker:
    def __init__(self, folder, name):
        self.clients, self.workers, self.port = free_ports(3)
        self.config = os.path.join(folder, name + ".yaml")
        self.log = open(os.path.join(folder, name + ".log"), "wb")
        with open(self.config, "w", encoding="utf-8") as f:
            f.write("dir: %s\nbroker:\n  clients: tcp://127.0.0.1:%d\n  workers: tcp://127.0.0.1:%d\n"
                    "  metrics: 127.0.0.1:%d\n  unknown_routes: accept\n  route_jobs_max: 2000000\n"
                    "  tenant_jobs_max: 2000000\n" % (folder, self.clients, self.workers, self.port))
        self.process = None

    def start(self):
        self.process = subprocess.Popen([os.path.join(BUILD, "bin", "otpq-broker"), "--config", self.config],
                                        stdout=self.log, stderr=subprocess.STDOUT)
        wait_for(lambda: self.metric("otpq_shelves") >= 1, 20, "its shelf is open")

    def metric(self, name):
        try:
            text = http("http://127.0.0.1:%d/metrics" % self.port)[1]
        except OSError:
            return -1
        return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines()
                   if line.startswith(name + " ") or line.startswith(name + "{"))

    def load(self, run, *more):
        return subprocess.run([bench("bench_load"), "--connect", "tcp://127.0.0.1:%d" % self.clients,
                               "--ack", "stored", "--run", run, *map(str, more)],
                              stdout=subprocess.PIPE, check=True, timeout=600).stdout.split()

    def worker(self, *more):
        return subprocess.Popen([bench("bench_noop_worker"), "--connect", "tcp://127.0.0.1:%d" % self.workers,
                                 *map(str, more)], stdout=subprocess.PIPE, stdin=subprocess.PIPE)

    def end(self):
        kill(self.process)
        self.log.close()


def kill(process):
    if process is not None:
        process.kill()
        process.wait()


def used_by_child(act):
    """(what act says, CPU µs of the processes it waited for)"""
    before = os.times()
    said = act()
    after = os.times()
    return said, (after.children_user + after.children_system - before.children_user
                  - before.children_system) * 1e6


# ---- a job's life ----------------------------------------------------------------------------------

class Life:
    """A Redis, a broker and a no-op worker; the streams use the same Redis."""

    def __init__(self, folder, fsync):
        self.fsync, self.runs = fsync, 0
        os.mkdir(folder)
        self.redis = Redis(folder, fsync)
        self.broker = Broker(folder, "broker")
        self.noop = None

    def start(self):
        self.redis.start()
        self.broker.start()
        self.noop = self.broker.worker()

    def stream(self, window, jobs, life):
        def act():
            return subprocess.run([bench("bench_stream"), "--socket", self.redis.socket, "--jobs", str(jobs),
                                   "--window", str(window), "--batch", str(window // 2), "--life", str(int(life))],
                                  stdout=subprocess.PIPE, check=True, timeout=600).stdout.split()
        before = cpu_us(self.redis.process)
        out, load = used_by_child(act)
        used = cpu_us(self.redis.process) - before
        self.redis.command("DEL", "bench:{s}")
        return {"rate": float(out[2]), "p50": float(out[3]), "p99": float(out[4]), "redis": used / jobs,
                "load": load / jobs}

    def otpq(self, window, batch, jobs):
        self.runs += 1
        parts = {"broker": self.broker.process, "redis": self.redis.process, "worker": self.noop}
        before = {name: cpu_us(process) for name, process in parts.items()}
        out, load = used_by_child(lambda: self.broker.load("r%d" % self.runs, "--window", window, "--batch", batch,
                                                           "--jobs", jobs))
        found = {name: (cpu_us(process) - before[name]) / jobs for name, process in parts.items()}
        wait_for(lambda: self.redis.on_shelves() == 0, 20, "the shelves are empty")
        found.update(rate=float(out[2]), p50=float(out[8]), p99=float(out[9]), load=load / jobs)
        return found

    def end(self):
        kill(self.noop)
        self.broker.end()
        self.redis.end()


def middle(rows):
    return {key: statistics.median(row[key] for row in rows) for key in rows[0]}


def measure_life(folder, rounds, scale):
    """{(fsync, window, side): rows}"""
    found = {}
    for fsync in ("everysec", "always"):
        life = Life(os.path.join(folder, fsync), fsync)
        try:
            life.start()
            life.otpq(1000, 32, 32000)  # warm up
            for _ in range(rounds):
                for window, batch, jobs in SHAPES:
                    jobs = int(jobs * scale)
                    for side, act in (("streams push", lambda: life.stream(window, jobs, False)),
                                      ("stored jobs", lambda: life.otpq(window, batch, jobs)),
                                      ("streams life", lambda: life.stream(window, jobs, True))):
                        found.setdefault((fsync, window, side), []).append(act())
        finally:
            life.end()
    return found


def show_life(found):
    print("%-9s %6s %-13s %9s %17s %8s %8s   %s" % ("appendfsync", "window", "", "jobs/s", "lowest..highest",
                                                    "p50 µs", "p99 µs", "CPU µs a job"))
    for (fsync, window, side), rows in found.items():
        m = middle(rows)
        rates = [row["rate"] for row in rows]
        print("%-11s %6d %-13s %9.0f %8.0f..%-8.0f %8.0f %8.0f   %s" % (
            fsync, window, side, m["rate"], min(rates), max(rates), m["p50"], m["p99"],
            ", ".join("%s %.2f" % (name, m[name]) for name in ("load", "broker", "worker", "redis") if name in m)))
    for (fsync, window, side), rows in found.items():
        if side == "stored jobs":
            bare, life = found[(fsync, window, "streams push")], found[(fsync, window, "streams life")]
            ratio = statistics.median(a["rate"] / b["rate"] for a, b in zip(rows, bare))
            whole = statistics.median(a["rate"] / b["rate"] for a, b in zip(rows, life))
            goal = " (goal >= %.2f: %s)" % (RATE_GOAL, "met" if ratio >= RATE_GOAL else "MISSED") \
                if window == 1000 else ""
            print("  %-8s window %4d: a stored job's whole life %.2f x a bare push%s, %.2f x a stream entry's life"
                  % (fsync, window, ratio, goal, whole))


# ---- deaths ----------------------------------------------------------------------------------------

class Death:
    """1,000,000 stored jobs, and the broker that has them is killed."""

    def __init__(self, folder, jobs):
        os.mkdir(folder)
        self.jobs = jobs
        self.redis = Redis(folder, "everysec")
        self.brokers = [Broker(folder, name) for name in ("first", "second")]
        self.noop = None

    def fill(self):
        self.redis.start()
        self.brokers[0].start()
        out = self.brokers[0].load("d", "--fill", 1, "--window", 10000, "--batch", 32, "--jobs", self.jobs)
        assert self.redis.on_shelves() == self.jobs
        return float(out[2])

    def die(self, survivor):
        """survivor: the other one lives; else the same is started again. (first s, last s, read s, drained/s, again)"""
        heir = self.brokers[1] if survivor else self.brokers[0]
        if survivor:
            heir.start()
            self.join(heir)
        self.brokers[0].process.send_signal(signal.SIGKILL)
        killed = time.monotonic()
        self.brokers[0].process.wait()
        if not survivor:
            heir.process = subprocess.Popen([os.path.join(BUILD, "bin", "otpq-broker"), "--config", heir.config],
                                            stdout=heir.log, stderr=subprocess.STDOUT)
            self.join(heir)
        before = cpu_us(self.redis.process)
        while heir.metric("otpq_shelf_adopted_total") < self.jobs:
            assert time.monotonic() < killed + 120
            time.sleep(0.05)  # each look takes from what is measured
        last = time.monotonic() - killed
        used = cpu_us(heir.process), cpu_us(self.redis.process) - before
        first = float(self.noop.stdout.readline().split()[1]) / 1e6 - killed
        queued = heir.metric('otpq_broker_jobs{state="queued"}') + heir.metric('otpq_broker_jobs{state="in_flight"}')
        assert queued == self.jobs, queued
        began = time.monotonic()
        self.noop.stdin.write(b"\n")
        self.noop.stdin.flush()
        word, _, again = self.noop.stdout.readline().split()
        assert word == b"all"
        drained = self.jobs / (time.monotonic() - began)
        wait_for(lambda: self.redis.on_shelves() == 0, 60, "the shelves are empty")
        return first, last, drained, int(again), used

    def join(self, broker):
        self.noop = broker.worker("--count", self.jobs)

    def reload(self):
        """Seconds in which Redis itself starts with them."""
        self.redis.end()
        os.unlink(self.redis.socket)
        took = self.redis.start()
        assert self.redis.on_shelves() == self.jobs
        return took

    def end(self):
        kill(self.noop)
        for broker in self.brokers:
            broker.end()
        self.redis.end()


def show_death(what, folder, jobs, survivor):
    death = Death(folder, jobs)
    try:
        taken = death.fill()
        first, last, drained, again, used = death.die(survivor)
        assert again == 0, "%d came twice" % again
        print("%s, %d stored jobs: the first goes on after %.2f s (goal <= %.0f: %s), the last after %.2f s "
              "(goal <= %.0f: %s); CPU s: broker %.2f, Redis %.2f; all came, none twice; stored at %.0f/s, drained at %.0f/s"
              % (what, jobs, first, FIRST_GOAL_S, "met" if first <= FIRST_GOAL_S else "MISSED", last, LAST_GOAL_S,
                 "met" if last <= LAST_GOAL_S else "MISSED", used[0] / 1e6, used[1] / 1e6, taken, drained))
    finally:
        death.end()


def show_redis(folder, jobs):
    death = Death(folder, jobs)
    try:
        death.fill()
        print("Redis itself starts with them in %.2f s" % death.reload())
    finally:
        death.end()


def main():
    parser = argparse.ArgumentParser(description="measure stored jobs")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="a tenth of the jobs: does it run at all")
    parser.add_argument("--part", choices=["life", "deaths"])
    args = parser.parse_args()
    scale = 0.1 if args.quick else 1.0
    folder = tempfile.mkdtemp(prefix="otpq-bench-")
    jobs = int(STORED * scale)
    try:
        if args.part != "deaths":
            show_life(measure_life(folder, args.rounds, scale))
        if args.part != "life":
            show_death("Killed beside another", os.path.join(folder, "beside"), jobs, True)
            show_death("Killed and started again", os.path.join(folder, "again"), jobs, False)
            show_redis(os.path.join(folder, "redis"), jobs)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


main()
