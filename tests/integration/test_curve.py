"""Keys at a broker's sockets: who is let in, what a key is for, and that a revoked one is cut off."""
import os
import re
import signal
import socket
import subprocess

import pytest
import zmq

from harness import Broker, Client, Worker
from node import BUILD, SLOW, Node, free_ports, http, wait_for
from test_records import Store

RECORDS = """
network: {mid: 7}
integrations:
  demo:
    send: {url: "http://127.0.0.1:1/{msisdn}"}
    verify: {url: "http://127.0.0.1:1/{msisdn}/{otp}"}
  other:
    send: {url: "http://127.0.0.1:1/{msisdn}"}
    verify: {url: "http://127.0.0.1:1/{msisdn}/{otp}"}
"""


def address_elsewhere():
    """An address of this machine that is not loopback, or None."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        try:
            s.connect(("192.0.2.1", 9))  # nothing is sent: only a route is looked up
            return s.getsockname()[0]
        except OSError:
            return None


class Keys:
    """A Redis with records, and the pairs that `otpq keys` made."""

    def __init__(self):
        self.store = Store()
        self.public = {}
        code, _, err = self.store.run("apply", text=RECORDS)
        assert code == 0, err

    def path(self, name):
        return os.path.join(self.store.dir, name + ".key")

    def new(self, name, kind, *more):
        code, out, err = self.store.run("keys", "new", name, "--kind", kind, "--out", self.path(name), *more)
        assert code == 0, err
        self.public[name] = out.strip()
        return name

    def revoke(self, name):
        code, _, err = self.store.run("keys", "revoke", name, "--yes")
        assert code == 0, err

    def pair(self, name):
        with open(self.path(name), encoding="utf-8") as f:
            lines = dict(line.rstrip("\n").split(": ", 1) for line in f if not line.startswith("#"))
        return lines["public_key"].strip('"').encode(), lines["secret_key"].strip('"').encode()

    def broker(self, **more):
        options = "  curve_secret_file: %s\nredis:\n  address: unix:%s\n" % (self.path("b"), self.store.socket)
        return Broker(options, accept=False, **more)

    def socket_of(self, peer, name, server="b"):
        """A harness peer that shows this key; name None: a pair that nobody knows."""
        pair = zmq.curve_keypair() if name is None else self.pair(name)
        server_key = self.public[server].encode()

        class Curve(peer):
            def __init__(self, address, kind=zmq.DEALER):
                self.context = zmq.Context()
                self.socket = self.context.socket(kind)
                self.socket.linger = 0
                self.socket.rcvtimeo = 20000 * SLOW
                self.socket.curve_publickey, self.socket.curve_secretkey = pair
                self.socket.curve_serverkey = server_key
                self.socket.connect(address)
                if peer is Worker:
                    self.send("H", ({"name": str(name), "pid": os.getpid(), "version": "test", "protocol": 1,
                                     "capacity": 100}, {}))
                    self.credit(100)

        return Curve


@pytest.fixture(scope="module")
def keys():
    k = Keys()
    k.new("b", "broker")
    k.new("any", "client", "--tenants", "all", "--routes", "all")
    k.new("w", "worker")
    yield k
    k.store.close()


@pytest.fixture
def broker(keys):
    with keys.broker() as b:
        yield b


def verdicts(b):
    return {v: b.metrics()['otpq_broker_handshakes_total{verdict="%s"}' % v]
            for v in ("allowed", "unknown", "revoked", "wrong_kind", "malformed", "no_key")}


def denied(b, verdict):
    wait_for(lambda: verdicts(b)[verdict] >= 1, 10, "a handshake ends as %s" % verdict)
    assert verdicts(b)["allowed"] == 0


def test_a_job_goes_its_way_under_keys(keys, broker):
    with keys.socket_of(Worker, "w")(broker.workers) as w, keys.socket_of(Client, "any")(broker.clients) as c:
        c.submit("j1", tenant="t")
        jobs = w.jobs(1)
        w.done(*jobs)
        verb, envelope, _ = c.one()
        assert verb == "R" and envelope["id"] == "j1"
        assert broker.metrics()["otpq_broker_workers"] == 1
        assert verdicts(broker)["allowed"] == 2


def test_no_plain_peer_is_let_in(broker):
    with Client(broker.clients) as c:
        c.submit("j1")
        denied(broker, "no_key")
        assert c.quiet()


@pytest.mark.parametrize("side", ["clients", "workers"])
def test_a_key_that_nobody_knows_is_not_let_in(keys, broker, side):
    with keys.socket_of(Client, None)(getattr(broker, side)):
        denied(broker, "unknown")


def test_who_takes_the_broker_for_another_is_not_let_in(keys, broker):
    with keys.socket_of(Client, "any", server="w")(broker.clients):
        denied(broker, "no_key")


@pytest.mark.parametrize("name, side", [("w", "clients"), ("any", "workers"), ("b", "clients")])
def test_a_key_opens_its_own_socket_alone(keys, broker, name, side):
    with keys.socket_of(Client, name)(getattr(broker, side)):
        denied(broker, "wrong_kind")


def test_a_revoked_key_is_not_let_in(keys, broker):
    keys.new("gone", "client", "--tenants", "all", "--routes", "all")
    keys.revoke("gone")
    with keys.socket_of(Client, "any")(broker.clients) as c:
        c.send("P")
        assert c.receive()[0] == "O"
    wait_for(lambda: broker.output().count("records loaded") >= 1, 5, "records")
    with keys.socket_of(Client, "gone")(broker.clients):
        wait_for(lambda: verdicts(broker)["revoked"] + verdicts(broker)["unknown"] >= 1, 10, "it is denied")
        assert verdicts(broker)["allowed"] == 1


def test_a_client_is_bound_to_its_tenants_and_routes(keys, broker):
    keys.new("shop", "client", "--tenants", "shop,acme:", "--routes", "demo")
    with keys.socket_of(Client, "any")(broker.clients) as every:
        every.submit("theirs", tenant="rival", ack="queued")
        assert every.one()[0] == "A"
        with keys.socket_of(Client, "shop")(broker.clients) as c:
            c.submit("mine", tenant="shop", ack="queued")
            assert c.one()[0] == "A"
            c.submit("mine2", tenant="acme:7", ack="queued")
            assert c.one()[0] == "A"
            for job_id, more in (("n1", {"tenant": "rival"}), ("n2", {}), ("n3", {"tenant": "acme"}),
                                 ("n4", {"tenant": "shop", "route": "other"})):
                c.submit(job_id, **more)
                verb, envelope, _ = c.one()
                assert (verb, envelope["id"], envelope["error"]) == ("N", job_id, "forbidden"), envelope
                assert ("route" if "route" in more else "tenant") in envelope["detail"]
            for verb_asked in "GX":
                c.ask(verb_asked, "theirs")
                verb, envelope, _ = c.one()
                assert (verb, envelope["error"]) == ("N", "forbidden")
            c.submit("theirs", tenant="shop")  # the same job under our own name
            assert c.one()[1]["error"] == "forbidden"
            c.ask("G", "mine")
            assert c.one()[1]["state"] == "queued"
            c.ask("G", "nobody's")
            assert c.one()[1]["error"] == "invalid"
            c.ask("G", "nobodys")
            assert c.one()[1]["error"] == "not_found"
            c.send("I")
            assert c.one()[1]["error"] == "forbidden"
        every.ask("G", "mine")
        assert every.one()[1]["state"] == "queued"
    assert broker.metrics()["otpq_broker_forbidden_total"] == 8


def test_a_live_client_is_cut_off_and_another_goes_on(keys, broker):
    keys.new("live", "client", "--tenants", "all", "--routes", "all")
    with keys.socket_of(Client, "live")(broker.clients) as c, keys.socket_of(Client, "any")(broker.clients) as other:
        events = c.socket.get_monitor_socket(zmq.EVENT_DISCONNECTED)
        for peer in (c, other):
            peer.send("P")
            assert peer.receive(20)[0] == "O"
        keys.revoke("live")
        try:
            assert events.poll(5000 * SLOW), "still connected"
        finally:
            c.socket.disable_monitor()
            events.close()
        wait_for(lambda: verdicts(broker)["revoked"] >= 1, 10, "it came again and was not let in")
        other.submit("j1", ack="queued")
        assert other.one()[0] == "A"
        assert broker.metrics()["otpq_broker_connections_cut_total"] == 1
        assert verdicts(broker)["allowed"] == 2
        assert broker.metrics()["otpq_broker_accepted_total"] == 1


def test_a_revoked_worker_is_cut_off_and_its_jobs_go_to_others(keys, broker):
    keys.new("bad", "worker")
    with keys.socket_of(Client, "any")(broker.clients) as c, keys.socket_of(Worker, "bad")(broker.workers) as bad:
        c.submit("j1")
        jobs = bad.jobs(1)
        keys.revoke("bad")
        with keys.socket_of(Worker, "w")(broker.workers) as w:
            wait_for(lambda: verdicts(broker)["revoked"] >= 1, 10, "it came again and was not let in")
            again = w.jobs(1, seconds=10)
            assert again[0][0]["id"] == "j1" and again[0][0]["attempt"] > jobs[0][0]["attempt"]
            w.done(*again)
            assert c.one(10)[1]["attempts"] == again[0][0]["attempt"]


def test_off_loopback_it_needs_keys(keys):
    host = address_elsewhere()
    if host is None:
        pytest.skip("this machine has no address but loopback")
    ports = free_ports(3)
    env = {"OTPQ_BROKER_CLIENTS": "tcp://%s:%d" % (host, ports[0])}
    plain = Broker(ports=ports, env=env)
    try:
        assert plain.wait(5) == 2 and "broker.curve_secret_file" in plain.output(), plain.output()
    finally:
        plain.__exit__()
    with keys.broker(ports=ports, env=env) as b:
        with keys.socket_of(Client, "any")("tcp://%s:%d" % (host, ports[0])) as c:
            c.send("P")
            assert c.receive(10)[0] == "O"
        with Client("tcp://%s:%d" % (host, ports[0])) as c:
            c.send("P")
            wait_for(lambda: verdicts(b)["no_key"] >= 1, 10, "a plain one is denied")
            assert c.quiet()


def run_otpq(keys, b, *argv, **env):
    """The command at this broker, with the key `any` unless env says otherwise."""
    full = {**os.environ, "OTPQ_DIR": keys.store.dir, "OTPQ_CLIENT_CURVE_SECRET_FILE": keys.path("any"),
            "OTPQ_CLIENT_BROKER_KEYS": keys.public["b"], **env}
    done = subprocess.run([os.path.join(BUILD, "bin", "otpq"), *argv, "--brokers", b.clients], env=full,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=60)
    return done.returncode, done.stdout, done.stderr


def test_the_library_shows_its_key(keys, broker):
    code, out, err = run_otpq(keys, broker, "info", "--json")
    assert code == 0 and '"uptime_ms"' in out, err
    code, out, err = run_otpq(keys, broker, "info", "--timeout-ms", "1500", OTPQ_CLIENT_CURVE_SECRET_FILE=keys.path("w"))
    assert code == 3, (out, err)
    os.chmod(keys.path("w"), 0o644)
    code, out, err = run_otpq(keys, broker, "info", OTPQ_CLIENT_CURVE_SECRET_FILE=keys.path("w"))
    os.chmod(keys.path("w"), 0o600)
    assert code == 2 and "is open to others" in err
    secret = keys.pair("any")[1].decode()
    assert secret not in out + err + broker.output()


def test_commands_speak_to_a_broker_under_keys(keys, broker):
    for argv in (["top", "--once"], ["get", "nobody"], ["cancel", "nobody"]):
        code, out, err = run_otpq(keys, broker, *argv)
        assert code != 3 and "answer in time" not in err, (argv, out, err)


def test_an_operator_purges_under_keys(keys, broker):
    keys.new("op", "operator")
    with keys.socket_of(Client, "any")(broker.clients) as client:
        client.submit("p-1", ack="queued", delay_ms=60000)
        assert client.one()[0] == "A"
        code, out, err = run_otpq(keys, broker, "purge", "demo", "--yes", "--json")  # a client's key
        assert code != 0 and "operator" in out + err, (out, err)
        code, out, err = run_otpq(keys, broker, "purge", "demo", "--yes", "--json",
                                  OTPQ_CLIENT_CURVE_SECRET_FILE=keys.path("op"))
        assert code == 0, (out, err)
        verb, envelope, _ = client.one()
        assert (verb, envelope["state"]) == ("R", "cancelled")
    code, out, err = run_otpq(keys, broker, "purge", "demo", "--yes", OTPQ_CLIENT_CURVE_SECRET_FILE="")
    assert code == 2 and "curve_secret_file" in err, (out, err)


def test_the_library_comes_in_once_its_key_is_known(keys, broker):
    """Refused first: it tries again by itself."""
    keys.new("late", "client", "--tenants", "all", "--routes", "all")
    record = keys.store.export()
    lines = [line for line in record.splitlines()]
    start = lines.index("  late:")
    end = next((i for i in range(start + 1, len(lines)) if not lines[i].startswith("    ")), len(lines))
    without = "\n".join(lines[:start] + lines[end:]) + "\n"
    assert keys.store.run("apply", "--prune", text=without)[0] == 0
    env = dict(os.environ, OTPQ_DIR=keys.store.dir, OTPQ_CLIENT_CURVE_SECRET_FILE=keys.path("late"),
               OTPQ_CLIENT_BROKER_KEYS=keys.public["b"])
    waiting = subprocess.Popen([os.path.join(BUILD, "bin", "otpq"), "info", "--json", "--timeout-ms", "30000",
                                "--brokers", broker.clients], env=env, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True)
    try:
        wait_for(lambda: verdicts(broker)["unknown"] >= 1, 10, "it is not known")
        assert keys.store.run("apply", text=record)[0] == 0
        out, err = waiting.communicate(timeout=30)
        assert waiting.returncode == 0, err
    finally:
        if waiting.poll() is None:
            waiting.send_signal(signal.SIGKILL)
            waiting.wait()


def test_real_workers_and_their_keys(keys, broker):
    pepper = os.path.join(keys.store.dir, "pepper")
    if not os.path.exists(pepper):
        with open(os.open(pepper, os.O_WRONLY | os.O_CREAT, 0o600), "w", encoding="utf-8") as f:
            f.write("0123456789abcdef0123456789abcdef\n")
    env = dict(os.environ, OTPQ_DIR=keys.store.dir, OTPQ_WORKER_CURVE_SECRET_FILE=keys.path("w"),
               OTPQ_WORKER_BROKER_KEYS=keys.public["b"], OTPQ_WORKER_BROKERS=broker.workers)
    log = open(os.path.join(keys.store.dir, "worker.log"), "wb+")
    worker = subprocess.Popen([os.path.join(BUILD, "bin", "otpq-worker")], env=env, stderr=log)
    try:
        wait_for(lambda: broker.metrics()["otpq_broker_workers"] == 1, 15, "the worker joined")
    finally:
        worker.terminate()
        worker.wait(30)
        log.close()


@pytest.mark.parametrize("transport", ["tcp", "ipc"])
def test_a_whole_node_with_keys(keys, transport):
    """Two brokers, a worker and a gateway, each with its pair: an OTP is sent and verified, the command
    sees the brokers, and no secret is written anywhere."""
    for name, kind in (("node-worker", "worker"), ("node-gateway", "gateway"), ("node-op", "operator")):
        if name not in keys.public:
            keys.new(name, kind)
    broker_keys = '  broker_keys: ["%s"]\n' % keys.public["b"]
    pair = "  curve_secret_file: %s\n"
    node = Node(brokers=2, config={"broker": pair % keys.path("b"), "worker": pair % keys.path("node-worker") + broker_keys,
                                   "gateway": pair % keys.path("node-gateway") + broker_keys})
    with open(node.config, encoding="utf-8") as f:
        text = f.read().replace("client:\n", "client:\n" + pair % keys.path("node-op") + broker_keys)
    if transport == "ipc":
        for side in ("clients", "workers"):
            text = text.replace("tcp://127.0.0.1:%d" % node.ports[side], "ipc://%s/%s" % (node.dir, side))
    with open(node.config, "w", encoding="utf-8") as f:
        f.write(text + "redis:\n  address: unix:%s\n" % keys.store.socket)
    with node:
        status, answer = node.gen("66849000001")
        assert status == 200, answer
        (message,) = node.inbox("66849000001")
        assert node.verify("66849000001", message["otp"])[0] == 200
        _, text, _ = http(node.metrics + "/metrics")
        let_in = re.search(r'otpq_broker_handshakes_total{verdict="allowed"} (\d+)', text)
        assert int(let_in.group(1)) >= 2, "a worker and a gateway"
        told = node.command("info", "--json").stdout.decode()
        assert '"workers"' in told
        written = node.output() + node.logs() + told
    for name in ("b", "node-worker", "node-gateway", "node-op"):
        assert keys.pair(name)[1].decode() not in written


def test_over_ipc_a_revoked_client_is_cut_off_and_another_goes_on(keys):
    keys.new("near", "client", "--tenants", "all", "--routes", "all")
    folder = keys.store.dir
    env = {"OTPQ_BROKER_CLIENTS": "ipc://%s/clients" % folder, "OTPQ_BROKER_WORKERS": "ipc://%s/workers" % folder}
    with keys.broker(env=env) as b:
        with keys.socket_of(Client, "near")(env["OTPQ_BROKER_CLIENTS"]) as c, \
                keys.socket_of(Client, "any")(env["OTPQ_BROKER_CLIENTS"]) as other, \
                keys.socket_of(Worker, "w")(env["OTPQ_BROKER_WORKERS"]) as w:
            c.submit("n1", tenant="t")
            w.done(*w.jobs(1))
            assert c.one(10)[0] == "R"
            other.send("P")
            assert other.receive(10)[0] == "O"
            keys.revoke("near")
            wait_for(lambda: b.metrics()["otpq_broker_connections_cut_total"] == 1, 10, "it is cut off")
            wait_for(lambda: verdicts(b)["revoked"] >= 1, 10, "it came again and was not let in")
            other.submit("n2", tenant="t")
            w.done(*w.jobs(1))
            assert other.one(10)[0] == "R"
            assert verdicts(b)["allowed"] == 3
        with Client(env["OTPQ_BROKER_CLIENTS"]) as plain:
            plain.send("P")
            wait_for(lambda: verdicts(b)["no_key"] >= 1, 10, "a plain one is denied")
            assert plain.quiet()
