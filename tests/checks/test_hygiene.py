"""Rules of the house that a machine can watch."""
import os
import re
import subprocess

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def tracked():
    # the clone may belong to another user than who tests, as in containers
    out = subprocess.run(["git", "-c", "safe.directory=*", "ls-files"], cwd=ROOT, stdout=subprocess.PIPE, check=True)
    return [p for p in out.stdout.decode().split("\n") if p and os.path.exists(os.path.join(ROOT, p))]


def lines(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as f:
        return f.read().split("\n")


def test_lines_fit_and_have_no_tabs():
    wrong = []
    for path in tracked():
        if path.endswith((".c", ".h")):
            for number, line in enumerate(lines(path), 1):
                if len(line) > 100 or "\t" in line or line != line.rstrip():
                    wrong.append("%s:%d: %s" % (path, number, line[:60]))
    assert not wrong, "\n".join(wrong)


def function_lengths(path):
    """(name, first line, length): a function opens with { in column 0 and ends with } there."""
    begin, name = None, ""
    for number, line in enumerate(lines(path), 1):
        if line == "{":
            begin = number
        elif line == "}" and begin is not None:
            yield name, begin, number - begin - 1
            begin = None
        elif begin is None and line and not line[0].isspace():
            name = line


def test_no_function_is_longer_than_70_lines():
    wrong, lengths = [], []
    for path in tracked():
        if path.endswith(".c") and not path.startswith("tests/"):
            for name, begin, length in function_lengths(path):
                lengths.append(length)
                if length > 70:
                    wrong.append("%s:%d: %d lines: %s" % (path, begin, length, name))
    assert not wrong, "\n".join(wrong)
    lengths.sort()
    assert lengths[len(lengths) // 2] <= 15, "the median function has %d lines" % lengths[len(lengths) // 2]
    assert lengths[int(len(lengths) * 0.95)] <= 50


def test_nothing_is_left_for_later_in_the_sources():
    mark = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")
    wrong = ["%s:%d" % (path, number) for path in tracked() if path.endswith((".c", ".h", ".lua", ".py", ".mk"))
             and path != "tests/checks/test_hygiene.py"
             for number, line in enumerate(lines(path), 1) if mark.search(line)]
    assert not wrong, "\n".join(wrong)


def test_the_top_level_is_the_agreed_one():
    allowed = {"broker", "workers", "common", "gateway", "clients", "tests", "deploy", "docs", "Makefile",
               "README.md"}
    top = {p.split("/")[0] for p in tracked()}
    assert {t for t in top if not t.startswith(".")} <= allowed, top


def test_packages_are_declared_once():
    rows = [line.split() for line in lines("deploy/packages.txt") if line and not line.startswith("#")]
    assert all(len(row) == 2 and row[0] in ("build", "run", "test", "bench") for row in rows), rows
    names = [row[1] for row in rows]
    assert len(names) == len(set(names))
    documented = "\n".join(lines("docs/development.md"))
    assert [name for name in names if name not in documented] == []
