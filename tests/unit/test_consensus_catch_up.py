"""Catch-up: what is taken over from peers, what is not, and what a peer may cost."""

import pytest
from msgspec.structs import replace

from consensus.messages import (
    Bodies,
    FetchBlocks,
    FetchBodies,
    Message,
    PrePrepare,
    SealedBlock,
    SealedBlocks,
    Status,
)
from node.effects import Charge, Effect, Execute, PeerDown, Received
from tests.sim.world import Plan, World
from tests.unit.consensus_kit import (
    HEADER,
    OTHER_TX,
    TX,
    Bench,
    asking_bench,
    certificate,
    checkpoint,
    committed_bench,
    make_header,
    new_view,
    pre_prepare,
    prepare,
    requests,
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
