"""No live member is taken for dead, neither on an idle host nor on a busy one.

`make check` looks on for some heartbeats, `make campaign-quiet` for half an hour of them each time
(APMP_QUIET_BEATS).
"""
import os
import signal
from pathlib import Path

import pytest

import apmp

BEATS = int(os.environ.get("APMP_QUIET_BEATS", "1000"))
HANG_GUARD = 900 + BEATS // 100  # seconds; a beat takes two milliseconds


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


@pytest.mark.parametrize("campaign", ["joins", "quiet"])
@pytest.mark.machine_file(apmp.many(2, timing="{stop: 10s}"))
def test_not_begun_while_one_does_not_move(machine, campaign):
    """Why, and nothing else: no violation, nothing to reproduce."""
    def refused():
        result = machine.try_apmp("chaos", campaign, "--count", "1", as_json=True)
        assert result.code == apmp.REFUSED and len(result.err.splitlines()) == 1, result
        assert result.json["error"] == "org.apmp.cli.NotBegun", result
        return result.err

    machine.apmp("debug", "p1")
    assert "p1: is debugged" in refused()
    machine.apmp("debug", "p1", "off")
    machine.kill(machine.pid("p1"), signal.SIGSTOP)
    assert "p1: is stopped" in refused()
    machine.kill(machine.pid("p1"), signal.SIGCONT)
