"""The invariant checker on a running machine: it finds nothing in a good one, whatever happens to
its members meanwhile, and finds what is written into its memory behind everybody's back.
"""
import base64
import json
import os
import signal
import struct
import threading

import pytest

import apmp
import tree_checker as tc
from operator_calls import Operator
from test_apps import Holder

ALL = {"alpha", "beta", "gamma"}
MACHINE = apmp.TRIO + "timing: {stop: 500ms}\n"  # nobody is removed because the host is busy
PENDING = MACHINE + "fence: bugcheck\n"
STRUCTURES = tc._DUMP["structures"]  # pylint: disable=protected-access


def offset(structure, field):
    return next(entry["offset"] for entry in STRUCTURES[structure]["fields"]
                if entry["name"] == field)


class Memories(tc.Memory):
    """The memories of the machine, by what is in them, to be written behind everybody's back."""

    def __init__(self, machine):
        super().__init__(machine.box_pid())
        self.machine = machine

    def _poke(self, file, at, data):
        with open(f"/proc/self/fd/{file.fileno()}", "r+b", buffering=0) as memory:
            before = os.pread(memory.fileno(), len(data), at)
            os.pwrite(memory.fileno(), data, at)
        return before

    def hwrpb_file(self, partition):
        return next(file for file in self._files["hwrpb"] if tc.HWRPB.read(
            os.pread(file.fileno(), tc.HWRPB.size, 0), 0).unique & 0x7fff == partition + 1)

    def poke_tree(self, at, data):
        return self._poke(self._files["tree"][0], tc.HEADER.size + at, data)

    def poke_hwrpb(self, partition, field, data):
        return self._poke(self.hwrpb_file(partition), offset("hwrpb", field), data)

    def poke_database(self, at, data):
        """Into the memory that has the page which the machine shows as its header."""
        shown = self.machine.apmp("db", "show", "lab", json=True)[0]["range"]["pa"]
        answer = Operator(self.machine)("Memory", ranges=[{"pa": shown, "size": tc.PAGE}])
        header = base64.b64decode(answer["ranges"][0]["data"])[64:128]
        for file in self._files["ram"]:
            for page in range(0, os.fstat(file.fileno()).st_size, tc.PAGE):
                if os.pread(file.fileno(), 64, page + 64) == header:
                    return self._poke(file, page + at, data)
        raise AssertionError("the database is in no memory of the box")


@pytest.fixture
def memories(machine):
    memory = Memories(machine)
    yield memory
    memory.close()


def verdict(machine, *options, code=apmp.DONE):
    """What `apmp check` says, as a document."""
    result = machine.try_apmp("check", *options, as_json=True)
    assert result.code == code, result
    assert result.json["verdict"] == ("ok" if code == apmp.DONE else "violated")
    return result.json


def ids(document):
    return {violation["check"] for violation in document["violations"]}


def node(partition):
    """Where the node block of a partition is in the database."""
    return (STRUCTURES["apmp_db_header"]["size"]
            + partition * STRUCTURES["apmp_db_node"]["size"])


def test_a_good_machine(shared):
    """shows: DB-01, DB-02, DB-09, DB-13"""
    document = verdict(shared, "--live")
    assert document["images"] >= 3 and document["checks"] > 40 and not document["violations"]
    text = shared.apmp("check", "--live").splitlines()
    assert len(text) == document["checks"] + 1
    assert all(line.startswith("ok ") for line in text[:-1])
    assert text[-1].endswith("no violation")


def test_a_dump_is_judged_as_the_machine_was(machine, memories):
    """What --save wrote gives the same verdict, on another machine and another day; one that was
    changed is refused."""
    dump = machine.dir / "dump"
    verdict(machine, "--live", "--save", dump)
    assert verdict(machine, "--dump", dump)["images"] == 3
    memories.poke_database(node(2) + offset("apmp_db_node", "name"), b"\0")
    live = verdict(machine, "--live", "--save", dump, code=apmp.REFUSED)
    assert ids(live) == {"db.names"}
    machine.down()
    kept = verdict(machine, "--dump", dump, code=apmp.REFUSED)
    assert kept["violations"] == live["violations"]
    document = json.loads(dump.read_text())
    document["images"][0]["t_ns"] += 1
    dump.write_text(json.dumps(document))
    assert "checksum" in machine.refused("check", "--dump", dump)
    dump.write_text("{")
    assert "it is not JSON" in machine.refused("check", "--dump", dump)


# What is written: where, which bytes, and the check that must find it, alone.  Nobody reads these
# while the set is at rest, so the machine goes on.
PLANTED = {
    "name": ("database", node(1) + offset("apmp_db_node", "name"), b"\0", "db.names"),
    "state": ("database", node(1) + offset("apmp_db_node", "state"), b"\2", "db.nodes"),
    "segment": ("database", offset("apmp_db_header", "segment"), b"\1", "db.segments"),
    "platform": ("tree", offset("gct_root_node", "platform_name"), b"\0\0\0\0", "tree.pool"),
    "instance": ("tree", offset("gct_root_node", "hd") + 8, b"\x40\0\0\0", "tree.owners"),
}


@pytest.mark.parametrize("planted", sorted(PLANTED))
def test_what_is_planted_is_found(machine, memories, planted):
    """By the one check that is about it, and no longer when it is taken back."""
    where, at, data, check = PLANTED[planted]
    poke = memories.poke_tree if where == "tree" else memories.poke_database
    before = poke(at, data)
    assert before != data
    assert ids(verdict(machine, "--live", code=apmp.REFUSED)) == {check}
    text = machine.apmp("check", "--live", code=apmp.REFUSED)
    assert f"violation  {check} " in text
    poke(at, before)
    verdict(machine, "--live")


def test_sets_of_a_hwrpb(machine, memories):
    """An instance says that a CPU is active which it has not even configured."""
    before = memories.poke_hwrpb(2, "active", struct.pack("<Q", 1 << 40 | 1 << 5))
    assert ids(verdict(machine, "--live", code=apmp.REFUSED)) == {"hwrpb.sets", "db.cpus"}
    memories.poke_hwrpb(2, "active", before)
    verdict(machine, "--live")


def test_what_the_machine_mends_is_no_violation(machine, memories):
    """A lock word of a life that never was, and a brother that is none: whoever looks next mends
    it. A check that comes meanwhile sees it go."""
    memories.poke_database(node(0) + offset("apmp_db_node", "big_brother"), b"\x63\0\0\0")
    verdict(machine, "--live")
    memories.poke_database(offset("apmp_db_header", "lock"), struct.pack("<Q", 2 << 48 | 1))
    verdict(machine, "--live")
    assert machine.apmp("db", "show", json=True)[0]["database"]["lock_holder"] is None
    machine.at_rest(ALL)


def test_a_set_that_is_formed_again(machine, memories):
    """A garbled header: its members go on with the other range, and that is looked at from then on.
    Meanwhile and afterwards nothing stands that must not. shows: DB-03"""
    before = machine.apmp("db", "show", json=True)[0]
    memories.poke_database(offset("apmp_db_header", "fingerprint"), b"\0" * 8)
    verdict(machine, "--live")
    machine.at_rest(ALL)
    verdict(machine, "--live")
    after = machine.apmp("db", "show", json=True)[0]
    assert after["range"] == before["other_range"]
    assert after["database"]["reformed_of"] == before["database"]["incarnation"]
    assert not after["database"]["expected"]


@pytest.mark.machine_file(PENDING)
def test_a_fence_that_is_pending(machine):
    """A member that can't die is silent for long, and that is said elsewhere: no violation."""
    mark = machine.events.mark()
    pid = machine.pid("beta")
    machine.kill(pid, signal.SIGSTOP)
    machine.events.wait_for("instance.fence-pending", partition="beta", after=mark)
    verdict(machine, "--live")
    machine.kill(pid, signal.SIGCONT)
    machine.events.wait_for("instance.fenced", partition="beta", after=mark)
    verdict(machine, "--live")


def test_members_die_while_it_looks(machine):
    """No death makes a violation, wherever in it an image is taken."""
    over = threading.Event()
    wrong = []

    def look():
        while not over.is_set():
            result = machine.try_apmp("check", "--live", as_json=True)
            if result.code != apmp.DONE:
                wrong.append(str(result))

    looker = threading.Thread(target=look)
    looker.start()
    try:
        for name in ("beta", "gamma", "alpha", "beta", "alpha", "gamma"):
            mark = machine.events.mark()
            machine.kill_partition(name)
            machine.events.wait_for("member.removed", partition=name, after=mark)
            machine.boots_and_joins(name)
    finally:
        over.set()
        looker.join()
    assert not wrong, "\n".join(wrong)


def test_the_console_ends_while_it_looks(machine):
    """The next console is asked again."""
    for _ in range(3):
        mark = machine.events.mark()
        process = machine.start("--json", "check", "--live")
        machine.apmp("chaos", "inject", "kill", "console")
        out, err = process.communicate(timeout=apmp.WATCHDOG)
        assert process.returncode == apmp.DONE, out + err
        machine.events.wait_for("console.restarted", after=mark)
    verdict(machine, "--live")


@pytest.mark.machine_file(apmp.many(32))
def test_a_large_machine(machine):
    """Its memory takes more than one call."""
    dump = machine.dir / "dump"
    assert not verdict(machine, "--live", "--save", dump)["violations"]
    image = json.loads(dump.read_text())["images"][0]
    assert sum(piece["size"] for piece in image["ranges"]) > 256 << 10
    verdict(machine, "--dump", dump)


def test_memory_is_given_as_it_stands(shared):
    """Firmware and shared memory; private memory never; too much is refused."""
    call = Operator(shared)
    fragments = call("MemoryList")["fragments"]
    private = next(f["pa"] for f in fragments if f["kind"] == "private")
    common = next(f["pa"] for f in fragments if f["kind"] == "shared")
    where = call("Memory", ranges=[])
    answer = call("Memory", ranges=[
        {"pa": where["tree"], "size": 4096}, {"pa": common, "size": 64},
        {"pa": private, "size": 64}, {"pa": private - 8, "size": 16},
        {"pa": common, "size": 1 << 21}, {"pa": 1 << 62, "size": 8}, {"pa": -1, "size": 8}])
    has = [("data" in piece) for piece in answer["ranges"]]
    assert has[:3] == [True, True, False] and has[5:] == [False, False]
    tree = base64.b64decode(answer["ranges"][0]["data"])
    assert len(tree) == 4096 and tc.HEADER.read(tree, 0).size > 4096
    for ranges in ([{"pa": common, "size": 1 << 40}], [{"pa": common, "size": 0}],
                   [{"pa": common, "size": -1}], [{}], [{"pa": common, "size": 8}] * 513):
        assert call.refused("Memory", ranges=ranges)[0] == "Refused"


def test_how_it_is_asked(shared):
    for words in (["check"], ["check", "--save", "x"], ["check", "FILE", "--live"],
                  ["check", "--live", "--dump", "x"]):
        assert shared.try_apmp(*words).code == apmp.USAGE
    assert shared.try_apmp("--name", "nobody", "check", "--live",
                           named=False).code == apmp.NO_MACHINE


def test_what_can_not_be_judged_is_one_document(shared, tmp_path):
    """With a sentence of ours, and an object on standard output."""
    gone, text, other = (tmp_path / name for name in ("gone", "text", "other"))
    text.write_text("no\njson")
    other.write_text("{}")
    for file, says in ((gone, f"{gone} can't be read: No such file or directory"),
                       (tmp_path, f"{tmp_path} can't be read: Is a directory"),
                       (text, f"{text} is no dump of a machine: it is not JSON from line 1 on"),
                       (other, f"{other} is no dump of a machine, or was changed: ")):
        result = shared.try_apmp("check", "--dump", str(file), as_json=True)
        assert result.code == apmp.REFUSED and result.json["error"] == "org.apmp.cli.NoDump"
        assert result.json["parameters"]["reason"].startswith(says), result
        assert says in result.err


def test_db_show(shared):
    """shows: DB-01, DB-02"""
    found = shared.apmp("db", "show", json=True)
    assert [entry["community"] for entry in found] == ["lab"]
    status = shared.status()
    shown = found[0]["database"]
    lab = apmp.named(status["communities"], "lab")["sharing_set"]
    assert found[0]["range"]["pfn"] == lab["apmpdb_pfn"] == shown["pages"][0]
    assert shown["ours"] and shown["state"] == "operational"
    assert set(shown["members"]) == ALL and shown["incarnation"] == lab["incarnation"]
    assert len(shown["pages"]) == shown["page_count"]
    assert [service["name"] for service in shown["services"]][:2] == ["cpu", "lock"]
    for one in shown["nodes"]:
        instance = apmp.instances(status)[one["partition"]]
        assert one["state"] == "member" and one["incarnation"] == one["partition"]
        assert shown["nodes"][instance["big_brother"]]["partition"] == one["big_brother"]
    text = shared.apmp("db", "show", "lab")
    assert "operational" in text and "none" in text
    assert "there is no community" in shared.refused("db", "show", "nobody")


def test_lock_list(machine):
    """Who holds it, who has it open, who died with it. shows: COMM-04"""
    assert machine.apmp("lock", "list", json=True) == []
    holder = Holder(machine, "alpha", "journal")
    waiter = machine.start("run", "beta", "--", "apmp-lock", "journal", "--", "true")
    locks = machine.until(lambda locks: locks and locks[0]["waited_for"],
                          lambda: machine.apmp("lock", "list", "lab", json=True))
    assert len(locks) == 1
    lock = locks[0]
    assert (lock["name"], lock["community"], lock["holder"]) == ("journal", "lab", "alpha")
    assert lock["openers"] == ["alpha", "beta"] and lock["locker"] > 0 and lock["rank"] > 0
    assert not lock["broken_by"] and lock["acquired"] >= 1 and lock["broken"] == 0
    assert "journal" in machine.apmp("lock", "list")
    verdict(machine, "--live")
    machine.kill_partition("alpha")
    assert waiter.wait(apmp.WATCHDOG) == 75  # told that the one before died with it
    verdict(machine, "--live")
    lock, = machine.until(lambda locks: locks[0]["openers"] == [],
                          lambda: machine.apmp("lock", "list", json=True))
    assert lock["broken_by"] == "alpha, incarnation 1"  # who opens it next is told too
    holder.process.wait(apmp.WATCHDOG)
    assert "there is no community" in machine.refused("lock", "list", "nobody")


def test_who_is_debugged_may_be_silent(machine):
    """Nobody fences it, and nobody calls it a violation."""
    machine.apmp("debug", "beta")
    machine.kill(machine.pid("beta"), signal.SIGSTOP)
    for _ in range(2):
        verdict(machine, "--live")
    machine.kill(machine.pid("beta"), signal.SIGCONT)
    assert machine.apmp("debug", "beta", "off") == 'partition "beta" is watched again\n'
    assert machine.apmp("debug", "beta", "off") == (
        'partition "beta" is watched, as before: no debugger held it\n')
    assert '"lab" is a community' in machine.refused("debug", "lab")
    machine.at_rest(ALL)


def test_odd_values_are_shown_as_odd(machine, memories):
    """In the block of a partition that is no member: nobody mends it."""
    machine.apmp("partition", "halt", "gamma")
    gamma = machine.partition("gamma")["id"]
    memories.poke_database(node(gamma) + offset("apmp_db_node", "state"), b"\x4d")
    memories.poke_database(node(gamma) + offset("apmp_db_node", "big_brother"), b"\x63")
    memories.poke_database(node(gamma) + offset("apmp_db_node", "identity"), b"\xff" * 8)
    memories.poke_database(node(9) + offset("apmp_db_node", "state"), b"\x4d")  # there is no 9
    database = machine.apmp("db", "show", json=True)[0]["database"]
    shown = database["nodes"][-1]
    assert shown["id"] == gamma and shown["state"] == "odd: 77"
    assert shown["big_brother"] == "odd: 99"
    assert shown["incarnation"] == "odd: 0xffffffffffffffff" and not shown["member"]
    assert len(database["nodes"]) == 3 and database["odd_nodes"] == 1
    text = machine.apmp("db", "show")
    assert "odd: 77" in text and "odd: 1 more node block, of partitions" in text


def test_the_memory_of_an_empty_set_may_be_spoilt(machine):
    """Whoever enters makes it anew; until then status shows nothing of it."""
    for name in sorted(ALL):
        machine.apmp("partition", "halt", name)
    was = apmp.named(machine.status()["communities"], "lab")
    assert was["sharing_set"]["state"] == "empty" and was["members"] == []
    machine.apmp("chaos", "inject", "garbage", "lab")
    lab = apmp.named(machine.status()["communities"], "lab")
    assert lab["sharing_set"]["state"] == "spoilt" and lab["members"] == []
    assert lab["sharing_set"]["incarnation"] == 0
    database = machine.apmp("db", "show", json=True)[0]["database"]
    assert len(database["nodes"]) <= len(ALL) and database["odd_nodes"] > 3
    verdict(machine, "--live")
    for name in sorted(ALL):
        machine.boots_and_joins(name)
    machine.at_rest(ALL)
