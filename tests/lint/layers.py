#!/usr/bin/python3
"""Who may include what: the layers of DESIGN 4, and the powers of X_write.h."""
import re

import lint

# Folder: the folders whose headers it may include, beside its own. tests/ may include everything.
MAY_INCLUDE = {folder: {"shm"} for folder in lint.PROGRAM_FOLDERS} | {"shm": set()}

# shm/X_write.h is for its one writer; shm itself implements it, and chaos plays everybody.
WRITERS = {
    "tree_write.h": {"console"},
    "hwrpb_write.h": {"console", "instance"},
}
EVERYBODY = {"shm", "chaos", "tests"}

# libapmp takes the world as a parameter: of the C library it needs types and memory, no more.
PURE_HEADERS = {"assert.h", "errno.h", "inttypes.h", "limits.h", "stdalign.h", "stdatomic.h",
                "stdbool.h", "stddef.h", "stdint.h", "string.h", "sys/sdt.h"}

INCLUDE = re.compile(r'^\s*#\s*include\s+(?:"([^"]+)"|<([^>]+)>)')


def home(path):
    """The layer that a file or include belongs to; shm/wire is above shm and beside nobody."""
    return "shm/wire" if str(path).startswith("shm/wire/") else str(path).split("/", maxsplit=1)[0]


def check_include(path, number, included):
    if "/" not in included:
        lint.complain(path, number, f'write "{included}" from the top of the repository')
        return
    if not (lint.TOP / included).exists():
        lint.complain(path, number, f'no such file: "{included}"')
        return
    ours, theirs = home(path), home(included)
    if theirs == "shm/wire":
        if ours == "shm":
            lint.complain(path, number, f'shm/ is pure and knows no messages: "{included}"')
    elif ours not in ("tests", theirs) and theirs not in MAY_INCLUDE.get(ours, {"shm"}):
        lint.complain(path, number, f'{ours}/ must not include "{included}": only shm/ is shared')
    name = included.rpartition("/")[2]
    if name.endswith("_write.h"):
        writers = WRITERS.get(name)
        if writers is None:
            lint.complain(path, number, f"{name} has no writer in tests/lint/layers.py")
        elif ours not in writers | EVERYBODY:
            lint.complain(path, number, f"{name} is for {', '.join(sorted(writers))} only")


for source in lint.files(".c", ".h", ".def"):
    for line_number, line in lint.lines(source):
        match = INCLUDE.match(line)
        if not match:
            continue
        if match.group(1):
            check_include(source, line_number, match.group(1))
        elif home(source) == "shm" and match.group(2) not in PURE_HEADERS:
            lint.complain(source, line_number, f"shm/ is pure: <{match.group(2)}> is not among "
                          "the headers that it may use (tests/lint/layers.py)")
lint.end()
