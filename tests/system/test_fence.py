"""What makes sure of a death: the fence by the kernel's own word, before the dead is reaped.

A dead process is kept from being reaped by a tracer that does not wait for it, and from dying by
the freezer: so both halves of a fence stand still as long as a test wants.
"""
import ctypes
import os
import signal
import time
from pathlib import Path

import pytest

import apmp
import freeze
from test_odd_instance import offset, store

PTRACE_SEIZE = 0x4206
WALL = 0x40000000
WAITERS, OWNER_DIED = 0x80000000, 0x40000000
CLOCK = 256  # APMP_BEACON_CLOCK
LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]

SILENT = apmp.TRIO + "notice_exit: no\n"
BUGCHECK = apmp.TRIO + "fence: bugcheck\n"


class Unreaped:
    """The first thread of a process, once it is dead, is a zombie until reap()."""

    def __init__(self, pid):
        self.pid = pid
        assert LIBC.ptrace(PTRACE_SEIZE, pid, None, None) == 0, os.strerror(ctypes.get_errno())

    def is_there(self):
        return Path(f"/proc/{self.pid}/stat").read_text().rpartition(") ")[2].startswith("Z")

    def reap(self):
        assert os.waitpid(self.pid, WALL)[0] == self.pid  # lets go: now its parent may
        self.pid = 0


@pytest.fixture
def unreaped():
    """Gives an Unreaped for a process; a test that fails keeps none."""
    made = []

    def make(pid):
        made.append(Unreaped(pid))
        return made[-1]

    yield make
    for zombie in made:
        if zombie.pid:
            os.kill(zombie.pid, signal.SIGKILL)
            zombie.reap()


def fence_unreaped(machine, unreaped, name="beta"):
    """It is killed, fenced and removed, and still there."""
    pid = machine.pid(name)
    zombie = unreaped(pid)
    mark = machine.events.mark()
    os.kill(pid, signal.SIGKILL)
    machine.events.wait_for("instance.fenced", partition=name, after=mark)
    machine.events.wait_for("member.removed", partition=name, after=mark)
    machine.at_rest({"alpha", "beta", "gamma"} - {name})
    assert zombie.is_there()
    return zombie


def test_the_dead_is_removed_before_it_is_reaped(machine, unreaped):
    """A process whose threads all are past their end is fenced; what it had is free at once, and it
    boots again when it was reaped. shows: DB-10, FAIL-05"""
    zombie = fence_unreaped(machine, unreaped)
    beta = machine.partition("beta")
    assert beta["instance"]["state"] == "dead" and "pid" not in beta["instance"]
    assert beta["state"] == "uninitialized"
    boots_when_reaped(machine, zombie)


def boots_when_reaped(machine, zombie):
    """A boot waits for the reaping; for longer than a second it is refused."""
    boot = machine.start("partition", "boot", "beta")
    zombie.reap()
    _, err = boot.communicate(timeout=apmp.WATCHDOG)
    if boot.returncode != apmp.DONE:
        assert boot.returncode == apmp.REFUSED and "beta" in err
        machine.until(lambda now: now["health"]["fence_pending"] == [])
        machine.apmp("partition", "boot", "beta")
    machine.at_rest({"alpha", "beta", "gamma"})


def test_a_reaping_that_does_not_end_is_told(machine, unreaped):
    """Nothing waits for it for ever, and the set is as whole as ever. shows: FAIL-05"""
    zombie = fence_unreaped(machine, unreaped)
    machine.until(lambda now: now["health"]["fence_pending"] == ["beta"])
    assert machine.partition("beta")["instance"]["state"] == "dead"
    assert "beta" in machine.refused("partition", "boot", "beta")
    assert "uses it" in machine.refused("partition", "delete", "beta")
    machine.apmp("cpu", "migrate", "2", "--to", "gamma")
    boots_when_reaped(machine, zombie)


def test_a_teardown_takes_turns_again(machine, unreaped):
    """It gives way only while survivors act on the fence, or a busy host would never end it; also
    when another console has heard of that fence. shows: FAIL-05"""
    zombie = fence_unreaped(machine, unreaped)
    for restarts in (1, None):
        machine.until(lambda now: now["health"]["fence_pending"] == ["beta"])
        assert os.getpriority(os.PRIO_PROCESS, zombie.pid) == 0
        if restarts:
            machine.apmp("chaos", "inject", "kill", "console")
            machine.events.wait_for("console.restarted", restarts=restarts)
    boots_when_reaped(machine, zombie)


@pytest.mark.parametrize("count", [1, 2])
def test_the_console_dies_between_fenced_and_reaped(machine, unreaped, count):
    """The next one asks the box again, and concludes when all is reaped. shows: DB-14, FAIL-05"""
    zombie = fence_unreaped(machine, unreaped)
    for restarts in range(1, 1 + count):
        machine.apmp("chaos", "inject", "kill", "console")
        machine.events.wait_for("console.restarted", restarts=restarts)
    assert machine.partition("beta")["instance"]["state"] == "dead"
    boots_when_reaped(machine, zombie)
    assert len(machine.events.find("instance.fenced", partition="beta")) == 1


def test_power_off_waits_for_the_reaping(machine, unreaped):
    zombie = fence_unreaped(machine, unreaped)
    down = machine.start("down")
    machine.events.wait_for("machine.off")
    zombie.reap()
    assert down.wait(apmp.WATCHDOG) == apmp.DONE, down.stderr.read()


def test_a_frozen_process_leaves_the_fence_pending(make_machine, freezer):
    """SIGKILL does not end it, so nothing of it is recovered; when it thaws it ends, and the fence
    completes. shows: DB-10, FAIL-05"""
    machine = make_machine()
    machine.up()
    pid = machine.pid("beta")
    freezer.freeze(pid)
    pending = machine.events.wait_for("instance.fence-pending", partition="beta")
    assert pending["processes"] == 1
    status = machine.status()
    assert apmp.named(status["partitions"], "beta")["instance"]["state"] == "fence-pending"
    assert status["health"]["fence_pending"] == ["beta"]
    assert apmp.members(status) == {"alpha", "beta", "gamma"}
    assert not machine.events.find("member.removed")
    machine.apmp("chaos", "inject", "kill", "console")  # the next one hears of it too
    machine.events.wait_for("console.restarted")
    machine.until(lambda now: now["health"]["fence_pending"] == ["beta"])
    freezer.thaw()
    machine.events.wait_for("instance.fenced", partition="beta")
    machine.events.wait_for("member.removed", partition="beta")
    machine.until(lambda now: now["health"]["fence_pending"] == [])
    machine.at_rest({"alpha", "gamma"})
    machine.boots_and_joins("beta")


def test_a_host_that_slept_kills_nobody(make_machine, freezer):
    """All processes of the machine stand still for ten times `stop`: nobody is suspected for it.
    shows: DB-09, FAIL-05"""
    machine = make_machine(apmp.TRIO + "timing: {stop: 50ms}\n")
    machine.up()
    before = {name: machine.pid(name) for name in ("alpha", "beta", "gamma")}
    mark = machine.events.mark()
    for _ in range(3):
        beats = {p["name"]: p["instance"]["heartbeat"] for p in machine.status()["partitions"]}
        freezer.freeze(*(pid for pid, _ in machine.processes()))
        freeze.pause_of(0.5)
        freezer.thaw()
        machine.until(lambda now, old=beats: all(p["instance"]["heartbeat"] > old[p["name"]] + 100
                                                 for p in now["partitions"]))
    assert {name: machine.pid(name) for name in before} == before
    assert not machine.events.find("instance.fenced", after=mark)
    assert not machine.events.find("member.removed", after=mark)
    machine.at_rest(set(before))


@pytest.mark.parametrize("word", [0, 77, OWNER_DIED, OWNER_DIED | WAITERS, WAITERS | 1, 2**32 - 1])
def test_garbage_in_a_beacon(machine, word):
    """Who writes it himself is not dead for that; its real end is seen all the same.
    shows: DB-09, FAIL-05"""
    pid = machine.pid("beta")
    at = offset("apmp_recorder", "beacon")
    for idx in (CLOCK, 2, 4):  # pairs of words; beta's CPUs are 3 and 4
        store(pid, "recorder", at + 4 * idx, word | word << 32)
    machine.at_rest({"alpha", "beta", "gamma"})
    mark = machine.events.mark()
    machine.kill_partition("beta")
    machine.events.wait_for("member.removed", partition="beta", after=mark)
    machine.at_rest({"alpha", "gamma"})
    machine.boots_and_joins("beta")
    assert len(machine.events.find("instance.fenced", partition="beta")) == 1


def test_who_changes_its_beacon_all_the_time(machine):
    """The box looks once at each, and goes on serving."""
    pid = machine.pid("beta")
    at = offset("apmp_recorder", "beacon") + 4 * CLOCK
    for word in range(2000):
        store(pid, "recorder", at, word)
    machine.at_rest({"alpha", "beta", "gamma"})
    machine.kill_partition("gamma")
    machine.events.wait_for("member.removed", partition="gamma")
    machine.kill_partition("beta")
    machine.events.wait_for("member.removed", partition="beta")
    log = (machine.rundir / "apmpd.log").read_text()
    assert log.count("into its death beacon") == 1


def test_the_thread_that_watches_stands_still(machine, freezer):
    """Its end is seen when it is reaped, and the fence completes. shows: FAIL-05"""
    threads = Path(f"/proc/{machine.box_pid()}/task").iterdir()
    watcher = next(t for t in threads if (t / "comm").read_text() == "beacons\n")
    freezer.freeze_thread(int(watcher.name))
    for name in ("beta", "gamma"):
        machine.kill_partition(name)
        machine.events.wait_for("member.removed", partition=name)
    machine.boots_and_joins("beta")
    freezer.thaw()
    mark = machine.events.mark()
    machine.kill_partition("beta")
    machine.events.wait_for("member.removed", partition="beta", after=mark)
    machine.at_rest({"alpha"})


def test_a_program_without_beacon_is_part_of_the_fence(machine):
    """It runs on in its partition when the instance dies: fenced is when it runs no more as well.
    shows: DB-10"""
    program = machine.start("run", "beta", "--", "sh", "-c", "echo on; while :; do :; done")
    assert program.stdout.readline() == "on\n"
    mark = machine.events.mark()
    os.kill(machine.pid("beta"), signal.SIGKILL)
    machine.events.wait_for("member.removed", partition="beta", after=mark)
    assert program.wait(apmp.WATCHDOG) != 0
    machine.boots_and_joins("beta")


@pytest.mark.parametrize("text", [apmp.TRIO, SILENT, BUGCHECK])
def test_a_debugger_may_hold_an_instance(make_machine, text):
    """SIGSTOP for longer than `stop`: nobody suspects it; off: it is suspected and, where the fence
    kills, fenced. shows: DB-09, FAIL-05"""
    machine = make_machine(text)
    machine.up()
    pid = machine.pid("beta")
    machine.apmp("debug", "beta")
    machine.events.wait_for("instance.debugged", partition="beta")
    assert machine.status()["health"]["debugged"] == ["beta"]
    mark = machine.events.mark()
    os.kill(pid, signal.SIGSTOP)
    beats = machine.partition("alpha")["instance"]["heartbeat"]
    machine.until(lambda now: apmp.named(now["partitions"], "alpha")["instance"]["heartbeat"]
                  > beats + 200)  # 8 times `stop`
    assert not machine.events.find("instance.suspected", partition="beta", after=mark)
    assert machine.pid("beta") == pid
    machine.apmp("debug", "beta", "off")
    machine.events.wait_for("instance.suspected", partition="beta", after=mark)
    if text is BUGCHECK:
        machine.events.wait_for("instance.fence-pending", partition="beta", after=mark)
        os.kill(pid, signal.SIGCONT)
    machine.events.wait_for("instance.fenced", partition="beta", after=mark)
    machine.events.wait_for("member.removed", partition="beta", after=mark)
    assert machine.status()["health"]["debugged"] == []
    assert machine.partition("beta")["instance"]["suspected"] >= 1
    machine.boots_and_joins("beta")


def test_a_debugger_holds_only_what_lives(machine):
    machine.apmp("debug", "beta")
    machine.kill_partition("beta")  # its end is no silence
    machine.events.wait_for("member.removed", partition="beta")
    assert "beta" in machine.refused("debug", "beta")
    machine.boots_and_joins("beta")
    assert machine.status()["health"]["debugged"] == []
    assert "nobody" in machine.refused("debug", "nobody")
    machine.apmp("debug", "beta", "on", code=apmp.USAGE)


def test_a_debugger_holds_one_that_ends_unnoticed(make_machine):
    """Its silence is counted by nobody, so its end is left to nobody to find. shows: DB-09"""
    machine = make_machine(SILENT)
    machine.up()
    machine.apmp("debug", "beta")
    machine.kill_partition("beta")
    machine.events.wait_for("member.removed", partition="beta")
    machine.boots_and_joins("beta")
    assert machine.status()["health"]["debugged"] == []


def test_a_suspicion_that_is_taken_back_is_counted(make_machine):
    machine = make_machine(apmp.TRIO + "timing: {stop: 5s}\n")
    machine.up()
    pid = machine.pid("beta")
    os.kill(pid, signal.SIGSTOP)
    by = machine.events.wait_for("instance.suspected", partition="beta")["by"]
    os.kill(pid, signal.SIGCONT)
    machine.events.wait_for("instance.unsuspected", partition="beta", by=by)
    beta = machine.partition("beta")["instance"]
    assert beta["pid"] == pid and beta["suspected"] >= 1 and beta["unsuspected"] >= 1


def test_the_clock_has_its_class(machine):
    """What doctor says is what the first thread of each instance has. shows: FAIL-05"""
    said = machine.apmp("doctor", json=True)["checks"]
    fifo = any("SCHED_FIFO" in check["found"] for check in said if check["what"] == "scheduling")
    for name in ("alpha", "beta", "gamma"):
        assert (os.sched_getscheduler(machine.pid(name)) & 0xff == os.SCHED_FIFO) == fifo
    assert any(check["what"] == "death beacons" for check in said)


def test_time_to_removed_with_a_large_member(make_machine, monkeypatch):
    """The same early event, whatever there is to tear down: `fenced` comes before EXITED.
    shows: DB-09"""
    monkeypatch.setenv("APMP_TOUCH", "96")
    machine = make_machine(apmp.TRIO.replace("memory: 128M", "memory: 256M").replace(
        "cpus: [3, 4], memory: 24M", "cpus: [3, 4], memory: 112M"))
    machine.up()
    for _ in range(5):
        since = time.monotonic_ns()
        mark = machine.events.mark()
        machine.kill_partition("beta")
        machine.events.wait_for("member.removed", partition="beta", after=mark)
        for other in ("alpha", "gamma"):
            machine.until(bool, lambda who=other, since=since:
                          machine.passed("member_gone", who, since=since))
        machine.boots_and_joins("beta")
