"""Decides how a node joins: which snapshot, what is asked of whom, who lied, when to give up. Pure.

Any number of donors may lie in any way. Whatever comes is proven before it counts; a donor whose answer does not prove
is named, cut off and asked no more, and what it was asked for is asked of another. One honest donor is enough.
"""

from collections import deque
from collections.abc import Iterable
from contextlib import suppress

from consensus.messages import (
    Ancestor,
    FetchAncestor,
    FetchBlocks,
    FetchChunk,
    FetchHandOvers,
    FetchManifest,
    HandOvers,
    HistoryBegins,
    Message,
    SealedBlock,
    SealedBlocks,
    SnapshotChunk,
    SnapshotManifest,
)
from ledger.block import Header
from ledger.codec import decode, encode
from ledger.errors import ClientError, PeerError
from ledger.genesis import Genesis
from ledger.snapshot import Manifest, check_window_block, unpack_chunk
from node.join.actions import (
    Action,
    Ask,
    Begin,
    Drop,
    Finish,
    GiveUp,
    Keep,
    Learn,
    Replay,
    block_piece,
    chunk_piece,
)
from node.join.trust import Offer, Pin, SetUnknownError, Trust

GATHER_MS = 3_000
"""After the first offer, how long others may take to make theirs: the more donors have a snapshot, the better."""
ANSWER_MS = 10_000
"""A donor that has not answered by then is asked for something else; the longest answer takes half a second on a line
of 100 Mbit/s."""
SLOW_MS = 2_000
"""What a donor has not sent by then is asked of an idle one too."""
STRIKES_MAX = 3
"""Requests that a donor may leave unanswered."""
RETRY_MS = 2_000
"""How often a peer that has nothing for us is asked again."""
BLOCKS_ASKED = 8
"""Blocks of the window in one request."""
WAIT_MS = 600_000
"""So long donors may be connected without a piece that is of use: making a snapshot of 10^6 entries takes a member 6.4
minutes.
"""


_Request = FetchManifest | FetchHandOvers | FetchAncestor | FetchChunk | FetchBlocks


class _Donor:
    """What is known of a connected peer."""

    def __init__(self) -> None:
        self.offer: Offer | None = None
        self.unproven: Manifest | None = None
        """Waits for hand-overs."""
        self.pending: Offer | None = None
        """Waits for the trusted block."""
        self.answered = False
        """Whether it has said what it has, be it nothing."""
        self.has_none = False
        """Whether that is no snapshot at all."""
        self.asked: _Request | None = None
        self.asked_ms = 0
        self.strikes = 0


class JoinPlan:
    """One attempt to join. Methods return what is to be done, in order."""

    def __init__(self, genesis: Genesis, pin: Pin | None, peers: frozenset[str], wanted: int, floor: int = 0) -> None:
        """`peers` are those that the settings name (others may dial in), `wanted` is the height of a snapshot of which
        pieces are here already, or 0, and `floor` that of the ledger that is here: only a snapshot above it is taken.
        """
        self.trust = Trust(genesis, pin)
        self._pin = pin
        self.dropped: dict[str, str] = {}
        """Donors that are asked no more, and why."""
        self.offer: Offer | None = None
        """The snapshot that is being fetched."""
        self._peers = peers
        self._floor = floor
        self._wanted = wanted if wanted > floor else 0
        self._donors: dict[str, _Donor] = {}
        self._chunks: deque[int] = deque()
        """Chunks that are missing, and nobody is asked for."""
        self._blocks: deque[int] = deque()
        """Likewise blocks of the window."""
        self._missing: set[str] = set()
        """All pieces that are not here yet."""
        self._first_ms: int | None = None
        """When the first peer had said what it has."""
        self._progress = (-1, 0)
        """Pieces that are missing, and since when so many."""
        self._out: list[Action] = []
        self._is_over = False

    @property
    def missing(self) -> int:
        """Pieces that are not here yet."""
        return len(self._missing)

    def peer_up(self, peer: str, now_ms: int) -> list[Action]:
        """A connection is ready, perhaps in place of another."""
        if peer not in self.dropped:
            self._release(peer)
            self._donors[peer] = _Donor()
        return self.tick(now_ms)

    def peer_down(self, peer: str, now_ms: int) -> list[Action]:
        """A connection is gone."""
        self._release(peer)
        self._donors.pop(peer, None)
        return self.tick(now_ms)

    def hear(self, peer: str, message: Message, now_ms: int) -> list[Action]:
        """A message came. What was not asked for is what peers tell everybody."""
        donor = self._donors.get(peer)
        if donor is not None and donor.asked is not None:
            try:
                self._answer(peer, donor, donor.asked, message, now_ms)
            except PeerError as error:
                self.drop(peer, error.code, error.message)
        return self.tick(now_ms)

    def have(self, pieces: Iterable[tuple[str, bytes]]) -> None:
        """Pieces of the snapshot that were kept by an earlier attempt; those that do not prove are fetched again."""
        offer = self.offer
        if offer is None:
            return
        places = {chunk_piece(place.index): place for place in offer.places}
        heights = {block_piece(height): height for height in self._blocks}
        for piece, data in pieces:
            with suppress(PeerError):
                if piece in places:
                    unpack_chunk(places[piece], data)
                    self._missing.discard(piece)
                elif piece in heights:
                    block = decode(SealedBlock, data)
                    check_window_block(offer.manifest, heights[piece], block.sealed, block.transactions)
                    self._missing.discard(piece)
        self._chunks = deque(index for index in self._chunks if chunk_piece(index) in self._missing)
        self._blocks = deque(height for height in self._blocks if block_piece(height) in self._missing)

    def drop(self, peer: str, code: str, reason: str) -> None:
        """Give a donor up."""
        self._release(peer)
        self._donors.pop(peer, None)
        self.dropped[peer] = code
        self._out.append(Drop(peer, code, reason))

    def tick(self, now_ms: int) -> list[Action]:
        """Time passes: ask whoever is idle, give up whoever is mute."""
        if not self._is_over:
            self._look(now_ms)
        out, self._out = self._out, []
        return out

    # ── answers ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def _answer(self, peer: str, donor: _Donor, asked: _Request, message: Message, now_ms: int) -> None:
        if isinstance(asked, FetchManifest) and isinstance(message, SnapshotManifest):
            donor.asked = None
            donor.unproven = message.manifest
            donor.has_none = message.manifest is None
            self._weigh(peer, donor, now_ms)
        elif isinstance(asked, FetchHandOvers) and isinstance(message, HandOvers) and message.epoch == asked.epoch:
            donor.asked = None
            if self.trust.follow(message.changes):
                self._out.append(Learn())
            elif self.trust.newest.epoch <= asked.epoch:
                raise PeerError("hand-overs-missing", "it offers a snapshot of a set that no hand-over leads to")
            self._weigh(peer, donor, now_ms)
        elif isinstance(asked, FetchAncestor) and isinstance(message, Ancestor) and donor.pending is not None:
            if message.of == asked.of:
                donor.asked = None
                self.trust.check_ancestor(donor.pending, message)
                self._accept(donor, donor.pending, now_ms)
        elif isinstance(asked, FetchChunk) and isinstance(message, SnapshotChunk):
            self._take_chunk(peer, donor, asked, message, now_ms)
        elif isinstance(asked, FetchBlocks) and isinstance(message, SealedBlocks):
            self._take_blocks(peer, asked, message.blocks)
        elif isinstance(asked, FetchBlocks) and isinstance(message, HistoryBegins):
            self._release(peer)
            self._forget_offer(donor, now_ms)
        if donor.asked is None:
            donor.strikes = 0

    def _weigh(self, peer: str, donor: _Donor, now_ms: int) -> None:
        """Prove an offer; ask for what that takes: hand-overs to its set, or the trusted block in its history."""
        if donor.unproven is None:
            self._accept(donor, None, now_ms)
            return
        try:
            offer = self.trust.prove(donor.unproven)
            ancestor = self.trust.pinned(offer)
        except SetUnknownError:
            self._ask(peer, donor, FetchHandOvers(self.trust.newest.epoch), now_ms)
        except ClientError:
            self._accept(donor, None, now_ms)  # not a lie, but nothing that the operator's word covers
        else:
            if offer.height <= self._floor:
                # Not a lie, but of no use. An old one would take this node back behind blocks on which it has voted.
                self._accept(donor, None, now_ms)
            elif ancestor is None:
                self._accept(donor, offer, now_ms)
            else:
                donor.pending = offer
                self._ask(peer, donor, ancestor, now_ms)

    def _accept(self, donor: _Donor, offer: Offer | None, now_ms: int) -> None:
        donor.offer, donor.answered = offer, True
        donor.unproven = donor.pending = None
        if self._first_ms is None:
            self._first_ms = now_ms

    def _take_chunk(self, peer: str, donor: _Donor, asked: FetchChunk, message: SnapshotChunk, now_ms: int) -> None:
        offer = self.offer
        if offer is None or (message.height, message.index) != (asked.height, asked.index):
            return
        if not message.data:
            self._release(peer)
            self._forget_offer(donor, now_ms)  # it is older than what the donor keeps
            return
        piece = chunk_piece(asked.index)
        if piece in self._missing:
            unpack_chunk(offer.places[asked.index], message.data)
            self._keep(piece, message.data)
        donor.asked = None

    def _take_blocks(self, peer: str, asked: FetchBlocks, blocks: tuple[SealedBlock, ...]) -> None:
        offer = self.offer
        if offer is None or not blocks or decode(Header, blocks[0].sealed.header).height != asked.first:
            return  # of an earlier request, perhaps
        for height, block in zip(range(asked.first, asked.last + 1), blocks, strict=False):
            check_window_block(offer.manifest, height, block.sealed, block.transactions)
            if block_piece(height) in self._missing:
                self._keep(block_piece(height), encode(block))
        self._release(peer)

    def _keep(self, piece: str, data: bytes) -> None:
        self._missing.discard(piece)
        self._out.append(Keep(piece, data))

    # ── what to do next ───────────────────────────────────────────────────────────────────────────────────────────────

    def _look(self, now_ms: int) -> None:
        for peer, donor in sorted(self._donors.items()):
            if donor.asked is not None and now_ms >= donor.asked_ms + ANSWER_MS:
                self._strike(peer, donor, now_ms)
        if self.offer is None or not self._helpers():
            self._choose(now_ms)
        self._lose_patience(now_ms)
        if self._is_over:
            return
        if self.offer is not None and not self._missing:
            self._end(Finish(self.offer))
            return
        for peer, donor in sorted(self._donors.items()):
            if donor.asked is None:
                self._employ(peer, donor, now_ms)

    def _strike(self, peer: str, donor: _Donor, now_ms: int) -> None:
        self._release(peer)
        donor.strikes += 1
        donor.asked_ms = now_ms
        if donor.strikes >= STRIKES_MAX:
            self.drop(peer, "join-mute", f"it left {STRIKES_MAX} requests unanswered")

    def _lose_patience(self, now_ms: int) -> None:
        """Give up if nobody is left, or if those who are there have been of no use for long."""
        if not self._donors or self._progress[0] != len(self._missing):
            self._progress = len(self._missing), now_ms
        if not self._donors and self._peers <= self.dropped.keys():
            named = ", ".join(f"{peer} ({code})" for peer, code in sorted(self.dropped.items()))
            lied = f"every peer lied or stayed mute: {named}; see the log, and ask these members for a good snapshot"
            self._end(GiveUp("join-failed", lied if self._peers else "p2p.peers is empty: name two members"))
        elif now_ms >= self._progress[1] + WAIT_MS:
            waited = f"in {WAIT_MS // 60_000} minutes no connected peer ({', '.join(sorted(self._donors))})"
            if self._pin is not None and self.offer is None:
                reason = (
                    f"{waited} has had a snapshot of block {self._pin.height} (store.trust_height) or a later one; "
                    "have a member make one (`pilechain snapshot create`), or name an older block"
                )
                self._end(GiveUp("trust-later", reason))
            elif self._floor and self.offer is None:
                reason = (
                    f"{waited} has had a snapshot above height {self._floor}, at which this node stands; have a member "
                    "make one (`pilechain snapshot create`), then start this node again"
                )
                self._end(GiveUp("join-failed", reason))
            else:
                self._end(GiveUp("join-failed", f"{waited} has sent a piece of a snapshot; see the log"))

    def _choose(self, now_ms: int) -> None:
        """Take the snapshot that most donors have, of those the newest, once whoever may have one has said so."""
        if self._first_ms is None:
            return
        answered = {peer for peer, donor in self._donors.items() if donor.answered}
        if not self._peers <= answered | self.dropped.keys() and now_ms < self._first_ms + GATHER_MS:
            return
        offers = [donor.offer for donor in self._donors.values() if donor.offer is not None]
        if not offers:
            # One alone may lie; among f + 1 is an honest one. Without a snapshot nothing shows the trusted block.
            none = sum(donor.has_none for donor in self._donors.values())
            if self._pin is None and none and none >= min(self.trust.newest.weak_quorum, len(self._donors)):
                self._end(Replay())
            return
        count = [offer.key for offer in offers].count
        best = max(offers, key=lambda offer: (offer.height == self._wanted, count(offer.key), offer.height, offer.key))
        if self.offer is not None and best.key == self.offer.key:
            return
        self.offer = best
        self._wanted = best.height
        self._chunks = deque(place.index for place in best.places if not place.empty)
        self._blocks = deque(range(best.manifest.first, best.height + 1))
        self._missing = {chunk_piece(index) for index in self._chunks} | {block_piece(at) for at in self._blocks}
        for donor in self._donors.values():
            if isinstance(donor.asked, FetchChunk | FetchBlocks):
                donor.asked = None  # of the snapshot before; its answer comes too late to count
        self._out.append(Begin(best))

    def _employ(self, peer: str, donor: _Donor, now_ms: int) -> None:
        """Give an idle donor something to do."""
        offer = self.offer
        if offer is not None and donor.offer is not None and donor.offer.key == offer.key:
            request = self._next(offer, now_ms)
            if request is not None:
                self._ask(peer, donor, request, now_ms)
        elif not donor.answered or now_ms >= donor.asked_ms + RETRY_MS:
            self._ask(peer, donor, FetchManifest(self._wanted), now_ms)

    def _next(self, offer: Offer, now_ms: int) -> _Request | None:
        if self._blocks:
            first = last = self._blocks.popleft()
            while self._blocks and self._blocks[0] == last + 1 < first + BLOCKS_ASKED:
                last = self._blocks.popleft()
            return FetchBlocks(first, last)
        if self._chunks:
            return FetchChunk(offer.height, self._chunks.popleft())
        late = [
            (donor.asked_ms, peer)
            for peer, donor in self._donors.items()
            if isinstance(donor.asked, FetchChunk | FetchBlocks) and now_ms >= donor.asked_ms + SLOW_MS
        ]
        return self._donors[min(late)[1]].asked if late else None

    def _ask(self, peer: str, donor: _Donor, request: _Request, now_ms: int) -> None:
        donor.asked, donor.asked_ms = request, now_ms
        self._out.append(Ask(peer, request))

    def _release(self, peer: str) -> None:
        """What a peer was asked for, and is still missing, may be asked of others."""
        donor = self._donors.get(peer)
        if donor is None or donor.asked is None:
            return
        asked, donor.asked = donor.asked, None
        others = [other.asked for other in self._donors.values() if other.asked == asked]
        if others:
            return
        if isinstance(asked, FetchChunk) and chunk_piece(asked.index) in self._missing:
            self._chunks.appendleft(asked.index)
        elif isinstance(asked, FetchBlocks):
            heights = range(asked.first, asked.last + 1)
            self._blocks.extendleft(at for at in reversed(heights) if block_piece(at) in self._missing)

    def _forget_offer(self, donor: _Donor, now_ms: int) -> None:
        donor.offer, donor.answered, donor.asked_ms = None, True, now_ms

    def _helpers(self) -> bool:
        key = self.offer.key if self.offer else b""
        return any(donor.offer is not None and donor.offer.key == key for donor in self._donors.values())

    def _end(self, action: Action) -> None:
        self._is_over = True
        self._out.append(action)
