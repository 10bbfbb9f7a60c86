"""`make install` and `make uninstall`, below a folder of their own."""
import os
import subprocess
import tempfile
from pathlib import Path

import pytest

import apmp

COMPLETIONS = {"bash": "bash-completion/completions/apmp", "zsh": "zsh/site-functions/_apmp",
               "fish": "fish/vendor_completions.d/apmp.fish"}


def make(goal, root):
    """With the programs that are tested, whatever profile they are of."""
    return subprocess.run(
        ["make", "--no-print-directory", goal, f"B={os.path.relpath(apmp.BIN, apmp.TOP)}",
         f"DESTDIR={root}", "PREFIX=/opt/apmp"], cwd=apmp.TOP, check=True, capture_output=True,
        text=True).stdout


def files(root):
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


@pytest.fixture(name="root", scope="module")
def installed():
    with tempfile.TemporaryDirectory() as folder:
        make("install", folder)
        yield Path(folder)


@pytest.fixture(name="empty")
def empty_folder():
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def test_all_that_a_user_needs_is_there(root):
    there = files(root)
    for name in ("bin/apmp", "libexec/apmp/apmpd", "libexec/apmp/apmp-console",
                 "libexec/apmp/apmp-instance", "libexec/apmp/apmp-chaos", "libexec/apmp/apmp-sim",
                 "share/man/man1/apmp.1", "share/man/man5/apmp-machine.5",
                 "share/man/man8/apmpd.8", "share/apmp/machine.schema.json",
                 "share/apmp/org.apmp.machine.varlink", "share/apmp/examples/01-trio/machine.yaml"):
        assert f"opt/apmp/{name}" in there, name


def test_nothing_of_the_tests_is_there(root):
    assert sorted(path.name for path in (root / "opt/apmp/libexec/apmp").iterdir()) == [
        "apmp-chaos", "apmp-console", "apmp-instance", "apmp-sim", "apmpd"]


@pytest.mark.parametrize("shell", COMPLETIONS)
def test_completions_are_where_shells_look(root, shell):
    said = subprocess.run([root / "opt/apmp/bin/apmp", "completion", shell], check=True,
                          capture_output=True).stdout
    assert (root / "opt/apmp/share" / COMPLETIONS[shell]).read_bytes() == said


def test_what_is_installed_works(root, make_machine):
    """With the example machine file, under a name from the environment."""
    machine = make_machine()
    machine.env["APMP_MACHINE"] = machine.name
    machine.env["PATH"] = f"{root}/opt/apmp/bin:/usr/bin:/bin"
    example = root / "opt/apmp/share/apmp/examples/01-trio/machine.yaml"
    for words in (["up", str(example)], ["run", "alpha", "--", "true"], ["down"]):
        said = subprocess.run(["apmp", *words], env=machine.env, capture_output=True, text=True,
                              timeout=apmp.WATCHDOG, check=False)
        assert said.returncode == apmp.DONE, said


def test_uninstall_leaves_what_was_there_before(empty):
    """Also when it was installed twice, and something of others lies there."""
    (empty / "opt/apmp/bin").mkdir(parents=True)
    (empty / "opt/apmp/share/man/man1").mkdir(parents=True)
    (empty / "opt/apmp/share/man/man1/other.1").write_text("")
    before = {str(path) for path in empty.rglob("*")}
    make("install", empty)
    make("install", empty)
    assert {str(path) for path in empty.rglob("*")} > before
    (empty / "opt/apmp/share/apmp/mine").write_text("")
    make("uninstall", empty)
    assert {str(path) for path in empty.rglob("*")} == before | {
        f"{empty}/opt/apmp/share/apmp", f"{empty}/opt/apmp/share/apmp/mine"}
