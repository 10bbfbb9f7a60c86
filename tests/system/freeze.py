"""Processes that stand still, whatever is sent to them: the freezer of cgroup v1."""
import os
import select
from pathlib import Path

BASE = Path("/sys/fs/cgroup/freezer")


def pause_of(seconds):
    """A pause of the host is a time, and no event ends it."""
    select.select([], [], [], seconds)


class Freezer:
    """A group of our own; OSError: there is none to be had."""

    def __init__(self):
        self._group = BASE / f"apmp-test-{os.getpid()}"
        self._group.mkdir()

    def freeze(self, *pids):
        self._freeze("cgroup.procs", pids)

    def freeze_thread(self, tid):
        self._freeze("tasks", [tid])

    def _freeze(self, file, numbers):
        for number in numbers:
            (self._group / file).write_text(str(number))
        self._state("FROZEN")
        while self._state() != "FROZEN":  # FREEZING: not all have stopped yet
            pass

    def thaw(self):
        self._state("THAWED")

    def close(self):
        self.thaw()
        for tid in (self._group / "tasks").read_text().split():
            (BASE / "tasks").write_text(tid)
        self._group.rmdir()

    def _state(self, wanted=None):
        state = self._group / "freezer.state"
        return state.write_text(wanted) if wanted else state.read_text().strip()
