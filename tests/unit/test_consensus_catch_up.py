"""Catch-up: what is taken over from peers, what is not, and what a peer may cost."""

import pytest
from msgspec.structs import replace

from consensus.messages import (
    Bodies,
    Checkpoint,
    CommitCertificate,
    CommittedBlock,
    FetchBlocks,
    FetchBodies,
    Message,
    PrePrepare,
    SealedBlock,
    SealedBlocks,
    Status,
)
from ledger.block import Header, Result, SealedHeader, Vote, header_hash, result_digest
from ledger.codec import decode, encode
from ledger.terms import first_timeline
from node.effects import Charge, Effect, Execute, Executed, Halt, Outcome, PeerDown, Received
from tests.sim.world import Plan, World
from tests.unit.consensus_kit import (
    GENESIS,
    HEADER,
    NAMES,
    OTHER,
    OTHER_TX,
    SIGNERS,
    TX,
    Bench,
    asking_bench,
    certificate,
    checkpoint,
    commit,
    committed_bench,
    make_header,
    make_next_header,
    make_transaction,
    new_view,
    pre_prepare,
    prepare,
    requests,
    sealed_bench,
    sealed_block,
    view_change,
)


def test_a_block_that_makes_us_the_primary_lets_us_propose_once():
    bench = Bench("Chengdian")  # the primary of height 2
    bench.admit(OTHER_TX)
    asking_bench(bench)
    bench.hear("Bohui", SealedBlocks((sealed_block(),), ()))
    assert len(bench.said(PrePrepare)) == 1
    assert not bench.engine.status().halted


def test_who_was_shown_another_block_asks_at_once_for_the_one_that_f_and_1_members_committed_to():
    bench = Bench("Anneng")
    bench.hear("Bohui", pre_prepare(OTHER))
    bench.hear("Dianneng", Status(0, 1, 0))
    bench.hear("Chengdian", commit("Chengdian", HEADER))
    bench.tick(20)
    assert not bench.said(FetchBlocks), "one member may lie"
    bench.hear("Dianneng", commit("Dianneng", HEADER))
    bench.tick(20)
    assert bench.said(FetchBlocks) == [FetchBlocks(1, 8)]
    assert [name for name in bench.engine.status().peers if bench.engine.asks(name)] == ["Dianneng"]


# ── what a peer may cost ──────────────────────────────────────────────────────────────────────────────────────────────


def test_votes_are_repeated_to_a_peer_once_in_a_while_however_often_it_asks():
    bench = Bench("Bohui")
    bench.admit(TX)
    bench.tick(1_000)
    before = len(bench.said(PrePrepare))
    for _ in range(20):
        bench.hear("Anneng", Status(0, 0, 0))
    assert len(bench.said(PrePrepare)) == before + 1
    bench.hear("Dianneng", Status(0, 0, 0))
    assert len(bench.said(PrePrepare)) == before + 2, "each peer gets its own"
    bench.tick(500)
    bench.hear("Anneng", Status(0, 0, 0))
    assert len(bench.said(PrePrepare)) == before + 3


def test_bodies_go_to_a_peer_no_faster_than_its_line():
    bench = Bench()
    bench.admit(TX)
    for _ in range(200):
        bench.hear("Bohui", FetchBodies(bytes(32), TX.leaf))
    assert len(bench.said(Bodies)) == 11
    bench.hear("Chengdian", FetchBodies(bytes(32), TX.leaf))
    assert len(bench.said(Bodies)) == 12, "nobody pays for another"
    bench.tick(10)
    bench.hear("Bohui", FetchBodies(bytes(32), TX.leaf))
    assert len(bench.said(Bodies)) == 13


def test_unsealed_blocks_go_to_a_peer_no_faster_than_its_line():
    bench = committed_bench()
    for _ in range(200):
        bench.hear("Dianneng", FetchBlocks(1, 8))
    assert len(bench.said(SealedBlocks)) == 11


def test_fetched_blocks_are_looked_at_one_per_event_in_order():
    world = World(1, Plan(nodes=4))
    world.nodes["Dianneng"].crash()
    for _ in range(12):
        world.submit(count=1)
        world.run(300)
    assert world.run_until(lambda: world.checker.sealed >= 6, 30_000)
    node = world.nodes["Dianneng"]
    executed: list[list[int]] = []
    perform = node.perform

    def watch(effects: list[Effect]) -> None:
        executed.append([effect.block.header.height for effect in effects if isinstance(effect, Execute)])
        perform(effects)

    node.perform = watch  # type: ignore[method-assign]
    node.start()
    assert world.run_until(world.is_settled, 5_000)
    heights = [height for each in executed for height in each]
    assert heights == list(range(1, len(heights) + 1))
    assert len(heights) >= 6
    assert max(map(len, executed)) == 1


def test_a_bad_block_spoils_the_rest_of_its_answer():
    late = asking_bench()
    forged = SealedBlock(replace(sealed_block().sealed, seal=()), (TX.raw,))
    late.hear("Bohui", SealedBlocks((forged, sealed_block()), ()))
    late.tick(10)
    assert late.charges == ["seal-short"]
    assert late.state.tip.height == 0


def test_a_peer_that_goes_takes_its_answer_along():
    late = asking_bench()
    late.hear("Bohui", SealedBlocks((sealed_block(), sealed_block()), ()))
    late.perform(PeerDown("Bohui"))
    assert (late.state.tip.height, len(late.state.fetch.arrived)) == (1, 0)


FORGED: dict[str, tuple[str, Message]] = {
    "vote-forged": ("Dianneng", replace(prepare("Dianneng", HEADER), signature=bytes(64))),
    "vote-stranger": ("Dianneng", replace(prepare("Dianneng", HEADER), voter=2)),
    "proposal-forged": ("Bohui", replace(pre_prepare(HEADER, TX), signature=bytes(64))),
    "checkpoint-forged": ("Dianneng", replace(checkpoint("Dianneng", bytes(32)), signature=bytes(64))),
    "view-change-forged": ("Dianneng", replace(view_change("Dianneng", 1), signature=bytes(64))),
    "certificate-forged": (
        "Dianneng",
        view_change("Dianneng", 1, replace(certificate(HEADER), proposal=bytes(64))),
    ),
    "new-view-forged": (
        "Chengdian",
        replace(
            new_view(requests(), pre_prepare(make_header(TX, view=1), TX, view=1)),
            signature=bytes(64),
        ),
    ),
}


@pytest.mark.parametrize("code", FORGED)
def test_a_forger_is_cut_off(code):
    peer, message = FORGED[code]
    charges = [effect for effect in Bench().engine.handle(Received(peer, message)) if isinstance(effect, Charge)]
    assert [(charge.peer, charge.code, charge.cut) for charge in charges] == [(peer, code, True)]


def test_an_ordinary_mistake_costs_no_connection():
    effects = Bench().engine.handle(Received("Bohui", FetchBlocks(2, 1)))
    assert [(effect.code, effect.cut) for effect in effects if isinstance(effect, Charge)] == [("fetch-range", False)]


# ── what is served ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_sealed_block_that_is_not_stored_yet_is_served_from_memory():
    bench = sealed_bench()
    bench.hear("Dianneng", FetchBlocks(1, 8))
    assert bench.said(SealedBlocks) == [SealedBlocks((sealed_block(),), ())]
    bench.hear("Dianneng", FetchBlocks(2, 8))
    assert len(bench.said(SealedBlocks)) == 1, "there is nothing to serve"


def test_a_block_that_came_with_a_seal_is_passed_on_once_we_have_executed_it():
    """Until then its result is another's word."""
    late = asking_bench()
    late.hear("Bohui", SealedBlocks((sealed_block(),), ()))
    late.hear("Dianneng", FetchBlocks(1, 8))
    assert late.said(SealedBlocks) == []
    late.execute()
    late.hear("Dianneng", FetchBlocks(1, 8))
    assert late.said(SealedBlocks) == [SealedBlocks((sealed_block(),), ())]
    assert late.said(Checkpoint) == [], "the seal needs none of ours"
    late.tick(600)
    late.hear("Dianneng", Status(0, 1, 0))
    assert late.said(Checkpoint) == []


def test_an_answer_ends_with_the_block_that_goes_beyond_its_bytes():
    large = [make_transaction(number, args=bytes(60_000)) for number in range(20)]
    header = make_header(*large)
    bench = Bench()
    bench.hear("Bohui", pre_prepare(header, *large))
    bench.admit(*large)
    for name in NAMES[1:]:
        bench.hear(name, commit(name, header))
    next_header = make_next_header(header, TX)
    bench.hear("Chengdian", pre_prepare(next_header, TX))
    bench.admit(TX)
    for name in NAMES[1:]:
        bench.hear(name, commit(name, next_header))
    assert bench.state.tip.height == 2
    bench.hear("Dianneng", FetchBlocks(1, 8))
    assert [len(message.tail) for message in bench.said(SealedBlocks)] == [1]


# ── what is taken ─────────────────────────────────────────────────────────────────────────────────────────────────────


def sealed_otherwise(header: bytes) -> SealedBlock:
    """A block of height 1 or 2 that a quorum sealed, transactions left out."""
    fields = decode(Header, header)
    result = replace(
        decode(Result, sealed_block().sealed.result),
        height=fields.height,
        header_hash=header_hash(header),
        time_ms=fields.time_ms,
    )
    raw = encode(result)
    seal = tuple(Vote(at, SIGNERS[name].sign(result_digest(raw))) for at, name in enumerate(NAMES))
    return SealedBlock(SealedHeader(header, raw, seal), ())


def halts(bench: Bench) -> list[str]:
    """Why it stopped."""
    return [halt.error.code for halt in bench.wants(Halt)]


@pytest.mark.parametrize(
    "header", [OTHER, make_next_header(OTHER, TX)], ids=["in the place of ours", "on another chain than ours"]
)
def test_a_quorum_that_sealed_another_block_than_we_committed_stops_us(header: bytes):
    """More than f members lie, or one of us has a bug: no vote may go over it."""
    bench = committed_bench()
    bench.hear("Bohui", Status(9, 9, 0))
    bench.tick(600)
    bench.execute()
    bench.tick(600)
    bench.hear(str(bench.state.fetch.peer), SealedBlocks((sealed_otherwise(header),), ()))
    assert halts(bench) == ["fork"]


def test_a_quorum_that_sealed_another_result_than_ours_stops_us():
    bench = committed_bench()
    bench.execute(root=bytes([9]) * 32)
    asking_bench(bench).hear("Bohui", SealedBlocks((sealed_block(),), ()))
    assert halts(bench) == ["result-contradicted"]


def test_the_seal_of_a_block_that_we_have_is_taken_once_executed_or_not():
    for executed in (True, False):
        bench = committed_bench()
        bench.hear("Bohui", Status(1, 1, 0))
        bench.tick(600)
        if executed:
            bench.execute()
            bench.tick(600)
            bench.hear("Bohui", SealedBlocks((sealed_block(), sealed_block()), ()))
        else:
            bench.state.fetch.peer = "Bohui"  # asked before the COMMITs came
            bench.hear("Bohui", SealedBlocks((sealed_block(), sealed_block()), ()))
            bench.tick(10)
            bench.execute()
        assert bench.state.sealed == 1
        assert bench.charges == []


def test_a_gap_in_an_answer_is_its_senders_fault():
    late = asking_bench()
    late.hear("Bohui", SealedBlocks((sealed_otherwise(make_next_header(HEADER, OTHER_TX)),), ()))
    assert late.charges == ["blocks-gap"]


def test_committed_blocks_are_taken_with_a_quorum_of_commits_alone():
    votes = tuple(Vote(NAMES.index(name), commit(name, HEADER).signature) for name in NAMES[1:])
    for commits, code in (
        (CommitCertificate(0, votes[:2]), "certificate-short"),
        (CommitCertificate(0, (votes[0], *votes[:2])), "votes-repeated"),
        (CommitCertificate(1, votes), "certificate-forged"),
    ):
        late = asking_bench()
        late.hear("Bohui", SealedBlocks((), (CommittedBlock(HEADER, commits, (TX.raw,)),)))
        assert late.charges == [code]
        assert late.state.tip.height == 0
    late = asking_bench()
    late.hear("Bohui", SealedBlocks((), (CommittedBlock(HEADER, CommitCertificate(0, votes), (TX.raw,)),) * 2))
    late.tick(10)
    assert (late.state.tip.height, late.charges) == (1, []), "the second time it is of no use"


def test_the_going_of_another_peer_disturbs_no_answer():
    late = asking_bench()
    late.perform(PeerDown("Chengdian"))
    late.hear("Bohui", SealedBlocks((sealed_block(),), ()))
    assert late.state.tip.height == 1


def test_a_result_of_another_block_than_the_committed_one_is_our_bug():
    bench = committed_bench()
    outcome = Outcome(1, bytes(32), bytes(32), bytes(32), first_timeline(GENESIS), None)
    bench.perform(Executed(outcome))
    assert halts(bench) == ["execution-order"]
