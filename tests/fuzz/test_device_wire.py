"""Bytes of strangers on MQTT: each is read or refused with a code, never anything else."""

from collections.abc import Iterator

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
from node.gateway.serve import Storing, Submission, serve
from tests.consortium import key, signer
from tests.device_chain import DeviceChain, validator_set

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


# ── served by a gateway ─────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DeviceChain]:
    """A chain with an open session and a change of its validator set."""
    made = DeviceChain(tmp_path_factory.mktemp("chain"))
    made.seal(made.open("d0", "Pile-1"))
    made.seal(next_set=validator_set(made.names, epoch=1))
    made.seal()
    yield made
    made.close()


def test_an_empty_key_is_refused_before_it_reaches_the_store(chain: DeviceChain):
    for keys in ((b"",), (b"k" * 257,)):
        data = seal_up(CHAIN, "Pile-1", 1, AskState(keys), signer("Pile-1"))
        with pytest.raises(PeerError, match="encoding-"):
            check_up(open_up(data), CHAIN, "Pile-1", key("Pile-1"))
    with chain.store.snapshot() as snapshot:
        assert snapshot.get(b"") is None
        assert snapshot.get(b"k" * 512) is None


@pytest.mark.parametrize("kind", UpPayload.__args__, ids=lambda kind: kind.__name__)
def test_whatever_a_device_says_its_gateway_answers_or_refuses(chain: DeviceChain, kind: type[UpPayload]):
    """What decodes is served: an error other than PeerError would end the gateway."""
    known = [receipt.call_id for receipt in chain.receipts]

    def ids(given: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
        return st.one_of(given, st.sampled_from(known))

    fields = {
        "height": st.one_of(st.integers(0, 5), st.integers(0, 2**63 - 1)),
        "know_set": st.booleans(),
        "transaction": st.one_of(st.binary(max_size=300), st.just(chain.open("d1", "Pile-1").raw)),
        "session": ids(st.binary(min_size=32, max_size=32)),
        "transaction_id": ids(st.binary(min_size=32, max_size=32)),
        "readings": st.lists(
            st.builds(SignedReading, st.binary(max_size=256), st.binary(min_size=64, max_size=64)),
            min_size=1,
            max_size=3,
        ).map(tuple),
        "keys": st.lists(st.binary(max_size=300), min_size=1, max_size=4).map(tuple),
    }
    messages = st.builds(kind, **{name: fields[name] for name in kind.__struct_fields__})

    @settings(max_examples=150, deadline=None)
    @given(messages, st.integers(0, 2**63 - 1))
    def check(message: UpPayload, message_id: int) -> None:
        data = seal_up(chain.chain_id, "Pile-1", message_id, message, signer("Pile-1"))
        with chain.store.snapshot() as snapshot:
            try:
                payload = check_up(open_up(data), chain.chain_id, "Pile-1", key("Pile-1"))
                answers = list(serve(snapshot, chain.blocks, "Pile-1", key("Pile-1"), message_id, payload))
            except PeerError:
                return
        for answer in answers:
            if not isinstance(answer, Submission | Storing):
                assert decode_down(encode(answer)) == answer

    check()
