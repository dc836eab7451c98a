"""A worker among real parts, each under the test's own hand: redis-server, otpq-broker, any number of
otpq-worker processes, and an advertiser whose every misstep is asked for by the URL's path."""
import os
import shutil
import signal
import socketserver
import subprocess
import tempfile
import threading
import time
import urllib.parse

from client import Client
from node import BUILD, SLOW, free_ports, http, wait_for

CALL_MS = 1500 * SLOW


class Handler(socketserver.BaseRequestHandler):
    """One connection. /ok answers, /hang never does, /reset and /close end it after the request,
    /half answers half, /fail says 500, /garbage what nobody can read, /silent answers the first
    request of a connection and dies of the second, /slow answers after 400 ms, /late after 5 s, /wavers
    resets the first request of a number and says no to those after it."""

    def handle(self):
        nth = 0
        while True:
            head = b""
            while b"\r\n\r\n" not in head:
                try:
                    more = self.request.recv(65536)
                except OSError:
                    return
                if not more:
                    return
                head += more
            nth += 1
            target = head.split(b" ", 2)[1].decode()
            path, _, query = target.partition("?")
            seen = self.server.owner.count(path, dict(urllib.parse.parse_qsl(query)))
            how = path.split("/")[1]
            if how == "wavers":
                how = "reset" if seen == 1 else "no"
            if not self.act(how, nth):
                return

    def say(self, body, status=200):
        self.request.sendall(b"HTTP/1.1 %d X\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
                             % (status, len(body), body))

    def act(self, how, nth):
        if how == "hang":
            self.server.owner.closing.wait(60)
        elif how == "reset":
            self.request.setsockopt(1, 13, b"\x01\0\0\0\0\0\0\0")  # SO_LINGER 0: a reset
        elif how == "half":
            self.request.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"sta")
        elif how == "silent" and nth == 2:
            return False
        elif how == "fail":
            self.say(b"oh no", 500)
            return True
        elif how == "garbage":
            self.say(b"<html>", 200)
            return True
        elif how == "no":
            self.say(b'{"status":"error","error":"blocked"}')
            return True
        elif how in ("ok", "slow", "late", "silent"):
            time.sleep({"slow": 0.4, "late": 5 * SLOW}.get(how, 0))
            self.say(b'{"status":"ok","request_id":"adv-1"}')
            return True
        return False


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 1024


class Advertiser:
    """Two servers: the second has its kept connections to itself."""

    def __init__(self):
        self.closing = threading.Event()
        self.lock = threading.Lock()
        self.calls = {}
        self.queries = {}  # the newest of each
        self.servers = [Server(("127.0.0.1", 0), Handler) for _ in range(2)]
        self.ports = [s.server_address[1] for s in self.servers]
        for server in self.servers:
            server.owner = self
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def count(self, path, query):
        with self.lock:
            key = (path, query.get("msisdn"))
            self.calls[key] = self.calls.get(key, 0) + 1
            self.queries[key] = query
            return self.calls[key]

    def seen(self, path, msisdn):
        with self.lock:
            return self.calls.get((path, msisdn), 0)

    def close(self):
        self.closing.set()
        for server in self.servers:
            server.shutdown()
            server.server_close()


def integration(port, how, maker="advertiser", verify="ok", more="", timeout_ms=None, connect_ms=500):
    answer = """        success:
          http: 200
          json: status
          equals: ok
%s        error:
          json: error
        errors:
          blocked: msisdn_blocked
"""
    call = """    %s:
      method: GET
      url: http://127.0.0.1:%d/%s/%s
      query:
        msisdn: "{msisdn}"
%s      timeout_ms: %d
      connect_timeout_ms: %d
      answer:
%s"""
    timeout_ms = timeout_ms or CALL_MS
    text = "    maker: otpq\n    text: Code {otp}\n" if maker == "otpq" else ""
    text += more
    extra = '        text: "{text}"\n' if maker == "otpq" else ""
    text += call % ("send", port, how, "send", extra, timeout_ms, connect_ms,
                    answer % "        request_id:\n          json: request_id\n")
    if maker != "otpq":
        text += call % ("verify", port, verify, "verify", '        otp: "{otp}"\n', timeout_ms, connect_ms, answer % "")
    return text


class Rig:
    """with Rig() as rig: rig.worker(); rig.client.call(…)"""

    """broker, worker: more lines of their sections; records: text of integrations instead of the tests'."""

    def __init__(self, broker="", worker="", records=None, log_level="debug"):
        self.dir = tempfile.mkdtemp(prefix="otpq-rig-")
        self.advertiser = Advertiser()
        self.clients, self.workers_port, self.metrics, self.nobody = free_ports(4)
        self.processes = []
        self.extra = (broker, worker, log_level)
        self.records = records
        self.log = open(os.path.join(self.dir, "log"), "wb+")

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, failure, *_):
        if failure:
            print(self.output()[-20000:])
        self.client.__exit__()
        self.stop()

    def start(self):
        self.write("pepper", "0123456789abcdef0123456789abcdef\n", 0o600)
        self.write("otpq.yaml", """dir: %s
broker:
  clients: tcp://127.0.0.1:%d
  workers: tcp://127.0.0.1:%d
  metrics: 127.0.0.1:%d
%sworker:
  brokers: [tcp://127.0.0.1:%d]
%soutgoing:
  allow: [127.0.0.0/8]
client:
  brokers: [tcp://127.0.0.1:%d]
log:
  level: %s
""" % (self.dir, self.clients, self.workers_port, self.metrics, self.extra[0], self.workers_port,
            self.extra[1], self.clients, self.extra[2]), 0o644)
        self.redis_server(["redis-server", "--port", "0", "--unixsocket", self.dir + "/redis.sock", "--save", "",
                           "--maxmemory-policy", "noeviction", "--dir", self.dir])
        wait_for(lambda: os.path.exists(self.dir + "/redis.sock"), 10, "redis is there")
        self.apply()
        self.broker = self.program("otpq-broker")
        wait_for(self.ready, 10, "the broker is ready")
        self.client = Client("tcp://127.0.0.1:%d" % self.clients)

    def redis_server(self, argv):
        self.spawn(argv)

    def ready(self):
        try:
            return http("http://127.0.0.1:%d/readyz" % self.metrics)[0] == 200
        except OSError:
            return False

    def write(self, name, text, mode):
        with open(os.path.join(self.dir, name), "w", encoding="utf-8",
                  opener=lambda path, flags: os.open(path, flags, mode)) as f:
            f.write(text)

    def test_records(self):
        port, second = self.advertiser.ports
        records = {how: integration(port, how) for how in
                   ("ok", "slow", "hang", "reset", "close", "half", "fail", "garbage", "no")}
        records["silent"] = integration(second, "silent")
        records["local"] = integration(port, "ok", maker="otpq")
        records["nobody"] = integration(self.nobody, "ok")
        records["insists"] = integration(port, "reset", more="    on_unknown: retry\n")
        records["insists-hang"] = integration(port, "hang", more="    on_unknown: retry\n")
        records["slowcheck"] = integration(port, "ok", verify="slow")
        records["hangcheck"] = integration(port, "ok", verify="hang")
        return "".join("  %s:\n%s" % (name, text) for name, text in records.items())

    def apply(self):
        self.write("records.yaml", "network:\n  mid: 1\nintegrations:\n" +
                   (self.records or self.test_records()), 0o644)
        done = subprocess.run([os.path.join(BUILD, "bin", "otpq"), "apply", "--config",
                               self.dir + "/otpq.yaml", "-f", self.dir + "/records.yaml"],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=20 * SLOW)
        assert done.returncode == 0, done.stdout

    def spawn(self, argv, env=None):
        process = subprocess.Popen(argv, stdout=self.log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                                   env=dict(os.environ, **(env or {})))
        self.processes.append(process)
        return process

    def program(self, name):
        return self.spawn([os.path.join(BUILD, "bin", name), "--config", self.dir + "/otpq.yaml"])

    def worker(self):
        """Starts one and waits until the broker has it."""
        before = self.output().count("worker joined")
        process = self.program("otpq-worker")
        wait_for(lambda: self.output().count("worker joined") > before, 10, "the worker has joined")
        return process

    def output(self):
        with open(self.log.name, "rb") as f:
            return f.read().decode("utf-8", "replace")

    def stop(self):
        for process in reversed(self.processes):
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.kill()
            process.wait()
        self.advertiser.close()
        self.log.close()
        shutil.rmtree(self.dir, ignore_errors=True)

    def seen(self, path, msisdn):
        return self.advertiser.seen(path, msisdn)
