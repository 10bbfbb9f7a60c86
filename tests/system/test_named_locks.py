"""Named locks on a running machine: what is told of broken ones, and a death at each point.

What programs see of them: test_apps.py.
"""
import os
import signal

import pytest

import apmp
from test_apps import Holder, broken, lock


def dies(machine, partition, name="journal"):
    """A program of a partition that lives dies with the lock."""
    holder = Holder(machine, partition, name)
    for pid in holder.pids:
        os.kill(pid, signal.SIGKILL)
    holder.process.communicate(timeout=apmp.WATCHDOG)


def test_the_event_names_lock_and_partition(machine):
    """Of a partition that died, and of a program in one that lives. shows: COMM-04"""
    events = machine.events
    holder = Holder(machine, "beta", "journal")
    machine.kill_partition("beta")
    event = events.wait_for("lock.broken", partition="beta", lock="journal")
    assert event["by"] in ("alpha", "gamma")
    holder.process.communicate(timeout=apmp.WATCHDOG)
    dies(machine, "alpha", "ledger")
    events.wait_for("lock.broken", partition="alpha", by="alpha", lock="ledger")


USING = ["named_acquired", "named_good", "named_release", "named_table", "named_slot", "named_open"]


@pytest.mark.parametrize("point", USING)
def test_an_instance_dies_at(machine, point):
    """The lock is BROKEN for the next when it was held, and can be had in any case.
    shows: COMM-04, DB-14"""
    if point == "named_good":  # there is something to declare good
        dies(machine, "alpha")
    machine.arm("beta", point)
    program = machine.start("run", "beta", "--", "apmp-lock", "--good", "journal")
    machine.events.wait_for("member.removed", partition="beta")
    program.communicate(timeout=apmp.WATCHDOG)
    held = point in ("named_acquired", "named_good", "named_release")
    said = lock(machine, "gamma", "--try", "journal", "--", "echo", "ran")
    assert broken(said) if held else (said.code, said.out) == (0, "ran\n"), str(said)
    assert lock(machine, "alpha", "--good", "journal").code == 0
    machine.boots_and_joins("beta")
    assert lock(machine, "beta", "journal", "--", "echo", "ran").out == "ran\n"


@pytest.mark.parametrize("point", ["named_broken", "named_marked", "named_freed"])
def test_who_breaks_a_lock_dies_too(machine, point):
    """shows: COMM-04"""
    holder = Holder(machine, "beta", "journal")
    waiter = machine.start("run", "gamma", "--", "apmp-lock", "journal", "--", "true")
    machine.arm("alpha", point)
    machine.kill_partition("beta")
    out, err = waiter.communicate(timeout=apmp.WATCHDOG)
    assert waiter.returncode == 75, f"{out}{err}"
    machine.disarm("alpha", point)
    holder.process.communicate(timeout=apmp.WATCHDOG)
    assert broken(lock(machine, "gamma", "--try", "journal", "--", "true"))
    assert not any(row["holder"] for row in machine.apmp("lock", "list", json=True))


@pytest.mark.parametrize("where", ["header", "locks"])
def test_a_broken_lock_that_nobody_has_open(machine, where):
    """Stays so where the set is made anew, until somebody says that it is good; the table of names
    may be garbage, too. shows: COMM-04, DB-14"""
    dies(machine, "alpha", "brk")
    database = machine.apmp("db", "show", json=True)[0]["database"]
    table = next(s for s in database["services"] if s["name"] == "lock")
    if where == "locks":
        machine.apmp("chaos", "inject", "garbage", "lab", "--page", str(table["offset"] // 4096))
    machine.apmp("chaos", "inject", "garbage", "lab")
    machine.events.wait_for("set.reformed")
    machine.at_rest(["alpha", "beta", "gamma"])
    assert broken(lock(machine, "beta", "--try", "brk", "--", "echo", "ran"))
    assert lock(machine, "gamma", "--good", "brk").code == 0
    assert lock(machine, "beta", "--try", "brk", "--", "echo", "ran").out == "ran\n"


def test_garbage_over_the_lock_table(machine):
    """Found by the survivors' validation; who held the lock holds it still, and it is good: what an
    instance holds it knows by itself. shows: COMM-04, DB-11"""
    holder = Holder(machine, "alpha", "journal")
    database = machine.apmp("db", "show", json=True)[0]["database"]
    table = next(s for s in database["services"] if s["name"] == "lock")
    machine.apmp("chaos", "inject", "garbage", "lab", "--page", str(table["offset"] // 4096))
    machine.kill_partition("beta")
    machine.events.wait_for("set.reformed")
    machine.at_rest(["alpha", "gamma"])
    assert lock(machine, "gamma", "--try", "journal", "--", "true").code == 1
    assert holder.let_go() == 0
    assert lock(machine, "gamma", "--try", "journal", "--", "echo", "ran").out == "ran\n"
