"""The control protocol as a foreign client sees it: Varlink over a Unix socket, written here from
the Varlink documentation and the interface definition, with nothing of ours in between."""
import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import time

import pytest

import apmp

MACHINE_INTERFACE = "org.apmp.machine"
CONNECTIONS = 128  # VARLINK_CONN_MAX
METHODS = {"Status", "Tree", "Events", "Trace", "PartitionBoot", "PartitionHalt", "PartitionCrash",
           "PartitionReset", "PartitionDump", "PartitionDebug", "CpuMigrate", "CpuWish", "CpuStart",
           "CpuStop", "CpuFailover", "CpuAutostart", "PartitionCreate", "PartitionDelete",
           "PartitionSet", "CommunityCreate", "CommunityDelete", "CommunityAdd", "CommunityRemove",
           "CpuAssign", "CpuDeassign", "BusAssign", "BusDeassign", "MemoryAssign", "MemoryDeassign",
           "MemoryList", "HardwareAdd", "HardwareRemove", "HardwareList", "Run", "ConsolePort",
           "Inject", "Points", "PowerOff", "Memory"}


class Client:
    """One connection."""

    def __init__(self, machine):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(apmp.WATCHDOG)
        self.socket.connect(str(machine.rundir / "control"))
        self.bytes = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, method, parameters=None, **flags):
        call = {"method": method if "." in method else f"{MACHINE_INTERFACE}.{method}", **flags}
        if parameters is not None:
            call["parameters"] = parameters
        self.socket.sendall(json.dumps(call).encode() + b"\0")

    def receive(self):
        """The next reply; None when the machine has closed the connection."""
        while b"\0" not in self.bytes:
            more = self.socket.recv(65536)
            if not more:
                return None
            self.bytes += more
        message, _, self.bytes = self.bytes.partition(b"\0")
        return json.loads(message)

    def call(self, method, parameters=None, **flags):
        self.send(method, parameters, **flags)
        return self.receive()


@pytest.fixture
def client(shared):
    with Client(shared) as connected:
        yield connected


def test_it_tells_what_it_is(client):
    info = client.call("org.varlink.service.GetInfo")["parameters"]
    assert set(info) >= {"vendor", "product", "version", "url", "interfaces"}
    assert set(info["interfaces"]) == {"org.varlink.service", MACHINE_INTERFACE}


def test_the_interface_is_the_contract(client):
    """What is served is the file in the sources, and it declares each method."""
    said = client.call("org.varlink.service.GetInterfaceDescription",
                       {"interface": MACHINE_INTERFACE})["parameters"]["description"]
    assert said == (apmp.TOP / "shm/wire/org.apmp.machine.varlink").read_text()
    assert set(re.findall(r"^method (\w+)\(", said, re.M)) == METHODS
    service = client.call("org.varlink.service.GetInterfaceDescription",
                          {"interface": "org.varlink.service"})["parameters"]["description"]
    assert service.startswith(("interface org.varlink.service", "#"))


def test_status(client, shared):
    status = client.call("Status")["parameters"]["status"]
    assert status["machine"] == shared.name
    assert apmp.members(status) == {"alpha", "beta", "gamma"}
    assert client.call("Status", {})["parameters"]["status"]["machine"] == shared.name


def test_calls_of_one_connection_are_answered_in_order(client):
    for _ in range(20):
        client.send("Status")
        client.send("Points")
    for _ in range(20):
        assert "status" in client.receive()["parameters"]
        assert "points" in client.receive()["parameters"]


def test_a_call_in_pieces(client):
    call = json.dumps({"method": f"{MACHINE_INTERFACE}.Points"}).encode() + b"\0"
    for byte in call:
        client.socket.sendall(bytes([byte]))
    assert len(client.receive()["parameters"]["points"]) > 50


def test_a_oneway_call_has_no_answer(client):
    client.send("Status", oneway=True)
    assert "points" in client.call("Points")["parameters"]


def test_tree_has_levels(client):
    answer = client.call("Tree")["parameters"]
    assert answer["levels"]["transient"] == answer["levels"]["current"]


def test_events_follow_a_half_closed_client(shared):
    """A client that will send no more keeps its stream."""
    with Client(shared) as following:
        following.send("Events", {"since": 1, "follow": True}, more=True)
        first = following.receive()
        assert first["continues"] is True
        assert first["parameters"]["event"]["seq"] == 1
        assert first["parameters"]["event"]["kind"] == "machine.on"
        following.socket.shutdown(socket.SHUT_WR)
        mark = shared.events.mark()
        shared.kill_partition("beta")
        shared.events.wait_for("instance.fenced", partition="beta", after=mark)
        shared.boots_and_joins("beta")
        last, kinds = 1, []
        while "member.joined" not in kinds or "member.removed" not in kinds:
            reply = following.receive()
            assert reply and reply["continues"] is True, reply
            event = reply["parameters"]["event"]
            assert event["seq"] == last + 1
            assert event["t_ns"] > 0
            last = event["seq"]
            kinds.append(event["kind"])


def test_events_end_without_follow(client):
    client.send("Events", {"since": 1}, more=True)
    numbers, reply = [], {"continues": True}
    while reply.get("continues"):
        reply = client.receive()
        numbers.append(reply["parameters"]["event"]["seq"])
    assert numbers == list(range(1, len(numbers) + 1))
    client.send("Events", {"since": numbers[-1] + 1000}, more=True)
    assert "event" not in client.receive()["parameters"]


def test_one_that_does_not_read_disturbs_nobody(shared):
    """And when it reads again it is told how much it missed, or has it all."""
    with Client(shared) as lazy:
        lazy.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        lazy.send("Events", {"since": 1, "follow": True}, more=True)
        for _ in range(40):
            shared.apmp("cpu", "migrate", 2, "--to", "gamma")
            shared.apmp("cpu", "migrate", 2, "--to", "alpha")
        newest = shared.events.mark()
        expected = 1
        while expected <= newest:
            event = lazy.receive()["parameters"]["event"]
            if "missed" in event:
                expected += event["missed"]
            else:
                assert event["seq"] == expected
                expected += 1


@pytest.mark.parametrize("method, parameters, error, wanted", [
    ("PartitionBoot", {"name": "delta"}, "NoSuchPartition", {"partition": "delta"}),
    ("PartitionHalt", {"name": "delta"}, "NoSuchPartition", {"partition": "delta"}),
    ("PartitionBoot", {"name": "beta"}, "AlreadyRunning",
     {"partition": "beta", "state": "member"}),
    ("CpuMigrate", {"cpu": 77, "to": "beta"}, "NoSuchCpu", {"cpu": 77}),
    ("CpuMigrate", {"cpu": -1, "to": "beta"}, "NoSuchCpu", {"cpu": -1}),
    ("CpuMigrate", {"cpu": 2, "to": "delta"}, "NoSuchPartition", {"partition": "delta"}),
    ("CpuMigrate", {"cpu": 0, "to": "beta"}, "PrimaryCpu", {"cpu": 0, "partition": "alpha"}),
    ("CpuMigrate", {"cpu": 4, "to": "beta"}, "Refused", {}),
    ("Inject", {"fault": "kill", "partition": "beta", "point": "join_9"}, "NoSuchPoint",
     {"point": "join_9"}),
    ("Inject", {"fault": "hit", "partition": "beta"}, "NoSuchFault", {"fault": "hit"}),
    ("Inject", {"fault": "kill", "partition": "delta"}, "NoSuchPartition", {}),
    ("Run", {"partition": "delta", "argv": ["true"], "env": [], "cwd": "/"}, "NoSuchPartition",
     {"partition": "delta"}),
    ("Trace", {"who": ["delta"]}, "NoSuchPartition", {"partition": "delta"}),
])
def test_errors_have_names_and_parameters(client, method, parameters, error, wanted):
    reply = client.call(method, parameters)
    assert reply["error"] == f"{MACHINE_INTERFACE}.{error}"
    assert reply["parameters"].items() >= wanted.items()
    assert "status" in client.call("Status")["parameters"], "the connection goes on"


@pytest.mark.parametrize("method, parameters, error, wanted", [
    ("org.apmp.machine.Explode", {}, "MethodNotFound", {"method": "org.apmp.machine.Explode"}),
    ("com.example.Ping", {}, "InterfaceNotFound", {"interface": "com.example"}),
    ("org.varlink.service.GetInterfaceDescription", {"interface": "com.example"},
     "InterfaceNotFound", {"interface": "com.example"}),
    ("PartitionBoot", {}, "InvalidParameter", {"parameter": "name"}),
    ("PartitionBoot", {"name": 7}, "InvalidParameter", {"parameter": "name"}),
    ("PartitionBoot", {"name": "beta", "colour": "red"}, "InvalidParameter",
     {"parameter": "colour"}),
    ("CpuMigrate", {"cpu": "2", "to": "beta"}, "InvalidParameter", {"parameter": "cpu"}),
    ("CpuMigrate", {"cpu": 2.5, "to": "beta"}, "InvalidParameter", {"parameter": "cpu"}),
    ("Run", {"partition": "beta", "argv": [], "env": [], "cwd": "/"}, "InvalidParameter",
     {"parameter": "argv"}),
    ("Run", {"partition": "beta", "argv": ["true", 1], "env": [], "cwd": "/"}, "InvalidParameter",
     {"parameter": "argv"}),
    ("Inject", {"fault": "kill", "partition": "beta", "point": "tick_beat", "count": -1},
     "InvalidParameter", {"parameter": "count"}),
    ("Events", {"since": 1}, "ExpectedMore", {}),
])
def test_errors_of_the_service(client, method, parameters, error, wanted):
    reply = client.call(method, parameters)
    assert reply["error"] == f"org.varlink.service.{error}", reply
    assert reply.get("parameters", {}).items() >= wanted.items()
    assert "status" in client.call("Status")["parameters"], "the connection goes on"


def test_a_port_wants_an_upgrade(client):
    reply = client.call("ConsolePort", {"partition": "alpha"})
    assert reply["error"] == "org.varlink.service.InvalidParameter"
    assert "error" not in client.call("ConsolePort", {"partition": "alpha"}, upgrade=True)
    seen = client.bytes
    while b"member of the sharing set" not in seen:
        seen += client.socket.recv(4096)


def test_run_without_more(client):
    """The only answer has the pid."""
    reply = client.call("Run", {"partition": "beta", "argv": ["true"],
                                "env": ["PATH=/usr/bin:/bin"], "cwd": "/"})
    assert reply["parameters"]["pid"] > 0 and not reply.get("continues")


def test_run_with_more_and_descriptors(shared):
    with Client(shared) as caller:
        mine, its = socket.socketpair()
        call = {"method": f"{MACHINE_INTERFACE}.Run", "more": True, "parameters": {
            "partition": "beta", "argv": ["sh", "-c", "read -r w; echo got $w; exit 3"],
            "env": ["PATH=/usr/bin:/bin"], "cwd": "/"}}
        socket.send_fds(caller.socket, [json.dumps(call).encode() + b"\0"], [its.fileno()] * 3)
        its.close()
        first = caller.receive()
        assert first["continues"] is True and first["parameters"]["pid"] > 0
        mine.sendall(b"it\n")
        mine.settimeout(apmp.WATCHDOG)
        assert mine.recv(100) == b"got it\n"
        last = caller.receive()
        assert last["parameters"] == {"exit_code": 3} and not last.get("continues")
        mine.close()


def test_a_socket_that_only_its_user_can_open(shared):
    control = shared.rundir / "control"
    assert control.stat().st_mode & 0o777 == 0o600
    for folder in (shared.rundir, shared.rundir.parent):
        assert folder.stat().st_mode & 0o777 == 0o700


def test_another_user_is_turned_away(shared):
    """Even where the path lets him. The modes are put back."""
    opened = [shared.dir, shared.runtime, shared.rundir.parent, shared.rundir,
              shared.rundir / "control"]
    modes = [path.stat().st_mode for path in opened]
    script = ("import socket,sys; s=socket.socket(socket.AF_UNIX); s.settimeout(30)\n"
              "s.connect(sys.argv[1])\n"
              "try:\n s.sendall(b'{\"method\":\"org.apmp.machine.Status\"}\\0'); print(s.recv(9))\n"
              "except OSError: print(b'')")
    try:
        for path in opened:
            path.chmod(0o777)
        said = subprocess.run(
            ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "/usr/bin/python3",
             "-c", script, str(shared.rundir / "control")], text=True, capture_output=True,
            timeout=apmp.WATCHDOG, check=False)
    finally:
        for path, mode in zip(opened, modes):
            path.chmod(mode & 0o7777)
    if said.returncode and "Operation not permitted" in said.stderr:
        pytest.skip("can't become another user here")
    assert said.returncode == 0, said.stderr
    assert "status" not in said.stdout and said.stdout.strip() in ("b''", ""), said.stdout


def test_connections_that_are_only_held(shared):
    """Whoever connects and asks for nothing keeps nobody out; who has asked is answered."""
    with contextlib.ExitStack() as stack:
        asked = stack.enter_context(Client(shared))
        asked.send("Events", {"follow": True}, more=True)
        held = [stack.enter_context(Client(shared)) for _ in range(CONNECTIONS + 8)]
        assert shared.status()["machine"] == shared.name
        assert held[0].receive() is None
        assert asked.receive()["continues"]


def test_power_off(make_machine):
    """The answer comes first; then the end."""
    machine = make_machine()
    machine.up()
    box = os.pidfd_open(machine.box_pid())
    with Client(machine) as client:
        assert client.call("PowerOff") == {"parameters": {}}
        assert client.receive() is None
    assert apmp.ended(box)
    os.close(box)
    assert machine.try_apmp("down").code == apmp.NO_MACHINE


def test_power_off_asked_by_many(make_machine):
    """More often than anybody can wait for NVRAM: the first one counts. The console stands still
    meanwhile, so that all is there when it goes on."""
    machine = make_machine()
    machine.up()
    box = os.pidfd_open(machine.box_pid())
    console = next(pid for pid, command in machine.processes() if "apmp-console" in command)
    machine.kill(console, signal.SIGSTOP)
    with contextlib.ExitStack() as clients:
        clients.enter_context(Client(machine)).send("CommunityCreate", {"name": "more"})
        for _ in range(12):
            client = clients.enter_context(Client(machine))
            for _ in range(16):
                client.send("PowerOff")
        machine.kill(console, signal.SIGCONT)
        assert apmp.ended(box), "it was told to power off"
    os.close(box)


PIECE = 128  # entries, at most


def test_a_trace_comes_in_pieces(machine):
    """The same as in one answer, party by party; who does not read holds up nobody."""
    machine.apmp("chaos", "joins", "--count", "100")  # much is recorded
    machine.at_rest({"alpha", "beta", "gamma"})
    parties = ["gamma", "console", "alpha"]
    with Client(machine) as reader, Client(machine) as other:
        reader.send("Trace", {"who": parties}, more=True)
        other.send("Trace", {"who": parties})
        whole = other.receive()["parameters"]["entries"]
        pieces, continues = [], True
        while continues:
            reply = reader.receive()
            pieces.append(reply["parameters"]["entries"])
            continues = reply.get("continues", False)
    assert all(len(piece) <= PIECE for piece in pieces) and len(pieces) > len(whole) // PIECE / 2
    for party in parties:
        came = [entry for piece in pieces for entry in piece if entry["who"] == party]
        assert [entry["t_ns"] for entry in came] == sorted(entry["t_ns"] for entry in came)
        both = [entry for entry in whole if entry["who"] == party and entry in came]
        assert len(both) > len(came) / 2  # what was recorded between the two is in one alone


def test_others_are_served_between_the_pieces_of_a_trace(machine):
    """What the console does for another one meanwhile is in its own part of the trace."""
    console = next(pid for pid, command in machine.processes()
                   if command.startswith("apmp-console"))
    with Client(machine) as reader, Client(machine) as other:
        machine.kill(console, signal.SIGSTOP)  # both calls are there when it goes on
        before = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
        reader.send("Trace", {"who": ["alpha", "console"]}, more=True)
        other.send("PartitionSet", {"name": "beta", "boot": False})
        machine.kill(console, signal.SIGCONT)
        assert other.receive() == {"parameters": {}}
        entries, continues = [], True
        while continues:
            reply = reader.receive()
            entries += reply["parameters"]["entries"]
            continues = reply.get("continues", False)
    assert entries[0]["who"] == "alpha" and entries[-1]["who"] == "console"
    assert entries[-1]["t_ns"] > before


def test_power_off_while_all_wait(make_machine):
    """Every connection has a change that is not in NVRAM yet, also the one that asked for it: the
    console answers them all. The box stands still meanwhile, so that nothing gets there."""
    machine = make_machine()
    machine.up()
    box = os.pidfd_open(machine.box_pid())
    change = ("PartitionSet", {"name": "alpha", "boot": True})

    def changes(client):
        client.send("Events", more=True)
        events = []
        while not events or events[-1].get("continues"):
            events.append(client.receive())
        return sum(event["parameters"]["event"]["kind"] == "tree.changed" for event in events)

    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(Client(machine)) for _ in range(CONNECTIONS)]
        os.kill(machine.box_pid(), signal.SIGSTOP)
        for client in clients[:-1]:
            client.send(*change)
        machine.until(lambda count: count == CONNECTIONS - 1, lambda: changes(clients[-1]))
        assert clients[-1].call("PowerOff") == {"parameters": {}}
        clients[-1].send(*change)
        os.kill(machine.box_pid(), signal.SIGCONT)
        for client in clients[:-1]:
            assert client.receive() == {"parameters": {}}
        assert apmp.ended(box), "it was told to power off"
    os.close(box)
