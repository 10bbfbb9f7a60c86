#!/usr/bin/python3
"""The crash matrix in shm/PROTOCOL.md is that of shm/points.def; --write brings it up to date."""
import re
import sys

import lint

DOCUMENT = "shm/PROTOCOL.md"
BEGIN, END = "<!-- crash matrix: begin -->\n", "<!-- crash matrix: end -->\n"
DEFINITION = re.compile(r'APMP_POINT_DEF\((\w+), "([^"]*)", "([^"]*)", "([^"]*)", "([^"]*)"\)')


def matrix():
    rows = ["| point | figure, step | what | if it ends there, survivors see | who repairs |",
            "|---|---|---|---|---|"]
    for name, figure, about, survivors, repairer in DEFINITION.findall(lint.text("shm/points.def")):
        rows.append(f"| `{name}` | {figure} | {about} | {survivors} | {repairer} |")
    return "\n".join(rows) + "\n"


text = lint.text(DOCUMENT)
begin, end = text.index(BEGIN) + len(BEGIN), text.index(END)
if "--write" in sys.argv:
    (lint.TOP / DOCUMENT).write_text(text[:begin] + matrix() + text[end:])
elif text[begin:end] != matrix():
    lint.complain(DOCUMENT, text.count("\n", 0, begin) + 1,
                  "differs from shm/points.def: tests/lint/crash_matrix.py --write")
lint.end()
