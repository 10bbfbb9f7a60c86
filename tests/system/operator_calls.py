"""The methods of org.apmp.machine, called as the administrator's programs do, and what they change:
read out of the tree's memory, by something that shares nothing with the C code.
"""
import json
import socket

import apmp
import tree_checker

INTERFACE = "org.apmp.machine."


class Refused(Exception):
    """A call that ended with an error."""

    def __init__(self, method, error, parameters):
        super().__init__(f"{method}: {error} {parameters}")
        self.error, self.parameters = error, parameters


class CutOff(Exception):
    """The console ended in the middle of a call."""


class Operator:
    """Calls methods: operator("CpuAssign", cpu=3, to="beta"). Each has a connection of its own."""

    def __init__(self, machine):
        self.machine = machine

    def __call__(self, method, **parameters):
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(apmp.WATCHDOG)
            connection.connect(str(self.machine.rundir / "control"))
            try:
                connection.sendall(json.dumps({"method": INTERFACE + method,
                                               "parameters": parameters}).encode() + b"\0")
                said = b""
                while not said.endswith(b"\0"):
                    more = connection.recv(65536)
                    if not more:
                        raise CutOff(method)
                    said += more
            except ConnectionError:
                raise CutOff(method) from None
        reply = json.loads(said[:-1])
        if "error" in reply:
            raise Refused(method, reply["error"].removeprefix(INTERFACE),
                          reply.get("parameters", {}))
        return reply.get("parameters", {})

    def refused(self, method, **parameters):
        """The error of a call that must end with one, and its parameters."""
        try:
            answer = self(method, **parameters)
        except Refused as error:
            return error.error, error.parameters
        raise AssertionError(f"{method} {parameters} was not refused: {answer}")


def tree_of(machine):
    """The tree and the HWRPBs as they are now, in the box's memory; consistent."""
    memory = tree_checker.Memory(machine.box_pid())
    try:
        data, hwrpbs = memory.tree(), memory.hwrpbs()
    finally:
        memory.close()
    tree = tree_checker.Tree(data)
    if tree.at_rest:
        wrong = tree_checker.check(data, hwrpbs)
        assert not wrong, "\n".join(wrong)
    return tree


def configuration(machine):
    """What the operator sees of the tree, without what rises by itself."""
    nodes = machine.apmp("tree", json=True)["nodes"]
    for node in nodes:
        for risen in ("incarnation", "fenced"):
            node["detail"].pop(risen, None)
    return nodes
