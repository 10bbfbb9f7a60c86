"""10,000 callbacks of 8 partitions at once, valid and invalid, while console and partitions are
killed; after each update of the tree a checker that shares only the layout dump looks at all of it.

The instances are storm_caller.py, the console is the real one with callback_gate.c in it: it stops
after each update and before each answer until this test has looked. So each update is seen alone,
with all that is asked for at that moment and not answered; it must be what one of these requests
does (storm_model.py), and that request, once answered, must be answered with success, and once.
"""
import errno
import os
import random

import pytest

import storm_model as model
import tree_checker as tc
from storm import Disturbed, Storm, Update, World, MACHINE

CALLBACKS = int(os.environ.get("APMP_STORM_CALLBACKS", "10000"))
HANG_GUARD = 600  # seconds


@pytest.fixture
def make_world(make_machine):
    worlds = []

    def make(seed):
        worlds.append(World(make_machine(MACHINE), seed))
        return worlds[-1]

    yield make
    for world in worlds:
        world.stop()
        world.gate.close()


def test_ten_thousand_callbacks(make_world):
    """The tree is consistent after every one; what was acknowledged is there, what was refused left
    no trace, nothing is done twice.

    shows: TREE-22, TREE-16, TREE-15, TREE-10, TREE-07, TREE-06, TREE-14
    """
    seed = int(os.environ.get("APMP_STORM_SEED", random.SystemRandom().randrange(1 << 31)))
    print(f"seed {seed}")
    world = make_world(seed)
    world.up()
    storm = Storm(world.machine, world.gate, world.folder / "log", seed)
    try:
        world.begin()
        storm.run(CALLBACKS)
        print(storm.counts, f"{world.gate.lives} consoles")
        for (op, error, reason), count in sorted(storm.ops.items()):
            print(f"  {model.NAME_OF.get(op, op)} {error} {reason}: {count}")
    finally:
        storm.close()
    assert not storm.wrong, "\n".join([*storm.trail, *storm.wrong])


def test_a_store_that_goes_astray(make_world):
    """The judge of the storm finds one wrong store, though the tree is as consistent as before."""
    world = make_world(1)
    world.up()
    storm = Disturbed(world.machine, world.gate, world.folder / "log", 1)
    try:
        world.begin()
        storm.run(200)
        assert not storm.wrong, storm.wrong
        while not storm.stray():
            storm.run(storm.counts["answers"] + 20)
        storm.run(storm.counts["answers"] + 200)
    finally:
        storm.close()
    # Or it looks like what somebody has asked for, and is then told that it was refused.
    assert any("nobody asked for" in sentence or "it alone can have made" in sentence
               for sentence in storm.wrong), storm.wrong


def test_an_answer_that_is_not_true(make_world):
    """Nor does it believe an answer of success without an update, or a refusal after one."""
    world = make_world(1)
    world.up()
    storm = Storm(world.machine, world.gate, world.folder / "log", 1)
    partition = storm.tree.partition_array[0]
    request = model.Request(1, model.OP["create_community"], (0, 0, 0), "new", partition)
    try:
        storm.open[1] = request
        storm.answer(1, 0, 0, [1, 64])
        assert len(storm.wrong) == 1 and "no update did that" in storm.wrong[0]
        storm.open[2] = request._replace(seq=2)
        storm.updates.append(Update({2}, storm.tree, {("community", 64)}))
        storm.answer(2, -errno.EEXIST, 24, [0, 0])
        assert len(storm.wrong) == 2 and "alone can have made an update" in storm.wrong[1]
    finally:
        storm.close()


def test_power_failure(make_world):
    """The box is killed in the storm: what had been acknowledged is there at the next power on, and
    what is there is what the tree was at one moment.

    shows: PLAT-09
    """
    seed = int(os.environ.get("APMP_STORM_SEED", random.SystemRandom().randrange(1 << 31)))
    print(f"seed {seed}")
    world = make_world(seed)
    world.up()
    storm = Storm(world.machine, world.gate, world.folder / "log", seed)
    try:
        world.begin()
        storm.run(1000)
    finally:
        storm.close()
    assert not storm.wrong, "\n".join([*storm.trail, *storm.wrong])
    world.cut_power()
    world.up()
    memory = tc.Memory(world.machine.box_pid())
    now = model.configuration(tc.Tree(memory.tree()))
    memory.close()
    moments = [model.configuration(tree) for tree in storm.moments]
    print(f"{len(moments)} moments; as of moment {moments.index(now) if now in moments else None}")
    assert now in moments, "\n".join(str(model.changed(moment, now)) for moment in moments)
