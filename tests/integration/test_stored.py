"""Stored jobs: several brokers on one Redis that keeps what it acknowledged, real workers and an
advertiser that counts. Who is killed, stopped or restarted here takes no stored job along."""
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time

import pytest

from client import Client, send_job
from node import BUILD, SLOW, free_ports, http, wait_for
from rig import Advertiser, integration


class Farm:
    """with Farm() as f: f.broker(0); f.worker(); f.client(0) …"""

    def __init__(self, brokers=2, options="", fsync="always"):
        self.dir = tempfile.mkdtemp(prefix="otpq-stored-")
        self.socket = self.dir + "/redis.sock"
        self.advertiser = Advertiser()
        self.options = options
        self.fsync = fsync
        self.ports = [free_ports(3) for _ in range(brokers)]
        self.brokers = [None] * brokers
        self.processes = []
        self.clients = []
        self.redis = None
        self.log = open(os.path.join(self.dir, "log"), "wb+")

    def __enter__(self):
        try:
            self.write("pepper", "0123456789abcdef0123456789abcdef\n", 0o600)
            for i in range(len(self.ports)):
                self.write("otpq-%d.yaml" % i, self.config(i), 0o644)
            self.start_redis()
            self.apply()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, failure, *_):
        if failure:
            print(self.output()[-20000:])
        self.stop()

    def config(self, i):
        clients, workers, metrics = self.ports[i]
        return """dir: %s
broker:
  clients: tcp://127.0.0.1:%d
  workers: tcp://127.0.0.1:%d
  metrics: 127.0.0.1:%d
%sworker:
  brokers: [%s]
outgoing:
  allow: [127.0.0.0/8]
client:
  brokers: [tcp://127.0.0.1:%d]
log:
  level: debug
""" % (self.dir, clients, workers, metrics, self.options,
            ", ".join("tcp://127.0.0.1:%d" % p[1] for p in self.ports), clients)

    def write(self, name, text, mode):
        with open(os.path.join(self.dir, name), "w", encoding="utf-8",
                  opener=lambda path, flags: os.open(path, flags, mode)) as f:
            f.write(text)

    def apply(self, paused=False, more=""):
        port = self.advertiser.ports[0]
        more += "    paused: true\n" if paused else ""
        self.write("records.yaml", "network:\n  mid: 1\nintegrations:\n" + "".join(
            "  %s:\n%s" % (name, integration(port, how, more=more))
            for name, how in (("ok", "ok"), ("slow", "slow"))), 0o644)
        done = subprocess.run([os.path.join(BUILD, "bin", "otpq"), "apply", "--config",
                               self.dir + "/otpq-0.yaml", "-f", self.dir + "/records.yaml"],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=20 * SLOW)
        assert done.returncode == 0, done.stdout

    def spawn(self, argv):
        process = subprocess.Popen(argv, stdout=self.log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
        self.processes.append(process)
        return process

    def start_redis(self):
        if os.path.exists(self.socket):
            os.unlink(self.socket)
        self.redis = self.spawn(["redis-server", "--port", "0", "--unixsocket", self.socket, "--save", "",
                                 "--appendonly", "yes", "--appendfsync", self.fsync,
                                 "--maxmemory-policy", "noeviction", "--dir", self.dir])
        wait_for(lambda: os.path.exists(self.socket) and self.command("PING") == ["PONG"], 10, "Redis is there")

    def command(self, *words):
        done = subprocess.run(["redis-cli", "-s", self.socket, *words], stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL, timeout=10 * SLOW)
        return done.stdout.decode().splitlines()

    def broker(self, i):
        """Starts it, or starts it again, and waits until it stores jobs."""
        self.brokers[i] = self.spawn([os.path.join(BUILD, "bin", "otpq-broker"), "--config",
                                      self.dir + "/otpq-%d.yaml" % i])
        wait_for(lambda: self.ready(i), 10, "the broker is ready")
        wait_for(lambda: self.metric(i, "otpq_shelves") >= 1, 10, "its shelf is open")
        return self.brokers[i]

    def worker(self):
        before = self.output().count("worker joined")
        process = self.spawn([os.path.join(BUILD, "bin", "otpq-worker"), "--config", self.dir + "/otpq-0.yaml"])
        wait_for(lambda: self.output().count("worker joined") > before, 10, "the worker has joined")
        return process

    def kill(self, process):
        process.kill()
        process.wait()

    def client(self, i):
        client = Client("tcp://127.0.0.1:%d" % self.ports[i][0])
        self.clients.append(client)
        return client

    def ready(self, i):
        try:
            return http("http://127.0.0.1:%d/readyz" % self.ports[i][2])[0] == 200
        except OSError:
            return False

    def metric(self, i, name):
        text = http("http://127.0.0.1:%d/metrics" % self.ports[i][2])[1]
        return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines()
                   if line.startswith(name + " ") or line.startswith(name + "{"))

    def on_shelves(self):
        """Entries of all shelves."""
        return sum(int(self.command("HLEN", key)[0]) for key in self.command("KEYS", "otpq:sj:*"))

    def output(self):
        with open(self.log.name, "rb") as f:
            return f.read().decode("utf-8", "replace")

    def stop(self):
        for client in self.clients:
            client.__exit__()
        for process in reversed(self.processes):
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.kill()
            process.wait()
        self.advertiser.close()
        self.log.close()
        shutil.rmtree(self.dir, ignore_errors=True)

    def seen(self, number, route="ok"):
        return self.advertiser.seen("/%s/send" % route, number)


class Relay:
    """A way to Redis that can be cut: who goes by it is away, all others are not."""

    def __init__(self, path, to):
        self.path, self.to, self.whole, self.pairs = path, to, True, []
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        self.listener.listen(16)
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                near = self.listener.accept()[0]
            except OSError:
                return
            far = socket.socket(socket.AF_UNIX)
            self.pairs.append((near, far))
            if not self.whole:
                self.end(near, far)
                continue
            far.connect(self.to)
            for a, b in ((near, far), (far, near)):
                threading.Thread(target=self.pass_on, args=(a, b), daemon=True).start()

    def pass_on(self, a, b):
        try:
            while data := a.recv(65536):
                b.sendall(data)
        except OSError:
            pass
        self.end(a, b)

    @staticmethod
    def end(*sockets):
        for one in sockets:
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def cut(self):
        self.whole = False
        for pair in self.pairs:
            self.end(*pair)

    def mend(self):
        self.whole = True

    def close(self):
        self.cut()
        self.end(self.listener)
        for pair in self.pairs:
            for one in pair:
                one.close()
        self.listener.close()


def number(i):
    return "6683%03d%04d" % (i // 9000, i % 9000)


def jobs_of(name, count, first=0, **more):
    """Stored sends, and their numbers."""
    envelope = dict({"ack": "stored", "ttl_ms": 60000, "route": "ok"}, **more)
    return [send_job("%s-%d" % (name, i), number(first + i), **envelope) for i in range(count)]


def ids_of(jobs):
    return [job[0]["id"] for job in jobs]


def wait_stored(client, jobs, seconds=20):
    """Until each was acknowledged as stored."""
    missing = set(ids_of(jobs))
    deadline = time.monotonic() + seconds * SLOW
    while missing:
        assert time.monotonic() < deadline, (len(missing), client.answers[-3:])
        for verb, envelope, body in client.receive(0.2):
            assert verb != "N", (envelope, body)
            if verb == "A" and envelope["state"] == "stored":
                missing.discard(envelope["id"])


def wait_seen(farm, jobs, seconds=20, route="ok"):
    """Until the advertiser has seen all of them, each once."""
    numbers = [body["msisdn"] for _, body in jobs]
    wait_for(lambda: all(farm.seen(n, route) for n in numbers), seconds, "all were sent")
    assert {farm.seen(n, route) for n in numbers} == {1}


def nothing_left(farm, seconds=20):
    wait_for(lambda: farm.on_shelves() == 0, seconds, "the shelves are empty")


def test_stored_is_said_when_redis_has_it_and_its_result_takes_it_off():
    with Farm(1) as farm:
        farm.broker(0)
        client = farm.client(0)
        jobs = jobs_of("a", 300)
        client.submit(*jobs)
        wait_stored(client, jobs)
        assert farm.on_shelves() == 300
        assert farm.metric(0, "otpq_shelf_stored_total") == 300
        assert farm.metric(0, "otpq_shelf_commits_total") < 300  # a batch is one round trip
        farm.worker()
        wait_seen(farm, jobs)
        nothing_left(farm)
        assert farm.metric(0, "otpq_shelf_removed_total") == 300


def test_jobs_of_a_killed_broker_run_once_each_at_another():
    with Farm(2) as farm:
        first = farm.broker(0)
        jobs = jobs_of("k", 500)
        client = farm.client(0)
        client.submit(*jobs)
        wait_stored(client, jobs)
        farm.broker(1)
        farm.kill(first)
        wait_for(lambda: farm.metric(1, "otpq_shelf_adopted_total") == 500, 10, "all are adopted")
        farm.worker()
        wait_seen(farm, jobs)
        nothing_left(farm)
        wait_for(lambda: len(farm.command("HKEYS", "otpq:shelves")) == 1, 10, "the empty shelf is gone")
        wait_for(lambda: len(farm.command("HKEYS", "otpq:brokers")) == 1, 10, "the dead one is buried")
        again = farm.client(1)
        result, _ = again.call(*jobs[0])  # submitted again, it is the same job
        assert (result["state"], result["code"]) == ("done", "otp_sent")
        assert farm.seen(jobs[0][1]["msisdn"]) == 1


def test_a_broker_that_is_started_again_goes_on_with_its_own():
    with Farm(1) as farm:
        first = farm.broker(0)
        jobs = jobs_of("r", 200)
        client = farm.client(0)
        client.submit(*jobs)
        wait_stored(client, jobs)
        farm.kill(first)
        farm.broker(0)
        wait_for(lambda: farm.metric(0, "otpq_shelf_adopted_total") == 200, 10, "all are adopted")
        farm.worker()
        wait_seen(farm, jobs)
        nothing_left(farm)


def test_jobs_in_flight_when_their_broker_is_killed_are_not_sent_twice():
    with Farm(2) as farm:
        first = farm.broker(0)
        farm.broker(1)
        farm.worker()
        jobs = jobs_of("f", 300, route="slow")
        client = farm.client(0)
        client.submit(*jobs)
        wait_stored(client, jobs)
        wait_for(lambda: farm.seen(jobs[0][1]["msisdn"], "slow") or farm.metric(
            0, "otpq_broker_ended_total") > 0, 10, "they are on their way")
        farm.kill(first)
        wait_seen(farm, jobs, 30, "slow")
        nothing_left(farm)
        assert {farm.seen(body["msisdn"], "slow") for _, body in jobs} == {1}


def test_a_broker_that_stood_still_is_deposed_and_comes_back_with_a_new_shelf():
    with Farm(2) as farm:
        first = farm.broker(0)
        client = farm.client(0)
        jobs = jobs_of("p", 200)
        client.submit(*jobs)
        wait_stored(client, jobs)
        farm.broker(1)
        shelves = set(farm.command("HKEYS", "otpq:shelves"))
        first.send_signal(signal.SIGSTOP)
        wait_for(lambda: farm.metric(1, "otpq_shelf_adopted_total") == 200, 10, "its jobs are adopted")
        first.send_signal(signal.SIGCONT)
        wait_for(lambda: farm.metric(0, "otpq_shelf_deposed_total") == 1, 10, "it knows")
        moved = set()
        deadline = time.monotonic() + 10 * SLOW
        while len(moved) < 200 and time.monotonic() < deadline:
            moved |= {e["id"] for verb, e, _ in client.receive(0.2) if verb == "N" and e["error"] == "moved"}
        assert moved == set(ids_of(jobs))
        more = jobs_of("q", 50, 1000)
        wait_for(lambda: farm.metric(0, "otpq_shelves") == 1, 10, "it has a shelf again")
        client.submit(*more)
        wait_stored(client, more)
        assert len(set(farm.command("HKEYS", "otpq:shelves")) - shelves) == 1
        farm.worker()
        wait_seen(farm, jobs + more)
        nothing_left(farm)
        assert farm.metric(1, "otpq_brokers") == 2


def said_of(client, ids, seconds=20):
    """The first end or refusal of each job: state or error by id."""
    said = {}
    deadline = time.monotonic() + seconds * SLOW
    while len(said) < len(ids):
        assert time.monotonic() < deadline, (len(said), client.answers[-3:])
        for verb, envelope, _ in client.receive(0.2):
            if verb in "RN":
                said.setdefault(envelope["id"], envelope.get("error", envelope.get("state")))
    return said


def test_who_stood_still_calls_nothing_expired_that_another_sent_in_time():
    with Farm(2, fsync="everysec") as farm:
        first = farm.broker(0)
        farm.broker(1)
        farm.worker()
        client = farm.client(0)
        jobs = jobs_of("e", 100, ttl_ms=4000, delay_ms=1500)
        client.submit(*jobs)
        wait_stored(client, jobs, 1)
        late = time.monotonic() + 4.2
        first.send_signal(signal.SIGSTOP)
        wait_seen(farm, jobs)
        wait_for(lambda: time.monotonic() > late, 10, "their deadline has passed")
        first.send_signal(signal.SIGCONT)
        assert set(said_of(client, ids_of(jobs)).values()) == {"moved"}
        again = farm.client(1)
        again.submit(*jobs)
        assert set(said_of(again, ids_of(jobs)).values()) == {"done"}
        assert farm.command("KEYS", "otpq:dl:*") in ([], [""])


def test_who_alone_is_cut_off_from_redis_calls_nothing_expired_that_another_sent_in_time():
    with Farm(2, fsync="everysec") as farm:
        farm.apply(more="    calls_per_s: 1000\n")  # without Redis a broker has no part of that
        relay = Relay(farm.dir + "/cut.sock", farm.socket)
        try:
            farm.write("otpq-0.yaml", farm.config(0) + "redis:\n  address: unix:%s\n" % relay.path, 0o644)
            farm.broker(0)
            farm.write("otpq-0.yaml", farm.config(0), 0o644)  # the worker has its way to Redis
            farm.broker(1)
            wait_for(lambda: farm.metric(0, "otpq_brokers") == 2, 10, "they know each other")
            client = farm.client(0)
            jobs = jobs_of("z", 100, ttl_ms=4000, delay_ms=1500)
            client.submit(*jobs)
            wait_stored(client, jobs, 1)
            late = time.monotonic() + 4.2
            relay.cut()
            farm.worker()
            wait_seen(farm, jobs)
            wait_for(lambda: time.monotonic() > late, 10, "their deadline has passed")
            relay.mend()
            assert set(said_of(client, ids_of(jobs)).values()) == {"moved"}
            nothing_left(farm)
            assert farm.command("KEYS", "otpq:dl:*") in ([], [""])
        finally:
            relay.close()


def test_redis_is_killed_and_started_again_under_load():
    with Farm(1) as farm:
        farm.broker(0)
        farm.worker()
        client = farm.client(0)
        stored, waiting, sent = set(), {}, []
        deadline = time.monotonic() + 60 * SLOW

        def submit(count):
            jobs = jobs_of("l%d" % len(sent), count, len(sent))
            sent.extend(jobs)
            waiting.update({job[0]["id"]: job for job in jobs})
            client.submit(*jobs)

        def turn():
            assert time.monotonic() < deadline, (len(waiting), client.answers[-3:])
            for verb, envelope, _ in client.receive(0.05):
                if verb == "A" and envelope["state"] in ("stored", "duplicate") or verb == "R":
                    stored.add(envelope["id"])
                    waiting.pop(envelope["id"], None)
                elif verb == "N":
                    assert envelope["error"] == "store_unavailable", envelope
                    client.submit(waiting[envelope["id"]])  # as its client would

        submit(500)
        while len(stored) < 200:
            turn()
        farm.kill(farm.redis)
        submit(100)
        for _ in range(5):
            turn()
        farm.start_redis()
        submit(100)
        while waiting:
            turn()
        wait_seen(farm, sent, 40)
        nothing_left(farm)


def test_what_redis_forgot_is_put_on_the_shelf_again():
    with Farm(1, "  unknown_routes: accept\n") as farm:
        farm.broker(0)
        client = farm.client(0)
        jobs = jobs_of("w", 2500, route="free")
        client.submit(*jobs)
        wait_stored(client, jobs)
        farm.kill(farm.redis)
        shutil.rmtree(farm.dir + "/appendonlydir")
        farm.start_redis()
        wait_for(lambda: farm.on_shelves() == 2500, 20, "all stand there again")
        assert farm.metric(0, "otpq_shelf_deposed_total") == 0
        more = jobs_of("v", 10, 3000, route="free")
        client.submit(*more)
        wait_stored(client, more)
        assert farm.on_shelves() == 2510


def test_adoption_waits_for_room_in_the_queue():
    with Farm(2, "  jobs_max: 100\n") as farm:
        first = farm.broker(0)
        farm.broker(1)
        jobs = jobs_of("m", 60), jobs_of("o", 60, 1000)
        for i in range(2):
            client = farm.client(i)
            client.submit(*jobs[i])
            wait_stored(client, jobs[i])
        farm.kill(first)
        wait_for(lambda: farm.metric(1, "otpq_shelf_adopted_total") == 40, 10, "it is full")
        assert farm.metric(1, "otpq_shelves_to_adopt") == 1
        farm.worker()
        wait_seen(farm, jobs[0] + jobs[1])
        nothing_left(farm)
        assert farm.metric(1, "otpq_shelf_adopted_total") == 60


def test_a_delayed_job_survives_and_keeps_its_time():
    with Farm(2) as farm:
        first = farm.broker(0)
        farm.broker(1)
        farm.worker()
        client = farm.client(0)
        jobs = jobs_of("d", 3, delay_ms=4000)
        begun = time.monotonic()
        client.submit(*jobs)
        wait_stored(client, jobs)
        farm.kill(first)
        wait_for(lambda: farm.metric(1, 'otpq_shelf_adopted_total') == 3, 10, "they are adopted")
        wait_seen(farm, jobs)
        assert time.monotonic() - begun > 3.9
        nothing_left(farm)


def test_a_job_that_is_too_late_is_a_dead_letter():
    with Farm(1) as farm:
        farm.broker(0)
        client = farm.client(0)
        jobs = jobs_of("late", 5, ttl_ms=400)
        client.submit(*jobs)
        wait_stored(client, jobs)
        results = client.wait(ids_of(jobs), 10)
        assert {e["state"] for e, _ in results} == {"expired"}
        nothing_left(farm)
        keys = farm.command("KEYS", "otpq:dl:*")
        assert sorted(key.rsplit(":", 1)[1] for key in keys) == sorted(ids_of(jobs))
        assert {farm.command("HGET", key, "state")[0] for key in keys} == {"expired"}
        assert {farm.command("HGET", key, "code")[0] for key in keys} == {"deadline_passed"}


def test_two_brokers_die_at_once_and_the_third_adopts_both():
    with Farm(3) as farm:
        victims = [farm.broker(0), farm.broker(1)]
        jobs = jobs_of("x", 200), jobs_of("y", 200, 1000)
        for i in range(2):
            client = farm.client(i)
            client.submit(*jobs[i])
            wait_stored(client, jobs[i])
        farm.broker(2)
        for victim in victims:
            victim.kill()
        for victim in victims:
            victim.wait()
        wait_for(lambda: farm.metric(2, "otpq_shelf_adopted_total") == 400, 10, "all are adopted")
        farm.worker()
        wait_seen(farm, jobs[0] + jobs[1])
        nothing_left(farm)


def test_who_leaves_in_order_gives_its_jobs_to_the_others_at_once():
    with Farm(2) as farm:
        first = farm.broker(0)
        farm.broker(1)
        client = farm.client(0)
        jobs = jobs_of("g", 300)
        client.submit(*jobs)
        wait_stored(client, jobs)
        first.send_signal(signal.SIGTERM)
        assert first.wait(20 * SLOW) == 0
        wait_for(lambda: farm.metric(1, "otpq_shelf_adopted_total") == 300, 10, "all are adopted")
        assert "a broker is dead" not in farm.output()
        assert len(farm.command("HKEYS", "otpq:brokers")) == 1
        farm.worker()
        wait_seen(farm, jobs)
        nothing_left(farm)


def test_a_cancelled_job_is_off_the_shelf_before_it_is_said():
    with Farm(1) as farm:
        first = farm.broker(0)
        client = farm.client(0)
        jobs = jobs_of("c", 20)
        client.submit(*jobs)
        wait_stored(client, jobs)
        client.send("X", *[({"id": i}, {}) for i in ids_of(jobs)])
        results = client.wait(ids_of(jobs), 10)
        assert farm.on_shelves() == 0
        assert {e["state"] for e, _ in results} == {"cancelled"}
        farm.kill(first)
        farm.broker(0)
        farm.worker()
        other = farm.client(0)
        other.call(*jobs_of("after", 1, 500)[0])
        assert not any(farm.seen(body["msisdn"]) for _, body in jobs)


def test_entries_that_are_none_stay_and_are_counted():
    with Farm(1) as farm:
        farm.command("HSET", "otpq:so:{aaaaaaaaaaaaaaaa}", "own", "bbbbbbbbbbbbbbbb")
        farm.command("HSET", "otpq:sj:{aaaaaaaaaaaaaaaa}", "job-1", "secret-garbage", "job-2", "")
        farm.command("HSET", "otpq:shelves", "aaaaaaaaaaaaaaaa", "bbbbbbbbbbbbbbbb")
        farm.broker(0)
        wait_for(lambda: farm.metric(0, "otpq_shelf_unreadable_total") == 2, 10, "they are counted")
        assert farm.on_shelves() == 2
        assert "job=job-1" in farm.output() and "secret-garbage" not in farm.output()


@pytest.mark.parametrize("ack", ["stored", "queued"])
def test_without_a_store_nothing_is_called_stored(ack):
    with Farm(1) as farm:
        farm.broker(0)
        client = farm.client(0)
        farm.kill(farm.redis)
        wait_for(lambda: farm.metric(0, "otpq_store_up") == 0, 10, "the store is away")
        client.submit(*jobs_of("n", 1, ack=ack))
        (verb, envelope, _), = wait_for(lambda: client.receive(0.2), 5, "an answer")
        assert (verb, envelope.get("error", envelope.get("state"))) == (
            ("N", "store_unavailable") if ack == "stored" else ("A", "queued"))
