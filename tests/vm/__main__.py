"""`python -m tests.vm --programs 10000 --jobs 2`: random programs by both engines, and a digest of all that they did,
which is the same under every hash seed and version of Python.
"""

import argparse
import hashlib
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor

from tests.vm.differ import compare

CHUNK = 100


def _chunk(first: int) -> tuple[bytes, dict[int, int]]:
    digest, tally = hashlib.sha256(), dict[int, int]()
    for seed in range(first, first + CHUNK):
        digest.update(compare(seed, tally))
    return digest.digest(), tally


def _chunks(firsts: range, jobs: int) -> Iterator[tuple[bytes, dict[int, int]]]:
    if jobs == 1:
        yield from map(_chunk, firsts)
        return
    with ProcessPoolExecutor(jobs) as pool:
        yield from pool.map(_chunk, firsts)


def main() -> int:
    """Exit code 0 if the engines agree; a difference is an error with the program's number."""
    parser = argparse.ArgumentParser(prog="python -m tests.vm", description=__doc__)
    parser.add_argument("--programs", type=int, default=1_000, help="rounded up to hundreds")
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1)
    options = parser.parse_args()
    begin, digest, tally = time.monotonic(), hashlib.sha256(), dict[int, int]()
    for part, counted in _chunks(range(options.first, options.first + options.programs, CHUNK), options.jobs):
        digest.update(part)
        for code, count in counted.items():
            tally[code] = tally.get(code, 0) + count
    calls = sum(tally.values())
    print(f"{options.programs:,} programs, {calls:,} calls, {tally.get(0, 0):,} of them done: both engines agree")
    print(f"codes {dict(sorted(tally.items()))}; {time.monotonic() - begin:,.0f} s")
    print(f"digest {digest.hexdigest()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
