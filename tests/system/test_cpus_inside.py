"""Programs in a partition see the loads of all members, give CPUs away and ask for them; and the
operator's wish, the balancer and the events of CPUs."""
import errno
import json
import re
import select
import signal
import struct
import time
from pathlib import Path

import pytest

import apmp
import inside
from hwrpb import Hwrpb, QUIESCED
from inside import Connection, request
from test_console_hang import console_of

MACHINE = apmp.PATIENT
ANY = 0
ALPHA, BETA, GAMMA = range(3)


class Cpus(Connection):
    """A program's connection for CPUs."""

    def __init__(self, machine, partition):
        super().__init__(inside.address_of(machine, partition), "CPUS")
        assert self.welcome.error == 0, self.welcome

    def loads(self):
        """{partition: (active CPUs, potential CPUs, depth)}"""
        answer = self.ask(request("LOADS"))
        assert answer.error == 0, answer
        loads = {}
        for _ in range(answer.lock):
            fields = inside.LOAD.unpack(self.socket.recv(inside.LOAD.size + 1))
            sets = [{i for i in range(64) if word >> i & 1} for word in fields[4:12]]
            loads[inside.text(fields[12])] = (sets[4], sets[0], fields[3])
        return loads

    def give(self, cpu, to, loan=False):
        """cpu: its number + 1, or ANY."""
        return self.ask(request("GIVE", lock=cpu, rank=to, timeout=int(loan)))

    def wish(self, count):
        return self.ask(request("WISH", lock=count))


def spin_in(machine, partition, tasks):
    return machine.start("run", partition, "--", apmp.BIN / "apmp-task",
                         apmp.BIN / "tasks/spin.so", tasks)


def active(machine, partition):
    return set(machine.partition(partition)["active"])


def home(machine):
    """Every CPU is where the trio has it."""
    owners = ["alpha", "alpha", "alpha", "beta", "beta", "gamma"]
    for cpu, owner in enumerate(owners):
        if machine.cpu(cpu)["current_owner"] != owner:
            machine.apmp("cpu", "migrate", cpu, "--to", owner)
    machine.until(lambda status: all(
        sum(cpu["state"] == "active" for cpu in status["cpus"]) == 6 for _ in (0,)))


# ---- loads ----


def test_loads_of_all_members(shared):
    """shows: CPU-12"""
    every = set(range(6))
    assert Cpus(shared, "beta").loads() == {"alpha": ({0, 1, 2}, every, 0),
                                            "beta": ({3, 4}, every, 0), "gamma": ({5}, every, 0)}


def test_depth_is_that_of_tasks(shared):
    spin = spin_in(shared, "gamma", 3)
    program = Cpus(shared, "alpha")
    shared.until(lambda _: program.loads()["gamma"][2] == 3)
    spin.terminate()
    shared.until(lambda _: program.loads()["gamma"][2] == 0)


# ---- give ----


def test_one_of_any(shared):
    """shows: CPU-02"""
    answer = Cpus(shared, "alpha").give(ANY, GAMMA)
    assert (answer.error, answer.lock) == (0, 2)
    assert shared.cpu(2)["current_owner"] == shared.cpu(2)["owner"] == "gamma"
    home(shared)


def test_a_certain_one_on_loan(shared):
    answer = Cpus(shared, "alpha").give(1 + 1, BETA, loan=True)
    assert (answer.error, answer.lock) == (0, 1)
    assert (shared.cpu(1)["owner"], shared.cpu(1)["current_owner"]) == ("alpha", "beta")
    home(shared)


@pytest.mark.parametrize("partition,cpu,to,error,why", [
    ("alpha", 1, BETA, errno.EBUSY, "CPU 0 can't be given to partition \"beta\": it is this "
     "partition's primary"),
    ("alpha", 4, BETA, errno.EPERM, "CPU 3 can't be given to partition \"beta\": this partition "
     "does not have it"),
    ("alpha", 200, BETA, errno.EPERM, "CPU 199 can't be given"),
    ("alpha", 2**32 - 1, BETA, errno.EPERM, "can't be given"),
    ("alpha", 2, ALPHA, errno.EALREADY, "that is this partition itself"),
    ("alpha", 2, 9, errno.ENOTCONN, "CPU 1 can't be given to partition \"9\": that is no member"),
    ("alpha", 2, 2**32 - 1, errno.ENOTCONN, "no member"),
    ("gamma", ANY, BETA, errno.ENODEV, "no CPU can be given to partition \"beta\": of those that "
     "are active here none but the primary"),
    ("gamma", ANY, 77, errno.ENOTCONN, "no CPU can be given to partition \"77\": that is no "
     "member"),
])
def test_what_can_not_be_given(shared, partition, cpu, to, error, why):
    answer = Cpus(shared, partition).give(cpu, to)
    assert answer.error == -error, answer
    assert why in answer.text, answer


@pytest.mark.parametrize("flags", [2, 0x8, 0x9, 1 << 32])
def test_flags_that_there_are_not(shared, flags):
    answer = Cpus(shared, "alpha").ask(request("GIVE", lock=2 + 1, rank=BETA, timeout=flags))
    assert answer.error == -errno.EINVAL and "flags that there are not" in answer.text, answer
    assert shared.cpu(2)["current_owner"] == "alpha"


def test_never_one_that_can_not_run_there(make_machine):
    """[0235] shows: CPU-12"""
    machine = make_machine(MACHINE.replace(
        "cpus: 4\n", "cpus: [{id: 0}, {id: 1, type: 7}, {id: 2}, {id: 3}]\n"))
    machine.up()
    # alpha's primary decides what alpha's type is; a CPU of another one is not compatible there.
    program = Cpus(machine, "beta")
    loads = program.loads()
    assert 1 not in loads["beta"][1] and 1 not in loads["gamma"][1]
    answer = program.give(1 + 1, GAMMA)
    assert answer.error in (-errno.EPERM, -errno.ENOEXEC), answer


def test_a_bound_one_stays(shared):
    bound = shared.start("run", "beta", "--", apmp.BIN / "apmp-task", "--bind", 4,
                         apmp.BIN / "tasks/spin.so", 1)
    program = Cpus(shared, "beta")
    shared.until(lambda _: program.loads()["beta"][2] == 1)
    answer = program.give(4 + 1, GAMMA)
    assert (answer.error, "a task is bound to it" in answer.text) == (-errno.ETXTBSY, True), answer
    assert program.give(ANY, GAMMA).error == -errno.ENODEV
    bound.terminate()
    shared.until(lambda _: program.loads()["beta"][2] == 0)


def test_many_programs_at_once(shared):
    """All ask for the same CPU: one has it, the others hear why not."""
    programs = [Cpus(shared, "alpha") for _ in range(20)]
    for program in programs:
        program.send(request("GIVE", lock=2 + 1, rank=BETA))
    answers = [program.receive() for program in programs]
    assert sum(answer.error == 0 for answer in answers) == 1
    assert {answer.error for answer in answers} <= {0, -errno.EPERM, -errno.EAGAIN, -errno.EBUSY}
    home(shared)


def primary_of(machine, partition):
    """The thread of its primary."""
    name = f"cpu {machine.partition(partition)['primary']}\n"
    threads = Path(f"/proc/{machine.pid(partition)}/task").iterdir()
    return next(int(thread.name) for thread in threads if (thread / "comm").read_text() == name)


def test_one_that_is_nobodys_by_then(make_machine, freezer):
    """It has gone, and into the pool, before the primary that gave it looks again."""
    machine = make_machine(MACHINE)
    machine.up()
    program, hwrpb = Cpus(machine, "alpha"), Hwrpb(machine, "alpha")
    primary, mark = primary_of(machine, "alpha"), machine.events.mark()
    console = console_of(machine)
    machine.kill(console, signal.SIGSTOP)
    program.send(request("GIVE", lock=1 + 1, rank=BETA))
    machine.until(lambda state: state == QUIESCED, lambda: hwrpb.state(1))
    freezer.freeze_thread(primary)
    machine.kill(console, signal.SIGCONT)
    machine.events.wait_for("cpu.started", partition="beta", cpu=1, after=mark)
    machine.apmp("cpu", "deassign", 1)
    assert machine.cpu(1)["current_owner"] is None
    freezer.thaw()
    answer = program.receive()
    assert (answer.error, answer.lock) == (0, 1), answer


def test_its_place_is_free_when_it_has_gone(shared):
    """Programs that ask and go hold no place: far more than there are."""
    for _ in range(3):
        programs = [Cpus(shared, "gamma") for _ in range(16)]
        for program in programs:
            program.send(request("WISH", lock=1))
            program.close()
    assert Cpus(shared, "gamma").loads()
    shared.until(lambda _: Cpus(shared, "gamma").give(ANY, 77).error == -errno.ENOTCONN)
    home(shared)


@pytest.mark.parametrize("said", [b"", b"x", request("OPEN"), request(99), request("LOADS") + b"x",
                                  request("LOADS", version=1)])
def test_what_makes_no_sense(shared, said):
    program = Cpus(shared, "alpha")
    if said:
        program.send(said)
    else:
        program.socket.shutdown(1)
    assert program.closed()
    assert Cpus(shared, "alpha").loads()


def test_two_requests_at_once(shared):
    """The second is read when the first is answered."""
    program = Cpus(shared, "alpha")
    program.send(request("WISH", lock=999))
    program.send(request("GIVE", lock=1, rank=BETA))
    assert program.receive().error == -errno.EINVAL
    assert program.receive().error == -errno.EBUSY


def test_outside_of_a_set(make_machine):
    machine = make_machine(
        MACHINE.replace("cpus: 2\n", "cpus: 3\n").replace("[{buses: [{}]}]", "[{buses: [{}, {}]}]")
        .replace("timing:", '  - {name: lone, cpus: [6], memory: 24M, buses: ["1.0.1"], '
                 "boot: yes}\ntiming:"))
    machine.up()
    program = Cpus(machine, "lone")
    for answer in (program.ask(request("LOADS")), program.give(ANY, ALPHA), program.wish(1)):
        assert answer.error == -errno.ENOTCONN, answer
    said = machine.refused("cpu", "wish", 1, "--to", "lone")
    assert "is no member of a sharing set" in said
    assert [e.kind for e in _state(machine, "lone")] == [inside.CPU_ADDED, inside.STATE_TOLD]


# ---- wishes ----


def test_a_program_wishes(shared):
    """shows: CPU-12"""
    answer = Cpus(shared, "gamma").wish(2)
    assert (answer.error, answer.lock) == (0, 2), answer
    assert len(shared.partition("gamma")["cpus"]) == 3
    home(shared)


def test_nobody_can(shared):
    """Three can be spared, and nobody gives his primary."""
    program = Cpus(shared, "gamma")
    answer = program.wish(10)
    assert (answer.error, answer.lock) == (0, 3), answer
    answer = program.wish(1)
    assert (answer.error, answer.text) == (
        -errno.ENODEV, "no member of the sharing set can spare a CPU that can run here")
    home(shared)


def test_who_has_work_gives_nothing(shared):
    spin = spin_in(shared, "alpha", 3)
    program = Cpus(shared, "gamma")
    shared.until(lambda _: program.loads()["alpha"][2] == 3)
    answer = program.wish(5)
    assert (answer.error, answer.lock) == (0, 1), answer
    assert active(shared, "alpha") == {0, 1, 2}
    spin.terminate()
    shared.until(lambda _: program.loads()["alpha"][2] == 0)
    home(shared)


def test_two_that_wish_do_not_trade(shared, freezer):
    """Who wishes itself gives nothing, though it has no work for what it has; gamma, which stands
    still, keeps both wishes open meanwhile."""
    spin = spin_in(shared, "alpha", 3)
    alpha, beta = Cpus(shared, "alpha"), Cpus(shared, "beta")
    shared.until(lambda _: alpha.loads()["alpha"][2] == 3)
    since = time.monotonic_ns()
    freezer.freeze_thread(primary_of(shared, "gamma"))
    beta.send(request("WISH", lock=1))
    shared.until(bool, lambda: shared.passed("wish_no", "alpha", since=since))
    alpha.send(request("WISH", lock=1))
    shared.until(bool, lambda: shared.passed("wish_no", "beta", since=since)
                 or shared.passed("wish_claimed", "beta", since=since))
    freezer.thaw()
    assert (alpha.receive().error, beta.receive().error) == (-errno.ENODEV, -errno.ENODEV)
    spin.terminate()
    shared.until(lambda _: alpha.loads()["alpha"][2] == 0)
    home(shared)


def test_the_operator_wishes(shared):
    """shows: CPU-12"""
    assert 'came to "gamma"' in shared.apmp("cpu", "wish", 1, "--to", "gamma")
    first = set(shared.partition("gamma")["cpus"])
    said = shared.try_apmp("cpu", "wish", 9, "--to", "gamma")
    assert said.code == 1 and said.out.startswith("CPUs ")
    assert said.err == 'apmp: 2 of 9 CPUs came to "gamma": nobody can spare another one\n'
    now = set(shared.partition("gamma")["cpus"])
    assert re.fullmatch(r'CPUs ([-,\d]+) came to "gamma"\n', said.out), said
    assert len(now - first) == 2
    said = shared.refused("cpu", "wish", 1, "--to", "gamma")
    assert said == 'no member of the sharing set can spare a CPU that can run in "gamma"'
    home(shared)
    before = set(shared.partition("gamma")["cpus"])
    done, = shared.apmp("cpu", "wish", 2, "--to", "gamma", json=True)["done"]
    came = sorted(set(shared.partition("gamma")["cpus"]) - before)
    assert done == {"came": 2, "wanted": 2, "to": "gamma", "cpus": came, "waiting": []}
    home(shared)


def test_a_wish_that_is_partly_fulfilled_says_so_as_json(shared):
    shared.apmp("cpu", "autostart", "gamma", "none")
    said = shared.try_apmp("cpu", "wish", 9, "--to", "gamma", as_json=True)
    document = json.loads(said.out)
    assert said.code == 1 and "3 of 9 CPUs came" in said.err
    assert document["error"] == "org.apmp.cli.FewerCpus"
    assert document["parameters"] == {"came": 3, "wanted": 9, "to": "gamma"}
    done, = document["done"]
    assert len(done["cpus"]) == 3 and done["waiting"] == done["cpus"]
    home(shared)
    assert "is stopped there, `apmp cpu start " in shared.apmp("cpu", "wish", 1, "--to", "gamma")
    shared.apmp("cpu", "autostart", "gamma", "all")
    home(shared)


def test_wishes_that_make_no_sense(shared):
    for count in ("0", "256", "-1", "x"):
        said = shared.try_apmp("cpu", "wish", "--to", "gamma", "--", count)
        assert said.code == apmp.USAGE and "from 1 to 255" in said.err or "is a number" in said.err
    assert 'no partition "delta"' in shared.refused("cpu", "wish", 1, "--to", "delta")
    assert Cpus(shared, "gamma").wish(0).error == -errno.EINVAL
    assert Cpus(shared, "gamma").wish(256).error == -errno.EINVAL


GIVER_POINTS = ["wish_claimed", "wish_given", "migrate_904", "pal_2202", "migrate_906"]


@pytest.mark.parametrize("point", GIVER_POINTS)
def test_the_giver_dies(make_machine, point):
    """At any point: another gives in its place, and no more come than were asked for.
    shows: CPU-12"""
    machine = make_machine(MACHINE)
    machine.up()
    machine.arm("beta", point)
    mark = machine.events.mark()
    # alpha is busy, so beta gives; when it is dead alpha can, as its tasks have ended by then.
    spin = spin_in(machine, "alpha", 3)
    program = Cpus(machine, "gamma")
    machine.until(lambda _: program.loads()["alpha"][2] == 3)
    program.send(request("WISH", lock=1))
    machine.events.wait_for("instance.fenced", partition="beta", after=mark)
    spin.terminate()
    answer = program.receive()
    came = answer.lock if answer.error == 0 else 0
    assert answer.error in (0, -errno.ENODEV), answer
    assert len(machine.partition("gamma")["cpus"]) == 1 + came
    machine.boots_and_joins("beta")
    apmp.check_cpus(machine.status())


@pytest.mark.parametrize("point", ["wish_asked", "wish_came"])
def test_the_wisher_dies(make_machine, point):
    machine = make_machine(MACHINE)
    machine.up()
    machine.arm("gamma", point)
    mark = machine.events.mark()
    said = machine.refused("cpu", "wish", 2, "--to", "gamma")
    assert 'partition "gamma" ended during wish' in said
    machine.events.wait_for("member.removed", partition="gamma", after=mark)
    machine.boots_and_joins("gamma")
    apmp.check_cpus(machine.status())
    assert machine.try_apmp("cpu", "wish", 1, "--to", "gamma").code in (0, 1)
    apmp.check_cpus(machine.status())


def test_the_console_dies_over_it(shared):
    """A CPU given by a wish comes also when the console is restarted in the middle."""
    program = Cpus(shared, "gamma")
    shared.arm("console", "pal_2210")
    answer = program.wish(1)
    assert (answer.error, answer.lock) == (0, 1), answer
    apmp.check_cpus(shared.status())
    home(shared)


# ---- events ----


def _state(machine, partition):
    place = inside.address_of(machine, partition)
    connection = Connection(place)
    connection.ask(request("EVENTS", rank=1, said=place[1]))
    told = []
    while not told or told[-1].kind != inside.STATE_TOLD:
        told.append(connection.event())
    connection.close()
    return told


def test_events_of_cpus(shared):
    """shows: FAIL-04"""
    follower = shared.start("run", "gamma", "--", apmp.BIN / "apmp-events", "--json", "--cpus")
    first = [json.loads(follower.stdout.readline()) for _ in range(4)]
    assert [(e["kind"], e.get("cpu")) for e in first] == [("member", None)] * 3 + [("cpu", 5)]
    shared.apmp("cpu", "migrate", 2, "--to", "gamma")
    event = json.loads(follower.stdout.readline())
    assert (event["kind"], event["cpu"], event["self"]) == ("cpu-added", 2, True)
    shared.apmp("cpu", "migrate", 2, "--to", "alpha")
    event = json.loads(follower.stdout.readline())
    assert (event["kind"], event["cpu"]) == ("cpu-removed", 2)
    follower.terminate()


def test_only_who_asked_is_told_of_cpus(shared):
    follower = shared.start("run", "gamma", "--", apmp.BIN / "apmp-events", "--json")
    for _ in range(3):
        follower.stdout.readline()
    shared.apmp("cpu", "migrate", 2, "--to", "gamma")
    shared.apmp("cpu", "migrate", 2, "--to", "alpha")
    assert not select.select([follower.stdout], [], [], 0)[0]
    follower.terminate()


@pytest.mark.parametrize("end,failed", [("kill", True), ("crash", True), ("reset", True),
                                        ("halt", False)])
def test_how_a_member_ended(make_machine, end, failed):
    """shows: FAIL-04"""
    machine = make_machine(MACHINE)
    machine.up()
    follower = machine.start("run", "alpha", "--", apmp.BIN / "apmp-events", "--json")
    for _ in range(3):
        follower.stdout.readline()
    if end == "kill":
        machine.kill_partition("beta")
    else:
        machine.apmp("partition", end, "beta")
    event = json.loads(follower.stdout.readline())
    assert (event["kind"], event["partition"], event["failed"]) == ("removed", "beta", failed)


# ---- the balancer ----


def balance(machine, partition, *options):
    return machine.start("run", partition, "--", apmp.BIN / "apmp-balance", "--interval", "10ms",
                         *options)


def test_cpus_go_where_the_work_is(shared):
    """And stay there: two hundred more looks of everybody move nothing."""
    spin = spin_in(shared, "gamma", 6)
    program = Cpus(shared, "alpha")
    shared.until(lambda _: program.loads()["gamma"][2] == 6)
    shared.events.mark()
    balancers = [balance(shared, name, "--count", 200) for name in ("alpha", "beta", "gamma")]
    said = [balancer.communicate(timeout=apmp.WATCHDOG)[0] for balancer in balancers]
    assert [balancer.returncode for balancer in balancers] == [0, 0, 0]
    assert sum(text.count("gives CPU") for text in said) == 3, said
    assert not said[2] and all(" to gamma (" in line for text in said for line in text.splitlines())
    assert len(shared.partition("gamma")["active"]) == 4
    again = [balance(shared, name, "--count", 50) for name in ("alpha", "beta", "gamma")]
    assert [balancer.communicate(timeout=apmp.WATCHDOG)[0] for balancer in again] == ["", "", ""]
    spin.terminate()
    shared.until(lambda _: program.loads()["gamma"][2] == 0)
    home(shared)


def busy_in(machine, partition, count):
    """Programs that run as long as there is a file, which this gives; also without their caller."""
    flag = machine.dir / f"busy-in-{partition}"
    flag.touch()
    for _ in range(count):
        machine.start("run", partition, "--", "sh", "-c", f"while [ -e {flag} ]; do :; done")
    return flag


def test_programs_count_as_work(shared):
    """As tasks do, for the balancer and for who is asked for a CPU."""
    if shared.status()["backend"] != "cgroup-v1":
        pytest.skip("the kernel counts the threads of groups of cgroup v1 alone")
    program = Cpus(shared, "alpha")
    own = busy_in(shared, "alpha", 3)
    shared.until(lambda _: program.loads()["alpha"][2] == 3)
    assert Cpus(shared, "gamma").wish(1).error == 0  # beta's
    assert active(shared, "alpha") == {0, 1, 2} and active(shared, "gamma") == {4, 5}
    own.unlink()
    shared.until(lambda _: program.loads()["alpha"][2] == 0)
    busy = busy_in(shared, "gamma", 6)
    shared.until(lambda _: program.loads()["gamma"][2] == 6)
    mark = shared.events.mark()
    shared.apmp("chaos", "inject", "kill", "console")
    shared.events.wait_for("console.restarted", after=mark)
    said, _ = balance(shared, "alpha", "--count", 6).communicate(timeout=apmp.WATCHDOG)
    assert said.count("gives CPU") == 2, said
    busy.unlink()
    shared.until(lambda _: program.loads()["gamma"][2] == 0)
    home(shared)


def test_a_dry_run_moves_nothing(shared):
    spin = spin_in(shared, "gamma", 4)
    program = Cpus(shared, "alpha")
    shared.until(lambda _: program.loads()["gamma"][2] == 4)
    said, _ = balance(shared, "alpha", "--count", 6, "--dry-run").communicate(timeout=apmp.WATCHDOG)
    assert said == 2 * ("alpha (0 tasks per CPU, 3 CPUs) would give a CPU to "
                        "gamma (4 tasks per CPU, 1 CPU)\n")
    assert active(shared, "gamma") == {5}
    spin.terminate()
    shared.until(lambda _: program.loads()["gamma"][2] == 0)


def test_the_operator_stops_it(shared):
    balancer = balance(shared, "alpha")
    balancer.terminate()
    assert balancer.wait(apmp.WATCHDOG) != 0


@pytest.mark.parametrize("option,value", [("--interval", "0"), ("--interval", "1x"),
                                          ("--looks", "0"), ("--looks", "x"), ("--margin", "-1"),
                                          ("--margin", "nan"), ("--count", "0")])
def test_what_it_does_not_take(shared, option, value):
    said = shared.try_apmp("run", "alpha", "--", apmp.BIN / "apmp-balance", f"{option}={value}")
    assert said.code == 2 and f'not "{value}"' in said.err, str(said)
