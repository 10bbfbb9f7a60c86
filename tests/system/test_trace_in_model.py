"""What a real machine did is a run of the Promela model in tests/model; what it can't do is not.

Deaths, halts and silence on a running machine; the points in its flight recorders, from power-on
to the end, are given to spin as a constraint of the model (tests/model/trace.py). A trace in which
a point is left out, or comes too early, must be refused at just that place.

shows: DB-05, DB-06, DB-09, DB-10, DB-12, DB-14, FAIL-05
"""
import os
import signal
import sys

import pytest

import apmp

sys.path.insert(0, str(apmp.TOP / "tests/model"))
import trace  # noqa: E402

NAMES = ["alpha", "beta", "gamma"]
ALL = set(NAMES)
# Recorders forget, and ticks are in them too: so there are few.
MACHINE = apmp.TRIO + "timing: {tick: 10ms, stop: 1s}\n"
# Nobody need be told of a change, or have waited before he got the lock, and the last point of a
# life may be one that it did not reach.
MAY_LACK = {"member_gone", "member_added", "validate_pages", "lock_wait", "leave_end"}


class Recording:
    """Every point that the recorders held at one of the moments when somebody looked."""

    def __init__(self, machine):
        self.machine, self.seen = machine, {}

    def look(self):
        for entry in self.machine.try_apmp("trace", *NAMES, as_json=True).lines:
            key = (entry["t_ns"], entry["who"], entry["point"], entry["arg"])
            self.seen.setdefault(key, entry)

    def rest(self, wanted):
        """When nothing is under way; looks again, for a death leaves points of its survivors."""
        self.machine.at_rest(wanted)
        self.look()

    def entries(self):
        self.look()
        return trace.relevant(self.seen.values(), NAMES)


def removed(machine, names, end):
    mark = machine.events.mark()
    for name in names:
        end(name)
    for name in names:
        machine.events.wait_for("member.removed", partition=name, after=mark)


def everything(machine):
    """A kill, two at once, a silence until the fence, a halt, a death at a point under the lock."""
    recording = Recording(machine)
    recording.rest(ALL)
    for names, end in ((["beta"], machine.kill_partition),
                       (["alpha", "gamma"], machine.kill_partition),
                       (["gamma"], lambda name: os.kill(machine.pid(name), signal.SIGSTOP))):
        removed(machine, names, end)
        recording.rest(ALL - set(names))
        for name in names:
            machine.boots_and_joins(name)
        recording.rest(ALL)
    machine.apmp("partition", "halt", "alpha")
    recording.rest(ALL - {"alpha"})
    machine.arm("alpha", "join_812")
    machine.refused("partition", "boot", "alpha")
    recording.rest(ALL - {"alpha"})
    machine.boots_and_joins("alpha")
    recording.rest(ALL)
    return recording.entries()


@pytest.fixture(scope="module")
def model():
    with trace.Model(NAMES) as made:
        yield made


@pytest.fixture(scope="module")
def entries(model):  # pylint: disable=unused-argument; a model that does not build comes first
    machine = apmp.Machine(MACHINE)
    try:
        machine.up()
        return everything(machine)
    finally:
        said = machine.close()
        machine.remove()
        assert not said, said


def place(entries, point, nth=0):
    return [index for index, entry in enumerate(entries) if entry["point"] == point][nth]


def told(entries, index):
    return f"{index} of {len(entries)}: {entries[index:index + 1]}"


def test_the_run_is_one_of_the_model(model, entries):
    passed = {entry["point"] for entry in entries}
    assert {"create_716", "join_818", "leave_end", "lock_broken", "fence_done", "recover_end",
            "member_gone"} <= passed
    reached = model.decide(entries)
    assert reached is None, told(entries, reached)


def test_without_one_point_it_is_not(model, entries):
    """The last passing of each point left out, one at a time."""
    for point in {entry["point"] for entry in entries} - MAY_LACK:
        index = place(entries, point, -1)
        assert model.decide(entries[:index] + entries[index + 1:]) is not None, point


@pytest.mark.parametrize("late,early", [
    ("recover_begin", "fence_bugcheck"),   # recovery before the fence
    ("fence_done", "fence_bugcheck"),      # answered before it was asked
    ("recover_mask", "recover_services"),  # forgotten by the mask before the services
    ("member_gone", "recover_begin"),      # known to be gone before it was removed
    ("lock_broken", "join_804"),           # taken from the living
    ("join_812", "join_808"),              # a member before the services know it
])
def test_in_another_order_it_is_not(model, entries, late, early):
    """The last passing of what comes later is put before what has to come first."""
    after = place(entries, late, -1)
    before = place(entries[:after], early, -1)
    other = [*entries[:before], entries[after], *entries[before:after], *entries[after + 1:]]
    reached = model.decide(other)
    assert reached is not None and reached <= after, told(other, reached or 0)


def test_two_do_not_hold_the_lock(model, entries):
    """The second of two holders in a row is put just after the first."""
    held = [index for index, entry in enumerate(entries) if entry["point"] == "lock_acquired"]
    first, second = next((one, other) for one, other in zip(held, held[1:])
                         if entries[one]["who"] != entries[other]["who"])
    other = [*entries[:first + 1], entries[second], *entries[first + 1:second],
             *entries[second + 1:]]
    reached = model.decide(other)
    assert reached is not None and reached <= first + 1, told(other, reached or 0)
