"""One engine by itself, and the keys of its three peers: for tests that put every single message into its hands."""

import hashlib
from collections.abc import Sequence
from typing import Any, TypeVar

from msgspec.structs import replace

from consensus.head import genesis_head
from consensus.messages import (
    Checkpoint,
    Commit,
    FetchBlocks,
    Message,
    NewView,
    Prepare,
    PreparedCertificate,
    PrePrepare,
    Scope,
    SealedBlock,
    Status,
    ViewChange,
)
from consensus.state import State
from ledger.block import BranchHead, Header, Vote, branch_table, header_hash, next_heads, result_digest
from ledger.codec import decode, encode
from ledger.genesis import Genesis, Parameters, Profile
from ledger.hashing import Tag
from ledger.terms import first_timeline
from ledger.transaction import Body, Branch, ExpiryClass, Transaction, decode_transaction, sign_transaction
from ledger.validators import Validator, ValidatorSet
from node.effects import (
    Admitted,
    Charge,
    Effect,
    Event,
    Execute,
    Executed,
    Outcome,
    PeerUp,
    Persist,
    Received,
    Send,
    Stored,
    StoreSealed,
    Tick,
)
from node.engine import Engine, EngineSetup
from tests.sim.signing import make_signer, verify

M = TypeVar("M")
E = TypeVar("E")
NAMES = ("Anneng", "Bohui", "Chengdian", "Dianneng")
"""Positions 0 to 3; at height 1 the primaries of views 0, 1, 2, 3 are Bohui, Chengdian, Dianneng, Anneng."""
T0 = 1_700_000_000_000
SIGNERS = {name: make_signer(hashlib.sha256(name.encode()).digest(), False) for name in NAMES}
MEMBERS = tuple(
    Validator(name, SIGNERS[name].public_key, SIGNERS[name].public_key, SIGNERS[name].public_key[1:]) for name in NAMES
)
GENESIS = Genesis(1, "Unit", Profile.INTL, T0, Parameters(), ValidatorSet(0, MEMBERS), b"")
CHAIN = GENESIS.hash()
CLIENT = make_signer(bytes(32), False)


def make_transaction(salt: int, **changes: Any) -> Transaction:
    """A transaction of the one client."""
    body = Body(
        CHAIN,
        CLIENT.public_key,
        Branch.CHARGING,
        ExpiryClass.ORDINARY,
        1,
        "put",
        b"",
        1_000,
        T0 + 300_000,
        salt.to_bytes(8, "big"),
    )
    return decode_transaction(sign_transaction(replace(body, **changes), CLIENT))


class Bench:
    """The engine of Anneng under test, its log, and what it said."""

    def __init__(self, me: str = "Anneng", records: list[bytes] | None = None) -> None:
        self.me = me
        self.records: list[bytes] = list(records or [])
        self.sent: list[Message] = []
        self.receivers: list[tuple[str, ...]] = []
        """Of each message that was sent; empty for all."""
        self.charges: list[str] = []
        self.effects: list[Effect] = []
        setup = EngineSetup(
            genesis=GENESIS,
            me=me,
            signers=(SIGNERS[me],),
            head=genesis_head(GENESIS),
            records=self.records,
            verify=verify[False],
        )
        self.engine = Engine(setup)
        self.steady_ms = 0
        self.tick(0)
        for name in NAMES:
            if name != me:
                self._do(self.engine.handle(PeerUp(name)))

    @property
    def state(self) -> State:
        """The replica's memory."""
        return self.engine._state

    def tick(self, passed_ms: int) -> None:
        """Let time pass."""
        self.steady_ms += passed_ms
        self._do(self.engine.handle(Tick(T0 + 1_000 + self.steady_ms, self.steady_ms)))

    def hear(self, peer: str, message: Message) -> None:
        """A peer's message arrives."""
        self._do(self.engine.handle(Received(peer, message)))

    def perform(self, event: Event) -> None:
        """Anything else happens."""
        self._do(self.engine.handle(event))

    def admit(self, *transactions: Transaction) -> None:
        """Clients submit here."""
        self._do(self.engine.handle(Admitted(transactions, None)))

    def execute(self, root: bytes = bytes(32)) -> None:
        """The oldest committed block is executed."""
        effect = self.wants(Execute)[0]
        self.effects.remove(effect)
        block = effect.block
        outcome = Outcome(block.header.height, block.hash, root, root, first_timeline(GENESIS), None)
        self._do(self.engine.handle(Executed(outcome)))

    def store(self) -> None:
        """All that is sealed is stored."""
        for effect in self.wants(StoreSealed):
            self.effects.remove(effect)
            self._do(self.engine.handle(Stored(effect.block.header.height)))

    def wants(self, kind: type[E]) -> list[E]:
        """The effects of a kind that nobody has performed."""
        return [effect for effect in self.effects if isinstance(effect, kind)]

    def said(self, kind: type[M]) -> list[M]:
        """What it has sent of a kind."""
        return [message for message in self.sent if isinstance(message, kind)]

    def _do(self, effects: list[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Persist):
                self.records.append(effect.record)
            elif isinstance(effect, Send):
                self.sent.append(effect.message)
                self.receivers.append(effect.peers)
            elif isinstance(effect, Charge):
                self.charges.append(effect.code)
            else:
                self.effects.append(effect)


def scope(height: int = 1) -> Scope:
    """What votes of a height are bound to."""
    return Scope(CHAIN, GENESIS.validators.hash(), height)


def make_header(*transactions: Transaction, view: int = 0, **changes: Any) -> bytes:
    """The header of height 1 with these transactions, as its primary would make it."""
    return encode(replace(_header(transactions, {}, view), **changes))


def make_next_header(parent: bytes, *transactions: Transaction) -> bytes:
    """The header of height 2, on top of that of height 1."""
    header = _header(transactions, next_heads(decode(Header, parent), {}), 0)
    linked = {"height": 2, "parent": header_hash(parent), "time_ms": T0 + 1_001, "proposer": NAMES[2]}
    return encode(replace(header, **linked))


def _header(transactions: Sequence[Transaction], heads: dict[Branch, BranchHead], view: int) -> Header:
    rows, root = branch_table([(tx.body.branch, tx.leaf) for tx in transactions], heads)
    return Header(
        CHAIN,
        1,
        view,
        T0 + 1_000,
        CHAIN,
        root,
        len(transactions),
        GENESIS.validators.hash(),
        NAMES[(1 + view) % 4],
        rows,
    )


def pre_prepare(header: bytes, *transactions: Transaction, view: int = 0, by: str | None = None) -> PrePrepare:
    """The proposal of the view's primary."""
    height = decode(Header, header).height
    signer = SIGNERS[by or NAMES[(height + view) % 4]]
    signature = signer.sign(scope(height).vote_digest(Tag.PRE_PREPARE, view, header_hash(header)))
    return PrePrepare(view, header, b"".join(tx.leaf for tx in transactions), signature)


def prepare(by: str, header: bytes, view: int = 0) -> Prepare:
    """A backup's acceptance."""
    digest, height = header_hash(header), decode(Header, header).height
    signature = SIGNERS[by].sign(scope(height).vote_digest(Tag.PREPARE, view, digest))
    return Prepare(height, view, digest, NAMES.index(by), signature)


def commit(by: str, header: bytes, view: int = 0) -> Commit:
    """A member's COMMIT."""
    digest, height = header_hash(header), decode(Header, header).height
    signature = SIGNERS[by].sign(scope(height).vote_digest(Tag.COMMIT, view, digest))
    return Commit(height, view, digest, NAMES.index(by), signature)


def checkpoint(by: str, digest: bytes) -> Checkpoint:
    """A member's result of height 1."""
    return Checkpoint(1, digest, NAMES.index(by), SIGNERS[by].sign(digest))


def certificate(header: bytes, view: int = 0, backups: tuple[str, ...] = ("Anneng", "Dianneng")) -> PreparedCertificate:
    """A prepared certificate of these backups."""
    votes = sorted((prepare(name, header, view).voter, prepare(name, header, view).signature) for name in backups)
    proposal = pre_prepare(header, view=view).signature
    return PreparedCertificate(view, header, proposal, tuple(Vote(voter, signature) for voter, signature in votes))


def view_change(by: str, view: int, shown: PreparedCertificate | None = None) -> ViewChange:
    """A member's request for a view."""
    signature = SIGNERS[by].sign(scope().view_change_digest(view, shown))
    return ViewChange(1, view, NAMES.index(by), shown, signature)


def new_view(changes: list[ViewChange], proposal: PrePrepare, view: int = 1) -> NewView:
    """What the primary of a view sends."""
    ordered = tuple(sorted(changes, key=lambda change: change.voter))
    signature = SIGNERS[NAMES[(1 + view) % 4]].sign(scope().new_view_digest(view, ordered, proposal))
    return NewView(1, view, ordered, proposal, signature)


# ── where a height may stand, and what peers then send ────────────────────────────────────────────────────────────────

TX, OTHER_TX = make_transaction(1), make_transaction(2)
HEADER = make_header(TX)
"""What Bohui proposes at height 1."""
OTHER = make_header(OTHER_TX)
"""Another block that it might have proposed."""
FRESH = make_header(TX, view=1)
"""What Chengdian proposes afresh in view 1."""
VIEW_MS = 2_000


def waiting_bench(me: str = "Anneng") -> Bench:
    """A node with a transaction that waits, and a primary that does nothing."""
    bench = Bench(me)
    bench.admit(TX)
    return bench


def preparing_bench() -> Bench:
    """… and the proposal of Bohui."""
    bench = waiting_bench()
    bench.hear("Bohui", pre_prepare(HEADER, TX))
    return bench


def locked_bench() -> Bench:
    """… prepared: with Bohui's proposal and our own PREPARE, Chengdian's makes a quorum."""
    bench = preparing_bench()
    bench.hear("Chengdian", prepare("Chengdian", HEADER))
    return bench


def committed_bench() -> Bench:
    """… and committed."""
    bench = locked_bench()
    for name in ("Bohui", "Chengdian"):
        bench.hear(name, commit(name, HEADER))
    return bench


def sealed_bench() -> Bench:
    """… executed and sealed, not stored."""
    bench = committed_bench()
    bench.execute()
    for name in ("Bohui", "Chengdian"):
        bench.hear(name, checkpoint(name, result_digest(bench.state.entries[1].result)))
    return bench


def sealed_block() -> SealedBlock:
    """Height 1 as peers serve it."""
    return SealedBlock(sealed_bench().wants(StoreSealed)[0].sealed, (TX.raw,))


def asking_bench(bench: Bench | None = None, peer: str = "Bohui") -> Bench:
    """A node that has asked a peer for height 1."""
    bench = bench or Bench()
    bench.hear(peer, Status(1, 1, 0))
    bench.tick(600)
    assert bench.said(FetchBlocks)
    return bench


def changing_bench() -> Bench:
    """A node that gave up on view 0."""
    bench = waiting_bench()
    bench.tick(10)
    bench.tick(VIEW_MS + 100)
    assert bench.engine.status().phase == "changing"
    return bench


def requests(
    view: int = 1, shown: PreparedCertificate | None = None, by: tuple[str, ...] = NAMES[1:]
) -> list[ViewChange]:
    """A quorum's requests, the first of them with a certificate."""
    return [view_change(name, view, shown if name == by[0] else None) for name in by]
