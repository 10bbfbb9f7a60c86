"""`apmp console --all`: every console port of the machine in one terminal. shows: PLAT-04"""
import fcntl
import json
import select
import struct
import subprocess
import termios

import pytest

import apmp
from terminal import KEY, Terminal


@pytest.fixture
def attach():
    terminals = []

    def make(machine, **env):
        terminals.append(Terminal(machine, "console", "--all", **env))
        return terminals[-1]

    yield make
    for terminal in terminals:
        terminal.close()


def waiting_bytes(machine, partition):
    """How many bytes wait on the partition's serial line: an instance reads none."""
    with open(f"/proc/{machine.pid(partition)}/fd/0", "rb") as line:
        return struct.unpack("i", fcntl.ioctl(line, termios.FIONREAD, b"\0" * 4))[0]


def test_every_line_has_the_name_of_its_partition(shared, attach):
    """Also those that were printed before anyone was there; one key leaves, one helps."""
    terminal = attach(shared)
    for partition, cpu in ("alpha", 0), ("beta", 3), ("gamma", 5):
        name = f"{partition:5} | ".encode()
        terminal.read_until(name + partition.encode() + b": booted on CPU %d\n" % cpu)
        terminal.read_until(name + partition.encode() + b": member of the sharing set\n")
    terminal.type(KEY + b"?")
    terminal.read_until(b"--   0 a  alpha (chosen)\n--   1 b  beta\n--   2 g  gamma\n")
    terminal.type(KEY + KEY)
    assert terminal.end() == apmp.DONE


def test_what_is_typed_goes_to_the_chosen_port(machine, attach):
    """A number chooses, or a letter; the keys themselves go nowhere."""
    terminal = attach(machine)
    terminal.read_until(b"what is typed goes to alpha")
    for partition in b"beta", b"gamma":  # then its port is there, too
        terminal.read_until(partition + b": member of the sharing set")
    terminal.type(b"12345" + KEY + b"1" + b"123\x03" + KEY + b"g" + b"12" + KEY + b"x" + b"345")
    for partition, typed in ("alpha", 5), ("beta", 4), ("gamma", 5):
        machine.until(lambda now: now == typed, lambda: waiting_bytes(machine, partition))
    assert b"no partition has that key" in terminal.read_until(b"that key")
    terminal.type(b"more" + KEY + KEY + b"lost")
    assert terminal.end() == apmp.DONE
    assert waiting_bytes(machine, "gamma") == 9


def test_partitions_appear_and_vanish(machine, attach):
    terminal = attach(machine)
    terminal.read_until(b"what is typed goes to alpha")
    machine.apmp("partition", "halt", "gamma")
    terminal.read_until(b"gamma | apmp-console: partition gamma: console (exit 0)\n")
    terminal.type(KEY + b"g")
    terminal.read_until(b"what is typed goes to gamma")
    machine.apmp("partition", "delete", "gamma")
    terminal.read_until(b"-- partition gamma is gone\n")
    terminal.read_until(b"-- what is typed goes to alpha")
    machine.apmp("partition", "create", "delta-the-long", "--community", "lab")
    for words in (("cpu", "assign", 5), ("bus", "assign", "1.0.0"), ("memory", "assign", "8M")):
        machine.apmp(*words, "--to", "delta-the-long")
    machine.apmp("partition", "boot", "delta-the-long")
    terminal.read_until(b"delta-the-long | delta-the-long: member of the sharing set\n")
    machine.apmp("partition", "halt", "beta")
    terminal.read_until(b"beta           | beta: halted\n")
    terminal.type(KEY + b"d" + KEY + b"?")
    terminal.read_until(b"--   2 d  delta-the-long (chosen)\n")
    terminal.type(KEY + KEY)
    assert terminal.end() == apmp.DONE


def test_a_console_that_dies_is_a_pause(machine, attach):
    """shows: TREE-22"""
    terminal = attach(machine)
    terminal.read_until(b"gamma: member of the sharing set")
    for _ in range(3):
        terminal.seen = b""
        machine.try_apmp("chaos", "inject", "kill", "console")
        terminal.read_until(b"-- the console is away\n")
        terminal.read_until(b"-- the console is back\n")
        machine.apmp("partition", "halt", "beta")
        terminal.read_until(b"beta  | beta: halted\n")
        machine.boots_and_joins("beta")
        terminal.read_until(b"beta  | beta: member of the sharing set\n")
    assert terminal.seen.count(b"beta: halted") == 1
    terminal.type(KEY + KEY)
    assert terminal.end() == apmp.DONE


def test_power_off_ends_it(machine, attach):
    terminal = attach(machine)
    terminal.read_until(b"gamma: member of the sharing set")
    machine.down()
    assert terminal.end() == apmp.DONE
    assert f"-- machine {machine.name} is off\n".encode() in terminal.seen


def test_in_colour(shared, attach):
    """Unless NO_COLOR says otherwise, as in all other tests."""
    environment = dict(shared.env)
    del environment["NO_COLOR"]
    terminal = attach(shared)
    assert b"\033[3" not in terminal.read_until(b"gamma: member of the sharing set")
    shared.env, before = environment, shared.env
    try:
        terminal = attach(shared)
        terminal.read_until(b"\033[36malpha |\033[0m alpha: booted")
        terminal.read_until(b"\033[32mbeta  |\033[0m beta: booted")
    finally:
        shared.env = before


def read_lines(process, wanted):
    """Lines of its output up to the first one that holds(line)."""
    lines, rest = [], b""
    while not any(wanted(line) for line in lines):
        assert select.select([process.stdout], [], [], apmp.WATCHDOG)[0], lines
        more = process.stdout.read(4096)
        assert more, lines
        *whole, rest = (rest + more).split(b"\n")
        lines += whole
    return lines


def test_without_a_terminal_it_only_reads(machine):
    """Whole lines, as they come; nothing is typed, and the end of input is not its end."""
    process = machine.start("console", "--all", stdin=subprocess.PIPE, text=False, bufsize=0)
    process.stdin.write(b"typed" + KEY + KEY)
    process.stdin.close()
    read_lines(process, lambda line: line == b"gamma | gamma: member of the sharing set")
    machine.apmp("partition", "halt", "gamma")
    read_lines(process, lambda line: line == b"gamma | gamma: halted")
    assert waiting_bytes(machine, "alpha") == 0
    machine.down()
    assert process.wait(apmp.WATCHDOG) == apmp.DONE
    process.stdout.close()
    assert b"is off" in process.stderr.read()
    process.stderr.close()


def test_json(machine):
    process = machine.start("--json", "console", "--all", text=False, bufsize=0)
    wanted = {"partition": "gamma", "line": "gamma: member of the sharing set"}
    read_lines(process, lambda line: json.loads(line) == wanted)
    process.stdout.close()
    machine.apmp("partition", "halt", "gamma")  # it writes, and nobody reads: that is its end
    assert process.wait(apmp.WATCHDOG) == apmp.DONE
    process.stderr.close()


def test_one_or_all(shared):
    for words in (), ("alpha", "--all"):
        assert shared.try_apmp("console", *words).code == apmp.USAGE
