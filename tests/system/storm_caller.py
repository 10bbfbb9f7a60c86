"""An instance of test_storm.py: it does nothing but ask its console, all sorts of things.

Started as apmp-instance: its channel is descriptor 3, its HWRPB descriptor 4; APMP_STORM names a
folder with the seed, and with a log for each life. A line of the log is one write, made before the
request is sent and after the answer has come:

    B PID IDENTITY                born
    A SEQ OP ARG0 ARG1 ARG2 TEXT  asks (TEXT as JSON)
    G SEQ                         asks it again: the console was restarted
    R SEQ ERROR REASON RET0 RET1  the answer
    X SENTENCE                    something that must not be
"""
import json
import mmap
import os
import random
import socket
import struct
import sys

FOLDER = os.environ["APMP_STORM"]
sys.path.insert(0, FOLDER)

import tree_checker as tc  # noqa: E402

REQUEST = struct.Struct("<QQII3Q64s")
REPLY = struct.Struct("<QiIQQ")
REPORT, LIMITS = tc.OP["report"], tc.OP["limits"]
HOMES = [f"p{number}" for number in range(8)]
PRIVATE = tc.CONSTANT["GCT_MEM_PRIVATE"]
SHARED = tc.CONSTANT["GCT_MEM_SHARED"]
BASE = tc.CONSTANT["GCT_MEM_BASE"]
GRANULE = tc.GRANULE
INITIALIZED = tc.CONSTANT["NODE_INITIALIZED"]
PRIMARY = tc.CONSTANT["NODE_PRIMARY"]
BOOTED, JOINED = 1, 5  # enum apmp_report
READS_MAX = 1000  # looks at a tree that is never at rest
CONTEXT = tc.Shape.offset("hwrpb_slot", "context")


class Caller:
    def __init__(self):
        self.channel = socket.socket(fileno=3)
        self.hwrpb = mmap.mmap(4, 0)
        block = tc.HWRPB.read(self.hwrpb, 0)
        self.block, self.identity, self.pa = block, block.unique, block.pa
        self.number = (block.unique & tc.CONSTANT["APMP_IDENTITY_ID_MASK"]) - 1
        self.seq = self.number + 1 << 48 | block.unique >> 16 << 24
        self.log = os.open(f"{FOLDER}/log/{self.identity:x}",
                           os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        with open(f"{FOLDER}/seed", encoding="ascii") as seed:
            self.random = random.Random(f"{seed.read()} {self.identity}")
        self.note(f"B {os.getpid()} {self.identity}")
        self.locked = False
        self.memory = None

    def note(self, line):
        os.write(self.log, f"{line}\n".encode())

    # What it sends.

    def report(self, what, about):
        self.channel.send(REQUEST.pack(0, self.identity, REPORT, 0, what, about, 0, b""))

    def ask(self, op, arg=(), text=b"", identity=None):
        """One callback, until it is answered: error, reason, ret0, ret1, descriptors."""
        self.seq += 1
        arg = [*arg, 0, 0, 0][:3]
        request = REQUEST.pack(self.seq, identity or self.identity, op, self.block.primary,
                               *(value & 2**64 - 1 for value in arg), text)
        self.note(f"A {self.seq} {op} {' '.join(str(value & 2**64 - 1) for value in arg)} "
                  f"{json.dumps(text.decode('latin-1'))}")
        self.channel.send(request)
        while True:
            data, fds, _, _ = socket.recv_fds(self.channel, 4096, 4)
            if not data:
                sys.exit(0)
            seq, error, reason, *ret = REPLY.unpack(data)
            if seq == self.seq:
                self.note(f"R {seq} {error} {reason} {ret[0]} {ret[1]}")
                if not error and op in (tc.OP["lock_tree"], tc.OP["unlock_tree"]):
                    self.locked = op == tc.OP["lock_tree"]
                return error, reason, *ret, fds
            for fd in fds:
                os.close(fd)
            if seq == 0:
                self.note(f"G {self.seq}")
                self.channel.send(request)

    def map_tree(self):
        """[0081]: the first page, its size, the whole."""
        for size in (tc.PAGE, None):
            size = size or tc.HEADER.read(self.memory, 0).size
            error, _, offset, _, fds = self.ask(tc.OP["map"], (self.block.config, size))
            if error:
                sys.exit(f"the tree can't be mapped: {error}")
            self.memory = mmap.mmap(fds[0], size, prot=mmap.PROT_READ, offset=offset)
            os.close(fds[0])

    def read_tree(self):
        """The tree at rest, by the level protocol; None: nobody was able to read it."""
        for _ in range(READS_MAX):
            before = tc.ROOT.read(self.memory, tc.HEADER.size)
            data = self.memory[:tc.HEADER.size + before.first_free]
            after = tc.ROOT.read(self.memory, tc.HEADER.size)
            if (before.current_level == before.transient_level == after.current_level
                    == after.transient_level):
                try:
                    return tc.Tree(data)
                except tc.Broken as error:
                    self.note(f"X a torn tree at level {before.current_level}: {error}")
                    return None
        return None

    # What it asks for.

    def run(self):
        self.map_tree()
        self.report(BOOTED, self.identity)
        self.report(JOINED, self.identity)  # or power on would wait for that
        with open(f"{FOLDER}/go", "rb"):
            pass  # the test has opened the other end
        while not os.path.exists(f"{FOLDER}/stop"):
            tree = self.read_tree()
            self.me = tree.partition_array[self.number] if tree else 0
            dice = self.random.random()
            if self.locked and self.random.random() < .5:
                self.ask(tc.OP["unlock_tree"])
            elif not self.me or dice < .2:
                self.garbage(tree)
            elif dice < .6:
                self.sensible(tree)
            else:
                self.mend(tree)

    def garbage(self, tree):
        """Numbers that may mean anything, for any operation."""
        any_handle = self.random.choice(list(tree.nodes)) if tree else 0
        numbers = [0, 1, 2**63, 2**64 - 1, any_handle, any_handle + 4, any_handle + 2**32,
                   self.random.getrandbits(64), self.random.getrandbits(30), 1 << 30, GRANULE]
        text = self.random.choice([b"", b"x" * 64, b"UPPER", b"a b", b"\xff\0a", b"p1", b"-",
                                   b"n%d" % self.random.randrange(99), os.urandom(64)])
        identity = self.identity
        if self.random.random() < .1:
            identity = self.random.choice([1, 2**64 - 1, self.identity ^ 1 << 16])
        op = self.random.choice([*range(2, 24), 2**32 - 1])
        if op == tc.OP["report"]:  # has no answer; nor has what is no request
            self.report(self.random.randrange(6, 20), self.random.choice(numbers))
            self.channel.send(os.urandom(self.random.choice([1, REQUEST.size - 1, 999])))
        if op in (tc.OP["report"], tc.OP["exit"]):
            op = 0
        self.ask(op, [self.random.choice(numbers) for _ in range(3)], text, identity)

    def sensible(self, tree):
        """What an instance might well ask, and get or not."""
        ask = self.random.choice([
            self.community, self.community, self.delete, self.extra, self.give_up, self.give_up,
            self.take, self.take, self.hand_over, self.hand_over, self.share, self.memory_back,
            self.lock, self.migrate, self.migrate, self.migrate, self.limits, self.identify,
            self.database, self.remove, self.halt])
        ask(tree)

    def pick(self, things):
        things = list(things)
        return self.random.choice(things) if things else 0

    def partitions(self, tree, initialized=None):
        return [handle for handle, node in tree.of_type("partition").items()
                if initialized in (None, bool(node.node_flags & INITIALIZED))]

    def free(self, tree, kind):
        return [handle for handle, node in tree.of_type(kind).items()
                if not node.owner and not node.current_owner]

    def mine(self, tree, kind):
        return [handle for handle, node in tree.of_type(kind).items() if node.owner == self.me]

    def community(self, tree):
        if self.random.random() < .5:
            self.ask(tc.OP["create_community"], (), b"c%d" % self.random.randrange(4))
        else:
            self.ask(tc.OP["delete_community"], (self.pick(tree.of_type("community")),))

    def delete(self, tree):
        self.ask(tc.OP["delete_partition"], (self.pick(self.partitions(tree, False)),))

    def extra(self, tree):
        """A partition that moves between communities, and never runs."""
        extras = [handle for handle, node in tree.of_type("partition").items()
                  if tc.text(node.name).startswith("x")]
        if extras and self.random.random() < .7:
            self.ask(tc.OP["set_community"],
                     (self.pick(extras), self.pick([0, *tree.of_type("community")])))
        else:
            self.ask(tc.OP["create_partition"], (self.pick([0, tree.nodes[self.me].parent]),),
                     b"x%d" % self.random.randrange(3))

    def give_up(self, tree):
        kind = self.random.choice(["cpu", "bus", "iop", "memory_subsystem", "sbb"])
        node = self.pick(self.mine(tree, kind)) or self.pick(tree.of_type(kind))
        self.ask(tc.OP["deassign"], (node, self.random.randrange(2)))

    def take(self, tree):
        kind = self.random.choice(["cpu", "cpu", "bus", "iop", "memory_descriptor", "sbb"])
        owner = self.pick([self.me, tree.nodes[self.me].parent, *self.partitions(tree)])
        self.ask(tc.OP["assign"], (self.pick(self.free(tree, kind)) or
                                   self.pick(tree.of_type(kind)), owner))

    def hand_over(self, tree):
        kind = self.random.choice(["cpu", "bus", "iop"])
        self.ask(tc.OP["reassign"], (self.pick(self.mine(tree, kind)) or
                                     self.pick(tree.of_type(kind)),
                                     self.pick(self.partitions(tree))))

    def share(self, tree):
        """Memory for the community, or more of it for somebody."""
        size = GRANULE * self.random.randrange(1, 4)
        free = [f.pa for _, fragments in tree.fragments.values() for f in fragments
                if not f.mem_owner and not f.mem_current_owner]
        pa = self.pick([0, 0, *free])
        if self.random.random() < .4:
            owner, flags = tree.nodes[self.me].parent, SHARED
        else:
            owner, flags = self.pick(self.partitions(tree)), PRIVATE
        self.ask(tc.OP["assign_memory"], (pa, size, owner | flags << 32))

    def memory_back(self, tree):
        owners = [self.me, tree.nodes[self.me].parent, *self.partitions(tree, False)]
        pieces = [f for _, fragments in tree.fragments.values() for f in fragments
                  if f.mem_owner in owners]
        if not pieces:
            return self.limits(tree)
        f = self.random.choice(pieces)
        granules = f.size // GRANULE
        first = self.random.randrange(granules)
        size = self.random.randrange(1, granules - first + 1)
        return self.ask(tc.OP["deassign_memory"], (f.pa + first * GRANULE, size * GRANULE,
                                                   self.random.randrange(2)))

    def lock(self, tree):
        if self.random.random() < .5:  # or everybody else would be refused most of the time
            return self.hand_over(tree)
        return self.ask(tc.OP["lock_tree"])

    def migrate(self, tree):
        """PAL MIGRATE on a CPU that nobody runs: its context is saved before that."""
        cpus = [node.id for node in tree.of_type("cpu").values()
                if node.current_owner == self.me and not node.node_flags & PRIMARY]
        if not cpus:
            return self.take(tree)
        cpu = self.random.choice(cpus)
        at = self.block.slot_off + cpu * self.block.slot_size + CONTEXT
        self.hwrpb[at:at + 8] = struct.pack("<Q", self.identity)
        to = self.pick(self.partitions(tree, True))
        return self.ask(tc.OP["migrate_cpu"], (cpu, tree.nodes[to].id, self.random.randrange(2)))

    def limits(self, _tree):
        self.ask(LIMITS, (self.random.randrange(12),))

    def identify(self, _tree):
        self.ask(tc.OP["set_id"], (self.random.getrandbits(64),))

    def database(self, tree):
        community = tree.nodes[tree.nodes[self.me].parent]
        if community.type == tc.TYPE["community"]:
            info = community.apmpdb_info
            self.ask(tc.OP["set_apmpdb_info"],  # as it is [0280] step (4), or what is no memory
                     (info, self.pick([info, self.random.getrandbits(20)])))

    def remove(self, tree):
        """Judges another one dead; seldom one that is not."""
        at = self.pick(self.partitions(tree))
        node = tree.nodes[at]
        if self.random.random() < .7 or at == self.me:
            return self.ask(tc.OP["remove_instance"], (node.fenced << 16 | node.id + 1,))
        return self.ask(tc.OP["remove_instance"], (node.incarnation << 16 | node.id + 1,))

    def halt(self, _tree):
        if self.random.random() < .2:
            self.ask(tc.OP["exit"], (self.random.randrange(1, 3),))
            sys.exit(0)
        self.limits(None)

    def mend(self, tree):
        """Something that is missing until all of the homes run again."""
        names = {tc.text(node.name): handle
                 for handle, node in tree.of_type("partition").items()}
        lab = tree.nodes[self.me].parent
        missing = [name for name in HOMES if name not in names]
        down = [names[name] for name in HOMES if name in names
                and not tree.nodes[names[name]].node_flags & INITIALIZED]
        self.random.shuffle(down)
        if missing and self.random.random() < .7:
            return self.ask(tc.OP["create_partition"], (lab,), self.pick(missing).encode())
        for handle in down:
            if self.complete(tree, handle):
                return self.ask(tc.OP["start_partition"], (handle,))
            return None
        return self.sensible(tree)

    def complete(self, tree, handle):
        """Whether it has what it needs; else one thing more is asked for, for it."""
        for kind in ("cpu", "bus"):
            if not any(node.owner == handle for node in tree.of_type(kind).values()):
                self.find(tree, kind, handle)
                return False
        base = sum(f.size for _, fragments in tree.fragments.values() for f in fragments
                   if f.mem_owner == handle and f.mem_flags & BASE)
        if base >= 2 * GRANULE:
            return True
        error, *_ = self.ask(tc.OP["assign_memory"],
                             (0, 2 * GRANULE, handle | (PRIVATE | BASE) << 32))
        if error:
            self.memory_back(tree)
        return False

    def find(self, tree, kind, handle):
        """One that is free; else one of ours that we can spare, or of one that does not run."""
        free, mine = self.free(tree, kind), self.mine(tree, kind)
        idle = [at for at, node in tree.of_type(kind).items() if node.owner != handle and
                node.owner in self.partitions(tree, False)]
        spare = [at for at in mine if not tree.nodes[at].node_flags & PRIMARY]
        if free:
            self.ask(tc.OP["assign"], (self.pick(free), handle))
        elif len(mine) > 1 and spare:
            self.ask(tc.OP["reassign"], (self.pick(spare), handle))
        elif idle:
            self.ask(tc.OP["deassign"], (self.pick(idle), 1))
        else:
            self.give_up(tree)


if __name__ == "__main__":
    Caller().run()
