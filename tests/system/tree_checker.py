#!/usr/bin/python3
"""The configuration tree of a machine, read out of its memory, and whether it is consistent.

Shares nothing with the C code but the layout dump: what a tree must be is written here a second
time, from the specification. `Tree` reads bytes, `check` says what is wrong with them.

    tree_checker.py PID     the machine whose box (or console) this is

A tree is looked at while nobody changes it: between two updates, or by the level protocol
(`at_rest`).
"""
import collections
import json
import os
import re
import struct
import sys
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent.parent
LAYOUTS = Path(os.environ.get("APMP_LAYOUTS", TOP / "tests/golden/layouts.json"))

with open(LAYOUTS, encoding="ascii") as _dump:
    _DUMP = json.load(_dump)
CONSTANT = _DUMP["constants"]
OP = _DUMP["enumerations"]["apmp_call_op"]
TYPE = _DUMP["enumerations"]["gct_node_type"]
TYPE_NAME = {number: name for name, number in TYPE.items()}

CODES = {"uint8_t": "B", "uint16_t": "H", "uint32_t": "I", "int32_t": "i", "uint64_t": "Q"}
ALIGN = CONSTANT["GCT_ALIGN"]
PAGE = CONSTANT["APMP_PAGE_SIZE"]
GRANULE = CONSTANT["APMP_GRANULE"]
NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,30}\Z")
UNLOCKED = 2**64 - 1
SOFTWARE = (TYPE["community"], TYPE["partition"])


def flag(word, name):
    return bool(word & CONSTANT[name])


class Shape:
    """One structure of the dump, as named tuples of its plain fields; hd is flattened into it."""

    def __init__(self, name, hd=None):
        code, fields = "<", list(hd.fields) if hd else []
        at = hd.size if hd else 0
        code += hd.codes if hd else ""
        for field in _DUMP["structures"][name]["fields"]:
            if hd and field["name"] == "hd":
                continue
            plain = CODES.get(field["type"].replace("_Atomic ", ""))
            assert field["offset"] == at, (name, field)
            at += field["size"]
            if plain and "count" not in field:
                code += plain
                fields.append(field["name"])
            elif field["type"] == "char":
                code += f"{field['size']}s"
                fields.append(field["name"])
            else:
                code += f"{field['size']}x"
        self.codes, self.fields, self.size = code[1:], fields, at
        self._struct = struct.Struct(code)
        self._make = collections.namedtuple(name, fields)._make
        assert self._struct.size == at == _DUMP["structures"][name]["size"], name

    def read(self, data, at):
        return self._make(self._struct.unpack_from(data, at))

    @staticmethod
    def offset(name, field):
        return next(f["offset"] for f in _DUMP["structures"][name]["fields"]
                    if f["name"] == field)


HEADER = Shape("gct_header")
NODE = Shape("gct_node")
ROOT = Shape("gct_root_node", NODE)
BINDING = Shape("gct_binding")
COMMUNITY = Shape("gct_community_node", NODE)
PARTITION = Shape("gct_partition_node", NODE)
MEM_INFO = Shape("gct_mem_info")
MEM_DESC = Shape("gct_mem_desc")
MEM_DESC_NODE = Shape("gct_mem_desc_node", NODE)
HWRPB_SLOT = Shape("hwrpb_slot")
HWRPB = Shape("hwrpb")

EXTENDED = {TYPE["root"]: ROOT, TYPE["community"]: COMMUNITY, TYPE["partition"]: PARTITION,
            TYPE["memory_descriptor"]: MEM_DESC_NODE}
FIRST_PARTITION_OFFSET = Shape.offset("gct_mem_desc_node", "mem_info")
MAX_PARTITIONS = CONSTANT["APMP_MAX_PARTITIONS"]

Binding = collections.namedtuple("Binding", "parent config affinity")


class Broken(Exception):
    """Bytes that can't be read as a tree at all."""


def text(field):
    return field.split(b"\0")[0].decode("ascii", "backslashreplace")


class Tree:
    """A copy of the tree's memory, read as far as it goes; what stops that is Broken. The copy may
    end with what is in use (first_free)."""

    def __init__(self, data):
        self.data = data
        if len(data) < HEADER.size + ROOT.size:
            raise Broken(f"{len(data)} bytes are no tree")
        self.header = HEADER.read(data, 0)
        self.size = self.header.size - HEADER.size
        first_free = ROOT.read(data, HEADER.size).first_free
        if not ROOT.size <= first_free <= min(self.size, len(data) - HEADER.size):
            raise Broken(f"{self.header.size} bytes, used up to {first_free}, of {len(data)}")
        self.root = self.node(0)
        if self.root.type != TYPE["root"]:
            raise Broken("handle 0 is no root")
        self.bindings = self._bindings()
        self.nodes = {}      # handle: node, in preorder
        self.parents = {}    # handle: handle by which it was reached
        self._walk()
        self.fragments = {handle: self._fragments(handle, node)
                          for handle, node in self.nodes.items()
                          if node.type == TYPE["memory_descriptor"]
                          and not flag(node.node_flags, "NODE_HW_TEMPLATE")}
        self.partition_array = self._array(self.root.partitions)
        self.community_array = self._array(self.root.communities)
        self.lookaside = self._lookaside()

    def node(self, handle):
        """The node at this handle, with all of its fields."""
        end = len(self.data) - HEADER.size
        if handle % ALIGN or not 0 <= handle <= end - NODE.size:
            raise Broken(f"handle {handle} is none")
        node = NODE.read(self.data, HEADER.size + handle)
        if node.magic != CONSTANT["GCT_MAGIC"]:
            raise Broken(f"no node at {handle}")
        shape = EXTENDED.get(node.type)
        if shape and node.size >= shape.size and handle <= end - shape.size:
            return shape.read(self.data, HEADER.size + handle)
        return node

    def _walk(self):
        """Every node that can be reached from the root, once."""
        waiting = [(0, None)]
        while waiting:
            handle, parent = waiting.pop()
            if handle in self.nodes:
                raise Broken(f"node {handle} is met twice")
            node = self.node(handle)
            self.nodes[handle], self.parents[handle] = node, parent
            if node.next_sib:
                waiting.append((node.next_sib, parent))
            if node.child:
                waiting.append((node.child, handle))

    def _array(self, at):
        if at % 4 or not 0 < at <= self.root.first_free - 4 * MAX_PARTITIONS:
            raise Broken(f"an array at {at}")
        return struct.unpack_from(f"<{MAX_PARTITIONS}i", self.data, HEADER.size + at)

    def _bindings(self):
        found, at = {}, self.root.bindings
        while 0 < at <= self.root.first_free - BINDING.size:
            entry = BINDING.read(self.data, HEADER.size + at)
            if not entry.node_type:
                return found
            found[entry.node_type] = Binding(entry.parent_type, entry.config_type,
                                             entry.affinity_type)
            at += BINDING.size
        raise Broken("the bindings have no end")

    def _fragments(self, handle, node):
        info = MEM_INFO.read(self.data, HEADER.size + handle + FIRST_PARTITION_OFFSET)
        at = handle + node.mem_frag
        if (info.desc_count > self.root.max_fragments or at % 8
                or not 0 < at <= self.root.first_free - info.desc_count * MEM_DESC.size):
            raise Broken(f"memory descriptor {handle}: {info.desc_count} fragments at {at}")
        return info, [MEM_DESC.read(self.data, HEADER.size + at + i * MEM_DESC.size)
                      for i in range(info.desc_count)]

    def _lookaside(self):
        """Handles of deleted software nodes; the list goes on through `reserved`."""
        found, at = [], self.root.lookaside
        while at:
            if at in found:
                raise Broken(f"the lookaside list meets {at} twice")
            found.append(at)
            at = self.node(at).reserved
        return found

    def of_type(self, name):
        """{handle: node} of what is not the template's."""
        return {handle: node for handle, node in self.nodes.items() if node.type == TYPE[name]
                and not flag(node.node_flags, "NODE_HW_TEMPLATE")}

    @property
    def level(self):
        return self.root.current_level

    @property
    def at_rest(self):
        return self.root.current_level == self.root.transient_level

    def community_of(self, handle):
        """The community of a partition or community; None where it is in none."""
        node = self.nodes.get(handle)
        if node is None or node.type == TYPE["community"]:
            return handle if node is not None else None
        parent = self.nodes.get(node.parent)
        return node.parent if parent and parent.type == TYPE["community"] else None


class Check:
    """All that is wrong with one tree; wrong is a list of sentences."""

    def __init__(self, tree, hwrpbs=()):
        self.tree = tree
        self.wrong = []
        for rule in (self.levels, self.shape, self.types, self.ids, self.software, self.lookaside,
                     self.owners, self.chains, self.cpus, self.memory, self.pool):
            rule()
        self.hwrpbs(hwrpbs)

    def say(self, sentence):
        self.wrong.append(sentence)

    def called(self, handle):
        """What people call a node."""
        node = self.tree.nodes.get(handle)
        if node is None:
            return f"nothing ({handle})"
        if node.type in SOFTWARE:
            return f'{TYPE_NAME[node.type]} "{text(node.name)}"'
        return f"{TYPE_NAME.get(node.type, node.type)} {node.id:#x}"

    def levels(self):
        """[0117], [0085]"""
        root = self.tree.root
        if not self.tree.at_rest:
            self.say(f"an update is open: level {root.current_level}, then "
                     f"{root.transient_level}")
        holder = root.lock
        if holder != UNLOCKED and (holder >= MAX_PARTITIONS
                                   or not self.tree.partition_array[holder]):
            self.say(f"the tree is locked by {holder:#x}, which is no partition")

    def shape(self):
        """Siblings and parents agree both ways; sizes [0082]; page aligned [0080]."""
        nodes = self.tree.nodes
        if self.tree.header.size % PAGE:
            self.say("its size is no multiple of the page")
        for handle, node in nodes.items():
            parent = self.tree.parents[handle] or 0
            if node.parent != parent:
                self.say(f"{self.called(handle)} says that {self.called(node.parent)} is its "
                         f"parent, and is a child of {self.called(parent)}")
            if node.size % ALIGN or node.size < NODE.size:
                self.say(f"{self.called(handle)} has {node.size} bytes")
            if node.type in EXTENDED and not flag(node.node_flags, "NODE_HW_TEMPLATE") \
                    and node.size < EXTENDED[node.type].size:
                self.say(f"{self.called(handle)} is too small for its type")
            if node.next_sib and nodes[node.next_sib].prev_sib != handle:
                self.say(f"the sibling after {self.called(handle)} does not know it")
            if not parent and node.prev_sib and handle in (0, nodes[0].child):
                self.say(f"{self.called(handle)} has one before it")
            if node.child and nodes[node.child].prev_sib:
                self.say(f"the first child of {self.called(handle)} has one before it")

    def types(self):
        """What stands below what, and is configured with what: the bindings [0073, 0085]."""
        nodes = self.tree.nodes
        branches = [nodes[handle].type for handle in nodes if self.tree.parents[handle] == 0]
        if branches != [TYPE["hardware_root"], TYPE["software_root"], TYPE["template_root"]]:
            self.say(f"the branches of the root are {branches}")
        for handle, node in nodes.items():
            if flag(node.node_flags, "NODE_HW_TEMPLATE"):
                if nodes[self.tree.parents[handle]].type != TYPE["template_root"]:
                    self.say(f"template node {handle} is outside of the template")
            elif node.type in self.tree.bindings:
                self._bound_as_its_type(handle, node, self.tree.bindings[node.type])
            elif node.type > TYPE["partition"] or node.type not in TYPE_NAME:
                self.say(f"node {handle} has type {node.type}, of which the bindings say nothing")

    def _bound_as_its_type(self, handle, node, binding):
        for word, at, wanted in (("config", node.config, binding.config),
                                 ("affinity", node.affinity, binding.affinity)):
            if at not in self.ancestors(handle) or self.tree.nodes[at].type != wanted:
                self.say(f"{self.called(handle)}: {word} is {self.called(at)}")
        if self.tree.nodes[self.tree.parents[handle]].type != binding.parent:
            self.say(f"{self.called(handle)} is below {self.called(self.tree.parents[handle])}")

    def ancestors(self, handle):
        chain = []
        while handle:
            handle = self.tree.parents[handle]
            chain.append(handle)
        return chain

    def ids(self):
        """[0070], [0083]: unique for a type."""
        seen = {}
        for handle, node in self.tree.nodes.items():
            key = (node.type, node.subtype if node.type != TYPE["cpu"] else 0, node.id)
            if node.type <= TYPE["template_root"] or \
                    flag(node.node_flags, "NODE_HW_TEMPLATE"):
                continue
            if key in seen:
                self.say(f"{self.called(seen[key])} and {self.called(handle)} have one id")
            seen[key] = handle

    def software(self):
        """Partitions, communities and their arrays [0071, 0085, 0087]."""
        tree = self.tree
        for name, array in (("partition", tree.partition_array),
                            ("community", tree.community_array)):
            found, names = tree.of_type(name), collections.Counter()
            by_id = {node.id: handle for handle, node in found.items()}
            for number, handle in enumerate(array):
                if (handle or None) != by_id.get(number):
                    self.say(f"{name} {number} is at {by_id.get(number)}, and the array says "
                             f"{handle}")
            for handle, node in found.items():
                names[text(node.name)] += 1
                if node.id >= min(tree.root.max_platform_partition, MAX_PARTITIONS):
                    self.say(f"{self.called(handle)} has id {node.id}")
                if not NAME.match(text(node.name)):
                    self.say(f"{self.called(handle)}: a bad name")
                if node.owner != node.parent or flag(node.node_flags, "NODE_UNAVAILABLE"):
                    self.say(f"{self.called(handle)} is not wholly there: owner {node.owner}, "
                             f"flags {node.node_flags:#x}")
            for twice in (name for name, count in names.items() if count > 1):
                self.say(f'{name} "{twice}" is there twice')
            if len(found) > tree.root.max_partition:
                self.say(f"there are {len(found)} of type {name}")
        self.partitions()

    def partitions(self):
        blocks = collections.Counter()
        for handle, node in self.tree.of_type("partition").items():
            blocks[node.hwrpb] += 1
            if node.fenced > node.incarnation:
                self.say(f"{self.called(handle)}: incarnation {node.fenced} is fenced, the last "
                         f"was {node.incarnation}")
            if flag(node.node_flags, "NODE_INITIALIZED") and node.fenced >= node.incarnation:
                self.say(f"{self.called(handle)} is initialized and has no life")
            above = self.tree.parents[handle]
            if self.tree.nodes[above].type not in (TYPE["software_root"], TYPE["community"]):
                self.say(f"{self.called(handle)} is below {self.called(above)}")
        if any(count > 1 or not block for block, count in blocks.items()):
            self.say(f"HWRPBs of partitions: {dict(blocks)}")

    def lookaside(self):
        """Deleted, and nobody's [0116]."""
        tree = self.tree
        for handle in tree.lookaside:
            node = tree.node(handle)
            if handle in tree.nodes:
                self.say(f"{self.called(handle)} is on the lookaside list")
            if node.type not in SOFTWARE or not flag(node.node_flags, "NODE_UNAVAILABLE"):
                self.say(f"node {handle} of type {node.type}, flags {node.node_flags:#x}, is on "
                         "the lookaside list")
            if node.owner or node.current_owner:
                self.say(f"deleted node {handle} has an owner")
            if handle in tree.partition_array or handle in tree.community_array:
                self.say(f"deleted node {handle} is in an array")

    def owners(self):
        """Whoever owns is there, and may own such a thing [0072, 0092]."""
        for handle, node in self.tree.nodes.items():
            if node.type in SOFTWARE or node.type <= TYPE["template_root"]:
                if node.current_owner or (node.owner and node.type not in SOFTWARE):
                    self.say(f"{self.called(handle)} has an owner")
                continue
            for word, owner in (("owner", node.owner), ("current_owner", node.current_owner)):
                if not owner:
                    continue
                if owner not in self.tree.nodes or self.tree.nodes[owner].type not in SOFTWARE:
                    self.say(f"{self.called(handle)}: its {word} is {self.called(owner)}")
                elif (node.type in (TYPE["cpu"], TYPE["memory_controller"])
                      and self.tree.nodes[owner].type == TYPE["community"]):
                    self.say(f"{self.called(handle)} is a community's")
                elif flag(node.node_flags, "NODE_UNAVAILABLE"):
                    self.say(f"{self.called(handle)} is not available and has an {word}")
                elif flag(node.node_flags, "NODE_HW_TEMPLATE"):
                    self.say(f"template node {handle} has an {word}")

    def chains(self):
        """Bound nodes have the owner of those above them, up to the config node [0101, 0193]; below
        what is a community's there is only its own and its partitions' [0193, 0195]."""
        tree = self.tree
        for handle, node in tree.nodes.items():
            if node.type not in tree.bindings or flag(node.node_flags, "NODE_HW_TEMPLATE"):
                continue
            if tree.nodes.get(node.config, node).type != TYPE["hardware_root"]:
                self._one_owner(handle, node)
            for above in self.ancestors(handle):
                owner = tree.nodes[above].owner
                if (owner and tree.nodes[above].type in tree.bindings and node.owner
                        and owner in tree.nodes
                        and tree.nodes[owner].type == TYPE["community"]
                        and tree.community_of(node.owner) != owner):
                    self.say(f"{self.called(handle)} is {self.called(node.owner)}'s, below "
                             f"{self.called(above)} of {self.called(owner)}")

    def _one_owner(self, handle, node):
        tree = self.tree
        for above in self.ancestors(handle):
            owner = tree.nodes[above].owner
            shared = owner in tree.nodes and tree.nodes[owner].type == TYPE["community"]
            if node.owner != owner and not shared:
                self.say(f"{self.called(handle)} is {self.called(node.owner)}'s, "
                         f"{self.called(above)} above it {self.called(owner)}'s")
            if above == node.config:
                return

    def cpus(self):
        """A CPU runs in one partition, each life has one primary [0090, 0106]."""
        tree = self.tree
        primaries = collections.Counter()
        for handle, node in tree.of_type("cpu").items():
            at = tree.nodes.get(node.current_owner)
            if node.current_owner and (not at or at.type != TYPE["partition"]):
                self.say(f"{self.called(handle)} runs in {self.called(node.current_owner)}")
            if flag(node.node_flags, "NODE_PRIMARY"):
                primaries[node.current_owner] += 1
        for handle, node in tree.of_type("partition").items():
            wanted = 1 if flag(node.node_flags, "NODE_INITIALIZED") else 0
            if primaries[handle] != wanted:
                self.say(f"{self.called(handle)} has {primaries[handle]} primary CPUs, flags "
                         f"{node.node_flags:#x}")

    def memory(self):
        """Fragments tile their descriptor, and are owned as it allows [0094-0097]."""
        for handle, (info, fragments) in self.tree.fragments.items():
            at = info.base_pa
            before = None
            for f in sorted(fragments):
                if f.pa != at:
                    self.say(f"{self.called(handle)}: a fragment at {f.pa:#x}, wanted {at:#x}")
                if not f.size or f.size % GRANULE or f.pa % GRANULE:
                    self.say(f"{self.called(handle)}: {f.size:#x} bytes at {f.pa:#x}")
                if before and not any((before.mem_owner, before.mem_current_owner,
                                       f.mem_owner, f.mem_current_owner)):
                    self.say(f"{self.called(handle)}: two unowned fragments meet at {f.pa:#x}")
                self._fragment_owner(handle, f)
                at, before = f.pa + f.size, f
            if at != info.base_pa + info.base_size:
                self.say(f"{self.called(handle)}: its fragments end at {at:#x} of "
                         f"{info.base_pa + info.base_size:#x}")

    def _fragment_owner(self, desc, f):
        tree = self.tree
        shared, private = (flag(f.mem_flags, name) for name in ("GCT_MEM_SHARED",
                                                                "GCT_MEM_PRIVATE"))
        where = f"{self.called(desc)}, fragment {f.pa:#x}"
        for owner in (f.mem_owner, f.mem_current_owner):
            if not owner:
                continue
            node = tree.nodes.get(owner)
            if not node or node.type not in SOFTWARE:
                self.say(f"{where}: its owner is {self.called(owner)}")
            elif shared != (node.type == TYPE["community"]) or shared == private:
                self.say(f"{where}: flags {f.mem_flags:#x} for {self.called(owner)}")
            else:
                self._descriptor_allows(where, desc, owner, f.mem_owner)
        if not f.mem_owner and not f.mem_current_owner and f.mem_flags:
            self.say(f"{where}: flags {f.mem_flags:#x} of nobody")

    def _descriptor_allows(self, where, desc, user, owner):
        """[0096, 0097]; what only waits for a reboot holds nobody back."""
        tree = self.tree
        its = tree.nodes[desc].owner
        subsystem = tree.nodes[tree.parents[desc]].owner
        if not owner:
            return
        if its in tree.nodes and tree.nodes[its].type == TYPE["partition"] and user != its:
            self.say(f"{where} is {self.called(user)}'s, the descriptor {self.called(its)}'s")
        if tree.nodes[user].type == TYPE["community"] and (its != user or subsystem != user):
            self.say(f"{where} is shared, the descriptor is {self.called(its)}'s, the subsystem "
                     f"{self.called(subsystem)}'s")

    def pool(self):
        """Every byte up to first_free is somebody's, once [0085]."""
        tree, root = self.tree, self.tree.root
        if root.first_free + root.available != tree.size:
            self.say(f"the pool has {tree.size} bytes, {root.first_free} used and "
                     f"{root.available} free")
        extents = [(handle, node.size) for handle, node in tree.nodes.items()]
        extents += [(handle, tree.node(handle).size) for handle in tree.lookaside]
        extents += [(root.partitions, 4 * MAX_PARTITIONS), (root.communities, 4 * MAX_PARTITIONS),
                    (root.platform_name, CONSTANT["GCT_ALIGN"]),
                    (root.bindings, (len(tree.bindings) + 1) * BINDING.size)]
        for handle in tree.fragments:
            node = tree.nodes[handle]
            extents.append((handle + node.mem_frag, root.max_fragments * MEM_DESC.size))
            if node.tested:
                pages = tree.fragments[handle][0].base_size // PAGE
                extents.append((handle + node.tested, (pages + 7) // 8))
        end = 0
        for at, size in sorted(extents):
            if at != end:
                self.say(f"bytes {min(at, end)} to {max(at, end)} of the pool are "
                         f"{'nobody' if at > end else 'two owners'}'s")
            end = at + (size + ALIGN - 1) // ALIGN * ALIGN
        if end != root.first_free:
            self.say(f"the pool is used up to {end}, and first_free is {root.first_free}")

    def hwrpbs(self, blocks):
        """CPUs are available where they run, and nowhere else [0106, 0189]; id: bytes of HWRPB."""
        for number, data in dict(blocks).items():
            handle = self.tree.partition_array[number]
            if handle not in self.tree.nodes or \
                    not flag(self.tree.nodes[handle].node_flags, "NODE_INITIALIZED"):
                continue
            block = HWRPB.read(data, 0)
            life = self.tree.nodes[handle].incarnation << 16 | number + 1
            if block.unique != life or block.pa != self.tree.nodes[handle].hwrpb:
                self.say(f"{self.called(handle)}: its HWRPB is of {block.unique:#x}, wanted "
                         f"{life:#x}")
            for cpu in self.tree.of_type("cpu").values():
                slot = HWRPB_SLOT.read(data, block.slot_off + cpu.id * block.slot_size)
                if flag(slot.flags, "HWRPB_PA") != (cpu.current_owner == handle):
                    says = "" if slot.flags & CONSTANT["HWRPB_PA"] else "not "
                    self.say(f"CPU {cpu.id} is {says}"
                             f"available to {self.called(handle)}, and runs in "
                             f"{self.called(cpu.current_owner)}")


def check(data, hwrpbs=()):
    """What is wrong with the tree in these bytes, as sentences."""
    try:
        return Check(Tree(data), hwrpbs).wrong
    except Broken as error:
        return [str(error)]


class Memory:
    """The memories that a process of the machine keeps, by the names of their memfds."""

    def __init__(self, pid):
        self._files = collections.defaultdict(list)
        for link in Path(f"/proc/{pid}/fd").iterdir():
            try:
                name = re.match(r"/memfd:(\w+) ", os.readlink(link))
            except OSError:
                continue
            if name:
                self._files[name.group(1)].append(open(link, "rb", buffering=0))

    def close(self):
        for file in sum(self._files.values(), []):
            file.close()

    def tree(self):
        """As much of it as is in use."""
        fd = self._files["tree"][0].fileno()
        first_free = ROOT.read(os.pread(fd, ROOT.size, HEADER.size), 0).first_free
        return os.pread(fd, HEADER.size + max(first_free, ROOT.size), 0)

    def store(self, at, data):
        """Behind the console's back."""
        with open(f"/proc/self/fd/{self._files['tree'][0].fileno()}", "r+b", buffering=0) as file:
            os.pwrite(file.fileno(), data, at)

    def state(self, field, partition):
        """A word of what the console keeps of a partition."""
        one, all_of_them = "apmp_console_partition", "apmp_console_state"
        at = (Shape.offset(all_of_them, "partition") + Shape.offset(one, field)
              + partition * _DUMP["structures"][one]["size"])
        return struct.unpack("<Q", os.pread(self._files["state"][0].fileno(), 8, at))[0]

    def hwrpbs(self):
        """{partition: bytes} of those that have had a life."""
        found = {}
        for file in self._files["hwrpb"]:
            data = os.pread(file.fileno(), os.fstat(file.fileno()).st_size, 0)
            number = HWRPB.read(data, 0).unique & CONSTANT["APMP_IDENTITY_ID_MASK"]
            if number:
                found[number - 1] = data
        return found


def main():
    memory = Memory(int(sys.argv[1]))
    wrong = check(memory.tree(), memory.hwrpbs())
    print("\n".join(wrong or ["consistent"]))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
