"""The administrator divides a machine that runs: partitions, communities, CPUs, buses, memory."""
import os
import socket
from pathlib import Path

import pytest

import apmp
from operator_calls import CutOff, configuration, tree_of

MACHINE = """\
machine: {name}
hardware:
  - sbb: 0
    cpus: 6
    memory: 128M
    iops: [{buses: [{}, {}, {}]}]
  - sbb: 1
    cpus: [{id: 6}, {id: 7, revision: 2}, {id: 8, primary: no}]
    memory: 64M
    iops: [{buses: [{}]}]
communities:
  - {name: lab, shared: 32M}
partitions:
  - {name: alpha, community: lab, cpus: [0, 1], memory: 24M, buses: ["0.0.0"], boot: yes}
  - {name: beta, community: lab, cpus: [2], memory: 24M, buses: ["0.0.1"], boot: yes}
"""
pytestmark = pytest.mark.machine_file(MACHINE)
MiB = 1 << 20


def make_delta(operator, cpu=3, bus="0.0.2", **more):
    operator("PartitionCreate", name="delta", **{"community": "lab", **more})
    operator("CpuAssign", cpu=cpu, to="delta")
    operator("BusAssign", bus=bus, to="delta")
    operator("MemoryAssign", size=8 * MiB, to="delta")


# shows: TREE-16, PLAT-10, PLAT-05, HWRPB-01
def test_a_partition_made_at_run_time_is_like_those_of_the_file(machine, operator):
    make_delta(operator)
    delta = machine.partition("delta")
    assert (delta["id"], delta["state"], delta["instance"]["state"]) == (2, "uninitialized", "off")
    assert "missing" not in delta
    machine.boots_and_joins("delta")
    delta = machine.partition("delta")
    assert delta["cpus"] == [3] and delta["memory"] == 8 * MiB
    assert delta["state"] == "initialized"
    machine.events.wait_for("partition.initialized", partition="delta")
    assert machine.apmp("run", "delta", "--", "echo", "here") == "here\n"
    machine.kill_partition("delta")
    machine.events.wait_for("member.removed", partition="delta")
    machine.boots_and_joins("delta")
    machine.apmp("partition", "crash", "delta")
    machine.boots_and_joins("delta")
    machine.apmp("partition", "halt", "delta")
    assert machine.partition("delta")["state"] == "uninitialized"


# shows: TREE-06, TREE-07, PLAT-05
def test_a_deleted_partition_is_gone_and_its_id_is_used_again(machine, operator):
    make_delta(operator)
    handle = tree_of(machine).partition_array[2]
    machine.boots_and_joins("delta")
    error, about = operator.refused("PartitionDelete", name="delta")
    assert error == "Initialized" and about["what"] == 'partition "delta"'
    machine.apmp("partition", "halt", "delta")
    maps = Path(f"/proc/{machine.box_pid()}/maps")
    mapped = maps.read_text().count("memfd:recorder")
    operator("PartitionDelete", name="delta")
    machine.events.wait_for("partition.deleted", partition="delta")
    machine.until(lambda now: maps.read_text().count("memfd:recorder") == mapped - 1)
    assert operator.refused("PartitionBoot", name="delta")[0] == "NoSuchPartition"
    assert [p["name"] for p in machine.status()["partitions"]] == ["alpha", "beta"]
    assert machine.cpu(3)["state"] == "unassigned"
    tree = tree_of(machine)
    assert not tree.partition_array[2] and tree.node(handle).type, "its handle stays valid"
    operator("PartitionCreate", name="epsilon", community="lab")
    operator("CpuAssign", cpu=3, to="epsilon")
    operator("BusAssign", bus="0.0.2", to="epsilon")
    operator("MemoryAssign", size=8 * MiB, to="epsilon")
    assert machine.partition("epsilon")["id"] == 2
    assert tree_of(machine).partition_array[2] == handle
    machine.boots_and_joins("epsilon")
    assert machine.partition("epsilon")["instance"]["incarnation"] == 2, \
        "an identity is never used again"


# shows: TREE-06
def test_as_many_partitions_as_the_platform_may_have(machine, operator):
    def descriptors():
        return [len(os.listdir(f"/proc/{pid}/fd")) for pid, command in machine.processes()
                if "console" in command] + [len(os.listdir(f"/proc/{machine.box_pid()}/fd"))]

    before = descriptors()
    for number in range(2, 64):
        assert operator("PartitionCreate", name=f"p{number}")["id"] == number
    assert operator.refused("PartitionCreate", name="more")[0] == "MaxPartitions"
    tree_of(machine)
    for number in range(2, 64):
        operator("PartitionDelete", name=f"p{number}")
    machine.until(lambda now: now == before, descriptors)
    assert operator("PartitionCreate", name="again")["id"] == 2


REFUSALS = [
    ("PartitionCreate", {"name": "alpha"}, "NameTaken", 'partition "alpha"', None),
    ("PartitionCreate", {"name": "Alpha"}, "BadName", None, None),
    ("PartitionCreate", {"name": "a" * 32}, "BadName", None, None),
    ("PartitionCreate", {"name": "a" * 5000}, "BadName", None, None),
    ("PartitionCreate", {"name": ""}, "BadName", None, None),
    ("PartitionCreate", {"name": "x", "community": "none"}, "NoSuchCommunity", None, None),
    ("PartitionDelete", {"name": "none"}, "NoSuchPartition", None, None),
    ("PartitionDelete", {"name": "alpha"}, "Initialized", 'partition "alpha"', None),
    ("PartitionSet", {"name": "none"}, "NoSuchPartition", None, None),
    ("CommunityCreate", {"name": "lab"}, "NameTaken", 'community "lab"', None),
    ("CommunityDelete", {"name": "lab"}, "HasMembers", None, None),
    ("CommunityDelete", {"name": "none"}, "NoSuchCommunity", None, None),
    ("CommunityAdd", {"name": "lab", "partition": "beta"}, "InCommunity", None, None),
    ("CommunityRemove", {"name": "lab", "partition": "beta"}, "Initialized", None, None),
    ("CpuAssign", {"cpu": 0, "to": "beta"}, "Owned", None, None),
    ("CpuAssign", {"cpu": 99, "to": "beta"}, "NoSuchCpu", None, None),
    ("CpuAssign", {"cpu": -1, "to": "beta"}, "NoSuchCpu", None, None),
    ("CpuAssign", {"cpu": 3, "to": "lab"}, "NoSuchPartition", None, None),
    ("CpuDeassign", {"cpu": 0}, "PrimaryCpu", None, None),
    ("CpuDeassign", {"cpu": 3}, "Unowned", "CPU 3", None),
    ("BusAssign", {"bus": "0.0.0", "to": "beta"}, "Owned", None, None),
    ("BusAssign", {"bus": "0.0.9", "to": "beta"}, "NoSuchBus", None, None),
    ("BusAssign", {"bus": "0.0", "to": "beta"}, "NoSuchBus", None, None),
    ("BusAssign", {"bus": "0.0.2 ", "to": "beta"}, "NoSuchBus", None, None),
    ("BusAssign", {"bus": "+0.0.2", "to": "beta"}, "NoSuchBus", None, None),
    ("BusAssign", {"bus": "65536.0.2", "to": "beta"}, "NoSuchBus", None, None),
    ("BusDeassign", {"bus": "0.0.2"}, "Unowned", "bus 0.0.2", None),
    ("MemoryAssign", {"size": 1, "to": "beta"}, "Alignment", None, None),
    ("MemoryAssign", {"size": 0, "to": "beta"}, "Alignment", None, None),
    ("MemoryAssign", {"size": -2 * MiB, "to": "beta"}, "Alignment", None, None),
    ("MemoryAssign", {"size": 2 * MiB, "to": "beta", "pa": 1}, "Alignment", None, None),
    ("MemoryAssign", {"size": 2 * MiB, "to": "beta", "pa": 2 * MiB}, "NoSuchNode", None, None),
    ("MemoryAssign", {"size": 2 * MiB, "to": "beta", "pa": 0}, "NoSuchNode", None, None),
    ("MemoryAssign", {"size": 2 * MiB, "to": "beta", "pa": -1}, "NoSuchNode", None, None),
    ("MemoryAssign", {"size": 1 << 40, "to": "beta"}, "NoMemory", None, 112 * MiB),
    ("MemoryAssign", {"size": 2 * MiB, "to": "none"}, "NoSuchPartition", None, None),
    ("MemoryDeassign", {"size": 26 * MiB, "from": "beta"}, "NoMemory", None, 24 * MiB),
    ("MemoryDeassign", {"size": 2 * MiB, "from": "beta", "pa": 2 * MiB}, "NoMemory", None, 0),
]


# shows: PLAT-05, TREE-10, TREE-18
def test_what_is_refused_changes_nothing_and_says_why(machine, operator):
    before = tree_of(machine).data
    for method, parameters, error, what, had in REFUSALS:
        said, about = operator.refused(method, **parameters)
        assert said == error, (method, parameters, said, about)
        if what:
            assert about["what"] == what
        if had is not None:
            assert about["had"] == had, (method, parameters, about)
        if error == "PrimaryCpu":
            assert about == {"cpu": 0, "partition": "alpha"}, "as of every order to it"
        elif not error.startswith("NoSuch") or error == "NoSuchNode":
            assert about["reason"], (method, parameters, about)
        assert tree_of(machine).data == before, (method, parameters)


# shows: TREE-09, TREE-12
def test_what_an_instance_uses_stays_in_use_until_it_boots(machine, operator):
    machine.apmp("cpu", "migrate", 1, "--to", "beta", "--loan")
    assert operator("CpuDeassign", cpu=1) == {"in_use": True}, "its borrower is not asked"
    assert (machine.cpu(1)["owner"], machine.cpu(1)["current_owner"]) == (None, "beta")
    assert operator.refused("CpuAssign", cpu=1, to="alpha")[0] == "Owned"
    given = operator("MemoryDeassign", size=4 * MiB, **{"from": "alpha"})
    assert given["in_use"] and sum(f["size"] for f in given["fragments"]) == 4 * MiB
    assert operator("BusAssign", bus="0.0.2", to="alpha") == {"active": False}
    assert machine.partition("beta")["active"] == [1, 2], "nothing changes for the instance"
    for name in "alpha", "beta":
        machine.apmp("partition", "reset", name)
        machine.at_rest({"alpha", "beta"})
    assert (machine.cpu(1)["owner"], machine.cpu(1)["current_owner"]) == (None, None)
    assert machine.partition("alpha")["memory"] == 20 * MiB
    bus = next(h for h in operator("HardwareList")["hardware"] if h["id"] == "0.0.2")
    assert (bus["owner"], bus["current_owner"]) == ("alpha", "alpha")
    assert not [f for f in operator("MemoryList")["fragments"]
                if not f["owner"] and f["current_owner"]]
    assert operator("CpuAssign", cpu=1, to="beta") == {"active": True}


# shows: TREE-12, PLAT-05
def test_what_was_taken_from_an_instance_is_free_when_it_ends(machine, operator):
    operator("BusDeassign", bus="0.0.1")
    [piece] = operator("MemoryDeassign", size=4 * MiB, **{"from": "beta"})["fragments"]
    assert operator.refused("BusAssign", bus="0.0.1", to="alpha")[0] == "Owned"
    machine.apmp("partition", "halt", "beta")
    operator("BusAssign", bus="0.0.1", to="alpha")
    operator("MemoryAssign", to="alpha", **piece)
    operator("MemoryDeassign", size=8 * MiB, **{"from": "lab"})
    machine.apmp("partition", "crash", "alpha")
    assert not [f for f in operator("MemoryList")["fragments"]
                if not f["owner"] and f["current_owner"]], "the community runs no more"


# shows: TREE-09, HWRPB-03
def test_a_cpu_that_nobody_uses_works_where_it_is_assigned(machine, operator):
    mark = machine.events.mark()
    assert operator("CpuAssign", cpu=3, to="beta") == {"active": True}
    machine.events.wait_for("cpu.started", partition="beta", cpu=3, after=mark)
    machine.at_rest({"alpha", "beta"})
    machine.apmp("cpu", "migrate", 3, "--to", "alpha")
    assert machine.cpu(3)["owner"] == "alpha"


# shows: CPU-11, TREE-09
def test_a_cpu_of_another_revision_waits_for_a_partition_that_can_use_it(machine, operator):
    assert operator("CpuAssign", cpu=7, to="beta") == {"active": False}
    assert (machine.cpu(7)["owner"], machine.cpu(7)["current_owner"]) == ("beta", None)
    assert operator("CpuDeassign", cpu=7) == {"in_use": False}


# shows: PLAT-04, PLAT-09, TREE-13
def test_a_partition_that_lacks_a_part_is_held_until_it_has_it(machine, operator):
    machine.apmp("partition", "halt", "beta")
    assert operator("BusDeassign", bus="0.0.1") == {"in_use": False}
    missing = {"what": "buses", "wanted": 1, "had": 0}
    assert machine.partition("beta")["missing"] == missing
    error, about = operator.refused("PartitionBoot", name="beta")
    assert error == "NotEnough" and {k: about[k] for k in missing} == missing
    operator("BusAssign", bus="0.0.1", to="beta")
    assert operator("CpuDeassign", cpu=2) == {"in_use": False}
    operator("CpuAssign", cpu=8, to="beta")
    assert machine.partition("beta")["missing"]["what"] == "cpus that can be primary"
    operator("CpuAssign", cpu=2, to="beta")
    machine.boots_and_joins("beta")


# shows: PLAT-09, TREE-13
def test_power_on_holds_a_partition_that_lacks_a_part(machine, operator):
    machine.apmp("partition", "halt", "beta")
    operator("BusDeassign", bus="0.0.1")
    machine.down()
    machine.up()
    held = machine.events.wait_for("partition.held", partition="beta")
    assert (held["what"], held["wanted"], held["had"]) == ("buses", 1, 0)
    machine.at_rest({"alpha"})
    operator("BusAssign", bus="0.0.1", to="beta")
    machine.boots_and_joins("beta")


# shows: PLAT-06, TREE-11, TREE-19
def test_memory_goes_from_one_community_to_another_by_way_of_nobody(machine, operator):
    operator("CommunityCreate", name="annex")
    given = operator("MemoryAssign", size=64 * MiB, to="annex")
    assert given["active"] and len(given["fragments"]) == 1
    assert operator.refused("MemoryAssign", size=2 * MiB, to="beta",
                            pa=given["fragments"][0]["pa"])[0] == "DescriptorUnshared"
    operator("MemoryDeassign", size=32 * MiB, **{"from": "annex"})
    free = given["fragments"][0]["pa"] + 32 * MiB
    error, _ = operator.refused("MemoryAssign", size=2 * MiB, to="beta", pa=free)
    assert error == "DescriptorUnshared"
    operator("MemoryDeassign", size=32 * MiB, **{"from": "annex"})
    assert operator("MemoryAssign", size=2 * MiB, to="beta", pa=free) == {
        "active": False, "fragments": [{"pa": free, "size": 2 * MiB}]}


# shows: TREE-18
def test_memory_in_several_pieces_comes_and_goes(machine, operator):
    base = next(f for f in operator("MemoryList")["fragments"] if not f["owner"])
    for pa in range(base["pa"] + 4 * MiB, base["pa"] + base["size"] - 4 * MiB, 8 * MiB):
        operator("MemoryAssign", size=4 * MiB, to="alpha", pa=pa)
    before = operator("MemoryList")["fragments"]
    given = operator("MemoryAssign", size=70 * MiB, to="beta")
    assert sum(f["size"] for f in given["fragments"]) == 70 * MiB and len(given["fragments"]) > 1
    tree_of(machine)
    taken = operator("MemoryDeassign", size=70 * MiB, **{"from": "beta"})
    assert sum(f["size"] for f in taken["fragments"]) == 70 * MiB
    assert machine.partition("beta")["memory"] == 24 * MiB
    assert not taken["in_use"], "beta had not begun to use it"
    assert operator("MemoryList")["fragments"] == before


# shows: PLAT-08
def test_boot_at_power_on_is_set_and_kept(machine, operator):
    operator("PartitionSet", name="beta", boot=False)
    machine.down()
    machine.up()
    assert machine.partition("beta")["instance"]["state"] == "off"
    operator("PartitionSet", name="beta", boot=True)
    machine.down()
    machine.up()
    assert machine.partition("beta")["instance"]["state"] == "member"


# shows: PLAT-04
def test_a_port_ends_with_its_partition(machine, operator):
    make_delta(operator)
    with socket.socket(socket.AF_UNIX) as guest:
        guest.settimeout(apmp.WATCHDOG)
        guest.connect(str(machine.rundir / "control"))
        guest.sendall(b'{"method":"org.apmp.machine.ConsolePort","upgrade":true,'
                      b'"parameters":{"partition":"delta"}}\0')
        assert guest.recv(4096).startswith(b"{")
        operator("PartitionDelete", name="delta")
        while guest.recv(4096):
            pass
    operator("PartitionCreate", name="delta", community="lab")
    assert machine.apmp("status")


# Each change, and the one that takes it back.
CHANGES = [
    ("PartitionCreate", {"name": "delta", "community": "lab", "boot": True},
     "PartitionDelete", {"name": "delta"}),
    ("CommunityCreate", {"name": "annex"}, "CommunityDelete", {"name": "annex"}),
    ("CpuAssign", {"cpu": 3, "to": "gamma"}, "CpuDeassign", {"cpu": 3}),
    ("BusAssign", {"bus": "0.0.2", "to": "gamma"}, "BusDeassign", {"bus": "0.0.2"}),
    ("MemoryAssign", {"size": 8 * MiB, "to": "gamma"},
     "MemoryDeassign", {"size": 8 * MiB, "from": "gamma"}),
    ("CommunityAdd", {"name": "lab", "partition": "gamma"},
     "CommunityRemove", {"name": "lab", "partition": "gamma"}),
]


def dies_at_each_store(machine, operator, method, parameters, before, step):
    """Makes a change with the console dying at its stores, one after the other, until there are no
    more of them; each time the tree is as before. Gives the number of stores."""
    store = 1
    while True:
        machine.arm("console", f"update_store:{store}")
        mark = machine.events.mark()
        try:
            operator(method, **parameters)
        except CutOff:
            machine.events.wait_for("console.restarted", after=mark)
            tree_of(machine)
            assert configuration(machine) == before, (method, store)
            store += step
            continue
        machine.disarm("console", "update_store")
        return store


# shows: TREE-22, PLAT-08
@pytest.mark.parametrize("change", CHANGES, ids=[change[0] for change in CHANGES])
def test_a_console_that_dies_leaves_a_change_whole_or_undone(machine, operator, change):
    do, done, undo, undone = change
    operator("PartitionCreate", name="gamma")
    before = configuration(machine)
    assert dies_at_each_store(machine, operator, do, done, before, 2) > 2
    after = configuration(machine)
    assert after != before
    assert dies_at_each_store(machine, operator, undo, undone, after, 2) > 2
    assert configuration(machine) == before
    for point in ("update_begin", "update_commit", "update_end"):
        machine.arm("console", point)
        mark = machine.events.mark()
        with pytest.raises(CutOff):
            operator(do, **done)
        machine.events.wait_for("console.restarted", after=mark)
        if configuration(machine) == before:
            operator(do, **done)
        assert configuration(machine) == after
        operator(undo, **undone)
    machine.at_rest({"alpha", "beta"})
