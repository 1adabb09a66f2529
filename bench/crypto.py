"""What one signature verification costs on this machine, now: the unit of every throughput ceiling."""

from time import perf_counter_ns

from ledger.hashing import Tag, sm3
from ledger.keys import Scheme, SoftSigner, verify

BATCH = 16
"""Verifications between two looks at the clock."""


def measure_verify_us(scheme: Scheme, seconds: float) -> float:
    """Return µs per verification on one core, by the fastest batch of `seconds`: other load only adds to it."""
    signer = SoftSigner.from_seed(scheme, bytes(32))
    digest = sm3(Tag.TX, b"bench")
    signature = signer.sign(digest)
    fastest_ns = None
    end_ns = perf_counter_ns() + int(seconds * 1e9)
    while fastest_ns is None or perf_counter_ns() < end_ns:
        start_ns = perf_counter_ns()
        for _ in range(BATCH):
            verify(signer.public_key, digest, signature)
        batch_ns = perf_counter_ns() - start_ns
        fastest_ns = batch_ns if fastest_ns is None else min(fastest_ns, batch_ns)
    return fastest_ns / BATCH / 1000
