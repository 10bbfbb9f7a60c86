"""Programs in a partition are told who is a member of its sharing set: apmp-events."""
import json

import pytest


class Follower:
    """apmp-events in a partition."""

    def __init__(self, machine, partition, *options):
        self.machine = machine
        self.process = machine.start("run", *options, partition, "--", "apmp-events", "--json")

    def next(self):
        line = self.process.stdout.readline()
        assert line, f"the events ended: {self.process.stderr.read()}"
        return json.loads(line)

    def take(self, count):
        """The next events in short, and that their numbers have no hole."""
        news = [self.next() for _ in range(count)]
        numbers = [event["seq"] for event in news]
        assert numbers == list(range(numbers[0], numbers[0] + count)), numbers
        return [(event["kind"], event["partition"], event["incarnation"]) for event in news]


def members(machine, partition="alpha"):
    """Who is a member, as a program sees it."""
    said = machine.try_apmp("run", partition, "--", "apmp-events", "--now", "--json")
    assert said.code == 0, str(said)
    return {(event["partition"], event["incarnation"]) for event in said.lines}


TRIO = [("member", name, 1) for name in ("alpha", "beta", "gamma")]


def test_the_state_at_the_beginning(shared):
    """shows: FAIL-04"""
    assert members(shared) == {("alpha", 1), ("beta", 1), ("gamma", 1)}
    said = shared.try_apmp("run", "beta", "--", "apmp-events", "--now")
    assert said.out.splitlines() == ["member   alpha 1", "member   beta 1 self",
                                     "member   gamma 1"]


@pytest.mark.parametrize("end", ["kill", "crash", "halt"])
def test_both_survivors_are_told(make_machine, end):
    """However it ends, and that it has come back. shows: FAIL-04"""
    machine = make_machine()
    machine.up()
    followers = [Follower(machine, name) for name in ("alpha", "gamma")]
    for follower in followers:
        assert follower.take(3) == TRIO
    if end == "kill":
        machine.kill_partition("beta")
    else:
        machine.apmp("partition", end, "beta")
    for follower in followers:
        assert follower.take(1) == [("removed", "beta", 1)]
    machine.boots_and_joins("beta")
    for follower in followers:
        assert follower.take(1) == [("added", "beta", 2)]
    assert members(machine, "beta") == {("alpha", 1), ("beta", 2), ("gamma", 1)}
