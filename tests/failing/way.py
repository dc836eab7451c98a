"""The way of an OTP through a node whose programs are started one by one: one of them is under
injection (inject.c), the others are whole and stay. A run starts that one, sends and verifies, looks
at what it holds, drains it, and judges."""
import collections
import ctypes
import json
import mmap
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.parse

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "integration"))

import msgpack  # noqa: E402
import zmq  # noqa: E402

from node import BUILD, ROOT, SLOW, free_ports, http, wait_for  # noqa: E402

EXIT_SYSTEM = 71  # common/base/check.h
SANITIZED = "asan" in BUILD
ANSWER_S = 15 * SLOW
END_S = 12 * SLOW
PROGRAMS = ("broker", "worker", "gateway")
KINDS = re.findall(r"X\((\w+)\)", open(os.path.join(HERE, "inject.c"), encoding="utf-8").read())
KINDS.remove("name") if "name" in KINDS else None

# What a send and a verify may say when something on the way has failed; the ledger is asked beside.
NOT_CALLED = {"advertiser_unreachable", "store_unavailable", "queue_full", "rate_limited"}
NOT_KNOWN = {"outcome_unknown", "deadline_passed", "internal_error", "advertiser_error"}

ASAN = {
    "ASAN_OPTIONS": "detect_leaks=1:exitcode=99:allocator_may_return_null=1:verify_asan_link_order=0",
    "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1",
    "LSAN_OPTIONS": "suppressions=%s/tests/lsan.supp:print_suppressions=0" % ROOT,
}


LIBC = ctypes.CDLL(None)


def same_addresses():
    """In the child: no address randomisation, so that a place has the same hash in each run."""
    LIBC.personality(0x0040000)


class Wrong(Exception):
    """A finding."""


class Harm(Wrong):
    """Sent twice, or called what it is not: wrong whoever died."""


class Board:
    """struct board of inject.c."""

    FRAMES, FRAME_BYTES, PLACES_MAX = 14, 120, 1 << 17
    SIZE = 64 * 8 + 16 + FRAMES * FRAME_BYTES + PLACES_MAX * 8

    def __init__(self, path):
        self.path = path
        with open(path, "wb") as f:
            f.truncate(self.SIZE)
        self.file = open(path, "r+b")
        self.map = mmap.mmap(self.file.fileno(), self.SIZE)

    def clear(self):
        listed = min(self.listed(), self.PLACES_MAX)
        head = self.SIZE - self.PLACES_MAX * 8 + listed * 8
        self.map[:head] = bytes(head)

    def number(self, at):
        return int.from_bytes(self.map[at:at + 8], "little")

    def counts(self):
        return {kind: self.number(8 * i) for i, kind in enumerate(KINDS)}

    def hit(self):
        return self.number(64 * 8) != 0

    def listed(self):
        return self.number(64 * 8 + 8)

    def stack(self):
        base = 64 * 8 + 16
        frames = [self.map[base + i * self.FRAME_BYTES:base + (i + 1) * self.FRAME_BYTES]
                  for i in range(self.FRAMES)]
        return [f.split(b"\0")[0].decode() for f in frames if f[0]]

    def places(self):
        base = self.SIZE - self.PLACES_MAX * 8
        return [self.number(base + 8 * i) for i in range(min(self.listed(), self.PLACES_MAX))]

    def close(self):
        self.map.close()
        self.file.close()


class Caller:
    """A client that submits again until it has the answer, as clients are to."""

    def __init__(self, address):
        self.context = zmq.Context()
        self.address = address
        self.connect()

    def connect(self):
        self.socket = self.context.socket(zmq.DEALER)
        self.socket.linger = 0
        self.socket.setsockopt(zmq.RECONNECT_IVL, 20)
        self.socket.setsockopt(zmq.RECONNECT_IVL_MAX, 100)
        self.socket.connect(self.address)

    def close(self):
        self.socket.close()
        self.context.term()

    def submit(self, jobs):
        self.socket.send(b"OQ1S" + b"".join(msgpack.packb(e) + msgpack.packb(b) for e, b in jobs),
                         zmq.NOBLOCK)

    def call(self, jobs, keep_up, seconds=ANSWER_S):
        """{id: (envelope, body)} of all jobs; keep_up() starts a dead program again."""
        missing = {e["id"]: (e, b) for e, b in jobs}
        found = {}
        deadline = time.monotonic() + seconds
        again, leave = 0, time.monotonic() + 4 * SLOW
        while missing:
            now = time.monotonic()
            if now > deadline:
                raise Wrong("no answer within %d s to %s" % (seconds, sorted(missing)))
            if now >= leave:  # libotpq leaves a connection that is silent, and so do we
                self.socket.close()
                self.connect()
                again, leave = now, now + 4 * SLOW
            if keep_up() or now >= again:
                self.submit(missing.values())
                again = now + 1.0 * SLOW
            if not self.socket.poll(20):
                continue
            frame = self.socket.recv()
            unpacker = msgpack.Unpacker(strict_map_key=False)
            unpacker.feed(frame[4:])
            flat = list(unpacker)
            for envelope, body in zip(flat[::2], flat[1::2]):
                if frame[3:4] == b"R" and envelope["id"] in missing:
                    found[envelope["id"]] = (envelope, body)
                    del missing[envelope["id"]]
                elif frame[3:4] == b"N":
                    again = min(again, now + 0.1)
        return found


class Way:
    """with Way() as way: way.run("broker", "alloc:n:17:12") …"""

    count = 0

    def __init__(self, program):
        self.program = program
        self.dir = tempfile.mkdtemp(prefix="otpq-failing-")
        self.ports = dict(zip(("clients", "workers", "metrics", "gateway", "sandbox"), free_ports(5)))
        self.board = Board(os.path.join(self.dir, "board"))
        self.running = {}
        self.baseline = None
        self.caller = None
        self.serial = 0

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_):
        self.stop()

    # ---- the node ----

    def start(self):
        p = self.ports
        sandbox = "127.0.0.1:%d" % p["sandbox"]
        with open(self.dir + "/pepper", "w", encoding="utf-8",
                  opener=lambda path, flags: os.open(path, flags, 0o600)) as f:
            f.write("0123456789abcdef0123456789abcdef\n")
        with open(self.dir + "/otpq.yaml", "w", encoding="utf-8") as f:
            f.write("""dir: %s
broker:
  clients: tcp://127.0.0.1:%d
  workers: tcp://127.0.0.1:%d
  metrics: 127.0.0.1:%d
worker:
  brokers: [tcp://127.0.0.1:%d]
gateway:
  listen: 127.0.0.1:%d
  brokers: [tcp://127.0.0.1:%d]
client:
  brokers: [tcp://127.0.0.1:%d]
outgoing:
  allow: ["%s"]
sandbox:
  listen: %s
""" % (self.dir, p["clients"], p["workers"], p["metrics"], p["workers"], p["gateway"], p["clients"],
                p["clients"], sandbox, sandbox))
        with open(os.path.join(ROOT, "deploy", "demo.yaml"), encoding="utf-8") as f:
            records = f.read().replace("127.0.0.1:8090", sandbox)
        with open(self.dir + "/records.yaml", "w", encoding="utf-8") as f:
            f.write(records)
        self.spawn("redis", ["redis-server", "--port", "0", "--unixsocket", self.dir + "/redis.sock", "--save", "",
                             "--appendonly", "yes", "--appendfsync", "no", "--maxmemory-policy", "noeviction",
                             "--dir", self.dir])
        wait_for(lambda: os.path.exists(self.dir + "/redis.sock"), 10, "redis is there")
        subprocess.run([BUILD + "/bin/otpq", "apply", "--config", self.dir + "/otpq.yaml", "-f",
                        self.dir + "/records.yaml"], check=True, stdout=subprocess.DEVNULL, timeout=20 * SLOW)
        self.spawn("sandbox", [BUILD + "/bin/otpq", "sandbox", "--config", self.dir + "/otpq.yaml"])
        wait_for(self.sandbox_answers, 10, "the sandbox answers")
        self.caller = Caller("tcp://127.0.0.1:%d" % p["clients"])
        for name in PROGRAMS[:2] if self.program != "gateway" else PROGRAMS:
            if name != self.program:
                self.spawn(name, self.argv(name))

    def sandbox_answers(self):
        try:
            return http("http://127.0.0.1:%d/ledger" % self.ports["sandbox"])[0] == 200
        except OSError:
            return False

    def argv(self, name):
        return [BUILD + "/bin/otpq-" + name, "--config", self.dir + "/otpq.yaml"]

    def log_path(self, name):
        return "%s/%s.log" % (self.dir, name)

    def spawn(self, name, argv, env=None, before=None):
        with open(self.log_path(name), "wb") as log:
            self.running[name] = subprocess.Popen(argv, stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                                                  env=dict(os.environ, **(env or {})), preexec_fn=before)
        return self.running[name]

    def log(self, name):
        with open(self.log_path(name), "rb") as f:
            return f.read().decode("utf-8", "replace")

    def stop(self):
        if self.caller is not None:
            self.caller.close()
        for process in self.running.values():
            if process.poll() is None:
                process.kill()
            process.wait()
        self.board.close()
        shutil.rmtree(self.dir, ignore_errors=True)

    # ---- one run ----

    def begin(self, spec):
        """The program with this call failing; spec None: whole."""
        env = dict(ASAN) if SANITIZED else {}
        if spec is not None:
            env.update(LD_PRELOAD=BUILD + "/failing/inject.so", OTPQ_INJECT=spec,
                       OTPQ_INJECT_FILE=self.board.path)
        return self.spawn(self.program, self.argv(self.program), env, same_addresses)

    def keep_up(self):
        """True when the program had ended and was started again, whole."""
        process = self.running[self.program]
        if process.poll() is None:
            return False
        if self.ended is not None:
            raise Wrong("ended again, without injection: %d\n%s" % (process.returncode, self.log(self.program)))
        self.ended = (process.returncode, self.log(self.program))
        self.begin(None)
        return True

    def number(self):
        self.serial += 1
        Way.count += 1
        return "6681%03d%04d" % (self.serial // 9000, self.serial % 9000)

    def ledger(self, msisdn):
        return json.loads(http("http://127.0.0.1:%d/ledger?msisdn=%s" % (self.ports["sandbox"], msisdn))[1])

    def otp(self, msisdn):
        return json.loads(http("http://127.0.0.1:%d/inbox?msisdn=%s" % (self.ports["sandbox"], msisdn))[1])[0]["otp"]

    def job(self, op, msisdn, **body):
        self.serial_job = getattr(self, "serial_job", 0) + 1
        return ({"id": "%s-%d" % (op, self.serial_job), "op": op, "route": "demo", "ttl_ms": 10000 * SLOW},
                dict({"msisdn": msisdn, "aid": 1001}, **body))

    def ask(self, jobs):
        """[(code, request_id)] of jobs, through the broker, or through the gateway."""
        if self.program == "gateway":
            return [self.ask_gateway(e["op"], b) for e, b in jobs]
        found = self.caller.call(jobs, self.keep_up)
        return [(found[e["id"]][0]["code"], found[e["id"]][1].get("request_id")) for e, _ in jobs]

    def ask_gateway(self, op, body):
        """HTTP has no resubmission: a connection that breaks leaves the outcome unknown. One that
        was never made is tried again."""
        params = dict({"key": "demo-key-1001", "mid": 1, "partner": "demo"}, **body)
        url = "http://127.0.0.1:%d/api/af/otp_%s?%s" % (
            self.ports["gateway"], {"send": "gen"}.get(op, op), urllib.parse.urlencode(params))
        deadline = time.monotonic() + ANSWER_S
        while True:
            self.keep_up()
            try:
                status, text, _ = http(url, timeout=ANSWER_S / SLOW)
            except (OSError, ValueError) as error:
                refused = isinstance(getattr(error, "reason", error), ConnectionRefusedError)
                if isinstance(getattr(error, "reason", error), TimeoutError) or time.monotonic() > deadline:
                    raise Wrong("no answer from the gateway: %s" % error)
                if not refused:
                    return "outcome_unknown", None
                time.sleep(0.01)
                continue
            except Exception as error:  # http.client's: an answer cut short
                return "outcome_unknown", None
            try:
                answer = json.loads(text)
            except ValueError:
                raise Wrong("the gateway's answer is not JSON: %d %r" % (status, text[:200]))
            return answer.get("response") or answer.get("error"), answer.get("data")

    def flow(self, strict):
        """Sends two, one of them stored, and verifies the first wrongly and rightly."""
        first, second = self.number(), self.number()
        memory, stored = self.job("send", first), self.job("send", second)
        stored[0]["ack"] = "stored"
        answers = self.ask([memory, stored])
        codes = []
        for (code, _), msisdn in zip(answers, (first, second)):
            self.judge_send(code, msisdn, strict)
            codes.append(code)
        if answers[0][0] == "otp_sent":
            codes += self.verify(first, answers[0][1], strict)
        return codes

    def second_flow(self, strict):
        """All must be right now, unless the program is about to end: what cut the answer off."""
        try:
            return self.flow(strict)
        except Harm:
            raise
        except Wrong:
            try:
                self.running[self.program].wait(0.5)
            except subprocess.TimeoutExpired:
                if self.ended is None:
                    raise
            self.keep_up()
            return []

    def judge_send(self, code, msisdn, strict):
        sends = self.ledger(msisdn)["sends"]
        if sends > 1:
            raise Harm("sent %d times" % sends)
        if code == "otp_sent" and sends != 1 or code in NOT_CALLED and sends != 0:
            raise Harm("the send says %s, and the advertiser saw %d" % (code, sends))
        if code != "otp_sent" and (strict or code not in NOT_CALLED | NOT_KNOWN):
            raise Wrong("the send says %s" % code)

    def verify(self, msisdn, request_id, strict):
        right = self.otp(msisdn)
        wrong = "%06d" % ((int(right) + 1) % 1000000)
        codes = []
        for otp, wanted in ((wrong, "wrong_otp"), (right, "otp_verified")):
            code = self.ask([self.job("verify", msisdn, otp=otp, request_id=request_id)])[0][0]
            if code == "otp_verified" and wanted != code:
                raise Harm("a wrong code is verified")
            if code != wanted and (strict or code not in NOT_CALLED | NOT_KNOWN):
                raise Wrong("a verify says %s, not %s" % (code, wanted))
            codes.append(code)
        return codes

    def descriptors(self):
        """How many of each kind the program holds."""
        kinds = collections.Counter()
        folder = "/proc/%d/fd" % self.running[self.program].pid
        for fd in os.listdir(folder):
            try:
                what = re.sub(r"[:\[].*", "", os.readlink(folder + "/" + fd))
                kinds[what] += what != "/dev/urandom"  # libsodium keeps it where getrandom failed
            except OSError:
                pass
        return kinds

    def too_many(self):
        found = self.descriptors()
        return {k: (n, self.baseline[k]) for k, n in found.items() if n > self.baseline[k]}

    def judge_descriptors(self):
        """What a library has left open, or "". Raises Wrong when it is ours."""
        if self.baseline is None:
            return ""
        deadline = time.monotonic() + 3 * SLOW
        while self.too_many():
            found, stack = self.too_many(), self.board.stack()
            if time.monotonic() > deadline:
                if stack and stack[0].startswith("libzmq"):
                    return "library leak: libzmq left %s open" % ", ".join(found)
                raise Wrong("descriptors are left open: %s" % found)
            time.sleep(0.02)
        return ""

    def drain(self):
        process = self.running[self.program]
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise Wrong("did not end within %d s of SIGTERM" % END_S)
        return process.returncode

    def run(self, spec):
        """One run: (how it ended, what it said). Raises Wrong with what is wrong."""
        self.ended, leak = None, ""
        self.board.clear()
        try:
            self.begin(spec)
            codes = self.flow(strict=spec is None)
            if self.ended is None and not self.keep_up():
                codes += self.second_flow(spec is None or self.board.hit())
            if self.ended is None and spec is not None and self.running[self.program].poll() is None:
                leak = self.judge_descriptors()
            if self.ended is None:
                code = self.drain()
                ended = self.judge_end(code, self.log(self.program), True, self.board.stack())
                return leak or ended, codes
            self.flow(strict=True)
            if self.drain() != 0:
                raise Wrong("the one started again ended with %d" % self.running[self.program].returncode)
            return self.judge_end(*self.ended, False, self.board.stack()), codes
        except (Wrong, AssertionError, OSError, ValueError) as error:
            before = "" if self.ended is None else "\n-- it had ended with %d:\n%s" % (
                self.ended[0], self.ended[1][-1500:])
            process = self.running[self.program]
            if process.poll() is None:
                process.kill()
            process.wait()
            raise Wrong("%s%s\n-- its log:\n%s" % (error, before, self.log(self.program)[-2500:]))

    @staticmethod
    def judge_end(code, log, drained, stack):
        if "Sanitizer" in log or code == 99 or "runtime error:" in log:
            raise Wrong("the sanitizer speaks:\n" + log[-4000:])
        if "broken invariant" in log:
            raise Wrong("a must() of our own: " + log[-600:])
        if code == 0 and drained:
            return "went on"
        if code == EXIT_SYSTEM and "level=fatal" in log:
            return "ended in order"
        if code in (1, 2) and ("level=error" in log or "otpq" in log):
            return "ended in order"
        by = stack[0].split()[0] if stack else ""
        library = by and not by.startswith(("otpq", "inject"))
        origin = next((f.split()[0] for f in stack if not f.startswith("libc.so")), "")
        if code == -signal.SIGSEGV and (by.startswith("libhiredis") or
                                        by.startswith("libc.so") and origin.startswith("lib")):
            return "library crash: %s does not look at what malloc gave it" % by
        if code == -signal.SIGABRT:
            for pattern in (r"^.* \(\./?src/\S+:\d+\)$", r"^.*(?:src/\S+\.[ch]pp:\d+).*$",
                            r"terminate called.*(?:\n.*what.*)?"):
                found = re.search(pattern, log, re.M)
                if found:
                    return "library abort: " + found.group(0).strip()
            if library:
                return "library abort: %s, without a word" % by
        raise Wrong("ended with %d:\n%s" % (code, log[-2500:]))

    def measure(self):
        """Counts of calls and descriptors of a whole run; the kinds there are."""
        self.run(None)
        highest = collections.Counter()
        for _ in range(3):
            self.ended = None
            self.board.clear()
            self.begin("alloc:n:0:0")
            self.flow(strict=True)
            self.flow(strict=True)
            for kind, n in self.descriptors().items():
                highest[kind] = max(highest[kind], n)
            self.drain()
        self.baseline = highest
        return self.board.counts()
