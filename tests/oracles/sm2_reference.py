"""SM2 signatures written out from GB/T 32918.2, in affine coordinates: slow, plain, and independent of libcrypto.

Curve and user id are arguments' defaults: the recommended curve of GB/T 32918.5 and the default id. Unlike the product
it takes the nonce k as an argument, so that the standard's example can be followed to the last digit.
"""

import hashlib

P = 0xFFFFFFFEFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF00000000FFFFFFFFFFFFFFFF
A = 0xFFFFFFFEFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF00000000FFFFFFFFFFFFFFFC
B = 0x28E9FA9E9D9F5E344D5A9E4BCF6509A7F39789F515AB8F92DDBCBD414D940E93
N = 0xFFFFFFFEFFFFFFFFFFFFFFFFFFFFFFFF7203DF6B21C6052B53BBF40939D54123
G = (
    0x32C4AE2C1F1981195F9904466A39C9948FE30BBFF2660BE1715A4589334C74C7,
    0xBC3736A2F4F6779C59BDCEE36B692153D0A9877CC62A474002DF32E52139F0A0,
)
USER_ID = b"1234567812345678"

Point = tuple[int, int] | None
"""None is the point at infinity."""


def add(a: Point, b: Point) -> Point:
    """Add two points (GB/T 32918.1, 3.2.3.1)."""
    if a is None or b is None:
        return b if a is None else a
    (x1, y1), (x2, y2) = a, b
    if x1 == x2 and (y1 + y2) % P == 0:
        return None
    slope = (3 * x1 * x1 + A) * pow(2 * y1, -1, P) if a == b else (y2 - y1) * pow(x2 - x1, -1, P)
    x3 = (slope * slope - x1 - x2) % P
    return x3, (slope * (x1 - x3) - y1) % P


def multiply(scalar: int, point: Point) -> Point:
    """Return scalar · point, for any scalar >= 0."""
    total: Point = None
    while scalar:
        if scalar & 1:
            total = add(total, point)
        point = add(point, point)
        scalar >>= 1
    return total


def encode(point: Point) -> bytes:
    """Return x ‖ y. The point at infinity has no such encoding."""
    if point is None:
        raise ValueError("the point at infinity has no coordinates")
    return point[0].to_bytes(32, "big") + point[1].to_bytes(32, "big")


def message_digest(public: bytes, message: bytes, user_id: bytes = USER_ID) -> int:
    """Return e = SM3(ZA ‖ M), with ZA = SM3(ENTL ‖ ID ‖ a ‖ b ‖ G ‖ PA) (5.5 and 6.1)."""
    curve = A.to_bytes(32, "big") + B.to_bytes(32, "big") + encode(G)
    za = hashlib.new("sm3", (8 * len(user_id)).to_bytes(2, "big") + user_id + curve + public).digest()
    return int.from_bytes(hashlib.new("sm3", za + message).digest(), "big")


def sign(secret: int, nonce: int, message: bytes) -> bytes:
    """Return r ‖ s for the nonce k (6.1)."""
    e = message_digest(encode(multiply(secret, G)), message)
    x1 = int.from_bytes(encode(multiply(nonce, G))[:32], "big")
    r = (e + x1) % N
    s = pow(1 + secret, -1, N) * (nonce - r * secret) % N
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def verify(public: bytes, message: bytes, signature: bytes) -> bool:
    """Return whether r ‖ s is valid (7.1)."""
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    t = (r + s) % N
    if not (1 <= r < N and 1 <= s < N) or t == 0:
        return False
    point = int.from_bytes(public[:32], "big"), int.from_bytes(public[32:], "big")
    total = add(multiply(s, G), multiply(t, point))
    return total is not None and r == (message_digest(public, message) + total[0]) % N
