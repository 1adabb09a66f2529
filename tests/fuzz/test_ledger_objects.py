"""Bytes of strangers that claim to be transactions, blocks, votes, readings or calls: read, or refused with a code."""

import pytest
from msgspec import structs

from consensus.messages import decode_message, split_leaves
from contracts import abi
from contracts.genesis import consortium_of
from devices.light_state import LightState, encode_state
from devices.readings import ChainEnd, sign_reading, verify_chain
from ledger.block import Header, Receipt, Result, SealedHeader, check_sealed
from ledger.charging import BorderReading, ReadingReason, SignedReading
from ledger.codec import decode, encode
from ledger.genesis import Genesis
from ledger.transaction import Branch, decode_transaction
from node.ipc.wire import (
    AskStatus,
    Sealed,
    StatusIs,
    Submit,
    Submitted,
    Subscribe,
    decode_from_client,
    decode_from_core,
)
from tests import chain, consortium
from tests.fuzz.engine import fuzz
from tests.fuzz.test_peer_messages import MESSAGES

DOCUMENT = chain.genesis()
TRANSACTIONS = [chain.transaction(f"tx {branch}", branch=branch) for branch in Branch]
BLOCK = chain.block(DOCUMENT, 1, TRANSACTIONS)
RESULT = chain.result(DOCUMENT, BLOCK)
SEALED = chain.seal(BLOCK, RESULT, chain.vote_signers(4), range(4))
SESSION = bytes(range(32))


def readings() -> list[SignedReading]:
    """A session's first three readings."""
    end, signed = ChainEnd(), []
    for number, reason in enumerate((ReadingReason.BEGIN, ReadingReason.PERIODIC, ReadingReason.END)):
        reading, end = sign_reading(SESSION, end, 60_000 * number, 1_000 + number, reason, consortium.signer("Pile-1"))
        signed.append(reading)
    return signed


def test_transactions():
    fuzz(decode_transaction, [tx.raw for tx in TRANSACTIONS])


@pytest.mark.parametrize("kind", [Header, Result, SealedHeader, Receipt, Genesis, LightState])
def test_objects_of_blocks_and_states(kind):
    state = LightState(DOCUMENT.hash(), b"", DOCUMENT.validators, head=SEALED)
    samples = {
        Header: BLOCK.header_raw,
        Result: encode(RESULT),
        SealedHeader: encode(SEALED),
        Receipt: encode(Receipt(bytes(32), 0, 1, b"", ())),
        Genesis: encode(DOCUMENT),
        LightState: encode_state(state),
    }

    def target(data: bytes) -> None:
        assert encode(decode(kind, data)) == data

    fuzz(target, [samples[kind]])


def test_a_sealed_header_passes_only_with_the_content_that_was_signed():
    def target(data: bytes) -> None:
        sealed = decode(SealedHeader, data)
        check_sealed(sealed, DOCUMENT.validators, DOCUMENT.hash())
        assert (sealed.header, sealed.result) == (SEALED.header, SEALED.result)
        assert set(sealed.seal) <= set(SEALED.seal)

    fuzz(target, [encode(SEALED)])


def test_messages_of_peers():
    def target(data: bytes) -> None:
        message = decode_message(data)
        assert encode(message) == data

    fuzz(target, [encode(message) for message in MESSAGES])
    fuzz(split_leaves, [bytes(64)])


def test_the_unix_socket():
    raws = tuple(tx.raw for tx in TRANSACTIONS)
    fuzz(decode_from_client, [encode(Submit(1, raws)), encode(AskStatus(2)), encode(Subscribe())])
    fuzz(decode_from_core, [encode(Submitted(1, (("a", "b"),))), encode(StatusIs(2, b"{}")), encode(Sealed(7))])


CALLS = [
    abi.encode_call("money", "pay", to=consortium.key("d1"), amount_fen=1, memo=0),
    abi.encode_call("session", "open", pile="Pile-1", connector=1, deposit_fen=5_000, accept_unverified=False),
    abi.encode_call("session", "start", session=SESSION, counter=1, time_ms=chain.START_MS, meter_wh=1_000),
    abi.encode_call(
        "session",
        "stop",
        session=SESSION,
        counter=2,
        borders=(BorderReading(chain.START_MS, 1_100), BorderReading(chain.START_MS + 60_000, 1_200)),
        charging_ended_ms=chain.START_MS + 60_000,
        readings_count=3,
        readings_root=bytes(32),
    ),
]


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.method)
def test_arguments_of_calls(call):
    fuzz(lambda data: abi.decode_args(call.contract, call.method, data), [call.args])


def test_readings():
    signed = readings()

    def target(data: bytes) -> None:
        claimed = decode(tuple[SignedReading, ...], data)
        verify_chain(SESSION, consortium.key("Pile-1"), claimed)
        assert list(claimed) == signed[: len(claimed)], "only what the pile signed, in its order"

    fuzz(target, [encode(tuple(signed))])


def test_a_consortium_that_contradicts_itself():
    document = consortium.genesis()
    fuzz(
        lambda data: consortium_of(structs.replace(document, consortium=data)),
        [document.consortium],
    )
