#!/usr/bin/python3
"""`make mutants`: the sources without one step of a flowchart, and the test that notices.

Each *.mutants file here holds blocks, ended by an empty line:

    pal_2208: the source's HWRPB still says available        the point of the step: what is wrong
    by: unit test_pal                                        what must fail (below)
    shm/hwrpb_write.c
    -	apmp_hwrpb_set_flags(tw->up, from, from_id, (uint32_t)cpu->id, HWRPB_PA, 0);
     	APMP_POINT_ARG(env, pal_2208, cpu->id);

as of a diff: ' ' and '-' stand in the file, exactly once, and ' ' and '+' take their place; more
than one file may follow. A text that stands nowhere any more is an error, so this can't rot. A
block whose name is no point is a bug that was planted; one whose name has ends with ~2, ~3, ...
another mutant of the same step.

    by: unit TEST               a program of tests/unit
    by: sim ARGUMENTS           apmp-sim; a finding
    by: system FILE.py::TEST    pytest, on whole machines

Every mutant is built in a copy of the tree, where make builds again only what hangs on the changed
file, and must make its test fail; the same tests pass on the copy before. The last line is
`N passed, N failed`. What was found stands in BUILD/mutants.json, for `make spec`.
"""
import argparse
import json
import os
import queue
import re
import shutil
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent.parent
HERE = Path(__file__).resolve().parent
SOURCES = ("apmpd", "chaos", "cli", "console", "instance", "shm", "tests", "examples", "Makefile")
POINTS = TOP / "shm/points.def"

# The flowcharts that have a mutant for every step.
FIGURES = {9, 22, 23, 26, 27, 28, 29, 30, 31, 32}
POINT = re.compile(r'APMP_POINT_DEF\(\s*(\w+)\s*,\s*"Fig\. (\d+)[A-Z]?\b')

CHECK_LIMIT = 120  # seconds; a mutant that hangs is caught by that
BUILD_LIMIT = 300


@dataclass
class Mutant:
    name: str
    what: str
    check: str
    edits: list  # (file, old, new)
    where: str   # file:line of the block

    @property
    def step(self):
        return self.name.split("~")[0]


def parse_block(lines, where):
    """One Mutant of the lines of a block; ValueError says what is wrong with it."""
    head = re.fullmatch(r"([\w.~-]+): (.+)", lines[0])
    check = re.fullmatch(r"by: ((?:unit|sim|system) .+)", lines[1] if len(lines) > 1 else "")
    edits = []
    if not head or not check:
        raise ValueError('a block begins with "NAME: WHAT IS WRONG" and "by: unit|sim|system ..."')
    for line in lines[2:]:
        if line[0] not in " +-":
            edits.append((line, [], []))
        elif not edits:
            raise ValueError("a file must be named before what is changed in it")
        else:
            if line[0] != "+":
                edits[-1][1].append(line[1:] + "\n")
            if line[0] != "-":
                edits[-1][2].append(line[1:] + "\n")
    if not edits:
        raise ValueError("a mutant changes something")
    return Mutant(head[1], head[2], check[1],
                  [(name, "".join(old), "".join(new)) for name, old, new in edits], where)


def read_table(complain):
    """All mutants of the *.mutants files."""
    found = {}
    for path in sorted(HERE.glob("*.mutants")):
        block, first = [], 0
        for number, line in enumerate([*path.read_text().splitlines(), ""], 1):
            if line.startswith("#"):
                continue
            if line:
                first = first or number
                block.append(line)
                continue
            if block:
                where = f"{path.relative_to(TOP)}:{first}"
                try:
                    mutant = parse_block(block, where)
                except ValueError as error:
                    complain(f"{where}: {error}")
                else:
                    if mutant.name in found:
                        complain(f"{where}: {mutant.name} stands at {found[mutant.name].where} too")
                    found[mutant.name] = mutant
            block, first = [], 0
    return list(found.values())


def wanted_steps():
    """The points that are a step of the flowcharts."""
    return [name for name, figure in POINT.findall(POINTS.read_text()) if int(figure) in FIGURES]


def texts_of(mutant, tree):
    """{file: its text with the mutant}; ValueError when an old text doesn't stand there once."""
    texts = {}
    for name, old, new in mutant.edits:
        if name not in texts and not (tree / name).is_file():
            raise ValueError(f"{name} doesn't exist")
        text = texts.get(name) or (tree / name).read_text()
        count = text.count(old)
        if count != 1:
            raise ValueError(f"what it changes in {name} stands there {count} times, not once")
        texts[name] = text.replace(old, new)
    return texts


# --- a copy of the tree ---

class Tree:
    """A copy in which mutants are built, and that is made clean again from another copy."""

    def __init__(self, path, clean):
        self.path = path
        self.clean = clean

    def copy(self):
        shutil.copytree(self.clean.path, self.path, symlinks=True)

    def reset(self):
        """Every file that differs from the clean copy's, by size and time, comes from there."""
        for folder, _, names in os.walk(self.clean.path):
            here = self.path / os.path.relpath(folder, self.clean.path)
            for name in names:
                source, target = Path(folder, name), here / name
                want = source.lstat()
                have = target.lstat() if target.is_symlink() or target.exists() else None
                if not have or (want.st_size, want.st_mtime_ns) != (have.st_size,
                                                                   have.st_mtime_ns):
                    target.unlink(missing_ok=True)
                    shutil.copy2(source, target, follow_symlinks=False)

    def run(self, command, limit, env=None):
        """(exit status or None for a command that overran, output)."""
        child = subprocess.Popen(command, cwd=self.path, stdin=subprocess.DEVNULL,
                                 stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                 errors="replace", env={**ENVIRONMENT, **(env or {})})
        try:
            output, _ = child.communicate(timeout=limit)
            return child.returncode, output
        except subprocess.TimeoutExpired:
            child.terminate()  # pytest ends its machines in order
            output, _ = child.communicate()
            return None, output

    def make(self, targets):
        return self.run([OPTIONS.make, "--no-print-directory", "DEBS=", "WARN=",
                         f"CC={OPTIONS.cc}", *targets], BUILD_LIMIT)

    def check(self, check):
        """(exit status, output) of what must fail; it is built already."""
        kind, what = check.split(" ", 1)
        release = self.path / "build/release"
        if kind == "unit":
            return self.run([str(release / "unit" / what)], CHECK_LIMIT,
                            {"CK_FORK": "yes", "CK_DEFAULT_TIMEOUT": "20"})
        if kind == "sim":
            return self.run([str(release / "apmp-sim"), *what.split()], CHECK_LIMIT)
        return self.run([sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider",
                         "--tb=line", f"tests/system/{what}"], CHECK_LIMIT,
                        {"APMP_BIN": str(release), "APMP_BUILD": str(self.path / "build"),
                         "PYTHONDONTWRITEBYTECODE": "1"})


def targets(check):
    """What make must build for a check."""
    kind, what = check.split(" ", 1)
    if kind == "unit":
        return [f"build/release/unit/{what}"]
    return ["build/release/apmp-sim"] if kind == "sim" else ["all"]


def clean_tree(path):
    """The first copy: the sources, and what is built of them."""
    tree = Tree(path, None)
    path.mkdir(parents=True)
    for name in SOURCES:
        if (TOP / name).is_dir():
            shutil.copytree(TOP / name, path / name, symlinks=True,
                            ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(TOP / name, path / name)
    (path / "build").mkdir()
    if OPTIONS.release.is_dir():
        shutil.copytree(OPTIONS.release, path / "build/release", symlinks=True,
                        ignore=shutil.ignore_patterns("bench", "race", "parts.tmp"))
    (path / "build/deps.stamp").touch()
    os.utime(path / "build/deps.stamp")
    return tree


# --- judging ---

def judge(tree, mutant):
    """(verdict, seconds): "caught", "survived", or a sentence about what is wrong."""
    began = time.monotonic()
    try:
        texts = texts_of(mutant, tree.path)
    except ValueError as error:
        return f"{mutant.where}: {error}", 0.0
    for name, text in texts.items():
        (tree.path / name).write_text(text)
    status, output = tree.make(targets(mutant.check))
    if status != 0:
        verdict = f"{mutant.where}: it can't be built:\n" + "\n".join(output.splitlines()[-8:])
    else:
        status, output = tree.check(mutant.check)
        verdict = "survived" if status == 0 else "caught"
        if OPTIONS.verbose:
            verdict_lines = [line for line in output.splitlines() if line.strip()]
            print("\n".join(f"      {line}" for line in verdict_lines[-6:]))
    tree.reset()
    return verdict, time.monotonic() - began


class Run:
    """The mutants, shared by so many workers."""

    def __init__(self, mutants, clean):
        self.left = queue.SimpleQueue()
        self.lock = threading.Lock()
        self.clean = clean
        self.results = {}
        for mutant in mutants:
            self.left.put(mutant)

    def work(self, number):
        tree = Tree(self.clean.path.parent / f"tree-{number}", self.clean)
        tree.copy()
        while True:
            try:
                mutant = self.left.get_nowait()
            except queue.Empty:
                return
            verdict, seconds = judge(tree, mutant)
            with self.lock:
                self.results[mutant.name] = verdict
                said = (f"caught by {mutant.check}" if verdict == "caught" else
                        f"SURVIVED {mutant.check}" if verdict == "survived" else verdict)
                print(f"  {'ok' if verdict == 'caught' else 'FAIL':4}  {mutant.name:18} {said}"
                      f"  {seconds:.1f} s", flush=True)

    def all(self, jobs):
        workers = [threading.Thread(target=self.work, args=(n,)) for n in range(jobs)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()


def unsound(clean, mutants):
    """The checks that fail on the clean tree, which would catch everything; None: no build."""
    checks = sorted({mutant.check for mutant in mutants})
    status, output = clean.make([f"-j{os.cpu_count() or 1}",
                                 *sorted({t for check in checks for t in targets(check)})])
    if status != 0:
        print(output)
        return None
    bad = set()
    for check in checks:
        status, output = clean.check(check)
        if status != 0:
            print(f"{check} fails without a mutant:\n" + "\n".join(output.splitlines()[-8:]))
            bad.add(check)
    return bad


def write_report(mutants, results):
    """What `make spec` reads; results of mutants that were not run now stay."""
    path = OPTIONS.build / "mutants.json"
    try:
        known = json.loads(path.read_text())
    except (OSError, ValueError):
        known = {}
    names = {mutant.name: mutant for mutant in mutants}
    for name, verdict in results.items():
        mutant = names[name]
        known[name] = {"step": mutant.step, "by": mutant.check, "what": mutant.what,
                       "caught": verdict == "caught"}
    path.write_text(json.dumps(known, indent=1) + "\n")


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--make", default="make")
    parser.add_argument("--cc", default="gcc")
    parser.add_argument("--build", default=TOP / "build", type=Path)
    parser.add_argument("-k", help="only mutants whose name or check contains this")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--stride", type=int, default=1, help="only every so many")
    parser.add_argument("--table", action="store_true", help="only look whether the table holds")
    parser.add_argument("--verbose", action="store_true", help="what the tests said")
    options = parser.parse_args()
    options.build = options.build.resolve()
    options.release = options.build / "release"
    return options


def main():
    complaints = []
    mutants = read_table(complaints.append)
    for mutant in mutants:
        try:
            texts_of(mutant, TOP)
        except ValueError as error:
            complaints.append(f"{mutant.where}: {mutant.name}: {error}")
    steps = {mutant.step for mutant in mutants}
    complaints += [f"no mutant is without step {name}" for name in wanted_steps()
                   if name not in steps]
    for sentence in complaints:
        print(sentence)
    failed = len(complaints)
    if OPTIONS.table:
        print(f"{len(mutants)} passed, {failed} failed")
        return 1 if failed else 0

    chosen = [m for m in mutants if not OPTIONS.k or OPTIONS.k in m.name or OPTIONS.k in m.check]
    chosen = chosen[::OPTIONS.stride]
    scratch = OPTIONS.build / "mutants"
    shutil.rmtree(scratch, ignore_errors=True)
    try:
        clean = clean_tree(scratch / "clean")
        bad = unsound(clean, chosen)
        if bad is None:
            return 1
        failed += sum(mutant.check in bad for mutant in chosen)
        chosen = [mutant for mutant in chosen if mutant.check not in bad]
        run = Run(chosen, clean)
        run.all(max(1, min(OPTIONS.jobs, len(chosen))))
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    write_report(mutants, run.results)
    caught = sum(verdict == "caught" for verdict in run.results.values())
    failed += len(run.results) - caught
    print(f"{caught} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    OPTIONS = arguments()
    ENVIRONMENT = {k: v for k, v in os.environ.items()
                   if k not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES",
                                "APMP_POINTS_DIR")}
    sys.exit(main())
