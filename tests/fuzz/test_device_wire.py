"""Bytes of strangers on MQTT: each is read or refused with a code, never anything else."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devices.wire import (
    DOWN_BYTES_MAX,
    UP_BYTES_MAX,
    AskHead,
    AskReceipt,
    AskSetChanges,
    AskState,
    Hello,
    Readings,
    Submit,
    UpPayload,
    check_up,
    decode_down,
    device_of,
    is_device_name,
    open_up,
    seal_up,
    up_topic,
)
from ledger.charging import SignedReading
from ledger.codec import encode
from ledger.errors import PeerError
from tests.consortium import key, signer

CHAIN = bytes(range(32))
MESSAGES: tuple[UpPayload, ...] = (
    Hello(3, know_set=True),
    Submit(b"raw"),
    Readings(bytes(32), (SignedReading(b"r", bytes(64)),)),
    AskHead(),
    AskReceipt(bytes(32), 7),
    AskState((b"key", b"other")),
    AskSetChanges(1),
)


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_a_message_comes_back_as_it_was(message: UpPayload):
    data = seal_up(CHAIN, "Pile-1", 5, message, signer("Pile-1"))
    assert check_up(open_up(data), CHAIN, "Pile-1", key("Pile-1")) == message


@settings(max_examples=500)
@given(st.sampled_from(MESSAGES), st.integers(0, 10_000), st.integers(1, 255))
def test_no_changed_byte_passes(message: UpPayload, where: int, flip: int):
    data = bytearray(seal_up(CHAIN, "Pile-1", 5, message, signer("Pile-1")))
    data[where % len(data)] ^= flip
    with pytest.raises(PeerError):
        check_up(open_up(bytes(data)), CHAIN, "Pile-1", key("Pile-1"))


@pytest.mark.parametrize(
    ("chain", "device", "public_key"),
    [(bytes(32), "Pile-1", "Pile-1"), (CHAIN, "Pile-2", "Pile-1"), (CHAIN, "Pile-1", "Pile-2")],
    ids=["another chain", "another device's topic", "another key"],
)
def test_a_message_passes_for_nothing_else(chain: bytes, device: str, public_key: str):
    data = seal_up(CHAIN, "Pile-1", 5, AskHead(), signer("Pile-1"))
    with pytest.raises(PeerError, match="message-forged"):
        check_up(open_up(data), chain, device, key(public_key))


@settings(max_examples=500)
@given(st.binary(max_size=400))
def test_nonsense_upwards_is_refused(data: bytes):
    with pytest.raises(PeerError):
        check_up(open_up(data), CHAIN, "Pile-1", key("Pile-1"))


@settings(max_examples=500)
@given(st.binary(max_size=400))
def test_nonsense_downwards_is_refused_or_read(data: bytes):
    try:
        message = decode_down(data)
    except PeerError:
        return
    assert encode(message) == data


def test_oversized_messages_are_not_even_decoded():
    with pytest.raises(PeerError, match="message-too-large"):
        open_up(bytes(UP_BYTES_MAX + 1))
    with pytest.raises(PeerError, match="message-too-large"):
        decode_down(bytes(DOWN_BYTES_MAX + 1))


@given(st.text(max_size=70))
def test_a_device_name_is_one_level_of_a_topic(name: str):
    if is_device_name(name):
        assert device_of(up_topic(CHAIN, name)) == name
        assert not set(name) & set("+#/\0")
    else:
        strange = [sign for sign in name if not (sign.isascii() and (sign.isalnum() or sign in "-_."))]
        assert not name or len(name) > 64 or strange
