"""The broker beside a Redis: routes follow the records, and results are marked on time-lines."""
import json
import os
import subprocess

import pytest

from harness import BUILD, Broker, Client, SLOW, Worker, http, wait_for

RECORDS = """network:
  mid: 1
affiliates:
%sintegrations:
%s"""
INTEGRATION = """  %s:
    paused: %s
    maker: otpq
    text: Your code is {otp}
    send:
      url: http://127.0.0.1:9/send?to={msisdn}&text={text}
      answer:
        success:
          http: 200
"""


class Redis:
    """A redis-server on the socket where the broker looks for one."""

    def __init__(self, folder):
        self.socket = os.path.join(folder, "redis.sock")
        self.process = subprocess.Popen(
            ["redis-server", "--port", "0", "--unixsocket", self.socket, "--save", "", "--dir", folder],
            stdout=subprocess.DEVNULL)

    def __enter__(self):
        wait_for(lambda: os.path.exists(self.socket), 10, "Redis listens")
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()

    def command(self, *words):
        done = subprocess.run(["redis-cli", "-s", self.socket, *words], stdout=subprocess.PIPE,
                              check=True, timeout=10 * SLOW)
        return done.stdout.decode().splitlines()


@pytest.fixture
def broker():
    with Broker(accept=False) as b, Redis(b.dir) as b.redis:
        yield b


def apply(broker, weights=None, **paused):
    """Routes by name, paused or not; weights of affiliates by number."""
    path = os.path.join(broker.dir, "records.yaml")
    with open(path, "w", encoding="utf-8") as f:
        f.write(RECORDS % (
            "".join("  %d: {key: a-key-of-%d, weight: %d}\n" % (aid, aid, weight)
                    for aid, weight in (weights or {}).items()),
            "".join(INTEGRATION % (name, str(p).lower()) for name, p in paused.items())))
    done = subprocess.run([os.path.join(BUILD, "bin", "otpq"), "apply", "--config", broker.config,
                           "-f", path, "--prune"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          stdin=subprocess.DEVNULL, timeout=30 * SLOW, check=False)
    assert done.returncode == 0, done.stdout.decode()


def test_routes_follow_the_records(broker):
    assert http(broker.http + "/readyz")[0] == 503
    apply(broker, first=False)
    wait_for(lambda: http(broker.http + "/readyz")[0] == 200, 3, "ready")
    with Client(broker.clients) as c, Worker(broker.workers) as w:
        c.submit("s-1", route="first")
        w.done(*w.jobs(1))
        assert c.one()[1]["state"] == "done"
        c.submit("s-2", route="second")
        assert c.one()[1]["error"] == "integration_not_found"
        apply(broker, first=True, second=False)
        wait_for(lambda: broker.metrics()['otpq_route_paused{route="first"}'] == 1, 1, "paused")
        c.submit("s-3", route="first")
        c.submit("s-4", route="second")
        (job, body), = w.jobs(1)
        assert job["id"] == "s-4"
        w.done((job, body))
        assert c.one()[1]["id"] == "s-4"
        apply(broker, second=False)
        verb, result, _ = c.one()
        assert (verb, result["id"], result["code"]) == ("R", "s-3", "integration_not_found")


def test_tenants_share_by_the_weights_of_affiliates(broker):
    def shares(jobs):
        return [sum(job["tenant"] == tenant for job, _ in jobs) for tenant in ("1001", "1002")]

    apply(broker, {1001: 3, 1002: 1}, demo=False)
    wait_for(lambda: http(broker.http + "/readyz")[0] == 200, 3, "ready")
    with Client(broker.clients) as c, Worker(broker.workers, credit=0) as w:
        for number in range(40):
            c.submit("a-%d" % number, tenant="1001")
            c.submit("b-%d" % number, tenant="1002")
        wait_for(lambda: broker.metrics()['otpq_broker_jobs{state="queued"}'] == 80, 3, "queued")
        w.credit(40)
        assert shares(w.jobs(40)) == [30, 10]
        apply(broker, {1002: 3}, demo=False, sign=True)  # 1001 is gone: its jobs go on with weight 1
        wait_for(lambda: broker.metrics().get('otpq_route_paused{route="sign"}') == 1, 1, "records read")
        w.credit(60)
        assert shares(w.jobs(20)) == [5, 15]


def test_the_last_step_of_a_time_line(broker):
    apply(broker, demo=False)
    wait_for(lambda: http(broker.http + "/readyz")[0] == 200, 3, "ready")
    key = "otpq:t:{ab}:rab234567abcdefghijklmn"
    broker.redis.command("RPUSH", key, "{}")
    with Client(broker.clients) as c, Worker(broker.workers) as w:
        for number, rid in enumerate(["rab234567abcdefghijklmn", "rcd234567abcdefghijklmn", "r", "x y"]):
            c.submit("l-%d" % number)
            (job, _), = w.jobs(1)
            w.send("R", ({"id": job["id"], "state": "done", "code": "otp_sent", "trace_id": rid}, {}))
            assert c.one()[1]["id"] == "l-%d" % number
    wait_for(lambda: broker.redis.command("LLEN", key) == ["2"], 3, "a step was added")
    step = json.loads(broker.redis.command("LINDEX", key, "-1")[0])
    assert (step["step"], step["job"]) == ("answered", "l-0") and step["at_ms"] > 1600000000000
    assert len(broker.redis.command("KEYS", "otpq:t:*")) == 1  # none is made where there was none
