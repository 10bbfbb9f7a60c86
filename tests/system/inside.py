"""The protocol between a program and its partition's instance, spoken by the test itself
(shm/wire/app.h): as a program of the partition, or as one that says what makes no sense."""
import collections
import os
import socket
import struct
from pathlib import Path

import apmp

VERSION = 2
OPS = {"LOCKS": 1, "EVENTS": 2, "OPEN": 3, "ACQUIRE": 4, "RELEASE": 5, "GOOD": 6, "CLOSE": 7,
       "CPUS": 16, "LOADS": 17, "GIVE": 18, "WISH": 19}
NEVER = 2**64 - 1
REQUEST = struct.Struct("=IIIIQ40s")
REPLY = struct.Struct("=IiIIQ32s200s")
EVENT = struct.Struct("=IIQIIQII32s")
LOAD = struct.Struct("=IIQQ4Q4Q32s")
ADDED, REMOVED, STATE_TOLD, CPU_ADDED, CPU_REMOVED = 1, 2, 3, 4, 5

Reply = collections.namedtuple("Reply", "version error partition lock incarnation name text")
Event = collections.namedtuple("Event", "version kind seq partition flags incarnation cpu name")


def text(field):
    return field.split(b"\0")[0].decode()


def address_of(machine, partition):
    """(address, word) that programs of this life of the partition are given."""
    said = machine.apmp("run", partition, "--", "sh", "-c", 'echo "$APMP_INSTANCE"').strip()
    address, _, word = said.rpartition(":")
    return address, word


def request(op, lock=0, rank=0, timeout=0, said="", version=VERSION):
    return REQUEST.pack(version, OPS.get(op, op), lock, rank, timeout, said.encode())


class Connection:
    """One connection; begun for "LOCKS" or "EVENTS", or not at all."""

    def __init__(self, place, op=None, word=None):
        address, known = place
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.connect("\0" + address)
        self.socket.settimeout(apmp.WATCHDOG)
        if op:
            self.welcome = self.ask(request(op, said=known if word is None else word))

    def send(self, data):
        self.socket.send(data)

    def receive(self):
        """None: it was closed."""
        try:
            data = self.socket.recv(REPLY.size + 1)
        except ConnectionResetError:
            return None
        if not data:
            return None
        fields = REPLY.unpack(data)
        return Reply(*fields[:5], text(fields[5]), text(fields[6]))

    def event(self):
        data = self.socket.recv(EVENT.size + 1)
        if not data:
            return None
        fields = EVENT.unpack(data)
        return Event(*fields[:7], text(fields[8]))

    def ask(self, data):
        self.send(data)
        return self.receive()

    def open(self, name, rank=1):
        answer = self.ask(request("OPEN", rank=rank, said=name))
        assert answer.error == 0, answer
        return answer.lock

    def must(self, op, lock, timeout=0, error=0):
        answer = self.ask(request(op, lock, timeout=timeout))
        assert answer.error == error, answer
        return answer

    def closed(self):
        """Whether the instance has closed it, once it has read what was sent."""
        while True:
            try:
                if self.receive() is None:
                    return True
            except struct.error:
                continue

    def close(self):
        self.socket.close()


def run_ns(pid, name):
    """How long a thread of this name has run."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        if (task / "comm").read_text().strip() == name:
            return int((task / "schedstat").read_text().split()[0])
    raise AssertionError(f"no thread {name} in process {pid}")


def stands_still(pid):
    """Whether every thread has been stopped."""
    return all((task / "stat").read_text().rpartition(") ")[2].startswith("T")
               for task in Path(f"/proc/{pid}/task").iterdir())


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def members_now(place):
    """The names that a new event stream begins with."""
    connection, names = Connection(place, "EVENTS"), []
    while True:
        event = connection.event()
        if event.kind == STATE_TOLD:
            connection.close()
            return names
        names.append(event.name)
