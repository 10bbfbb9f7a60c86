"""The checker of the storm: it finds nothing in a good tree, and whatever is broken in it."""
import struct

import pytest

import tree_checker as tc
from apmp import TRIO

MACHINE = TRIO


@pytest.fixture(scope="module")
def good(_shared_of_module):
    """(tree, HWRPBs) of a running trio, as bytes."""
    memory = tc.Memory(_shared_of_module.get().box_pid())
    yield memory.tree(), memory.hwrpbs()
    memory.close()


def test_a_good_tree(good):
    """shows: TREE-01, TREE-02, TREE-05, HWRPB-04"""
    assert tc.check(*good) == []


class Spoiler:
    """A copy of the tree in which anything can be overwritten by the name of its field."""

    def __init__(self, data):
        self.tree = tc.Tree(data)
        self.data = bytearray(data)

    def first(self, kind, **fields):
        return next(handle for handle, node in self.tree.of_type(kind).items()
                    if all(getattr(node, name) == value for name, value in fields.items()))

    def named(self, name):
        return next(handle for handle, node in self.tree.nodes.items()
                    if node.type in tc.SOFTWARE and tc.text(node.name) == name)

    def put(self, handle, structure, field, value, code="<i"):
        if structure != "gct_mem_desc" and field in tc.NODE.fields:
            structure = "gct_node"
        at = tc.HEADER.size + handle + tc.Shape.offset(structure, field)
        struct.pack_into(code, self.data, at, value)

    def fragment(self, index):
        """Where a fragment of the first descriptor stands, counted from the root."""
        handle = self.first("memory_descriptor")
        return handle + self.tree.nodes[handle].mem_frag + index * tc.MEM_DESC.size


def _spoil(name, field, value, structure="gct_node", code="<i"):
    """Overwrites a field of the partition, community or first node of the type of this name."""
    def spoil(s):
        handle = (s.named(name) if name in ("alpha", "beta", "gamma", "lab")
                  else 0 if name == "root" else s.first(name))
        s.put(handle, structure, field, value(s) if callable(value) else value, code)
    return spoil


def _fragment(index, field, value, code="<i"):
    def spoil(s):
        s.put(s.fragment(index), "gct_mem_desc", field, value(s) if callable(value) else value,
              code)
    return spoil


ROOT = {"structure": "gct_root_node"}
PARTITION = {"structure": "gct_partition_node"}

# What is broken: how, and a word of what the checker says.
BROKEN = {
    "magic of a node": (_spoil("cpu", "magic", 0), "no node at"),
    "a loop of siblings": (_spoil("cpu", "next_sib", lambda s: s.first("sbb")), "met twice"),
    "a handle between two nodes": (_spoil("cpu", "next_sib", 1476), "handle 1476 is none"),
    "a handle behind the pool": (_spoil("cpu", "next_sib", 1 << 30), "is none"),
    "parent": (_spoil("cpu", "parent", 0), "is its parent"),
    "prev_sib": (_spoil("bus", "prev_sib", 64), "has one before it"),
    "size of a node": (_spoil("cpu", "size", 100, code="<H"), "has 100 bytes"),
    "a node that is too large": (_spoil("cpu", "size", 512, code="<H"), "two owners"),
    "type": (_spoil("cpu", "type", 13, code="<B"), "is below"),
    "a type that is none": (_spoil("cpu", "type", 99, code="<B"), "has type 99"),
    "config handle": (_spoil("bus", "config", lambda s: s.first("cpu")), "config is"),
    "affinity handle": (_spoil("cpu", "affinity", 0), "affinity is"),
    "one id twice": (_spoil("cpu", "id", 3, code="<Q"), "have one id"),
    "a partition that is not in the array": (_spoil("beta", "id", 9, code="<Q"), "the array says"),
    "owner of a CPU that is a community": (
        _spoil("cpu", "owner", lambda s: s.named("lab")), "is a community's"),
    "owner that is no partition": (
        _spoil("cpu", "owner", lambda s: s.first("bus")), "its owner is bus"),
    "current_owner that is nobody": (_spoil("cpu", "current_owner", 64 * 999), "its current_owner"),
    "a CPU without its HWRPB": (
        _spoil("cpu", "current_owner", lambda s: s.named("beta")), "available to"),
    "a bound node with another owner": (
        _spoil("memory_descriptor", "owner", lambda s: s.named("beta")), "the descriptor"),
    "a primary too many": (
        lambda s: s.put(list(s.tree.of_type("cpu"))[1], "gct_node", "node_flags", 0x21, "<Q"),
        "2 primary CPUs"),
    "initialized without a life": (
        _spoil("alpha", "fenced", 1, **PARTITION, code="<Q"), "has no life"),
    "fenced before it lived": (_spoil("alpha", "fenced", 7, **PARTITION, code="<Q"), "is fenced"),
    "an HWRPB of another life": (
        _spoil("alpha", "incarnation", 2, **PARTITION, code="<Q"), "its HWRPB is of"),
    "one HWRPB twice": (
        _spoil("alpha", "hwrpb", lambda s: s.tree.nodes[s.named("beta")].hwrpb, **PARTITION,
               code="<Q"), "HWRPBs of partitions"),
    "one name twice": (_spoil("alpha", "name", b"beta", **PARTITION, code="<32s"),
                       "is there twice"),
    "a bad name": (_spoil("alpha", "name", b"Alpha", **PARTITION, code="<32s"), "a bad name"),
    "unavailable and there": (_spoil("alpha", "node_flags", 0x14, code="<Q"), "not wholly there"),
    "lock of nobody": (_spoil("root", "lock", 40, **ROOT, code="<Q"), "locked by 0x28"),
    "levels": (_spoil("root", "transient_level", 1 << 20, **ROOT, code="<Q"), "an update is open"),
    "first_free": (_spoil("root", "first_free", lambda s: s.tree.root.first_free - 64, **ROOT),
                   "used"),
    "bytes that are free and used": (_spoil("root", "available", 64, **ROOT), "the pool has"),
    "a living node on the lookaside list": (
        _spoil("root", "lookaside", lambda s: s.named("gamma"), **ROOT), "is on the lookaside"),
    "array of partitions": (
        _spoil("root", "partitions", lambda s: s.tree.root.communities, **ROOT),
        "the array says"),
    "a gap between fragments": (_fragment(1, "pa", 1 << 40, "<Q"), "wanted"),
    "an overlap of fragments": (_fragment(0, "size", 1 << 30, "<Q"), "wanted"),
    "a fragment of half a granule": (_fragment(0, "size", 1 << 20, "<Q"), "0x100000 bytes"),
    "flags of a fragment": (_fragment(0, "mem_flags", 2), "flags 0x2 for"),
    "a shared fragment of a partition": (
        _fragment(0, "mem_owner", lambda s: s.named("beta")), "for partition"),
    "unowned fragments that meet": (
        lambda s: [s.put(s.fragment(3), "gct_mem_desc", name, 0)
                   for name in ("mem_owner", "mem_current_owner", "mem_flags")], "meet at"),
    "flags of nobody's fragment": (_fragment(4, "mem_flags", 4), "of nobody"),
    "a subsystem that is not the community's": (
        lambda s: [s.put(s.first("memory_subsystem"), "gct_node", name, 0)
                   for name in ("owner", "current_owner")], "is shared"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_tree(good, what):
    """shows: TREE-03, TREE-04"""
    spoil, said = BROKEN[what]
    spoiler = Spoiler(good[0])
    spoil(spoiler)
    wrong = tc.check(bytes(spoiler.data), good[1])
    assert any(said in sentence for sentence in wrong), wrong


def test_single_bits(good):
    """A single wrong bit in an owner, a link or a magic is found."""
    spoiler = Spoiler(good[0])
    fields = ("owner", "current_owner", "parent", "next_sib", "prev_sib", "child", "magic")
    places = [tc.HEADER.size + handle + tc.Shape.offset("gct_node", field)
              for handle in spoiler.tree.nodes for field in fields]
    missed = []
    for at in places:
        for bit in range(0, 32, 5):
            data = bytearray(good[0])
            data[at + bit // 8] ^= 1 << bit % 8
            if not tc.check(bytes(data), good[1]):
                missed.append((at - tc.HEADER.size, bit))
    assert not missed
