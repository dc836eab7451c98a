#!/usr/bin/python3
"""Runs every test of the project and closes with the line `N passed, N failed`.

    tests/run.py [--only SUITE[,SUITE…]] [--list]

A suite is a row of SUITES: unit programs (cmocka, TAP), pytest folders, the simulator, compilers.
Programs are expected in build/ and build/asan/ (the Makefile built them before).
"""
import argparse
import concurrent.futures
import glob
import os
import re
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
ASAN = {
    "ASAN_OPTIONS": "detect_leaks=1:abort_on_error=0:exitcode=99:allocator_may_return_null=1",
    "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1",
    "LSAN_OPTIONS": "suppressions=%s/tests/lsan.supp:print_suppressions=0" % ROOT,
}
UNIT_SECONDS_MAX = 300
TERMINAL = sys.stdout.isatty()


def progress(text):
    if TERMINAL:
        sys.stdout.write("\r\033[K" + text)
        sys.stdout.flush()


def run(argv, env=None, seconds=1200):
    """(exit code, output); a test that hangs is a failed test."""
    full = dict(os.environ, **(env or {}))
    try:
        done = subprocess.run(argv, cwd=ROOT, env=full, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=seconds)
        return done.returncode, done.stdout.decode("utf-8", "replace")
    except subprocess.TimeoutExpired as late:
        return 124, (late.stdout or b"").decode("utf-8", "replace") + "\nno end within %d s" % seconds


def unit(build, env):
    passed, failed, reports = 0, 0, []
    for program in sorted(glob.glob("%s/%s/unit/test_*" % (ROOT, build))):
        name = os.path.basename(program)
        progress("%s/%s" % (build, name))
        code, out = run([program], dict(env, CMOCKA_MESSAGE_OUTPUT="TAP"), UNIT_SECONDS_MAX)
        good = len(re.findall(r"^ok \d+", out, re.M))
        bad = len(re.findall(r"^not ok \d+", out, re.M))
        if code != 0 and bad == 0:
            bad = 1  # a crash or a leak
        if code == 0 and good == 0:
            bad = 1  # a program that tests nothing
        passed, failed = passed + good, failed + bad
        if bad:
            reports.append("== %s/%s (exit %d)\n%s" % (build, name, code, out[-6000:]))
    return passed, failed, reports


def pytest(folder, build, env):
    # in the tree's own build folder: a report in /tmp would outlive a cut-off run
    report = "%s/%s/report-%s.xml" % (ROOT, build, folder)
    os.makedirs(os.path.dirname(report), exist_ok=True)
    if os.path.exists(report):
        os.unlink(report)
    progress("%s with %s" % (folder, build))
    with tempfile.TemporaryDirectory(prefix="otpq-tests-") as temporary:
        code, out = run([sys.executable, "-m", "pytest", "-q", "-ra", "-p", "no:cacheprovider",
                         "--basetemp", temporary + "/pytest", "--junitxml", report, "tests/" + folder],
                        dict(env, OTPQ_BUILD="%s/%s" % (ROOT, build), PYTHONDONTWRITEBYTECODE="1"))
    if not os.path.exists(report):
        return 0, 1, ["== pytest %s\n%s" % (folder, out[-6000:])]
    suite = ET.parse(report).getroot().find("testsuite")
    bad = int(suite.get("failures")) + int(suite.get("errors"))
    good = int(suite.get("tests")) - bad - int(suite.get("skipped"))
    reports = ["== pytest %s with %s\n%s" % (folder, build, out[-12000:])] if bad or code else []
    return good, bad if bad or code == 0 else 1, reports


def command(argv, name, seconds=600):
    progress(name)
    code, out = run(argv, seconds=seconds)
    if code:
        return 0, 1, ["== %s (exit %d)\n%s" % (name, code, out[-6000:])]
    return 1, 0, []


def make(*words):
    return ["make", "--no-print-directory", "-j%d" % (os.cpu_count() or 2)] + list(words)


# Each row of it runs by itself, one after the other; what stands in one row runs at once: tests with
# processes mostly wait.
SUITES = [
    [("checks", "floors, docs, hygiene", lambda: pytest("checks", "build", {}))],
    [("clang", "clang builds it without a warning",
      lambda: command(make("all", "CC=clang", "BUILD=build/clang", "WERROR=1"), "clang"))],
    [("unit", "unit tests", lambda: unit("build", {})),
     ("unit-asan", "unit tests, ASan+UBSan", lambda: unit("build/asan", ASAN))],
    [("sim", "simulator, 5,600,000 steps", lambda: command(make("sim"), "simulator")),
     ("sim-planted", "simulator, bugs planted into it",
      lambda: command(make("sim-planted"), "simulator, planted bugs", 1800))],
    [("sim-asan", "simulator, ASan+UBSan",
      lambda: command(make("sim", "SAN=1", "STEPS=60000"), "simulator, sanitized")),
     ("failing", "a sample of failing calls", lambda: pytest("failing", "build", {}))],
    [("integration", "real processes", lambda: pytest("integration", "build", {})),
     ("integration-asan", "real processes, ASan+UBSan",
      lambda: pytest("integration", "build/asan", ASAN)),
     ("chaos", "60 kills under load", lambda: pytest("chaos", "build", {}))],
    [("fuzz", "decoders against their corpora",
      lambda: command(make("fuzz-corpus"), "fuzz-corpus"))],
]


def timed(suite):
    began = time.monotonic()
    return suite() + (time.monotonic() - began,)


def run_row(row):
    """(passed, failed)"""
    total_passed, total_failed = 0, 0
    with concurrent.futures.ThreadPoolExecutor(len(row)) as pool:
        running = [(name, meaning, pool.submit(timed, suite)) for name, meaning, suite in row]
        for name, meaning, ended in running:
            passed, failed, reports, seconds = ended.result()
            progress("")
            print("%-18s %4d passed %3d failed  %5.1f s  %s" % (name, passed, failed, seconds, meaning),
                  flush=True)
            for report in reports:
                print(report, flush=True)
            total_passed, total_failed = total_passed + passed, total_failed + failed
    return total_passed, total_failed


def main():
    parser = argparse.ArgumentParser(description="run the tests")
    parser.add_argument("--only", help="comma-separated suites")
    parser.add_argument("--list", action="store_true", help="list the suites")
    args = parser.parse_args()
    if args.list:
        for name, meaning, _ in [suite for row in SUITES for suite in row]:
            print("%-18s %s" % (name, meaning))
        return 0
    wanted = args.only.split(",") if args.only else [suite[0] for row in SUITES for suite in row]
    total_passed, total_failed = 0, 0
    for row in SUITES:
        chosen = [suite for suite in row if suite[0] in wanted]
        if chosen:
            passed, failed = run_row(chosen)
            total_passed, total_failed = total_passed + passed, total_failed + failed
    print("%d passed, %d failed" % (total_passed, total_failed))
    return 1 if total_failed or not total_passed else 0


if __name__ == "__main__":
    sys.exit(main())
