"""SM2 verification in pure Python (gmssl): for tools that read a chain where libcrypto has no SM2.

Chosen by `keys.use_portable_sm2`, never by a validator: it takes about 10 ms a signature, and a vote must rest on the
verifier that all replicas share.
"""

from gmssl.sm2 import CryptSM2

from ledger import sm2
from ledger.hashing import plain_sm3


def verify(point: bytes, message: bytes, signature: bytes) -> bool:
    """Return whether the 64-byte signature is valid: the same answer as `sm2.verify`."""
    if not sm2.in_range(point, signature):
        return False
    digest = plain_sm3(sm2.user_digest(point) + message).digest()
    try:
        return bool(CryptSM2(private_key="", public_key=point.hex()).verify(signature.hex(), digest))
    except TypeError:
        # Whoever knows the secret can choose s·G = −t·PA. gmssl has no form for their sum, zero, and indexes None.
        return False
