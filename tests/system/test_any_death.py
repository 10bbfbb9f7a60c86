"""Any set of a machine's processes dies, in any order: the next `up` works at once, says what it
cleaned, and nothing is left.

Each case is drawn from a seed that its name has; APMP_SEED=N adds one of that number.
"""
import os
import random
import signal
from pathlib import Path

import pytest

import apmp
import leftovers
from test_death_of_box import all_end, ends, guard_of

CASES = 10
SEEDS = [*range(1, CASES + 1), *map(int, filter(None, [os.environ.get("APMP_SEED")]))]

# Programs that are hard to get rid of: each is started by `apmp run --detach`.
PROGRAMS = {
    "plain": ("sleep", "1000"),
    "own session": ("setsid", "sleep", "1000"),
    # Its parents end, it leads a session, and nothing tells where it came from but its mark.
    "daemon": ("sh", "-c", "setsid sh -c 'sleep 1000 & sleep 1000 &' & exec sleep 1000"),
    "stopped": ("sh", "-c", "kill -STOP $$; sleep 1000"),
    "deaf": ("sh", "-c", "trap '' TERM HUP INT QUIT; while :; do sleep 1000; done"),
    # Without a mark: its group is all that tells.
    "unmarked": ("env", "-i", "setsid", "/bin/sleep", "1000"),
    # Slowly enough to leave the host some process ids.
    "forks": ("sh", "-c", "while :; do (sleep 0.05 &); sleep 0.01; done"),
}


def group_of(machine):
    """Everything in the machine's control group, with or without mark; also dead ones."""
    return {int(pid) for path in leftovers.cgroups(f"apmp-{machine.name}")
            for procs in Path(path).rglob("cgroup.procs")
            for pid in leftovers.read(procs).split()}


def everything(machine):
    """{process id: what it is}."""
    found = {pid: "program" for pid in group_of(machine)}
    for pid, command in machine.processes():
        found[pid] = {"apmp-console": "console", "apmp-instance": "instance"}.get(
            command.split()[0].split("/")[-1] if command else "", "program")
    found[guard_of(machine)] = "guard"
    found[machine.box_pid()] = "box"
    return found


def start_programs(machine, chance):
    backend = machine.status()["backend"]
    for name, command in PROGRAMS.items():
        if backend == "affinity" and name == "unmarked":
            continue  # nobody finds it: a limit that leftover.h states
        machine.apmp("run", "--detach", chance.choice(["alpha", "beta", "gamma"]), "--", *command)


def send(pid, number):
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


def strike(processes, chance, whole):
    """Kills them in random order, some at once, some stopped before; some are only stopped."""
    order = sorted(processes)
    chance.shuffle(order)
    stopped = []
    for pid in order:
        if chance.random() < 0.3:
            send(pid, signal.SIGSTOP)
        if processes[pid] == "guard" and chance.random() < 0.5:
            send(pid, signal.SIGSTOP)
            stopped.append(pid)  # and never goes on by itself
        elif processes[pid] in whole or chance.random() < 0.5:
            send(pid, signal.SIGKILL)
    return stopped


def claims(machine):
    """Names of the sockets that this machine has in the abstract name space: its uids."""
    uids = [p["uid"] - p["id"] for p in machine.status()["partitions"] if p.get("uid")]
    return {f"@apmp-uids-{first}" for first in uids if os.geteuid() == 0 and first > 0}


def nothing_left(machine, watched, claimed):
    assert all_end(watched), "something of the last life is alive"
    assert leftovers.cgroups(f"apmp-{machine.name}") == []
    assert machine.processes() == [] and not machine.rundir.exists()
    sockets = leftovers.sockets()
    assert not [path for path in sockets if machine.name in path]
    assert not claimed & set(sockets)


def is_as_new(machine):
    status = machine.status()
    assert apmp.members(status) == {"alpha", "beta", "gamma"}
    assert {i["incarnation"] for i in apmp.instances(status).values()} == {1}


def up_again(machine):
    """The next `up`, at once: it says what it found, in sentences about this machine."""
    said = machine.try_apmp("up", machine.file)
    assert said.code == apmp.DONE, str(said)
    lines = said.err.splitlines()
    assert all(line.startswith(f'apmp: left by a machine that died: machine "{machine.name}": ')
               for line in lines), said.err
    is_as_new(machine)
    return lines


@pytest.mark.machine_file(apmp.PATIENT)
@pytest.mark.parametrize("seed", SEEDS)
def test_any_set_of_processes_in_any_order(machine, seed):
    """The box is among them; the next `up` needs no second try."""
    chance = random.Random(seed)
    start_programs(machine, chance)
    processes = everything(machine)
    watched, box = ends(processes), ends([machine.box_pid()])
    guard_stopped = strike(processes, chance, {"box"})
    assert all_end(box)
    said = up_again(machine)
    assert all_end(watched), "something of the last life is alive"
    if guard_stopped:
        assert said, "nobody else can have cleaned up, and nothing was said"
    watched, claimed = ends(everything(machine)), claims(machine)
    machine.down()
    nothing_left(machine, watched, claimed)


@pytest.mark.machine_file(apmp.PATIENT)
@pytest.mark.parametrize("seed", SEEDS[:4])
def test_the_box_survives_any_of_the_others(machine, seed):
    """It starts a new guard and a new console, fences what died, and powers off in order."""
    chance = random.Random(seed)
    start_programs(machine, chance)
    processes = everything(machine)
    watched, claimed = ends(processes), claims(machine)
    del processes[machine.box_pid()]
    strike(processes, chance, set())
    # A console that was only stopped is found; what else was stopped is fenced, or ends with it.
    machine.apmp("status")
    machine.until(lambda now: all(i["state"] in ("member", "dead", "crashed", "off")
                                  for i in apmp.instances(now).values()))
    watched += ends(everything(machine))
    machine.down()
    nothing_left(machine, watched, claimed)


@pytest.mark.parametrize("seed", SEEDS[:3])
def test_two_boxes_at_once(make_machine, seed):
    """Of two machines of one user each cleans up after itself only."""
    chance = random.Random(seed)
    machines = [make_machine(apmp.PATIENT), make_machine(apmp.PATIENT)]
    processes, watched, boxes, claimed = {}, {}, [], {}
    for machine in machines:
        machine.up()
        start_programs(machine, chance)
        mine = everything(machine)
        processes |= mine
        boxes += ends([machine.box_pid()])
        watched[machine], claimed[machine] = ends(mine), claims(machine)
    assert not claimed[machines[0]] & claimed[machines[1]]
    strike(processes, chance, {"box"})
    assert all_end(boxes)
    up_again(machines[0])
    assert all_end(watched[machines[0]])
    answer = machines[1].apmp("clean", json=True)
    assert answer["complete"] is True
    nothing_left(machines[1], watched[machines[1]], claimed[machines[1]])
    is_as_new(machines[0])


def test_a_stopped_guard_does_not_hold_up_power_off(machine):
    guard = guard_of(machine)
    watched, claimed = ends(everything(machine)), claims(machine)
    os.kill(guard, signal.SIGSTOP)
    machine.down()
    nothing_left(machine, watched, claimed)


def test_clean_finds_a_stopped_guard_that_is_all_that_is_left(machine):
    """It had removed everything but itself."""
    guard, box = guard_of(machine), ends([machine.box_pid()])
    watched, claimed = ends(everything(machine)), claims(machine)
    os.kill(guard, signal.SIGSTOP)
    os.kill(machine.box_pid(), signal.SIGKILL)
    assert all_end(box)
    for pid, _ in machine.processes():
        send(pid, signal.SIGKILL)
    looked = machine.try_apmp("doctor", as_json=True, named=False).json["checks"]
    assert any(line["what"] == "leftovers" and machine.name in line["found"] for line in looked)
    answer = machine.try_apmp("clean", as_json=True, named=False).json
    assert any(f"process {guard} (apmp-guard)" in line for line in answer["said"]), answer
    nothing_left(machine, watched, claimed)
