"""NVRAM in the box: read at power on, written while the box goes on, whole after a power failure.
The test is the console (standin.py)."""
import contextlib
import ctypes
import errno
import json
import mmap
import os
import random
import shutil
import signal
import struct
import subprocess

import pytest

import apmp
from standin import OBJECTS, PAGE, Watched, close_all

POINTS = ["nvram_write", "nvram_sync", "nvram_rename", "nvram_folder"]
BOX_RECORDER = 0xfffe
KILL = 1  # of APMP_FAULTS (shm/layout_recorder.h)
SIZE_MAX = 4 << 20


def state_of(box):
    return box.state / "apmp" / box.name


def begin(box, *arguments):
    """`up` on its way; gives the wire, and the objects by kind and id."""
    wire = box.begin(*arguments)
    return wire, {(event.kind, event.id): event for event in wire.start() if event.op == "OBJECT"}


def on(wire, box):
    """Power on is complete; gives what `up` said on standard error."""
    wire.must("ON", text="on")
    code, out, err = box.word()
    assert (code, out) == (0, "on\n")
    return err


def contents_of(objects):
    """What was read at power on; None: nothing."""
    event = objects.get((OBJECTS["NVRAM"], 0))
    if event is None:
        return None
    text = os.pread(event.fds[0], event.size + 1, 0)
    assert text[event.size:] == b"\0", "a NUL behind the contents"
    return text[:event.size]


def post(wire, contents):
    """The request, without waiting for its answer."""
    fd = os.memfd_create("contents")
    os.write(fd, contents)
    seq = wire.send("NVRAM", size=len(contents), fds=[fd])
    os.close(fd)
    return seq


def save(wire, contents):
    return wire.wait("DONE", seq=post(wire, contents))


def must_save(wire, contents):
    answer = save(wire, contents)
    assert answer.error == 0, answer
    return answer.arg[0]


def fail_power(box):
    guard = box.guard()
    os.kill(box.box_pid(), signal.SIGKILL)
    guard.wait()


def again(box, *arguments):
    """What a next power on finds, and says; it is left on."""
    wire, objects = begin(box, *arguments)
    return contents_of(objects), on(wire, box), wire


def arm(objects, point, count=1):
    """As the console does (shm/recorder.c): in the box's own recorder."""
    layout = json.loads(subprocess.run([apmp.BIN / "layouts"], check=True,
                                       stdout=subprocess.PIPE).stdout)
    offsets = {field["name"]: field["offset"]
               for field in layout["structures"]["apmp_recorder"]["fields"]}
    number = 1 + apmp.points("").index(point)
    event = objects[OBJECTS["RECORDER"], BOX_RECORDER]
    with mmap.mmap(event.fds[0], event.size) as memory:
        word = ctypes.c_uint32.from_buffer(memory, offsets["arm"] + 4 * number)
        armed = ctypes.c_uint32.from_buffer(memory, offsets["armed"])
        word.value, armed.value = KILL << 30 | count, armed.value + 1
        del word, armed


# shows: PLAT-09
def test_a_first_power_on_has_none_and_leaves_none(box):
    wire, objects = begin(box)
    assert contents_of(objects) is None
    assert on(wire, box) == ""
    assert [path.name for path in state_of(box).iterdir()] == ["pid"]
    wire.send("OFF")
    wire.wait("DONE")
    Watched(box.box_pid()).wait()
    assert not state_of(box).exists() and not state_of(box).parent.exists()


# shows: PLAT-09
def test_what_was_answered_is_found(box):
    wire = box.up()
    assert must_save(wire, b'{"alpha": [0, 1]}') == 1
    assert must_save(wire, b'{"alpha": [0]}') == 2
    fail_power(box)
    found, said, wire = again(box)
    assert found == b'{"alpha": [0]}' and said == ""
    assert must_save(wire, b"3") == 3
    watched = Watched(box.box_pid())
    wire.send("OFF")
    watched.wait()
    assert sorted(path.name for path in state_of(box).iterdir()) == ["nvram.0", "nvram.1"]
    assert [path.stat().st_mode & 0o777 for path in state_of(box).iterdir()] == [0o600] * 2
    assert again(box)[0] == b"3"


def test_a_new_console_hears_of_what_was_read(box):
    wire = box.up()
    must_save(wire, b"read")
    fail_power(box)
    _, _, wire = again(box)
    must_save(wire, b"written since")
    box.kill(wire.pid)
    wire = box.meet()
    event = next(e for e in wire.start() if e.op == "OBJECT" and e.kind == OBJECTS["NVRAM"])
    assert (event.size, event.arg[0], event.text) == (4, 1, "")
    assert contents_of({(event.kind, 0): event}) == b"read"


# shows: PLAT-09
@pytest.mark.parametrize("point", POINTS)
def test_a_power_failure_at_each_step(box, point):
    """Before or after, and which of the two is told by the step."""
    wire, objects = begin(box)
    on(wire, box)
    must_save(wire, b"before")
    guard = box.guard()
    arm(objects, point)
    post(wire, b"after")
    guard.wait()
    assert wire.hear() is None
    found, said, wire = again(box)
    assert found == (b"after" if point in ("nvram_rename", "nvram_folder") else b"before")
    assert said == ""
    must_save(wire, b"next")
    fail_power(box)
    assert again(box)[0] == b"next"


# shows: PLAT-09
def test_power_failures_at_any_moment(box):
    """What was answered is there; else what was asked for since."""
    seed = random.randrange(1 << 30)
    print(f"seed {seed}")
    dice = random.Random(seed)
    sizes = [1, 100, 5000, 100000, 1000000]
    answered = asked = 0
    for _ in range(12):
        found, said, wire = again(box)
        found = int(found.split()[0]) if found else 0
        assert answered <= found <= asked and said == ""
        answered = asked = found
        box_fd = os.pidfd_open(box.box_pid())
        guard = box.guard()
        seqs = {}
        for _ in range(dice.randrange(1, 12)):
            asked += 1
            text = f"{asked} ".encode()
            seqs[post(wire, text + b"x" * dice.choice(sizes))] = asked
            for _ in range(dice.randrange(3)):
                answer = wire.hear()
                assert answer.error == 0, answer
                answered = max(answered, seqs.pop(answer.seq))
                if not seqs:
                    break
        signal.pidfd_send_signal(box_fd, signal.SIGKILL)
        os.close(box_fd)
        guard.wait()


@contextlib.contextmanager
def standing_still(box):
    """What is sent meanwhile the box reads in one go."""
    os.kill(box.box_pid(), signal.SIGSTOP)
    yield
    os.kill(box.box_pid(), signal.SIGCONT)


def test_several_that_wait_are_written_as_one(box):
    """And each is answered, in order, none before it is durable."""
    wire = box.up()
    with standing_still(box):
        seqs = [post(wire, b"x" * SIZE_MAX)]
        seqs += [post(wire, f"{number}".encode()) for number in range(10)]
    answers = [wire.wait("DONE", seq=seq) for seq in seqs]
    assert [answer.error for answer in answers] == [0] * 11
    assert [answer.arg[0] for answer in answers] == [1] + [2] * 10
    fail_power(box)
    assert again(box)[0] == b"9"


def test_the_box_goes_on_meanwhile(box):
    wire = box.up()
    with standing_still(box):
        slow = post(wire, b"x" * SIZE_MAX)
        quick = wire.send("DROP", 0, "RAM")
    assert [wire.hear().seq for _ in range(2)] == [quick, slow]


def test_too_many_that_wait(box):
    """More than wait are refused, one by one; the box reads no faster than it answers."""
    wire = box.up()
    seqs = [post(wire, b"x" * SIZE_MAX)]
    for number in range(80):
        seqs.append(post(wire, b"y"))
    errors = [wire.wait("DONE", seq=seq).error for seq in seqs]
    assert set(errors) <= {0, -errno.EBUSY}
    assert errors[:65] == [0] * 65
    assert wire.ask("DROP", 0, "RAM").error == 0


def test_the_contents_are_copied_at_once(box):
    """What the console does with its memory afterwards changes nothing."""
    wire = box.up()
    large = post(wire, b"x" * SIZE_MAX)
    fd = os.memfd_create("contents")
    os.write(fd, b"as it was")
    seq = wire.send("NVRAM", size=9, fds=[fd])
    wire.ask("DROP", 0, "RAM")  # it was read
    os.pwrite(fd, b"overwrite", 0)
    os.ftruncate(fd, 0)
    os.close(fd)
    assert [wire.wait("DONE", seq=s).error for s in (large, seq)] == [0, 0]
    fail_power(box)
    assert again(box)[0] == b"as it was"


def test_what_can_not_be_written_is_refused(box):
    wire = box.up()
    assert wire.ask("NVRAM", size=3).error == -errno.EINVAL
    fd = os.memfd_create("contents")
    os.write(fd, b"123")
    assert wire.ask("NVRAM", size=0, fds=[fd]).error == -errno.EINVAL
    answer = wire.ask("NVRAM", size=4, fds=[fd])
    assert answer.error == -errno.EINVAL and "has 3" in answer.text
    assert wire.ask("NVRAM", size=3, fds=[fd, fd]).error == -errno.EINVAL
    answer = wire.ask("NVRAM", size=SIZE_MAX + 1, fds=[fd])
    assert answer.error == -errno.E2BIG and answer.arg[:2] == [SIZE_MAX + 1, SIZE_MAX]
    assert str(SIZE_MAX) in answer.text
    os.close(fd)
    reading, writing = os.pipe()
    assert wire.ask("NVRAM", size=3, fds=[reading]).error == -errno.EINVAL
    close_all([reading, writing])
    fail_power(box)
    assert again(box)[0] is None


def test_power_off_waits_for_a_write(box):
    wire = box.up()
    watched = Watched(box.box_pid())
    seqs = [post(wire, b"x" * SIZE_MAX), post(wire, b"the last")]
    seqs.append(wire.send("OFF"))
    assert [wire.wait("DONE", seq=seq).error for seq in seqs] == [0, 0, 0]
    watched.wait()
    assert again(box)[0] == b"the last"


def test_a_signal_waits_for_a_write_too(box):
    wire = box.up()
    watched = Watched(box.box_pid())
    seq = post(wire, b"y" * SIZE_MAX)
    wire.ask("DROP", 0, "RAM")
    watched.kill(signal.SIGTERM)
    wire.wait("TERM")
    watched.kill(signal.SIGTERM)
    assert wire.wait("DONE", seq=seq).error == 0
    watched.wait()
    assert again(box)[0] == b"y" * SIZE_MAX


def test_a_console_that_died_is_written_for_all_the_same(box):
    wire = box.up()
    post(wire, b"x" * SIZE_MAX)
    post(wire, b"its last word")
    wire.ask("DROP", 0, "RAM")
    box.kill(wire.pid)
    wire = box.meet()
    wire.start()
    assert must_save(wire, b"the next one's") > 1
    assert not [event for event in wire.heard if event.op == "DONE"], "answers of another life"
    fail_power(box)
    assert again(box)[0] == b"the next one's"


# Damage.


def generations(box):
    """Writes two; gives their files, the older one first."""
    wire = box.up()
    must_save(wire, b"older")
    must_save(wire, b"newer")
    fail_power(box)
    return [state_of(box) / "nvram.0", state_of(box) / "nvram.1"]


def cut(path):
    path.write_bytes(path.read_bytes()[:-1])


def flip(path):
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def empty(path):
    path.write_bytes(b"")


def garbage(path):
    path.write_bytes(b"# a note of mine\n")


def newer(path):
    data = path.read_bytes()
    path.write_bytes(data[:8] + struct.pack("=Q", 2) + data[16:])


def loop(path):
    path.unlink()
    path.symlink_to(path.name)


def folder(path):
    path.unlink()
    path.mkdir()


DAMAGE = {cut: "is damaged", flip: "is damaged", empty: "is damaged",
          garbage: "was not written by apmp", newer: "has format 2, newer than this apmp",
          loop: f"can't be read ({os.strerror(errno.ELOOP)})",
          folder: f"can't be read ({os.strerror(errno.EOPNOTSUPP)})"}


# shows: PLAT-09
@pytest.mark.parametrize("damage", DAMAGE, ids=lambda damage: damage.__name__)
def test_damage_is_named_and_the_good_one_used(box, damage):
    files = generations(box)
    damage(files[1])
    wire, objects = begin(box)
    note = f"nvram.1 {DAMAGE[damage]}; generation 1 is used"
    assert contents_of(objects) == b"older"
    assert objects[OBJECTS["NVRAM"], 0].text == note
    assert on(wire, box) == (f'apmp: of the configuration that machine "{box.name}" keeps in '
                             f"{files[1].parent}, {note}\n")
    assert note in (box.rundir / "apmpd.log").read_text()
    if damage is folder:
        assert save(wire, b"next").error == -errno.EISDIR  # and stays so until it is removed
    else:
        assert must_save(wire, b"next") == 2
        fail_power(box)
        assert again(box)[:2] == (b"next", "")


# shows: PLAT-09
def test_only_damage_is_left(box):
    """The machine file's configuration is used, and whoever typed `up` is told."""
    files = generations(box)
    for path in files:
        cut(path)
    found, said, wire = again(box)
    assert found is None
    assert "nvram.0 is damaged and nvram.1 is damaged; the machine file's is used" in said
    assert must_save(wire, b"anew") == 1
    fail_power(box)
    assert again(box)[:2] == (b"anew", "")


@pytest.mark.parametrize("damage", [newer, loop], ids=lambda damage: damage.__name__)
def test_what_may_be_whole_is_not_written_over_unasked(box, damage):
    files = generations(box)
    for path in files:
        damage(path)
    result = box.apmpd("up", box.file)
    assert result.returncode == 1 and result.stdout == ""
    assert f"in {files[0].parent}, nvram.0 {DAMAGE[damage]} and nvram.1" in result.stderr
    assert "`apmp up --fresh`" in result.stderr
    assert not box.rundir.exists(), "nothing was started"
    assert all(path.is_symlink() or path.exists() for path in files)
    found, said, wire = again(box, "--fresh")
    assert (found, said) == (None, "")
    if damage is newer:
        must_save(wire, b"anew")
        fail_power(box)
        assert again(box)[0] == b"anew"
    else:
        assert save(wire, b"anew").error == -errno.ELOOP, "it may be what stands"


def test_a_copy_of_another_machines_is_refused(make_box):
    one, other = make_box(), make_box()
    generations(one)
    state_of(other).parent.mkdir(parents=True, mode=0o700)
    shutil.copytree(state_of(one), state_of(other))
    result = other.apmpd("up", other.file)
    assert result.returncode == 1 and f'nvram.0 is of machine "{one.name}"' in result.stderr


def test_fresh_uses_none_and_the_next_write_replaces_it(box):
    generations(box)
    found, said, wire = again(box, "--fresh")
    assert (found, said) == (None, "")
    fail_power(box)
    assert again(box)[0] == b"newer", "nothing was written since"
    fail_power(box)
    _, _, wire = again(box, "--fresh")
    assert must_save(wire, b"fresh") == 3
    fail_power(box)
    assert again(box)[0] == b"fresh"


# The folder.


def test_one_state_directory_is_one_machines(make_box):
    """Another run directory, the same state directory: refused before anything is started."""
    one, other = make_box(), make_box()
    one.up()
    other.env["XDG_STATE_HOME"] = str(one.state)
    result = other.apmpd("up", other.file, "--name", one.name)
    assert result.returncode == 1 and result.stdout == ""
    assert f"process {one.box_pid()} holds {state_of(one)}/pid" in result.stderr
    assert not (other.runtime / "apmp").exists()


def test_no_home(box):
    for variable in ("XDG_STATE_HOME", "HOME"):
        box.env.pop(variable, None)
    result = box.apmpd("up", box.file)
    assert result.returncode == 1
    assert "neither XDG_STATE_HOME nor HOME is set; set XDG_STATE_HOME" in result.stderr
    assert not box.rundir.exists()


def test_state_is_cleaned_when_asked_and_off(box):
    wire = box.up()
    must_save(wire, b"kept")
    assert box.apmpd("clean", "--state").returncode == 0
    assert (state_of(box) / "nvram.0").exists(), "a machine that is on keeps its own"
    assert box.apmpd("clean", "--state", "--name", box.name).returncode == 1
    fail_power(box)
    assert box.apmpd("clean", "--name", box.name).stdout == "nothing was left behind\n"
    assert (state_of(box) / "nvram.0").exists(), "clean alone leaves it"
    said = box.apmpd("clean", "--state", "--name", box.name)
    assert said.stdout == f'machine "{box.name}": removed {state_of(box)}\n'
    assert not state_of(box).parent.exists()
    assert again(box)[0] is None


def test_clean_all_states(make_box):
    one, other = make_box(), make_box()
    other.env["XDG_STATE_HOME"] = str(one.state)
    other.state = one.state
    for box in (one, other):
        must_save(box.up(), b"kept")
    fail_power(one)
    said = json.loads(one.apmpd("clean", "--state", "--json").stdout)
    assert said["complete"] is True
    assert f'machine "{one.name}": removed {state_of(one)}' in said["said"]
    assert not state_of(one).exists() and (state_of(other) / "nvram.0").exists()


# A disk that is full or can't be written.


@pytest.fixture
def mount(tmp_path):
    """mount(size) is a tmpfs of that size, for root in a container that may."""
    mounted = []

    def make(size, *options):
        path = tmp_path / f"disk{len(mounted)}"
        path.mkdir()
        said = subprocess.run(["mount", "-t", "tmpfs", "-o", ",".join([f"size={size}", *options]),
                               "tmpfs", path], stderr=subprocess.PIPE, text=True, check=False)
        if said.returncode:
            pytest.skip(f"no tmpfs can be mounted here: {said.stderr.strip()}")
        mounted.append(path)
        return path

    yield make
    for path in mounted:
        subprocess.run(["umount", path], check=True)


def fill(path):
    """Leaves no room; gives the file that takes it."""
    filler = path / "filler"
    fd = os.open(filler, os.O_WRONLY | os.O_CREAT)
    size = 1 << 20
    while size:
        try:
            os.write(fd, b"x" * size)
        except OSError as error:
            assert error.errno == errno.ENOSPC
            size //= 2
    os.close(fd)
    return filler


# shows: PLAT-09
@pytest.mark.parametrize("full", [False, True])
def test_a_small_disk_is_refused_in_bytes_before_anything_is_made(mount, box, full):
    disk = mount("2M")
    if full:
        fill(disk)
    box.env["XDG_STATE_HOME"] = str(disk)
    result = box.apmpd("up", box.file)
    assert result.returncode == 1 and result.stdout == ""
    wanted, had = (int(word) for word in result.stderr.split() if word.isdigit())
    assert wanted == 3 * (SIZE_MAX + PAGE) and had <= 2 << 20
    assert str(disk) in result.stderr
    assert not box.rundir.exists()
    assert not (disk / "apmp" / box.name).exists()


# shows: PLAT-09
def test_a_disk_that_fills_up_refuses_and_keeps_what_stands(mount, box):
    disk = mount("16M")
    box.env["XDG_STATE_HOME"] = str(disk)
    wire = box.up()
    must_save(wire, b"stands")
    filler = fill(disk)
    answer = save(wire, b"x" * 100000)
    assert answer.error == -errno.ENOSPC
    assert "100000 bytes" in answer.text and "No space left on device" in answer.text
    assert not (disk / "apmp" / box.name / "nvram.new").exists(), "it takes no room"
    filler.unlink()
    fail_power(box)
    found, _, wire = again(box)
    assert found == b"stands"
    must_save(wire, b"x" * 100000)
    fail_power(box)
    assert again(box)[0] == b"x" * 100000


def test_it_fits_what_is_promised(mount, box):
    """Three files of the largest size, on a disk that has just the room that is asked for."""
    disk = mount(3 * (SIZE_MAX + PAGE) + 16 * PAGE)
    box.env["XDG_STATE_HOME"] = str(disk)
    wire = box.up()
    for byte in b"abcd":
        must_save(wire, bytes([byte]) * SIZE_MAX)
    fail_power(box)
    assert again(box)[0] == b"d" * SIZE_MAX


def test_a_disk_that_can_not_be_written(mount, box):
    disk = mount("32M")
    box.env["XDG_STATE_HOME"] = str(disk)
    must_save(box.up(), b"stands")
    fail_power(box)
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    result = box.apmpd("up", box.file)
    assert result.returncode == 1 and result.stdout == ""
    assert "Read-only file system" in result.stderr and "set XDG_STATE_HOME" in result.stderr
    assert not box.rundir.exists()


def test_an_error_that_goes_away(box):
    wire = box.up()
    must_save(wire, b"stands")
    in_the_way = state_of(box) / "nvram.new"
    in_the_way.mkdir()
    answer = save(wire, b"refused")
    assert answer.error == -errno.EISDIR and "7 bytes" in answer.text
    assert answer.text in (box.rundir / "apmpd.log").read_text()
    in_the_way.rmdir()
    assert must_save(wire, b"goes on") == 2
    fail_power(box)
    assert again(box)[0] == b"goes on"


def test_a_folder_of_somebody_elses(box):
    if os.geteuid() != 0:
        pytest.skip("only root can give a folder away")
    box.state.mkdir()
    os.chown(box.state, 65534, 65534)
    result = box.apmpd("up", box.file)
    assert result.returncode == 1
    assert f"{box.state} belongs to uid 65534, not to us (uid 0)" in result.stderr
    assert "XDG_STATE_HOME" in result.stderr


def test_its_folder_is_removed_under_it(box):
    """Said with each write, until it is powered on again."""
    wire = box.up()
    must_save(wire, b"lost")
    shutil.rmtree(state_of(box))
    answer = save(wire, b"refused")
    assert answer.error == -errno.ENOENT and str(state_of(box)) in answer.text
    fail_power(box)
    found, _, wire = again(box)
    assert found is None
    must_save(wire, b"kept")


# The whole machine.


def test_box_is_killed_by_a_fault(machine):
    """`apmp chaos inject kill box`: the power fails."""
    guard = Watched(machine.box_pid())
    assert "fault kill is armed: it strikes the box" in machine.apmp(
        "chaos", "inject", "kill", "box", "--at", "nvram_rename:9")
    assert "is disarmed" in machine.apmp("chaos", "inject", "kill", "box", "--at",
                                         "nvram_rename:0")
    assert guard.runs
    said = machine.apmp("chaos", "inject", "kill", "box")
    assert f'machine "{machine.name}" has lost its power; `apmp up FILE` goes on' in said
    guard.wait()
    machine.up()
    assert "the box can't have the fault" in machine.refused("chaos", "inject", "stop", "box")


# shows: PLAT-09
@pytest.mark.parametrize("point", POINTS)
def test_a_machine_comes_back_as_it_was(machine, point):
    """A migration whose write meets a power failure."""
    mark = machine.events.mark()
    machine.apmp("chaos", "inject", "kill", "box", "--at", point)
    box = Watched(machine.box_pid())
    machine.try_apmp("cpu", "migrate", "2", "--to", "beta")
    box.wait()
    machine.up()
    owner = machine.cpu(2)["owner"]
    assert owner == ("beta" if point in ("nvram_rename", "nvram_folder") else "alpha"), mark
    assert {c["owner"] for c in machine.status()["cpus"]} == {"alpha", "beta", "gamma"}
