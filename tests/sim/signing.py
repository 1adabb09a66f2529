"""Signatures that cost a microsecond. They say who signed what, which is all that a simulation needs; some seeds use
real ones.
"""

import hashlib

from ledger.keys import Scheme, Signer, SoftSigner
from ledger.keys import verify as verify_real


class StubSigner:
    """Signs with a hash that anybody could make: the simulated adversary must keep to its own keys by itself."""

    def __init__(self, seed: bytes) -> None:
        self.public_key = bytes([Scheme.ED25519]) + seed

    def sign(self, digest: bytes) -> bytes:
        """A 64-byte stand-in."""
        return hashlib.blake2b(self.public_key + digest, digest_size=64).digest()


def verify_stub(public_key: bytes, digest: bytes, signature: bytes) -> bool:
    """Whether the stand-in is right."""
    return hashlib.blake2b(public_key + digest, digest_size=64).digest() == signature


def make_signer(seed: bytes, real: bool) -> Signer:
    """A signer of a 32-byte seed."""
    return SoftSigner.from_seed(Scheme.ED25519, seed) if real else StubSigner(seed)


verify = {True: verify_real, False: verify_stub}
"""By whether signatures are real."""
