"""`otpq up` as a person meets it: a terminal of 80 columns, Ctrl-C, a closed window, ports in use."""
import fcntl
import os
import pty
import re
import select
import shutil
import signal
import socket
import struct
import subprocess
import termios

import pytest

from node import BUILD, SLOW, Node, wait_for

OTPQ = os.path.join(BUILD, "bin", "otpq")
COLUMNS = 80


class Terminal:
    """with Terminal(node) as t: the node runs in a terminal; t.text is what was written to it."""

    def __init__(self, node, kind="xterm"):
        self.node = node
        self.text = ""
        self.code = None
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.environ.update(node.env, TERM=kind)
            os.execv(OTPQ, [OTPQ, "up", "--demo", "--dir", node.dir, "--config", node.config])
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", 24, COLUMNS, 0, 0))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.code is None:
            os.kill(self.pid, signal.SIGTERM)
            self.end()
        self.close()
        self.node.log.close()
        shutil.rmtree(self.node.dir, ignore_errors=True)

    def read(self):
        """Takes what is there; False at the end."""
        if self.fd is not None and select.select([self.fd], [], [], 0.05)[0]:
            try:
                data = os.read(self.fd, 65536)
            except OSError:  # nobody has it open any more
                return False
            self.text += data.decode("utf-8", "replace")
            return bool(data)
        return True

    def until(self, text, seconds=30):
        wait_for(lambda: not self.read() or text in self.text, seconds, "the terminal shows " + text)
        assert text in self.text, self.text

    def type(self, text):
        os.write(self.fd, text)

    def close(self):
        if self.fd is not None:
            os.close(self.fd)
            self.fd = None

    def end(self, seconds=30):
        """The exit code."""
        def ended():
            self.read()
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.code = os.waitstatus_to_exitcode(status)
            return pid
        wait_for(ended, seconds, "it ends")
        return self.code


def running(folder):
    """Command lines and folders of processes that belong to the node in this folder."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open("/proc/%s/environ" % pid, "rb") as e, open("/proc/%s/cmdline" % pid, "rb") as c:
                if ("OTPQ_DIR=" + folder).encode() in e.read().split(b"\0"):
                    found.append(c.read())
        except OSError:
            continue
    return found


def test_a_terminal_shows_the_flow_the_addresses_and_one_live_line_until_ctrl_c():
    node = Node()
    with Terminal(node) as t:
        t.until("Ctrl-C drains")
        assert running(node.dir)
        bars = COLUMNS // 10 + 2
        wait_for(lambda: t.read() and t.text.count("\r\033[Kdepth ") >= bars, 30, "the line is renewed")
        t.type(b"\x03")
        assert t.end() == 0, t.text
        assert "otpq: draining" in t.text and t.text.rstrip().endswith("otpq: ended"), t.text
    assert not running(node.dir)
    assert "otp_verified" in t.text and "session_written" in t.text
    for port in node.ports.values():
        assert ":%d" % port in t.text
    shown = [line for line in re.split(r"[\r\n]+", t.text.replace("\033[K", ""))
             if not line.startswith("Try:")]  # a line to copy must stay one
    assert [line for line in shown if len(line) > COLUMNS] == []
    assert [line for line in shown if line.startswith("depth ") and len(line) == COLUMNS] == []


def test_a_dumb_terminal_gets_plain_text():
    node = Node()
    with Terminal(node, kind="dumb") as t:
        t.until("Ctrl-C drains")
        t.type(b"\x03")
        assert t.end() == 0, t.text
    assert "\033" not in t.text and "otp_verified" in t.text


def test_a_closed_terminal_ends_the_node():
    node = Node()
    with Terminal(node) as t:
        t.until("Ctrl-C drains")
        t.close()
        assert t.end() == 0
    assert not running(node.dir)


def test_two_ctrl_c_during_the_start_leave_nothing():
    node = Node()
    with Terminal(node) as t:
        wait_for(lambda: t.read() and running(node.dir), 20, "something was started")
        t.type(b"\x03")
        t.until("draining")
        t.type(b"\x03")
        t.end()
    assert not running(node.dir)


KEYS = [("gateway", "gateway.listen"), ("clients", "broker.clients"), ("workers", "broker.workers"),
        ("metrics", "broker.metrics"), ("sandbox", "sandbox.listen")]


@pytest.mark.parametrize("name,key", KEYS)
def test_a_taken_port_is_named_before_anything_starts(name, key):
    node = Node()
    try:
        with socket.socket() as taken:
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)  # as another gateway's is
            taken.bind(("127.0.0.1", node.ports[name]))
            taken.listen()
            done = subprocess.run([OTPQ, "up", "--demo", "--dir", node.dir, "--config", node.config],
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=20 * SLOW)
        text = done.stdout.decode()
        assert done.returncode == 1
        assert "port %d is in use" % node.ports[name] in text and key in text, text
        assert "OTPQ_" + key.upper().replace(".", "_") in text, text
        assert text.count("in use") == 1 and "READY" not in text, text
        assert not os.path.isdir(os.path.join(node.dir, "log")) and not running(node.dir)
    finally:
        node.log.close()
        shutil.rmtree(node.dir, ignore_errors=True)
