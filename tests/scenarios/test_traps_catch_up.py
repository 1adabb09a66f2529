"""Traps 19 to 23: what a node may throw away, take over, and show."""

from typing import get_args

import pytest
from msgspec.structs import replace

from consensus.messages import (
    CommitCertificate,
    CommittedBlock,
    FetchBlocks,
    Joining,
    Message,
    SealedBlock,
    SealedBlocks,
    Status,
    Transactions,
)
from consensus.replica import HANDLERS
from ledger.block import Result, SealedHeader, Vote, header_hash, result_digest
from ledger.codec import decode, encode
from ledger.validators import Validator, ValidatorSet
from node.effects import Execute, Halt, Stored, StoreSealed, Truncate
from tests.sim.signing import make_signer
from tests.unit.consensus_kit import (
    HEADER,
    NAMES,
    OTHER_TX,
    TX,
    Bench,
    asking_bench,
    certificate,
    changing_bench,
    checkpoint,
    commit,
    committed_bench,
    make_header,
    new_view,
    pre_prepare,
    requests,
    sealed_bench,
    sealed_block,
    view_change,
)


def test_trap_19_nothing_is_thrown_away_before_it_is_stored_with_its_seal():
    bench = sealed_bench()
    assert bench.wants(Truncate) == []
    assert 1 in bench.state.entries
    assert any(height == 1 for height, _, _ in bench.state.own)
    bench.store()
    assert bench.wants(Truncate) == [Truncate(1)]
    assert bench.state.entries == {}

    unsealed = committed_bench()
    unsealed.perform(Stored(1))
    assert [halt.error.code for halt in unsealed.wants(Halt)] == ["store-order"]


def test_trap_19_blocks_of_peers_are_taken_with_a_seal_that_holds_alone():
    block = sealed_block()
    result = encode(replace(decode(Result, block.sealed.result), state_root=bytes([9]) * 32))
    for sealed, code in (
        (replace(block.sealed, result=result), "seal-forged"),
        (replace(block.sealed, seal=block.sealed.seal[:2]), "seal-short"),
        (replace(block.sealed, header=make_header(OTHER_TX)), "seal-mismatch"),
    ):
        late = asking_bench()
        late.hear("Bohui", SealedBlocks((SealedBlock(sealed, (TX.raw,)),), ()))
        assert late.charges == [code]
        assert late.state.tip.height == 0


def test_trap_19_a_transferred_state_is_compared_with_the_seal():
    late = asking_bench()
    late.hear("Bohui", SealedBlocks((sealed_block(),), ()))
    late.execute(root=bytes([9]) * 32)
    assert [halt.error.code for halt in late.wants(Halt)] == ["result-contradicted"]
    assert late.wants(StoreSealed) == []


def late_votes(bench: Bench) -> None:
    """All that may still be under way for height 1."""
    fresh = make_header(OTHER_TX, view=1)
    bench.hear("Chengdian", new_view(requests(), pre_prepare(fresh, OTHER_TX, view=1)))
    for name in NAMES[1:]:
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
        for name in NAMES[1:]:
            bench.hear(name, commit(name, HEADER, view=1))
        bench.hear("Bohui", SealedBlocks((sealed_block(),), ()))
    else:
        asking_bench(bench)
        bench.hear("Bohui", SealedBlocks((sealed_block(),), ()))
        bench.hear("Bohui", SealedBlocks((sealed_block(),), ()))
    late_votes(bench)
    assert bench.charges == [], "late is not wrong"
    assert [effect.block.hash for effect in bench.wants(Execute)] == [header_hash(HEADER)]
    bench.execute()
    assert (bench.state.sealed, bench.engine.status().halted) == (1, False)
    assert len(bench.wants(StoreSealed)) == 1


def test_trap_20_a_block_that_is_in_the_store_is_of_no_use_any_more():
    bench = sealed_bench()
    bench.store()
    bench.hear("Bohui", Status(9, 9, 0))
    bench.tick(600)
    bench.hear("Bohui", SealedBlocks((sealed_block(),), ()))
    assert (bench.state.tip.height, bench.charges, bench.wants(Halt)) == (1, [], [])


def test_trap_21_catch_up_ends_a_view_change():
    bench = asking_bench(changing_bench())
    bench.hear("Bohui", SealedBlocks((sealed_block(),), ()))
    status = bench.engine.status()
    assert (status.committed, status.view, status.phase) == (1, 0, "waiting")


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
    asking = {kind.__name__ for kind in HANDLERS if kind.__name__.startswith("Fetch")}
    assert asking == {"FetchBlocks", "FetchBodies"}
    assert set(HANDLERS) | {Transactions} == set(get_args(Message)) - set(get_args(Joining)), "those show seals"
    bench = committed_bench()
    bench.execute()
    bench.hear("Bohui", checkpoint("Bohui", result_digest(bench.state.entries[1].result)))
    assert bench.wants(StoreSealed) == [], "two of four vouch for the result"
    assert bench.engine.status().sealed == 0
    bench.hear("Bohui", FetchBlocks(1, 1))
    assert bench.said(SealedBlocks)[0].blocks == (), "a committed block goes to members, without a result"
    bench.hear("Chengdian", checkpoint("Chengdian", result_digest(bench.state.entries[1].result)))
    assert len(bench.wants(StoreSealed)) == 1
