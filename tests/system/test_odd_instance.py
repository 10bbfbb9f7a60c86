"""An instance that has gone mad: it sends what is no callback, and stores where it should not.

The stores are made from outside, through the instance's own mappings; offsets are those of the
layout dump.
"""
import ctypes
import json
import os
import socket
import struct
from pathlib import Path

from apmp import check_cpus

LAYOUTS = json.loads((Path(__file__).parent.parent / "golden/layouts.json").read_text())
PIDFD_GETFD = 438  # x86-64 and every later architecture
CHANNEL_FD = 3
MIGRATE_CPU = 4


def offset(structure, field):
    return next(f["offset"] for f in LAYOUTS["structures"][structure]["fields"]
                if f["name"] == field)


def size(structure):
    return LAYOUTS["structures"][structure]["size"]


def channel_of(pid):
    """A copy of the instance's end of its channel."""
    pidfd = os.pidfd_open(pid)
    fd = ctypes.CDLL(None, use_errno=True).syscall(PIDFD_GETFD, pidfd, CHANNEL_FD, 0)
    os.close(pidfd)
    assert fd >= 0, os.strerror(ctypes.get_errno())
    return socket.socket(fileno=fd)


def store(pid, memory, at, value):
    """A store of eight bytes into a memory that the instance has mapped."""
    for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
        if f"memfd:{memory} " in line and " rw-s " in line:
            base = int(line.split("-")[0], 16)
            with open(f"/proc/{pid}/mem", "r+b", buffering=0) as mem:
                mem.seek(base + at)
                mem.write(struct.pack("<Q", value))
            return
    raise AssertionError(f"process {pid} has no {memory} mapped")


def test_what_is_no_callback(machine):
    """Datagrams of every wrong size get no answer, and deafen nobody.

    shows: TREE-16
    """
    with channel_of(machine.pid("gamma")) as channel:
        for wrong in (b"", b"x", b"x" * 47, b"x" * 49, b"x" * 5000, os.urandom(48)):
            channel.send(wrong)
    machine.apmp("partition", "halt", "gamma")
    machine.boots_and_joins("gamma")


def test_a_channel_that_is_shut_down(machine):
    """Its end is read once, not again and again: the console goes on waiting for the others.

    shows: TREE-16
    """
    console = next(pid for pid, command in machine.processes() if "apmp-console" in command)
    with channel_of(machine.pid("gamma")) as channel:
        channel.shutdown(socket.SHUT_WR)

    machine.status()  # it has had its turn with what is there to be read
    machine.until(lambda state: state == "S",
                  lambda: Path(f"/proc/{console}/stat").read_text().rpartition(") ")[2][0])
    machine.apmp("partition", "reset", "gamma")
    machine.events.wait_for("member.joined", partition="gamma", incarnation=2)


def test_a_stray_store_into_a_recorder(machine):
    """A recorder whose head makes no sense is shown as far as it does."""
    store(machine.pid("beta"), "recorder", offset("apmp_recorder", "head"), 2**64 - 1)
    machine.apmp("trace")
    machine.apmp("status")


def test_a_stray_store_into_a_line(machine):
    """The execution word of a CPU that is not running keeps nobody from booting.

    shows: PLAT-02
    """
    machine.apmp("partition", "halt", "gamma")
    line = 5 * size("apmp_intr_line")
    store(machine.pid("alpha"), "lines", line + offset("apmp_intr_line", "runner"), 0x1234)
    machine.boots_and_joins("gamma")
    check_cpus(machine.status())


def test_stray_stores_into_requests(machine):
    """An HWRPB that its partition has spoilt is its own loss: a reset brings it back."""
    pid = machine.pid("gamma")
    slots = range(offset("hwrpb", "slot") + offset("hwrpb_slot", "request"), size("hwrpb"),
                  size("hwrpb_slot"))
    for request in (offset("hwrpb", "wish"), *slots[:6]):
        for at in range(0, size("hwrpb_request"), 8):
            store(pid, "hwrpb", request + at, 0xdeadbeefdeadbeef)
    machine.try_apmp("cpu", "migrate", "2", "--to", "gamma")
    machine.apmp("partition", "reset", "gamma")
    machine.events.wait_for("member.joined", partition="gamma", incarnation=2)
    check_cpus(machine.status())


def test_a_cpu_that_is_given_away_while_it_runs(machine):
    """Its receiver would find the execution word taken, and end: a bystander.

    shows: CPU-01
    """
    identity = 1 << 16 | 1  # alpha's first life
    mark = machine.events.mark()
    with channel_of(machine.pid("alpha")) as channel:
        for seq, cpu in enumerate((2**63, 6, 1), 2**40):
            channel.send(struct.pack("<QQIIQQQ", seq, identity, MIGRATE_CPU, 1, cpu, 1, 0)
                         .ljust(size("apmp_call_request"), b"\0"))
    machine.events.wait_for("cpu.quiesced", cpu=1, after=mark)
    said = machine.events.find("cpu.quiesced", after=mark)
    assert [event["cpu"] for event in said] == [1], "there are no others"
    assert machine.cpu(1)["current_owner"] == "alpha"
    machine.apmp("cpu", "migrate", "2", "--to", "beta")
    check_cpus(machine.status())
