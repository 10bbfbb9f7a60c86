"""What the operator sees: `tree` as text and as a graph, `status`, `events`."""
import re
import shutil
import subprocess

import apmp
from operator_calls import Operator

# One statement of what `tree --dot` writes: a string is one token, and so is a word.
TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[A-Za-z0-9_]+|->|[{}\[\]=,;]')
BLANK = re.compile(r"\s*")


class Graph:
    """A graph as dot(1) reads it; whatever is no such graph is an error."""

    def __init__(self, text):
        self.nodes, self.edges, self.clusters = {}, [], {}
        self.tokens = []
        at = BLANK.match(text).end()
        while at < len(text):
            token = TOKEN.match(text, at)
            assert token, f"no token of a graph: {text[at:at + 40]!r}"
            self.tokens.append(token.group())
            at = BLANK.match(text, token.end()).end()
        self.expect("digraph")
        self.take()
        self.body(None)
        assert not self.tokens

    def take(self):
        return self.tokens.pop(0)

    def expect(self, *tokens):
        for token in tokens:
            assert self.take() == token

    def attributes(self):
        """[a=b, c="d"]; the text of a string is without its quotes."""
        found = {}
        while self.tokens[0] != "]":
            key = self.take()
            self.expect("=")
            found[key] = self.take().strip('"')
            if self.tokens[0] == ",":
                self.take()
        self.expect("]")
        return found

    def body(self, cluster):
        self.expect("{")
        while self.tokens[0] != "}":
            word = self.take()
            if word == "subgraph":
                name = self.take()
                self.clusters[name] = set()
                self.body(name)
            elif self.tokens[0] == "=":
                self.expect("=")
                self.take()
                self.expect(";")
            elif self.tokens[0] == "->":
                self.expect("->")
                to = self.take()
                self.expect("[")
                self.edges.append((word, to, self.attributes()))
                self.expect(";")
            else:
                self.expect("[")
                attributes = self.attributes()
                self.expect(";")
                if word not in ("node", "edge"):
                    self.nodes[word] = attributes
                    if cluster:
                        self.clusters[cluster].add(word)
        self.expect("}")

    def named(self, label):
        return next(name for name, attributes in self.nodes.items()
                    if attributes["label"].split(r"\n")[0] == label)

    def owner(self, label, style):
        """Labels of whom the arrows of this style lead to."""
        name = self.named(label)
        return [self.nodes[to]["label"] for source, to, attributes in self.edges
                if source == name and attributes.get("style") == style]


def dot(machine):
    text = machine.apmp("tree", "--dot")
    if shutil.which("dot"):
        subprocess.run(["dot", "-Tsvg"], input=text, text=True, check=True, capture_output=True)
    return Graph(text)


# shows: TREE-09
def test_the_tree_as_a_graph(machine):
    """Hierarchy, owners solid, current owners dashed, communities as clusters."""
    graph = dot(machine)
    nodes = machine.apmp("tree", json=True)["nodes"]
    lines = [(source, to) for source, to, attributes in graph.edges
             if attributes.get("arrowhead") == "none"]
    for node in nodes:
        assert f"n{node['handle']}" in graph.nodes
        if node["parent"] != node["handle"] and node["type"] != "root":
            assert (f"n{node['parent']}", f"n{node['handle']}") in lines
    assert all(source in graph.nodes and to in graph.nodes for source, to, _ in graph.edges)
    assert [{graph.nodes[name]["label"] for name in members}
            for members in graph.clusters.values()] == [
        {"community lab", "partition alpha", "partition beta", "partition gamma"}]
    for style in "solid", "dashed":
        assert graph.owner("cpu 2", style) == ["partition alpha"]
        assert graph.owner("bus 0.0.1", style) == ["partition beta"]
        assert graph.owner("fragment 0x40000000 shared", style) == ["community lab"]
    assert graph.owner("partition gamma", "solid") == ["community lab"]
    machine.apmp("cpu", "migrate", 2, "--to", "beta", "--loan")
    graph = dot(machine)
    assert graph.owner("cpu 2", "solid") == ["partition alpha"]
    assert graph.owner("cpu 2", "dashed") == ["partition beta"]


# shows: PLAT-14
def test_what_is_not_available_is_grey(machine):
    machine.apmp("partition", "halt", "beta")
    machine.apmp("cpu", "deassign", 4)
    assert "fillcolor" not in dot(machine).nodes[dot(machine).named("cpu 4")]
    machine.apmp("hardware", "remove", "cpu", 4)
    graph = dot(machine)
    assert graph.nodes[graph.named("cpu 4")]["fillcolor"] == "#d0d0d0"
    assert graph.owner("cpu 4", "solid") == graph.owner("cpu 4", "dashed") == []
    assert re.search(r"^ +cpu 4 .* unavailable", machine.apmp("tree"), re.M)


# shows: TREE-15
def test_the_tree_as_text(shared):
    """Both owners, sizes as people write them, and the level in words."""
    text = shared.apmp("tree")
    assert re.search(r"^NODE +SIZE +OWNER +CURRENT-OWNER +FLAGS +HANDLE$", text, re.M)
    assert re.search(r"^      cpu 0 +- +alpha +alpha +hardware .*primary", text, re.M)
    assert re.search(r"^        memory descriptor 0x40000000 +128M +lab +lab +hardware", text, re.M)
    assert re.search(r"^          fragment 0x40000000 shared +32M +lab +lab ", text, re.M)
    assert re.search(r"^    community lab ", text, re.M)
    levels = shared.apmp("tree", json=True)["levels"]
    assert text.endswith(f"\nconfiguration level {levels['current']}, at rest\n")


def test_status_as_text(machine):
    """Whose the memory is, and what somebody should look after."""
    said = machine.apmp("status")
    assert re.search(r"^lab +shared +32M$", said, re.M)
    assert re.search(r"^- +unowned +88M$", said, re.M)
    assert re.search(r"^console +never restarted$", said, re.M)
    assert re.search(r"^fence pending +nobody$", said, re.M)
    mark = machine.events.mark()
    machine.try_apmp("chaos", "inject", "kill", "console")
    machine.events.wait_for("console.restarted", after=mark)
    said = machine.apmp("status")
    assert re.search(r"^console +restarted 1 time; how the last one ended: .*signal 9", said, re.M)


def test_a_partition_that_is_held(machine):
    """Status says what it lacks. shows: TREE-13"""
    machine.apmp("partition", "halt", "gamma")
    assert "held" not in machine.apmp("status")
    machine.apmp("bus", "deassign", "1.0.0")
    assert re.search(r"^held +gamma: 1 buses wanted, 0 there$", machine.apmp("status"), re.M)
    machine.apmp("bus", "assign", "1.0.0", "--to", "gamma")
    machine.apmp("memory", "remove", "22M", "--from", "gamma")
    assert re.search(r"^held +gamma: 4M of memory wanted, 2M there$", machine.apmp("status"), re.M)


def test_status_for_programs(machine):
    """The contract of INTERFACES.md, with whose the memory is, and health."""
    status = machine.status()
    assert {(m["owner"], m["kind"], m["size"] >> 20) for m in status["memory"]} == {
        ("lab", "shared", 32), ("alpha", "private", 24), ("beta", "private", 24),
        ("gamma", "private", 24), (None, "unowned", 88)}
    health = status["health"]
    assert health["console"] == {"restarts": 0, "last": None, "deaths": 0, "delay_ms": 0}
    assert health["fence_pending"] == []
    assert (status["timing"], status["fence"], status["notice_exit"]) == (
        {"tick_ns": 2000000, "suspect": 3, "stop_ns": 50000000}, "kill", True)
    assert all(partition["boot"] for partition in status["partitions"])
    Operator(machine)("PartitionSet", name="gamma", boot=False)
    status = machine.status()
    assert not apmp.named(status["partitions"], "gamma")["boot"]
    nvram = status["health"]["nvram"]
    assert nvram["state"] == "saved" and nvram["changes"] == nvram["saved"] > 0


def test_every_event_has_a_sentence():
    """Each kind that the console knows stands in cli/events.def, with fields that it has."""
    kinds = set()
    for source in (apmp.TOP / "console").glob("*.c"):
        for call in re.findall(r"console_event\(([^;{]*)", source.read_text()):
            kinds |= set(re.findall(r'"([a-z]+\.[a-z-]+)"', call))
    known = (apmp.TOP / "cli/events.def").read_text()
    sentences = re.findall(r'^EVENT\("([a-z.-]+)"', known, re.M)
    assert kinds and sorted(kinds) == sorted(sentences)


def test_events_as_text(machine):
    """One line each, that says all that the event says."""
    machine.apmp("partition", "halt", "gamma")
    machine.apmp("cpu", "migrate", 2, "--to", "beta")
    machine.events.wait_for("cpu.migrated")
    lines = machine.apmp("events").splitlines()
    events = machine.try_apmp("events", as_json=True).lines
    assert len(lines) == len(events)
    for line, event in zip(lines, events):
        assert line.split()[0] == str(event["seq"]) and line.split()[2] == event["kind"]
        assert "?" not in line and "{" not in line and "[" not in line
        for key, value in event.items():
            if key not in ("seq", "t_ns", "kind", "change") and not key.endswith("_ns") and value:
                assert str(value) in line, (line, event)
    said = "\n".join(lines)
    assert "member.left            gamma left the sharing set\n" in said
    assert "instance.halted        gamma halted into its console\n" in said
    assert re.search(r"cpu.migrated +CPU 2 went from alpha to beta in [0-9.]+ [mu]?s", said)
