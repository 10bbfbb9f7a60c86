"""The ring of big and little brothers, and who comes late, comes back, or never takes part."""
import os
import signal

import pytest

import apmp

TWELVE = {f"p{i}" for i in range(12)}
BY_HEARTBEATS = "{stop: 50ms}\nnotice_exit: no"


def stop_at_once(machine, names):
    """SIGSTOP to all of them before any of them can be missed."""
    pidfds = [os.pidfd_open(instance["pid"]) for name, instance in
              apmp.instances(machine.status()).items() if name in names]
    for pidfd in pidfds:
        signal.pidfd_send_signal(pidfd, signal.SIGSTOP)
        os.close(pidfd)


@pytest.mark.machine_file(apmp.many(12, timing=BY_HEARTBEATS))
@pytest.mark.parametrize("left", [("p0", "p11"), ("p3", "p4"), ("p2", "p8"), ("p7",)],
                         ids=lambda left: "-".join(left))
def test_all_neighbours_stop(machine, left):
    """Ten in a row are more than one watches at a time, and there is nobody but heartbeats to find
    them. shows: DB-09, DB-10"""
    left = set(left)
    mark = machine.events.mark()
    pids = {name: machine.pid(name) for name in left}
    stop_at_once(machine, TWELVE - left)
    for name in TWELVE - left:
        machine.events.wait_for("member.removed", partition=name, after=mark)
    machine.at_rest(left)
    assert {name: machine.pid(name) for name in left} == pids
    boots = [machine.start("partition", "boot", name) for name in sorted(TWELVE - left)]
    for boot in boots:
        assert boot.wait(apmp.WATCHDOG) == 0, boot.stderr.read()
    machine.at_rest(TWELVE)


@pytest.mark.machine_file(apmp.many(12, timing=BY_HEARTBEATS))
def test_a_brother_that_beats_again_is_watched_no_further(machine):
    """Silent for less than `stop`: nobody is removed. shows: DB-09"""
    mark = machine.events.mark()
    for _ in range(5):
        for name in ("p5", "p6", "p7"):
            machine.apmp("chaos", "inject", "stop", name)
            machine.apmp("chaos", "inject", "cont", name)
    machine.at_rest(TWELVE)
    assert machine.events.find("member.removed", after=mark) == []


LATE = '  - {name: late, community: lab, memory: 4M}'


@pytest.mark.machine_file(apmp.many(4, LATE))
def test_one_that_comes_long_after(machine):
    """When the set has lost each of its first members, and each has come back. Its CPU was
    another's, and so was its bus. shows: DB-06, DB-12, DB-14"""
    others = {f"p{i}" for i in range(4)}
    for name in sorted(others):
        mark = machine.events.mark()
        machine.kill_partition(name)
        machine.events.wait_for("member.removed", partition=name, after=mark)
        machine.boots_and_joins(name)
    created = apmp.named(machine.status()["communities"], "lab")["sharing_set"]["incarnation"]
    machine.apmp("partition", "halt", "p3")
    machine.apmp("cpu", "deassign", "3")
    machine.apmp("bus", "deassign", "0.0.3")
    machine.apmp("cpu", "assign", "3", "--to", "late")
    machine.apmp("bus", "assign", "0.0.3", "--to", "late")
    machine.apmp("partition", "boot", "late")
    status = machine.at_rest(others - {"p3"} | {"late"})
    assert apmp.named(status["communities"], "lab")["sharing_set"]["incarnation"] == created


@pytest.mark.machine_file(apmp.many(4))
def test_leaving_and_coming_back_while_others_die(machine):
    """shows: DB-06, DB-12"""
    for round_ in range(8):
        dies = f"p{round_ % 3}"
        mark = machine.events.mark()
        halt = machine.start("partition", "halt", "p3")
        machine.kill_partition(dies)
        assert halt.wait(apmp.WATCHDOG) == 0, halt.stderr.read()
        boot = machine.start("partition", "boot", "p3")
        machine.events.wait_for("member.removed", partition=dies, after=mark)
        machine.apmp("partition", "boot", dies)
        assert boot.wait(apmp.WATCHDOG) == 0, boot.stderr.read()
        assert machine.events.find("member.removed", partition="p3", after=mark) == []
        machine.at_rest({f"p{i}" for i in range(4)})


APART = """\
machine: {name}
hardware:
  - {sbb: 0, cpus: 7, memory: 16M, iops: [{buses: [{}, {}, {}, {}]}]}
  - {sbb: 1, memory: 8M}
  - {sbb: 2, memory: 8M}
  - {sbb: 3, memory: 8M}
communities:
  - {name: lab, shared: 4M}
partitions:
  - {name: alpha, community: lab, cpus: [0], memory: 4M, buses: ["0.0.0"], boot: yes}
  - {name: giver, cpus: [1, 2, 3], memory: 8M, buses: ["0.0.1"]}
  - {name: taker, cpus: [4], memory: 4M, buses: ["0.0.2"]}
  - {name: loner, cpus: [5, 6], memory: 4M, buses: ["0.0.3"], boot: yes}
"""


@pytest.mark.machine_file(APART)
def test_who_takes_part_in_nothing_gives_and_receives(machine):
    """Two of a community that has no memory for a sharing set trade a CPU; one of no community
    gives a member one. shows: DB-12"""
    machine.apmp("community", "create", "bare")
    for name in ("giver", "taker"):
        machine.apmp("community", "add", "bare", name)
        machine.apmp("partition", "boot", name)
        assert machine.partition(name)["instance"]["state"] == "running"
    for to in ("taker", "giver"):
        machine.apmp("cpu", "migrate", "2", "--to", to)
        assert machine.cpu(2)["current_owner"] == to
        machine.until(lambda cpu: cpu["state"] == "active", lambda: machine.cpu(2))
    mark = machine.events.mark()
    machine.kill_partition("taker")
    machine.events.wait_for("instance.fenced", partition="taker", after=mark)
    machine.apmp("cpu", "deassign", "6")
    machine.apmp("partition", "halt", "loner")
    machine.apmp("cpu", "assign", "6", "--to", "alpha")
    machine.apmp("partition", "reset", "alpha")
    machine.at_rest({"alpha"})
    assert 6 in machine.partition("alpha")["active"]
    assert apmp.members(machine.status()) == {"alpha"}
