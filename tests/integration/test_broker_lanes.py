"""Who is called back has a lane of his own in the broker, as long as the records say so."""
from node import wait_for
from rig import Rig, integration

AFFILIATES = """affiliates:
  1001:
    key: key-1001-key-1001
%s"""
ACCOUNT = """accounts:
  demo:
    secret: demo-secret
%s"""
TEMPLATE = """flash_templates:
  2:
    title: Demo
    account: demo
    receivers: ["1008611"]
    content: "##FG5x-{code}##"
"""


def routes(rig):
    rig.client.answers.clear()
    rig.client.send("I")
    while not any(verb == "I" for verb, _, _ in rig.client.answers):
        assert rig.client.receive(20), "no answer"
    return sorted(r["name"] for verb, _, info in rig.client.answers if verb == "I" for r in info["routes"])


def test_lanes_come_and_go_with_the_records():
    rig = Rig()
    one = "  one:\n" + integration(rig.advertiser.ports[0], "ok")
    rig.records = one + AFFILIATES % "" + ACCOUNT % "" + TEMPLATE
    with rig:
        wait_for(lambda: routes(rig) == ["flash:2", "one"], 10, "the template's lane")
        rig.records = (one + AFFILIATES % "    postback_url: http://127.0.0.1:1/p\n" +
                       ACCOUNT % "    callback_url: http://127.0.0.1:1/c\n" + TEMPLATE)
        rig.apply()
        wait_for(lambda: routes(rig) == ["account:demo", "affiliate:1001", "flash:2", "one"], 10,
                 "lanes of those who are called back")
        envelope, _ = rig.client.call({"id": "cb", "op": "callback", "route": "account:demo", "ttl_ms": 100},
                                      {"task": "x"})
        assert envelope["code"] == "deadline_passed", "taken; there is no worker"
        rig.records = one + AFFILIATES % "" + ACCOUNT % "" + TEMPLATE
        rig.apply()
        wait_for(lambda: routes(rig) == ["flash:2", "one"], 10, "they are gone")
