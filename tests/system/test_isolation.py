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
import sys
from pathlib import Path

import pytest

import apmp
import attacker
from standin import Box, HOST_CPUS, INSTANCE, Watched, command, read_line

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
            places |= {"neighbour_group": f"{group}/cgroup.procs",
                       "own_group": f"{group}/cpuset.cpus", "new_group": group}
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
        if report is not None and report.failed:
            print(f"kept for a look: {made.save_failure(request.node.name)}")
        wrong += made.close()
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
    assert said["self"] == dict.fromkeys(attacker.SELF, "done")


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
