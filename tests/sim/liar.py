"""A Byzantine member: a real engine, whose messages pass through a liar that owns its own vote key and no other.

Byzantine members conspire: they know each other's keys and what each has heard.
"""

import zlib
from collections import deque
from contextlib import suppress
from random import Random
from typing import TYPE_CHECKING

from msgspec.structs import replace

from consensus.messages import (
    Checkpoint,
    Commit,
    Message,
    NewView,
    Own,
    Prepare,
    PrePrepare,
    Scope,
    ViewChange,
    decode_message,
)
from ledger.block import Header, header_hash
from ledger.codec import decode, encode
from ledger.errors import PeerError
from ledger.genesis import Genesis
from ledger.hashing import HASH_BYTES, Tag
from ledger.keys import Signer
from ledger.transaction import Body, Branch, ExpiryClass, Transaction, decode_transaction, sign_transaction
from tests.sim.lies import Trick
from tests.sim.scheduler import Scheduler
from tests.sim.tricks import TRICKS

if TYPE_CHECKING:
    from tests.sim.network import Network
    from tests.sim.node import SimNode
    from tests.sim.plan import Lie

HEARD_MAX = 400
"""Messages that conspirators remember: some blocks' worth."""
VALID_MS = 300_000
"""How long the conspirators' transactions are valid."""
HEADERS_MAX = 64
"""Places of which they know the proposals."""


class Conspiracy:
    """What all liars know together."""

    def __init__(self, genesis: Genesis, signers: dict[str, Signer]) -> None:
        self.genesis = genesis
        self.signers = signers
        self.heard: deque[Own] = deque(maxlen=HEARD_MAX)
        """Signed messages of anybody: old ones to replay, votes to make certificates of."""
        self.headers: dict[tuple[int, int], list[bytes]] = {}
        """(height, view) → the headers that were proposed there."""
        self.bodies: dict[bytes, bytes] = {}
        """Leaf → bytes of the transactions that they made up."""

    def note(self, message: Message) -> None:
        """Remember a message."""
        if not isinstance(message, Own):
            return
        self.heard.append(message)
        if isinstance(message, PrePrepare | NewView):
            proposal = message if isinstance(message, PrePrepare) else message.proposal
            with suppress(PeerError):  # the header of another liar may be none
                self.propose(proposal.view, proposal.header)

    def propose(self, view: int, header_raw: bytes) -> None:
        """Remember a proposal."""
        known = self.headers.setdefault((decode(Header, header_raw).height, view), [])
        if header_raw not in known:
            known.append(header_raw)
        while len(self.headers) > HEADERS_MAX:
            del self.headers[next(iter(self.headers))]

    def other(self, height: int, view: int, digest: bytes) -> bytes | None:
        """Hash of another header that was proposed in the same place."""
        hashes = (header_hash(each) for each in self.headers.get((height, view), ()))
        return next((each for each in hashes if each != digest), None)


class Liar:
    """What stands between a Byzantine member's engine and the network."""

    def __init__(self, node: "SimNode", conspiracy: Conspiracy, network: "Network", scheduler: Scheduler) -> None:
        self.node = node
        self.name = node.name
        self.conspiracy = conspiracy
        self.network = network
        self.scheduler = scheduler
        self.random = Random(zlib.crc32(node.name.encode()))
        self._tricks: list[Trick] = []

    def begin(self, lie: "Lie") -> None:
        """Play a trick from now on, for its time."""
        trick = TRICKS[lie.trick](self, lie)
        self._tricks.append(trick)
        self.scheduler.after(lie.for_ms, self._tricks.remove, trick)

    def outgoing(self, _sender: str, receiver: str, message: Message) -> list[Message]:
        """What the receiver gets in place of a message of the engine."""
        self.conspiracy.note(message)
        said: list[Message] = [message]
        for trick in self._tricks:
            if trick.applies():
                said = [each for one in said for each in _play(trick, receiver, one)]
        return said

    def incoming(self, sender: str, message: Message) -> bool:
        """Listen; whether the engine may hear it as well."""
        self.conspiracy.note(message)
        with suppress(PeerError, OverflowError):
            heard = [trick.hears(sender, message) for trick in self._tricks if trick.applies()]
            return all(heard)
        return True

    def act(self) -> None:
        """Now and then: what nobody asked for."""
        if self.node.is_up:
            for trick in self._tricks:
                if trick.applies():
                    with suppress(OverflowError):  # views and heights have their ends
                        trick.acts()

    def send(self, receiver: str, message: Message) -> None:
        """Send what the engine never said."""
        if is_wire(message):
            self.network.carry(self.name, receiver, message)

    # ── keys and places ─────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def peers(self) -> list[str]:
        """The other members."""
        return self.node._peers

    def voter(self, name: str = "") -> int:
        """A conspirator's place in the set; ours as a rule."""
        return self.node.state.round.validators.index_of(name or self.name) or 0

    def scope(self, height: int) -> Scope:
        """What votes of a height are bound to."""
        state = self.node.state
        known = max(height, state.timeline[0].height)
        return Scope(state.chain_id, state.validators_at(known).hash(), height)

    def sign(self, digest: bytes, name: str = "") -> bytes:
        """With a conspirator's key; ours as a rule."""
        return self.conspiracy.signers[name or self.name].sign(digest)

    def vote(
        self, kind: type[Prepare | Commit], height: int, view: int, digest: bytes, name: str = ""
    ) -> Prepare | Commit:
        """A vote of a conspirator for whatever it likes."""
        tag = Tag.PREPARE if kind is Prepare else Tag.COMMIT
        signature = self.sign(self.scope(height).vote_digest(tag, view, digest), name)
        return kind(height, view, digest, self.voter(name), signature)

    def transaction(self, random: Random, signer: Signer, now_ms: int, **changes: object) -> Transaction:
        """One that a client with this key might make, but for the changes."""
        body = Body(
            self.conspiracy.genesis.hash(),
            signer.public_key,
            Branch.CHARGING,
            ExpiryClass.ORDINARY,
            1,
            "put",
            b"\x01",
            1_000,
            now_ms + VALID_MS,
            random.randbytes(8),
        )
        return decode_transaction(sign_transaction(replace(body, **changes), signer))

    def sign_again(self, message: Message) -> Message:
        """The message with a signature of ours that holds for what it says now."""
        try:
            if isinstance(message, PrePrepare):
                place = self.scope(decode(Header, message.header).height)
                digest = place.vote_digest(Tag.PRE_PREPARE, message.view, header_hash(message.header))
            elif isinstance(message, Prepare):
                digest = self.scope(message.height).vote_digest(Tag.PREPARE, message.view, message.header_hash)
            elif isinstance(message, Commit):
                digest = self.scope(message.height).vote_digest(Tag.COMMIT, message.view, message.header_hash)
            elif isinstance(message, Checkpoint):
                digest = message.result_digest
            elif isinstance(message, ViewChange):
                digest = self.scope(message.height).view_change_digest(message.view, message.certificate)
            elif isinstance(message, NewView):
                place = self.scope(message.height)
                digest = place.new_view_digest(message.view, message.view_changes, message.proposal)
            else:
                return message
        except (PeerError, OverflowError):
            return message  # a header that is none, a view beyond any number: nobody can sign it
        if len(digest) != HASH_BYTES:
            return message
        return replace(message, signature=self.sign(digest))


def _play(trick: Trick, receiver: str, message: Message) -> list[Message]:
    """What a trick makes of a message, as far as it still is one."""
    try:
        return [each for each in trick.says(receiver, message) if each is message or is_wire(each)]
    except (PeerError, OverflowError):
        return [message]  # another trick has spoilt it already


def is_wire(message: Message) -> bool:
    """Whether a message decodes: what does not never reaches an engine, its connection is cut before."""
    try:
        return decode_message(encode(message)) is not None
    except (PeerError, OverflowError):
        return False
