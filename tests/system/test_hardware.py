"""Hot swap: CPUs, buses and memory come into a box that is on, and leave it."""
import pytest

import apmp
from operator_calls import CutOff, configuration, tree_of

MACHINE = """\
machine: {name}
hardware:
  - {sbb: 0, cpus: 4, memory: 128M, iops: [{buses: [{}, {}]}]}
communities:
  - {name: lab, shared: 32M}
partitions:
  - {name: alpha, community: lab, cpus: [0, 1], memory: 24M, buses: ["0.0.0"], boot: yes}
  - {name: beta, community: lab, cpus: [2, 3], memory: 24M, buses: ["0.0.1"], boot: yes}
"""
pytestmark = pytest.mark.machine_file(MACHINE)
MiB = 1 << 20


def potential(machine):
    return {p["name"]: p["potential"] for p in machine.status()["partitions"]}


def component(operator, kind, number):
    found = [h for h in operator("HardwareList")["hardware"]
             if (h["kind"], h["id"]) == (kind, number)]
    return found[0] if found else None


def handle_of(machine, kind, number):
    nodes = machine.apmp("tree", json=True)["nodes"]
    return next(n["handle"] for n in nodes if n["type"] == kind and n["id"] == number
                and "hw_template" not in n["flags"])


# shows: PLAT-14, HWRPB-02, HWRPB-03, TREE-15
def test_a_cpu_comes_works_moves_and_goes(machine, operator):
    lives = {p["name"]: p["instance"]["incarnation"] for p in machine.status()["partitions"]}
    assert operator("HardwareAdd", kind="cpu", sbb=0) == {"id": "4"}
    # Both instances learn of it while they run.
    machine.until(lambda now: now == {"alpha": [0, 1, 2, 3, 4], "beta": [0, 1, 2, 3, 4]},
                  lambda: potential(machine))
    assert machine.cpu(4)["state"] == "unassigned"
    mark = machine.events.mark()
    assert operator("CpuAssign", cpu=4, to="alpha") == {"active": True}
    machine.events.wait_for("cpu.started", partition="alpha", cpu=4, after=mark)
    error, about = operator.refused("HardwareRemove", kind="cpu", id="4")
    assert (error, about["what"], about["owner"]) == ("InUse", "CPU 4", "alpha")
    machine.apmp("cpu", "migrate", 4, "--to", "beta")
    machine.at_rest({"alpha", "beta"})
    handle = handle_of(machine, "cpu", 4)
    machine.apmp("partition", "halt", "beta")
    assert operator("CpuDeassign", cpu=4) == {"in_use": False}
    operator("HardwareRemove", kind="cpu", id="4")
    machine.until(lambda now: now["alpha"] == [0, 1, 2, 3], lambda: potential(machine))
    assert machine.cpu(4)["state"] == "absent"
    assert component(operator, "cpu", "4")["available"] is False
    assert operator.refused("CpuAssign", cpu=4, to="alpha")[0] == "Unavailable"
    assert operator.refused("HardwareRemove", kind="cpu", id="4")[0] == "NoSuchCpu"
    machine.apmp("partition", "boot", "beta")
    assert potential(machine)["beta"] == [0, 1, 2, 3]
    assert operator("HardwareAdd", kind="cpu", sbb=0, id="4", revision=2) == {"id": "4"}
    assert handle_of(machine, "cpu", 4) == handle, "a component that comes back has its node"
    assert operator("CpuAssign", cpu=4, to="alpha") == {"active": False}, "it is another CPU now"
    assert 4 not in potential(machine)["alpha"]
    assert {p["name"]: p["instance"]["incarnation"] for p in machine.status()["partitions"]} == {
        "alpha": lives["alpha"], "beta": lives["beta"] + 1}


# shows: PLAT-14, PLAT-01, PLAT-02
def test_a_whole_block_comes_and_a_partition_lives_in_it(machine, operator):
    assert operator("HardwareAdd", kind="cpu", sbb=7, id="255") == {"id": "255"}
    assert operator("HardwareAdd", kind="bus", sbb=7) == {"id": "7.0.0"}
    memory = operator("HardwareAdd", kind="memory", sbb=7, size=64 * MiB)["id"]
    assert operator.refused("HardwareAdd", kind="cpu", sbb=7, id="256")[0] == "Invalid"
    operator("CommunityCreate", name="annex")
    operator("MemoryAssign", size=16 * MiB, to="annex")
    operator("PartitionCreate", name="gamma", community="annex")
    operator("CpuAssign", cpu=255, to="gamma")
    operator("BusAssign", bus="7.0.0", to="gamma")
    operator("MemoryAssign", size=8 * MiB, to="gamma")
    machine.apmp("partition", "boot", "gamma")
    machine.at_rest({"gamma"}, "annex")
    assert operator.refused("HardwareRemove", kind="memory", id=memory)[0] == "InUse"
    machine.apmp("partition", "halt", "gamma")
    operator("PartitionDelete", name="gamma")
    operator("CommunityDelete", name="annex")
    for kind, number in (("memory", memory), ("bus", "7.0.0"), ("cpu", "255")):
        operator("HardwareRemove", kind=kind, id=number)
        assert component(operator, kind, number)["available"] is False
    assert operator("HardwareAdd", kind="memory", sbb=7, size=64 * MiB) == {"id": memory}
    machine.at_rest({"alpha", "beta"})


# shows: PLAT-14, TREE-18
def test_memory_comes_above_all_other_and_is_given(machine, operator):
    def size_of_machine():
        return tree_of(machine).root.mem_size

    first = operator("HardwareAdd", kind="memory", sbb=0, size=32 * MiB)["id"]
    second = operator("HardwareAdd", kind="memory", sbb=0, size=32 * MiB)["id"]
    assert 0 < int(first, 0) < int(second, 0)
    assert size_of_machine() == 192 * MiB
    operator("MemoryAssign", size=32 * MiB, to="alpha", pa=int(second, 0))
    operator("HardwareRemove", kind="memory", id=first)
    assert size_of_machine() == 160 * MiB
    assert operator.refused("MemoryAssign", size=2 * MiB, to="alpha",
                            pa=int(first, 0))[0] == "Unavailable"
    assert not [f for f in operator("MemoryList")["fragments"]
                if f["available"] == (f["pa"] == int(first, 0))]
    machine.apmp("partition", "reset", "alpha")
    machine.at_rest({"alpha", "beta"})
    assert machine.partition("alpha")["memory"] == 56 * MiB
    for size in (0, 1, MiB, -2 * MiB, 1 << 60):
        assert operator.refused("HardwareAdd", kind="memory", sbb=0, size=size)[0] == "Alignment"
    big = operator("HardwareAdd", kind="memory", sbb=0, size=1 << 46)["id"]
    assert operator.refused("HardwareAdd", kind="memory", sbb=0, size=1 << 46)[0] == "TooMany"
    # It is there; what the host can't carry is refused when it is used, in bytes.
    machine.apmp("partition", "halt", "beta")
    operator("MemoryAssign", size=1 << 45, to="beta", pa=int(big, 0))
    error, about = operator.refused("PartitionBoot", name="beta")
    assert error == "NotEnough" and about["wanted"] > about["had"]
    operator("MemoryDeassign", size=1 << 45, **{"from": "beta"}, pa=int(big, 0))
    machine.boots_and_joins("beta")


REFUSALS = [
    ({"kind": "fan", "sbb": 0}, "org.varlink.service.InvalidParameter"),
    ({"kind": "cpu", "sbb": 64}, "org.varlink.service.InvalidParameter"),
    ({"kind": "cpu", "sbb": -1}, "org.varlink.service.InvalidParameter"),
    ({"kind": "cpu", "sbb": 0, "id": "0"}, "Present"),
    ({"kind": "cpu", "sbb": 1, "id": "0"}, "Present"),
    ({"kind": "cpu", "sbb": 0, "id": "x"}, "Invalid"),
    ({"kind": "cpu", "sbb": 0, "id": ""}, "Invalid"),
    ({"kind": "cpu", "sbb": 0, "id": "-1"}, "Invalid"),
    ({"kind": "bus", "sbb": 0, "id": "0.0.0"}, "Present"),
    ({"kind": "bus", "sbb": 1, "id": "0.0.2"}, "Invalid"),
    ({"kind": "bus", "sbb": 0, "id": "0.0.3"}, "Invalid"),
    ({"kind": "bus", "sbb": 0, "id": "0.2.0"}, "Invalid"),
    ({"kind": "bus", "sbb": 0, "id": "0.1.1"}, "Invalid"),
    ({"kind": "bus", "sbb": 0, "id": "0.0.16"}, "TooMany"),
    ({"kind": "bus", "sbb": 0, "id": "nonsense"}, "Invalid"),
    ({"kind": "memory", "sbb": 0}, "Alignment"),
]


# shows: PLAT-14
def test_what_can_not_come_changes_nothing(machine, operator):
    before = tree_of(machine).data
    for parameters, wanted in REFUSALS:
        error, about = operator.refused("HardwareAdd", **parameters)
        assert error == wanted, (parameters, error, about)
        if wanted.startswith("org."):
            continue
        assert about["reason"], parameters
    for kind, number, wanted in (("cpu", "0", "InUse"), ("cpu", "9", "NoSuchCpu"),
                                 ("cpu", "x", "NoSuchNode"), ("bus", "0.0.0", "InUse"),
                                 ("bus", "0.0.9", "NoSuchBus"), ("memory", "0x40000000", "InUse"),
                                 ("memory", "1", "NoSuchNode"), ("memory", "", "NoSuchNode")):
        error, about = operator.refused("HardwareRemove", kind=kind, id=number)
        assert error == wanted, (kind, number, error, about)
    assert tree_of(machine).data == before


# shows: PLAT-14, HWRPB-02
def test_as_many_cpus_as_there_may_be(machine, operator):
    for number in range(4, 256):
        assert operator("HardwareAdd", kind="cpu", sbb=number % 64) == {"id": str(number)}
    assert operator.refused("HardwareAdd", kind="cpu", sbb=0)[0] == "TooMany"
    machine.until(lambda now: all(cpus == list(range(256)) for cpus in now.values()),
                  lambda: potential(machine))
    assert operator("CpuAssign", cpu=255, to="beta") == {"active": True}
    machine.at_rest({"alpha", "beta"})
    machine.apmp("cpu", "migrate", 255, "--to", "alpha")
    machine.apmp("partition", "reset", "alpha")
    machine.at_rest({"alpha", "beta"})
    assert machine.partition("alpha")["active"] == [0, 1, 255]


# shows: PLAT-14, TREE-22
def test_a_restarted_console_finds_what_has_come(machine, operator):
    operator("HardwareAdd", kind="cpu", sbb=0)
    operator("HardwareAdd", kind="cpu", sbb=3)
    operator("HardwareAdd", kind="bus", sbb=3)
    operator("HardwareAdd", kind="memory", sbb=3, size=32 * MiB)
    operator("HardwareRemove", kind="cpu", id="4")
    before = configuration(machine)
    mark = machine.events.mark()
    machine.apmp("chaos", "inject", "kill", "console")
    machine.events.wait_for("console.restarted", after=mark)
    assert configuration(machine) == before
    assert operator("CpuAssign", cpu=5, to="beta") == {"active": True}
    machine.at_rest({"alpha", "beta"})
    assert operator("HardwareAdd", kind="cpu", sbb=0) == {"id": "6"}


SWAPS = [
    ("HardwareAdd", {"kind": "cpu", "sbb": 5, "id": "9"}, {"kind": "cpu", "id": "9"}),
    ("HardwareAdd", {"kind": "bus", "sbb": 5}, {"kind": "bus", "id": "5.0.0"}),
    ("HardwareAdd", {"kind": "memory", "sbb": 5, "size": 16 * MiB},
     {"kind": "memory", "id": "0x80000000"}),
]


def dies_at_each_store(machine, operator, method, parameters, before):
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
            store += 1
            continue
        machine.disarm("console", "update_store")
        return store


# shows: PLAT-14, TREE-22
@pytest.mark.parametrize("swap", SWAPS, ids=["cpu", "bus", "memory"])
def test_a_console_that_dies_leaves_a_swap_whole_or_undone(machine, operator, swap):
    method, coming, going = swap
    for _ in range(2):  # a new component, and one that comes back
        before = configuration(machine)
        assert dies_at_each_store(machine, operator, method, coming, before) > 2
        after = configuration(machine)
        assert after != before
        assert dies_at_each_store(machine, operator, "HardwareRemove", going, after) > 1
    for point in ("update_begin", "update_commit", "update_end"):
        machine.arm("console", point)
        mark = machine.events.mark()
        with pytest.raises(CutOff):
            operator(method, **coming)
        machine.events.wait_for("console.restarted", after=mark)
        if configuration(machine) != after:
            operator(method, **coming)
        assert configuration(machine) == after
        operator("HardwareRemove", **going)
    machine.at_rest({"alpha", "beta"})
