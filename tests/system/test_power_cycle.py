"""What is permanent survives the power, what runs does not; the hardware may change meanwhile."""
import os
import random
import signal

import pytest

import apmp

# Room to change: CPU 6, bus 1.0.1 and most of the memory are unowned.
MACHINE = """\
machine: {name}
hardware:
  - {sbb: 0, cpus: 4, memory: 128M, iops: [{buses: [{}, {}]}]}
  - {sbb: 1, cpus: [{id: 4}, {id: 5}, {id: 6}], memory: 64M, iops: [{buses: [{}, {}]}]}
communities:
  - {name: lab, shared: 32M}
partitions:
  - {name: alpha, community: lab, cpus: [0, 1, 2], memory: 24M, buses: ["0.0.0"], boot: yes}
  - {name: beta, community: lab, cpus: [3, 4], memory: 24M, buses: ["0.0.1"], boot: yes}
  - {name: gamma, community: lab, cpus: [5], memory: 16M, buses: ["1.0.0"], boot: no}
"""
pytestmark = pytest.mark.machine_file(MACHINE)


def cycle(machine, text=None):
    """Power off and on again; with text, another machine file."""
    machine.down()
    if text:
        machine.file.write_text(text.replace("{name}", machine.name))
    return machine.up()


def owners(machine):
    return {cpu["id"]: cpu["owner"] for cpu in machine.status()["cpus"]}


def partitions(machine):
    return {p["name"]: (p["community"], p["memory"]) for p in machine.status()["partitions"]}


def lost_power(machine):
    """A power failure: nobody gets to write anything any more."""
    box = os.pidfd_open(machine.box_pid())
    signal.pidfd_send_signal(box, signal.SIGKILL)
    assert apmp.ended(box)
    os.close(box)
    machine.until(lambda left: not left, machine.processes)


# shows: PLAT-09, TREE-09
def test_a_cpu_stays_where_it_went_and_a_loan_does_not(machine):
    machine.apmp("cpu", "migrate", 2, "--to", "beta")
    machine.apmp("cpu", "migrate", 4, "--to", "alpha", "--loan")
    assert owners(machine) == {0: "alpha", 1: "alpha", 2: "beta", 3: "beta", 4: "beta",
                               5: "gamma", 6: None}
    before = owners(machine)
    cycle(machine)
    assert owners(machine) == before
    assert machine.cpu(4)["current_owner"] == "beta", "a loan ends with the power"
    assert machine.events.wait_for("nvram.restored")["absent"] == 0


# shows: PLAT-09, TREE-16
def test_what_was_made_and_given_is_there_again(machine):
    machine.apmp("community", "create", "annex")
    machine.apmp("partition", "create", "delta", "--community", "lab", "--boot")
    machine.apmp("cpu", "assign", 6, "--to", "delta")
    machine.apmp("bus", "assign", "1.0.1", "--to", "delta")
    machine.apmp("memory", "assign", "8M", "--to", "delta")
    machine.apmp("partition", "boot", "delta")
    machine.apmp("partition", "delete", "gamma")
    before = machine.apmp("memory", "list", json=True)
    assert partitions(machine).keys() == {"alpha", "beta", "delta"}
    cycle(machine)
    assert partitions(machine).keys() == {"alpha", "beta", "delta"}
    assert machine.partition("delta")["instance"]["state"] == "member", "it boots at power on"
    assert owners(machine)[6] == "delta" and owners(machine)[5] is None
    assert [c["name"] for c in machine.status()["communities"]] == ["lab", "annex"]

    def places(listed):
        return [(f["pa"], f["size"], f["owner"], f["kind"]) for f in listed]

    assert places(machine.apmp("memory", "list", json=True)) == places(before)


# shows: PLAT-09
def test_another_division_in_the_machine_file_holds(machine):
    machine.apmp("cpu", "migrate", 2, "--to", "beta")
    cycle(machine, MACHINE.replace("cpus: [5]", "cpus: [5, 6]"))
    assert owners(machine)[2] == "alpha" and owners(machine)[6] == "gamma"
    assert "machine file" in machine.events.wait_for("nvram.refused")["reason"]
    machine.apmp("cpu", "migrate", 2, "--to", "beta")
    cycle(machine)  # NVRAM is of this file now
    assert owners(machine)[2] == "beta"


def test_fresh_takes_the_machine_file(machine):
    machine.apmp("cpu", "migrate", 2, "--to", "beta")
    machine.down()
    machine.up("--fresh")
    assert owners(machine)[2] == "alpha"
    cycle(machine)
    assert owners(machine)[2] == "alpha", "and NVRAM has it so from then on"


# shows: PLAT-09
def test_hardware_that_is_missing_and_comes_back(machine):
    """delta has the only CPU of its own taken out, and keeps the rest; then it is put in again."""
    machine.apmp("partition", "create", "delta", "--community", "lab", "--boot")
    machine.apmp("cpu", "assign", 6, "--to", "delta")
    machine.apmp("bus", "assign", "1.0.1", "--to", "delta")
    machine.apmp("memory", "assign", "8M", "--to", "delta")
    said = cycle(machine, MACHINE.replace(", {id: 6}", ""))
    assert "delta" in said, "whoever typed it is told that a partition is held"
    assert partitions(machine)["delta"] == ("lab", 8 << 20), "it keeps the rest"
    assert {b["id"]: b["owner"] for b in machine.apmp("hardware", "list", json=True)
            if b["kind"] == "bus"}["1.0.1"] == "delta"
    assert "primary" in machine.refused("partition", "boot", "delta")
    cycle(machine)  # and again: the entry isn't lost by a second power on without it
    cycle(machine, MACHINE)
    assert owners(machine)[6] == "delta"
    assert machine.partition("delta")["instance"]["state"] == "member"


# shows: PLAT-09
def test_an_owner_is_deleted_while_its_memory_is_missing(machine):
    """The memory comes back with a piece that nobody has any more: all else is as it was."""
    machine.apmp("cpu", "migrate", 2, "--to", "beta")
    machine.apmp("memory", "assign", "48M", "--to", "gamma")  # more than SBB 0 has left
    cycle(machine, MACHINE.replace(" memory: 64M,", ""))
    assert partitions(machine)["gamma"][1] < 64 << 20
    machine.apmp("partition", "delete", "gamma")
    cycle(machine, MACHINE)
    assert partitions(machine) == {"alpha": ("lab", 24 << 20), "beta": ("lab", 24 << 20)}
    assert owners(machine)[2] == "beta"


# shows: PLAT-09
def test_new_hardware_is_unowned(machine):
    machine.apmp("cpu", "migrate", 2, "--to", "beta")
    more = MACHINE.replace("cpus: 4,", "cpus: [{id: 0}, {id: 1}, {id: 2}, {id: 3}, {id: 9}],")
    more = more.replace("memory: 64M", "memory: 96M").replace("{buses: [{}, {}]}]}\ncomm",
                                                              "{buses: [{}, {}, {}]}]}\ncomm")
    cycle(machine, more)
    assert owners(machine)[2] == "beta" and owners(machine)[9] is None
    unowned = sum(f["size"] for f in machine.apmp("memory", "list", json=True)
                  if f["owner"] is None)
    assert unowned == (128 + 96 - 32 - 24 - 24 - 16) << 20


# shows: PLAT-09, TREE-22
def test_what_was_answered_is_there_after_a_power_failure(machine):
    """The box is killed the moment after an answer; what was answered with 0 must be found."""
    seed = random.randrange(1 << 30)
    print(f"seed {seed}")
    dice = random.Random(seed)
    there = {"lab"}
    for turn in range(8):
        for step in range(dice.randrange(1, 4)):
            name = f"c{turn}-{step}"
            machine.apmp("community", "create", name)
            there.add(name)
        lost_power(machine)
        machine.up()
        assert {c["name"] for c in machine.status()["communities"]} == there


def nvram_files(machine):
    return sorted((machine.state / "apmp" / machine.name).glob("nvram.[01]"))


# shows: PLAT-09
def test_a_damaged_generation_is_refused_and_the_other_used(machine):
    machine.apmp("cpu", "migrate", 2, "--to", "beta")
    machine.apmp("community", "create", "annex")  # its answer says that NVRAM is written
    machine.down()
    files = nvram_files(machine)
    assert files
    for file in files:
        data = file.read_bytes()
        file.write_bytes(data[:-7])
    said = machine.try_apmp("up", machine.file)
    assert said.code == apmp.DONE, said
    assert owners(machine)[2] == "alpha", "nothing good was left: the machine file holds"
    assert "nvram" in said.out + said.err, "and whoever typed it is told"


# shows: TREE-22
@pytest.mark.parametrize("point", ["update_begin", "update_store", "update_store:3",
                                   "update_commit", "update_end"])
def test_console_dies_while_it_changes_something_permanent(machine, point):
    mark = machine.events.mark()
    machine.arm("console", point)
    machine.try_apmp("community", "create", "annex")
    machine.events.wait_for("console.restarted", after=mark)
    names = {c["name"] for c in machine.status()["communities"]}
    assert names in ({"lab"}, {"lab", "annex"})
    machine.apmp("community", "create", "other")  # durable when answered, like all before
    lost_power(machine)
    machine.up()
    assert {c["name"] for c in machine.status()["communities"]} == names | {"other"}


def test_state_directory_goes_when_asked(machine):
    assert "is running already" in machine.refused("clean", "--state")
    assert nvram_files(machine), "a machine that is on keeps its NVRAM"
    machine.down()
    machine.apmp("clean", "--state")
    assert not (machine.state / "apmp" / machine.name).exists()
    machine.up()


def test_stopped_by_the_user_in_the_middle(machine):
    """^C of `up` and `down`: nothing is half done that the next one can't go on with."""
    machine.down()
    process = machine.start("up", machine.file)
    os.kill(process.pid, signal.SIGINT)
    process.communicate(timeout=apmp.WATCHDOG)
    machine.until(lambda _: machine.try_apmp("status").code in (apmp.DONE, apmp.NO_MACHINE),
                  lambda: None)
    machine.try_apmp("down")
    machine.up()
