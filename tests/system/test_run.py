"""Programs in a partition: `apmp run`."""
import fcntl
import os
import pty
import re
import select
import signal
import subprocess
import termios
import threading
from pathlib import Path

import pytest

import apmp


def run(machine, *command, partition="alpha", **options):
    return machine.try_apmp("run", partition, "--", *command, **options)


def shell(machine, script, **options):
    return run(machine, "sh", "-c", script, **options)


def leader(process):
    """The number that a program says first, as a descriptor of that process."""
    return os.pidfd_open(int(process.stdout.readline()))


@pytest.mark.parametrize("code", [0, 1, 3, 7, 126, 255])
def test_exit_status(shared, code):
    result = shell(shared, f"exit {code}")
    assert (result.code, result.out, result.err) == (code, "", "")


@pytest.mark.parametrize("name", ["KILL", "TERM", "SEGV"])
def test_end_by_a_signal(shared, name):
    """As shells say it."""
    number = getattr(signal, f"SIG{name}")
    assert shell(shared, f"kill -{name} $$").code == 128 + number
    answer = shell(shared, f"kill -{name} $$", as_json=True)
    assert answer.json == {"signal": number}
    assert answer.code == 128 + number


def test_json_says_how_it_ended(shared):
    result = run(shared, "sh", "-c", "exit 5", as_json=True)
    assert (result.json, result.code) == ({"exit_code": 5}, 5)


def test_streams_are_the_callers(shared):
    """shows: CPU-15"""
    result = shell(shared, "cat; echo wrong >&2", stdin="one\ntwo\n")
    assert (result.code, result.out, result.err) == (0, "one\ntwo\n", "wrong\n")
    text = "".join(f"{number}\n" for number in range(200_000))
    assert run(shared, "cat", stdin=text).out == text


def test_environment_directory_and_arguments(shared):
    shared.env["APMP_TEST_WORD"] = "a word with = and ünïcode"
    said = shell(shared, 'printf "%s|" "$APMP_TEST_WORD" "$PWD" "$(pwd)"').out
    assert said == f"a word with = and ünïcode|{shared.dir}|{shared.dir}|"
    said = run(shared, "sh", "-c", 'printf "<%s>" "$@"', "sh", "a b", "--json", "-x", "ü", "*").out
    assert said == "<a b><--json><-x><ü><*>"


def test_it_is_looked_up_in_the_path_of_its_caller(shared):
    """Which need not be that of whoever powered the machine on. shows: CPU-15"""
    tool = shared.dir / "tools" / "a-tool-of-mine"
    tool.parent.mkdir()
    tool.write_text("#!/bin/sh\necho found\n")
    tool.chmod(0o755)
    assert "No such file" in shared.refused("run", "alpha", "--", tool.name)
    path = shared.env["PATH"]
    shared.env["PATH"] = f"{tool.parent}:{path}"
    try:
        assert run(shared, tool.name).out == "found\n"
    finally:
        shared.env["PATH"] = path


def test_an_empty_argument(shared):
    said = run(shared, "sh", "-c", 'printf "<%s>" "$@"', "sh", "a", "", "b")
    assert (said.code, said.out) == (0, "<a><><b>"), str(said)


def test_an_empty_environment(shared):
    """The program is still found by its path."""
    said = subprocess.run([apmp.BIN / "apmp", "--name", shared.name, "run", "alpha", "--",
                           "/usr/bin/env"], env={"XDG_RUNTIME_DIR": str(shared.runtime)},
                          text=True, capture_output=True, timeout=apmp.WATCHDOG, check=True)
    assert "XDG_RUNTIME_DIR=" in said.stdout and "\nPATH=" not in said.stdout


def test_it_runs_in_its_partition(shared):
    """Its group, its CPUs, and no more of them if it asks. shows: CPU-15, CPU-01"""
    status = shared.status()
    for name in ("alpha", "beta", "gamma"):
        allowed = shell(shared, "grep Cpus_allowed_list: /proc/self/status", partition=name).out
        assert apmp.set_of(allowed.split()[1]) == apmp.cpus_of(status, name)
    if status["backend"] != "affinity":
        said = run(shared, "/usr/bin/python3", "-c",
                   "import os; os.sched_setaffinity(0, range(os.cpu_count()));"
                   "print(*os.sched_getaffinity(0))", partition="gamma")
        assert {int(word) for word in said.out.split()} == apmp.cpus_of(status, "gamma")
        group = shell(shared, "cat /proc/self/cgroup", partition="gamma").out
        assert re.search(rf"apmp-{shared.name}/P-gamma/programs$", group, re.M)


def test_it_gets_no_descriptor_but_its_streams(shared):
    """Isolation is possession of a descriptor."""
    said = run(shared, "ls", "/proc/self/fd").out.split()
    assert said == ["0", "1", "2", "3"], "3 is the directory that ls reads"
    assert "APMP_" not in shell(shared, "cat /proc/self/maps").out


def test_detached(shared):
    """It goes on without its caller, and ends with its instance."""
    pid = int(shared.apmp("run", "--detach", "beta", "--", "sleep", "1000"))
    assert Path(f"/proc/{pid}/comm").read_text() == "sleep\n"
    assert os.readlink(f"/proc/{pid}/fd/0") == "/dev/null"
    assert set(os.sched_getaffinity(pid)) == apmp.cpus_of(shared.status(), "beta")
    answer = shared.apmp("run", "--detach", "beta", "--", "true", json=True)
    assert answer["pid"] > 0
    fd = os.pidfd_open(pid)
    shared.apmp("partition", "halt", "beta")
    assert apmp.ended(fd, 0), "the partition is halted and its program runs"
    os.close(fd)
    shared.boots_and_joins("beta")


@pytest.mark.parametrize("end", ["kill", "halt", "crash", "reset"])
def test_it_ends_with_its_instance(shared, end):
    """With all of its children, wherever they went. shows: DB-10"""
    process = shared.start("run", "beta", "--", "sh", "-c",
                           "echo $$; setsid sleep 1000 & echo $!; sleep 1000")
    fds = [leader(process), leader(process)]
    mark = shared.events.mark()
    if end == "kill":
        shared.kill_partition("beta")
    else:
        shared.apmp("partition", end, "beta")
    shared.events.wait_for("instance.fenced", partition="beta", after=mark)
    for fd in fds:
        assert apmp.ended(fd, 0), "fenced, and a process of the partition lives"
        os.close(fd)
    out, err = process.communicate(timeout=apmp.WATCHDOG)
    assert process.returncode == 128 + signal.SIGKILL
    assert err == 'apmp: sh in partition "beta" was ended: its partition ended; ' \
        "`apmp events` has how, and if it failed `apmp dump beta` what it left\n"
    if end == "reset":
        shared.events.wait_for("member.joined", partition="beta", after=mark)
    else:
        shared.boots_and_joins("beta")


@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGINT, signal.SIGHUP])
def test_a_caller_that_ends_ends_it(shared, sign):
    # Where the tests themselves run in the background, a shell lets them ignore SIGINT.
    process = shared.start("run", "alpha", "--", "sh", "-c", "echo $$; exec sleep 1000",
                           preexec_fn=lambda: signal.signal(sign, signal.SIG_DFL)
                           if sign != signal.SIGKILL else None)
    fd = leader(process)
    process.send_signal(sign)
    assert apmp.ended(fd), "the caller is gone and the program runs"
    os.close(fd)
    process.communicate(timeout=apmp.WATCHDOG)
    assert process.returncode == -sign


def said_until(master, text):
    said = b""
    while text not in said:
        assert select.select([master], [], [], apmp.WATCHDOG)[0], said
        said += os.read(master, 4096)
    return said


@pytest.mark.parametrize("how", ["^C", "closed"])
def test_on_a_terminal(shared, how):
    """It reads what is typed; ^C and the end of the terminal end it. shows: CPU-15"""
    def own_terminal():
        os.setsid()
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        for sign in (signal.SIGINT, signal.SIGHUP):  # nohup lets what it starts ignore that
            signal.signal(sign, signal.SIG_DFL)

    master, slave = pty.openpty()
    process = shared.start("run", "alpha", "--", "sh", "-c",
                           'echo "pid $$."; read -r line; echo "<$line>"; exec sleep 1000',
                           stdin=slave, stdout=slave, stderr=slave, preexec_fn=own_terminal)
    os.close(slave)
    fd = os.pidfd_open(int(re.search(rb"pid (\d+)\.", said_until(master, b".\r\n"))[1]))
    os.write(master, b"a word\n")
    said_until(master, b"<a word>")
    if how == "^C":
        os.write(master, b"\x03")
    else:
        os.close(master)
    assert apmp.ended(fd), "its terminal wants no more of it and the program runs"
    assert process.wait(apmp.WATCHDOG) == -(signal.SIGINT if how == "^C" else signal.SIGHUP)
    os.close(fd)
    if how == "^C":
        os.close(master)


def test_what_can_not_be_started(shared):
    said = shared.refused("run", "alpha", "--", "no-such-program")
    assert "no-such-program" in said and "No such file or directory" in said
    text = shared.dir / "text"
    text.write_text("#!/nowhere\n")
    assert "Permission denied" in shared.refused("run", "alpha", "--", str(text))
    assert str(text) in shared.refused("run", "alpha", "--", str(text))
    text.chmod(0o755)
    assert "No such file or directory" in shared.refused("run", "alpha", "--", str(text))
    # A name that is cut in a sentence, in the middle of a character.
    assert "No such file or directory" in shared.refused("run", "alpha", "--", 70 * "ü")
    assert shell(shared, "exit 3").code == 3


def test_what_is_too_long_to_be_asked_for(shared):
    """It is said before it is sent: no console was to blame."""
    words = [str(number) * 100_000 for number in range(1, 9)] + ["x" * 100_000] * 3
    assert shared.refused("run", "alpha", "--", "true", *words) == (
        'true can\'t be run in partition "alpha": its arguments and its environment, as they are '
        'sent, are longer than 1048576 bytes')
    assert run(shared, "true", *words[:9]).code == 0


def test_where_it_can_not_run(shared):
    assert shared.refused("run", "delta", "--", "true") == (
        'there is no partition "delta"; `apmp status` names those that are')
    shared.apmp("partition", "halt", "gamma")
    assert shared.refused("run", "gamma", "--", "true") == (
        'partition "gamma" is not running: it is halted, in its console; '
        '`apmp partition boot gamma` starts it')
    shared.boots_and_joins("gamma")
    assert run(shared, "true", partition="gamma").code == 0


@pytest.mark.parametrize("words", [["run"], ["run", "alpha"], ["run", "alpha", "--"]])
def test_usage(shared, words):
    result = shared.try_apmp(*words)
    assert result.code == apmp.USAGE and "PARTITION -- COMMAND" in result.err


def test_many_at_once(shared):
    """Each ends with its own end."""
    codes = {}

    def one(number):
        codes[number] = shell(shared, "read -r n; exit $n", stdin=f"{number}\n",
                              partition=("alpha", "beta", "gamma")[number % 3]).code

    callers = [threading.Thread(target=one, args=(number,)) for number in range(24)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert codes == {number: number for number in range(24)}


def test_so_many_that_others_would_have_no_room(machine):
    """The last one is refused, and who asks for other things is answered."""
    programs, said = [], ""
    while not said and len(programs) < 200:
        programs.append(apmp.Program(machine, "alpha", "cat"))
        try:
            programs[-1].ask("here")
        except (AssertionError, BrokenPipeError) as error:
            said = f"{error} {programs[-1].process.stderr.read()}"
    assert "as many callers as there is room for wait" in said
    assert 64 < len(programs) < 128
    assert programs.pop().process.wait(apmp.WATCHDOG) == apmp.REFUSED
    machine.apmp("run", "--detach", "alpha", "--", "true")
    assert apmp.members(machine.status()) == {"alpha", "beta", "gamma"}
    assert programs.pop().end() == 0
    assert run(machine, "true").code == 0
    assert {one.end() for one in programs} == {0}


def test_when_the_console_dies(machine):
    """The caller is told; what is run afterwards is not taken for what ran before.
    shows: TREE-22"""
    before = apmp.Program(machine, "alpha", "sh", "-c", "while read -r n; do echo $n; done; exit 9")
    assert before.ask("7") == "7"
    mark = machine.events.mark()
    machine.try_apmp("chaos", "inject", "kill", "console")
    machine.events.wait_for("console.restarted", after=mark)
    for code in (4, 5):
        result = shell(machine, f"exit {code}")
        assert result.code == code, str(result)
    before.process.wait(apmp.WATCHDOG)
    assert before.process.returncode == apmp.REFUSED
    before.process.stdin.close()  # the program goes on, until its input ends
    assert b"the connection to the console was lost" in before.process.stderr.read()
    assert shell(machine, "exit 6").code == 6
