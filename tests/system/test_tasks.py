"""Tasks: an instance's own processes, which go on whatever its CPUs do."""
import contextlib
import fcntl
import json
import os
import random
import shutil
import signal
import socket
import struct
import subprocess
import termios
import textwrap
from pathlib import Path

import pytest

import apmp
import inside
from hwrpb import Hwrpb

MACHINE = apmp.PATIENT  # tasks that never yield keep a small host busy
TASKS = apmp.BIN / "tasks"
HOME = {"alpha": [0, 1, 2], "beta": [3, 4], "gamma": [5]}
PRIMES = "78498 primes below 1000000\n"

# The status of one that was asked to end: its own, or that of apmp run, which is asked too.
ASKED = (128 + signal.SIGTERM, -signal.SIGTERM)

TASK = struct.Struct("=IIQQIIiI32s")
ENDED = 4


def command(partition, *words):
    return ["run", partition, "--", "apmp-task", *map(str, words)]


def run(machine, partition, *words, **options):
    return machine.try_apmp(*command(partition, *words), **options)


def listed(machine, partition):
    return [json.loads(line) for line in run(machine, partition, "--list", "--json").out.split("\n")
            if line]


def running(machine, partition, count):
    """The list, when so many tasks are there and as many of them run as there are CPUs."""
    return machine.until(
        lambda tasks: len(tasks) == count and sum(task["state"] == "running" for task in tasks)
        == min(count, len(machine.partition(partition)["active"])),
        lambda: listed(machine, partition))


def none_left(machine, partition):
    machine.until(lambda tasks: not tasks, lambda: listed(machine, partition))


def stop(process, sig=signal.SIGTERM):
    process.send_signal(sig)
    process.communicate(timeout=apmp.WATCHDOG)
    return process.returncode


def in_pipe(pipe):
    size = bytearray(4)
    fcntl.ioctl(pipe, termios.FIONREAD, size)
    return int.from_bytes(size, "little")


@pytest.fixture(scope="session")
def build(tmp_path_factory):
    """build(name, text of C) gives a program of tasks, where everybody can read it."""
    folder = tmp_path_factory.mktemp("tasks")

    def make(name, text, *flags):
        source, program = folder / f"{name}.c", folder / f"{name}.so"
        source.write_text("#include <apmp-task.h>\n" + textwrap.dedent(text))
        subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-Wall", "-Werror", *flags, "-I",
                        apmp.TOP / "instance/task", "-o", program, source], check=True)
        return program

    return make


@pytest.fixture
def home(shared):
    """The machine; every CPU is back where it was afterwards, and no task is left."""
    yield shared
    for name, cpus in HOME.items():
        none_left(shared, name)
        away = [cpu for cpu in cpus if shared.cpu(cpu)["current_owner"] != name]
        if away:
            shared.apmp("cpu", "migrate", *away, "--to", name)
    shared.at_rest(set(HOME))


# ---- apmp-task ----


@pytest.mark.parametrize("tasks", [1, 3, 8, 32])
def test_a_result_that_can_be_checked(shared, tasks):
    """shows: CPU-15"""
    said = run(shared, "alpha", TASKS / "primes.so", 1000000, tasks)
    assert (said.code, said.out, said.err) == (0, PRIMES, "")


def test_value_arguments_and_output(shared, build):
    program = build("value", """
        int apmp_task_main(struct apmp_task *task, int argc, char **argv)
        {
            for (int i = 0; i <= argc; i++)
                apmp_task_print(task, "<%s>", argv[i] ? argv[i] : "NULL");
            for (int i = 0; i < 300000; i++)
                apmp_task_print(task, "%d\\n", i);
            return argc;
        }""")
    said = run(shared, "gamma", program, "a b", "", "--list", "ü")
    head = f"<{program}><a b><><--list><ü><NULL>"
    assert said.out == head + "".join(f"{i}\n" for i in range(300000))
    assert (said.code, said.err) == (5, "")


@pytest.mark.parametrize("value, code", [(0, 0), (255, 255), (256, 0), (-1, 255)])
def test_exit_from_any_depth(shared, build, value, code):
    program = build("exit", """
        #include <stdlib.h>
        static int compare(const void *a, const void *b);
        static struct apmp_task *self;
        static int value;
        static int compare(const void *a, const void *b)
        {
            (void)a, (void)b;
            apmp_task_exit(self, value);
        }
        int apmp_task_main(struct apmp_task *task, int argc, char **argv)
        {
            int two[2] = {argc, 1};
            self = task;
            value = atoi(argv[1]);
            qsort(two, 2, sizeof(two[0]), compare);
            return 77;
        }""")
    assert run(shared, "gamma", program, value).code == code


def test_two_of_one_program_share_nothing(shared, build):
    program = build("own", """
        static _Atomic int count;
        int apmp_task_main(struct apmp_task *task, int argc, char **argv)
        {
            (void)argc, (void)argv;
            if (++count > 1)
                return 1;
            apmp_task_print(task, "here\\n");
            while (!apmp_task_should_end(task))
                ;
            return 0;
        }""")
    first = shared.start(*command("alpha", program))
    second = shared.start(*command("alpha", program))
    for process in (first, second):
        assert process.stdout.readline() == "here\n"
    for process in (first, second):
        assert stop(process) in ASKED
    none_left(shared, "alpha")


def test_what_is_no_program(shared, build):
    for path, code, sentence in (
            ("/nowhere.so", 127, "cannot read {}: No such file or directory"),
            ("/etc", 126, "cannot read {}: Is a directory"),
            ("/etc/passwd", 126, "{} is no program of tasks: invalid ELF header"),
            (build("lacking", "int other;", "-Dapmp_task_main=unused"), 126,
             "{} is no program of tasks: it has no apmp_task_main as apmp-task.h declares"),
            (build("symbol", "int missing(void);"
                   "int apmp_task_main(struct apmp_task *t, int c, char **v)"
                   "{ (void)t, (void)c, (void)v; return missing(); }"), 126,
             "{} is no program of tasks: undefined symbol: missing"),
            (build("newer", "int apmp_task_main(struct apmp_task *t, int c, char **v)"
                   "{ (void)t, (void)c, (void)v; return 0; }",
                   "-include", apmp.TOP / "instance/task/apmp-task.h",
                   "-Wl,--defsym=apmp_task_version=apmp_task_main"), 126,
             "{} is no program of tasks: it was built for version")):
        said = run(shared, "alpha", path)
        assert said.code == code, str(said)
        assert said.err.startswith("apmp-task: " + sentence.format(path)), said.err
    assert not listed(shared, "alpha")


@pytest.mark.parametrize("part", range(1, 5))
def test_a_program_that_is_not_whole(shared, tmp_path, part):
    """Cut off in a segment; the instance, which maps it, goes on."""
    pid = shared.pid("alpha")
    data = (TASKS / "primes.so").read_bytes()
    program = tmp_path / "part.so"
    program.write_bytes(data[:len(data) * part // 8])
    said = run(shared, "alpha", program)
    assert (said.code, shared.pid("alpha")) == (126, pid), str(said)
    assert said.err.startswith(f"apmp-task: {program} is no program of tasks: "), said.err


@pytest.mark.parametrize("compiler", ["cc", "clang", "g++", "clang++"])
def test_the_header_compiles(tmp_path, compiler):
    """Also in C++: the functions are called as they are in C, and the instance finds what it looks
    for."""
    if not shutil.which(compiler):
        pytest.skip(f"there is no {compiler}")
    cxx = compiler.endswith("++")
    source, program = tmp_path / ("task.cc" if cxx else "task.c"), tmp_path / "task.so"
    source.write_text("#include <apmp-task.h>\n"
                      "int apmp_task_main(struct apmp_task *task, int argc, char **argv)\n"
                      "{ (void)argc; return apmp_task_print(task, \"%s\", argv[0]); }\n")
    subprocess.run([compiler, "-Wall", "-Wextra", "-Werror", "-fvisibility=hidden", "-shared",
                    "-fPIC", "-I", apmp.TOP / "instance/task", "-o", program, source], check=True)
    names = subprocess.run(["nm", "-D", program], capture_output=True, text=True, check=True)
    assert {"apmp_task_main", "apmp_task_version"} <= set(names.stdout.split())


def test_usage(shared):
    for words, sentence in (
            ("", "there is no program to be run"),
            ("--bind x y.so", "--bind takes the number of a CPU, not x"),
            ("--bind 256 y.so", "--bind takes the number of a CPU, not 256"),
            ("--list y.so", "--list runs nothing, and this is to be run: y.so"),
            ("--list --bind 1", "--list runs nothing that --bind could bind"),
            ("--json y.so", "--json is for --list")):
        said = run(shared, "alpha", *words.split())
        assert said.code == 2, str(said)
        assert said.err.startswith(f"apmp-task: {sentence}\nusage: apmp-task "), said.err
    said = run(shared, "alpha", TASKS / "primes.so", "x" * 70000)
    assert said.code == 69 and "have more than 65536 bytes" in said.err


def test_outside_of_a_partition():
    said = subprocess.run([apmp.BIN / "apmp-task", "--list"], capture_output=True, text=True,
                          env={"PATH": os.environ["PATH"]}, check=False)
    assert said.returncode == 69 and "does not run in a partition" in said.stderr


def test_more_than_there_can_be(shared, build):
    """64, or what has room: the sentence has the number; those that run go on."""
    program = build("many", """
        static int wait_for_end(struct apmp_task *task, void *arg)
        {
            (void)arg;
            while (!apmp_task_should_end(task))
                apmp_task_yield(task);
            return 0;
        }
        int apmp_task_main(struct apmp_task *task, int argc, char **argv)
        {
            int count = 1, err;
            (void)argc, (void)argv;
            while (!(err = apmp_task_spawn(task, wait_for_end, NULL)))
                count++;
            apmp_task_print(task, "%d %d\\n", count, err);
            return wait_for_end(task, NULL);
        }""")
    full = shared.start(*command("alpha", program))
    count, _error = map(int, full.stdout.readline().split())
    assert 32 < count <= 64
    assert len(listed(shared, "alpha")) == count
    said = run(shared, "alpha", TASKS / "primes.so")
    assert said.code == 69 and "primes.so can't be started: " in said.err
    assert stop(full) in ASKED
    none_left(shared, "alpha")
    assert run(shared, "alpha", TASKS / "primes.so").out == PRIMES


# ---- ends ----


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL, "reader"])
@pytest.mark.parametrize("program", ["spin", "deaf", "writer"])
def test_its_end_is_that_of_its_tasks(shared, build, how, program):
    """Also of those that do not listen."""
    deaf = """
        int apmp_task_main(struct apmp_task *task, int argc, char **argv)
        {
            (void)argc, (void)argv;
            apmp_task_print(task, "here\\n");
            for (volatile int i = 0;; i++)
                if (WRITES)
                    (void)apmp_task_write(task, "x\\n", 2);
        }"""
    path = TASKS / "spin.so" if program == "spin" else build(
        program, deaf, f"-DWRITES={int(program == 'writer')}")
    process = shared.start(*command("alpha", path))
    process.stdout.readline()
    if how == "reader":
        process.stdout.close()
        if program == "deaf":
            process.stdout = None
            how = signal.SIGTERM
    if how != "reader":
        process.send_signal(how)
    none_left(shared, "alpha")
    if process.stdout and not process.stdout.closed:
        process.stdout.close()
    process.wait(apmp.WATCHDOG)
    assert run(shared, "alpha", TASKS / "primes.so", 100).code == 0


def test_the_second_signal_ends_at_once(shared, build):
    program = build("stubborn", """
        #include <poll.h>
        int apmp_task_main(struct apmp_task *task, int argc, char **argv)
        {
            (void)argc, (void)argv;
            apmp_task_print(task, "here\\n");
            while (!apmp_task_should_end(task))
                ;
            apmp_task_print(task, "asked\\n");
            poll(NULL, 0, 2000); /* in a library: it is left alone */
            return 0;
        }""")
    process = shared.start("run", "gamma", "--", "sh", "-c", f"echo $$; exec apmp-task {program}")
    pid = int(process.stdout.readline())
    assert process.stdout.readline() == "here\n"
    os.kill(pid, signal.SIGTERM)
    assert process.stdout.readline() == "asked\n"
    os.kill(pid, signal.SIGINT)
    assert process.wait(apmp.WATCHDOG) == 128 + signal.SIGINT
    none_left(shared, "gamma")


def test_signals_while_nobody_reads(shared, build):
    """What it prints to is full, and stays so: it ends all the same."""
    program = build("talker", """
        int apmp_task_main(struct apmp_task *task, int argc, char **argv)
        {
            (void)argc, (void)argv;
            while (!apmp_task_should_end(task))
                apmp_task_print(task, "%0500d\\n", 0);
            return 0;
        }""")
    process = shared.start("run", "gamma", "--", "sh", "-c",
                           f"echo $$ >&2; exec apmp-task {program}")
    pid = int(process.stderr.readline())
    # Full is less than what it could hold: pages in it need not be.
    shared.until(lambda size: size > 65536 / 2, lambda: in_pipe(process.stdout))
    os.kill(pid, signal.SIGTERM)
    os.kill(pid, signal.SIGINT)
    assert process.wait(apmp.WATCHDOG) in (128 + signal.SIGINT, 128 + signal.SIGTERM)
    none_left(shared, "gamma")


def test_children_end_with_the_first(shared, build):
    program = build("first", """
        static int deaf(struct apmp_task *task, void *arg)
        {
            (void)task, (void)arg;
            for (volatile int i = 0;; i++)
                ;
            return 0;
        }
        int apmp_task_main(struct apmp_task *task, int argc, char **argv)
        {
            (void)argc, (void)argv;
            for (int i = 0; i < 4; i++)
                if (apmp_task_spawn(task, deaf, NULL))
                    return 1;
            return 42;
        }""")
    assert run(shared, "beta", program).code == 42
    assert not listed(shared, "beta")


# ---- CPUs ----


def test_cpus_leave_and_come_under_load(home):
    """shows: CPU-15"""
    load = home.start(*command("alpha", TASKS / "spin.so", 6))
    running(home, "alpha", 6)
    for _ in range(10):
        home.apmp("cpu", "migrate", 1, 2, "--to", "beta")
        assert {task["cpu"] for task in running(home, "alpha", 6)} == {0, -1}
        assert run(home, "beta", TASKS / "primes.so", 100000, 4).out == "9592 primes below 100000\n"
        home.apmp("cpu", "migrate", 1, 2, "--to", "alpha")
        assert {task["cpu"] for task in running(home, "alpha", 6)} == {0, 1, 2, -1}
    assert run(home, "alpha", TASKS / "primes.so", 1000000, 4).out == PRIMES
    assert stop(load) in ASKED


def test_results_are_right_while_cpus_come_and_go(home):
    """At random, from all sides. shows: CPU-15"""
    jobs = {name: home.start(*command(name, TASKS / "primes.so", 2000000, 4)) for name in HOME}
    chance = random.Random(15)
    while any(job.poll() is None for job in jobs.values()):
        cpu = chance.choice([1, 2, 4])
        home.try_apmp("cpu", "migrate", cpu, "--to", chance.choice(list(HOME)))
    for job in jobs.values():
        assert (job.stdout.read(), job.wait()) == ("148933 primes below 2000000\n", 0)


@pytest.mark.parametrize("deaf", ["sigfillset(&all), pthread_sigmask(SIG_BLOCK, &all, NULL)",
                                  "signal(SIGURG, SIG_IGN)"])
def test_cpus_leave_who_does_not_listen(home, build, deaf):
    """A task that keeps the interrupt from itself keeps no CPU, nor the host CPU under it."""
    program = build("deaf", f"""
        #include <signal.h>
        static int spin(struct apmp_task *task, void *arg)
        {{
            sigset_t all;
            (void)all, (void)arg;
            {deaf};
            while (!apmp_task_should_end(task))
                ;
            return apmp_task_cpu(task) != 0;
        }}
        int apmp_task_main(struct apmp_task *task, int argc, char **argv)
        {{
            (void)argc, (void)argv;
            return apmp_task_spawn(task, spin, NULL) || apmp_task_spawn(task, spin, NULL) ? 99
                 : spin(task, NULL) + apmp_task_join(task);
        }}""")
    load = home.start(*command("alpha", program))
    running(home, "alpha", 3)
    pid = home.pid("alpha")
    home.apmp("cpu", "migrate", 1, 2, "--to", "beta")
    assert {task["cpu"] for task in listed(home, "alpha")} == {0, -1}
    ours = apmp.set_of(home.partition("alpha")["host_cpus"])
    for tid in os.listdir(f"/proc/{pid}/task"):
        status = dict(line.split(":\t", 1) for line in
                      Path(f"/proc/{pid}/task/{tid}/status").read_text().splitlines())
        assert apmp.set_of(status["Cpus_allowed_list"]) <= ours, status
    assert run(home, "beta", TASKS / "primes.so", 100000, 4).out == "9592 primes below 100000\n"
    assert stop(load) in ASKED  # each has had its turn on CPU 0


def test_stop_and_start(home):
    load = home.start(*command("alpha", TASKS / "spin.so", 3))
    running(home, "alpha", 3)
    home.apmp("cpu", "stop", 2)
    assert {task["cpu"] for task in running(home, "alpha", 3)} == {0, 1, -1}
    home.apmp("cpu", "start", 2)
    assert {task["cpu"] for task in running(home, "alpha", 3)} == {0, 1, 2}
    stop(load)


def test_bound(home):
    """A bound task refuses its CPU's migration, with a reason."""
    bound = home.start(*command("alpha", "--bind", 2, TASKS / "spin.so", 1))
    task = running(home, "alpha", 1)[0]
    assert (task["cpu"], task["bound"]) == (2, 2)
    mark = home.events.mark()
    for words in (["migrate", 2, "--to", "beta"], ["stop", 2], ["deassign", 2]):
        assert f"task {task['number']} of partition \"alpha\" is bound to CPU 2" in (
            home.refused("cpu", *words))
    home.events.wait_for("cpu.refused", partition="alpha", cpu=2, after=mark,
                         reason=f"task {task['number']} is bound to it")
    assert home.refused("cpu", "stop", 2, "--wait", "50ms").endswith(
        "is bound to CPU 2, and 50 ms were waited; end it (`apmp run alpha -- apmp-task --list` "
        "names its program), or wait longer")
    assert home.cpu(2)["state"] == "active"
    refused = home.events.find("cpu.refused", partition="alpha", cpu=2, after=mark)
    assert len(refused) <= 4, "one for each command, and not for each try of --wait"
    said = run(home, "alpha", "--bind", 4, TASKS / "spin.so")
    assert said.code == 69 and "can't be bound to CPU 4: it runs no tasks" in said.err
    # The others of the partition are as free as ever.
    home.apmp("cpu", "migrate", 1, "--to", "beta")
    stop(bound)
    none_left(home, "alpha")
    home.apmp("cpu", "migrate", 2, "--to", "beta")


def test_wait_until_it_is_not_bound(home):
    bound = home.start(*command("alpha", "--bind", 2, TASKS / "spin.so", 1))
    running(home, "alpha", 1)
    waiting = home.start("cpu", "migrate", 2, "--to", "beta", "--wait", "60s")
    home.events.wait_for("cpu.refused", partition="alpha", cpu=2)
    stop(bound)
    out, err = waiting.communicate(timeout=apmp.WATCHDOG)
    assert waiting.returncode == 0, out + err
    assert home.cpu(2)["current_owner"] == "beta"


def test_idle_cpus_use_no_host_cpu(shared):
    """Neither before nor after there were tasks."""
    assert run(shared, "alpha", TASKS / "primes.so", 100).code == 0
    pid = shared.pid("alpha")
    names = [path.read_text().strip()
             for path in sorted((apmp.Path(f"/proc/{pid}/task")).glob("*/comm"))]
    assert "task" in names
    before = sum(inside.run_ns(pid, name) for name in ("task", "cpu 1", "cpu 2"))
    mark = shared.partition("alpha")["instance"]["heartbeat"]
    shared.until(lambda now: apmp.named(now["partitions"], "alpha")["instance"]["heartbeat"]
                 > mark + 200)
    assert sum(inside.run_ns(pid, name) for name in ("task", "cpu 1", "cpu 2")) == before


# ---- the instance ends ----


@pytest.mark.parametrize("end", ["halt", "crash", "reset", "kill"])
def test_the_instance_ends(machine, end):
    """And its tasks with it; the next life has none."""
    load = machine.start(*command("beta", TASKS / "spin.so", 4))
    running(machine, "beta", 4)
    mark = machine.events.mark()
    if end == "kill":
        machine.kill_partition("beta")
    else:
        machine.apmp("partition", end, "beta")
    _out, err = load.communicate(timeout=apmp.WATCHDOG)
    assert load.returncode != 0 and "its partition ended" in err, err
    if end == "reset":
        machine.events.wait_for("member.joined", partition="beta", after=mark)
    else:
        machine.events.wait_for("instance.fenced", partition="beta", after=mark)
        machine.boots_and_joins("beta")
    assert not listed(machine, "beta")
    assert run(machine, "beta", TASKS / "primes.so", 1000000).out == PRIMES


def test_a_fault_of_a_task(machine, build):
    program = build("fault", """
        int apmp_task_main(struct apmp_task *task, int argc, char **argv)
        {
            (void)task, (void)argv;
            *(volatile int *)(long)argc = 1;
            return 0;
        }""")
    mark = machine.events.mark()
    assert run(machine, "beta", program).code != 0
    machine.events.wait_for("instance.fenced", partition="beta", after=mark)
    path = machine.apmp("dump", "beta", json=True)["path"]
    machine.boots_and_joins("beta")
    assert run(machine, "beta", TASKS / "primes.so", 1000000).out == PRIMES
    # What it left knows whose it was, and where in it.
    task, = machine.apmp("analyze", path, "tasks", json=True)
    assert (task["task"], task["program"]) == (1, "fault.so")
    cpu = apmp.named([{"name": cpu["id"], **cpu} for cpu in
                      machine.apmp("analyze", path, "cpus", json=True)], task["cpu"])
    place = int(cpu["context"]["frames"][0]["in_task"], 16)
    symbols = subprocess.run(["nm", "-S", program], capture_output=True, text=True, check=True)
    begin, size = next((int(words[0], 16), int(words[1], 16)) for words in
                       map(str.split, symbols.stdout.splitlines()) if words[-1] == "apmp_task_main")
    assert begin <= place < begin + size
    assert f" fault.so {place:#x}\n" in machine.apmp("analyze", path, "cpus")


@pytest.mark.parametrize("end", ["crash", "kill"])
def test_what_a_failed_one_had(machine, end):
    """All of its tasks, whether a CPU had them or not, and whether it could say so or not.
    shows: FAIL-02"""
    load = machine.start(*command("beta", TASKS / "spin.so", 4))
    before = running(machine, "beta", 4)
    mark = machine.events.mark()
    if end == "kill":
        machine.kill_partition("beta")
    else:
        machine.apmp("partition", "crash", "beta")
    load.communicate(timeout=apmp.WATCHDOG)
    machine.events.wait_for("instance.fenced", partition="beta", after=mark)
    path = machine.apmp("dump", "beta", json=True)["path"]
    tasks = machine.apmp("analyze", path, "tasks", json=True)
    assert [(task["task"], task["program"]) for task in tasks] == [
        (task["number"], "spin.so") for task in before]
    on = [task["cpu"] for task in tasks if task["state"] == "running"]
    assert len(set(on)) == len(on) == sum(task["state"] == "running" for task in before)
    assert all(task["cpu"] is None for task in tasks if task["state"] != "running")
    # The next life begins without them.
    machine.boots_and_joins("beta")
    mark = machine.events.mark()
    machine.apmp("partition", "crash", "beta")
    machine.events.wait_for("instance.fenced", partition="beta", after=mark)
    path = machine.apmp("dump", "beta", json=True)["path"]
    assert machine.apmp("analyze", path, "tasks", json=True) == []


def fails_by_segv(machine, program):
    """It is the end of the instance, and of nothing else: whatever is shared is as it was."""
    hwrpb, mark = Hwrpb(machine, "beta"), machine.events.mark()
    assert run(machine, "beta", program).code != 0
    machine.events.wait_for("instance.crashed", partition="beta", after=mark)
    assert hwrpb.crash()["text"].startswith("SIGSEGV at 0x")
    machine.boots_and_joins("beta")
    assert not [event for event in machine.events.seen if event["kind"] == "set.odd"]


def test_a_stack_that_is_too_small(machine, build):
    """What is below it is nobody's: no other thread's stack is written over."""
    fails_by_segv(machine, build("deep", """
        static int deep(volatile char *above)
        {
            volatile char here[4096];
            here[0] = *above;
            return deep(here) + here[1];
        }
        int apmp_task_main(struct apmp_task *task, int argc, char **argv)
        {
            volatile char here = 0;
            (void)task, (void)argc, (void)argv;
            return deep(&here);
        }""", "-Wno-infinite-recursion", "-O0"))


@pytest.mark.parametrize("size", [300 << 10, 1 << 20, 4 << 20])
def test_a_frame_that_is_larger_than_a_stack(machine, build, size):
    """It does not lead over what is nobody's, into the stack of a CPU or into shared memory."""
    fails_by_segv(machine, build("large", """
        int apmp_task_main(struct apmp_task *task, int argc, char **argv)
        {
            volatile char here[SIZE];
            (void)task, (void)argc, (void)argv;
            here[0] = 1;
            return here[0] - 1;
        }""", "-O0", f"-DSIZE={size}"))


@pytest.mark.parametrize("call, says", [("exit(3)", "exit(3)"),
                                        ("quick_exit(3)", "quick_exit()")])
def test_a_task_that_ends_the_process(machine, build, call, says):
    """It is the end of the instance, which says who called for it; what was printed is not lost."""
    program = build("ends", """
        #include <stdio.h>
        #include <stdlib.h>
        int apmp_task_main(struct apmp_task *task, int argc, char **argv)
        {
            (void)task, (void)argc, (void)argv;
            printf("not lost");
            CALL;
        }""", f"-DCALL={call}")
    hwrpb, mark = Hwrpb(machine, "beta"), machine.events.mark()
    assert run(machine, "beta", program).code != 0
    machine.events.wait_for("instance.crashed", partition="beta", after=mark)
    crash = hwrpb.crash()
    assert crash["reason"] == "exit"
    assert crash["text"] in [f"task 1 (ends.so) called {says} on CPU {cpu}" for cpu in (3, 4)]
    machine.until(lambda said: "not lost" in said, lambda: machine.apmp("console", "beta"))
    machine.boots_and_joins("beta")


def test_the_console_dies(home):
    """Tasks do not notice."""
    pid = int(home.apmp("run", "--detach", *command("alpha", TASKS / "spin.so", 4)[1:]))
    running(home, "alpha", 4)
    mark = home.events.mark()
    console = next(pid for pid, words in home.processes() if "apmp-console" in words)
    home.kill(console)
    home.events.wait_for("console.restarted", after=mark)
    running(home, "alpha", 4)
    home.apmp("cpu", "migrate", 1, "--to", "beta")
    running(home, "alpha", 4)
    os.kill(pid, signal.SIGTERM)


# ---- who says what makes no sense ----


def memfd(data, seal=True):
    fd = os.memfd_create("test", os.MFD_ALLOW_SEALING)
    os.write(fd, data)
    if seal:
        fcntl_add_seals, seals = 1033, 0x1 | 0x2 | 0x4 | 0x8
        fcntl.fcntl(fd, fcntl_add_seals, seals)
    return fd


def start(connection, fds, argc=1, cpu=0, name="test"):
    message = inside.REQUEST.pack(inside.VERSION, 9, argc, cpu, 0, name.encode())
    socket.send_fds(connection.socket, [message], fds)
    return connection.receive()


def test_what_comes_with_start(shared):
    place = inside.address_of(shared, "alpha")
    program = memfd((TASKS / "primes.so").read_bytes())
    arguments, unsealed = memfd(b"test\0"), memfd(b"test\0", seal=False)
    reading, writing = os.pipe()
    null = os.open("/dev/null", os.O_WRONLY)
    good = [program, arguments, writing]
    for fds, argc in (([], 1), ([program], 1), ([program, arguments], 1),
                      ([unsealed, arguments, writing], 1), ([program, unsealed, writing], 1),
                      ([null, arguments, writing], 1), ([program, arguments, null], 1),
                      ([program, arguments, reading], 1), (good, 2), (good, 0), (good, 5),
                      (good, 2**32 - 1), ([program, memfd(b"no end"), writing], 1),
                      ([program, memfd(b"x\0" * 40000), writing], 40000),
                      ([arguments, arguments, writing], 1)):
        connection = inside.Connection(place, 8)
        answer = start(connection, fds, argc)
        assert answer is None or answer.error < 0, (fds, argc, answer)
        connection.close()
    connection = inside.Connection(place, 8)
    assert start(connection, good, cpu=2**32 - 1).error < 0
    connection.close()
    # And after all of that one that makes sense; a second START does not.
    connection = inside.Connection(place, 8)
    answer = start(connection, good)
    assert answer.error == 0 and answer.lock > 0
    said = TASK.unpack(connection.socket.recv(1000))
    assert said[1] == ENDED and said[6] == 0
    assert os.read(reading, 100) == PRIMES.encode()
    connection.close()
    for fd in (program, arguments, unsealed, reading, writing, null):
        os.close(fd)


def open_files(pid):
    """What each descriptor leads to; without those that are closed meanwhile."""
    files = {}
    for fd in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(FileNotFoundError):
            files[fd] = os.readlink(f"/proc/{pid}/fd/{fd}")
    return files


@pytest.mark.parametrize("size", [0, 1, inside.REQUEST.size])
@pytest.mark.parametrize("count", [1, 3, 4, 5, 60])
def test_descriptors_that_come_unasked(shared, size, count):
    """None of them stays open, and none of the instance's own is closed."""
    place, pid = inside.address_of(shared, "alpha"), shared.pid("alpha")
    reading, writing = os.pipe()
    before = open_files(pid)
    bell = max(int(fd) for fd, link in before.items() if "eventfd" in link)
    own = {fd: link for fd, link in before.items() if int(fd) <= bell}
    connection = inside.Connection(place, 8)
    message = inside.REQUEST.pack(inside.VERSION, 9, 1, 0, 0, b"test")[:size]
    socket.send_fds(connection.socket, [message], [writing] * count)
    answer = connection.receive()
    assert answer is None or (size == inside.REQUEST.size and answer.error < 0)
    connection.close()
    shared.until(lambda files: own.items() <= files.items() <= before.items(),
                 lambda: open_files(pid))
    os.close(writing)
    os.close(reading)


def test_two_programs_at_once(shared, build):
    """Both connections are there before the first program comes: its descriptors have been closed,
    and their numbers are free again, when the second one comes."""
    programs = [build(f"says{i}", f"""
        int apmp_task_main(struct apmp_task *task, int argc, char **argv)
        {{
            (void)argc, (void)argv;
            apmp_task_print(task, "{i}");
            while (!apmp_task_should_end(task))
                apmp_task_yield(task);
            return 0;
        }}""") for i in range(2)]
    place = inside.address_of(shared, "alpha")
    connections = [inside.Connection(place, 8) for _ in programs]
    arguments, said = memfd(b"test\0"), []
    for connection, program in zip(connections, programs):
        reading, writing = os.pipe()
        copy = memfd(program.read_bytes())
        assert start(connection, [copy, arguments, writing]).error == 0
        said.append(os.read(reading, 10))
        for fd in (reading, writing, copy):
            os.close(fd)
    os.close(arguments)
    for connection in connections:
        connection.close()
    none_left(shared, "alpha")
    assert said == [b"0", b"1"]


@pytest.mark.parametrize("op", [1, 2, 3, 7, 8, 12, 16, 99])
def test_other_requests(shared, op):
    connection = inside.Connection(inside.address_of(shared, "alpha"), 8)
    connection.send(inside.request(op))
    assert connection.closed()


def test_nothing_is_left_open(shared):
    """Descriptors that came with refused and ended programs."""
    run(shared, "alpha", TASKS / "primes.so", 100)
    before = inside.descriptors(shared.pid("alpha"))
    for _ in range(20):
        run(shared, "alpha", TASKS / "primes.so", 100)
        run(shared, "alpha", "/etc/passwd")
        run(shared, "alpha", "--bind", 5, TASKS / "primes.so")
    assert inside.descriptors(shared.pid("alpha")) == before


def test_confined(shared):
    """With the partition's own uid."""
    if os.geteuid():
        pytest.skip("partitions have uids where the box runs as root")
    said = shared.try_apmp("run", "--confined", "beta", "--", apmp.BIN / "apmp-task",
                           TASKS / "primes.so")
    if "Permission denied" in said.err:
        pytest.skip("this uid can't execute what was built here")
    assert (said.code, said.out) == (0, PRIMES)
