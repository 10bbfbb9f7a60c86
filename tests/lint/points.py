#!/usr/bin/python3
"""Every point of shm/points.def has its texts, is passed somewhere in the sources, and stands in
the crash matrix of a protocol document.
"""
import re

import lint

POINTS = "shm/points.def"
TEXTS = ("figure and step", "what it is about", "what survivors see", "who repairs it")
STRING = re.compile(r'"((?:\\.|[^"\\])*)"')
TEXT = r',\s*((?:"(?:\\.|[^"\\])*"\s*)+)'
DEFINITION = re.compile(rf"APMP_POINT_DEF\(\s*(\w+)\s*((?:{TEXT})*)\)")
PASSED = re.compile(r"\bAPMP_POINT\w*\(\s*[^,()]*(?:\([^()]*\))?[^,()]*,\s*(\w+)"
                    r"|\bAPMP_P_(\w+)")

# The documents whose tables are the crash matrix: a point stands there as `name`.
DOCUMENTS = [path for path in lint.files(".md") if path.name in ("PROTOCOL.md", "README.md")
             and path.parts[0] in (*lint.PROGRAM_FOLDERS, "shm")]


def points():
    """(line, name, texts) of each definition."""
    source = re.sub(r"/\*.*?\*/", lambda m: re.sub(r"[^\n]", " ", m.group(0)), lint.text(POINTS),
                    flags=re.S)
    for match in DEFINITION.finditer(source):
        texts = ["".join(STRING.findall(text)).strip() for text in re.findall(TEXT, match.group(2))]
        yield source.count("\n", 0, match.start()) + 1, match.group(1), texts


def used_names():
    """Names that some source passes through; a test that only names a point does not count."""
    used = set()
    for path in lint.files(".c", ".h", folders=(*lint.PROGRAM_FOLDERS, "shm")):
        source = lint.without_comments(lint.text(path))
        used.update(match.group(1) or match.group(2) for match in PASSED.finditer(source))
    return used


used = used_names()
documented = {}
for document in DOCUMENTS:
    for name in re.findall(r"`(\w+)`", lint.text(document)):
        documented.setdefault(name, document)

seen = {}
for line, name, texts in points():
    if name in seen:
        lint.complain(POINTS, line, f"{name} is defined a second time, first in line {seen[name]}")
    seen[name] = line
    for what, said in zip(TEXTS, texts + [""] * len(TEXTS)):
        if not said:
            lint.complain(POINTS, line, f"{name} does not say {what}")
    if name not in used:
        lint.complain(POINTS, line, f"{name} is passed nowhere: no APMP_POINT(env, {name})")
    if name not in documented:
        lint.complain(POINTS, line, f"{name} is in no crash matrix: no `{name}` in a PROTOCOL.md "
                      "or README.md of a program or shm")
if not seen:
    lint.complain(POINTS, 1, "no APMP_POINT_DEF in it")
lint.end()
