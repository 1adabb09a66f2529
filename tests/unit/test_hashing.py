"""SM3 and SM4 against the standards' vectors, and the domain tags."""

import hashlib

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, modes
from cryptography.hazmat.primitives.ciphers.algorithms import SM4
from hypothesis import given
from hypothesis import strategies as st

from ledger.errors import OurError
from ledger.hashing import HASH_BYTES, TAG_BYTES, ZERO_HASH, Tag, hasher, plain_sm3, sm3

TAGS = st.sampled_from(Tag)


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (b"abc", "66c7f0f462eeedd9d1f2d46bdc10e4e24167c4875cf2f7a2297da02b8f4ba8e0"),
        (b"abcd" * 16, "debe9ff92275b8a138604889c18e5a4d6fdb70e5387e5765293dcba39c0c5732"),
    ],
)
def test_sm3_examples_of_gbt_32905(message: bytes, expected: str) -> None:
    assert plain_sm3(message).hexdigest() == expected


SM4_KEY = bytes.fromhex("0123456789abcdeffedcba9876543210")


def test_sm4_example_1_of_gbt_32907() -> None:
    encrypt = Cipher(SM4(SM4_KEY), modes.ECB()).encryptor().update
    assert encrypt(SM4_KEY).hex() == "681edf34d206965e86b3e94f536e4246"


@pytest.mark.long
def test_sm4_example_2_of_gbt_32907_a_million_rounds() -> None:
    encrypt = Cipher(SM4(SM4_KEY), modes.ECB()).encryptor().update
    block = SM4_KEY
    for _ in range(1_000_000):
        block = encrypt(block)
    assert block.hex() == "595298c7c6fd271f0402f804c33d3f66"


def test_tags_are_distinct_and_of_one_length() -> None:
    prefixes = {tag.prefix for tag in Tag}
    assert len(prefixes) == len(Tag.__members__)
    assert {len(prefix) for prefix in prefixes} == {TAG_BYTES}
    assert all(prefix.startswith(b"pile/") and prefix.isascii() for prefix in prefixes)


def test_a_transaction_hash_never_changes() -> None:
    assert Tag.TX.prefix == b"pile/tx\0\0\0\0\0\0\0\0\0"
    assert sm3(Tag.TX, b"abc") == hashlib.new("sm3", b"pile/tx\0\0\0\0\0\0\0\0\0abc").digest()


@given(TAGS, st.lists(st.binary(max_size=200), max_size=4))
def test_sm3_is_the_standard_hash_of_tag_and_parts(tag: Tag, parts: list[bytes]) -> None:
    content = b"".join(parts)
    expected = hashlib.new("sm3", tag.prefix + content).digest()
    assert sm3(tag, *parts) == expected
    assert hasher(tag)(content) == expected
    assert sm3(tag, *parts) == expected, "the kept context was changed by use"


@given(TAGS, TAGS, st.binary(max_size=100))
def test_one_content_hashes_differently_under_two_tags(one: Tag, other: Tag, content: bytes) -> None:
    assert (sm3(one, content) == sm3(other, content)) == (one is other)


def test_hash_sizes() -> None:
    assert len(sm3(Tag.TX)) == HASH_BYTES == len(ZERO_HASH)


def test_a_python_without_sm3_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str, data: bytes) -> None:
        raise ValueError(f"unsupported hash type {name}")

    monkeypatch.setattr("ledger.hashing.hashlib.new", refuse)
    with pytest.raises(OurError, match="OpenSSL 3") as caught:
        plain_sm3()
    assert caught.value.code == "sm3-missing"
