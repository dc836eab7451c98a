"""What operators do while brokers run: pause, drain and resume routes, drain a broker, purge."""
import json
import os
import subprocess

import pytest

from harness import BUILD, Broker, Client, SLOW, Worker, http, wait_for
from test_broker_store import INTEGRATION, RECORDS, Redis


def otpq(broker, *words, code=0):
    """Lines of `otpq WORDS` with --json as objects; brokers are found as its configuration says."""
    done = subprocess.run([os.path.join(BUILD, "bin", "otpq"), words[0], "--config", broker.config,
                           "--json", *words[1:]], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, timeout=60 * SLOW, check=False)
    assert done.returncode == code, (words, done)
    return [] if code == 2 else [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture
def pair(tmp_path):
    """Two brokers beside one Redis, with the routes first and second."""
    records = tmp_path / "records.yaml"
    records.write_text(RECORDS % ("", "".join(INTEGRATION % (name, "false")
                                              for name in ("first", "second"))))
    with Redis(str(tmp_path)) as redis:
        options = "redis:\n  address: unix:%s\n" % redis.socket
        with Broker(options, accept=False) as one, Broker(options, accept=False) as two:
            with open(one.config, "a", encoding="utf-8") as f:  # for the command: whom to ask
                f.write("client:\n  brokers: [%s, %s]\n" % (one.clients, two.clients))
            done = subprocess.run([os.path.join(BUILD, "bin", "otpq"), "apply", "--config", one.config,
                                   "-f", str(records)], stdout=subprocess.PIPE, timeout=30 * SLOW,
                                  stdin=subprocess.DEVNULL, check=False)
            assert done.returncode == 0, done
            for broker in (one, two):
                wait_for(lambda b=broker: http(b.http + "/readyz")[0] == 200, 5, "ready")
            one.redis = redis
            yield one, two


def route(broker, name):
    """A route as `otpq info` shows it."""
    info, = otpq(broker, "info", "--brokers", broker.clients)
    return next(r for r in info["routes"] if r["name"] == name)


def both(brokers, name, **expected):
    for broker in brokers:
        wait_for(lambda b=broker: {k: route(b, name).get(k, False) for k in expected} == expected, 5,
                 "%s: %s" % (name, expected))


def test_two_brokers_follow_a_pause(pair):
    assert otpq(pair[0], "pause", "first") == [{"route": "first", "state": "paused", "before": "open"}]
    both(pair, "first", paused=True, held=True)
    both(pair, "second", paused=False, held=False)
    for number, broker in enumerate(pair):
        with Client(broker.clients) as c, Worker(broker.workers) as w:
            c.submit("wait-%d" % number, route="first")
            c.submit("go-%d" % number, route="second")
            (job, body), = w.jobs(1)
            assert job["id"] == "go-%d" % number
            w.done((job, body))
            assert c.one()[1]["id"] == job["id"]
            c.ask("G", "wait-%d" % number)
            assert c.one()[1]["state"] == "queued"
    assert otpq(pair[0], "resume", "first")[0]["before"] == "paused"
    for number, broker in enumerate(pair):
        with Worker(broker.workers) as w:
            (job, _), = w.jobs(1)
            assert job["id"] == "wait-%d" % number


def test_a_pause_outlives_a_restart(pair):
    one = pair[0]
    otpq(one, "pause", "first")
    both(pair, "first", held=True)
    with Broker(open(one.config, encoding="utf-8").read().split("metrics:")[1].split("\n", 1)[1]
                .split("client:")[0], accept=False) as third:
        wait_for(lambda: http(third.http + "/readyz")[0] == 200, 5, "ready")
        assert route(third, "first")["held"]
    (said,) = otpq(one, "pause", "--list")
    assert (said["route"], said["state"]) == ("first", "paused") and "@" in said["by"]


def test_everything_is_paused_and_goes_on(pair):
    otpq(pair[0], "pause", "--all")
    both(pair, "first", held=True)
    both(pair, "second", held=True)
    otpq(pair[0], "drain", "second")
    both(pair, "second", held=True, draining=True)
    otpq(pair[0], "resume", "--all")
    both(pair, "first", held=False)
    both(pair, "second", held=False, draining=True)


def test_a_draining_route_takes_nothing_new(pair):
    one = pair[0]
    with Client(one.clients) as c:
        c.submit("before", route="first")
        wait_for(lambda: route(one, "first").get("queued") == 1, 5, "queued")
        otpq(one, "drain", "first")
        both(pair, "first", draining=True)
        c.submit("after", route="first")
        verb, refusal, _ = c.one()
        assert (verb, refusal["error"]) == ("N", "route_draining") and refusal["retry_after_ms"] > 0
        c.submit("elsewhere", route="second")
        with Worker(one.workers, credit=2) as w:  # not before: one that is silent meanwhile would be dead
            jobs = w.jobs(2)
            assert {j["id"] for j, _ in jobs} == {"before", "elsewhere"}
            w.done(*jobs)
            ended = set()
            while len(ended) < 2:
                ended |= {envelope["id"] for envelope, _ in c.receive()[1]}
        assert ended == {"before", "elsewhere"}
        otpq(one, "resume", "first")
        both(pair, "first", draining=False)


def test_a_drained_broker_lives_and_takes_jobs_again(pair):
    one, two = pair
    said, = otpq(one, "drain", "--broker", one.clients)
    assert said == {"broker": one.clients, "state": "draining", "before": "open"}
    wait_for(lambda: http(one.http + "/readyz")[0] == 503, 5, "drained")
    assert http(two.http + "/readyz")[0] == 200
    with Client(one.clients) as c, Worker(one.workers) as w:
        c.submit("x", route="first")
        assert c.one()[1]["error"] == "draining"
        assert c.info()["broker"]["draining"]
        otpq(one, "resume", "--broker", one.clients)
        wait_for(lambda: http(one.http + "/readyz")[0] == 200, 5, "takes jobs again")
        c.submit("x", route="first")
        w.done(*w.jobs(1))
        assert c.one()[1]["state"] == "done"


def test_what_there_is_not_cannot_be_paused(pair):
    assert "no record" in otpq(pair[0], "pause", "frist", code=1)[0]["error"]
    assert "no broker" in otpq(pair[0], "drain", "--broker", "nobody", code=1)[0]["error"]
    for words in (["pause"], ["pause", "first", "--all"], ["drain", "a b"], ["resume", "--list"],
                  ["purge"], ["purge", "first", "--older", "5"], ["purge", "first", "--op", "call"]):
        otpq(pair[0], *words, code=2)


def test_a_purge_over_two_brokers(pair):
    """10,000 jobs, one of them started: that one stays and ends as its worker says."""
    one = pair[0]
    clients = [Client(b.clients) for b in pair]
    with clients[0], clients[1], Worker(one.workers, credit=1) as w:
        for number, c in enumerate(clients):
            for part in range(50):
                c.send("S", *[({"id": "p-%d-%d" % (number, part * 100 + i), "op": "send",
                                "route": "first", "tenant": "t%d" % (i % 2), "ttl_ms": 600000},
                               {"msisdn": "66812345678"}) for i in range(100)])
        (job, body), = w.jobs(1)
        w.started((job, body))
        for broker in pair:
            wait_for(lambda b=broker: route(b, "first")["accepted"] == 5000, 20, "accepted")
        clients[1].submit("other", route="second", ttl_ms=600000)
        counted = otpq(one, "purge", "first", "--tenant", "t1", "--dry-run")
        assert sum(line["purged"] for line in counted) in (4999, 5000)
        assert sum(r["purged"] for r in otpq(one, "purge", "first", "--older", "1h", "--yes")) == 0
        otpq(one, "purge", "first", code=2)  # nobody is there to be asked
        purged = otpq(one, "purge", "first", "--yes")
        assert {line["address"]: (line["purged"], line["kept"]) for line in purged} == {
            pair[0].clients: (4999, 1), pair[1].clients: (5000, 0)}
        ended = {}
        for c, expected in zip(clients, (4999, 9999)):
            while len(ended) < expected:
                verb, pairs = c.receive()
                assert verb == "R"
                ended.update({e["id"]: (e["state"], e["code"]) for e, _ in pairs})
        assert set(ended.values()) == {("cancelled", "cancelled")} and job["id"] not in ended
        w.done((job, body))
        verb, result, _ = clients[0].one()
        assert (result["id"], result["state"]) == (job["id"], "done")
        clients[1].ask("G", "other")
        assert clients[1].one()[1]["state"] == "queued"
        assert sum(r["purged"] for r in otpq(one, "purge", "--all", "--yes")) == 1


def test_the_verb_by_hand(pair):
    with Client(pair[0].clients) as c:
        for envelope, error in (({}, "invalid"), ({"action": "burn"}, "invalid"),
                                ({"action": "purge", "id": "q", "op": "x"}, "invalid")):
            c.send("M", (envelope, {}))
            verb, refusal, _ = c.one()
            assert (verb, refusal["error"]) == ("N", error)
        c.send("M", ({"action": "purge", "id": "q"}, {}), ({"action": "purge"}, {}))
        assert c.one()[1]["error"] == "malformed"
        c.send("M", ({"action": "purge", "id": "q", "route": "first"}, {}))
        assert c.one() == ("M", {"id": "q"}, {})


def test_purged_stored_jobs_do_not_come_back(pair):
    """Killed right after the purge: whoever takes the shelf finds only what was not purged."""
    one, two = pair
    ids = ["stored-%d" % i for i in range(300)]
    with Client(one.clients) as c:
        c.send("S", *[({"id": i, "op": "send", "route": "first", "ack": "stored", "ttl_ms": 600000},
                       {"msisdn": "66812345678"}) for i in ids])
        c.submit("stays", route="second", ack="stored", ttl_ms=600000)
        stored = set()
        while len(stored) < 301:
            verb, pairs = c.receive()
            assert verb == "A"
            stored |= {e["id"] for e, _ in pairs}
        purged, = otpq(one, "purge", "first", "--broker", one.clients, "--yes")
        assert (purged["purged"], purged["pending"]) == (300, 0)
        ended = {}
        while len(ended) < 300:
            ended.update({e["id"]: e["code"] for e, _ in c.receive()[1]})
        assert set(ended) == set(ids) and set(ended.values()) == {"cancelled"}
        one.process.kill()
        one.process.wait()
        one.process.returncode = 0  # its end was ours
    with Worker(two.workers) as w, Client(two.clients) as c:
        (job, body), = w.jobs(1, 10)
        assert job["id"] == "stays"
        w.done((job, body))
        c.submit("after", route="first")  # comes behind whatever was adopted of its route
        assert [j["id"] for j, _ in w.jobs(1)] == ["after"]
        assert sum(route(two, name).get("queued", 0) for name in ("first", "second")) == 0
