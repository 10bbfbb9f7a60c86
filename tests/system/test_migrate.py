"""CPUs move between partitions while everything goes on, and while someone dies in the midst."""
import ctypes
import os
import signal
import threading
import time
from pathlib import Path

import pytest

import apmp

# lab lives on block 0; stranger is of another community; odd has a primary of another type.
MACHINE = """\
machine: {name}
hardware:
  - {sbb: 0, cpus: 6, memory: 192M, iops: [{buses: [{}, {}, {}, {}]}]}
  - sbb: 1
    cpus: [{id: 6}, {id: 7, type: 2}, {id: 8}]
    memory: 64M
    iops: [{buses: [{}]}]
communities:
  - {name: lab, shared: 32M}
  - {name: other, shared: 8M}
partitions:
  - {name: alpha, community: lab, cpus: [1, 2, 3], memory: 24M, buses: ["0.0.0"], boot: yes}
  - {name: beta, community: lab, cpus: [4, 5], memory: 24M, buses: ["0.0.1"], boot: yes}
  - {name: gamma, community: lab, cpus: [0], memory: 24M, buses: ["0.0.2"], boot: yes}
  - {name: stranger, community: other, cpus: [6], memory: 8M, buses: ["1.0.0"], boot: yes}
  - {name: odd, community: lab, cpus: [7], memory: 8M, buses: ["0.0.3"], boot: yes}
"""

ALL = {"alpha", "beta", "gamma", "odd"}
HOME = {0: "gamma", 1: "alpha", 2: "alpha", 3: "alpha", 4: "beta", 5: "beta", 6: "stranger",
        7: "odd", 8: None}


def where(status):
    return {cpu["id"]: cpu["current_owner"] for cpu in status["cpus"]}


def threads(machine, name):
    return set(os.listdir(f"/proc/{machine.pid(name)}/task"))


def thread_of(machine, name, wanted):
    """The number of the thread with this name."""
    tasks = Path(f"/proc/{machine.pid(name)}/task")
    return next(int(task.name) for task in tasks.iterdir()
                if (task / "comm").read_text().strip() == wanted)


def active(machine):
    """The status when each CPU of each member is active there."""
    return machine.at_rest(ALL)


@pytest.fixture
def lab(shared, request):
    """The machine; every CPU is back in its place afterwards."""
    yield shared
    if request.node.report_call.failed:
        return
    for cpu, home in HOME.items():
        if home and shared.cpu(cpu)["current_owner"] != home:
            shared.apmp("cpu", "migrate", cpu, "--to", home)
    assert where(active(shared)) == HOME


def test_there_and_back(lab):
    """Fig. 9. Owner and current owner follow; the sets of both follow; so do events.
    shows: CPU-01, CPU-02, CPU-05, PLAT-11, TREE-15"""
    mark = lab.events.mark()
    answer = lab.apmp("cpu", "migrate", 2, "--to", "gamma", json=True)["done"][0]
    assert (answer["from"], answer["to"], answer["cpu"]) == ("alpha", "gamma", 2)
    assert answer["elapsed_ns"] > 0
    status = active(lab)
    cpu = lab.cpu(2)
    assert (cpu["owner"], cpu["current_owner"], cpu["state"]) == ("gamma", "gamma", "active")
    assert apmp.named(status["partitions"], "gamma")["cpus"] == [0, 2]
    assert apmp.named(status["partitions"], "gamma")["active"] == [0, 2]
    assert apmp.named(status["partitions"], "alpha")["active"] == [1, 3]
    kinds = [event["kind"] for event in lab.events.seen if event["seq"] > mark]
    quiesced = lab.events.wait_for("cpu.quiesced", partition="alpha", cpu=2, after=mark)
    started = lab.events.wait_for("cpu.started", partition="gamma", cpu=2, after=mark)
    migrated = lab.events.wait_for("cpu.migrated", partition="gamma", cpu=2, after=mark)
    assert quiesced["seq"] < started["seq"] <= migrated["seq"], kinds
    assert migrated["from"] == "alpha"
    assert "went from \"gamma\" to \"alpha\"" in lab.apmp("cpu", "migrate", 2, "--to", "alpha")
    assert where(active(lab)) == HOME


def test_it_resumes_on_the_thread_that_it_left(lab):
    """The parked thread is the saved context: it goes on after its last migrate instruction, and
    no second thread is made. shows: CPU-04"""
    lab.apmp("cpu", "migrate", 2, "--to", "gamma")
    source, receiver = threads(lab, "alpha"), threads(lab, "gamma")
    last = max(entry["t_ns"] for entry in lab.passed("pal_2220", "gamma"))
    for _ in range(3):
        lab.apmp("cpu", "migrate", 2, "--to", "alpha")
        back = lab.passed("pal_2220", "alpha", since=last + 1)
        assert [(entry["thread"], entry["arg"]) for entry in back] == [("cpu 2", 2)]
        lab.apmp("cpu", "migrate", 2, "--to", "gamma")
        last = max(entry["t_ns"] for entry in lab.passed("pal_2220", "gamma"))
        assert last > back[0]["t_ns"]
    assert threads(lab, "alpha") == source
    assert threads(lab, "gamma") == receiver


def test_steps_are_passed_in_order(lab):
    """Figs. 9, 22A-22B, 23. shows: CPU-02, CPU-04, CPU-05"""
    lab.apmp("partition", "reset", "gamma")  # its CPU 2 starts as a secondary, on a new thread
    active(lab)
    since = time.monotonic_ns()
    lab.apmp("cpu", "migrate", 2, "--to", "gamma")
    entries = lab.try_apmp("trace", as_json=True).lines
    steps = [(entry["who"], entry["point"]) for entry in entries if entry["t_ns"] > since
             and entry["point"].startswith(("migrate_", "pal_", "con_"))]
    order = [("alpha", "migrate_902"), ("alpha", "migrate_904"), ("alpha", "pal_2202"),
             ("alpha", "pal_2204"), ("alpha", "migrate_906"), ("console", "pal_2206"),
             ("console", "pal_2208"), ("console", "pal_2210"), ("console", "pal_2212"),
             ("console", "pal_2214"), ("console", "pal_2216"), ("console", "migrate_908"),
             ("console", "con_2302"), ("gamma", "pal_2218"), ("gamma", "pal_2220"),
             ("gamma", "migrate_910")]
    assert [step for step in steps if step in order] == order


def test_a_program_follows(lab):
    """What runs in both partitions is allowed the host CPUs under the CPUs that they have.
    shows: CPU-15, CPU-02"""
    programs = {name: apmp.Program(lab, name) for name in ("alpha", "beta", "gamma")}
    seen = set()
    for cpu, to in ((2, "gamma"), (5, "gamma"), (3, "gamma"), (5, "beta"), (3, "alpha"),
                    (2, "alpha")):
        lab.apmp("cpu", "migrate", cpu, "--to", to)
        status = lab.status()
        for name, program in programs.items():
            allowed = program.host_cpus()
            assert allowed == apmp.cpus_of(status, name)
            seen.add((name, frozenset(allowed)))
    if len(os.sched_getaffinity(0)) > 1:
        assert len(seen) > len(programs), "nobody's CPUs have changed"
    for program in programs.values():
        assert program.end() == 0


def test_several_at_once(lab):
    lines = lab.apmp("cpu", "migrate", 2, 3, "--to", "beta").splitlines()
    assert len(lines) == 2
    lab.apmp("cpu", "migrate", 2, "--to", "alpha")
    result = lab.try_apmp("cpu", "migrate", 2, 99, 3, "--to", "beta", as_json=True)
    assert result.code == apmp.REFUSED
    assert result.err.splitlines()[1] == "apmp: not tried after that: 3"
    assert result.json["error"] == "org.apmp.machine.NoSuchCpu"
    assert [done["cpu"] for done in result.json["done"]] == [2]
    assert apmp.named(active(lab)["partitions"], "beta")["cpus"] == [2, 3, 4, 5]


def test_a_loan_changes_only_the_current_owner(lab):
    """shows: TREE-09"""
    said = lab.apmp("cpu", "migrate", 2, "--to", "gamma", "--loan")
    assert said.endswith(', on loan: its owner is "alpha"\n')
    cpu = lab.cpu(2)
    assert (cpu["owner"], cpu["current_owner"], cpu["state"]) == ("alpha", "gamma", "active")
    lab.apmp("cpu", "migrate", 2, "--to", "beta")
    assert lab.cpu(2)["owner"] == "alpha"
    lab.apmp("cpu", "migrate", 2, "--to", "alpha")
    assert lab.cpu(2)["owner"] == "alpha"


def test_a_dry_run_changes_nothing(lab):
    before = lab.apmp("tree", json=True)["levels"]
    said = lab.apmp("cpu", "migrate", 2, "--to", "gamma", "--dry-run", json=True)
    answer, = said["would"]
    assert said["dry_run"] and "done" not in said and "elapsed_ns" not in answer
    assert answer["steps"] and answer["from"] == "alpha"
    assert "alpha" in lab.apmp("cpu", "migrate", 2, "--to", "gamma", "--dry-run")
    assert where(lab.status()) == HOME
    assert lab.apmp("tree", json=True)["levels"] == before


@pytest.mark.parametrize("cpu, to, sentence", [
    (1, "gamma", 'CPU 1 is the primary of partition "alpha", which stays and works there as '
     "long as that runs; take another CPU of that partition"),
    (0, "alpha", 'CPU 0 is the primary of partition "gamma", which stays and works there as '
     "long as that runs; take another CPU of that partition"),
    (99, "gamma", "there is no CPU 99; `apmp cpu list` has those that are"),
    (2, "delta", 'there is no partition "delta"; `apmp status` names those that are'),
    (2, "stranger", "the partitions are in different communities: only partitions of one "
     "community trade CPUs"),
    (2, "odd", "partition \"odd\" can't use CPU 2: it is of another type or revision"),
])
def test_refused(lab, cpu, to, sentence):
    """shows: CPU-03, CPU-13, PLAT-06"""
    assert lab.refused("cpu", "migrate", cpu, "--to", to) == sentence
    assert where(active(lab)) == HOME


def test_refused_where_it_is_already(lab):
    said = lab.refused("cpu", "migrate", 2, "--to", "alpha")
    assert "CPU 2" in said and "alpha" in said and "already" in said, said


def test_refused_when_nobody_has_it(lab):
    """It is not taken from the receiver: nobody has it."""
    said = lab.refused("cpu", "migrate", 8, "--to", "alpha")
    assert said == ("CPU 8 can't migrate: nobody has it; `apmp cpu assign 8 --to alpha` gives it "
                    'to "alpha"')


def test_refused_by_a_halted_partition(lab):
    for name in ("gamma", "beta"):
        lab.apmp("partition", "halt", name)
    for cpu, to, halted in ((2, "gamma", "gamma"), (5, "alpha", "beta")):
        assert lab.refused("cpu", "migrate", cpu, "--to", to) == (
            f'partition "{halted}" is not running: it is halted, in its console; '
            f'`apmp partition boot {halted}` starts it')
    for name in ("gamma", "beta"):
        lab.boots_and_joins(name)


def test_a_partition_that_stands_still_is_not_waited_for(lab):
    """--wait bounds the call; what was not begun is taken back, and a halt need not wait for it."""
    pid, mark = lab.pid("beta"), lab.events.mark()
    lab.apmp("debug", "beta")
    os.kill(pid, signal.SIGSTOP)
    said = lab.refused("cpu", "migrate", 5, "--to", "alpha", "--wait", "200ms")
    assert "was not done within 200" in said and "taken back" in said
    assert "another change" in lab.refused("cpu", "migrate", 5, "--to", "alpha")
    halt = lab.start("partition", "halt", "beta")
    os.kill(pid, signal.SIGCONT)
    assert halt.wait(apmp.WATCHDOG) == 0
    lab.events.wait_for("instance.halted", partition="beta", after=mark)
    assert not lab.events.find("cpu.migrated", after=mark)
    lab.boots_and_joins("beta")
    assert where(active(lab))[5] == "beta"


def test_a_list_with_a_mistake_moves_nothing(lab):
    assert lab.try_apmp("cpu", "migrate", "2", "x", "--to", "gamma").code == apmp.USAGE
    assert lab.try_apmp("cpu", "migrate", "-1", "--to", "gamma").code == apmp.USAGE
    assert lab.try_apmp("cpu", "migrate", "2").code == apmp.USAGE
    assert where(lab.status()) == HOME


def test_many_clients_at_once(lab):
    """Each moves CPUs as it likes, and is refused or not; in the end each CPU is in one place.
    shows: CPU-01"""
    codes = []

    def move(number):
        for turn in range(8):
            cpu = (2, 3, 5)[(turn + number) % 3]
            to = ("alpha", "beta", "gamma")[(turn * number) % 3]
            codes.append(lab.try_apmp("cpu", "migrate", cpu, "--to", to).code)

    clients = [threading.Thread(target=move, args=(number,)) for number in range(1, 5)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    assert len(codes) == 32 and set(codes) <= {apmp.DONE, apmp.REFUSED}
    assert apmp.DONE in codes
    active(lab)


def test_a_partition_can_be_given_all_but_the_primaries(lab):
    """And halts and boots with all of them. shows: CPU-11"""
    lab.apmp("cpu", "migrate", 2, 3, 5, "--to", "gamma")
    assert apmp.named(active(lab)["partitions"], "gamma")["cpus"] == [0, 2, 3, 5]
    lab.apmp("partition", "halt", "gamma")
    lab.boots_and_joins("gamma")
    gamma = apmp.named(active(lab)["partitions"], "gamma")
    assert gamma["active"] == [0, 2, 3, 5] and gamma["primary"] == 0


def test_a_partition_keeps_its_primary_over_a_reboot(lab):
    """Also when it was given a CPU with a lower number, which so can go home again."""
    lab.apmp("cpu", "migrate", 2, "--to", "beta")
    lab.apmp("partition", "halt", "beta")
    lab.boots_and_joins("beta")
    assert apmp.named(active(lab)["partitions"], "beta")["primary"] == 4


# Someone dies in the midst.


def dies(lab, who, point):
    """Migrates CPU 2 from alpha to gamma, with the death of one of them; gives the command's end
    and the status when the others have settled."""
    mark = lab.events.mark()
    lab.arm(who, point)
    result = lab.try_apmp("cpu", "migrate", 2, "--to", "gamma")
    lab.events.wait_for("instance.fenced", partition=who, after=mark)
    lab.events.wait_for("member.removed", partition=who, after=mark)
    status = lab.at_rest(ALL - {who})
    cpu, = (cpu for cpu in status["cpus"] if cpu["id"] == 2)
    assert cpu["owner"] == cpu["current_owner"] and cpu["owner"] in ("alpha", "gamma"), cpu
    return result, cpu


def goes_on(lab, who, cpu):
    """The dead one boots with what it has by the tree, and all of it is active."""
    lab.boots_and_joins(who)
    status = active(lab)
    assert cpu["owner"] in ("alpha", "gamma")
    assert 2 in apmp.named(status["partitions"], cpu["owner"])["active"]


@pytest.mark.parametrize("point", [
    "migrate_902", "migrate_904", "pal_2202", "pal_2204", "migrate_906"])
def test_the_source_dies_before_the_console_knows(lab, point):
    """The CPU stays with it. shows: CPU-01, CPU-02, CPU-04, CPU-11"""
    result, cpu = dies(lab, "alpha", point)
    assert result.code == apmp.REFUSED
    assert result.err == 'apmp: partition "alpha" ended during migration; `apmp events` has how\n'
    assert cpu["owner"] == "alpha" and cpu["state"] == "console"
    goes_on(lab, "alpha", cpu)


def test_the_source_dies_when_the_cpu_has_left(lab):
    """The CPU is the receiver's. shows: CPU-01, CPU-04"""
    result, cpu = dies(lab, "alpha", "con_2306")
    assert result.code in (apmp.DONE, apmp.REFUSED)
    assert cpu["owner"] == "gamma" and cpu["state"] == "active"
    goes_on(lab, "alpha", cpu)


@pytest.mark.parametrize("point", ["con_2306", "pal_2218", "pal_2220", "migrate_910"])
def test_the_receiver_dies(lab, point):
    """The CPU is its: it boots with it. shows: CPU-01, CPU-05, CPU-11"""
    lab.apmp("partition", "reset", "gamma")  # so that CPU 2 has no thread there yet
    active(lab)
    result, cpu = dies(lab, "gamma", point)
    assert result.code == apmp.REFUSED
    assert result.err == 'apmp: partition "gamma" ended during migration; `apmp events` has how\n'
    assert cpu["owner"] == "gamma" and cpu["state"] == "console"
    goes_on(lab, "gamma", cpu)


class Held:
    """One thread of a process, stopped alone by ptrace(2)."""

    SEIZE, INTERRUPT, DETACH, WALL = 0x4206, 0x4207, 17, 0x40000000
    ptrace = ctypes.CDLL(None, use_errno=True).ptrace
    ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]

    def __init__(self, thread):
        self.thread = thread
        if self.ptrace(self.SEIZE, thread, None, None):
            pytest.skip(f"can't trace here: {os.strerror(ctypes.get_errno())}")
        self.ptrace(self.INTERRUPT, thread, None, None)
        os.waitpid(thread, self.WALL)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.ptrace(self.DETACH, self.thread, None, None)


def test_the_receiver_dies_before_the_cpu_leaves(lab):
    """Step 2205: the destination is not valid any more; the CPU goes on where it was, as if nothing
    had been. shows: CPU-04"""
    number = thread_of(lab, "alpha", "cpu 2")
    since = time.monotonic_ns()
    with Held(number):
        command = lab.start("cpu", "migrate", "2", "--to", "gamma")
        lab.until(bool, lambda: lab.passed("migrate_902", "alpha", since=since))
        mark = lab.events.mark()
        lab.kill_partition("gamma")
        lab.events.wait_for("instance.fenced", partition="gamma", after=mark)
        said = command.communicate(timeout=apmp.WATCHDOG)[1]
        assert said == 'apmp: partition "gamma" ended during migration; `apmp events` has how\n'
    back = lab.until(bool, lambda: lab.passed("pal_2205", "alpha", since=since))
    assert (back[-1]["thread"], back[-1]["arg"]) == ("cpu 2", 2)
    status = lab.at_rest(ALL - {"gamma"})
    assert 2 in apmp.named(status["partitions"], "alpha")["active"]
    assert str(number) in threads(lab, "alpha")
    lab.boots_and_joins("gamma")
    lab.apmp("cpu", "migrate", 2, "--to", "gamma")


def test_a_borrower_dies(lab):
    """The loan ends with its life; the lender has its CPU again at its next boot at the latest.
    shows: TREE-09"""
    lab.apmp("cpu", "migrate", 2, "--to", "gamma", "--loan")
    lab.kill_partition("gamma")
    status = lab.at_rest(ALL - {"gamma"})
    cpu, = (cpu for cpu in status["cpus"] if cpu["id"] == 2)
    assert cpu["owner"] == "alpha" and cpu["current_owner"] in ("alpha", None), cpu
    lab.boots_and_joins("gamma")
    if lab.cpu(2)["current_owner"] is None:
        lab.apmp("partition", "halt", "alpha")
        lab.boots_and_joins("alpha")
    assert lab.cpu(2)["current_owner"] == "alpha"


CONSOLE = [*(f"{point}:{n}" for point in ("update_begin", "update_commit", "update_end")
             for n in (1, 2)), *(f"update_store:{n}" for n in range(1, 7)),
           "pal_2206", "pal_2208", "pal_2210", "pal_2212", "pal_2214", "pal_2216", "migrate_908",
           "con_2302", "con_2304"]


@pytest.fixture
def fresh(make_machine):
    """A machine of its own: a console that died lately is started again later and later."""
    machine = make_machine(MACHINE)
    machine.up()
    return machine


def pids(status):
    return {name: instance["pid"] for name, instance in apmp.instances(status).items()}


@pytest.mark.parametrize("point", CONSOLE)
def test_the_console_dies(fresh, point):
    """Restarted, it has the tree as before or as after the update; every instance goes on; the
    operator was told. shows: TREE-22, CPU-01, CPU-02"""
    before = pids(fresh.status())
    mark = fresh.events.mark()
    fresh.arm("console", point)
    result = fresh.try_apmp("cpu", "migrate", 2, "--to", "gamma")
    fresh.events.wait_for("console.restarted", after=mark)
    if result.code != apmp.DONE:
        assert result.code == apmp.REFUSED
        assert result.err.startswith(
            f'apmp: the console of machine "{fresh.name}" does not answer: '), result.err
    status = active(fresh)
    assert pids(status) == before
    levels = fresh.apmp("tree", json=True)["levels"]
    assert levels["transient"] == levels["current"]
    assert fresh.cpu(2)["owner"] in ("alpha", "gamma")
    # What the operator did not get, he gets now.
    if fresh.cpu(2)["owner"] == "alpha":
        fresh.until(lambda moved: moved.code == apmp.DONE or fresh.cpu(2)["owner"] == "gamma",
                  lambda: fresh.try_apmp("cpu", "migrate", 2, "--to", "gamma"))
    assert fresh.cpu(2)["current_owner"] == "gamma"
    program = apmp.Program(fresh, "gamma")
    assert program.host_cpus() == apmp.cpus_of(fresh.status(), "gamma")
    assert program.end() == 0


@pytest.mark.parametrize("point", ["form_508", "form_510"])
def test_the_console_dies_when_a_boot_is_decided(fresh, point):
    """The next one boots it. shows: TREE-22, PLAT-07"""
    before = pids(fresh.status())
    fresh.apmp("partition", "halt", "gamma")
    mark = fresh.events.mark()
    fresh.arm("console", point)
    fresh.try_apmp("partition", "boot", "gamma")
    fresh.events.wait_for("console.restarted", after=mark)
    fresh.events.wait_for("member.joined", partition="gamma", after=mark)
    after = pids(active(fresh))
    assert {**after, "gamma": 0} == {**before, "gamma": 0}


@pytest.mark.parametrize("point", [*apmp.points("update_"),
                                   *(f"update_store:{n}" for n in (2, 5, 9))])
def test_the_console_dies_deciding_a_boot(fresh, point):
    """It is booted, or as it was before; then the operator can boot it. shows: TREE-22"""
    before = pids(fresh.status())
    fresh.apmp("partition", "halt", "gamma")
    mark = fresh.events.mark()
    fresh.arm("console", point)
    fresh.try_apmp("partition", "boot", "gamma")
    fresh.events.wait_for("console.restarted", after=mark)
    status = fresh.until(lambda now: apmp.instances(now)["gamma"]["state"] in (
        "member", "off", "console", "crashed", "dead"))
    if apmp.instances(status)["gamma"]["state"] != "member":
        fresh.boots_and_joins("gamma")
    after = pids(active(fresh))
    assert {**after, "gamma": 0} == {**before, "gamma": 0}


def test_the_console_dies_as_it_starts_again(fresh):
    """shows: TREE-22"""
    before = pids(fresh.status())
    mark = fresh.events.mark()
    fresh.arm("console", "form_502")
    fresh.try_apmp("chaos", "inject", "kill", "console")
    fresh.events.wait_for("console.restarted", after=mark)
    assert pids(active(fresh)) == before


@pytest.mark.parametrize("notice", ["yes", "no"])
@pytest.mark.parametrize("point", apmp.points("update_"))
def test_the_console_dies_when_a_member_dies(make_machine, point, notice):
    """A fence goes on without its console, whoever has asked for it. shows: TREE-22, DB-10"""
    fresh = make_machine(f"{MACHINE}notice_exit: {notice}\n")
    fresh.up()
    mark = fresh.events.mark()
    fresh.arm("console", point)
    fresh.kill_partition("gamma")
    fresh.events.wait_for("console.restarted", after=mark)
    fresh.events.wait_for("member.removed", partition="gamma", after=mark)
    fresh.at_rest(ALL - {"gamma"})
    fresh.boots_and_joins("gamma")


@pytest.mark.parametrize("point", apmp.points("update_"))
def test_the_console_dies_when_a_partition_halts(fresh, point):
    """shows: TREE-22, PLAT-10"""
    mark = fresh.events.mark()
    fresh.arm("console", point)
    fresh.try_apmp("partition", "halt", "gamma")
    fresh.events.wait_for("console.restarted", after=mark)
    fresh.until(lambda now: apmp.instances(now)["gamma"]["state"] == "console")
    fresh.at_rest(ALL - {"gamma"})
    fresh.boots_and_joins("gamma")
