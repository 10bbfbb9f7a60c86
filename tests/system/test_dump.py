"""Dumps: what a failed partition leaves is kept by the box, whole or not at all, and read by
`apmp dump`, `apmp analyze` and others. shows: FAIL-06, FAIL-01
"""
import contextlib
import errno
import json
import os
import random
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

import apmp
from standin import OBJECTS, PAGE, Watched, close_all
from test_fence import fence_unreaped, unreaped  # noqa: F401 (a fixture)
from test_nvram import fill, mount  # noqa: F401 (a fixture)
from test_protocol import Client

MARKER = b"a marker that alpha has written into its private memory"
UNUSED = 12 << 20  # what the instance itself has lies below
MARKER_AT = UNUSED + 5 * PAGE + 24

# The memory of alpha is known by its size. Nobody is fenced because the host is busy.
PATIENT = apmp.PATIENT.replace("memory: 24M", "memory: 22M", 1)
LITTLE = PATIENT + "dump: {limit: 1M, keep: 2}\n"
ONE = PATIENT + "dump: {keep: 1}\n"
OFF = PATIENT + "dump: no\n"

pytestmark = pytest.mark.machine_file(PATIENT)


def dumps_of(machine):
    folder = machine.state / "apmp" / machine.name / "dumps"
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def private_memory(machine, size=22 << 20):
    """The memory of the only partition with so much."""
    return open(machine.ram(size), "r+b", buffering=0)


def write_marker(machine):
    with private_memory(machine) as memory:
        os.pwrite(memory.fileno(), MARKER, MARKER_AT)


def dumped(machine, partition, after=-1, **fields):
    return machine.events.wait_for("instance.dumped", partition=partition, after=after, **fields)


def analyze(machine, path, *words):
    return machine.apmp("analyze", path, *words, json=True)


def private_of(machine, path):
    """Where its private memory begins, as its note says."""
    notes = Path(path).read_bytes()[:1 << 16]
    text = notes[notes.index(b'{"apmp_core"'):]
    return json.JSONDecoder().raw_decode(text.decode(errors="replace"))[0]["private"][0]["pa"]


def test_what_a_silent_death_leaves(machine):
    """It is found by its partition, has the memory that was there, and the set as it was."""
    write_marker(machine)
    machine.apmp("cpu", "migrate", "1", "--to", "beta")
    machine.kill_partition("alpha")
    event = dumped(machine, "alpha", incarnation=1)
    assert dumps_of(machine) == ["alpha-1.core"]
    assert event["bytes"] == os.stat(event["path"]).st_blocks * 512
    shown = machine.apmp("dump", "alpha", json=True)
    assert (shown["path"], shown["incarnation"]) == (event["path"], 1)
    assert "signal 9" in shown["ended"]
    summary = analyze(machine, event["path"])
    assert summary["members"] == ["alpha", "beta", "gamma"] and not summary["late"]
    assert summary["crash"] is None and summary["exit_status"] == signal.SIGKILL
    assert [(cpu["id"], cpu["state"]) for cpu in summary["cpus"]] == [
        (0, "active"), (1, "away"), (2, "active")]
    assert {cpu["runner"] for cpu in summary["cpus"]} == {"alpha", "beta"}
    assert summary["last"]
    pa = private_of(machine, event["path"])
    found = analyze(machine, event["path"], "memory", str(pa + MARKER_AT), str(len(MARKER)))
    assert bytes.fromhex(found["bytes"]) == MARKER
    assert machine.partition("alpha")["instance"]["dumped"] == 1
    assert "of alpha; `apmp dump` lists them" in machine.apmp("status")
    assert machine.passed("crash_2610", "box")
    machine.boots_and_joins("alpha")


# What each says of itself.
CRASHES = {
    "instruction": (("partition", "crash", "alpha"), "by instruction"),
    "assert": (("chaos", "inject", "assert", "alpha", "--at", "tick_beat"), "assertion"),
    "segv": (("chaos", "inject", "segv", "alpha", "--at", "tick_beat"), "signal"),
}


@pytest.mark.parametrize("how", CRASHES)
def test_what_an_announced_end_leaves(machine, how):
    """Why, and where each of its CPUs was."""
    verb, reason = CRASHES[how]
    machine.apmp(*verb)
    event = dumped(machine, "alpha", incarnation=1)
    summary = analyze(machine, event["path"])
    assert summary["announced"] and summary["ended"] == "crashed"
    assert summary["crash"]["reason"] == reason and summary["crash"]["text"]
    assert summary["died_at"] == (None if how == "instruction" else "tick_beat")
    contexts = [cpu["context"] for cpu in summary["cpus"] if cpu["context"]]
    assert contexts and all(context["frames"] for context in contexts)
    # Who calls for its end has no registers but those that a function has.
    selectors = [int(context["registers"].get("csgsfs", "0x33"), 16) for context in contexts]
    assert {selector & 0xffff for selector in selectors} == {0x33}
    cpus = machine.apmp("analyze", event["path"], "cpus")
    assert "rip" in cpus or "pc" in cpus
    assert "alpha" in machine.apmp("analyze", event["path"])


def test_a_panic_is_of_one_life(machine):
    """The next one has not panicked, and its dump does not say so."""
    for verb in CRASHES["assert"][0], CRASHES["instruction"][0]:
        mark = machine.events.mark()
        machine.apmp(*verb)
        event = dumped(machine, "alpha", after=mark)
        machine.boots_and_joins("alpha")
        machine.apmp("check", "--live")
        summary = analyze(machine, event["path"])
        assert (summary["panic"] is not None) == (verb[1] == "inject")
        assert (summary["died_at"] is not None) == (verb[1] == "inject")


@pytest.mark.machine_file(ONE)
@pytest.mark.parametrize("words", [("alpha",), (), ("--list", "alpha")])
@pytest.mark.parametrize("again", [False, True])
def test_one_that_is_being_written(machine, again, words):
    """`apmp dump` at once, as in README, waits for it, also where it takes an older one's place."""
    if again:
        machine.kill_partition("alpha")
        dumped(machine, "alpha")
        machine.boots_and_joins("alpha")
    with private_memory(machine) as memory:
        os.pwrite(memory.fileno(), random.randbytes(8 << 20), UNUSED)
    machine.apmp("partition", "crash", "alpha")
    before = machine.partition("alpha")["instance"].get("dumping")
    said = machine.apmp("dump", *words, json=True)
    shown = said if words == ("alpha",) else said[0]
    assert shown["incarnation"] == 1 + again and before in (None, 1 + again)
    assert "dumping" not in machine.partition("alpha")["instance"]
    assert analyze(machine, shown["path"])["announced"]


def test_it_outlives_the_next_failure_of_that_name(machine):
    """Incarnations begin with 1 at each power on; which dump is of which is said."""
    paths = []
    for _ in range(2):
        mark = machine.events.mark()
        machine.apmp("partition", "crash", "alpha")
        event = dumped(machine, "alpha", after=mark)
        assert event["incarnation"] == 1
        paths.insert(0, event["path"])
        assert "powered on" not in machine.apmp("dump", "alpha")
        assert [one["path"] for one in machine.apmp("dump", json=True)] == paths
        assert not machine.apmp("dump", "alpha", json=True)["earlier"]
        machine.down()
        machine.up()
        assert machine.apmp("dump", "alpha", json=True)["earlier"]
        assert "it is of before the machine was powered on" in machine.apmp("dump", "alpha")
    for path in paths:
        machine.apmp("check", "--dump", path)


def test_who_asks_is_answered_when_it_is_written(machine, unreaped):  # noqa: F811
    """Also who asks before it is begun, while what was fenced is reaped; with nothing to wait for,
    at once."""
    with private_memory(machine) as memory:  # much to write after it is copied
        os.pwrite(memory.fileno(), random.randbytes(8 << 20), UNUSED)
    with Client(machine) as client:
        assert client.call("PartitionDump", {"name": "alpha"}) == {"parameters": {}}
        assert client.call("PartitionDump", {}) == {"parameters": {}}
        assert client.call("PartitionDump", {"name": "nobody"})["error"].endswith("NoSuchPartition")
        machine.apmp("partition", "crash", "alpha")
        assert client.call("PartitionDump", {"name": "alpha"}) == {"parameters": {}}
        assert dumps_of(machine) == ["alpha-1.core"]
        machine.boots_and_joins("alpha")
        zombie = fence_unreaped(machine, unreaped)
        client.send("PartitionDump", {"name": "beta"})
        assert "dumping" not in machine.partition("beta")["instance"]
        zombie.reap()
        assert client.receive() == {"parameters": {}}
        assert dumps_of(machine) == ["alpha-1.core", "beta-2.core"]
    machine.boots_and_joins("beta")


def test_a_signal_that_was_sent_has_no_address(machine):
    machine.apmp("chaos", "inject", "segv", "alpha")
    path = dumped(machine, "alpha", incarnation=1)["path"]
    crash = analyze(machine, path)["crash"]
    assert "SIGSEGV sent by process" in crash["text"]
    assert (crash["signal"], crash.get("address")) == (signal.SIGSEGV, None)
    said = machine.apmp("analyze", path)
    assert "signal 11\n" in said and "at address" not in said


def test_others_read_it(machine):
    """readelf, the checker, and gdb where there is one."""
    write_marker(machine)
    machine.kill_partition("alpha")
    path = dumped(machine, "alpha")["path"]
    pa = private_of(machine, path)
    listed = subprocess.run(["readelf", "-lhn", path], check=True, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, text=True).stdout
    assert "CORE (Core file)" in listed and "APMP" in listed and "Warning" not in listed
    assert f"0x{pa:016x} 0x{pa:016x}" in listed
    lines = machine.apmp("check", "--dump", path).splitlines()
    # What compares two images is not judged by one.
    unseen = {line.split()[2] for line in lines if line.startswith("not seen ")}
    assert unseen == {"beat.rises", "order.tree", "order.db"}
    assert lines[-1].split()[1] == str(sum(line.startswith("ok ") for line in lines))
    if shutil.which("gdb"):
        said = subprocess.run(["gdb", "-nx", "-batch", "-c", path, "-ex",
                               f"x/s {pa + MARKER_AT}"], check=True, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True).stdout
        assert MARKER.decode() in said


def test_an_orderly_end_leaves_none(machine):
    machine.apmp("partition", "halt", "alpha")
    machine.kill_partition("beta")  # and what comes later has come
    dumped(machine, "beta")
    assert dumps_of(machine) == ["beta-1.core"]
    assert 'no dump of partition "alpha"' in machine.refused("dump", "alpha")
    assert 'there is no partition "nobody"' in machine.refused("dump", "nobody")
    assert "dumped" not in machine.partition("alpha")["instance"]


def test_a_copy_over_itself(machine, tmp_path):
    """Is refused, by whatever name, and the dump is what it was."""
    machine.kill_partition("beta")
    path = Path(dumped(machine, "beta")["path"])
    before, link = path.read_bytes(), tmp_path / "link"
    link.symlink_to(path)
    for name in (path, link):
        assert "that is the dump itself" in machine.refused("dump", "beta", name)
    assert path.read_bytes() == before


def test_a_boot_waits_until_its_memory_is_copied(machine):
    """A reset boots at once: what is dumped is the life before, all of it."""
    with private_memory(machine) as memory:
        before = random.Random(7).randbytes(4 << 20)
        os.pwrite(memory.fileno(), before, UNUSED)
    mark = machine.events.mark()
    machine.apmp("partition", "reset", "alpha")
    waits = machine.events.wait_for("instance.dumping", partition="alpha", after=mark)
    begins = machine.events.wait_for("partition.initialized", partition="alpha", after=mark)
    assert waits["seq"] < begins["seq"] and begins["incarnation"] == 2
    event = dumped(machine, "alpha", after=mark)
    assert event["incarnation"] == 1
    pa = private_of(machine, event["path"])
    for at in (0, 1 << 20, (4 << 20) - PAGE):
        found = analyze(machine, event["path"], "memory", str(pa + UNUSED + at),
                        str(PAGE))
        assert bytes.fromhex(found["bytes"]) == before[at:at + PAGE]
    summary = analyze(machine, event["path"])
    assert summary["fence"] == "reset by the operator"
    machine.at_rest({"alpha", "beta", "gamma"})


def test_a_console_that_dies_in_between(machine, unreaped):  # noqa: F811
    """The next one concludes the life, and asks for its dump: with the set as others left it."""
    zombie = fence_unreaped(machine, unreaped)
    mark = machine.events.mark()
    machine.kill(next(pid for pid, command in machine.processes()
                      if command.startswith("apmp-console")))
    machine.events.wait_for("console.restarted", after=mark)
    zombie.reap()
    event = dumped(machine, "beta", after=mark)
    summary = analyze(machine, event["path"])
    assert summary["late"] and summary["members"] == ["alpha", "gamma"]
    assert "seen late" in machine.apmp("analyze", event["path"])
    machine.boots_and_joins("beta")


@pytest.mark.parametrize("verb", ["up", "clean"])
def test_a_box_that_dies_while_it_writes(machine, verb):
    """Dumps before it are whole; what it had begun is removed by the next one who comes."""
    machine.kill_partition("beta")
    dumped(machine, "beta")
    box = Watched(machine.box_pid())
    machine.arm("box", "crash_2610")
    machine.kill_partition("alpha")
    box.wait()
    machine.until(lambda gone: gone, lambda: not machine.rundir.exists())  # the guard
    assert dumps_of(machine) == ["beta-1.core", "new"]
    if verb == "clean":
        assert "dumps/new: it was not finished" in machine.apmp("clean")
        assert dumps_of(machine) == ["beta-1.core"]
    machine.up()
    assert dumps_of(machine) == ["beta-1.core"]
    machine.apmp("check", "--dump", machine.apmp("dump", "beta", json=True)["path"])


@pytest.mark.machine_file(LITTLE)
def test_limits(machine):
    """Private memory that is too much is left out, which the dump says; the oldest one goes."""
    with private_memory(machine) as memory:
        os.pwrite(memory.fileno(), random.randbytes(3 << 20), UNUSED)
    for partition in ("beta", "gamma", "alpha"):
        machine.kill_partition(partition)
        event = dumped(machine, partition)
        assert event["bytes"] <= 1 << 20
    assert dumps_of(machine) == ["alpha-3.core", "gamma-2.core"]
    assert event["left_out"] == 22 << 20
    summary = analyze(machine, event["path"])
    assert summary["left_out"] == [{"pa": private_of(machine, event["path"]), "size": 22 << 20}]
    assert "left out" in machine.apmp("analyze", event["path"])
    pa = summary["left_out"][0]["pa"]
    assert "too much" in machine.refused("analyze", event["path"], "memory", str(pa))
    assert [one["partition"] for one in machine.apmp("dump", json=True)] == ["alpha", "gamma"]


@pytest.mark.machine_file(OFF)
def test_none_are_kept(machine):
    mark = machine.events.mark()
    machine.kill_partition("alpha")
    machine.events.wait_for("instance.fenced", partition="alpha")
    machine.boots_and_joins("alpha")
    assert dumps_of(machine) == []
    assert "dump: no" in machine.refused("dump", "alpha")
    assert machine.status()["dump"] is None
    assert not machine.events.find("instance.not-dumped", after=mark)


def test_a_full_disk(make_machine, mount):  # noqa: F811
    """An event and no dump, which took nothing from NVRAM; nothing else suffers."""
    disk = mount("16M")
    machine = make_machine(PATIENT)
    machine.state = disk
    machine.env["XDG_STATE_HOME"] = str(disk)
    machine.up()
    filler = fill(disk)
    mark = machine.events.mark()
    machine.kill_partition("alpha")
    event = machine.events.wait_for("instance.not-dumped", partition="alpha", after=mark)
    assert event["incarnation"] == 1 and "NVRAM may need" in event["reason"]
    assert dumps_of(machine) == []
    machine.boots_and_joins("alpha")
    filler.unlink()
    machine.kill_partition("alpha")
    assert dumped(machine, "alpha")["incarnation"] == 2
    machine.apmp("partition", "set", "alpha", "--boot", "no")  # goes into NVRAM
    machine.down()


def test_it_is_there_when_the_machine_is_off(machine, tmp_path):
    machine.apmp("partition", "crash", "beta")
    machine.down()  # waits for it
    shown = machine.apmp("dump", "beta", json=True)
    copy = tmp_path / "beta.core"
    assert str(copy) in machine.apmp("dump", "beta", str(copy))
    assert machine.apmp("dump", "beta", str(copy), json=True)["copy"] == str(copy)
    assert copy.read_bytes() == Path(shown["path"]).read_bytes()
    assert copy.stat().st_blocks <= os.stat(shown["path"]).st_blocks
    assert [one["path"] for one in machine.apmp("dump", "--list", json=True)] == [
        shown["path"]]
    assert "beta" in machine.apmp("dump")
    assert "the machine is off" in machine.refused("dump", "alpha")
    assert "/nowhere/x" in machine.refused("dump", "beta", "/nowhere/x")
    with open(shown["path"], "r+b") as file:
        file.seek(os.stat(shown["path"]).st_size // 64)
        file.write(b"changed")
    assert shown["path"] in machine.refused("dump", "beta", str(copy))
    machine.apmp("clean", "--state")
    assert not (machine.state / "apmp" / machine.name).exists()
    assert machine.try_apmp("dump").code == 3


# The box alone: the console is the test.


def description(*private, copied=(), **more):
    return json.dumps({"copied": list(copied), "private": list(private), **more}).encode()


def ask_dump(wire, what, memory=b"", incarnation=1, **fields):
    """The request on its way."""
    fd = os.memfd_create("picture")
    os.write(fd, memory + what)
    seq = wire.send("DUMP", 1, size=len(memory), arg=(incarnation, len(what)),
                    fds=[fd], **{"text": "beta", **fields})
    os.close(fd)
    return seq


def make_ram(wire, pa, data, size):
    """Physical memory with data in it."""
    answer = wire.must("MAKE", pa, "RAM", size=size)
    os.pwrite(answer.fds[0], data, 0)
    close_all(answer.fds)
    return {"pa": pa, "size": size, "ram": pa, "off": 0}


def test_memory_that_is_dropped_meanwhile(box):
    """It is gone for everybody else at once, and whole in the dump."""
    wire = box.up()
    data = random.Random(7).randbytes(24 << 20)
    piece = make_ram(wire, 1 << 30, data, len(data))
    asked = ask_dump(wire, description(piece))
    dropped = wire.send("DROP", 1 << 30, "RAM")
    again = wire.send("MAKE", 1 << 30, "RAM", size=len(data))
    assert wire.wait("DONE", seq=dropped).error == 0
    answer = wire.wait("DONE", seq=again)
    assert answer.error == 0 and os.pread(answer.fds[0], 8, 0) == bytes(8)
    os.pwrite(answer.fds[0], b"x" * len(data), 0)
    assert wire.wait("DONE", seq=asked).error == 0
    told = wire.wait("DUMPED", id=1)
    assert told.error == 0 and told.arg[0] == 1
    assert data in Path(told.text).read_bytes()
    close_all(answer.fds)


def test_memory_that_follows_is_dropped_as_ever(box):
    """In the place of what is still being copied: whoever kept a descriptor has nothing of it."""
    wire = box.up()
    data = random.Random(7).randbytes(24 << 20)
    piece = make_ram(wire, 1 << 30, data, len(data))
    asked = ask_dump(wire, description(piece))
    wire.send("DROP", 1 << 30, "RAM")
    kept = wire.must("MAKE", 1 << 30, "RAM", size=len(data)).fds
    os.pwrite(kept[0], b"x" * PAGE, 0)
    assert wire.ask("DROP", 1 << 30, "RAM").error == 0
    assert os.pread(kept[0], PAGE, 0) == bytes(PAGE)
    assert wire.wait("DONE", seq=asked).error == 0
    assert data in Path(wire.wait("DUMPED", id=1, error=0).text).read_bytes()
    close_all(kept)


def test_one_dump_of_each_life(box):
    """Asked again it is answered, and not written again."""
    wire = box.up()
    piece = make_ram(wire, 1 << 30, b"x" * PAGE, PAGE)
    for _ in range(2):
        assert wire.wait("DONE", seq=ask_dump(wire, description(piece))).error == 0
    assert wire.wait("DUMPED", id=1).arg[0] == 1
    again = wire.wait("DONE", seq=ask_dump(wire, description(piece)))
    assert (again.error, again.arg[0]) == (0, 1), "DUMPED will not come any more"
    assert wire.wait("DONE", seq=ask_dump(wire, description(piece), incarnation=2)).error == 0
    assert wire.wait("DUMPED", id=1).arg[0] == 2
    assert dumps_of(box) == ["beta-1.core", "beta-2.core"]


def test_requests_that_make_no_sense(box):
    """Each is refused with a sentence, and the box goes on."""
    wire = box.up()
    piece = make_ram(wire, 1 << 30, b"x" * PAGE, PAGE)
    for text in (b"", b"{", b"[]", b"{}", b'{"copied": 7, "private": [8]}', os.urandom(64),
                 description({**piece, "ram": 8}), description(*600 * [piece])):
        answer = wire.wait("DONE", seq=ask_dump(wire, text))
        assert answer.error == -errno.EINVAL and answer.text, text
    for fields in ({"text": ""}, {"text": "../beta"}, {"text": "x" * 200}):
        assert wire.wait("DONE", seq=ask_dump(wire, description(piece), **fields)).error < 0
    assert wire.ask("DUMP", 1, text="beta", arg=(1, 8)).error == -errno.EINVAL  # no descriptor
    assert wire.ask("DUMP", 64, text="beta", arg=(1, 8)).error == -errno.EINVAL
    # What only the writing finds is told with its end.
    for incarnation, wrong in enumerate(
            [{"pa": 8}, {"size": 100}, {"size": 0}, {"size": -1}, {"off": 1 << 62},
             {"off": -PAGE}, {"size": 1 << 62}], start=10):
        asked = ask_dump(wire, description({**piece, **wrong}), incarnation=incarnation)
        answer = wire.wait("DONE", seq=asked)
        if answer.error == 0:
            told = wire.wait("DUMPED", id=1)
            assert told.error == 0 or told.text
    assert "new" not in dumps_of(box)
    assert wire.wait("DONE", seq=ask_dump(wire, description(piece), incarnation=99)).error == 0
    assert wire.wait("DUMPED", id=1, error=0).arg[0] == 99


def niceness(pid):
    """Of the thread that writes a dump; None: there is none."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):
            name, _, rest = (task / "stat").read_text().partition("(")[2].rpartition(") ")
            if name == "dump":
                return int(rest.split()[16])
    return None


def test_who_is_waited_for_hurries(box):
    """Asked for again before its thread is there, and before its turn."""
    wire, seen = box.up(), []
    piece = make_ram(wire, 1 << 30, random.randbytes(48 << 20), 48 << 20)
    for number in (1, 2, 2):
        ask_dump(wire, description(piece), incarnation=number)
    assert wire.wait("DUMPED", id=1, error=0).arg[0] == 1
    while "beta-2.core" not in dumps_of(box):
        seen.append(niceness(box.box_pid()))
    assert wire.wait("DUMPED", id=1, error=0).arg[0] == 2
    assert set(seen) - {None} == {0}


def test_several_at_once(box):
    """One after the other, and each is told; power off waits for all."""
    wire = box.up()
    piece = make_ram(wire, 1 << 30, random.randbytes(8 << 20), 8 << 20)
    asked = [ask_dump(wire, description(piece), incarnation=number) for number in range(1, 6)]
    wire.send("OFF")
    for seq in asked:
        assert wire.wait("DONE", seq=seq).error == 0
    Watched(box.box_pid()).wait()
    assert dumps_of(box) == ["beta-3.core", "beta-4.core", "beta-5.core"]
