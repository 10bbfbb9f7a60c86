"""apmp(1) has what `apmp --help` has, and its examples are commands that there are."""
import json
import re
import shlex
import subprocess

import pytest

import apmp

PAGES = sorted(path for pattern in ("*/*.1", "*/*.5", "*/*.8") for path in apmp.TOP.glob(pattern))


def verbs():
    said = subprocess.run([apmp.BIN / "apmp", "--json", "--help"], capture_output=True, check=True)
    return json.loads(said.stdout)["verbs"]


@pytest.fixture(scope="module", name="items")
def items_of_the_page():
    """{first line of an item: all of it}, of the items that stand at the left."""
    text = subprocess.run(["mandoc", "-T", "ascii", "-O", "width=300", "cli/apmp.1"], cwd=apmp.TOP,
                          capture_output=True, text=True, check=True).stdout
    text = re.sub(".\b", "", text)  # bold and underlined letters are struck twice
    found, item = {}, None
    for line in text.splitlines():
        if re.match(r" {5}\S", line):
            item = line.strip()
            found[item] = ""
        elif line and not line.startswith(" "):
            item = None
        if item:
            found[item] += line + "\n"
    return found


@pytest.mark.parametrize("verb", verbs(), ids=lambda verb: verb["verb"])
def test_each_verb_with_its_options(items, verb):
    name = verb["verb"]
    mine = [text for head, text in items.items() if re.match(rf"{name}( |$)", head)]
    assert mine, f"no item for {name} among {list(items)}"
    for option in verb["options"]:
        assert any(f"--{option['name']}" in text for text in mine), (name, option["name"])


def test_no_item_of_a_verb_that_is_none():
    """A verb that went has left the page, too."""
    names = [verb["verb"] for verb in verbs()]
    heads = re.findall(r"^\.It (?:Xo\n\.)?Cm ([a-z]+(?: [a-z]+)*)",
                       (apmp.TOP / "cli/apmp.1").read_text(), re.M)
    assert len(heads) >= len(names)
    assert [head for head in heads if head not in names] == []


def commands(page):
    """The lines of the literal displays that begin with apmp."""
    literal = re.findall(r"^\.Bd -literal.*?\n(.*?)^\.Ed", page.read_text(), re.M | re.S)
    return [line for text in literal for line in text.splitlines() if line.startswith("apmp ")]


@pytest.mark.parametrize("line", sorted({(page.name, line) for page in PAGES
                                         for line in commands(page)}), ids=" ".join)
def test_examples_are_well_formed(line):
    """Where no machine is on they fail for that reason, not because of their words."""
    words = [word for word in shlex.split(line[1]) if word != "&"]
    if words[1] in ("up", "clean") or words[1:3] == ["chaos", "sim"]:
        words = words[:2] + ["--help"] if words[1] != "chaos" else words + ["--help"]
    said = subprocess.run([apmp.BIN / words[0], *words[1:]], capture_output=True, text=True,
                          env={"XDG_RUNTIME_DIR": "/nonexistent", "PATH": "/usr/bin:/bin"},
                          check=False, timeout=apmp.WATCHDOG)
    assert said.returncode in (apmp.DONE, apmp.NO_MACHINE), said


def named_commands():
    """(file, words) of each `apmp ...` that a sentence of a program tells somebody to type."""
    for path in sorted(path for folder in ("cli", "console", "apmpd", "chaos", "instance")
                       for path in apmp.TOP.glob(f"{folder}/*.[cd]*")):
        strings = re.sub(r'"\s*\n\s*"', "", path.read_text(errors="replace"))
        for text in re.findall(r'"((?:\\.|[^"\\\n])*)"', strings):
            for command in re.findall(r"`apmp ([^`]+)`", text):
                yield path.name, command


@pytest.mark.parametrize("where", sorted(set(named_commands())), ids=" ".join)
def test_what_sentences_tell_to_type_is_there(where):
    """The verb, and the options behind it; names are left open."""
    known = {verb["verb"]: {option["name"] for option in verb["options"]} for verb in verbs()}
    words = re.sub(r"--name \S+", "", where[1]).split()
    verb = next((" ".join(words[:n]) for n in (3, 2, 1) if " ".join(words[:n]) in known), None)
    family = any(name.startswith(f"{where[1]} ") for name in known)
    assert verb or family or words[0] in ("VERB", "%s", "%s%s--help", "--help", "{help}"), where
    # What stands behind "--" is another program's.
    for option in re.findall(r"--([a-z-]+)", " ".join(words).partition(" -- ")[0]):
        assert option in {"help", "json", "name"} | known.get(verb, set()), where


@pytest.mark.parametrize("name", ["balance", "events", "task"])
def test_the_help_of_a_program_has_a_line_for_each_option(name):
    page = (apmp.TOP / f"instance/{name}/apmp-{name}.1").read_text()
    options = set(re.findall(r"^\.It Fl -([-a-z]+)", page, re.M)) | {"help"}
    said = subprocess.run([apmp.BIN / f"apmp-{name}", "--help"], capture_output=True, text=True,
                          check=True).stdout
    assert len(options) > 3
    for option in options:
        assert re.search(rf"^  --{option} .*[a-z]", said, re.M), (option, said)


def test_the_example_of_a_task_compiles_without_warnings(tmp_path):
    page = (apmp.TOP / "instance/task/apmp-task.1").read_text()
    text, = re.findall(r"^\.Bd -literal[^\n]*\n(#include.*?)^\.Ed", page, re.M | re.S)
    (tmp_path / "hello.c").write_text(text.replace("\\e", "\\"))
    subprocess.run(["cc", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC",
                    f"-I{apmp.TOP}/instance/task", "-o", "hello.so", "hello.c"],
                   cwd=tmp_path, check=True)


def test_quotes_in_examples_stay_what_they_are():
    """groff makes a typographic one of ', which a shell does not know."""
    for page in PAGES:
        for text in re.findall(r"^\.Bd -literal.*?\n(.*?)^\.Ed", page.read_text(), re.M | re.S):
            assert "'" not in text, (page.name, text)
