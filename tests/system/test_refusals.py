"""What the console refuses, said to whoever typed it: what was wanted, what stood in the way, what
to do. And what it does is said, too."""
import pytest

import apmp

# A CPU, a bus and memory of each board are nobody's; delta is halted and in no community.
MACHINE = """\
machine: {name}
hardware:
  - sbb: 0
    cpus: 5
    memory: 128M
    iops: [{buses: [{}, {}, {}, {}]}]
  - {sbb: 1, cpus: 1, memory: 64M}
  - {sbb: 2, memory: 16M}
communities:
  - {name: lab, shared: 32M}
  - {name: spare, shared: 2M}
partitions:
  - {name: alpha, community: lab, cpus: [0, 1], memory: 24M, buses: ["0.0.0"], boot: yes}
  - {name: beta, community: lab, cpus: [2], memory: 24M, buses: ["0.0.1"], boot: yes}
  - {name: delta, cpus: [3], memory: 8M, buses: ["0.0.2"]}
"""

HOLDER = ("owns it or still uses it; take it from there first, with `deassign` (memory: `remove`), "
          "and boot or halt what uses it")


@pytest.mark.parametrize("words, sentence", [
    ("cpu assign 1 --to beta", f'assigning CPU 1 to "beta": partition "alpha" {HOLDER}'),
    ("bus assign 0.0.0 --to beta", f'assigning bus 0.0.0 to "beta": partition "alpha" {HOLDER}'),
    ("cpu deassign 0", 'CPU 0 is the primary of partition "alpha", which stays and works there as '
     "long as that runs; take another CPU of that partition"),
    ("cpu deassign 4", "deassigning CPU 4: nobody owns CPU 4; `apmp hardware list` shows what is "
     "whose"),
    ("bus deassign 0.0.3", "deassigning bus 0.0.3: nobody owns bus 0.0.3; `apmp hardware list` "
     "shows what is whose"),
    ("cpu migrate 4 --to beta", "CPU 4 can't migrate: nobody has it; `apmp cpu assign 4 --to beta` "
     'gives it to "beta"'),
    ("bus assign 9.9.9 --to beta", "there is no bus 9.9.9; `apmp bus list` has those that are"),
    ("bus assign here --to beta", "there is no bus here; `apmp bus list` has those that are"),
    ("cpu assign 99 --to beta", "there is no CPU 99; `apmp cpu list` has those that are"),
    ("cpu assign 4 --to lab", 'there is no partition "lab"; `apmp status` names those that are'),
    ("memory assign 3K --to beta", 'assigning 3K of memory to "beta": address and size are '
     "multiples of 2M"),
    ("memory assign 1T --to beta", 'assigning 1T of memory to "beta": 1T wanted, 48M there; '
     "`apmp memory list` shows what is whose"),
    ("memory assign 2M --to nobody", 'there is no partition "nobody"; `apmp status` names those '
     "that are"),
    ("partition create alpha", 'creating partition "alpha": there is partition "alpha" already; '
     "choose another name"),
    ("partition create Alpha", 'creating partition "Alpha": a name begins with a-z or 0-9 and goes '
     "on with a-z 0-9 _ . -, at most 31 characters"),
    ("partition create " + 40 * "a", f'creating partition "{40 * "a"}": a name begins with a-z or '
     "0-9 and goes on with a-z 0-9 _ . -, at most 31 characters"),
    ("partition create new --community none", 'there is no community "none"; `apmp status` names '
     "those that are"),
    ("partition delete alpha", 'deleting partition "alpha": partition "alpha" is initialized and '
     "alone releases what it has; `apmp partition halt alpha` first"),
    ("community create lab", 'creating community "lab": there is community "lab" already; choose '
     "another name"),
    ("community delete lab", 'deleting community "lab": partition "alpha" is in it; '
     "`apmp community remove` takes it out"),
    ("community add spare alpha", 'adding partition "alpha" to community "spare": it is in '
     'community "lab" already; `apmp community remove` takes it out'),
    ("community remove lab alpha", 'removing partition "alpha" from community "lab": partition '
     '"alpha" is initialized and alone releases what it has; `apmp partition halt alpha` first'),
    ("community remove spare delta", 'partition "delta" is not in community "spare"'),
    ("hardware remove cpu 1", "taking CPU 1 out of the box: CPU 1 is \"alpha\"'s; take it back "
     "first, with `deassign` (memory: `remove`), and boot or halt what uses it"),
    ("hardware remove cpu 99", "there is no CPU 99; `apmp cpu list` has those that are"),
    ("hardware remove bus 7.7.7", "there is no bus 7.7.7; `apmp bus list` has those that are"),
    ("hardware remove memory 0x0", "taking memory at 0x0 out of the box: it is not there; "
     "`apmp hardware list` has what there is"),
    ("hardware add cpu --sbb 0 --id 1", "putting CPU into SBB 0: CPU 1 is there already; leave "
     "--id out to take the next one"),
])
def test_refused(shared, words, sentence):
    """shows: PLAT-05, PLAT-06, TREE-10"""
    before = shared.apmp("tree", json=True)
    assert shared.refused(*words.split()) == sentence
    assert shared.apmp("tree", json=True) == before


@pytest.mark.parametrize("words", ["hardware add cpu --sbb 99", "hardware add memory 3K --sbb 0",
                                   "hardware add bus --sbb 0 --id 9.9.9",
                                   "memory remove 8M --from delta --at 0x0",
                                   "memory assign 2M --to beta --at 0x1",
                                   "hardware add cpu --sbb 0 --id 9999"])
def test_refused_with_a_sentence_of_its_own(shared, words):
    """Not with a bare code; what was wanted is said first."""
    said = shared.refused(*words.split())
    assert not said.startswith("the console refused") and ": " in said and "org.apmp" not in said


def test_a_partition_from_nothing(machine):
    """From hardware that is put in to a member, and back: each command says what is true then.
    shows: PLAT-14, PLAT-10"""
    def say(*words):
        return machine.apmp(*words)

    assert say("partition", "create", "new", "--community", "lab", "--boot").startswith(
        'partition "new" is there')
    assert say("hardware", "add", "cpu", "--sbb", 1).startswith("CPU 6 is in the box and nobody's")
    assert say("hardware", "add", "bus", "--sbb", 1).startswith("bus 1.0.1 is in the box")
    assert say("cpu", "assign", 6, "--to", "new").startswith('CPU 6 belongs to "new"')
    assert say("bus", "assign", "1.0.1", "--to", "new").startswith('bus 1.0.1 belongs to "new"')
    assert say("memory", "assign", "24M", "--to", "new").startswith('memory for "new"')
    assert say("partition", "boot", "new") == 'partition "new" is a member\n'
    assert "new" in apmp.members(machine.status())
    assert any(line.split()[:4] == ["cpu", "6", "1", "new"]
               for line in say("hardware", "list").splitlines())
    assert any(line.split()[:3] == ["1.0.1", "1", "new"]
               for line in say("bus", "list").splitlines())
    new = [line.split() for line in say("memory", "list").splitlines() if " new " in line]
    assert [line[1:4] for line in new] == [["24M", "private", "new"]]
    say("partition", "halt", "new")
    assert say("cpu", "deassign", 6) == "CPU 6 is nobody's\n"
    assert say("bus", "deassign", "1.0.1") == "bus 1.0.1 is nobody's\n"
    assert say("memory", "remove", "24M", "--from", "new").startswith('memory taken from "new": ')
    assert say("partition", "delete", "new") == 'partition "new" is deleted\n'
    assert say("hardware", "remove", "bus", "1.0.1") == "bus 1.0.1 is out of the box\n"
    assert say("hardware", "remove", "cpu", 6) == "CPU 6 is out of the box\n"
    assert "new" not in say("status") + say("hardware", "list") + say("memory", "list")
    apmp.check_cpus(machine.status())
