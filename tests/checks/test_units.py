"""The units of systemd: what all of them must say."""
import configparser
import glob
import os

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SERVICES = sorted(glob.glob(os.path.join(ROOT, "deploy", "systemd", "*.service")))


def test_each_program_has_one():
    names = [os.path.basename(path).replace("@", "") for path in SERVICES]
    assert names == ["otpq-broker.service", "otpq-gateway.service", "otpq-worker.service"]


@pytest.mark.parametrize("path", SERVICES, ids=os.path.basename)
def test_a_process_that_ends_is_started_again_for_ever(path):
    """By default systemd gives up after five starts in 10 s: a worker that finds no Redis ends at once."""
    unit = configparser.ConfigParser(strict=False)
    unit.optionxform = str
    unit.read(path, encoding="utf-8")
    assert unit["Service"]["Restart"] == "always"
    assert unit["Unit"]["StartLimitIntervalSec"] == "0"


@pytest.mark.parametrize("path", SERVICES, ids=os.path.basename)
def test_no_secret_reaches_a_core_file(path):
    unit = configparser.ConfigParser(strict=False)
    unit.optionxform = str
    unit.read(path, encoding="utf-8")
    assert unit["Service"]["LimitCORE"] == "0" and unit["Service"]["NoNewPrivileges"] == "yes"
