#!/usr/bin/python3
"""clang-tidy over all C sources, with the checks of .clang-tidy; or over the files named as
arguments, then with the analyzer's explanations.

A file is looked at again only when it, a header of it, or the configuration has changed: the stamp
is named after a digest of what the preprocessor makes of it, comments (NOLINT) included.
"""
import hashlib
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import lint

PACKAGES = ("libuv", "jansson", "hwloc", "libfyaml", "check")
FLAGS = ["-std=gnu17", "-D_GNU_SOURCE", "-I.", "-Iinstance/app", "-Iinstance/task", "-pthread",
         *lint.output("pkg-config", "--cflags", *PACKAGES).stdout.split()]
FACTS = "tests/lint/analyzer_facts.h"
STAMPS = lint.BUILD / "tidy"
FINDING = re.compile(r"^\S+:\d+:\d+: (error|warning): ")


def stamp(path):
    text = subprocess.run(["gcc", "-E", "-CC", *FLAGS, str(path)], cwd=lint.TOP, check=False,
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout
    ours = b"".join((lint.TOP / name).read_bytes() for name in (".clang-tidy", FACTS))
    return STAMPS / f"{path.name}-{hashlib.sha256(ours + text).hexdigest()[:24]}"


def tidy(path):
    """What clang-tidy has to say about a file, as lines; nothing when it is content."""
    content = stamp(path)
    if content.exists():
        return []
    result = lint.output("clang-tidy", "--quiet", "--warnings-as-errors=*", str(path), "--",
                         *FLAGS, "-include", FACTS)
    if result.returncode == 0:
        for old in STAMPS.glob(f"{path.name}-*"):
            old.unlink(missing_ok=True)
        content.touch()
        return []
    return result.stdout.replace(f"{lint.TOP}/", "").splitlines()


chosen = [Path(name) for name in sys.argv[1:]]
seen = set()
STAMPS.mkdir(parents=True, exist_ok=True)
with ThreadPoolExecutor(os.cpu_count()) as pool:
    for said in pool.map(tidy, chosen or lint.files(".c")):
        findings = [line for line in said if FINDING.match(line)]
        for line in said if chosen or not findings else findings:
            lint.complaints += 1
            if chosen or line not in seen:  # a header's finding comes with each file that uses it
                print(line)
            seen.add(line)
if lint.complaints and not chosen:
    print("(with explanations: tests/lint/tidy.py FILE)")
lint.end()
