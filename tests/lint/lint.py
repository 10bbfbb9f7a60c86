"""What the lint scripts share: the list of sources, and messages as file:line: sentence."""
import os
import re
import subprocess
import sys
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent.parent
PROGRAM_FOLDERS = ("apmpd", "chaos", "cli", "console", "instance")
FOLDERS = (*PROGRAM_FOLDERS, "shm", "tests", "examples", ".ci")
BUILD = Path(os.environ.get("APMP_BUILD", TOP / "build/release"))

complaints = 0


def files(*suffixes, folders=FOLDERS):
    """Sources with one of these suffixes, as paths relative to the top, sorted."""
    found = []
    for folder in folders:
        for path in (TOP / folder).rglob("*"):
            if path.suffix in suffixes and path.is_file() and "__pycache__" not in path.parts:
                found.append(path.relative_to(TOP))
    return sorted(found)


def text(path):
    return (TOP / path).read_text(errors="replace")


def lines(path):
    """(number, line) of a file."""
    return enumerate(text(path).splitlines(), 1)


def without_comments(source):
    """C source with comments and the insides of strings blanked; line numbers stay."""
    def blank(match):
        found = match.group(0)
        if found[0] in "\"'":
            return found[0] + " " * (len(found) - 2) + found[0]
        return re.sub(r"[^\n]", " ", found)
    return re.sub(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', blank, source,
                  flags=re.S)


def complain(path, line, sentence):
    global complaints
    complaints += 1
    print(f"{path}:{line}: {sentence}")


def output(*command):
    return subprocess.run(command, cwd=TOP, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, errors="replace", check=False)


def end():
    sys.exit(1 if complaints else 0)
