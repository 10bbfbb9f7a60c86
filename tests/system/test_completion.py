"""Completion in the real shells, each in a terminal of its own.

In the shell `apmp` is a function that shows its words instead of doing them, so what stands in the
line after TAB is seen word by word.
"""
import os
import pty
import select
import shutil
import signal

import pytest

import apmp

SHELLS = {
    "bash": (["bash", "--norc", "--noprofile", "-i"], """\
apmp() {
    if [ "$1" = completion ]; then command apmp "$@"; else printf '<%s>' "$@"; echo ' said'; fi
}
source <(command apmp completion bash)
"""),
    "zsh": (["zsh", "-f", "-i"], """\
autoload -U compinit; compinit -u -D
apmp() {
    if [ "$1" = completion ]; then command apmp "$@"; else printf '<%s>' "$@"; echo ' said'; fi
}
source <(command apmp completion zsh)
"""),
    "fish": (["fish", "--no-config", "-i"], """\
function apmp; if test "$argv[1]" = completion; command apmp $argv; return; end; \
printf '<%s>' $argv; echo ' said'; end
command apmp completion fish | source
"""),
}


class Shell:
    """A shell that was told how to complete apmp."""

    def __init__(self, name, machine):
        command, setup = SHELLS[name]
        if not shutil.which(name):
            pytest.skip(f"{name} is not installed")
        env = {**machine.env, "APMP_MACHINE": machine.name, "TERM": "dumb", "PS1": "$ ",
               "HOME": str(machine.dir), "XDG_CONFIG_HOME": str(machine.dir),
               "XDG_DATA_HOME": str(machine.dir)}
        self.seen = b""
        self.pid, self.terminal = pty.fork()
        if self.pid == 0:
            try:
                os.chdir(machine.dir)
                os.execvpe(command[0], command, env)
            finally:
                os._exit(127)
        self.type(setup + "echo is re''ady\n")
        self.read_until(b"is ready")

    def type(self, text):
        os.write(self.terminal, text.encode())

    def read_until(self, text):
        while text not in self.seen:
            assert select.select([self.terminal], [], [], apmp.WATCHDOG)[0], self.seen
            self.seen += os.read(self.terminal, 65536)
        said, _, self.seen = self.seen.partition(text)
        return said

    def words(self, line):
        """The words that are there when the line, with its TABs, was typed and sent."""
        self.type(line + "\n")
        said = self.read_until(b" said").decode(errors="replace")
        return said[said.rindex("\n" if "\n<" in said else "<"):].strip().strip("<>").split("><")

    def close(self):
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self.terminal)


@pytest.fixture(params=sorted(SHELLS))
def shell(request, shared):
    made = Shell(request.param, shared)
    yield made
    made.close()


def test_a_line_is_completed_word_by_word(shell):
    """Verbs, options, and the names that live in the machine."""
    assert shell.words("apmp part\tha\tbe\t") == ["partition", "halt", "beta"]
    assert shell.words("apmp cpu mi\t2 --t\tgam\t") == ["cpu", "migrate", "2", "--to", "gamma"]
    assert shell.words("apmp chaos inj\tki\talp\t--at join_812\t") == [
        "chaos", "inject", "kill", "alpha", "--at", "join_812"]
    assert shell.words("apmp cpu migrate 2 --to=gam\t") == ["cpu", "migrate", "2", "--to=gamma"]
    assert shell.words("apmp chaos inject kill alpha --at leave_m\t") == [
        "chaos", "inject", "kill", "alpha", "--at", "leave_mask"]


def test_files_and_commands_are_the_shells(shell, shared):
    assert shell.words("apmp up t\t") == ["up", shared.file.name]
    assert shell.words("apmp run alp\t-- setpri\t") == ["run", "alpha", "--", "setpriv"]
    assert shell.words("apmp run alpha -- cat t\t") == ["run", "alpha", "--", "cat",
                                                        shared.file.name]
