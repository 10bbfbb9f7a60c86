#!/usr/bin/python3
"""A hostile program in a partition, for test_isolation.py.

It is told in JSON what there is to attack, tries every way, and says in JSON how each went: "done",
or the name of the errno. Nothing that it does harms whom it succeeds with: it writes what stood
there, sets what was set, sends no signal. It has nothing but Python's own library, because it runs
where nothing else of the repository can be read.
"""
import ctypes
import errno
import fcntl
import json
import mmap
import os
import resource
import socket
import struct
import subprocess
import sys

LIBC = ctypes.CDLL(None, use_errno=True)
PTRACE_SEIZE = 0x4206
CLONE_NEWUSER = 0x10000000
PR_SET_PTRACER = 0x59616d61
SYS = {"process_vm_readv": 310, "process_vm_writev": 311, "kcmp": 312, "pidfd_getfd": 438,
       "get_robust_list": 274, "move_pages": 279, "ioprio_set": 251, "keyctl": 250,
       "capset": 126}  # x86-64, as the project is
F_SEAL_FUTURE_WRITE = 0x10
F_ADD_SEALS = 1033
PAGE = mmap.PAGESIZE


def call(number, *arguments):
    """A system call whose failure is an OSError."""
    wide = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    result = LIBC.syscall(ctypes.c_long(SYS[number]), *wide)
    if result < 0:
        raise OSError(ctypes.get_errno(), number)
    return result


def libc(name, *arguments):
    result = getattr(LIBC, name)(*arguments)
    if result in (-1, ctypes.c_void_p(-1).value):
        raise OSError(ctypes.get_errno(), name)
    return result


def opened(path, flags=os.O_RDONLY):
    os.close(os.open(path, flags))


# Another process.


class Iovec(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]


def vm(name, pid, address, byte):
    mine = Iovec(ctypes.cast(byte, ctypes.c_void_p), 1)
    its = Iovec(address, 1)
    call(name, pid, ctypes.byref(mine), 1, ctypes.byref(its), 1, 0)


def vm_read(victim):
    vm("process_vm_readv", victim["pid"], victim["address"], ctypes.create_string_buffer(1))


def vm_write(victim):
    byte = ctypes.create_string_buffer(1)
    try:
        vm("process_vm_readv", victim["pid"], victim["address"], byte)
    except OSError:
        pass  # then a write must not succeed either
    vm("process_vm_writev", victim["pid"], victim["address"], byte)


def mem_write(victim):
    fd = os.open(f"/proc/{victim['pid']}/mem", os.O_RDWR)
    os.pwrite(fd, os.pread(fd, 1, victim["address"]), victim["address"])
    os.close(fd)


def ptrace(victim):
    """Seizing stops nobody, and ends with the seizer: a child."""
    in_child(lambda: seize(victim["pid"]))


def seize(pid):
    LIBC.ptrace.argtypes = [ctypes.c_long] * 4
    libc("ptrace", PTRACE_SEIZE, pid, 0, 0)


def in_child(act):
    pid = os.fork()
    if pid == 0:
        code = 0
        try:
            act()
        except OSError as error:
            code = error.errno
        os._exit(code)
    _, status = os.waitpid(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    if code:
        raise OSError(code, "in a child")


def as_root_of_its_own(victim):
    """A user namespace gives every capability, over nothing of others."""
    def act():
        libc("unshare", CLONE_NEWUSER)
        try:
            opened(f"/proc/{victim['pid']}/mem", os.O_RDWR)
        except OSError:
            seize(victim["pid"])
    in_child(act)


def pidfd_getfd(victim):
    pidfd = os.pidfd_open(victim["pid"])
    try:
        os.close(call("pidfd_getfd", pidfd, victim["fd"], 0))
    finally:
        os.close(pidfd)


def kill(victim):
    os.kill(victim["pid"], 0)


def affinity(victim):
    os.sched_setaffinity(victim["pid"], os.sched_getaffinity(victim["pid"]))


def nice(victim):
    os.setpriority(os.PRIO_PROCESS, victim["pid"], os.getpriority(os.PRIO_PROCESS, victim["pid"]))


def prlimit(victim):
    limits = resource.prlimit(victim["pid"], resource.RLIMIT_CORE)
    resource.prlimit(victim["pid"], resource.RLIMIT_CORE, limits)


def ioprio(victim):
    call("ioprio_set", 1, victim["pid"], 2 << 13 | 4)


def kcmp(victim):
    call("kcmp", os.getpid(), victim["pid"], 1, 0, 0)


def robust_list(victim):
    head, size = ctypes.c_long(), ctypes.c_long()
    call("get_robust_list", victim["pid"], ctypes.byref(head), ctypes.byref(size))


def move_pages(victim):
    page, status = ctypes.c_void_p(victim["address"] & ~(PAGE - 1)), ctypes.c_int()
    call("move_pages", victim["pid"], 1, ctypes.byref(page), None, ctypes.byref(status), 0)


def proc(name, flags=os.O_RDONLY):
    return lambda victim: opened(f"/proc/{victim['pid']}/{name}", flags)


def oom_score_adj(victim):
    path = f"/proc/{victim['pid']}/oom_score_adj"
    with open(path, encoding="ascii") as file:
        value = file.read()
    with open(path, "w", encoding="ascii") as file:
        file.write(value)


PROCESS = {
    "mem": mem_write, "mem_read": proc("mem"), "maps": proc("maps"), "environ": proc("environ"),
    "fd_list": lambda victim: os.listdir(f"/proc/{victim['pid']}/fd"),
    "map_files": lambda victim: os.listdir(f"/proc/{victim['pid']}/map_files"),
    "exe": lambda victim: os.readlink(f"/proc/{victim['pid']}/exe"),
    "namespace": proc("ns/mnt"), "oom_score_adj": oom_score_adj,
    "fd_reopen": lambda victim: opened(f"/proc/{victim['pid']}/fd/{victim['fd']}", os.O_RDWR),
    "process_vm_readv": vm_read, "process_vm_writev": vm_write, "ptrace": ptrace,
    "as_root_of_its_own": as_root_of_its_own, "pidfd_getfd": pidfd_getfd, "kill": kill,
    "affinity": affinity, "nice": nice, "prlimit": prlimit, "ioprio": ioprio, "kcmp": kcmp,
    "robust_list": robust_list, "move_pages": move_pages,
}


# What the machine has on this host.


def connect(path):
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(path)


def write_same(path):
    fd = os.open(path, os.O_RDWR)
    os.write(fd, os.read(fd, 4096))
    os.close(fd)


def enter_group(path):
    with open(path, "w", encoding="ascii") as file:
        file.write(str(os.getpid()))


def make_group(path):
    os.mkdir(f"{path}/apmp-attack")
    os.rmdir(f"{path}/apmp-attack")


def suid(path):
    """A program of root's that gives root to whoever may gain anything."""
    said = subprocess.run([path, "-u"], capture_output=True, text=True, check=True).stdout
    if said != "0\n":
        raise OSError(errno.EPERM, f"uid {said}")


PLACES = {
    "control": connect, "rundir": os.listdir, "log": opened, "uids": opened, "state": os.listdir,
    "neighbour_group": enter_group, "own_group": write_same, "new_group": make_group,
    "neighbour_port": lambda path: opened(path, os.O_RDWR | os.O_NOCTTY), "suid": suid,
    "claim": lambda name: connect(f"\0{name}"),
}


# Itself.


def capset():
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    call("capset", header, (ctypes.c_uint32 * 6)(1 << 21, 1 << 21))


def fifo():
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))


SELF = {
    "setuid": lambda: in_child(lambda: os.setuid(0)),
    "setgid": lambda: in_child(lambda: os.setgid(0)),
    "setgroups": lambda: in_child(lambda: os.setgroups([0])),
    "capset": lambda: in_child(capset), "fifo": lambda: in_child(fifo),
    "nice": lambda: in_child(lambda: os.setpriority(os.PRIO_PROCESS, 0, -20)),
}


# In the place of an instance: what its two descriptors give.

CHANNEL, HWRPB = 3, 4


class Console:
    """Callbacks, as shm/call.h has them; the numbers are told."""

    def __init__(self, told):
        self.told = told
        self.seq = 0
        self.socket = socket.socket(fileno=os.dup(CHANNEL))
        hwrpb = mmap.mmap(HWRPB, PAGE)
        self.identity, self.tree_pa, self.lines_pa, self.recorder_pa = (
            struct.unpack_from("=Q", hwrpb, told["hwrpb"][name])[0]
            for name in ("unique", "config", "intr", "recorder"))

    def map(self, pa, size=PAGE):
        """The descriptor of a physical address; its refusal is an OSError."""
        self.seq += 1
        request = struct.pack("=QQII3Q64s", self.seq, self.identity, self.told["map"], 0, pa, size,
                              0, b"")
        self.socket.send(request)
        while True:
            data, fds, _, _ = socket.recv_fds(self.socket, 4096, 4)
            seq, error = struct.unpack_from("=Qi", data)
            if seq == self.seq:
                break
        if error or not fds:
            raise OSError(-error or errno.EBADMSG, "MAP")
        return fds[0]


def mapped(fd, protection):
    mmap.mmap(fd, PAGE, mmap.MAP_SHARED, protection).close()


def read_only(fd):
    """Where it is mapped for reading."""
    LIBC.mmap.restype = ctypes.c_void_p
    LIBC.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int,
                          ctypes.c_int, ctypes.c_long]
    return libc("mmap", None, PAGE, mmap.PROT_READ, mmap.MAP_SHARED, fd, 0)


def mprotect(fd):
    libc("mprotect", ctypes.c_void_p(read_only(fd)), PAGE, mmap.PROT_READ | mmap.PROT_WRITE)


def own_mem(fd):
    at = read_only(fd)
    mem = os.open("/proc/self/mem", os.O_RDWR)
    os.pwrite(mem, os.pread(mem, 1, at), at)


def own_vm(fd):
    at = read_only(fd)
    vm_write({"pid": os.getpid(), "address": at})


def own_map_files(fd):
    at = read_only(fd)
    opened(f"/proc/self/map_files/{at:x}-{at + PAGE:x}", os.O_RDWR)


def remove(fd):
    libc("madvise", ctypes.c_void_p(read_only(fd)), PAGE, 9)  # MADV_REMOVE


def reopen(fd):
    again = os.open(f"/proc/self/fd/{fd}", os.O_RDWR)
    mapped(again, mmap.PROT_READ | mmap.PROT_WRITE)


def open_up(fd):
    os.fchmod(fd, 0o666)
    reopen(fd)


MEMORY = {
    "map_write": lambda fd: mapped(fd, mmap.PROT_READ | mmap.PROT_WRITE), "mprotect": mprotect,
    "own_mem": own_mem, "own_vm": own_vm, "own_map_files": own_map_files, "remove": remove,
    "reopen": reopen, "write": lambda fd: os.pwrite(fd, os.pread(fd, 1, 0), 0),
    "truncate": lambda fd: os.ftruncate(fd, 0), "grow": lambda fd: os.ftruncate(fd, 1 << 30),
    "seal": lambda fd: fcntl.fcntl(fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE), "open_up": open_up,
    "chown": lambda fd: os.fchown(fd, os.getuid(), os.getgid()),
}


def attempt(act, *arguments):
    try:
        act(*arguments)
    except OSError as error:
        return errno.errorcode.get(error.errno, str(error.errno))
    return "done"


def all_of(attempts, *arguments):
    return {name: attempt(act, *arguments) for name, act in attempts.items()}


def as_instance(told):
    console = Console(told)
    harmless = {name: act for name, act in MEMORY.items() if name != "remove"}
    said = {"tree": all_of(MEMORY, console.map(console.tree_pa)),
            "lines": all_of(harmless, console.map(console.lines_pa)),
            "hwrpb": all_of(harmless, HWRPB)}
    for name, pa in told["map_of"].items():
        said[f"map {name}"] = attempt(console.map, pa)
    return said


def main(told):
    said = {name: all_of(PROCESS, victim) for name, victim in told["victims"].items()}
    said["places"] = {name: attempt(PLACES[name], path) for name, path in told["places"].items()}
    said["self"] = all_of(SELF)
    if "hwrpb" in told:
        said.update(as_instance(told))
    return said


if __name__ == "__main__":
    LIBC.prctl(PR_SET_PTRACER, ctypes.c_ulong(-1), 0, 0, 0)  # its own children, where Yama is
    ANSWER = json.dumps(main(json.loads(sys.argv[1])))
    if len(sys.argv) > 2:  # whole or not at all
        with open(f"{sys.argv[2]}.new", "w", encoding="ascii") as out:
            out.write(ANSWER)
        os.rename(f"{sys.argv[2]}.new", sys.argv[2])
    else:
        print(ANSWER)
