"""Keys and signatures of both schemes; Ed25519's strict rule against a plain implementation of it."""

import itertools
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger import ed25519, keys, sm2
from ledger.errors import OurError, PeerError
from ledger.keys import Scheme, Signer, SoftSigner, check_public_key, scheme_of, verify, verify_many
from tests.oracles import ed25519_reference as reference

BOTH = frozenset(Scheme)
SIGNERS = {scheme: SoftSigner.from_seed(scheme, b"\x07" * 32) for scheme in Scheme}
DIGEST = bytes(range(32))
SIGNATURES = {scheme: signer.sign(DIGEST) for scheme, signer in SIGNERS.items()}

each_scheme = pytest.mark.parametrize("scheme", Scheme)


# ---------------------------------------------------------------- both schemes


@each_scheme
def test_a_signature_verifies_under_its_key_and_digest_only(scheme: Scheme) -> None:
    signer: Signer = SIGNERS[scheme]
    other = SoftSigner.from_seed(scheme, b"\x08" * 32)
    signature = signer.sign(DIGEST)
    assert len(signature) == keys.SIGNATURE_BYTES
    assert verify(signer.public_key, DIGEST, signature)
    assert not verify(other.public_key, DIGEST, signature)
    assert not verify(signer.public_key, bytes(32), signature)


@each_scheme
def test_every_bit_of_a_signature_counts(scheme: Scheme) -> None:
    key, signature = SIGNERS[scheme].public_key, SIGNATURES[scheme]
    for bit in range(0, 512, 3):
        mutated = (int.from_bytes(signature, "big") ^ 1 << bit).to_bytes(64, "big")
        assert not verify(key, DIGEST, mutated), f"bit {bit}"


@settings(max_examples=60)
@given(st.sampled_from(Scheme), st.data())
def test_no_input_makes_verify_raise_or_accept(scheme: Scheme, data: st.DataObject) -> None:
    key, signature = SIGNERS[scheme].public_key, SIGNATURES[scheme]
    key = data.draw(st.sampled_from([key, key[:-1], key + b"\0", b"", b"\x03" + key[1:]]) | st.binary(max_size=70))
    digest = data.draw(st.sampled_from([DIGEST, DIGEST[:-1], b""]) | st.binary(max_size=40))
    signature = data.draw(st.sampled_from([signature, signature[:-1], signature + b"\0", b""]) | st.binary(max_size=70))
    genuine = (SIGNERS[scheme].public_key, DIGEST, SIGNATURES[scheme])
    assert verify(key, digest, signature) == ((key, digest, signature) == genuine)


@pytest.mark.parametrize("message", [b"", bytes(31), bytes(33), bytes(64)])
def test_a_valid_signature_of_what_is_no_digest_is_refused(message: bytes) -> None:
    signers = SIGNERS[Scheme.ED25519], SIGNERS[Scheme.SM2]
    for signer, scheme in zip(signers, (ed25519, sm2), strict=True):
        point = signer.public_key[1:]
        signature = scheme.sign(signer.secret, point, message)
        assert scheme.verify(point, message, signature)
        assert not verify(signer.public_key, message, signature)


def test_verify_many_answers_item_by_item_and_from_threads() -> None:
    good = [(SIGNERS[scheme].public_key, DIGEST, SIGNATURES[scheme]) for scheme in Scheme]
    bad = [(key, bytes(32), signature) for key, _, signature in good]
    batch = [item for pair in zip(good, bad, strict=True) for item in pair] + [(b"", b"", b"")]
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(verify_many, [batch] * 6)) == [[True, False, True, False, False]] * 6


@pytest.mark.parametrize(
    ("scheme", "public_key"),
    [
        (Scheme.ED25519, "01ea4a6c63e29c520abef5507b132ec5f9954776aebebe7b92421eea691446d22c"),
        (
            Scheme.SM2,
            "022d27935eb714bdc1c67da97e63dfd463dace04de619ed57e28fdc03840128bb0"
            "3b000fda7d4fc73633c742c580f0534b7078a8c88470270264b4c8927a2b64e1",
        ),
    ],
)
def test_a_seed_always_gives_the_same_key(scheme: Scheme, public_key: str) -> None:
    signer = SoftSigner.from_seed(scheme, b"\x07" * 32)
    assert signer.public_key.hex() == public_key
    assert SoftSigner(scheme, signer.secret).public_key == signer.public_key


def test_the_two_schemes_share_no_secret_for_one_seed() -> None:
    assert SIGNERS[Scheme.SM2].secret != SIGNERS[Scheme.ED25519].secret


@each_scheme
@pytest.mark.parametrize("seed", [b"", bytes(31), bytes(33)])
def test_a_seed_of_another_length_is_refused(scheme: Scheme, seed: bytes) -> None:
    with pytest.raises(OurError, match="secret-malformed"):
        SoftSigner.from_seed(scheme, seed)
    with pytest.raises(OurError, match="secret-malformed"):
        SoftSigner(scheme, seed)


@each_scheme
def test_only_digests_are_signed(scheme: Scheme) -> None:
    with pytest.raises(OurError, match="digest-length"):
        SIGNERS[scheme].sign(b"a message that nobody hashed")


@each_scheme
def test_a_signer_shows_no_secret(scheme: Scheme) -> None:
    signer = SIGNERS[scheme]
    assert signer.secret.hex() not in repr(signer)
    assert signer.public_key.hex() in repr(signer)


@each_scheme
def test_keys_name_their_scheme(scheme: Scheme) -> None:
    key = SIGNERS[scheme].public_key
    assert scheme_of(key) is scheme
    check_public_key(key, BOTH)
    check_public_key(key, frozenset({scheme}))
    with pytest.raises(PeerError, match="key-scheme"):
        check_public_key(key, BOTH - {scheme})


@pytest.mark.parametrize(
    "key", [b"", b"\x00" + bytes(32), b"\x02" + bytes(32), b"\x01" + bytes(64), b"\x03" + bytes(64)]
)
def test_keys_of_unknown_scheme_or_wrong_length_are_refused(key: bytes) -> None:
    with pytest.raises(PeerError, match="key-malformed"):
        check_public_key(key, BOTH)


@pytest.mark.parametrize(
    "key",
    [
        b"\x01" + (2).to_bytes(32, "little"),  # no point has y = 2
        b"\x01" + reference.encode(reference.TORSION_8),
        b"\x01" + reference.encode(reference.add(reference.BASE, reference.TORSION_8)),
        b"\x01" + (reference.P + 4).to_bytes(32, "little"),
        b"\x02" + bytes(64),
        SIGNERS[Scheme.SM2].public_key[:-1] + b"\0",
    ],
)
def test_points_off_the_curve_or_of_less_than_full_order_are_refused(key: bytes) -> None:
    with pytest.raises(PeerError, match="key-point"):
        check_public_key(key, BOTH)


# ---------------------------------------------------------------- Ed25519


@pytest.mark.parametrize(
    ("seed", "point", "message", "signature"),
    [
        (
            "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
            "",
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155"
            "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
        ),
        (
            "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
            "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
            "72",
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
            "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
        ),
        (
            "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
            "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
            "af82",
            "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac"
            "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
        ),
    ],
)
def test_ed25519_examples_of_rfc_8032(seed: str, point: str, message: str, signature: str) -> None:
    secret, public, text = bytes.fromhex(seed), bytes.fromhex(point), bytes.fromhex(message)
    assert ed25519.derive_public(secret) == public
    assert ed25519.sign(secret, public, text).hex() == signature
    assert ed25519.verify(public, text, bytes.fromhex(signature))


def test_ed25519_refuses_other_lengths() -> None:
    public, signature = SIGNERS[Scheme.ED25519].public_key[1:], SIGNATURES[Scheme.ED25519]
    assert ed25519.verify(public, DIGEST, signature)
    assert not ed25519.verify(public[:-1], DIGEST, signature)
    assert not ed25519.verify(public, DIGEST, signature[:-1])
    assert not ed25519.verify(public, DIGEST[1:], signature + DIGEST[:1])


def test_the_list_of_small_order_points_is_complete() -> None:
    """Every string whose y is, mod p, that of a point of small order, with either sign bit: 8 points, 14 strings."""
    torsion_y = {y for _, y in reference.TORSION}
    strings = {
        (y | sign << 255).to_bytes(32, "little")
        for residue in torsion_y
        for y in (residue, residue + reference.P)
        if y < 2**255
        for sign in (0, 1)
    }
    assert len(set(reference.TORSION)) == 8
    assert len(strings) == 14
    assert strings == ed25519.SMALL_ORDER


@pytest.mark.parametrize("point", sorted(ed25519.SMALL_ORDER), ids=bytes.hex)
def test_small_order_points_are_refused_as_key_and_as_r(point: bytes) -> None:
    """With A of small order one signature fits many messages; with R = 0 and A = 0 any s = 0 would fit all."""
    assert not ed25519.check_point(point)
    assert not any(ed25519.verify(point, bytes([i]) * 32, point + bytes(32)) for i in range(8))
    secret = 5
    public = reference.encode(reference.multiply(secret, reference.BASE))
    h = reference.challenge(point, public, DIGEST)
    assert not ed25519.verify(public, DIGEST, point + (h * secret % reference.L).to_bytes(32, "little"))


@pytest.mark.parametrize("torsion", range(8))
def test_a_key_of_small_order_is_refused_even_where_the_equation_holds(torsion: int) -> None:
    forgeries = (
        reference.forge(0, nonce, reference.TORSION[torsion], reference.ZERO, DIGEST) for nonce in range(2, 200)
    )
    key, signature, _ = next(forgery for forgery in forgeries if forgery[2])
    assert not ed25519.verify(key, DIGEST, signature)


NON_CANONICAL = [
    (reference.P + y | sign << 255).to_bytes(32, "little") for y, sign in itertools.product(range(19), (0, 1))
]


@pytest.mark.parametrize("point", NON_CANONICAL, ids=bytes.hex)
def test_non_canonical_points_are_refused_as_key_and_as_r(point: bytes) -> None:
    assert not ed25519.check_point(point)
    assert not ed25519.verify(point, DIGEST, SIGNATURES[Scheme.ED25519])
    assert not ed25519.verify(SIGNERS[Scheme.ED25519].public_key[1:], DIGEST, point + bytes(32))


def test_the_strict_rule_is_ours_whatever_libsodium_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ed25519, "crypto_sign_open", lambda signed, point: signed[64:])
    public, signature = SIGNERS[Scheme.ED25519].public_key[1:], SIGNATURES[Scheme.ED25519]
    assert ed25519.verify(public, DIGEST, signature)
    for point in [*ed25519.SMALL_ORDER, *NON_CANONICAL]:
        assert not ed25519.verify(point, DIGEST, signature), point.hex()
        assert not ed25519.verify(public, DIGEST, point + signature[32:]), point.hex()


def test_the_largest_canonical_points_are_not_refused_for_their_size() -> None:
    for y in range(reference.P - 40, reference.P - 1):
        for sign in (0, 1):
            assert ed25519._is_strict((y | sign << 255).to_bytes(32, "little"))


def test_s_of_l_or_more_is_refused() -> None:
    signature = SIGNATURES[Scheme.ED25519]
    s = int.from_bytes(signature[32:], "little")
    for multiple in range(1, 16):
        if s + multiple * reference.L < 2**256:
            malleated = signature[:32] + (s + multiple * reference.L).to_bytes(32, "little")
            assert not ed25519.verify(SIGNERS[Scheme.ED25519].public_key[1:], DIGEST, malleated)


ed25519_scalars = st.integers(1, reference.L - 1)
torsion_points = st.sampled_from(reference.TORSION)


@settings(max_examples=40)
@given(ed25519_scalars, ed25519_scalars, torsion_points, torsion_points)
def test_the_equation_is_checked_without_the_cofactor(
    secret: int, nonce: int, a_torsion: reference.Point, r_torsion: reference.Point
) -> None:
    key, signature, holds = reference.forge(secret, nonce, a_torsion, r_torsion, DIGEST)
    assert ed25519.verify(key, DIGEST, signature) is holds


def test_a_libsodium_with_another_rule_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def with_cofactor(signed: bytes, point: bytes) -> bytes:
        return signed[64:]  # stands for a library that takes more than the rule allows

    ed25519.require_rule()
    monkeypatch.setattr(ed25519, "crypto_sign_open", with_cofactor)
    with pytest.raises(OurError, match="ed25519-rule"):
        ed25519.require_rule()
