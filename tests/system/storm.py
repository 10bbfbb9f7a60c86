"""The storm: a console that is stopped at its gate, what its callers have noted, the judge of each
update and the killer. See test_storm.py.
"""
import collections
import concurrent.futures
import errno
import itertools
import json
import os
import random
import select
import shutil
import signal
import socket
import struct
from pathlib import Path

import apmp
import storm_model as model
import tree_checker as tc

HERE = Path(__file__).resolve().parent

MESSAGE = struct.Struct("<QQiIQQ")
UPDATE = 1  # the kind of a stop; else it is before an answer
STORAGE = 35  # shm/reasons.def: the change is made, but could not be written to NVRAM

SPARE_CPUS, PARTITIONS = 4, 8
MACHINE = f"""\
machine: {{name}}
hardware:
  - sbb: 0
    cpus: {PARTITIONS}
    memory: 64M
    iops: [{{buses: [{", ".join(["{}"] * PARTITIONS)}]}}]
  - sbb: 1
    cpus: {SPARE_CPUS}
    memory: 32M
    iops: [{{buses: [{{}}, {{}}]}}]
communities:
  - {{name: lab, shared: 4M}}
partitions:
""" + "".join(f"  - {{name: p{n}, community: lab, cpus: [{n}], memory: 4M, "
              f'buses: ["0.0.{n}"], boot: yes}}\n' for n in range(PARTITIONS))

# Where the console dies; an update stores about twenty times, a deletion a hundred.
POINTS = ["update_begin", *(f"update_store:{n}" for n in (1, 2, 3, 5, 8, 13, 21, 34, 55)),
          "update_commit", "update_end", "form_508", "form_510", "pal_2206", "pal_2208",
          "pal_2210", "pal_2212", "pal_2214", "pal_2216", "con_2302", "migrate_908"]


class Gate:
    """The console, stopped at its gate; a new connection for each of its lives."""

    def __init__(self, path):
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._listener.bind(str(path))
        self._listener.listen()
        self._wire = None
        self.pid = None
        self.lives = 0

    def close(self):
        for sock in filter(None, (self._wire, self._listener)):
            sock.close()

    def next(self, timeout, until=None):
        """(kind, seq, error, reason, ret) of the next stop; None: none within the time, or until
        can be read."""
        while True:
            ready = select.select([self._wire or self._listener, *filter(None, [until])], [], [],
                                  timeout)[0]
            if not ready or until in ready:
                return None
            if self._wire is None:
                self._wire, _ = self._listener.accept()
                self.pid = struct.unpack("iII", self._wire.getsockopt(
                    socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]
                self.lives += 1
                continue
            try:
                data = self._wire.recv(MESSAGE.size)
            except ConnectionResetError:
                data = b""
            if data:
                kind, seq, error, reason, *ret = MESSAGE.unpack(data)
                return kind, seq, error, reason, ret
            self._wire.close()
            self._wire = None

    def go_on(self):
        try:
            self._wire.send(b"x")
        except OSError:
            pass  # it was killed here

    @property
    def dead(self):
        return self._wire is None


class Logs:
    """What the callers have noted, as it grows."""

    def __init__(self, folder):
        self._folder = folder
        self._files = {}
        self.pids = {}      # identity: pid
        self.asked = {}     # seq: Request, of what has no answer in the log
        self.heard = {}     # seq: answer, of what the console has to stand by
        self.wrong = []     # sentences of callers

    def read(self):
        for entry in os.scandir(self._folder):
            if entry.name not in self._files:
                self._files[entry.name] = [os.open(entry.path, os.O_RDONLY), b"",
                                           int(entry.name, 16)]
        for file in self._files.values():
            data = file[1] + os.read(file[0], 1 << 20)
            *lines, file[1] = data.split(b"\n")
            for line in lines:
                self._take(line.decode(), file[2])

    def close(self):
        for file in self._files.values():
            os.close(file[0])

    def _take(self, line, identity):
        kind, _, rest = line.partition(" ")
        if kind == "B":
            self.pids[identity] = int(rest.split()[0])
        elif kind == "A":
            seq, op, arg0, arg1, arg2, text = rest.split(" ", 5)
            self.asked[int(seq)] = (int(op), tuple(map(int, (arg0, arg1, arg2))),
                                    json.loads(text), identity)
        elif kind == "R":
            seq, *answer = map(int, rest.split())
            self.asked.pop(seq)
            self.heard[seq] = tuple(answer)
        elif kind == "X":
            self.wrong.append(rest)


def number_of(identity):
    return (identity & tc.CONSTANT["APMP_IDENTITY_ID_MASK"]) - 1


# An update that was seen: whose request it may be (or the console's own doing), the tree after it,
# and what it changed.
ITSELF = 0
Update = collections.namedtuple("Update", "seqs tree keys")


class Storm:
    """The judge and the killer."""

    def __init__(self, machine, gate, folder, seed):
        self.machine, self.gate = machine, gate
        self.logs = Logs(folder)
        self.random = random.Random(seed)
        self.memory = tc.Memory(machine.box_pid())
        self.wrong = []
        self.open = {}      # seq: Request, of what is asked and not answered
        self.answered = {}  # seq: answer
        self.updates = []   # those that nobody was told of
        self.fencing = {}   # handle: identity that was killed
        self.begun = {}     # handle: how many consoles there had been when its last life began
        self.counts = {"updates": 0, "answers": 0, "refused": 0, "console": 0, "armed": 0,
                       "partition": 0}
        self.ops = {}       # (op, error): how often
        self.killed_lately = False  # a console: one look may find two changes
        self.next_kill = 50
        self.sockets = []
        self.moments = []   # the tree of the last change that must be durable, and those after it
        self.trail = collections.deque(maxlen=60)  # what came before what is wrong
        self.look_first()

    def close(self):
        self.logs.close()
        self.memory.close()
        for sock in self.sockets:
            sock.close()

    def say(self, sentence):
        self.wrong.append(sentence)

    # Looking.

    def look_first(self):
        self.data = self.memory.tree()
        self.tree = tc.Tree(self.data)
        self.facts = model.facts(self.tree)
        self.moments.append(self.tree)
        self.logs.read()
        self.logs.heard.clear()  # of maps that were asked for before

    def look(self, quiet):
        """At memory as it is now. quiet: nothing but words of their own may have changed."""
        data = self.memory.tree()
        if data == self.data:
            return
        wrong = tc.check(data, self.memory.hwrpbs())
        if wrong:
            self.say(f"the tree is not consistent: {'; '.join(wrong)}")
            return
        tree = tc.Tree(data)
        change = model.Change(self.facts, model.facts(tree))
        if tree.level < self.tree.level:
            self.say(f"the level has gone from {self.tree.level} to {tree.level}")
        self.read_logs()
        if change.keys:
            self.counts["updates"] += 1
            self.attribute(change, tree, quiet)
        self.data, self.tree, self.facts = data, tree, change.after
        self.moments.append(tree)

    def read_logs(self):
        self.logs.read()
        self.wrong += self.logs.wrong
        self.wrong += [f"request {seq} heard {answer}, not {self.answered.get(seq)}"
                       for seq, answer in self.logs.heard.items()
                       if self.answered.get(seq) != answer]
        self.logs.wrong.clear()
        self.logs.heard.clear()
        for seq, (op, arg, text, identity) in self.logs.asked.items():
            if seq not in self.open and seq not in self.answered:
                handle = self.tree.partition_array[number_of(identity)]
                self.open[seq] = model.Request(seq, op, arg, text.split("\0")[0], handle)

    def attribute(self, change, tree, quiet):
        """Finds who has asked for this."""
        keys = set(change.keys)
        by_itself = self.done_by_itself(change)
        if self.killed_lately:
            by_itself |= change.arrived()
        accounts = {seq: change.account(r) for seq, r in self.open.items()}
        alone = {seq for seq, account in accounts.items()
                 if account and account | by_itself >= keys}
        if keys <= by_itself or keys <= by_itself | change.arrived():
            alone.add(ITSELF)
        if alone:
            self.updates.append(Update(alone, tree, keys))
            self.trail.append(f"level {self.tree.level}: {self.described(change)}, by "
                              f"{[self.open.get(seq, 'itself') for seq in alone]}")
        else:
            self.say(f"an update {'without an interrupt ' if quiet else ''}that nobody asked for: "
                     f"{self.described(change)}; asked for are "
                     f"{sorted(self.open.values(), key=lambda r: r.seq)}; being fenced "
                     f"{self.fencing}")

    def done_by_itself(self, change):
        """What the console alone accounts for: lives that end; and lives that were still booting
        when a console died: they end, if they never had a process, and the next console boots
        them."""
        account = set()
        self.expect_ends()
        for handle, life in list(self.fencing.items()):
            fenced = change.fenced(handle)
            if fenced:
                self.ended(life)
                del self.fencing[handle]
            account |= fenced
        for handle, consoles in list(self.begun.items()):
            if self.gate.lives == consoles:
                continue
            if self.life(handle) not in self.logs.pids:
                account |= change.fenced(handle)
            if not self.initialized(handle):
                again = model.Request(0, model.OP["start_partition"], (handle,), "", 0)
                account |= change.account(again)
        for handle, (_, new) in change.of("partition").items():
            if new and new.flags & model.INITIALIZED and not self.initialized(handle):
                self.begun[handle] = self.gate.lives - self.killed_lately
        return account

    def expect_ends(self):
        for request in self.open.values():
            if request.op in (model.OP["exit"], model.OP["remove_instance"]):
                self.expect_end(request)

    def expect_end(self, request):
        """Of itself, or of another one that it judges dead."""
        identity = request.arg[0]
        if request.op == model.OP["exit"]:
            identity = self.logs.asked[request.seq][3]
        if number_of(identity) < len(self.tree.partition_array):
            handle = self.tree.partition_array[number_of(identity)]
            if handle and self.life(handle) == identity and self.initialized(handle):
                self.fencing[handle] = identity

    def life(self, handle):
        node = self.tree.nodes.get(handle)
        return node.incarnation << 16 | node.id + 1 if node else 0

    def initialized(self, handle):
        node = self.tree.nodes.get(handle)
        return bool(node and node.node_flags & model.INITIALIZED)

    @staticmethod
    def described(change):
        return ", ".join(f"{' '.join(map(str, key))}: {old} -> {new}"
                         for key, (old, new) in sorted(change.keys.items(), key=str))

    def ended(self, identity):
        """A life is over; what it asked is answered to nobody, done or not."""
        self.logs.pids.pop(identity, None)
        for seq in [seq for seq, asked in self.logs.asked.items() if asked[3] == identity]:
            del self.logs.asked[seq]
            self.open.pop(seq, None)
            for update in self.updates:
                if seq in update.seqs:
                    update.seqs.discard(seq)
                    update.seqs.add(ITSELF)

    def answer(self, seq, error, reason, ret):
        """The console is about to answer: done and seen, or not done."""
        self.look(quiet=True)
        self.read_logs()
        self.killed_lately = False
        self.expect_ends()
        answer = error, reason, *ret
        if error == -errno.ESTALE and (seq in self.answered or self.asker(seq) in
                                       self.fencing.values()):
            self.answered.setdefault(seq, answer)
            return  # perhaps done, and asked again by one who is being fenced by now
        if self.answered.setdefault(seq, answer) != answer:
            self.say(f"request {seq} was answered {self.answered[seq]}, and now {answer}")
        request = self.open.pop(seq, None)
        if request is None:
            return  # an answer that is sent again, or to one of whom nothing is known any more
        self.counts["answers"] += 1
        self.trail.append(f"{request} is answered {error} {reason} {ret}")
        key = (request.op, error, reason)
        self.ops[key] = self.ops.get(key, 0) + 1
        done = error == 0 or reason == STORAGE
        self.counts["refused"] += not done
        if request.op in model.HANDLERS and done:
            self.settle(request, ret)
        if request.op == model.OP["remove_instance"] and done:
            node = self.tree.nodes.get(self.tree.partition_array[number_of(request.arg[0])])
            if node and node.fenced < request.arg[0] >> 16:
                self.say(f"{request} was answered with success, and incarnation {node.fenced} was "
                         "fenced last")
        if request.op == model.OP["exit"]:
            self.expect_end(request)
        for update in self.updates:
            update.seqs.discard(seq)
            if not update.seqs and not self.is_back(request, error):
                self.say(f"{request} was answered with {error}, reason {reason}; but it alone "
                         "can have made an update that was seen")
        self.updates = [update for update in self.updates if update.seqs - {ITSELF}]

    def is_back(self, request, error):
        """Whether a CPU had gone, by an update that was seen, and is its partition's again: the
        console died before its answer, let it return (or the loan ended with the receiver), and
        refuses what is asked again because the receiver has died."""
        return (request.op == model.OP["migrate_cpu"] and error == -errno.EHOSTDOWN
                and any(node.id == request.arg[0] and node.current_owner == request.partition
                        for node in self.tree.of_type("cpu").values()))

    def asker(self, seq):
        """The life that this is a request of."""
        return self.logs.asked[seq][3] if seq in self.logs.asked else None

    def settle(self, request, ret):
        """An acknowledged change has been seen, once."""
        mine = [update for update in self.updates
                if request.seq in update.seqs and model.gave(update, request, ret)]
        if mine:
            update = min(mine, key=lambda update: len(update.seqs))
            self.updates.remove(update)
            if request.op in model.DURABLE and update.tree in self.moments:
                del self.moments[:self.moments.index(update.tree)]
        elif not model.is_idle(self.tree, request):
            self.say(f"{request} was answered with success and {ret}, and no update did that")

    # Killing.

    def kill_something(self):
        """Now and then; what and where the seed says."""
        self.next_kill -= 1
        if self.next_kill > 0 or self.gate.dead:
            return
        self.next_kill = self.random.randrange(10, 60)
        dice = self.random.random()
        if dice < .4:
            self.counts["console"] += 1
            self.trail.append("the console is killed")
            self.killed_lately = True
            self.machine.kill(self.gate.pid)
        elif dice < .7:
            self.arm(self.random.choice(POINTS))
        else:
            self.kill_partition()

    def arm(self, point):
        """Not by `apmp chaos inject`, which would wait for the console that waits for us."""
        name, _, count = point.partition(":")
        sock = socket.socket(socket.AF_UNIX)
        try:
            sock.connect(str(self.machine.rundir / "control"))
            sock.sendall(json.dumps({
                "method": "org.apmp.machine.Inject", "parameters": {
                    "fault": "kill", "partition": "console", "point": name,
                    "count": int(count or 1)}}).encode() + b"\0")
        except OSError as error:
            self.say(f"arming {point}: {error}")
        self.sockets.append(sock)
        if len(self.sockets) > 20:
            self.sockets.pop(0).close()
        self.counts["armed"] += 1
        self.trail.append(f"{point} is armed")

    def living(self):
        """{identity: handle} of the lives that the tree has, and whose process is known."""
        return {self.life(handle): handle for handle in self.tree.of_type("partition")
                if self.life(handle) in self.logs.pids and self.initialized(handle)
                and handle not in self.fencing}

    def kill_partition(self):
        living = self.living()
        if len(living) < 4:
            return
        life = self.random.choice(sorted(living))
        if self.logs.pids[life] not in [pid for pid, _ in self.machine.processes()]:
            return  # it has halted
        self.fencing[living[life]] = life
        self.counts["partition"] += 1
        self.trail.append(f"partition {living[life]} is killed")
        self.machine.kill(self.logs.pids[life])

    # The whole.

    def run(self, callbacks):
        """Until so many are answered, or something is wrong."""
        while self.counts["answers"] < callbacks and not self.wrong:
            self.step(kill=True)

    def step(self, kill):
        before = self.gate.lives
        stop = self.gate.next(apmp.WATCHDOG)
        if stop is None:
            self.say(f"nothing happens any more; open are {self.open}")
            return
        if self.gate.lives != before:
            self.killed_lately = True
        kind, seq, error, reason, ret = stop
        if kind == UPDATE:
            self.look(quiet=False)
        elif seq:
            self.answer(seq, error, reason, ret)
        else:
            self.look(quiet=True)
        if kill and not self.wrong:
            self.kill_something()
        self.gate.go_on()


class Disturbed(Storm):
    """A storm in which a store goes astray: a CPU has another owner than the console thinks."""

    def stray(self):
        """A store that leaves the tree as consistent as it was. False: there is none yet."""
        free = [handle for handle, node in self.tree.of_type("cpu").items()
                if not node.owner and not node.current_owner]
        for cpu, partition in itertools.product(free, self.tree.of_type("partition")):
            at = tc.HEADER.size + cpu + tc.Shape.offset("gct_node", "owner")
            store = struct.pack("<i", partition)
            data = bytearray(self.memory.tree())
            data[at:at + len(store)] = store
            if not tc.check(bytes(data), self.memory.hwrpbs()):
                self.memory.store(at, store)
                return True
        return False


class World:
    """A machine of callers; what it takes to start it."""

    def __init__(self, machine, seed):
        self.machine = machine
        self.folder = machine.dir
        self.gate = Gate(self.folder / "gate")
        os.chmod(self.folder, 0o755)  # an instance has a uid of its own
        (self.folder / "log").mkdir()
        os.chmod(self.folder / "log", 0o777)
        os.mkfifo(self.folder / "go")
        os.chmod(self.folder / "go", 0o644)
        self._go = None
        (self.folder / "seed").write_text(str(seed))
        for name in ("tree_checker.py",):
            shutil.copy(HERE / name, self.folder)
        shutil.copy(tc.LAYOUTS, self.folder / "layouts.json")
        self._script("apmp-instance", "#!/usr/bin/python3 -IS\n"
                     + (HERE / "storm_caller.py").read_text())
        self._script("apmp-console",
                     f"#!/bin/sh\nLD_PRELOAD={apmp.BIN}/system/callback_gate.so "
                     f"exec {apmp.BIN}/apmp-console\n")
        machine.env.update(APMP_LIBEXEC=str(self.folder), APMP_STORM=str(self.folder),
                           APMP_LAYOUTS=str(self.folder / "layouts.json"),
                           APMP_GATE=str(self.folder / "gate"))

    def _script(self, name, text):
        path = self.folder / name
        path.write_text(text)
        path.chmod(0o755)

    def up(self):
        """On, with nobody looked at on the way."""
        done, doing = socket.socketpair()
        with done, concurrent.futures.ThreadPoolExecutor(1) as pool:
            upper = pool.submit(self.machine.up)
            upper.add_done_callback(lambda _: doing.close())
            while self.gate.next(apmp.WATCHDOG, until=done):
                self.gate.go_on()
            upper.result()

    def begin(self):
        """Everybody asks; who comes later finds it open."""
        self._go = os.open(self.folder / "go", os.O_RDWR)

    def cut_power(self):
        """The box ends at once, and so does everything."""
        pid = self.machine.box_pid()
        guard = os.pidfd_open(pid)
        os.kill(pid, signal.SIGKILL)
        assert apmp.ended(guard)
        os.close(guard)
        os.close(self._go)
        self._go = None

    def stop(self):
        """No more requests."""
        (self.folder / "stop").touch()
        if self._go is not None:
            os.close(self._go)
