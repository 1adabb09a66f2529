"""`python -m tests.sim --seeds 1000 --jobs 2`, or `--seed N` to replay one."""

import argparse
import sys
from concurrent.futures import ProcessPoolExecutor

from tests.sim.run import Report, run_seed


def main() -> int:
    """Run seeds; a failure prints the command that replays it. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.sim")
    parser.add_argument("--seeds", type=int, default=100, help="how many")
    parser.add_argument("--first", type=int, default=0, help="the first of them")
    parser.add_argument("--seed", type=int, help="run this one alone")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    options = parser.parse_args()
    seeds = [options.seed] if options.seed is not None else range(options.first, options.first + options.seeds)
    reports: list[Report] = []
    with ProcessPoolExecutor(options.jobs) as pool:
        for report in pool.map(run_seed, seeds) if len(seeds) > 1 else map(run_seed, seeds):
            reports.append(report)
            if report.failure or len(seeds) == 1:
                print(f"seed {report.seed}: {report.failure or 'holds'}")
                print(f"  {report.blocks} blocks, {report.transactions} transactions, {report.steps} steps")
                print(f"  trace {report.trace}; replay: python -m tests.sim --seed {report.seed}", flush=True)
    failed = sum(bool(report.failure) for report in reports)
    steps, seconds = sum(report.steps for report in reports), sum(report.seconds for report in reports)
    blocks = sum(report.blocks for report in reports)
    print(f"{len(reports) - failed} of {len(reports)} seeds hold: {blocks} blocks, {steps} steps")
    print(f"{steps / seconds:,.0f} steps per second and job")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
