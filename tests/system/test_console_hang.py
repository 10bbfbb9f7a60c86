"""A console that hangs is found, ended and started again; one that keeps dying is slowed down."""
import ctypes
import os
import re
import signal
import subprocess
from pathlib import Path

import pytest

import apmp
import leftovers
from standin import Box, Wire, until

pytestmark = pytest.mark.machine_file(apmp.PATIENT)

PTRACE_SEIZE, PTRACE_DETACH = 0x4206, 17


def console_of(machine):
    """The console's process id; it is the only one of that name."""
    found = [pid for pid, _ in machine.processes()
             if leftovers.read(f"/proc/{pid}/comm") == b"apmp-console\n"]
    assert len(found) == 1, found
    return found[0]


def log_of(machine):
    return (machine.rundir / "apmpd.log").read_text()


def says(machine, text):
    """Waits until the box's log says this."""
    return machine.until(lambda log: text in log, lambda: log_of(machine))


def lives(machine):
    return {name: instance["incarnation"]
            for name, instance in apmp.instances(machine.status()).items()}


@pytest.mark.parametrize("how", ["inject", "signal"])
def test_a_console_that_hangs_is_restarted(machine, how):
    """Stopped, it is ended and started again; the instances notice nothing but a pause."""
    before, mark = lives(machine), machine.events.mark()
    if how == "inject":
        machine.apmp("chaos", "inject", "stop", "console")
    else:
        machine.kill(console_of(machine), signal.SIGSTOP)
    waiting = machine.start("status")  # says why it waits, and is answered in the end
    restarted = machine.events.wait_for("console.restarted", after=mark)
    assert re.fullmatch(r"it did not answer for 3\.\d s \(state T\) and was killed",
                        restarted["last"]), restarted
    assert (restarted["deaths"], restarted["delay_ms"]) == (0, 0)
    out, err = waiting.communicate(timeout=apmp.WATCHDOG)
    assert waiting.returncode == 0 and "alpha" in out
    assert re.search(r"waiting: the console \(process \d+, state T\) does not answer", err), err
    assert lives(machine) == before
    machine.apmp("cpu", "migrate", "1", "--to", "gamma")
    assert not list(machine.rundir.glob("console.note"))


def test_a_console_in_an_endless_loop_is_restarted(machine):
    """It has the CPU and does not come back to its loop."""
    mark = machine.events.mark()
    loop_endlessly(console_of(machine))
    restarted = machine.events.wait_for("console.restarted", after=mark)
    assert "did not answer" in restarted["last"] and "state R" in restarted["last"]
    assert apmp.members(machine.status()) == {"alpha", "beta", "gamma"}


def loop_endlessly(pid):
    """Writes a jump to itself over the functions by which a process waits."""
    libc = next(line.split() for line in Path(f"/proc/{pid}/maps").read_text().splitlines()
                if "/libc.so.6" in line and line.split()[2].startswith("00000000"))
    symbols = subprocess.run(["nm", "-D", libc[-1]], stdout=subprocess.PIPE, text=True,
                             check=True).stdout
    with open(f"/proc/{pid}/mem", "r+b", buffering=0) as memory:
        for name in ("epoll_wait", "epoll_pwait"):
            at = int(re.search(rf"^([0-9a-f]+) [TW] {name}@@", symbols, re.M).group(1), 16)
            memory.seek(int(libc[0].split("-")[0], 16) + at)
            memory.write(b"\xeb\xfe")


def ptrace(request, pid):
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    if libc.ptrace(request, pid, None, None) != 0:
        raise OSError(ctypes.get_errno(), f"ptrace {request} of process {pid}")


def test_a_debugger_may_hold_the_console(machine):
    """It is left alone for as long as it is held, and goes on where it stood."""
    console, mark = console_of(machine), machine.events.mark()
    ptrace(PTRACE_SEIZE, console)
    os.kill(console, signal.SIGSTOP)
    assert os.waitid(os.P_PID, console, os.WSTOPPED | os.WEXITED).si_status == signal.SIGSTOP
    says(machine, f"the console (process {console}) is held by process {os.getpid()}, a debugger")
    waiting = machine.start("status")
    assert "is held by process" in waiting.stderr.readline()
    os.kill(console, signal.SIGCONT)
    ptrace(PTRACE_DETACH, console)
    os.kill(console, signal.SIGCONT)
    assert waiting.wait(apmp.WATCHDOG) == 0
    says(machine, f"console (process {console}) answers again")
    assert console_of(machine) == console
    assert not machine.events.find("console.restarted", after=mark)


def test_a_console_that_hangs_before_its_loop_runs(make_machine):
    """Stopped while it forms the machine: found as well, and power on is complete in the end."""
    machine = make_machine()
    libexec = machine.dir / "libexec"
    libexec.mkdir()
    (libexec / "apmp-console").write_text(
        f"#!/bin/sh\n[ -e {machine.dir}/hung ] || {{ touch {machine.dir}/hung; kill -STOP $$; }}\n"
        f"exec {apmp.BIN}/apmp-console\n")
    (libexec / "apmp-console").chmod(0o755)
    machine.env["APMP_LIBEXEC"] = str(libexec)
    machine.up()
    assert "did not answer for 3." in log_of(machine)
    assert apmp.members(machine.status()) == {"alpha", "beta", "gamma"}


def test_a_program_that_is_slow_to_start_keeps_nobody_else_waiting(machine):
    """The console waits neither for exec nor for the box that does it; and a box that was stopped
    together with the answer it waits for judges nobody."""
    mark = machine.events.mark()
    box = os.pidfd_open(machine.box_pid())
    signal.pidfd_send_signal(box, signal.SIGSTOP)
    program = machine.start("run", "alpha", "--", "echo", "at last")
    for _ in range(3):
        assert apmp.members(machine.status()) == {"alpha", "beta", "gamma"}
    assert program.poll() is None
    signal.pidfd_send_signal(box, signal.SIGCONT)
    os.close(box)
    assert program.communicate(timeout=apmp.WATCHDOG)[0] == "at last\n"
    assert not machine.events.find("console.restarted", after=mark)


# A console that keeps dying.

@pytest.fixture
def box(request):
    made = Box()
    yield made
    wrong = made.close()
    made.remove()
    assert not wrong, "\n".join(wrong)


def last_of(wire):
    return next(event for event in wire.start() if event.op == "LAST")


def test_one_that_serves_nobody_is_slowed_down_and_all_are_told(box, monkeypatch):
    """The delays double up to a second; LAST and the note say why; serving ends it."""
    monkeypatch.setattr(Wire, "served", 0)
    wire = box.up()
    held = []
    for life in range(2, 9):
        box.kill(wire.pid)
        if life == 8:
            says(box, "ended 7 times in a row")
            note = (box.rundir / "console.note").read_text()
            assert re.search(r"ended 7 times in a row and served nobody \(the last time: "
                             r"signal 9 \(Killed\)\); the next is started after 1000 ms", note)
            assert note in log_of(box)
        wire = box.meet()
        last = last_of(wire)
        assert last.arg[:2] == [life - 1, signal.SIGKILL]
        assert last.text == "signal 9 (Killed)"
        held.append(last.arg[2])
    assert held == [0, 50, 100, 200, 400, 800, 1000]
    until(wire, lambda: not (box.rundir / "console.note").exists())
    wire.send("PONG", arg=(0, 1))
    box.kill(wire.pid)
    assert last_of(box.meet()).arg == [0, signal.SIGKILL, 0]


def test_one_that_served_is_never_slowed_down(machine):
    """Killed again and again by the operator's own call, each time at once."""
    for _ in range(12):
        machine.apmp("chaos", "inject", "kill", "console")
    restarts = [event for event in machine.try_apmp("events", as_json=True).lines
                if event["kind"] == "console.restarted"]
    assert len(restarts) == 12
    assert all((event["delay_ms"], event["deaths"]) == (0, 0) for event in restarts), restarts
    assert "served nobody" not in log_of(machine)


def test_a_console_that_is_told_to_go_on(machine):
    assert "the console is not stopped" in machine.refused("chaos", "inject", "cont", "console")
