"""Three hosts, each a network namespace, and the wire between them (wire.py):

  h1  Redis, a broker, two workers, a gateway
  h2  a broker, two workers, a gateway
  h3  clients of the brokers, visitors of the gateways, the advertiser (sandbox)

Nothing but the wire connects them, so a test may cut it or make it worse between any two. Redis has a
second address for brokers alone, so that the broker of h2 can lose it while the workers beside it do not.
Everything off a host goes under keys made by `otpq keys`, and Redis has a password. The namespaces have no
way to the machine's own network: the addresses are as good as any.
"""
import contextlib
import ctypes
import fcntl
import json
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import tempfile

import redis

from node import BUILD, ROOT, SLOW, http, wait_for
from wire import remove

TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
CLONE_NEWNET = 0x40000000
LIBC = ctypes.CDLL(None, use_errno=True)
ADDRESSES = {1: (1, 11), 2: (2,), 3: (3,)}  # last octets of each host; 11: Redis for brokers
PASSWORD = "between-hosts-1"
CALL_MS = 750 * (1 + SLOW)
CONNECT_MS = 300 * SLOW

STORE = """dir: %(dir)s/h%(n)d
redis:
  address: tcp://10.77.0.1:6379
  password_file: %(dir)s/redis.password
"""
CONFIG = STORE + """broker:
  clients: tcp://0.0.0.0:5560
  workers: tcp://0.0.0.0:5561
  advertise_clients: tcp://10.77.0.%(n)d:5560
  advertise_workers: tcp://10.77.0.%(n)d:5561
  metrics: 127.0.0.1:9560
  curve_secret_file: %(dir)s/h%(n)d/broker.key
worker:
  brokers: [tcp://10.77.0.%(n)d:5561]
  curve_secret_file: %(dir)s/h%(n)d/worker.key
  broker_keys: ["%(key)s"]
gateway:
  listen: 10.77.0.%(n)d:8080
  brokers: [tcp://10.77.0.%(n)d:5560]
  curve_secret_file: %(dir)s/h%(n)d/gateway.key
  broker_keys: ["%(key)s"]
outgoing:
  allow: [10.77.0.3]
secrets:
  pepper_file: %(dir)s/pepper
"""
CLIENT = """dir: %(dir)s/h3
client:
  brokers: [tcp://10.77.0.%(first)d:5560, tcp://10.77.0.%(second)d:5560]
  curve_secret_file: %(dir)s/h3/client.key
  broker_keys: ["%(first_key)s", "%(second_key)s"]
sandbox:
  listen: 10.77.0.3:8090
"""
REDIS = """port 6379
bind 10.77.0.1 10.77.0.11
unixsocket %(dir)s/redis.sock
requirepass %(password)s
save ""
appendonly yes
appendfsync everysec
maxmemory-policy noeviction
dir %(dir)s/h1
"""


def ip(*argv):
    done = subprocess.run(["ip", *argv], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    assert done.returncode == 0, (argv, done.stdout)


class Host:
    def __init__(self, number):
        self.number = number
        self.address = "10.77.0.%d" % number
        self.namespace = "otpq-%d-h%d" % (os.getpid(), number)

    def connect(self):
        """Makes the namespace; the descriptor of its end of the wire."""
        device = "oq%d-h%d" % (os.getpid(), self.number)
        wire = os.open("/dev/net/tun", os.O_RDWR)
        try:
            fcntl.ioctl(wire, TUNSETIFF, struct.pack("16sH22x", device.encode(), IFF_TUN | IFF_NO_PI))
            ip("netns", "add", self.namespace)
            ip("link", "set", device, "netns", self.namespace)
            for octet in ADDRESSES[self.number]:
                ip("-n", self.namespace, "address", "add", "10.77.0.%d/24" % octet, "dev", device)
            for name in ("lo", device):
                ip("-n", self.namespace, "link", "set", name, "up")
        except BaseException:
            os.close(wire)
            raise
        return wire

    @contextlib.contextmanager
    def inside(self):
        """This thread, what it connects and what it starts is on the host."""
        before = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        try:
            there = os.open("/run/netns/" + self.namespace, os.O_RDONLY)
            try:
                assert LIBC.setns(there, CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())
            finally:
                os.close(there)
            yield
        finally:
            assert LIBC.setns(before, CLONE_NEWNET) == 0
            os.close(before)


def sweep():
    """Namespaces of runs that were shot and whose wire was, too."""
    folder = "/run/netns"
    for name in os.listdir(folder) if os.path.isdir(folder) else []:
        made_by = re.fullmatch(r"otpq-(\d+)-h\d", name)
        if made_by and not os.path.exists("/proc/" + made_by.group(1)):
            remove([name])


class Network:
    """The hosts and what lies between them."""

    def __init__(self):
        sweep()
        self.hosts = {n: Host(n) for n in ADDRESSES}
        ends = {}
        try:
            for host in self.hosts.values():
                ends[host] = host.connect()
            self.wire = subprocess.Popen(
                [sys.executable, os.path.join(os.path.dirname(__file__), "wire.py"),
                 *("%s:%d:%d" % (h.namespace, h.number, end) for h, end in ends.items())],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, pass_fds=list(ends.values()), text=True)
        except BaseException:
            remove([h.namespace for h in self.hosts.values()])
            raise
        finally:
            for end in ends.values():
                os.close(end)

    def order(self, **order):
        self.wire.stdin.write(json.dumps(order) + "\n")
        self.wire.stdin.flush()
        return {(a, b): count for a, b, *count in json.loads(self.wire.stdout.readline())}

    def counts(self):
        """{(from, to): [packets carried at once, lost, late]} since the lines were last changed."""
        return self.order(counts=1)

    @contextlib.contextmanager
    def lines(self, lines):
        """Makes these lines bad: {(from, to): {"loss": 0.2}}, addresses by last octets (Line of wire.py)."""
        self.order(lines=[[a, b, how] for (a, b), how in lines.items()])
        try:
            yield
        finally:
            self.order(lines=[])

    def close(self):
        self.wire.stdin.close()
        self.wire.wait(60)
        self.wire.stdout.close()


def between(a, b, how, there=True, back=True):
    """Lines from every address of host a to every one of host b, and back."""
    lines = {}
    for x in ADDRESSES[a]:
        for y in ADDRESSES[b]:
            lines.update({(x, y): how} if there else {})
            lines.update({(y, x): how} if back else {})
    return lines


def possible():
    """Network namespaces and TUN devices may be made here."""
    return os.geteuid() == 0 and os.path.exists("/dev/net/tun") and shutil.which("ip") is not None


class Hosts:
    """with Hosts() as hosts: …"""

    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix="otpq-hosts-")
        self.broker_ports = [(5560, 5561, n) for n in (1, 2)]  # the third: what metrics() takes
        self.processes = {}
        self.log = open(os.path.join(self.dir, "log"), "ab")
        try:
            self.network = Network()
        except BaseException:
            self.log.close()
            shutil.rmtree(self.dir, ignore_errors=True)
            raise
        self.host = self.network.hosts

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            print(self.output()[-20000:])
            self.close()
            raise
        return self

    def __exit__(self, failure, *_):
        try:
            codes = {} if failure else self.end()
        finally:
            self.close()
        assert set(codes.values()) <= {0}, codes

    def end(self):
        """SIGTERM to all, gateways first: their exit codes, where leaks would be found."""
        codes = {}
        for kind in ("gateway", "worker", "broker", "sandbox", "redis"):
            names = [name for name in self.processes if name.startswith(kind)]
            for name in names:
                self.processes[name].send_signal(signal.SIGTERM)
            for name in names:
                codes[name] = self.processes.pop(name).wait(40 * SLOW)
        return codes

    def close(self):
        self.network.close()  # and with it everything that still runs
        for process in self.processes.values():
            process.kill()
            process.wait()
        self.log.close()
        shutil.rmtree(self.dir, ignore_errors=True)

    def output(self):
        text = ""
        for name in sorted(os.listdir(self.dir)):
            if name.endswith(".log"):
                with open(os.path.join(self.dir, name), "rb") as f:
                    text += "== %s\n%s" % (name, f.read().decode("utf-8", "replace")[-8000:])
        return text

    def write(self, name, text, mode=0o644):
        with open(os.path.join(self.dir, name), "w", encoding="utf-8",
                  opener=lambda path, flags: os.open(path, flags, mode)) as f:
            f.write(text)

    def config(self, n):
        return os.path.join(self.dir, "h%d.yaml" % n)

    def run(self, n, name, *argv, **env):
        with open(os.path.join(self.dir, name + ".log"), "ab") as log, self.host[n].inside():
            self.processes[name] = subprocess.Popen(argv, stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                                                    env=dict(os.environ, **env))

    def program(self, n, kind, suffix="", **env):
        self.run(n, "%s-h%d%s" % (kind, n, suffix), os.path.join(BUILD, "bin", "otpq-" + kind), "--config",
                 self.config(n), **env)

    def otpq(self, n, *argv):
        """A command on host n that must go well; what it prints."""
        with self.host[n].inside():
            done = subprocess.run([os.path.join(BUILD, "bin", "otpq"), argv[0], "--config", self.config(n),
                                   *argv[1:]], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                  stdin=subprocess.DEVNULL, timeout=30 * SLOW)
        assert done.returncode == 0, (argv, done.stdout, done.stderr)
        return done.stdout.decode()

    def start(self):
        self.write("redis.password", PASSWORD + "\n", 0o600)
        self.write("pepper", "0123456789abcdef0123456789abcdef\n", 0o600)
        self.write("redis.conf", REDIS % {"dir": self.dir, "password": PASSWORD}, 0o600)
        for n in self.host:
            os.mkdir(os.path.join(self.dir, "h%d" % n))
        self.run(1, "redis", "redis-server", os.path.join(self.dir, "redis.conf"))
        wait_for(self.redis_answers, 10, "Redis is there")
        self.make_keys()
        self.run(3, "sandbox", os.path.join(BUILD, "bin", "otpq"), "sandbox", "--config", self.config(3),
                 "--delay-ms", "15")
        self.apply()
        for n in (1, 2):
            self.program(n, "broker", OTPQ_REDIS_ADDRESS="tcp://10.77.0.11:6379")
            for suffix in "ab":
                self.program(n, "worker", suffix)
            self.program(n, "gateway")
        self.wait_until_whole()

    def make_keys(self):
        """By the command, on the host of Redis; the files go where their programs are."""
        self.write("h1.yaml", STORE % {"dir": self.dir, "n": 1})
        public = {}
        for n in (1, 2):
            for kind in ("broker", "worker", "gateway"):
                public[kind, n] = self.otpq(1, "keys", "new", "%s-h%d" % (kind, n), "--kind", kind, "--out",
                                            "%s/h%d/%s.key" % (self.dir, n, kind)).strip()
        self.otpq(1, "keys", "new", "shop", "--kind", "client", "--tenants", "all", "--routes", "all", "--out",
                  self.dir + "/h3/client.key")
        for n in (1, 2):
            self.write("h%d.yaml" % n, CONFIG % {"dir": self.dir, "n": n, "key": public["broker", n]})
        for path, first, second in (("h3.yaml", 1, 2), ("h3-other.yaml", 2, 1)):
            self.write(path, CLIENT % {"dir": self.dir, "first": first, "second": second,
                                       "first_key": public["broker", first], "second_key": public["broker", second]})

    def apply(self):
        with open(os.path.join(ROOT, "deploy", "demo.yaml"), encoding="utf-8") as f:
            records = f.read().replace("127.0.0.1:8090", "10.77.0.3:8090")
        records, calls = re.subn(r"( +)timeout_ms: \d+", r"\1timeout_ms: %d\n\1connect_timeout_ms: %d" % (
            CALL_MS, CONNECT_MS), records)
        assert calls >= 2
        # workers of a host that is cut off from the advertiser fail half of all calls: for the broker that is the
        # advertiser's failure, and what is to be seen here is that the other half goes on
        assert records.count("  demo:\n    send:") == 1
        records = records.replace("  demo:\n    send:", "  demo:\n    breaker_percent: 0\n    send:")
        self.write("records.yaml", records)
        self.otpq(1, "apply", "-f", self.dir + "/records.yaml")

    def redis_answers(self):
        try:
            return self.redis().ping()
        except redis.ConnectionError:
            return False

    def redis(self):
        return redis.Redis(unix_socket_path=self.dir + "/redis.sock", password=PASSWORD, socket_timeout=10)

    def metrics(self, n):
        """{'name': sum over its labels} of the broker of host n, asked on the host."""
        found = {}
        with self.host[n].inside():
            text = http("http://127.0.0.1:9560/metrics")[1]
        for line in text.splitlines():
            if not line.startswith("#"):
                name = line.split("{")[0].split(" ")[0]
                found[name] = found.get(name, 0) + float(line.rsplit(" ", 1)[1])
        return found

    def ready(self, n, url):
        try:
            with self.host[n].inside():
                return http(url, timeout=2)[0] == 200
        except OSError:
            return False

    def ask_sandbox(self, what, msisdn):
        with self.host[3].inside():
            return json.loads(http("http://10.77.0.3:8090/%s?msisdn=%s" % (what, msisdn))[1])

    def whole(self):
        """Both brokers know each other, and each has all workers."""
        for name, process in self.processes.items():
            assert process.poll() is None, "%s ended by itself: %s" % (name, process.returncode)
        if not all(self.ready(n, "http://127.0.0.1:9560/readyz") and
                   self.ready(n, "http://10.77.0.%d:8080/healthz" % n) for n in (1, 2)):
            return False
        return all((m["otpq_brokers"], m["otpq_broker_workers"], m["otpq_store_up"]) == (2, 4, 1)
                   for m in (self.metrics(1), self.metrics(2)))

    def wait_until_whole(self):
        wait_for(self.whole, 30, "both brokers know each other and have all workers")

    def idle(self):
        """Nothing is live any more, at no broker and on no shelf."""
        r = self.redis()
        return all(r.hlen(key) == 0 for key in r.scan_iter("otpq:sj:*", count=1000)) and \
            all(self.metrics(n)["otpq_broker_jobs"] == 0 for n in (1, 2))
