"""Ed25519 (RFC 8032) under one written rule, so that every replica accepts exactly the same signatures.

A signature R ‖ s over a message M under the public key A is valid exactly if
  1. A and R are canonical: y < p, and a point with x = 0 carries no sign bit;
  2. neither A nor R is one of the eight points of small order, in any encoding;
  3. A and R are points of the curve, and s < L;
  4. s·B = R + h·A with h = SHA-512(R ‖ A ‖ M) mod L, without the cofactor: the encodings of both sides are equal.

libsodium decides 3 and 4 and most of the rest. What it leaves open, or has changed between its versions, is checked
here, and `require_rule` tries signatures on which known libraries disagree (Chalkias et al., "Taming the many EdDSAs",
2020): two replicas that disagree about one signature fork the chain.
"""

from nacl.bindings import crypto_core_ed25519_is_valid_point, crypto_sign, crypto_sign_open, crypto_sign_seed_keypair
from nacl.exceptions import BadSignatureError

from ledger.errors import OurError

PUBLIC_KEY_BYTES = 32
SEED_BYTES = 32
SIGNATURE_BYTES = 64

_P = 2**255 - 19
"""The field's prime."""
_Y_MASK = 2**255 - 1
_Y_ORDER_8 = 0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7
"""y of two points of order 8; the other two have p − y."""


def _small_order_encodings() -> frozenset[bytes]:
    """Return every string that some decoder reads as a point of small order: y mod p in {0, ±1, ±y8}, either sign."""
    torsion_y = {0, 1, _P - 1, _Y_ORDER_8, _P - _Y_ORDER_8}
    return frozenset(
        (y | sign << 255).to_bytes(32, "little")
        for base in torsion_y
        for y in (base, base + _P)
        for sign in (0, 1)
        if y <= _Y_MASK
    )


SMALL_ORDER = _small_order_encodings()
"""14 strings; among them every point with x = 0, so rule 1's second half needs no check of its own."""


def _is_strict(point: bytes) -> bool:
    """Return whether 32 bytes can be A or R by rules 1 and 2. One byte decides for all but 1 in 128 points."""
    if point[31] & 0x7F == 0x7F and int.from_bytes(point, "little") & _Y_MASK >= _P:
        return False
    return point not in SMALL_ORDER


def check_point(point: bytes) -> bool:
    """Return whether 32 bytes may be registered as a public key: rules 1 to 3, and in the subgroup of prime order.

    The last is more than `verify` asks for, and costs one scalar multiplication, once per registration.
    """
    return _is_strict(point) and crypto_core_ed25519_is_valid_point(point)


def verify(point: bytes, message: bytes, signature: bytes) -> bool:
    """Return whether the 64-byte signature is valid by the module's rule. Wrong lengths are invalid, never an error."""
    if len(point) != PUBLIC_KEY_BYTES or len(signature) != SIGNATURE_BYTES:
        return False
    if not (_is_strict(point) and _is_strict(signature[:32])):
        return False
    try:
        crypto_sign_open(signature + message, point)
    except BadSignatureError:
        return False
    return True


def derive_public(seed: bytes) -> bytes:
    """Return the public point of a 32-byte seed (RFC 8032, 5.1.5)."""
    return crypto_sign_seed_keypair(seed)[0]


def sign(seed: bytes, point: bytes, message: bytes) -> bytes:
    """Return the 64-byte signature (RFC 8032, 5.1.6).

    `point` must be the seed's own: two signatures of one message under different points betray the secret.
    """
    return crypto_sign(message, seed + point)[:SIGNATURE_BYTES]


_PROBE_MESSAGE = bytes(32)
_PROBES = (
    # name, whether the rule takes it, A, R, s (secret 3 throughout)
    (
        "an ordinary signature",
        True,
        "d4b4f5784868c3020403246717ec169ff79e26608ea126a1ab69ee77d1b16712",
        "edc876d6831fd2105d0b4389ca2e283166469289146e2ce06faefe98b22548df",
        "2f42c8c14a6ab8789f851c07cc81a29f5f4f0e56cf93cd7d7a810c15acb74907",
    ),
    (
        "the same with s + L",
        False,
        "d4b4f5784868c3020403246717ec169ff79e26608ea126a1ab69ee77d1b16712",
        "edc876d6831fd2105d0b4389ca2e283166469289146e2ce06faefe98b22548df",
        "1c16be1e65cdcad0752214aaaa7b81b45f4f0e56cf93cd7d7a810c15acb74917",
    ),
    (
        "R of mixed order, valid only with the cofactor",
        False,
        "d4b4f5784868c3020403246717ec169ff79e26608ea126a1ab69ee77d1b16712",
        "131604d01865fbedf9f662d25311c68a197cf286f2683724873a147fed6ada35",
        "41a07bdce9e0c95aa7a7ccbb8b648fb05dc2186059447e46c1814ef435461f01",
    ),
    (
        "A of mixed order, valid without the cofactor",
        True,
        "528b312e93bc0c3705c89c20dcd85600e229ad3d6872b1c656d3873fbe62e6e2",
        "1337036ac32d8f30d4589c3c1c595812ce0fff40e37c6f5a97ab213f318290ad",
        "098255534bd936b50f38a8be63a0b85db3ae6d6f7aa3ed07c6ba75a3c9224c00",
    ),
)


def require_rule() -> None:
    """Raise OurError `ed25519-rule` if the installed libsodium decides differently from the rule above."""
    for name, valid, point, r, s in _PROBES:
        if verify(bytes.fromhex(point), _PROBE_MESSAGE, bytes.fromhex(r + s)) is not valid:
            message = f"this libsodium decides {name} against the protocol; install PyNaCl with the libsodium it ships"
            raise OurError("ed25519-rule", message)


require_rule()  # at import, a quarter of a millisecond: no process that could disagree gets as far as a vote
