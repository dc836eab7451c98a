"""planted.py OTPQ-SIM: the test of the test. Each bug that the simulator can plant into the world of several
brokers is to be found within 60 s of processor time, by seeds from 1 on, and first by the one that found it
before where that took long. Says what found it."""
import itertools
import re
import resource
import subprocess
import sys

CPU_S_MAX = 60
STEPS = 400000
FIRST = {"shelf-open-owner": 6, "shelf-take-from": 13, "forgot-claims": 56}


def cpu_s():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def found(sim, bug):
    """What found it, or None."""
    began = cpu_s()
    seeds = itertools.chain([FIRST[bug]] if bug in FIRST else [], itertools.count(1))
    while cpu_s() - began < CPU_S_MAX:
        seed = next(seeds)
        run = subprocess.run([sim, "--plant", bug, "--seed", str(seed), "--steps", str(STEPS)],
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                             preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CPU, (CPU_S_MAX, CPU_S_MAX)))
        if run.returncode == 1:
            broken = re.search(r'cond="(.*)" at=\S*/(\S+)', run.stdout)
            what = "%s at %s" % broken.groups() if broken else run.stdout[-300:]
            return "seed %d after %.1f s: %s" % (seed, cpu_s() - began, what)
        if run.returncode != 0:
            print(run.stdout[-2000:])
            return None
    return None


def main():
    sim = sys.argv[1]
    bugs = subprocess.run([sim, "--plants"], stdout=subprocess.PIPE, text=True, check=True).stdout.split()
    missed = 0
    for bug in bugs:
        how = found(sim, bug)
        missed += how is None
        print("planted: %s %s" % (bug, "NOT FOUND" if how is None else "found by " + how), flush=True)
    sys.exit(1 if missed or not bugs else 0)


if __name__ == "__main__":
    main()
