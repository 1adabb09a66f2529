"""Any field of any message may be anything: a peer is charged or ignored; it neither stops us nor moves us."""

from random import Random
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from consensus.messages import (
    Bodies,
    CommitCertificate,
    CommittedBlock,
    FetchBlocks,
    FetchBodies,
    Joining,
    Message,
    SealedBlock,
    SealedBlocks,
    Shown,
    Status,
    Transactions,
    decode_message,
)
from ledger.block import SealedHeader, Vote, header_hash
from ledger.codec import encode
from ledger.errors import PeerError
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
    sealed_block,
    view_change,
)

TX = make_transaction(1)
HEADER = make_header(TX)
FRESH = make_header(TX, view=1)
REQUESTS = [view_change(name, 1, certificate(HEADER)) for name in ("Bohui", "Chengdian", "Dianneng")]
COMMITS = CommitCertificate(0, tuple(Vote(NAMES.index(name), commit(name, HEADER).signature) for name in NAMES[1:]))
MESSAGES: list[Message] = [
    pre_prepare(HEADER, TX),
    prepare("Dianneng", HEADER),
    commit("Dianneng", HEADER),
    checkpoint("Dianneng", bytes(32)),
    REQUESTS[2],
    new_view(REQUESTS, pre_prepare(HEADER, TX, view=1)),
    new_view([view_change(name, 1) for name in NAMES[1:]], pre_prepare(FRESH, TX, view=1)),
    Status(5, 5, 0),
    FetchBlocks(1, 8),
    SealedBlocks(
        (SealedBlock(SealedHeader(HEADER, bytes(100), COMMITS.commits), (TX.raw,)),),
        (CommittedBlock(HEADER, COMMITS, (TX.raw,)),),
    ),
    SealedBlocks((sealed_block(),), ()),
    SealedBlocks((), (CommittedBlock(HEADER, COMMITS, (TX.raw,)),)),
    Transactions((TX.raw,)),
    FetchBodies(header_hash(HEADER), TX.leaf),
    Bodies(header_hash(HEADER), TX.leaf, (TX.raw,)),
    Shown(structs.replace(pre_prepare(FRESH, TX), leaves=b"")),
]


def mutate(value: Any, random: Random) -> Any:
    """The same with one thing somewhere changed."""
    if isinstance(value, list) and value and random.random() < 0.85:
        at = random.randrange(len(value))
        return [mutate(each, random) if position == at else each for position, each in enumerate(value)]
    if isinstance(value, list):
        return random.choice([[], value + value, value[::-1], value[:-1], None])
    if isinstance(value, int):
        return random.choice([0, 1, 2, 3, value + 1, 7, 2**32 - 1, 2**63 - 1, -1])
    if isinstance(value, bytes):
        flipped = bytearray(value or b"\0")
        flipped[random.randrange(len(flipped))] ^= 1 << random.randrange(8)
        return random.choice([bytes(flipped), b"", value + b"\0", value[:-1], bytes(len(value)), HEADER, FRESH])
    return random.choice([0, b"", [], None])


def test_there_is_a_sample_of_every_kind_of_message():
    joining = {*Joining.__args__}  # tests/fuzz/test_join_messages.py
    assert {type(message) for message in MESSAGES} == {*Message.__args__} - joining


@settings(max_examples=400)
@given(st.lists(st.tuples(st.sampled_from(range(len(MESSAGES))), st.integers(0, 2**32)), min_size=1, max_size=12))
def test_F02_a_peers_bytes_never_stop_a_node(choices):
    bench = Bench()
    bench.admit(TX)
    for number, seed in choices:
        random = Random(seed)
        fields = msgspec.msgpack.decode(encode(MESSAGES[number]))
        for _ in range(random.randrange(3)):
            fields = mutate(fields, random)
        try:
            message = decode_message(msgspec.msgpack.encode(fields))
        except PeerError:
            continue
        if isinstance(message, SealedBlocks):  # looked at only by who has asked
            bench.hear("Dianneng", Status(9, 9, 0))
            bench.tick(600)
        bench.hear("Dianneng", message)
        bench.tick(random.choice((0, 10, 600)))
    status = bench.engine.status()
    assert not status.halted
    assert status.committed == 0 or bench.state.tip.header_hash == header_hash(HEADER)
    assert status.view <= 3, "one peer alone moves nobody but by our own timer"
    assert len(bench.state.later) <= 8 * 6
