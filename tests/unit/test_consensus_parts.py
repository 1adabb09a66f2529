"""The small parts of the consensus: messages, records, the table, tips, the replay window."""

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from consensus import table
from consensus.head import Tip, genesis_head
from consensus.messages import (
    Bodies,
    FetchBlocks,
    FetchBodies,
    PrePrepare,
    SealedBlocks,
    Status,
    Transactions,
    decode_message,
    split_leaves,
)
from consensus.records import BlockRecord, CommitRecord, LockRecord, VoteRecord, decode_record
from consensus.replay import BLOCKS_MANY, PAUSE_MS_MAX, ReplayWindow
from consensus.table import Phase, Trigger
from ledger.block import Header, header_hash
from ledger.codec import decode, encode
from ledger.errors import OurError, PeerError
from ledger.hashing import Tag
from ledger.validators import Failure
from tests.unit.consensus_kit import (
    GENESIS,
    T0,
    Bench,
    certificate,
    checkpoint,
    commit,
    make_header,
    make_transaction,
    new_view,
    pre_prepare,
    prepare,
    scope,
    view_change,
)

ROOT = Path(__file__).resolve().parents[2]
TX = make_transaction(1)
HEADER = make_header(TX)
FRESH = make_header(TX, view=1)
CHANGES = [view_change(name, 1, certificate(HEADER)) for name in ("Anneng", "Bohui", "Dianneng")]
MESSAGES = [
    pre_prepare(HEADER, TX),
    prepare("Anneng", HEADER),
    commit("Anneng", HEADER),
    checkpoint("Anneng", bytes(32)),
    CHANGES[0],
    new_view(CHANGES, pre_prepare(FRESH, TX, view=1)),
    Status(1, 2, 3),
    FetchBlocks(1, 2),
    SealedBlocks((), ()),
    Transactions((TX.raw,)),
    FetchBodies(bytes(32), TX.leaf),
    Bodies(bytes(32), b"", (TX.raw,)),
]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_messages_survive_their_encoding(message):
    assert decode_message(encode(message)) == message


@given(st.binary(max_size=200))
def test_any_bytes_are_a_message_or_the_peers_fault(data):
    with suppress(PeerError):
        assert encode(decode_message(data)) == data


def test_a_longer_encoding_of_a_message_is_refused():
    data = encode(Status(1, 2, 3))
    assert data == b"\x94\x07\x01\x02\x03"
    with pytest.raises(PeerError, match="encoding-not-canonical"):
        decode_message(b"\x94\x07\xcc\x01\x02\x03")


def test_a_message_that_is_too_large_is_refused_unread():
    with pytest.raises(PeerError, match="message-too-large"):
        decode_message(bytes(4 * 1024 * 1024 + 1))


def test_a_votes_digest_binds_all_that_it_is_for():
    digests = {
        scope(height).vote_digest(phase, view, header)
        for height in (1, 2)
        for phase in (Tag.PRE_PREPARE, Tag.PREPARE, Tag.COMMIT)
        for view in (0, 1)
        for header in (bytes(32), bytes([1]) * 32)
    }
    digests |= {replace(scope(), chain_id=bytes(32)).vote_digest(Tag.PREPARE, 0, bytes(32))}
    digests |= {replace(scope(), set_hash=bytes(32)).vote_digest(Tag.PREPARE, 0, bytes(32))}
    assert len(digests) == 2 * 3 * 2 * 2 + 2


def test_a_list_of_leaves_has_whole_hashes():
    assert split_leaves(bytes(64)) == [bytes(32), bytes(32)]
    with pytest.raises(PeerError, match="leaves-length"):
        split_leaves(bytes(63))


def test_records_survive_their_encoding():
    for record in (
        VoteRecord(1, 0, bytes(32), prepare("Anneng", HEADER)),
        BlockRecord(HEADER, (TX.raw,)),
        LockRecord(certificate(HEADER)),
    ):
        assert decode_record(encode(record)) == record


def test_every_record_says_its_height():
    """The log drops records by it."""
    from node.effects import Persist, Received

    bench = Bench()
    bench.admit(TX)
    heights = []
    for peer, message in (
        ("Bohui", pre_prepare(HEADER, TX)),
        ("Chengdian", prepare("Chengdian", HEADER)),
        ("Bohui", commit("Bohui", HEADER)),
        ("Chengdian", commit("Chengdian", HEADER)),
    ):
        effects = bench.engine.handle(Received(peer, message))
        heights += [
            (effect.height, type(decode_record(effect.record))) for effect in effects if isinstance(effect, Persist)
        ]
    kinds = [BlockRecord, VoteRecord, LockRecord, VoteRecord, CommitRecord]
    assert heights == [(1, kind) for kind in kinds]


def test_the_tables_drawing_is_in_the_docs():
    assert table.diagram() in (ROOT / "docs" / "consensus.md").read_text(encoding="utf-8")


def test_what_the_table_does_not_have_is_our_bug():
    assert table.follow(Phase.WAITING, Trigger.PROPOSED) is Phase.GATHERING
    with pytest.raises(OurError, match="transition-unknown"):
        table.follow(Phase.CHANGING, Trigger.PREPARED)


def test_F04_failures_come_from_the_headers_and_fade():
    validators = GENESIS.validators
    header = decode(Header, make_header(view=2))
    tip = genesis_head(GENESIS).tip.after(encode(header), header, validators)
    assert tip.failures == (Failure(1, "Bohui", 64), Failure(1, "Chengdian", 64))
    at = lambda height: replace(tip, height=height - 1).turns(validators)  # noqa: E731
    assert at(2) == at(65) == (0, 2, 3), "a quorum stays in; the later name comes back first"
    assert at(66) == (0, 1, 2, 3)

    def after(height: int, view: int) -> tuple[Failure, ...]:
        late = replace(header, height=height, view=view)
        return replace(tip, height=height - 1).after(encode(late), late, validators).failures

    assert after(129, 0) == tip.failures
    assert after(129, 1) == (Failure(129, "Bohui", 128), Failure(1, "Chengdian", 64)), "failed again: twice as long"
    assert after(130, 0) == ()
    assert after(133, 1) == (Failure(133, "Bohui", 64),), "the first one is forgotten"


def test_F04_failures_of_those_who_left_are_forgotten():
    validators = GENESIS.validators
    header = decode(Header, make_header(view=1))
    tip = genesis_head(GENESIS).tip.after(encode(header), header, validators)
    assert [failure.company for failure in tip.failures] == ["Bohui"]
    without = replace(validators, validators=tuple(m for m in validators.validators if m.name != "Bohui"))
    later = replace(header, height=2, view=0)
    assert tip.after(encode(later), later, without).failures == ()


def test_so_many_blocks_that_a_manifest_could_not_list_them_are_spread():
    window = ReplayWindow(600_000, 0)
    for at_ms in range(BLOCKS_MANY):
        assert window.pause_ms == 0
        window.add(at_ms, [at_ms.to_bytes(32, "big")])
    assert 1_000 // window.pause_ms == 20, "a second, so they stay as many as they are"
    window.add(600_000 + BLOCKS_MANY // 2, ())
    assert window.pause_ms == 0, "the old ones are forgotten"
    long = ReplayWindow(86_400_000, 0, [(at_ms, [b""]) for at_ms in range(BLOCKS_MANY)])
    assert long.pause_ms == PAUSE_MS_MAX


def test_a_crowded_window_delays_the_next_block():
    bench = Bench("Bohui")
    bench.state.window.__init__(600_000, T0, [(T0 + at, [at.to_bytes(32, "big")]) for at in range(BLOCKS_MANY)])  # type: ignore[misc]
    bench.admit(TX)
    bench.tick(bench.state.window.pause_ms - 1)
    assert bench.said(PrePrepare) == []
    bench.tick(1)
    assert len(bench.said(PrePrepare)) == 1


def test_F04_a_tip_survives_its_encoding():
    header = decode(Header, HEADER)
    tip = genesis_head(GENESIS).tip.after(HEADER, header, GENESIS.validators)
    assert (tip.height, tip.header_hash, tip.time_ms) == (1, header_hash(HEADER), T0 + 1_000)
    assert decode(Tip, encode(tip)) == tip


@given(st.lists(st.tuples(st.integers(1, 40), st.integers(0, 5)), max_size=40))
def test_the_replay_window_holds_the_ids_of_the_last_minutes(blocks):
    window = ReplayWindow(100, 0)
    time_ms = 0
    placed: list[tuple[int, bytes]] = []
    for step_ms, count in blocks:
        time_ms += step_ms
        ids = [len(placed).to_bytes(4, "big") + bytes([n]) for n in range(count)]
        placed += [(time_ms, each) for each in ids]
        window.add(time_ms, ids)
        held = {each for at_ms, each in placed if at_ms >= time_ms - 100}
        recent = {each for _, each in placed if each in window}
        assert held <= recent
        assert len(window) == len(recent)
    restarted = ReplayWindow(100, time_ms, [(at_ms, [each]) for at_ms, each in placed])
    assert {each for _, each in placed if each in restarted} == {each for _, each in placed if each in window}
