"""The tricks of Byzantine members: what they say, hear and do. Forgeries that need more thought are in `forgeries`."""

import zlib
from random import Random
from typing import TYPE_CHECKING, Any

from msgspec import Struct
from msgspec.structs import replace

from consensus.messages import (
    Checkpoint,
    Commit,
    FetchBlocks,
    FetchBodies,
    Message,
    NewView,
    Prepare,
    PreparedCertificate,
    PrePrepare,
    Status,
    Transactions,
    ViewChange,
)
from ledger.block import Header, header_hash
from ledger.codec import decode, encode
from ledger.errors import PeerError

if TYPE_CHECKING:
    from tests.sim.liar import Liar
    from tests.sim.plan import Lie

SLOW_PERCENT_MAX = 90
"""Of the first time-out: a slow primary that is never caught."""


class Trick:
    """One of them, played by one liar for a while. By itself it does nothing."""

    def __init__(self, liar: "Liar", lie: "Lie") -> None:
        self.liar = liar
        self.salt = lie.salt
        self.random = Random(lie.salt)
        self._percent = lie.percent

    def applies(self) -> bool:
        """Whether it is played this time."""
        return self._percent >= 100 or self.random.random() * 100 < self._percent

    def is_other(self, receiver: str) -> bool:
        """Whether a receiver sees the liar's other face."""
        return bool(zlib.crc32(f"{self.salt}{receiver}".encode()) & 1)

    def says(self, receiver: str, message: Message) -> list[Message]:
        """What takes the place of a message."""
        return [message]

    def hears(self, sender: str, message: Message) -> bool:
        """Whether the engine hears a message."""
        return True

    def acts(self) -> None:
        """Send what nobody asked for."""


class Mute(Trick):
    """Says nothing, to all, to some, or of one kind."""

    KINDS = (PrePrepare, Prepare, Commit, Checkpoint, NewView, ViewChange, Transactions)

    def says(self, receiver: str, message: Message) -> list[Message]:
        """As its salt decides."""
        kind = self.salt % 12
        if kind < len(self.KINDS):
            return [] if isinstance(message, self.KINDS[kind]) else [message]
        return [] if kind % 2 or self.is_other(receiver) else [message]


class LeaveOut(Trick):
    """Shows its proposals to all but one, and its COMMITs to nobody: what the others are locked on stays undecided."""

    def says(self, receiver: str, message: Message) -> list[Message]:
        """As its salt decides."""
        peers = self.liar.peers
        left_out = isinstance(message, PrePrepare) and receiver == peers[self.salt % len(peers)]
        return [] if left_out or isinstance(message, Commit) else [message]


class Equivocate(Trick):
    """Two proposals, two votes, two results, to two halves."""

    def says(self, receiver: str, message: Message) -> list[Message]:
        """The other one to the other half; behind a proposal perhaps all the votes for it, as if it were a backup."""
        if isinstance(message, PrePrepare | NewView):
            said = self._other_proposal(message) if self.is_other(receiver) else message
            return [said, *self._votes(said)] if self.salt & 1 else [said]
        if not self.is_other(receiver):
            return [message]
        liar = self.liar
        if isinstance(message, Prepare | Commit):
            other = liar.conspiracy.other(message.height, message.view, message.header_hash)
            kind = type(message)
            return [liar.vote(kind, message.height, message.view, other or message.header_hash)]
        if isinstance(message, Checkpoint):
            return [liar.sign_again(replace(message, result_digest=self.random.randbytes(32)))]
        if isinstance(message, ViewChange):
            return [liar.sign_again(replace(message, certificate=None))]
        return [message]

    def _votes(self, message: Message) -> list[Message]:
        assert isinstance(message, PrePrepare | NewView)
        proposal = message if isinstance(message, PrePrepare) else message.proposal
        height, digest = decode(Header, proposal.header).height, header_hash(proposal.header)
        return [self.liar.vote(kind, height, proposal.view, digest) for kind in (Prepare, Commit)]

    def _other_proposal(self, message: PrePrepare | NewView) -> Message:
        proposal = message if isinstance(message, PrePrepare) else message.proposal
        header = decode(Header, proposal.header)
        if header.view != proposal.view:
            return message  # bound by a certificate
        raw = encode(replace(header, time_ms=header.time_ms + 1))
        self.liar.conspiracy.propose(proposal.view, raw)
        other = self.liar.sign_again(replace(proposal, header=raw))
        if isinstance(message, PrePrepare):
            return other
        return self.liar.sign_again(replace(message, proposal=other))


class VoteForAll(Trick):
    """Votes for every proposal of a view that any conspirator knows of, to everybody, also as the view's primary."""

    def says(self, receiver: str, message: Message) -> list[Message]:
        """The other votes go first to one half."""
        if not isinstance(message, Prepare | Commit | PrePrepare):
            return [message]
        kind = type(message)
        if isinstance(message, PrePrepare):
            height = decode(Header, message.header).height
            kinds: tuple[type, ...] = (Prepare, Commit)
        else:
            height, kinds = message.height, (kind,)
        proposed = self.liar.conspiracy.headers.get((height, message.view), ())
        votes = [self.liar.vote(each, height, message.view, header_hash(raw)) for raw in proposed for each in kinds]
        said: list[Message] = [message, *votes]
        return said[::-1] if self.is_other(receiver) else said


class Mutate(Trick):
    """Changes one field of a message, however deep, and signs the result where that makes it nastier."""

    def says(self, receiver: str, message: Message) -> list[Message]:
        """The changed one, and perhaps the right one behind it."""
        if isinstance(message, ViewChange) and message.certificate is None and self.random.random() < 0.5:
            message = replace(message, certificate=self._strange())
        changed: Message = _changed(self.random, message)
        if self.random.random() < 0.5:
            changed = self.liar.sign_again(changed)
        return [changed, message] if self.random.random() < 0.5 else [changed]

    def _strange(self) -> PreparedCertificate | None:
        """A certificate that somebody showed, or an empty one of some proposal."""
        heard = self.liar.conspiracy.heard
        shown = [each.certificate for each in heard if isinstance(each, ViewChange) and each.certificate is not None]
        made = [PreparedCertificate(e.view, e.header, e.signature, ()) for e in heard if isinstance(e, PrePrepare)]
        return self.random.choice([*shown, *made]) if shown or made else None


class Replay(Trick):
    """Says again what it, or anybody, said before: old views, old heights."""

    def says(self, receiver: str, message: Message) -> list[Message]:
        """An old one first."""
        heard = self.liar.conspiracy.heard
        return [self.random.choice(heard), message] if heard else [message]


class HugeView(Trick):
    """Asks for views that are far away, and opens views that are not its own."""

    def acts(self) -> None:
        """To all."""
        round_ = self.liar.node.state.round
        view = self.random.choice((round_.view + 1, round_.view + 2, 100, (1 << 32) - 1))
        asked = self.liar.sign_again(ViewChange(round_.height, view, self.liar.voter(), None, bytes(64)))
        heard = [each for each in self.liar.conspiracy.heard if isinstance(each, PrePrepare)]
        for peer in self.liar.peers:
            self.liar.send(peer, asked)
            if heard:
                opened = NewView(round_.height, round_.view + 1, (), heard[-1], bytes(64))
                self.liar.send(peer, self.liar.sign_again(opened))


class Slow(Trick):
    """Says everything late."""

    def says(self, receiver: str, message: Message) -> list[Message]:
        """Nothing now."""
        slow_ms_max = self.liar.node.state.timing.view_ms * SLOW_PERCENT_MAX // 100
        self.liar.scheduler.after(self.random.randrange(slow_ms_max), self.liar.send, receiver, message)
        return []


class Flood(Trick):
    """Asks and tells without end: positions, blocks, bodies, votes for heights to come and for many views."""

    def acts(self) -> None:
        """Something for everybody."""
        random, liar = self.random, self.liar
        state = liar.node.state
        height = state.round.height
        for peer in liar.peers:
            far = random.randrange(1 << 40)
            ahead = height + random.choice((1, 8, 9, far, far, far))
            first = random.choice((1, height, ahead))
            kinds: tuple[Message, ...] = (
                Status(random.randrange(height + 1), height - 1, random.randrange(4)),
                Status(ahead, ahead, random.randrange(1 << 32)),
                FetchBlocks(first, first + random.choice((0, 8, 1 << 40))),
                FetchBodies(state.tip.header_hash, random.randbytes(32 * random.randrange(4))),
                liar.vote(random.choice((Prepare, Commit)), ahead, random.randrange(3), random.randbytes(32)),
                liar.sign_again(Checkpoint(ahead, random.randbytes(32), liar.voter(), bytes(64))),
                liar.sign_again(ViewChange(ahead, random.randrange(1, 9), liar.voter(), None, bytes(64))),
            )
            liar.send(peer, random.choice(kinds))
            if random.randrange(20) == 0:
                for step in range(12):  # views of one height, heights without end
                    liar.send(peer, liar.vote(Commit, height, state.round.view + step, random.randbytes(32)))
                    liar.send(peer, liar.vote(Prepare, height + far + step, 0, random.randbytes(32)))
                    liar.send(peer, liar.sign_again(Checkpoint(far + step, bytes(32), liar.voter(), bytes(64))))


class BadGossip(Trick):
    """Tells transactions that are none: garbage, copies under a signature that does not hold."""

    def says(self, receiver: str, message: Message) -> list[Message]:
        """Bad copies go first."""
        if not isinstance(message, Transactions):
            return [message]
        bad = tuple(raw[:-1] + bytes([raw[-1] ^ 1]) for raw in message.raws if raw)
        return [Transactions((*bad, self.random.randbytes(40), b"")), message]


class FloodGossip(Trick):
    """Tells more valid transactions of one client than blocks hold, and some that are none."""

    def acts(self) -> None:
        """Now and then, the same for everybody."""
        liar, random = self.liar, self.random
        if random.random() < 0.8:
            return
        signer = next(iter(liar.conspiracy.signers.values()))
        now_ms = liar.node.state.tip.time_ms
        made = [liar.transaction(random, signer, now_ms).raw for _ in range(4)]
        made += [random.randbytes(60) for _ in range(16)]
        for peer in liar.peers:
            liar.send(peer, Transactions(tuple(made)))


LIES: dict[str, type[Trick]] = {
    "mute": Mute,
    "leave-out": LeaveOut,
    "equivocate": Equivocate,
    "vote-for-all": VoteForAll,
    "mutate": Mutate,
    "replay": Replay,
    "huge-view": HugeView,
    "slow": Slow,
    "flood": Flood,
    "bad-gossip": BadGossip,
    "flood-gossip": FloodGossip,
}


def _changed(random: Random, value: Any) -> Any:
    """The value with something in it changed."""
    if isinstance(value, Struct):
        field = random.choice(value.__struct_fields__)
        inner = getattr(value, field)
        if field == "header" and random.random() < 0.7:
            try:
                return replace(value, header=encode(_changed(random, decode(Header, inner))))
            except (PeerError, OverflowError):
                return value
        return replace(value, **{field: _changed(random, inner)})
    if isinstance(value, bool):
        return not value
    if isinstance(value, str):
        return random.choice((value[:-1], value + "x", value.swapcase(), ""))
    if isinstance(value, int):
        return max(0, random.choice((0, value + 1, value - 1, value ^ 2, (1 << 32) - 1, (1 << 63) - 1)))
    if isinstance(value, bytes):
        at = random.randrange(len(value) + 1)
        flipped = bytes([value[at] ^ 1 << random.randrange(8)]) if at < len(value) else b""
        flipped = value[:at] + flipped + value[at + 1 :]
        return random.choice((flipped, flipped, value[:at], value + b"\0", bytes(len(value))))
    if isinstance(value, tuple) and value:
        at = random.randrange(len(value))
        return random.choice(
            (
                value[:at] + value[at + 1 :],
                (*value, value[at]),
                value[::-1],
                (),
                (*value[:at], _changed(random, value[at]), *value[at + 1 :]),
                (*value[:at], _changed(random, value[at]), *value[at + 1 :]),
            )
        )
    return value
