"""Failover: the CPUs of a partition that fails go where its rules say; the rules themselves."""
import pytest


MACHINE = """\
machine: {name}
hardware:
  - {sbb: 0, cpus: 8, memory: 192M, iops: [{buses: [{}, {}, {}, {}]}]}
communities:
  - {name: lab, shared: 16M}
partitions:
  - name: alpha
    community: lab
    cpus: [0, 1, 2, 3]
    memory: 16M
    buses: ["0.0.0"]
    boot: yes
    failover: {"*": [beta, gamma], 3: gamma}
  - {name: beta, community: lab, cpus: [4], memory: 16M, buses: ["0.0.1"], boot: yes}
  - {name: gamma, community: lab, cpus: [5], memory: 16M, buses: ["0.0.2"], boot: yes}
  - {name: lone, cpus: [6], buses: ["0.0.3"]}
timing: {stop: 2s}
"""
pytestmark = pytest.mark.machine_file(MACHINE)
RULES = {"*": ["beta", "gamma"], "3": ["gamma"]}
ALL = list(range(8))


def users(machine):
    return {cpu["id"]: cpu["current_owner"] for cpu in machine.status()["cpus"]}


def owners(machine):
    return {cpu["id"]: cpu["owner"] for cpu in machine.status()["cpus"]}


def settled(machine, **wanted):
    """The CPUs work where they are wanted: at=[cpu, ...]."""
    def holds(status):
        cpus = {cpu["id"]: cpu for cpu in status["cpus"]}
        return all(cpus[i]["current_owner"] == at and cpus[i]["state"] == "active"
                   for at, ids in wanted.items() for i in ids)
    machine.until(holds)


def fail(machine, how):
    mark = machine.events.mark()
    if how == "crash":
        machine.apmp("partition", "crash", "alpha")
    else:
        machine.kill_partition("alpha")
    return mark


# shows: FAIL-01, FAIL-02, FAIL-03, FAIL-05, CPU-10
@pytest.mark.parametrize("how", ["kill", "crash"])
def test_cpus_of_a_partition_that_fails_go_to_their_targets(machine, how):
    mark = fail(machine, how)
    settled(machine, beta=[1, 2, 4], gamma=[3, 5])
    started = machine.events.wait_for("failover.started", partition="alpha", after=mark)
    done = machine.events.wait_for("failover.done", partition="alpha", after=mark)
    assert started["cpus"] == done["cpus"] == [1, 2, 3]
    assert sorted(done["to"]) == ["beta", "gamma"] and done["elapsed_ns"] > 0
    assert owners(machine)[1] == owners(machine)[3] == "alpha", "a loan"
    machine.events.wait_for("cpu.migrated", partition="gamma", cpu=3, after=mark, **{
        "from": "alpha"})
    # It boots with what it has; they don't come back by themselves [0320].
    machine.boots_and_joins("alpha")
    assert machine.partition("alpha")["cpus"] == [0]
    settled(machine, beta=[1, 2], gamma=[3])
    said = machine.apmp("cpu", "migrate", 1, "--to", "alpha")
    assert "the loan has ended" in said
    settled(machine, alpha=[0, 1])


# shows: FAIL-05, CPU-11
def test_a_target_that_is_dead_is_passed_over(machine, operator):
    machine.apmp("partition", "halt", "beta")
    mark = fail(machine, "kill")
    settled(machine, gamma=[1, 2, 3, 5])
    machine.events.wait_for("failover.done", partition="alpha", after=mark)
    machine.boots_and_joins("alpha")
    # The borrower fails: what it has goes home, for it has no rules.
    machine.kill_partition("gamma")
    settled(machine, alpha=[0, 1, 2, 3])


# shows: FAIL-05, CPU-14
def test_without_a_target_that_lives_nobody_uses_them_until_their_owner_boots(machine):
    machine.apmp("partition", "halt", "beta")
    machine.apmp("partition", "halt", "gamma")
    mark = fail(machine, "kill")
    machine.events.wait_for("instance.fenced", partition="alpha", after=mark)
    assert [users(machine)[i] for i in range(4)] == ["alpha", None, None, None]
    assert not machine.events.find("failover.started", after=mark)
    machine.boots_and_joins("alpha")
    settled(machine, alpha=[0, 1, 2, 3])


# shows: FAIL-02, CPU-11
def test_those_that_are_to_stay_stay(machine):
    machine.apmp("cpu", "failover", "alpha", 1, "stay")
    machine.apmp("cpu", "failover", "alpha", 2, "none")
    lines = machine.apmp("cpu", "list").splitlines()
    columns = {words[0]: words[-1] for words in map(str.split, lines)}
    assert (columns["1"], columns["2"], columns["3"]) == ("stays", "-", "gamma")
    fail(machine, "kill")
    settled(machine, gamma=[3])
    assert [users(machine)[i] for i in (0, 1, 2)] == ["alpha"] * 3
    machine.boots_and_joins("alpha")
    settled(machine, alpha=[0, 1, 2], gamma=[3])


# shows: CPU-11
@pytest.mark.parametrize("how", ["halt", "reset"])
def test_a_partition_that_is_halted_or_reset_does_not_fail(machine, how):
    mark = machine.events.mark()
    machine.apmp("partition", how, "alpha")
    if how == "halt":
        machine.boots_and_joins("alpha")
    settled(machine, alpha=[0, 1, 2, 3])
    assert not machine.events.find("failover.started", after=mark)


# shows: FAIL-05, CPU-01
@pytest.mark.parametrize("point", ["update_store:3", "update_commit", "con_2302", "con_2304:2",
                                   "update_begin"])
def test_the_console_dies_while_it_moves_them(machine, point):
    machine.apmp("chaos", "inject", "kill", "console", "--at", point)
    fail(machine, "kill")
    machine.events.wait_for("console.restarted")
    settled(machine, beta=[1, 2, 4], gamma=[3, 5])
    machine.boots_and_joins("alpha")
    assert machine.partition("alpha")["cpus"] == [0]
    machine.apmp("check", "--live")


# shows: FAIL-05
def test_the_first_target_fails_as_well(machine, operator):
    operator("CpuFailover", partition="beta", targets=["gamma"])
    fail(machine, "kill")
    machine.kill_partition("beta")
    settled(machine, gamma=[1, 2, 3, 5])
    machine.apmp("check", "--live")


# shows: FAIL-03, CPU-12
def test_what_does_not_start_by_itself_waits_for_the_operator(machine):
    machine.apmp("cpu", "autostart", "beta", 1)
    mark = fail(machine, "kill")
    machine.events.wait_for("failover.done", partition="alpha", after=mark)
    settled(machine, beta=[1, 4])
    cpu = machine.cpu(2)
    assert (cpu["current_owner"], cpu["state"], cpu["autostart"]) == ("beta", "console", False)
    machine.apmp("cpu", "start", 2)
    settled(machine, beta=[1, 2, 4])


# ---- the rules ----

# shows: FAIL-02, CPU-12
def test_the_rules_are_permanent(machine):
    assert machine.partition("alpha")["failover"] == RULES
    assert machine.partition("beta")["failover"] == {}
    machine.apmp("cpu", "failover", "beta", "all", "alpha,gamma")
    machine.apmp("cpu", "failover", "beta", 4, 6, "stay")
    machine.apmp("cpu", "failover", "alpha", 2, "none")
    machine.apmp("cpu", "autostart", "gamma", 1, 7)
    machine.apmp("cpu", "autostart", "beta", "none")
    wanted = {"*": ["alpha", "gamma"], "4": ["beta"], "6": ["beta"]}
    for _ in range(2):
        assert machine.partition("alpha")["failover"] == {**RULES, "2": []}
        assert machine.partition("beta")["failover"] == wanted
        assert [machine.partition(p)["autostart"] for p in ("alpha", "beta", "gamma")] == \
            [ALL, [], [1, 7]]
        machine.down()
        machine.up()
    machine.apmp("cpu", "autostart", "beta", "all")
    machine.apmp("cpu", "failover", "beta", "all", "none")
    assert machine.partition("beta")["failover"] == {}
    assert machine.partition("beta")["autostart"] == ALL
    assert machine.cpu(1)["failover"] == ["beta", "gamma"] and machine.cpu(1)["autostart"]


# shows: FAIL-02, CPU-03
def test_the_primary_stays_whatever_its_rule(machine, operator):
    mark = machine.events.mark()
    said = machine.apmp("cpu", "failover", "alpha", 0, 1, "gamma")
    assert said == 'CPUs 0-1 of "alpha": when it fails, to gamma; CPU 0, its primary, stays\n'
    event = machine.events.wait_for("tree.changed", change="set_failover", after=mark)
    assert (event["cpus"], event["to"]) == ([0, 1], ["gamma"])
    assert 'set failover partition "alpha", CPUs 0-1: to gamma' in machine.apmp("events")
    assert machine.apmp("cpu", "failover", "alpha", 0, "stay").endswith("it stays\n")
    everybody = operator("CpuFailover", partition="alpha", targets=["gamma"])
    assert everybody == {"cpus": ALL, "primary": 0}
    assert operator("CpuFailover", partition="lone", targets=[], cpus=[6]) == {"cpus": [6]}
    machine.apmp("cpu", "failover", "alpha", 1, "gamma,stay")
    assert [line.split()[7:] for line in machine.apmp("cpu", "list").splitlines()[1:3]] == \
        [["stays"], ["gamma", "stays"]]
    fail(machine, "crash")
    settled(machine, gamma=[1, 2, 3, 5])
    assert users(machine)[0] == "alpha"


# shows: CPU-12
def test_an_autostart_set_is_told_and_answered(machine, operator):
    mark = machine.events.mark()
    assert operator("CpuAutostart", partition="beta", cpus=[4, 4, 7]) == {"cpus": [4, 7]}
    event = machine.events.wait_for("tree.changed", change="set_autostart", after=mark)
    assert event["to"] == [4, 7]
    assert machine.apmp("cpu", "autostart", "beta", "all", json=True) == \
        {"partition": "beta", "cpus": ALL}
    machine.events.wait_for("tree.changed", change="set_autostart", to="all", after=mark)
    machine.apmp("cpu", "autostart", "beta", "none")
    machine.events.wait_for("tree.changed", change="set_autostart", to="none", after=mark)


# shows: FAIL-02
def test_who_is_deleted_or_leaves_the_community_is_no_target_any_more(machine):
    machine.apmp("partition", "halt", "gamma")
    machine.apmp("memory", "remove", "16M", "--from", "gamma")
    machine.apmp("community", "remove", "lab", "gamma")
    assert machine.partition("alpha")["failover"] == {"*": ["beta"], "3": []}
    machine.apmp("cpu", "failover", "beta", "all", "alpha")
    machine.apmp("partition", "halt", "beta")
    machine.apmp("cpu", "deassign", 4)
    machine.apmp("partition", "delete", "beta")
    assert machine.partition("alpha")["failover"] == {}
    machine.apmp("partition", "create", "beta", "--community", "lab")
    assert machine.partition("beta")["failover"] == {}, "another one of that name and number"


# shows: FAIL-02
@pytest.mark.parametrize("words, said", [
    (("failover", "alpha", 1, "lone"), 'only partitions of one community trade CPUs'),
    (("failover", "lone", 6, "alpha"), 'only partitions of one community trade CPUs'),
    (("failover", "alpha", 9, "beta"), "there is no CPU 9"),
    (("failover", "alpha", 1, "delta"), 'there is no partition "delta"'),
    (("failover", "delta", 1, "beta"), 'there is no partition "delta"'),
    (("autostart", "alpha", 77), "there is no CPU 77"),
    (("autostart", "delta", "all"), 'there is no partition "delta"'),
])
def test_rules_that_make_no_sense_are_refused(machine, words, said):
    before = machine.status()["partitions"]
    assert said in machine.refused("cpu", *words)
    assert machine.try_apmp("cpu", "failover", "alpha", "all", "").code == 2
    after = machine.status()["partitions"]
    for one, other in zip(before, after):
        assert (one["failover"], one["autostart"]) == (other["failover"], other["autostart"])


# shows: FAIL-02, CPU-12
def test_plan_and_apply_know_the_rules(machine, tmp_path):
    text = MACHINE.replace("{name}", machine.name)
    text = text.replace('failover: {"*": [beta, gamma], 3: gamma}',
                        'failover: {"*": gamma, 1: [beta, alpha]}\n    autostart: [1]')
    wanted = tmp_path / "wanted.yaml"
    wanted.write_text(text)
    plan = machine.apmp("plan", wanted, json=True)
    assert [step["command"] for step in plan["steps"]] == [
        "apmp cpu failover alpha all gamma", "apmp cpu failover alpha 1 beta,stay",
        "apmp cpu autostart alpha 1"]
    assert plan["power_cycle"] == []
    machine.apmp("apply", wanted)
    assert machine.partition("alpha")["failover"] == {"*": ["gamma"], "1": ["beta", "alpha"]}
    assert machine.partition("alpha")["autostart"] == [1]
    assert machine.apmp("plan", wanted, json=True)["steps"] == []
