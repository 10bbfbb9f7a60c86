"""The whole life of a machine wherever this host lets one live: as root and as an ordinary user, by
control groups and by affinity, nested, with nothing writable; and what `doctor` says of each place.

A controller is in one hierarchy only, so a host has the places of cgroup v1 or those of v2:
`make check-v2` shows these on a host with v1.
"""
import contextlib
import json
import os
import pty
import select
import shutil
import subprocess
from pathlib import Path

import pytest

import apmp
import groups_v2
import leftovers

ORDINARY = 65533  # not 65534, which others' tests are
V1 = Path("/sys/fs/cgroup/cpuset")
TOP, BEST = (V1, "cgroup-v1") if V1.exists() else (groups_v2.TOP, "cgroup-v2")
CPU = Path("/sys/fs/cgroup/cpu")
HOST_CPUS = os.sched_getaffinity(0)
NAME = f"apmp-test.{os.getpid()}"
SLICE = f"test-{os.getpid()}"

needs_cpuset = pytest.mark.skipif(not V1.exists() and "cpuset" not in groups_v2.CONTROLLERS,
                                  reason="no cpuset of either version")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make such a place")


def run(*command, **options):
    return subprocess.run([str(word) for word in command], check=True, capture_output=True,
                          text=True, timeout=apmp.WATCHDOG, **options)


def as_user(uid=ORDINARY):
    return ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups"]


@contextlib.contextmanager
def v1_group(name, cpus=HOST_CPUS, owner=None):
    """A cpuset group, with what it needs; removed again."""
    path = V1 / name
    try:
        path.mkdir()
    except OSError as error:
        pytest.skip(f"no cpuset group: {error}")
    (path / "cpuset.cpus").write_text(",".join(map(str, cpus)))
    (path / "cpuset.mems").write_text((V1 / "cpuset.effective_mems").read_text())
    if owner:
        for file in (path, path / "cgroup.procs", path / "tasks"):
            os.chown(file, owner, owner)
    try:
        yield path
    finally:
        remove_group(path)


@contextlib.contextmanager
def cpu_group(name, owner=None):
    """A group of the cpu hierarchy; removed again."""
    path = CPU / name
    path.mkdir()
    for file in (path, path / "cgroup.procs", path / "tasks") if owner else ():
        os.chown(file, owner, owner)
    try:
        yield path
    finally:
        remove_group(path)


def remove_group(path):
    for below in sorted(path.rglob("*"), reverse=True):
        if below.is_dir():
            below.rmdir()
    path.rmdir()


def entering(group):
    return ["sh", "-c", f'echo $$ > {group}/cgroup.procs && exec "$@"', "sh"]


@contextlib.contextmanager
def namespace(*options, prepare="true", under=()):
    """A namespace that lives as long as the test, by a process that holds it."""
    holder = subprocess.Popen([*under, "unshare", *options, "sh", "-c",
                               f"{prepare} && echo ready && exec sleep 100000"],
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True)
    try:
        if holder.stdout.readline() != "ready\n":
            pytest.skip(f"no such namespace: {holder.communicate()[1]}")
        yield holder.pid
    finally:
        holder.kill()
        holder.communicate()


# Places: each gives (words before `apmp`, the user or None, changes of the environment, back end,
# what `doctor` says somewhere, host CPUs).


@contextlib.contextmanager
def root_as_it_is():
    yield [], None, {}, BEST, "used: groups below", HOST_CPUS


@contextlib.contextmanager
def root_affinity():
    yield [], None, {"APMP_BACKEND": "affinity"}, "affinity", "", HOST_CPUS


@contextlib.contextmanager
def user_affinity():
    yield as_user(), ORDINARY, {}, "affinity", "Permission denied", HOST_CPUS


@contextlib.contextmanager
def user_in_a_group_of_his():
    with v1_group(NAME, owner=ORDINARY) as group:
        yield ([*entering(group), *as_user()], ORDINARY, {}, "cgroup-v1",
               f"used: groups below {group}", HOST_CPUS)


@contextlib.contextmanager
def user_with_a_group_made_for_him():
    """Which he is not in."""
    with v1_group(f"apmp.{ORDINARY}", owner=ORDINARY) as group:
        yield (as_user(), ORDINARY, {}, "cgroup-v1", f"used: groups below {group}", HOST_CPUS)


@contextlib.contextmanager
def root_nested_on_one_cpu():
    with v1_group(NAME, cpus=[min(HOST_CPUS)]) as outer:
        with v1_group(f"{NAME}/inner", cpus=[min(HOST_CPUS)]) as inner:
            yield (entering(inner), None, {}, "cgroup-v1", f"used: groups below {inner}",
                   {min(HOST_CPUS)})
        assert outer.exists()


@contextlib.contextmanager
def root_in_a_cgroup_namespace():
    with v1_group(NAME) as group:
        with namespace("--cgroup", under=entering(group)) as holder:
            yield (["nsenter", f"--target={holder}", "--cgroup", *entering(group)], None, {},
                   "cgroup-v1", "used: groups below", HOST_CPUS)


@contextlib.contextmanager
def root_read_only():
    with namespace("--mount", prepare=f"mount -o remount,bind,ro {TOP}") as holder:
        yield (["nsenter", f"--target={holder}", "--mount"], None, {}, "affinity",
               "Read-only file system", HOST_CPUS)


@contextlib.contextmanager
def root_without_cgroups():
    with namespace("--mount", prepare=f"umount --lazy {TOP}") as holder:
        yield (["nsenter", f"--target={holder}", "--mount"], None, {}, "affinity",
               "not mounted", HOST_CPUS)


@contextlib.contextmanager
def root_in_a_pid_namespace():
    """Its first process reaps nobody, and is not the box's parent."""
    with namespace("--pid", "--fork", "--mount-proc") as holder:
        child = Path(f"/proc/{holder}/task/{holder}/children").read_text().split()[0]
        try:
            yield (["nsenter", f"--target={child}", "--pid", "--mount"], None, {}, BEST,
                   "used: groups below", HOST_CPUS)
        finally:
            os.kill(int(child), 9)


@contextlib.contextmanager
def root_of_a_user_namespace():
    """Somebody who only looks like root."""
    yield ([*as_user(), "unshare", "--user", "--map-root-user"], ORDINARY, {}, "affinity",
           "Permission denied", HOST_CPUS)


@contextlib.contextmanager
def user_in_a_delegated_scope():
    """systemd-run --user --scope -p Delegate=yes"""
    with groups_v2.slice_with(SLICE, ["cpuset", "cpu"], ORDINARY) as path:
        yield ([*groups_v2.in_a_scope(path, ORDINARY), *as_user()], ORDINARY, {}, "cgroup-v2",
               f"used: groups below {path}/run-", HOST_CPUS)


@contextlib.contextmanager
def root_in_a_delegated_scope():
    with groups_v2.slice_with(SLICE, ["cpuset", "cpu", "memory"]) as path:
        yield (groups_v2.in_a_scope(path), None, {}, "cgroup-v2",
               f"used: groups below {path}/run-", HOST_CPUS)


@contextlib.contextmanager
def root_in_a_session():
    """Which has no cpuset; the nearest group that hands it on is the topmost."""
    with groups_v2.slice_with(SLICE, ["cpuset"]), groups_v2.slice_with(f"{SLICE}-user", []) as path:
        yield (groups_v2.in_a_scope(path), None, {}, "cgroup-v2",
               f"used: groups below {groups_v2.TOP}", HOST_CPUS)


@contextlib.contextmanager
def user_in_a_session():
    with groups_v2.slice_with(SLICE, ["cpuset"]) as path:
        yield ([*groups_v2.in_a_scope(path), *as_user()], ORDINARY, {}, "affinity",
               "Permission denied", HOST_CPUS)


@contextlib.contextmanager
def root_in_a_container_beside_others():
    with groups_v2.slice_with(SLICE, ["cpuset", "cpu"]) as path:
        group = path / "container"
        group.mkdir()
        with namespace("--cgroup", "--mount", under=entering(group),
                       prepare=groups_v2.REMOUNT) as holder:
            yield ([*entering(group), "nsenter", f"--target={holder}", "--cgroup", "--mount"],
                   None, {}, "affinity", "it holds processes that are not ours", HOST_CPUS)


PLACES = [root_as_it_is, root_affinity, user_affinity, root_read_only, root_without_cgroups,
          root_in_a_pid_namespace, root_of_a_user_namespace, *(
              [user_in_a_group_of_his, user_with_a_group_made_for_him, root_nested_on_one_cpu,
               root_in_a_cgroup_namespace] if V1.exists() else
              [user_in_a_delegated_scope, root_in_a_delegated_scope, root_in_a_session,
               user_in_a_session, root_in_a_container_beside_others])]


class Placed(apmp.Machine):
    """A machine of copied programs, in some place."""

    def __init__(self, before, user, env):
        super().__init__(apmp.PATIENT)
        programs = self.dir / "programs"
        programs.mkdir()
        for name in ("apmp", "apmpd", "apmp-console", "apmp-instance"):
            shutil.copy(apmp.BIN / name, programs)
        self.command = [*before, str(programs / "apmp")]
        self.env.update(env, PATH=f"{programs}:{os.environ['PATH']}")
        self.env.pop("APMP_POINTS_DIR", None)
        if user:
            for path in (self.dir, self.runtime, self.file):
                os.chown(path, user, user)

    def doctor(self, *options):
        return json.loads(subprocess.run(
            [*self.command, "--json", "doctor", *options], env=self.env, cwd=self.dir,
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=apmp.WATCHDOG,
            check=False).stdout)


@pytest.fixture
def placed(request):
    machines = []

    @contextlib.contextmanager
    def make(place):
        with place() as (before, user, env, *expected):
            machine = Placed(before, user, env)
            machines.append(machine)
            try:
                yield machine, *expected
                wrong = machine.close()
            except BaseException:
                print(f"kept for a look: {machine.save_failure(request.node.name)}")
                machine.close()
                raise
            assert not wrong, wrong

    yield make
    for machine in machines:
        machine.remove()


def host_cpus_under(cpus, host_cpus):
    """A machine's CPUs stand round robin on those of the host."""
    ordered = sorted(host_cpus)
    return {ordered[cpu % len(ordered)] for cpu in cpus}


@needs_root
@needs_cpuset
@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.__name__)
def test_a_whole_life(placed, place):
    """Up, run, migrate, kill, boot, a new console, down; and nothing is left.

    shows: PLAT-10
    """
    with placed(place) as (machine, backend, said, host_cpus):
        lines = machine.doctor()["checks"]
        assert any(line["what"].startswith("cpuset") and said in line["found"] for line in lines)
        machine.up()
        status = machine.status()
        assert status["backend"] == backend
        assert apmp.members(status) == {"alpha", "beta", "gamma"}
        program = apmp.Program(machine, "gamma")
        assert program.host_cpus() == host_cpus_under([5], host_cpus)
        machine.apmp("cpu", "migrate", "2", "--to", "gamma")
        assert program.host_cpus() == host_cpus_under([2, 5], host_cpus)
        machine.apmp("cpu", "migrate", "2", "--to", "alpha")
        # The receiver has it; the sender's set shrinks a moment later.
        machine.until(lambda now: now == host_cpus_under([5], host_cpus), program.host_cpus)
        mark = machine.events.mark()
        machine.apmp("chaos", "inject", "kill", "gamma")
        machine.events.wait_for("instance.fenced", partition="gamma", after=mark)
        program.process.wait(apmp.WATCHDOG)  # it has ended with its partition
        machine.boots_and_joins("gamma")
        machine.apmp("chaos", "inject", "kill", "console")
        machine.at_rest({"alpha", "beta", "gamma"})
        machine.down()
        assert machine.apmp("list", json=True) == []


@needs_root
@needs_cpuset
@pytest.mark.parametrize("place", [
    user_affinity, user_in_a_group_of_his if V1.exists() else user_in_a_delegated_scope,
    root_read_only, root_in_a_pid_namespace], ids=lambda place: place.__name__)
def test_a_power_failure(placed, place):
    """The guard cleans up there as well; so does the next `up`, when that was killed too."""
    with placed(place) as (machine, *_):
        machine.up()
        machine.apmp("run", "--detach", "alpha", "--", "setsid", "sleep", "1000")
        for also_guard in (False, True):
            box = apmp_pids(machine, "apmpd")
            guard = apmp_pids(machine, "apmp-guard")
            assert len(box) == len(guard) == 1, (box, guard)
            fds = [os.pidfd_open(pid) for pid in (*box, *guard)]
            fds += [os.pidfd_open(pid) for pid, _ in machine.processes()]
            if also_guard:
                os.kill(guard[0], 19)
            os.kill(box[0], 9)
            assert apmp.ended(fds[0])
            if also_guard:
                os.kill(guard[0], 9)
            machine.up()
            for fd in fds:
                assert apmp.ended(fd)
                os.close(fd)
            assert apmp.members(machine.status()) == {"alpha", "beta", "gamma"}
        machine.down()


def apmp_pids(machine, name):
    """Processes of this name that have the machine's run directory open; as this host counts."""
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()
            and leftovers.read(entry / "comm").strip() == name.encode()
            and str(machine.rundir) in open_folders(entry)]


def open_folders(process):
    with contextlib.suppress(OSError):
        return [os.readlink(fd) for fd in (process / "fd").iterdir()]
    return []


# doctor


def line_of(document, what):
    found = [line for line in document["checks"] if line["what"] == what]
    assert found, (what, document)
    return found[0]


@needs_root
def test_doctor_says_what_an_ordinary_user_lacks_and_who_could_change_it(placed):
    with placed(user_affinity) as (machine, *_):
        document = machine.doctor()
        assert document["ok"] is True and "fixes" not in document
        groups = line_of(document, f"cpuset {BEST}")
        assert groups["state"] == "limited"
        assert ("doctor --fix --user" if V1.exists() else "systemd-run --user") in groups["change"]
        assert line_of(document, "cpuset affinity")["found"].startswith("used: ")
        assert line_of(document, "isolation")["state"] == "limited"
        scheduling = line_of(document, "scheduling")
        assert scheduling["state"] == "limited" and "RTPRIO" in scheduling["change"]
        assert "RLIMIT_NPROC" in line_of(document, "processes")["found"] or (
            "had, by" in line_of(document, "processes")["found"])


@needs_root
def test_an_ordinary_user_with_both_groups_shares_host_cpus(placed):
    """His programs get the capacity of their partition; without the second group doctor says what
    is missing. shows: CPU-15"""
    with placed(user_with_a_group_made_for_him) as (machine, *_):
        share = line_of(machine.doctor(), "share of CPUs")
        assert share["state"] == "limited" and "Permission denied" in share["found"]
        assert "doctor --fix" in share["change"]
    with cpu_group(f"apmp.{ORDINARY}", owner=ORDINARY) as group:
        with placed(user_with_a_group_made_for_him) as (machine, *_):
            share = line_of(machine.doctor(), "share of CPUs")
            assert (share["state"], "below" in share["found"]) == ("ok", True), share
            machine.up()
            assert machine.status()["health"]["capacity"]["enforced"] is True
            program = apmp.Program(machine, "alpha")
            program.ask()
            quota = group / f"apmp-{machine.name}/P-alpha/cpu.cfs_quota_us"
            shared = machine.partition("alpha")["capacity"] < len(
                apmp.cpus_of(machine.status(), "alpha"))
            assert (int(quota.read_text()) > 0) == shared
            assert program.end() == 0


@needs_root
def test_an_ordinary_user_in_a_scope_shares_host_cpus(placed):
    """As above, where cpu is handed down with cpuset and where it is not. shows: CPU-15"""
    with groups_v2.slice_with(SLICE, ["cpuset"], ORDINARY) as path:
        scope = [*groups_v2.in_a_scope(path, ORDINARY), *as_user()]
        with placed(lambda: contextlib.nullcontext((scope, ORDINARY, {}))) as (machine,):
            share = line_of(machine.doctor(), "share of CPUs")
            assert share["state"] == "limited" and "cgroup v2: have cpu" in share["change"], share
            assert "the cpu controller is not handed down to it" in share["found"], share
    with placed(user_in_a_delegated_scope) as (machine, *_):
        assert line_of(machine.doctor(), "share of CPUs")["state"] == "ok"
        machine.up()
        assert machine.status()["health"]["capacity"]["enforced"] is True
        assert machine.apmp("run", "alpha", "--", "true") == ""
        quota = (Path((machine.rundir / "cgroup").read_text().strip())
                 / "P-alpha/programs/cpu.max").read_text()
        shared = machine.partition("alpha")["capacity"] < len(
            apmp.cpus_of(machine.status(), "alpha"))
        assert quota.startswith("max") != shared


@needs_root
@pytest.mark.parametrize("container", [False, True])
def test_a_shell_in_a_group_of_its_own(placed, container):
    """It is put aside with the box that it starts, and with who reads what that says, and may start
    others from there."""
    inside = ["unshare", "--cgroup", "--mount", "sh", "-c", f'{groups_v2.REMOUNT} && exec "$@"',
              "sh"] if container else []
    with groups_v2.slice_with(SLICE, ["cpuset", "cpu"]) as path:
        with placed(lambda: contextlib.nullcontext(([], None, {}))) as (machine,):
            verb = f"{machine.command[0]} --name {machine.name}"
            once = f"{verb} up {machine.file} | tee /dev/null && {verb} run alpha -- true && " \
                   f"{verb} down"
            said = run(*groups_v2.in_a_scope(path), *inside, "sh", "-c",
                       f"{once} && {once} && cat /proc/self/cgroup", env=machine.env).stdout
            assert said.count("3 members, cgroup-v2") == 2, said
            assert said.count("apmp.box") == 1, said


def test_doctor_compares_limits(make_machine):
    machine = make_machine()
    done = subprocess.run(["prlimit", "--nofile=100:100", f"--fsize={1 << 20}",
                           str(apmp.BIN / "apmp"), "--json", "doctor"], env=machine.env,
                          capture_output=True, text=True, timeout=apmp.WATCHDOG, check=False)
    document = json.loads(done.stdout)
    assert done.returncode == 1 and document["ok"] is False
    assert line_of(document, "descriptors")["state"] == "bad"
    assert "100 can be had, by RLIMIT_NOFILE" in line_of(document, "descriptors")["found"]
    assert line_of(document, "file size")["state"] == "bad"


@pytest.fixture
def inner(placed):
    """A machine of root that sees its own part of the hierarchies only: what it mends there is
    nobody else's."""
    @contextlib.contextmanager
    def make_v2():
        with groups_v2.slice_with(SLICE, ["cpuset", "cpu"]) as group:
            with namespace("--mount", prepare=f"mount --bind {group} {groups_v2.TOP}") as holder:
                yield (["nsenter", f"--target={holder}", "--mount"], None, {}, ())

    @contextlib.contextmanager
    def make_v1():
        with v1_group(NAME) as group, cpu_group(NAME) as shares:
            with namespace("--mount", prepare=f"mount --bind {group} {V1} && "
                                              f"mount --bind {shares} {CPU}") as holder:
                yield (["nsenter", f"--target={holder}", "--mount"], None, {}, (group, shares))

    if os.geteuid() != 0:
        pytest.skip("only root can make such a place")
    with placed(make_v1 if V1.exists() else make_v2) as (machine, groups):
        yield machine, groups


def test_fix_is_offered_and_never_done_unasked(inner):
    """Without a terminal it lists; the same with --yes is done, and then there is nothing left."""
    machine, groups = inner
    base = machine.rundir.parent
    base.mkdir(mode=0o755)
    base.chmod(0o755)
    fix = ["--fix", "--user", str(ORDINARY)]
    before = machine.doctor(*fix)
    assert [f["state"] for f in before["fixes"]] == ["offered"] * (1 + len(groups)), before
    assert line_of(before, "run directory")["state"] == "bad"
    assert base.stat().st_mode & 0o777 == 0o755
    made = [group / f"apmp.{ORDINARY}" for group in groups]
    assert not any(group.exists() for group in made)
    document = machine.doctor(*fix, "--yes")
    assert {f["state"] for f in document["fixes"]} == {"done"}, document["fixes"]
    assert line_of(document, "run directory")["state"] == "ok"
    assert base.stat().st_mode & 0o777 == 0o700
    for group, file in zip(made, ("cpuset.cpus", "cpu.cfs_quota_us")):
        assert {path.stat().st_uid for path in (group, group / "cgroup.procs")} == {ORDINARY}
        assert (group / file).stat().st_uid == 0
    assert machine.doctor(*fix, "--yes")["fixes"] == []
    for group in made:
        group.rmdir()


def test_fix_removes_what_a_dead_machine_left(inner):
    machine, _ = inner
    machine.up()
    machine.apmp("run", "--detach", "alpha", "--", "setsid", "sleep", "1000")
    box = machine.box_pid()
    fds = [os.pidfd_open(pid) for pid, _ in machine.processes()]
    guard = apmp_pids(machine, "apmp-guard")[0]
    os.kill(guard, 19)
    os.kill(box, 9)
    os.kill(guard, 9)
    apmp.ended(fds[0], 0)
    machine.until(lambda alive: not alive, lambda: Path(f"/proc/{box}").exists())
    offered = machine.doctor("--fix")["fixes"]
    assert ["remove what 1 dead machine left" in f["what"] for f in offered] == [True]
    assert machine.processes()
    assert [f["state"] for f in machine.doctor("--fix", "--yes")["fixes"]] == ["done"]
    for fd in fds:
        assert apmp.ended(fd)
        os.close(fd)
    assert machine.processes() == [] and not machine.rundir.exists()


@pytest.mark.parametrize("answer, state, mode", [("n", "declined", 0o755), ("y", "done", 0o700)])
def test_on_a_terminal_it_asks(inner, answer, state, mode):
    machine, _ = inner
    base = machine.rundir.parent
    base.mkdir()
    base.chmod(0o755)
    master, slave = pty.openpty()
    with subprocess.Popen([*machine.command, "doctor", "--fix"], env=machine.env, cwd=machine.dir,
                          stdin=slave, stdout=subprocess.PIPE, stderr=slave, text=True) as process:
        os.close(slave)
        said = ""
        while "[y/N] " not in said:
            assert select.select([master], [], [], apmp.WATCHDOG)[0], said
            said += os.read(master, 4096).decode()
        assert base.stat().st_mode & 0o777 == 0o755
        os.write(master, f"{answer}\n".encode())
        process.stdout.read()
        said += os.read(master, 4096).decode()
    os.close(master)
    assert f"apmp: {state}: close {base} to others" in said
    assert base.stat().st_mode & 0o777 == mode


def test_fix_says_who_gives_groups_of_v2(placed):
    """Without cpuset in cgroup v1 there is no group to make for a user."""
    if os.geteuid() != 0:
        pytest.skip("only root can make such a place")
    with placed(root_without_cgroups) as (machine, *_):
        done = subprocess.run([*machine.command, "doctor", "--fix", "--user", str(ORDINARY)],
                              env=machine.env, cwd=machine.dir, capture_output=True, text=True,
                              timeout=apmp.WATCHDOG, check=False)
        assert f"user {ORDINARY} would start in a group of its own: systemd-run --user" in (
            done.stderr), done


def test_fix_names_a_user_that_there_is_not(inner):
    machine, _ = inner
    done = subprocess.run([*machine.command, "doctor", "--fix", "--user", "no-such-user"],
                          env=machine.env, cwd=machine.dir, capture_output=True, text=True,
                          timeout=apmp.WATCHDOG, check=False)
    assert done.returncode == 1 and 'there is no user "no-such-user"' in done.stderr
