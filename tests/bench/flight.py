#!/usr/bin/python3
"""Calls in flight: 10,000 jobs at once through one worker, to an advertiser that answers after 500 ms,
beside libcurl alone (64 multi handles, one loop, nothing else) against the same advertiser.

    tests/bench/flight.py [--seconds N] [--calls N]
"""
import argparse
import os
import signal
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "integration"))
from node import BUILD, free_ports, wait_for  # noqa: E402
from rig import Rig, integration  # noqa: E402

DELAY_MS = 500
HANDLES = 64
CAPACITY = 130  # percent of the calls: jobs that are being claimed or written are not with the advertiser
TICK = os.sysconf("SC_CLK_TCK")


def bench(name):
    return os.path.join(BUILD, "bench", name)


def cpu_seconds(pid):
    with open("/proc/%d/stat" % pid) as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def resident_kib(pid):
    with open("/proc/%d/status" % pid) as f:
        return next(int(line.split()[1]) for line in f if line.startswith("VmRSS:"))


class DelayServer:
    def __init__(self, pin):
        self.port, = free_ports(1)
        argv = (["taskset", "-c", "0"] if pin else []) + [bench("bench_delay_server"), str(self.port), str(DELAY_MS)]
        self.process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout.readline() == "ready\n"

    def counts(self):
        """(answered, waiting now, most that waited since the last time)"""
        self.process.send_signal(signal.SIGUSR1)
        return tuple(int(n) for n in self.process.stdout.readline().split())

    def close(self):
        self.process.kill()
        self.process.wait()


def bare(server, in_flight, seconds, pin):
    """Calls/s of libcurl alone."""
    argv = (["taskset", "-c", "1"] if pin else []) + [
        bench("bench_fetch"), "bare", "http://127.0.0.1:%d/ok/send?msisdn=66812345678" % server.port,
        str(in_flight), str(12000 * seconds), str(HANDLES)]
    line = subprocess.run(argv, stdout=subprocess.PIPE, check=True, text=True).stdout.strip()
    print("  " + line, flush=True)
    return float(line.split()[2])


def through_worker(server, in_flight, seconds, pin):
    """Calls/s through broker, worker and Redis, measured at the advertiser while all are in flight."""
    limits = "".join("  %s: 1000000\n" % key for key in ("route_jobs_max", "tenant_jobs_max", "jobs_max"))
    records = "  demo:\n" + integration(server.port, "ok", timeout_ms=30000, connect_ms=20000)
    with Rig(broker=limits, worker="  capacity: %d\n  multi_handles: %d\n" % (in_flight * CAPACITY // 100, HANDLES),
             records=records, log_level="info") as rig:
        worker = rig.worker()
        if pin:
            for process in rig.processes:
                core = "1" if process is worker else "0"
                subprocess.run(["taskset", "-a", "-p", "-c", core, str(process.pid)],
                               stdout=subprocess.DEVNULL, check=True)
        before_kib = resident_kib(worker.pid)
        started, _, _ = server.counts()
        load = subprocess.Popen((["taskset", "-c", "0"] if pin else []) + [
            bench("bench_load"), "--connect", "tcp://127.0.0.1:%d" % rig.clients, "--window", str(in_flight * 2),
            "--batch", "32", "--jobs", str(20000 * (seconds + 4)), "--body", "40"],
            stdout=subprocess.PIPE, text=True)
        try:
            wait_for(lambda: server.counts()[0] - started > 2 * in_flight, 60, "it flows")
            names = {"worker": worker.pid, "redis": rig.processes[0].pid, "broker": rig.broker.pid,
                     "advertiser": server.process.pid}
            cpu = {name: cpu_seconds(pid) for name, pid in names.items()}
            first, began = server.counts()[0], time.monotonic()
            time.sleep(seconds)
            last, _, most = server.counts()
            spent = time.monotonic() - began
            calls = last - first
            kib = (resident_kib(worker.pid) - before_kib) / in_flight
            shares = {name: cpu_seconds(pid) - cpu[name] for name, pid in names.items()}
        finally:
            load.kill()
            load.wait()
    print("  worker calls/s %.0f  most in flight %d  cpu %.1f us/call  memory %.1f KiB/call   %s" % (
        calls / spent, most, shares["worker"] / calls * 1e6, kib,
        "  ".join("%s %.0f%%" % (n, 100 * s / spent) for n, s in shares.items())), flush=True)
    return calls / spent


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--calls", type=int, default=10000)
    asked = parser.parse_args()
    for pin in (False, True):
        print("calls in flight, %s: %d calls, an answer after %d ms" % (
            "pinned" if pin else "unpinned", asked.calls, DELAY_MS))
        server = DelayServer(pin)
        try:
            alone = bare(server, asked.calls, asked.seconds, pin)
            worker = through_worker(server, asked.calls, asked.seconds, pin)
        finally:
            server.close()
        print("    worker / bare libcurl: %.2f (to reach: 0.80; memory 24 KiB a call)" % (worker / alone))


if __name__ == "__main__":
    main()
