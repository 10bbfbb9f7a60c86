#!/usr/bin/python3
"""Spin on the models of this folder: what is said to hold does, exhaustively, and each deliberately
wrong design is refuted by the property that it was expected to break.

models.py [--large] [-k WORD] [-j JOBS]: one line for each case, then "N passed, N failed". --large
adds the largest cases (`make model`).
"""
import argparse
import concurrent.futures
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent

MEGABYTES = 6000  # what one search may use
LIMIT = 1200      # seconds: only guards against a hang
HOLDS = "no error"

SMALL = {"N": 3, "FAULTS": 1, "LEAVES": 0, "NOTICE": 0, "REBOOT": 1}


class Case:
    def __init__(self, name, model, expected=HOLDS, large=False, cycles=False, **defines):
        self.name, self.model, self.expected = name, model, expected
        self.large, self.cycles, self.defines = large, cycles, defines


def member(name, expected=HOLDS, large=False, cycles=False, **defines):
    return Case(name, "member", expected, large, cycles, **{**SMALL, **defines})


def named(name, expected=HOLDS, cycles=False, **defines):
    return Case(name, "named", expected, False, cycles,
                **{"N": 3, "ROUNDS": 3, "FAULTS": 1, "DEATHS": 1, **defines})


def reform(name, expected=HOLDS, large=False, **defines):
    return Case(name, "reform", expected, large, False,
                **{"N": 2, "ROUNDS": 2, "FAULTS": 1, "SPOILS": 1, "REBOOT": 1, **defines})


def migrate(name, expected=HOLDS, large=False, cycles=False, **defines):
    return Case(name, "migrate", expected, large, cycles, **{"ORDERS": 2, "FAULTS": 1, **defines})


CASES = [
    member("no fault, one leaves", FAULTS=0, LEAVES=1),
    member("no step can be repeated for ever", cycles=True, STUCK=1, LEAVES=1),
    member("1 fault, noticed by the box", NOTICE=1, LEAVES=1, GOOD=1),
    member("1 fault, heartbeats only", NOTICE=0, LEAVES=1, GOOD=1, STUCK=1),
    member("1 fault, a host that sleeps", SLEEP=1),
    member("2 faults, nobody boots again", FAULTS=2, LEAVES=1, GOOD=1, STUCK=1, REBOOT=0),
    member("2 faults", FAULTS=2, GOOD=1),
    member("3 partitions, 3 faults", FAULTS=3, large=True),
    member("4 partitions, 1 fault", N=4),
    member("4 partitions, 2 faults", N=4, FAULTS=2, large=True),

    member("WRONG 1: recovery before the fence", "fenced_before_recovered", WRONG=1),
    member("WRONG 2: the lock is broken after a time", "one_holder", WRONG=2),
    member("WRONG 3: joining outside of the lock", "services_know_the_members", WRONG=3, FAULTS=0),
    member("WRONG 4: who breaks the lock does not recover", "ring_is_one_cycle", WRONG=4, LEAVES=1),
    member("WRONG 5: operational before the services, and its word believed",
           "no_half_built_set_is_joined", WRONG=5, NOTICE=1),
    member("WRONG 6: the leaver stops beating first", "only_the_silent_are_fenced", WRONG=6,
           FAULTS=0, LEAVES=1),
    member("WRONG 7: the lock is released before the ring", "ring_is_one_cycle", WRONG=7),
    member("WRONG 8: a bugcheck without an identity", "only_the_silent_are_fenced", WRONG=8,
           NOTICE=1),
    member("WRONG 9: who was late himself suspects", "only_the_silent_are_fenced", WRONG=9,
           SLEEP=1),
    member("WRONG 10: no accumulation of responsibility", "the_dead_are_removed_at_last", WRONG=10,
           FAULTS=2, STUCK=1, REBOOT=0),
    member("WRONG 11: the fence is answered before the kill", "fenced_before_recovered", WRONG=11),
    member("WRONG 12: alive is asked of a partition, not a life", "a_joiner_gets_in_at_last",
           WRONG=12, NOTICE=1),
    member("WRONG 13: a waiter waits for the release only", "a_joiner_gets_in_at_last", WRONG=13),
    member("WRONG 14: the leaver hands its duties over too late", "ring_is_one_cycle", WRONG=14,
           FAULTS=0, LEAVES=1),
    member("WRONG 15: who is removed is decided before the lock", "fenced_before_recovered",
           WRONG=15, NOTICE=1),

    named("2 deaths of instances, 1 of a program", FAULTS=2),
    named("no step can be repeated for ever", cycles=True),
    named("WRONG 1: free first, marked then", "who_gets_bad_data_is_told", WRONG=1),
    named("WRONG 2: taken without asking the tree", "one_holder", WRONG=2),
    named("WRONG 3: a waiter never looks again", "who_wants_it_gets_it_at_last", WRONG=3),
    named("WRONG 4: what was seen is overwritten, not exchanged", "one_holder", WRONG=4),

    reform("1 range spoilt, 3 instances", N=3, FAULTS=0),
    reform("2 ranges spoilt, 1 death, 2 instances", SPOILS=2),
    reform("1 range spoilt, 1 death, nobody boots again", REBOOT=0),
    reform("1 range spoilt, 1 death, 3 instances", N=3, large=True),
    reform("WRONG 1: granted before all have come over", "one_holder", WRONG=1, FAULTS=0),
    reform("WRONG 2: granted by a set that is over", "one_holder", WRONG=2, SPOILS=2),
    reform("WRONG 3: neither joiner nor program looks again after the ID", "one_holder", WRONG=3,
           FAULTS=0, N=3),
    reform("WRONG 4: the dead are expected for ever", "locks_are_granted_at_last", WRONG=4,
           REBOOT=0),
    reform("WRONG 5: what is held is not claimed", "one_holder", WRONG=5, FAULTS=0),
    reform("WRONG 6: an ID for who creates in a range that was given up", "it_ends", WRONG=6,
           FAULTS=0, N=3),
    reform("WRONG 7: who recovers while it comes over is expected no more", "one_holder",
           WRONG=7, N=3),

    migrate("there and back, 2 faults", FAULTS=2),
    migrate("3 times, 3 faults", large=True, ORDERS=3, FAULTS=3),
    migrate("no step can be repeated for ever", cycles=True),
    migrate("WRONG 1: QUIESCED is not stored", "it_executes_at_last", WRONG=1),
    migrate("WRONG 2: the execution word is given up behind the answer", "one_executes", WRONG=2,
            FAULTS=0),
    migrate("WRONG 3: who has left does not look at TX", "it_executes_at_last", WRONG=3, FAULTS=0),
    migrate("WRONG 4: what was carried out is not recorded", "moved_as_often_as_asked", WRONG=4),
    migrate("WRONG 5: the next console leaves it in transit", "it_executes_at_last", WRONG=5),
    migrate("WRONG 6: who is owed a STARTREQ is forgotten with the console", "it_executes_at_last",
            WRONG=6),
    migrate("WRONG 7: recovery before the fence", "one_executes", WRONG=7),
]


def run(command, folder, limit=LIMIT):
    done = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, timeout=limit, check=False)
    return done.returncode, done.stdout


def verdict(output):
    """What pan said: "no error", the property or the kind of error, or why the search is void."""
    if "max search depth too small" in output or "out of memory" in output:
        return "truncated"
    found = re.search(r"^pan:\d+: (.*)", output, re.M)
    if found:
        words = found.group(1)
        name = re.match(r"assertion violated \((\w+)\|\|", words)
        return name.group(1) if name else words.split(" (at depth")[0]
    if re.search(r"errors: 0$", output, re.M) and "Search not completed" not in output:
        return HOLDS
    return "no verdict"


def check(case):
    """(whether it is as expected, verdict, states, seconds)."""
    started = time.monotonic()
    defines = [f"-D{name}={value}" for name, value in case.defines.items()]
    # NOREDUCE: with rendezvous in an escape clause partial order reduction is not sound.
    search = ["-DNP"] if case.cycles else ["-DSAFETY"]
    # What ends at the first error has little to search: the compiler would take longer.
    compiler = ["gcc", "-O2" if case.expected == HOLDS else "-O0", "-w", "-DNOREDUCE",
                "-DCOLLAPSE", f"-DMEMLIM={MEGABYTES}", *search]
    with tempfile.TemporaryDirectory(prefix="apmp-model-") as folder:
        status, output = run(["spin", "-a", *defines, str(HERE / f"{case.model}.pml")], folder)
        if not status and Path(folder, "pan.c").exists():
            status, output = run([*compiler, "-o", "pan", "pan.c"], folder)
            if not status:
                _, output = run(["./pan", "-m1000000", *(["-l"] if case.cycles else [])], folder)
    found = verdict(output)
    if found == "no verdict":
        print(output)
    states = re.search(r"([\d.e+]+) states, stored", output)
    return (found == case.expected, found, int(float(states.group(1))) if states else 0,
            time.monotonic() - started)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--large", action="store_true", help="the largest cases as well")
    parser.add_argument("-k", default="", help="only cases whose name contains this")
    parser.add_argument("-j", type=int, default=os.cpu_count(), help="searches at a time")
    options = parser.parse_args()
    cases = [case for case in CASES if options.k in f"{case.model}: {case.name}" and
             (options.large or not case.large)]
    failed = 0
    with concurrent.futures.ThreadPoolExecutor(options.j) as pool:
        for case, (good, found, states, seconds) in zip(cases, pool.map(check, cases)):
            failed += not good
            wanted = "" if good else f", expected: {case.expected}"
            print(f"{'ok' if good else 'FAIL':4}  {case.model}: {case.name}: {found}{wanted}"
                  f"  ({states:,} states, {seconds:.1f} s)", flush=True)
    print(f"{len(cases) - failed} passed, {failed} failed")
    return 1 if failed or not cases else 0


if __name__ == "__main__":
    sys.exit(main())
