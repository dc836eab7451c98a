"""Every process of a node is restarted under load, one after the other, and no request fails."""
import signal
import socket

import pytest

from load import Load
from node import Node, free_ports, wait_for

LASTING = {"redis", "sandbox"}


def both(node):
    return "tcp://127.0.0.1:%d,tcp://127.0.0.1:%d" % (node.ports["clients"], node.ports["clients"] + 10)


def restart_all(node, load, times):
    """By SIGHUP; the load goes on for a while before, between and behind."""
    for nth in range(times):
        seen = load.count()
        wait_for(lambda: load.count() > seen + 100, 30, "requests are answered")
        before = node.children()
        node.process.send_signal(signal.SIGHUP)
        wait_for(lambda: node.output().count("all processes were restarted") > nth, 120,
                 "all are restarted")
        after = node.children()
        same = {name for name in LASTING if before[name] == after[name]}
        assert same == LASTING
        assert not {before[name] for name in before if name not in LASTING} & set(after.values())
    seen = load.count()
    wait_for(lambda: load.count() > seen + 100, 30, "requests are answered behind it")


@pytest.mark.parametrize("gateways", [2, 1])
def test_a_rolling_restart_fails_no_request(gateways):
    with Node(brokers=2, workers=2, gateways=gateways) as node:
        node.env["OTPQ_CLIENT_BROKERS"] = both(node)
        with Load(node) as load:
            restart_all(node, load, 2)
        load.check()
        assert "child ended" not in node.output()


def test_the_only_broker_worker_and_gateway_are_waited_for():
    with Node() as node:
        with Load(node) as load:
            restart_all(node, load, 1)
        load.check()


def test_another_address_for_the_gateways_takes_effect_with_a_restart():
    with Node() as node:
        old, new = node.ports["gateway"], free_ports(1)[0]
        with open(node.config, encoding="utf-8") as f:
            text = f.read()
        with open(node.config, "w", encoding="utf-8") as f:
            f.write(text.replace("listen: 127.0.0.1:%d" % old, "listen: 127.0.0.1:%d" % new))
        node.process.send_signal(signal.SIGHUP)
        wait_for(lambda: "all processes were restarted" in node.output(), 60, "all are restarted")
        node.ports["gateway"] = new
        assert node.gen("66843000001")[0] == 200
        with socket.socket() as s:
            assert s.connect_ex(("127.0.0.1", old)) != 0
