"""CPUs migrate from all sides at once while instances end and boot, with real processes.

`make check` has some hundred migrations, `make campaign-migrations` 100,000 (APMP_MIGRATIONS).
"""
import os
import random
import time

import pytest

import apmp
from hwrpb import Hwrpb

MIGRATIONS = int(os.environ.get("APMP_MIGRATIONS", "1000"))
HANG_GUARD = 900 + MIGRATIONS // 20  # seconds
PARTITIONS = 8
CPUS_EACH = 3


def machine_file():
    """Eight partitions of three CPUs: two of each may go."""
    lines = ["machine: {name}", "hardware:",
             f"  - {{sbb: 0, cpus: {PARTITIONS * CPUS_EACH}, memory: 64M,",
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
