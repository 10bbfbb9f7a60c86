"""CPUs migrate from all sides at once while instances end and boot, with real processes.

`make check` has some hundred migrations, `make campaign-migrations` 100,000 (APMP_MIGRATIONS).
"""
import os
import random
import time

import pytest

import apmp
import tree_checker
from hwrpb import Hwrpb

MIGRATIONS = int(os.environ.get("APMP_MIGRATIONS", "1000"))
HANG_GUARD = 900 + MIGRATIONS // 20  # seconds
PARTITIONS = 8
CPUS_EACH = 3


def machine_file(cpus=PARTITIONS * CPUS_EACH):
    """Eight partitions of three CPUs: two of each may go."""
    lines = ["machine: {name}", "hardware:",
             f"  - {{sbb: 0, cpus: {cpus}, memory: 64M,",
             f"     iops: [{{buses: [{', '.join(['{}'] * PARTITIONS)}]}}]}}",
             "communities:", "  - {name: lab, shared: 4M}", "partitions:"]
    for i in range(PARTITIONS):
        cpus = list(range(CPUS_EACH * i, CPUS_EACH * (i + 1)))
        lines.append(f"  - {{name: p{i}, community: lab, cpus: {cpus}, memory: 6M, "
                     f"buses: [\"0.0.{i}\"], boot: yes}}")
    return "\n".join(lines + ["timing: {stop: 2s}", ""])


@pytest.mark.machine_file(machine_file())
def test_a_cpu_has_one_owner_whoever_asks_and_whoever_dies(machine):
    """shows: CPU-01, CPU-02, CPU-03, FAIL-05"""
    seed = random.SystemRandom().randrange(1 << 31)
    begin = time.monotonic()
    campaign = machine.start("chaos", "migrations", "--count", str(MIGRATIONS), "--seed", str(seed))
    out, err = campaign.communicate(timeout=HANG_GUARD)
    print(f"{out}{time.monotonic() - begin:.1f} s, {os.getloadavg()[0]:.1f} others at work")
    assert campaign.returncode == apmp.DONE, err
    machine.at_rest({f"p{i}" for i in range(PARTITIONS)})


@pytest.mark.machine_file(machine_file())
def test_a_second_owner_is_seen_from_outside(machine):
    """One that is planted while CPUs migrate: the campaign ends with it. shows: CPU-02"""
    other = Hwrpb(machine, "p1")
    campaign = machine.start("chaos", "migrations", "--count", str(10**9), "--seed", "7")

    def planted():
        other.make_available(0)  # p0's primary
        return campaign.poll()

    assert machine.until(lambda code: code is not None, planted) == 1
    assert "violation: seen from outside: CPU 0 is " in campaign.stderr.read()


@pytest.mark.machine_file(machine_file(cpus=PARTITIONS * CPUS_EACH + 8))
def test_a_cpu_that_is_nowhere_is_seen_from_outside(machine):
    """Those of nobody get an owner whose life goes on, behind the console's back, and do not come
    to him. shows: CPU-02, CPU-03"""
    memory = tree_checker.Memory(machine.box_pid())
    campaign = machine.start("chaos", "migrations", "--count", str(10**9), "--seed", "7")
    spare = range(PARTITIONS * CPUS_EACH, PARTITIONS * CPUS_EACH + 8)

    def planted():
        tree = tree_checker.Tree(memory.tree())
        owner = next(handle for handle, node in tree.of_type("partition").items()
                     if tree_checker.flag(node.node_flags, "NODE_INITIALIZED")
                     and memory.state("ending", node.id) != node.incarnation << 16 | node.id + 1)
        for handle, node in tree.of_type("cpu").items():
            if node.id in spare and not node.owner:
                memory.store(tree_checker.HEADER.size + handle
                             + tree_checker.Shape.offset("gct_node", "owner"),
                             owner.to_bytes(4, "little"))
        return campaign.poll()

    assert campaign.stderr.readline() == "seed 7\n"  # a machine at rest has been seen
    assert machine.until(lambda code: code is not None, planted) == apmp.REFUSED
    memory.close()
    assert "is nowhere, and not in transit" in campaign.stderr.read()


@pytest.mark.machine_file(machine_file() + "fence: bugcheck\n")
def test_no_cpu_comes_to_a_life_that_is_to_end(machine):
    """The console says so, for who looks from outside; the next life has it. shows: CPU-03, FAIL-05
    """
    memory = tree_checker.Memory(machine.box_pid())
    life = machine.partition("p0")["instance"]["incarnation"]
    assert memory.state("ending", partition=0) == 0
    machine.apmp("cpu", "deassign", "1")
    machine.apmp("chaos", "inject", "stop", "p0")
    machine.events.wait_for("instance.fence-pending", partition="p0")
    machine.apmp("cpu", "assign", "1", "--to", "p0")
    assert machine.cpu(1)["current_owner"] is None
    assert memory.state("ending", partition=0) == life << 16 | 1
    memory.close()
    machine.apmp("chaos", "inject", "cont", "p0")
    machine.events.wait_for("instance.fenced", partition="p0")
    machine.boots_and_joins("p0")
    assert machine.cpu(1)["current_owner"] == "p0"
