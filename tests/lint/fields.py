#!/usr/bin/python3
"""Shared layouts: every field says who writes it (W:) and who reads it (R:), and has a type that
means the same in every process. The comment of the structure, or the one that opens the file, may
speak for all fields, and a field that is a structure of ours is spoken for by that one.
"""
import re

import lint

STRUCT = re.compile(r"^(?:struct|union)\s+(\w+)\s*\{", re.M)
FIELD = re.compile(r"^\s*[\w\s()*]+?[\s*]+(?P<name>\w+)\s*(?:\[[^\]]*\]\s*)*"
                   r"(?P<bits>:\s*\d+)?\s*;")
FORBIDDEN = re.compile(r"\b(bool|enum|long|int|short|unsigned|size_t|pthread_\w+|time_t)\b|\*")
COMMON = "layout_common.h"  # values that layouts are made of, no shared structure of its own
SAYS_BOTH = re.compile(r"W:.*R:", re.S)


def comment_before(source, position):
    """The comment that ends right before position, or nothing."""
    match = re.search(r"/\*(?:(?!\*/).)*\*/\s*\Z", source[:position], re.S)
    return match.group(0) if match else ""


def fields(body, first_line):
    """(line, code, comment) of each declaration; the comment is its own, or else the one above."""
    code, comment, above, start = "", "", "", first_line
    tokens = re.finditer(r"/\*.*?\*/|[^/\n;]+|;|\n|/", body, re.S)
    line = first_line
    pending = None
    for token in tokens:
        word = token.group(0)
        if word.startswith("/*"):
            if pending and "\n" not in body[pending[3]:token.start()]:
                yield pending[0], pending[1], word
                pending = None
            elif not code.strip():
                if pending:
                    yield pending[0], pending[1], above
                    pending = None
                above = word
        elif word == ";":
            if pending:
                yield pending[0], pending[1], above
            pending = (start, code + ";", comment, token.end())
            code = ""
        elif word.strip():
            if not code.strip():
                start = line
            code += word
        line += word.count("\n")
    if pending:
        yield pending[0], pending[1], above


def check_struct(path, source, match, head):
    end = source.index("\n}", match.end())
    above = comment_before(source, match.start())
    speaks_for_all = SAYS_BOTH.search(above) or SAYS_BOTH.search(head)
    first_line = source.count("\n", 0, match.end()) + 1
    for line, code, comment in fields(source[match.end():end], first_line):
        field = FIELD.match(re.sub(r"_Atomic(?:\((\w+)\))?", r"\1", code))
        if not field:
            lint.complain(path, line, f"not a plain field: {' '.join(code.split())}")
            continue
        name = f"{match.group(1)}.{field['name']}"
        if field["bits"]:
            lint.complain(path, line, f"{name} is a bit-field: use masks")
        if FORBIDDEN.search(code):
            lint.complain(path, line, f"{name} has a type that is not of fixed width and meaning")
        spoken_for = speaks_for_all or code.split()[0] == "struct"
        if not spoken_for and not SAYS_BOTH.search(comment):
            lint.complain(path, line, f"{name} does not say who writes (W:) and who reads it (R:)")


for header in lint.files(".h", folders=("shm",)):
    if not header.name.startswith("layout_") or header.name == COMMON:
        continue
    content = lint.text(header)
    opening = re.match(r"\s*/\*.*?\*/", content, re.S)
    for struct in STRUCT.finditer(content):
        check_struct(header, content, struct, opening.group(0) if opening else "")
    if STRUCT.search(content) and "-Wpadded" not in content:
        lint.complain(header, 1, "structures without -Wpadded as an error around them")
    if re.search(r"__attribute__\s*\(\(\s*packed", lint.without_comments(content)):
        lint.complain(header, 1, "packed structure: order the fields so that nothing is padded")
lint.end()
