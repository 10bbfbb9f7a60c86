"""Programs in a partition get the capacity of its CPUs, also where CPUs share host CPUs."""
import json
import mmap
import os
import struct
import subprocess
import sys
from pathlib import Path

import pytest

import apmp
import leftovers

HOST_CPUS = len(os.sched_getaffinity(0))
EACH = 3  # CPUs on a host CPU, round robin
CPUS = HOST_CPUS * EACH
# Both partitions have CPUs on every host CPU; a twice as many as b.
SHARED = f"""\
machine: {{name}}
hardware: [{{sbb: 0, cpus: {CPUS}, memory: 64M, iops: [{{buses: [{{}}, {{}}]}}]}}]
communities: [{{name: lab, shared: 16M}}]
partitions:
  - {{name: a, community: lab, cpus: {list(range(2 * HOST_CPUS))}, memory: 8M,
     buses: ["0.0.0"], boot: yes}}
  - {{name: b, community: lab, cpus: {list(range(2 * HOST_CPUS, CPUS))}, memory: 8M,
     buses: ["0.0.1"], boot: yes}}
timing: {{stop: 2s}}
"""
ALONE = """\
machine: {name}
hardware: [{{sbb: 0, cpus: {count}, memory: 16M, iops: [{{buses: [{{}}]}}]}}]
partitions: [{{name: a, cpus: {cpus}, memory: 8M, buses: ["0.0.0"], boot: yes}}]
"""
WORKERS = 2 * HOST_CPUS  # in each partition
# Its children count what they do, each in a word of a file; it answers each line that it reads.
WORK = """
import mmap, os, struct, sys
count, path = int(sys.argv[1]), sys.argv[2]
with open(path, "r+b") as file:
    done = mmap.mmap(file.fileno(), 8 * count)
for child in range(count):
    if os.fork() == 0:
        for unit in range(1 << 62):
            for _ in range(1000):
                pass
            struct.pack_into("Q", done, 8 * child, unit)
for line in sys.stdin:
    print(line, end="", flush=True)
"""
UNITS = 40000  # of work by both: about a second on two host CPUs

V1 = Path("/sys/fs/cgroup/cpu")
DOCTOR = json.loads(subprocess.run([apmp.BIN / "apmp", "--json", "doctor"], capture_output=True,
                                   check=False).stdout)
SHARE = next(line for line in DOCTOR["checks"] if line["what"] == "share of CPUs")
needs_quota = pytest.mark.skipif(SHARE["state"] != "ok", reason=SHARE["found"])


class Busy(apmp.Program):
    """Programs that work as much as they may, and can be looked at without asking them: an answer
    would be as late as its partition is short of capacity."""

    def __init__(self, machine, partition, counts):
        counts.write_bytes(bytes(8 * WORKERS))
        with open(counts, "r+b") as file:
            self.counts = mmap.mmap(file.fileno(), 8 * WORKERS)
        super().__init__(machine, partition, sys.executable, "-c", WORK, WORKERS, counts)

    def done(self):
        return sum(struct.unpack(f"{WORKERS}Q", self.counts))


def work_of_both(programs):
    """How much each has done while both together did a certain amount."""
    before = [program.done() for program in programs]
    done = [0, 0]
    while sum(done) < UNITS:
        for program in programs:
            program.ask()  # only so as not to look all the time
        done = [program.done() - first for program, first in zip(programs, before)]
    return done


def capacities(machine):
    return {each["name"]: each["capacity"] for each in machine.status()["partitions"]}


def group(machine, partition):
    """The group that has the quota of the partition's programs."""
    top = next(path for path in leftovers.cgroups(f"apmp-{machine.name}")
               if "/cpuset/" not in path)
    return Path(top) / f"P-{partition}" / ("" if V1.exists() else "programs")


def quota(machine, partition):
    """In host CPUs; None: none."""
    at = group(machine, partition)
    wanted, period = ((at / f"cpu.cfs_{what}_us").read_text() for what in ("quota", "period")
                      ) if V1.exists() else (at / "cpu.max").read_text().split()
    return None if wanted.strip() in ("-1", "max") else int(wanted) / int(period)


def quotas_follow(machine):
    machine.until(lambda now: all((has := quota(machine, name)) and abs(has - capacity) < 0.01
                                  for name, capacity in now.items()),
                  lambda: capacities(machine))


@needs_quota
@pytest.mark.machine_file(SHARED)
def test_work_follows_the_cpus(machine, tmp_path):
    """Twice the CPUs, twice the work; and the other way round when they have gone over. Without
    quotas both would do the same each time; what others do on this host may spoil a look at it.
    shows: CPU-15"""
    programs = [Busy(machine, name, tmp_path / name) for name in "ab"]
    for program in programs:
        program.ask()
    assert capacities(machine) == pytest.approx(
        {"a": 2 * HOST_CPUS / EACH, "b": HOST_CPUS / EACH}, abs=0.01)
    for wanted in (2, 1 / 2, 2):
        machine.until(lambda done: 0.7 * wanted * done[1] < done[0] < 1.4 * wanted * done[1],
                      lambda: work_of_both(programs))
        for cpu in range(HOST_CPUS, 2 * HOST_CPUS):
            machine.apmp("cpu", "migrate", cpu, "--to", "b" if wanted == 2 else "a")
        quotas_follow(machine)
    for program in programs:
        assert program.end() == 0


@needs_quota
@pytest.mark.machine_file(SHARED)
def test_its_programs_are_counted_and_its_instance_is_not(machine, tmp_path):
    """The kernel measures what they use in each period; who beats is never held back.
    shows: CPU-15"""
    program = Busy(machine, "b", tmp_path / "b")
    program.ask()

    def periods():
        stat = dict(line.split() for line in (group(machine, "b") / "cpu.stat").read_text()
                    .splitlines())
        return int(stat["nr_periods"])

    machine.until(lambda times: times >= 20, periods)
    assert str(machine.pid("b")) not in (group(machine, "b") / "cgroup.procs").read_text().split()
    assert apmp.members(machine.status()) == {"a", "b"}
    assert program.end() == 0


@needs_quota
@pytest.mark.machine_file(SHARED)
def test_it_follows_through_the_death_of_a_console(machine):
    """shows: CPU-15"""
    assert machine.apmp("run", "a", "--", "echo", "on") == "on\n"
    assert machine.apmp("run", "b", "--", "echo", "on") == "on\n"
    quotas_follow(machine)
    for point in ("pal_2206", "pal_2216", "migrate_908"):
        mark = machine.events.mark()
        to = next(name for name in "ab" if name != machine.cpu(2)["current_owner"])
        machine.arm("console", point)
        machine.try_apmp("cpu", "migrate", 2, "--to", to)
        machine.events.wait_for("console.restarted", after=mark)
        machine.at_rest({"a", "b"})
        quotas_follow(machine)
    machine.apmp("partition", "halt", "b")
    machine.boots_and_joins("b")
    assert machine.apmp("run", "b", "--", "echo", "on") == "on\n"
    quotas_follow(machine)


@needs_quota
@pytest.mark.parametrize("each", [1, EACH])
def test_whole_host_cpus_have_no_quota(make_machine, each):
    """Where nobody else's CPU stands on its host CPUs there is nothing to share. shows: CPU-15"""
    count = each * HOST_CPUS
    machine = make_machine(ALONE.format(name="{name}", count=count, cpus=list(range(count))))
    machine.up()
    assert machine.apmp("run", "a", "--", "echo", "on") == "on\n"
    assert capacities(machine) == {"a": HOST_CPUS}
    assert quota(machine, "a") is None
    assert machine.status()["health"]["capacity"] == {"shared": False, "enforced": True,
                                                      "why": None}
    assert "shared CPUs" not in machine.apmp("status")


def test_where_it_can_not_be_enforced_it_is_said(make_machine):
    """In status, by its reason. shows: CPU-15"""
    machine = make_machine(SHARED)
    machine.env["APMP_BACKEND"] = "affinity"
    machine.up()
    health = machine.status()["health"]["capacity"]
    assert (health["shared"], health["enforced"]) == (True, False)
    assert health["why"] == "affinity has no groups for that"
    said = machine.apmp("status")
    assert "programs get what the host gives them, not the capacity of their partition" in said
    assert machine.apmp("run", "a", "--", "echo", "on") == "on\n"


@pytest.mark.machine_file(SHARED)
def test_a_program_that_pinned_itself(machine):
    """It goes on when the CPU under it leaves, and is where it wanted to be when one comes back.
    shows: CPU-15"""
    if HOST_CPUS < 2 or machine.status()["backend"] == "affinity":
        pytest.skip("needs two host CPUs and groups")
    host_cpu = {cpu["id"]: cpu["host_cpu"] for cpu in machine.status()["cpus"]}
    last = host_cpu[1]
    leave = [cpu for cpu in range(2 * HOST_CPUS) if host_cpu[cpu] == last]
    program = apmp.Program(machine, "a", sys.executable, "-c",
                           f"import os, sys; os.sched_setaffinity(0, [{last}])\n"
                           "for _ in sys.stdin: print(*os.sched_getaffinity(0), flush=True)")
    assert program.ask() == str(last)
    for cpu in leave:
        machine.apmp("cpu", "migrate", cpu, "--to", "b")
    assert set(map(int, program.ask().split())) == apmp.cpus_of(machine.status(), "a") - {last}
    for cpu in leave:
        machine.apmp("cpu", "migrate", cpu, "--to", "a")
    release = tuple(map(int, os.uname().release.split("-")[0].split(".")[:2]))
    if release >= (6, 2):  # apmpd/cpuset.h
        assert program.ask() == str(last)
    assert program.end() == 0


@needs_quota
@pytest.mark.machine_file(SHARED)
def test_a_group_above_that_allows_less(machine):
    """As a container's. What it allows holds for all programs; they run, and CPUs migrate.
    shows: CPU-15"""
    top = group(machine, "a").parent
    period = int((top / "cpu.cfs_period_us").read_text())
    (top / "cpu.cfs_quota_us").write_text(str(period // 2))
    for name in "ab":
        assert machine.apmp("run", name, "--", "echo", "on") == "on\n"
    assert quota(machine, "a") is None
    for to in "ba":
        for cpu in range(1, 2 * HOST_CPUS):
            machine.apmp("cpu", "migrate", cpu, "--to", to)
        machine.at_rest({"a", "b"})
    assert machine.apmp("run", "a", "--", "echo", "on") == "on\n"
    (top / "cpu.cfs_quota_us").write_text("-1")
    for to in "ba":
        machine.apmp("cpu", "migrate", 1, "--to", to)
        quotas_follow(machine)  # a CPU that is soon back changes nothing, and nothing is written
