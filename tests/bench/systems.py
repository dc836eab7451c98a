#!/usr/bin/python3
"""Sends through each of the five served systems, beside the same load straight onto the sandbox, in one
run: sends/s at 128 connections, and what otpq adds to the latency of one connection.

    tests/bench/systems.py [--seconds N]
"""
import argparse
import os
import re
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "integration"))
from node import Node, hash_password, http, wait_for  # noqa: E402

PASSWORD = "bench-pass"
RECORDS = """
endpoints:
  bench: {integration: demo-local, affiliate: 1001}
accounts:
  bench:
    password_hash: "%s"
    integration: demo-local
    sign: none
flash_templates:
  bench:
    account: bench
    receivers: ["1008620"]
    content: "##bench-{code}##"
    code_digits: 6
api_tokens:
  bench: {token: bench-token, integration: demo-local}
"""
JSON = "Content-Type: application/json"
# name: method, path, body, headers
SYSTEMS = {
    "1 endpoint": ("GET", "/e/bench/otp_gen?key=demo-key-1001&msisdn=%s", ""),
    "2 affiliate": ("GET", "/api/af/otp_gen?key=demo-key-1001&aid=1001&mid=1&partner=demo-local&msisdn=%s", ""),
    "3 OTP service": ("GET", "/send?username=bench&password=" + PASSWORD + "&msisdn=%s", ""),
    "4 FOTP (no call)": ("POST", "/flash/opt/verify", '{"ftId":"bench"}', JSON, "account: bench"),
    "5 CAMARA": ("POST", "/one-time-password-sms/v1/send-code",
                 '{"phoneNumber":"+%s","message":"{{code}} is your code"}', JSON,
                 "Authorization: Bearer bench-token"),
}
STRAIGHT = ("GET", "/otp/send?text=Your+code+is+123456&msisdn=%s", "")


def wrk(url, system, connections, seconds):
    """(requests/s, p50 ms, p99 ms, errors)"""
    argv = ["wrk", "-t1", "-c%d" % connections, "-d%ds" % seconds, "--timeout", "10s",
            "-s", os.path.join(HERE, "systems.lua"), url, "--", *system]
    out = subprocess.run(argv, stdout=subprocess.PIPE, check=True).stdout.decode()
    found = [float(x) for x in re.search(r"RESULT (\S+) (\S+) (\S+) (\d+) (\d+)", out).groups()]
    return found[0], found[1] / 1000, found[2] / 1000, int(found[4])


def prepare(node):
    hashed = hash_password(PASSWORD)
    path = os.path.join(node.dir, "bench.yaml")
    with open(path, "w", encoding="utf-8") as f:
        f.write(RECORDS % hashed)
    node.command("apply", "-f", path)
    wait_for(lambda: http(node.gateway + "/e/bench/otp_gen")[0] != 404, 5, "the records are known")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=int, default=4)
    seconds = parser.parse_args().seconds
    with Node(workers=1, gateways=1) as node:
        prepare(node)
        low = wrk(node.sandbox, STRAIGHT, 1, seconds)
        full = wrk(node.sandbox, STRAIGHT, 128, seconds)
        print("served systems              sends/s   of straight   p50 ms at 1   added ms   p99 ms at 128   errors")
        print("  %-22s %10.0f          1.00 %13.2f       0.00 %15.1f %8d"
              % ("straight", full[0], low[1], full[2], full[3]))
        for name, system in SYSTEMS.items():
            wrk(node.gateway, system, 16, 1)  # warm-up
            one = wrk(node.gateway, system, 1, seconds)
            many = wrk(node.gateway, system, 128, seconds)
            print("  %-22s %10.0f %13.2f %13.2f %10.2f %15.1f %8d"
                  % (name, many[0], many[0] / full[0], one[1], one[1] - low[1], many[2],
                     one[3] + many[3]), flush=True)


if __name__ == "__main__":
    main()
