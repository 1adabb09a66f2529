"""SM2 signatures (GB/T 32918.2) on the recommended curve (32918.5), computed by OpenSSL 3's libcrypto.

A public key is the point x ‖ y, a signature is r ‖ s: 64 bytes each, big-endian. With the standard's default user id,
e = SM3(ZA ‖ M) for the message M, and (r, s) is valid exactly if 1 ≤ r, s < n, t = r + s mod n is not 0, and
r = e + x₁ mod n for (x₁, y₁) = s·G + t·PA. Python hashes, libcrypto does the two multiplications.
"""

from collections import OrderedDict

from ledger import libcrypto
from ledger.errors import OurError
from ledger.hashing import plain_sm3

PUBLIC_KEY_BYTES = 64
SECRET_BYTES = 32
SIGNATURE_BYTES = 64

P = 0xFFFFFFFEFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF00000000FFFFFFFFFFFFFFFF
"""The field's prime."""
A = P - 3
B = 0x28E9FA9E9D9F5E344D5A9E4BCF6509A7F39789F515AB8F92DDBCBD414D940E93
N = 0xFFFFFFFEFFFFFFFFFFFFFFFFFFFFFFFF7203DF6B21C6052B53BBF40939D54123
"""Order of the base point; prime, cofactor 1: every point of the curve but zero has this order."""
G = bytes.fromhex(
    "32C4AE2C1F1981195F9904466A39C9948FE30BBFF2660BE1715A4589334C74C7"
    "BC3736A2F4F6779C59BDCEE36B692153D0A9877CC62A474002DF32E52139F0A0"
)
USER_ID = b"1234567812345678"
"""The default of GM/T 0009; the protocol knows no other."""

CONTEXTS_MAX = 12_288
"""Kept contexts of libcrypto, about 3 KiB each: the busy keys of a city in 36 MiB. Making one costs 50 µs."""


def _number(value: int) -> bytes:
    return value.to_bytes(32, "big")


_ZA_PREFIX = plain_sm3((len(USER_ID) * 8).to_bytes(2, "big") + USER_ID + _number(A) + _number(B) + G)


def user_digest(point: bytes) -> bytes:
    """Return ZA, the digest of user id, curve and public key that goes before every message (GB/T 32918.2, 5.5)."""
    running = _ZA_PREFIX.copy()
    running.update(point)
    return running.digest()


def is_secret(secret: bytes) -> bool:
    """Return whether 32 bytes are a secret scalar: 1 … n − 2 (n − 1 cannot sign: 1 + d has no inverse)."""
    return len(secret) == SECRET_BYTES and 1 <= int.from_bytes(secret, "big") <= N - 2


def secret_from_number(number: int) -> bytes:
    """Return the secret scalar that a number of at least 256 bits selects: number mod (n − 2) + 1."""
    return _number(number % (N - 2) + 1)


def check_point(point: bytes) -> bool:
    """Return whether 64 bytes are a point of the curve in its one encoding (x, y < p; zero has none)."""
    if len(point) != PUBLIC_KEY_BYTES:
        return False
    x, y = int.from_bytes(point[:32], "big"), int.from_bytes(point[32:], "big")
    return x < P and y < P and (y * y - (x * x + A) * x - B) % P == 0


def available() -> bool:
    """Return whether this machine's libcrypto offers SM2. Where not, tools may call `keys.use_portable_sm2`."""
    try:
        libcrypto.load()
    except OurError:
        return False
    return True


class _Contexts:
    """Contexts of libcrypto kept for the next use, the least recently used dropped first.

    libcrypto's contexts must not serve two threads at once, so a context is taken out of the pool while it is in use; a
    second thread with the same key makes its own. Each step is one call of a dict in C, atomic under the GIL.
    """

    def __init__(self) -> None:
        self._idle: OrderedDict[bytes, tuple[libcrypto.Sm2Context, bytes]] = OrderedDict()

    def take(self, point: bytes, secret: bytes = b"") -> tuple[libcrypto.Sm2Context, bytes]:
        """Return a key's context, which is the caller's alone until put back, and its ZA."""
        return self._idle.pop(point + secret, None) or (libcrypto.Sm2Context(point, secret), user_digest(point))

    def put_back(self, entry: tuple[libcrypto.Sm2Context, bytes], point: bytes, secret: bytes = b"") -> None:
        """Keep a context for the next caller."""
        self._idle[point + secret] = entry
        if len(self._idle) > CONTEXTS_MAX:
            self._idle.popitem(last=False)


_contexts = _Contexts()


def _der_integer(value: int) -> bytes:
    body = value.to_bytes(value.bit_length() // 8 + 1, "big")
    return bytes((0x02, len(body))) + body


def _to_der(signature: bytes) -> bytes:
    """Return r ‖ s as SEQUENCE { INTEGER r, INTEGER s } (GM/T 0009), the form that libcrypto reads."""
    body = _der_integer(int.from_bytes(signature[:32], "big")) + _der_integer(int.from_bytes(signature[32:], "big"))
    return bytes((0x30, len(body))) + body


def _from_der(signature_der: bytes) -> bytes:
    """Return r ‖ s of the DER that libcrypto wrote."""
    s_at = 4 + signature_der[3]
    r = int.from_bytes(signature_der[4:s_at], "big")
    s = int.from_bytes(signature_der[s_at + 2 :], "big")
    return _number(r) + _number(s)


def in_range(point: bytes, signature: bytes) -> bool:
    """Return whether lengths, the point and the ranges of r, s and t hold: all that needs no scalar multiplication."""
    if len(signature) != SIGNATURE_BYTES or not check_point(point):
        return False
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    # CVE-2022-21449: a verifier that skips this check takes r = s = 0 for a valid signature of anything.
    return 1 <= r < N and 1 <= s < N and r + s != N


def verify(point: bytes, message: bytes, signature: bytes) -> bool:
    """Return whether the 64-byte signature is valid. Wrong lengths and points off the curve are invalid, not errors."""
    if not in_range(point, signature):
        return False
    entry = context, za = _contexts.take(point)
    valid = context.verify(plain_sm3(za + message).digest(), _to_der(signature))
    _contexts.put_back(entry, point)
    return valid


def derive_public(secret: bytes) -> bytes:
    """Return the public point of a 32-byte secret scalar."""
    return libcrypto.sm2_public_point(secret)


def sign(secret: bytes, point: bytes, message: bytes) -> bytes:
    """Return a 64-byte signature; `point` is the secret's own. Random: two calls give two signatures."""
    entry = context, za = _contexts.take(point, secret)
    signature_der = context.sign(plain_sm3(za + message).digest())
    _contexts.put_back(entry, point, secret)
    return _from_der(signature_der)
