"""The loop over failing calls (docs/development.md, "Failing calls").

    tests/failing/loop.py [--program broker] [--kind alloc,recv] [--every] [--seconds 60] [--seed N]

Every call of every kind fails once: of kinds with few calls each n, of the others (allocations) each
place that calls, which is the same code; --every takes each n there too. With --seconds a random
sample is taken, as long as there is time. Ends with a table, and 1 when something is wrong.
"""
import argparse
import collections
import errno
import itertools
import multiprocessing
import os
import random
import sys
import time

from way import KINDS, PROGRAMS, Way, Wrong

FEW = 60  # calls of a kind: up to here each n is taken
SHORT = 0
# What a kind fails with: the errnos that are usual for it; SHORT: it moves one byte.
HOW = {
    "alloc": [errno.ENOMEM], "socket": [errno.EMFILE], "connect": [errno.ECONNREFUSED, errno.ENETUNREACH],
    "bind": [errno.EADDRINUSE], "listen": [errno.EADDRINUSE], "accept": [errno.EMFILE, errno.ECONNABORTED],
    "read": [errno.EINTR, errno.EIO, SHORT], "write": [errno.EINTR, errno.EPIPE, SHORT],
    "recv": [errno.EINTR, errno.ECONNRESET, SHORT], "send": [errno.EINTR, errno.EPIPE, SHORT],
    "readv": [errno.EINTR, errno.ECONNRESET, SHORT], "writev": [errno.EINTR, errno.EPIPE, SHORT],
    "open": [errno.EMFILE], "fopen": [errno.EMFILE], "fsync": [errno.EIO], "epoll_create": [errno.EMFILE],
    "epoll_ctl": [errno.ENOMEM], "epoll_wait": [errno.EINTR], "poll": [errno.EINTR], "eventfd": [errno.EMFILE],
    "timerfd": [errno.EMFILE], "pipe": [errno.EMFILE], "socketpair": [errno.EMFILE], "fcntl": [errno.EINVAL],
    "setsockopt": [errno.ENOBUFS], "getsockopt": [errno.ENOBUFS], "getsockname": [errno.ENOBUFS],
    "getrandom": [errno.EINTR, errno.ENOSYS], "thread": [errno.EAGAIN], "stat": [errno.EACCES],
    "rename": [errno.EACCES], "ioctl": [errno.ENOTTY],
}
# What was wrong once: libraries' functions in which a call failed. They come first in a sample.
ONCE_WRONG = [
    (program, "%s:in:%s:%d" % (kind, function, number))
    for program in PROGRAMS
    for kind, function, number in (
        ("eventfd", "zmq_ctx_new", errno.EMFILE),  # a must() of our own
        ("alloc", "zmq_ctx_new", errno.ENOMEM),
        ("alloc", "yaml_parser_initialize", errno.ENOMEM),  # a must() of our own
        ("alloc", "yaml_parser_fetch_more_tokens", errno.ENOMEM),  # records stayed refused
        ("alloc", "redisAsyncConnectUnix", errno.ENOMEM),  # a must() of our own
        ("alloc", "redisAsyncCommand", errno.ENOMEM),
        ("alloc", "json_object", errno.ENOMEM),  # answers would have lacked members
        # every number was invalid from then on
        ("alloc", "_ZN6icu_7210UnicodeSet20ensureBufferCapacityEi", errno.ENOMEM),
        ("epoll_ctl", "event_add", errno.ENOMEM),  # a must() of our own
    )
]
WAYS = {}  # of this process of the pool


def way_of(program):
    if program not in WAYS:
        WAYS[program] = Way(program)
        WAYS[program].__enter__()
        WAYS[program].measure()
    return WAYS[program]


def end_ways():
    while WAYS:
        WAYS.popitem()[1].stop()


def runner(todo, done):
    """A process of its own: takes cases until there is none."""
    try:
        for case in iter(todo.get, None):
            done.put(attempt(case))
    finally:
        end_ways()
        done.put(None)


def results_of(cases, jobs, seconds):
    """Results as they come, until all are there or the time is over."""
    todo, done = multiprocessing.Queue(), multiprocessing.Queue()
    runners = [multiprocessing.Process(target=runner, args=(todo, done)) for _ in range(jobs)]
    for process in runners:
        process.start()
    end = time.monotonic() + seconds if seconds else None
    rest = iter(cases)
    for case in itertools.islice(rest, jobs * 2):
        todo.put(case)
    running = jobs
    while running:
        result = done.get()
        if result is None:
            running -= 1
            continue
        case = next(rest, None) if end is None or time.monotonic() < end else None
        todo.put(case)
        yield result
    for process in runners:
        process.join()


def attempt(case):
    """(case, hit, how it ended or None, what is wrong, the stack of the call)"""
    program, spec = case
    try:
        way = way_of(program)
    except (Wrong, AssertionError) as error:
        end_ways()
        return case, True, None, "the whole way does not work: %s" % error, []
    try:
        ended, _ = way.run(spec)
        return case, way.board.hit(), ended, None, way.board.stack()
    except Wrong as wrong:
        stack, hit = way.board.stack(), way.board.hit()
        del WAYS[program]
        way.stop()
        return case, hit, None, str(wrong), stack


def cases_of(program, kinds, every):
    """Every spec of a program, by what a whole run of it calls."""
    found = []
    with Way(program) as way:
        counts = way.measure()
        for kind in kinds:
            n = counts.get(kind, 0)
            if n == 0 or kind not in HOW:
                continue
            if every or n <= FEW:
                ways = ["%s:n:%d" % (kind, i + 1) for i in range(n)]
            else:
                way.run("%s:list" % kind)
                ways = ["%s:at:%d" % (kind, place) for place in sorted(set(way.board.places()))]
            found += [(program, "%s:%d" % (spec, number)) for spec in ways for number in HOW[kind]]
    return found


def sample(cases, seed):
    """All of them in a random order in which every kind comes early, and allocations often."""
    chance = random.Random(seed)
    groups = collections.defaultdict(list)
    for program, spec in cases:
        groups[program, spec.split(":")[0]].append((program, spec))
    placed = []
    for (_, kind), group in groups.items():
        chance.shuffle(group)
        every = 0.1 if kind == "alloc" else 1
        placed += [((i + chance.random()) * every, case) for i, case in enumerate(group)]
    return [case for _, case in sorted(placed)]


def show(done, total, wrong, began):
    if sys.stdout.isatty():
        sys.stdout.write("\r\033[K%d of %d, %d wrong, %.0f s" % (done, total, wrong, time.monotonic() - began))
        sys.stdout.flush()


def table(results):
    """By program and kind: how many, and what became of them."""
    rows = collections.defaultdict(collections.Counter)
    aborts = collections.Counter()
    for (program, spec), hit, ended, wrong, _ in results:
        row = rows[program, spec.split(":")[0]]
        row["runs"] += 1
        word = "WRONG" if wrong else "not reached" if not hit else ended.split(":")[0]
        row[word] += 1
        if ended and ended.startswith("library"):
            aborts[ended] += 1
    columns = ["runs", "went on", "ended in order", "library abort", "library crash", "library leak",
               "not reached", "WRONG"]
    print("\r\033[K" if sys.stdout.isatty() else "", end="")
    print("%-8s %-13s" % ("program", "kind") + "".join("%16s" % c for c in columns))
    for (program, kind), row in sorted(rows.items()):
        print("%-8s %-13s" % (program, kind) + "".join("%16d" % row[c] for c in columns))
    for text, n in aborts.most_common():
        print("%5d × %s" % (n, text))


def main():
    parser = argparse.ArgumentParser(description="let every call fail once")
    parser.add_argument("--program", help="comma-separated; all")
    parser.add_argument("--kind", help="comma-separated; all")
    parser.add_argument("--every", action="store_true", help="each n of kinds with many calls too")
    parser.add_argument("--seconds", type=float, help="a random sample for this long")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 31))
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 2)
    args = parser.parse_args()
    began = time.monotonic()
    programs = args.program.split(",") if args.program else PROGRAMS
    kinds = args.kind.split(",") if args.kind else KINDS
    cases = [c for program in programs for c in cases_of(program, kinds, args.every or args.seconds)]
    if args.seconds:
        first = [c for c in ONCE_WRONG if c[0] in programs and c[1].split(":")[0] in kinds]
        print("a sample of %d, --seed %d" % (len(cases), args.seed), flush=True)
        cases = first + sample(cases, args.seed)
    results, wrong = [], 0
    for result in results_of(cases, args.jobs, args.seconds):
        results.append(result)
        if result[3]:
            wrong += 1
            print("\n== %s %s\n%s\n-- the call:\n  %s" % (*result[0], result[3], "\n  ".join(result[4])),
                  flush=True)
        show(len(results), len(cases), wrong, began)
    table(results)
    print("%d runs, %d wrong, %.0f s%s" % (len(results), wrong, time.monotonic() - began,
                                           ", --seed %d" % args.seed if args.seconds else ""))
    return 1 if wrong or not results else 0


if __name__ == "__main__":
    sys.exit(main())
