#!/usr/bin/python3
"""The whole way: gateway → broker → worker → sandbox with Redis, beside the same load straight onto
the sandbox, in one run. Prints sends/s, p50, p99 and each process's share of a core.

    tests/bench/whole.py [--seconds N]
"""
import argparse
import os
import re
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "integration"))
from node import Node  # noqa: E402

TICK = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid):
    with open("/proc/%d/stat" % pid) as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def wrk(url, prefix, connections, seconds, pin=None):
    """(requests/s, p50 µs, p99 µs, requests, errors)"""
    argv = (["taskset", "-c", pin] if pin else []) + [
        "wrk", "-t1", "-c%d" % connections, "-d%ds" % seconds, "--timeout", "10s",
        "-s", os.path.join(HERE, "whole.lua"), url, "--", prefix]
    out = subprocess.run(argv, stdout=subprocess.PIPE, check=True).stdout.decode()
    found = re.search(r"RESULT (\S+) (\S+) (\S+) (\d+) (\d+)", out)
    return tuple(float(x) for x in found.groups())


def row(name, result, cpu=None, seconds=1.0):
    shares = "  ".join("%s %2.0f%%" % (n, 100 * c / seconds) for n, c in sorted((cpu or {}).items()))
    print("  %-34s %8.0f/s  p50 %7.2f ms  p99 %7.2f ms  errors %d   %s"
          % (name, result[0], result[1] / 1000, result[2] / 1000, result[4], shares), flush=True)


def measure(node, name, url, prefix, connections, seconds, pin=None):
    pids = node.children()
    before = {n: cpu_seconds(p) for n, p in pids.items()}
    began = time.monotonic()
    result = wrk(url, prefix, connections, seconds, pin)
    spent = time.monotonic() - began
    row(name, result, {n: cpu_seconds(p) - before[n] for n, p in pids.items()}, spent)
    return result


def pin_all(node):
    """Redis and gateway on one core, broker, workers and sandbox on the other: about equal shares."""
    for name, pid in node.children().items():
        core = "0" if name.startswith(("redis", "otpq-gateway")) else "1"
        subprocess.run(["taskset", "-a", "-p", "-c", core, str(pid)], stdout=subprocess.DEVNULL, check=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=int, default=5)
    seconds = parser.parse_args().seconds
    way = "/api/af/otp_gen?key=demo-key-1001&aid=1001&mid=1&partner=demo&userId=u1&msisdn="
    with Node(workers=1, gateways=1) as node:
        wrk(node.gateway, way, 16, 1)  # warm-up
        for layout in ("unpinned", "pinned"):
            if layout == "pinned":
                pin_all(node)
            print("whole way, %s" % layout)
            direct = measure(node, "straight, 1 connection", node.sandbox, "/otp/send?msisdn=", 1, seconds)
            through = measure(node, "through otpq, 1 connection", node.gateway, way, 1, seconds)
            print("    added p50 at low load: %.2f ms (to reach: 2.00)" % ((through[1] - direct[1]) / 1000))
            straight = measure(node, "straight, 128 connections", node.sandbox, "/otp/send?msisdn=", 128, seconds)
            full = measure(node, "through otpq, 128 connections", node.gateway, way, 128, seconds)
            print("    sends/s through otpq: %.0f (to reach: 4000), %.2f of the straight load"
                  % (full[0], full[0] / straight[0]))


if __name__ == "__main__":
    main()
