"""As many partitions as there can be, in one sharing set: it comes up, goes on while members die,
leave and come back, and goes off; one that is late or alone is no special case."""
import os
import signal

import pytest

import apmp

COUNT = 64
ALL = {f"p{i}" for i in range(COUNT)}
KILLED = {"p0", "p7", "p8", "p9", "p31", "p62", "p63"}  # both ends, and three side by side
HALTED = {"p1", "p32", "p33", "p61"}


def kill_at_once(machine, names):
    """Nobody has time to remove one of them before the next dies."""
    victims = [os.pidfd_open(instance["pid"]) for name, instance in
               apmp.instances(machine.status()).items() if name in names]
    mark = machine.events.mark()
    for pidfd in victims:
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        os.close(pidfd)
    for name in names:
        machine.events.wait_for("member.removed", partition=name, after=mark)


def come_back(machine, names):
    """All boot at the same time; each is a member when its command is answered."""
    boots = {name: machine.start("partition", "boot", name) for name in sorted(names)}
    for name, boot in boots.items():
        assert boot.wait(apmp.WATCHDOG) == 0, (name, boot.stderr.read())


def pids_but(machine, names):
    return {name: instance["pid"] for name, instance in apmp.instances(machine.status()).items()
            if name not in names}


def healthy(machine, before):
    """Who was not touched lives on, and nobody but the killed was ever removed."""
    now = apmp.instances(machine.status())
    assert {name: now[name].get("pid") for name in before} == before


@pytest.mark.machine_file(apmp.many(COUNT))
def test_sixty_four_members(machine):
    """shows: DB-06, DB-08, DB-10, DB-11, DB-14"""
    machine.at_rest(ALL)
    assert apmp.named(machine.status()["communities"], "lab")["sharing_set"]["incarnation"] == 1
    untouched = pids_but(machine, KILLED | HALTED)
    kill_at_once(machine, KILLED)
    machine.at_rest(ALL - KILLED)
    mark = machine.events.mark()
    for name in sorted(HALTED):
        machine.apmp("partition", "halt", name)
    assert machine.events.find("member.removed", after=mark) == []
    machine.at_rest(ALL - KILLED - HALTED)
    come_back(machine, KILLED | HALTED)
    machine.at_rest(ALL)
    mark = machine.events.mark()
    machine.apmp("chaos", "inject", "kill", "console")
    machine.events.wait_for("console.restarted", after=mark)
    machine.at_rest(ALL)
    healthy(machine, untouched)
    removed = {event["partition"] for event in machine.events.find("member.removed")}
    assert removed == KILLED
    assert len(machine.events.find("set.created")) == 1


@pytest.mark.machine_file(apmp.many(COUNT))
def test_all_but_two_die_at_once(machine):
    """shows: DB-10, DB-14"""
    left = {"p5", "p40"}
    untouched = pids_but(machine, ALL - left)
    kill_at_once(machine, ALL - left)
    machine.at_rest(left)
    come_back(machine, {"p0", "p6", "p63"})
    machine.at_rest(left | {"p0", "p6", "p63"})
    healthy(machine, untouched)
