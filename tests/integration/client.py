"""A DEALER client of OTPQ/1, as small as a test needs."""
import time

import msgpack
import zmq

from node import SLOW


class Client:
    def __init__(self, *addresses):
        self.context = zmq.Context()
        self.socket = self.context.socket(zmq.DEALER)
        self.socket.linger = 0
        self.socket.sndhwm = 0
        self.socket.rcvhwm = 0
        for address in addresses:
            self.socket.connect(address)
        self.results = {}   # id → (envelope, body)
        self.answers = []   # everything: (verb, envelope, body)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()
        self.context.term()

    def send(self, verb, *pairs):
        self.socket.send(b"OQ1" + verb.encode() + b"".join(msgpack.packb(e) + msgpack.packb(b) for e, b in pairs))

    def submit(self, *jobs):
        """jobs: (envelope, body); in messages of 100."""
        for i in range(0, len(jobs), 100):
            self.send("S", *jobs[i:i + 100])

    def receive(self, seconds):
        """One message's answers, or [] after the time."""
        if not self.socket.poll(int(seconds * 1000)):
            return []
        frame = self.socket.recv()
        unpacker = msgpack.Unpacker()
        unpacker.feed(frame[4:])
        flat = list(unpacker)
        verb = frame[3:4].decode()
        found = [(verb, flat[i], flat[i + 1]) for i in range(0, len(flat) - 1, 2)]
        self.answers += found
        for verb, envelope, body in found:
            if verb == "R":
                assert envelope["id"] not in self.results, "two results for %s" % envelope["id"]
                self.results[envelope["id"]] = (envelope, body)
        return found

    def wait(self, ids, seconds):
        """Until every id has its result."""
        missing = set(ids) - set(self.results)
        deadline = time.monotonic() + seconds * SLOW
        while missing:
            left = deadline - time.monotonic()
            assert left > 0, "%d of %d jobs without a result, e.g. %s; last answers %s" % (
                len(missing), len(ids), sorted(missing)[:3], self.answers[-3:])
            self.receive(min(left, 0.2))
            missing -= set(self.results)
        return [self.results[i] for i in ids]

    def call(self, envelope, body, seconds=30):
        self.submit((envelope, body))
        return self.wait([envelope["id"]], seconds)[0]


def send_job(job_id, msisdn, route="demo", **envelope):
    return dict({"id": job_id, "op": "send", "route": route}, **envelope), {"msisdn": msisdn, "aid": 1001}
