"""The rules of codes that otpq makes, with real processes: one success among a thousand, expiry to the
second by a clock of the test's own, cooldown and shares, and no code anywhere that one could look."""
import collections
import glob
import hashlib
import json
import os
import re
import struct
import subprocess
import time
import urllib.parse

import pytest
import redis
from client import send_job
from node import SLOW, Node, http, wait_for
from rig import Rig, integration

HERE = os.path.dirname(os.path.abspath(__file__))
NOON = 1893499200  # any time of a clock that stands still
SECOND = 1000


class ClockRig(Rig):
    """Its Redis goes by the test's clock, which decides on all that codes may."""

    def __init__(self):
        super().__init__(worker="  capacity: 2000\n", log_level="info")
        self.now_s = NOON
        self.jobs = 0

    def redis_server(self, argv):
        library = os.path.join(self.dir, "own_clock.so")
        subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library, os.path.join(HERE, "own_clock.c")],
                       check=True, timeout=60 * SLOW)
        self.clock = open(os.path.join(self.dir, "clock"), "wb+", buffering=0)
        self.at(0)
        self.spawn(argv, env={"LD_PRELOAD": library, "OWN_CLOCK": self.clock.name})

    def test_records(self):
        port = self.advertiser.ports[0]
        return "".join("  %s:\n%s" % (name, integration(port, "ok", maker="otpq"))
                       for name in ("local", "second"))

    def at(self, seconds, ms=0):
        """Sets the clock to so long after noon."""
        self.clock.seek(0)
        self.clock.write(struct.pack("<q", (NOON + seconds) * SECOND + ms))

    def job(self, op, body, route):
        self.jobs += 1
        return {"id": "c-%d" % self.jobs, "op": op, "route": route, "ttl_ms": 30000}, body

    def send(self, msisdn, aid=1001, route="local"):
        """(code word, result); the code made is in self.code(msisdn)."""
        envelope, body = self.client.call(*self.job("send", {"msisdn": msisdn, "aid": aid}, route))
        return envelope["code"], body

    def verify_job(self, msisdn, otp, aid=1001, route="local", request_id=None):
        body = {"msisdn": msisdn, "otp": otp, "aid": aid}
        if request_id:
            body["request_id"] = request_id
        return self.job("verify", body, route)

    def verify(self, msisdn, otp, **more):
        envelope, body = self.client.call(*self.verify_job(msisdn, otp, **more))
        return envelope["code"], body

    def code(self, msisdn):
        text = self.advertiser.queries[("/ok/send", msisdn)]["text"]
        return re.fullmatch(r"Code (\d{6})", text).group(1)


@pytest.fixture(scope="module")
def rig():
    with ClockRig() as r:
        r.worker()
        r.worker()
        yield r


@pytest.fixture
def msisdn(rig):
    """A number that nobody had before, at noon."""
    rig.at(0)
    rig.now_s += 1
    return "6681%07d" % (rig.now_s - NOON)


def wrong(code):
    return "%06d" % ((int(code) + 1) % 1000000)


def test_a_thousand_right_ones_at_once_are_one_success(rig, msisdn):
    assert rig.send(msisdn)[0] == "otp_sent"
    jobs = [rig.verify_job(msisdn, rig.code(msisdn)) for _ in range(1000)]
    rig.client.submit(*jobs)
    words = collections.Counter(e["code"] for e, _ in rig.client.wait([e["id"] for e, _ in jobs], 60))
    assert words == {"otp_verified": 1, "already_verified": 999}


def test_a_thousand_wrong_ones_at_once_are_five_checks(rig, msisdn):
    assert rig.send(msisdn)[0] == "otp_sent"
    code = rig.code(msisdn)
    jobs = [rig.verify_job(msisdn, wrong(code)) for _ in range(1000)]
    rig.client.submit(*jobs)
    words = collections.Counter(e["code"] for e, _ in rig.client.wait([e["id"] for e, _ in jobs], 60))
    assert words == {"wrong_otp": 5, "too_many_attempts": 995}
    assert rig.verify(msisdn, code)[0] == "too_many_attempts"


def test_five_checks_and_what_is_left(rig, msisdn):
    rig.send(msisdn)
    code = rig.code(msisdn)
    for left in (4, 3, 2, 1, 0):
        word, body = rig.verify(msisdn, wrong(code))
        assert (word, body["attempts_left"]) == ("wrong_otp", left)
    word, body = rig.verify(msisdn, code)
    assert (word, body["attempts_left"]) == ("too_many_attempts", 0)


def test_the_last_moment_of_a_code(rig, msisdn):
    word, body = rig.send(msisdn)
    assert (word, body["expires_in"]) == ("otp_sent", 300)
    rig.at(299, 999)
    word, body = rig.verify(msisdn, wrong(rig.code(msisdn)))
    assert (word, body["expires_in"]) == ("wrong_otp", 1)
    assert rig.verify(msisdn, rig.code(msisdn))[0] == "otp_verified"


def test_the_first_moment_without_it(rig, msisdn):
    rig.send(msisdn)
    rig.at(300)
    assert rig.verify(msisdn, rig.code(msisdn))[0] == "otp_expired"


def test_cooldown_to_the_second(rig, msisdn):
    first = rig.send(msisdn)[1]["request_id"]
    rig.at(0, 1)
    word, body = rig.send(msisdn)
    assert (word, body["retry_after"]) == ("resend_too_soon", 30)
    assert body["request_id"] == first
    rig.at(29, 999)
    word, body = rig.send(msisdn)
    assert (word, body["retry_after"]) == ("resend_too_soon", 1)
    rig.at(30)
    assert rig.send(msisdn)[0] == "otp_sent"


def test_a_resend_is_the_same_request_and_its_code_counts(rig, msisdn):
    first = rig.send(msisdn)[1]["request_id"]
    old = rig.code(msisdn)
    rig.at(200)
    word, body = rig.send(msisdn)
    new = rig.code(msisdn)
    assert (word, body["request_id"], body["expires_in"]) == ("otp_sent", first, 300)
    if old != new:
        assert rig.verify(msisdn, old)[0] == "wrong_otp"
    rig.at(499, 999)  # the validity began again
    assert rig.verify(msisdn, new, request_id=first)[0] == "otp_verified"


def test_three_sends_in_ten_minutes(rig, msisdn):
    first = rig.send(msisdn)[1]["request_id"]
    for at in (100, 200):
        rig.at(at)
        assert rig.send(msisdn)[0] == "otp_sent"
    rig.at(300)
    word, body = rig.send(msisdn)
    assert (word, body["retry_after"]) == ("too_many_sends", 300)
    rig.at(599, 999)
    word, body = rig.send(msisdn)
    assert (word, body["retry_after"]) == ("too_many_sends", 1)
    rig.at(600)
    word, body = rig.send(msisdn)
    assert word == "otp_sent" and body["request_id"] != first, "the old one is over"
    rig.at(699)
    assert rig.send(msisdn)[0] == "too_many_sends", "the window glides"
    rig.at(700)
    assert rig.send(msisdn)[0] == "otp_sent"


def test_wrong_codes_count_per_number_over_sessions(rig, msisdn):
    """And cooldown too: whoever asks, it is the same person's telephone."""
    rig.send(msisdn, aid=1001)
    for _ in range(3):
        assert rig.verify(msisdn, wrong(rig.code(msisdn)), aid=1001)[0] == "wrong_otp"
    assert rig.send(msisdn, aid=1002)[0] == "resend_too_soon"
    rig.at(30)
    assert rig.send(msisdn, aid=1002)[0] == "otp_sent"
    code = rig.code(msisdn)
    for left in (1, 0):
        word, body = rig.verify(msisdn, wrong(code), aid=1002)
        assert (word, body["attempts_left"]) == ("wrong_otp", left)
    word, body = rig.verify(msisdn, code, aid=1002)
    assert (word, body["retry_after"]) == ("too_many_attempts", 570)
    assert rig.send(msisdn, aid=1001, route="second")[0] == "otp_sent", "another integration"
    assert rig.verify(msisdn, rig.code(msisdn), aid=1001, route="second")[0] == "otp_verified"
    rig.at(329)
    assert rig.verify(msisdn, code, aid=1002)[0] == "too_many_attempts"
    rig.at(599, 999)
    assert rig.send(msisdn, aid=1002)[0] == "otp_sent"
    assert rig.verify(msisdn, rig.code(msisdn), aid=1002)[0] == "too_many_attempts"
    rig.at(600)
    assert rig.verify(msisdn, rig.code(msisdn), aid=1002)[0] == "otp_verified"


def test_a_right_code_forgets_the_wrong_ones(rig, msisdn):
    rig.send(msisdn)
    for _ in range(4):
        rig.verify(msisdn, wrong(rig.code(msisdn)))
    assert rig.verify(msisdn, rig.code(msisdn))[0] == "otp_verified"
    rig.at(30)
    rig.send(msisdn)
    word, body = rig.verify(msisdn, wrong(rig.code(msisdn)))
    assert (word, body["attempts_left"]) == ("wrong_otp", 4)


# ---- no plain code ------------------------------------------------------------------------------


def stands_in(code, data):
    """By itself, not as a part of a hash, a time or an id."""
    return re.search(rb"(?<![0-9A-Za-z])%s(?![0-9A-Za-z])" % code.encode(), data) is not None


def everything_on_disk(node):
    """Redis' whole memory and its log of commands."""
    r = node.redis()
    r.config_set("rdbcompression", "no")
    r.save()
    data = b""
    files = glob.glob(node.dir + "/**/*.rdb", recursive=True) + glob.glob(node.dir + "/**/*.aof", recursive=True)
    assert any(name.endswith(".rdb") for name in files)
    for name in files:
        with open(name, "rb") as f:
            data += f.read()
    return data


def sms(node, msisdn):
    return node.inbox(msisdn)[0]


def drive_advertisers_code(node, number):
    assert node.gen(number)[0] == 200
    return sms(node, number)["otp"], lambda otp: node.verify(number, otp)


def drive_own_code(node, number):
    assert node.gen(number, partner="demo-local")[0] == 200
    return re.search(r"\d{6}", sms(node, number)["text"]).group(), \
        lambda otp: node.verify(number, otp, partner="demo-local")


def drive_service(node, number):
    status, answer = node.call("/send", msisdn=number, username="demo", password="demo-pass", eid="e-1")
    assert (status, answer["CODE"]) == (200, "200"), answer
    return re.search(r"\d{6}", sms(node, number)["text"]).group(), \
        lambda otp: node.call("/code", sid=answer["MSGID"], code=otp, username="demo", password="demo-pass")


def post(node, path, body, headers):
    status, text, _ = http(node.gateway + path, "POST", json.dumps(body).encode(),
                           dict(headers, **{"Content-Type": "application/json"}))
    return status, json.loads(text) if text else None


def drive_camara(node, number):
    bearer = {"Authorization": "Bearer demo-token"}
    status, answer = post(node, "/one-time-password-sms/v1/send-code",
                          {"phoneNumber": "+" + number, "message": "{{code}} is your code"}, bearer)
    assert status == 200, answer
    return re.search(r"\d{6}", sms(node, number)["text"]).group(), \
        lambda otp: post(node, "/one-time-password-sms/v1/validate-code",
                         {"authenticationId": answer["authenticationId"], "code": otp}, bearer)


def drive_flash(node, number):
    """The code is in the answer, and comes back in an SMS."""
    nonce = str(int(time.time() * 1000))
    body = {"ftId": "2"}
    text = "".join(k + v for k, v in sorted(dict(body, account="demo", nonce=nonce).items()))
    sign = hashlib.md5((text + "demo-secret").encode()).hexdigest()
    status, answer = post(node, "/flash/opt/verify", body, {"account": "demo", "nonce": nonce, "sign": sign})
    assert (status, answer["code"]) == (200, "000000"), answer
    return answer["data"]["code"], lambda otp: http("%s/flash/opt/mo/demo-mo?%s" % (
        node.gateway, urllib.parse.urlencode({"from": number, "to": "1008611", "text": "##FG5x-%s##" % otp})))


DRIVES = {"flash": drive_flash, "advertiser": drive_advertisers_code, "affiliate": drive_own_code, "service": drive_service,
          "camara": drive_camara}


@pytest.fixture(scope="module")
def node():
    with Node(workers=2) as n:
        yield n


def wrong_and_right(code, verify):
    verify("999999" if code != "999999" else "999998")
    verify(code)


def test_no_code_in_redis_logs_or_metrics(node):
    codes, before = {}, node.conversions()
    for i, (name, drive) in enumerate(sorted(DRIVES.items())):
        sent, _ = drive(node, "6681555%04d" % (2 * i))
        code, verify = drive(node, "6681555%04d" % (2 * i + 1))
        assert not stands_in(code, everything_on_disk(node)), name
        wrong_and_right(code, verify)
        codes[name + ", sent"], codes[name + ", verified"] = sent, code
    wait_for(lambda: node.conversions() == before + len(DRIVES), 10, "every right code was a conversion")
    places = {"redis": everything_on_disk(node), "logs": node.logs().encode(), "output": node.output().encode(),
              "metrics": http(node.metrics + "/metrics")[1].encode(),
              "gateway's metrics": http(node.gateway + "/metrics")[1].encode()}
    found = [(name, place) for name, code in codes.items() for place, data in places.items()
             if stands_in(code, data)]
    assert not found
    assert b"66815550001" in places["redis"], "the scan sees what is there"


def test_nobody_writes_cores(node):
    """A core would hold codes, the pepper and keys."""
    for name, pid in node.children().items():
        if name == "redis":
            continue
        with open("/proc/%d/limits" % pid) as f:
            limits = f.read()
        assert re.search(r"Max core file size +0 +0 ", limits), name
