#!/usr/bin/python3
"""libapmp.a is pure: what it leaves undefined for the linker stands in a short list."""
import re

import lint

# Memory and strings, compiler helpers of 128-bit atomics excluded on purpose: they hide a lock.
ALLOWED = {"memchr", "memcmp", "memcpy", "memmove", "memset", "strchr", "strcmp", "strlen",
           "strncmp", "strnlen", "strspn", "_GLOBAL_OFFSET_TABLE_", "__stack_chk_fail"}
# Our own bugs: the program that links libapmp writes the panic record and ends (shm/assert.h).
ALLOWED.add("apmp_panic")
OURS = re.compile(r"apmp_|apmp__")

archive = lint.BUILD / "libapmp.a"
symbols = lint.output("nm", "-A", str(archive))
if symbols.returncode != 0:
    lint.complain(archive, 0, f"nm can't read it: {symbols.stdout.strip()}")

defined, undefined = set(), []
for row in symbols.stdout.splitlines():
    where, _, rest = row.rpartition(":")
    kind, name = rest.split()[-2:]
    if kind in "Uw":
        undefined.append((where.rpartition(":")[2], name))
    elif kind.isupper():
        defined.add(name)

for member, name in undefined:
    if name not in defined and name not in ALLOWED:
        lint.complain(f"shm/{member.removesuffix('.o')}.c", 0,
                      f"uses {name}(): libapmp asks its environment (shm/env.h) for the world")
for name in sorted(defined):
    if not OURS.match(name):
        lint.complain(archive, 0, f"{name} is a global name that does not begin with apmp_")
lint.end()
