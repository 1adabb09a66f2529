"""F40: what a light client must not believe, what lies must not undo in it, and what they may cost."""

from collections.abc import Callable

import pytest
from msgspec import structs

from devices.light_client import Answer, LightClient, SealCache
from devices.light_state import STATE_BYTES_MAX, encode_state
from ledger.block import SealedHeader, Vote, receipt_leaf, receipts_root, result_digest
from ledger.errors import PeerError
from ledger.merkle import merkle_proof
from tests.consortium import key, signer
from tests.device_chain import validator_set
from tests.light_story import Story, checked_seals, forge, story

__all__ = ["checked_seals"]  # the fixture

# ── attacks ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def with_seal(sealed: SealedHeader, votes: tuple[Vote, ...]) -> SealedHeader:
    """The same block with other signatures."""
    return SealedHeader(sealed.header, sealed.result, votes)


ATTACKS: dict[str, Callable[[Story], SealedHeader]] = {
    "forged signature": lambda it: with_seal(
        it.at(36), (Vote(it.at(36).seal[0].voter, bytes(64)), *it.at(36).seal[1:])
    ),
    "seal of another block": lambda it: with_seal(it.at(36), it.at(37).seal),
    "one short of a quorum": lambda it: with_seal(it.at(36), it.at(36).seal[:-1]),
    "one voter counted twice": lambda it: with_seal(it.at(36), (it.at(36).seal[0], *it.at(36).seal[:-1])),
    "swapped votes": lambda it: with_seal(it.at(36), it.at(36).seal[::-1]),
    "phantom voter": lambda it: with_seal(it.at(36), (*it.at(36).seal[:-1], Vote(99, it.at(36).seal[-1].signature))),
    "phantom set": lambda it: forge(it, 36, validator_set(["a", "b", "c", "d"]), set_hash=bytes(32)),
    "own set under the true hash": lambda it: forge(it, 36, validator_set(it.chain.names, epoch=9), epoch=9),
    "set of the past": lambda it: forge(it, 36, it.first_set, set_hash=it.first_set.hash()),
    "another chain": lambda it: forge(it, 36, it.second_set, chain_id=bytes(32), epoch=1),
    "old head replayed": lambda it: it.at(34),
    "result of another block": lambda it: SealedHeader(it.at(36).header, it.at(37).result, it.at(37).seal),
    "time runs back": lambda it: forge(it, 36, it.second_set, time_ms=1, epoch=1),
    "truncated header": lambda it: SealedHeader(it.at(36).header[:-1], it.at(36).result, it.at(36).seal),
    "no seal": lambda it: with_seal(it.at(36), ()),
}


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
def test_F40_no_forged_head_is_believed(attack: Callable[[Story], SealedHeader]):
    it = story()
    client = it.client()
    before = client.state
    assert client.see_head(attack(it)).answer is not Answer.TRUE
    assert client.state == before


def test_F40_no_proof_of_another_transaction_is_believed():
    it = story()
    client = it.client()
    early, late = it.early_proof, it.late_proof
    swapped = [
        (it.early, late),
        (it.late, early),
        (it.late, structs.replace(late, receipt=early.receipt)),
        (it.late, structs.replace(late, transaction=early.transaction)),
        (it.late, structs.replace(late, receipt_path=early.receipt_path)),
        (it.early, structs.replace(early, old=None)),
        (it.late, structs.replace(late, old=early.old)),
    ]
    for tx, proof in swapped:
        assert not client.check_receipt(tx.raw, proof).true
    moved = structs.replace(late.receipt_path, index=late.receipt_path.index + 1)
    assert not client.check_receipt(it.late.raw, structs.replace(late, receipt_path=moved)).true


# ── what lies must not undo, and what they may cost ─────────────────────────────────────────────────────────────────


def tentative(it: Story) -> LightClient:
    """A cold start that has followed the true hand-over and waits for its owner's word."""
    client = it.cold(key("owner"))
    client.learn_genesis(it.chain.genesis.summary())
    assert client.follow(it.change.sealed, it.change.next_set).true
    assert client.state.fallback is not None
    return client


def test_F40_a_hand_over_that_nobody_sealed_undoes_none_that_was_followed():
    it = story()
    client = tentative(it)
    before = client.state
    lies = [
        (with_seal(it.change.sealed, ()), it.second_set),
        (forge(it, 2, it.first_set, epoch=9, height=10**6, next_set_hash=it.second_set.hash()), it.second_set),
        (it.at(5), it.second_set),  # sealed, but no hand-over
    ]
    for sealed, next_set in lies:
        assert client.follow(sealed, next_set).answer is Answer.FALSE
        assert client.state == before


def test_F40_a_word_of_the_owner_undoes_nothing_unless_it_is_newer_and_of_that_very_block():
    it = story()
    client = tentative(it)
    assert client.state.fallback is not None
    client.state = structs.replace(client.state, fallback=structs.replace(client.state.fallback, height=10))
    before = client.state
    old = it.at(9)
    assert client.see_head(old, signer("owner").sign(result_digest(old.result))).answer is not Answer.TRUE
    # A header that is newer than the confirmed head and of its set: only the result beside it tells that it is a lie.
    other = SealedHeader(it.at(15).header, it.at(30).result, it.at(30).seal)
    assert client.see_head(other, signer("owner").sign(result_digest(other.result))).answer is not Answer.TRUE
    assert client.state == before


def test_F40_a_forged_seal_is_looked_at_once_for_all_entries_of_a_state(checked_seals: list[object]):
    it = story()
    client = it.client()
    forged = with_seal(it.at(36), (*it.at(36).seal[:-1], Vote(it.at(36).seal[-1].voter, bytes(64))))
    for _ in range(4):
        verdict = client.check_state(forged, it.present.key, it.present.value, it.present.proof)
        assert (verdict.answer, verdict.code) == (Answer.FALSE, "seal-forged")
    assert len(checked_seals) == 1
    assert client.see_head(it.at(36)).true, "the true seal of the same block is another matter"


def test_F40_only_the_latest_seals_are_remembered():
    it = story()
    cache = SealCache(2)
    for height in range(21, 26):
        cache.check(it.at(height), it.second_set, it.second_set.hash(), it.chain.chain_id)
    assert len(cache._seen) == 2


def test_F40_a_known_set_is_not_replaced_by_the_genesis_set():
    it = story()
    client = it.client()
    assert client.learn_genesis(it.chain.genesis.summary()).true
    assert client.state.validators == it.second_set


def test_F40_a_receipt_names_its_own_transaction():
    """Even a quorum cannot seal the receipt of one transaction at the place of another."""
    it = story()
    client = it.client()
    early, late = it.early_proof, it.late_proof
    leaves = [receipt_leaf(early.receipt), *(bytes([n]) * 32 for n in range(late.receipt_path.count - 1))]
    swapped = forge(it, 30, it.second_set, receipts_root=receipts_root(leaves), epoch=1)
    proof = structs.replace(
        late, sealed=swapped, receipt=early.receipt, receipt_path=merkle_proof(leaves, late.receipt_path.index)
    )
    assert late.receipt_path.index == 0
    assert client.check_receipt(it.late.raw, proof).code == "proof-receipt"


def test_F40_a_state_of_an_earlier_set_needs_a_newer_head():
    it = story()
    verdict = it.client().check_state(it.at(5), it.present.key, it.present.value, it.present.proof)
    assert (verdict.answer, verdict.code) == (Answer.MORE, "history")


def test_F40_a_hand_over_behind_the_head_or_before_its_time_is_refused():
    it = story()
    client = it.early_client()
    assert client.see_head(it.at(18)).true
    behind = forge(it, 17, it.first_set, next_set_hash=it.second_set.hash())
    assert client.follow(behind, it.second_set).code == "head-old"
    early = forge(it, 19, it.first_set, next_set_hash=it.second_set.hash(), time_ms=client.state.time_ms - 1)
    assert client.follow(early, it.second_set).code == "head-time"


def test_F40_a_state_too_large_for_flash_is_refused():
    large = structs.replace(story().client().state, neighbours=("n" * STATE_BYTES_MAX,))
    with pytest.raises(PeerError, match="state-too-large"):
        encode_state(large)
