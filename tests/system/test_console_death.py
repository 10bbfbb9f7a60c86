"""The console ends in the middle of a boot; loans end with the life that they were made to."""
import os
from pathlib import Path

import pytest

from apmp import check_cpus, instances

# Points that the boot of a partition passes in the console, and which of its stores.
OF_A_BOOT = ["update_begin", "update_store:1", "update_store:9", "update_commit", "update_end",
             "form_508", "form_510"]


def fenced_lives(machine, partition):
    events = [event for event in machine.apmp("events", json=False).splitlines()
              if "instance.fenced" in event and f"partition={partition}" in event]
    return [event.split("incarnation=")[1].split()[0] for event in events]


@pytest.mark.parametrize("point", OF_A_BOOT)
def test_a_boot_is_whole_or_begins_again(machine, point):
    """Half a boot neither powers the machine off nor fences a life twice.

    shows: TREE-22, PLAT-10
    """
    machine.apmp("partition", "halt", "gamma")
    machine.apmp("chaos", "inject", "kill", "console", "--at", point)
    mark = machine.events.mark()
    machine.try_apmp("partition", "boot", "gamma")
    machine.events.wait_for("console.restarted", after=mark)
    machine.events.wait_for("member.joined", after=mark, partition="gamma")
    assert machine.partition("gamma")["instance"]["state"] == "member"
    lives = fenced_lives(machine, "gamma")
    assert len(lives) == len(set(lives)), lives


@pytest.mark.parametrize("how", ["kill", "halt"])
def test_a_loan_ends_with_its_borrower(machine, how):
    """A lent CPU is its owner's again when the borrower ends, and works there.

    shows: CPU-10, CPU-01
    """
    machine.apmp("cpu", "migrate", "2", "--to", "gamma", "--loan")
    mark = machine.events.mark()
    if how == "kill":
        machine.apmp("chaos", "inject", "kill", "gamma")
    else:
        machine.apmp("partition", "halt", "gamma")
    machine.events.wait_for("cpu.started", after=mark, partition="alpha", cpu=2)
    assert machine.cpu(2)["current_owner"] == "alpha"
    assert machine.cpu(2)["runner"] == "alpha"
    machine.apmp("partition", "boot", "gamma")
    machine.apmp("cpu", "migrate", "2", "--to", "gamma")
    check_cpus(machine.status())


def test_one_that_can_not_form_the_machine(machine):
    """It ends, and so do those after it, until one can; nothing else notices.

    shows: TREE-22
    """
    box = Path(f"/proc/{machine.box_pid()}/fd")
    config = next(fd for fd in box.iterdir() if os.readlink(fd).startswith("/memfd:config "))
    before = instances(machine.status())
    with config.open("r+b", buffering=0) as memory:
        text = memory.read()
        memory.seek(0)
        memory.write(b"nonsense\0")
        mark = machine.events.mark()
        machine.try_apmp("chaos", "inject", "kill", "console")
        machine.until(lambda log: log.count("the machine can't be formed") > 2,
                      lambda: (machine.rundir / "apmpd.log").read_text())
        memory.seek(0)
        memory.write(text)
    machine.events.wait_for("console.restarted", after=mark)
    assert {name: i.get("pid") for name, i in instances(machine.status()).items()} == {
        name: i.get("pid") for name, i in before.items()}
    machine.apmp("cpu", "migrate", "2", "--to", "gamma")
