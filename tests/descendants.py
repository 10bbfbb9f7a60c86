"""Everything that this process has started, at any distance: waiting for it, and ending it.

A test kills processes whose children live on, and daemons leave their parents. So that none gets
away, this process adopts all orphans below it (a child subreaper, prctl(2)), reaps them, and can
kill whatever is still there. It only ever touches its own descendants.
"""
import ctypes
import os
import select
import signal
import time

import leftovers

PR_SET_CHILD_SUBREAPER = 36
LOOK_EVERY = 1000  # milliseconds between looks for orphans that want to be reaped
KILL_LIMIT = 30    # seconds; a process in state D does not die


def adopt():
    """Makes this process the parent of all orphans below it."""
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


def children():
    """Process ids of direct children, dead ones included."""
    own = str(os.getpid())
    found = []
    for name in os.listdir("/proc"):
        stat = leftovers.read(f"/proc/{name}/stat") if name.isdigit() else b""
        if stat and stat.rpartition(b")")[2].split()[1].decode() == own:
            found.append(int(name))
    return found


def reap(child):
    """Reaps adopted orphans that have ended; gives (how many, those that live).

    Who has reaped one has to look again: its children may have become ours just then.
    """
    reaped, living = 0, []
    for pid in children():
        if pid == child.pid and child.returncode is None:
            continue
        if os.waitpid(pid, os.WNOHANG) == (0, 0):
            living.append(pid)
        else:
            reaped += 1
    return reaped, living


def wait(child, limit):
    """The exit status of a Popen, or None when it has not ended within limit seconds."""
    deadline = time.monotonic() + limit
    fd = os.pidfd_open(child.pid)
    try:
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        while not poll.poll(LOOK_EVERY):
            reap(child)
            if time.monotonic() > deadline:
                return None
    finally:
        os.close(fd)
    return child.wait()


def outlive(child, grace):
    """What outlives a child that has ended by more than grace seconds: its command lines."""
    deadline = time.monotonic() + grace
    while True:
        reaped, living = reap(child)
        if not reaped and not living:
            return []
        if time.monotonic() > deadline:
            return [leftovers.command(pid) for pid in living] or ["a chain of forks"]
        if living:
            wait_for_one(living[0], deadline - time.monotonic())


def wait_for_one(pid, seconds):
    """Waits for the end of one child that is not yet reaped."""
    fd = os.pidfd_open(pid)
    try:
        select.select([fd], [], [], max(0, seconds))
    finally:
        os.close(fd)


def kill_all():
    """Kills and reaps all descendants.

    By process group, which the kernel does in one go: nobody forks out of it. Each round makes
    the children of the killed our own, for the next round.
    """
    deadline = time.monotonic() + KILL_LIMIT
    while time.monotonic() < deadline:
        pids = children()
        if not pids:
            return
        for pid in pids:
            kill_group(pid)
        for pid in pids:
            wait_for_one(pid, deadline - time.monotonic())
            os.waitpid(pid, os.WNOHANG)
    raise TimeoutError(f"processes {children()} do not die")


def kill_group(pid):
    """Kills a child with its process group, if that is not ours as well."""
    group = os.getpgid(pid)
    if group == os.getpgrp():
        os.kill(pid, signal.SIGKILL)
    else:
        os.killpg(group, signal.SIGKILL)
