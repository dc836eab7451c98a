"""Steady load on a node from several sides at once, until the test has seen enough: each request has
a number of its own, so the sandbox's ledger tells how often its OTP was sent."""
import http.client
import json
import os
import subprocess
import threading
import urllib.parse

from node import BUILD, SLOW

PAUSE_S = 0.01  # between two requests of one caller: the machine is shared


class Load:
    """with Load(node) as load: …; afterwards load.check()"""

    def __init__(self, node, fresh=3, kept=3, pushers=1):
        self.node = node
        self.ended = threading.Event()
        self.lock = threading.Lock()
        self.next = 0
        self.answered = []  # numbers, in order of their answers
        self.failed = []    # what went wrong, with the number
        self.threads = [threading.Thread(target=self.guard, args=(call,), daemon=True)
                        for call in [self.fresh] * fresh + [self.kept] * kept + [self.push] * pushers]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        for thread in self.threads:
            thread.join(60 * SLOW)
            assert not thread.is_alive(), "a caller got no answer"

    def guard(self, call):
        """Runs one kind of caller until the end; whatever it raises is a failed request."""
        state = {}
        while not self.ended.wait(PAUSE_S):
            try:
                call(state)
            except (OSError, http.client.HTTPException, subprocess.SubprocessError) as error:
                state.clear()
                with self.lock:
                    self.failed.append((call.__name__, repr(error)))

    def numbers(self, count):
        """Ordinary ones: the sandbox treats those that end in 9000 and more its own way."""
        with self.lock:
            first, self.next = self.next, self.next + count
        return ["6685%03d%04d" % (i // 9000, i % 9000) for i in range(first, first + count)]

    def note(self, msisdn, good, what):
        with self.lock:
            if good:
                self.answered.append(msisdn)
            else:
                self.failed.append((msisdn, what))

    def count(self):
        with self.lock:
            return len(self.answered)

    def ask(self, connection, msisdn):
        """True: the connection may be used again."""
        query = urllib.parse.urlencode({"key": "demo-key-1001", "aid": 1001, "mid": 1, "partner": "demo",
                                        "msisdn": msisdn, "userId": "u1"})
        connection.request("GET", "/api/af/otp_gen?" + query)
        answer = connection.getresponse()
        text = answer.read().decode()
        good = answer.status == 200 and json.loads(text).get("response") == "otp_sent"
        self.note(msisdn, good, (answer.status, text))
        return answer.getheader("Connection", "").lower() != "close"

    def open(self):
        return http.client.HTTPConnection("127.0.0.1", self.node.ports["gateway"], timeout=30 * SLOW)

    def fresh(self, _):
        """A connection for each request."""
        connection = self.open()
        self.ask(connection, self.numbers(1)[0])
        connection.close()

    def kept(self, state):
        """One connection for all, made anew only when the server said that it closes it."""
        if "connection" not in state:
            state["connection"] = self.open()
        if not self.ask(state["connection"], self.numbers(1)[0]):
            state.pop("connection").close()

    def push(self, state):
        """A client of the brokers: 50 jobs at once by libotpq, in memory and stored in turns."""
        wanted = self.numbers(50)
        state["stored"] = not state.get("stored", True)
        lines = "".join(json.dumps({"id": "l-" + n, "route": "demo", "body": {"msisdn": n, "aid": 1001}})
                        + "\n" for n in wanted)
        done = subprocess.run([os.path.join(BUILD, "bin", "otpq"), "push", "--config", self.node.config,
                               "--ack", "stored" if state["stored"] else "result", "-f", "-"], input=lines, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              env=self.node.env, timeout=60 * SLOW, text=True)
        said = {line.split()[0][2:]: line for line in done.stdout.splitlines()}
        for msisdn in wanted:
            line = said.get(msisdn, "")
            self.note(msisdn, " done otp_sent " in line + " ", line or done.stderr)

    def check(self):
        """Every request got its real answer, and the advertiser saw each once."""
        assert self.failed == [], (len(self.failed), len(self.answered), self.failed[:5])
        for msisdn in self.answered:
            sends = self.node.ledger(msisdn)["sends"]
            assert sends == 1, "%s: %d sends" % (msisdn, sends)
        own = 1  # the node's first flow
        assert self.node.ledger()["sends"] == len(self.answered) + own
