"""A power failure of the machine: its box is killed, alone or with all that would clean up."""
import os
import signal
from pathlib import Path

import apmp
import leftovers


def guard_of(machine):
    """The guard: a child of the box; it carries no mark of its machine."""
    box = machine.box_pid()
    for entry in Path("/proc").iterdir():
        stat = leftovers.read(entry / "stat") if entry.name.isdigit() else b""
        if b"(apmp-guard)" in stat and int(stat.rpartition(b")")[2].split()[1]) == box:
            return int(entry.name)
    raise AssertionError("the box has no guard")


def ends(pids):
    """Descriptors by which one can wait for the end of each that has not ended yet."""
    fds = []
    for pid in pids:
        try:
            fds.append(os.pidfd_open(pid))
        except ProcessLookupError:
            pass
    return fds


def all_end(fds):
    ended = [apmp.ended(fd) for fd in fds]
    for fd in fds:
        os.close(fd)
    return all(ended)


def kill(*pids):
    """All of them at once, as far as that goes: stopped first, so that none sees another's end.
    Returns when all have ended."""
    fds = ends(pids)
    for sent in (signal.SIGSTOP, signal.SIGKILL):
        for pid in pids:
            try:
                os.kill(pid, sent)
            except ProcessLookupError:
                pass
    assert all_end(fds)


def started(machine):
    """Numbers of everything that runs of a machine, its programs too."""
    machine.apmp("run", "--detach", "alpha", "--", "sleep", "1000")
    machine.apmp("run", "--detach", "gamma", "--", "setsid", "sleep", "1000")
    # A process that is being made, or makes itself another, is not to be found for a moment.
    running = machine.until(
        lambda now: sum(command.endswith("sleep 1000") for _, command in now) == 2,
        machine.processes)
    pids = {pid for pid, _ in running}
    assert {i["pid"] for i in apmp.instances(machine.status()).values()} <= pids
    return pids


def is_as_new(machine):
    """Nothing of its last life is there."""
    status = machine.status()
    assert apmp.members(status) == {"alpha", "beta", "gamma"}
    assert {i["incarnation"] for i in apmp.instances(status).values()} == {1}
    assert apmp.ring_is_right(status)


def test_the_guard_ends_everything(machine):
    """kill -9 of the box; the next `up` works and has nothing to clean."""
    box, pids = machine.box_pid(), started(machine)
    fds = ends({*pids, box, guard_of(machine)})
    kill(box)
    assert all_end(fds), "the box is dead and something of its machine lives"
    assert machine.processes() == []
    assert leftovers.cgroups(f"apmp-{machine.name}") == []
    assert not machine.rundir.exists()
    said = machine.try_apmp("up", machine.file)
    assert (said.code, said.err) == (apmp.DONE, "")
    is_as_new(machine)


def test_up_right_after_the_death(machine):
    """It waits for the guard, or cleans itself."""
    started(machine)
    kill(machine.box_pid())
    said = machine.try_apmp("up", machine.file)
    assert said.code == apmp.DONE, str(said)
    is_as_new(machine)


def test_when_the_guard_dies_as_well_up_cleans_and_says_so(machine):
    box, pids = machine.box_pid(), started(machine)
    fds = ends(pids)
    kill(guard_of(machine), box)
    said = machine.try_apmp("up", machine.file)
    assert said.code == apmp.DONE, str(said)
    lines = said.err.splitlines()
    assert lines, "something was left, and nothing was said"
    assert all(line.startswith("apmp: left by a machine that died: ") for line in lines), lines
    assert any(machine.name in line for line in lines)
    assert all_end(fds)
    is_as_new(machine)


def test_clean(machine):
    """`apmp clean` removes it and says what; a second time there is nothing."""
    box, pids = machine.box_pid(), started(machine)
    fds = ends(pids)
    kill(guard_of(machine), box)
    said = machine.try_apmp("status")
    assert said.code == apmp.NO_MACHINE
    assert said.err == (f'apmp: machine "{machine.name}" is dead: its box ended and left something '
                        "behind; `apmp clean` removes that\n")
    assert machine.apmp("list", json=True) == [{"name": machine.name, "state": "dead"}]
    answer = machine.apmp("clean", json=True)
    assert answer["complete"] is True and answer["removed"] >= len(answer["said"]) > 0
    assert all_end(fds)
    assert machine.processes() == [] and not machine.rundir.exists()
    assert leftovers.cgroups(f"apmp-{machine.name}") == []
    assert machine.apmp("clean") == "nothing was left behind\n"


def test_clean_leaves_a_living_machine_alone(machine):
    before = machine.status()
    said = machine.try_apmp("clean")
    assert said.code == apmp.REFUSED and machine.name in said.err
    assert machine.try_apmp("clean", named=False).code == apmp.DONE
    assert [i["pid"] for i in apmp.instances(machine.status()).values()] == [
        i["pid"] for i in apmp.instances(before).values()]


def test_everything_is_killed_at_once(machine):
    """Box, guard, console, instances."""
    pids = {*started(machine), machine.box_pid(), guard_of(machine)}
    fds = ends(pids)
    kill(*pids)
    assert all_end(fds)
    said = machine.try_apmp("up", machine.file)
    assert said.code == apmp.DONE, str(said)
    assert "left by a machine that died" in said.err
    is_as_new(machine)


def test_sigterm_of_the_box_is_a_power_off(machine):
    box, pids = machine.box_pid(), started(machine)
    fds = ends({*pids, box})
    os.kill(box, signal.SIGTERM)
    assert all_end(fds)
    assert machine.processes() == [] and not machine.rundir.exists()
