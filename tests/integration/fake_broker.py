"""A broker of OTPQ/1 made for tests of the gateway: it answers, or keeps silent, as it is told."""
import threading

import msgpack
import zmq


class FakeBroker:
    """with FakeBroker(port) as b: b.answer = lambda envelope, body: (verb, envelope, body) or None"""

    def __init__(self, port):
        self.address = "tcp://127.0.0.1:%d" % port
        self.jobs = []  # (envelope, body), in order
        self.answer = sent
        self.held = []  # (peer, envelope, body) whose answer was None
        self._stop = threading.Event()
        self._thread = None
        self._later = []
        self._lock = threading.Lock()

    def start(self):
        self._stop.clear()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        return self

    def stop(self):
        self._stop.set()
        self._thread.join()

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()

    def release(self):
        """Answers what was held, as sent."""
        with self._lock:
            self._later += [(peer, sent(e, b)) for peer, e, b in self.held]
            self.held = []

    def _run(self):
        context = zmq.Context()
        socket = context.socket(zmq.ROUTER)
        socket.linger = 0
        socket.bind(self.address)
        while not self._stop.is_set():
            with self._lock:
                for peer, (verb, envelope, body) in self._later:
                    self._send(socket, peer, verb, envelope, body)
                self._later = []
            while socket.poll(5):
                self._take(socket, *socket.recv_multipart())
        socket.close()
        context.term()

    @staticmethod
    def _send(socket, peer, verb, envelope, body):
        frame = b"OQ1" + verb.encode() + msgpack.packb(envelope) + msgpack.packb(body)
        socket.send_multipart([peer, frame])

    def _take(self, socket, peer, frame):
        unpacker = msgpack.Unpacker()
        unpacker.feed(frame[4:])
        flat = list(unpacker)
        if frame[3:4] == b"P":
            socket.send_multipart([peer, b"OQ1O"])
        if frame[3:4] != b"S":
            return
        for envelope, body in zip(flat[::2], flat[1::2]):
            self.jobs.append((envelope, body))
            answer = self.answer(envelope, body)
            if answer is None:
                with self._lock:
                    self.held.append((peer, envelope, body))
            else:
                self._send(socket, peer, *answer)


def result(envelope, state, code, **body):
    return "R", {"id": envelope["id"], "state": state, "code": code, "queued_ms": 1, "run_ms": 2,
                 "attempts": 1}, body


def sent(envelope, _):
    code = "otp_verified" if envelope["op"] == "verify" else "otp_sent"
    return result(envelope, "done", code, request_id="r00" + "a" * 20, response=code)
