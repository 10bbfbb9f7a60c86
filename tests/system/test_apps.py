"""Programs in a partition and their instance: named locks, deaths, and programs that are mad."""
import errno
import os
import select
import signal
import subprocess
import time

import pytest

import apmp
import inside
from inside import Connection, request

MACHINE = apmp.PATIENT  # fifty programs at once may make a heartbeat late


def lock(machine, partition, *words, **options):
    return machine.try_apmp("run", partition, "--", "apmp-lock", *words, **options)


class Holder:
    """A program that holds a lock until it is told to let go, or ends."""

    def __init__(self, machine, partition, name, *options):
        self.process = machine.start(
            "run", partition, "--", "apmp-lock", *options, name, "--", "sh", "-c",
            "echo $PPID $$; read -r word", stdin=subprocess.PIPE)
        self.line = self.process.stdout.readline().split()
        assert self.line, self.process.stderr.read()
        self.pids = [int(word) for word in self.line]  # apmp-lock, and its command

    def let_go(self):
        self.process.communicate("\n", apmp.WATCHDOG)
        return self.process.returncode


def broken(said):
    return said.code == 75 and "a holder was lost while it held it" in said.err


# ---- apmp-lock ----


def test_a_name_is_one_line_of_a_sentence(shared):
    said = lock(shared, "alpha", 40 * "x\n", "--", "true")
    assert said.code == 69 and "x?x?" in said.err
    assert len(said.err.splitlines()) == 1


@pytest.mark.parametrize("code", [0, 1, 3, 255])
def test_it_ends_as_its_command_did(shared, code):
    said = lock(shared, "alpha", "journal", "--", "sh", "-c", f"echo out; exit {code}")
    assert (said.code, said.out, said.err) == (code, "out\n", "")


def test_one_holder_at_a_time(shared):
    """Between partitions. shows: COMM-04"""
    holder = Holder(shared, "alpha", "journal")
    for partition in ("alpha", "beta", "gamma"):
        said = lock(shared, partition, "--try", "journal", "--", "echo", "ran")
        assert (said.code, said.out) == (1, ""), str(said)
        assert said.err == 'apmp-lock: lock "journal" is held\n'
    waiter = shared.start("run", "beta", "--", "apmp-lock", "journal", "--", "echo", "ran")
    assert holder.let_go() == 0
    out, err = waiter.communicate(timeout=apmp.WATCHDOG)
    assert (waiter.returncode, out, err) == (0, "ran\n", "")


def test_a_wait_that_is_too_long(shared):
    holder = Holder(shared, "alpha", "journal")
    for time in ("0.05", "0.05s", "50ms", "50000us"):
        said = lock(shared, "gamma", "--wait", time, "journal", "--", "echo", "ran")
        assert (said.code, said.out) == (1, "")
        assert said.err == 'apmp-lock: lock "journal" was held for all of 0.050 s\n'
    assert holder.let_go() == 0


def test_each_lock_is_its_own(shared):
    holder = Holder(shared, "alpha", "one")
    assert lock(shared, "beta", "--try", "two", "--", "true").code == 0
    assert holder.let_go() == 0


def test_usage(shared):
    time = "--wait is a time as 500ms or 2s, not"
    rank = "--rank is a number from 1 to 4294967295, not"
    for words, sentence in (
            ("", "a lock has a name, and none is given"),
            ("journal", 'there is no command to be run while lock "journal" is held'),
            ("--rank 0 journal -- true", f'{rank} "0"'),
            ("--rank one journal -- true", f'{rank} "one"'),
            ("--wait soon journal -- true", f'{time} "soon"'),
            ("--wait -1 j -- true", f'{time} "-1"'), ("--wait nan j -- true", f'{time} "nan"'),
            ("--wait 5h j -- true", f'{time} "5h"'),
            ("--try --wait 1s j -- true", "--try does not wait, and --wait 1s does"),
            ("--good j -- true", '--good runs nothing, and "true" is to be run'),
            ("--good --repair true j", "--good says that the data is good, and --repair makes it "
             "so: one of them")):
        said = lock(shared, "alpha", *words.split())
        assert said.code == 2, str(said)
        assert said.err.startswith(f"apmp-lock: {sentence}\nusage: apmp-lock "), said.err
    said = lock(shared, "alpha", "--no-such", "journal", "--", "true")
    assert said.code == 2 and "--no-such" in said.err and "usage:" in said.err
    assert lock(shared, "alpha", "journal", "--", "no-such-program").code == 127
    assert lock(shared, "alpha", "journal", "--", "/etc").code == 126


@pytest.mark.parametrize("name", ["", "x" * 32, "x" * 200])
def test_what_is_no_name(shared, name):
    said = lock(shared, "alpha", name, "--", "true")
    assert said.code == 69 and "a lock has a name of 1 to 31 bytes" in said.err


def test_ranks_are_agreed_on(shared):
    holder = Holder(shared, "alpha", "ranked", "--rank", "7")
    said = lock(shared, "beta", "--rank", "8", "ranked", "--", "true")
    assert said.code == 69
    assert said.err == ('apmp-lock: lock "ranked" is in use with another rank than 8: all must '
                        'open it with the same\n')
    assert holder.let_go() == 0


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_standard_descriptors(shared, closed):
    """The connection is none of them: what the command prints is no request, and what it does is
    what it would do without a lock."""
    said = shared.try_apmp("run", "alpha", "--", "sh", "-c",
                           f"apmp-lock so1 -- sh -c 'exec 3>&1 && echo hello' {closed}")
    plain = shared.try_apmp("run", "alpha", "--", "sh", "-c",
                            f"sh -c 'exec 3>&1 && echo hello' {closed}")
    assert ("hello\n" in said.out, bool(said.code)) == ("hello\n" in plain.out, bool(plain.code))
    assert lock(shared, "beta", "--try", "so1", "--", "echo", "ran").out == "ran\n"
    said = shared.try_apmp("run", "alpha", "--", "sh", "-c", f"apmp-events --now {closed}")
    assert said.code == (">&-" in closed.split()), "nobody reads what it prints"


def test_outside_of_a_partition(shared):
    for program in (["apmp-events"], ["apmp-lock", "journal", "--", "true"]):
        said = subprocess.run([apmp.BIN / program[0], *program[1:]], capture_output=True,
                              text=True, env={"PATH": os.environ["PATH"]}, check=False)
        assert said.returncode in (1, 69)
        assert said.stderr == (f"{program[0]}: this program does not run in a partition; `apmp run "
                               "PARTITION -- COMMAND` starts one that does\n")


def test_confined(shared):
    """With the partition's own uid, which can enter no folder of ours."""
    if os.geteuid():
        pytest.skip("partitions have uids where the box runs as root")
    said = shared.try_apmp("run", "--confined", "beta", "--", str(apmp.BIN / "apmp-events"),
                           "--now")
    if "Permission denied" in said.err:
        pytest.skip("this uid can't execute what was built here")
    assert said.out.splitlines()[1] == "member   beta 1 self", str(said)


# ---- deaths ----


@pytest.mark.parametrize("survivor", ["alpha", "beta"])
def test_a_program_dies_in_a_living_instance(shared, survivor):
    """Its command is the last that has the lock; the next holder is told, wherever it runs, until
    one says that all is good. shows: COMM-04"""
    holder = Holder(shared, "alpha", "journal")
    waiter = shared.start("run", survivor, "--", "apmp-lock", "--repair", "echo repaired",
                          "journal", "--", "echo", "ran")
    os.kill(holder.pids[0], signal.SIGKILL)
    said = lock(shared, "gamma", "--try", "journal", "--", "true")
    assert said.code == 1, "its command still runs, and holds the lock"
    os.kill(holder.pids[1], signal.SIGKILL)
    out, err = waiter.communicate(timeout=apmp.WATCHDOG)
    assert (waiter.returncode, out) == (0, "repaired\nran\n")
    assert err == ('apmp-lock: lock "journal": a holder was lost while it held it, and nobody has '
                   'said that what it protects is good\n')
    holder.process.communicate(timeout=apmp.WATCHDOG)
    for partition in ("alpha", "beta", "gamma"):
        said = lock(shared, partition, "--repair", "echo repaired", "journal", "--", "echo", "ran")
        assert (said.out, said.err) == ("ran\n", ""), "it was repaired already"


def test_a_command_that_a_signal_ends(shared):
    said = lock(shared, "alpha", "journal", "--", "sh", "-c", "kill -SEGV $$")
    assert said.code == 128 + signal.SIGSEGV
    assert said.err.startswith("apmp-lock: sh was ended by signal 11: lock \"journal\" is broken")
    for failing in ("false", "kill -KILL $$", "no-such-program 2>&-"):
        said = lock(shared, "beta", "--repair", failing, "journal", "--", "echo", "ran")
        assert (said.code, said.out) == (75, "")
        assert said.err.endswith("apmp-lock: the repair failed, and nothing else was run\n")
    assert broken(lock(shared, "beta", "journal", "--", "true"))
    assert lock(shared, "beta", "--good", "journal").code == 0
    assert lock(shared, "beta", "journal", "--", "true").code == 0


def test_a_partition_dies_with_a_lock(machine):
    """Its lock goes to who waits in another, told, after the fence.
    shows: COMM-04, DB-10, FAIL-04"""
    holder = Holder(machine, "beta", "journal")
    waiters = [machine.start("run", name, "--", "apmp-lock", "journal", "--", "echo", name)
               for name in ("alpha", "gamma")]
    fd = os.pidfd_open(holder.pids[1])
    machine.kill_partition("beta")
    for waiter, name in zip(waiters, ("alpha", "gamma")):
        out, err = waiter.communicate(timeout=apmp.WATCHDOG)
        assert (waiter.returncode, out) == (75, ""), name
        assert err.splitlines()[1].startswith("apmp-lock: nothing was run; name a command that")
    assert apmp.ended(fd, 0), "another has the lock, and its old holder lives"
    os.close(fd)
    machine.boots_and_joins("beta")
    assert broken(lock(machine, "beta", "journal", "--", "true"))
    assert lock(machine, "beta", "--good", "journal").code == 0


def test_the_instance_dies_under_a_program(machine):
    """Who waits for an event or a lock in it is ended with it, by the fence."""
    holder = Holder(machine, "alpha", "journal")
    programs = [machine.start("run", "beta", "--", *words) for words in
                (["apmp-events"], ["apmp-lock", "journal", "--", "true"])]
    assert programs[0].stdout.readline() == "member   alpha 1\n"
    machine.kill_partition("beta")
    for program in programs:
        program.communicate(timeout=apmp.WATCHDOG)
        assert program.returncode in (1, 69, 128 + signal.SIGKILL)
    assert holder.let_go() == 0
    assert lock(machine, "gamma", "journal", "--", "true").code == 0


# ---- many, and mad ----


def test_fifty_programs(shared):
    """Of three partitions, one after another: none is lost, and never two at once."""
    count = shared.dir / "count"
    count.write_text("0")
    script = f"n=$(cat {count}); echo $((n + 1)) > {count}"
    programs = [shared.start("run", ("alpha", "beta", "gamma")[number % 3], "--", "apmp-lock",
                             "count", "--", "sh", "-c", script) for number in range(50)]
    for program in programs:
        out, err = program.communicate(timeout=apmp.WATCHDOG)
        assert program.returncode == 0, out + err
    assert count.read_text() == "50\n"


def test_who_came_first_is_served_first(shared):
    place = inside.address_of(shared, "alpha")
    connections = [Connection(place, "LOCKS") for _ in range(20)]
    locks = [connection.open("queue") for connection in connections]
    connections[0].must("ACQUIRE", locks[0], inside.NEVER)
    for connection, number in zip(connections[1:], locks[1:]):
        connection.send(request("ACQUIRE", number, timeout=inside.NEVER))
    for first, second, number in zip(connections, connections[1:], locks):
        first.must("RELEASE", number)
        assert second.receive().error == 0
    for connection in connections:
        connection.close()
    assert broken(lock(shared, "alpha", "queue", "--", "true")), "the last one did not let go"
    assert lock(shared, "alpha", "--good", "queue").code == 0


def test_ranks_rise(shared):
    connection = Connection(inside.address_of(shared, "alpha"), "LOCKS")
    low, high = connection.open("low", 3), connection.open("high", 5)
    connection.must("ACQUIRE", high)
    said = connection.must("ACQUIRE", low, error=-errno.EDEADLK)
    assert said.text == ('lock "low" of rank 3 can\'t be taken by who holds "high": take locks in '
                         'the order of their ranks')
    connection.must("ACQUIRE", high, error=-errno.EALREADY)
    connection.must("CLOSE", high, error=-errno.EBUSY)
    connection.must("RELEASE", low, error=-errno.EPERM)
    connection.must("GOOD", low, error=-errno.EPERM)
    connection.must("RELEASE", high)
    connection.must("ACQUIRE", low)
    connection.must("ACQUIRE", high)
    connection.must("RELEASE", low)
    connection.must("RELEASE", high)
    connection.must("CLOSE", low)
    connection.must("RELEASE", low, error=-errno.ESTALE)
    connection.close()


def test_what_another_connection_opened(shared):
    """A number means something on its own connection only."""
    place = inside.address_of(shared, "alpha")
    one, other = Connection(place, "LOCKS"), Connection(place, "LOCKS")
    number = one.open("private")
    one.must("ACQUIRE", number)
    for op in ("ACQUIRE", "RELEASE", "GOOD", "CLOSE"):
        for guess in (number, 0, 33, 2**32 - 1):
            other.must(op, guess, error=-errno.ESTALE)
    one.must("RELEASE", number)
    one.close()
    other.close()


def test_many_locks_of_one_program(shared):
    connection = Connection(inside.address_of(shared, "alpha"), "LOCKS")
    numbers = [connection.open(f"many-{number}", number + 1) for number in range(32)]
    said = connection.ask(request("OPEN", rank=1, said="one-more"))
    assert (said.error, said.text) == (
        -errno.EMFILE, 'lock "one-more" can\'t be opened: the program has 32 open already')
    for number in numbers[:8]:
        connection.must("ACQUIRE", number)
    connection.must("ACQUIRE", numbers[8], error=-errno.EMFILE)
    connection.close()
    for number in range(8):
        assert broken(lock(shared, "beta", "--rank", str(number + 1), f"many-{number}", "--",
                           "true"))


@pytest.mark.parametrize("word", ["", "0" * 32, "g" * 39])
def test_a_wrong_word(shared, word):
    connection = Connection(inside.address_of(shared, "alpha"))
    said = connection.ask(request("LOCKS", said=word))
    assert said.error == -errno.EACCES and said.partition == 0 and not said.name
    assert connection.closed()


def test_the_word_of_another_partition_or_life(machine):
    (address, word), (_, other) = (inside.address_of(machine, name) for name in ("alpha", "beta"))
    assert word != other
    assert Connection((address, other), "LOCKS").welcome.error == -errno.EACCES
    machine.apmp("partition", "reset", "alpha")
    machine.at_rest(["alpha", "beta", "gamma"])
    with pytest.raises(ConnectionRefusedError):
        Connection((address, word))
    renewed = inside.address_of(machine, "alpha")[0]
    assert Connection((renewed, word), "EVENTS").welcome.error == -errno.EACCES


def test_another_version(shared):
    connection = Connection(inside.address_of(shared, "alpha"))
    said = connection.ask(request("LOCKS", version=1))
    assert (said.version, said.error) == (2, -errno.EPROTO)
    assert connection.closed()


GARBAGE = {"nothing": b"", "a byte": b"\1", "too short": request("OPEN")[:-1],
           "too long": request("OPEN") + b"\0", "noise": os.urandom(inside.REQUEST.size),
           "much noise": os.urandom(100_000), "no end": request("OPEN")[:-40] + b"x" * 40,
           "no operation": request(99), "not now": request("LOCKS"),
           "another version": request("OPEN", version=7)}


@pytest.mark.parametrize("begun", [None, "LOCKS", "EVENTS"])
@pytest.mark.parametrize("what", GARBAGE)
def test_garbage_closes_its_connection(shared, begun, what):
    """And nobody else's: a lock that it held is broken, one of another program is not."""
    place = inside.address_of(shared, "alpha")
    witness = Connection(place, "LOCKS")
    kept = witness.open("kept")
    witness.must("ACQUIRE", kept)
    mad = Connection(place, begun)
    if begun == "LOCKS":
        mad.must("ACQUIRE", mad.open("lost"))
    mad.send(GARBAGE[what])
    assert mad.closed()
    mad.close()
    witness.must("RELEASE", kept)
    witness.close()
    if begun == "LOCKS":
        assert broken(lock(shared, "beta", "lost", "--", "true"))
        assert lock(shared, "beta", "--good", "lost").code == 0


def test_a_flood(shared):
    """Of requests whose answers are not read: it is closed, others are served meanwhile."""
    place = inside.address_of(shared, "alpha")
    mad = Connection(place, "LOCKS")
    sent = 0
    with pytest.raises((ConnectionError, BrokenPipeError)):
        while True:
            mad.send(request("RELEASE", 1))
            sent += 1
            assert sent < 1_000_000
    assert lock(shared, "alpha", "--try", "journal", "--", "true").code == 0
    mad.close()


def test_strangers_hold_up_nobody(shared):
    """More of them than there are connections, who say nothing, and then go."""
    place = inside.address_of(shared, "alpha")
    pid = shared.pid("alpha")
    before = inside.descriptors(pid)
    mine = Connection(place, "LOCKS")
    strangers = [Connection(place) for _ in range(300)]
    number = mine.open("mine")
    mine.must("ACQUIRE", number)
    assert inside.members_now(place) == ["alpha", "beta", "gamma"]
    for stranger in strangers:
        stranger.close()
    mine.must("RELEASE", number)
    mine.close()
    shared.until(lambda count: count == before, lambda: inside.descriptors(pid))


def test_more_programs_than_there_is_room_for(shared):
    place = inside.address_of(shared, "gamma")
    connections = [Connection(place, "EVENTS") for _ in range(256)]
    assert all(connection.welcome.error == 0 for connection in connections)
    for program in ("apmp-events", "apmp-lock --good journal"):
        said = shared.try_apmp("run", "gamma", "--", *program.split())
        assert said.err == (f"{program.split()[0]}: the instance serves as many programs as it "
                            "can\n")
    connections[7].close()
    shared.until(lambda said: said.code == 0,
                 lambda: shared.try_apmp("run", "gamma", "--", "apmp-events", "--now"))
    for connection in connections:
        connection.close()


def test_an_instance_without_descriptors(make_machine):
    """Who comes waits until it has one again; others are served, and it does not run hot."""
    machine = make_machine()
    machine.command = ["prlimit", "--nofile=260:260", *machine.command]
    machine.up()
    place, pid = inside.address_of(machine, "alpha"), machine.pid("alpha")
    witness = Connection(place, "LOCKS")
    number = witness.open("witness")
    strangers = [Connection(place) for _ in range(255)]
    machine.until(lambda count: count == 260, lambda: inside.descriptors(pid))
    late = Connection(place)
    late.send(request("LOCKS", said=place[1]))
    began, ran = time.monotonic_ns(), inside.run_ns(pid, "programs")
    beats = machine.partition("alpha")["instance"]["heartbeat"]
    machine.until(lambda partition: partition["instance"]["heartbeat"] > beats + 100,
                  lambda: machine.partition("alpha"))
    assert inside.run_ns(pid, "programs") - ran < (time.monotonic_ns() - began) / 50
    witness.must("ACQUIRE", number)
    witness.must("RELEASE", number)
    assert not select.select([late.socket], [], [], 0)[0]
    for stranger in strangers:
        stranger.close()
    assert late.receive().error == 0
    late.close()
    witness.close()


def test_a_reader_that_stops_learns_the_state(machine):
    """It is not told what came and went meanwhile, and holds up nobody."""
    place = inside.address_of(machine, "alpha")
    reader = Connection(place, "EVENTS")
    for life in (2, 3, 4):
        machine.kill_partition("beta")
        machine.at_rest(["alpha", "gamma"])
        machine.boots_and_joins("beta")
        machine.at_rest(["alpha", "beta", "gamma"])
    known, seq = {}, 0
    while known.get("beta") != 4:
        event = reader.event()
        if event.kind == inside.ADDED:
            assert event.name not in known
            known[event.name] = event.incarnation
        elif event.kind == inside.REMOVED:
            assert known.pop("beta") == event.incarnation
        assert event.seq >= seq
        seq = event.seq
    assert known == {"alpha": 1, "beta": 4, "gamma": 1} and seq == 9
    reader.close()


def test_a_program_that_ends_while_it_waits(shared):
    """Nothing is left of it: the lock is not taken for it, and never broken."""
    place = inside.address_of(shared, "alpha")
    holder, waiter = Connection(place, "LOCKS"), Connection(place, "LOCKS")
    number = holder.open("long")
    holder.must("ACQUIRE", number)
    waiter.send(request("ACQUIRE", waiter.open("long"), timeout=inside.NEVER))
    waiter.close()
    again = Connection(place, "LOCKS")
    said = again.must("ACQUIRE", again.open("long"), timeout=20_000_000, error=-errno.ETIMEDOUT)
    assert said.text == 'lock "long" was held for all of 0.020 s'
    holder.must("RELEASE", number)
    again.close()
    holder.close()
    assert lock(shared, "alpha", "--try", "long", "--", "true").code == 0


def test_a_program_that_ends_just_before_its_turn(shared):
    """It never heard that it had the lock, so nothing is half done. The instance learns of its end
    behind the release, for so many others have something to ask."""
    place, pid = inside.address_of(shared, "alpha"), shared.pid("alpha")
    holder, waiter = Connection(place, "LOCKS"), Connection(place, "LOCKS")
    number = holder.open("turn")
    holder.must("ACQUIRE", number)
    waiter.send(request("ACQUIRE", waiter.open("turn"), timeout=inside.NEVER))
    others = [Connection(place, "LOCKS") for _ in range(40)]
    os.kill(pid, signal.SIGSTOP)
    shared.until(lambda stands: stands, lambda: inside.stands_still(pid))
    holder.send(request("RELEASE", number))
    for other in others:
        other.send(request("RELEASE", 1))
    waiter.close()
    os.kill(pid, signal.SIGCONT)
    for connection in (holder, *others):
        assert connection.receive().error in (0, -errno.ESTALE)
        connection.close()
    said = lock(shared, "alpha", "turn", "--", "true")
    assert (said.code, said.err) == (0, "")


STRANGER = """
import socket, sys
while True:
    one = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    one.connect("\\0" + sys.argv[1])
    one.close()
"""


def test_strangers_who_come_all_the_time(shared):
    """Programs come in between them, and are served."""
    place = inside.address_of(shared, "alpha")
    mine = Connection(place, "LOCKS")
    number = mine.open("mine")
    strangers = [subprocess.Popen(["/usr/bin/python3", "-c", STRANGER, place[0]])
                 for _ in range(6)]
    try:
        for _ in range(200):
            mine.must("ACQUIRE", number)
            mine.must("RELEASE", number)
            late = Connection(place, "LOCKS")
            assert late.welcome and late.welcome.error == 0
            late.close()
    finally:
        for stranger in strangers:
            stranger.kill()
            stranger.wait()
    mine.close()


def answered_at_once(connection):
    return bool(select.select([connection.socket], [], [], 0)[0])


def test_a_debugger_holds_who_opens_a_lock(machine):
    """Who opens one elsewhere waits for it to go on; all other programs are served."""
    place, pid = inside.address_of(machine, "alpha"), machine.pid("beta")
    witness, opener = Connection(place, "LOCKS"), Connection(place, "LOCKS")
    number = witness.open("mine")
    machine.apmp("debug", "beta")
    busy = Connection(inside.address_of(machine, "beta"), "LOCKS")
    for _ in range(5000):
        busy.send(request("OPEN", rank=1, said="busy"))
        os.kill(pid, signal.SIGSTOP)
        machine.until(lambda stands: stands, lambda: inside.stands_still(pid))
        opener.send(request("OPEN", rank=1, said="other"))
        for op in ("ACQUIRE", "RELEASE", "ACQUIRE", "RELEASE"):  # it was tried before these
            witness.must(op, number)
        caught = not answered_at_once(opener)
        os.kill(pid, signal.SIGCONT)
        opener.must("CLOSE", opener.receive().lock)
        busy.must("CLOSE", busy.receive().lock)
        if caught:
            break
    assert caught, "beta never stood still where it has the table of names"
    for connection in (witness, opener, busy):
        connection.close()


def contended(machine, name):
    """How often somebody had to wait for a lock."""
    return apmp.named(machine.apmp("lock", "list", json=True), name)["contended"]


SLOW = apmp.TRIO + "timing: {tick: 2s, suspect: 3, stop: 20s}\n"


@pytest.mark.machine_file(SLOW)
def test_no_tick_is_waited_for(machine):
    """A lock goes from partition to partition at once: forty times in less than half of the ticks
    that it would take if it were looked for at each."""
    connections = [Connection(inside.address_of(machine, name), "LOCKS")
                   for name in ("alpha", "beta")]
    locks = [connection.open("ball") for connection in connections]
    connections[0].must("ACQUIRE", locks[0])
    before = machine.partition("alpha")["instance"]["heartbeat"]
    for turn in range(40):
        here, there = turn % 2, (turn + 1) % 2
        connections[there].send(request("ACQUIRE", locks[there], timeout=inside.NEVER))
        machine.until(lambda number: number > turn, lambda: contended(machine, "ball"))
        connections[here].must("RELEASE", locks[here])
        assert connections[there].receive().error == 0
    assert machine.partition("alpha")["instance"]["heartbeat"] - before < 20
    for connection in connections:
        connection.close()


# ---- the instance dies at each step of a lock's path ----

SCRIPT = """apmp-lock journal -- sh -c 'kill -KILL $$'
apmp-lock --repair true journal -- true
apmp-lock held -- true && echo alive
"""  # between the instance's end and the fence its programs still run


@pytest.mark.parametrize("point", ["table", "slot", "open", "acquired", "broken", "marked", "freed",
                                   "good", "release", "wait"])
def test_an_instance_that_dies_on_the_path_of_a_lock(machine, point):
    """Its locks are had by others, who are told what they must know, and by its own next life.
    shows: COMM-04, FAIL-05"""
    holder = Holder(machine, "gamma", "held")
    machine.arm("alpha", f"named_{point}")
    died = machine.start("run", "alpha", "--", "sh", "-c", SCRIPT)
    out, _ = died.communicate(timeout=apmp.WATCHDOG)
    assert "alive" not in out
    machine.at_rest(["beta", "gamma"])
    said = lock(machine, "beta", "--repair", "echo repaired", "journal", "--", "echo", "ran")
    assert said.code == 0 and said.out.endswith("ran\n"), str(said)
    if point in ("acquired", "broken", "marked", "good", "release"):
        assert said.out == "repaired\nran\n"
    assert holder.let_go() == 0
    machine.boots_and_joins("alpha")
    for name in ("journal", "held"):
        assert lock(machine, "alpha", name, "--", "true").code == 0
