"""Catch-up: what is taken over from peers, what is not, and what a peer may cost."""

from typing import get_args

import pytest
from msgspec.structs import replace

from consensus.messages import (
    Bodies,
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
from ledger.block import Result, SealedHeader, Vote, header_hash, result_digest
from ledger.codec import decode, encode
from ledger.validators import Validator, ValidatorSet
from node.effects import Charge, Effect, Execute, Halt, PeerDown, Received, Stored, StoreSealed, Truncate, Verify
from tests.sim.signing import make_signer
from tests.sim.world import Plan, World
from tests.unit.consensus_kit import (
    NAMES,
    Bench,
    certificate,
    checkpoint,
    commit,
    make_header,
    make_transaction,
    new_view,
    pre_prepare,
    prepare,
    view_change,
)

TX, OTHER = make_transaction(1), make_transaction(2)
HEADER = make_header(TX)
QUORUM = ("Bohui", "Chengdian", "Dianneng")


def committed_bench() -> Bench:
    """Height 1 committed and executed, not sealed."""
    bench = Bench()
    bench.admit(TX)
    bench.hear("Bohui", pre_prepare(HEADER, TX))
    bench.hear("Chengdian", prepare("Chengdian", HEADER))
    for name in ("Bohui", "Chengdian"):
        bench.hear(name, commit(name, HEADER))
    return bench


def sealed_bench() -> Bench:
    """… and sealed, not stored."""
    bench = committed_bench()
    bench.execute()
    for name in ("Bohui", "Chengdian"):
        bench.hear(name, checkpoint(name, result_digest(bench.state.entries[1].result)))
    return bench


def sealed_block() -> SealedBlock:
    """Height 1 as peers serve it."""
    return SealedBlock(effects_of(sealed_bench(), StoreSealed)[0].sealed, (TX.raw,))


def effects_of(bench: Bench, kind: type) -> list:
    """The effects of a kind that nobody has performed."""
    return [effect for effect in bench.effects if isinstance(effect, kind)]


def asking_bench(bench: Bench | None = None, peer: str = "Bohui") -> Bench:
    """A node that has asked a peer for height 1."""
    bench = bench or Bench()
    bench.hear(peer, Status(1, 1, 0))
    bench.tick(600)
    assert bench.said(FetchBlocks)
    return bench


def changing_bench() -> Bench:
    """A node that gave up on view 0."""
    bench = Bench()
    bench.admit(TX)
    bench.tick(10)
    bench.tick(2_100)
    assert bench.engine.status().phase == "changing"
    return bench


# ── traps ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_trap_03_what_is_nested_is_hashed_again_by_the_receiver():
    shown = replace(certificate(HEADER), header=make_header(OTHER))  # HEADER's signatures under another block
    bench = Bench()
    bench.hear("Bohui", replace(view_change("Bohui", 1, certificate(HEADER)), certificate=shown))
    bench.hear("Chengdian", view_change("Chengdian", 1, shown))  # … and its sender signs for it
    assert bench.charges == ["view-change-forged", "certificate-forged"]
    assert bench.state.round.view_changes == {}

    bench.hear("Bohui", pre_prepare(HEADER, TX))
    bench.hear("Bohui", Bodies(header_hash(HEADER), b"", (OTHER.raw,)))
    assert effects_of(bench, Verify) == [], "a body is known by its own hash, not by its place in an answer"

    late = asking_bench()
    late.hear("Bohui", SealedBlocks((replace(sealed_block(), transactions=(OTHER.raw,)),), ()))
    assert late.charges == ["proposal-root"]
    assert late.state.tip.height == 0


def test_trap_19_nothing_is_thrown_away_before_it_is_stored_with_its_seal():
    bench = sealed_bench()
    assert effects_of(bench, Truncate) == []
    assert 1 in bench.state.entries
    assert any(height == 1 for height, _, _ in bench.state.own)
    bench.store()
    assert effects_of(bench, Truncate) == [Truncate(1)]
    assert bench.state.entries == {}

    unsealed = committed_bench()
    unsealed.perform(Stored(1))
    assert [halt.error.code for halt in effects_of(unsealed, Halt)] == ["store-order"]


def test_trap_19_blocks_of_peers_are_taken_with_a_seal_that_holds_alone():
    block = sealed_block()
    result = encode(replace(decode(Result, block.sealed.result), state_root=bytes([9]) * 32))
    for sealed, code in (
        (replace(block.sealed, result=result), "seal-forged"),
        (replace(block.sealed, seal=block.sealed.seal[:2]), "seal-short"),
        (replace(block.sealed, header=make_header(OTHER)), "seal-mismatch"),
    ):
        late = asking_bench()
        late.hear("Bohui", SealedBlocks((SealedBlock(sealed, (TX.raw,)),), ()))
        assert late.charges == [code]
        assert late.state.tip.height == 0


def test_trap_19_a_transferred_state_is_compared_with_the_seal():
    late = asking_bench()
    late.hear("Bohui", SealedBlocks((sealed_block(),), ()))
    late.execute(root=bytes([9]) * 32)
    assert [halt.error.code for halt in effects_of(late, Halt)] == ["result-contradicted"]
    assert effects_of(late, StoreSealed) == []


def late_votes(bench: Bench) -> None:
    """All that may still be under way for height 1."""
    fresh = make_header(OTHER, view=1)
    bench.hear("Chengdian", new_view([view_change(n, 1) for n in QUORUM], pre_prepare(fresh, OTHER, view=1)))
    for name in QUORUM:
        bench.hear(name, commit(name, HEADER))
        bench.hear(name, commit(name, fresh, view=1))


@pytest.mark.parametrize("first", ["catch-up", "commits"])
def test_trap_20_catch_up_that_races_a_view_change_commits_once(first):
    bench = changing_bench()
    if first == "commits":
        bench.hear(
            "Chengdian",
            new_view(
                [view_change("Bohui", 1, certificate(HEADER)), *(view_change(n, 1) for n in ("Chengdian", "Dianneng"))],
                pre_prepare(HEADER, TX, view=1),
            ),
        )
        asking_bench(bench)
        for name in QUORUM:
            bench.hear(name, commit(name, HEADER, view=1))
        bench.hear("Bohui", SealedBlocks((sealed_block(),), ()))
    else:
        asking_bench(bench)
        bench.hear("Bohui", SealedBlocks((sealed_block(),), ()))
        bench.hear("Bohui", SealedBlocks((sealed_block(),), ()))
    late_votes(bench)
    assert [effect.block.hash for effect in effects_of(bench, Execute)] == [header_hash(HEADER)]
    bench.execute()
    assert (bench.state.sealed, bench.engine.status().halted) == (1, False)
    assert len(effects_of(bench, StoreSealed)) == 1


def test_trap_21_catch_up_ends_a_view_change():
    bench = asking_bench(changing_bench())
    bench.hear("Bohui", SealedBlocks((sealed_block(),), ()))
    status = bench.engine.status()
    assert (status.committed, status.view, status.phase) == (1, 0, "waiting")


def test_a_block_that_makes_us_the_primary_lets_us_propose_once():
    bench = Bench("Chengdian")  # the primary of height 2
    bench.admit(OTHER)
    asking_bench(bench)
    bench.hear("Bohui", SealedBlocks((sealed_block(),), ()))
    assert len(bench.said(PrePrepare)) == 1
    assert not bench.engine.status().halted


def test_trap_22_certificates_are_checked_against_the_set_before_the_block():
    """A block that names a set of its own, signed by all of that set, is nobody's."""
    keys = {name: make_signer(bytes([number]) * 32, False) for number, name in enumerate(NAMES)}
    usurpers = ValidatorSet(
        1, tuple(Validator(name, key.public_key, key.public_key, key.public_key[1:]) for name, key in keys.items())
    )
    header = make_header(TX, set_hash=usurpers.hash())
    result = decode(Result, sealed_block().sealed.result)
    result_raw = encode(
        replace(result, header_hash=header_hash(header), set_hash=usurpers.hash(), next_set_hash=usurpers.hash())
    )
    seal = tuple(Vote(at, key.sign(result_digest(result_raw))) for at, key in enumerate(keys.values()))
    late = asking_bench()
    late.hear("Bohui", SealedBlocks((SealedBlock(SealedHeader(header, result_raw, seal), (TX.raw,)),), ()))
    assert late.charges == ["seal-mismatch"]

    late = asking_bench()
    commits = CommitCertificate(0, seal)
    late.hear("Bohui", SealedBlocks((), (CommittedBlock(header, commits, (TX.raw,)),)))
    late = asking_bench(late, "Chengdian")
    late.tick(600)
    late.hear("Chengdian", SealedBlocks((), (CommittedBlock(HEADER, commits, (TX.raw,)),)))
    assert late.state.tip.height == 0
    assert late.charges[0] == "proposal-header"


def test_trap_23_there_is_no_read_only_shortcut():
    """Nobody can ask a replica for state or receipts; what it executed is shown to readers once it is sealed."""
    asking = {kind.__name__ for kind in get_args(Message) if kind.__name__.startswith("Fetch")}
    assert asking == {"FetchBlocks", "FetchBodies"}
    bench = committed_bench()
    bench.execute()
    bench.hear("Bohui", checkpoint("Bohui", result_digest(bench.state.entries[1].result)))
    assert effects_of(bench, StoreSealed) == [], "two of four vouch for the result"
    assert bench.engine.status().sealed == 0
    bench.hear("Bohui", FetchBlocks(1, 1))
    assert bench.said(SealedBlocks)[0].blocks == (), "a committed block goes to members, without a result"
    bench.hear("Chengdian", checkpoint("Chengdian", result_digest(bench.state.entries[1].result)))
    assert len(effects_of(bench, StoreSealed)) == 1


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
            new_view([view_change(n, 1) for n in QUORUM], pre_prepare(make_header(TX, view=1), TX, view=1)),
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
