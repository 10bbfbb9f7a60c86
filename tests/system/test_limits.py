"""Not enough of something: refused before anything is changed, with what was wanted and had; and a
machine that just fits lives under its limits. Nobody is killed for memory, nobody gets a SIGBUS.
"""
import contextlib
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

import apmp
import groups_v2
import leftovers

MIB = 1 << 20
VERSION = "v1" if Path("/sys/fs/cgroup/pids").exists() else "v2"
LIMIT, PEAK, USED, INACTIVE, EVENTS = (
    ("memory.limit_in_bytes", "memory.max_usage_in_bytes", "memory.usage_in_bytes",
     "total_inactive_file", "memory.oom_control") if VERSION == "v1" else
    ("memory.max", "memory.peak", "memory.current", "inactive_file", "memory.events"))

# Two partitions of four MiB, and one that is off.
SMALL = """\
machine: {name}
hardware:
  - {sbb: 0, cpus: 4, memory: 20M, iops: [{buses: [{}, {}, {}]}]}
communities:
  - {name: lab, shared: 6M}
partitions:
  - {name: alpha, community: lab, cpus: [0, 1], memory: 4M, buses: ["0.0.0"], boot: yes}
  - {name: beta, community: lab, cpus: [2], memory: 4M, buses: ["0.0.1"], boot: yes}
  - {name: gamma, community: lab, cpus: [3], memory: 6M, buses: ["0.0.2"]}
timing: {stop: 2s}
"""
SMALL_WANTS = (20 + 4 + 3) * MIB    # the machine, its firmware, its three partitions' processes
SMALL_THREADS = 10 + 4 * 3 + 2 * 4  # box and console; a partition; a CPU, which may migrate


class Group:
    """A group with a limit, for a machine of its own."""

    def __init__(self, path, inside):
        self.path, self.inside = path, inside

    def write(self, name, value):
        (self.path / name).write_text(str(value))

    def read(self, name):
        return (self.path / name).read_text()

    def number(self, name):
        return int(self.read(name))


@contextlib.contextmanager
def v1_group(controller):
    path = Path(f"/sys/fs/cgroup/{controller}/apmp-test-{os.getpid()}")
    try:
        path.mkdir()
    except OSError as error:
        pytest.skip(f"no group for {controller}: {error}")
    group = Group(path, ["sh", "-c", f"echo $$ > {path}/cgroup.procs && exec \"$@\"", "sh"])
    yield group
    for pid in group.read("cgroup.procs").split():
        os.kill(int(pid), 9)
    # The kernel takes its time to charge a dead process' memory back.
    for _ in range(1000):
        with contextlib.suppress(OSError):
            path.rmdir()
            return
    path.rmdir()


@contextlib.contextmanager
def v2_group(controller):
    """Each command has a group of its own below the one with the limit."""
    with groups_v2.slice_with(f"limits-{os.getpid()}", ["cpuset", controller]) as path:
        yield Group(path, groups_v2.in_a_scope(path))
        (path / "cgroup.kill").write_text("1")


group_with = v1_group if VERSION == "v1" else v2_group


@pytest.fixture
def memory():
    with group_with("memory") as group:
        group.write(LIMIT, 64 * MIB)
        yield group


@pytest.fixture
def pids():
    with group_with("pids") as group:
        yield group


def command(machine, *words, under=(), code=apmp.DONE, env=None):
    """A verb under some limit; gives what it said on standard output and error."""
    done = subprocess.run([*under, str(apmp.BIN / "apmp"), "--name", machine.name,
                           *map(str, words)], env=env or machine.env, cwd=machine.dir,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, timeout=apmp.WATCHDOG, check=False)
    assert done.returncode == code, done
    return done.stdout + done.stderr


def untouched(machine):
    """Nothing of it was made."""
    return (not machine.rundir.exists() and machine.processes() == []
            and leftovers.cgroups(f"apmp-{machine.name}") == [])


def refused(machine, what, wanted, limit, under):
    """`up` says this, and nothing was made; gives how much there was."""
    said = command(machine, "up", machine.file, under=under, code=apmp.REFUSED)
    found = re.search(rf'machine "{machine.name}" wants {wanted} {what} and (\d+) can be had '
                      rf"\((.*)\); ", said)
    assert found and limit in found.group(2), said
    assert untouched(machine)
    return int(found.group(1))


def whole_life(machine, under):
    """Everything that a machine does, by commands under the same limit."""
    assert command(machine, "run", "alpha", "--", "echo", "here", under=under) == "here\n"
    command(machine, "cpu", "migrate", "1", "--to", "beta", under=under)
    command(machine, "cpu", "migrate", "1", "--to", "alpha", under=under)
    command(machine, "partition", "boot", "gamma", under=under)
    machine.at_rest({"alpha", "beta", "gamma"})
    mark = machine.events.mark()
    machine.kill_partition("beta")
    machine.events.wait_for("instance.fenced", partition="beta", after=mark)
    command(machine, "partition", "boot", "beta", under=under)
    machine.at_rest({"alpha", "beta", "gamma"})
    mark = machine.events.mark()
    command(machine, "chaos", "inject", "kill", "console", under=under)
    machine.events.wait_for("console.restarted", after=mark)
    machine.at_rest({"alpha", "beta", "gamma"})
    command(machine, "partition", "halt", "gamma", under=under)


def no_oom(group):
    return "oom_kill 0" in group.read(EVENTS)


# Memory.


def test_a_machine_that_does_not_fit_into_its_memory_group(memory, make_machine):
    machine = make_machine(apmp.TRIO)
    had = refused(machine, "bytes of memory", (192 + 4 + 3) * MIB,
                  f"cgroup {VERSION} memory /{memory.path.name}", memory.inside)
    assert 40 * MIB < had < 64 * MIB
    assert no_oom(memory)


def test_one_that_fits_lives_in_64_mebibytes(memory, make_machine):
    machine = make_machine(SMALL)
    command(machine, "up", machine.file, under=memory.inside)
    whole_life(machine, memory.inside)
    assert no_oom(memory)
    assert memory.number(PEAK) < SMALL_WANTS + 8 * MIB


@contextlib.contextmanager
def hog(group, leave):
    """Something else in the group that has all but so many bytes, its own program counted; file
    pages that the kernel can drop are free, as the box sees it."""
    process = subprocess.Popen(
        [*group.inside, "python3", "-c",
         f"""import re, sys
x, usage, stat = [], open("{group.path}/{USED}"), open("{group.path}/memory.stat")
def used():
    usage.seek(0), stat.seek(0)
    return int(usage.read()) - int(re.search(r"^{INACTIVE} (.*)", stat.read(), re.M)[1])
while {64 * MIB - leave} - used() > 1 << 17:
    x.append(b"x" * (1 << 17))
print("has it", flush=True)
sys.stdin.read()"""],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "has it\n"
        yield
    finally:
        process.communicate(timeout=apmp.WATCHDOG)


def test_memory_that_others_have_taken_meanwhile(memory, make_machine):
    """Boot and run are refused with numbers, nothing has changed; they work when it is free."""
    machine = make_machine(SMALL)
    command(machine, "up", machine.file, under=memory.inside)
    before = machine.at_rest({"alpha", "beta"})
    with hog(memory, 4 * MIB):
        said = machine.refused("partition", "boot", "gamma")
        assert re.search(rf'not enough memory \(cgroup {VERSION} memory .*\) for partition "gamma"',
                         said), said
        after = machine.status()
        assert after["cpus"] == before["cpus"]
        assert apmp.instances(after)["gamma"] == apmp.instances(before)["gamma"]
    with hog(memory, MIB):  # the last two are for what runs already
        said = machine.refused("run", "alpha", "--", "true")
        assert f"not enough memory (cgroup {VERSION} memory" in said, said
    machine.apmp("partition", "boot", "gamma")
    machine.apmp("run", "alpha", "--", "true")
    machine.at_rest({"alpha", "beta", "gamma"})
    assert no_oom(memory)


def test_a_program_that_takes_all_is_the_one_that_goes(memory, make_machine):
    """Of all processes of the machine, and not the largest instance."""
    machine = make_machine(SMALL)
    command(machine, "up", machine.file, under=memory.inside)
    before = apmp.instances(machine.status())
    took = machine.try_apmp("run", "beta", "--", "python3", "-c",
                            "x = []\nwhile True: x.append(b'x' * (1 << 20))")
    assert took.code not in (0, 1), str(took)
    assert not no_oom(memory)
    after = apmp.instances(machine.status())
    assert {name: (i["pid"], i["state"]) for name, i in after.items() if "pid" in i} == {
        name: (i["pid"], i["state"]) for name, i in before.items() if "pid" in i}


# Limits of one process.

# Of an instance of SMALL: itself, its memory and its community's; and a stack with a
# gap for each CPU and for two threads that serve programs.
ADDRESSES = (64 + 6 + 6) * MIB + (4 + 2) * (8 * MIB + MIB // 8)


@pytest.mark.parametrize("limit, what, wanted, name", [
    ("--nofile=64:64", "descriptors", 200 + 3 * 19, "RLIMIT_NOFILE"),
    (f"--as={40 * MIB}", "bytes of address space of one instance", ADDRESSES, "RLIMIT_AS"),
    (f"--fsize={19 * MIB}", "bytes in one file", 20 * MIB, "RLIMIT_FSIZE"),
    pytest.param("--nproc=3", "processes and threads of one partition", 8, "RLIMIT_NPROC",
                 marks=pytest.mark.skipif(os.geteuid() != 0, reason="partitions have no uids")),
])
def test_too_little_for_one_process(make_machine, limit, what, wanted, name):
    refused(make_machine(SMALL), what, wanted, name, ["prlimit", limit])


def test_all_that_is_short_is_said_at_once(make_machine):
    machine = make_machine(SMALL)
    said = command(machine, "up", machine.file, code=apmp.REFUSED,
                   under=["prlimit", "--nofile=64:64", f"--as={40 * MIB}", f"--fsize={MIB}"])
    assert len(said.splitlines()) == 3, said
    assert untouched(machine)


def test_as_little_as_it_wants_is_enough(make_machine):
    machine = make_machine(SMALL)
    under = ["prlimit", f"--nofile=32:{200 + 3 * 19}", f"--as={ADDRESSES}",
             f"--fsize={20 * MIB}", "--nproc=8"]
    if os.environ.get("APMP_TEST_SLOW"):
        pytest.skip("a sanitizer has an address space of its own")
    command(machine, "up", machine.file, under=under)
    whole_life(machine, under=())


ONE = """\
machine: {name}
hardware:
  - {sbb: 0, cpus: 4, memory: 20M, iops: [{buses: [{}]}]}
communities:
  - {name: lab, shared: 6M}
partitions:
  - {name: alpha, community: lab, cpus: [0, 1, 2, 3], memory: 4M, buses: ["0.0.0"], boot: yes}
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="partitions have no uids")
def test_what_it_wants_for_one_partition_is_enough(make_machine):
    """All its CPUs work, and its programs are served."""
    machine = make_machine(ONE)
    command(machine, "up", machine.file, under=["prlimit", "--nproc=8:8"])
    machine.until(lambda now: all(cpu["state"] == "active" for cpu in now["cpus"]))
    assert machine.apmp("run", "alpha", "--", str(apmp.BIN / "apmp-events"), "--now")


# Processes.


def test_too_few_processes(pids, make_machine):
    pids.write("pids.max", 20)
    had = refused(make_machine(SMALL), "processes and threads", SMALL_THREADS,
                  f"cgroup {VERSION} pids /{pids.path.name}", pids.inside)
    assert 10 < had < 20


def test_processes_that_others_have_taken_meanwhile(pids, make_machine):
    """Boot, run and migration are refused by number, nothing has changed."""
    machine = make_machine(SMALL)
    pids.write("pids.max", SMALL_THREADS + 4)  # apmp itself, and the shell that it is in
    command(machine, "up", machine.file, under=pids.inside)
    whole_life(machine, pids.inside)
    before = machine.status()
    pids.write("pids.max", pids.number("pids.current"))
    for words in (["partition", "boot", "gamma"], ["run", "alpha", "--", "true"],
                  ["cpu", "migrate", "1", "--to", "beta"]):
        said = machine.refused(*words)
        assert re.search(rf"not enough processes and threads \(cgroup {VERSION} pids .*\) for "
                         r'partition "\w+": \d wanted, 0 there', said), said
    after = machine.status()
    assert after["cpus"] == before["cpus"]
    assert apmp.instances(after)["gamma"] == apmp.instances(before)["gamma"]
    assert {i.get("pid") for i in apmp.instances(after).values()} == {
        i.get("pid") for i in apmp.instances(before).values()}
    pids.write("pids.max", "max")
    whole_life(machine, pids.inside)


def test_no_process_for_a_new_console_or_guard(pids, make_machine):
    """They come when there is one again; until then the box tries, slowly, and says why."""
    machine = make_machine(SMALL)
    command(machine, "up", machine.file, under=pids.inside)
    pids.write("pids.max", 1)
    console = next(pid for pid, _ in machine.processes()
                   if leftovers.read(f"/proc/{pid}/comm") == b"apmp-console\n")
    machine.kill(console)
    machine.until(lambda log: "cannot start the console: Resource temporarily unavailable" in log,
                  lambda: (machine.rundir / "apmpd.log").read_text())
    waiting = machine.start("status")
    assert "Resource temporarily unavailable" in waiting.stderr.readline()
    pids.write("pids.max", "max")
    assert waiting.wait(apmp.WATCHDOG) == 0
    machine.at_rest({"alpha", "beta"})


# Disk.


@pytest.fixture
def small_disk():
    """A file system of a quarter of a MiB."""
    folder = Path(f"/tmp/apmp-disk-{os.getpid()}")
    folder.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k,mode=700", "apmp-test", folder],
                          capture_output=True, text=True, check=False)
    if made.returncode:
        folder.rmdir()
        pytest.skip(f"no mount: {made.stderr}")
    yield folder
    subprocess.run(["umount", folder], check=True)
    folder.rmdir()


def fill(folder):
    """Takes the last byte."""
    with open(folder / "full", "wb", buffering=0) as file:
        with contextlib.suppress(OSError):
            while True:
                file.write(b"x" * 4096)


def move(machine, folder):
    """Its run directory is to be there."""
    shutil.rmtree(machine.runtime)
    machine.runtime = folder
    machine.rundir = folder / "apmp" / machine.name
    machine.env["XDG_RUNTIME_DIR"] = str(folder)


def test_a_full_disk(small_disk, make_machine):
    machine = make_machine(SMALL)
    move(machine, small_disk)
    fill(small_disk)
    assert refused(machine, "bytes for the run directory", 64 << 10, str(small_disk), ()) == 0


def test_a_disk_that_gets_full(small_disk, make_machine):
    """The machine goes on, and its log says that something is missing."""
    machine = make_machine(SMALL)
    move(machine, small_disk)
    machine.up()
    fill(small_disk)
    whole_life(machine, ())
    for _ in range(40):  # each is in the log, whose last page had some room
        machine.apmp("chaos", "inject", "kill", "console")
    (small_disk / "full").unlink()
    mark = machine.events.mark()
    machine.apmp("chaos", "inject", "kill", "console")
    machine.events.wait_for("console.restarted", after=mark)
    log = (machine.rundir / "apmpd.log").read_text()
    assert re.search(r"^\(about \d+ bytes are missing here: the disk was full\)$", log, re.M), log
    fill(small_disk)
    machine.down()
