"""Races of SIGSTOP, fence and SIGCONT: what is fenced never stores again.

The instances are play_race.c: victims that store into shared memory without pause, and one that
watches what they stored; box and console are the real ones. A victim is stopped at a random
instant, the watching instance asks its console to remove it, and it is continued at random instants
from here while the box kills it. As soon as the tree says "fenced", no word of it may change any
more.

`make check` runs some hundred races, `make campaign` a hundred thousand (APMP_FENCE_RACES).
"""
import contextlib
import os
import random
import shutil
import signal
import socket
import struct
import time

import pytest

import apmp
from operator_calls import Operator

RACES = int(os.environ.get("APMP_FENCE_RACES", "300"))
HANG_GUARD = 900 + RACES // 10  # seconds

# Victims have every host CPU that there is, so that they run while the box does.
MACHINE = """\
machine: {name}
hardware:
  - {sbb: 0, cpus: 9, memory: 32M, iops: [{buses: [{}, {}, {}, {}, {}]}]}
communities:
  - {name: lab, shared: 4M}
partitions:
  - {name: p0, community: lab, cpus: [0], memory: 4M, buses: ["0.0.0"]}
  - {name: p1, community: lab, cpus: [1, 2], memory: 4M, buses: ["0.0.1"]}
  - {name: p2, community: lab, cpus: [3, 4], memory: 4M, buses: ["0.0.2"]}
"""
VICTIMS = ("p1", "p2")

HELLO = struct.Struct("=Qii")
VERDICT = struct.Struct("=QQQ")
STOP_NS = 300_000   # how long a victim may run before it is stopped
ASK_NS = 100_000    # and be stopped before it is removed
CONTINUE_NS = 1_500_000  # a fence takes less
CONTINUES = 4


def until(instant_ns):
    while time.monotonic_ns() < instant_ns:
        pass


class Victim:
    """One life: its main process and its child, held so that no other process can be signalled."""

    def __init__(self, connection, identity, pids):
        self.identity = identity
        self._connection = connection
        self._pidfds = [os.pidfd_open(pid) for pid in pids]

    def go(self):
        """It begins to store."""
        self._connection.send(b"x")

    def signal(self, number):
        for pidfd in self._pidfds:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(pidfd, number)

    def close(self):
        self._connection.close()
        for pidfd in self._pidfds:
            os.close(pidfd)


class Races:
    """A machine of victims and one that watches."""

    def __init__(self, make_machine, monkeypatch):
        self.machine = make_machine(MACHINE)
        self.machine.dir.chmod(0o755)  # an instance may have a uid of its own
        shutil.copy(apmp.BIN / "system/play_race", self.machine.dir / "apmp-instance")
        self.machine.env.update(APMP_LIBEXEC=str(self.machine.dir),
                                APMP_RACE_DIR=str(self.machine.dir), **monkeypatch)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._listener.settimeout(apmp.WATCHDOG)
        self._listener.bind(str(self.machine.dir / "report"))
        (self.machine.dir / "report").chmod(0o666)
        self._listener.listen()
        self.machine.up()
        self._operator = Operator(self.machine)
        self._operator("PartitionBoot", name="p0")
        self._watcher, *_ = self._hello()
        self.fenced_ns = []

    def _hello(self):
        connection, _ = self._listener.accept()
        connection.settimeout(apmp.WATCHDOG)
        identity, pid, child = HELLO.unpack(connection.recv(HELLO.size))
        return connection, identity, [pid, child]

    def boot(self, name):
        self._operator("PartitionBoot", name=name)

    def victim(self):
        """The next that has booted."""
        return Victim(*self._hello())

    def race(self, victim, chance):
        """Gives how many of its words changed after it was fenced."""
        victim.go()
        until(time.monotonic_ns() + chance.randrange(STOP_NS))
        if chance.random() < .9:
            victim.signal(signal.SIGSTOP)
            until(time.monotonic_ns() + chance.randrange(ASK_NS))
        instants = sorted(chance.randrange(CONTINUE_NS) for _ in range(chance.randrange(CONTINUES)))
        begin = time.monotonic_ns()
        self._watcher.send(struct.pack("=Q", victim.identity))
        for instant in instants:
            until(begin + instant)
            victim.signal(signal.SIGCONT)
        identity, fenced_ns, late = VERDICT.unpack(self._watcher.recv(VERDICT.size))
        assert identity == victim.identity
        self.fenced_ns.append(fenced_ns)
        victim.close()
        return late

    def run(self, count, seed):
        """So many races; the next victim boots meanwhile. Gives the late stores."""
        chance = random.Random(seed)
        self.boot(VICTIMS[0])
        late = 0
        for number in range(count):
            victim = self.victim()
            self.boot(VICTIMS[(number + 1) % 2])
            late += self.race(victim, chance)
        return late

    def close(self):
        self._listener.close()
        self._watcher.close()


@pytest.fixture
def make_races(make_machine):
    made = []

    def make(**env):
        made.append(Races(make_machine, env))
        return made[-1]

    yield make
    for races in made:
        races.close()


def test_what_is_fenced_never_stores_again(make_races):
    """shows: DB-09, FAIL-05"""
    seed = random.SystemRandom().randrange(1 << 31)
    races = make_races()
    begin = time.monotonic()
    late = races.run(RACES, seed)
    taken = sorted(races.fenced_ns)
    print(f"{RACES} races of SIGSTOP, fence and SIGCONT (seed {seed}) in "
          f"{time.monotonic() - begin:.1f} s: {late} late stores; fenced after "
          f"{taken[len(taken) // 2] / 1e6:.2f} ms, 99 of 100 after "
          f"{taken[len(taken) * 99 // 100] / 1e6:.2f} ms")
    assert late == 0


def test_a_fence_that_is_answered_before_the_kill_is_caught(make_races):
    races = make_races(APMP_RACE_WRONG="1")
    assert races.run(30, 1) > 0
