"""A running machine and the peers beside it, for bench.py: the Varlink socket by hand, processes
that answer line by line, CPU time, and groups for the peer's cpusets."""
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TESTS = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(TESTS / "system"), str(TESTS)]

import apmp       # noqa: E402, of tests/system
import leftovers  # noqa: E402


class Varlink:
    """One connection to a console: a call at a time, or one stream."""

    def __init__(self, path):
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(apmp.WATCHDOG)
        self._socket.connect(str(path))
        self._said = b""

    def close(self):
        self._socket.close()

    @staticmethod
    def message(method, **parameters):
        """What asks for this, as bytes: made before the clock is looked at."""
        return json.dumps({"method": f"org.apmp.machine.{method}",
                           "parameters": parameters}).encode() + b"\0"

    def _reply(self):
        while b"\0" not in self._said:
            more = self._socket.recv(65536)
            if not more:
                raise ConnectionError("the console hung up")
            self._said += more
        reply, _, self._said = self._said.partition(b"\0")
        return reply

    def timed(self, message):
        """Sends a message; gives the parameters of the reply, and how long it took in ns."""
        begin = time.monotonic_ns()
        self._socket.sendall(message)
        reply = self._reply()
        taken = time.monotonic_ns() - begin
        reply = json.loads(reply)
        if "error" in reply:
            raise RuntimeError(f"{message.decode().rstrip(chr(0))}: {reply}")
        return reply["parameters"], taken

    def call(self, method, **parameters):
        return self.timed(self.message(method, **parameters))[0]

    def follow(self, since):
        """All events from number `since` on, as they come."""
        self._socket.sendall(json.dumps({"method": "org.apmp.machine.Events", "more": True,
                                         "parameters": {"since": since, "follow": True}}
                                        ).encode() + b"\0")
        while True:
            yield json.loads(self._reply())["parameters"]["event"]


class Machine(apmp.Machine):
    """A machine of the system tests, whose points count for no requirement."""

    def _collect_points(self):
        return []

    def connect(self):
        return Varlink(self.rundir / "control")

    def group(self):
        """The machine's cpuset group of cgroup v1, or None."""
        return next((Path(path) for path in leftovers.cgroups(f"apmp-{self.name}")
                     if (Path(path) / "cpuset.mems").exists()
                     and (Path(path) / "cpuset.sched_load_balance").exists()), None)


@contextlib.contextmanager
def machine_off(text):
    """A machine that is not on yet; off and gone at the end."""
    machine = Machine(text)
    try:
        yield machine
    finally:
        wrong = machine.close()
        machine.remove()
        for sentence in wrong:
            print(f"bench.py: {sentence}", file=sys.stderr)


@contextlib.contextmanager
def machine_up(text=apmp.TRIO):
    """A machine that is on; off and gone at the end."""
    with machine_off(text) as machine:
        machine.up()
        yield machine


class _Player:
    """A machine whose instances are a program of ours, and the socket that it reports at."""

    def __init__(self, program, text, machine_dir):
        self.dir = machine_dir
        self.dir.chmod(0o755)  # an instance may have a uid of its own
        shutil.copy(program, self.dir / "apmp-instance")
        self._text = text
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._listener.settimeout(apmp.WATCHDOG)
        self._listener.bind(str(self.dir / "report"))
        (self.dir / "report").chmod(0o666)
        self._listener.listen()

    def close(self):
        self._listener.close()

    @contextlib.contextmanager
    def up(self):
        """It is on; gives it and the connection of its instance."""
        os.environ.update(APMP_LIBEXEC=str(self.dir), APMP_BENCH_DIR=str(self.dir))
        with machine_up(self._text) as machine:
            report, _ = self._listener.accept()
            with report:
                report.settimeout(apmp.WATCHDOG)
                yield machine, report


@contextlib.contextmanager
def instance_of_ours(program, text):
    with tempfile.TemporaryDirectory(prefix="apmp-bench-") as folder, \
            contextlib.closing(_Player(program, text, Path(folder))) as player:
        try:
            yield player
        finally:
            for name in ("APMP_LIBEXEC", "APMP_BENCH_DIR"):
                os.environ.pop(name, None)


class Peer:
    """A program that answers; it ends when it is not listened to any more."""

    def __init__(self, *command):
        self._socket, theirs = socket.socketpair()
        self._socket.settimeout(apmp.WATCHDOG)
        self._process = subprocess.Popen([str(word) for word in command], stdin=theirs,
                                         stdout=theirs)
        theirs.close()
        self.pid = self._process.pid
        self._said = b""

    def __enter__(self):
        return self

    def hang_up(self):
        """It ends as soon as it notices."""
        self._socket.close()

    def __exit__(self, *_):
        self.hang_up()
        try:
            self._process.wait(apmp.GRACE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def say(self, text):
        self._socket.sendall(text)

    def line(self):
        while b"\n" not in self._said:
            more = self._socket.recv(4096)
            if not more:
                raise ConnectionError(f"{self._process.args[0]} ended")
            self._said += more
        line, _, self._said = self._said.partition(b"\n")
        return line.decode()

    def timed(self, text):
        """Its answer, and how long that took in ns."""
        begin = time.monotonic_ns()
        self.say(text)
        line = self.line()
        return line, time.monotonic_ns() - begin


def cpu_ns(pid):
    """CPU time of a process: what its threads ran, or by the clock tick where that isn't told."""
    tasks = Path(f"/proc/{pid}/task")
    try:
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks.iterdir())
    except OSError:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) * (10**9 // os.sysconf("SC_CLK_TCK"))


def memory(pid):
    """KiB of a process; what it shares counts in part with each that has it."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))


def resident(pid):
    """(bytes of memory of its own, threads) of a process."""
    lines = dict(line.split(":", 1) for line in
                 Path(f"/proc/{pid}/status").read_text().splitlines() if ":" in line)
    return (sum(int(lines[key].split()[0]) * 1024 for key in ("RssAnon", "RssShmem")),
            int(lines["Threads"]))


def _end_all_in(group):
    """Kills what is in a group of ours, and waits for its end."""
    for pid in (group / "cgroup.procs").read_text().split():
        try:
            pidfd = os.pidfd_open(int(pid))
        except ProcessLookupError:
            continue
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        apmp.ended(pidfd)
        os.close(pidfd)


def _remove_groups(top):
    for path in [*sorted(top.rglob("*"), reverse=True), top]:
        if path.is_dir():
            _end_all_in(path)
            path.rmdir()


@contextlib.contextmanager
def scratch_groups(like, host_cpus):
    """Groups for a peer, set up as the machine's group `like`: for each name of host_cpus one with
    the host CPUs, `instance` and `programs` in it. Gives the folder that they are in."""
    top = like.with_name(f"apmp-bench-{os.getpid()}")

    def make(path, cpus):
        path.mkdir()
        for key, text in (("cpus", cpus), ("mems", (like / "cpuset.mems").read_text()),
                          ("sched_load_balance",
                           (like / "cpuset.sched_load_balance").read_text())):
            (path / f"cpuset.{key}").write_text(text)

    try:
        make(top, (like / "cpuset.cpus").read_text())
        for name, cpus in host_cpus.items():
            for path in (top / name, top / name / "instance", top / name / "programs"):
                make(path, cpus)
        yield top
    finally:
        if top.exists():
            _remove_groups(top)
