"""`apmp console P`: the serial port of a partition."""
import json
import os
import select
import socket
import subprocess
import sys

import pytest

import apmp
from terminal import KEY, Terminal


@pytest.fixture
def attach(shared):
    terminals = []

    def make(partition, machine=shared):
        terminals.append(Terminal(machine, "console", partition))
        return terminals[-1]

    yield make
    for terminal in terminals:
        terminal.close()


def test_what_it_printed_is_shown_and_the_key_leaves(attach):
    """Also what was printed before anyone was there. shows: PLAT-04"""
    terminal = attach("gamma")
    said = terminal.read_until(b"member of the sharing set")
    assert b'console of partition "gamma"; ^] leaves' in said
    assert b"gamma: booted on CPU 5\r\n" in said
    assert b"alpha" not in said
    terminal.type(KEY)
    assert terminal.end() == apmp.DONE


def test_what_it_prints_is_shown_as_it_comes(shared, attach):
    """To everyone who is attached; from one life to the next."""
    terminals = [attach("beta"), attach("beta")]
    for terminal in terminals:
        terminal.read_until(b"member of the sharing set")
        terminal.seen = b""
    shared.apmp("partition", "halt", "beta")
    for terminal in terminals:
        terminal.read_until(b"partition beta: console")
    shared.boots_and_joins("beta")
    for terminal in terminals:
        terminal.read_until(b"member of the sharing set")
    terminals[0].type(KEY)
    assert terminals[0].end() == apmp.DONE
    terminals[1].seen = b""
    shared.kill_partition("beta")
    terminals[1].read_until(b"partition beta: dead (signal 9)")
    shared.boots_and_joins("beta")
    terminals[1].read_until(b"booted on CPU 3")


def test_what_detached_programs_print(shared, attach):
    """Shown beside what the instance prints, also what came before anybody looked.
    shows: CPU-15, PLAT-04"""
    pid = int(shared.apmp("run", "--detach", "gamma", "--", "sh", "-c",
                          "echo first; echo wrong >&2; read -r no_input; echo end;"
                          "exec sleep 1000"))
    if os.geteuid() == 0:  # also by name, for who has a uid of its own
        shared.apmp("run", "--detach", "--confined", "gamma", "--", "sh", "-c",
                    "echo confined >/dev/stdout")
    terminals = [attach("gamma"), attach("gamma")]
    for terminal in terminals:
        if os.geteuid() == 0:
            terminal.read_until(b"confined\r\n")
        assert b"first\r\nwrong\r\nend\r\n" in terminal.read_until(b"end\r\n")
    shared.kill(pid)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may hang a terminal up")
def test_one_that_hangs_the_line_up(shared, attach):
    """It harms those that share the line; who comes later gets another one."""
    done = shared.dir / "hung up"
    pid = int(shared.apmp(
        "run", "--detach", "beta", "--", sys.executable, "-c",
        "import ctypes, os, signal; signal.signal(signal.SIGHUP, signal.SIG_IGN);"
        "os.open('/proc/self/fd/1', os.O_RDWR); ctypes.CDLL(None).vhangup();"
        f"open({str(done)!r}, 'w'); signal.pause()"))
    shared.until(lambda there: there, done.exists)
    shared.kill(pid)
    shared.apmp("run", "--detach", "beta", "--", "echo", "after", "it")
    attach("beta").read_until(b"after it\r\n")


def test_one_that_spoils_the_line(shared, attach):
    """What it makes of its output is its own: who comes later waits for room, and all is shown.
    shows: CPU-15"""
    done = shared.dir / "spoilt"
    pid = int(shared.apmp(
        "run", "--detach", "beta", "--", sys.executable, "-c",
        "import fcntl, os, signal, termios, tty; os.set_blocking(1, False); tty.setraw(1);"
        "fcntl.ioctl(1, termios.TIOCEXCL); os.write(1, b'spoilt\\n');"
        f"termios.tcflow(1, termios.TCOOFF); open({str(done)!r}, 'w'); signal.pause()"))
    shared.until(lambda there: there, done.exists)
    shared.apmp("run", "--detach", "beta", "--", sys.executable, "-c",
                "import os\nfor n in range(3000): os.write(1, b'%040d\\n' % n)")
    attach("beta").read_until(b"%040d\r\n" % 2999)
    shared.kill(pid)


def test_many_who_look(shared):
    """There is an end to how many a port is shown to; for others there is room again when one
    leaves."""
    call = b'{"method": "org.apmp.machine.ConsolePort", "upgrade": true, ' \
           b'"parameters": {"partition": "beta"}}\0'

    def look():
        """The connection, if it was taken."""
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(apmp.WATCHDOG)
        sock.connect(str(shared.rundir / "control"))
        sock.sendall(call)
        said = b""
        while b"\0" not in said:
            said += sock.recv(4096)
        reply = json.loads(said.partition(b"\0")[0])
        if "error" not in reply:
            return sock
        sock.close()
        assert reply["error"] == "org.apmp.machine.Refused"
        assert reply["parameters"]["reason"] == (
            f'{len(who)} others look at the console port of partition "beta" already; try again '
            'when one of them has left')
        return None

    who = []
    while (one := look()) and len(who) < 1000:
        who.append(one)
    assert 16 <= len(who) < 1000
    who.pop().close()
    who.append(shared.until(lambda sock: sock, look))
    for sock in who:
        sock.close()


@pytest.mark.machine_file(apmp.PATIENT)
def test_nobody_need_read_what_they_print(machine):
    """A program that prints more than anything holds comes to its end, while others print for ever
    and a console dies; the machine goes on. shows: CPU-15"""
    endless = [int(machine.apmp("run", "--detach", name, "--", "yes"))
               for name in ("alpha", "beta")]
    much = os.pidfd_open(int(machine.apmp("run", "--detach", "alpha", "--", "sh", "-c",
                                         "i=0; while [ $i -lt 2000 ]; do i=$((i+1));"
                                         " echo 0123456789012345678901234567890123456789; done")))
    mark = machine.events.mark()
    machine.try_apmp("chaos", "inject", "kill", "console")
    machine.events.wait_for("console.restarted", after=mark)
    assert apmp.ended(much), "it waits for somebody to read"
    os.close(much)
    machine.apmp("cpu", "migrate", 2, "--to", "gamma")
    machine.apmp("cpu", "migrate", 2, "--to", "alpha")
    assert apmp.members(machine.status()) == {"alpha", "beta", "gamma"}
    for pid in endless:
        machine.kill(pid)


def test_what_is_typed_does_no_harm(shared, attach):
    terminal = attach("alpha")
    terminal.read_until(b"member of the sharing set")
    for _ in range(64):
        terminal.type(b"all sorts of things\r\n\x03\x04\x1a\x00" * 8)
    terminal.type(KEY)
    assert terminal.end() == apmp.DONE
    assert apmp.instances(shared.status())["alpha"]["state"] == "member"


def test_without_a_terminal(shared):
    """A pipe gets the bytes; ^] is a byte like others; the end of input ends it."""
    process = shared.start("console", "gamma", stdin=subprocess.PIPE, text=False, bufsize=0)
    seen = b""
    while b"member of the sharing set" not in seen:
        assert select.select([process.stdout], [], [], apmp.WATCHDOG)[0], seen
        seen += process.stdout.read(4096)
    process.stdin.write(KEY + b"\n")
    process.stdin.close()
    assert process.wait(apmp.WATCHDOG) == apmp.DONE
    process.stdout.close()
    process.stderr.close()


def test_of_what_does_not_exist(shared):
    assert shared.refused("console", "delta") == (
        'there is no partition "delta"; `apmp status` names those that are')


def test_when_the_console_dies(machine, attach):
    """Who is attached is told, and may attach again. shows: TREE-22"""
    terminal = attach("alpha", machine)
    terminal.read_until(b"member of the sharing set")
    mark = machine.events.mark()
    machine.try_apmp("chaos", "inject", "kill", "console")
    assert terminal.end() == apmp.REFUSED
    assert b"was closed" in terminal.seen
    machine.events.wait_for("console.restarted", after=mark)
    again = attach("alpha", machine)
    again.read_until(b"^] leaves")
    machine.apmp("partition", "halt", "alpha")
    again.read_until(b"partition alpha: console")
    again.type(KEY)
    assert again.end() == apmp.DONE


def test_power_off_ends_it(machine, attach):
    terminal = attach("alpha", machine)
    terminal.read_until(b"member of the sharing set")
    machine.down()
    assert terminal.end() == apmp.REFUSED
