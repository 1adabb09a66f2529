"""What one member may cost: every buffer stays within its bound, every message costs little, and nobody else pays."""

import pytest
from msgspec.structs import replace

from consensus.messages import (
    BLOCKS_MAX,
    BODIES_MAX,
    Bodies,
    FetchManifest,
    HistoryBegins,
    Message,
    Prepare,
    PrePrepare,
    SealedBlock,
    SealedBlocks,
    Status,
    Transactions,
    decode_message,
)
from consensus.pace import VERIFICATION_MS
from consensus.round import VIEWS_KEPT
from consensus.state import EARLY_BYTES_MAX
from ledger.block import SealedHeader, header_hash
from ledger.codec import encode
from ledger.errors import PeerError
from ledger.keys import Scheme
from ledger.terms import DECISION_DELAY, K
from node.effects import Log, PeerDown, PeerUp, Verify
from tests.unit.consensus_kit import (
    HEADER,
    NAMES,
    TX,
    Bench,
    asking_bench,
    certificate,
    checkpoint,
    commit,
    make_header,
    make_transaction,
    new_view,
    pre_prepare,
    prepare,
    preparing_bench,
    requests,
    sealed_block,
    view_change,
    waiting_bench,
)

# ── buffers ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def held_bytes(bench: Bench, peer: str) -> int:
    """Bytes of a peer's early messages."""
    return sum(size for (_, sender, _), (_, size) in bench.state.later.items() if sender == peer)


def test_early_messages_of_one_peer_share_a_few_megabytes():
    bench = Bench()
    leaves = bytes(16_000 * 32)
    for height in range(2, 2 + K):
        header = make_header(TX, height=height)
        bench.hear("Dianneng", replace(pre_prepare(header), leaves=leaves))
        fat = new_view(requests(), replace(pre_prepare(header, view=1), leaves=leaves))
        bench.hear("Dianneng", replace(fat, height=height))
    assert EARLY_BYTES_MAX - len(leaves) < held_bytes(bench, "Dianneng") <= EARLY_BYTES_MAX
    bench.hear("Chengdian", replace(prepare("Chengdian", HEADER), height=2))
    assert held_bytes(bench, "Chengdian") > 0, "nobody pays for another"
    bench.hear("Dianneng", pre_prepare(make_header(TX, height=2)))
    assert bench.state.later[2, "Dianneng", PrePrepare][1] < 1_000, "the newest takes the place of the one before"


def test_candidates_of_many_views_are_few():
    bench = waiting_bench()
    for view in range(1, 20):
        header = make_header(make_transaction(view), view=view)
        primary = NAMES[(1 + view) % 4]
        if primary == bench.me:
            continue
        message = new_view(requests(view), pre_prepare(header, make_transaction(view), view=view), view)
        bench.hear(primary, message)
        assert bench.engine.status().view == view
    assert bench.charges == []
    assert len(bench.state.round.candidates) == VIEWS_KEPT + 1  # and the one that was accepted


def test_votes_of_one_member_for_many_views_are_few():
    bench = preparing_bench()
    for view in range(1, 100):
        bench.hear("Dianneng", commit("Dianneng", HEADER, view))
        if NAMES[(1 + view) % 4] != "Dianneng":
            bench.hear("Dianneng", prepare("Dianneng", HEADER, view))
    assert len(bench.state.round.commits.choices()) == VIEWS_KEPT
    assert len(bench.state.round.prepares.choices()) == VIEWS_KEPT + 1  # and our own
    bench.hear("Chengdian", prepare("Chengdian", HEADER))
    assert bench.engine.status().phase == "committing", "they push out their own alone"


def test_of_one_members_requests_the_latest_counts():
    bench = waiting_bench()
    for view in (*range(1, 50), 7):
        bench.hear("Dianneng", view_change("Dianneng", view))
    assert [(voter, change.view) for voter, change in bench.state.round.view_changes.items()] == [(3, 49)]
    assert bench.engine.status().view == 0


def test_results_of_far_heights_are_not_kept():
    bench = Bench()
    for height in range(1, 100):
        for name in NAMES[1:]:
            bench.hear(name, replace(checkpoint(name, bytes(32)), height=height))
    kept = bench.state.checkpoints
    assert (len(kept), {len(votes) for votes in kept.values()}) == (DECISION_DELAY, {3})


def test_blocks_that_nobody_asked_for_are_not_kept():
    bench = Bench()
    bench.hear("Bohui", SealedBlocks((sealed_block(),), ()))
    assert len(bench.state.fetch.arrived) == 0
    asking_bench(bench)
    for _ in range(3):
        bench.hear("Bohui", SealedBlocks((sealed_block(),) * BLOCKS_MAX, ()))
        assert len(bench.state.fetch.arrived) < BLOCKS_MAX
    assert bench.state.tip.height == 1


HOLLOW: dict[str, Message] = {
    "gossip": Transactions((b"",) * (BODIES_MAX + 1)),
    "bodies": Bodies(bytes(32), b"", (b"",) * (BODIES_MAX + 1)),
    "blocks": SealedBlocks((SealedBlock(SealedHeader(b"", b"", ()), ()),) * (BLOCKS_MAX + 1), ()),
    "block": SealedBlocks((SealedBlock(SealedHeader(b"", b"", ()), (b"",) * 16_385),), ()),
}


@pytest.mark.parametrize("name", HOLLOW)
def test_a_message_of_very_many_empty_parts_is_refused_unread(name):
    """Four megabytes of empty transactions are two millions, and would be hashed for seconds."""
    with pytest.raises(PeerError, match="encoding-malformed"):
        decode_message(encode(HOLLOW[name]))


# ── work ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_member_that_signs_and_signs_is_heard_no_more_for_a_while():
    """Each of its votes is good, and for another view: no rule broken, but each costs a verification."""
    bench = preparing_bench()
    for view in range(2_000):
        bench.hear("Dianneng", commit("Dianneng", HEADER, view))
    assert bench.state.verification_ms <= 1_100
    assert set(bench.charges) == {"signs-too-much"}
    bench.hear("Chengdian", prepare("Chengdian", HEADER))
    assert bench.engine.status().phase == "committing", "nobody pays for another"
    bench.tick(100)
    before = bench.state.verification_ms
    for view in range(3_000, 4_000):
        bench.hear("Dianneng", commit("Dianneng", HEADER, view))
    assert 100 <= bench.state.verification_ms - before <= 110


def test_an_sm2_signature_counts_for_more_as_it_takes_longer():
    assert VERIFICATION_MS[Scheme.SM2] == 4 * VERIFICATION_MS[Scheme.ED25519]
    assert set(VERIFICATION_MS) == set(Scheme)


def test_a_member_that_connects_again_and_again_is_told_once_and_an_observer_not_at_all():
    bench = Bench("Bohui")
    bench.tick(600)
    bench.admit(TX)
    told = len(bench.said(PrePrepare))
    for _ in range(20):
        bench.perform(PeerDown("Anneng"))
        bench.perform(PeerUp("Anneng"))
        bench.perform(PeerUp("Aardvark"))
    assert len(bench.said(PrePrepare)) == told + 1
    told_others = zip(bench.receivers, bench.sent, strict=True)
    assert all(isinstance(message, Status) for receivers, message in told_others if receivers == ("Aardvark",))
    bench.tick(600)
    bench.perform(PeerUp("Anneng"))
    assert len(bench.said(PrePrepare)) == told + 2


def test_certificates_that_a_member_shows_again_and_again_count_one_by_one():
    bench = waiting_bench()
    for view in range(1, 2_000):
        bench.hear("Dianneng", view_change("Dianneng", view, certificate(HEADER)))
    assert bench.state.verification_ms <= 1_010
    assert bench.engine.status().view == 0


def test_an_invalid_new_view_costs_no_more_verifications_than_its_sender_has_members():
    """What can be said without a signature is said first."""
    fresh = pre_prepare(make_header(TX, view=1), TX, view=1)
    for wrong in (
        new_view(requests()[:2], fresh),
        new_view([*requests()[:2], view_change("Dianneng", 2)], fresh),
        new_view(requests(1, certificate(HEADER)), fresh),
        replace(new_view(requests(), fresh), proposal=pre_prepare(HEADER, TX)),
    ):
        bench = waiting_bench()
        bench.hear("Chengdian", wrong)
        assert len(bench.charges) == 1
        assert bench.state.verification_ms == 0


def test_a_proposal_of_more_bytes_than_a_block_may_hold_is_refused_before_all_are_here():
    """A thousand of 60 kB would be sixty megabytes in memory before the first look at their sum."""
    large = [make_transaction(number, args=bytes(60_000)) for number in range(100)]
    bench = Bench()
    bench.hear("Bohui", pre_prepare(make_header(*large), *large))
    taken = 0
    while bench.engine.status().phase == "gathering":
        bench.admit(large[taken])
        taken += 1
    assert taken == 1 + 2 * 1024 * 1024 // 60_000
    assert bench.charges == ["proposal-content"]
    bench.admit(*large[taken:])
    bench.hear("Bohui", Bodies(header_hash(make_header(*large)), b"", tuple(tx.raw for tx in large[taken:])))
    assert bench.state.round.candidates[header_hash(make_header(*large))].size_bytes < 2 * 1024 * 1024 + 64 * 1024
    assert bench.wants(Verify) == []
    assert bench.said(Prepare) == []


# ── donors ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_donor_that_keeps_silent_is_asked_once():
    bench = Bench()
    for name in ("Bohui", "Chengdian"):
        bench.hear(name, Status(2**62, 2**62, 0))
    bench.tick(600)
    silent = bench.state.fetch.peer
    assert silent == "Bohui"
    bench.tick(2_000)
    assert bench.state.fetch.peer == "Chengdian"
    sources = set()
    for _ in range(4):
        bench.hear("Chengdian", SealedBlocks((sealed_block(),), ()))
        if bench.state.executed < bench.state.tip.height:
            bench.execute()
        assert bench.state.fetch.failed in ({"Bohui"}, {"Bohui", "Chengdian"}), "the same block again is of no use"
        if "Chengdian" in bench.state.fetch.failed:
            break
        bench.tick(600)
        assert bench.state.fetch.peer == "Chengdian"
    for _ in range(2):
        bench.tick(2_000)
        sources.add(bench.state.fetch.peer)
    assert sources == {"Bohui", "Chengdian"}, "when all have failed, each gets another chance"


@pytest.mark.parametrize(
    "answer",
    [
        SealedBlocks((), ()),
        SealedBlocks((replace(sealed_block(), transactions=()),), ()),
    ],
    ids=["empty", "wrong"],
)
def test_a_donor_whose_answer_brings_nothing_is_asked_last(answer):
    bench = Bench()
    for name in NAMES[1:]:
        bench.hear(name, Status(1, 1, 0))
    bench.tick(600)
    sources = []
    for _ in range(3):
        sources.append(bench.state.fetch.peer)
        bench.hear(str(bench.state.fetch.peer), answer)
        assert sources[-1] in bench.state.fetch.failed
        bench.tick(100)
    assert sorted(map(str, sources)) == list(NAMES[1:])


def test_what_is_between_a_joiner_and_donors_is_not_for_the_replica():
    bench = Bench()
    for message in (FetchManifest(0), HistoryBegins(5)):
        bench.hear("Bohui", message)
    assert bench.charges == []
    assert [effect.fields["reason"] for effect in bench.effects if isinstance(effect, Log)] == [
        "not for the replica"
    ] * 2


def test_an_observer_cannot_have_messages_kept():
    bench = Bench()
    bench.hear("Stranger", replace(prepare("Bohui", HEADER), height=2))
    assert bench.state.later == {}
    bench.hear("Bohui", replace(prepare("Bohui", HEADER), height=2))
    assert len(bench.state.later) == 1


def test_voters_are_asked_before_observers():
    bench = Bench()
    bench.perform(PeerUp("Aardvark"))
    assert bench.state.sources() == list(NAMES[1:])
    for name in NAMES[1:]:
        bench.perform(PeerDown(name))
    assert bench.state.sources() == ["Aardvark"]
