"""Orders about CPUs and their ends: while a wish is open, NVRAM is slow, reports are lost, and when
the console dies between an order and its end."""
import errno
import os
import signal
import struct

import pytest

import apmp
from freeze import Freezer
from hwrpb import Hwrpb
from operator_calls import Operator
from test_console_hang import console_of
from test_odd_instance import MIGRATE_CPU, channel_of, size

MACHINE = """\
machine: {name}
hardware:
  - {sbb: 0, cpus: 9, memory: 128M, iops: [{buses: [{}, {}, {}]}]}
communities:
  - {name: lab, shared: 16M}
partitions:
  - {name: alpha, community: lab, cpus: [0, 1, 2], memory: 16M, buses: ["0.0.0"], boot: yes,
     failover: {"*": gamma}}
  - {name: beta, community: lab, cpus: [3, 4], memory: 16M, buses: ["0.0.1"], boot: yes}
  - {name: gamma, community: lab, cpus: [5, 6, 7], memory: 16M, buses: ["0.0.2"], boot: yes}
timing: {stop: 60s}
"""
REPORT, NOBODY_KNOWS = 5, 999  # enum apmp_call_op, and a report of a newer build

pytestmark = pytest.mark.machine_file(MACHINE)


def where(machine, cpu):
    one = machine.cpu(cpu)
    return one["owner"], one["current_owner"], one["state"]


def request(seq, op, *arg):
    """A datagram of alpha's first life."""
    words = struct.pack("<QQII3Q", seq, 1 << 16 | 1, op, 0, *arg)
    return words.ljust(size("apmp_call_request"), b"\0")


def hold(machine, partition):
    """It stands still, and is not judged dead for that so soon."""
    machine.kill(machine.pid(partition), signal.SIGSTOP)


def release(machine, partition):
    machine.kill(machine.pid(partition), signal.SIGCONT)


def begin(machine, hwrpb, cpu, *command):
    """The operator's command, as soon as the instance is asked for it."""
    before = hwrpb.asked(cpu)[0]
    process = machine.start(*command)
    machine.until(lambda seq: seq == before + 1, lambda: hwrpb.asked(cpu)[0])
    return process


def end_of(process):
    out, err = process.communicate(timeout=apmp.WATCHDOG)
    return process.returncode, out + err


@pytest.fixture
def wish(machine):
    """gamma's, for more than there are; beta can't say that it has none."""
    hold(machine, "beta")
    process = machine.start("cpu", "wish", "9", "--to", "gamma")
    machine.until(lambda status: apmp.named(status["partitions"], "gamma")["active"]
                  == [1, 2, 5, 6, 7])
    return process


def test_orders_while_a_wish_is_open(machine, wish):
    """All that can be ordered of the CPUs of who wishes, and of others.

    shows: CPU-02, CPU-12
    """
    machine.apmp("cpu", "stop", 6, 7)
    assert where(machine, 6)[2] == where(machine, 7)[2] == "console"
    machine.apmp("cpu", "start", 7)
    machine.apmp("cpu", "migrate", 7, "--to", "alpha", "--loan")
    assert where(machine, 7) == ("gamma", "alpha", "active")
    machine.apmp("cpu", "migrate", 7, "--to", "gamma", "--by", "halt")
    machine.apmp("cpu", "migrate", 6, "--to", "alpha")  # out of console mode
    machine.apmp("cpu", "deassign", 5 + 2)
    machine.apmp("cpu", "assign", 8, "--to", "gamma")
    machine.until(lambda status: apmp.named(status["partitions"], "gamma")["active"]
                  == [1, 2, 5, 8])
    assert 'change of partition "gamma"' in machine.refused("cpu", "wish", 1, "--to", "gamma")
    assert wish.poll() is None
    release(machine, "beta")
    code, said = end_of(wish)
    assert code == 1 and "of 9 CPUs came" in said
    machine.at_rest({"alpha", "beta", "gamma"})


def test_halted_while_its_wish_is_open(machine, wish):
    machine.apmp("partition", "halt", "gamma")
    assert 'partition "gamma" ended during wish' in end_of(wish)[1]
    release(machine, "beta")
    machine.boots_and_joins("gamma")


def test_a_console_dies_over_a_wish(machine, wish):
    """The next one takes it back, so another one can be made."""
    machine.kill(console_of(machine))
    machine.events.wait_for("console.restarted")
    assert end_of(wish)[0] != 0
    release(machine, "beta")
    machine.until(lambda said: "Busy" not in said.err and "the same partition" not in said.err,
                  lambda: machine.try_apmp("cpu", "wish", "1", "--to", "gamma"))


@pytest.fixture
def slow_nvram(machine):
    """A function: what is written to NVRAM from now on is not yet there; another: now it is."""
    try:
        freezer = Freezer()
    except OSError as error:
        pytest.skip(f"no freezer: {error}")
    box = machine.box_pid()

    def freeze():
        for tid in map(int, os.listdir(f"/proc/{box}/task")):
            if tid != box:
                freezer.freeze_thread(tid)
    yield freeze, freezer.thaw
    freezer.close()


def test_deassigned_while_nvram_is_slow(machine, slow_nvram):
    """The operator waits until it is durable; other CPUs of the partition don't.

    shows: CPU-08, HWRPB-01
    """
    freeze, thaw = slow_nvram
    machine.apmp("cpu", "deassign", 7)  # its threads are there
    freeze()
    deassign = machine.start("cpu", "deassign", 1)
    machine.until(lambda status: status["cpus"][1]["state"] == "unassigned")
    machine.apmp("cpu", "migrate", 2, "--to", "beta")
    machine.apmp("cpu", "migrate", 2, "--to", "alpha")
    machine.apmp("cpu", "stop", 2)
    assert deassign.poll() is None
    thaw()
    assert end_of(deassign) == (0, "CPU 1 is nobody's\n")


def fill(channel):
    """Until nothing more goes in."""
    seq = 0
    while True:
        try:
            channel.send(request(0, REPORT, NOBODY_KNOWS, 0, 0))
            seq += 1
        except BlockingIOError:
            return seq


@pytest.mark.parametrize("command, said", [
    (("migrate", 2, "--to", "beta"), "is bound to CPU 2"),
    (("stop", 2), "is bound to CPU 2"),
    (("stop", 1), "waits in console mode"),
    (("deassign", 2), "is bound to CPU 2"),
])
def test_a_report_that_is_lost(machine, command, said):
    """It found the channel full; who asked hears of the end all the same.

    shows: CPU-02, CPU-03
    """
    bound = machine.start("run", "alpha", "--", apmp.BIN / "apmp-task", "--bind", 2,
                          apmp.BIN / "tasks/spin.so", 1)
    cpu = command[1]
    hwrpb, console = Hwrpb(machine, "alpha"), console_of(machine)
    machine.until(bool, lambda: hwrpb.bound(2))
    hold(machine, "alpha")
    waiting = begin(machine, hwrpb, cpu, "cpu", *map(str, command))
    alpha = machine.pid("alpha")
    machine.kill(console, signal.SIGSTOP)
    with channel_of(alpha) as channel:
        channel.setblocking(False)
        assert fill(channel) > 1
        machine.kill(alpha, signal.SIGCONT)
        machine.until(lambda asked: asked[0] == asked[1] and (asked[2] or cpu == 1),
                      lambda: hwrpb.asked(cpu))
        if cpu == 1:
            machine.until(lambda state: state == 6, lambda: hwrpb.state(1))
        machine.kill(console, signal.SIGCONT)
    assert said in end_of(waiting)[1]
    assert console_of(machine) == console
    bound.terminate()


def test_a_console_dies_between_order_and_end(machine):
    """What was not begun is taken back, and not done later.

    shows: CPU-02
    """
    hwrpb = Hwrpb(machine, "alpha")
    hold(machine, "alpha")
    waiting = begin(machine, hwrpb, 1, "cpu", "stop", "1")
    machine.kill(console_of(machine))
    machine.events.wait_for("console.restarted")
    assert end_of(waiting)[0] != 0
    assert "another change of CPU 1" in machine.refused("cpu", "stop", "1")
    release(machine, "alpha")
    machine.until(lambda asked: asked[0] == asked[1], lambda: hwrpb.asked(1))
    assert hwrpb.asked(1)[2] == -errno.EINVAL
    assert where(machine, 1)[2] == "active"
    machine.apmp("cpu", "stop", "1")
    machine.apmp("cpu", "start", "1")
    machine.at_rest({"alpha", "beta", "gamma"})


def test_who_does_not_fail_fails_nothing_over(machine):
    """A CPU that goes with the mark of a failure, which is of an older build, goes as any other.

    shows: FAIL-01
    """
    Operator(machine)("CpuStop", cpu=1)  # nobody executes on it
    with channel_of(machine.pid("alpha")) as channel:
        channel.send(request(2**40, MIGRATE_CPU, 1, 1, 8))
    machine.until(lambda status: status["cpus"][1]["current_owner"] == "beta")
    assert where(machine, 1)[0] == "beta", "as a loan only who fails gives it away"
    machine.apmp("cpu", "migrate", 4, "--to", "gamma")
    assert not machine.events.find("failover.started")
