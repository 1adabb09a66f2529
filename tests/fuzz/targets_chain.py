"""Bytes of strangers that claim to be transactions, blocks, votes or calls."""

from collections.abc import Iterator
from pathlib import Path

from msgspec import structs

from consensus.messages import SealedBlocks, decode_message, split_leaves
from consensus.records import CommitRecord, LockRecord, VoteRecord, decode_record
from contracts.genesis import consortium_of
from ledger.block import Header, Receipt, Result, SealedHeader, check_sealed, header_hash
from ledger.charging import BorderReading
from ledger.codec import decode, encode
from ledger.errors import OurError, PeerError
from ledger.genesis import Genesis
from ledger.state_tree import StateTree
from ledger.transaction import Branch, decode_transaction
from node.library import library_abi
from tests import chain, consortium
from tests.fuzz.engine import Target, unguarded
from tests.fuzz.targets import target
from tests.fuzz.test_peer_messages import COMMITS, HEADER, MESSAGES
from tests.unit.consensus_kit import Bench, asking_bench, certificate, prepare
from tests.unit.state_model import MemoryTiles, stored

DOCUMENT = chain.genesis()
TRANSACTIONS = [chain.transaction(f"tx {branch}", branch=branch) for branch in Branch]
BLOCK = chain.block(DOCUMENT, 1, TRANSACTIONS)
RESULT = chain.result(DOCUMENT, BLOCK)
SEALED = chain.seal(BLOCK, RESULT, chain.vote_signers(4), range(4))
SESSION = bytes(range(32))


@target("ledger.transaction.decode_transaction")
def transactions(_: Path) -> Iterator[Target]:
    """Signed transactions."""
    yield Target(decode_transaction, [tx.raw for tx in TRANSACTIONS])


def _objects(kind: type, sample: bytes) -> Target:
    def parse(data: bytes) -> None:
        assert encode(decode(kind, data)) == data

    return Target(parse, [sample])


@target()
def headers(_: Path) -> Iterator[Target]:
    """Block headers."""
    yield _objects(Header, BLOCK.header_raw)


@target()
def results(_: Path) -> Iterator[Target]:
    """Results of blocks."""
    yield _objects(Result, encode(RESULT))


@target()
def receipts(_: Path) -> Iterator[Target]:
    """Receipts."""
    yield _objects(Receipt, encode(Receipt(bytes(32), 0, 1, b"", ())))


@target()
def genesis_documents(_: Path) -> Iterator[Target]:
    """Genesis documents."""
    yield _objects(Genesis, encode(DOCUMENT))


@target("ledger.block.check_sealed")
def sealed_headers(_: Path) -> Iterator[Target]:
    """A sealed header passes only with the content that was signed."""

    def parse(data: bytes) -> None:
        sealed = decode(SealedHeader, data)
        check_sealed(sealed, DOCUMENT.validators, DOCUMENT.hash())
        assert (sealed.header, sealed.result) == (SEALED.header, SEALED.result)
        assert set(sealed.seal) <= set(SEALED.seal)

    yield Target(parse, [encode(SEALED)])


@target("ledger.state_tile.load_tile", "ledger.state_tile.Tile.__init__")
def state_tiles(_: Path) -> Iterator[Target]:
    """Tiles of the state tree as a damaged disk gives them back."""
    tree, tiles = stored({b"key %d" % n: b"value" for n in range(40)})

    def parse(data: bytes) -> None:
        bent = MemoryTiles(tiles)
        bent[b""] = data
        StateTree(bent, tree.root).prove(b"key 7")

    yield Target(parse, [tiles[b""]], refusals=(OurError,))


@target("consensus.messages.decode_message")
def peer_messages(_: Path) -> Iterator[Target]:
    """Messages of consensus."""

    def parse(data: bytes) -> None:
        assert encode(decode_message(data)) == data

    yield Target(parse, [encode(message) for message in MESSAGES])


@target(
    "consensus.catch_up._take_sealed",
    "consensus.catch_up._take_committed",
    "consensus.normal.on_pre_prepare",
    "consensus.proposal.read",
    "consensus.messages.Shown.height",
)
def peer_messages_heard(_: Path) -> Iterator[Target]:
    """The same, heard by a member, which looks at blocks only where it has asked for some."""
    bench, left = Bench(), 0

    def parse(data: bytes) -> None:
        nonlocal bench, left
        message = decode_message(data)
        with unguarded():
            if isinstance(message, SealedBlocks):
                bench, left = asking_bench(peer="Dianneng"), 100
            elif not left:
                bench, left = Bench(), 100
            left -= 1
            bench.hear("Dianneng", message)
            while bench.state.fetch.arrived:
                bench.tick(1)
            assert not bench.engine.status().halted

    yield Target(parse, [encode(message) for message in MESSAGES])


@target("consensus.messages.split_leaves")
def leaf_lists(_: Path) -> Iterator[Target]:
    """Joined leaf hashes of a proposal."""
    yield Target(split_leaves, [bytes(64)])


@target("consensus.records.decode_record")
def log_records(_: Path) -> Iterator[Target]:
    """Records of the write-ahead log."""
    vote = prepare("Dianneng", HEADER)
    samples = [
        VoteRecord(1, 0, header_hash(HEADER), vote),
        LockRecord(certificate(HEADER)),
        CommitRecord(1, header_hash(HEADER), COMMITS),
    ]
    yield Target(decode_record, [encode(sample) for sample in samples])


CALLS = [
    library_abi().encode_call("money", "pay", to=consortium.key("d1"), amount_fen=1, memo=0),
    library_abi().encode_call(
        "session", "open", pile="Pile-1", connector=1, deposit_fen=5_000, accept_unverified=False
    ),
    library_abi().encode_call("session", "start", session=SESSION, counter=1, time_ms=chain.START_MS, meter_wh=1_000),
    library_abi().encode_call(
        "session",
        "stop",
        session=SESSION,
        counter=2,
        borders=(BorderReading(chain.START_MS, 1_100), BorderReading(chain.START_MS + 60_000, 1_200)),
        charging_ended_ms=chain.START_MS + 60_000,
        readings_count=3,
        readings_root=bytes(32),
    ),
]


@target("contracts.abi.Abi.decode_args")
def call_arguments(_: Path) -> Iterator[Target]:
    """Arguments of calls, whatever the method."""

    def parse(data: bytes) -> None:
        refusals = []
        for call in CALLS:
            try:
                library_abi().decode_args(call.contract, call.method, data)
            except PeerError as error:
                refusals.append(error)
        if len(refusals) == len(CALLS):
            raise refusals[0]

    yield Target(parse, [call.args for call in CALLS])


@target("contracts.genesis._sound")
def consortia(_: Path) -> Iterator[Target]:
    """A consortium that contradicts itself; its contracts' codes have a target of their own."""
    setup = consortium.consortium()
    setup = structs.replace(setup, contracts=tuple(structs.replace(each, source="") for each in setup.contracts))
    document = consortium.genesis(setup)

    def parse(data: bytes) -> None:
        consortium_of(structs.replace(document, consortium=data))

    yield Target(parse, [document.consortium], iterations=20)
