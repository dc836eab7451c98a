"""Real bearerbox, smsbox and fake SMSC on free ports, with the configuration in deploy/kannel/."""
import ctypes
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile

from node import ROOT, SLOW, free_ports, wait_for

FOLDER = os.path.join(ROOT, "deploy", "kannel")
FAKE_SMSC = "/usr/lib/kannel/test/fakesmsc"
PORTS = (13000, 13001, 13002, 13013)  # of kannel.conf: admin, smsbox, SMSC, sendsms
CLONE_NEWNET = 0x40000000


class LoopbackOnly:
    """The fake SMSC of bearerbox listens on every address; so, as root, the whole test runs in a network
    of its own that has nothing but loopback."""

    def __init__(self):
        self.libc = ctypes.CDLL(None, use_errno=True)
        self.before = None

    def __enter__(self):
        if os.geteuid() != 0:
            return self
        before = os.open("/proc/self/ns/net", os.O_RDONLY)
        if self.libc.unshare(CLONE_NEWNET) != 0:  # root of a container
            os.close(before)
            return self
        self.before = before
        try:
            subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        except BaseException:
            self.__exit__()  # or the tests after it would be without a network
            raise
        return self

    def __exit__(self, *_):
        if self.before is not None:
            assert self.libc.setns(self.before, CLONE_NEWNET) == 0
            os.close(self.before)


def listens(port):
    with socket.socket() as s:
        return s.connect_ex(("127.0.0.1", port)) == 0


class Kannel:
    """with Kannel(gateway_port) as k: k.texts(), k.mo(…)"""

    def __init__(self, gateway_port):
        self.dir = tempfile.mkdtemp(prefix="otpq-kannel-")
        self.ports = dict(zip(PORTS, free_ports(len(PORTS))))
        self.ports[8080] = gateway_port
        with open(os.path.join(FOLDER, "kannel.conf"), encoding="utf-8") as f:
            text = f.read()
        self.config = os.path.join(self.dir, "kannel.conf")
        with open(self.config, "w", encoding="utf-8") as f:
            f.write(self.replace_ports(text))
        self.running = []
        self.smsc = None

    def replace_ports(self, text):
        shipped = r"\b(%s)\b" % "|".join(str(port) for port in self.ports)
        return re.sub(shipped, lambda found: str(self.ports[int(found.group())]), text)

    def path(self, name):
        return os.path.join(self.dir, name)

    def log(self, name):
        with open(self.path(name), encoding="utf-8", errors="replace") as f:
            return f.read()

    def run(self, log, *argv):
        with open(self.path(log), "ab") as f:
            process = subprocess.Popen(argv, stdout=f, stderr=subprocess.STDOUT, cwd=self.dir,
                                       stdin=subprocess.DEVNULL)
        self.running.append(process)
        return process

    def end(self, process):
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20 * SLOW)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        self.running.remove(process)

    def __enter__(self):
        try:
            self.run("bearerbox.log", "/usr/sbin/bearerbox", self.config)
            wait_for(lambda: listens(self.ports[13001]) and listens(self.ports[13002]), 20,
                     "bearerbox listens")
            self.run("smsbox.log", "/usr/sbin/smsbox", self.config)
            wait_for(lambda: listens(self.ports[13013]), 20, "smsbox listens")
            self.connect_smsc("-m", "0", "1 1 text nothing")
            return self
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *_):
        for process in list(reversed(self.running)):
            self.end(process)
        shutil.rmtree(self.dir, ignore_errors=True)

    def connect_smsc(self, *arguments):
        """The one connection of the fake SMSC: the one before is ended first."""
        if self.smsc is not None:
            self.end(self.smsc)
        connected = "Fakesmsc client connected"
        before = self.log("bearerbox.log").count(connected)
        self.smsc = self.run("smsc.log", FAKE_SMSC, "-H", "127.0.0.1", "-r", str(self.ports[13002]),
                             "-i", "0.01", *arguments)
        wait_for(lambda: self.log("bearerbox.log").count(connected) > before, 10,
                 "the SMSC is connected")

    def mo(self, sender, receiver, *texts):
        """SMS of a user, one for each text; the SMSC goes on to take what otpq sends."""
        for text in texts:
            self.connect_smsc("-m", "1", "%s %s text %s" % (sender, receiver, text))

    def texts(self, msisdn):
        """What arrived at a phone, oldest first."""
        return re.findall(r"Got message \d+: <\S+ \+?%s text (.*)>" % msisdn, self.log("smsc.log"))
