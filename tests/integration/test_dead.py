"""Dead letters: stored jobs that nobody could do, listed, shown, retried once, purged."""
import json

from harness import Client, Worker, wait_for
from test_operations import otpq, pair  # noqa: F401  (a fixture)


def die(broker, w, job_id, route="first", op="send", body=None):
    """A stored job whose every attempt was given back."""
    with Client(broker.clients) as c:
        c.submit(job_id, body or {"msisdn": "66812345678", "aid": 1001, "text": "the code is 4711"},
                 route=route, op=op, ack="stored", ttl_ms=600000)
        verb, answer, _ = c.one()
        assert (verb, answer["state"]) == ("A", "stored")
        c.ask("G", job_id)
        while True:
            verb, envelope, _ = answer_or_give_back(c, w)
            if verb == "R":
                assert envelope["state"] == "refused"
                return


def answer_or_give_back(c, w):
    while not c.socket.poll(10):
        if w.socket.poll(10):
            verb, pairs = w.receive()
            if verb == "P":
                w.send("O")
            elif verb == "J":
                w.back(*pairs, code="advertiser_unreachable")
    return c.one()


def test_a_letter_is_shown_and_retried_once(pair):
    one, two = pair
    with Worker(one.workers) as w:
        die(one, w, "o-1")
    letter, = wait_for(lambda: otpq(one, "dead", "list"), 5, "a letter")
    assert (letter["id"], letter["route"], letter["op"], letter["state"]) == ("o-1", "first", "send", "refused")
    assert otpq(one, "dead", "list", "--route", "second") == []
    assert len(otpq(one, "dead", "list", "--since", "1h")) == 1
    shown, = otpq(one, "dead", "show", "o-1")
    assert shown["body"]["aid"] == 1001 and shown["body"]["text"] == "****"
    assert "66812345678" not in json.dumps(shown) and "4711" not in json.dumps(shown)
    assert otpq(one, "dead", "retry", "o-1", "--brokers", two.clients) == [{"id": "o-1", "as": "o-1.r1"}]
    assert otpq(one, "dead", "list") == []
    otpq(one, "dead", "retry", "o-1", code=1)
    with Worker(two.workers) as w, Client(two.clients) as c:
        (job, body), = w.jobs(1)
        assert (job["id"], body["msisdn"]) == ("o-1.r1", "66812345678") and job["ttl_ms"] <= 30000
        c.ask("G", "o-1.r1")
        c.receive()
        w.done((job, body))
        assert c.one()[1]["state"] == "done"
    assert otpq(one, "dead", "list") == []


def test_letters_of_a_route_and_what_is_never_retried(pair):
    one = pair[0]
    with Worker(one.workers) as w:
        die(one, w, "v-1", op="verify", body={"msisdn": "66812345678", "otp": "4711"})
        for number in range(3):
            die(one, w, "s-%d" % number)
        die(one, w, "other.r1", route="second")
    wait_for(lambda: len(otpq(one, "dead", "list")) == 5, 5, "letters")
    assert "verify" in otpq(one, "dead", "retry", "v-1", code=1)[0]["error"]
    otpq(one, "dead", "retry", "--route", "first", code=2)  # nobody is there to be asked
    assert len(otpq(one, "dead", "list")) == 5
    again = otpq(one, "dead", "retry", "--route", "first", "--yes", code=1)
    assert {line.get("as") for line in again} == {None, "s-0.r1", "s-1.r1", "s-2.r1"}
    assert {line["id"] for line in otpq(one, "dead", "list")} == {"v-1", "other.r1"}
    assert otpq(one, "dead", "retry", "other.r1")[0]["as"] == "other.r2"
    assert otpq(one, "dead", "purge", "v-1") == [{"id": "v-1"}]
    assert otpq(one, "dead", "list") == []


def test_purge_by_age_and_usage(pair):
    one = pair[0]
    with Worker(one.workers) as w:
        die(one, w, "x")
    wait_for(lambda: len(otpq(one, "dead", "list")) == 1, 5, "a letter")
    assert otpq(one, "dead", "purge", "--before", "1h", "--yes") == []
    assert otpq(one, "dead", "purge", "--route", "first", "--yes") == [{"id": "x"}]
    assert otpq(one, "dead", "list") == []
    for words in ([], ["burn"], ["show"], ["retry"], ["purge"], ["list", "x"], ["retry", "x", "--route", "y"],
                  ["list", "--since", "5"], ["show", "a b"]):
        otpq(one, "dead", *words, code=2)
