"""`python -m tests.model`: every case; `--liar 1 --views 2 --crashes 1`: one; `--mutants`: the deliberate bugs."""

import argparse
import sys

from tests.model.explore import Consortium, Report
from tests.model.mutants import MUTANTS, mutated
from tests.model.real import BrokenError

HONEST = 4
"""As `--liar`: nobody."""
CASES = [
    *((liar, 3, 0) for liar in (None, 0, 1, 2, 3)),
    *((liar, 2, 1) for liar in (None, 0, 1, 2)),
    (1, 2, 2),
]
"""(liar, views, crashes)."""


def tell(report: Report) -> str:
    """A report in two lines."""
    who = "all honest" if report.liar is None else f"member {report.liar} lies"
    return (
        f"{who}, {report.views} views, {report.crashes} crashes: {report.states:,} states, {report.transitions:,} "
        f"transitions, {report.seconds:,.0f} s\n  {report.local_states:,} local states from {report.events:,} events "
        f"of the real code; {report.locked:,} states with a lock, {report.split:,} with locks on different blocks; "
        f"{report.continuations:,} continuations"
    )


def main() -> int:
    """Returns the exit code: 0 if every property holds in every case, or every mutant is found."""
    parser = argparse.ArgumentParser(prog="python -m tests.model")
    parser.add_argument("--liar", type=int, choices=range(HONEST + 1), help="position of the liar, 4: all are honest")
    parser.add_argument("--views", type=int, default=3)
    parser.add_argument("--crashes", type=int, default=0)
    parser.add_argument("--mutants", action="store_true", help="the deliberate bugs instead")
    options = parser.parse_args()
    if options.mutants:
        return sum(not find(name) for name in MUTANTS)
    cases = CASES
    if options.liar is not None:
        cases = [(None if options.liar == HONEST else options.liar, options.views, options.crashes)]
    for case in cases:
        try:
            print(tell(Consortium(*case).explore()), flush=True)
        except BrokenError as error:
            print(f"{case}: {error}")
            return 1
    return 0


def find(name: str) -> bool:
    """Whether a mutant is found; prints how."""
    with mutated(name) as mutant:
        consortium = Consortium(mutant.liar, mutant.views, mutant.crashes)
        try:
            consortium.explore()
        except BrokenError as error:
            print(f"{name} (trap {mutant.trap}), after {len(consortium.came):,} states: {error}", flush=True)
            return True
    print(f"{name} (trap {mutant.trap}): not found", flush=True)
    return False


if __name__ == "__main__":
    sys.exit(main())
