"""Whatever this path can be given that is wrong gets its sentence, and nothing else happens."""
import json
import os
import random
import socket
import subprocess
from pathlib import Path

import pytest

import apmp
import leftovers

FILES = sorted((apmp.TOP / "tests/system/data/machine-files").glob("*.yaml"))

# How a file's mistakes are told; a name, or the start of its sentence, must say what to do.
NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]


def expected(path):
    """[(line, column, sentence)] from the head of a file."""
    found = []
    for line in path.read_text().splitlines():
        if line.startswith("# expect "):
            place, sentence = line.removeprefix("# expect ").split(" ", 1)
            found.append((*map(int, place.split(":")), sentence))
    return found


@pytest.fixture
def off(make_machine):
    """A machine that is not up."""
    return make_machine()


# Machine files.


def test_there_are_bad_files():
    assert len(FILES) >= 20 and all(expected(path) for path in FILES)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_mistake_is_told_where_it_stands(off, path):
    """By check, by check --json, and by up, which starts nothing."""
    wanted = expected(path)
    lines = [f"{path}:{line}:{column}: {sentence}" for line, column, sentence in wanted]
    checked = off.try_apmp("check", path)
    assert checked.code == apmp.REFUSED and checked.out == ""
    assert checked.err.splitlines() == lines
    upped = off.try_apmp("up", path, named=False)
    assert upped.code == apmp.REFUSED and upped.out == ""
    assert upped.err.splitlines() == lines
    answer = off.try_apmp("check", path, as_json=True)
    assert answer.code == apmp.REFUSED and answer.err == ""
    assert answer.json["file"] == str(path)
    assert [(e["line"], e["column"], e["message"]) for e in answer.json["errors"]] == wanted
    assert not off.runtime.joinpath("apmp").exists()


def test_a_good_file(off):
    said = off.apmp("check", off.file)
    assert said == f'{off.file}: machine "{off.name}": 6 CPUs, 3 partitions, no mistakes\n'
    assert off.apmp("check", off.file, json=True)["errors"] == []
    for example in sorted((apmp.TOP / "examples").glob("*/machine.yaml")):
        off.apmp("check", example)


@pytest.mark.parametrize("verb", ["check", "up"])
def test_files_that_are_none(off, verb):
    """Missing, a folder, a device, one that may not be read, one that is no text."""
    gone, folder = off.dir / "gone.yaml", off.dir / "folder.yaml"
    folder.mkdir()
    noise = off.dir / "noise.yaml"
    noise.write_bytes(bytes(range(256)) * 64)
    empty = off.dir / "empty.yaml"
    empty.touch()
    for path, why in ((gone, "No such file or directory"), (folder, "directory"),
                      (Path("/dev/zero"), ""), (noise, ""), (empty, "")):
        said = off.try_apmp(verb, path)
        assert said.code == apmp.REFUSED, str(said)
        assert str(path) in said.err and why in said.err, str(said)
        assert len(said.err.splitlines()) <= 2
    assert not off.runtime.joinpath("apmp").exists()


def test_a_large_file_is_refused_or_read(off):
    """No stack or memory is eaten by depth or size."""
    deep = off.dir / "deep.yaml"
    deep.write_text("machine: " + "[" * 100_000 + "\n")
    said = off.try_apmp("check", deep)
    assert said.code == apmp.REFUSED and said.err.startswith(f"{deep}:1:")
    wide = off.dir / "wide.yaml"
    wide.write_text("machine: m\nhardware: []\n" + "# more\n" * 500_000)
    assert off.try_apmp("check", wide).code in (apmp.DONE, apmp.REFUSED)


@pytest.mark.parametrize("name", ["Trio", "", "../x", "a/b", "-x", "a" * 40, "ü", "a b"])
def test_names_that_are_none(off, name):
    said = off.try_apmp("--name", name, "up", off.file, named=False)
    assert said.code == apmp.USAGE and "name" in said.err, str(said)
    said = off.try_apmp("--name", name, "status", named=False)
    assert said.code in ((apmp.NO_MACHINE,) if name == "" else (apmp.USAGE, apmp.NO_MACHINE))
    assert not off.runtime.joinpath("apmp").exists()


def test_more_memory_than_there_is(make_machine):
    """In bytes, before anything is made."""
    machine = make_machine(apmp.TRIO.replace("memory: 128M", "memory: 32768G"))
    said = machine.try_apmp("up", machine.file)
    assert said.code == apmp.REFUSED
    assert str((32 << 40) + (64 + 4 + 3 << 20)) in said.err and "can be had" in said.err
    assert not machine.rundir.exists()
    assert leftovers.cgroups(f"apmp-{machine.name}") == []


# No machine, several machines, wrong words.

NEED = [["status"], ["tree"], ["events"], ["trace"], ["down"], ["cpu", "list"],
        ["cpu", "migrate", "1", "--to", "beta"], ["partition", "boot", "alpha"],
        ["partition", "halt", "alpha"], ["run", "alpha", "--", "true"], ["console", "alpha"],
        ["chaos", "inject", "kill", "alpha"], ["partition", "create", "delta"],
        ["partition", "set", "alpha", "--boot", "no"], ["community", "add", "lab", "alpha"],
        ["cpu", "assign", "1", "--to", "beta"], ["bus", "list"], ["bus", "deassign", "0.0.0"],
        ["memory", "list"], ["memory", "assign", "8M", "--to", "beta"], ["hardware", "list"],
        ["hardware", "add", "cpu", "--sbb", "0"], ["hardware", "remove", "memory", "0x1000000"]]


@pytest.mark.parametrize("words", NEED, ids=" ".join)
def test_when_no_machine_runs(off, words):
    said = off.try_apmp(*words, named=False)
    assert said.code == apmp.NO_MACHINE
    assert said.err == "apmp: no machine is running; `apmp up FILE` starts one\n"
    said = off.try_apmp(*words)
    assert said.code == apmp.NO_MACHINE
    assert said.err == (f'apmp: no machine "{off.name}" is running; `apmp list` shows those that '
                        f"are, `apmp up FILE --name {off.name}` starts it\n")
    answer = off.try_apmp(*words, as_json=True)
    assert answer.json == {"error": "org.apmp.cli.NoSuchMachine",
                           "parameters": {"machine": off.name}}


def test_lists_when_nothing_runs(off):
    assert off.apmp("list") == "no machines; `apmp up FILE` starts one\n"
    assert off.apmp("list", json=True) == []
    assert off.apmp("clean") == "nothing was left behind\n"


def test_when_several_run(machine, make_machine):
    other = make_machine()
    other.env["XDG_RUNTIME_DIR"] = machine.env["XDG_RUNTIME_DIR"]
    other.rundir = machine.runtime / "apmp" / other.name
    assert machine.try_apmp("status", named=False).code == apmp.DONE  # it is the only one
    other.up()
    said = machine.try_apmp("status", named=False)
    assert said.code == apmp.USAGE
    assert said.err.startswith("apmp: 2 machines are running (")
    assert machine.name in said.err and other.name in said.err and "--name" in said.err
    machine.env["APMP_MACHINE"] = other.name
    chosen = machine.try_apmp("status", as_json=True, named=False).json["machine"]
    del machine.env["APMP_MACHINE"]
    assert chosen == other.name
    other.down()


@pytest.mark.parametrize("words", [
    [], ["explode"], ["cpu"], ["cpu", "explode"], ["partition"], ["--explode", "status"],
    ["status", "--explode"], ["status", "extra"], ["cpu", "migrate"], ["cpu", "migrate", "1"],
    ["cpu", "migrate", "1", "--to"], ["cpu", "migrate", "x", "--to", "beta"],
    ["events", "--since", "x"], ["events", "--since", "-1"], ["check"], ["console"],
    ["partition", "boot"], ["partition", "boot", "a", "b"], ["chaos", "inject", "kill"],
    ["chaos", "inject", "kill", "beta", "--at", "tick_beat:x"], ["up", "a", "b"],
    ["cpu", "migrate", "1", "--to", "beta", "--wait", "soon"], ["--name"],
    ["hardware"], ["hardware", "add"], ["hardware", "add", "cpu"], ["bus", "assign", "0.0.0"],
    ["memory", "assign", "8X", "--to", "beta"], ["memory", "assign", "-8M", "--to", "beta"],
    ["memory", "assign", "9" * 30, "--to", "beta"], ["memory", "remove", "8M"],
    ["partition", "set", "beta", "--boot", "perhaps"], ["partition", "set", "beta"],
    ["cpu", "deassign", "1", "x"], ["hardware", "remove", "memory", "here"],
    ["completion", "tcsh"],
], ids=" ".join)
def test_usage(off, words):
    """Exit code 2, with what to look at, before any machine is looked for."""
    said = off.try_apmp(*words, named=False)
    assert said.code == apmp.USAGE, str(said)
    assert said.out + said.err and (not words or said.out == ""), str(said)
    if words:
        assert "--help" in said.err or "usage" in said.err, str(said)
    answer = off.try_apmp(*words, named=False, as_json=True)
    assert answer.code == apmp.USAGE and answer.json["error"] == "org.apmp.cli.Usage"


def verbs():
    """All verbs, as `apmp --json --help` has them."""
    said = subprocess.run([apmp.BIN / "apmp", "--json", "--help"], capture_output=True, check=True)
    return [verb["verb"] for verb in json.loads(said.stdout)["verbs"]]


@pytest.mark.parametrize("verb", verbs())
def test_help_has_an_example(off, verb):
    said = off.try_apmp(*verb.split(), "--help", named=False)
    assert said.code == apmp.DONE and said.err == ""
    assert f"usage: apmp {verb}" in said.out and "example:\n  " in said.out


def test_help_names_each_verb(off):
    said = off.apmp("--help")
    assert all(f"\n  {verb} " in said for verb in verbs())


# Commands for what does not exist.


@pytest.mark.parametrize("words, sentence", [
    (["partition", "boot", "delta"], 'no partition "delta"'),
    (["partition", "halt", "delta"], 'no partition "delta"'),
    (["partition", "crash", "delta"], 'no partition "delta"'),
    (["partition", "reset", "delta"], 'no partition "delta"'),
    (["console", "delta"], 'no partition "delta"'),
    (["run", "delta", "--", "true"], 'no partition "delta"'),
    (["trace", "alpha", "delta"], 'no partition "delta"'),
    (["cpu", "migrate", "99", "--to", "beta"], "no CPU 99"),
    (["cpu", "migrate", "2", "--to", "delta"], 'no partition "delta"'),
    (["chaos", "inject", "kill", "delta"], 'no partition "delta"'),
    (["chaos", "inject", "hit", "beta"], 'no fault "hit"'),
    (["chaos", "inject", "kill", "beta", "--at", "join_9"], 'no point "join_9"'),
    (["partition", "boot", "ALPHA"], 'no partition "ALPHA"'),
    (["partition", "boot", ""], 'no partition ""'),
    (["partition", "boot", "x" * 500], "no partition"),
])
def test_what_does_not_exist(shared, words, sentence):
    assert sentence in shared.refused(*words)
    answer = shared.try_apmp(*words, as_json=True)
    assert answer.code == apmp.REFUSED
    assert answer.json["error"].startswith("org.apmp.machine.NoSuch")


# Garbage on the control socket.


def connect(machine):
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(apmp.WATCHDOG)
    client.connect(str(machine.rundir / "control"))
    return client


def drain(client):
    """Everything until the machine closes."""
    said = b""
    try:
        while True:
            more = client.recv(65536)
            if not more:
                return said
            said += more
    except ConnectionError:
        return said


def is_alive(machine):
    status = machine.status()
    return (apmp.members(status) == {"alpha", "beta", "gamma"}
            and machine.events.find("console.restarted") == [])


@pytest.mark.parametrize("garbage", [
    b"\0", b"\0" * 1000, b"hello\0", b"{\0", b"[]\0", b"null\0", b"7\0", b'"x"\0', b"{}\0",
    b'{"method": 7}\0', b'{"method": ""}\0', b'{"method": "x"}\0',
    b'{"method": "org.apmp.machine."}\0', b'{"method": ".Status"}\0',
    b'{"method": "org.apmp.machine.Status", "parameters": []}\0',
    b'{"method": "org.apmp.machine.Status", "more": "yes"}\0',
    b'{"method": "org.apmp.machine.Status", "method": "org.apmp.machine.PowerOff"}\0',
    b'\xff\xfe\xfd\0', b'{"method": "\xff"}\0', b'{"method": "a\\u0000b"}\0',
    b'{"a":' * 5000 + b"\0", b"[" * 200_000 + b"\0",
    b"GET / HTTP/1.1\r\nHost: x\r\n\r\n\0",
], ids=lambda garbage: repr(garbage[:24]))
def test_garbage_on_the_socket(shared, garbage):
    """An error or the end of that connection; for everyone else the machine goes on."""
    with connect(shared) as client:
        client.sendall(garbage)
        client.shutdown(socket.SHUT_WR)
        for message in drain(client).split(b"\0")[:-1]:
            assert "error" in json.loads(message)
    assert is_alive(shared)


def test_half_a_call(shared):
    """A client that stays in the midst of a call stops nobody."""
    with connect(shared) as client:
        client.sendall(b'{"method": "org.apmp.mach')
        assert is_alive(shared)
    with connect(shared) as client:
        client.sendall(b'{"method": "org.apmp.machine.Status"}')
        client.shutdown(socket.SHUT_WR)
        drain(client)
    assert is_alive(shared)


def test_a_call_that_is_too_long(shared):
    """The connection is closed before all of it is kept."""
    with connect(shared) as client:
        try:
            for _ in range(64):
                client.sendall(b"x" * (1 << 16))
        except ConnectionError:
            pass
        drain(client)
    assert is_alive(shared)


def test_random_bytes(shared):
    source = random.Random(2)
    for _ in range(50):
        with connect(shared) as client:
            try:
                client.sendall(source.randbytes(source.randrange(1, 4000)) + b"\0")
                client.shutdown(socket.SHUT_WR)
            except ConnectionError:
                continue
            drain(client)
    assert is_alive(shared)


def test_descriptors_that_nobody_wants(shared):
    """They are closed: the console does not run out of them."""
    console = next(pid for pid, command in shared.processes() if "apmp-console" in command)
    before = len(os.listdir(f"/proc/{console}/fd"))
    for _ in range(300):
        with connect(shared) as client, open(os.devnull, "rb") as null:
            socket.send_fds(client, [b'{"method": "org.apmp.machine.Points"}\0'],
                            [null.fileno()] * 8)
            client.shutdown(socket.SHUT_WR)
            drain(client)
    assert is_alive(shared)
    shared.until(lambda count: count <= before + 1,
                 lambda: len(os.listdir(f"/proc/{console}/fd")))


def test_many_connections(shared):
    """More than are served at once: later ones wait, none is lost."""
    clients = [connect(shared) for _ in range(100)]
    for client in clients:
        client.sendall(b'{"method": "org.apmp.machine.Points"}\0')
    for client in clients:
        said = b""
        while not said.endswith(b"\0"):
            said += client.recv(65536)
        client.close()
    assert is_alive(shared)


# An ordinary user.


@pytest.fixture
def nobody(make_machine):
    """A machine of a user without any rights: commands run as him."""
    machine = make_machine(apmp.TRIO)
    if subprocess.run([*NOBODY, "true"], check=False, capture_output=True).returncode:
        pytest.skip("can't become another user here")
    copy = machine.dir / "bin"
    copy.mkdir()
    for program in ("apmp", "apmpd", "apmp-console", "apmp-instance"):
        copy.joinpath(program).write_bytes((apmp.BIN / program).read_bytes())
        copy.joinpath(program).chmod(0o755)
    for path in (machine.dir, machine.runtime, copy):
        os.chown(path, 65534, 65534)
        path.chmod(0o755)
    machine.runtime.chmod(0o700)

    def as_nobody(*words, **options):
        return subprocess.run(
            [*NOBODY, str(copy / "apmp"), *map(str, words)], env={**machine.env, "HOME": "/"},
            cwd=machine.dir, text=True, capture_output=True, timeout=apmp.WATCHDOG, check=False,
            stdin=subprocess.DEVNULL, **options)

    machine.as_nobody = as_nobody
    yield machine
    as_nobody("down")


def test_without_control_groups_affinity_does(nobody):
    """The whole of it: boot, run, migrate, kill, boot again. shows: PLAT-07, CPU-15"""
    said = nobody.as_nobody("up", nobody.file)
    assert said.returncode == apmp.DONE, said.stderr
    assert said.stdout == f"machine {nobody.name} is on: 3 members, affinity\n"

    def status():
        return json.loads(nobody.as_nobody("--json", "status").stdout)

    now = status()
    assert now["backend"] == "affinity"
    for name, instance in apmp.instances(now).items():
        assert os.stat(f"/proc/{instance['pid']}").st_uid == 65534
        assert set().union(*(os.sched_getaffinity(int(task)) for task in
                             os.listdir(f"/proc/{instance['pid']}/task"))) <= apmp.cpus_of(
                                 now, name)
    assert nobody.as_nobody("cpu", "migrate", 2, "--to", "gamma").returncode == apmp.DONE
    said = nobody.as_nobody("run", "gamma", "--", "grep", "Cpus_allowed_list:",
                            "/proc/self/status")
    assert apmp.set_of(said.stdout.split()[1]) == apmp.cpus_of(status(), "gamma")
    os.kill(apmp.instances(status())["beta"]["pid"], 9)
    nobody.until(lambda now: apmp.members(now) == {"alpha", "gamma"}, status)
    assert nobody.as_nobody("partition", "boot", "beta").returncode == apmp.DONE
    nobody.until(apmp.ring_is_right, status)
    assert nobody.as_nobody("down").returncode == apmp.DONE
    assert not nobody.rundir.exists()


def test_programs_follow_with_affinity(nobody):
    """shows: CPU-15"""
    assert nobody.as_nobody("up", nobody.file).returncode == apmp.DONE
    pid = int(nobody.as_nobody("run", "--detach", "gamma", "--", "sleep", "1000").stdout)
    for to in ("gamma", "alpha"):
        assert nobody.as_nobody("cpu", "migrate", 2, "--to", to).returncode == apmp.DONE
        now = json.loads(nobody.as_nobody("--json", "status").stdout)
        assert os.sched_getaffinity(pid) == apmp.cpus_of(now, "gamma")
    fd = os.pidfd_open(pid)
    assert nobody.as_nobody("partition", "halt", "gamma").returncode == apmp.DONE
    assert apmp.ended(fd, 0)
    os.close(fd)


def test_doctor_says_why(nobody, off):
    """What is used, why not something better, and what would have to change."""
    said = nobody.as_nobody("doctor")
    assert "affinity" in said.stdout and "cgroup" in said.stdout, said.stdout
    answer = json.loads(nobody.as_nobody("--json", "doctor").stdout)
    assert answer
    mine = off.try_apmp("doctor", named=False)
    assert mine.code in (apmp.DONE, apmp.REFUSED)
    assert any(word in mine.out for word in ("cgroup-v1", "cgroup-v2", "affinity"))
    assert "FIFO" in mine.out.upper() or "heartbeat" in mine.out, mine.out


def test_another_users_machine_is_not_seen(machine, nobody):
    """A runtime directory that belongs to another is refused by name."""
    for path in (machine.dir, machine.runtime):
        path.chmod(0o755)
    machine.runtime.chmod(0o700)
    nobody.env["XDG_RUNTIME_DIR"] = str(machine.runtime)
    said = nobody.as_nobody("--name", machine.name, "status")
    assert said.returncode in (apmp.REFUSED, apmp.NO_MACHINE) and said.stderr.startswith("apmp: ")
    assert apmp.members(machine.status()) == {"alpha", "beta", "gamma"}
    nobody.env["XDG_RUNTIME_DIR"] = str(nobody.runtime)


def test_a_runtime_directory_that_others_can_write(off):
    """Anybody could have put a console of his own there."""
    open_dir = off.runtime / "apmp"
    open_dir.mkdir()
    open_dir.chmod(0o777)
    for words in (["status"], ["up", str(off.file)]):
        said = off.try_apmp(*words)
        assert said.code == apmp.REFUSED and str(open_dir) in said.err, str(said)
    assert list(open_dir.iterdir()) == []
