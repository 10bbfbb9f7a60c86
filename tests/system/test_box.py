"""The box (apmpd) alone: the test is its console (standin.py)."""
import errno
import json
import mmap
import os
import re
import resource
import select
import shutil
import signal
import socket
from pathlib import Path

import pytest

import apmp
import leftovers
from standin import (HOST_CPUS, INSTANCE, MACHINE, OBJECTS, PAGE, RECORDER_SIZE, Watched,
                     allowed_cpus, close_all, command, description, read_line, run, until)


# Power on.


def test_it_says_hello_config_and_ready(box):
    wire = box.begin()
    hello, config, recorder, ready = wire.start()
    assert (hello.op, hello.text) == ("HELLO", box.name)
    assert hello.arg == [0, len(HOST_CPUS), hello.arg[2]] and hello.arg[2] in (1, 2, 3)
    assert ready.op == "READY"
    assert (recorder.op, recorder.kind, recorder.id) == ("OBJECT", OBJECTS["RECORDER"], 0xfffe)
    close_all(recorder.fds)
    assert (config.op, config.kind, config.id) == ("OBJECT", OBJECTS["CONFIG"], 0)
    text = os.pread(config.fds[0], config.size, 0)
    close_all(config.fds)
    machine = json.loads(text[:text.index(b"\0")])
    assert machine["machine"] == box.name and len(machine["partitions"]) == 3
    assert sorted(machine["host"]["cpus"]) == HOST_CPUS
    assert machine["host"]["backend"] in ("cgroup-v1", "cgroup-v2", "affinity")
    assert machine["host"]["heartbeat_class"].startswith("SCHED_")


def test_up_returns_with_the_word_of_the_console(box):
    wire = box.begin()
    wire.start()
    wire.must("ON", text="three partitions are on")
    assert box.word() == (0, "three partitions are on\n", "")
    assert wire.ask("ON", text="said twice").error == 0
    assert Path(f"/proc/{box.box_pid()}").exists()


def test_power_on_fails_on_the_word_of_the_console(box):
    wire = box.begin()
    wire.start()
    wire.must("ON", arg=(1, 0), text="there is no primary")
    code, out, err = box.word()
    assert (code, out) == (1, "") and "there is no primary" in err
    assert not box.rundir.exists()


def test_a_console_that_keeps_dying_is_a_failure(box):
    box.script("apmp-console", "#!/bin/sh\necho no luck today; exit 7\n")
    result = box.apmpd("up", box.file)
    assert result.returncode == 1 and result.stdout == ""
    assert "the console ended 8 times" in result.stderr and "no luck today" in result.stderr
    assert not box.rundir.exists()


def test_a_missing_console_is_named(box):
    box.program = shutil.copy(apmp.BIN / "apmpd", box.dir)
    (box.libexec / "apmp-console").unlink()
    result = box.apmpd("up", box.file)
    assert result.returncode == 1
    assert re.search(r"cannot start the console \S+/apmp-console: No such file", result.stderr)
    assert not box.rundir.exists()


def test_a_box_that_dies_before_its_word_is_told(box):
    box.begin().start()
    guard = box.guard()
    os.kill(box.box_pid(), signal.SIGKILL)
    code, out, err = box.word()
    guard.wait()
    assert (code, out) == (1, "")
    assert "the box ended before the machine was on: signal 9 (Killed)" in err
    assert "console started" in err  # the last lines of its log


def test_the_second_up_of_a_name_is_refused(box):
    wire = box.up()
    result = box.apmpd("up", box.file)
    assert result.returncode == 1 and result.stdout == ""
    assert f'machine "{box.name}" is on already (process {box.box_pid()})' in result.stderr
    assert wire.ask("MAKE", 0, "TREE", PAGE).error == 0


def test_another_name_is_another_machine(box):
    wire = box.begin("--name", f"{box.name}-b")
    box.rundir = box.rundir.parent / f"{box.name}-b"
    assert wire.start()[0].text == f"{box.name}-b"


def test_too_little_memory_is_refused_in_bytes_before_anything_is_made(make_box):
    box = make_box(MACHINE.replace("memory: 128M", "memory: 32768G"))
    result = box.apmpd("up", box.file)
    assert result.returncode == 1
    wanted = (32768 << 30) + (64 + 4 + 3 << 20)  # of the machine, and of its own processes
    assert re.search(rf"wants {wanted} bytes of memory and \d+ can be had \(.+\)", result.stderr)
    assert not box.rundir.exists()


def test_mistakes_of_the_file_are_all_told(make_box):
    box = make_box(MACHINE.replace("cpus: [5]", "cpus: [77]").replace("32M", "32X"))
    for verb in ("up", "check"):
        result = box.apmpd(verb, box.file)
        assert result.returncode == 1 and result.stdout == ""
        assert len(result.stderr.splitlines()) == 2
    result = box.apmpd("check", box.file, "--json")
    assert result.returncode == 1 and len(json.loads(result.stdout)["errors"]) == 2
    assert not box.rundir.exists()


def test_a_good_file_is_good(box):
    result = box.apmpd("check", box.file)
    assert result.returncode == 0 and "6 CPUs, 3 partitions" in result.stdout
    result = box.apmpd("check", "--json", box.file)
    assert result.returncode == 0 and json.loads(result.stdout)["errors"] == []


@pytest.mark.parametrize("arguments", [
    [], ["nonsense"], ["up"], ["check"], ["up", "a", "b"], ["up", "--nonsense"],
    ["up", "a", "--json"], ["clean", "x"], ["up", "a", "--name", "No Name"]])
def test_usage(box, arguments):
    result = box.apmpd(*arguments)
    assert result.returncode == 2 and result.stdout == "" and result.stderr.startswith("apmpd: ")


def test_help_and_version(box):
    assert "apmpd up" in box.apmpd("--help").stdout
    assert "apmpd up" in box.apmpd("clean", "--help").stdout
    assert box.apmpd("--version").stdout.startswith("apmpd ")


def test_clean_and_doctor_have_json(box):
    assert json.loads(box.apmpd("clean", "--json").stdout)["removed"] == 0
    box.up()
    said = box.apmpd("clean", "--name", box.name, "--json")
    assert said.returncode == 1 and not json.loads(said.stdout)["complete"]
    assert box.apmpd("clean").stdout == "nothing was left behind\n"
    assert json.loads(box.apmpd("doctor", "--json").stdout)


# Objects.


def test_memory_is_made_sealed_kept_and_dropped(box):
    wire = box.up()
    made = wire.must("MAKE", 0x200000, "RAM", 4 << 20)
    assert (made.kind, made.id, made.size) == (OBJECTS["RAM"], 0x200000, 4 << 20)
    memory = mmap.mmap(made.fds[0], 4 << 20)
    memory[:5] = b"mine!"
    with pytest.raises(PermissionError):
        os.ftruncate(made.fds[0], PAGE)
    assert wire.ask("MAKE", 0x200000, "RAM", 4 << 20).error == -errno.EEXIST
    wire.must("DROP", 0x200000, "RAM")
    assert memory[:5] == bytes(5)  # whoever kept it has garbage of his own
    again = wire.must("MAKE", 0x200000, "RAM", 4 << 20)
    assert os.fstat(again.fds[0]).st_ino != os.fstat(made.fds[0]).st_ino
    wire.must("DROP", 0x999000, "RAM")  # there is none
    close_all(made.fds + again.fds)
    memory.close()


def test_each_kind_of_object(box):
    wire = box.up()
    channel = wire.must("MAKE", 3, "CHANNEL").fds
    os.write(channel[0], b"one")
    os.write(channel[0], b"two")
    assert os.read(channel[1], 100) == b"one"
    port = wire.must("MAKE", 3, "PORT").fds
    os.write(port[0], b"typed\n")
    assert os.read(port[1], 100) == b"typed\n" and os.isatty(port[1])
    recorder = wire.must("MAKE", 0xffff, "RECORDER", RECORDER_SIZE).fds
    assert os.pread(recorder[0], 8, 0) == b"RECORD\0\0"
    assert wire.ask("MAKE", 0, "TREE_RO").error == -errno.ENOENT
    tree = wire.must("MAKE", 0, "TREE", PAGE).fds
    readable = wire.must("MAKE", 0, "TREE_RO").fds
    os.pwrite(tree[0], b"root", 0)
    assert os.pread(readable[0], 4, 0) == b"root"
    with pytest.raises(PermissionError):
        mmap.mmap(readable[0], PAGE, prot=mmap.PROT_READ | mmap.PROT_WRITE)
    close_all(channel + port + recorder + tree + readable)


@pytest.mark.parametrize("number, kind, size", [
    (0, 0, PAGE), (0, 99, PAGE), (64, "HWRPB", PAGE), (1, "TREE", PAGE), (7, "RAM", PAGE),
    (0, "RAM", 0), (0, "RAM", 100), (1, "RECORDER", PAGE), (99, "CHANNEL", 0)])
def test_what_can_not_be_made_is_refused(box, number, kind, size):
    answer = box.up().ask("MAKE", number, kind, size)
    assert answer.error == -errno.EINVAL and answer.text


def test_too_much_memory_is_refused_with_numbers(box):
    wire = box.up()
    answer = wire.ask("MAKE", 0, "RAM", 1 << 50)
    assert answer.error == -errno.ENOMEM
    assert answer.arg[0] == 1 << 50 and 0 < answer.arg[1] < 1 << 50 and answer.text
    close_all(wire.must("MAKE", 0, "RAM", 2 << 20).fds)


# Instances.


def test_an_instance_gets_what_is_its_and_no_more(box):
    wire = box.up()
    pid, port = box.boot(wire)
    fds = {int(fd) for fd in os.listdir(f"/proc/{pid}/fd")}
    assert fds - {10} == {0, 1, 2, 3, 4, 5}  # 10: the shell's script
    assert command(port, "echo $APMP_PARTITION $APMP_MACHINE") == f"beta {box.name}"
    assert command(port, "echo $APMP_BOX").startswith(f"{box.rundir}:{box.box_pid()}:")
    assert command(port, "echo ${HOME-none}") == "none"
    assert command(port, "cat /dev/null > /dev/tty && echo terminal") == "terminal"
    assert os.getsid(pid) == pid and pid in [p for p, _ in box.processes()]
    assert allowed_cpus(pid) == HOST_CPUS


def test_its_exit_is_seen_and_it_starts_again(box):
    wire = box.up()
    pid, port = box.boot(wire, incarnation=5)
    instance = Watched(pid)
    again = wire.ask("SPAWN", 1, text="beta", arg=(6, 0), cpus=HOST_CPUS)
    assert again.error == -errno.EEXIST and str(pid) in again.text
    port.write(b"exit 3\n")
    seen = wire.wait("EXITED", id=1)
    assert seen.arg[:2] == [5, 3 << 8] and not instance.is_there
    wire.must("DROP", 1, "CHANNEL")
    pid, _ = box.boot(wire, incarnation=6)
    wire.must("SIGNAL", 1, arg=(signal.SIGKILL, 0))
    assert wire.wait("EXITED", id=1).arg[:2] == [6, signal.SIGKILL]
    assert wire.ask("SIGNAL", 1, arg=(signal.SIGKILL, 0)).error == -errno.ESRCH


def test_an_instance_that_can_not_be_started(box):
    wire = box.up()
    answer = wire.ask("SPAWN", 1, text="beta", cpus=HOST_CPUS)
    assert (answer.error, answer.text) == (-errno.ENOENT, 'partition "beta" has no port')
    for kind in ("HWRPB", "PORT", "CHANNEL"):
        close_all(wire.must("MAKE", 1, kind, PAGE).fds)
    answer = wire.ask("SPAWN", 1, text="beta")
    assert answer.error == -errno.EINVAL and "without a host CPU" in answer.text
    box.script("apmp-instance", "#!/no/such/shell\n")
    answer = wire.ask("SPAWN", 1, text="beta", arg=(1, 0), cpus=HOST_CPUS)
    assert answer.error == -errno.ENOENT and 'partition "beta"' in answer.text
    assert wire.ask("SPAWN", 64, text="beta").error == -errno.EINVAL
    # It never was one: no EXITED was told, and it can be started now.
    box.script("apmp-instance", INSTANCE)
    wire.must("SPAWN", 1, text="beta", arg=(2, 0), cpus=HOST_CPUS)
    assert not wire.heard


@pytest.mark.parametrize("backend", ["", "affinity"])
@pytest.mark.skipif(len(HOST_CPUS) < 2, reason="there is only one host CPU")
def test_host_cpus_change_for_instance_and_programs(make_box, backend):
    box = make_box(APMP_BACKEND=backend)
    wire = box.up()
    pid, _ = box.boot(wire)
    program = run(wire, 1, ["cat", "/dev/zero"]).arg[0]
    for cpus in (HOST_CPUS[:1], HOST_CPUS, HOST_CPUS[1:]):
        wire.must("CPUSET", 1, text="beta", cpus=cpus)
        assert allowed_cpus(program) == cpus
        # Without groups an instance keeps what it has chosen itself, if that is still allowed.
        assert allowed_cpus(pid) == cpus or backend and set(allowed_cpus(pid)) <= set(cpus)
    assert wire.ask("CPUSET", 1, text="gamma", cpus=cpus).error == -errno.EEXIST
    assert wire.ask("CPUSET", 1, text="beta").error == -errno.EINVAL
    answer = wire.ask("CPUSET", 1, text="beta", cpus=[1023])
    assert answer.error == -errno.EINVAL and "1023" in answer.text


# The end of a partition.

# Makes a process of a process that has left its session, and tells both.
GRANDCHILDREN = "sh -c 'cat /dev/zero >/dev/null & echo $! >&3; setsid cat /dev/zero >/dev/null " \
                "& echo $! >&3; trap \"\" TERM HUP INT; wait' 3>&1 &"


@pytest.mark.parametrize("backend", ["", "affinity"])
def test_kill_ends_every_process_of_a_partition(make_box, backend):
    box = make_box(APMP_BACKEND=backend)
    wire = box.up()
    pid, port = box.boot(wire)
    processes = [Watched(pid), Watched(int(command(port, GRANDCHILDREN))),
                 Watched(int(read_line(port))),
                 Watched(run(wire, 1, ["cat", "/dev/zero"]).arg[0])]
    other = Watched(box.boot(wire, 2, "gamma")[0])
    wire.must("KILL", 1)
    assert [p.runs for p in processes] == [False] * 4
    assert [(e.op, e.arg[:2]) for e in sorted(wire.heard, key=lambda e: e.op)] == [
        ("EXITED", [1, signal.SIGKILL]), ("FENCED", [1, 0]), ("PROGRAM", [1, signal.SIGKILL])]
    assert other.runs
    assert wire.ask("REMOVE", 2).error == -errno.EBUSY
    wire.must("REMOVE", 1)
    wire.must("REMOVE", 1)
    wire.must("KILL", 1)
    assert not any(f"apmp-{box.name}/P-beta" in path for path in leftovers.cgroups("P-"))


@pytest.fixture
def freezer():
    """A group whose processes don't end by SIGKILL while it is frozen, as in state D."""
    folder = Path(f"/sys/fs/cgroup/freezer/apmp-test-{os.getpid()}")
    try:
        folder.mkdir()
    except OSError as error:
        pytest.skip(f"no freezer: {error}")
    yield folder
    (folder / "freezer.state").write_text("THAWED")
    folder.rmdir()


def test_a_process_that_does_not_die_is_pending(box, freezer):
    wire = box.up()
    pid, _ = box.boot(wire, incarnation=8)
    instance = Watched(pid)
    (freezer / "cgroup.procs").write_text(str(pid))
    (freezer / "freezer.state").write_text("FROZEN")
    wire.send("KILL", 1)
    pending = wire.wait("PENDING")
    assert (pending.id, pending.arg[:2]) == (1, [8, 1]) and instance.runs
    box.kill(wire.pid)  # a new console hears of it too
    wire = box.meet()
    wire.start()
    assert wire.wait("PENDING").arg[:2] == [8, 1]
    asked = wire.send("KILL", 1)
    assert wire.ask("SPAWN", 1, text="beta", cpus=HOST_CPUS).error == -errno.EEXIST
    (freezer / "freezer.state").write_text("THAWED")
    assert wire.wait("EXITED").arg[:2] == [8, signal.SIGKILL]
    assert wire.wait("DONE", seq=asked).error == 0 and not instance.is_there


def test_kill_may_only_wait(box):
    wire = box.up()
    pid, port = box.boot(wire)
    instance = Watched(pid)
    waiting = wire.send("KILL", 1, arg=(1, 0))
    assert wire.ask("SPAWN", 2, text="x").error  # others are served meanwhile
    assert instance.runs
    assert run(wire, 1, ["true"]).error == -errno.EBUSY
    port.write(b"exit 0\n")
    assert wire.wait("DONE", seq=waiting).error == 0
    assert sorted(e.op for e in wire.heard) == ["EXITED", "FENCED"]


def test_two_may_ask_for_the_same_end(box):
    wire = box.up()
    box.boot(wire)
    asked = [wire.send("KILL", 1) for _ in range(2)]
    assert [wire.wait("DONE", seq=seq).error for seq in asked] == [0, 0]


def test_orphans_are_reaped(box):
    wire = box.up()
    _, port = box.boot(wire)
    orphan = int(command(port, "sh -c 'cat /dev/zero >/dev/null & echo $!'; echo done"))
    assert read_line(port) == "done"
    assert Path(f"/proc/{orphan}/stat").read_text().rpartition(")")[2].split()[1] == str(
        box.box_pid())
    process = Watched(orphan)
    process.kill()
    process.wait()
    until(wire, lambda: not process.is_there)


# Programs.


def test_a_program_runs_with_what_the_caller_gave(box):
    wire = box.up()
    box.boot(wire)
    reader, writer = os.pipe()
    script = 'echo "$1|$HOME|$APMP_PARTITION|$PWD|$(ulimit -Sn)|$(ls /proc/self/fd|wc -l)"; exit 5'
    answer = run(wire, 7, ["sh", "-c", script, "sh", "two words"], cwd=str(box.dir),
                 env=[f"PATH={os.environ['PATH']}", "HOME=/home/me", "APMP_BOX=forged"],
                 output=writer)
    assert answer.error == 0 and answer.arg[0] > 0
    os.close(writer)
    with os.fdopen(reader) as out:
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        assert out.read() == f"two words|/home/me|beta|{box.dir}|{limit}|4\n"
    assert wire.wait("PROGRAM").arg[:2] == [7, 5 << 8]


def test_a_program_that_can_not_be_run(box):
    wire = box.up()
    assert run(wire, 1, ["true"]).error == -errno.ESRCH
    box.boot(wire)
    answer = run(wire, 1, ["no-such-program"])
    assert (answer.error, answer.text) == (
        -errno.ENOENT, "cannot start no-such-program: the program: No such file or directory")
    answer = run(wire, 2, ["true"], cwd="/no/such/place")
    assert answer.error == -errno.ENOENT and "its directory" in answer.text
    assert run(wire, 3, [str(box.file)]).error == -errno.EACCES
    assert wire.ask("RUN", 1).error == -errno.EINVAL
    for text in (b"", b"no end", b"true\0\0\0", b"\0\0/\0"):
        fd = os.memfd_create("odd")
        os.write(fd, text)
        assert wire.ask("RUN", 1, fds=[fd]).error == -errno.EINVAL
        os.close(fd)
    assert not wire.heard  # none of them ever was a program


def test_a_program_is_signalled_with_its_children(box):
    wire = box.up()
    box.boot(wire)
    reader, writer = os.pipe()
    run(wire, 1, ["sh", "-c", "cat /dev/zero >/dev/null & echo $!; wait"], output=writer)
    os.close(writer)
    with os.fdopen(reader) as out:
        child = Watched(int(out.readline()))
        assert run(wire, 1, ["true"]).error == -errno.EEXIST
        wire.must("RUN_KILL", arg=(1, signal.SIGTERM))
        assert wire.wait("PROGRAM").arg[:2] == [1, signal.SIGTERM]
        assert out.read() == ""
    child.wait()
    assert wire.ask("RUN_KILL", arg=(1, signal.SIGTERM)).error == -errno.ESRCH


# Death of the console.


def test_a_new_console_finds_everything_as_it_was(box):
    wire = box.up()
    made = wire.must("MAKE", 0, "TREE", PAGE)
    os.pwrite(made.fds[0], b"state", 0)
    pid, _ = box.boot(wire, incarnation=4)
    before = wire
    box.kill(wire.pid)
    visitor = socket.socket(socket.AF_UNIX)  # who comes meanwhile waits
    visitor.connect(str(box.rundir / "control"))
    wire = box.meet()
    events = wire.start()
    assert [e.op for e in events] == ["HELLO", "LAST"] + ["OBJECT"] * 6 + ["PARTITION", "READY"]
    assert events[0].arg[0] == 1
    objects = {e.kind: e for e in events if e.op == "OBJECT"}
    assert os.pread(objects[OBJECTS["TREE"]].fds[0], 5, 0) == b"state"
    assert [len(objects[OBJECTS[kind]].fds) for kind in ("CONFIG", "HWRPB", "PORT", "CHANNEL")] == [
        1, 1, 2, 2]
    assert (events[-2].id, events[-2].arg[:2]) == (1, [4, pid])
    assert before.hear() is None
    wire.listener.accept()[0].close()
    visitor.close()
    for event in events:
        close_all(event.fds)
    close_all(made.fds)
    wire.must("KILL", 1)


def test_exits_are_told_again_to_a_new_console(box):
    wire = box.up()
    _, port = box.boot(wire, incarnation=9)
    run(wire, 3, ["false"])
    wire.wait("PROGRAM")
    port.write(b"exit 2\n")
    wire.wait("EXITED")  # this console has heard it, but the box can't know
    box.kill(wire.pid)
    wire = box.meet()
    assert "PARTITION" not in [e.op for e in wire.start()]
    assert wire.wait("EXITED").arg[:2] == [9, 2 << 8]
    assert wire.wait("PROGRAM").arg[:2] == [3, 1 << 8]


def test_a_fence_goes_on_without_its_console(box):
    wire = box.up()
    instance = Watched(box.boot(wire)[0])
    os.kill(wire.pid, signal.SIGSTOP)
    wire.send("KILL", 1)
    box.kill(wire.pid)
    instance.wait()
    wire = box.meet()
    wire.start()
    wire.must("KILL", 1)


def test_what_a_dead_console_had_said_is_done(box, freezer):
    """Requests that the box had not read when the console ended are not lost; also when the
    console had not read all, which the box hears first, and when it is reaped before that."""
    wire = box.up()
    pid, _ = box.boot(wire)
    (freezer / "cgroup.procs").write_text(str(pid))
    (freezer / "freezer.state").write_text("FROZEN")
    wire.send("KILL", 1)  # looked at by a timer, which comes before what is on the wire
    wire.wait("PENDING")
    wire.stop_listening()
    wire.send("DROP", 0, "RAM")
    assert select.select([wire.socket], [], [], apmp.WATCHDOG)[0]
    process = Watched(box.box_pid())
    process.kill(signal.SIGSTOP)
    wire.send("MAKE", 0, "TREE", PAGE)
    wire.socket.close()
    box.kill(wire.pid)
    process.kill(signal.SIGCONT)
    wire = box.meet()
    assert OBJECTS["TREE"] in [event.kind for event in wire.start() if event.op == "OBJECT"]
    (freezer / "freezer.state").write_text("THAWED")
    assert wire.wait("EXITED").arg[1] == signal.SIGKILL


def test_a_console_that_closes_its_wire_is_replaced(box):
    wire = box.up()
    console = Watched(wire.pid)
    wire.socket.send(b"no request")
    console.wait()
    wire = box.meet()
    wire.start()
    assert wire.ask(77).error == -errno.ENOSYS


def test_a_console_that_does_not_listen_stops_nobody(box):
    """More answers than the socket holds: they wait, and so do further requests."""
    wire = box.up()
    wire.stop_listening()
    wire.socket.setblocking(False)
    count = 0
    poll = select.poll()
    poll.register(wire.socket, select.POLLOUT)
    while count < 330 and poll.poll(100):
        try:
            wire.send("DROP", 0, "RAM")
            count += 1
        except BlockingIOError:
            pass
    assert count > 100
    wire.socket.settimeout(apmp.WATCHDOG)
    wire.listen()
    assert [wire.hear().seq for _ in range(count)][-1] == wire.seq


# Power off.


def test_off_ends_everything(box):
    wire = box.up()
    pid, port = box.boot(wire)
    process = Watched(box.box_pid())
    others = [Watched(pid), Watched(int(command(port, GRANDCHILDREN))), Watched(wire.pid),
              box.guard()]
    wire.must("OFF")
    assert wire.hear() is None
    process.wait()
    assert not any(other.is_there for other in others)
    assert not box.rundir.exists()


def test_a_signal_asks_the_console(box):
    wire = box.up()
    process = Watched(box.box_pid())
    process.kill(signal.SIGTERM)
    wire.wait("TERM")
    wire.must("OFF")
    process.wait()
    assert not box.rundir.exists()


@pytest.mark.parametrize("signals", [1, 2])
def test_a_signal_ends_it_also_without_an_answer(box, signals):
    """One signal: when the console did not answer for five seconds. A second: at once."""
    wire = box.up()
    instance, process = Watched(box.boot(wire)[0]), Watched(box.box_pid())
    process.kill(signal.SIGTERM)
    wire.wait("TERM")
    if signals == 2:
        process.kill(signal.SIGINT)
    process.wait()
    assert not instance.is_there and not box.rundir.exists()


def test_in_the_foreground_it_stays_until_interrupted(box):
    wire = box.begin("--foreground")
    wire.start()
    wire.must("ON", text="it is on")
    assert box.upper.stdout.readline() == "it is on\n"
    assert box.box_pid() == box.upper.pid
    box.upper.send_signal(signal.SIGINT)
    wire.wait("TERM")
    wire.must("OFF")
    assert box.word() == (0, "", "")


def test_power_failure_leaves_nothing(box):
    wire = box.up()
    _, port = box.boot(wire)
    command(port, GRANDCHILDREN)
    run(wire, 1, ["cat", "/dev/zero"])
    guard = box.guard()
    os.kill(box.box_pid(), signal.SIGKILL)
    guard.wait()
    assert box.processes() == [] and not box.rundir.exists()
    assert leftovers.cgroups(f"apmp-{box.name}") == []


def test_a_guard_that_is_killed_is_replaced(box):
    wire = box.up()
    old = box.guard()
    old.kill()
    old.wait()
    until(wire, lambda: not old.is_there and box.guards())
    guard = box.guard()
    os.kill(box.box_pid(), signal.SIGKILL)
    guard.wait()
    assert not box.rundir.exists()


def test_up_removes_what_is_left_when_all_died_and_says_so(box):
    wire = box.up()
    pid, _ = box.boot(wire)
    instance, guard, process = Watched(pid), box.guard(), Watched(box.box_pid())
    guard.kill(signal.SIGSTOP)
    process.kill()
    process.wait()
    guard.kill()
    guard.wait()
    assert instance.runs
    wire = box.begin()
    wire.start()
    wire.must("ON", text="on again")
    code, out, err = box.word()
    assert (code, out) == (0, "on again\n")
    assert f"killed process {pid}" in err and not instance.runs


def test_an_end_does_not_deafen_a_start(make_box):
    """The descriptor by which the box hears that a program runs had been another program's."""
    # The first folders of PATH make exec take its time.
    box = make_box(PATH="/n:" * 30000 + os.environ["PATH"])
    wire = box.up()
    box.boot(wire)
    for number in range(1, 20, 2):
        first = Watched(run(wire, number, ["/bin/sleep", "1000"]).arg[0])
        fds = [description(["sleep", "1000"])]
        seq = wire.send("RUN", 1, arg=(number + 1, 2), text="sleep", fds=fds)
        close_all(fds)
        wire.ask("DROP", 0, "RAM")  # it was read: the second one is on its way
        first.kill()
        assert wire.wait("PROGRAM").arg[0] == number
        assert wire.wait("DONE", seq=seq).error == 0
