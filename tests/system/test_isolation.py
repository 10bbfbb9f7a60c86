"""What keeps partitions apart, and what does not (DESIGN 3).

attacker.py tries every way from within a partition. Where the box runs as root, each is refused,
with the errno that the kernel has for it; and each succeeds when the barrier is taken away, so that
the attempts themselves are good: the same program as the user of the box, or against its own
partition. As an ordinary user the promise is less, and it is shown how much less.
"""
import json
import mmap
import os
import re
import shutil
import signal
import struct
import subprocess
from pathlib import Path

import pytest

import apmp
import attacker
import leftovers
from standin import Box, Watched, command

LAYOUTS = json.loads((apmp.TOP / "tests/golden/layouts.json").read_text())
PYTHON = "/usr/bin/python3"
ORDINARY = 59999  # a uid that nobody has
GRANULE = 2 << 20

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="partitions have uids where root runs")

# Alpha is not booted at power on: its instance may be the attacker.
MACHINE = apmp.TRIO.replace('buses: ["0.0.0"], boot: yes', 'buses: ["0.0.0"], boot: no')

NOBODY_ELSES = dict.fromkeys(attacker.PROCESS, "EPERM") | dict.fromkeys(
    ("mem", "mem_read", "maps", "environ", "fd_list", "map_files", "exe", "namespace",
     "oom_score_adj", "fd_reopen"), "EACCES")
EVERYTHING = dict.fromkeys(attacker.PROCESS, "done")


class Isolated(apmp.Machine):
    """A machine whose folders let everybody in but where it keeps them out itself."""

    def __init__(self, text=MACHINE):
        super().__init__(text)
        self.dir.chmod(0o755)
        self.runtime.chmod(0o755)
        self.attacker = Path(shutil.copy(attacker.__file__, self.dir))
        self.answer = self.dir / "answer"
        self.answer.mkdir()
        self.answer.chmod(0o1777)
        self.suid = Path(shutil.copy("/usr/bin/id", self.dir / "suid"))
        self.suid.chmod(0o4755)

    def put_in_place_of_alpha(self, program):
        """Its instance is this; the others are as they are."""
        libexec = self.dir / "libexec"
        libexec.mkdir()
        for name in ("apmp-console", "apmp-instance"):
            shutil.copy(apmp.BIN / name, libexec / f"{name}.real")
        (libexec / "apmp-console.real").rename(libexec / "apmp-console")
        script = libexec / "apmp-instance"
        script.write_text(f'#!/bin/sh\n[ "$APMP_PARTITION" = alpha ] && exec {program}\n'
                          f'exec {libexec}/apmp-instance.real\n')
        script.chmod(0o755)
        self.env["APMP_LIBEXEC"] = str(libexec)

    def console_pid(self):
        return next(pid for pid, command_line in self.processes()
                    if command_line.startswith("apmp-console"))

    def group(self, pid):
        """The group that keeps a process on its host CPUs; None: there is none."""
        lines = Path(f"/proc/{pid}/cgroup").read_text()
        v1 = re.search(r"^\d+:cpuset:(.*/apmp-.*)$", lines, re.M)
        v2 = re.search(r"^0::(.*/apmp-.*)$", lines, re.M)
        if v1:
            return f"/sys/fs/cgroup/cpuset{v1.group(1)}"
        return f"/sys/fs/cgroup{v2.group(1)}" if v2 else None

    def told(self, own=None):
        """What the attacker is told; own: the pid of its instance."""
        victims = {"neighbour": self.pid("beta"), "console": self.console_pid(),
                   "box": self.box_pid(), **({"own": own} if own else {})}
        places = {"control": self.rundir / "control", "rundir": self.rundir,
                  "log": self.rundir / "apmpd.log", "suid": self.suid,
                  "neighbour_port": os.readlink(f"/proc/{victims['neighbour']}/fd/0")}
        if (self.rundir / "uids").exists():
            places["uids"] = self.rundir / "uids"
            places["claim"] = f"apmp-uids-{(self.rundir / 'uids').read_text()}"
        group = self.group(victims["neighbour"])
        if group:
            cpus = Path(group) / "cpuset.cpus"  # cgroup v2: of the partition as a whole
            places |= {"neighbour_group": f"{group}/cgroup.procs", "new_group": group,
                       "own_group": str(cpus if cpus.exists()
                                        else cpus.parent.parent / cpus.name)}
        return {"victims": {name: victim(pid) for name, pid in victims.items()},
                "places": {name: str(path) for name, path in places.items()}}


def victim(pid):
    """A process, a byte of its own that may be written, and the number of a memfd that it has."""
    at = next(line for line in Path(f"/proc/{pid}/maps").read_text().splitlines()
              if " rw-p " in line)
    fd = next(fd for fd in os.listdir(f"/proc/{pid}/fd")
              if re.match(r"/memfd:(hwrpb|ram|config)", os.readlink(f"/proc/{pid}/fd/{fd}")))
    return {"pid": pid, "address": int(at.split("-")[0], 16), "fd": int(fd)}


@pytest.fixture
def make_isolated(request):
    machines = []

    def make(*arguments, kind=Isolated):
        machines.append(kind(*arguments))
        return machines[-1]

    yield make
    wrong = []
    for made in machines:
        report = getattr(request.node, "report_call", None)
        failed = report is not None and report.failed
        if failed and not isinstance(made, Box):  # whose console is the test, and doesn't answer
            print(f"kept for a look: {made.save_failure(request.node.name)}")
        said = made.close()
        for log in sorted(made.rundir.glob("*.log")) if failed or said else ():
            print(f"--- {log.name}\n{log.read_text()}")
        wrong += said
        made.remove()
    assert not wrong, "\n".join(wrong)


@pytest.fixture
def isolated(make_isolated):
    made = make_isolated(apmp.TRIO)
    made.up()
    return made


def attack(machine, *options, partition="alpha"):
    told = machine.told(machine.pid(partition))
    return json.loads(machine.apmp("run", *options, partition, "--", PYTHON, machine.attacker,
                                   json.dumps(told)))


# As root.


@needs_root
def test_each_partition_has_a_uid_of_its_own(isolated):
    """Told by status, had by its instance, without a group or a capability; a new console knows it.
    shows: TREE-20"""
    def uids(machine):
        return {partition["name"]: partition["uid"] for partition in machine.status()["partitions"]
                if partition["instance"].get("pid")}

    told = uids(isolated)
    assert len(set(told.values())) == 3 and min(told.values()) >= 32768
    for name, uid in told.items():
        status = Path(f"/proc/{isolated.pid(name)}/status").read_text()
        for field, wanted in (("Uid", [uid] * 4), ("Gid", [uid] * 4), ("Groups", []),
                              ("NoNewPrivs", [1]), ("CapInh", [0]), ("CapPrm", [0]),
                              ("CapEff", [0]), ("CapBnd", [0]), ("CapAmb", [0])):
            assert [int(n) for n in re.search(rf"^{field}:(.*)$", status, re.M).group(1).split()
                    ] == wanted, field
    isolated.kill(isolated.console_pid())
    isolated.events.wait_for("console.restarted")
    assert uids(isolated) == told
    isolated.apmp("partition", "halt", "gamma")
    assert "uid" not in isolated.partition("gamma")


@needs_root
def test_two_machines_share_no_uid(make_isolated):
    machines = [make_isolated(apmp.TRIO) for _ in range(2)]
    uids = set()
    for machine in machines:
        machine.up()
        uids |= {partition["uid"] for partition in machine.status()["partitions"]}
    assert len(uids) == 6


@needs_root
def test_a_confined_program_reaches_nobody_else(isolated):
    """Its own partition it does reach: the attempts are good. shows: TREE-20"""
    said = attack(isolated, "--confined")
    assert said["neighbour"] == NOBODY_ELSES
    assert said["console"] == NOBODY_ELSES
    assert said["box"] == NOBODY_ELSES
    # A user namespace has no power over who made it; other users' files stay theirs.
    assert said["own"] == EVERYTHING | {"as_root_of_its_own": said["own"]["as_root_of_its_own"],
                                        "fd_reopen": "EACCES"}
    assert said["places"] == dict.fromkeys(said["places"], "EACCES") | {
        "suid": "EPERM", "claim": "ECONNREFUSED"}
    assert said["self"] == dict.fromkeys(attacker.SELF, "EPERM") | {
        "nice": said["self"]["nice"]} and said["self"]["nice"] in ("EPERM", "EACCES")


@needs_root
def test_the_same_program_as_the_user_of_the_box_reaches_all(isolated):
    """The barrier is the uid and nothing else."""
    said = attack(isolated)
    for name in ("neighbour", "console", "box", "own"):
        # To set limits of other users takes a capability that containers don't have, and a user
        # namespace makes a nobody even of root.
        without = {"as_root_of_its_own"} | ({"prlimit"} if name in ("neighbour", "own") else set())
        assert {k: v for k, v in said[name].items() if k not in without} == {
            k: "done" for k in attacker.PROCESS if k not in without}, name
    assert said["places"] == dict.fromkeys(said["places"], "done") | {"claim": "ECONNREFUSED"}
    # A kernel with RT_GROUP_SCHED has no real-time class for a group of programs: no time is its.
    fifo = said["self"].pop("fifo")
    assert fifo in (("done", "EPERM") if Path("/sys/fs/cgroup/cpu/cpu.rt_runtime_us").exists()
                    else ("done",))
    assert said["self"] == dict.fromkeys(set(attacker.SELF) - {"fifo"}, "done")


# In the place of an instance.

# What a descriptor that only reads gives, and one that writes: nobody owns the memory but the box.
READS = {"map_write": "EACCES", "mprotect": "EACCES", "own_mem": "EIO", "own_vm": "EFAULT",
         "own_map_files": "EPERM", "remove": "EACCES", "reopen": "EACCES", "write": "EBADF",
         "truncate": "EINVAL", "grow": "EINVAL", "seal": "EPERM", "open_up": "EPERM",
         "chown": "EPERM"}
WRITES = READS | {"map_write": "done", "mprotect": "done", "write": "done", "truncate": "EPERM",
                  "grow": "EPERM"}
del WRITES["remove"]  # it would give back what others use


def offset(structure, field):
    return next(f["offset"] for f in LAYOUTS["structures"][structure]["fields"]
                if f["name"] == field)


def addresses(machine):
    """Physical addresses: what alpha may not map, and what it may."""
    nodes = machine.apmp("tree", json=True)["nodes"]
    hwrpb = {node["name"]: node["detail"]["hwrpb"] for node in nodes if node["type"] == "partition"}
    memory = {fragment["owner"]: fragment["pa"] for node in nodes
              if node["type"] == "memory_descriptor"
              for fragment in node["detail"].get("fragments", [])}
    # The recorder of a partition is as far from its HWRPB as any other's.
    return {"its HWRPB": hwrpb["alpha"], "its memory": memory["alpha"], "shared": memory["lab"],
            "another's HWRPB": hwrpb["beta"], "another's memory": memory["beta"],
            "unowned memory": memory[None], "nothing": 1 << 50}


def attack_as_instance(machine):
    """Boots alpha with the attacker in it; gives what it says."""
    request = LAYOUTS["structures"]["apmp_call_request"]
    assert request["size"] == struct.calcsize("=QQII3Q64s"), "attacker.py says it another way"
    told = machine.told() | {
        "map": LAYOUTS["enumerations"]["apmp_call_op"]["map"], "map_of": addresses(machine),
        "hwrpb": {name: offset("hwrpb", name) for name in ("unique", "config", "intr", "recorder")}}
    (machine.dir / "told").write_text(json.dumps(told))
    boot = machine.start("partition", "boot", "alpha")
    answer = machine.answer / "said"
    machine.until(lambda _: answer.exists())
    boot.kill()
    return json.loads(answer.read_text())


def instance_attacker(machine):
    """It stays when it is done, as an instance does."""
    return (f'sh -c "{PYTHON} {machine.attacker} \\"\\$(cat {machine.dir}/told)\\" '
            f'{machine.answer}/said; exec sleep 100000"')


def forbidden(said):
    """What the console says to an instance about what is not its own."""
    assert {name: said[f"map {name}"] for name in ("its HWRPB", "its memory", "shared")} == {
        "its HWRPB": "done", "its memory": "done", "shared": "done"}
    return {name: said[f"map {name}"] for name in (
        "another's HWRPB", "another's memory", "unowned memory", "nothing")}


@needs_root
def test_a_hostile_instance_gets_no_further(make_isolated):
    """Not with the tree that it may read, nor with what it shares; and nobody notices.
    shows: TREE-20, PLAT-02"""
    machine = make_isolated()
    machine.put_in_place_of_alpha(instance_attacker(machine))
    machine.up()
    said = attack_as_instance(machine)
    assert said["tree"] == READS
    assert said["lines"] == WRITES
    assert said["hwrpb"] == WRITES
    assert "done" not in forbidden(said).values()
    for name in ("neighbour", "console", "box"):
        assert said[name] == NOBODY_ELSES, name
    assert "done" not in {**said["places"], **said["self"]}.values()
    machine.apmp("partition", "reset", "gamma")
    machine.events.wait_for("member.joined", partition="gamma", incarnation=2)
    machine.apmp("partition", "reset", "beta")
    machine.events.wait_for("member.joined", partition="beta", incarnation=2)


# As an ordinary user.


class Ordinary(Isolated):
    """The whole machine, with copies of the programs, as somebody who is not root."""

    def __init__(self, text=MACHINE):
        super().__init__(text)
        programs = self.dir / "programs"
        programs.mkdir()
        for name in ("apmp", "apmpd", "apmp-console", "apmp-instance"):
            shutil.copy(apmp.BIN / name, programs)
        for path in (self.dir, self.runtime, self.file):
            if os.geteuid() == 0:
                os.chown(path, ORDINARY, ORDINARY)
        self.runtime.chmod(0o700)
        self.suid.unlink()
        self.command = [str(programs / "apmp")]
        self.env["PATH"] = f"{programs}:{os.environ['PATH']}"
        if os.geteuid() == 0:
            self.command = ["setpriv", f"--reuid={ORDINARY}", f"--regid={ORDINARY}",
                            "--clear-groups", *self.command]

    def told(self, own=None):
        told = super().told(own)
        told["places"].pop("suid")
        return told


def test_an_ordinary_user_is_guarded_against_accidents(make_isolated):
    """What is only read can't be written by mistake, and nobody is given what is another's. Who
    wants to can: all of it has one uid. The README says so. shows: TREE-20"""
    machine = make_isolated(kind=Ordinary)
    machine.put_in_place_of_alpha(instance_attacker(machine))
    machine.up()
    uid = ORDINARY if os.geteuid() == 0 else os.geteuid()
    assert {p["uid"] for p in machine.status()["partitions"] if "uid" in p} == {uid}
    said = attack_as_instance(machine)
    holds = {name: "done" for name in ("open_up", "chown")}
    assert said["tree"] == READS | holds
    assert "done" not in forbidden(said).values()
    # The limit.
    within = set(attacker.PROCESS) - {"as_root_of_its_own"}
    assert {k: v for k, v in said["neighbour"].items() if k in within} == dict.fromkeys(
        within, "done")
    assert said["places"]["control"] == "done"


def test_confined_is_refused_where_there_is_nothing_to_confine_with(make_isolated):
    machine = make_isolated(apmp.TRIO, kind=Ordinary)
    machine.up()
    said = machine.refused("run", "--confined", "beta", "--", "true")
    uid = ORDINARY if os.geteuid() == 0 else os.geteuid()
    assert 'partition "beta" has no uid of its own' in said and f"uid {uid}, not as root" in said
    assert machine.apmp("run", "beta", "--", "id", "-u") == f"{uid}\n"


# What a uid of its own must not break.


@pytest.fixture
def make_box(make_isolated):
    """Boxes whose console is the test (standin.py)."""
    def make(**env):
        box = make_isolated(kind=Box)
        box.env.update(env)
        return box
    return make


# Leaves its parents, its session and the mark of its machine, and tells its number.
ESCAPE = ("env -i /usr/bin/setsid -f /bin/sh -c '/bin/sh -c \"echo \\$\\$ >&3; exec sleep 100000\" "
          "3>&3 & exit' 3>&1")


@pytest.fixture
def escape():
    """Lets a process escape; it ends with the test if nothing else ends it."""
    escaped = []

    def go(port):
        escaped.append(Watched(int(command(port, ESCAPE))))
        return escaped[-1]

    yield go
    for process in escaped:
        if process.runs:
            process.kill()


@needs_root
def test_a_fence_finds_who_escaped_by_its_uid(make_box, escape):
    """Without groups there is nothing else to know it by. shows: DB-10"""
    box = make_box(APMP_BACKEND="affinity")
    wire = box.up()
    _, port = box.boot(wire)
    escaped = escape(port)
    _, other_port = box.boot(wire, 2, "gamma")
    other = escape(other_port)
    wire.must("KILL", 1)
    assert not escaped.runs and other.runs


@needs_root
@pytest.mark.parametrize("backend", ["", "affinity"])
@pytest.mark.parametrize("guarded", [True, False])
def test_a_dead_box_leaves_nobody_with_its_uids(make_box, escape, backend, guarded):
    """Its guard finds them, or else the next `clean` does, and says so."""
    box = make_box(APMP_BACKEND=backend)
    wire = box.up()
    pid, port = box.boot(wire)
    escaped = [Watched(pid), escape(port)]
    uid = os.stat(f"/proc/{pid}").st_uid
    guard, itself = box.guard(), Watched(box.box_pid())
    if not guarded:
        itself.kill(signal.SIGSTOP)  # or it would start another guard
        guard.kill()
        guard.wait()
    itself.kill()
    itself.wait()
    if guarded:
        guard.wait()
    else:
        said = box.apmpd("clean", "--name", box.name)
        assert said.returncode == 0 and "killed" in said.stdout, said
    assert [process.runs for process in escaped] == [False, False]
    assert not box.rundir.exists()
    status = {pid: leftovers.read(f"/proc/{pid}/status").decode()
              for pid in os.listdir("/proc") if pid.isdigit()}
    assert not [text for text in status.values()
                if f"\nUid:\t{uid}\t" in text and "\nState:\tZ" not in text]


@needs_root
def test_clean_leaves_the_uids_of_a_living_box_alone(make_box):
    """A dead box's note names a block that another box has by now."""
    living, dead = make_box(), make_box()
    wire = living.up()
    other = Watched(living.boot(wire)[0])
    dead.rundir.mkdir(parents=True)
    for folder in (dead.rundir.parent, dead.rundir):
        folder.chmod(0o700)
    (dead.rundir / "pid").write_text("1 1\n")
    for text in ((living.rundir / "uids").read_text(), "0", "65534", "x", "-1", "4294967296", ""):
        (dead.rundir / "uids").write_text(text)
        dead.apmpd("clean", "--name", dead.name)
        assert other.runs
        dead.rundir.mkdir(mode=0o700, parents=True, exist_ok=True)
        dead.rundir.parent.chmod(0o700)
        (dead.rundir / "pid").write_text("1 1\n")
    dead.apmpd("clean", "--name", dead.name)


@needs_root
def test_a_forged_mark_keeps_no_dead_machine_from_being_cleaned(make_box):
    """It says that another machine's box is alive; what a partition says is not believed."""
    living, dead = make_box(), make_box()
    wire = living.up()
    dead.up()
    start = Path(f"/proc/{living.box_pid()}/stat").read_text().rpartition(")")[2].split()[19]
    _, port = living.boot(wire)
    mark = f"{dead.rundir}:{living.box_pid()}:{start}"
    forger = Watched(int(command(port, f"APMP_BOX={mark} sh -c 'echo $$; exec sleep 100000' &")))
    itself, guard = Watched(dead.box_pid()), dead.guard()
    itself.kill(signal.SIGSTOP)
    guard.kill()
    guard.wait()
    itself.kill()
    itself.wait()
    said = dead.apmpd("clean", "--name", dead.name)
    assert said.returncode == 0 and "alive" not in said.stdout + said.stderr, said
    assert not dead.rundir.exists() and forger.runs


def classes(pid):
    """Whether the first thread is urgent, and whether another one is."""
    threads = [int(tid) for tid in os.listdir(f"/proc/{pid}/task")]
    urgent = {tid for tid in threads if os.sched_getscheduler(tid) & ~os.SCHED_RESET_ON_FORK
              == os.SCHED_FIFO}
    return pid in urgent, bool(urgent - {pid})


def test_the_heartbeat_has_the_class_that_the_host_gives(make_isolated):
    """The first thread alone: with another uid it could not be had later. shows: DB-08"""
    machine = make_isolated(apmp.TRIO)
    machine.up()
    best = next(check["state"] for check in json.loads(subprocess.run(
        [apmp.BIN / "apmpd", "doctor", "--json"], env=machine.env, capture_output=True, text=True,
        check=False).stdout)["checks"] if check["what"] == "scheduling") == "ok"
    for partition in machine.status()["partitions"]:
        assert classes(partition["instance"]["pid"]) == (best, False)


@needs_root
def test_cpus_do_not_wait_for_programs(make_isolated):
    """By a nice value, which the box gives them and programs don't have. shows: CPU-15"""
    machine = make_isolated(apmp.TRIO)
    machine.up()
    threads = {}
    for partition in machine.status()["partitions"]:
        pid = partition["instance"]["pid"]
        for tid in os.listdir(f"/proc/{pid}/task"):
            name = Path(f"/proc/{pid}/task/{tid}/comm").read_text().split()[0]
            nice = os.getpriority(os.PRIO_PROCESS, int(tid))
            threads.setdefault(name, set()).add(nice)
    assert threads["cpu"] == {-10} and threads["programs"] == {0}
    nice = machine.apmp("run", "beta", "--", "python3", "-c", "import os; print(os.nice(0))")
    assert int(nice) == 0


@needs_root
def test_a_host_without_the_class(make_isolated):
    """As before: heartbeats are as good as the host is; uids are there all the same."""
    machine = make_isolated(apmp.TRIO)
    machine.command = ["setpriv", "--bounding-set=-sys_nice", "--inh-caps=-sys_nice",
                       *machine.command]
    machine.up()
    for partition in machine.status()["partitions"]:
        assert classes(partition["instance"]["pid"]) == (False, False)
    affinity = machine.status()["backend"] == "affinity"
    assert all((partition["uid"] == 0) == affinity for partition in machine.status()["partitions"])


@needs_root
def test_who_starves_the_others_with_the_class_is_ended(make_box):
    """Its children have it not, and neither has it for long: it must sleep once a second."""
    box = make_box()
    wire = box.up()
    pid, port = box.boot(wire)
    wire.ask("URGENT", 1)
    if not classes(pid)[0]:
        pytest.skip("the box has no SCHED_FIFO here")
    child = int(command(port, "cat /dev/zero > /dev/null & echo $!"))
    assert classes(child) == (False, False)
    assert command(port, "chrt -f -p 10 $! 2>/dev/null || echo refused") == "refused"
    port.write(b"while :; do :; done\n")
    assert wire.wait("EXITED").arg[1] == signal.SIGKILL


@needs_root
def test_root_without_the_power_says_so(make_isolated):
    machine = make_isolated(apmp.TRIO)
    machine.command = ["setpriv", "--bounding-set=-setuid", "--inh-caps=-setuid", *machine.command]
    machine.up()
    assert {partition["uid"] for partition in machine.status()["partitions"]} == {0}
    reason = "the box is root without the power to run"
    assert reason in (machine.rundir / "apmpd.log").read_text()
    said = machine.refused("run", "--confined", "beta", "--", "true")
    assert reason in said and "Operation not permitted" in said


@needs_root
def test_programs_may_stand_where_only_root_can_reach(make_isolated):
    """As in a clone below /root, or built with umask 077."""
    machine = make_isolated(apmp.TRIO)
    folder = machine.dir / "private"
    folder.mkdir(mode=0o700)
    for name in ("apmp", "apmpd", "apmp-console", "apmp-instance"):
        shutil.copy(apmp.BIN / name, folder)
        (folder / name).chmod(0o700)
    machine.command = [str(folder / "apmp")]
    machine.up()
    uids = {partition["uid"] for partition in machine.status()["partitions"]}
    assert len(uids) == 3 and 0 not in uids
    pid = machine.pid("beta")
    assert os.readlink(f"/proc/{pid}/exe") == str(folder / "apmp-instance")
    assert Path(f"/proc/{pid}/comm").read_text() == "apmp-instance\n"
    assert os.stat(f"/proc/{pid}").st_uid in uids, "it can be debugged by who it is"


@needs_root
def test_a_confined_program_is_not_lied_to(isolated):
    """It has no home and no name; and what it can't enter or execute it does not."""
    uid = str(isolated.partition("beta")["uid"])
    isolated.env |= {"HOME": "/root", "USER": "root", "LOGNAME": "root"}
    said = isolated.apmp("run", "--confined", "beta", "--", "sh", "-c",
                         'echo "$HOME|$USER|$LOGNAME|$(id -u)|$(id -g)|$(id -G)|$(pwd)"')
    assert said == f"/|{uid}|{uid}|{uid}|{uid}|{uid}|{isolated.dir}\n"
    assert isolated.apmp("run", "beta", "--", "sh", "-c", 'echo "$HOME|$USER|$LOGNAME|$(id -u)"'
                         ) == "/root|root|root|0\n"
    isolated.dir.chmod(0o700)
    assert isolated.apmp("run", "--confined", "beta", "--", "pwd") == "/\n"
    program = isolated.dir / "program"
    shutil.copy("/bin/true", program)
    assert "Permission denied" in isolated.refused("run", "--confined", "beta", "--", program)
    assert isolated.apmp("run", "beta", "--", program) == ""
    pid = int(isolated.apmp("run", "--confined", "--detach", "beta", "--", "sleep", "100000"))
    assert os.stat(f"/proc/{pid}").st_uid == int(uid)
    process = Watched(pid)
    isolated.apmp("partition", "halt", "beta")
    assert not process.runs


@needs_root
def test_an_instance_owns_its_terminal(make_box):
    """It may open it by its name, as any program may that has logged in."""
    box = make_box()
    wire = box.up()
    pid, port = box.boot(wire)
    assert command(port, "cat /dev/null > $(tty) && echo mine") == "mine"
    status = os.stat(os.readlink(f"/proc/{pid}/fd/0"))
    assert status.st_uid == os.stat(f"/proc/{pid}").st_uid and status.st_mode & 0o077 == 0


def test_memory_that_changed_hands_shows_nothing_of_its_new_owner(make_box):
    """Neither through an old mapping nor through an old descriptor, in both directions.
    shows: MEM-01"""
    box = make_box()
    wire = box.up()
    old = wire.must("MAKE", GRANULE, "RAM", GRANULE)
    before = mmap.mmap(old.fds[0], GRANULE)
    before[:6] = b"before"
    wire.must("DROP", GRANULE, "RAM")
    new = wire.must("MAKE", GRANULE, "RAM", GRANULE)
    after = mmap.mmap(new.fds[0], GRANULE)
    assert after[:] == bytes(GRANULE)
    after[:] = b"\xa5" * GRANULE
    assert before[:] == bytes(GRANULE) and os.pread(old.fds[0], 6, 0) == bytes(6)
    before[:] = b"\x5a" * GRANULE
    assert after[:] == b"\xa5" * GRANULE
    for memory, answer in ((before, old), (after, new)):
        memory.close()
        os.close(answer.fds[0])
