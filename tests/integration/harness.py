"""A broker alone, and a worker that does what the test says: for tests of the broker's sockets."""
import os
import shutil
import signal
import subprocess
import tempfile
import time

import msgpack
import zmq

from node import BUILD, SLOW, free_ports, http, wait_for


def pairs_of(frame):
    """(verb, [(envelope, body), …]) of a message of OTPQ/1 or OTPQ-W/1."""
    unpacker = msgpack.Unpacker(strict_map_key=False)
    unpacker.feed(frame[4:])
    flat = list(unpacker)
    return frame[3:4].decode(), list(zip(flat[::2], flat[1::2]))


def message(magic, verb, *pairs):
    return magic + verb.encode() + b"".join(msgpack.packb(e) + msgpack.packb(b) for e, b in pairs)


class Broker:
    """with Broker("  jobs_max: 5\\n") as b: … A broker on free ports, without Redis."""

    def __init__(self, options="", accept=True, ports=None, env=None):
        self.dir = tempfile.mkdtemp(prefix="otpq-broker-")
        self.ports = ports or free_ports(3)
        self.clients, self.workers = ("tcp://127.0.0.1:%d" % p for p in self.ports[:2])
        self.http = "http://127.0.0.1:%d" % self.ports[2]
        self.config = os.path.join(self.dir, "otpq.yaml")
        with open(self.config, "w", encoding="utf-8") as f:
            f.write("dir: %s\nbroker:\n  clients: %s\n  workers: %s\n  metrics: 127.0.0.1:%d\n%s%s" % (
                self.dir, self.clients, self.workers, self.ports[2],
                "  unknown_routes: accept\n" if accept else "", options))
        self.log = open(os.path.join(self.dir, "log"), "wb+")
        self.process = subprocess.Popen([os.path.join(BUILD, "bin", "otpq-broker"), "--config",
                                         self.config], stderr=self.log, stdin=subprocess.DEVNULL,
                                        env=dict(os.environ, **(env or {})))

    def __enter__(self):
        wait_for(lambda: "msg=ready" in self.output() or self.process.poll() is not None, 10, "ready")
        assert self.process.poll() is None, self.output()
        return self

    def __exit__(self, *_):
        try:
            self.stop()
        finally:
            self.log.close()
            shutil.rmtree(self.dir, ignore_errors=True)

    def output(self):
        with open(self.log.name, "rb") as f:
            return f.read().decode("utf-8", "replace")

    def terminate(self):
        self.process.send_signal(signal.SIGTERM)

    def wait(self, seconds=15):
        return self.process.wait(seconds * SLOW)

    def stop(self):
        """Ends it in order, whatever is in flight: that is where leaks would be found."""
        for number in (signal.SIGTERM, signal.SIGINT):
            if self.process.poll() is None:
                self.process.send_signal(number)
        assert self.wait() in (0, 1, 2), self.output()

    def metrics(self):
        """{'name{labels}': value}"""
        status, text, headers = http(self.http + "/metrics")
        assert status == 200 and headers["Content-Type"].startswith("text/plain; version=0.0.4")
        lines = [line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#")]
        return {name: float(value) for name, value in lines}


class Peer:
    """A socket that speaks messages of pairs and remembers what came."""

    magic = b"OQ1"

    def __init__(self, address, kind=zmq.DEALER):
        self.context = zmq.Context()
        self.socket = self.context.socket(kind)
        self.socket.linger = 0
        self.socket.rcvtimeo = 20000 * SLOW
        self.socket.connect(address)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()
        self.context.term()

    def send(self, verb, *pairs):
        self.socket.send(message(self.magic, verb, *pairs))

    def raw(self, *frames):
        self.socket.send_multipart(list(frames))

    def receive(self, seconds=5):
        """(verb, pairs) of the next message; fails when none comes."""
        assert self.socket.poll(int(seconds * SLOW * 1000)), "no message within %.1f s" % seconds
        frames = self.socket.recv_multipart()
        assert len(frames) == 1, frames
        assert frames[0][:3] == self.magic, frames
        return pairs_of(frames[0])

    def quiet(self):
        """True when nothing is there: ask after something that is answered later than it."""
        return not self.socket.poll(0)


class Client(Peer):
    """A client of OTPQ/1; kind zmq.DEALER or zmq.REQ."""

    def submit(self, job_id, body=None, **envelope):
        self.send("S", (dict({"id": job_id, "op": "send", "route": "demo"}, **envelope),
                        {"msisdn": "66812345678"} if body is None else body))

    def ask(self, verb, job_id):
        self.send(verb, ({"id": job_id}, {}))

    def one(self, seconds=5):
        """(verb, envelope, body) of a message with one pair."""
        verb, pairs = self.receive(seconds)
        assert len(pairs) == 1, (verb, pairs)
        return (verb,) + pairs[0]

    def info(self):
        self.send("I")
        verb, _, body = self.one()
        assert verb == "I"
        return body


class Worker(Peer):
    """A worker of OTPQ-W/1: hello and credit at once, the rest by hand."""

    magic = b"OW1"

    def __init__(self, address, credit=100, name="w"):
        super().__init__(address)
        self.send("H", ({"name": name, "pid": os.getpid(), "version": "test", "protocol": 1,
                         "capacity": credit}, {}))
        self.credit(credit)

    def credit(self, total):
        self.send("C", ({"total": total}, {}))

    def jobs(self, count, seconds=5):
        """The next jobs: [(envelope, body)]; answers pings meanwhile."""
        found = []
        deadline = time.monotonic() + seconds * SLOW
        while len(found) < count:
            verb, pairs = self.receive(deadline - time.monotonic())
            if verb == "P":
                self.send("O")
            elif verb == "J":
                found += pairs
        assert len(found) == count, found
        return found

    def done(self, *jobs, end="done", code="otp_sent", body=None):
        self.send("R", *[({"id": j["id"], "state": end, "code": code, "attempts": j["attempt"]},
                          body or {"request_id": "q-" + j["id"]}) for j, _ in jobs])

    def started(self, *jobs):
        self.send("Y", *[({"id": j["id"], "attempt": j["attempt"]}, {}) for j, _ in jobs])

    def back(self, *jobs, delay_ms=0, **more):
        self.send("B", *[(dict({"id": j["id"], "attempt": j["attempt"], "delay_ms": delay_ms}, **more),
                          {}) for j, _ in jobs])
