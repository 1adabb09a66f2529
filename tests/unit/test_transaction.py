"""Transactions: identity, canonical bytes, and what is refused before any chain is asked."""

import msgpack
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.codec import decode, encode
from ledger.errors import OurError, PeerError, require
from ledger.keys import Scheme, verify
from ledger.transaction import (
    TRANSACTION_BYTES_MAX,
    Body,
    Branch,
    ExpiryClass,
    Signed,
    Transaction,
    decode_transaction,
    sign_transaction,
    transaction_id,
)
from tests.chain import START_MS, signer, transaction


def body(**changes: object) -> Body:
    return msgspec.structs.replace(transaction("x").body, **changes)


def test_the_id_leaves_the_signature_out_and_the_leaf_does_not() -> None:
    # SM2 signatures are random: a client that retries signs again, and must not pay twice.
    key = signer("driver", Scheme.SM2)
    unsigned = body(sender=key.public_key)
    first, second = (decode_transaction(sign_transaction(unsigned, key)) for _ in range(2))
    assert first.id == second.id == transaction_id(encode(unsigned))
    assert first.leaf != second.leaf
    assert all(verify(key.public_key, tx.id, tx.signature) for tx in (first, second))


@given(
    st.builds(
        Body,
        chain_id=st.binary(min_size=32, max_size=32),
        sender=st.sampled_from([signer("a").public_key, signer("b", Scheme.SM2).public_key]),
        branch=st.sampled_from(Branch),
        expiry_class=st.sampled_from(ExpiryClass),
        contract=st.integers(0, 2**32 - 1),
        method=st.text(min_size=1, max_size=64),
        args=st.binary(max_size=300),
        gas_limit=st.integers(0, 2**63 - 1),
        valid_until_ms=st.integers(0, 2**63 - 1),
        salt=st.binary(min_size=8, max_size=8),
    )
)
def test_the_msgpack_library_writes_the_same_bytes(value: Body) -> None:
    fields = [getattr(value, name) for name in Body.__struct_fields__]
    assert msgpack.packb([int(f) if isinstance(f, Branch | ExpiryClass) else f for f in fields]) == encode(value)
    assert decode(Body, encode(value)) == value


def decoded_or_none(raw: bytes) -> Transaction | None:
    try:
        return decode_transaction(raw)
    except PeerError:  # any other exception would be a way to crash a node
        return None


@given(st.data())
def test_a_changed_byte_never_passes_as_the_same_transaction(data: st.DataObject) -> None:
    original = transaction("pay 5")
    raw = bytearray(original.raw)
    position = data.draw(st.integers(0, len(raw) - 1))
    raw[position] ^= data.draw(st.integers(1, 255))
    changed = decoded_or_none(bytes(raw))
    if changed is None:
        return
    assert changed.leaf != original.leaf
    assert changed.id != original.id or changed.signature != original.signature
    assert not verify(changed.body.sender, changed.id, changed.signature)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("chain_id", b"short"),
        ("sender", b"\x01"),
        ("branch", 9),
        ("expiry_class", 2),
        ("contract", -1),
        ("method", ""),
        ("method", "m" * 65),
        ("gas_limit", 2**63),
        ("valid_until_ms", -1),
        ("salt", b"1234567"),
    ],
)
def test_each_field_is_bounded(field: str, value: object) -> None:
    unsigned = encode(body(**{field: value}))
    with pytest.raises(PeerError) as caught:
        decode_transaction(encode(Signed(unsigned, bytes(64))))
    assert caught.value.code == "encoding-malformed"


def test_bytes_in_another_than_the_canonical_form_are_refused() -> None:
    raw = transaction("x").raw
    assert raw[:1] == b"\x92"
    longer_array = b"\xdc\x00\x02" + raw[1:]  # array of two, written with a 16-bit length
    with pytest.raises(PeerError) as caught:
        decode_transaction(longer_array)
    assert caught.value.code == "encoding-not-canonical"


def test_trailing_missing_and_extra_fields_are_refused() -> None:
    tx = transaction("x")
    signed = decode(Signed, tx.raw)
    for bad in (
        tx.raw + b"\x00",
        msgpack.packb([signed.body]),
        msgpack.packb([signed.body, signed.signature, 0]),
        msgpack.packb({"body": signed.body, "signature": signed.signature}),
        b"",
    ):
        with pytest.raises(PeerError) as caught:
            decode_transaction(bad)
        assert caught.value.code == "encoding-malformed"


def test_too_large() -> None:
    with pytest.raises(PeerError) as caught:
        decode_transaction(bytes(TRANSACTION_BYTES_MAX + 1))
    assert caught.value.code == "transaction-too-large"


def test_deeply_nested_bytes_are_no_bomb() -> None:
    with pytest.raises(PeerError):
        decode_transaction(b"\x91" * 60_000)


def test_require_speaks_of_our_own_bug() -> None:
    require(True, "never", "never raised")
    with pytest.raises(OurError, match="books-unbalanced: sum is 1"):
        require(False, "books-unbalanced", "sum is 1")


def test_chain_time_of_the_fixture() -> None:
    assert transaction("x").body.valid_until_ms > START_MS
