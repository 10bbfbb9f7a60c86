"""A command of apmp in a terminal of its own, for the tests of consoles."""
import os
import pty
import select
import subprocess
import termios
import tty

import apmp

KEY = b"\x1d"  # ^]


class Terminal:
    """Raw on both sides, so that what is read is what was written."""

    def __init__(self, machine, *arguments, **env):
        self.master, self.slave = pty.openpty()
        tty.setraw(self.slave)
        self.before = termios.tcgetattr(self.slave)
        self.process = subprocess.Popen(
            [apmp.BIN / "apmp", "--name", machine.name, *arguments], env={**machine.env, **env},
            stdin=self.slave, stdout=self.slave, stderr=self.slave)
        self.seen = b""

    def read_until(self, text):
        """What has been seen when it has the text, or when the command has ended (text None)."""
        while text is None or text not in self.seen:
            ready, _, _ = select.select([self.master], [], [], apmp.WATCHDOG if text else 0)
            if not ready:
                assert text is None, f"{text!r} did not come; seen: {self.seen!r}"
                return self.seen
            self.seen += os.read(self.master, 4096)
        return self.seen

    def type(self, text):
        os.write(self.master, text)

    def end(self):
        code = self.process.wait(apmp.WATCHDOG)
        self.read_until(None)
        assert termios.tcgetattr(self.slave) == self.before, "the terminal is not as it was"
        return code

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.master)
        os.close(self.slave)
