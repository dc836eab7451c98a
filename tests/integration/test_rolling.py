"""Every process of a node is restarted under load, one after the other, and no request fails."""
import os
import re
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


def pids_of(node, program):
    return {pid for name, pid in node.children().items() if name.startswith(program)}


def test_one_that_does_not_come_back_keeps_the_others_running():
    """A configuration that brokers cannot start with, and a worker that dies meanwhile."""
    with Node(brokers=2, workers=2) as node:
        with open(node.config, encoding="utf-8") as f:
            good = f.read()
        with open(node.config, "w", encoding="utf-8") as f:
            f.write(good.replace("broker:\n", "broker:\n  curve_secret_file: /nowhere/broker.key\n", 1))
        brokers = pids_of(node, "otpq-broker")
        node.process.send_signal(signal.SIGHUP)
        wait_for(lambda: "child=broker-" in node.output(), 60, "a broker does not come back")
        left = pids_of(node, "otpq-broker") & brokers
        assert len(left) == 1, (brokers, node.children())
        workers = pids_of(node, "otpq-worker")
        os.kill(min(workers), signal.SIGKILL)
        died = wait_for(lambda: re.search(r"child=(worker-\d)", node.output()), 10, "the death of a worker is seen")
        log = os.path.join(node.dir, "log", died.group(1) + ".log")
        wait_for(lambda: len(pids_of(node, "otpq-worker") - workers) == 1, 10, "it is started again")
        wait_for(lambda: os.path.exists(log) and "msg=ready" in open(log, encoding="utf-8").read(), 10,
                 "it is there again")
        for nth in range(10):
            assert node.gen("6684300001%d" % nth)[0] == 200
        assert left <= pids_of(node, "otpq-broker")
        with open(node.config, "w", encoding="utf-8") as f:
            f.write(good)
        wait_for(lambda: "all processes were restarted" in node.output(), 60, "it went on with a good one")
        assert not brokers & pids_of(node, "otpq-broker")


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
