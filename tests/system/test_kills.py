"""A thousand deaths at random points, each followed by a check of the whole machine."""
import random

from apmp import DONE

KILLS = 1000
HANG_GUARD = 900  # seconds; the campaign has a guard of its own for each step


def test_a_thousand_kills(machine):
    """Members die inside create, join, leave, tick and migrate; the set goes on or is made anew, no
    CPU is lost or has two owners (chaos/invariants.c), and nine of ten kills land where they were
    meant to. The histogram over the points is printed.

    shows: DB-05, DB-06, DB-09, DB-10, DB-14, CPU-01, CPU-02, CPU-04, CPU-05, CPU-11, FAIL-05
    """
    seed = random.SystemRandom().randrange(1 << 31)
    print(f"seed {seed}: apmp chaos kills --count {KILLS} --seed {seed}")
    campaign = machine.start("chaos", "kills", "--count", str(KILLS), "--seed", str(seed))
    out, err = campaign.communicate(timeout=HANG_GUARD)
    print(out)
    assert campaign.returncode == DONE, err
    last = out.strip().splitlines()[-1]
    assert last.startswith(f"{KILLS} kills, ") and last.endswith("no violation"), last
