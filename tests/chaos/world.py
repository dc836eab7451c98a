"""Everything that can be killed: Redis, brokers, workers, gateways and clients of the queue, each a
process of its own; and the sandbox, which nobody kills: its ledger is what counts."""
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

import msgpack
import redis

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests", "integration"))

from node import BUILD, SLOW, free_ports, http, wait_for  # noqa: E402

CONFIG = """dir: %(dir)s
redis:
  address: unix:%(dir)s/redis.sock
broker:
  clients: tcp://127.0.0.1:%(clients)d
  workers: tcp://127.0.0.1:%(workers)d
  metrics: 127.0.0.1:%(metrics)d
worker:
  brokers: [%(all_workers)s]
gateway:
  listen: 127.0.0.1:%(gateway)d
  brokers: [%(all_clients)s]
client:
  brokers: [%(all_clients)s]
sandbox:
  listen: 127.0.0.1:%(sandbox)d
outgoing:
  allow: [127.0.0.0/8]
"""


class Process:
    """One that is started again whenever it was killed."""

    def __init__(self, world, kind, argv):
        self.world, self.kind, self.argv = world, kind, argv
        self.process = None
        self.stopped_until = None  # while it stands still
        self.start()

    def start(self):
        self.process = subprocess.Popen(self.argv, stdout=self.world.log, stderr=subprocess.STDOUT,
                                        stdin=subprocess.DEVNULL)

    def kill(self):
        """kill -9, and the next one is started at once."""
        self.go_on()
        self.process.kill()
        self.process.wait()
        self.start()

    def stand_still(self, seconds):
        self.process.send_signal(signal.SIGSTOP)
        self.stopped_until = time.monotonic() + seconds

    def go_on(self):
        if self.stopped_until is not None:
            self.stopped_until = None
            self.process.send_signal(signal.SIGCONT)

    def tend(self):
        """Wakes it when its time is over; True when it ended by itself, which none may."""
        if self.stopped_until is not None and time.monotonic() >= self.stopped_until:
            self.go_on()
        return self.process.poll() is not None

    def end(self):
        self.go_on()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(20 * SLOW)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self.process.wait()


class World:
    def __init__(self, brokers=2, workers=3, gateways=2, fsync="everysec"):
        self.dir = tempfile.mkdtemp(prefix="otpq-chaos-")
        self.log = open(os.path.join(self.dir, "log"), "ab")
        self.fsync = fsync
        self.sandbox_port, = free_ports(1)
        self.broker_ports = [free_ports(3) for _ in range(brokers)]
        self.gateway_ports = free_ports(gateways)
        self.processes = []
        self.socket = os.path.join(self.dir, "redis.sock")
        try:
            self.write_files()
            self.start(workers)
        except BaseException:
            self.end()
            raise

    def clients(self):
        return ["tcp://127.0.0.1:%d" % p[0] for p in self.broker_ports]

    def config_of(self, i):
        return os.path.join(self.dir, "otpq-%d.yaml" % i)

    def write(self, name, text, mode=0o644):
        with open(os.path.join(self.dir, name), "w", encoding="utf-8",
                  opener=lambda path, flags: os.open(path, flags, mode)) as f:
            f.write(text)

    def write_files(self):
        self.write("pepper", "0123456789abcdef0123456789abcdef\n", 0o600)
        for i in range(max(len(self.broker_ports), len(self.gateway_ports))):
            ports = self.broker_ports[i % len(self.broker_ports)]
            self.write("otpq-%d.yaml" % i, CONFIG % {
                "dir": self.dir, "clients": ports[0], "workers": ports[1], "metrics": ports[2],
                "all_clients": ", ".join(self.clients()),
                "all_workers": ", ".join("tcp://127.0.0.1:%d" % p[1] for p in self.broker_ports),
                "gateway": self.gateway_ports[i % len(self.gateway_ports)], "sandbox": self.sandbox_port})
        with open(os.path.join(ROOT, "deploy", "demo.yaml"), encoding="utf-8") as f:
            self.write("records.yaml", f.read().replace("127.0.0.1:8090", "127.0.0.1:%d" % self.sandbox_port))

    def add(self, kind, *argv):
        self.processes.append(Process(self, kind, list(argv)))
        return self.processes[-1]

    def program(self, kind, i):
        return self.add(kind, os.path.join(BUILD, "bin", "otpq-" + kind), "--config", self.config_of(i))

    def start(self, workers):
        self.add("redis", "redis-server", "--port", "0", "--unixsocket", self.socket, "--save", "",
                 "--appendonly", "yes", "--appendfsync", self.fsync, "--maxmemory-policy", "noeviction",
                 "--dir", self.dir)
        wait_for(lambda: os.path.exists(self.socket) and self.redis().ping(), 10, "Redis is there")
        self.add("sandbox", os.path.join(BUILD, "bin", "otpq"), "sandbox", "--config", self.config_of(0),
                 "--delay-ms", "15")
        done = subprocess.run([os.path.join(BUILD, "bin", "otpq"), "apply", "--config", self.config_of(0), "-f",
                               os.path.join(self.dir, "records.yaml")], stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, timeout=20 * SLOW)
        assert done.returncode == 0, done.stdout
        for i in range(len(self.broker_ports)):
            self.program("broker", i)
        for i in range(workers):
            self.program("worker", 0)
        for i in range(len(self.gateway_ports)):
            self.program("gateway", i)
        for ports in self.broker_ports:
            wait_for(lambda: self.ready(ports[2]), 20, "the broker is ready")
        for port in self.gateway_ports:
            wait_for(lambda: self.ready(port, "/healthz"), 20, "the gateway is ready")

    def ready(self, port, path="/readyz"):
        try:
            return http("http://127.0.0.1:%d%s" % (port, path), timeout=2)[0] == 200
        except OSError:
            return False

    def redis(self):
        return redis.Redis(unix_socket_path=self.socket, socket_timeout=10)

    def metrics(self, port):
        """{'name': sum over its labels}"""
        found = {}
        for line in http("http://127.0.0.1:%d/metrics" % port)[1].splitlines():
            if not line.startswith("#"):
                name = line.split("{")[0].split(" ")[0]
                found[name] = found.get(name, 0) + float(line.rsplit(" ", 1)[1])
        return found

    def ask_sandbox(self, what, msisdn):
        return json.loads(http("http://127.0.0.1:%d/%s?msisdn=%s" % (self.sandbox_port, what, msisdn))[1])

    def of_kind(self, kind):
        return [p for p in self.processes if p.kind == kind]

    def end(self):
        for process in reversed(self.processes):
            process.end()
        self.log.close()

    def remove(self):
        shutil.rmtree(self.dir, ignore_errors=True)


def records_of(world, kind):
    """Everything Redis says of jobs (j: claims and results; dl: dead letters), by job id."""
    found = {}
    r = world.redis()
    for key in r.scan_iter("otpq:%s:*" % kind, count=1000):
        job = key.decode().split("}:", 1)[1]
        found[job] = msgpack.unpackb(r.get(key), unicode_errors="replace") if kind == "j" else r.hgetall(key)
    return found


class Pusher(Process):
    """A client of the queue: `otpq push` with jobs that are to be stored, some in a hurry. What it was
    told is kept here, so that its death takes no knowledge along."""

    def __init__(self, world, journal, name, per_s):
        self.journal, self.name, self.per_s = journal, name, per_s
        self.life = 0
        self.ended = False
        super().__init__(world, "client", [os.path.join(BUILD, "bin", "otpq"), "push", "-f", "-", "--json", "--ack",
                                           "stored", "--timeout-ms", "90000", "--brokers",
                                           ",".join(world.clients())])

    def start(self):
        self.life += 1
        self.process = subprocess.Popen(self.argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=self.world.log, text=True, bufsize=1)
        self.threads = [threading.Thread(target=t, args=(self.process, self.life), daemon=True)
                        for t in (self.feed, self.read)]
        for thread in self.threads:
            thread.start()

    def feed(self, process, life):
        """Jobs at a steady rate until this life is over."""
        count = 0
        try:
            while not self.ended and self.life == life:
                for job in self.journal.new_jobs("%s-%d-%d" % (self.name, life, count), max(1, self.per_s // 10)):
                    process.stdin.write(json.dumps(job) + "\n")
                process.stdin.flush()
                count += 1
                time.sleep(0.1)
            process.stdin.close()
        except (OSError, ValueError):  # it was killed
            pass

    def read(self, process, _):
        for line in process.stdout:
            try:
                self.journal.heard(json.loads(line))
            except ValueError:  # half a line, of one that was killed
                pass

    def finish(self):
        """No more jobs; waits for the answers to those that there are."""
        self.ended = True
        try:
            self.process.wait(120 * SLOW)
        except subprocess.TimeoutExpired:
            self.process.kill()
        for thread in self.threads:
            thread.join(10 * SLOW)
