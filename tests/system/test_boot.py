"""Power on and power off of a whole machine."""
import os
import re
from pathlib import Path

import pytest

import apmp
import leftovers

LONER = apmp.TRIO.replace("name: gamma, community: lab,", "name: gamma,")

EIGHT = """\
machine: {name}
hardware:
  - sbb: 0
    cpus: 8
    memory: 96M
    iops: [{buses: [{}, {}, {}, {}]}, {buses: [{}, {}, {}, {}]}]
communities:
  - {name: lab, shared: 32M}
partitions:
""" + "".join(
    f'  - {{name: p{n}, community: lab, cpus: [{n}], memory: 4M, buses: ["0.{n // 4}.{n % 4}"],'
    " boot: yes}\n" for n in range(8))

# Each with its unassigned CPU, and two that do not boot; one of those is in no community.
MIXED = """\
machine: {name}
hardware:
  - sbb: 3
    cpus: [{id: 7}, {id: 9, primary: no}, {id: 12}]
    memory: 64M
    iops: [{buses: [{}, {}]}]
  - {sbb: 5, memory: 32M}
communities:
  - {name: red, shared: 8M}
  - {name: blue, shared: 8M}
partitions:
  - {name: a, community: red, cpus: [7], memory: 4M, buses: ["3.0.0"], boot: yes}
  - {name: b, community: blue, cpus: [9], memory: 4M, buses: ["3.0.1"]}
  - {name: c}
"""


def group(machine, partition=None):
    """The control group of a machine or partition with cpuset, or a skip."""
    if machine.status()["backend"] == "affinity":
        pytest.skip("no control groups here")
    top = Path((machine.rundir / "cgroup").read_text().strip())
    return top / f"P-{partition}" if partition else top


def test_up_returns_when_all_are_members(machine):
    """shows: PLAT-04, PLAT-07, DB-05, DB-06"""
    status = machine.status()
    assert apmp.members(status) == {"alpha", "beta", "gamma"}
    assert {instance["state"] for instance in apmp.instances(status).values()} == {"member"}
    assert apmp.ring_is_right(status)
    apmp.check_cpus(status)
    joined = [event["partition"] for event in machine.events.find("member.joined")]
    machine.events.wait_for("machine.on")
    for name in ("alpha", "beta", "gamma"):
        machine.events.wait_for("instance.booted", partition=name, incarnation=1)
        machine.events.wait_for("member.joined", partition=name, incarnation=1)
    assert len(machine.events.find("set.created")) == 1, joined


def test_status_has_every_field_of_the_contract(machine):
    """INTERFACES.md, `status --json`. shows: DB-09"""
    status = machine.status()
    assert (status["machine"], status["state"]) == (machine.name, "on")
    assert status["backend"] in ("cgroup-v1", "cgroup-v2", "affinity")
    assert [p["name"] for p in status["partitions"]] == ["alpha", "beta", "gamma"]
    for number, partition in enumerate(status["partitions"]):
        instance = partition["instance"]
        assert partition["id"] == number
        assert (partition["community"], partition["state"]) == ("lab", "initialized")
        assert (instance["state"], instance["incarnation"]) == ("member", 1)
        assert {instance["big_brother"], instance["little_brother"], number} == {0, 1, 2}
        assert isinstance(instance["heartbeat"], int)
        assert partition["primary"] == partition["cpus"][0]
        assert partition["potential"] == [0, 1, 2, 3, 4, 5]
        assert partition["configure"] == partition["active"] == partition["cpus"]
        assert partition["autostart"] == [0, 1, 2, 3, 4, 5]
        assert partition["memory"] == 24 << 20
    assert [p["cpus"] for p in status["partitions"]] == [[0, 1, 2], [3, 4], [5]]
    assert [cpu["id"] for cpu in status["cpus"]] == [0, 1, 2, 3, 4, 5]
    for cpu in status["cpus"]:
        assert cpu["owner"] == cpu["current_owner"] and cpu["state"] == "active"
        assert cpu["primary"] is (cpu["id"] in (0, 3, 5))
        assert cpu["host_cpu"] in os.sched_getaffinity(0)
    community, = status["communities"]
    assert (community["id"], community["name"]) == (0, "lab")
    assert sorted(community["members"]) == ["alpha", "beta", "gamma"]
    assert community["sharing_set"]["state"] == "operational"
    assert community["sharing_set"]["incarnation"] == 1
    assert community["sharing_set"]["apmpdb_pfn"] > 0
    assert community["sharing_set"]["apmpdb_pages"] > 0


def test_heartbeats_rise(machine):
    """shows: DB-08"""
    before = apmp.instances(machine.status())
    machine.until(lambda status: all(
        instance["heartbeat"] > before[name]["heartbeat"] + 3
        for name, instance in apmp.instances(status).items()))


def test_pids_are_instances_and_each_cpu_is_a_thread(machine):
    """A thread for each CPU, pinned to the host CPU under it, one for the clock before them, one
    that serves programs, and one that waits for locks for it.
    shows: PLAT-04"""
    status = machine.status()
    for partition in status["partitions"]:
        pid = partition["instance"]["pid"]
        assert Path(f"/proc/{pid}/comm").read_text().strip() == "apmp-instance"
        threads = [int(thread) for thread in os.listdir(f"/proc/{pid}/task")]
        names = {Path(f"/proc/{pid}/task/{thread}/comm").read_text().strip()
                 for thread in threads if thread != pid}
        assert names == {f"cpu {cpu}" for cpu in partition["cpus"]} | {"programs", "lock waker"}
        assert len(threads) == len(names) + 1
        allowed = [os.sched_getaffinity(thread) for thread in threads]
        for cpu in partition["cpus"]:
            host = next(c["host_cpu"] for c in status["cpus"] if c["id"] == cpu)
            assert {host} in allowed or len(apmp.set_of(partition["host_cpus"])) == 1
        assert set().union(*allowed) <= apmp.set_of(partition["host_cpus"])


def test_cpusets_of_the_host_match(machine):
    """shows: CPU-01"""
    status = machine.status()
    for partition in status["partitions"]:
        at = group(machine, partition["name"])
        assert at.is_dir()
        groups = [at, *(below for below in at.iterdir() if below.is_dir())]
        assert len(groups) >= 2, "no group for programs"
        for each in groups:
            cpus = each / "cpuset.cpus"
            if each == at or cpus.exists():  # cgroup v2: those below go by it
                assert apmp.set_of(cpus.read_text().strip()) == apmp.set_of(
                    partition["host_cpus"]), each
        inside = {int(pid) for each in groups
                  for pid in (each / "cgroup.procs").read_text().split()}
        assert partition["instance"]["pid"] in inside


def test_instances_get_the_tree_read_only(machine):
    """Isolation is possession of a descriptor: no instance has one, or a mapping, that could
    write the tree, nor a mapping of another's memory. shows: TREE-20"""
    console = next(pid for pid, command in machine.processes() if "apmp-console" in command)
    trees = [line.split() for line in Path(f"/proc/{console}/maps").read_text().splitlines()
             if "memfd:" in line and "tree" in line]
    assert trees, "the console maps no memfd with tree in its name"
    inodes = {words[4] for words in trees}
    private = {}
    for name, instance in apmp.instances(machine.status()).items():
        lines = [line.split(maxsplit=5) for line in
                 Path(f"/proc/{instance['pid']}/maps").read_text().splitlines()]
        assert {words[4] for words in lines} & inodes, f"{name} does not map the tree"
        assert not [words for words in lines if words[4] in inodes and "w" in words[1]]
        private[name] = {words[4] for words in lines if "hwrpb" in words[-1]}
        assert private[name], f"{name} maps no HWRPB"
        for fd in os.listdir(f"/proc/{instance['pid']}/fd"):
            assert "tree" not in os.readlink(f"/proc/{instance['pid']}/fd/{fd}")
    assert len(set().union(*private.values())) == 3


def test_a_second_up_of_one_name_is_refused(machine):
    """The first one is not touched."""
    before = machine.status()
    said = machine.try_apmp("up", machine.file)
    assert said.code == apmp.REFUSED
    assert machine.name in said.err and str(machine.box_pid()) in said.err
    assert f"apmp --name {machine.name} down" in said.err
    assert apmp.instances(machine.status()).keys() == apmp.instances(before).keys()
    assert [i["pid"] for i in apmp.instances(machine.status()).values()] == [
        i["pid"] for i in apmp.instances(before).values()]


def test_down_leaves_nothing_and_up_starts_anew(make_machine):
    """shows: PLAT-10"""
    machine = make_machine()
    machine.up()
    cgroup = machine.rundir / "cgroup"
    path = Path(cgroup.read_text().strip()) if cgroup.exists() else None
    assert machine.down() == f'machine "{machine.name}" is off\n'
    assert machine.processes() == []
    assert not machine.rundir.exists()
    assert path is None or not path.exists()
    assert leftovers.cgroups(f"apmp-{machine.name}") == []
    machine.up()
    assert machine.partition("alpha")["instance"]["incarnation"] == 1


def test_two_downs_at_once(machine):
    """Both get what they wanted; one that came too late is told that nothing runs."""
    downs = [machine.start("down") for _ in range(4)]
    for process in downs:
        out, err = process.communicate(timeout=apmp.WATCHDOG)
        assert process.returncode in (apmp.DONE, apmp.NO_MACHINE), out + err


def test_up_tells_what_it_did(make_machine):
    machine = make_machine()
    backend = machine.up()
    assert re.fullmatch(rf"machine {machine.name} is on: 3 members, [a-z0-9-]+\n", backend)


def test_two_machines_at_once(machine, make_machine):
    """Nothing of one is to be seen in the other."""
    other = make_machine()
    other.up("--name", f"{machine.name}-b")
    other.name = f"{machine.name}-b"
    other.rundir = other.runtime / "apmp" / other.name
    before = apmp.instances(machine.status())
    assert apmp.members(other.status()) == {"alpha", "beta", "gamma"}
    pids = {i["pid"] for i in before.values()}
    assert pids.isdisjoint(i["pid"] for i in apmp.instances(other.status()).values())
    other.down()
    assert apmp.instances(machine.status()).keys() == before.keys()
    assert {i["pid"] for i in apmp.instances(machine.status()).values()} == pids


@pytest.mark.machine_file(LONER)
def test_a_partition_in_no_community(machine):
    """It runs, shares nothing, and can be halted and booted. shows: PLAT-06, DB-12"""
    status = machine.status()
    gamma = apmp.named(status["partitions"], "gamma")
    assert gamma["community"] is None
    assert gamma["instance"]["state"] == "running"
    assert "big_brother" not in gamma["instance"]
    assert apmp.members(status) == {"alpha", "beta"}
    assert apmp.ring_is_right({**status, "partitions": status["partitions"][:2]})
    machine.apmp("partition", "halt", "gamma")
    assert machine.partition("gamma")["instance"]["state"] == "console"
    said = machine.apmp("partition", "boot", "gamma")
    assert said == 'partition "gamma" is up; it is in no community\n'
    assert machine.partition("gamma")["instance"]["state"] == "running"
    assert machine.partition("gamma")["instance"]["incarnation"] == 2


@pytest.mark.machine_file(EIGHT)
def test_eight_partitions_in_one_set(machine):
    """More than this host has CPUs. shows: PLAT-03, DB-09"""
    status = machine.status()
    assert apmp.members(status) == {f"p{n}" for n in range(8)}
    assert apmp.ring_is_right(status)
    apmp.check_cpus(status)
    for name in ("p3", "p4"):  # two that stand beside each other
        machine.kill_partition(name)
    for name in ("p3", "p4"):
        machine.events.wait_for("member.removed", partition=name)
    machine.until(lambda now: apmp.ring_is_right(now) and len(apmp.members(now)) == 6)
    for name in ("p4", "p3"):
        machine.apmp("partition", "boot", name)
    machine.until(lambda now: apmp.ring_is_right(now) and len(apmp.members(now)) == 8)


@pytest.mark.machine_file(MIXED)
def test_what_does_not_boot_is_off(machine):
    """Ids as the file gives them; unassigned CPUs; too few parts.
    shows: PLAT-01, TREE-13, CPU-13"""
    status = machine.status()
    assert {name: i["state"] for name, i in apmp.instances(status).items()} == {
        "a": "member", "b": "off", "c": "off"}
    assert [p["state"] for p in status["partitions"]] == ["initialized", "uninitialized",
                                                          "uninitialized"]
    cpus = {cpu["id"]: cpu for cpu in status["cpus"]}
    assert cpus[12]["owner"] is None and cpus[12]["current_owner"] is None
    assert cpus[12]["state"] == "unassigned"
    assert cpus[9]["owner"] == "b" and cpus[9]["state"] == "console"
    assert {c["name"]: c["sharing_set"]["state"] for c in status["communities"]} == {
        "red": "operational", "blue": "none"}
    assert machine.refused("partition", "boot", "b") == (
        'not enough cpus that can be primary for partition "b": 1 wanted, 0 there')
    assert machine.refused("partition", "boot", "c") == (
        'not enough cpus that can be primary for partition "c": 1 wanted, 0 there')
    assert apmp.named(machine.status()["partitions"], "b")["instance"]["incarnation"] == 0


def test_in_the_foreground_it_stays_until_it_is_told(make_machine):
    machine = make_machine()
    process = machine.start("up", machine.file, "--foreground")
    assert "is on: 3 members" in process.stdout.readline()
    assert apmp.members(machine.status()) == {"alpha", "beta", "gamma"}
    machine.down()
    assert process.wait(apmp.WATCHDOG) == apmp.DONE


def test_list_has_each_machine(machine, make_machine):
    other = make_machine()
    other.env["XDG_RUNTIME_DIR"] = machine.env["XDG_RUNTIME_DIR"]
    other.rundir = machine.runtime / "apmp" / other.name
    assert [entry["name"] for entry in machine.apmp("list", json=True)] == [machine.name]
    other.up()
    listed = {entry["name"]: entry for entry in machine.apmp("list", json=True)}
    assert set(listed) == {machine.name, other.name}
    for each in (machine, other):
        assert listed[each.name] == {"name": each.name, "state": "on", "partitions": 3,
                                     "pid": each.box_pid()}
    other.down()
    assert [entry["name"] for entry in machine.apmp("list", json=True)] == [machine.name]


def test_many_ups_of_one_name_at_once(make_machine):
    """One of them powers it on; each of the others is told so."""
    machine = make_machine()
    ups = [machine.start("up", machine.file) for _ in range(6)]
    ends = [(process.communicate(timeout=apmp.WATCHDOG), process.returncode) for process in ups]
    assert sorted(code for _, code in ends) == [apmp.DONE] + 5 * [apmp.REFUSED], ends
    for (_, said), code in ends:
        assert said.startswith("apmp: ") and machine.name in said if code else said == "", said
    assert apmp.members(machine.status()) == {"alpha", "beta", "gamma"}


def test_an_up_that_nobody_waits_for(make_machine):
    """Whoever typed it is killed: the machine comes up, or it does not; nothing in between."""
    machine = make_machine()
    process = machine.start("up", machine.file)
    machine.until(bool, lambda: machine.rundir.joinpath("control").exists())
    process.kill()
    process.communicate(timeout=apmp.WATCHDOG)
    machine.until(lambda now: now.code != apmp.DONE or now.json["state"] == "on",
                  lambda: machine.try_apmp("status", as_json=True))
    said = machine.try_apmp("down")
    assert said.code in (apmp.DONE, apmp.NO_MACHINE), str(said)
    machine.up()


def test_one_name_in_two_runtime_directories(machine, make_machine):
    """Control groups are the host's, so the second is refused and the first goes on."""
    if machine.status()["backend"] == "affinity":
        pytest.skip("no control groups here")
    other = make_machine(name=machine.name)
    said = other.try_apmp("up", other.file)
    assert said.code == apmp.REFUSED and "of this name" in said.err, str(said)
    assert "XDG_RUNTIME_DIR" in said.err
    assert not other.rundir.exists()
    assert apmp.members(machine.status()) == {"alpha", "beta", "gamma"}
    machine.down()
    other.up()
    other.down()
