#!/usr/bin/python3
"""Whether a run of the model passes exactly the points that a real run passed, in their order.

trace.py NAME... < points: the points as `apmp trace --json` prints them, from the power-on of the
machine on, and the names of its three or four partitions by partition id. Spin decides (trace.pml).

The last line is "accepted: N points" or "rejected: ...", with the first point that no run reaches.
"""
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
LIMIT = 600  # seconds: only guards against a hang
ROWS = 4095  # trace.pml
BOOTS, FENCES = "map_602", "fence_bugcheck"
# Points whose argument is an identity.
ABOUT = ("lock_wait", "lock_broken", "recover_begin", FENCES, "member_gone", "member_added")
NOBODY = 255


def known_points():
    """Points that the model passes, and their numbers."""
    text = (HERE / "member.pml").read_text()
    found = re.findall(r"\b(?:AT|PASSES|AT_OF)\((\w+)|\bP_(\w+)", text)
    names = sorted({one or other for one, other in found} - {"point"})
    return {name: number for number, name in enumerate(names, 1)}


def identity_id(identity):
    """Partition id (shm/layout_common.h)."""
    return (identity & 0xffff) - 1 if 0 < identity & 0xffff < NOBODY else NOBODY


def relevant(entries, names):
    """Those of the partitions that the model passes, by time."""
    points = known_points()
    return sorted((entry for entry in entries if entry["who"] in names and
                   entry["point"] in points), key=lambda entry: entry["t_ns"])


class Model:
    """The model with the points as a constraint, compiled once for any number of traces."""

    def __init__(self, names):
        self.names, self.points = names, known_points()
        self.folder = tempfile.TemporaryDirectory(prefix="apmp-trace-")
        defines = {"TRACE": 1, "N": len(names), "FAULTS": 1, "LEAVES": 1, "NOTICE": 1, "REBOOT": 1,
                   **{f"P_{name}": number for name, number in self.points.items()}}
        self._run("spin", "-a", *(f"-D{name}={value}" for name, value in defines.items()),
                  str(HERE / "member.pml"))
        self._run("gcc", "-O0", "-w", "-DSAFETY", "-DNOREDUCE", "-DCOLLAPSE", "-DMEMLIM=4000",
                  "-o", "pan", "pan.c")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.folder.cleanup()

    def _run(self, *command):
        done = subprocess.run(command, cwd=self.folder.name, stdout=subprocess.PIPE, text=True,
                              stderr=subprocess.STDOUT, timeout=LIMIT, check=False)
        if done.returncode:
            raise RuntimeError(f"{command[0]}: {done.stdout}")
        return done.stdout

    def _rows(self, entries):
        """The file that trace.pml reads; made from the end, for it says what comes."""
        following, fenced, rows = [0] * len(self.names), [0] * len(self.names), []
        rows.append(bytes([NOBODY, 0, NOBODY, *following, *fenced]))
        for entry in reversed(entries):
            who, point = self.names.index(entry["who"]), entry["point"]
            about = identity_id(entry["arg"]) if point in ABOUT else NOBODY
            following[who] = self.points[point]
            fenced[who] &= point != BOOTS
            if point == FENCES:
                fenced[about] = 1
            rows.append(bytes([who, self.points[point], about, *following, *fenced]))
        return b"".join(reversed(rows))

    def decide(self, entries):
        """None when the model has such a run, else how many of these points it can pass."""
        if len(entries) >= ROWS:
            raise ValueError(f"{len(entries)} points; there is room for {ROWS - 1}")
        Path(self.folder.name, "trace").write_bytes(self._rows(entries))
        said = self._run("./pan", "-E", "-m1000000")  # -E: it may end anywhere
        if re.search(r"^pan:1: assertion violated \(the_trace_is_passed\|\|", said, re.M):
            return None
        if not re.search(r"errors: 0$", said, re.M) or "Search not completed" in said:
            raise RuntimeError(f"spin did not decide:\n{said}")
        return max(map(int, re.findall(r"^reached (\d+)$", said, re.M)), default=0)


def main(names):
    if len(names) not in (3, 4):
        sys.exit(__doc__)
    entries = relevant([json.loads(line) for line in sys.stdin], names)
    with Model(names) as model:
        reached = model.decide(entries)
    if reached is None:
        print(f"accepted: {len(entries)} points")
        return 0
    entry = entries[reached]
    print(f"rejected: no run of the model gets beyond point {reached + 1} of {len(entries)}, "
          f"{entry['point']} in {entry['who']} at {entry['t_ns']} ns")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
