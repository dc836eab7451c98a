"""What a route bears holds over all brokers together."""
import os
import signal
import subprocess
import tempfile
import time

import pytest

from harness import BUILD, SLOW, Broker, Client, Worker, wait_for

RECORDS = """network:
  mid: 1
integrations:
  r:
    maker: otpq
    text: Your code is {otp}
    %s
    send:
      url: http://127.0.0.1:9/send?to={msisdn}&text={text}
      answer:
        success:
          http: 200
"""


class Crowd:
    """Several brokers on one Redis, each with a worker in the test's hand."""

    def __init__(self, limits, count=2):
        self.folder = tempfile.TemporaryDirectory(prefix="otpq-limits-")
        self.socket = os.path.join(self.folder.name, "redis.sock")
        self.redis = subprocess.Popen(["redis-server", "--port", "0", "--unixsocket", self.socket, "--save", "",
                                       "--dir", self.folder.name], stdout=subprocess.DEVNULL)
        wait_for(lambda: os.path.exists(self.socket), 10, "Redis listens")
        self.env = {"OTPQ_REDIS_ADDRESS": "unix:" + self.socket}
        self.brokers = []
        self.add()
        self.apply(limits)
        for _ in range(count - 1):
            self.add()
        self.workers = [Worker(b.workers, credit=10000) for b in self.brokers]
        self.clients = [Client(b.clients) for b in self.brokers]
        self.running = []  # (when it is over, worker, job)
        self.most = 0
        self.arrived = []

    def add(self):
        self.brokers.append(Broker(accept=False, env=self.env).__enter__())

    def apply(self, limits):
        path = os.path.join(self.folder.name, "records.yaml")
        with open(path, "w", encoding="utf-8") as f:
            f.write(RECORDS % limits)
        subprocess.run([os.path.join(BUILD, "bin", "otpq"), "apply", "--config", self.brokers[0].config, "-f",
                        path], env=dict(os.environ, **self.env), stdout=subprocess.DEVNULL, check=True,
                       stdin=subprocess.DEVNULL, timeout=30 * SLOW)

    def __enter__(self):
        for b in self.brokers:
            wait_for(lambda b=b: "limits are shared" in b.output(), 10, "it sees the other")
        return self

    def __exit__(self, *_):
        for peer in self.workers + self.clients:
            peer.__exit__()
        for b in self.brokers:
            b.__exit__()
        self.redis.kill()
        self.redis.wait()
        self.folder.cleanup()

    def take(self, run_ms):
        """What has come to any worker now."""
        for number, worker in enumerate(self.workers):
            while worker.socket.poll(0):
                verb, pairs = worker.receive(1)
                if verb == "P":
                    worker.send("O")
                for pair in pairs if verb == "J" else []:
                    self.arrived.append((time.monotonic(), number))
                    self.running.append((time.monotonic() + run_ms / 1000, worker, pair))
        self.most = max(self.most, len(self.running))

    def end(self):
        now = time.monotonic()
        over = [r for r in self.running if r[0] <= now]
        self.running = [r for r in self.running if r[0] > now]
        for _, worker, pair in over:
            worker.done(pair)

    def run(self, jobs, run_ms, seconds=60):
        deadline = time.monotonic() + seconds * SLOW
        while len(self.arrived) < jobs or self.running:
            assert time.monotonic() < deadline, (len(self.arrived), len(self.running))
            self.take(run_ms)
            self.end()


def submit(client, name, count):
    for i in range(count):
        client.submit("%s-%d" % (name, i), {"msisdn": "66810000000"}, op="send", route="r", ttl_ms=600000)


@pytest.mark.parametrize("cap", [1, 5])
def test_calls_at_once(cap):
    with Crowd("calls_at_once: %d" % cap) as crowd:
        for number, client in enumerate(crowd.clients):
            submit(client, "j%d" % number, 30 if cap > 1 else 8)
        crowd.run(60 if cap > 1 else 16, run_ms=30)
        assert crowd.most <= cap
        assert cap == 1 or crowd.most > cap // 2 + 1  # more than one broker's half: it moves to who wants it
        assert {number for _, number in crowd.arrived} == {0, 1}


def test_calls_per_second():
    with Crowd("calls_per_s: 50\n    burst: 5", count=3) as crowd:
        for number, client in enumerate(crowd.clients):
            submit(client, "j%d" % number, 60)
        crowd.run(180, run_ms=0)
        took = crowd.arrived[-1][0] - crowd.arrived[0][0]
        assert took >= (180 - 5 - 3) / 50 * 0.98, took  # slow machines only make it longer
        assert {number for _, number in crowd.arrived} == {0, 1, 2}


def test_who_leaves_in_order_gives_its_parts_back():
    with Crowd("calls_at_once: 4") as crowd:
        for number, client in enumerate(crowd.clients):
            submit(client, "j%d" % number, 40)
        while len(crowd.arrived) < 20:
            crowd.take(50)
            crowd.end()
        leaving = crowd.brokers[1].process
        leaving.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + 20 * SLOW
        while leaving.poll() is None:
            assert time.monotonic() < deadline
            crowd.take(50)
            crowd.end()
        crowd.brokers[1].stop = lambda: None
        left = subprocess.run(["redis-cli", "-s", crowd.socket, "EVAL", "local all, left = redis.call("
                               "'HGETALL', KEYS[1]), {} for i = 1, #all, 2 do if redis.call('HEXISTS', "
                               "KEYS[2], all[i]) == 0 then left[1] = cmsgpack.unpack(all[i + 1])[1] end "
                               "end return left", "2", "otpq:bu:{r}", "otpq:brokers"],
                              stdout=subprocess.PIPE, check=True, timeout=10 * SLOW).stdout.split()
        assert left == [b"0"]


def test_who_is_left_alone_has_all_of_it_again():
    with Crowd("calls_at_once: 4") as crowd:
        submit(crowd.clients[0], "first", 8)
        submit(crowd.clients[1], "second", 4)
        crowd.run(12, run_ms=10)
        crowd.brokers[1].process.send_signal(signal.SIGKILL)
        crowd.brokers[1].process.wait()
        crowd.workers.pop().__exit__()
        crowd.clients.pop().__exit__()
        crowd.brokers[1].stop = lambda: None
        crowd.most = 0
        submit(crowd.clients[0], "third", 40)
        crowd.run(52, run_ms=200)
        assert crowd.most == 4
