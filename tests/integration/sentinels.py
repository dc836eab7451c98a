"""A primary, two replicas and three sentinels on free loopback ports, in folders of the test's own."""
import os
import shutil
import signal
import subprocess
import tempfile

import redis

from node import free_ports, wait_for

NAME = "otpq-main"
DOWN_AFTER_MS = 700


class Sentinels:
    """with Sentinels() as s: Node(env=s.env) … options: more lines for the servers."""

    def __init__(self, options=""):
        self.dir = tempfile.mkdtemp(prefix="otpq-sentinels-")
        self.options = options
        self.servers = free_ports(3)  # ports; the first is the primary at the beginning
        self.sentinels = free_ports(3)
        self.processes = {}  # port: process
        self.argv = {}  # port: what it was started with
        self.address = "sentinel://%s/%s" % (",".join("127.0.0.1:%d" % p for p in self.sentinels), NAME)
        self.env = {"OTPQ_REDIS_ADDRESS": self.address}

    def __enter__(self):
        try:
            for port in self.servers:
                self.server(port, self.servers[0] if port != self.servers[0] else None)
            for port in self.servers[1:]:
                wait_for(lambda: self.info(port).get("master_link_status") == "up", 20, "the replica is in step")
            for port in self.sentinels:
                self.sentinel(port)
            for port in self.sentinels:
                wait_for(lambda: self.sees_all(port), 30, "the sentinels know each other and the replicas")
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

    def spawn(self, port, text, *more):
        folder = os.path.join(self.dir, str(port))
        os.makedirs(folder, exist_ok=True)
        path = os.path.join(folder, "conf")
        with open(path, "w", encoding="utf-8") as f:
            f.write("port %d\nbind 127.0.0.1\ndir %s\nlogfile %s/log\n%s" % (port, folder, folder, text))
        self.argv[port] = ["redis-server", path, *more]
        self.again(port)

    def again(self, port):
        """Starts it as it was; sentinels write into their configuration what they know."""
        self.processes[port] = subprocess.Popen(self.argv[port], stdin=subprocess.DEVNULL,
                                                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for(lambda: self.answers(port), 20, "%d answers" % port)

    def server(self, port, primary):
        """Starts it as a replica, or as the primary."""
        self.spawn(port, 'save ""\nappendonly yes\nappendfsync everysec\nrepl-diskless-sync-delay 0\n'
                   "maxmemory-policy noeviction\n%s%s" % (
                       self.options, "replicaof 127.0.0.1 %d\n" % primary if primary else ""))

    def sentinel(self, port):
        self.spawn(port, "sentinel monitor %s 127.0.0.1 %d 2\nsentinel down-after-milliseconds %s %d\n"
                   "sentinel failover-timeout %s 3000\nsentinel parallel-syncs %s 2\n" % (
                       NAME, self.servers[0], NAME, DOWN_AFTER_MS, NAME, NAME), "--sentinel")

    def client(self, port):
        return redis.Redis(port=port, socket_timeout=2, decode_responses=True)

    def answers(self, port):
        try:
            return self.client(port).ping()
        except redis.exceptions.RedisError:
            return False

    def info(self, port):
        try:
            return self.client(port).info("replication")
        except redis.exceptions.RedisError:
            return {}

    def master(self, port):
        """What one sentinel says of the primary."""
        flat = self.client(port).execute_command("SENTINEL", "MASTER", NAME)
        return flat if isinstance(flat, dict) else dict(zip(flat[::2], flat[1::2]))

    def sees_all(self, port):
        state = self.master(port)
        return int(state["num-slaves"]) == 2 and int(state["num-other-sentinels"]) == 2

    def primary(self):
        """The port that the first sentinel names."""
        host, port = self.client(self.sentinels[0]).execute_command(
            "SENTINEL", "GET-MASTER-ADDR-BY-NAME", NAME)
        return int(port)

    def failed_over(self, old):
        """The new primary's port, when all sentinels name it and it is one."""
        named = {int(self.client(p).execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", NAME)[1])
                 for p in self.sentinels}
        new = named.pop()
        return new if not named and new != old and self.info(new).get("role") == "master" else None

    def all_sentinels(self, action):
        """Ends them or starts them again. (Stopped ones would mistrust their clock for 30 s.)"""
        for port in self.sentinels:
            if action == "end":
                self.signal(port, signal.SIGKILL)
            else:
                self.again(port)

    def signal(self, port, number):
        self.processes[port].send_signal(number)
        if number == signal.SIGKILL:
            self.processes[port].wait()
