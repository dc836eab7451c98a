"""A Redis Cluster of three primaries and three replicas on free loopback ports, in a folder of the test's own."""
import binascii
import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading

import redis

from node import Node, free_ports, wait_for

SLOTS = 16384


def tag_of(key):
    """What of a key decides its slot."""
    found = re.match(r"[^{]*\{([^}]+)\}", key)
    return found.group(1) if found else key


def slot_of(key):
    return binascii.crc_hqx(tag_of(key).encode("utf-8", "surrogateescape"), 0) % SLOTS


def tag_of_number(msisdn):
    """As msisdn_tag: the last byte of FNV-1a, folded."""
    h = 1469598103934665603
    for byte in msisdn.encode():
        h = (h ^ byte) * 1099511628211 % 2 ** 64
    return "%02x" % ((h ^ (h >> 32)) & 0xff)


class Cluster:
    """with Cluster() as c: Node(env=c.env) …"""

    def __init__(self, options=""):
        self.dir = tempfile.mkdtemp(prefix="otpq-cluster-")
        self.options = options
        ports = free_ports(12)
        self.ports, self.bus = ports[:6], dict(zip(ports[:6], ports[6:]))
        self.processes = {}  # port: process
        self.env = {"OTPQ_REDIS_ADDRESS": "cluster://%s" % ",".join(
            "127.0.0.1:%d" % p for p in (self.ports[0], self.ports[3]))}  # a primary and a replica

    def __enter__(self):
        try:
            for port in self.ports:
                self.spawn(port)
            self.form()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for process in self.processes.values():
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.kill()
            process.wait()
        shutil.rmtree(self.dir, ignore_errors=True)

    def spawn(self, port):
        folder = os.path.join(self.dir, str(port))
        os.makedirs(folder, exist_ok=True)
        path = os.path.join(folder, "conf")
        with open(path, "w", encoding="utf-8") as f:
            f.write("port %d\nbind 127.0.0.1\ndir %s\nlogfile %s/log\ncluster-enabled yes\ncluster-port %d\n"
                    "cluster-config-file nodes.conf\ncluster-node-timeout 1000\n"
                    "cluster-replica-validity-factor 0\nsave \"\"\nappendonly yes\nappendfsync everysec\n"
                    "repl-diskless-sync-delay 0\nmaxmemory-policy noeviction\n%s" % (
                        port, folder, folder, self.bus[port], self.options))
        self.processes[port] = subprocess.Popen(["redis-server", path], stdin=subprocess.DEVNULL,
                                                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for(lambda: self.answers(port), 20, "%d answers" % port)

    def form(self):
        first = self.ports[0]
        for i, port in enumerate(self.ports):
            self.do(port, "CLUSTER", "SET-CONFIG-EPOCH", i + 1)
        for i, port in enumerate(self.ports[:3]):
            self.do(port, "CLUSTER", "ADDSLOTSRANGE", SLOTS * i // 3, SLOTS * (i + 1) // 3 - 1)
        for port in self.ports[1:]:
            self.do(first, "CLUSTER", "MEET", "127.0.0.1", port, self.bus[port])
        for port in self.ports:
            wait_for(lambda: len(self.nodes(port)) == 6, 20, "%d knows all" % port)
        for primary, replica in zip(self.ports[:3], self.ports[3:]):
            self.do(replica, "CLUSTER", "REPLICATE", self.id(primary))
        wait_for(lambda: all(self.settled(p) for p in self.ports), 30, "the cluster is formed")

    def settled(self, port):
        flags = [n["flags"] for n in self.nodes(port)]
        link = self.client(port).info("replication")
        return (b"cluster_state:ok" in self.do(port, "CLUSTER", "INFO") and
                sum("slave" in f for f in flags) == 3 and
                (link["role"] == "master" or link["master_link_status"] == "up"))

    def client(self, port):
        return redis.Redis(port=port, socket_timeout=5)

    def do(self, port, *words):
        """As bytes: this library would read answers of CLUSTER in its own way."""
        client = self.client(port)
        client.response_callbacks.clear()
        try:
            return client.execute_command(*words)
        finally:
            client.close()

    def answers(self, port):
        try:
            return self.do(port, "PING") == b"PONG"
        except redis.exceptions.RedisError:
            return False

    def nodes(self, port):
        """What a node says of all."""
        rows = []
        for line in self.do(port, "CLUSTER", "NODES").decode().splitlines():
            words = line.split()
            rows.append({"id": words[0], "port": int(words[1].split("@")[0].rsplit(":", 1)[1]),
                         "flags": words[2].split(","), "slots": [w for w in words[8:] if w[0] != "["]})
        return rows

    def id(self, port):
        return self.do(port, "CLUSTER", "MYID").decode()

    def alive(self):
        return [p for p in self.ports if self.processes[p].poll() is None]

    def owner(self, slot):
        """The port of the primary that owns it, by the first living node."""
        for row in self.nodes(self.alive()[0]):
            for part in row["slots"]:
                first, _, last = part.partition("-")
                if int(first) <= slot <= int(last or first) and "fail" not in row["flags"]:
                    return row["port"]
        return None

    def primaries(self):
        return sorted({self.owner(slot) for slot in (0, SLOTS // 2, SLOTS - 1)})

    def refusals(self):
        """How many scripts were told, by the guard or by Redis, that they may not begin yet: TRYAGAIN. Those
        whose first key is not there are told ASK, and the broker's feeders hear that all the time."""
        return sum(int(self.client(port).info("errorstats").get("errorstat_TRYAGAIN", "=0").split("=")[1])
                   for port in self.alive())

    def kill(self, port):
        self.processes[port].kill()
        self.processes[port].wait()

    def moving(self, slot, target):
        """Moves a slot; stops between the steps: begun, half of its keys moved, all of them, done."""
        source = self.owner(slot)
        assert source != target
        self.do(target, "CLUSTER", "SETSLOT", slot, "IMPORTING", self.id(source))
        self.do(source, "CLUSTER", "SETSLOT", slot, "MIGRATING", self.id(target))
        yield "begun"
        count = self.do(source, "CLUSTER", "COUNTKEYSINSLOT", slot)
        self.migrate(slot, source, target, count // 2)
        yield "half"
        self.migrate(slot, source, target, None)
        yield "all"
        for port in (target, source, *self.alive()):
            if "master" in [f for n in self.nodes(port) if "myself" in n["flags"] for f in n["flags"]]:
                self.do(port, "CLUSTER", "SETSLOT", slot, "NODE", self.id(target))
        yield "done"

    def migrate(self, slot, source, target, most):
        while most is None or most > 0:
            keys = self.do(source, "CLUSTER", "GETKEYSINSLOT", slot, min(most or 50, 50))
            if not keys:
                return
            self.do(source, "MIGRATE", "127.0.0.1", target, "", 0, 5000, "KEYS", *keys)
            most = None if most is None else most - len(keys)

    def keys(self):
        """{key: [ports of primaries that have it]}"""
        found = {}
        for port in self.primaries():
            for key in self.client(port).scan_iter(count=1000):
                found.setdefault(key.decode(), []).append(port)
        return found


class Watched:
    """with Watched(cluster) as w: …; w.strays() are scripts that touched a key of another slot."""

    KEYLESS = {"TIME", "PUBLISH"}

    def __init__(self, cluster):
        self.cluster, self.threads, self.clients, self.lines = cluster, [], [], {}

    def __enter__(self):
        for port in self.cluster.primaries():
            self.lines[port] = []
            client = redis.Redis(port=port).connection_pool.get_connection("MONITOR")
            client.send_command("MONITOR")
            client.read_response()
            self.clients.append(client)
            self.threads.append(threading.Thread(target=self.read, args=(client, self.lines[port])))
            self.threads[-1].start()
        return self

    @staticmethod
    def read(client, lines):
        try:
            while True:
                lines.append(client.read_response(disable_decoding=True).decode("utf-8", "replace"))
        except (redis.exceptions.RedisError, OSError, ValueError, AttributeError):
            return

    def __exit__(self, *_):
        for client in self.clients:
            client._sock.shutdown(2)
        for thread in self.threads:
            thread.join()

    def strays(self):
        """Each script is followed by what it did, until the next command that is not a script's."""
        wrong, scripts, commands = [], 0, 0
        for lines in self.lines.values():
            slot = None
            for line in lines:
                words = [w.replace('\\"', '"') for w in re.findall(r'"((?:[^"\\]|\\.)*)"', line)]
                if " lua] " in line:
                    commands += 1
                    if words[0] not in self.KEYLESS and (len(words) < 2 or slot_of(words[1]) != slot):
                        wrong.append(line[:200])
                elif words and words[0].upper() in ("EVALSHA", "EVAL") and words[2] != "0":
                    scripts += 1
                    slot = slot_of(words[3])
                else:
                    slot = None
        return wrong, scripts, commands


class ClusterNode(Node):
    """A whole node whose Redis is a cluster."""

    def __init__(self, cluster, **more):
        super().__init__(env=cluster.env, **more)
