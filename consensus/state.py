"""The replica's memory, and the few things that every handler does with it: say, cast, ignore, charge."""

import typing
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, Protocol, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from consensus.effects import Effect, Log, Outcome, Persist, Send
from consensus.head import Head, Tip
from consensus.messages import (
    MESSAGE_BYTES_MAX,
    CommitCertificate,
    CommittedBlock,
    Message,
    NewView,
    Own,
    PrePrepare,
    SealedBlock,
    Status,
)
from consensus.pace import ANSWERS_AHEAD_MS, VERIFICATION_MS, VERIFYING_AHEAD_MS, Pace
from consensus.records import BlockRecord, LockRecord, VoteRecord
from consensus.replay import ReplayWindow
from consensus.round import Proposal, Round
from ledger.block import Block, SealedHeader
from ledger.codec import encode
from ledger.errors import OurError
from ledger.genesis import Parameters
from ledger.keys import Signer
from ledger.terms import K, Terms, terms_at
from ledger.transaction import Transaction
from ledger.validators import ValidatorSet

EARLY_BYTES_MAX = MESSAGE_BYTES_MAX
"""Bytes of one peer's messages of later heights: its votes for all of them, and a full NEW-VIEW."""

V = TypeVar("V", bound=Own)
Verifier = Callable[[bytes, bytes, bytes], bool]
"""(public key, digest, signature) → whether the signature holds."""


class Timing(Struct, frozen=True):
    """Time-outs on the steady clock."""

    view_ms: int = 2_000
    """Patience with a primary; doubles with every view. Well above a block's way through a loaded machine."""
    view_ms_max: int = 60_000
    """Where doubling ends."""
    bodies_ms: int = 100
    """How long gossip may be late before bodies are asked for, and a source may take to answer before the next is
    asked.
    """
    status_ms: int = 500
    """How often a node tells where it stands."""
    still_ms: int = 500
    """Who has not moved for so long repeats its votes to peers at the same height, or asks for blocks if they are
    ahead.
    """
    fetch_ms: int = 2_000
    """How long a peer may take to send blocks before another is asked."""
    linger_ms: int = 30
    """Under load, a block is not proposed sooner after the one before: fuller blocks cost less per transaction."""
    linger_ms_max: int = 300
    """Under load, a block waits so long for the execution of the one before: far below `view_ms`."""
    linger_count: int = 64
    """Load: the last block held as many transactions."""


class Pool(Protocol):
    """Verified transactions that wait for a block."""

    def limit(self, parameters: Parameters) -> None:
        """Take the limits of the block of the open height; what no block may hold any more leaves."""

    def __len__(self) -> int: ...

    def get(self, leaf: bytes) -> Transaction | None:
        """The transaction with this leaf."""

    def select(self, time_ms: int, parent_time_ms: int) -> Sequence[Transaction]:
        """Those that a block of this time may hold, within the block's limits."""

    def remove(self, transactions: Sequence[Transaction]) -> None:
        """Forget those that a block now holds."""

    def expects(self, leaf: bytes) -> bool:
        """Whether the transaction with this leaf is here, but not yet verified."""

    def has_full_block(self) -> bool:
        """Whether as many wait as a block may hold."""


class Entry:
    """A committed block that is not yet in the store."""

    def __init__(self, block: Block, tip: Tip, certificate: CommitCertificate | None) -> None:
        self.block = block
        self.tip = tip
        self.certificate = certificate
        """None if the block was learnt with its seal."""
        self.outcome: Outcome | None = None
        self.result: bytes = b""
        """Our own result's encoding, once executed."""
        self.digest: bytes | None = None
        """Its digest."""
        self.seal: SealedHeader | None = None
        """Ours, or a peer's until we have executed the block ourselves."""


class Fetch:
    """The one request for blocks that may be under way."""

    def __init__(self) -> None:
        self.peer: str | None = None
        """Whom we asked; None if nobody."""
        self.asked_ms = 0
        self.count = 0
        """Requests so far: each goes to the next peer that is ahead."""
        self.failed: set[str] = set()
        """Peers whose last answer did not come, or brought nothing: the others are asked first."""
        self.useful = False
        """Whether the answer under way brought something."""
        self.arrived: deque[SealedBlock | CommittedBlock] = deque()
        """Its answer, as far as we have not looked at it: one message's worth at most."""

    def finish(self) -> None:
        """The answer is used up."""
        if self.peer is not None and not self.useful:
            self.failed.add(self.peer)
        self.peer = None


class State:
    """All that a replica remembers. Handlers are functions over it, each in the file of its part of the protocol."""

    def __init__(
        self,
        *,
        chain_id: bytes,
        me: str | None,
        signers: Mapping[bytes, Signer],
        verify: Verifier,
        timing: Timing,
        head: Head,
        window: ReplayWindow,
        pool: Pool,
    ) -> None:
        self.chain_id = chain_id
        self.me = me
        self.signers = dict(signers)
        """Vote key → who signs with it: that of the epoch in force, and the next one's. None of an observer, or of a
        restored node that must not vote.
        """
        self.verify = verify
        self.timing = timing
        self.pool = pool

        self.head = head
        """Of the last sealed block."""
        self.stored = head.tip.height
        self.tip = head.tip
        """Of the last committed block."""
        self.executed = head.tip.height
        self.history = head.history
        """Mountain range up to the last executed block."""
        self.entries: dict[int, Entry] = {}
        """stored + 1 … committed."""
        self.window = window
        self.timeline = head.timeline
        """From the block after the last stored one to K + 1 above the last executed one."""
        self.round = Round(self.tip, self.terms_at(self.tip.height + 1), chain_id)
        self.pool.limit(self.round.terms.parameters)
        self.checkpoints: dict[int, dict[int, tuple[bytes, bytes]]] = {}
        """Height → voter → (result digest, signature), above the last sealed."""
        self.own: dict[tuple[int, int, type[Message]], tuple[bytes, Own]] = {}
        """(height, view, phase) → digest and message of every vote cast above the stored height: none is ever cast
        twice (I5).
        """
        self.found_locks: dict[int, LockRecord] = {}
        """Height → the lock that the log held at start."""
        self.found_blocks: dict[bytes, tuple[int, BlockRecord]] = {}
        """Header hash → height and block that the log held at start; dropped as the heights close."""
        self.later: dict[tuple[int, str, type[Message]], tuple[Message, int]] = {}
        """Messages that come too early (trap 18), and their bytes: the newest per height, peer and kind, so K x peers x
        6 at most, and no more than EARLY_BYTES_MAX of one peer.
        """

        self.accused: set[bytes] = set()
        """Vote keys of members of the open height that contradicted themselves since this process began."""

        self.now_ms = 0
        self.steady_ms = 0
        self.peers: dict[str, Status | None] = {}
        """Connected peers and where they last said that they stand."""
        self.repeated_ms: dict[str, int] = {}
        """Peer → steady time at which our votes were last repeated to it; as many as there are members."""
        self.answering = Pace(ANSWERS_AHEAD_MS)
        """What peers asked for."""
        self.verifying = Pace(VERIFYING_AHEAD_MS)
        """What peers signed, or showed as signed by others."""
        self.verification_ms = 0
        """What the signatures verified so far count for."""
        self.sealed_ms = 0
        """Steady time of the last seal."""
        self.disk_full = False
        """No votes while there is no room for them."""
        self.fetch = Fetch()
        self.out: list[Effect] = []

    # ── reading ─────────────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def sealed(self) -> int:
        """Height of the last sealed block."""
        return self.head.tip.height

    @property
    def has_room(self) -> bool:
        """Whether the open height is within K of the last sealed, and our own disk not further behind: beyond that no
        proposal is made or accepted, so what waits for its seal or for the store is bounded.
        """
        return self.round.height <= min(self.sealed + K, self.stored + 2 * K)

    @property
    def parameters(self) -> Parameters:
        """Limits at the open height."""
        return self.round.terms.parameters

    def terms_at(self, height: int) -> Terms:
        """What rules a height above the last stored one, up to K + 1 above the last executed one: beyond that a
        decision may still come.
        """
        return terms_at(self.timeline, height)

    def validators_at(self, height: int) -> ValidatorSet:
        """Who votes on the block of such a height."""
        return self.terms_at(height).validators

    def open_round(self, parent_count: int) -> None:
        """Open the height after the tip, whose block held so many transactions."""
        self.round = Round(self.tip, self.terms_at(self.tip.height + 1), self.chain_id)
        self.round.moved_ms = self.round.opened_ms = self.steady_ms
        self.round.parent_count = parent_count
        if self.accused:
            self.accused &= {member.vote_key for member in self.round.validators.validators}
        self.pool.limit(self.parameters)

    def position(self, height: int) -> int | None:
        """Our position among those who vote on a height; None if we do not."""
        if self.me is None or self.disk_full:
            return None
        # The open height is what is asked for a hundred times per block: its round knows.
        validators = self.round.validators if height == self.round.height else self.validators_at(height)
        index = validators.index_of(self.me)
        return None if index is None or validators.validators[index].vote_key not in self.signers else index

    # ── saying ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def send(self, message: Message, *peers: str) -> None:
        """Send to some peers, or to all."""
        self.out.append(Send(peers, message))

    def log(self, level: Literal["debug", "info", "warning"], event: str, **fields: int | str) -> None:
        """Write a line to the log."""
        self.out.append(Log(level, event, fields))

    def ignore(self, reason: str, peer: str, message: Message) -> None:
        """Drop a message that an honest peer may well send, and say why."""
        self.log("debug", "ignored", reason=reason, peer=peer, message=type(message).__name__, height=self.round.height)

    def signed_by(self, height: int, voter: int, digest: bytes, signature: bytes) -> bool:
        """Whether a member of the height's set signed the digest. Positions outside of it sign nothing (trap 2)."""
        members = self.validators_at(height).validators
        if voter >= len(members):
            return False
        key = members[voter].vote_key
        self.verification_ms += VERIFICATION_MS[key[0]]
        return self.verify(key, digest, signature)

    def cast(self, height: int, view: int, digest: bytes, make: Callable[[int, bytes], V]) -> V | None:
        """Sign `digest`, make a message of (our position, signature) and put it on disk; the caller sends what it gets.

        Returns the message, the old one if this very vote was cast before; None if we do not vote, or cast another in
        its place.
        """
        voter = self.position(height)
        if voter is None:
            return None
        draft = make(voter, b"")
        kind = typing.cast("type[Message]", type(draft))
        before = self.own.get((height, view, kind))
        if before is not None:
            return typing.cast(V, before[1]) if before[0] == digest else None
        signer = self.signers[self.validators_at(height).validators[voter].vote_key]
        message = replace(draft, signature=signer.sign(digest))
        self.own[height, view, kind] = digest, message
        self.out.append(Persist(encode(VoteRecord(height, view, digest, _without_leaves(message))), height))
        return message

    def cast_first(self, height: int, view: int, digest: bytes, make: Callable[[int, bytes], V]) -> V:
        """The same where the caller knows that we vote, and cast no other. Raises OurError `vote-contradicted`."""
        message = self.cast(height, view, digest, make)
        if message is None:
            raise OurError("vote-contradicted", f"height {height}, view {view}: not ours to sign, or signed otherwise")
        return message

    def keep_block(self, proposal: Proposal) -> None:
        """Have a block's transactions in the log, once."""
        if not proposal.durable:
            proposal.durable = True
            raws = tuple(transaction.raw for transaction in proposal.transactions)
            self.out.append(Persist(encode(BlockRecord(proposal.header_raw, raws)), proposal.header.height))

    def votes(self, peer: str) -> bool:
        """Whether a peer votes under any terms that rule above the last stored block: observers only follow."""
        return any(terms.validators.index_of(peer) is not None for terms in self.timeline)

    def sources(self) -> list[str]:
        """Connected peers to ask for what we lack, sorted: those that vote. Observers, of whom there may be hundreds
        and whom nothing holds to the truth, where there is nobody else.
        """
        return sorted(filter(self.votes, self.peers)) or sorted(self.peers)

    def keep_for_later(self, height: int, peer: str, message: Message) -> None:
        """Buffer a message of one of the next heights, up to K ahead and within the peer's share of memory."""
        if height > self.round.height + K:
            return self.ignore("too far ahead", peer, message)
        if not self.votes(peer):  # hundreds of observers would fill the memory
            return self.ignore("from an observer", peer, message)
        key, size = (height, peer, type(message)), len(encode(message))
        held = sum(each[1] for other, each in self.later.items() if other[1] == peer and other != key)
        if held + size > EARLY_BYTES_MAX:
            return self.ignore("too much too early", peer, message)
        self.later[key] = message, size
        return None


def _without_leaves(message: Own) -> Own:
    if isinstance(message, PrePrepare):
        return replace(message, leaves=b"")
    if isinstance(message, NewView):
        return replace(message, proposal=replace(message.proposal, leaves=b""))
    return message
