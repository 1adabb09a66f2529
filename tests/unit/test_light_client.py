"""F40: what the light client believes, and what it must not."""

from msgspec import structs

from devices.light_client import AWAY_MS_MAX, SET_CHANGES_MAX, Answer, LightClient
from devices.light_state import STATE_BYTES_MAX, LightState, encode_state
from devices.wire import Genesis, Head, ReceiptProof
from ledger.block import Header, SealedHeader, Vote, result_digest
from ledger.codec import decode, encode
from ledger.validators import Validator, ValidatorSet
from tests.consortium import key, signer
from tests.device_chain import validator_set
from tests.light_story import HAND_OVER, HEIGHTS, Story, checked_seals, forge, story

__all__ = ["checked_seals"]  # the fixture


def test_F40_cold_start_from_the_chain_id():
    it = story()
    client = it.cold()
    assert client.see_head(it.at(3)).code == "genesis"
    other = structs.replace(it.chain.genesis.summary(), time_ms=1)
    assert client.learn_genesis(other).code == "genesis-other"
    assert client.learn_genesis(it.chain.genesis.summary()).true
    assert client.see_head(it.at(3)).true
    assert client.state.height == 3


def test_F40_cold_start_stays_within_its_bytes():
    it = story()
    messages = [Genesis(it.chain.genesis.summary()), it.change, Head(it.at(HEIGHTS))]
    assert len(encode(messages[0])) + len(encode(messages[2])) <= 8 * 1024
    assert len(encode(it.change)) <= 2 * 1024 + 600  # 8 members; see the report on 2 KiB


def test_F40_skips_to_any_later_head_and_never_back():
    it = story()
    client = it.early_client()
    assert client.see_head(it.at(2)).true
    assert client.see_head(it.at(17)).true
    for old in (1, 2, 16, 17):
        verdict = client.see_head(it.at(old))
        assert (verdict.answer, verdict.code) == (Answer.FALSE, "head-old")
    assert client.state.height == 17


def test_F40_follows_a_set_change_by_its_proof():
    it = story()
    client = it.early_client()
    verdict = client.see_head(it.at(25))
    assert (verdict.answer, verdict.code, verdict.height) == (Answer.MORE, "set-change", 0)
    assert client.follow(it.at(19), it.second_set).code == "set-other"
    assert client.follow(it.change.sealed, it.first_set).code == "set-other"
    assert client.follow(it.change.sealed, it.change.next_set).true
    assert client.see_head(it.at(25)).true


def test_F40_a_hand_over_that_was_the_head_is_followed_too():
    it = story()
    client = it.early_client()
    assert client.see_head(it.at(HAND_OVER)).true
    assert client.follow(it.change.sealed, it.change.next_set).true
    assert client.see_head(it.at(21)).true


def test_F40_the_old_set_seals_nothing_after_the_hand_over():
    it = story()
    client = it.client()
    forged = forge(it, 36, it.first_set, set_hash=it.first_set.hash())
    assert client.see_head(forged).answer is not Answer.TRUE
    assert client.state.height == 35


def test_F40_receipts_of_both_sets():
    it = story()
    client = it.client()
    assert it.late_proof.old is None
    assert client.check_receipt(it.late.raw, it.late_proof).true
    assert it.early_proof.old is not None, "its set is gone: through history"
    assert client.check_receipt(it.early.raw, it.early_proof).true
    assert client.state.height == HEIGHTS, "the newer block of the proof became the head"


def test_F40_a_block_of_an_earlier_set_needs_its_history():
    it = story()
    client = it.client()
    bare = ReceiptProof(it.at(5), None, it.early_proof.transaction, it.early_proof.receipt, it.early_proof.receipt_path)
    verdict = client.check_receipt(it.early.raw, bare)
    assert (verdict.answer, verdict.code, verdict.height) == (Answer.MORE, "history", 5)
    assert client.check_receipt(it.early.raw, it.early_proof).true


def test_F40_state_presence_and_absence():
    it = story()
    client = it.client()
    head = it.at(HEIGHTS)
    assert client.check_state(head, it.present.key, it.present.value, it.present.proof).true
    assert client.check_state(head, it.absent.key, None, it.absent.proof).true
    assert not client.check_state(head, it.absent.key, b"x", it.absent.proof).true
    assert not client.check_state(head, it.present.key, None, it.present.proof).true
    assert not client.check_state(head, it.present.key, it.present.value, it.absent.proof).true
    assert not client.check_state(head, b"other", it.present.value, it.present.proof).true


def test_F40_an_old_state_is_refused():
    it = story()
    client = it.client()
    client.see_head(it.at(HEIGHTS))
    verdict = client.check_state(it.at(30), it.present.key, it.present.value, it.present.proof)
    assert verdict.code == "head-old"


def test_F40_long_range_wants_the_owner():
    it = story()
    owner = signer("owner")
    state = structs.replace(it.client().state, owner_key=owner.public_key, owner_spoke=True)
    client = LightClient(state)
    far = forge(it, 36, it.second_set, time_ms=state.time_ms + AWAY_MS_MAX + 1, epoch=1)
    assert client.see_head(far).code == "owner-head"
    assert client.see_head(far, signer("thief").sign(result_digest(far.result))).code == "owner-head"
    assert client.state.height == 35
    proof = structs.replace(it.late_proof, sealed=far)
    assert client.check_receipt(it.late.raw, proof).code == "owner-head", "evidence is under the same rule"
    assert client.see_head(far, owner.sign(result_digest(far.result))).true


def far_hand_over(it: Story) -> tuple[SealedHeader, ValidatorSet]:
    """Years later, a quorum of members that have left hands over to a set of its own."""
    evil = validator_set(it.chain.names, epoch=77)
    header = decode(Header, it.at(2).header)
    far_ms = header.time_ms + 5 * AWAY_MS_MAX
    return forge(it, 2, it.first_set, time_ms=far_ms, height=10**6, next_set_hash=evil.hash()), evil


def test_F40_a_hand_over_from_far_ahead_wants_the_owner_too():
    it = story()
    client = it.early_client()
    assert client.see_head(it.at(1)).true
    before = client.state
    verdict = client.follow(*far_hand_over(it))
    assert (verdict.answer, verdict.code) == (Answer.MORE, "owner-head")
    assert client.state == before
    assert client.follow(it.change.sealed, it.change.next_set).true


def test_F40_a_forged_hand_over_never_outlasts_the_owners_word():
    it = story()
    client = it.early_client()
    client.state = structs.replace(client.state, owner_key=key("owner"), owner_spoke=True)
    client.follow(*far_hand_over(it))
    near = forge(it, 2, far_hand_over(it)[1], epoch=77, height=10**6 + 1, set_hash=far_hand_over(it)[1].hash())
    assert client.see_head(near).answer is not Answer.TRUE, "nothing is believed under a tentative set"
    assert decode(LightState, encode_state(client.state)) == client.state
    word = signer("owner").sign(result_digest(it.at(35).result))
    assert client.see_head(it.at(35), word).code == "set-change"
    assert client.state.fallback is None
    assert client.follow(it.change.sealed, it.change.next_set).true
    assert client.see_head(it.at(35), word).true


def test_F40_a_true_hand_over_takes_the_place_of_a_forged_one():
    it = story()
    client = it.early_client()
    client.state = structs.replace(client.state, owner_key=key("owner"), owner_spoke=True)
    client.follow(*far_hand_over(it))
    assert client.follow(it.change.sealed, it.change.next_set).true
    assert client.see_head(it.at(25)).true


def test_F40_a_cold_start_follows_hand_overs_to_the_owners_head():
    it = story()
    client = it.cold(key("owner"))
    client.learn_genesis(it.chain.genesis.summary())
    assert client.follow(it.change.sealed, it.change.next_set).true
    assert client.see_head(it.at(25)).code == "owner-head"
    assert client.see_head(it.at(25), signer("owner").sign(result_digest(it.at(25).result))).true
    assert client.see_head(it.at(26)).true


def test_F40_a_cold_start_with_an_owner_wants_its_word():
    it = story()
    client = it.cold(key("owner"))
    client.learn_genesis(it.chain.genesis.summary())
    assert client.see_head(it.at(3)).code == "owner-head"
    assert client.see_head(it.at(3), signer("owner").sign(result_digest(it.at(3).result))).true
    assert client.see_head(it.at(4)).true


def test_F40_many_set_changes_want_the_owner():
    """Its word pays for as many again; a head without it pays for none."""
    it = story()
    client = it.early_client()
    client.state = structs.replace(client.state, owner_key=key("owner"), owner_spoke=True, set_changes=SET_CHANGES_MAX)
    assert client.see_head(it.at(3)).true
    assert client.follow(it.change.sealed, it.change.next_set).true
    assert client.state.fallback is None, "the last that needs no word"
    assert client.see_head(it.at(25)).code == "owner-head"
    assert client.see_head(it.at(25), signer("owner").sign(result_digest(it.at(25).result))).true
    assert client.state.set_changes == 0
    assert client.see_head(it.at(26)).true


def test_F40_a_fork_under_the_same_set_is_seen():
    it = story()
    client = it.client()
    fork = forge(it, 35, it.second_set, state_root=bytes(range(32)), epoch=1)
    assert client.see_head(fork).code == "head-fork"


def test_F40_survives_a_power_cut_within_256_kib():
    it = story()
    client = it.client()
    again = LightClient(decode(LightState, encode_state(client.state)))
    assert again.state == client.state
    assert again.see_head(it.at(30)).code == "head-old"
    assert again.see_head(it.at(36)).true
    sm2 = bytes([2]) * 65
    members = tuple(Validator("x" * 60 + f"{i:04d}", sm2, sm2, bytes(32)) for i in range(100))
    large = structs.replace(
        client.state,
        validators=ValidatorSet(1, members),
        head=SealedHeader(bytes(4096), bytes(1024), tuple(Vote(i, bytes(64)) for i in range(100))),
        neighbours=("n" * 64,) * 8,
    )
    assert len(encode_state(large)) <= STATE_BYTES_MAX // 4


def test_F40_a_head_is_verified_once(checked_seals: list[object]):
    it = story()
    client = it.client()
    for _ in range(5):
        client.see_head(it.at(36))
    assert len(checked_seals) == 1
