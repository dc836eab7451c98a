"""The cables between hosts: every packet from one to another passes here, and is lost, late, queued on a
slow line or cut off as the test says. In user space, because not every kernel has the qdisc netem.

Started by hosts.py: `wire.py NAMESPACE:OCTET:DESCRIPTOR…`, each descriptor a TUN device that is the only
way out of its namespace. Orders are JSON lines on standard input, each answered by a line. When standard
input ends, however that came about, the namespaces are removed with every process in them.
"""
import heapq
import json
import os
import random
import select
import signal
import subprocess
import sys
import time

PACKET_BYTES_MAX = 2048
QUEUE_S = 0.5  # what would wait longer for a slow line is dropped


class Line:
    """From one address to another."""

    def __init__(self, cut=False, loss=0.0, delay_ms=0, jitter_ms=0, rate_kbit=0):
        self.cut, self.loss = cut, loss
        self.delay_s, self.jitter_s = delay_ms / 1000, jitter_ms / 1000
        self.bytes_s = rate_kbit * 1000 / 8
        self.free_at = 0.0  # when the slow line has sent what it has

    def due(self, now, size, chance):
        """When a packet arrives; None: never."""
        if self.cut or chance.random() < self.loss:
            return None
        due = now
        if self.bytes_s:
            self.free_at = max(now, self.free_at) + size / self.bytes_s
            due = self.free_at
            if due - now > QUEUE_S:
                self.free_at -= size / self.bytes_s
                return None
        if self.delay_s:
            due += max(0.0, self.delay_s + chance.uniform(-self.jitter_s, self.jitter_s))
        return due


class Wire:
    """An address is its last octet; what is one behind ten (11 of 1) is a second one of the same host."""

    def __init__(self, devices):
        self.devices = devices  # octet: descriptor
        self.lines = {}         # (octet, octet): Line
        self.counts = {}        # (octet, octet): [carried at once, lost, late]
        self.waiting = []       # heap: (due, order, descriptor, packet)
        self.order = 0
        self.chance = random.Random(4)

    def take(self, packet, now):
        if len(packet) < 20 or packet[0] >> 4 != 4:  # IPv6 looks for routers
            return
        pair = packet[15], packet[19]
        device = self.devices.get(pair[1] % 10)
        if device is None:
            return
        count = self.counts.setdefault(pair, [0, 0, 0])
        line = self.lines.get(pair)
        due = now if line is None else line.due(now, len(packet), self.chance)
        if due is None:
            count[1] += 1
        elif due <= now:
            count[0] += 1
            self.put(device, packet)
        else:
            count[2] += 1
            self.order += 1
            heapq.heappush(self.waiting, (due, self.order, device, packet))

    @staticmethod
    def put(device, packet):
        try:
            os.write(device, packet)
        except OSError:  # its queue is full: a lost packet like others
            pass

    def deliver(self, now):
        """Seconds until the next one is due."""
        while self.waiting and self.waiting[0][0] <= now:
            _, _, device, packet = heapq.heappop(self.waiting)
            self.put(device, packet)
        return self.waiting[0][0] - now if self.waiting else None

    def obey(self, order):
        """{"lines": [[from, to, {…}], …]} puts these instead of those before; {"counts": 1} asks."""
        if "lines" in order:
            self.lines = {(a, b): Line(**how) for a, b, how in order["lines"]}
            self.counts = {}
        return [[*pair, *count] for pair, count in self.counts.items()]

    def run(self):
        orders = b""
        while True:
            wait = self.deliver(time.monotonic())
            ready, _, _ = select.select([0, *self.devices.values()], [], [], wait)
            now = time.monotonic()
            for device in ready:
                if device != 0:
                    self.drain(device, now)
                    continue
                more = os.read(0, 65536)
                if not more:
                    return
                *whole, orders = (orders + more).split(b"\n")
                for order in whole:
                    print(json.dumps(self.obey(json.loads(order))), flush=True)

    def drain(self, device, now):
        for _ in range(64):
            try:
                self.take(os.read(device, PACKET_BYTES_MAX), now)
            except BlockingIOError:
                return


def remove(namespaces):
    for name in namespaces:
        inside = subprocess.run(["ip", "netns", "pids", name], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                                text=True, check=False)
        for pid in inside.stdout.split():
            try:
                os.kill(int(pid), signal.SIGKILL)
            except ProcessLookupError:
                pass
        subprocess.run(["ip", "netns", "delete", name], stderr=subprocess.DEVNULL, check=False)


def main(argv):
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)  # the end of the test ends it, and then in order
    hosts = [word.rsplit(":", 2) for word in argv]
    wire = Wire({int(octet): int(descriptor) for _, octet, descriptor in hosts})
    for descriptor in wire.devices.values():
        os.set_blocking(descriptor, False)
    try:
        wire.run()
    finally:
        remove([name for name, _, _ in hosts])


if __name__ == "__main__":
    main(sys.argv[1:])
