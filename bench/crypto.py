"""What one signature verification costs on this machine, now: the unit of every throughput ceiling."""

import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from time import perf_counter_ns

from ledger.hashing import Tag, sm3
from ledger.keys import Scheme, SoftSigner, verify

BATCH = 16
"""Verifications between two looks at the clock."""
CORES = os.cpu_count() or 1


class VerifyMeter:
    """Measures t_verify with every core verifying at once, as the ceiling assumes: cores slow one another down."""

    def __init__(self, pool: ProcessPoolExecutor, scheme: Scheme) -> None:
        self._pool = pool
        self._scheme = scheme

    def measure_us(self, seconds: float) -> float:
        """µs of one core per verification, mean over all cores."""
        runs = [self._pool.submit(measure_verify_us, self._scheme, seconds) for _ in range(CORES)]
        return sum(run.result() for run in runs) / CORES


@contextmanager
def verify_meter(scheme: Scheme) -> Iterator[VerifyMeter]:
    """A meter with a process per core, ready to measure."""
    with ProcessPoolExecutor(CORES, mp_context=get_context("spawn")) as pool:
        meter = VerifyMeter(pool, scheme)
        meter.measure_us(0.05)  # starts the processes
        yield meter


def measure_verify_us(scheme: Scheme, seconds: float) -> float:
    """Return the mean µs per verification in this process over so many seconds."""
    signer = SoftSigner.from_seed(scheme, bytes(32))
    digest = sm3(Tag.TX, b"bench")
    signature = signer.sign(digest)
    count, start_ns = 0, perf_counter_ns()
    now_ns, end_ns = start_ns, start_ns + int(seconds * 1e9)
    while now_ns < end_ns:
        for _ in range(BATCH):
            verify(signer.public_key, digest, signature)
        count += BATCH
        now_ns = perf_counter_ns()
    return (now_ns - start_ns) / count / 1000
