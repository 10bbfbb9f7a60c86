"""Silent deaths that no heartbeat finds: whoever would have watched is dead as well."""
import os
import signal

import apmp


def test_all_die_at_once_and_nobody_watches(make_machine):
    """With notice_exit: no the box tells only of those whom nobody is left to find.

    shows: FAIL-05, DB-14
    """
    machine = make_machine(apmp.TRIO + "notice_exit: no\n")
    machine.up()
    mark = machine.events.mark()
    for pid in [machine.pid(name) for name in ("alpha", "beta", "gamma")]:
        os.kill(pid, signal.SIGKILL)
    for name in ("alpha", "beta", "gamma"):
        machine.events.wait_for("instance.fenced", after=mark, partition=name)
    for name in ("alpha", "beta", "gamma"):
        machine.boots_and_joins(name)
    assert machine.status()["communities"][0]["sharing_set"]["incarnation"] == 2
