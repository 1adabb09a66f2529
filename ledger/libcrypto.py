"""The few functions of OpenSSL 3's libcrypto that SM2 needs, through ctypes, which releases the GIL around each call.

The library is the one that Python's own `_hashlib` is linked to, so SM3 and SM2 come from the same build.
"""

import _hashlib
import ctypes
import ctypes.util
import functools
import sys
from collections.abc import Iterator

from ledger.errors import OurError

POINT_PREFIX = b"\x04"
"""Marks an uncompressed point (SEC 1, 2.3.3)."""
_NID_SM2 = 1172
_UNCOMPRESSED = 4
_SELECT_PUBLIC = 0x86
"""EVP_PKEY_PUBLIC_KEY: parameters and public key."""
_SELECT_KEYPAIR = 0x87
"""EVP_PKEY_KEYPAIR: the above and the private key."""
_PARAM_UNSIGNED, _PARAM_UTF8, _PARAM_OCTETS = 2, 4, 5
_DER_BYTES_MAX = 72
"""Longest SEQUENCE of two INTEGERs of 256 bits."""
_ERROR_BYTES = 256


class _Param(ctypes.Structure):
    """OSSL_PARAM, the typed key-value pair of <openssl/core.h>; an array ends with one whose key is null."""

    _fields_ = (
        ("key", ctypes.c_char_p),
        ("data_type", ctypes.c_uint),
        ("data", ctypes.c_char_p),
        ("data_size", ctypes.c_size_t),
        ("return_size", ctypes.c_size_t),
    )


_POINTER, _BYTES, _INT, _SIZE = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int, ctypes.c_size_t
_SIGNATURES: dict[str, tuple[type | None, tuple[type, ...]]] = {
    # name: (result, arguments), as in <openssl/evp.h>, <openssl/ec.h>, <openssl/bn.h>, <openssl/err.h>
    "EVP_PKEY_CTX_new_from_name": (_POINTER, (_POINTER, _BYTES, _BYTES)),
    "EVP_PKEY_CTX_new_from_pkey": (_POINTER, (_POINTER, _POINTER, _BYTES)),
    "EVP_PKEY_CTX_free": (None, (_POINTER,)),
    "EVP_PKEY_free": (None, (_POINTER,)),
    "EVP_PKEY_fromdata_init": (_INT, (_POINTER,)),
    "EVP_PKEY_fromdata": (_INT, (_POINTER, ctypes.POINTER(_POINTER), _INT, ctypes.POINTER(_Param))),
    "EVP_PKEY_verify_init": (_INT, (_POINTER,)),
    "EVP_PKEY_verify": (_INT, (_POINTER, _BYTES, _SIZE, _BYTES, _SIZE)),
    "EVP_PKEY_sign_init": (_INT, (_POINTER,)),
    "EVP_PKEY_sign": (_INT, (_POINTER, _BYTES, ctypes.POINTER(_SIZE), _BYTES, _SIZE)),
    "EC_GROUP_new_by_curve_name": (_POINTER, (_INT,)),
    "EC_GROUP_free": (None, (_POINTER,)),
    "EC_POINT_new": (_POINTER, (_POINTER,)),
    "EC_POINT_free": (None, (_POINTER,)),
    "EC_POINT_mul": (_INT, (_POINTER, _POINTER, _POINTER, _POINTER, _POINTER, _POINTER)),
    "EC_POINT_point2oct": (_SIZE, (_POINTER, _POINTER, _INT, _BYTES, _SIZE, _POINTER)),
    "BN_bin2bn": (_POINTER, (_BYTES, _INT, _POINTER)),
    "BN_clear_free": (None, (_POINTER,)),
    "ERR_get_error": (ctypes.c_ulong, ()),
    "ERR_error_string_n": (None, (ctypes.c_ulong, _BYTES, _SIZE)),
    "ERR_clear_error": (None, ()),
}


def _candidates() -> Iterator[str]:
    """Yield where libcrypto may be: behind `_hashlib`, or else (statically linked Pythons) where the linker looks."""
    behind_hashlib = getattr(_hashlib, "__file__", None)
    if behind_hashlib:
        yield behind_hashlib
    found = ctypes.util.find_library("crypto")
    if found:
        yield found


@functools.cache
def load() -> ctypes.CDLL:
    """Return libcrypto, its functions declared. Raises OurError `sm2-missing` unless it is OpenSSL 3 with SM2."""
    for path in _candidates():
        try:
            library = ctypes.CDLL(path)
            for name, (result, arguments) in _SIGNATURES.items():
                function = getattr(library, name)
                function.restype, function.argtypes = result, arguments
        except (OSError, AttributeError):
            continue
        context = library.EVP_PKEY_CTX_new_from_name(None, b"SM2", None)
        if context:
            library.EVP_PKEY_CTX_free(context)
            return library
        library.ERR_clear_error()
    raise OurError("sm2-missing", "no libcrypto with SM2 found; use a Python linked to OpenSSL 3 built without no-sm2")


def _failure(library: ctypes.CDLL, action: str) -> OurError:
    """Return the error for a call that failed, with libcrypto's first reason, and empty its error queue.

    Python's ssl module reads the same queue: what is left in it would surface as an error of some later TLS call.
    """
    reason = ctypes.create_string_buffer(_ERROR_BYTES)
    library.ERR_error_string_n(library.ERR_get_error(), reason, _ERROR_BYTES)
    library.ERR_clear_error()
    return OurError("libcrypto-failed", f"{action}: {reason.value.decode('ascii', 'replace')}")


def _new_pkey(library: ctypes.CDLL, point: bytes, secret: bytes) -> int:
    """Return a new EVP_PKEY of a public point (and its secret, if not empty), which the caller must free."""
    encoded = POINT_PREFIX + point
    scalar = secret if sys.byteorder == "big" else secret[::-1]
    params = [_Param(b"group", _PARAM_UTF8, b"SM2", 3, 0), _Param(b"pub", _PARAM_OCTETS, encoded, len(encoded), 0)]
    if secret:
        params.append(_Param(b"priv", _PARAM_UNSIGNED, scalar, len(scalar), 0))
    array = (_Param * (len(params) + 1))(*params)
    pkey = ctypes.c_void_p()
    context = library.EVP_PKEY_CTX_new_from_name(None, b"SM2", None)
    try:
        library.EVP_PKEY_fromdata_init(context)
        select = _SELECT_KEYPAIR if secret else _SELECT_PUBLIC
        if library.EVP_PKEY_fromdata(context, ctypes.byref(pkey), select, array) != 1 or pkey.value is None:
            raise _failure(library, "an SM2 key was refused")
    finally:
        library.EVP_PKEY_CTX_free(context)
    return pkey.value


class Sm2Context:
    """One SM2 key, ready to verify (or to sign, if made with its secret). To be used by one thread at a time."""

    def __init__(self, point: bytes, secret: bytes = b"") -> None:
        """Take the point x ‖ y and, for signing, the big-endian scalar. Raises OurError if libcrypto refuses them."""
        self._library = load()
        pkey = _new_pkey(self._library, point, secret)
        self._context = self._library.EVP_PKEY_CTX_new_from_pkey(None, pkey, None)
        self._library.EVP_PKEY_free(pkey)  # the context keeps a reference of its own
        start = self._library.EVP_PKEY_sign_init if secret else self._library.EVP_PKEY_verify_init
        if start(self._context) != 1:
            raise _failure(self._library, "an SM2 context was refused")

    def __del__(self) -> None:
        """Free what libcrypto holds."""
        if hasattr(self, "_context"):
            self._library.EVP_PKEY_CTX_free(self._context)

    def verify(self, digest: bytes, signature_der: bytes) -> bool:
        """Return whether the DER-encoded signature over e (32 bytes) is valid."""
        done: int = self._library.EVP_PKEY_verify(self._context, signature_der, len(signature_der), digest, len(digest))
        if done == 1:
            return True
        if done < 0:
            raise _failure(self._library, "an SM2 signature could not be checked")
        self._library.ERR_clear_error()
        return False

    def sign(self, digest: bytes) -> bytes:
        """Return the DER-encoded signature over e (32 bytes), with a nonce of libcrypto's own generator."""
        signature = ctypes.create_string_buffer(_DER_BYTES_MAX)
        length = ctypes.c_size_t(_DER_BYTES_MAX)
        if self._library.EVP_PKEY_sign(self._context, signature, ctypes.byref(length), digest, len(digest)) != 1:
            raise _failure(self._library, "signing with SM2 failed")
        return signature.raw[: length.value]


def sm2_public_point(secret: bytes) -> bytes:
    """Return d·G as x ‖ y (64 bytes) for a scalar d of 32 bytes, big-endian, in constant time."""
    library = load()
    group = library.EC_GROUP_new_by_curve_name(_NID_SM2)
    point = library.EC_POINT_new(group)
    scalar = library.BN_bin2bn(secret, len(secret), None)
    encoded = ctypes.create_string_buffer(65)
    try:
        if (
            library.EC_POINT_mul(group, point, scalar, None, None, None) != 1
            or library.EC_POINT_point2oct(group, point, _UNCOMPRESSED, encoded, 65, None) != 65
        ):
            raise _failure(library, "an SM2 public key could not be computed")
    finally:
        library.BN_clear_free(scalar)
        library.EC_POINT_free(point)
        library.EC_GROUP_free(group)
    return encoded.raw[1:]
