#!/usr/bin/python3
"""`make spec`: which requirements and which flowchart steps the tests show, and which not yet.

A requirement is shown when a test, example or bench names its id after the word "shows" and a
colon, in a comment or docstring:

    /* shows: TREE-07, DB-05 */            # shows: CPU-03

A step is shown when the last test run passed through its point: test runs leave *.json below
BUILD/points, each {"point name": count}. A mutant of a step is caught when the last run of `make
mutants` that had it left that in BUILD/mutants.json. What is not shown is no failure (exit 0); an
id that doesn't exist is one with --check.
"""
import argparse
import json
import re
import sys
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent
REQUIREMENTS = TOP / "tests/spec/requirements.md"
POINTS = TOP / "shm/points.def"

ID = r"[A-Z]+-\d\d"
REQUIREMENT = re.compile(rf"^- ({ID}) (.*)$", re.M)
SHOWS = re.compile(rf"\bshows:\s*((?:{ID})(?:\s*,\s*{ID})*)")
POINT = re.compile(r'APMP_POINT_DEF\(\s*(\w+)\s*,\s*"([^"]*)"')
STEP = re.compile(r"Fig\. ")


def requirements():
    """{id: text}, in the order of the list."""
    return dict(REQUIREMENT.findall(REQUIREMENTS.read_text()))


def steps():
    """{point name: figure and step} of the points that are a step of a flowchart."""
    if not POINTS.exists():
        return {}
    return {name: figure for name, figure in POINT.findall(POINTS.read_text())
            if STEP.match(figure)}


def named_ids():
    """{id: [file:line, ...]} of what tests say they show."""
    named = {}
    for folder in ("tests", "examples"):
        for path in sorted((TOP / folder).rglob("*")):
            if path.suffix not in (".c", ".h", ".py", ".sh") or path == Path(__file__).resolve():
                continue
            text = path.read_text(errors="replace")
            for match in SHOWS.finditer(text):
                where = f"{path.relative_to(TOP)}:{text.count(chr(10), 0, match.start()) + 1}"
                for name in re.findall(ID, match.group(1)):
                    named.setdefault(name, []).append(where)
    return named


def passed_points(folder):
    """{point name: count} over all files that the last test run left."""
    passed = {}
    for path in sorted(Path(folder).rglob("*.json")):
        try:
            counts = json.loads(path.read_text())
        except ValueError:  # its writer was killed in the middle
            print(f"spec: {path} is not whole, left out", file=sys.stderr)
            continue
        for name, count in counts.items():
            passed[name] = passed.get(name, 0) + count
    return passed


def caught_mutants(path):
    """{point name: [what caught a mutant without it, or None, ...]} of the last `make mutants`."""
    found = {}
    try:
        mutants = json.loads(Path(path).read_text())
    except (OSError, ValueError):
        return found
    for mutant in mutants.values():
        found.setdefault(mutant["step"], []).append(mutant["by"] if mutant["caught"] else None)
    return found


def report_mutants(figures, passed, mutants):
    """Each step that has one: whether it is shown, and who notices when it is left out."""
    print("Flowchart steps with mutants:")
    for name in figures:
        if name in mutants:
            by = ", ".join(sorted(f"caught by {by}" if by else "SURVIVED"
                                  for by in set(mutants[name])))
            print(f"  {name:16}  {'shown' if passed.get(name, 0) else 'not shown'}, {by}")


def report(wanted, figures, named, passed):
    shown = [name for name in wanted if name in named]
    stepped = [name for name in figures if passed.get(name, 0) > 0]
    print("Requirements not yet shown:")
    for name, text in wanted.items():
        if name not in named:
            print(f"  {name}  {text}")
    print("Flowchart steps not yet passed:")
    for name, figure in figures.items():
        if passed.get(name, 0) == 0:
            print(f"  {name:16}  {figure}")
    if not passed:
        print("  (no test run has left anything in the points folder: make check)")
    print(f"{len(shown)} of {len(wanted)} requirements shown, "
          f"{len(stepped)} of {len(figures)} flowchart steps passed")


def as_json(wanted, figures, named, passed, mutants):
    return {
        "mutants": mutants,
        "requirements": [{"id": name, "text": text, "shown_by": named.get(name, [])}
                         for name, text in wanted.items()],
        "steps": [{"point": name, "figure": figure, "count": passed.get(name, 0)}
                  for name, figure in figures.items()],
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--points", default=TOP / "build/points", help="left by the test runs")
    parser.add_argument("--mutants", default=TOP / "build/mutants.json", help="left by them")
    parser.add_argument("--json", action="store_true", help="one JSON document")
    parser.add_argument("--check", action="store_true", help="exit 1 on ids that do not exist")
    options = parser.parse_args()

    wanted, figures = requirements(), steps()
    named, passed = named_ids(), passed_points(options.points)
    mutants = caught_mutants(options.mutants)
    if options.json:
        print(json.dumps(as_json(wanted, figures, named, passed, mutants), indent=1))
    else:
        report_mutants(figures, passed, mutants)
        report(wanted, figures, named, passed)
    unknown = sorted(set(named) - set(wanted))
    for name in unknown:
        print(f"{named[name][0]}: shows {name}, which is not in {REQUIREMENTS.relative_to(TOP)}",
              file=sys.stderr)
    return 1 if options.check and unknown else 0


if __name__ == "__main__":
    sys.exit(main())
