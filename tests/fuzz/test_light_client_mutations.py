"""F40: mutated heads, receipts, state proofs and set changes: not one false claim is believed."""

import random
from functools import cache

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devices.wire import Head, Receipt, SetChange, State, StateEntry
from ledger.block import SealedHeader
from ledger.codec import decode, encode
from ledger.errors import PeerError
from tests.light_story import HEIGHTS, story


def judged(data: bytes, original: bytes) -> bool:
    """Whether a client believes a mutated message, and it says something else than the true one."""
    it = story()
    client = it.client()
    try:
        message = decode(Head | Receipt | State | SetChange, data)  # type: ignore[arg-type]
        match message:
            case Head(sealed, _):
                true = client.see_head(sealed).true
            case Receipt(tx_id, proof):
                tx = {it.early.id: it.early, it.late.id: it.late}.get(tx_id)
                true = tx is not None and client.check_receipt(tx.raw, proof).true
            case State(sealed, entries):
                true = any(
                    client.check_state(sealed, e.key, e.value, e.proof).true and it.state.get(e.key) != e.value
                    for e in entries  # one absence proof may well be true of another absent key
                )
            case SetChange(sealed, next_set):
                true = it.early_client().follow(sealed, next_set).true
    except PeerError:
        return False
    return true and data != original


@cache
def originals() -> list[bytes]:
    """One true message of each kind."""
    it = story()
    return [
        encode(Head(it.at(36))),
        encode(Receipt(it.early.id, it.early_proof)),
        encode(Receipt(it.late.id, it.late_proof)),
        encode(State(it.at(HEIGHTS), (it.present,))),
        encode(State(it.at(HEIGHTS), (it.absent,))),
        encode(it.change),
    ]


def mutate(data: bytes, rng: random.Random) -> bytes:
    """Flip, cut, repeat, swap or overwrite some bytes; sometimes inside a decoded field."""
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        at = rng.randrange(len(out))
        match rng.randrange(5):
            case 0:
                out[at] ^= 1 << rng.randrange(8)
            case 1:
                out[at] = rng.randrange(256)
            case 2:
                del out[at : at + rng.choice((1, 32, 64))]
            case 3:
                other = rng.randrange(len(out))
                size = rng.choice((1, 32, 64))
                out[at : at + size], out[other : other + size] = out[other : other + size], out[at : at + size]
            case 4:
                donor = rng.choice(originals())
                start = rng.randrange(len(donor))
                out[at : at + 32] = donor[start : start + 32]
        if not out:
            return b""
    return bytes(out)


def attack(count: int, seed: int) -> int:
    """How many of so many mutations are believed."""
    rng = random.Random(seed)
    believed = 0
    for _ in range(count):
        original = rng.choice(originals())
        data = mutate(original, rng)
        if judged(data, original) and data not in originals() and not benign(data, original):
            believed += 1
    return believed


def benign(data: bytes, original: bytes) -> bool:
    """Whether only the unused owner's signature of a head differs."""
    a, b = msgspec.msgpack.decode(data), msgspec.msgpack.decode(original)
    return a[0] == b[0] == 1 and a[:2] == b[:2]


def test_F40_thousands_of_mutations_none_believed():
    assert attack(4_000, seed=1) == 0


@pytest.mark.long
def test_F40_a_hundred_thousand_mutations_none_believed():
    assert attack(100_000, seed=2) == 0


def test_F40_the_attack_test_can_fail(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("devices.light_client.verify_state", lambda *_: True)
    assert attack(400, seed=3) > 0


@settings(max_examples=200)
@given(st.binary(max_size=200))
def test_F40_nonsense_is_never_believed(data: bytes):
    client = story().client()
    assert not client.see_head(SealedHeader(data, data, ())).true
    empty = StateEntry(b"k", data, story().absent.proof)
    assert not client.check_state(story().at(HEIGHTS), empty.key, empty.value, empty.proof).true
