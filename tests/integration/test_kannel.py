"""SMS that really leave and come: systems 3 and 4 through real Kannel, as set up in deploy/kannel/."""
import hashlib
import json
import os
import re
import time
import urllib.parse

import pytest

from kannel import FOLDER, Kannel, LoopbackOnly
from node import Node, hash_password, http, wait_for

PASSWORD = "kannel-pass-1"


@pytest.fixture(scope="module")
def carrier():
    """(node, kannel)"""
    with LoopbackOnly():
        node = Node()
        secrets = os.path.join(node.dir, "secrets.yaml")
        with open(secrets, "w", encoding="utf-8") as f:
            f.write("kannel: change-me-send\n")
        os.chmod(secrets, 0o600)
        with open(node.config, "a", encoding="utf-8") as f:
            f.write("secrets:\n  file: %s\noutgoing:\n  allow: [127.0.0.1]\n" % secrets)
        with node, Kannel(node.ports["gateway"]) as kannel:
            apply_records(node, kannel)
            yield node, kannel


def apply_records(node, kannel):
    with open(os.path.join(FOLDER, "records.yaml"), encoding="utf-8") as f:
        records = kannel.replace_ports(f.read())
    hashed = hash_password(PASSWORD)
    records = records.replace("CHANGE-ME", hashed).replace("127.0.0.1:8090", node.sandbox[7:])
    path = os.path.join(node.dir, "kannel-records.yaml")
    with open(path, "w", encoding="utf-8") as f:
        f.write(records)
    node.command("apply", "-f", path)
    wait_for(lambda: node.call("/send", msisdn="66812340000", username="shop", password="wrong")[1]["CODE"]
             == "401", 5, "the gateway knows the records")


def service(node, path, **parameters):
    status, text, _ = http("%s%s?%s" % (node.gateway, path, urllib.parse.urlencode(
        dict(parameters, username="shop", password=PASSWORD))))
    assert status == 200
    return json.loads(text)


def callbacks(node, name):
    return json.loads(http("%s/callbacks?name=%s" % (node.sandbox, name))[1])


def callback(node, **wanted):
    """The one callback of system 3 whose parameters are these."""
    return wait_for(lambda: [c["query"] for c in callbacks(node, "shop")
                             if all(c["query"].get(k) == v for k, v in wanted.items())], 10, wanted)


def test_system_3_sends_a_text_and_tells_its_delivery(carrier):
    node, kannel = carrier
    msisdn = "66812341001"
    answer = service(node, "/send", msisdn=msisdn, eid="order-1")
    assert answer["CODE"] == "200", answer
    text, = wait_for(lambda: kannel.texts(msisdn), 10, "the SMSC has the text")
    code = re.fullmatch(r"Your code is (\d{6})\.", text).group(1)
    status, = callback(node, TYPE="0", MSGID=answer["MSGID"])
    assert status == {"STATUS": "SUCCESS", "MSG": status["MSG"], "TYPE": "0", "CODE": "200",
                      "MSGID": answer["MSGID"], "EXTID": "order-1"}
    assert "delivery" in trace(node, answer["MSGID"])
    checked = service(node, "/code", sid=answer["MSGID"], code=code)
    assert (checked["RESULT"], checked["EXTID"]) == ("PASS", "order-1")
    result, = callback(node, TYPE="1", MSGID=answer["MSGID"])
    assert (result["STATUS"], result["CODE"]) == ("SUCCESS", "200")


def trace(node, rid):
    return node.command("trace", rid).stdout.decode()


def signed(node, path, body):
    nonce = str(int(time.time() * 1000))
    fields = dict({k: str(v) for k, v in body.items()}, nonce=nonce, account="shop")
    text = "".join(k + fields[k] for k in sorted(fields) if fields[k]) + "change-me-fotp"
    status, answer, _ = http(node.gateway + path, "POST", json.dumps(body).encode(), {
        "Content-Type": "application/json", "account": "shop", "nonce": nonce,
        "sign": hashlib.md5(text.encode()).hexdigest()})
    return status, json.loads(answer)


def test_system_4_is_done_by_the_sms_that_the_user_sends(carrier):
    node, kannel = carrier
    msisdn = "66812341002"
    status, made = signed(node, "/flash/opt/verify", {"ftId": "10"})
    assert (status, made["code"]) == (200, "000000"), made
    token, code = made["data"]["ftToken"], made["data"]["code"]
    wrong = "%04d" % ((int(code) + 1) % 10000)
    kannel.mo(msisdn, "1008611", "Send this to continue: ##OTP-%s##" % wrong,
              "Send this to continue: ##OTP-%s##" % code, "again ##OTP-%s##" % code)
    state = wait_for(lambda: (lambda d: d if d["status"] == "2" else None)(
        signed(node, "/flash/opt/query", {"ftToken": token})[1]["data"]), 10, "the MO was matched")
    assert (state["mobile"], state["sender"], state["code"]) == (msisdn, "1008611", code)
    push, = wait_for(lambda: callbacks(node, "shop-fotp"), 10, "the push")
    said = json.loads(push["body"])
    assert (said["mobile"], said["sender"], said["code"]) == (msisdn, "1008611", code)
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", said["sendTime"])
    assert not kannel.texts(msisdn), "nothing is sent back to the user"
