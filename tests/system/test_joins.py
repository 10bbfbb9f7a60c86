"""Partitions boot and join while others die and leave, with real processes.

`make check` starts some hundred, `make campaign-joins` ten thousand (APMP_JOINS).
"""
import os
import random
import time

import pytest

import apmp

STARTS = int(os.environ.get("APMP_JOINS", "500"))
HANG_GUARD = 900 + STARTS // 10  # seconds; the campaign has a guard of its own for each answer


@pytest.mark.machine_file(apmp.many(8))
def test_nobody_healthy_is_harmed_or_refused(machine):
    """shows: DB-05, DB-06, DB-11, DB-14, FAIL-05"""
    seed = random.SystemRandom().randrange(1 << 31)
    begin = time.monotonic()
    campaign = machine.start("chaos", "joins", "--count", str(STARTS), "--seed", str(seed))
    out, err = campaign.communicate(timeout=HANG_GUARD)
    print(f"{out}{time.monotonic() - begin:.1f} s, {os.getloadavg()[0]:.1f} others at work")
    assert campaign.returncode == apmp.DONE, err
    machine.at_rest({f"p{i}" for i in range(8)})  # its last round boots everybody
