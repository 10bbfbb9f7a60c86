"""No live member is taken for dead, neither on an idle host nor on a busy one.

`make check` looks on for some heartbeats, `make campaign-quiet` for half an hour of them each time
(APMP_QUIET_BEATS).
"""
import os
from pathlib import Path

import pytest

import apmp

BEATS = int(os.environ.get("APMP_QUIET_BEATS", "1000"))
HANG_GUARD = 60 + BEATS // 100  # seconds; five times what they take


def looks_on(machine, *arguments):
    campaign = machine.start("chaos", "quiet", "--count", str(BEATS), *arguments)
    out, err = campaign.communicate(timeout=HANG_GUARD)
    print(out)
    assert campaign.returncode == apmp.DONE, out + err
    assert out.rstrip().endswith("nobody was removed")


@pytest.mark.machine_file(apmp.many(8, timing="{stop: 50ms}"))
def test_idle(machine):
    """shows: DB-09"""
    looks_on(machine)


@pytest.mark.machine_file(apmp.many(8, timing="{stop: 250ms}"))
def test_with_fourfold_load(machine):
    """shows: DB-09"""
    looks_on(machine, "--load", "4")


@pytest.mark.machine_file(apmp.many(3, timing="{stop: 250ms}"))
def test_who_is_removed_is_noticed(machine):
    """The campaign ends with its name, and its busy processes with it."""
    campaign = machine.start("chaos", "quiet", "--count", "1000000", "--load", "1")
    children = Path(f"/proc/{campaign.pid}/task/{campaign.pid}/children")
    busy = [os.pidfd_open(int(pid)) for pid in machine.until(str.split, children.read_text).split()]
    machine.apmp("chaos", "inject", "stop", "p1")
    out, _ = campaign.communicate(timeout=HANG_GUARD)
    assert campaign.returncode == apmp.REFUSED
    assert "p1: " in out
    for pidfd in busy:
        assert apmp.ended(pidfd)
        os.close(pidfd)
