"""Several brokers: those that are started later are found, one that dies is missed by nobody."""
import os
import signal
import subprocess

from client import Client, send_job
from load import Load
from node import BUILD, SLOW, Node, broker_ports, http, wait_for


def address(port):
    return "tcp://127.0.0.1:%d" % port


class Broker:
    """One more broker on the Redis of a node, under the test's own hand."""

    def __init__(self, node):
        self.node = node
        self.clients, self.workers, self.metrics = broker_ports(1)
        self.log = open(os.path.join(node.dir, "log", "other-broker.log"), "wb")
        env = dict(node.env, OTPQ_DIR=node.dir, OTPQ_BROKER_CLIENTS=address(self.clients),
                   OTPQ_BROKER_WORKERS=address(self.workers),
                   OTPQ_BROKER_METRICS="127.0.0.1:%d" % self.metrics)
        self.process = subprocess.Popen([os.path.join(BUILD, "bin", "otpq-broker"), "--config", node.config],
                                        stderr=self.log, stdin=subprocess.DEVNULL, env=env)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(30 * SLOW)
        self.log.close()
        assert code in (0, -signal.SIGKILL), code

    def call(self, name, msisdn):
        """The result's code of a job given to this broker; it waits until a worker is here."""
        with Client(address(self.clients)) as client:
            return client.call(*send_job(name, msisdn, ttl_ms=20000))[0]["code"]


def brokers(node):
    return [pid for name, pid in sorted(node.children().items()) if name.startswith("otpq-broker")]


def ready(port):
    try:
        return http("http://127.0.0.1:%d/readyz" % port)[0] == 200
    except OSError:
        return False


def test_a_broker_that_is_started_later_is_found_by_workers_and_gateways():
    with Node() as node:
        with Broker(node) as other:
            assert other.call("first", "66841000001") == "otp_sent"
            wait_for(lambda: node.logs().count("broker=" + address(other.workers)) == 1, 10, "it is logged")
            mine = brokers(node)[0]
            os.kill(mine, signal.SIGSTOP)  # whoever asks it hears nothing
            try:
                status, answer = node.gen("66841000002")
            finally:
                os.kill(mine, signal.SIGCONT)
            assert (status, answer.get("response")) == (200, "otp_sent"), answer
            assert node.ledger("66841000002")["sends"] == 1
        wait_for(lambda: "broker let go" in node.logs(), 10, "the worker lets go of one that left")
        assert node.gen("66841000003")[0] == 200


def test_an_address_that_is_configured_and_found_is_one_link():
    with Node() as node:
        wait_for(lambda: len(node.redis().hgetall("otpq:brokers")) == 1, 10, "the broker is in the store")
        assert node.gen("66842000001")[0] == 200
        status, text, _ = http(node.metrics + "/metrics")
        workers = [line for line in text.splitlines() if line.startswith("otpq_broker_workers ")]
        assert workers == ["otpq_broker_workers 1"]


def test_a_killed_broker_is_missed_by_nobody_and_found_when_it_is_back():
    with Node(brokers=2, workers=2, gateways=2) as node:
        ports = (node.ports["clients"], node.ports["clients"] + 10)
        health = (node.ports["metrics"], node.ports["metrics"] + 10)
        node.env["OTPQ_CLIENT_BROKERS"] = ",".join(map(address, ports))
        with Load(node) as load:
            for victim in (0, 1, 0, 1):
                seen = load.count()
                wait_for(lambda: load.count() > seen + 100, 30, "requests are answered")
                pids = brokers(node)
                os.kill(pids[victim], signal.SIGKILL)
                wait_for(lambda: len(set(brokers(node)) - set(pids)) == 1, 20, "it is started again")
                wait_for(lambda: all(map(ready, health)), 20, "both are ready")
                for port in ports:
                    with Client(address(port)) as client:
                        number = load.numbers(1)[0]
                        assert client.call(*send_job("k-" + number, number))[0]["code"] == "otp_sent"
                        load.note(number, True, "")
            seen = load.count()
            wait_for(lambda: load.count() > seen + 100, 30, "requests are answered behind it")
        load.check()


def test_a_broker_that_leaves_hands_on_what_it_has_not_begun():
    with Node() as node:
        with Broker(node) as other, Client(address(other.clients)) as client:
            wait_for(lambda: ready(other.metrics), 20, "it is ready")
            wait_for(lambda: len(node.redis().hgetall("otpq:brokers")) == 2, 10, "they know each other")
            client.submit(*[send_job("d%d" % i, "6684400%04d" % i, ttl_ms=60000, delay_ms=50000)
                            for i in range(300)])
            client.send("G", ({"id": "d299"}, {}))
            wait_for(lambda: any(e["id"] == "d299" for _, e, _ in client.receive(0.1)), 10, "it has them")
            other.process.send_signal(signal.SIGTERM)
            wait_for(lambda: client.receive(0.1) is not None and
                     len({e["id"] for verb, e, _ in client.answers if verb == "N"}) == 300, 10, "it says so")
            assert {e["error"] for verb, e, _ in client.answers if verb == "N"} == {"draining"}
            assert other.process.wait(20 * SLOW) == 0


def test_one_port_that_two_brokers_of_a_node_would_need_is_named():
    with Node() as node:
        done = node.command("up", "--check-config", check=False)
        assert done.returncode == 0, done.stderr
        node.env["OTPQ_NODE_BROKERS"] = "2"
        node.env["OTPQ_BROKER_WORKERS"] = address(node.ports["clients"] + 10)
        done = node.command("up", "--check-config", check=False)
        assert done.returncode == 2
        assert b"two brokers would listen on" in done.stderr, done.stderr
