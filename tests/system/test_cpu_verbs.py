"""The operator's orders to CPUs: start, stop, ways of a migration, deassignment while they work."""
import signal

import pytest


MACHINE = """\
machine: {name}
hardware:
  - {sbb: 0, cpus: 7, memory: 128M, iops: [{buses: [{}, {}, {}]}]}
communities:
  - {name: lab, shared: 16M}
partitions:
  - {name: alpha, community: lab, cpus: [0, 1, 2], memory: 16M, buses: ["0.0.0"], boot: yes}
  - name: beta
    community: lab
    cpus: [3, 4]
    memory: 16M
    buses: ["0.0.1"]
    boot: yes
    autostart: [1, 3, 4, 5]
  - {name: gamma, community: lab, cpus: [5], memory: 16M, buses: ["0.0.2"]}
timing: {stop: 2s}
"""
pytestmark = pytest.mark.machine_file(MACHINE)


def where(machine, cpu):
    one = machine.cpu(cpu)
    return one["owner"], one["current_owner"], one["state"]


# shows: CPU-04, CPU-12
def test_stop_and_start(machine):
    mark = machine.events.mark()
    assert "waits in console mode" in machine.apmp("cpu", "stop", 1, 2)
    machine.events.wait_for("cpu.stopped", partition="alpha", cpu=2, after=mark)
    assert where(machine, 1) == ("alpha", "alpha", "console")
    alpha = machine.partition("alpha")
    assert (alpha["configure"], alpha["active"]) == ([0, 1, 2], [0])
    assert machine.refused("cpu", "stop", 1) == \
        'CPU 1 is stopped in partition "alpha" already'
    assert 'CPU 1 works in "alpha"' in machine.apmp("cpu", "start", 1)
    machine.events.wait_for("cpu.started", partition="alpha", cpu=1, after=mark)
    assert where(machine, 1) == ("alpha", "alpha", "active")
    assert machine.refused("cpu", "start", 1) == 'CPU 1 works in partition "alpha" already'
    machine.apmp("cpu", "start", 2, "--wait", "5s")
    machine.at_rest({"alpha", "beta"})


# shows: CPU-03
def test_what_start_and_stop_refuse(machine):
    for verb in "stop", "deassign":
        assert machine.refused("cpu", verb, 0) == (
            'CPU 0 is the primary of partition "alpha", which stays and works there as long as '
            "that runs; take another CPU of that partition")
    assert 'CPU 6 is nobody\'s; `apmp cpu assign 6 --to PARTITION`' in \
        machine.refused("cpu", "start", 6)
    assert 'partition "gamma" is not running' in machine.refused("cpu", "stop", 5)
    assert "there is no CPU 9" in machine.refused("cpu", "start", 9)
    mark = machine.events.mark()
    assert "quiesced and halted" in machine.apmp("cpu", "stop", 1, "--dry-run")
    assert not machine.events.find("cpu.stopped", after=mark)
    assert where(machine, 1)[2] == "active"


# shows: CPU-04, CPU-06, CPU-08, CPU-14
@pytest.mark.parametrize("way, point", [("pal", "pal_2206"), ("halt", "halt_3016"),
                                        ("deassign", "reassign_3216")])
def test_ways_of_a_migration(machine, operator, way, point):
    before = len(machine.passed(point))
    dry = machine.apmp("cpu", "migrate", 1, "--to", "beta", "--by", way, "--dry-run")
    assert 'CPU 1 would go from "alpha" to "beta"' in dry
    assert ("HALT_MIGRATE" in dry, "deassigned" in dry) == (way == "halt", way == "deassign")
    assert len(machine.passed(point)) == before
    assert 'CPU 1 went from "alpha" to "beta"' in \
        machine.apmp("cpu", "migrate", 1, "--to", "beta", "--by", way)
    assert where(machine, 1) == ("beta", "beta", "active")
    assert len(machine.passed(point)) == before + 1
    moved = operator("CpuMigrate", cpu=1, to="alpha", by=way, loan=way != "deassign")
    assert (moved["active"], moved["loan_ended"]) == (True, False)
    machine.at_rest({"alpha", "beta"})


# shows: CPU-07
def test_a_stopped_cpu_goes_by_its_rx_buffer(machine):
    machine.apmp("cpu", "stop", 1)
    before = len(machine.passed("rx_3106"))
    dry = machine.apmp("cpu", "migrate", 1, "--to", "beta", "--dry-run")
    assert "3102, 3104" in dry
    machine.apmp("cpu", "migrate", 1, "--to", "beta", "--loan")
    assert len(machine.passed("rx_3106")) == before + 1
    assert where(machine, 1) == ("alpha", "beta", "active"), "in beta's autostart set"
    assert "the loan has ended" in machine.apmp("cpu", "migrate", 1, "--to", "alpha", "--loan")


# shows: CPU-05, CPU-12
def test_one_that_does_not_start_by_itself_says_so(machine, operator):
    said = machine.apmp("cpu", "migrate", 2, "--to", "beta")
    assert "it is stopped there, `apmp cpu start 2` starts it" in said
    assert where(machine, 2) == ("beta", "beta", "console")
    assert machine.partition("beta")["active"] == [3, 4]
    machine.apmp("cpu", "start", 2)
    machine.at_rest({"alpha", "beta"})
    assert operator("CpuMigrate", cpu=2, to="alpha")["active"]


# shows: CPU-08, CPU-14
def test_deassigned_while_it_works(machine):
    before = len(machine.passed("deassign_2908"))
    assert machine.apmp("cpu", "deassign", 1, "--wait", "5s").rstrip() == "CPU 1 is nobody's"
    assert where(machine, 1) == (None, None, "unassigned")
    assert len(machine.passed("deassign_2908")) == before + 1
    machine.at_rest({"alpha", "beta"})
    machine.apmp("cpu", "assign", 1, "--to", "beta")
    machine.at_rest({"alpha", "beta"})
    assert where(machine, 1) == ("beta", "beta", "active")
    # What is lent is not the borrower's to give up.
    machine.apmp("cpu", "migrate", 1, "--to", "alpha", "--loan")
    assert "it has it on loan" in machine.refused("cpu", "migrate", 1, "--to", "beta",
                                                  "--by", "deassign")
    assert "leave out --loan" in machine.refused("cpu", "migrate", 2, "--to", "beta",
                                                 "--by", "deassign", "--loan")


# shows: CPU-03
def test_a_stopped_instance_is_not_waited_for_for_ever(machine):
    machine.apmp("debug", "beta")
    machine.kill(machine.pid("beta"), signal.SIGSTOP)
    said = machine.refused("cpu", "stop", 4, "--wait", "100ms")
    assert "CPU 4: it was not done within 100 ms" in said
    assert 'partition "beta" had not begun, and it is taken back' in said
    assert machine.refused("cpu", "deassign", 4) == \
        'another change of CPU 4 is on its way, and waits for partition "beta"; ' \
        "try again when it is done"
    machine.kill(machine.pid("beta"), signal.SIGCONT)
    machine.apmp("cpu", "stop", 4, "--wait", "10s")
    assert where(machine, 4) == ("beta", "beta", "console")


# shows: CPU-01
@pytest.mark.parametrize("point", ["deassign_2904", "deassign_2908", "reassign_3206",
                                   "reassign_3210", "reassign_3214", "reassign_3216"])
def test_the_console_dies_while_a_cpu_is_reassigned(machine, point):
    machine.apmp("chaos", "inject", "kill", "console", "--at", point)
    machine.try_apmp("cpu", "migrate", 1, "--to", "beta", "--by", "deassign")
    machine.events.wait_for("console.restarted")
    machine.until(lambda status: next(
        c for c in status["cpus"] if c["id"] == 1)["state"] in ("active", "unassigned"))
    machine.at_rest({"alpha", "beta"})
    machine.apmp("check", "--live")


def test_by_is_one_of_three(machine, operator):
    assert operator.refused("CpuMigrate", cpu=1, to="beta", by="mail")[0] == \
        "org.varlink.service.InvalidParameter"
    assert machine.try_apmp("cpu", "migrate", 1, "--to", "beta", "--by", "mail").code == 2


# shows: CPU-02
def test_a_receiver_that_stands_still_is_named(machine):
    """It has begun: the CPU is beta's, which does not start it until it goes on."""
    machine.apmp("debug", "beta")
    machine.kill(machine.pid("beta"), signal.SIGSTOP)
    said = machine.refused("cpu", "migrate", 1, "--to", "beta", "--wait", "200ms")
    assert "CPU 1: it was not done within 200 ms: it has begun" in said
    assert 'waits for partition "beta"' in said
    assert where(machine, 1)[:2] == ("beta", "beta")
    for words in (["stop", 1], ["migrate", 1, "--to", "alpha"]):
        assert machine.refused("cpu", *words).startswith(
            'another change of CPU 1 is on its way, and waits for partition "beta"')
    machine.kill(machine.pid("beta"), signal.SIGCONT)
    machine.at_rest({"alpha", "beta"})
    assert where(machine, 1) == ("beta", "beta", "active")


# shows: CPU-02
def test_who_waits_hears_for_whom(machine):
    """A call that takes long says why, and how to end that."""
    machine.apmp("debug", "beta")
    machine.kill(machine.pid("beta"), signal.SIGSTOP)
    migrates = machine.start("cpu", "migrate", 1, "--to", "beta")
    assert migrates.stderr.readline() == (
        "apmp: waiting: CPU 1: it is not done yet; a partition that is stopped, or held by a "
        "debugger, does its part when it goes on; ^C takes back what it has not begun\n")
    crashes = machine.start("partition", "crash", "beta")
    assert "`apmp partition reset beta` takes it from its instance" in crashes.stderr.readline()
    machine.apmp("partition", "reset", "beta")
    assert migrates.wait() == crashes.wait() == 1
    machine.at_rest({"alpha", "beta"})


# shows: CPU-10
def test_a_borrower_gives_nothing_away(machine, operator):
    """Only its owner gives a CPU away: on loan it stays on loan, wherever it goes."""
    machine.apmp("partition", "boot", "gamma")
    machine.apmp("cpu", "migrate", 2, "--to", "beta", "--loan")
    dry = machine.apmp("cpu", "migrate", 2, "--to", "gamma", "--dry-run")
    assert "CPU 2 from beta to gamma; its owner stays alpha" in dry
    said = machine.apmp("cpu", "migrate", 2, "--to", "gamma")
    assert said.rstrip().endswith(', on loan: its owner is "alpha"')
    assert where(machine, 2) == ("alpha", "gamma", "active")
    moved = operator("CpuMigrate", cpu=2, to="beta", by="halt")
    assert (moved["owner"], moved["loan_ended"]) == ("alpha", False)
    moved = operator("CpuMigrate", cpu=2, to="alpha")
    assert (moved["owner"], moved["loan_ended"]) == ("alpha", True)
    machine.at_rest({"alpha", "beta", "gamma"})


# shows: CPU-02
def test_a_dry_run_says_what_would_be(machine):
    """Whose the CPU is then; and of one in console mode, what its RX buffer has."""
    def dry(*words):
        return machine.apmp("cpu", "migrate", 1, "--to", "beta", "--dry-run", *words)
    assert "its owner is then beta" in dry()
    assert "its owner stays alpha" in dry("--loan")
    machine.apmp("cpu", "stop", 1)
    said = dry("--by", "deassign")
    assert "puts DEASSIGN into RX of CPU 1" in said and "MIGRATE" not in said
    before = len(machine.passed("deassign_2902"))
    assert "2902" not in said and "3204" not in said
    machine.apmp("cpu", "migrate", 1, "--to", "beta", "--by", "deassign")
    assert len(machine.passed("deassign_2902")) == before
