"""Jobs that were sent to a broker which died: the next one must not speak as if nothing had happened."""
import os
import signal
import subprocess

from client import Client, send_job
from node import BUILD, SLOW, free_ports, wait_for
from rig import Rig

MSISDN = "66811000099"


def start_and_lose_the_broker(rig, ttl_ms, how):
    """The advertiser is being called, and a new broker runs."""
    rig.worker()
    rig.client.submit(send_job("y", MSISDN, route=how, ttl_ms=ttl_ms))
    wait_for(lambda: rig.seen("/%s/send" % how, MSISDN) == 1, 10, "the call is out")
    rig.broker.kill()
    rig.broker.wait()
    rig.broker = rig.program("otpq-broker")
    wait_for(rig.ready, 10, "the new broker is ready")


def test_the_last_millisecond_does_not_expire_what_was_sent():
    with Rig() as rig:
        start_and_lose_the_broker(rig, 20000, "slow")
        with Client("tcp://127.0.0.1:%d" % rig.clients) as client:
            client.submit(send_job("y", MSISDN, route="slow", ttl_ms=1, again=True))
            envelope, _ = client.wait(["y"], 20)[0]
        assert (envelope["state"], envelope["code"]) == ("done", "otp_sent")
        assert rig.seen("/slow/send", MSISDN) == 1


def test_what_was_sent_is_not_cancelled():
    with Rig() as rig:
        start_and_lose_the_broker(rig, 60000, "slow")
        with Client("tcp://127.0.0.1:%d" % rig.clients) as client:
            client.submit(send_job("y", MSISDN, route="slow", ttl_ms=50000, again=True))
            client.send("X", ({"id": "y"}, {}))
            envelope, _ = client.wait(["y"], 20)[0]
            refusals = [e for verb, e, _ in client.answers if verb == "N"]
        assert envelope["code"] == "otp_sent"
        assert all(e["error"] == "too_late" for e in refusals)


def test_a_full_broker_does_not_refuse_what_another_one_had():
    with Rig() as rig:
        rig.worker()
        second = free_ports(3)
        with open(rig.dir + "/otpq.yaml", encoding="utf-8") as f:
            text = f.read()
        ports = (rig.clients, rig.workers_port, rig.metrics)
        mine = text.split("client:\n")[0]
        for old, new in zip(ports, second):
            mine = mine.replace("127.0.0.1:%d\n" % old, "127.0.0.1:%d\n" % new)
        rig.write("second.yaml", mine.replace("broker:\n", "broker:\n  jobs_max: 1\n"), 0o644)
        full = rig.spawn([os.path.join(BUILD, "bin", "otpq-broker"), "--config", rig.dir + "/second.yaml"])
        wait_for(lambda: rig.output().count("msg=ready clients") >= 2, 10, "the second broker is ready")
        both = "[tcp://127.0.0.1:%d, tcp://127.0.0.1:%d]" % (rig.clients, second[0])
        rig.write("both.yaml", text.replace("[tcp://127.0.0.1:%d]\nlog" % rig.clients, both + "\nlog"), 0o644)
        with Client("tcp://127.0.0.1:%d" % second[0]) as filler:
            filler.submit(send_job("fill", "66811000001", route="ok", ttl_ms=60000, delay_ms=50000))
            filler.send("G", ({"id": "fill"}, {}))
            wait_for(lambda: filler.receive(0.1), 10, "the second broker is full")
            full.send_signal(signal.SIGSTOP)  # so that the first one gets the job
            push = subprocess.Popen([os.path.join(BUILD, "bin", "otpq"), "push", "hang", MSISDN, "--config",
                                     rig.dir + "/both.yaml", "--ttl-ms", str(3000 * SLOW)],
                                    stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            wait_for(lambda: rig.seen("/hang/send", MSISDN) == 1, 10, "the call is out")
            full.send_signal(signal.SIGCONT)
            rig.broker.kill()
            said = push.communicate(timeout=30 * SLOW)[0]
        assert push.returncode == 3, said
        assert "queue_full" not in said
        assert rig.seen("/hang/send", MSISDN) == 1
