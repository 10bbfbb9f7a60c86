"""What whoever types commands meets: one JSON document, names from the environment, plain words."""
import json
import os
import signal
import subprocess

import pytest

import apmp


def as_json(machine, *words, **options):
    """The result of a command with --json, which printed one document and nothing else."""
    result = machine.try_apmp(*words, as_json=True, **options)
    assert isinstance(result.json, (dict, list)), result
    return result


# Power on.


def test_up_takes_its_name_from_the_environment(make_machine):
    """As every other verb does; --name goes before it."""
    machine = make_machine(apmp.TRIO.replace("{name}", "another"))
    machine.env["APMP_MACHINE"] = machine.name
    said = machine.try_apmp("up", machine.file, named=False)
    assert said.out.startswith(f"machine {machine.name} is on"), said
    assert machine.try_apmp("down", named=False).code == apmp.DONE
    machine.env["APMP_MACHINE"] = "third"
    assert machine.up().startswith(f"machine {machine.name} is on")


def test_up_as_one_document(make_machine):
    machine = make_machine()
    on = as_json(machine, "up", machine.file, named=False)
    assert (on.code, on.err) == (apmp.DONE, "")
    assert on.json["machine"] == machine.name and on.json["state"] == "on"
    assert on.json["said"].startswith(f"machine {machine.name} is on: 3 members")
    again = as_json(machine, "up", machine.file)
    assert again.code == apmp.REFUSED
    assert again.json["error"] == "org.apmp.cli.NotOn"
    assert "is on already" in again.json["parameters"]["reason"] and "is on already" in again.err
    assert as_json(machine, "down").json == {"machine": machine.name, "state": "off"}
    machine.file.write_text("machine: {}\n")
    mistaken = as_json(machine, "up", machine.file)
    assert mistaken.code == apmp.REFUSED
    assert mistaken.json["parameters"]["reason"].startswith(f"{machine.file}:1:")
    assert mistaken.err.startswith(f"{machine.file}:1:")
    assert as_json(machine, "up", machine.dir / "none.yaml").code == apmp.REFUSED


@pytest.mark.parametrize("how", ["down", signal.SIGTERM, signal.SIGINT])
def test_up_in_the_foreground_as_one_document(make_machine, how):
    """It is printed when the machine is on, and the process stays: a signal powers off."""
    machine = make_machine()
    process = machine.start("--json", "up", machine.file, "--foreground")
    assert json.loads(process.stdout.readline())["state"] == "on"
    if how == "down":
        machine.down()
    elif how == signal.SIGINT:  # as a terminal sends it: to both
        os.kill(machine.box_pid(), how)
        process.send_signal(how)
    else:
        process.send_signal(how)
    assert process.wait(apmp.WATCHDOG) == apmp.DONE
    assert process.stdout.read() == ""
    assert not machine.rundir.exists()


def test_without_a_file(make_machine):
    machine = make_machine()
    said = machine.try_apmp("up")
    assert said.code == apmp.USAGE and "there is no machine.yaml here" in said.err
    machine.file.rename(machine.dir / "machine.yaml")
    machine.apmp("up")


def test_clean_keeps_to_the_machine_that_is_named(make_machine):
    """By --name, or in the environment."""
    machine, other = make_machine(), make_machine()
    other.env["XDG_RUNTIME_DIR"] = machine.env["XDG_RUNTIME_DIR"]
    other.rundir = machine.runtime / "apmp" / other.name
    for left in (machine, other):
        left.rundir.mkdir(parents=True, mode=0o700)
        left.rundir.parent.chmod(0o700)
        (left.rundir / "pid").write_text("1 1\n")
    machine.env["APMP_MACHINE"] = machine.name
    cleaned = as_json(machine, "clean", named=False)
    assert cleaned.code == apmp.DONE and cleaned.json["removed"] == 1, cleaned
    assert not machine.rundir.exists() and other.rundir.exists()
    other.apmp("clean")
    assert not other.rundir.exists()


# One document.


@pytest.mark.parametrize("words", [
    ["status"], ["tree"], ["list"], ["cpu", "list"], ["chaos", "list"], ["chaos", "points"],
    ["doctor"], ["clean"], ["partition", "boot", "alpha"], ["cpu", "migrate", "0", "--to", "beta"],
    ["chaos", "inject", "cont", "beta"], ["run", "alpha", "--", "true"],
    ["run", "--detach", "alpha", "--", "true"], ["run", "alpha", "--", "sh", "-c", "echo noise"],
    ["completion", "bash"], ["completion", "words", "--", "st"], ["--help"], ["cpu", "--help"],
    ["--version"], ["nonsense"], ["chaos", "kills", "--count", "0"],
], ids=" ".join)
def test_one_document(shared, words):
    """Whatever the exit code."""
    as_json(shared, *words)


def test_the_simulator_takes_json_anywhere(shared):
    for words in (["--json", "chaos", "sim"], ["chaos", "sim", "--json"]):
        said = shared.apmp(*words, "--seed", "1")
        assert json.loads(said.splitlines()[0]), said


@pytest.mark.parametrize("option", [["--pairs"], ["--stride", "3"]], ids=" ".join)
def test_second_deaths_want_first_ones(shared, option):
    result = shared.try_apmp("chaos", "sim", *option)
    assert result.code == apmp.USAGE and "it wants --exhaust-kills" in result.err
    assert len(result.err.splitlines()) == 1


def test_a_program_does_not_mix_with_the_document(shared):
    """Its standard output goes to standard error then."""
    result = as_json(shared, "run", "alpha", "--", "sh", "-c", "echo one; echo two >&2; exit 3")
    assert (result.code, result.json) == (3, {"exit_code": 3})
    assert sorted(result.err.splitlines()) == ["one", "two"]


# Faults that could never strike.


@pytest.mark.parametrize("words, sentence", [
    (["kill", "beta", "--at", "update_store"],
     'partition "beta" never passes update_store: the console passes it'),
    (["kill", "console", "--at", "join_812"],
     "the console never passes join_812: instances pass it"),
    (["stop", "beta", "--at", "join_812"],
     "stop strikes at once and not at a point: leave the point out, or kill there"),
])
def test_a_fault_is_not_armed_where_it_never_strikes(shared, words, sentence):
    mark = shared.events.mark()
    assert shared.refused("chaos", "inject", *words) == sentence
    shared.apmp("chaos", "inject", "kill", "beta", "--at", "leave_end:0")
    assert shared.events.find("fault.injected", after=mark) == []


@pytest.mark.parametrize("fault", ["assert", "segv", "stop", "cont"])
def test_the_box_has_one_fault(shared, fault):
    said = shared.refused("chaos", "inject", fault, "box")
    assert said == (f'the box can\'t have the fault "{fault}", but kill alone: `apmp chaos inject '
                    f'{fault}` strikes a partition{"" if fault == "cont" else ", or the console"}')
    assert "no fault \"melt\"" in shared.refused("chaos", "inject", "melt", "box")


def test_a_page_is_a_communitys(shared):
    assert shared.refused("chaos", "inject", "garbage", "nope").startswith(
        'there is no community "nope"')
    assert "name a community" in shared.refused("chaos", "inject", "page-bad", "alpha")


def test_points_and_who_passes_them(shared):
    points = {point["name"]: point for point in shared.apmp("chaos", "points", json=True)}
    assert points["tick_beat"]["parties"] == ["instance"] and points["tick_beat"]["passed"] > 0
    assert points["update_store"]["parties"] == ["console"]
    assert points["form_502"]["passed"] == 1


# Plain words.


def test_a_partition_that_is_down(shared):
    """It has no incarnation, and is halted rather than "console"."""
    shared.apmp("partition", "halt", "gamma")
    line = next(line for line in shared.apmp("status").splitlines() if " gamma " in line)
    assert line.split()[3:5] == ["console", "-"], line
    assert "it is halted, in its console" in shared.refused("partition", "crash", "gamma")
    shared.boots_and_joins("gamma")


def test_reset_says_that_it_boots_again(shared):
    mark = shared.events.mark()
    said = shared.apmp("partition", "reset", "beta")
    assert said == 'partition "beta" was taken from its instance, and boots again\n'
    shared.events.wait_for("member.joined", partition="beta", after=mark)


def test_down_with_a_console_that_hangs(machine):
    """The box ends it, the next one is asked again, and down does not fail."""
    console = next(pid for pid, command in machine.processes() if "apmp-console" in command)
    machine.kill(console, signal.SIGSTOP)
    assert machine.down() == f'machine "{machine.name}" is off\n'


def test_words_that_are_no_text(shared):
    """Bytes that are not UTF-8 are told as such, and are no crash."""
    for words in ([b"status", b"\xff"], [b"\xff"], [b"--name", b"\xff", b"status"],
                  [b"partition", b"boot", b"\xff"], [b"cpu", b"list", b"--\xff"],
                  [b"--json", b"cpu", b"migrate", b"\xff", b"--to", b"\xff"],
                  [b"--json", b"chaos", b"inject", b"\xff", b"beta"],
                  [b"--json", b"memory", b"assign", b"\xff", b"--to", b"beta"],
                  [b"partition", b"create", b"\xff"], [b"completion", b"words", b"--", b"\xff"],
                  [b"run", b"alpha", b"--", b"\xff"], [b"bus", b"assign", b"\xff", b"--to", b"a"],
                  [b"hardware", b"add", b"bus", b"--sbb", b"0", b"--id", b"\xff"]):
        said = subprocess.run([apmp.BIN / "apmp", *words], env=shared.env, capture_output=True,
                              timeout=apmp.WATCHDOG, check=False)
        wanted = {apmp.DONE} if b"words" in words else {apmp.REFUSED, apmp.USAGE}
        assert said.returncode in wanted, (words, said)
