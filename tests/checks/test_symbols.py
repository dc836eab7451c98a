"""All objects go into one archive, from which the linker takes the first that has a name: two
functions of the same name would silently replace each other."""
import collections
import os
import subprocess

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("OTPQ_BUILD", os.path.join(ROOT, "build"))


def test_no_name_is_defined_twice():
    out = subprocess.run(["nm", "--defined-only", "--extern-only", os.path.join(BUILD, "libotpq-all.a")],
                         stdout=subprocess.PIPE, check=True).stdout.decode()
    names = [line.split()[2] for line in out.splitlines() if len(line.split()) == 3]
    assert [n for n, count in collections.Counter(names).items() if count > 1] == []
