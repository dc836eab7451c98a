"""Jobs whose outcome nobody knows: who ends them when everybody died, what corrects them, and what a
person does about the rest."""
import http.server
import json
import os
import subprocess
import threading

from client import Client, send_job
from node import BUILD, SLOW, wait_for
from rig import CALL_MS, Rig, integration

LEASE_S = CALL_MS / 1000 / SLOW + 2


def otpq(rig, *argv):
    return subprocess.run([os.path.join(BUILD, "bin", "otpq"), *argv, "--config", rig.dir + "/otpq.yaml"],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL,
                          timeout=30 * SLOW)


def unknown(rig, *argv):
    done = otpq(rig, "unknown", "list", "--json", *argv)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def resolve(rig, *argv):
    done = otpq(rig, "unknown", "resolve", *argv)
    return done.returncode, (done.stdout + done.stderr).decode()


def redis(rig, *argv):
    done = subprocess.run(["redis-cli", "-s", rig.dir + "/redis.sock", *argv], stdout=subprocess.PIPE,
                          check=True, timeout=20 * SLOW)
    return done.stdout.decode()


def verify_job(job_id, msisdn, route, request_id):
    return ({"id": job_id, "op": "verify", "route": route, "ttl_ms": 20000 * SLOW},
            {"msisdn": msisdn, "otp": "123456", "aid": 1001, "request_id": request_id})


def kill(*processes):
    for process in processes:
        process.kill()
        process.wait()


def test_the_worker_dies_in_the_call_and_everybody_who_would_ask():
    """Another broker, which knows nothing of the job, ends it when its lease is over; a person says
    what became of it."""
    msisdn = "66810000001"
    job = send_job("dead-1", msisdn, route="hang", ttl_ms=60000)
    with Rig() as rig:
        worker = rig.worker()
        rig.client.submit(job)
        wait_for(lambda: rig.seen("/hang/send", msisdn), 10, "the call is made")
        kill(worker, rig.broker)
        rig.client.__exit__()
        assert unknown(rig) == []
        rig.broker = rig.program("otpq-broker")
        found = wait_for(lambda: unknown(rig), LEASE_S + 3, "the job is unknown")[0]
        assert (found["id"], found["op"], found["route"]) == ("dead-1", "send", "hang")
        assert msisdn not in json.dumps(found) and found["number"]
        session = redis(rig, "HGET", "otpq:s:{%s}:%s" % (found["request_id"][1:3], found["request_id"]), "st")
        assert session.strip() == "unknown"
        assert unknown(rig, "--route", "ok") == [] and len(unknown(rig, "--since", "1h")) == 1
        assert otpq(rig, "unknown", "list", "--since", "yesterday").returncode == 2
        table = otpq(rig, "unknown", "list").stdout.decode()
        assert "dead-1" in table and msisdn not in table

        assert resolve(rig, "dead-1", "sent")[0] == 2, "nobody is there to ask"
        assert resolve(rig, "dead-1", "perhaps", "--yes")[0] == 2
        assert resolve(rig, "nobody", "sent", "--yes")[0] == 1
        code, said = resolve(rig, "dead-1", "verified", "--yes")
        assert code == 1 and "is a send" in said
        code, said = resolve(rig, "dead-1", "sent", "--yes", "--json")
        assert code == 0 and json.loads(said) == {"id": "dead-1", "state": "done", "code": "otp_sent"}
        code, said = resolve(rig, "dead-1", "not_sent", "--yes")
        assert code == 1 and "is not unknown: done, otp_sent" in said
        assert unknown(rig) == []
        trace = otpq(rig, "trace", found["request_id"]).stdout.decode()
        assert "lease_over" in trace and "resolved" in trace and "sent by " in trace

        rig.worker()
        rig.client = Client("tcp://127.0.0.1:%d" % rig.clients)
        envelope, body = rig.client.call(*job)
        assert (envelope["state"], envelope["code"], body["data"]) == ("done", "otp_sent", found["request_id"])
        assert rig.seen("/hang/send", msisdn) == 1


def test_a_report_corrects_an_unknown_verify():
    msisdn = "66810000002"
    with Rig() as rig:
        rig.worker()
        _, made = rig.client.call(*send_job("late-s", msisdn, route="hangcheck"))
        job = verify_job("late-v", msisdn, "hangcheck", made["data"])
        assert rig.client.call(*job)[0]["code"] == "outcome_unknown"
        assert [u["id"] for u in unknown(rig)] == ["late-v"]
        for i in range(2):
            envelope, _ = rig.client.call(
                {"id": "late-r%d" % i, "op": "report", "route": "hangcheck"},
                {"event": "verification", "code": "otp_verified", "request_id": made["data"]})
            assert envelope["code"] == "delivered"
        assert unknown(rig) == []
        rig.client.__exit__()
        kill(rig.broker)  # the next one knows no results
        rig.broker = rig.program("otpq-broker")
        wait_for(rig.ready, 10, "the broker is ready")
        rig.client = Client("tcp://127.0.0.1:%d" % rig.clients)
        envelope, _ = rig.client.call(*job)
        assert (envelope["state"], envelope["code"]) == ("done", "otp_verified")
        assert rig.seen("/hang/verify", msisdn) == 1


class Provider(http.server.BaseHTTPRequestHandler):
    """FOTP: the first question for a state is never answered, those after it are."""
    asked = 0
    answers = threading.Event()

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        if self.path.endswith("/query"):
            Provider.asked += 1
            if Provider.asked == 1:
                Provider.answers.wait(60)
                return
            data = {"status": "2", "mobile": "66810000003"}
        else:
            data = {"ftToken": "ft-1", "url": "https://provider.example/ft-1"}
        body = json.dumps({"code": "0", "message": "", "data": data}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def test_an_advertiser_is_asked_for_the_state():
    msisdn = "66810000003"
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Provider)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    records = """  asked:
    dialect: fotp
    base_url: http://127.0.0.1:%d
    ft_id: one
    account: a
    secret: b
    timeout_ms: %d
    on_unknown: query
""" % (server.server_address[1], CALL_MS)
    try:
        with Rig(records=records) as rig:
            rig.worker()
            envelope, made = rig.client.call(*send_job("ask-s", msisdn, route="asked"))
            assert envelope["code"] == "otp_sent", made
            job = verify_job("ask-v", msisdn, "asked", made["data"])
            first = rig.client.call(*job)[0]["code"]
            assert first in ("outcome_unknown", "otp_verified")  # the poll may be the one that hangs
            wait_for(lambda: unknown(rig) == [] and "verified" in redis(
                rig, "EVAL", "local k = redis.call('KEYS', 'otpq:s:*') return redis.call('HGET', k[1], 'st')",
                "0"), 20, "the state is known")
            rig.client.__exit__()
            kill(rig.broker)
            rig.broker = rig.program("otpq-broker")
            wait_for(rig.ready, 10, "the broker is ready")
            rig.client = Client("tcp://127.0.0.1:%d" % rig.clients)
            assert rig.client.call(*job)[0]["code"] == "otp_verified"
    finally:
        Provider.answers.set()
        server.shutdown()
        server.server_close()


def test_a_dialect_that_cannot_be_asked_is_refused():
    with Rig() as rig:
        rig.write("bad.yaml", "integrations:\n  one:\n    on_unknown: query\n" +
                  integration(rig.advertiser.ports[0], "ok"), 0o644)
        done = otpq(rig, "apply", "-f", rig.dir + "/bad.yaml")
        assert done.returncode != 0
        assert b"bad.yaml:3:17: on_unknown: query needs" in done.stdout + done.stderr
