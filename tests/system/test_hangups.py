"""Many clients that ask for everything at once and hang up in the middle of it."""
import os
import random
import threading

import pytest

import apmp
from test_protocol import Client

ALL = ("alpha", "beta", "gamma")
CLIENTS, CALLS = 8, 150
RUN = {"env": ["PATH=/usr/bin:/bin"], "cwd": "/"}


def call_of(source):
    """A method, its parameters and flags."""
    name, cpu = source.choice(ALL), source.choice((1, 2, 4))  # no primary
    return source.choice([
        ("PartitionBoot", {"name": name, "wait": True}, {}),
        ("PartitionReset", {"name": name}, {}),
        ("PartitionHalt", {"name": name}, {}),
        ("PartitionCrash", {"name": name}, {}),
        ("Inject", {"fault": "kill", "partition": name}, {}),
        *3 * [("CpuMigrate", {"cpu": cpu, "to": name, "by": by}, {})
              for by in ("pal", "halt", "deassign")],
        ("CpuStop", {"cpu": cpu}, {}),
        ("CpuStart", {"cpu": cpu}, {}),
        ("CpuWish", {"count": 1, "to": name}, {}),
        ("CpuDeassign", {"cpu": cpu}, {}),
        *2 * [("CpuAssign", {"cpu": cpu, "to": name}, {})],
        ("CpuFailover", {"partition": name, "targets": [source.choice(ALL)]}, {}),
        ("CommunityCreate", {"name": "more"}, {}),
        ("CommunityDelete", {"name": "more"}, {}),
        *2 * [("Run", {**RUN, "partition": name, "argv": ["true"]}, {"more": True})],
        ("Run", {**RUN, "partition": name, "argv": ["sleep", "1000"]}, {"more": True}),
        ("Run", {**RUN, "partition": name, "argv": ["no-such"], "detach": True}, {}),
        ("Events", {"follow": True}, {"more": True}),
        ("ConsolePort", {"partition": name}, {"upgrade": True}),
        ("Status", {}, {}),
    ])


def ask_and_leave(machine, seed):
    """One in two waits for an answer; the others are gone while it is made."""
    source = random.Random(seed)
    for _ in range(CALLS):
        method, parameters, flags = call_of(source)
        with Client(machine) as client:
            client.send(method, parameters, **flags)
            if source.random() < 0.5:
                assert client.receive(), f"{method} {parameters}: it was cut off"


@pytest.mark.machine_file(apmp.PATIENT)
def test_the_console_goes_on(machine):
    """The same one, without a descriptor more; the machine is whole. shows: TREE-22"""
    console = next(pid for pid, command in machine.processes() if "apmp-console" in command)
    for name in ALL:  # each has its terminal for detached programs
        machine.apmp("run", "--detach", name, "--", "true")
    assert machine.events.mark() > 0

    def descriptors():
        return len(os.listdir(f"/proc/{console}/fd"))

    before, seed = descriptors(), random.SystemRandom().randrange(1 << 31)
    print(f"seed {seed}")
    clients = [threading.Thread(target=ask_and_leave, args=(machine, seed + number))
               for number in range(CLIENTS)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    assert not machine.events.find("console.restarted")
    for name in ALL:
        machine.until(lambda said: said.code == 0 or "is running already" in said.err,
                      lambda name=name: machine.try_apmp("partition", "boot", name))
    machine.until(lambda members: members == set(ALL), lambda: apmp.members(machine.status()))
    machine.apmp("check", "--live")
    machine.until(lambda count: count <= before, descriptors)


def test_programs_that_nobody_waits_for(machine):
    """More are asked for and left than box and console have room to speak of: neither waits for
    the other. shows: TREE-22"""
    def consoles():
        return [pid for pid, command in machine.processes() if "apmp-console" in command]

    def ask_and_go():
        for _ in range(500):
            with Client(machine) as client:
                client.send("Run", {**RUN, "partition": "alpha", "argv": ["true"]}, more=True)

    before = consoles()
    clients = [threading.Thread(target=ask_and_go) for _ in range(4)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    assert machine.apmp("run", "alpha", "--", "echo", "here") == "here\n"
    assert consoles() == before
