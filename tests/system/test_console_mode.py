"""CPUs in console mode: they are stopped and started, wait without using a host CPU, migrate from
there, by HALT, and become nobody's; refused, and while someone dies in the midst.
"""
import threading
import time
from pathlib import Path

import pytest

import apmp
from operator_calls import CutOff, Operator, Refused
from test_migrate import Held, thread_of, threads

MACHINE = """\
machine: {name}
hardware:
  - {sbb: 0, cpus: 6, memory: 192M, iops: [{buses: [{}, {}, {}]}]}
communities:
  - {name: lab, shared: 32M}
partitions:
  - {name: alpha, community: lab, cpus: [1, 2, 3], memory: 24M, buses: ["0.0.0"], boot: yes}
  - {name: beta, community: lab, cpus: [4, 5], memory: 24M, buses: ["0.0.1"], boot: yes}
  - {name: gamma, community: lab, cpus: [0], memory: 24M, buses: ["0.0.2"], boot: yes}
timing: {stop: 2s}
"""

ALL = {"alpha", "beta", "gamma"}
HOME = {0: "gamma", 1: "alpha", 2: "alpha", 3: "alpha", 4: "beta", 5: "beta"}


@pytest.fixture
def lab(shared, request):
    """The machine; every CPU is active in its place afterwards."""
    yield shared
    if request.node.report_call.failed:
        return
    call = Operator(shared)
    for cpu, home in HOME.items():
        now = shared.cpu(cpu)
        if now["owner"] is None:
            call("CpuAssign", cpu=cpu, to=home)
        elif now["current_owner"] != home:
            call("CpuMigrate", cpu=cpu, to=home)
        if shared.cpu(cpu)["state"] == "console":
            call("CpuStart", cpu=cpu)
    assert {cpu["id"]: cpu["owner"] for cpu in shared.at_rest(ALL)["cpus"]} == HOME


@pytest.fixture
def call(lab):
    return Operator(lab)


def sets(lab, name):
    partition = lab.partition(name)
    return partition["configure"], partition["active"]


def steps(lab, since, *prefixes):
    entries = lab.try_apmp("trace", as_json=True).lines
    return [(entry["who"], entry["point"]) for entry in entries if entry["t_ns"] > since
            and entry["point"].startswith(prefixes)]


def follow_each_other(steps_wanted, passed):
    """All of them were passed, in this order."""
    assert [step for step in passed if step in steps_wanted] == steps_wanted, passed


def host_time(lab, number):
    """Nanoseconds that a thread of alpha has run, and how often it was woken."""
    path = Path(f"/proc/{lab.pid('alpha')}/task/{number}")
    switches = [line.split()[1] for line in (path / "status").read_text().splitlines()
                if line.startswith("voluntary_ctxt_switches")]
    return int((path / "schedstat").read_text().split()[0]), switches


def test_stop_and_start(lab, call):
    """The configure set has it all the time, the active set not while it is in console mode; others
    see that at once. It goes on on its own thread. shows: CPU-04, CPU-12, HWRPB-02"""
    before, since = threads(lab, "alpha"), time.monotonic_ns()
    mark = lab.events.mark()
    assert call("CpuStop", cpu=2)["partition"] == "alpha"
    assert lab.cpu(2)["state"] == "console"
    assert lab.until(lambda now: now[1] == [1, 3], lambda: sets(lab, "alpha")) == ([1, 2, 3],
                                                                                   [1, 3])
    lab.events.wait_for("cpu.stopped", partition="alpha", cpu=2, after=mark)
    with pytest.raises(Refused):
        call("CpuStop", cpu=2)
    call("CpuStart", cpu=2)
    assert lab.cpu(2)["state"] == "active"
    lab.until(lambda now: now[1] == [1, 2, 3], lambda: sets(lab, "alpha"))
    started = [entry for entry in lab.passed("pal_2220", "alpha", since=since)]
    assert [(entry["thread"], entry["arg"]) for entry in started] == [("cpu 2", 2)]
    assert threads(lab, "alpha") == before
    with pytest.raises(Refused):
        call("CpuStart", cpu=2)
    with pytest.raises(Refused):
        call("CpuStop", cpu=1)  # the primary


def test_it_sleeps(lab, call):
    """In console mode it uses no host CPU, whatever goes on around it."""
    number = thread_of(lab, "alpha", "cpu 2")
    call("CpuStop", cpu=2)
    lab.until(lambda now: now[1] == [1, 3], lambda: sets(lab, "alpha"))
    before = host_time(lab, number)
    for to in ("gamma", "alpha", "gamma", "alpha"):
        call("CpuMigrate", cpu=3, to=to)
    assert host_time(lab, number) == before


def test_migrates_from_console_mode(lab, call):
    """Fig. 31; and it starts where it comes. shows: CPU-07"""
    call("CpuStop", cpu=2)
    since = time.monotonic_ns()
    call("CpuMigrate", cpu=2, to="gamma")
    follow_each_other([("alpha", "rx_3102"), ("alpha", "rx_3104"), ("alpha", "rx_3108"),
                       ("console", "rx_3106"), ("gamma", "pal_2220")],
                      steps(lab, since, "rx_", "pal_"))
    cpu = lab.cpu(2)
    assert (cpu["owner"], cpu["current_owner"], cpu["state"]) == ("gamma", "gamma", "active")
    call("CpuMigrate", cpu=2, to="alpha")
    assert lab.cpu(2)["state"] == "active"


def test_it_waits_to_be_started(lab, call):
    """What is not in the autostart set stays in console mode when it comes, on a thread of its own,
    and obeys there. shows: CPU-12"""
    call("CpuAutostart", partition="gamma", cpus=[])
    try:
        assert call("CpuMigrate", cpu=2, to="gamma")["active"] is False
        cpu = lab.cpu(2)
        assert (cpu["current_owner"], cpu["state"]) == ("gamma", "console")
        assert sets(lab, "gamma") == ([0, 2], [0])
        call("CpuMigrate", cpu=2, to="beta")
        assert lab.cpu(2)["state"] == "active"
        call("CpuMigrate", cpu=2, to="gamma")
        call("CpuStart", cpu=2)
        assert lab.cpu(2)["state"] == "active"
    finally:
        call("CpuAutostart", partition="gamma")


def test_halt_migration(lab, call):
    """Figs. 30A, 30B. shows: CPU-06"""
    since = time.monotonic_ns()
    call("CpuMigrate", cpu=2, to="gamma", by="halt", loan=True)
    follow_each_other([("alpha", "halt_3002"), ("alpha", "halt_3004"), ("alpha", "halt_3006"),
                       ("alpha", "halt_3008"), ("alpha", "halt_3010"), ("alpha", "halt_3012"),
                       ("alpha", "halt_3014"), ("alpha", "halt_3018"), ("console", "halt_3016"),
                       ("gamma", "pal_2220")], steps(lab, since, "halt_", "pal_"))
    cpu = lab.cpu(2)
    assert (cpu["owner"], cpu["current_owner"], cpu["state"]) == ("alpha", "gamma", "active")


class Asks(threading.Thread):
    """Calls a method at the side; `end` is the reply, or what was thrown."""

    def __init__(self, call, method, **parameters):
        super().__init__()
        self._what = lambda: call(method, **parameters)
        self.end = None
        self.start()

    def run(self):
        try:
            self.end = self._what()
        except (Refused, CutOff) as error:
            self.end = error


def gamma_dies_meanwhile(lab, call, **how):
    """CPU 2 of alpha stands still, is to go to gamma, and gamma ends before it begins; gives the
    time of that."""
    since, mark = time.monotonic_ns(), lab.events.mark()
    with Held(thread_of(lab, "alpha", "cpu 2")):
        asked = Asks(call, "CpuMigrate", cpu=2, to="gamma", **how)
        lab.until(bool, lambda: lab.passed("migrate_902", "alpha", since=since))
        lab.kill_partition("gamma")
        lab.events.wait_for("instance.fenced", partition="gamma", after=mark)
        asked.join()
    assert asked.end.error == "PartitionDied"
    return since


def test_halt_migration_that_is_not_valid_any_more(lab, call):
    """Fig. 30C: it stays halted and says so; its primary, which took it out of SMP only to send it
    away, starts it again. shows: CPU-06"""
    since = gamma_dies_meanwhile(lab, call, by="halt")
    lab.until(bool, lambda: lab.passed("migrate_910", "alpha", since=since))
    follow_each_other([("alpha", "halt_3014"), ("alpha", "halt_3022"), ("alpha", "halt_3024"),
                       ("alpha", "halt_3026"), ("alpha", "halt_3028"), ("alpha", "pal_2220"),
                       ("alpha", "migrate_910")], steps(lab, since, "halt_", "pal_", "migrate_9"))
    status = lab.at_rest(ALL - {"gamma"})
    assert 2 in apmp.named(status["partitions"], "alpha")["active"]
    lab.boots_and_joins("gamma")
    call("CpuMigrate", cpu=2, to="gamma", by="halt")


def test_refused_in_console_mode_it_stays_there(lab, call):
    """shows: CPU-07"""
    call("CpuStop", cpu=2)
    since = gamma_dies_meanwhile(lab, call)
    lab.until(bool, lambda: lab.passed("halt_3030", "alpha", since=since))
    assert not lab.passed("pal_2220", "alpha", since=since)
    cpu = lab.cpu(2)
    assert (cpu["owner"], cpu["current_owner"], cpu["state"]) == ("alpha", "alpha", "console")
    assert sets(lab, "alpha") == ([1, 2, 3], [1, 3])
    lab.boots_and_joins("gamma")
    call("CpuStart", cpu=2)


def nobodys(lab, number):
    cpu = lab.cpu(number)
    assert (cpu["owner"], cpu["current_owner"], cpu["state"]) == (None, None, "unassigned")


def test_deassigned_and_assigned(lab, call):
    """Figs. 29, 32A, 32B: it becomes nobody's, keeps its context, and goes on on its own thread
    when it comes back. shows: CPU-08"""
    before, since = threads(lab, "alpha"), time.monotonic_ns()
    call("CpuDeassign", cpu=2)
    nobodys(lab, 2)
    follow_each_other([("alpha", "reassign_3202"), ("alpha", "deassign_2902"),
                       ("alpha", "reassign_3204"), ("console", "deassign_2904"),
                       ("console", "deassign_2906"), ("console", "deassign_2908")],
                      steps(lab, since, "deassign_", "reassign_"))
    lab.until(lambda now: now == ([1, 3], [1, 3]), lambda: sets(lab, "alpha"))
    call("CpuAssign", cpu=2, to="alpha")
    lab.at_rest(ALL)
    assert lab.cpu(2)["owner"] == "alpha"
    assert threads(lab, "alpha") == before


def test_deassigned_in_console_mode(lab, call):
    """[0313]. shows: CPU-08"""
    call("CpuStop", cpu=2)
    since = time.monotonic_ns()
    call("CpuDeassign", cpu=2)
    nobodys(lab, 2)
    assert not [step for step in steps(lab, since, "deassign_2902", "reassign_3204")]
    call("CpuAssign", cpu=2, to="gamma")
    assert lab.cpu(2)["owner"] == "gamma"


WAYS = {
    "pal": [],
    "halt": ["halt_3002", "halt_3004", "halt_3006", "halt_3008", "halt_3010", "halt_3012",
             "halt_3014", "halt_3018"],
    "console": ["rx_3102", "rx_3104", "rx_3108"],
    "deassign": ["reassign_3202", "deassign_2902", "reassign_3204"],
}


@pytest.mark.parametrize("way, point", [(way, point) for way in WAYS for point in WAYS[way]])
def test_the_instance_dies(lab, call, way, point):
    """It has not asked yet: the CPU is still its own, boots with it and is active there.
    shows: CPU-01, CPU-06, CPU-07, CPU-08"""
    mark = lab.events.mark()
    if way == "console":
        call("CpuStop", cpu=2)
    lab.arm("alpha", point)
    method = "CpuDeassign" if way == "deassign" else "CpuMigrate"
    how = {"pal": {"to": "gamma"}, "console": {"to": "gamma"},
           "halt": {"to": "gamma", "by": "halt"}, "deassign": {}}[way]
    with pytest.raises(Refused) as refused:
        call(method, cpu=2, **how)
    assert refused.value.error == "PartitionDied"
    lab.events.wait_for("instance.fenced", partition="alpha", after=mark)
    lab.at_rest(ALL - {"alpha"})
    assert lab.cpu(2)["owner"] == lab.cpu(2)["current_owner"] == "alpha"
    lab.boots_and_joins("alpha")
    assert apmp.named(lab.at_rest(ALL)["partitions"], "alpha")["active"] == [1, 2, 3]


@pytest.mark.parametrize("way", ["halt", "console", "deassign"])
def test_the_console_dies(make_machine, way):
    """At the first store of the update that its callback makes, and once more behind it: the CPU's
    instance asks again, and it is done once. shows: CPU-01, CPU-06, CPU-07, CPU-08"""
    machine = make_machine(MACHINE)
    machine.up()
    call = Operator(machine)
    for point, to in (("update_store", "gamma"), ("update_commit", "beta")):
        mark = machine.events.mark()
        if way == "console":
            call("CpuStop", cpu=2)
        machine.arm("console", point)
        with pytest.raises((CutOff, Refused)):
            if way == "deassign":
                call("CpuDeassign", cpu=2)
            else:
                call("CpuMigrate", cpu=2, to=to, **({"by": "halt"} if way == "halt" else {}))
        machine.events.wait_for("console.restarted", after=mark)
        machine.until(lambda cpu: cpu["current_owner"] == (None if way == "deassign" else to),
                      lambda: machine.cpu(2))
        if way == "deassign":
            Operator(machine)("CpuAssign", cpu=2, to="alpha")
        machine.at_rest(ALL)
        call = Operator(machine)


CPUS = 40
SMALL = f"""\
machine: {{name}}
hardware:
  - {{sbb: 0, cpus: {CPUS}, memory: 64M, iops: [{{buses: [{{}}, {{}}]}}]}}
communities:
  - {{name: lab, shared: 8M}}
partitions:
  - {{name: alpha, community: lab, cpus: {list(range(1, CPUS))}, memory: 24M,
     buses: ["0.0.0"], boot: yes, failover: {{"*": beta}}}}
  - {{name: beta, community: lab, cpus: [0], memory: 4M, buses: ["0.0.1"], boot: yes,
     failover: {{"*": alpha}}}}
timing: {{stop: 2s}}
"""


def test_there_is_no_memory_for_its_stack(make_machine):
    """It can't be started there, but waits, goes home, becomes nobody's, and fails over.
    shows: CPU-07, CPU-08, FAIL-01"""
    machine = make_machine(SMALL)
    machine.up()
    said = machine.refused("cpu", "migrate", *range(2, CPUS), "--to", "beta")
    assert "Cannot allocate memory" in said
    one = machine.partition("beta")["cpus"][-1]
    assert one not in machine.partition("beta")["active"]
    machine.until(lambda cpu: cpu["state"] == "console", lambda: machine.cpu(one))
    assert "Cannot allocate memory" in machine.refused("cpu", "start", one)
    machine.apmp("cpu", "migrate", one, "--to", "alpha")
    assert machine.cpu(one)["state"] == "active"
    assert "Cannot allocate memory" in machine.refused("cpu", "migrate", one, "--to", "beta")
    machine.until(lambda cpu: cpu["state"] == "console", lambda: machine.cpu(one))
    machine.apmp("cpu", "deassign", one)
    machine.apmp("cpu", "assign", one, "--to", "alpha")
    machine.until(lambda cpu: cpu["state"] == "active", lambda: machine.cpu(one))
    assert "Cannot allocate memory" in machine.refused("cpu", "migrate", one, "--to", "beta")
    machine.until(lambda cpu: cpu["state"] == "console", lambda: machine.cpu(one))
    machine.apmp("partition", "crash", "beta")
    machine.until(lambda cpu: (cpu["current_owner"], cpu["state"]) == ("alpha", "active"),
                  lambda: machine.cpu(one))
    apmp.check_cpus(machine.status())
