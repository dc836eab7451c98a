"""A Redis that forgot what it had acknowledged last: the workers whose calls run tell it again, and a job that came to
another broker meanwhile is neither called twice nor ended as unknown."""
import os
import signal
import subprocess

from client import send_job
from node import BUILD, SLOW, http, wait_for
from rig import integration
from test_stored import Farm, nothing_left, number

CALLS = 40


def again(jobs):
    return [(dict(envelope, again=True), body) for envelope, body in jobs]


def late_jobs(ack="queued"):
    return [send_job("late-%d" % i, number(i), route="late", ttl_ms=60000 * SLOW, ack=ack) for i in range(CALLS)]


def apply(farm):
    farm.write("records.yaml", "network:\n  mid: 1\nintegrations:\n  late:\n" + integration(
        farm.advertiser.ports[0], "late", timeout_ms=min(20000 * SLOW, 60000)), 0o644)
    subprocess.run([os.path.join(BUILD, "bin", "otpq"), "apply", "--config", farm.dir + "/otpq-0.yaml", "-f",
                    farm.dir + "/records.yaml"], check=True, timeout=20 * SLOW)


def lose_claims(farm, stopped):
    """Another process answers, which has everything but the claims; nobody speaks to the old one meanwhile."""
    for process in stopped:
        process.send_signal(signal.SIGSTOP)
    keys = [k for kind in ("j", "st") for k in farm.command("KEYS", "otpq:%s:*" % kind)]
    assert len(keys) >= CALLS
    assert farm.command("DEL", *keys) == [str(len(keys))]
    farm.kill(farm.redis)
    farm.start_redis()
    assert not any(farm.command("KEYS", "otpq:j:*"))
    for process in stopped:
        process.send_signal(signal.SIGCONT)


def in_flight(farm, i):
    text = http("http://127.0.0.1:%d/metrics" % farm.ports[i][2])[1]
    return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines()
               if line.startswith('otpq_broker_jobs{state="in_flight"}'))


def seen(farm, jobs):
    return [farm.seen(body["msisdn"], "late") for _, body in jobs]


def test_calls_that_run_are_not_called_again_from_another_broker():
    with Farm(2) as farm:
        farm.broker(0)
        farm.broker(1)
        apply(farm)
        workers = [farm.worker(), farm.worker()]
        jobs = late_jobs()
        half = CALLS // 2
        client, other = farm.client(0), farm.client(1)
        client.submit(*jobs)
        wait_for(lambda: seen(farm, jobs) == [1] * CALLS, 10, "all calls are out")
        other.submit(*again(jobs[:half]))  # a worker asks for them again and again
        wait_for(lambda: in_flight(farm, 1) >= half, 10, "they are with a worker")
        lose_claims(farm, workers)
        other.submit(*again(jobs[half:]))
        ids = [job[0]["id"] for job in jobs]
        results = client.wait(ids, 30) + other.wait(ids, 30)
        assert {(e["state"], e["code"]) for e, _ in results} == {("done", "otp_sent")}
        assert seen(farm, jobs) == [1] * CALLS


def test_stored_jobs_of_a_broker_that_died_with_the_primary_run_once_each():
    with Farm(2) as farm:
        first = farm.broker(0)
        farm.broker(1)
        apply(farm)
        workers = [farm.worker()]
        jobs = late_jobs("stored")
        waiting = [send_job("wait-%d" % i, number(5000 + i), route="late", ttl_ms=60000 * SLOW, ack="stored",
                            delay_ms=3000 * SLOW) for i in range(CALLS)]
        client = farm.client(0)
        client.submit(*(jobs + waiting))
        wait_for(lambda: seen(farm, jobs) == [1] * CALLS, 10, "all calls are out")
        farm.kill(first)
        lose_claims(farm, workers)
        wait_for(lambda: farm.metric(1, "otpq_shelf_adopted_total") == 2 * CALLS, 15, "all are adopted")
        nothing_left(farm, 40)
        assert seen(farm, jobs + waiting) == [1] * (2 * CALLS)
        other = farm.client(1)
        other.submit(*again(jobs + waiting))
        results = other.wait([job[0]["id"] for job in jobs + waiting], 30)
        assert {(e["state"], e["code"]) for e, _ in results} == {("done", "otp_sent")}
