"""FOTP called: a template whose links are another FOTP system's, here the same node's. The user's SMS
reaches that one; what it says, by its push and when it is asked, reaches the request that asked it."""
import itertools
import os
import re

import pytest

from client import Client
from node import Node, wait_for

RECEIVER, MOBILE = "1008622", "6285273203675"
TOKEN = "t0ken-of-upstreams-callbacks"

# "up" is the upstream's account and template; "down" is the template of demo that calls it. The
# upstream pushes to the callback address of the integration; "mute" has none and is asked instead.
RECORDS = """
accounts:
  up:
    secret: up-secret
integrations:
  loud:
    dialect: fotp
    base_url: %(gateway)s
    ft_id: loud-up
    account: up
    secret: up-secret
    callback_token: %(token)s
  mute:
    dialect: fotp
    base_url: %(gateway)s
    ft_id: mute-up
    account: up
    secret: up-secret
  gone:
    dialect: fotp
    base_url: http://127.0.0.1:1
    ft_id: loud-up
    account: up
    secret: up-secret
    fallback: [loud]
flash_templates:
  loud-up:
    account: up
    receivers: [%(receiver)s]
    content: "LOUD-{code}"
    callback_url: %(gateway)s/cb/fotp/loud/%(token)s
  mute-up:
    account: up
    receivers: [%(receiver)s]
    content: "MUTE-{code}"
  loud:
    account: demo
    receivers: [1008611]
    content: "DOWN-{code}"
    integration: loud
  mute:
    account: demo
    receivers: [1008611]
    content: "DOWN-{code}"
    integration: mute
  gone:
    account: demo
    receivers: [1008611]
    content: "DOWN-{code}"
    integration: gone
"""

ids = ("t-%d" % i for i in itertools.count())


@pytest.fixture(scope="module")
def node():
    with Node(env={"OTPQ_OUTGOING_ALLOW": "127.0.0.0/8"}) as n:
        path = os.path.join(n.dir, "called.yaml")
        with open(path, "w", encoding="utf-8") as f:
            f.write(RECORDS % {"gateway": n.gateway, "receiver": RECEIVER, "token": TOKEN})
        n.command("apply", "-f", path)
        yield n


@pytest.fixture
def client(node):
    with Client(node.clients) as c:
        yield c


def call(client, op, route, **body):
    envelope, result = client.call({"id": next(ids), "op": op, "route": route}, body)
    return envelope["state"], envelope["code"], result


def created(node, client, template, **body):
    def once():
        state, code, result = call(client, "flash.create", template, ft_id=template, account="demo", **body)
        return result if (state, code) == ("done", "otp_sent") else None
    made = wait_for(once, 20, "gateway and worker know the records")
    upstream = re.fullmatch(re.escape(node.gateway) + "/flash/opt/redirect/([0-9a-f]{32})", made["url"])
    assert upstream and upstream.group(1) != made["request_id"]
    return made


def state(client, made):
    return call(client, "flash.query", "flash:2", ft_token=made["request_id"], account="demo")[2]["flash"]


def sms(client, lane, code):
    return call(client, "report", "flash:" + lane, event="mo", otp=code, mobile=MOBILE, sender=RECEIVER,
                send_time="2025-04-29 17:47:00", deliver_time="2025-04-29 17:48:23")[:2]


def test_the_upstreams_push_verifies(node, client):
    made = created(node, client, "loud", code="482913")
    assert made["flash"]["code"] == "482913" and state(client, made)["status"] == "0"
    assert sms(client, "loud-up", "482913") == ("done", "delivered")
    wait_for(lambda: state(client, made)["status"] == "2", 20, "the push is taken in")
    told = state(client, made)
    assert (told["mobile"], told["sender"], told["send_time"], told["deliver_time"], told["code"]) == (
        MOBILE, RECEIVER, "2025-04-29 17:47:00", "2025-04-29 17:48:23", "482913")


def test_the_upstream_is_asked_where_it_does_not_push(node, client):
    made = created(node, client, "mute")
    assert sms(client, "mute-up", made["flash"]["code"]) == ("done", "delivered")
    wait_for(lambda: state(client, made)["status"] == "2", 30, "the poll tells")
    assert state(client, made)["mobile"] == MOBILE


def test_an_upstream_that_is_down_is_passed_by(node, client):
    made = created(node, client, "gone")
    assert sms(client, "loud-up", made["flash"]["code"]) == ("done", "delivered")
    wait_for(lambda: state(client, made)["status"] == "2", 20, "the push of the next one is taken in")


def test_an_affiliates_send_through_a_link(node, client):
    state_, code, made = call(client, "send", "loud", msisdn=MOBILE, aid=1001)
    assert (state_, code) == ("done", "otp_sent") and made["url"].startswith(node.gateway)
    verify = dict(msisdn=MOBILE, aid=1001, request_id=made["request_id"], otp="any")
    assert call(client, "verify", "loud", **verify)[1] == "pending"
    upstream = made["url"].rsplit("/", 1)[1]
    text = call(client, "flash.query", "flash:2", ft_token=upstream)[2]["flash"]["text"]
    before = node.conversions()
    assert sms(client, "loud-up", text[len("LOUD-"):]) == ("done", "delivered")
    wait_for(lambda: call(client, "verify", "loud", **verify)[1] == "otp_verified", 20, "the state is told")
    assert call(client, "verify", "loud", **verify)[1] == "otp_verified"
    assert node.conversions() == before + 2  # upstream's and ours
