#!/usr/bin/python3
"""What of a machine is on this host: processes, control groups, sockets, shared memory, files, also
those that outlive its power.

As a program it prints each thing on a line and exits 1 if there is any; the tests import it.
Zombies don't count: they are their parent's to reap, and hold nothing.
"""
import os
import sys
from pathlib import Path

CGROUP_TOP = Path("/sys/fs/cgroup")
CGROUP_DEPTH = 6  # below the mount point; a container may put us a few levels down


def read(path):
    try:
        return Path(path).read_bytes()
    except OSError:  # it ended meanwhile, or is somebody else's
        return b""


def process_state(pid):
    """The letter of proc(5), or None when there is no such process."""
    stat = read(f"/proc/{pid}/stat")
    return stat.rpartition(b")")[2].split()[0].decode() if stat else None


def command(pid):
    """The command line of a process, as text."""
    return read(f"/proc/{pid}/cmdline").replace(b"\0", b" ").decode(errors="replace").strip()


def processes(box=None):
    """[(pid, command line)] of ours: by name, or by APMP_BOX; with `box`, a run directory, of that.

    The variable's value is "RUNDIR:PID:STARTTIME" (apmpd/leftover.h).
    """
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        variables = read(entry / "environ").split(b"\0")
        if box:
            ours = any(v.startswith(f"APMP_BOX={box}:".encode()) or v == f"APMP_BOX={box}".encode()
                       for v in variables)
        else:
            ours = (read(entry / "comm").startswith(b"apmp")
                    or any(v.startswith(b"APMP_BOX=") for v in variables))
        if ours and process_state(entry.name) not in (None, "Z", "X"):
            found.append((int(entry.name), command(entry.name)))
    return found


def cgroups(prefix="apmp"):
    """Directories of ours in any hierarchy; only the topmost of each tree is named."""
    found = []

    def visit(directory, depth):
        try:
            entries = [e for e in os.scandir(directory) if e.is_dir(follow_symlinks=False)]
        except OSError:
            return
        for entry in entries:
            if entry.name.startswith(prefix):
                found.append(entry.path)
            elif depth < CGROUP_DEPTH:
                visit(entry.path, depth + 1)

    visit(CGROUP_TOP, 1)
    return found


def sockets():
    """Unix sockets bound under a directory named apmp."""
    lines = read("/proc/net/unix").decode(errors="replace").splitlines()[1:]
    paths = (line.split(maxsplit=7)[7] for line in lines if len(line.split(maxsplit=7)) == 8)
    return [path for path in paths if "/apmp" in path or path.startswith("@apmp")]


def files():
    """Shared memory and temporary files, and what stands in a runtime or state directory."""
    found = [*Path("/dev/shm").glob("*apmp*"), *Path("/tmp").glob("apmp-*")]
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if runtime:
        found += Path(runtime).glob("apmp/*")
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state"
    found += Path(state).glob("apmp/*")
    return [str(path) for path in found]


def find():
    """Everything, as a set of sentences that can be compared with an earlier one."""
    return {*(f"process {pid}: {command}" for pid, command in processes()),
            *(f"control group {path}" for path in cgroups()),
            *(f"socket {path}" for path in sockets()),
            *(f"file {path}" for path in files())}


if __name__ == "__main__":
    things = sorted(find())
    for thing in things:
        print(f"left behind: {thing}")
    sys.exit(1 if things else 0)
