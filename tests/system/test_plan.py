"""`apmp plan` and `apmp apply`: a machine that runs becomes what a machine file says."""
import itertools
import json
import os
import re
import shlex
import signal
import subprocess

import pytest

import apmp

MACHINE = """\
machine: {name}
hardware:
  - sbb: 0
    cpus: 6
    memory: 128M
    iops: [{buses: [{}, {}, {}, {}]}]
  - sbb: 1
    cpus: 2
    memory: 64M
    iops: [{buses: [{}]}]
communities:
  - {name: lab, shared: 32M}
partitions:
  - {name: alpha, community: lab, cpus: [0, 1, 2], memory: 24M, buses: ["0.0.0"], boot: yes}
  - {name: beta, community: lab, cpus: [3, 4], memory: 16M, buses: ["0.0.1"], boot: yes}
  - {name: gamma, community: lab, cpus: [5], memory: 16M, buses: ["0.0.2"]}
"""
pytestmark = pytest.mark.machine_file(MACHINE)

# Of everything something: hardware comes and goes, beta into a community of its own, gamma is
# deleted, delta is made, alpha and beta exchange their buses, memory shrinks and grows.
OTHER = """\
machine: {name}
hardware:
  - sbb: 0
    cpus: 6
    memory: 128M
    iops: [{buses: [{}, {}, {}]}]
  - sbb: 1
    cpus: [{id: 6}, {id: 7}, {id: 8, primary: no}]
    memory: 96M
    iops: [{buses: [{}, {}]}]
communities:
  - {name: lab, shared: 24M}
  - {name: shop, shared: 8M}
partitions:
  - {name: alpha, community: lab, cpus: [0, 1], memory: 32M, buses: ["0.0.1"], boot: yes}
  - {name: beta, community: shop, cpus: [3, 4, 2], memory: 8M, buses: ["0.0.0"], boot: no}
  - {name: delta, community: lab, cpus: [5, 8], memory: 16M, buses: ["1.0.1"], boot: yes}
"""

# In the middle of an update, and behind it, where the step is done and the answer is lost.
POINTS = ("update_store:3", "update_commit:1", "update_commit:7", "update_store:40",
          "update_commit:20", "update_store:200")


def write(machine, text, name="wanted.yaml"):
    path = machine.dir / name
    path.write_text(text.replace("{name}", machine.name))
    return path


def commands(machine, file):
    return [step["command"] for step in machine.apmp("plan", file, json=True)["steps"]]


def running(machine):
    return {name for name, instance in apmp.instances(machine.status()).items()
            if instance["state"] == "member"}


def expect_done(machine, file, wanted):
    assert machine.apmp("plan", file) == (
        f'nothing to do: machine "{machine.name}" is what {file} says\n')
    assert machine.apmp("apply", file) == machine.apmp("plan", file)
    machine.until(lambda _: running(machine) == wanted)


def owners(machine):
    """{label of a CPU or bus: owner} of the tree, without what is not in the box."""
    return {f"{node['type']} {node['name']}": node["owner"]
            for node in machine.apmp("tree", json=True)["nodes"]
            if node["type"] in ("cpu", "bus") and "hw_template" not in node["flags"]
            and "unavailable" not in node["flags"]}


def test_a_machine_is_what_its_file_says(machine):
    expect_done(machine, machine.file, {"alpha", "beta"})
    assert machine.apmp("plan", machine.file, json=True)["steps"] == []


def test_a_cpu_of_a_partition_that_runs(machine):
    """Migrates, and nobody is halted. shows: CPU-09"""
    file = write(machine, MACHINE.replace("[0, 1, 2]", "[0, 1]").replace("[3, 4]", "[2, 3, 4]"))
    plan = machine.apmp("plan", file, json=True)
    assert plan["halts"] == []
    assert plan["steps"] == [{"method": "CpuMigrate", "parameters": {"cpu": 2, "to": "beta"},
                              "command": "apmp cpu migrate 2 --to beta",
                              "because": "in the file it is beta's"}]
    machine.apmp("apply", file)
    assert machine.cpu(2)["owner"] == "beta"
    assert apmp.instances(machine.status())["alpha"]["incarnation"] == 1
    expect_done(machine, file, {"alpha", "beta"})


def test_who_runs_is_halted_only_if_it_is_allowed(machine):
    text = MACHINE.replace('["0.0.0"]', "X").replace('["0.0.1"]', '["0.0.0"]')
    file = write(machine, text.replace("X", '["0.0.1"]'))
    before = owners(machine)
    assert "partitions that run have to be halted for this (alpha beta)" in machine.refused(
        "apply", file)
    assert owners(machine) == before and running(machine) == {"alpha", "beta"}
    said = machine.apmp("apply", file, "--restart")
    assert "1/8  apmp partition halt alpha" in said
    now = owners(machine)
    assert (now["bus 0.0.0"], now["bus 0.0.1"]) == ("beta", "alpha")
    expect_done(machine, file, {"alpha", "beta"})


def test_everything_at_once_and_back(machine):
    """The file's words become the machine's, and back again. shows: PLAT-14, TREE-16"""
    other = write(machine, OTHER, "other.yaml")
    machine.apmp("apply", other, "--yes")
    expect_done(machine, other, {"alpha", "beta", "delta"})
    status = machine.status()
    assert {p["name"]: (p["community"], p["memory"] >> 20, p["cpus"], p["boot"])
            for p in status["partitions"]} == {
        "alpha": ("lab", 32, [0, 1], True), "beta": ("shop", 8, [2, 3, 4], False),
        "delta": ("lab", 16, [5, 8], True)}
    assert {(m["owner"], m["kind"]): m["size"] >> 20 for m in status["memory"]} == {
        ("lab", "shared"): 24, ("shop", "shared"): 8, ("alpha", "private"): 32,
        ("beta", "private"): 8, ("delta", "private"): 16, (None, "unowned"): 224 - 88}
    assert owners(machine)["bus 1.0.1"] == "delta" and "bus 0.0.3" not in owners(machine)
    machine.apmp("apply", machine.file, "--yes")
    expect_done(machine, machine.file, {"alpha", "beta"})


def test_each_step_is_the_command_that_does_it(machine):
    """Typed by hand the plan does the same as an apply."""
    other = write(machine, OTHER, "other.yaml")
    for command in commands(machine, other):
        verb, *words = shlex.split(command)
        assert verb == "apmp"
        machine.apmp(*words)
    expect_done(machine, other, {"alpha", "beta", "delta"})


def test_the_machine_that_the_file_names(machine, make_machine):
    """Is meant, without --name; another one only by name."""
    other = make_machine(MACHINE)
    result = machine.try_apmp("plan", machine.file, named=False)
    assert result.code == apmp.DONE
    result = machine.try_apmp("plan", other.file, named=False)
    assert result.code == apmp.NO_MACHINE and f'no machine "{other.name}"' in result.err
    assert machine.try_apmp("plan", other.file).code == apmp.DONE


def test_a_file_with_mistakes(machine):
    """All of them are said, as `apmp check` says them, and nothing is done."""
    file = write(machine, MACHINE.replace("memory: 128M", "memory: 5").replace("[5]", "[55]"))
    said = machine.try_apmp("check", file).err
    assert said.count("wanted.yaml:") == 2
    for verb in ("plan", "apply"):
        result = machine.try_apmp(verb, file)
        assert (result.code, result.out, result.err) == (apmp.REFUSED, "", said)
        result = machine.try_apmp(verb, file, as_json=True)
        assert len(result.json["errors"]) == 2
    assert machine.try_apmp("plan", machine.dir / "nothing.yaml").code == apmp.REFUSED


def test_what_needs_a_power_cycle(machine):
    text = MACHINE.replace("[{}, {}, {}, {}]", "[{disks: [{name: d0, size: 1M}]}, {}, {}, {}]")
    file = write(machine, text + "timing: {tick: 4ms}\nfence: bugcheck\n")
    plan = machine.apmp("plan", file, json=True)
    assert plan["steps"] == []
    assert plan["power_cycle"] == ["bus 0.0.0 has 0 disks, and in the file 1",
                                   "timing: tick is 2 ms, and in the file 4 ms",
                                   'fence is "kill", and in the file "bugcheck"']
    assert "what needs a power cycle" in machine.apmp("apply", file)


def test_a_step_that_is_refused_stops_it(machine):
    """What was done, what was not, and why; from there on another file can be applied."""
    # There is so much physical memory, but the host has not: a boot finds that out.
    text = MACHINE.replace("memory: 64M", "memory: 2048G").replace("name: gamma", "name: delta")
    file = write(machine, text.replace('memory: 16M, buses: ["0.0.2"]}',
                                       'memory: 1024G, buses: ["0.0.2"], boot: yes}'))
    result = machine.try_apmp("apply", file)
    steps = result.out.splitlines()
    assert result.code == apmp.REFUSED
    assert steps[-1].endswith("apmp partition boot delta")
    assert re.match(r'apmp: not enough memory .*for partition "delta": 1T wanted', result.err)
    assert result.err.endswith(
        f"apmp: {len(steps) - 1} steps were done, these were not:\n  apmp partition boot delta\n"
        f"`apmp apply {file}` goes on from here\n")
    document = machine.try_apmp("apply", file, as_json=True)
    assert document.code == apmp.REFUSED
    assert document.json["error"] == "org.apmp.machine.NotEnough"
    assert [step["method"] for step in document.json["left"]] == ["PartitionBoot"]
    assert document.json["done"] == []
    machine.apmp("apply", machine.file)
    expect_done(machine, machine.file, {"alpha", "beta"})


def test_what_can_not_be_done_is_not_begun(machine):
    """Memory of an SBB serves one community, so this finds no place. shows: TREE-19"""
    text = MACHINE.replace("lab, shared: 32M}", "lab, shared: 96M}\n  - {name: shop, shared: 32M}")
    file = write(machine, text)
    assert "can't be done to its end:\n  not all memory finds a place" in machine.apmp("plan", file)
    assert "not all memory finds a place" in machine.refused("apply", file, "--yes")
    expect_done(machine, machine.file, {"alpha", "beta"})


def test_the_console_dies_in_the_middle(machine):
    """Again and again: the apply goes on, and nothing is done twice. shows: TREE-22"""
    files = {write(machine, OTHER, "other.yaml"): {"alpha", "beta", "delta"},
             machine.file: {"alpha", "beta"}}
    machine.events.mark()
    for file, point in zip(itertools.cycle(files), POINTS):
        mark = machine.events.mark()
        machine.apmp("chaos", "inject", "kill", "console", "--at", point)
        said = machine.apmp("apply", file, "--yes")
        assert "the console was restarted: " in said
        machine.events.wait_for("console.restarted", after=mark)
        expect_done(machine, file, files[file])


def stopped_apply(machine, file):
    """An apply that waits: alpha, which it halts first, stands still, and nobody is there to
    suspect it."""
    machine.apmp("partition", "halt", "beta")
    alpha = machine.pid("alpha")
    machine.kill(alpha, signal.SIGSTOP)
    process = machine.start("apply", file, "--yes")
    assert "1/" in process.stdout.readline()
    return process, alpha


@pytest.mark.parametrize("sig", (signal.SIGINT, signal.SIGKILL))
def test_cut_off(machine, sig):
    """It stops without harm; and the next one goes on, also with whom the first one halted."""
    file = write(machine, MACHINE.replace("cpus: [0, 1, 2], memory: 24M, buses: [\"0.0.0\"]",
                                          "cpus: [0, 1, 2], memory: 16M, buses: [\"0.0.3\"]"))
    process, alpha = stopped_apply(machine, file)
    machine.refused("apply", file)  # only one at a time
    process.send_signal(sig)
    _, said = process.communicate(timeout=apmp.WATCHDOG)
    assert process.returncode == -sig
    if sig == signal.SIGINT:
        assert "apmp: stopped: Interrupt\napmp: 0 steps were done, these were not:\n" in said
    machine.kill(alpha, signal.SIGCONT)
    machine.events.wait_for("instance.halted", partition="alpha")
    machine.until(lambda now: now["partitions"][0]["state"] == "uninitialized")
    assert commands(machine, file)[-1] == "apmp partition boot alpha"
    machine.apmp("apply", file, "--yes")
    expect_done(machine, file, {"alpha"})


def test_on_a_terminal_it_asks(machine):
    file = write(machine, MACHINE.replace('["0.0.0"]', '["0.0.3"]'))
    for answer, code in ((b"n\n", apmp.REFUSED), (b"y\n", apmp.DONE)):
        master, slave = os.openpty()
        process = subprocess.Popen([apmp.BIN / "apmp", "--name", machine.name, "apply", file],
                                   env=machine.env, stdin=slave, stdout=slave, stderr=slave)
        os.close(slave)
        seen = b""
        while b"[y/N]" not in seen:
            seen += os.read(master, 4096)
        os.write(master, answer)
        assert process.wait(apmp.WATCHDOG) == code
        os.close(master)
    expect_done(machine, file, {"alpha", "beta"})


def test_json(machine):
    """One document, that says what was done."""
    file = write(machine, MACHINE.replace("shared: 32M", "shared: 40M"))
    answer = json.loads(machine.try_apmp("apply", file, as_json=True).out)
    assert [step["command"] for step in answer["done"]] == ["apmp memory assign 8M --to lab"]
    assert answer["left"] == [] and "error" not in answer
    assert machine.apmp("apply", file, json=True)["done"] == []


# So slow that nobody suspects who stands still for a while.
SLOW = MACHINE + "timing: {tick: 50ms, suspect: 1000, stop: 1000s}\n"


@pytest.mark.parametrize("wait", ("0s", "300s"))
def test_what_is_busy_is_waited_for(make_machine, wait):
    """Also when somebody else does the step meanwhile: then it is not done twice."""
    machine = make_machine(SLOW)
    machine.up()
    file = write(machine, SLOW.replace("[0, 1, 2]", "[0]").replace("[3, 4]", "[1, 2, 3, 4]"))
    alpha = machine.pid("alpha")
    machine.kill(alpha, signal.SIGSTOP)
    # Of two who want the same one is refused at once: then the other one's is on its way.
    others = [machine.start("cpu", "migrate", 1, "--to", "beta") for _ in range(2)]
    machine.until(lambda codes: apmp.REFUSED in codes, lambda: [other.poll() for other in others])
    if wait == "0s":
        assert "is on its way" in machine.try_apmp("apply", file, "--wait", wait).err
        machine.kill(alpha, signal.SIGCONT)
        return
    process = machine.start("apply", file, "--wait", wait)
    assert "apmp cpu migrate 1 --to beta" in process.stdout.readline()
    machine.kill(alpha, signal.SIGCONT)
    out, err = process.communicate(timeout=apmp.WATCHDOG)
    assert (process.returncode, err) == (apmp.DONE, "")
    assert out.endswith(f'done: machine "{machine.name}" is what {file} says\n')
    assert {other.wait(apmp.WATCHDOG) for other in others} == {apmp.DONE, apmp.REFUSED}
    expect_done(machine, file, {"alpha", "beta"})
