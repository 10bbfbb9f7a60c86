"""A database that goes bad under its members: the set is formed anew in another place, and nobody
dies. Bad pages before there is a set are passed over."""
import json

import apmp
import pytest
from test_membership import ALL, dies_at

MACHINE = apmp.TRIO + "timing: {stop: 500ms}\n"
GRANULE_PAGES = 512
LAYOUTS = json.loads((apmp.TOP / "tests/golden/layouts.json").read_text())
# The first page behind the initial piece is the first service's.
CPU_SERVICE = -(-LAYOUTS["structures"]["apmp_db"]["size"] // 4096)
OFF = MACHINE.replace("boot: yes", "boot: no")


def the_set(machine):
    return apmp.named(machine.status()["communities"], "lab")["sharing_set"]


def pids(machine):
    return {name: said["pid"] for name, said in apmp.instances(machine.status()).items()}


def reformed(machine, strike):
    """Strikes; all are members of the next set, in another granule, and the same processes as
    before. Returns that set."""
    machine.at_rest(ALL)
    before, running, mark = the_set(machine), pids(machine), machine.events.mark()
    strike()
    event = machine.events.wait_for("set.reformed", after=mark)
    machine.at_rest(ALL)
    after = the_set(machine)
    assert pids(machine) == running
    assert after["incarnation"] > before["incarnation"]
    assert after["apmpdb_pfn"] // GRANULE_PAGES != before["apmpdb_pfn"] // GRANULE_PAGES
    assert event["pfn"] == after["apmpdb_pfn"]
    assert len(machine.events.find("set.reformed", after=mark)) == 1
    for kind in ("member.joined", "member.left", "member.removed", "set.created",
                 "instance.fenced"):
        assert not machine.events.find(kind, after=mark), kind
    return after


def test_garbage_under_three_members(shared):
    """Header and node blocks are written over, and nobody is told. shows: DB-07, DB-11, MEM-13"""
    was = the_set(shared)
    after = reformed(shared, lambda: shared.apmp("chaos", "inject", "garbage", "lab"))
    assert after["other_pfn"] == was["apmpdb_pfn"]  # it was spoilt, but it is good


def test_garbage_in_a_service(shared):
    """Found by the survivors' validation after a loss. shows: DB-07, DB-11"""
    shared.at_rest(ALL)
    mark = shared.events.mark()
    shared.apmp("chaos", "inject", "garbage", "lab", "--page", str(CPU_SERVICE))
    shared.kill_partition("beta")
    assert shared.events.wait_for("set.odd", after=mark)["what"] == "service"
    shared.events.wait_for("set.reformed", after=mark)
    shared.at_rest(ALL - {"beta"})
    assert not shared.events.find("instance.fenced", partition="alpha", after=mark)
    assert not shared.events.find("instance.fenced", partition="gamma", after=mark)
    shared.boots_and_joins("beta")
    shared.at_rest(ALL)


def test_a_page_goes_bad(shared):
    """shows: DB-07, MEM-15"""
    was, mark = the_set(shared), shared.events.mark()
    pfn = was["apmpdb_pfn"] + 1
    after = reformed(shared, lambda: shared.apmp("chaos", "inject", "page-bad", "lab",
                                                 "--page", "1"))
    assert [event["pfn"] for event in shared.events.find("page.bad", after=mark)] == [pfn]
    other = range(after["other_pfn"], after["other_pfn"] + was["apmpdb_pages"])
    assert after["other_pfn"] and pfn not in other


def test_a_spare_page_goes_bad(shared):
    """The set stays where it is and has another spare range at once. shows: DB-07, MEM-15"""
    shared.at_rest(ALL)
    was, mark = the_set(shared), shared.events.mark()
    shared.apmp("chaos", "inject", "page-bad", "lab", "--pfn", str(was["other_pfn"] + 1))
    shared.until(lambda now: apmp.named(now["communities"], "lab")["sharing_set"]["other_pfn"]
                 not in (was["other_pfn"], 0))
    shared.apmp("check", "--live")
    after = the_set(shared)
    assert after["incarnation"] == was["incarnation"]
    assert after["apmpdb_pfn"] == was["apmpdb_pfn"]
    assert not shared.events.find("set.reformed", after=mark)


def test_members_are_the_same_for_programs(shared):
    """A program that watches is told of no departure."""
    reformed(shared, lambda: shared.apmp("chaos", "inject", "garbage", "lab"))
    assert not [line for line in shared.try_apmp("events", as_json=True).lines
                if line["kind"] == "app.notified"]


def test_it_goes_on_afterwards(shared):
    """Deaths and joins in the new place are as ever. shows: DB-14"""
    reformed(shared, lambda: shared.apmp("chaos", "inject", "garbage", "lab"))
    mark = shared.events.mark()
    shared.kill_partition("beta")
    shared.events.wait_for("member.removed", partition="beta", after=mark)
    shared.at_rest(ALL - {"beta"})
    shared.boots_and_joins("beta")
    shared.at_rest(ALL)


def test_bad_pages_before_there_is_a_set(make_machine):
    """The database is placed behind them, and around them by its PFN list. shows: DB-03, DB-07"""
    machine = make_machine(OFF)
    machine.up()
    first = min(piece["pa"] for piece in machine.apmp("memory", "list", json=True)
                if piece["owner"] == "lab") // 4096
    for pfn in (first + 2, first + 3 + 17):
        machine.apmp("chaos", "inject", "page-bad", "lab", "--pfn", str(pfn))
    for name in sorted(ALL):
        machine.boots_and_joins(name)
    machine.at_rest(ALL)
    assert the_set(machine)["apmpdb_pfn"] == first + 3
    reformed(machine, lambda: machine.apmp("chaos", "inject", "garbage", "lab"))


def test_ids_and_buses(make_machine):
    """The ID field is that of the set; the buses of who died with one are reset before the next
    set. shows: COMM-01"""
    machine = make_machine(OFF)
    machine.up()

    def ids():
        return {node["name"]: node["detail"]["id_field"]
                for node in machine.apmp("tree", json=True)["nodes"]
                if node["type"] == "partition"}
    machine.boots_and_joins("alpha")
    machine.boots_and_joins("beta")
    assert ids() == {"alpha": 1, "beta": 1, "gamma": 0}
    mark = machine.events.mark()
    for name in ("alpha", "beta"):
        machine.kill_partition(name)
        machine.events.wait_for("instance.fenced", partition=name, after=mark)
    mark = machine.events.mark()
    machine.boots_and_joins("gamma")
    reset = {event["bus"] for event in machine.events.find("bus.reset", after=mark)}
    assert reset == {"0.0.0", "0.0.1"}
    assert ids() == {"alpha": 0, "beta": 0, "gamma": 2}
    machine.apmp("partition", "halt", "gamma")
    assert ids()["gamma"] == 0


def test_death_while_buses_are_reset(shared):
    """The next creator resets the rest. shows: DB-14"""
    shared.at_rest(ALL)
    mark = shared.events.mark()
    for name in sorted(ALL):
        shared.kill_partition(name)
        shared.events.wait_for("instance.fenced", partition=name, after=mark)
    mark = dies_at(shared, "gamma", "create_263", "boot")
    shared.boots_and_joins("alpha")
    resets = [event["partition"] for event in shared.events.find("bus.reset", after=mark)]
    assert sorted(resets) == ["alpha", "beta"]
    shared.boots_and_joins("beta")
    shared.boots_and_joins("gamma")
    shared.at_rest(ALL)


@pytest.mark.parametrize("point", ["reform_chosen", "reform_decided", "reform_over"])
def test_death_while_the_set_moves(shared, point):
    """The others come over without the one that found it. shows: DB-07, DB-14"""
    shared.at_rest(ALL)
    for name in sorted(ALL):  # who finds it first is anybody
        shared.arm(name, point)
    mark = shared.events.mark()
    shared.apmp("chaos", "inject", "garbage", "lab")
    dead = shared.events.wait_for("instance.fenced", after=mark)["partition"]
    for name in sorted(ALL):
        shared.disarm(name, point)
    shared.until(lambda now: all(said["state"] in ("member", "dead", "off")
                                 for said in apmp.instances(now).values()))
    for name in sorted(ALL):
        if apmp.instances(shared.status())[name]["state"] != "member":
            shared.boots_and_joins(name)
    assert dead
    shared.at_rest(ALL)


@pytest.mark.parametrize("arguments, words", [
    (["page-bad", "alpha"], "name a community"),
    (["garbage", "nobody"], "nobody"),
    (["garbage", "lab", "--page", "64"], "no such page"),
    (["page-bad", "lab", "--pfn", "1"], "no such page"),
])
def test_what_can_not_go_bad(shared, arguments, words):
    assert words in shared.refused("chaos", "inject", *arguments)


def test_status_says_when_there_is_no_second_range(make_machine):
    machine = make_machine(apmp.TRIO.replace("shared: 32M", "shared: 2M"))
    machine.up()
    machine.at_rest(ALL)
    assert machine.status()["health"]["one_range"] == ["lab"]
    assert "no second range" in machine.apmp("status")
    machine.apmp("chaos", "inject", "garbage", "lab")
    machine.events.wait_for("set.reformed")
    machine.at_rest(ALL)  # in the same place, by the same processes
    assert not machine.events.find("instance.fenced")


def test_both_ranges(shared):
    assert shared.status()["health"]["one_range"] == []
