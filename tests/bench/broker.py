#!/usr/bin/python3
"""The broker with a no-op worker beside a bare ZeroMQ forwarder with an echo worker, and what a
queued job costs in memory. 250-byte bodies; medians of several rounds in which the two take turns.

    tests/bench/broker.py [--rounds N] [--quick]
"""
import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests", "integration"))

from node import BUILD, free_ports, http, wait_for  # noqa: E402

TICK_US = 1e6 / os.sysconf("SC_CLK_TCK")
QUEUED = 1000000
QUEUED_BYTES_MAX = 400
# window, batch, jobs of one run
SHAPES = [(1, 1, 6000), (64, 1, 100000), (1000, 1, 500000), (1000, 32, 1000000)]


def bench(name):
    return os.path.join(BUILD, "bench", name)


def cpu_us(process):
    with open("/proc/%d/stat" % process.pid, encoding="ascii") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) * TICK_US


def resident_bytes(process):
    with open("/proc/%d/status" % process.pid, encoding="ascii") as f:
        return next(int(line.split()[1]) * 1024 for line in f if line.startswith("VmRSS:"))


class Side:
    """A process in the middle, its worker, and where load goes."""

    def __init__(self, name, middle, worker, load, pin):
        self.name, self.load = name, load
        self.near, self.far = (["taskset", "-c", "0"], ["taskset", "-c", "1"]) if pin else ([], [])
        self.runs = 0
        self.log = tempfile.TemporaryFile()
        self.middle = subprocess.Popen(self.near + middle, stderr=self.log)
        self.worker = subprocess.Popen(self.far + worker) if worker else None

    def run(self, window, batch, jobs):
        """(jobs/s, p50 µs, p99 µs, CPU µs of the middle a job)"""
        self.runs += 1
        before = cpu_us(self.middle)
        out = subprocess.run(self.far + [bench("bench_load"), *self.load, "--window", str(window),
                                         "--batch", str(batch), "--jobs", str(jobs),
                                         "--run", "r%d" % self.runs],
                             stdout=subprocess.PIPE, check=True, timeout=120).stdout.split()
        used = cpu_us(self.middle) - before
        return float(out[2]), float(out[3]), float(out[4]), used / jobs

    def end(self):
        for process in (self.middle, self.worker):
            if process is not None:
                process.terminate()
        for process in (self.middle, self.worker):
            if process is not None:
                process.wait()
        self.log.close()


def forwarder(pin):
    front, back = ("tcp://127.0.0.1:%d" % p for p in free_ports(2))
    return Side("forwarder", [bench("bench_forwarder"), "--front", front, "--back", back],
                [bench("bench_noop_worker"), "--echo", "1", "--connect", back],
                ["--connect", front, "--echo", "1"], pin)


def broker(folder, pin, worker=True):
    clients, workers, metrics = free_ports(3)
    config = os.path.join(folder, "broker-%d.yaml" % clients)
    with open(config, "w", encoding="utf-8") as f:
        f.write("dir: %s\nlog:\n  level: error\nbroker:\n  clients: tcp://127.0.0.1:%d\n"
                "  workers: tcp://127.0.0.1:%d\n  metrics: 127.0.0.1:%d\n"
                "  unknown_routes: accept\n" % (folder, clients, workers, metrics))
    noop = [bench("bench_noop_worker"), "--connect", "tcp://127.0.0.1:%d" % workers]
    side = Side("broker", [os.path.join(BUILD, "bin", "otpq-broker"), "--config", config],
                noop if worker else None, ["--connect", "tcp://127.0.0.1:%d" % clients], pin)
    side.noop, side.ready = noop, "http://127.0.0.1:%d/readyz" % metrics
    return side


def ready(side):
    try:
        return http(side.ready)[0] == 200
    except OSError:
        return False


def measure(folder, pin, rounds, scale):
    """{(side, window, batch): medians}"""
    sides = [forwarder(pin), broker(folder, pin)]
    found = {}
    try:
        for side in sides:
            side.run(1000, 1, 50000)  # warm up: connections, buffers, caches
        for _ in range(rounds):
            for window, batch, jobs in SHAPES:
                for side in sides:
                    found.setdefault((side.name, window, batch), []).append(
                        side.run(window, batch, int(jobs * scale)))
    finally:
        for side in sides:
            side.end()
    return {key: [statistics.median(column) for column in zip(*rows)] for key, rows in found.items()}


def show(found, title):
    print("\n%s" % title)
    print("%-10s %6s %5s %11s %9s %9s %11s" % ("", "window", "batch", "jobs/s", "p50 µs", "p99 µs", "CPU µs/job"))
    for (name, window, batch), (rate, p50, p99, cpu) in sorted(found.items(), key=lambda r: r[0][1:]):
        print("%-10s %6d %5d %11.0f %9.0f %9.0f %11.2f" % (name, window, batch, rate, p50, p99, cpu))
    bare = found[("forwarder", 1000, 1)]
    ratios = [
        ("unbatched, window 1000: jobs/s of the forwarder's", found[("broker", 1000, 1)][0] / bare[0], 0.7, True),
        ("batches of 32: jobs/s of the forwarder's unbatched", found[("broker", 1000, 32)][0] / bare[0], 1.5, True),
        ("window 1: p50 of the forwarder's", found[("broker", 1, 1)][1] / found[("forwarder", 1, 1)][1], 1.25, False),
    ]
    for what, ratio, goal, more in ratios:
        met = ratio >= goal if more else ratio <= goal
        print("  %-52s %5.2f x  (goal %s %.2f: %s)" % (what, ratio, ">=" if more else "<=", goal,
                                                       "met" if met else "MISSED"))


def memory(folder, jobs):
    side = broker(folder, False, worker=False)
    try:
        wait_for(lambda: ready(side), 10, "the broker is ready")
        before = resident_bytes(side.middle)
        load = subprocess.Popen([bench("bench_load"), *side.load, "--hold", "1", "--window", "10000",
                                 "--batch", "32", "--jobs", str(jobs)], stdout=subprocess.PIPE)
        began = time.monotonic()
        line = load.stdout.readline().split()
        took = time.monotonic() - began
        queued = int(line[1])
        each = (resident_bytes(side.middle) - before) / queued
        side.worker = subprocess.Popen(side.noop)
        drained = load.stdout.readline().split()
        load.wait()
        print("\n%d jobs queued, 250-byte bodies: %.0f bytes a job (goal <= %d: %s), taken in at %.0f/s, "
              "drained at %.0f/s" % (queued, each, QUEUED_BYTES_MAX,
                                     "met" if each <= QUEUED_BYTES_MAX else "MISSED",
                                     queued / took, float(drained[2])))
    finally:
        side.end()


def main():
    parser = argparse.ArgumentParser(description="measure the broker")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="a tenth of the jobs: does it run at all")
    args = parser.parse_args()
    scale = 0.1 if args.quick else 1.0
    folder = tempfile.mkdtemp(prefix="otpq-bench-")
    try:
        show(measure(folder, True, args.rounds, scale),
             "Pinned: broker or forwarder on core 0, load and worker on core 1")
        show(measure(folder, False, args.rounds, scale), "Unpinned")
        memory(folder, int(QUEUED * scale))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


main()
