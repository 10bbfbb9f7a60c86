"""`make install` and `make uninstall`, below a folder of their own."""
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

import apmp

# The library of a sanitized build needs what it was built with.
SANITIZERS = {"asan": ["-fsanitize=address,undefined"], "tsan": ["-fsanitize=thread"],
              "cover": ["--coverage"]}.get(apmp.BIN.name, [])
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
                 "share/man/man8/apmpd.8", "share/apmp/machine.schema.json", "bin/apmp-events",
                 "bin/apmp-lock", "share/man/man1/apmp-lock.1", "share/man/man3/apmp.3",
                 "bin/apmp-task", "share/man/man1/apmp-task.1", "include/apmp-task.h",
                 "include/apmp.h", "lib/libapmp.a", "lib/pkgconfig/libapmp.pc",
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


PROGRAM = r"""
#include <apmp.h>
#include <errno.h>
#include <stdio.h>

int app_connect(void); /* its own names are its own */

int app_connect(void)
{
	return 0;
}

int main(void)
{
	struct apmp_app_locks *locks = NULL;
	struct apmp_app_events *events = NULL;
	struct apmp_app_news news;
	uint32_t lock;
	int r;

	fclose(stdin); /* the connection is none of 0, 1 and 2 nevertheless */
	apmp_app_locks_close(NULL);
	apmp_app_events_close(NULL);
	r = apmp_app_locks_open(&locks);
	if (!r && apmp_app_locks_fd(locks) <= 2)
		return printf("descriptor %d\n", apmp_app_locks_fd(locks)), 1;
	if (!r && apmp_app_lock_open(locks, NULL, 2, &lock) != -EINVAL)
		return printf("no name: %s\n", apmp_app_locks_sentence(locks)), 1;
	if (!r)
		r = apmp_app_lock_open(locks, "installed", 2, &lock);
	if (!r)
		r = apmp_app_lock_acquire(locks, lock, APMP_APP_FOR_EVER);
	if (!r)
		r = apmp_app_lock_release(locks, lock);
	if (!r)
		r = apmp_app_lock_close(locks, lock);
	if (!r)
		r = apmp_app_events_open(&events);
	while (!r && apmp_app_events_next(events, -1, &news) == 1 &&
	       news.kind != APMP_APP_STATE_TOLD)
		printf("%s ", news.partition.name);
	if (r)
		return printf("%s\n", apmp_app_explain(r)), 1;
	printf("in %s\n", apmp_app_locks_self(locks)->name);
	apmp_app_events_close(events);
	apmp_app_locks_close(locks);
	return 0;
}
"""


@pytest.mark.parametrize("compiler, suffix", [("gcc", "c"), ("g++", "cc")])
def test_a_program_is_built_and_runs_in_a_partition(root, empty, shared, compiler, suffix):
    """With what pkg-config says, in C and C++."""
    if not shutil.which(compiler):
        pytest.skip(f"there is no {compiler}")
    source, program = empty / f"program.{suffix}", empty / "program"
    source.write_text(PROGRAM)
    flags = subprocess.run(["pkg-config", "--cflags", "--libs", "libapmp"], check=True, text=True,
                           capture_output=True, env={
                               **os.environ,
                               "PKG_CONFIG_PATH": f"{root}/opt/apmp/lib/pkgconfig"}).stdout.split()
    subprocess.run([compiler, "-Wall", "-Wextra", "-Werror", *SANITIZERS, "-o", program, source,
                    *flags], check=True)
    assert shared.apmp("run", "beta", "--", str(program)) == "alpha beta gamma in beta\n"


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
