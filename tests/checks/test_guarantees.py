"""docs/guarantees.md: every promise names a test that there is."""
import os
import re

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def rows():
    with open(os.path.join(ROOT, "docs", "guarantees.md"), encoding="utf-8") as f:
        lines = [line for line in f if line.startswith("| ")]
    return [line for line in lines if not line.endswith("| shown by |\n")]


def test_every_row_names_tests_that_there_are():
    assert len(rows()) > 20
    for row in rows():
        named = re.findall(r"`([a-z_/]+\.py)::(test_[a-z0-9_]+)`", row.rsplit("|", 2)[1])
        assert named, row
        for file, test in named:
            folder = "" if "/" in file else "integration"
            with open(os.path.join(ROOT, "tests", folder, file), encoding="utf-8") as f:
                assert "def %s(" % test in f.read(), (file, test)
