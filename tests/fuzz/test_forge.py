"""F40: forgeries of every kind, told to light clients anywhere on a chain: none is believed."""

from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import devices.light_client
import ledger.block
from devices.wire import StateEntry
from ledger.block import SealedHeader
from tests.fuzz.attacks import ATTACKS
from tests.fuzz.forge import run
from tests.light_story import HEIGHTS, story


def test_F40_thousands_of_forgeries_none_believed():
    tally = run(4_000, seed=1)
    assert tally.believed == []
    assert tally.forged.keys() == {attack.__name__ for attack in ATTACKS}
    unread = {name for name, count in tally.unread.items() if count}
    assert unread == {"bent_bytes", "longer_encoding"}, "all others get past the codec, to the light client"
    judged = {name: count for name, count in tally.forged.items() if name not in unread}
    assert min(judged.values()) >= 90


@pytest.mark.long
def test_F40_a_hundred_thousand_forgeries_none_believed():
    assert run(100_000, seed=2).believed == []


Change = tuple[str, str]

BLOCK: dict[str, list[Change]] = {
    "no signature is looked at": [("if not verify(validators", "if False and not verify(validators")],
    "one vote less is enough": [("or len(voters) < validators.quorum", "or len(voters) < validators.quorum - 1")],
    "a voter counts twice": [("voters != sorted(set(voters))", "voters != sorted(voters)")],
    "votes in any order": [("voters != sorted(set(voters))", "len(voters) != len(set(voters))")],
    "a result of another header": [("result.header_hash == header_hash(sealed.header)", "True")],
    "a result of another time": [("(result.height, result.time_ms) == (header.height, header.time_ms)", "True")],
    "a result of another chain": [("header.chain_id == result.chain_id == chain_id", "True")],
    "a header of another set": [("header.set_hash == result.set_hash == set_hash", "True")],
    "a count from the proof": [("and proof.path.count == row.count", "")],
}
CLIENT: dict[str, list[Change]] = {
    # Of two guards that each keep a lie out, both are taken away.
    "a head may go back": [
        ("if header.height <= state.height:", "if False:"),
        ("if header.time_ms <= state.time_ms:", "if False:"),
    ],
    "a receipt of something else": [
        ("proof.receipt_path.index != first + proof.transaction.path.index or", ""),
        ("if decode(Receipt, proof.receipt).call_id != decoded.id:", "if False:"),
    ],
    "old states": [
        ("if header.height < self.state.height:\n                raise", "if False:\n                raise")
    ],
    "a hand-over to anybody": [("or result.next_set_hash != next_set.hash()", "")],
    "no long-range rule for heads": [("if not by_owner and self._owner_must_speak(header.time_ms):", "if False:")],
    "no long-range rule for proofs": [
        ("if self._owner_must_speak(header.time_ms):\n            raise", "if False:\n            raise")
    ],
    "no long-range rule for hand-overs": [("if self._owner_must_speak(time_ms):", "if False:")],
    "no word for many hand-overs": [("or state.set_changes > SET_CHANGES_MAX", "")],
    "the owner's word with another header": [
        ("and decode(Result, sealed.result).header_hash == header_hash(sealed.header)", "")
    ],
    "an old word of the owner": [("and header.height > standing.height", "")],
    "anybody is the owner": [("verify(owner_key, result_digest(sealed.result), owner_signature)", "True")],
    "no transaction proof": [("not verify_transaction(header, decoded.leaf, proof.transaction)", "False")],
    "no receipt proof": [("or not verify_receipt(", "or not (lambda *_: True)(")],
    "no state proof": [("not verify_state(result.state_root, key, value, proof)", "False")],
    "no history proof": [("or not verify_mmr(", "or not (lambda *_: True)(")],
}
"""A guard taken away: name -> texts in the module's source, and what stands there instead."""


def broken(module: ModuleType, changes: list[Change]) -> ModuleType:
    """A module with one guard taken away."""
    source = Path(str(module.__file__)).read_text(encoding="utf-8")
    for old, new in changes:
        assert source.count(old) == 1, f"{old!r} is no longer, or more than once, in {module.__name__}"
        source = source.replace(old, new)
    made = ModuleType(module.__name__)
    exec(compile(source, str(module.__file__), "exec"), made.__dict__)
    return made


@pytest.mark.parametrize("changes", BLOCK.values(), ids=BLOCK)
def test_F40_every_guard_of_a_seal_keeps_a_forgery_out(changes: list[Change], monkeypatch: pytest.MonkeyPatch):
    made = broken(ledger.block, changes)
    for name in ("check_sealed", "verify_transaction"):
        monkeypatch.setattr(getattr(ledger.block, name), "__code__", getattr(made, name).__code__)
    assert run(12_000, seed=1, believed_max=1).believed


@pytest.mark.parametrize("changes", CLIENT.values(), ids=CLIENT)
def test_F40_every_guard_of_a_client_keeps_a_forgery_out(changes: list[Change], monkeypatch: pytest.MonkeyPatch):
    made = broken(devices.light_client, changes)
    for name, method in vars(devices.light_client.LightClient).items():
        if hasattr(method, "__code__"):
            monkeypatch.setattr(method, "__code__", vars(made.LightClient)[name].__code__)
    assert run(12_000, seed=1, believed_max=1).believed


@settings(max_examples=200)
@given(st.binary(max_size=200))
def test_F40_nonsense_is_never_believed(data: bytes):
    client = story().client()
    assert not client.see_head(SealedHeader(data, data, ())).true
    empty = StateEntry(b"k", data, story().absent.proof)
    assert not client.check_state(story().at(HEIGHTS), empty.key, empty.value, empty.proof).true
