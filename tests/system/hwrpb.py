"""What a failing instance leaves in its HWRPB, read (and its failover table written) from outside.

Offsets are those of the layout dump. The memory is the box's: it stays when the process has ended,
until the partition boots again.
"""
import json
import mmap
import os
import struct
from pathlib import Path

GOLDEN = Path(__file__).resolve().parent.parent / "golden/layouts.json"
STRUCTURES = json.loads(GOLDEN.read_text())["structures"]
HWRPB_FD, WORD, HALF = 4, "<Q", "<I"
AWAY, QUIESCED, HALTED = 1, 5, 6  # of enum hwrpb_cpu_state
AVAILABLE = 0x2  # HWRPB_PA
REASONS = {1: "instruction", 2: "assertion", 3: "signal", 4: "runner", 5: "removed", 6: "exit"}


def field(structure, name):
    return next(f for f in STRUCTURES[structure]["fields"] if f["name"] == name)


class Hwrpb:
    """The HWRPB of a partition that runs."""

    def __init__(self, machine, partition):
        fd = os.open(f"/proc/{machine.pid(partition)}/fd/{HWRPB_FD}", os.O_RDWR)
        self.memory = mmap.mmap(fd, os.fstat(fd).st_size)
        os.close(fd)

    def _word(self, kind, structure, base, name):
        return struct.unpack_from(kind, self.memory, base + field(structure, name)["offset"])[0]

    @staticmethod
    def _slot(cpu):
        return field("hwrpb", "slot")["offset"] + STRUCTURES["hwrpb_slot"]["size"] * cpu

    def set_failover(self, cpu, *targets):
        """Targets are partition ids, as Fig. 25 has them: the first that lives gets the CPU."""
        word = sum(target + 1 << 8 * place for place, target in enumerate(targets))
        at = field("hwrpb", "failover")["offset"] + 8 * cpu
        struct.pack_into(WORD, self.memory, at, word)

    def make_available(self, cpu, available=True):
        """As if the console had given the CPU to this partition, or taken it away."""
        at = self._slot(cpu)
        flags = self._word(WORD, "hwrpb_slot", at, "flags")
        struct.pack_into(WORD, self.memory, at + field("hwrpb_slot", "flags")["offset"],
                         flags | AVAILABLE if available else flags & ~AVAILABLE)

    def crash(self):
        """The last gasp, or None."""
        base = field("hwrpb", "crash")["offset"]
        half = [self._word(HALF, "hwrpb_crash", base, name)
                for name in ("state", "reason", "thread", "signal")]
        if half[0] != 2:
            return None
        text = base + field("hwrpb_crash", "text")["offset"]
        said = self.memory[text:text + field("hwrpb_crash", "text")["size"]]
        return {"reason": REASONS[half[1]], "thread": half[2], "signal": half[3],
                "address": self._word(WORD, "hwrpb_crash", base, "address"),
                "t_ns": self._word(WORD, "hwrpb_crash", base, "t_ns"),
                "image": self._word(WORD, "hwrpb_crash", base, "image"),
                "text": said.split(b"\0")[0].decode()}

    def state(self, cpu):
        """What the instance did with a CPU last: enum hwrpb_cpu_state."""
        return self._word(HALF, "hwrpb_slot", self._slot(cpu), "state")

    def bound(self, cpu):
        """Number of the task that is bound to a CPU, or 0."""
        return self._word(HALF, "hwrpb_slot", self._slot(cpu), "bound")

    def asked(self, cpu):
        """Number of the operator's last request about a CPU, the number that was answered last, and
        with what."""
        base = self._slot(cpu) + field("hwrpb_slot", "request")["offset"]
        answer = self._word(WORD, "hwrpb_request", base, "answer")
        return (self._word(HALF, "hwrpb_request", base, "seq"), answer >> 32,
                (answer & 0xffffffff ^ 2**31) - 2**31)

    def context(self, cpu):
        """The context that was saved for a CPU, or None."""
        size = STRUCTURES["hwrpb_context"]["size"]
        base = field("hwrpb", "saved")["offset"] + size * cpu
        if self._word(HALF, "hwrpb_context", base, "state") != 2:
            return None

        def words(name, count):
            at = base + field("hwrpb_context", name)["offset"]
            number = self._word(HALF, "hwrpb_context", base, count)
            return list(struct.unpack_from(f"<{number}Q", self.memory, at))

        return {"task": self._word(WORD, "hwrpb_context", base, "task"),
                "registers": words("reg", "register_count"),
                "frames": words("frame", "frame_count")}


def store_runner(machine, partition, cpu, value):
    """A stray store into the execution word of a CPU."""
    pid = machine.pid(partition)
    for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
        if "memfd:lines " in line and " rw-s " in line:
            size = STRUCTURES["apmp_intr_line"]["size"]
            with open(f"/proc/{pid}/mem", "r+b", buffering=0) as memory:
                memory.seek(int(line.split("-")[0], 16) + cpu * size
                            + field("apmp_intr_line", "runner")["offset"])
                memory.write(struct.pack(WORD, value))
            return
    raise AssertionError(f"process {pid} has no lines mapped")
