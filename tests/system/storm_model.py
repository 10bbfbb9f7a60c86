"""What each request may do to the configuration, for test_storm.py: an update is compared with what
was asked and has no answer yet, and must be just what one of these requests does.

`facts` is what a tree says, `explained` which of the changed facts a request accounts for. Nothing
here knows who may ask for what: that is judged by what the console answers.
"""
import collections

import tree_checker as tc

OP = tc.OP
NAME_OF = {number: name for name, number in OP.items()}
GRANULE = tc.GRANULE
INITIALIZED = tc.CONSTANT["NODE_INITIALIZED"]
TEMPLATE = tc.CONSTANT["NODE_HW_TEMPLATE"]
MEMORY_TYPES = {tc.TYPE[name] for name in ("memory_subsystem", "memory_controller",
                                           "memory_descriptor")}

# Answered when they are in non-volatile memory (shm/call.h); the owner that a migration changes
# gets there a write later.
DURABLE = {OP[name] for name in (
    "create_community", "delete_community", "create_partition", "delete_partition",
    "set_community", "assign", "deassign", "reassign", "assign_memory", "deassign_memory")}

Request = collections.namedtuple("Request", "seq op arg text partition")
Node = collections.namedtuple("Node", "owner current flags type above")
Partition = collections.namedtuple("Partition", "id name parent incarnation flags id_field policy")


def facts(tree):
    """{what: value}: all that requests change."""
    found = {("lock",): tree.root.lock}
    for handle, node in tree.nodes.items():
        if node.type == tc.TYPE["partition"]:
            found["partition", handle] = Partition(
                node.id, tc.text(node.name), node.parent, node.incarnation, node.node_flags,
                node.id_field, node.policy)
        elif node.type == tc.TYPE["community"]:
            found["community", handle] = node.id, tc.text(node.name)
            found["database", handle] = node.apmpdb_info
        elif node.type > tc.TYPE["partition"]:
            above, chain = handle, []
            while above:
                above = tree.parents[above]
                chain.append(above)
            found["node", handle] = Node(node.owner, node.current_owner, node.node_flags,
                                         node.type, tuple(chain))
    for handle, (_, fragments) in tree.fragments.items():
        for f in fragments:
            for pa in range(f.pa, f.pa + f.size, GRANULE):
                found["memory", pa] = f.mem_owner, f.mem_current_owner, f.mem_flags, handle
    return found


def changed(before, after):
    """{what: (old, new)}; None for what was or is not there."""
    keys = {key for key, _ in before.items() ^ after.items()}
    return {key: (before.get(key), after.get(key)) for key in keys}


def configuration(tree):
    """What non-volatile memory keeps [0065], by names and numbers: handles and ids are of one power
    on."""
    def name(handle):
        node = tree.nodes.get(handle)
        return tc.text(node.name) if node and node.type in tc.SOFTWARE else None

    found = {}
    for handle, node in tree.nodes.items():
        if node.type == tc.TYPE["community"]:
            found["community", name(handle)] = True
        elif node.type == tc.TYPE["partition"]:
            found["partition", name(handle)] = name(node.parent), node.policy
        elif node.type > tc.TYPE["partition"] and not node.node_flags & TEMPLATE:
            found[node.type, node.id] = name(node.owner)
    for _, fragments in tree.fragments.values():
        for f in fragments:
            for pa in range(f.pa, f.pa + f.size, GRANULE):
                found["memory", pa] = name(f.mem_owner), f.mem_owner and f.mem_flags
    return found


def gave(update, request, ret):
    """Whether what the answer says is what the update made."""
    tree, keys = update.tree, update.keys
    if request.op == OP["create_partition"]:
        return tree.partition_array[ret[0]] == ret[1] and ("partition", ret[1]) in keys
    if request.op == OP["create_community"]:
        return tree.community_array[ret[0]] == ret[1] and ("community", ret[1]) in keys
    return request.op != OP["assign_memory"] or ("memory", ret[0]) in keys


def is_idle(tree, request):
    """Whether it asks for what is so already, so that there is nothing to be seen of it."""
    mine = tree.nodes.get(request.partition)
    if request.op == OP["set_id"]:
        return mine and not request.arg[1] and mine.id_field == request.arg[0]
    if request.op == OP["reset_buses"]:
        return any(node.id == request.arg[0] and not node.id_field
                   for node in tree.of_type("partition").values())
    if request.op == OP["migrate_cpu"]:  # the CPU has left this life before
        return any(node.id == request.arg[0] and node.current_owner != request.partition
                   for node in tree.of_type("cpu").values())
    return request.op == OP["set_apmpdb_info"] and request.arg[0] == request.arg[1]


class Change:
    """The difference between two trees, to be accounted for."""

    def __init__(self, before, after):
        self.before, self.after = before, after
        self.keys = changed(before, after)

    def of(self, kind):
        return {key[1]: pair for key, pair in self.keys.items() if key[0] == kind}

    def nodes(self, owner=None, current=None, flags=0):
        """Keys of the nodes whose owner, current_owner and flags changed, if at all, so that
        owner(old, new, handle) and current(old, new, handle) hold."""
        found = set()
        for handle, (old, new) in self.of("node").items():
            if (old and new and (old.flags ^ new.flags) & ~flags == 0
                    and (old.owner == new.owner or (owner and owner(old, new, handle)))
                    and (old.current == new.current or (current and current(old, new, handle)))):
                found.add(("node", handle))
        return found

    def memory(self, owner=None, current=None):
        """As nodes, of granules; their flags may follow."""
        found = set()
        for pa, (old, new) in self.of("memory").items():
            if (old and new and (old[0] == new[0] or (owner and owner(old[0], new[0], pa)))
                    and (old[1] == new[1] or (current and current(old[1], new[1], pa)))):
                found.add(("memory", pa))
        return found

    def account(self, request):
        """The keys that the request accounts for; empty: it has not been done."""
        handler = HANDLERS.get(request.op)
        return (handler(self, request) or set()) & set(self.keys) if handler else set()

    # What each request does, in the order of shm/call.h.

    def set_apmpdb_info(self, r):
        pairs = {("database", handle) for handle, pair in self.of("database").items()
                 if pair == (r.arg[0], r.arg[1])}
        mine = self.before.get(("partition", r.partition))
        return pairs & {("database", mine.parent)} if mine else set()

    def migrate_cpu(self, r):
        def leaves(old, new, _):
            return old.current == r.partition and new.current != r.partition

        def follows(old, new, _):
            return (not r.arg[2] & 1 and new.owner == new.current and old.current == r.partition
                    and (not old.owner or old.owner == old.current))  # not of one that is lent
        return self.nodes(follows, leaves)

    def create_community(self, r):
        new = {key for key in self.keys if key[0] in ("community", "database")
               and self.keys[key][0] is None and
               (self.after.get(("community", key[1])) or (0, 0))[1] == r.text}
        return new

    def delete_community(self, r):
        gone = ("community", r.arg[0])
        return self._delete(gone) | {("database", r.arg[0])} if gone in self.keys else set()

    def create_partition(self, r):
        for handle, (old, new) in self.of("partition").items():
            if (old is None and new.name == r.text and not new.flags and
                    new.policy == (r.arg[1] & 1) and
                    self._is_parent(new.parent, r.arg[0])):
                return {("partition", handle)}
        return set()

    def _is_parent(self, parent, community):
        return parent == community if community else ("community", parent) not in self.after

    def delete_partition(self, r):
        gone = ("partition", r.arg[0])
        return self._delete(gone) if gone in self.keys else set()

    def _delete(self, key):
        """Of what is gone nothing is owned or used any more; an empty subsystem is given up."""
        if self.keys[key][1] is not None:
            return set()

        def released(old, new, _):
            return not new.owner and (old.owner == key[1] or old.type in MEMORY_TYPES)

        def unused(old, new, _):
            return not new.current and (old.current == key[1] or old.type in MEMORY_TYPES)

        def freed(old, new, _):
            return old == key[1] and not new
        return {key} | self.nodes(released, unused) | self.memory(freed, freed)

    def start_partition(self, r):
        key = ("partition", r.arg[0])
        old, new = self.keys.get(key, (None, None))
        if not old or not new or new != old._replace(
                incarnation=old.incarnation + 1, flags=old.flags | INITIALIZED, id_field=0):
            return set()
        domain = {0, r.arg[0], old.parent}

        def used(old, new, _):
            return old.current in domain and new.current in domain

        def left(old, new, _):
            return not new.owner and old.type in MEMORY_TYPES

        def fragment(old, new, _):
            return old in domain and new in domain
        return ({key} | self.memory(None, fragment) |
                self.nodes(left, used, tc.CONSTANT["NODE_PRIMARY"]))

    def set_community(self, r):
        key = ("partition", r.arg[0])
        old, new = self.keys.get(key, (None, None))
        good = old and new and new == old._replace(parent=new.parent) and \
            self._is_parent(new.parent, r.arg[1])
        return {key} if good else set()

    def _below(self, handle, top):
        return handle == top or top in self.after["node", handle].above

    def assign(self, r):
        """[0101]; a CPU that nobody uses comes at once [0105]."""
        if not self._has_owner(r.arg[0], r.arg[1]):
            return set()

        def given(old, new, handle):
            return not old.owner and new.owner == r.arg[1] and self._below(handle, r.arg[0])

        def used(old, new, handle):
            return not old.current and new.current == r.arg[1] and self._below(handle, r.arg[0])
        return self.nodes(given, used)

    def _has_owner(self, handle, owner):
        pair = self.keys.get(("node", handle))
        return pair and pair[0] and pair[1] and pair[0].owner != pair[1].owner == owner

    def deassign(self, r):
        if not self._has_owner(r.arg[0], 0):
            return set()
        owner = self.before["node", r.arg[0]].owner

        def released(old, new, handle):
            return old.owner == owner and not new.owner and self._below(handle, r.arg[0])

        def unused(_, new, handle):
            return not new.current and self._below(handle, r.arg[0])
        return self.nodes(released, unused)

    def reassign(self, r):
        if not self._has_owner(r.arg[0], r.arg[1]):
            return set()
        owner = self.before["node", r.arg[0]].owner

        def given(old, new, handle):
            return (old.owner == owner and new.owner in (0, r.arg[1])
                    and self._below(handle, r.arg[0]))

        def used(_, new, handle):
            return new.current in (0, r.arg[1]) and self._below(handle, r.arg[0])
        return self.nodes(given, used)

    def assign_memory(self, r):
        owner, flags = r.arg[2] & 2**32 - 1, r.arg[2] >> 32
        granules = sorted(pa for pa, (old, new) in self.of("memory").items()
                          if old and new and old[:2] == (0, 0) and new[0] == owner
                          and new[1] in (0, owner) and new[2] & flags == flags)
        if not granules or not self._is_range(granules, r.arg[0] or granules[0], r.arg[1]):
            return set()
        desc = self.after["memory", granules[0]][3]
        subsystem = self.after["node", desc].above[0]
        takers = {owner, getattr(self.after.get(("partition", owner)), "parent", owner)}

        def along(old, new, handle):
            return (not old.owner and new.owner in takers and old.type in MEMORY_TYPES
                    and self._below(handle, subsystem))

        def used(old, new, handle):
            return (not old.current and new.current in takers and old.type in MEMORY_TYPES
                    and self._below(handle, subsystem))
        return {("memory", pa) for pa in granules} | self.nodes(along, used)

    @staticmethod
    def _is_range(granules, first, size):
        return (granules[0] == first and len(granules) * GRANULE == size
                == granules[-1] - first + GRANULE)

    def deassign_memory(self, r):
        granules = sorted(pa for pa, (old, new) in self.of("memory").items()
                          if old and new and old[0] and not new[0] and new[1] in (0, old[1]))
        if not granules or not self._is_range(granules, r.arg[0], r.arg[1]):
            return set()
        owner = self.before["memory", granules[0]][0]
        subsystem = self.after["node", self.after["memory", granules[0]][3]].above[0]

        def left(_, new, handle):
            return not new.owner and self._below(handle, subsystem)

        def unused(_, new, handle):
            return not new.current and self._below(handle, subsystem)
        return ({("memory", pa) for pa in granules} | self.nodes(left, unused) |
                {("database", handle) for handle, pair in self.of("database").items()
                 if handle == owner and pair[1] == 0})

    def set_id(self, r):
        key = ("partition", r.partition)
        old, new = self.keys.get(key, (None, None))
        if not old or not new:
            return set()
        value = new.id_field if r.arg[1] else r.arg[0]  # the next of its community, or this
        return {key} if new == old._replace(id_field=value) else set()

    def reset_buses(self, r):
        return {("partition", handle) for handle, (old, new) in self.of("partition").items()
                if old and new and old.id == r.arg[0] and new == old._replace(id_field=0)}

    def lock_tree(self, r):
        mine = self.after.get(("partition", r.partition))
        wanted = (tc.UNLOCKED, mine.id) if mine else None
        return {("lock",)} if self.keys.get(("lock",)) == wanted else set()

    def unlock_tree(self, r):
        mine = self.after.get(("partition", r.partition))
        wanted = (mine.id, tc.UNLOCKED) if mine else None
        return {("lock",)} if self.keys.get(("lock",)) == wanted else set()

    # What the console does by itself.

    def fenced(self, handle):
        """A life has ended: uninitialized, its CPUs run nowhere, its loans go home; what it used,
        and its community if it was the last of it, and nobody owns, is free."""
        key = ("partition", handle)
        old, new = self.keys.get(key, (None, None))
        if not old or not new or new != old._replace(flags=old.flags & ~INITIALIZED):
            return set()
        users = {handle, old.parent}
        freed = {pa: new[3] for pa, (old, new) in self.of("memory").items()
                 if old and new and not old[0] and old[1] in users and new[:2] == (0, 0)}
        empty = {self.after["node", desc].above[0] for desc in freed.values()}

        def left(_, new, handle):
            return not new.owner and any(self._below(handle, sub) for sub in empty)

        def stops(old, new, at):
            return (old.current == handle and new.current in (0, old.owner)
                    or not old.owner and old.current in users and not new.current
                    or not new.current and left(old, new, at))
        lock = {("lock",)} if self.keys.get(("lock",)) == (old.id, tc.UNLOCKED) else set()
        return ({key} | lock | {("memory", pa) for pa in freed}
                | self.nodes(left, stops, tc.CONSTANT["NODE_PRIMARY"]))

    def arrived(self):
        """CPUs that were in transit are back where somebody runs."""
        def back(old, new, _):
            return not old.current and new.current
        return self.nodes(None, back)


HANDLERS = {number: getattr(Change, name) for name, number in OP.items() if hasattr(Change, name)}
