"""A sample of the failing calls; `make failing` is the long way (docs/development.md)."""
import os
import subprocess
import sys

LOOP = os.path.join(os.path.dirname(os.path.abspath(__file__)), "loop.py")


def test_a_sample_of_failing_calls():
    done = subprocess.run([sys.executable, LOOP, "--seconds", "45", "--jobs", "2"], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, timeout=300)
    text = done.stdout.decode("utf-8", "replace")
    print(text)  # the seed is in it
    assert done.returncode == 0, text[-8000:]
