"""The box (apmpd) with a stand-in for its console, for test_box.py.

The stand-in hands its two descriptors to the test and stays until its wire to the box is closed.
So the test itself is the console, and says and hears what shm/wire/box.h says. The instance is a
shell that does what is written to its serial port.
"""
import collections
import mmap
import os
import queue
import re
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
from pathlib import Path

import apmp
import leftovers

CONSOLE = f"""#!{sys.executable} -IS
import os, select, socket
with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as test:
    test.connect(os.environ["APMP_TEST_SOCKET"])
    socket.send_fds(test, [str(os.getpid()).encode()], [3, 4])
wire = select.poll()
wire.register(3, 0)
wire.poll()
"""

INSTANCE = """#!/bin/sh
stty -echo -onlcr
echo ready
while read -r line; do eval "$line"; done
"""

MACHINE = apmp.TRIO

HEADER = (apmp.TOP / "shm/wire/box.h").read_text()
REQUEST = struct.Struct("=IIIIQQ2Q16Q256s")
EVENT = struct.Struct("=IIIiQQ3Q256s")
Event = collections.namedtuple("Event", "op seq kind error id size arg text fds")


def numbers(macro):
    """{name: number} of one list of box.h."""
    start = HEADER.index(f"#define {macro}(X)")
    listed = HEADER[start:HEADER.index("enum", start)]
    return {name: int(value) for name, value in re.findall(r"\bX\((\w+), (\d+),", listed)}


OBJECTS = numbers("APMP_BOX_OBJECTS")
OPS = numbers("APMP_BOX_OPS")
EVENTS = {number: name for name, number in numbers("APMP_BOX_EVENTS").items()}
PAGE = mmap.PAGESIZE
RECORDER_SIZE = 64 * PAGE  # at least APMP_RECORDER_SIZE


class Wire:
    """The console's end: what the box says, in order, and requests to it.

    A thread listens, and answers PING whatever the test does meanwhile: the box would find a
    console that hangs. PING is not told.
    """
    served = 1  # that it has answered others, is said with every PONG

    def __init__(self, pid, fd, listen_fd):
        self.pid = pid
        self.socket = socket.socket(fileno=fd)
        self.socket.settimeout(apmp.WATCHDOG)
        self.listener = socket.socket(fileno=listen_fd)
        self.heard = []  # not asked for yet
        self.seq = 0
        self._said = queue.SimpleQueue()
        self._stop, self._wake = os.pipe()
        self.listen()

    def close(self):
        self.stop_listening()
        self.socket.close()
        self.listener.close()
        while not self._said.empty():
            self.heard.append(self._said.get())
        for event in self.heard:
            close_all(event.fds if event else ())
        os.close(self._stop)
        os.close(self._wake)

    def listen(self):
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def stop_listening(self):
        os.write(self._wake, b"x")
        self._thread.join(apmp.WATCHDOG)
        os.read(self._stop, 1)

    def _listen(self):
        while True:
            ready = select.select([self.socket, self._stop], [], [])[0]
            if self._stop in ready:
                return
            event = self._receive()
            if event and event.op == "PING":
                self._pong(event)
                continue
            self._said.put(event)
            if not event:
                return

    def _receive(self):
        try:
            data, fds, _, _ = socket.recv_fds(self.socket, EVENT.size, 8)
        except ConnectionResetError:
            return self._receive()  # the box did not read all: said once, then comes what it sent
        if not data:
            return None
        seq, op, kind, error, number, size, *arg, text = EVENT.unpack(data)
        return Event(EVENTS[op], seq, kind, error, number, size, arg,
                     text.split(b"\0")[0].decode(), fds)

    def _pong(self, ping):
        try:
            self.send("PONG", arg=(ping.arg[0], self.served))
        except OSError:
            pass  # the box has closed the wire, which the next look tells; or reads nothing now

    def hear(self):
        """The next event; None when the box has closed the wire."""
        return self._said.get(timeout=apmp.WATCHDOG)

    def wait(self, op, **fields):
        """The next event of this kind; what comes before it is kept for later."""
        for event in self.heard:
            if matches(event, op, fields):
                self.heard.remove(event)
                return event
        while True:
            event = self.hear()
            assert event, f"the box closed the wire before {op} {fields}; heard {self.heard}"
            if matches(event, op, fields):
                return event
            self.heard.append(event)

    def start(self):
        """Everything up to READY."""
        events = []
        while not events or events[-1].op != "READY":
            events.append(self.hear())
        return events

    def send(self, op, number=0, kind=0, size=0, arg=(0, 0), cpus=(), text="", fds=()):
        if op != "PONG":  # which has no answer
            self.seq += 1
        words = [0] * 16
        for cpu in cpus:
            words[cpu // 64] |= 1 << cpu % 64
        data = REQUEST.pack(self.seq, OPS.get(op, op), OBJECTS.get(kind, kind), 0, number, size,
                            *arg, *words, text.encode())
        socket.send_fds(self.socket, [data], fds)
        return self.seq

    def ask(self, op, *args, **fields):
        """A request and its answer."""
        return self.wait("DONE", seq=self.send(op, *args, **fields))

    def must(self, op, *args, **fields):
        answer = self.ask(op, *args, **fields)
        assert answer.error == 0, answer
        return answer


def matches(event, op, fields):
    return event.op == op and all(getattr(event, name) == value for name, value in fields.items())


def close_all(fds):
    for fd in fds:
        os.close(fd)


class Box(apmp.Machine):
    """A machine whose console is the test."""

    def __init__(self, text=MACHINE):
        super().__init__(text)
        self.dir.chmod(0o711)  # its shell has the partition's uid, and must find the script
        self.libexec = self.dir / "libexec"
        self.libexec.mkdir()
        self.script("apmp-console", CONSOLE)
        self.script("apmp-instance", INSTANCE)
        self.meeting = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.meeting.settimeout(apmp.WATCHDOG)
        self.meeting.bind(str(self.dir / "meeting"))
        self.meeting.listen()
        self.env.update(APMP_LIBEXEC=str(self.libexec), APMP_TEST_SOCKET=str(self.dir / "meeting"))
        self.program = apmp.BIN / "apmpd"
        self.upper = None
        self.wires = []
        self.ports = []

    def script(self, name, text):
        path = self.libexec / name
        path.write_text(text)
        path.chmod(0o755)

    def apmpd(self, *arguments):
        return subprocess.run([self.program, *map(str, arguments)], env=self.env, cwd=self.dir,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, timeout=apmp.WATCHDOG,
                              check=False)

    def begin(self, *arguments):
        """`apmpd up` on its way; gives the wire of the first console."""
        self.forget_visitors()
        self.upper = subprocess.Popen([self.program, "up", self.file, *arguments], env=self.env,
                                      cwd=self.dir, stdin=subprocess.DEVNULL, text=True,
                                      stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        return self.meet()

    def forget_visitors(self):
        """Consoles of a box that is dead: one that a test let wait too long was replaced."""
        while select.select([self.meeting], [], [], 0)[0]:
            self.meeting.accept()[0].close()

    def meet(self):
        """The wire of the next console."""
        visitor, _ = self.meeting.accept()
        with visitor:
            pid, fds, _, _ = socket.recv_fds(visitor, 64, 2)
        self.wires.append(Wire(int(pid), *fds))
        return self.wires[-1]

    def up(self, *arguments):
        wire = self.begin(*arguments)
        wire.start()
        wire.must("ON", text="it is on")
        assert self.word() == (0, "it is on\n", "")
        return wire

    def word(self):
        """How `up` ended: exit code, output, errors."""
        out, err = self.upper.communicate(timeout=apmp.WATCHDOG)
        return self.upper.returncode, out, err

    def boot(self, wire, number=1, name="beta", incarnation=1):
        """A partition with a shell in it; gives its process id and the file of its port."""
        if not any(number == known for known, _ in self.ports):
            wire.must("MAKE", number, "HWRPB", PAGE)
            answer = wire.must("MAKE", number, "PORT")
            self.ports.append((number, os.fdopen(answer.fds[0], "r+b", buffering=0)))
            os.close(answer.fds[1])
        port = dict(self.ports)[number]
        close_all(wire.must("MAKE", number, "CHANNEL").fds)
        answer = wire.must("SPAWN", number, text=name, arg=(incarnation, 0), cpus=HOST_CPUS)
        assert read_line(port) == "ready"
        return answer.arg[0], port

    def guards(self):
        """The box's children of that name: one, but for the moment in which it is replaced."""
        children = Path(f"/proc/{self.box_pid()}/task/{self.box_pid()}/children").read_text()
        return [Watched(int(pid)) for pid in children.split()
                # a new one is called like the box, for a moment; an orphan may end meanwhile
                if leftovers.read(f"/proc/{pid}/comm") in (b"apmp-guard\n", b"apmpd\n")]

    def guard(self):
        return self.guards()[0]

    def close(self):
        """Kills what is there: power off has tests of its own. Gives what is left behind."""
        try:
            guard = self.guard()
            os.kill(self.box_pid(), signal.SIGKILL)
            guard.wait()
        except (OSError, IndexError):
            pass  # it was off already
        if self.upper and self.upper.stdout and not self.upper.stdout.closed:
            self.upper.communicate(timeout=apmp.WATCHDOG)
        for wire in self.wires:
            wire.close()
        for _, port in self.ports:
            port.close()
        self.meeting.close()
        return self._left_behind()


HOST_CPUS = sorted(os.sched_getaffinity(0))


def read_line(file):
    line = b""
    while not line.endswith(b"\n"):
        byte = file.read(1)
        assert byte, f"ended after {line}"
        line += byte
    return line.decode().rstrip("\r\n")


def command(port, line):
    """Something for the shell in a partition; gives the line that it answers."""
    port.write(f"{line}\n".encode())
    return read_line(port)


class Watched:
    """A process that is alive now, whatever its number means later."""

    def __init__(self, pid):
        self.fd = os.pidfd_open(pid)
        self._poll = select.poll()
        self._poll.register(self.fd, select.POLLIN)

    def __del__(self):
        os.close(self.fd)

    @property
    def runs(self):
        return not self._poll.poll(0)

    @property
    def is_there(self):
        """It runs, or is a zombie."""
        try:
            signal.pidfd_send_signal(self.fd, 0)
        except ProcessLookupError:
            return False
        return True

    def wait(self):
        assert self._poll.poll(apmp.WATCHDOG * 1000), "a process did not end"

    def kill(self, number=signal.SIGKILL):
        signal.pidfd_send_signal(self.fd, number)


def allowed_cpus(pid):
    return sorted(os.sched_getaffinity(pid))


def description(argv, env=(), cwd="/"):
    """The memfd that goes with RUN."""
    fd = os.memfd_create("program")
    lists = ["".join(f"{string}\0" for string in strings) for strings in (argv, env)]
    os.write(fd, f"{lists[0]}{lists[1]}\0{cwd}\0".encode())
    return fd


def until(wire, condition):
    """Gives the box turns of its loop, in which it does what no message tells of."""
    for _ in range(10000):
        wire.must("DROP", 0, "RAM")
        if condition():
            return
    raise AssertionError("it did not happen")


def run(wire, number, argv, env=(f"PATH={os.environ['PATH']}",), cwd="/", output=None, where=1):
    """RUN with /dev/null as standard input; gives the answer."""
    fds = [description(argv, env, cwd)]
    if output is not None:
        fds += [os.open("/dev/null", os.O_RDONLY), os.dup(output), os.dup(output)]
    try:
        return wire.ask("RUN", where, arg=(number, len(argv)), text=argv[0], fds=fds)
    finally:
        close_all(fds)
