"""A running machine, for the system tests: `Machine`, and `Events` that follows it.

Tests wait for events, never for a time. Every wait has a watchdog, generous, whose only use is
that a hang ends in a message instead of a hang; APMP_TEST_SLOW multiplies it.
"""
import atexit
import contextlib
import functools
import itertools
import json
import os
import select
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from pathlib import Path

import leftovers

TOP = Path(__file__).resolve().parent.parent.parent
BIN = Path(os.environ.get("APMP_BIN", TOP / "build/release")).resolve()
BUILD = Path(os.environ.get("APMP_BUILD", TOP / "build")).resolve()
POINTS = Path(os.environ.get("APMP_POINTS_DIR", BUILD / "points")).resolve()
FAILURES = BUILD / "failures"

WATCHDOG = 60 * float(os.environ.get("APMP_TEST_SLOW", "1"))  # seconds
GRACE = WATCHDOG / 6  # for a process that is about to end when its machine is off

# Assertions and panics of ours, and what the sanitizers say.
BAD_WORDS = ("assertion", "does not hold", "Sanitizer", "runtime error:", "signal 6", "signal 11")

# A silence that counts as death, for machine files without a timing: where the host itself pauses.
STOP = os.environ.get("APMP_TEST_STOP")

DONE, REFUSED, USAGE, NO_MACHINE = 0, 1, 2, 3  # exit codes of apmp

# The trio of examples/01-trio in short: six CPUs, three partitions, one community.
TRIO = """\
machine: {name}
hardware:
  - sbb: 0
    cpus: 4
    memory: 128M
    iops: [{buses: [{}, {}]}]
  - sbb: 1
    cpus: 2
    memory: 64M
    iops: [{buses: [{}]}]
communities:
  - {name: lab, shared: 32M}
partitions:
  - {name: alpha, community: lab, cpus: [0, 1, 2], memory: 24M, buses: ["0.0.0"], boot: yes}
  - {name: beta, community: lab, cpus: [3, 4], memory: 24M, buses: ["0.0.1"], boot: yes}
  - {name: gamma, community: lab, cpus: [5], memory: 24M, buses: ["1.0.0"], boot: yes}
"""

# For tests that keep the host so busy that a heartbeat may be late.
PATIENT = TRIO + "timing: {stop: 2s}\n"



def many(count, *more, shared="4M", timing="{stop: 2s}"):
    """The text of a machine with so many small partitions p0, p1, ... of one CPU and one bus each,
    all of them of one community; more: lines of further partitions."""
    buses = [f"{{buses: [{', '.join(['{}'] * min(16, count - first))}]}}"
             for first in range(0, count, 16)]
    return "\n".join([
        "machine: {name}", "hardware:",
        f"  - {{sbb: 0, cpus: {count}, memory: {4 * (count + len(more) + 2)}M,",
        f"     iops: [{', '.join(buses)}]}}",
        "communities:", f"  - {{name: lab, shared: {shared}}}", "partitions:",
        *(f"  - {{name: p{i}, community: lab, cpus: [{i}], memory: 4M, "
          f"buses: [\"0.{i // 16}.{i % 16}\"], boot: yes}}" for i in range(count)),
        *more, f"timing: {timing}\n"])


_counter = itertools.count(1)


class CommandFailed(AssertionError):
    """apmp ended with another exit code than the test wanted; says all that it said."""


class Result:
    """What a command left: code, out, err, and json (a document) or lines (of a stream)."""

    def __init__(self, arguments, code, out, err):
        self.arguments, self.code, self.out, self.err = arguments, code, out, err

    @property
    def json(self):
        return json.loads(self.out)

    @property
    def lines(self):
        return [json.loads(line) for line in self.out.splitlines()]

    def __str__(self):
        return (f"apmp {' '.join(self.arguments)}: exit code {self.code}\n"
                f"--- standard output\n{self.out}--- standard error\n{self.err}")


class Events:
    """Follows the events of a machine in a thread; ends with the machine.

    A console that dies ends every stream: it is followed again from the next number on, so `seen`
    goes on without a hole.

    Everything since `since` is kept in `seen`. A wait looks at what is there already as well, so
    it can't come too late; to wait for the next of something that happened before, take a mark():

        mark = machine.events.mark()
        machine.kill_partition("beta")
        machine.events.wait_for("member.removed", partition="beta", after=mark)
    """

    def __init__(self, machine):
        self.machine = machine
        self.seen = []
        self.ended = False
        self.wrong = []  # what a subscriber must never get: a test must not pass over it
        self._closing = False
        self._changed = threading.Condition()
        self._process = self._start()
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()

    def _start(self):
        return subprocess.Popen(
            [*self.machine.command, "--name", self.machine.name, "--json", "events", "--follow",
             "--since", str(self.seen[-1]["seq"] + 1 if self.seen else 0)],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL,
            env=self.machine.env, text=True)

    def _follow(self):
        while True:
            for line in self._process.stdout:
                self._take(line)
            self._process.stdout.close()
            code = self._process.wait()
            with self._changed:
                if self._closing or code in (USAGE, NO_MACHINE):
                    self.ended = True
                    self._changed.notify_all()
                    return
                self._process = self._start()

    def _take(self, line):
        try:
            event = json.loads(line)
        except ValueError:
            event = {}
        with self._changed:
            expected = self.seen[-1]["seq"] + 1 if self.seen else None
            if "error" in event:
                return  # why the stream ends; the exit code says it too
            if "seq" not in event:
                self.wrong.append(f"events --json gave what is no event: {line!r}")
                return
            if expected not in (None, event["seq"]):
                self.wrong.append(f"a hole in the events: {event['seq']} instead of {expected}")
            self.seen.append(event)
            self._changed.notify_all()

    def mark(self):
        """The number of the last event so far, for `after`; asked of the machine, so that none of
        before it is still on its way."""
        with self._changed:
            last = self.seen[-1]["seq"] if self.seen else 0
        lines = self.machine.try_apmp("events", "--since", last, as_json=True).lines
        return max([last, *(event["seq"] for event in lines)])

    def find(self, kind, after=-1, **fields):
        """The events of this kind and with these fields so far, in order."""
        with self._changed:
            return [event for event in self.seen if _matches(event, kind, after, fields)]

    def wait_for(self, kind, after=-1, **fields):
        """The first such event after number `after`, as soon as it is there."""
        deadline = time.monotonic() + WATCHDOG
        with self._changed:
            looked_at = 0
            while True:
                for event in self.seen[looked_at:]:
                    if _matches(event, kind, after, fields):
                        return event
                looked_at = len(self.seen)
                wanted = f"{kind} {fields or ''}".strip()
                if self.ended:
                    raise AssertionError(f"the events ended without {wanted}\n{self._tail()}")
                left = deadline - time.monotonic()
                if left <= 0:
                    raise AssertionError(f"{wanted} did not come in {WATCHDOG:.0f} s"
                                         f"\n{self._tail()}\n{self.machine.describe()}")
                self._changed.wait(left)

    def wait_for_end(self):
        """Until it has seen that the machine is off, and will not take the next life for this."""
        with self._changed:
            if not self._changed.wait_for(lambda: self.ended, WATCHDOG):
                raise AssertionError(f"the events did not end in {WATCHDOG:.0f} s\n{self._tail()}")

    def close(self):
        with self._changed:
            self._closing = True
            self._process.terminate()
        self._thread.join(WATCHDOG)

    def _tail(self, count=25):
        said = "".join(f"  {json.dumps(event)}\n" for event in self.seen[-count:])
        return f"the last of {len(self.seen)} events:\n{said}"


def _matches(event, kind, after, fields):
    return (event.get("kind") == kind and event.get("seq", -1) > after
            and all(event.get(name) == value for name, value in fields.items()))


class Machine:
    """A machine of its own name, in directories of its own, from `up` to `down`."""

    def __init__(self, text=TRIO, name=None):
        self.name = name or f"t{os.getpid()}-{next(_counter)}"
        # Not pytest's tmp_path: a socket's path must stay short.
        self.dir = Path(tempfile.mkdtemp(prefix="apmp-test-"))
        atexit.register(shutil.rmtree, self.dir, ignore_errors=True)
        self.runtime = self.dir / "run"
        self.runtime.mkdir(mode=0o700)
        self.rundir = self.runtime / "apmp" / self.name
        self.state = self.dir / "state"
        self.env = {**os.environ, "XDG_RUNTIME_DIR": str(self.runtime),
                    "XDG_STATE_HOME": str(self.state), "NO_COLOR": "1",
                    "PATH": f"{BIN}:{os.environ['PATH']}"}
        self.env.pop("APMP_MACHINE", None)
        self.command = [str(BIN / "apmp")]
        self.file = self.dir / f"{self.name}.yaml"
        timing = f"timing: {{stop: {STOP}}}\n" if STOP and "\ntiming:" not in text else ""
        self.file.write_text(text.replace("{name}", self.name) + timing)
        self._events = None
        self._programs = []
        self._wrong = []  # said when it is closed
        self._points = set()  # seen in traces, for `make spec`: a recorder forgets

    # Commands.

    def try_apmp(self, *arguments, as_json=False, named=True, stdin=None):
        """Runs a verb and gives its Result, whatever its exit code."""
        words = [*(["--name", self.name] if named else []), *(["--json"] if as_json else []),
                 *map(str, arguments)]
        process = subprocess.Popen([*self.command, *words], env=self.env, cwd=self.dir,
                                   stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            out, err = process.communicate(stdin, WATCHDOG)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
            raise CommandFailed(f"hung for {WATCHDOG:.0f} s: {Result(words, None, out, err)}"
                                ) from None
        return Result(words, process.returncode, out, err)

    def apmp(self, *arguments, json=False, code=DONE, stdin=None):
        """Runs a verb that must end with this code; gives the parsed document or the text."""
        result = self.try_apmp(*arguments, as_json=json, stdin=stdin)
        if result.code != code:
            raise CommandFailed(f"wanted exit code {code}: {result}")
        return result.json if json else result.out

    def refused(self, *arguments):
        """Runs a verb that must end with exit code 1; gives the sentence that it says why."""
        result = self.try_apmp(*arguments)
        if result.code != REFUSED or not result.err.startswith("apmp: "):
            raise CommandFailed(f"wanted exit code {REFUSED} and a sentence: {result}")
        return result.err.removeprefix("apmp: ").rstrip("\n")

    def start(self, *arguments, **options):
        """A command that goes on, such as `run`; ended with the machine at the latest."""
        process = subprocess.Popen([*self.command, "--name", self.name, *map(str, arguments)],
                                   **{"env": self.env, "cwd": self.dir, "text": True,
                                      "stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE,
                                      "stderr": subprocess.PIPE, **options})
        self._programs.append(process)
        return process

    def up(self, *arguments, code=DONE):
        said = self.apmp("up", self.file, *arguments, code=code)
        if self._events and self._events.ended:
            self._wrong += self._events.wrong
            self._events = None  # another life, whose numbers begin anew
        return said

    def down(self):
        said = self.apmp("down")
        if self._events:
            self._events.wait_for_end()
        return said

    # What it is.

    def status(self):
        return self.apmp("status", json=True)

    def partition(self, name):
        """The part of status about one partition."""
        return named(self.status()["partitions"], name)

    def cpu(self, number):
        """The part of status about one CPU."""
        return next(cpu for cpu in self.status()["cpus"] if cpu["id"] == number)

    def passed(self, point, *who, since=0):
        """Entries of this point in the flight recorders, oldest first; old ones get lost. since is
        in nanoseconds of CLOCK_MONOTONIC, as time.monotonic_ns() gives them."""
        entries = self.try_apmp("trace", *who, as_json=True).lines
        self._points.update(entry["point"] for entry in entries)
        return [entry for entry in entries
                if entry["point"] == point and entry["t_ns"] >= since]

    def until(self, holds, ask=None):
        """Asks (for the status) until holds(answer), for what no event tells; gives that answer."""
        deadline = time.monotonic() + WATCHDOG
        while True:
            answer = (ask or self.status)()
            if holds(answer):
                return answer
            if time.monotonic() > deadline:
                raise AssertionError(f"not so within {WATCHDOG:.0f} s: {answer}")

    def at_rest(self, wanted, community="lab"):
        """The status, as soon as just these are members, their ring is right, and each CPU of a
        member is active there."""
        status = self.until(
            lambda now: members(now, community) == set(wanted) and ring_is_right(now, community)
            and all(partition["active"] == partition["configure"] == partition["cpus"]
                    for partition in now["partitions"] if partition["name"] in wanted))
        check_cpus(status)
        return status

    def boots_and_joins(self, name):
        """It boots with the next incarnation and is a member."""
        before = next(node["detail"]["incarnation"]
                      for node in self.apmp("tree", json=True)["nodes"]
                      if node["type"] == "partition" and node["name"] == name)
        mark = self.events.mark()
        self.apmp("partition", "boot", name)
        self.events.wait_for("member.joined", partition=name, incarnation=before + 1, after=mark)
        instance = self.partition(name)["instance"]
        assert (instance["state"], instance["incarnation"]) == ("member", before + 1)

    def pid(self, partition):
        return self.partition(partition)["instance"]["pid"]

    @property
    def events(self):
        """The follower of this machine; started at first use, from the first event on."""
        if self._events is None:
            self._events = Events(self)
        return self._events

    def box_pid(self):
        """The box's process id, from the run directory (apmpd/rundir.h)."""
        return int((self.rundir / "pid").read_text().split()[0])

    def ram(self, size):
        """The file of the only physical memory of this size, in the box's hands."""
        found = []
        for fd in Path(f"/proc/{self.box_pid()}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):  # others come and go
                if os.readlink(fd).startswith("/memfd:ram") and fd.stat().st_size == size:
                    found.append(fd)
        assert len(found) == 1, found
        return found[0]

    def processes(self):
        """[(pid, command)] of everything that the box started."""
        return leftovers.processes(self.rundir)

    def describe(self):
        running = "".join(f"  {pid}: {command}\n" for pid, command in self.processes())
        return f"processes of {self.name}:\n{running or '  none'}"

    # What can happen to it.

    def kill(self, pid, sig=signal.SIGKILL):
        """Kills one process of this machine, and only of this machine; waits for its end."""
        assert pid in [p for p, _ in self.processes()], f"{pid} is not a process of {self.name}"
        fd = os.pidfd_open(pid)
        try:
            signal.pidfd_send_signal(fd, sig)
            if sig == signal.SIGKILL:
                assert ended(fd), f"process {pid} did not die of SIGKILL"
        finally:
            os.close(fd)

    def kill_partition(self, name):
        self.kill(self.pid(name))

    def arm(self, who, point):
        """Kills a partition, or "console", at its next passing of a point."""
        self.apmp("chaos", "inject", "kill", who, "--at", point)

    def disarm(self, who, point):
        """As good as never: so that a point that was not passed strikes no later test."""
        self.apmp("chaos", "inject", "kill", who, "--at", f"{point}:{2**31 - 1}")

    # The end.

    def close(self):
        """Powers off; gives a list of sentences: what was wrong or is left behind."""
        wrong = list(self._wrong)
        try:
            wrong += self._collect_points()
        except (OSError, subprocess.SubprocessError) as error:
            wrong.append(str(error))  # whatever else is wrong, the machine goes off
        wrong += self._bad_words()
        if self.rundir.exists():
            wrong += self._power_off()
        if self._events:
            self._events.close()
            wrong += self._events.wrong
        for process in self._programs:
            wrong += _end_program(process)
        return wrong + self._left_behind()

    def remove(self):
        """Removes the directories of a closed machine."""
        shutil.rmtree(self.dir, ignore_errors=True)

    def _bad_words(self):
        """Lines of the logs that must never be there, whatever a test does."""
        return [f"{path.name}: {line}" for path in sorted(self.rundir.glob("*.log"))
                for line in path.read_text(errors="replace").splitlines()
                if any(word in line for word in BAD_WORDS)]

    def _power_off(self):
        """Down; where that fails the box is killed, so that its guard ends everything."""
        try:
            result = self.try_apmp("down")
            if result.code in (DONE, NO_MACHINE):
                return []
            wrong = [f"down was refused: {result}"]
        except CommandFailed as error:
            wrong = [str(error)]
        os.kill(self.box_pid(), signal.SIGKILL)
        return wrong

    def _left_behind(self):
        """What is left of this machine; kills the processes, so that the next test is clean.

        A process that is just about to end (the guard, after a kill of the box) may do so.
        """
        wrong = []
        for pid, command in self.processes():
            try:
                fd = os.pidfd_open(pid)
            except ProcessLookupError:
                continue
            if not ended(fd, GRACE):
                wrong.append(f"process left behind: {pid}: {command}")
                signal.pidfd_send_signal(fd, signal.SIGKILL)
                ended(fd)
            os.close(fd)
        wrong += [f"control group left behind: {path}"
                  for path in leftovers.cgroups(f"apmp-{self.name}")]
        wrong += [f"file left behind: {path}" for path in sorted(self.rundir.rglob("*"))]
        if self.rundir.exists():
            wrong.append(f"run directory left behind: {self.rundir}")
        wrong += [f"shared memory left behind: {path}"
                  for path in Path("/dev/shm").glob(f"*{self.name}*")]
        return wrong

    def _collect_points(self):
        """Counts the protocol points in the flight recorders, for `make spec`."""
        if not self.rundir.exists():
            return []
        try:
            result = self.try_apmp("trace", as_json=True)
        except CommandFailed as error:
            return [str(error)]
        if result.code != DONE:
            return []  # powered off or killed by the test: no recorder to read
        counts = dict.fromkeys(self._points, 1)
        wrong = set()
        try:
            for record in result.lines:
                if "point" in record:
                    counts[record["point"]] = counts.get(record["point"], 0) + 1
                    wrong |= _passed_by_another(record["who"], record["point"])
        except ValueError as error:
            return [f"trace --json gave a line that is no JSON: {error}"]
        POINTS.mkdir(parents=True, exist_ok=True)
        (POINTS / f"system-{self.name}.json").write_text(json.dumps(counts))
        return sorted(wrong)

    def save_failure(self, test):
        """Keeps all that helps to understand a failure in BUILD/failures/TEST."""
        folder = FAILURES / "".join(c if c.isalnum() or c in "-_." else "_" for c in test)
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(self.file, folder)
        for verb in ("status", "tree", "events", "trace"):
            try:
                result = self.try_apmp(verb, as_json=True)
                (folder / f"{verb}.json").write_text(result.out or str(result))
            except (AssertionError, OSError) as error:
                (folder / f"{verb}.json").write_text(f"{error}\n")
        if self._events:
            (folder / "events-followed.json").write_text(
                "".join(json.dumps(event) + "\n" for event in self._events.seen))
        (folder / "processes.txt").write_text(self.describe())
        for source, kept in ((self.rundir, "run"), (self.state, "state")):
            for path in source.rglob("*") if source.exists() else ():
                if path.is_file() and not path.is_symlink():
                    target = folder / kept / path.relative_to(source)
                    target.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy(path, target)
        return folder


class Program:
    """A program in a partition that says a line for each line that it is told."""

    # Says on which host CPUs it may run.
    ALLOWED = ("sh", "-c", 'while read -r _; do while read -r key value; do case "$key" in '
               'Cpus_allowed_list:) echo "$value";; esac; done < /proc/$$/status; done')

    def __init__(self, machine, partition, *command):
        self.process = machine.start("run", partition, "--", *(command or self.ALLOWED),
                                     stdin=subprocess.PIPE, text=False, bufsize=0)
        self._said = b""

    def ask(self, line=""):
        self.process.stdin.write(f"{line}\n".encode())
        while b"\n" not in self._said:
            assert select.select([self.process.stdout], [], [], WATCHDOG)[0], "no answer"
            said = self.process.stdout.read(4096)
            assert said, f"the program ended: {self.process.stderr.read().decode()}"
            self._said += said
        line, _, self._said = self._said.partition(b"\n")
        return line.decode()

    def host_cpus(self):
        return set_of(self.ask())

    def end(self):
        """Ends its input; gives how it ended."""
        self.process.stdin.close()
        return self.process.wait(WATCHDOG)


@functools.lru_cache(maxsize=None)
def _parties():
    """{point: who passes it}, as apmp says: a fault at a point is refused for anybody else."""
    said = subprocess.run([BIN / "apmp", "--json", "chaos", "points"], capture_output=True,
                          env={"XDG_RUNTIME_DIR": "/nonexistent"}, check=True).stdout
    return {point["name"]: point["parties"] for point in json.loads(said)}


def _passed_by_another(who, point):
    party = who if who in ("console", "box") else "instance"
    known = _parties().get(point, [party])
    return set() if party in known else {f"{who} has passed {point}, which only {known} should"}


def points(prefix):
    """Names of the points of an operation, from shm/points.def."""
    text = (TOP / "shm/points.def").read_text()
    names = [line.split("(")[1].split(",")[0] for line in text.splitlines()
             if line.startswith("APMP_POINT_DEF(")]
    return [name for name in names if name.startswith(prefix)]


def set_of(text):
    """{0, 1, 2, 5} of "0-2,5"."""
    numbers = set()
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        numbers |= set(range(int(first), int(last or first) + 1))
    return numbers


def cpus_of(status, partition):
    """Host CPUs under the CPUs that a partition has now, from the list of CPUs."""
    return {cpu["host_cpu"] for cpu in status["cpus"] if cpu["current_owner"] == partition}


def instances(status, community=None):
    """{name: instance} of what status says of the partitions."""
    return {partition["name"]: partition["instance"] for partition in status["partitions"]
            if community in (None, partition["community"])}


def members(status, community="lab"):
    """Names of the partitions in a sharing set."""
    return set(named(status["communities"], community)["members"])


def ring_is_right(status, community="lab"):
    """Whether the set is at rest: its members are those that run, each one's little brother has
    it as big brother, and going from little brother to little brother meets all."""
    at = named(status["communities"], community)
    ids = {partition["name"]: partition["id"] for partition in status["partitions"]}
    by_id = {ids[name]: said for name, said in instances(status, community).items()
             if said["state"] == "member"}
    if (set(by_id) != {ids[name] for name in at["members"]} or not by_id
            or at["sharing_set"]["state"] != "operational"):
        return False
    met, where = set(), min(by_id)
    while where not in met:
        met.add(where)
        little = by_id[where].get("little_brother")
        if little not in by_id or by_id[little].get("big_brother") != where:
            return False
        where = little
    return met == set(by_id)


def check_cpus(status):
    """Every CPU is in one place, and everything that tells where says the same."""
    for cpu in status["cpus"]:
        where = [partition["name"] for partition in status["partitions"]
                 if cpu["id"] in partition["cpus"]]
        assert where == ([cpu["current_owner"]] if cpu["current_owner"] else []), cpu
        assert cpu["state"] != "transit", cpu
    running = [partition for partition in status["partitions"] if partition["instance"].get("pid")]
    for partition in running:
        assert set_of(partition["host_cpus"]) == cpus_of(status, partition["name"]), partition
        assert set(partition["active"]) <= set(partition["configure"]), partition
        assert set(partition["configure"]) <= set(partition["potential"]), partition


def named(things, name):
    """The one of this name in a list of status."""
    for thing in things:
        if thing["name"] == name:
            return thing
    raise AssertionError(f"no {name} among {[thing['name'] for thing in things]}")


def ended(pidfd, limit=WATCHDOG):
    """Whether the process ends; a pidfd is readable when it has."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(limit * 1000))


def _end_program(process):
    """Ends a command that a test started; a command that survives its machine is wrong."""
    wrong = []
    try:
        process.communicate(timeout=WATCHDOG)
    except subprocess.TimeoutExpired:
        wrong.append(f"still running after power off: {' '.join(process.args)}")
        process.kill()
        process.communicate()
    except ValueError:  # the test has read and closed its pipes itself
        process.wait(WATCHDOG)
    return wrong
