"""Members that come, go and die. What must hold after each death: the others remove it and go on,
the ring is right again, and it boots again with a new incarnation and joins."""
import os
import signal
import time

import pytest

import apmp
from apmp import points
from terminal import Terminal

ALL = {"alpha", "beta", "gamma"}
MACHINE = apmp.TRIO.replace("\npartitions:","""
partitions:
  - {name: spare, community: lab, memory: 4M}""")
SILENT = apmp.TRIO + "notice_exit: no\n"
BUGCHECK = apmp.TRIO + "fence: bugcheck\n"


def at_rest(machine, wanted=ALL):
    return machine.at_rest(wanted)


def boots_and_joins(machine, name):
    machine.boots_and_joins(name)


def comes_back(machine, name):
    """After its death: removed, fenced; the others are as before; it joins again."""
    at_rest(machine, ALL - {name})
    boots_and_joins(machine, name)
    at_rest(machine)


@pytest.mark.parametrize("name", sorted(ALL))
def test_a_killed_member_is_removed(shared, name):
    """kill -9 of the process itself. shows: DB-09, DB-10, DB-11, CPU-11, TREE-17"""
    before = shared.status()
    since = time.monotonic_ns()
    mark = shared.events.mark()
    shared.kill_partition(name)
    fenced = shared.events.wait_for("instance.fenced", partition=name, after=mark)
    removed = shared.events.wait_for("member.removed", partition=name, after=mark)
    assert removed["seq"] > fenced["seq"]
    assert removed["by"] in ALL - {name}
    status = at_rest(shared, ALL - {name})
    for other in ALL - {name}:  # each reads every page of the database again
        shared.until(bool, lambda: shared.passed("validate_pages", other, since=since))
    assert apmp.named(status["partitions"], name)["instance"]["state"] == "dead"
    assert apmp.named(status["partitions"], name)["state"] == "uninitialized"
    for other in ALL - {name}:
        assert (apmp.instances(status)[other]["pid"] == apmp.instances(before)[other]["pid"])
    assert [cpu["owner"] for cpu in status["cpus"]] == [cpu["owner"] for cpu in before["cpus"]]
    comes_back(shared, name)
    assert [cpu["current_owner"] for cpu in shared.status()["cpus"]] == [
        cpu["current_owner"] for cpu in before["cpus"]]


def test_each_removal_is_told_once(shared):
    """Both others may see it; one removes it."""
    mark = shared.events.mark()
    shared.kill_partition("beta")
    comes_back(shared, "beta")
    shared.events.wait_for("member.joined", partition="beta", after=mark)
    assert len(shared.events.find("member.removed", after=mark)) == 1
    assert len(shared.events.find("instance.fenced", after=mark)) == 1


def test_two_die_at_once(shared):
    """shows: DB-10, DB-14"""
    mark = shared.events.mark()
    for name in ("beta", "gamma"):
        shared.kill_partition(name)
    for name in ("beta", "gamma"):
        shared.events.wait_for("member.removed", partition=name, after=mark)
    at_rest(shared, {"alpha"})
    for name in ("gamma", "beta"):
        boots_and_joins(shared, name)
    at_rest(shared)


def test_a_crash_announces_itself(shared):
    """shows: PLAT-10"""
    mark = shared.events.mark()
    shared.apmp("partition", "crash", "beta")
    event = shared.events.wait_for("instance.crashed", partition="beta", after=mark)
    assert (event["reason"], event.get("text")) == ("by instruction", None), "said once"
    shared.events.wait_for("member.removed", partition="beta", after=mark)
    assert shared.partition("beta")["instance"]["state"] == "crashed"
    comes_back(shared, "beta")


def test_leave_and_come_back(shared):
    """In order: nobody removes it. shows: DB-12, PLAT-10"""
    mark = shared.events.mark()
    shared.apmp("partition", "halt", "beta")
    shared.events.wait_for("member.left", partition="beta", after=mark)
    shared.events.wait_for("instance.halted", partition="beta", after=mark)
    status = at_rest(shared, {"alpha", "gamma"})
    assert apmp.named(status["partitions"], "beta")["instance"]["state"] == "console"
    comes_back(shared, "beta")
    assert shared.events.find("member.removed", after=mark) == []


def test_reset_takes_it_and_boots_it(shared):
    """shows: PLAT-10"""
    before = shared.partition("beta")["instance"]
    mark = shared.events.mark()
    shared.apmp("partition", "reset", "beta")
    shared.events.wait_for("member.joined", partition="beta", after=mark)
    after = shared.partition("beta")["instance"]
    assert after["pid"] != before["pid"]
    assert after["incarnation"] == before["incarnation"] + 1
    at_rest(shared)


def set_of_lab(machine):
    return apmp.named(machine.status()["communities"], "lab")["sharing_set"]


def test_the_last_member_leaves(shared):
    """The next one makes the set anew. shows: DB-14, DB-06"""
    before = set_of_lab(shared)
    mark = shared.events.mark()
    for name in ("beta", "alpha", "gamma"):
        shared.apmp("partition", "halt", name)
    assert apmp.members(shared.status()) == set()
    boots_and_joins(shared, "gamma")
    created = shared.events.wait_for("set.created", after=mark)
    assert created["partition"] == "gamma"
    assert created["incarnation"] == before["incarnation"] + 1
    assert set_of_lab(shared)["incarnation"] == before["incarnation"] + 1
    for name in ("alpha", "beta"):
        boots_and_joins(shared, name)
    at_rest(shared)
    assert len(shared.events.find("set.created", after=mark)) == 1


def test_all_die_at_once(shared):
    """shows: DB-14, DB-05"""
    before = set_of_lab(shared)
    mark = shared.events.mark()
    for name in sorted(ALL):
        shared.kill_partition(name)
    for name in sorted(ALL):
        shared.events.wait_for("instance.fenced", partition=name, after=mark)
    boots_and_joins(shared, "beta")
    assert shared.events.wait_for("set.created", after=mark)["partition"] == "beta"
    assert set_of_lab(shared)["incarnation"] == before["incarnation"] + 1
    for name in ("gamma", "alpha"):
        boots_and_joins(shared, name)
    at_rest(shared)


def test_booting_what_runs_and_halting_what_does_not(shared):
    assert shared.refused("partition", "boot", "beta") == (
        'partition "beta" is running already: it is a member')
    shared.apmp("partition", "halt", "beta")
    for verb in ("halt", "crash", "reset"):
        assert shared.refused("partition", verb, "beta") == (
            'partition "beta" is not running: it is halted, in its console; '
            '`apmp partition boot beta` starts it')
    boots_and_joins(shared, "beta")
    assert "spare" in shared.refused("partition", "boot", "spare")


def test_one_that_is_reset_and_can_not_boot_again(shared):
    """Who resets it hears why, and so does who looks at its port."""
    shared.apmp("bus", "deassign", "0.0.1")
    assert shared.refused("partition", "reset", "beta") == (
        'not enough buses for partition "beta": 1 wanted, 0 there')
    assert shared.partition("beta")["instance"]["state"] == "dead"
    shared.apmp("bus", "assign", "0.0.1", "--to", "beta")
    boots_and_joins(shared, "beta")
    port = Terminal(shared, "console", "beta")
    port.read_until(b"can't boot again: buses wanted 1, had 0")
    port.close()


# Deaths between two stores.


def dies_at(machine, name, point, verb):
    """partition VERB name, with death at the point; gives the number of the event before it."""
    mark = machine.events.mark()
    machine.arm(name, point)
    said = machine.refused("partition", verb, name)
    assert said == f'partition "{name}" ended during {verb}; `apmp events` has how'
    machine.events.wait_for("instance.fenced", partition=name, after=mark)
    assert machine.partition(name)["instance"]["state"] == "dead"
    return mark


@pytest.mark.parametrize("point", [point for point in points("create_")
                                   if point != "create_263"])  # test_reform.py
def test_the_creator_dies(shared, point):
    """The next to enter makes the set; the dead one boots again and joins.
    shows: DB-05, DB-06, DB-14"""
    for name in sorted(ALL):
        shared.apmp("partition", "halt", name)
    mark = dies_at(shared, "alpha", point, "boot")
    boots_and_joins(shared, "beta")
    created = shared.events.find("set.created", after=mark)
    assert created[-1]["partition"] == "beta"
    at_rest(shared, {"beta"})
    boots_and_joins(shared, "alpha")
    boots_and_joins(shared, "gamma")
    at_rest(shared)


@pytest.mark.parametrize("point", [
    *points("map_"), "lock_acquired", *points("join_"), "lock_release"])
def test_a_joiner_dies(shared, point):
    """The set goes on. shows: DB-05, DB-06, DB-10, DB-14"""
    before = set_of_lab(shared)["incarnation"]
    shared.apmp("partition", "halt", "gamma")
    dies_at(shared, "gamma", point, "boot")
    comes_back(shared, "gamma")
    assert set_of_lab(shared)["incarnation"] == before


@pytest.mark.parametrize("name", ["alpha", "beta"])
@pytest.mark.parametrize("point", points("leave_"))
def test_a_leaver_dies(shared, point, name):
    """The set goes on. shows: DB-09, DB-10"""
    before = set_of_lab(shared)["incarnation"]
    dies_at(shared, name, point, "halt")
    comes_back(shared, name)
    assert set_of_lab(shared)["incarnation"] == before


@pytest.mark.parametrize("point", points("leave_"))
def test_the_last_leaver_dies(shared, point):
    """The set is made anew. shows: DB-14"""
    for name in ("alpha", "gamma"):
        shared.apmp("partition", "halt", name)
    dies_at(shared, "beta", point, "halt")
    for name in ("gamma", "beta", "alpha"):
        boots_and_joins(shared, name)
    at_rest(shared)


@pytest.mark.parametrize("point", ["tick_beat", "tick_watch"])
def test_death_in_the_clock(shared, point):
    """shows: DB-08"""
    mark = shared.events.mark()
    shared.arm("gamma", point)
    shared.events.wait_for("member.removed", partition="gamma", after=mark)
    comes_back(shared, "gamma")


@pytest.mark.parametrize("point", [*points("recover_"), *points("validate_")])
def test_who_removes_the_dead_dies(shared, point):
    """gamma dies, and alpha while it removes it; beta removes what is left. It may be beta that
    removes gamma: then gamma dies again. shows: DB-10, DB-11, DB-14"""
    mark = shared.events.mark()
    shared.arm("alpha", point)
    while "alpha" in apmp.members(shared.status()):
        shared.kill_partition("gamma")
        shared.until(lambda now: apmp.ring_is_right(now) and "gamma" not in apmp.members(now))
        boots_and_joins(shared, "gamma")
    shared.events.wait_for("member.removed", partition="alpha", after=mark)
    status = at_rest(shared, {"beta", "gamma"})
    assert apmp.instances(status)["alpha"]["state"] == "dead"
    boots_and_joins(shared, "alpha")
    at_rest(shared)


@pytest.mark.parametrize("point", [*points("recover_"), *points("validate_")])
def test_the_last_one_dies_removing_the_dead(shared, point):
    """Of two members one dies, and the other while it removes it: the next to enter finds a set
    that is being recovered by nobody. shows: DB-10, DB-14"""
    shared.apmp("partition", "halt", "gamma")
    mark = shared.events.mark()
    shared.arm("alpha", point)
    shared.kill_partition("beta")
    shared.events.wait_for("instance.fenced", partition="alpha", after=mark)
    for name in ("gamma", "beta", "alpha"):
        boots_and_joins(shared, name)
    at_rest(shared)
    assert shared.events.wait_for("set.created", after=mark)["partition"] == "gamma"


# Without a word of the box, and without its kill.


@pytest.mark.machine_file(SILENT)
def test_heartbeats_alone_find_it(machine):
    """notice_exit: no. shows: DB-08, DB-09, DB-10"""
    for name in ("beta", "alpha", "gamma"):
        mark = machine.events.mark()
        machine.kill_partition(name)
        suspected = machine.events.wait_for("instance.suspected", partition=name, after=mark)
        assert suspected["by"] in ALL - {name}
        fenced = machine.events.wait_for("instance.fenced", partition=name, after=mark)
        removed = machine.events.wait_for("member.removed", partition=name, after=mark)
        assert suspected["seq"] < fenced["seq"] < removed["seq"]
        comes_back(machine, name)


@pytest.mark.machine_file(SILENT)
def test_heartbeats_find_two_brothers(machine):
    """An inactive little brother's little brother is watched too. shows: DB-09"""
    by_id = {p["id"]: p["name"] for p in machine.status()["partitions"]}
    little = machine.partition("alpha")["instance"]["little_brother"]
    first = by_id[little]
    second = by_id[machine.partition(first)["instance"]["little_brother"]]
    mark = machine.events.mark()
    for name in (first, second):
        machine.kill_partition(name)
    for name in (first, second):
        machine.events.wait_for("member.removed", partition=name, after=mark)
    at_rest(machine, {"alpha"})
    for name in (first, second):
        boots_and_joins(machine, name)
    at_rest(machine)


@pytest.mark.parametrize("point", points("fence_"))
@pytest.mark.machine_file(SILENT)
def test_who_fences_dies(machine, point):
    """The big brother of the dead one dies while it fences; the last one removes both.
    shows: DB-09, DB-10"""
    by_id = {p["id"]: p["name"] for p in machine.status()["partitions"]}
    big = by_id[machine.partition("gamma")["instance"]["big_brother"]]
    last, = ALL - {"gamma", big}
    mark = machine.events.mark()
    machine.arm(big, point)
    machine.kill_partition("gamma")
    for name in ("gamma", big):
        machine.events.wait_for("member.removed", partition=name, after=mark)
    at_rest(machine, {last})
    for name in (big, "gamma"):
        boots_and_joins(machine, name)
    at_rest(machine)


@pytest.mark.machine_file(SILENT)
def test_heartbeats_find_a_holder_of_the_lock(machine):
    """It dies in the midst of joining, and no one was told. shows: DB-05, DB-08, DB-10"""
    machine.apmp("partition", "halt", "gamma")
    dies_at(machine, "gamma", "join_812", "boot")
    comes_back(machine, "gamma")


def test_a_stopped_member_is_fenced_and_never_writes_again(shared):
    """SIGSTOP: alive, but silent. The fence ends its process, so that nothing is left that SIGCONT
    could wake. shows: DB-08, DB-10"""
    pid = shared.pid("beta")
    fd = os.pidfd_open(pid)
    mark = shared.events.mark()
    shared.apmp("chaos", "inject", "stop", "beta")
    suspected = shared.events.wait_for("instance.suspected", partition="beta", after=mark)
    assert suspected["by"] in ("alpha", "gamma")
    fenced = shared.events.wait_for("instance.fenced", partition="beta", after=mark)
    assert apmp.ended(fd, 0), "fenced, and yet its process is there"
    removed = shared.events.wait_for("member.removed", partition="beta", after=mark)
    assert suspected["seq"] < fenced["seq"] < removed["seq"]
    shared.until(lambda there: not there, lambda: os.path.exists(f"/proc/{pid}"))  # reaped as well
    with pytest.raises(ProcessLookupError):
        signal.pidfd_send_signal(fd, signal.SIGCONT)
    os.close(fd)
    assert "not running" in shared.refused("chaos", "inject", "cont", "beta")
    comes_back(shared, "beta")


@pytest.mark.machine_file(BUGCHECK)
def test_who_wakes_up_late_sees_the_bugcheck_bit_and_ends(machine):
    """fence: bugcheck. Nothing of it is taken before it has ended by itself. shows: DB-10"""
    pid = machine.pid("beta")
    fd = os.pidfd_open(pid)
    mark = machine.events.mark()
    machine.apmp("chaos", "inject", "stop", "beta")
    machine.until(bool, lambda: machine.passed("fence_interrupt"))
    # The others go on meanwhile, and nothing of it is taken.
    assert "went from" in machine.apmp("cpu", "migrate", 2, "--to", "gamma")
    assert not apmp.ended(fd, 0)
    assert apmp.members(machine.status()) == ALL
    assert machine.events.find("instance.fenced", after=mark) == []
    machine.apmp("chaos", "inject", "cont", "beta")
    assert apmp.ended(fd)
    os.close(fd)
    machine.events.wait_for("instance.fenced", partition="beta", after=mark)
    machine.events.wait_for("member.removed", partition="beta", after=mark)
    at_rest(machine, {"alpha", "gamma"})
    boots_and_joins(machine, "beta")
    at_rest(machine)


@pytest.mark.machine_file(BUGCHECK)
def test_halt_while_a_fence_waits(machine):
    """fence: bugcheck. The operator is answered although one of the set hangs.
    shows: DB-10, DB-12"""
    mark = machine.events.mark()
    machine.apmp("chaos", "inject", "stop", "beta")
    by, = {entry["who"] for entry in machine.until(bool, lambda: machine.passed("fence_interrupt"))}
    machine.apmp("partition", "halt", by)
    machine.apmp("chaos", "inject", "cont", "beta")
    machine.events.wait_for("instance.fenced", partition="beta", after=mark)
    for name in (by, "beta"):
        boots_and_joins(machine, name)
    at_rest(machine)
