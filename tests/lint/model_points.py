#!/usr/bin/python3
"""Every point that a model in tests/model passes is in shm/points.def and in its README."""
import re

import lint

README = "tests/model/README.md"
PASSED = re.compile(r"\b(?:AT|AT_OF|PASSES)\((\w+)|\bP_(\w+)")

defined = set(re.findall(r"^APMP_POINT_DEF\((\w+)", lint.text("shm/points.def"), re.M))
mapped = set(re.findall(r"`(\w+)`", lint.text(README)))
passed = set()
for model in lint.files(".pml"):
    for number, line in lint.lines(model):
        if line.startswith("#define"):
            continue
        for one, other in PASSED.findall(line):
            name = one or other
            passed.add(name)
            if name not in defined:
                lint.complain(model, number, f"{name} is no point of shm/points.def")
            if name not in mapped:
                lint.complain(model, number, f"{name} is not in the table of {README}")
if not passed:
    lint.complain("tests/model", 0, "no model passes a point")
lint.end()
