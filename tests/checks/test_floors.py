"""A file includes only its own floor or a lower one (docs/architecture.md, "Floors")."""
import glob
import os
import re

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PARTS = ("broker", "workers", "gateway", "clients")
INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"', re.M)


def sources():
    for part in PARTS + ("common",):
        for path in glob.glob(os.path.join(ROOT, part, "**", "*.[ch]"), recursive=True):
            yield os.path.relpath(path, ROOT)


def floor(path):
    if path.startswith("common/base/"):
        return 0
    if path.startswith("common/meaning/"):
        return 1
    if path.startswith("broker/core/"):
        return 2
    if path.startswith("common/adapters/"):
        return 3
    if os.path.basename(path) == "main.c":
        return 5
    assert path.split("/")[0] in PARTS, "%s stands on no floor" % path
    return 4


def part(path):
    return path.split("/")[0]


def test_every_include_goes_down():
    wrong = []
    for path in sources():
        with open(os.path.join(ROOT, path), encoding="utf-8") as f:
            for included in INCLUDE.findall(f.read()):
                if not os.path.exists(os.path.join(ROOT, included)):
                    wrong.append("%s: %s is not a path from the root" % (path, included))
                elif floor(included) > floor(path):
                    wrong.append("%s (floor %d) includes %s (floor %d)"
                                 % (path, floor(path), included, floor(included)))
                elif part(included) in PARTS and part(included) != part(path):
                    wrong.append("%s includes %s of another part" % (path, included))
    assert not wrong, "\n".join(wrong)


def test_the_core_and_the_meaning_read_no_clock_and_open_no_socket():
    """Pure floors: time is an argument there."""
    forbidden = re.compile(r"\b(clock_(mono|wall)_|gettimeofday|clock_gettime|time\(NULL|socket\(|"
                           r"zmq_|event_base|redis[A-Z]|curl_easy)")
    wrong = []
    for path in sources():
        if path.startswith(("broker/core/", "common/meaning/")):
            with open(os.path.join(ROOT, path), encoding="utf-8") as f:
                for number, line in enumerate(f, 1):
                    code = line.split("/*")[0].strip()
                    if forbidden.search(code) and not code.startswith("*"):
                        wrong.append("%s:%d: %s" % (path, number, code))
    assert not wrong, "\n".join(wrong)


def test_headers_are_guarded_and_sources_begin_with_their_own_header():
    """Or with the inner header of their folder, which includes it."""
    wrong = []
    for path in sources():
        with open(os.path.join(ROOT, path), encoding="utf-8") as f:
            text = f.read()
        if path.endswith(".h") and not re.search(r"^#ifndef OTPQ_", text, re.M):
            wrong.append("%s has no include guard" % path)
        own = path[:-2] + ".h"
        if path.endswith(".c") and os.path.exists(os.path.join(ROOT, own)):
            first = re.search(r'^\s*#\s*include\s+["<]([^">]+)[">]', text, re.M)
            inner = re.compile(re.escape(os.path.dirname(own)) + r"/(\w+_)?(internal|inside)\.h$")
            if first is None or not (first.group(1) in (own, os.path.basename(own)) or
                                     inner.match(first.group(1))):
                wrong.append("%s does not include %s first" % (path, own))
    assert not wrong, "\n".join(wrong)
