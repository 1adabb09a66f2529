"""Ed25519 written out from RFC 8032, section 5.1, in affine coordinates: slow, plain, and independent of libsodium.

It can also make what no honest signer makes: points with a component of small order, and signatures over them.
"""

import hashlib

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
SQRT_MINUS_1 = pow(2, (P - 1) // 4, P)

Point = tuple[int, int]
ZERO: Point = (0, 1)


def add(a: Point, b: Point) -> Point:
    """Add two points of -x² + y² = 1 + d·x²·y²."""
    (x1, y1), (x2, y2) = a, b
    k = D * x1 * x2 * y1 * y2 % P
    return (x1 * y2 + x2 * y1) * pow(1 + k, -1, P) % P, (y1 * y2 + x1 * x2) * pow(1 - k, -1, P) % P


def multiply(scalar: int, point: Point) -> Point:
    """Return scalar · point, for any scalar >= 0."""
    total = ZERO
    while scalar:
        if scalar & 1:
            total = add(total, point)
        point = add(point, point)
        scalar >>= 1
    return total


def lift(y: int, sign: int) -> Point | None:
    """Return the point with this y and the parity of x, or None where the curve has none. x = 0 ignores the parity."""
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * SQRT_MINUS_1 % P
    if (x * x - square) % P:
        return None
    return (x if x & 1 == sign else -x % P), y % P


def encode(point: Point) -> bytes:
    """Return the canonical 32 bytes: y, little-endian, and the parity of x in the top bit."""
    return (point[1] | (point[0] & 1) << 255).to_bytes(32, "little")


def challenge(r: bytes, a: bytes, message: bytes) -> int:
    """Return h = SHA-512(R ‖ A ‖ M) mod L."""
    return int.from_bytes(hashlib.sha512(r + a + message).digest(), "little") % L


def forge(secret: int, nonce: int, a_torsion: Point, r_torsion: Point, message: bytes) -> tuple[bytes, bytes, bool]:
    """Sign with points of small order added to A and R.

    Returns the key, the signature, and whether s·B = R + h·A holds without the cofactor (with it, it always does).
    """
    a_point = add(multiply(secret, BASE), a_torsion)
    r_point = add(multiply(nonce, BASE), r_torsion)
    a, r = encode(a_point), encode(r_point)
    h = challenge(r, a, message)
    s = (nonce + h * secret) % L
    return a, r + s.to_bytes(32, "little"), multiply(s, BASE) == add(r_point, multiply(h, a_point))


def _require(point: Point | None) -> Point:
    if point is None:
        raise ValueError("no point with this y")
    return point


BASE = _require(lift(4 * pow(5, -1, P) % P, 0))
TORSION_8 = multiply(L, _require(lift(5, 0)))
"""A point of order 8: its multiples are the eight points of small order."""
TORSION = tuple(multiply(k, TORSION_8) for k in range(8))
