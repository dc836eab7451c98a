"""The short way of `make chaos`: every process is killed under load, nothing is lost or sent twice."""
import os
import random

import chaos

KILLS = 60


def test_kills_under_load():
    seed = int(os.environ.get("SEED", random.SystemRandom().randrange(1 << 31)))
    good, report = chaos.run(KILLS, seed)
    assert good, report
    assert report["stored"] > 10 * KILLS and report["done"] > 10 * KILLS, report
