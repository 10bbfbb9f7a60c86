"""An instance fails: it says why, saves the contexts of its CPUs, and sends them to their targets.

Figs. 25 to 27. Every way to fail, and every death in the midst of failing: each CPU ends with one
owner, and the partition boots again.
"""
import ctypes
import functools
import os
import signal
import subprocess
import time

import pytest

import apmp
from hwrpb import AWAY, HALTED, Hwrpb, store_runner
from operator_calls import Operator

MACHINE = """\
machine: {name}
hardware:
  - {sbb: 0, cpus: 8, memory: 192M, iops: [{buses: [{}, {}, {}]}]}
  - {sbb: 1, cpus: 1, memory: 16M, iops: [{buses: [{}]}]}
communities:
  - {name: lab, shared: 32M}
partitions:
  - {name: alpha, community: lab, cpus: [0, 1, 2, 3, 4], memory: 24M, buses: ["0.0.0"], boot: yes,
     failover: {1: beta, 2: gamma}}
  - {name: beta, community: lab, cpus: [5, 6], memory: 24M, buses: ["0.0.1"], boot: yes}
  - {name: gamma, community: lab, cpus: [7], memory: 24M, buses: ["0.0.2"], boot: yes}
  - {name: solo, cpus: [8], memory: 8M, buses: ["1.0.0"], boot: yes}
timing: {stop: 500ms}
"""

ALL = {"alpha", "beta", "gamma"}
ALPHA, BETA, GAMMA = 0, 1, 2
TICK_NS = 2_000_000
SYS_TGKILL = 234 if os.uname().machine == "x86_64" else 131
HOME = {0: "alpha", 1: "alpha", 2: "alpha", 3: "alpha", 4: "alpha", 5: "beta", 6: "beta",
        7: "gamma", 8: "solo"}
# CPU: its targets in alpha's HWRPB, and where it is when alpha has failed.
TARGETS = {1: ([BETA], "beta"), 2: ([GAMMA, BETA], "gamma"), 3: ([ALPHA], "alpha"),
           4: ([], "alpha")}
# Where a crash can be struck; crash_2610 and crash_2614 are not the instance's.
STEPS = [point for point in apmp.points("crash_") + apmp.points("fail_")
         if point not in ("crash_2610", "crash_2614")]


def where(status):
    return {cpu["id"]: cpu["current_owner"] for cpu in status["cpus"]}


@pytest.fixture
def lab(shared, request):
    """The machine, with alpha's table of targets; everything is in its place afterwards."""
    shared.hwrpb = Hwrpb(shared, "alpha")
    for cpu, (targets, _) in TARGETS.items():
        shared.hwrpb.set_failover(cpu, *targets)
    shared.mark = shared.events.mark()
    yield shared
    if request.node.report_call.failed:
        return
    put_back(shared)


def put_back(machine):
    for name in sorted(ALL):
        if machine.partition(name)["instance"]["state"] != "member":
            machine.boots_and_joins(name)
    for cpu, home in HOME.items():
        if machine.cpu(cpu)["current_owner"] != home:
            machine.apmp("cpu", "migrate", cpu, "--to", home)
    assert where(machine.at_rest(ALL)) == HOME


def ended(machine, announced=True):
    """Waits for alpha's end; gives the last gasp."""
    machine.events.wait_for("instance.fenced", partition="alpha", after=machine.mark)
    if announced:
        machine.events.wait_for("instance.crashed", partition="alpha", after=machine.mark)
    else:
        machine.until(lambda status: apmp.named(status["partitions"], "alpha")["instance"]["state"]
                      in ("dead", "crashed"))
    status = machine.at_rest(ALL - {"alpha"})
    machine.apmp("check", "--live")
    assert set(where(status)) == set(HOME)
    return machine.hwrpb.crash()


def are_at_targets(machine):
    at = where(machine.status())
    assert {cpu: at[cpu] for cpu in TARGETS} == {cpu: to for cpu, (_, to) in TARGETS.items()}
    assert at[0] == "alpha"  # the primary stays


def went_to_targets(machine):
    """The CPUs are where the table says; each one's context was saved, with where it was."""
    are_at_targets(machine)
    image = machine.hwrpb.crash()["image"]
    for cpu in range(5):
        context = machine.hwrpb.context(cpu)
        assert context and any(context["registers"]), cpu
        # The return addresses lead into the instance's own program.
        assert any(0 < frame - image < 1 << 22 for frame in context["frames"]), (cpu, context)
    assert machine.hwrpb.context(5) is None


def test_by_instruction(lab):
    """shows: FAIL-01, FAIL-02"""
    since = time.monotonic_ns()
    lab.apmp("partition", "crash", "alpha")
    gasp = ended(lab)
    assert (gasp["reason"], gasp["thread"], gasp["text"]) == ("instruction", 0,
                                                              "crash by instruction")
    assert since < gasp["t_ns"] < time.monotonic_ns()
    went_to_targets(lab)
    assert [lab.hwrpb.state(cpu) for cpu in range(1, 5)] == [AWAY, AWAY, HALTED, HALTED]
    for cpu in (1, 2):  # a loan: it is still alpha's
        assert lab.cpu(cpu)["owner"] == "alpha"
        lab.events.wait_for("cpu.started", cpu=cpu, partition=TARGETS[cpu][1], after=lab.mark)


def test_steps_are_passed_in_order(lab):
    """Figs. 26A and 26B on the primary, Fig. 27 on each CPU. shows: FAIL-01, FAIL-02"""
    since = time.monotonic_ns()
    lab.apmp("partition", "crash", "alpha")
    ended(lab)
    entries = [entry for entry in lab.try_apmp("trace", "alpha", as_json=True).lines
               if entry["t_ns"] > since]
    lab._points.update(entry["point"] for entry in entries)
    steps = [entry["point"] for entry in entries if entry["point"].startswith("crash_")]
    assert steps == ["crash_2600", "crash_2602", "crash_2604", "crash_2606", "crash_2608",
                     "crash_2612"]
    at = {entry["point"]: entry["t_ns"] for entry in entries}
    for cpu, (_, to) in TARGETS.items():
        own = [entry for entry in entries if entry["point"].startswith("fail_")
               and entry["arg"] == cpu]
        last = "fail_stays" if to == "alpha" else "fail_goes"
        assert [entry["point"] for entry in own] == ["fail_2700", "fail_2702", "fail_2704", last]
        assert {entry["thread"] for entry in own} == {f"cpu {cpu}"}
        assert at["crash_2604"] < own[0]["t_ns"]
        assert own[0]["t_ns"] < at["crash_2606"] and own[-1]["t_ns"] < at["crash_2608"]


def test_what_the_port_says(lab):
    """One line says why, and one for each CPU where it goes."""
    lab.apmp("partition", "crash", "alpha")
    ended(lab)
    first = "alpha: bugcheck: crash by instruction"

    def port():
        return lab.apmp("console", "alpha").replace("\r", "").splitlines()

    # What the dying wrote is read when the console comes to it.
    said = lab.until(lambda said: first in said and len(said) >= said.index(first) + 5, port)
    said = said[len(said) - 1 - said[::-1].index(first):]
    assert sorted(said[1:5]) == ["alpha: CPU 1 goes to beta", "alpha: CPU 2 goes to gamma",
                                 "alpha: CPU 3 stays", "alpha: CPU 4 stays"]


@pytest.mark.parametrize("fault, at, thread, said", [
    ("segv", "tick_beat", "clock", "SIGSEGV at 0x40 in the clock"),
    ("segv", "migrate_902", 0, "SIGSEGV at 0x40 on CPU 0"),
    ("segv", "migrate_904", 1, "SIGSEGV at 0x40 on CPU 1"),
    ("assert", "tick_beat", "clock", " an assertion, injected in the clock"),
    ("assert", "migrate_902", 0, " an assertion, injected on CPU 0"),
    ("assert", "migrate_904", 1, " an assertion, injected on CPU 1"),
])
def test_own_faults(lab, fault, at, thread, said):
    """A fault in any thread: the primary, another CPU, the clock. shows: FAIL-01"""
    lab.apmp("chaos", "inject", fault, "alpha", "--at", at)
    if at.startswith("migrate"):
        lab.try_apmp("cpu", "migrate", 1, "--to", "beta")
    gasp = ended(lab)
    assert said in gasp["text"], gasp
    assert gasp["reason"] == ("signal" if fault == "segv" else "assertion")
    assert gasp["signal"] == (signal.SIGSEGV if fault == "segv" else 0)
    assert gasp["thread"] == (0x10000 if thread == "clock" else thread)
    went_to_targets(lab)


def test_fault_of_what_serves_programs(lab):
    """Their locks, by the thread that takes them."""
    lab.apmp("chaos", "inject", "segv", "alpha", "--at", "named_acquired")
    lab.try_apmp("run", "alpha", "--", apmp.BIN / "apmp-lock", "journal", "--", "true")
    gasp = ended(lab)
    assert gasp["text"] == "SIGSEGV at 0x40 in what serves programs"
    assert gasp["thread"] == 0x10003
    went_to_targets(lab)


def test_one_that_is_alone(lab):
    """Of no community: its CPUs can go nowhere."""
    hwrpb = Hwrpb(lab, "solo")
    hwrpb.set_failover(8, BETA)
    lab.apmp("partition", "crash", "solo")
    lab.events.wait_for("instance.crashed", partition="solo", after=lab.mark)
    assert hwrpb.crash()["text"] == "crash by instruction"
    assert where(lab.status())[8] == "solo"
    lab.apmp("partition", "boot", "solo")


@pytest.mark.parametrize("name", ["SIGSEGV", "SIGBUS", "SIGFPE", "SIGILL", "SIGABRT"])
def test_signals_from_outside(lab, name):
    lab.kill(lab.pid("alpha"), getattr(signal, name))
    gasp = ended(lab)
    assert gasp["text"].startswith(f"{name} sent by process "), gasp
    assert gasp["signal"] == getattr(signal, name)
    went_to_targets(lab)


def test_heartbeat_goes_on(lab):
    """A crash that is held up by its console, which stands still, is no silent death meanwhile:
    what strikes the clock from outside does not stop it. Nor does it skip ticks, but for some that
    the host takes; for three of these it may be suspected."""
    pid, since = lab.pid("alpha"), time.monotonic_ns()
    lab.apmp("chaos", "inject", "stop", "console")
    lab.kill(pid, signal.SIGSEGV)
    end = lab.until(lambda entries: entries, lambda: lab.passed("crash_2612", "alpha", since=since))
    begin = lab.passed("crash_2606", "alpha", since=since)[0]["t_ns"]
    beats = [beat for beat in lab.passed("tick_beat", "alpha", since=begin)
             if beat["t_ns"] < end[0]["t_ns"]]
    assert len(beats) > max(10, (end[0]["t_ns"] - begin) / TICK_NS / 2)
    ended(lab, announced=False)


@pytest.mark.parametrize("fault", ["segv", "assert"])
def test_faults_at_once(lab, fault):
    lab.apmp("chaos", "inject", fault, "alpha")
    assert ended(lab)["reason"] == "signal"
    went_to_targets(lab)


def test_every_thread_fails_at_once(lab):
    """One of them is told, whole, whoever it is; the CPUs go all the same. shows: FAIL-01"""
    pid = lab.pid("alpha")
    tgkill = functools.partial(ctypes.CDLL(None).syscall, SYS_TGKILL, pid)
    for tid in os.listdir(f"/proc/{pid}/task"):
        tgkill(int(tid), int(signal.SIGBUS))
    gasp = ended(lab)
    assert gasp["text"].startswith("SIGBUS sent by process ") and gasp["signal"] == signal.SIGBUS
    are_at_targets(lab)


def test_cpu_that_somebody_else_runs(lab):
    """The CPU whose execution word is not ours does not go by itself. The console sends it after
    the fence, and what stood in the word is not the death of who gets it."""
    since = time.monotonic_ns()
    store_runner(lab, "alpha", 1, 0xbad)
    lab.try_apmp("cpu", "migrate", 1, "--to", "beta")
    gasp = ended(lab)
    assert gasp["reason"] == "runner"
    assert gasp["text"].startswith("CPU 1 is run by somebody else")
    assert [entry["arg"] for entry in lab.passed("fail_goes", "alpha", since=since)] == [2]
    are_at_targets(lab)


def test_judged_dead(make_machine):
    """One that finds its bugcheck bit touches nothing that is shared: it says so, and ends."""
    machine = make_machine(MACHINE.replace("timing: {stop: 500ms}", "fence: bugcheck"))
    machine.up()
    machine.at_rest(ALL)
    hwrpb = machine.hwrpb = Hwrpb(machine, "alpha")
    for cpu in range(1, 5):
        hwrpb.set_failover(cpu, BETA)
    pid, machine.mark = machine.pid("alpha"), machine.events.mark()
    machine.kill(pid, signal.SIGSTOP)
    machine.events.wait_for("instance.fence-pending", partition="alpha", after=machine.mark)
    machine.kill(pid, signal.SIGCONT)
    machine.events.wait_for("instance.fenced", partition="alpha", after=machine.mark)
    gasp = hwrpb.crash()
    assert (gasp["reason"], gasp["text"]) == ("removed", "judged dead by the others")
    assert machine.passed("crash_2602", "alpha") == []
    assert [hwrpb.context(cpu) for cpu in range(5)] == [None] * 5


def test_next_target(lab):
    """A target that does not run is passed over. shows: FAIL-02"""
    lab.apmp("partition", "halt", "gamma")
    lab.apmp("partition", "crash", "alpha")
    lab.events.wait_for("instance.crashed", partition="alpha", after=lab.mark)
    assert where(lab.at_rest({"beta"}))[2] == "beta"


@pytest.mark.parametrize("cpu, passed", [(1, [1]), (2, [2]), (3, [])])
def test_stopped_cpu(lab, cpu, passed):
    """Step 2608: one in console mode is sent to its target by RX. shows: FAIL-01"""
    since = time.monotonic_ns()
    Operator(lab)("CpuStop", cpu=cpu)
    lab.apmp("partition", "crash", "alpha")
    ended(lab)
    assert [entry["arg"] for entry in lab.passed("rx_3104", "alpha", since=since)] == passed
    assert lab.hwrpb.context(cpu) is None  # it ran nothing of ours
    are_at_targets(lab)


def test_stopped_cpu_whose_target_is_away(lab):
    """It goes to the next one, as those do that run."""
    lab.apmp("partition", "halt", "gamma")
    Operator(lab)("CpuStop", cpu=2)
    lab.apmp("partition", "crash", "alpha")
    lab.events.wait_for("instance.crashed", partition="alpha", after=lab.mark)
    assert where(lab.at_rest({"beta"}))[2] == "beta"


def faulty_task(tmp_path_factory):
    program = tmp_path_factory.mktemp("task") / "faulty.so"
    subprocess.run(["cc", "-O1", "-shared", "-fPIC", f"-I{apmp.TOP}", "-o",
                    program, apmp.TOP / "tests/system/data/faulty_task.c"], check=True)
    return program


@pytest.mark.parametrize("how, said", [("store", "SIGSEGV at 0x10"), ("deep", "SIGSEGV at 0x"),
                                       ("abort", "SIGABRT")])
def test_fault_of_a_task(lab, tmp_path_factory, how, said):
    """It is one of its instance; what is saved for a CPU is its task's context, if it has one. A
    task whose stack is used up has another one to fail on. shows: CPU-15, FAIL-01"""
    program = faulty_task(tmp_path_factory)
    task = lab.start("run", "alpha", "--", apmp.BIN / "apmp-task", program, how)
    gasp = ended(lab)
    task.communicate(timeout=apmp.WATCHDOG)
    assert gasp["reason"] == "signal" and gasp["text"].startswith(said), gasp
    assert " in task 1 (faulty.so) on CPU " in gasp["text"]
    saved = [lab.hwrpb.context(cpu)["task"] for cpu in range(5)]
    assert saved[gasp["thread"]] == 1
    assert sorted(saved) == [1, 2, 3, 4, 5]
    all_saved = lab.passed("crash_2606", "alpha")[-1]["t_ns"]
    assert all(entry["t_ns"] < all_saved for entry in lab.passed("fail_2700", "alpha"))
    are_at_targets(lab)


# ---- while something else goes wrong ----

def test_assertion_while_a_task_has_stderr(lab, tmp_path_factory):
    """Whatever lock of the C library is held: what panics asks for none."""
    program = faulty_task(tmp_path_factory)
    task = lab.start("run", "alpha", "--", apmp.BIN / "apmp-task", program, "hold")
    assert task.stdout.readline() == "held\n"
    lab.apmp("chaos", "inject", "assert", "alpha", "--at", "migrate_902")
    lab.try_apmp("cpu", "migrate", 1, "--to", "beta")
    assert ended(lab)["reason"] == "assertion"
    task.communicate(timeout=apmp.WATCHDOG)
    are_at_targets(lab)


@pytest.mark.parametrize("at", STEPS)
def test_killed_in_a_crash(lab, at):
    """A silent death in any step: each CPU ends with one owner. shows: FAIL-05"""
    lab.arm("alpha", at)
    lab.try_apmp("partition", "crash", "alpha")
    gasp = ended(lab, announced=False)
    assert gasp["reason"] == "instruction"
    assert lab.events.wait_for("instance.fenced", after=lab.mark)["died_at"] == at
    are_at_targets(lab)


def test_crash_in_the_last_gasp(lab):
    """It is whole by then, and the primary goes on with the rest."""
    lab.apmp("chaos", "inject", "segv", "alpha", "--at", "crash_2600")
    lab.try_apmp("partition", "crash", "alpha")
    assert ended(lab)["reason"] == "instruction"
    are_at_targets(lab)


@pytest.mark.parametrize("fault, at", [("segv", at) for at in STEPS if at != "crash_2600"]
                         + [("assert", "crash_2604"), ("assert", "fail_2702")])
def test_crash_in_a_crash(lab, fault, at):
    """A fault of the primary in its crash is its end; one of a CPU is waited for no more. The first
    last gasp stays."""
    lab.apmp("chaos", "inject", fault, "alpha", "--at", at)
    lab.try_apmp("partition", "crash", "alpha")
    gasp = ended(lab, announced=False)
    assert gasp["reason"] == "instruction"
    assert lab.events.wait_for("instance.fenced", after=lab.mark)["died_at"] == at
    are_at_targets(lab)


@pytest.mark.parametrize("at", ["migrate_902", "migrate_904", "migrate_906", "pal_2202",
                                "pal_2204"])
def test_crash_in_a_migration(lab, at):
    """Nobody has the CPU twice, whether it had given up its execution word or not."""
    lab.apmp("chaos", "inject", "segv", "alpha", "--at", at)
    lab.try_apmp("cpu", "migrate", 1, "--to", "gamma")
    assert ended(lab)["reason"] == "signal"
    assert where(lab.status())[2] == "gamma"


@pytest.mark.parametrize("at", ["pal_2206", "pal_2208", "pal_2210", "pal_2212", "pal_2214",
                                "pal_2216", "con_2302", "con_2304"])
def test_console_dies_in_a_crash(lab, at):
    """It is asked again by the CPUs, and told again of the end."""
    lab.arm("console", at)
    lab.try_apmp("partition", "crash", "alpha")
    lab.events.wait_for("console.restarted", after=lab.mark)
    ended(lab, announced=False)


def test_console_is_away(lab):
    """A crash that has nobody to tell waits no longer than it must; the next console finds out."""
    pid = lab.pid("alpha")
    lab.apmp("chaos", "inject", "kill", "console")
    lab.kill(pid, signal.SIGSEGV)
    lab.events.wait_for("console.restarted", after=lab.mark)
    assert ended(lab, announced=False)["reason"] == "signal"
