"""A whole node for tests and benchmarks: `otpq up --demo` in a folder of its own, on free ports."""
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("OTPQ_BUILD", os.path.join(ROOT, "build"))
SLOW = 4 if "asan" in BUILD else 1  # deadlines of waits stretch with the sanitizers


# Below the ports that the system gives to outgoing connections; each build has its own half, so that
# two runs at once do not take one from the other between looking and binding.
PORTS = range(11000, 21000) if "asan" in BUILD else range(21000, 31000)


def is_free(port):
    with socket.socket() as s:
        try:
            s.bind(("127.0.0.1", port))
            return True
        except OSError:
            return False


def free_ports(count, taken=set()):
    """Ports that nobody has, and that this run did not give out before, as long as there are others."""
    found = []
    for port in random.sample(PORTS, len(PORTS)):
        if len(found) == count:
            break
        if port not in taken and is_free(port):
            found.append(port)
    taken.update(found)
    if len(taken) > len(PORTS) // 2:
        taken.clear()
    assert len(found) == count
    return found


def broker_ports(brokers):
    """Of the first broker of a node; those of the others are 10, 20, … higher, and free too."""
    while True:
        found = free_ports(3)
        all_of_them = [p + 10 * i for p in found for i in range(brokers)]
        if len(set(all_of_them)) == 3 * brokers and all(map(is_free, all_of_them)):
            return found


def wait_for(condition, seconds, what):
    """Polls until the condition is true; its value is the answer. Fails with `what` at the deadline."""
    deadline = time.monotonic() + seconds * SLOW
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError("not within %.0f s: %s" % (seconds * SLOW, what))
        time.sleep(0.01)


def http(url, method="GET", body=None, headers=None, timeout=30):
    """(status, text, headers)"""
    request = urllib.request.Request(url, data=body, method=method, headers=headers or {})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=timeout * SLOW) as answer:
            return answer.status, answer.read().decode(), answer.headers
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode(), error.headers


def hash_password(password):
    """What stands in records as password_hash."""
    done = subprocess.run([os.path.join(BUILD, "bin", "otpq"), "hash-password"], input=password.encode(),
                          stdout=subprocess.PIPE, check=True)
    return done.stdout.decode().strip()


class Node:
    """with Node() as n: n.gen("66812340000") …"""

    def __init__(self, config=None, workers=1, gateways=1, demo=True, env=None, brokers=1):
        self.dir = tempfile.mkdtemp(prefix="otpq-")
        self.ports = dict(zip(("gateway", "sandbox"), free_ports(2)))
        self.ports.update(zip(("clients", "workers", "metrics"), broker_ports(brokers)))
        self.config = os.path.join(self.dir, "otpq.yaml")
        self.env = dict(os.environ, **(env or {}))
        self.demo = demo
        p = self.ports
        with open(self.config, "w", encoding="utf-8") as f:
            f.write("""broker:
  clients: tcp://127.0.0.1:%d
  workers: tcp://127.0.0.1:%d
  metrics: 127.0.0.1:%d
%sworker:
  brokers: [tcp://127.0.0.1:%d]
%sgateway:
  listen: 127.0.0.1:%d
  brokers: [tcp://127.0.0.1:%d]
%sclient:
  brokers: [tcp://127.0.0.1:%d]
sandbox:
  listen: 127.0.0.1:%d
node:
  brokers: %d
  workers: %d
  gateways: %d
""" % (p["clients"], p["workers"], p["metrics"], self._part(config, "broker"), p["workers"],
                self._part(config, "worker"), p["gateway"], p["clients"], self._part(config, "gateway"),
                p["clients"], p["sandbox"], brokers, workers, gateways))
        self.log = open(os.path.join(self.dir, "up.log"), "wb+")
        self.process = None

    @staticmethod
    def _part(config, name):
        """config is {"broker": "  jobs_max: 5\\n", …} or ""."""
        return config.get(name, "") if config else ""

    @property
    def gateway(self):
        return "http://127.0.0.1:%d" % self.ports["gateway"]

    @property
    def sandbox(self):
        return "http://127.0.0.1:%d" % self.ports["sandbox"]

    @property
    def clients(self):
        return "tcp://127.0.0.1:%d" % self.ports["clients"]

    @property
    def metrics(self):
        return "http://127.0.0.1:%d" % self.ports["metrics"]

    def output(self):
        self.log.flush()
        with open(self.log.name, "rb") as f:
            return f.read().decode("utf-8", "replace")

    def logs(self):
        """Every child's log, for a failed test and for looking for secrets."""
        text = ""
        folder = os.path.join(self.dir, "log")
        for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else []:
            with open(os.path.join(folder, name), "rb") as f:
                text += "== %s\n%s" % (name, f.read().decode("utf-8", "replace"))
        return text

    def start(self):
        argv = [os.path.join(BUILD, "bin", "otpq"), "up", "--dir", self.dir, "--config", self.config]
        self.process = subprocess.Popen(argv + (["--demo"] if self.demo else []), stdout=self.log,
                                        stderr=subprocess.STDOUT, env=self.env,
                                        stdin=subprocess.DEVNULL)
        try:
            wait_for(lambda: "The node is up" in self.output() or self.process.poll() is not None, 20,
                     "the node is up")
            assert self.process.poll() is None
        except AssertionError:
            text = self.output() + self.logs()
            self.stop()
            raise AssertionError("the node did not start:\n" + text)
        return self

    def stop(self, seconds=30):
        """Ends it in order; the exit code."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(seconds * SLOW)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        return self.process.returncode if self.process is not None else None

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        code = self.stop()
        self.log.close()
        shutil.rmtree(self.dir, ignore_errors=True)
        assert code == 0, "the node ended with %r" % code

    def children(self):
        """{name: pid} of the running processes; names as in the logs, by order of start."""
        found = {}
        with open("/proc/%d/task/%d/children" % (self.process.pid, self.process.pid)) as f:
            for pid in f.read().split():
                try:
                    with open("/proc/%s/cmdline" % pid, "rb") as c:
                        argv = c.read().split(b"\0")
                except (FileNotFoundError, ProcessLookupError):
                    continue
                if not argv[0]:  # dead already, or between fork and exec
                    continue
                if not argv[0]:  # it has ended and waits to be reaped
                    continue
                name = os.path.basename(argv[0].split()[0]).decode()
                if name == "otpq":
                    name = argv[1].decode()
                if name == "redis-server":
                    name = "redis"
                while name in found:
                    name += "+"
                found[name] = int(pid)
        return found

    def command(self, *argv, check=True, stdin=None, timeout=30):
        done = subprocess.run([os.path.join(BUILD, "bin", "otpq"), argv[0], "--config", self.config,
                               *argv[1:]], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              env=dict(self.env, OTPQ_DIR=self.dir), input=stdin,
                              timeout=timeout * SLOW)
        if check:
            assert done.returncode == 0, (argv, done.returncode, done.stdout, done.stderr)
        return done

    def call(self, path, **params):
        """A call of the gateway: (status, JSON)."""
        status, text, _ = http("%s%s?%s" % (self.gateway, path, urllib.parse.urlencode(params)))
        return status, json.loads(text)

    def gen(self, msisdn, partner="demo", **more):
        return self.call("/api/af/otp_gen", key="demo-key-1001", aid=1001, mid=1, partner=partner,
                         msisdn=msisdn, userId="u1", **more)

    def verify(self, msisdn, otp, partner="demo", **more):
        return self.call("/api/af/otp_verify", key="demo-key-1001", aid=1001, mid=1, partner=partner,
                         msisdn=msisdn, otp=otp, **more)

    def inbox(self, msisdn):
        return json.loads(http("%s/inbox?msisdn=%s" % (self.sandbox, msisdn))[1])

    def ledger(self, msisdn=None):
        return json.loads(http(self.sandbox + "/ledger" + ("?msisdn=%s" % msisdn if msisdn else ""))[1])

    def redis(self):
        import redis
        return redis.Redis(unix_socket_path=os.path.join(self.dir, "redis.sock"))

    def conversions(self):
        """All conversions on record, over all tags."""
        r = self.redis()
        count = 0
        for key in r.scan_iter("otpq:ev:*", count=1000):
            for _, fields in r.xrange(key):
                if fields[b"event"] == b"conversion":
                    count += 1
        return count
