"""Deaths, as each survivor sees them: from the kill of one of eight to the point `member_gone` in
the flight recorder of every other. APMP_BENCH_KILLS kills of each sort, 100 unless said
otherwise."""
import contextlib
import json
import os
import re
import signal
import statistics
import struct
import time
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
KILLS = int(os.environ.get("APMP_BENCH_KILLS", "100"))
ROUND = 10
MEMBERS = 8
MIB = 1 << 20

LAYOUTS = json.loads((TOP / "tests/golden/layouts.json").read_text())
POINTS = re.findall(r"^APMP_POINT_DEF\((\w+),", (TOP / "shm/points.def").read_text(), re.M)
ENTRY = struct.Struct("=QQIIQ")  # apmp_recorder_entry: seq, t_ns, point, thread, arg

MACHINE = """\
machine: {{name}}
hardware: [{{sbb: 0, cpus: {count}, memory: {all}M, iops: [{{buses: [{buses}]}}]}}]
communities: [{{name: lab, shared: 8M}}]
timing: {{stop: 50ms}}
{extra}partitions:
"""
PARTITION = ('  - {{name: p{0}, community: lab, cpus: [{0}], memory: {1}M, buses: ["0.0.{0}"], '
             'boot: yes}}\n')
VICTIM = f"p{MEMBERS - 1}"


def machine_text(extra, touched):
    sizes = [8] * (MEMBERS - 1) + [touched // MIB + 16 if touched else 8]
    return (MACHINE.format(count=MEMBERS, all=64 + 2 * sum(sizes), extra=extra,
                           buses=", ".join(["{}"] * MEMBERS))
            + "".join(PARTITION.format(i, size) for i, size in enumerate(sizes)))


class Recorder:
    """The flight recorder of a living instance, read where it has it mapped: nobody is asked."""

    _fields = {f["name"]: f for f in LAYOUTS["structures"]["apmp_recorder"]["fields"]}

    def __init__(self, pid):
        line = next(line for line in Path(f"/proc/{pid}/maps").read_text().splitlines()
                    if "memfd:recorder " in line)
        self._base = int(line.split("-")[0], 16)
        self._memory = open(f"/proc/{pid}/mem", "rb", buffering=0)  # closed by close()

    def close(self):
        self._memory.close()

    def _read(self, offset, size):
        return os.pread(self._memory.fileno(), size, self._base + offset)

    def passed(self, point, since, identity):
        """When it passed a point about this identity; None: not since then."""
        entries = self._fields["entry"]
        wanted = POINTS.index(point) + 1
        for entry in ENTRY.iter_unpack(self._read(entries["offset"], entries["size"])):
            seq, t_ns, number, _, arg = entry
            if seq and number == wanted and t_ns >= since and arg == identity:
                return t_ns
        return None

    def until_passed(self, point, since, identity):
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            t_ns = self.passed(point, since, identity)
            if t_ns:
                return t_ns
        raise RuntimeError(f"{point} was not passed within 30 s")


def victim(link):
    """Its process, and its identity as the points name it (shm/layout_common.h)."""
    instance = next(p for p in link.call("Status")["status"]["partitions"]
                    if p["name"] == VICTIM)["instance"]
    if instance["state"] != "member":
        raise RuntimeError(f"{VICTIM} is {instance['state']} before it is killed: the host is too "
                           "busy for stop: 50ms")
    return instance["pid"], instance["incarnation"] << 16 | MEMBERS


def one_death(link, events, recorders, sig):
    """ns from the signal until each survivor knows. Nothing is looked at before one is known to,
    for who looks is in the way."""
    pid, identity = victim(link)
    for recorder in recorders:  # who never knew it would never miss it
        recorder.until_passed("member_added", 0, identity)
    pidfd = os.pidfd_open(pid)
    begin = time.monotonic_ns()
    signal.pidfd_send_signal(pidfd, sig)
    os.close(pidfd)
    next(event for event in events if event["t_ns"] > begin and event["kind"] == "member.removed")
    return [recorder.until_passed("member_gone", begin, identity) - begin
            for recorder in recorders]


def measure(context, world, name, what, *, extra="", touched=0, sig=signal.SIGKILL):
    """One line: samples are of every survivor, rounds of ROUND deaths."""
    bench = context.bench(name, "us", what,
                          "SIGKILL of a process of that size to the release of its robust futexes")
    late = context.bench(f"{name}-reaped", "us", "the same",
                         "SIGKILL of a process of that size to waitpid")
    os.environ["APMP_TOUCH"] = str(touched // MIB)
    try:
        with world.machine_up(machine_text(extra, touched)) as machine, \
                contextlib.closing(machine.connect()) as link, \
                contextlib.closing(machine.connect()) as other, contextlib.ExitStack() as stack, \
                world.Peer(context.program("peer_robust")) as peer:
            events = other.follow(since=1)
            boot = link.message("PartitionBoot", name=VICTIM, wait=True)
            recorders = [stack.enter_context(contextlib.closing(Recorder(p["instance"]["pid"])))
                         for p in machine.status()["partitions"] if p["name"] != VICTIM]
            for _ in range(max(1, KILLS // ROUND)):
                ours, released, reaped = [], [], []
                for _ in range(ROUND):
                    ours += one_death(link, events, recorders, sig)
                    link.timed(boot)
                    line = peer.timed(f"kill {touched} 3\n".encode())[0]
                    released.append(int(line.split()[0]))
                    reaped.append(int(line.split()[1]))
                bench.add_round(ours, released)
                late.add_round(ours, reaped)
        context.note(f"{name}: {len(bench.ours) // (MEMBERS - 1)} deaths, the last survivor knows "
                     f"after {last_of_all(bench.ours):.0f} us (median)")
    finally:
        del os.environ["APMP_TOUCH"]


def last_of_all(samples):
    width = MEMBERS - 1
    return statistics.median(max(samples[i:i + width])
                             for i in range(0, len(samples), width)) / 1e3


def removed(context):
    """One of eight dies: noticed by the box, with a small and a large memory; by heartbeats alone;
    and standing still."""
    import bench_machine as world  # finds its programs by the environment that bench.py sets
    measure(context, world, "removed-noticed", "SIGKILL of one of eight to each survivor")
    measure(context, world, "removed-256M", "the same, it has touched 256 MiB",
            touched=256 * MIB)
    measure(context, world, "removed-heartbeat", "SIGKILL, seen by heartbeats alone, stop: 50ms",
            extra="notice_exit: no\n")
    measure(context, world, "removed-stopped", "SIGSTOP, stop: 50ms", sig=signal.SIGSTOP)
