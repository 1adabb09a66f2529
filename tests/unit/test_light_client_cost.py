"""F40: the most work that one message of a gateway can make a light client do, counted."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import pytest
from msgspec import structs

from devices.light_client import LightClient
from devices.light_state import STATE_BYTES_MAX, LightState, Standing, encode_state
from devices.wire import DOWN_BYTES_MAX, STATE_KEYS_MAX, Head, OldBlock, SessionOpen, SetChange, State, StateEntry
from ledger import keys
from ledger.block import SealedHeader, Vote, result_digest
from ledger.codec import encode
from ledger.keys import Scheme
from ledger.merkle import PATH_HASHES_MAX, MerkleProof
from ledger.mmr import LEVELS_MAX, MmrProof
from ledger.state_proof import KEY_BITS, StateProof
from ledger.units import U32_MAX
from ledger.validators import VALIDATORS_MAX, Validator, ValidatorSet
from tests import chain
from tests.true_chain import OWNER, Made, Message, TrueChain, make

SIGNERS = [chain.signer(f"vote {n}") for n in range(VALIDATORS_MAX)]
STORY = TrueChain(1)
SIGNATURES_MAX = VALIDATORS_MAX + 1
"""Of one message: each member's once, and the owner's."""
HASHES_MAX = 4 * (KEY_BITS + 4) + 16
"""Of one message: four state proofs of full depth, and what heads, sets and leaves take."""


def largest_set(epoch: int = 0) -> ValidatorSet:
    """100 members."""
    names = [f"{'x' * 60}{n:04d}" for n in range(VALIDATORS_MAX)]
    return ValidatorSet(
        epoch,
        tuple(
            Validator(name, signer.public_key, signer.public_key, signer.public_key[1:])
            for name, signer in zip(names, SIGNERS, strict=True)
        ),
    )


MEMBERS = largest_set()


def large_chain() -> tuple[LightState, Made]:
    """A device under 100 members, and the block after its genesis."""
    document = structs.replace(STORY.document, validators=MEMBERS)
    true = next(made for made in STORY.blocks if made.transactions)
    header = structs.replace(
        true.header, chain_id=document.hash(), set_hash=MEMBERS.hash(), height=2**40, time_ms=document.time_ms + 1
    )
    made = make(header, true.receipts, true.state, true.transactions, MEMBERS.hash(), bytes(32))
    state = LightState(document.hash(), OWNER.public_key, MEMBERS, time_ms=document.time_ms, owner_spoke=True)
    return state, made


STATE, BLOCK = large_chain()


def sealed(last_is_forged: bool) -> SealedHeader:
    """By all 100, or by all but the last: the most that a check has to look at before it fails."""
    signed = [Vote(n, signer.sign(result_digest(BLOCK.result_raw))) for n, signer in enumerate(SIGNERS)]
    if last_is_forged:
        signed[-1] = Vote(VALIDATORS_MAX - 1, bytes(64))
    return BLOCK.sealed(tuple(signed))


DEEP = StateProof(KEY_BITS, b"\xff" * 32, b"\x01" * 32 * KEY_BITS, b"")
HOLLOW = StateProof(KEY_BITS, bytes(32), b"", b"")
"""Claims 256 levels in 34 bytes."""
LONG = MerkleProof(U32_MAX - 1, U32_MAX, (b"\x01" * 32,) * PATH_HASHES_MAX)


def costly() -> Iterator[tuple[str, Message]]:
    """Messages made to cost as much as their formats allow."""
    for forged in (False, True):
        seal = sealed(forged)
        said = BLOCK.open(0, seal)
        old = OldBlock(BLOCK.header_raw, BLOCK.result_raw, MmrProof((b"\x01" * 32,) * LEVELS_MAX))
        place = structs.replace(said.proof.transaction, path=LONG)
        yield "head", Head(seal, bytes(64))
        yield "set change", SetChange(seal, largest_set(1))
        yield "receipt", SessionOpen(said.transaction, structs.replace(said.proof, receipt_path=LONG))
        yield "history", SessionOpen(said.transaction, structs.replace(said.proof, old=old, transaction=place))
        yield "hollow states", State(seal, tuple(StateEntry(b"%d" % n, b"v", HOLLOW) for n in range(STATE_KEYS_MAX)))
        yield "deep states", State(seal, tuple(StateEntry(b"%d" % n, b"v", DEEP) for n in range(STATE_KEYS_MAX)))


@contextmanager
def counted() -> Iterator[dict[str, int]]:
    """Counts verified signatures and computed hashes."""
    counts = {"signatures": 0, "hashes": 0}

    def seen(frame: FrameType, event: str, argument: Any) -> None:
        if event == "call" and frame.f_code is keys.verify.__code__:
            counts["signatures"] += 1
        elif event == "c_call" and argument.__name__ == "digest":
            counts["hashes"] += 1

    sys.setprofile(seen)
    try:
        yield counts
    finally:
        sys.setprofile(None)


def say(light: LightClient, message: Message) -> None:
    """As a pile does: every entry of a state is checked, whatever came of the one before."""
    if isinstance(message, State):
        for entry in message.entries:
            light.check_state(message.sealed, entry.key, entry.value, entry.proof)
    else:
        TrueChain.tell(light, message)


@pytest.mark.parametrize(("name", "message"), [*costly()])
def test_F40_one_message_costs_no_more_than_its_bounds(name: str, message: Message):
    assert len(encode(message)) <= DOWN_BYTES_MAX, "or it is not even read"
    light = LightClient(STATE)
    with counted() as counts:
        say(light, message)
    assert VALIDATORS_MAX <= counts["signatures"] <= SIGNATURES_MAX, "the seal is looked at once"
    assert counts["hashes"] <= HASHES_MAX


def test_F40_what_was_verified_costs_no_signature_again():
    light = LightClient(STATE)
    say(light, Head(sealed(False)))
    with counted() as counts:
        say(light, State(sealed(False), (BLOCK.entry(b"key 1"),)))
        say(light, BLOCK.open(0, sealed(False)))
    assert counts["signatures"] == 0


def test_F40_the_largest_state_fits_a_small_controller():
    """100 members with the longest keys and names, a tentative set beside the confirmed one, all lists full."""
    key = bytes([Scheme.SM2]) * 65
    members = ValidatorSet(2**32 - 1, tuple(Validator("桩" * 64, key, key, bytes(32)) for _ in range(VALIDATORS_MAX)))
    head = SealedHeader(bytes(4_096), bytes(1_024), tuple(Vote(2**31, bytes(64)) for _ in range(VALIDATORS_MAX)))
    large = LightState(
        bytes(32),
        key,
        members,
        *(2**62, 2**62, 2**62),
        head,
        2**31,
        owner_spoke=True,
        fallback=Standing(members, 2**62, 2**62, head, 2**31),
        neighbours=("桩" * 64,) * 8,
    )
    assert len(encode_state(large)) <= STATE_BYTES_MAX // 2
