"""SM2 by libcrypto against the standard's example, a plain implementation, gmssl, and hostile input."""

import _hashlib
import ctypes
import os
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from gmssl.sm2 import CryptSM2
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger import keys, libcrypto, sm2, sm2_portable
from ledger.errors import OurError
from ledger.keys import Scheme, SoftSigner
from tests.oracles import sm2_reference as reference

# GB/T 32918.5, annex A.2
SECRET = bytes.fromhex("3945208F7B2144B13F36E38AC6D39F95889393692860B51A42FB81EF4DF7C5B8")
POINT = bytes.fromhex(
    "09F9DF311E5421A150DD7D161E4BC5C672179FAD1833FC076BB08FF356F35020"
    "CCEA490CE26775A52DC6EA718CC1AA600AED05FBF35E084A6632F6072DA9AD13"
)
NONCE = 0x59276E27D506861A16680F3AD9C02DCCEF3CC1FA3CDBE4CE6D54B80DEAC1BC21
MESSAGE = b"message digest"
ZA = "B2E14C5C79C6DF5B85F4FE7ED8DB7A262B9DA7E07CCB0EA9F4747B8CCDA8A4F3"
E = 0xF0B43E94BA45ACCAACE692ED534382EB17E6AB5A19CE7B31F4486FDFC0D28640
SIGNATURE = bytes.fromhex(
    "F5A03B0648D2C4630EEAC513E1BB81A15944DA3827D5B74143AC7EACEEE720B3"
    "B1B6AA29DF212FD8763182BC0D421CA1BB9038FD1F7F42D4840B69C485BBC1AA"
)
DIGEST = bytes(range(32))
VERIFIERS = [sm2.verify, sm2_portable.verify, reference.verify]

scalars = st.integers(1, sm2.N - 2)


def number(value: int) -> bytes:
    """32 bytes, big-endian."""
    return value.to_bytes(32, "big")


# ---------------------------------------------------------------- the standard, step by step


def test_the_example_of_gbt_32918() -> None:
    assert reference.encode(reference.multiply(int.from_bytes(SECRET, "big"), reference.G)) == POINT
    assert reference.message_digest(POINT, MESSAGE) == E
    assert reference.sign(int.from_bytes(SECRET, "big"), NONCE, MESSAGE) == SIGNATURE
    assert sm2.user_digest(POINT).hex().upper() == ZA
    assert sm2.derive_public(SECRET) == POINT
    assert all(verify(POINT, MESSAGE, SIGNATURE) for verify in VERIFIERS)


@settings(max_examples=12)
@given(scalars, scalars, st.binary(min_size=32, max_size=32))
def test_ours_and_the_reference_agree_both_ways(secret: int, nonce: int, digest: bytes) -> None:
    point = sm2.derive_public(number(secret))
    assert point == reference.encode(reference.multiply(secret, reference.G))
    assert sm2.verify(point, digest, reference.sign(secret, nonce, digest))
    assert reference.verify(point, digest, sm2.sign(number(secret), point, digest))


@settings(max_examples=3)
@given(scalars, scalars, st.binary(min_size=32, max_size=32))
def test_ours_and_gmssl_agree_both_ways(secret: int, nonce: int, digest: bytes) -> None:
    point = sm2.derive_public(number(secret))
    gmssl = CryptSM2(private_key=f"{secret:064x}", public_key=point.hex())
    e = number(reference.message_digest(point, digest))
    assert sm2.verify(point, digest, bytes.fromhex(gmssl.sign(e, f"{nonce:064x}")))
    assert gmssl.verify(sm2.sign(number(secret), point, digest).hex(), e)


def test_signatures_are_random() -> None:
    assert sm2.sign(SECRET, POINT, DIGEST) != sm2.sign(SECRET, POINT, DIGEST)


@pytest.mark.parametrize("secret", [1, 2, sm2.N - 2])
def test_the_smallest_and_largest_secrets_sign(secret: int) -> None:
    point = sm2.derive_public(number(secret))
    assert reference.verify(point, DIGEST, sm2.sign(number(secret), point, DIGEST))


@pytest.mark.parametrize("secret", [bytes(32), number(sm2.N - 1), number(sm2.N), b"\xff" * 32])
def test_secrets_out_of_range_are_refused(secret: bytes) -> None:
    with pytest.raises(OurError, match="secret-malformed"):
        SoftSigner(Scheme.SM2, secret)


@pytest.mark.parametrize("selected", [0, 1, sm2.N - 3, sm2.N - 2, sm2.N - 1, 2**256 - 1])
def test_every_number_selects_a_secret_in_range(selected: int) -> None:
    assert sm2.is_secret(sm2.secret_from_number(selected))


# ---------------------------------------------------------------- hostile input


def alterations() -> dict[str, tuple[bytes, bytes, bytes]]:
    """Point, message and signature of the example, each changed in one way that must be refused."""
    r, s = SIGNATURE[:32], SIGNATURE[32:]
    r_number, s_number = int.from_bytes(r, "big"), int.from_bytes(s, "big")
    x, y = POINT[:32], POINT[32:]
    return {
        "another message": (POINT, MESSAGE + b".", SIGNATURE),
        "r = 0": (POINT, MESSAGE, bytes(32) + s),
        "s = 0": (POINT, MESSAGE, r + bytes(32)),
        "r = s = 0": (POINT, MESSAGE, bytes(64)),
        "r = n": (POINT, MESSAGE, number(sm2.N) + s),
        "s = n": (POINT, MESSAGE, r + number(sm2.N)),
        "s = 2^256 - 1": (POINT, MESSAGE, r + b"\xff" * 32),
        "s mirrored": (POINT, MESSAGE, r + number(sm2.N - s_number)),
        "r mirrored": (POINT, MESSAGE, number(sm2.N - r_number) + s),
        "t = 0": (POINT, MESSAGE, r + number(sm2.N - r_number)),
        "r and s exchanged": (POINT, MESSAGE, s + r),
        "short": (POINT, MESSAGE, SIGNATURE[:-1]),
        "long": (POINT, MESSAGE, SIGNATURE + b"\0"),
        "DER": (POINT, MESSAGE, sm2._to_der(SIGNATURE)),
        "the mirrored key": (x + number(sm2.P - int.from_bytes(y, "big")), MESSAGE, SIGNATURE),
        "a key off the curve": (x + y[:-1] + bytes([y[-1] ^ 1]), MESSAGE, SIGNATURE),
        "the key of zeros": (bytes(64), MESSAGE, SIGNATURE),
        "a short key": (POINT[:-1], MESSAGE, SIGNATURE),
        "a key with its SEC 1 prefix": (b"\x04" + POINT, MESSAGE, SIGNATURE),
    }


@pytest.mark.parametrize("verify", [sm2.verify, sm2_portable.verify])
@pytest.mark.parametrize("name", alterations())
def test_altered_signatures_and_keys_are_refused(name: str, verify: Callable[[bytes, bytes, bytes], bool]) -> None:
    assert not verify(*alterations()[name])


def test_ranges_are_checked_before_any_library_is_asked() -> None:
    assert sm2.in_range(POINT, SIGNATURE)
    for name, (point, _, signature) in alterations().items():
        if "=" in name or "key" in name.replace("mirrored key", ""):
            assert not sm2.in_range(point, signature), name


def test_coordinates_of_p_or_more_are_refused() -> None:
    """x + p or y + p would be a second encoding of the same key."""
    x = next(x for x in range(100) if pow(x**3 + sm2.A * x + sm2.B, (sm2.P - 1) // 2, sm2.P) == 1)
    y = pow(x**3 + sm2.A * x + sm2.B, (sm2.P + 1) // 4, sm2.P)
    assert sm2.check_point(number(x) + number(y))
    assert not sm2.check_point(number(x + sm2.P) + number(y))
    x_of_y_1 = bytes.fromhex("9c17043effe1a805a74a9a5e70b9d659705d3242094a566dc016f49311178d1f")
    assert sm2.check_point(x_of_y_1 + number(1))
    assert not sm2.check_point(x_of_y_1 + number(1 + sm2.P))


@pytest.mark.parametrize("verify", VERIFIERS)
def test_a_sum_at_infinity_is_refused(verify: Callable[[bytes, bytes, bytes], bool]) -> None:
    """The key's owner can choose s·G + t·PA = 0; a verifier that reads x = 0 there would take r = e."""
    secret = int.from_bytes(SECRET, "big")
    r = reference.message_digest(POINT, DIGEST) % sm2.N
    # s = −t·d and t = r + s: s = −r·d / (1 + d)
    s = -r * secret * pow(1 + secret, -1, sm2.N) % sm2.N
    assert not verify(POINT, DIGEST, number(r) + number(s))


@settings(max_examples=60)
@given(st.integers(1, sm2.N - 1), st.integers(1, sm2.N - 1))
def test_numbers_survive_the_way_to_der_and_back(r: int, s: int) -> None:
    signature = number(r) + number(s)
    assert sm2._from_der(sm2._to_der(signature)) == signature


@pytest.mark.parametrize("r", [1, 0x7F, 0x80, 0xFF, 0x100, 2**255 - 1, 2**255, sm2.N - 1])
def test_der_has_no_needless_and_no_missing_zero(r: int) -> None:
    """X.690, 8.3.2: libcrypto refuses anything but the shortest form."""
    der = sm2._to_der(number(r) + number(1))
    body = der[4 : 4 + der[3]]
    assert int.from_bytes(body, "big", signed=True) == r
    assert len(body) == 1 or body[0] or body[1] & 0x80


# ---------------------------------------------------------------- threads, memory, failures


def test_threads_with_the_same_and_different_keys_get_right_answers() -> None:
    signers = [SoftSigner.from_seed(Scheme.SM2, bytes([i]) * 32) for i in range(5)]
    rng = random.Random(5)
    cases = []
    for i in range(400):
        signer, claimed = rng.choice(signers), rng.choice(signers)
        digest = bytes([i % 256]) * 32
        cases.append(((claimed.public_key, digest, signer.sign(digest)), claimed is signer))

    def check(case: tuple[tuple[bytes, bytes, bytes], bool]) -> bool:
        item, expected = case
        signer = signers[item[1][0] % 5]
        return keys.verify(*item) is expected and keys.verify(signer.public_key, item[1], signer.sign(item[1]))

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(check, cases))


def test_kept_contexts_are_bounded_and_the_oldest_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sm2, "CONTEXTS_MAX", 3)
    pool = sm2._Contexts()
    monkeypatch.setattr(sm2, "_contexts", pool)
    signers = [SoftSigner.from_seed(Scheme.SM2, bytes([i]) * 32) for i in range(5)]
    signatures = [signer.sign(DIGEST) for signer in signers]
    for i in (0, 1, 2, 0, 3, 4):
        assert keys.verify(signers[i].public_key, DIGEST, signatures[i])
    assert list(pool._idle) == [signers[i].public_key[1:] for i in (0, 3, 4)]


def resident_bytes() -> int:
    """Memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


def test_contexts_are_freed() -> None:
    def make(count: int) -> None:
        for _ in range(count):
            libcrypto.Sm2Context(POINT)
            libcrypto.Sm2Context(POINT, SECRET)

    make(200)
    before = resident_bytes()
    make(2000)  # kept, they would take about 11 MB
    assert resident_bytes() - before < 3_000_000


def test_a_refused_signature_leaves_no_error_for_pythons_ssl() -> None:
    library = libcrypto.load()
    for altered in alterations().values():
        sm2.verify(*altered)
        assert library.ERR_get_error() == 0


class Overridden:
    """libcrypto with some functions replaced."""

    def __init__(self, **replaced: Callable[..., Any]) -> None:
        self._library = libcrypto.load()
        self.__dict__.update(replaced)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._library, name)


def fail(*arguments: object) -> int:
    """A C function that fails."""
    return 0


@pytest.mark.parametrize(
    ("function", "action"),
    [
        ("EVP_PKEY_fromdata", lambda: libcrypto.Sm2Context(POINT)),
        ("EVP_PKEY_verify_init", lambda: libcrypto.Sm2Context(POINT)),
        ("EVP_PKEY_sign_init", lambda: libcrypto.Sm2Context(POINT, SECRET)),
        ("EVP_PKEY_sign", lambda: libcrypto.Sm2Context(POINT, SECRET).sign(DIGEST)),
        ("EC_POINT_mul", lambda: libcrypto.sm2_public_point(SECRET)),
        ("EC_POINT_point2oct", lambda: libcrypto.sm2_public_point(SECRET)),
    ],
)
def test_a_failure_inside_libcrypto_is_ours(
    function: str, action: Callable[[], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    library = Overridden(**{function: fail})
    monkeypatch.setattr(libcrypto, "load", lambda: library)
    with pytest.raises(OurError, match="libcrypto-failed"):
        action()


def test_a_verification_that_breaks_down_is_no_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    library = Overridden(EVP_PKEY_verify=lambda *arguments: -1)
    monkeypatch.setattr(libcrypto, "load", lambda: library)
    monkeypatch.setattr(sm2, "_contexts", sm2._Contexts())
    with pytest.raises(OurError, match="libcrypto-failed"):
        sm2.verify(POINT, MESSAGE, SIGNATURE)


def test_a_point_off_the_curve_names_libcryptos_reason() -> None:
    for _ in range(3):
        libcrypto.load().EVP_PKEY_CTX_new_from_name(None, b"no such algorithm", None)  # leaves an error each time
    with pytest.raises(OurError, match=r"refused: error:.*") as caught:
        libcrypto.Sm2Context(bytes(63) + b"\x01")
    assert caught.value.code == "libcrypto-failed"
    assert libcrypto.load().ERR_get_error() == 0


# ---------------------------------------------------------------- finding libcrypto


@pytest.mark.parametrize("found", [None, "no-such-library.so", "libc.so.6"])
def test_a_machine_without_openssl_3_has_no_sm2(found: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(_hashlib, "__file__")
    monkeypatch.setattr(ctypes.util, "find_library", lambda name: found)
    monkeypatch.setattr(libcrypto, "load", libcrypto.load.__wrapped__)
    assert not sm2.available()
    with pytest.raises(OurError, match="sm2-missing"):
        libcrypto.load()


def test_a_python_linked_statically_finds_the_systems_libcrypto(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(_hashlib, "__file__")
    if not ctypes.util.find_library("crypto"):
        pytest.skip("the linker knows no libcrypto here")
    assert libcrypto.load.__wrapped__() is not None


def test_an_openssl_built_without_sm2_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    library = Overridden(EVP_PKEY_CTX_new_from_name=lambda *arguments: None)
    monkeypatch.setattr(ctypes, "CDLL", lambda path: library)
    with pytest.raises(OurError, match="no-sm2"):
        libcrypto.load.__wrapped__()


def test_sm2_is_available_here() -> None:
    assert sm2.available()


def test_a_tool_can_choose_the_portable_verifier(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "_VERIFIERS", dict(keys._VERIFIERS))
    signer = SoftSigner.from_seed(Scheme.SM2, bytes(32))
    signature = signer.sign(DIGEST)
    keys.use_portable_sm2()
    monkeypatch.setattr(sm2, "verify", lambda *arguments: pytest.fail("libcrypto was asked"))
    assert keys.verify(signer.public_key, DIGEST, signature)
    assert not keys.verify(signer.public_key, bytes(32), signature)
