"""A send whose integration cannot send goes on with the next one; its verify finds it there."""
import json
import os
import re
import subprocess

import pytest
from node import BUILD, SLOW, http, wait_for
from rig import Rig, integration
from test_worker import verify_job

from client import send_job

BREAKS = "    breaker_percent: 50\n    breaker_calls: 2\n    breaker_window_ms: 60000\n    breaker_open_ms: 600000\n"


def to(*names):
    return "    fallback: [%s]\n" % ", ".join(names)


def records(rig):
    port = rig.advertiser.ports[0]
    one = {
        "good": integration(port, "ok"),
        "narrow": integration(port, "slow", more="    calls_at_once: 1\n"),
        "blocks": integration(port, "no"),
        "gone": integration(rig.nobody, "ok", more=to("good")),
        "gone-twice": integration(rig.nobody, "ok", more=to("gone", "good")),
        "all-gone": integration(rig.nobody, "ok", more=to("gone")),
        "breaks": integration(rig.nobody, "ok", more=BREAKS + to("good")),
        "paused": integration(port, "ok", more="    paused: true\n" + to("good")),
        "to-narrow": integration(port, "ok", more="    paused: true\n" + to("narrow")),
        "all-paused": integration(port, "ok", more="    paused: true\n" + to("paused")),
        "unfit": integration(port, "no", more=to("blocks")).replace("msisdn_blocked", "not_eligible"),
        "strict": integration(port, "no", more=to("good")),
        "resets": integration(port, "reset", more=to("good")),
        "picky": integration(port, "ok", verify="no", more=to("good")).replace("msisdn_blocked", "wrong_otp"),
        "skips": integration(port, "ok", more="    paused: true\n" + to("asleep", "unfit-too", "asleep-too", "good")),
        "skips-later": integration(rig.nobody, "ok", more=to("asleep", "unfit-too", "asleep-too", "good")),
        "asleep": integration(port, "ok", more="    paused: true\n"),
        "asleep-too": integration(port, "ok", more="    paused: true\n"),
        "unfit-too": integration(port, "no").replace("msisdn_blocked", "not_eligible"),
        "wavers": integration(port, "wavers", more="    on_unknown: retry\n" + to("good"))
        .replace("msisdn_blocked", "not_eligible"),
        "local": integration(rig.nobody, "ok", maker="otpq", more=to("local-too")),
        "local-too": integration(port, "ok", maker="otpq"),
    }
    return "".join("  %s:\n%s" % (name, text) for name, text in one.items())


@pytest.fixture(scope="module")
def rig():
    r = Rig()
    r.records = records(r)
    with r:
        r.worker()
        yield r


def number(count=[0]):
    count[0] += 1
    return "6681200%04d" % count[0]


def sent(rig, route, expected="otp_sent"):
    """(number, request id, envelope)"""
    msisdn = number()
    envelope, body = rig.client.call(*send_job("s-" + msisdn, msisdn, route=route))
    assert envelope["code"] == expected, (envelope, body)
    return msisdn, body.get("request_id"), envelope


def verified(rig, route, msisdn, request_id, expected="otp_verified"):
    envelope, body = rig.client.call(*verify_job("v-" + msisdn, msisdn, "123456", route, request_id))
    assert envelope["code"] == expected, (envelope, body)


def trace(rig, request_id, *more):
    done = subprocess.run([os.path.join(BUILD, "bin", "otpq"), "trace", "--config", rig.dir + "/otpq.yaml",
                           request_id, *more], stdout=subprocess.PIPE, timeout=20 * SLOW)
    assert done.returncode == 0
    return done.stdout.decode()


def steps(rig, request_id):
    """What the time-line says of fallback."""
    return re.findall(r"fallback\s+(\S+ -> \S+)", trace(rig, request_id))


def way(rig, request_id):
    """(step, detail) of hand-overs and fallback."""
    told = json.loads(trace(rig, request_id, "--json"))["steps"]
    return [(s["step"], s["detail"]) for s in told if s["step"] in ("accepted", "dispatched", "fallback")]


def metric(rig, name):
    found = re.search("^%s (.*)$" % re.escape(name), http("http://127.0.0.1:%d/metrics" % rig.metrics)[1], re.M)
    return float(found.group(1))


def test_one_that_cannot_be_reached_is_followed_by_the_next(rig):
    msisdn, rid, envelope = sent(rig, "gone")
    assert (envelope["state"], envelope["attempts"]) == ("done", 1), "a move is no attempt"
    assert rig.seen("/ok/send", msisdn) == 1
    assert steps(rig, rid) == ["advertiser_unreachable -> good"]
    verified(rig, "gone", msisdn, rid)
    assert rig.seen("/ok/verify", msisdn) == 1
    assert metric(rig, 'otpq_route_moved_total{route="gone",way="out"}') >= 2


def test_the_newest_request_is_found_without_its_id(rig):
    msisdn, _, _ = sent(rig, "gone")
    verified(rig, "gone", msisdn, None)


def test_only_the_list_of_the_one_asked_for_counts(rig):
    msisdn, rid, _ = sent(rig, "gone-twice")
    assert steps(rig, rid) == ["advertiser_unreachable -> gone", "advertiser_unreachable -> good"]
    verified(rig, "gone-twice", msisdn, rid)
    msisdn, _, envelope = sent(rig, "all-gone", "advertiser_unreachable")
    assert envelope["state"] == "refused"


def test_codes_of_our_own_are_checked_where_they_were_asked_for(rig):
    msisdn, rid, _ = sent(rig, "local")
    assert rig.seen("/ok/send", msisdn) == 1
    verified(rig, "local", msisdn, rid, "wrong_otp")


def test_an_open_breaker_is_passed_by_at_once(rig):
    for _ in range(2):
        sent(rig, "breaks")
    wait_for(lambda: metric(rig, 'otpq_route_breaker{route="breaks"}') == 2, 5, "the breaker is open")
    msisdn, rid, _ = sent(rig, "breaks")
    assert steps(rig, rid) == ["advertiser_unreachable -> good"]
    verified(rig, "breaks", msisdn, rid)
    assert metric(rig, 'otpq_route_breaker{route="breaks"}') == 2, "nobody called it"


def test_a_paused_one_is_passed_by(rig):
    msisdn, rid, _ = sent(rig, "paused")
    assert steps(rig, rid) == ["integration_paused -> good"]
    verified(rig, "paused", msisdn, rid)


ASLEEP = ("fallback", "asleep skipped: integration_paused")
ASLEEP_TOO = ("fallback", "asleep-too skipped: integration_paused")


def test_the_time_line_has_every_one_and_why(rig):
    _, rid, _ = sent(rig, "skips")
    assert way(rig, rid) == [
        ("accepted", ""), ASLEEP, ("fallback", "integration_paused -> unfit-too"), ("dispatched", "via unfit-too"),
        ASLEEP_TOO, ("fallback", "not_eligible -> good"), ("dispatched", "attempt 2, via good")]
    text = trace(rig, rid)
    assert text.count("accepted") == 1 and "route skips (carried by good)" in text
    _, rid, _ = sent(rig, "skips-later")
    assert way(rig, rid) == [
        ("accepted", ""), ("dispatched", ""), ASLEEP, ("fallback", "advertiser_unreachable -> unfit-too"),
        ("dispatched", "attempt 2, via unfit-too"), ASLEEP_TOO, ("fallback", "not_eligible -> good"),
        ("dispatched", "attempt 3, via good")]
    assert trace(rig, rid).count("accepted") == 1


def test_with_all_paused_it_waits_for_its_deadline(rig):
    msisdn = number()
    envelope, _ = rig.client.call(*send_job("w-1", msisdn, route="all-paused", ttl_ms=700))
    assert (envelope["state"], envelope["code"]) == ("expired", "deadline_passed")
    assert rig.seen("/ok/send", msisdn) == 0


def test_the_limits_of_the_next_one_hold(rig):
    jobs = [send_job("n-%d" % i, number(), route="to-narrow") for i in range(4)]
    rig.client.submit(*jobs)
    most = 0
    while any(e["id"] not in rig.client.results for e, _ in jobs):
        rig.client.send("I")
        rig.client.receive(0.05)
        infos = [body for verb, _, body in rig.client.answers if verb == "I"]
        rig.client.answers.clear()
        for info in infos:
            most = max([most] + [r.get("in_flight", 0) for r in info["routes"] if r["name"] == "narrow"])
    assert most == 1
    assert all(rig.client.results[e["id"]][0]["code"] == "otp_sent" for e, _ in jobs)


def test_the_last_refusal_is_the_result(rig):
    msisdn, rid, envelope = sent(rig, "unfit", "msisdn_blocked")
    assert envelope["state"] == "refused"
    assert rig.seen("/no/send", msisdn) == 2


def test_a_refusal_that_another_would_give_too_stays(rig):
    msisdn, _, _ = sent(rig, "strict", "msisdn_blocked")
    assert rig.seen("/ok/send", msisdn) == 0


def test_what_may_have_gone_out_stays(rig):
    msisdn, _, envelope = sent(rig, "resets", "outcome_unknown")
    assert envelope["state"] == "unknown"
    assert rig.seen("/ok/send", msisdn) == 0 and rig.seen("/reset/send", msisdn) == 1


def test_what_a_run_before_may_have_sent_goes_to_nobody_else(rig):
    msisdn, _, envelope = sent(rig, "wavers", "not_eligible")
    assert envelope["state"] == "refused"
    assert rig.seen("/wavers/send", msisdn) == 2 and rig.seen("/ok/send", msisdn) == 0


def test_a_wrong_code_stays_wrong(rig):
    msisdn, rid, _ = sent(rig, "picky")
    verified(rig, "picky", msisdn, rid, "wrong_otp")
    assert rig.seen("/ok/verify", msisdn) == 0 and rig.seen("/no/verify", msisdn) == 1
