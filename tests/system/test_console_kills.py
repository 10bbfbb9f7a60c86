"""The console is killed at random stores of changes of the configuration, with real processes.

`make check` kills it some hundred times, `make campaign` ten thousand times (APMP_CONSOLE_KILLS).
"""
import os
import random

import pytest

from apmp import DONE

KILLS = int(os.environ.get("APMP_CONSOLE_KILLS", "1000"))
HANG_GUARD = 900 + KILLS // 2  # seconds; the campaign has a guard of its own for each answer

MACHINE = """\
machine: {name}
hardware:
  - sbb: 0
    cpus: 6
    memory: 64M
    iops: [{buses: [{}, {}, {}]}]
communities:
  - {name: lab, shared: 4M}
partitions:
  - {name: alpha, community: lab, cpus: [0, 1, 2], memory: 8M, buses: ["0.0.0"], boot: yes}
  - {name: beta, community: lab, cpus: [3, 4], memory: 8M, buses: ["0.0.1"], boot: yes}
"""


@pytest.mark.machine_file(MACHINE)
def test_kills_at_stores(machine):
    """After each the tree is as before or as after, node for node; nine of ten attempts kill. The
    histogram over the stores is printed.

    shows: TREE-22, TREE-15
    """
    seed = random.SystemRandom().randrange(1 << 31)
    print(f"apmp chaos kills --console --count {KILLS} --seed {seed}")
    campaign = machine.start("chaos", "kills", "--console", "--count", str(KILLS), "--seed",
                             str(seed))
    out, err = campaign.communicate(timeout=HANG_GUARD)
    print(out)
    assert campaign.returncode == DONE, err
    last = out.strip().splitlines()[-1]
    assert last.startswith(f"{KILLS} kills") and last.endswith("no violation"), last
    nodes = machine.apmp("tree", json=True)["nodes"]
    assert not [node for node in nodes if (node["name"] or "").startswith("chaos")]


def test_a_machine_without_anything_to_spare(machine):
    """It says what is missing, and has left nothing."""
    campaign = machine.start("chaos", "kills", "--console", "--count", "1")
    _, err = campaign.communicate(timeout=60)
    assert campaign.returncode == 1
    assert "no CPU is unowned" in err
