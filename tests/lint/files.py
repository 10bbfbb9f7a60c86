#!/usr/bin/python3
"""Files: names are unique, sizes are bounded, promises are kept elsewhere, tests don't sleep."""
import re

import lint

LINES_MAX = 900
COLUMNS_MAX = 100
TAB = 8
# Names that stand for a role and not for a subject.
ROLES = {"run.sh", "__init__.py", "conftest.py"}
PROMISE = re.compile(r"\b(TO" r"DO|FIX" r"ME|X" r"XX|HA" r"CK)\b")
SLEEP = re.compile(r"\b(sleep|usleep|nanosleep|clock_nanosleep|time\.sleep)\s*\(")
SHELL_SLEEP = re.compile(r"^\s*sleep\s")
# It waits for another apt to let go of the package lists, which tells nobody.
MAY_SLEEP = {"tests/deps.sh"}

by_name = {}
for path in lint.files(".c", ".h", ".py", ".sh", ".def"):
    if path.name in ROLES:
        continue
    if path.name in by_name:
        lint.complain(path, 1, f"has the name of {by_name[path.name]}")
    by_name[path.name] = path

for path in lint.files(".c", ".h", ".py", ".sh", ".def", ".mk", ".md", ".yaml", ".varlink"):
    count = 0
    is_code = path.suffix in (".c", ".h", ".py", ".sh", ".mk")
    is_test = path.parts[0] in ("tests", "examples") and str(path) not in MAY_SLEEP
    for number, line in lint.lines(path):
        count = number
        if PROMISE.search(line) and is_code:
            lint.complain(path, number, "a promise: do it, or say under LIMITS what is not done")
        if is_test and is_code and (SLEEP.search(line) or SHELL_SLEEP.match(line)):
            lint.complain(path, number, "a test waits for an event, never for a time")
        columns = len(line.expandtabs(TAB))
        if path.suffix in (".c", ".h", ".py") and columns > COLUMNS_MAX:
            lint.complain(path, number, f"{columns} columns, {COLUMNS_MAX} at most")
        if line != line.rstrip() and is_code:
            lint.complain(path, number, "blanks at the end of the line")
    if count > LINES_MAX and is_code:
        lint.complain(path, count, f"{count} lines, {LINES_MAX} at most: more than one subject?")

if re.search(r"CK_NOFORK", "".join(lint.text(p) for p in lint.files(".c", folders=("tests",)))):
    lint.complain("tests", 0, "CK_NOFORK: libcheck stays in fork mode")
lint.end()
