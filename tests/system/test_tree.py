"""The configuration tree as the operator sees it, against the rules of [0070]-[0117]."""
import re
import shutil
import subprocess

import pytest

import apmp

# A block of each kind: CPUs that can't be primary, disks, two I/O processors, unassigned parts.
MACHINE = """\
machine: {name}
hardware:
  - sbb: 0
    cpus: [{id: 0}, {id: 1}, {id: 2, primary: no}, {id: 5}]
    memory: 96M
    iops:
      - buses:
          - {disks: [{name: d0, size: 16M}, {name: d1, size: 16M}]}
          - {}
      - buses: [{}]
  - {sbb: 4, cpus: 2, memory: 64M, iops: [{buses: [{}]}]}
communities:
  - {name: lab, shared: 32M}
partitions:
  - {name: alpha, community: lab, cpus: [0, 1], memory: 8M, buses: ["0.0.0"], boot: yes}
  - {name: beta, community: lab, cpus: [2, 5], memory: 8M, buses: ["0.1.0"], boot: yes}
  - {name: idle, community: lab, cpus: [6], memory: 8M, buses: ["4.0.0"]}
"""

FLAGS = {"hardware", "hotswap", "unavailable", "hw_template", "initialized", "primary"}

# [0070-0079]: under which node each type may stand.
PARENTS = {
    "hardware_root": {"root"}, "software_root": {"root"}, "template_root": {"root"},
    "sbb": {"hardware_root"}, "cpu": {"sbb", "template_root"}, "memory_subsystem": {"sbb"},
    "memory_controller": {"memory_subsystem"},
    "memory_descriptor": {"memory_subsystem", "template_root"},
    "iop": {"sbb"}, "bus": {"iop", "template_root"}, "device_controller": {"bus"},
    "community": {"software_root"}, "partition": {"community", "software_root"},
}


class Tree:
    def __init__(self, machine):
        self.answer = machine.apmp("tree", json=True)
        self.nodes = self.answer["nodes"]
        self.at = {node["handle"]: node for node in self.nodes}

    def of(self, kind, template=False):
        return [node for node in self.nodes
                if node["type"] == kind and ("hw_template" in node["flags"]) is template]

    def one(self, kind, **fields):
        found = [node for node in self.of(kind)
                 if all(node[key] == value for key, value in fields.items())]
        assert len(found) == 1, (kind, fields, found)
        return found[0]

    def parent(self, node):
        return self.at[node["parent"]]


@pytest.fixture
def tree(shared):
    return Tree(shared)


def test_handles(tree):
    """The root stands at 0; a handle is a multiple of 64 and names one node. shows: TREE-03"""
    assert tree.nodes[0]["type"] == "root" and tree.nodes[0]["handle"] == 0
    assert len(tree.at) == len(tree.nodes)
    for node in tree.nodes:
        assert node["handle"] % 64 == 0 and node["handle"] >= 0
        assert set(node["flags"]) <= FLAGS


def test_ids_are_unique_for_their_type(tree):
    """shows: TREE-03"""
    seen = [(node["type"], node["subtype"], node["id"], "hw_template" in node["flags"])
            for node in tree.nodes]
    assert len(set(seen)) == len(seen)
    assert sorted(node["id"] for node in tree.of("partition")) == [0, 1, 2]
    assert [node["id"] for node in tree.of("community")] == [0]


def test_every_node_has_its_place(tree):
    """A node comes after its parent, which is of a type that may have it. shows: TREE-04"""
    before = {0}
    for node in tree.nodes[1:]:
        assert node["parent"] in before, node
        assert tree.parent(node)["type"] in PARENTS[node["type"]], node
        before.add(node["handle"])


def test_hardware_is_what_the_file_says(tree):
    """shows: PLAT-01, TREE-04, CPU-13"""
    assert [node["id"] for node in tree.of("sbb")] == [0, 4]
    cpus = {node["id"]: node for node in tree.of("cpu")}
    assert {number: tree.parent(node)["id"] for number, node in cpus.items()} == {
        0: 0, 1: 0, 2: 0, 5: 0, 6: 4, 7: 4}
    assert cpus[2]["subtype"] != cpus[0]["subtype"]
    assert {cpus[number]["subtype"] for number in (0, 1, 5, 6, 7)} == {cpus[0]["subtype"]}
    assert [node["name"] for node in tree.of("bus")] == ["0.0.0", "0.0.1", "0.1.0", "4.0.0"]
    disks = [node for node in tree.of("device_controller")]
    assert [tree.parent(node)["name"] for node in disks] == ["0.0.0", "0.0.0"]
    for kind in ("memory_subsystem", "memory_controller", "memory_descriptor"):
        assert len(tree.of(kind)) == 2
    for kind in ("sbb", "cpu", "bus", "iop", "memory_descriptor"):
        assert all("hardware" in node["flags"] for node in tree.of(kind))


def test_software_is_what_the_file_says(tree):
    """shows: TREE-04, TREE-17"""
    lab = tree.one("community")
    assert lab["name"] == "lab" and lab["parent"] == tree.one("software_root")["handle"]
    assert lab["detail"]["apmpdb_info"] > 0
    for name in ("alpha", "beta", "idle"):
        partition = tree.one("partition", name=name)
        booted = name != "idle"
        assert partition["parent"] == lab["handle"]
        assert ("initialized" in partition["flags"]) is booted
        assert partition["detail"]["incarnation"] == int(booted)
        assert partition["detail"]["fenced"] == 0
        assert partition["detail"]["instance_name"] == (name if booted else "")
        assert partition["detail"]["hwrpb"] % 4096 == 0
    assert len({node["detail"]["hwrpb"] for node in tree.of("partition")}) == 3


def table_1(node):
    """The five states of a resource."""
    owner, current = node["owner"], node["current_owner"]
    if owner is None:
        return "unowned inactive" if current is None else "unowned active"
    if current is None:
        return "owned inactive"
    return "owned active" if owner == current else "loaned"


def test_owners_are_names_and_states_those_of_table_1(tree, shared):
    """shows: TREE-09"""
    names = {node["name"] for node in tree.nodes if node["type"] in ("partition", "community")}
    for node in tree.nodes:
        for owner in (node["owner"], node["current_owner"]):
            assert owner is None or owner in names | {"software_root"}, node
    states = {number: table_1(tree.one("cpu", id=number)) for number in (0, 1, 2, 5, 6, 7)}
    assert states == {0: "owned active", 1: "owned active", 2: "owned active", 5: "owned active",
                      6: "owned inactive", 7: "unowned inactive"}
    assert {node["name"]: (node["owner"], table_1(node)) for node in tree.of("bus")} == {
        "0.0.0": ("alpha", "owned active"), "0.0.1": (None, "unowned inactive"),
        "0.1.0": ("beta", "owned active"), "4.0.0": ("idle", "owned inactive")}
    for cpu in shared.status()["cpus"]:
        node = tree.one("cpu", id=cpu["id"])
        assert (cpu["owner"], cpu["current_owner"]) == (node["owner"], node["current_owner"])
        assert cpu["primary"] is ("primary" in node["flags"])
    assert [node["id"] for node in tree.of("cpu") if "primary" in node["flags"]] == [0, 5]


def test_memory_fragments(tree):
    """They cover their descriptor without hole; each has one owner; what is shared is the
    community's, and so are its descriptor and subsystem; a partition's base is its own; memory
    controllers belong to no community. shows: TREE-18, TREE-19, TREE-11"""
    shared = base = 0
    for descriptor, size in zip(tree.of("memory_descriptor"), (96 << 20, 64 << 20)):
        at = descriptor["detail"]["fragments"][0]["pa"]
        assert at == descriptor["id"]
        for fragment in descriptor["detail"]["fragments"]:
            assert fragment["pa"] == at and fragment["size"] % (2 << 20) == 0
            at += fragment["size"]
            assert not (fragment["private"] and fragment["shared"])
            if fragment["shared"]:
                assert fragment["owner"] == "lab"
                shared += fragment["size"]
            if fragment["base"]:
                assert fragment["private"] and fragment["owner"] in ("alpha", "beta", "idle")
                base += fragment["size"]
            if fragment["owner"]:
                assert descriptor["owner"] in ("lab", fragment["owner"])
                assert tree.parent(descriptor)["owner"] == descriptor["owner"]
            if fragment["shared"] or fragment["owner"] != descriptor["owner"]:
                assert descriptor["owner"] in ("lab", None)
        assert at - descriptor["id"] == size
    assert shared == 32 << 20
    assert base == 3 * (8 << 20)
    assert "lab" not in {node["owner"] for node in tree.of("memory_controller")}


def test_template(tree):
    """What a partition must own to be initialized: one CPU, one descriptor, one bus.
    shows: TREE-13"""
    root = tree.one("template_root")
    below = [node for node in tree.nodes if node["parent"] == root["handle"]
             and node["handle"] != root["handle"]]
    assert sorted(node["type"] for node in below) == ["bus", "cpu", "memory_descriptor"]
    for node in below:
        assert "hw_template" in node["flags"] and "hardware" not in node["flags"]
        assert node["owner"] is None and node["current_owner"] is None


def test_bindings(tree):
    """config names an ancestor, the hardware root for what is free; affinity an ancestor as well.
    shows: TREE-08"""
    free = tree.one("hardware_root")["handle"]
    for node in tree.nodes:
        if "hardware" not in node["flags"]:
            continue
        ancestors, at = {0}, node
        while at["handle"]:
            at = tree.parent(at)
            ancestors.add(at["handle"])
        assert node["config"] in ancestors, node
        assert node["affinity"] in ancestors, node
    for disk in tree.of("device_controller"):
        assert disk["config"] == disk["parent"]
    for cpu in tree.of("cpu"):
        assert cpu["config"] == free and cpu["affinity"] == cpu["parent"]


def test_a_bound_node_has_the_owner_of_its_config_node(tree):
    """[0192]: a disk goes with its bus. shows: TREE-11"""
    free = tree.one("hardware_root")["handle"]
    for node in tree.nodes:
        if "hardware" in node["flags"] and node["config"] != free and node["owner"]:
            assert tree.at[node["config"]]["owner"] == node["owner"], node
    for disk in tree.of("device_controller"):
        assert disk["owner"] == tree.parent(disk)["owner"], disk


def test_levels_rise_with_each_update_and_are_equal_at_rest(shared):
    """shows: TREE-15"""
    before = Tree(shared).answer["levels"]
    assert before["transient"] == before["current"] > 0
    shared.apmp("partition", "boot", "idle")
    shared.apmp("partition", "halt", "idle")
    after = Tree(shared).answer["levels"]
    assert after["transient"] == after["current"] >= before["current"] + 2
    idle = Tree(shared).one("partition", name="idle")
    assert "initialized" not in idle["flags"]
    assert idle["detail"]["incarnation"] == idle["detail"]["fenced"] > 0


def test_handles_stay(shared):
    """Nodes never move."""
    before = {(n["type"], n["id"]): n["handle"] for n in Tree(shared).nodes}
    shared.apmp("cpu", "migrate", 1, "--to", "beta")
    shared.apmp("cpu", "migrate", 1, "--to", "alpha")
    assert {(n["type"], n["id"]): n["handle"] for n in Tree(shared).nodes} == before


def test_text(shared):
    """People see each node, indented below its parent."""
    tree = Tree(shared)
    lines = shared.apmp("tree").splitlines()
    assert lines[0].split() == ["NODE", "SIZE", "OWNER", "CURRENT-OWNER", "FLAGS", "HANDLE"]
    lines = [line for line in lines[1:lines.index("")] if "fragment 0x" not in line]
    shown = lines[:len(tree.nodes)]
    assert [int(line.split()[-1], 16) for line in shown] == [n["handle"] for n in tree.nodes]
    for line, node in zip(shown, tree.nodes):
        depth, at = 0, node
        while at["handle"]:
            depth, at = depth + 1, tree.parent(at)
        assert re.match(rf" {{{2 * depth}}}{node['type'].replace('_', ' ')} ", line)


def test_dot(shared):
    """A graph with each node and each parent. graphviz reads it where there is one."""
    tree = Tree(shared)
    text = shared.apmp("tree", "--dot")
    if shutil.which("dot"):
        subprocess.run(["dot", "-Tplain"], input=text, text=True, check=True, capture_output=True,
                       timeout=apmp.WATCHDOG)
    assert text.startswith("digraph ") and text.rstrip().endswith("}")
    assert text.count("{") == text.count("}") and text.count('"') % 2 == 0
    for node in tree.nodes:
        assert re.search(rf'^\s*n{node["handle"]} \[', text, re.M)
        if node["handle"]:
            assert re.search(rf'^\s*n{node["parent"]} -> n{node["handle"]}\b', text, re.M)
