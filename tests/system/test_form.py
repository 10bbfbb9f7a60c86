"""Forming a system: where nobody has divided the machine, and on one that runs already."""
import os
import signal

import pytest

import apmp
from operator_calls import Operator, tree_of

BARE = """\
machine: {name}
hardware:
  - {sbb: 0, cpus: 4, memory: 128M, iops: [{buses: [{}, {}]}]}
communities:
  - {name: lab, shared: 32M}
partitions:
  - {name: alpha, community: lab, cpus: [0, 1], memory: 24M, buses: ["0.0.0"], boot: yes}
  - {name: beta, community: lab, cpus: [2, 3], memory: 24M, buses: ["0.0.1"], boot: yes}
"""
UNDIVIDED = """\
machine: {name}
hardware:
  - sbb: 0
    cpus: [{id: 0, primary: no}, {id: 1}, {id: 2}]
    memory: 128M
    iops: [{buses: []}, {buses: [{}, {}]}]
"""
MiB = 1 << 20


def state(machine):
    return {m["name"]: m["state"] for m in machine.apmp("list", json=True)}[machine.name]


def consoles(machine):
    return [pid for pid, command in machine.processes() if "apmp-console" in command]


# shows: PLAT-12, PLAT-07
def test_the_first_partition_that_joins_forms_the_system(make_machine):
    machine = make_machine(BARE)
    assert "no console" in machine.up("--bare")
    assert state(machine) == "bare" and not consoles(machine)
    assert state(machine) == "bare", "who only looks forms nothing"
    machine.apmp("partition", "boot", "beta")
    assert state(machine) == "on"
    assert machine.partition("beta")["instance"]["state"] == "member"
    assert machine.partition("alpha")["instance"]["state"] == "off", "nobody boots by itself"
    assert tree_of(machine).root.primary_instance == machine.partition("beta")["id"]
    mark = machine.events.mark()
    machine.apmp("chaos", "inject", "kill", "console")
    machine.events.wait_for("console.restarted", after=mark)
    assert machine.partition("alpha")["instance"]["state"] == "off"
    machine.boots_and_joins("alpha")
    assert tree_of(machine).root.primary_instance == machine.partition("beta")["id"]
    machine.down()


# shows: PLAT-12
def test_a_bare_machine_goes_off_without_having_been_formed(make_machine):
    machine = make_machine(BARE)
    machine.up("--bare")
    assert "off" in machine.down()
    assert not machine.rundir.exists()
    machine.up("--bare")
    box = os.pidfd_open(machine.box_pid())
    signal.pidfd_send_signal(box, signal.SIGKILL)
    assert apmp.ended(box)
    os.close(box)
    machine.up()
    assert apmp.members(machine.status()) == {"alpha", "beta"}


# shows: PLAT-12
def test_who_wanted_to_join_is_served_by_the_next_console_if_the_first_dies(make_machine):
    machine = make_machine(BARE)
    libexec = machine.dir / "libexec"
    libexec.mkdir(mode=0o755)
    (libexec / "apmp-console").write_text(
        f"#!/bin/sh\nmkdir {machine.dir}/died 2>/dev/null && kill -9 $$\n"
        f"exec {apmp.BIN}/apmp-console\n")
    (libexec / "apmp-console").chmod(0o755)
    machine.env["APMP_LIBEXEC"] = str(libexec)
    machine.up("--bare")
    machine.apmp("partition", "boot", "alpha")
    assert (machine.dir / "died").exists()
    machine.at_rest({"alpha"})


# shows: PLAT-08, PLAT-04
def test_a_machine_that_nobody_divided_has_one_partition_and_commands_make_the_rest(make_machine):
    machine = make_machine(UNDIVIDED)
    machine.up()
    operator = Operator(machine)
    [admin] = machine.status()["partitions"]
    assert (admin["name"], admin["state"], admin["primary"], admin["cpus"]) == (
        "admin", "initialized", 1, [1])
    assert admin["memory"] == 4 * MiB and admin["instance"]["state"] == "running"
    assert [h["id"] for h in operator("HardwareList")["hardware"]
            if h["kind"] == "bus" and h["owner"] == "admin"] == ["0.1.0"]
    operator("PartitionCreate", name="web", community="main")
    operator("MemoryAssign", size=32 * MiB, to="main")
    operator("CpuAssign", cpu=2, to="web")
    operator("BusAssign", bus="0.1.1", to="web")
    operator("MemoryAssign", size=16 * MiB, to="web")
    machine.apmp("partition", "boot", "web")
    machine.at_rest({"web"}, "main")
    machine.apmp("partition", "reset", "admin")
    machine.at_rest({"admin", "web"}, "main")
    operator("CpuAssign", cpu=0, to="web")
    tree_of(machine)
    machine.down()
    machine.up()
    assert {p["name"]: p["cpus"] or p["state"] for p in machine.status()["partitions"]} == {
        "admin": [1], "web": "uninitialized"}
    machine.boots_and_joins("web")


# shows: PLAT-08
@pytest.mark.parametrize("hardware, lacks", [
    ("{sbb: 0, cpus: 1, memory: 32M}", "no bus"),
    ("{sbb: 0, cpus: [{id: 0, primary: no}], memory: 32M, iops: [{buses: [{}]}]}", "no CPU that"),
    ("{sbb: 0, cpus: 1, memory: 2M, iops: [{buses: [{}]}]}", "find no place"),
])
def test_hardware_that_can_carry_no_partition_is_refused(make_machine, hardware, lacks):
    machine = make_machine(f"machine: {{name}}\nhardware:\n  - {hardware}\n")
    assert lacks in machine.refused("up", machine.file)
    assert not machine.rundir.exists()
