#!/usr/bin/python3
"""The driver of `make check`: runs the stages of the tests, counts, and sums up.

A stage asks make for what it needs, runs it under a time limit, ends what it left running, and
gives back what passed and failed. The time limits only guard against a hang; no test waits for a
time. The last line is `N passed, N failed` and nothing else: libcheck checks, pytest tests,
simulator runs, examples and lint checks all count as one each. A build that fails, a program that
crashes or overruns its limit, a stage that finds nothing to run counts as one failure. Logs stay
in BUILD/log, what a failed system test left in BUILD/failures.
"""
import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import get_context
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(TOP / "tests"))
import descendants  # noqa: E402
import leftovers  # noqa: E402

PROGRAM_LIMIT = 300  # seconds for one test program, simulator command, lint script or example
STRAY_GRACE = 5      # seconds in which what a command started may end after it
STOP_GRACE = 60      # seconds for a command that overran its limit, to end in order
STAGE_LIMIT = 1800   # seconds for one build or for all system tests

# Arguments of apmp-sim. It prints what reproduces a finding, and ends with "N passed, N failed".
SIMULATIONS = [
    "--seed 1..1500 --twice --workers 2",
    # It did not settle, for want of time, where the host was too slow for all ticks.
    "--seed 782 --instances 8 --policy pct",
    # Two made a set where a stray writer had been, which nobody may be blamed for.
    "--seed 963 --instances 8 --policy pct",
    *(f"--exhaust-kills {operation} --instances 3 --seed 1..2 --workers 2"
      for operation in ("create", "join", "leave", "tick", "fence", "recover", "acquire",
                        "release")),
    # A CPU that moves: its source, its receiver and the console die.
    *(f"--exhaust-kills {operation} --instances 3 --seed {seeds} --workers 2"
      for operation, seeds in (("migrate", "1"), ("halt", "1..2"), ("rx", "1"), ("deassign", "1"),
                               ("failover", "1"), ("crash", "1..2"))),
    *(f"--exhaust-kills {operation} --pairs --stride 100 --instances 3 --seed 1 --workers 2"
      for operation in ("migrate", "halt", "rx", "deassign", "failover", "crash")),
    # A sample of those with a second death or switch; `make exhaust` runs all.
    *(f"--exhaust-kills {operation} --pairs --stride {stride} --instances 3 --seed 1 --workers 2"
      for operation, stride in (("create", 4000), ("join", 4), ("leave", 4), ("tick", 1),
                                ("fence", 4), ("recover", 4), ("acquire", 8), ("release", 4))),
    *(f"--exhaust-switches {operation} --stride {stride} --instances 3 --seed 1 --workers 2"
      for operation, stride in (("join-join", 10000), ("join-death", 1000),
                                ("leave-suspicion", 1000), ("lock-death", 2000))),
    # Weak memory: that a store is seen at once is one of the orders that it tries.
    "--exhaust-kills update --memory weak --seed 2 --workers 2",
    "--exhaust-kills nvram --seed 1..200",
]

COUNT_LINE = re.compile(r"^(\d+) passed, (\d+) failed$", re.M)

SANITIZERS = {
    "ASAN_OPTIONS": "detect_stack_use_after_return=1:strict_string_checks=1:"
                    "print_legend=0",
    "UBSAN_OPTIONS": "print_stacktrace=1",
    "TSAN_OPTIONS": "halt_on_error=1:second_deadlock_stack=1",
}


@dataclass
class Result:
    passed: int = 0
    failed: int = 0
    skipped: int = 0
    seconds: float = 0.0
    failures: list = field(default_factory=list)  # one sentence each, repeated in the summary

    def fail(self, sentence, count=1):
        self.failed += count
        self.failures.append(sentence)

    def add(self, other):
        self.passed += other.passed
        self.failed += other.failed
        self.skipped += other.skipped
        self.failures += other.failures


@dataclass
class Outcome:
    status: int  # exit status, negative signal, or None for overrun
    strays: list  # processes that outlived the command, and were killed
    output: str
    log: Path
    seconds: float

    @property
    def ok(self):
        return self.status == 0 and not self.strays

    def said(self):
        if self.status is None:
            return "overran its time limit and was killed"
        if self.status < 0:
            return f"died by {signal.Signals(-self.status).name}"
        if self.strays:
            return f"left {len(self.strays)} processes running: {', '.join(self.strays)}"
        return f"exit status {self.status}"


def run(context, name, command, limit=PROGRAM_LIMIT, env=None):
    """Runs one command with its output in BUILD/log/NAME.log; never longer than limit."""
    log = context.build / "log" / f"{name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    strays = []
    with open(log, "wb") as out:
        child = subprocess.Popen(command, cwd=TOP, stdout=out, stderr=subprocess.STDOUT,
                                 stdin=subprocess.DEVNULL, start_new_session=True,
                                 env={**context.env, **(env or {})})
        try:
            status = descendants.wait(child, limit)
            if status is None:  # pytest then ends its machines in order
                child.send_signal(signal.SIGINT)
                descendants.wait(child, STOP_GRACE)
            else:
                strays = descendants.outlive(child, STRAY_GRACE)
        finally:
            descendants.kill_all()
    return Outcome(status, strays, log.read_text(errors="replace"), log,
                   time.monotonic() - started)


def show(name, result, seconds):
    verdict = "FAIL" if result.failed else "ok"
    failed = f", {result.failed} failed" if result.failed else ""
    skipped = f", {result.skipped} skipped" if result.skipped else ""
    print(f"  {verdict:4}  {name:56} {result.passed:5} passed{failed}{skipped}  {seconds:.1f} s",
          flush=True)


def show_tail(outcome, lines=40):
    text = outcome.output.rstrip().splitlines()
    if len(text) > lines:
        print(f"        ... (all of it: {outcome.log})")
    for line in text[-lines:]:
        print("        " + line)


class Context:
    """Where things are built, and the environment that every command gets."""

    def __init__(self, options):
        self.options = options
        self.build = TOP / options.build
        self.broken = set()  # builds that failed, so that each is shown once
        self.env = {k: v for k, v in os.environ.items()
                    if k not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES")}
        self.env.update(SANITIZERS)
        self.env["APMP_POINTS_DIR"] = str(self.build / "points")
        self.env["NO_COLOR"] = "1"

    def directory(self, profile):
        """Build output of a profile."""
        if self.options.dir and profile == self.options.profile:
            return TOP / self.options.dir
        return self.build / profile

    def make(self, profile, *targets):
        """Builds; gives None, or the Result of a failed build."""
        name = f"build-{profile}-{Path(targets[0]).name}"
        result = Result()
        if name in self.broken:
            result.fail(f"not run, for {name} had failed")
            return result
        command = [self.options.make, "--no-print-directory", f"-j{os.cpu_count() or 1}",
                   f"PROFILE={profile}", f"CC={self.options.cc}", f"BUILD={self.options.build}",
                   f"B={os.path.relpath(self.directory(profile), TOP)}", *targets]
        outcome = run(self, name, command, STAGE_LIMIT)
        if outcome.ok:
            return None
        self.broken.add(name)
        result.fail(f"{name}: {outcome.said()}")
        show(name, result, outcome.seconds)
        show_tail(outcome)
        return result


def stage_build(context, profile):
    """One check: every program builds without a warning."""
    return context.make(profile, "all") or Result(passed=1)


def stage_lint(context, profile):
    """One check for each script in tests/lint."""
    libapmp = os.path.relpath(context.directory(profile) / "libapmp.a", TOP)
    total = context.make(profile, libapmp)
    if total:
        return total
    total = Result()
    env = {"APMP_BUILD": str(context.directory(profile))}
    for script in sorted((TOP / "tests/lint").iterdir()):
        if not os.access(script, os.X_OK) or script.is_dir():
            continue
        outcome = run(context, f"lint-{script.stem}", [str(script)], STAGE_LIMIT, env)
        result = Result(passed=1)
        if not outcome.ok:
            result = Result()
            result.fail(f"lint {script.stem}: see the lines above")
        show(f"lint {script.stem}", result, outcome.seconds)
        if result.failed:
            show_tail(outcome, 60)
        total.add(result)
    return total


def tap_count(path):
    """(passed, failed lines) of libcheck's TAP log; None if the program wrote none."""
    if not path.exists():
        return None
    lines = path.read_text(errors="replace").splitlines()
    return (sum(line.startswith("ok ") for line in lines),
            [line for line in lines if line.startswith("not ok ")])


def can_disable_aslr():
    """Some sandboxes refuse personality(2)."""
    return subprocess.run(["setarch", "-R", "true"], stderr=subprocess.DEVNULL,
                          check=False).returncode == 0


def run_test_program(context, profile, program):
    """A libcheck program counts its checks; any other program counts as one."""
    name = f"{profile}-{program.name}"
    tap = context.build / "log" / f"{name}.tap"
    tap.unlink(missing_ok=True)
    env = {"CK_TAP_LOG_FILE_NAME": str(tap), "CK_FORK": "yes", "CK_TIMEOUT_MULTIPLIER": "5",
           "APMP_BIN": str(context.directory(profile))}
    # gcc 12's thread sanitizer can't place its shadow under the widest address randomization.
    command = ["setarch", "-R"] if profile == "tsan" and can_disable_aslr() else []
    outcome = run(context, name, command + [str(program)], PROGRAM_LIMIT, env)

    result = Result()
    counted = tap_count(tap)
    if counted:
        result.passed = counted[0]
        for line in counted[1]:
            result.fail(f"{name}: {line[len('not ok '):]}")
    elif outcome.ok:
        result.passed = 1
    if not outcome.ok and not result.failed:
        result.fail(f"{name}: {outcome.said()}")
    show(program.name, result, outcome.seconds)
    if result.failed:
        show_tail(outcome)
    return result


def stage_programs(kind, workers=1):
    """The stage that runs tests/KIND/*.c, so many at a time."""
    def stage(context, profile):
        total = context.make(profile, f"{kind}-programs")
        if total:
            return total
        names = [source.stem for source in sorted((TOP / "tests" / kind).glob("*.c"))
                 if kind != "unit" or source.name.startswith("test_")]
        programs = [context.directory(profile) / kind / name for name in names
                    if (context.options.k or "") in name]
        total = Result()
        for result in map_on(workers, partial(run_test_program, context, profile), programs):
            total.add(result)
        return total
    return stage


def map_on(workers, function, items):
    """As map(), by so many processes, each of which ends what it has started."""
    with ProcessPoolExecutor(workers, get_context("fork"), descendants.adopt) as pool:
        try:
            yield from pool.map(function, items)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            descendants.kill_all()
            raise


def stage_simulator(context, profile):
    total = context.make(profile, "all")
    if total:
        return total
    total = Result()
    for number, arguments in enumerate(SIMULATIONS, 1):
        command = [str(context.directory(profile) / "apmp-sim"), *arguments.split()]
        points = context.build / "points" / f"simulator-{number}"  # each writes a sim.json
        points.mkdir(parents=True, exist_ok=True)
        outcome = run(context, f"simulator-{profile}-{number}", command,
                      env={"APMP_POINTS_DIR": str(points)})
        result = Result()
        counted = COUNT_LINE.findall(outcome.output)
        if counted:
            result.passed, failed = map(int, counted[-1])
            if failed:
                result.fail(f"apmp-sim {arguments}: {failed} runs failed", failed)
        if not outcome.ok and not result.failed:
            result.fail(f"apmp-sim {arguments}: {outcome.said()}")
        elif not counted:
            result.fail(f'apmp-sim {arguments}: it did not end with "N passed, N failed"')
        show(f"apmp-sim {arguments}", result, outcome.seconds)
        if result.failed:
            show_tail(outcome)
        total.add(result)
    return total


def judged(outcome, what, title):
    """The result of a program that says FAIL and what for each failure, and counts at its end."""
    result = Result()
    counted = COUNT_LINE.findall(outcome.output)
    if counted:
        result.passed = int(counted[-1][0])
    for line in re.findall(r"^ *FAIL  (.*)$", outcome.output, re.M):
        result.fail(f"{what} {line}")
    if not outcome.ok and not result.failed:
        result.fail(f"{title}: {outcome.said()}")
    show(title, result, outcome.seconds)
    if result.failed:
        show_tail(outcome)
    return result


def stage_mutants(context, profile):
    """One check for each mutant, of those whose test is quick: make mutants has all."""
    total = context.make(profile, "all")
    if total:
        return total
    outcome = run(context, "mutants",
                  [str(TOP / "tests/mutants/mutants.py"), "--make", context.options.make, "--cc",
                   context.options.cc, "--build", str(context.build), "-k", "unit test_",
                   "--stride", "4"], STAGE_LIMIT)
    return judged(outcome, "mutant", "mutants of the flowcharts' steps, every fourth")


def stage_model(context, _profile):
    """One check for each case that spin decides (tests/model/models.py)."""
    outcome = run(context, "model", [str(TOP / "tests/model/models.py")], STAGE_LIMIT)
    return judged(outcome, "model", "spin on the models of tests/model")


def expected_pattern(line):
    """A line of expected.txt; <...> in it stands for anything that varies, such as a time."""
    return re.compile(".+".join(re.escape(part) for part in line.split("<...>")) + r"\Z")


def compare_expected(expected, output):
    """None, or the sentence that says where the output of an example leaves the expected one."""
    name = expected.relative_to(TOP)
    wanted = expected.read_text().rstrip("\n").splitlines()
    got = output.rstrip("\n").splitlines()
    for number, line in enumerate(wanted, 1):
        if number > len(got):
            return f'{name}:{number}: wanted "{line}", the output ended'
        if not expected_pattern(line).match(got[number - 1]):
            return f'{name}:{number}: wanted "{line}", got "{got[number - 1]}"'
    if len(got) > len(wanted):
        return f'{name}: unexpected line after its end: "{got[len(wanted)]}"'
    return None


def stage_examples(context, profile):
    total = context.make(profile, "all")
    if total:
        return total
    total = Result()
    for script in sorted((TOP / "examples").glob("*/run.sh")):
        name = script.parent.name
        outcome = run(context, f"example-{name}", [str(script)], PROGRAM_LIMIT,
                      {"APMP_BIN": str(context.directory(profile))})
        expected = script.parent / "expected.txt"
        problem = None
        if not outcome.ok:
            problem = outcome.said()
        elif expected.exists():
            problem = compare_expected(expected, outcome.output)
        result = Result(passed=0 if problem else 1)
        if problem:
            result.fail(f"example {name}: {problem}")
        show(f"example {name}", result, outcome.seconds)
        if problem:
            print(f"        {problem}")
            show_tail(outcome)
        total.add(result)
    return total


def junit_result(path):
    """Counts of pytest's report. A test that fails in its body and in its teardown counts once."""
    outcomes = {}
    for case in ET.parse(path).getroot().iter("testcase"):
        name = f"{case.get('classname', '')}::{case.get('name', '')}"
        if case.find("failure") is not None or case.find("error") is not None:
            outcomes[name] = "failed"
        elif case.find("skipped") is not None:
            outcomes.setdefault(name, "skipped")
            print(f"  skip  {name}: {case.find('skipped').get('message', '')}")
        else:
            outcomes.setdefault(name, "passed")
    result = Result()
    for name, outcome in outcomes.items():
        if outcome == "failed":
            result.fail(name)
        elif outcome == "skipped":
            result.skipped += 1
        else:
            result.passed += 1
    return result


def stage_system(context, profile):
    """The running system, driven by pytest."""
    total = context.make(profile, "all", "system-programs")
    if total:
        return total
    report = context.build / "log" / "system.xml"
    report.unlink(missing_ok=True)
    command = ["/usr/bin/python3", "-m", "pytest", "-q", "-p", "no:cacheprovider", "--tb=short",
               "--maxfail=30", f"--junitxml={report}", "tests/system"]
    if context.options.k:
        command += ["-k", context.options.k]
    env = {"APMP_BIN": str(context.directory(profile)), "APMP_BUILD": str(context.build),
           "PYTHONDONTWRITEBYTECODE": "1"}
    outcome = run(context, "system", command, STAGE_LIMIT, env)
    result = junit_result(report) if report.exists() else Result()
    if not outcome.ok and not result.failed:
        result.fail(f"pytest: {outcome.said()}")
    show("pytest", result, outcome.seconds)
    if result.failed:
        show_tail(outcome, 80)
    return result


def stage_spec(context, _profile):
    """One check: no test names a requirement that doesn't exist. Not to show one is no failure."""
    outcome = run(context, "spec", [str(TOP / "tests/spec.py"), "--check", "--points",
                                    str(context.build / "points")])
    result = Result(passed=1)
    if not outcome.ok:
        result = Result()
        result.fail(f"make spec: {outcome.said()}")
    show_tail(outcome, 40 if result.failed else 6)
    return result


def stage_leftovers(before):
    """One check: after everything, nothing is there that was not there before."""
    def stage(_context, _profile):
        result = Result(passed=1)
        left = leftovers.find() - before
        if left:
            result = Result()
            result.fail(f"{len(left)} things left behind by the tests")
            for thing in sorted(left):
                print(f"        left behind: {thing}")
        return result
    return stage


def plan(options, before):
    """The stages to run: (title, function, profile)."""
    profile = options.profile
    single = {"lint": stage_lint, "unit": stage_programs("unit", os.cpu_count() or 1),
              "race": stage_programs("race"), "simulator": stage_simulator,
              "examples": stage_examples, "model": stage_model, "mutants": stage_mutants,
              "system": stage_system, "spec": stage_spec}
    if options.stage:
        return [(options.stage, single[options.stage], profile)]
    return [
        ("build", stage_build, "release"),
        ("lint", stage_lint, "release"),
        ("unit", single["unit"], "release"),
        ("unit, asan and ubsan", single["unit"], "asan"),
        ("unit, tsan", single["unit"], "tsan"),
        ("race", single["race"], "release"),
        ("race, tsan", single["race"], "tsan"),
        ("simulator", stage_simulator, "release"),
        ("mutants", stage_mutants, "release"),
        ("model", stage_model, "release"),
        ("examples", stage_examples, "release"),
        ("system", stage_system, "release"),
        ("spec", stage_spec, "release"),
        ("nothing left behind", stage_leftovers(before), "release"),
    ]


def summary(results):
    total = Result()
    print("\n== summary")
    for title, result in results:
        show(title, result, result.seconds)
        total.add(result)
    for sentence in total.failures:
        print(f"  FAIL  {sentence}")
    return total


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--make", default="make")
    parser.add_argument("--cc", default="gcc")
    parser.add_argument("--build", default="build", help="top of the build output")
    parser.add_argument("--profile", default="release")
    parser.add_argument("--dir", help="build output of that profile, if not BUILD/PROFILE")
    parser.add_argument("-k", help="only tests whose name contains this")
    parser.add_argument("stage", nargs="?", help="one stage; all of them when left out")
    options = parser.parse_args()
    options.make = options.make.split()[0]
    return options


def main():
    options = parse_arguments()
    descendants.adopt()
    context = Context(options)
    before = leftovers.find()
    if not options.stage:
        shutil.rmtree(context.build / "points", ignore_errors=True)
        shutil.rmtree(context.build / "failures", ignore_errors=True)
    (context.build / "points").mkdir(parents=True, exist_ok=True)

    results = []
    for title, stage, profile in plan(options, before):
        print(f"== {title}", flush=True)
        started = time.monotonic()
        result = stage(context, profile)
        result.seconds = time.monotonic() - started
        if not result.passed + result.failed + result.skipped:
            result.fail(f"{title}: there was nothing to run")
        results.append((title, result))
    total = summary(results)
    print(f"{total.passed} passed, {total.failed} failed")
    return 1 if total.failed else 0


def stop(number, _frame):
    """Ends in order, so that what runs is ended as well."""
    sys.exit(128 + number)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGHUP, stop)
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
