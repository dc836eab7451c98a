"""Redis on another host through TLS: the files of deploy/stunnel/, as they are but for addresses and folders."""
import os
import shutil
import signal
import socket
import subprocess
import tempfile

import redis

from node import BUILD, ROOT, SLOW, Node, free_ports, wait_for

PASSWORD = "open-sesame"


def openssl(*argv):
    subprocess.run(["openssl", *argv], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                   stdin=subprocess.DEVNULL)


def authority(folder, name):
    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
            "-subj", "/CN=" + name, "-keyout", "%s/%s.key" % (folder, name), "-out", "%s/%s.crt" % (folder, name))


def certificate(folder, name, host, signer):
    """As docs/operations.md makes them."""
    path = "%s/%s" % (folder, name)
    openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=" + host,
            "-addext", "subjectAltName=DNS:" + host, "-keyout", path + ".key", "-out", path + ".csr")
    openssl("x509", "-req", "-in", path + ".csr", "-CA", "%s/%s.crt" % (folder, signer), "-CAkey",
            "%s/%s.key" % (folder, signer), "-CAcreateserial", "-days", "2", "-copy_extensions", "copyall",
            "-out", path + ".crt")


class Tunnel:
    """with Tunnel() as t: a Redis with a password, and both ends of the tunnel before it. Names of files in
    /etc/otpq/tls may be exchanged: {"redis.crt": "other.crt"}."""

    def __init__(self, server=None, client=None):
        self.dir = tempfile.mkdtemp(prefix="otpq-stunnel-")
        self.redis, self.tls, self.plain = free_ports(3)
        self.exchanged = {"server": server or {}, "client": client or {}}
        self.processes = []

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for process in reversed(self.processes):
            process.kill()
            process.wait()
        shutil.rmtree(self.dir, ignore_errors=True)

    def start(self):
        for name in ("ca", "other-ca"):
            authority(self.dir, name)
        for name, host, signer in (("redis", "redis.example", "ca"), ("otpq", "otpq.example", "ca"),
                                   ("elsewhere", "elsewhere.example", "ca"),
                                   ("stranger", "otpq.example", "other-ca"),
                                   ("impostor", "redis.example", "other-ca")):
            certificate(self.dir, name, host, signer)
        with open(self.dir + "/password", "w", opener=lambda p, f: os.open(p, f, 0o600)) as f:
            f.write(PASSWORD + "\n")
        self.spawn(["redis-server", "--port", str(self.redis), "--bind", "127.0.0.1", "--save", "", "--dir",
                    self.dir, "--requirepass", PASSWORD])
        self.stunnel("server", {"0.0.0.0:6380": "127.0.0.1:%d" % self.tls,
                                "connect = 127.0.0.1:6379": "connect = 127.0.0.1:%d" % self.redis})
        self.stunnel("client", {"redis.example:6380": "127.0.0.1:%d" % self.tls,
                                "accept = 127.0.0.1:6379": "accept = 127.0.0.1:%d" % self.plain})
        for port in (self.redis, self.tls, self.plain):
            wait_for(lambda: self.listens(port), 20, "port %d is listened on" % port)

    def stunnel(self, end, here):
        with open("%s/deploy/stunnel/redis-%s.conf" % (ROOT, end), encoding="utf-8") as f:
            text = f.read()
        for before, after in here.items():
            assert text.count(before) == 1, before
            text = text.replace(before, after)
        for before, after in self.exchanged[end].items():
            assert text.count("/etc/otpq/tls/" + before) == 1, before
            text = text.replace("/etc/otpq/tls/" + before, "/etc/otpq/tls/" + after)
        assert text.count("/etc/otpq/tls/") == 3
        text = text.replace("/etc/otpq/tls/", self.dir + "/")
        if os.geteuid() != 0:  # nothing to give up
            text = text.replace("setuid = stunnel4\n", "").replace("setgid = stunnel4\n", "")
        path = "%s/%s.conf" % (self.dir, end)
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        self.spawn(["stunnel4", path])

    def spawn(self, argv):
        with open(self.dir + "/log", "ab") as log:
            self.processes.append(subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log))

    def listens(self, port):
        with socket.socket() as s:
            return s.connect_ex(("127.0.0.1", port)) == 0

    def log(self):
        with open(self.dir + "/log", encoding="utf-8", errors="replace") as f:
            return f.read()

    @property
    def env(self):
        return {"OTPQ_REDIS_ADDRESS": "tcp://127.0.0.1:%d" % self.plain,
                "OTPQ_REDIS_PASSWORD_FILE": self.dir + "/password"}

    def export(self):
        """A command on this configuration; it ends by itself, whatever the tunnel does."""
        return subprocess.run([os.path.join(BUILD, "bin", "otpq"), "export"], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, env=dict(os.environ, OTPQ_DIR=self.dir, **self.env),
                              timeout=20 * SLOW)


def refused(tunnel, why):
    done = tunnel.export()
    assert done.returncode == 1 and b"redis.address" in done.stderr, done
    wait_for(lambda: why in tunnel.log(), 10, why)
    return True


def test_a_node_works_through_the_tunnel():
    with Tunnel() as t:
        with socket.create_connection(("127.0.0.1", t.tls)) as s:  # nobody is served without TLS
            s.settimeout(5)
            s.sendall(b"PING\r\n")
            try:
                assert b"PONG" not in s.recv(100) and b"NOAUTH" not in s.recv(100)
            except OSError:
                pass
        with Node(workers=2, env=t.env) as node:
            msisdn = "66830001234"
            assert node.gen(msisdn)[0] == 200
            assert node.verify(msisdn, node.inbox(msisdn)[-1]["otp"])[0] == 200
            assert redis.Redis(port=t.redis, password=PASSWORD).dbsize() > 0
            assert b"demo" in node.command("export").stdout
            t.processes[1].send_signal(signal.SIGKILL)  # the far end, and with it every connection
            t.processes[1].wait()
            wait_for(lambda: "redis is away" in node.logs(), 10, "it is noticed")
            t.spawn(t.processes[1].args)
            wait_for(lambda: node.gen("66830001235")[0] == 200, 30, "it goes on")


def test_a_certificate_of_another_authority_is_refused():
    with Tunnel(client={"otpq.crt": "stranger.crt", "otpq.key": "stranger.key"}) as t:
        assert refused(t, "certificate verify failed")


def test_a_server_of_another_authority_is_refused():
    with Tunnel(server={"redis.crt": "impostor.crt", "redis.key": "impostor.key"}) as t:
        assert refused(t, "certificate verify failed")


def test_a_server_of_another_name_is_refused():
    with Tunnel(server={"redis.crt": "elsewhere.crt", "redis.key": "elsewhere.key"}) as t:
        assert refused(t, "CERT: Subject checks failed")
