"""Shared layouts: what the build prints is what was agreed, and it is all of them."""
import difflib
import json
import os
import re
import subprocess
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent.parent
GOLDEN = TOP / "tests/golden/layouts.json"
LAYOUTS = Path(os.environ.get("APMP_BIN", TOP / "build/release")) / "layouts"

# Processes hand each other this one with a descriptor: it is no memory that two share.
PRIVATE = {"apmp_call"}


def printed():
    return subprocess.run([LAYOUTS], check=True, stdout=subprocess.PIPE, text=True).stdout


def test_golden():
    """No offset, size or type has changed unseen."""
    difference = "".join(difflib.unified_diff(
        GOLDEN.read_text().splitlines(keepends=True), printed().splitlines(keepends=True),
        "agreed", "built"))
    assert not difference, (
        f"{difference}\nA layout has changed. If that is wanted: raise APMP_LAYOUT_REVISION in "
        "shm/layout_common.h, then `make golden`.")


def test_every_structure():
    """Each structure of the layout headers is printed, with each of its fields."""
    described = json.loads(printed())["structures"]
    declared = {}
    for header in [*sorted((TOP / "shm").glob("layout_*.h")), TOP / "shm/call.h"]:
        source = re.sub(r"/\*.*?\*/", "", header.read_text(), flags=re.S)
        for name, body in re.findall(r"^struct (\w+) \{(.*?)^\}", source, re.S | re.M):
            declared[name] = re.findall(r"(\w+)\s*(?:\[[^\]]*\])?\s*;", body)
    assert set(described) == set(declared) - PRIVATE
    for name, structure in described.items():
        assert [field["name"] for field in structure["fields"]] == declared[name], name


def test_no_holes():
    """The fields of each structure follow each other from its first byte to its last."""
    for name, structure in json.loads(printed())["structures"].items():
        end = 0
        for field in structure["fields"]:
            assert field["offset"] == end, f"{name}.{field['name']}"
            end += field["size"]
        assert end == structure["size"], name
