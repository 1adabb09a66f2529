"""Keys and signatures of both schemes behind one interface.

A public key is a scheme byte and the raw point; a signature is 64 bytes; what is signed is always the 32-byte digest of
a tagged hash. Every replica uses the one verifier per scheme that `ledger.ed25519` and `ledger.sm2` describe.
"""

from collections.abc import Callable, Sequence
from enum import IntEnum
from typing import Protocol

from ledger import ed25519, sm2
from ledger.errors import OurError, PeerError
from ledger.hashing import HASH_BYTES, Tag, sm3

SIGNATURE_BYTES = 64
SEED_BYTES = 32


class Scheme(IntEnum):
    """Signature schemes; the value is the first byte of a public key."""

    ED25519 = 1
    """RFC 8032; public key of 33 bytes."""
    SM2 = 2
    """GB/T 32918, default user id; public key of 65 bytes, x ‖ y: uncompressed, so verifying takes no square root."""


KEY_BYTES = {Scheme.ED25519: 1 + ed25519.PUBLIC_KEY_BYTES, Scheme.SM2: 1 + sm2.PUBLIC_KEY_BYTES}
"""Length of a public key, scheme byte included."""


def scheme_of(public_key: bytes) -> Scheme:
    """Return the scheme of a public key, whose point is not looked at. Raises PeerError `key-malformed`."""
    for scheme, length in KEY_BYTES.items():
        if len(public_key) == length and public_key[0] == scheme:
            return scheme
    raise PeerError("key-malformed", "a public key is 01 and 32 bytes (Ed25519), or 02 and 64 bytes (SM2)")


def check_public_key(public_key: bytes, allowed: frozenset[Scheme]) -> None:
    """Check a key before it is registered: length, scheme, and a point that exactly one secret can stand behind.

    Raises PeerError `key-malformed`, `key-scheme` (the genesis document does not allow it), or `key-point` (not
    canonical, not on the curve, of small or mixed order).
    """
    scheme = scheme_of(public_key)
    if scheme not in allowed:
        raise PeerError("key-scheme", f"this chain does not allow {scheme.name} here")
    check_point = ed25519.check_point if scheme is Scheme.ED25519 else sm2.check_point
    if not check_point(public_key[1:]):
        raise PeerError("key-point", "the public key is no canonical point of full order on its curve")


_VERIFIERS: dict[int, Callable[[bytes, bytes, bytes], bool]] = {
    Scheme.ED25519: ed25519.verify,
    Scheme.SM2: sm2.verify,
}


def verify(public_key: bytes, digest: bytes, signature: bytes) -> bool:
    """Return whether `signature` over the 32-byte `digest` is valid. Malformed input is invalid, never an error."""
    verifier = _VERIFIERS.get(public_key[0]) if public_key else None
    return verifier is not None and len(digest) == HASH_BYTES and verifier(public_key[1:], digest, signature)


def verify_many(items: Sequence[tuple[bytes, bytes, bytes]]) -> list[bool]:
    """Verify (public key, digest, signature) triples. Made for worker threads: each verification releases the GIL."""
    return [verify(*item) for item in items]


def use_portable_sm2() -> None:
    """Verify SM2 in pure Python from now on, 40 times slower: for tools on machines where `sm2.available()` is False.

    A validator never calls this: its votes must rest on the one verifier that all replicas share.
    """
    from ledger import sm2_portable  # gmssl is an optional dependency

    _VERIFIERS[Scheme.SM2] = sm2_portable.verify


class Signer(Protocol):
    """Whoever holds a secret key: this process, an HSM, or a signer on another machine."""

    @property
    def public_key(self) -> bytes:
        """The public key, scheme byte included."""

    def sign(self, digest: bytes) -> bytes:
        """Return the 64-byte signature over a 32-byte digest."""


class SoftSigner:
    """A signer whose secret is in this process's memory."""

    def __init__(self, scheme: Scheme, secret: bytes) -> None:
        """Take the raw 32-byte secret: the seed of RFC 8032 for Ed25519, the big-endian scalar for SM2.

        Raises OurError `secret-malformed` if it is none.
        """
        if len(secret) != SEED_BYTES or (scheme is Scheme.SM2 and not sm2.is_secret(secret)):
            raise OurError("secret-malformed", f"the secret is no {scheme.name} secret of {SEED_BYTES} bytes")
        derive_public = ed25519.derive_public if scheme is Scheme.ED25519 else sm2.derive_public
        self.scheme = scheme
        self.secret = secret
        self._point = derive_public(secret)
        self.public_key = bytes([scheme]) + self._point

    @classmethod
    def from_seed(cls, scheme: Scheme, seed: bytes) -> "SoftSigner":
        """Return the signer of a 32-byte seed, always the same. The seed must be as secret and as random as a key."""
        if len(seed) != SEED_BYTES:
            raise OurError("secret-malformed", f"a seed has {SEED_BYTES} bytes, this one {len(seed)}")
        if scheme is Scheme.ED25519:
            return cls(scheme, seed)
        return cls(scheme, sm2.secret_from_number(int.from_bytes(sm3(Tag.KEY_SEED, seed), "big")))

    def sign(self, digest: bytes) -> bytes:
        """Return the 64-byte signature over a 32-byte digest. SM2's differ from call to call: random k."""
        if len(digest) != HASH_BYTES:
            raise OurError("digest-length", f"only digests of {HASH_BYTES} bytes are signed, this has {len(digest)}")
        sign = ed25519.sign if self.scheme is Scheme.ED25519 else sm2.sign
        return sign(self.secret, self._point, digest)

    def __repr__(self) -> str:
        """Name the public key only: secrets do not belong in logs."""
        return f"SoftSigner({self.public_key.hex()})"
