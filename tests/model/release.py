"""Whether what binds the members in a state can be let go: a continuation of the real replicas that commits.

All give up their views and ask for view W, the first beyond those explored that an honest member leads. From there on
what is sent arrives, and timers run. What a member did in earlier views matters then only by its lock and by the blocks
that it has: these are its *bonds*, and one continuation stands for all states with the same ones.
"""

from collections import deque

from consensus import view_change
from consensus.effects import Effect, Halt, Send, Verify
from consensus.messages import CommitCertificate, CommittedBlock, FetchBlocks, Message, SealedBlocks, Status, ViewChange
from ledger.block import Vote
from ledger.transaction import decode_transaction
from tests.model.member import Local, Member
from tests.model.real import BrokenError, decided, fork
from tests.model.words import primary
from tests.unit import consensus_kit as kit

ROUND_MS = 200
"""Between two looks at the timers: longer than `bodies_ms`, so that what is missing is asked for."""
ROUNDS_MAX = 1_000
"""200 s: some five views."""


def bonds(local: Local) -> tuple:
    """What of a local state matters in later views: blocks in memory and on disk, the lock, and whether something
    waits.
    """
    _view, _phase, _proposal, candidates, durable, lock, _own, waiting = local.key
    return tuple(block for block, complete in candidates if complete), durable, lock, waiting


class Continuation:
    """The honest members from some state on, all waiting for W, and nothing but what they send from now on."""

    def __init__(self, members: list[Member], ats: tuple[int, ...]) -> None:
        language = members[0].language
        self.view = language.views + (primary(language.views) == language.liar)
        self.leader = kit.NAMES[primary(self.view)]
        self.replicas = {member.name: fork(member.locals[at].replica) for member, at in zip(members, ats, strict=True)}
        self.on_the_way: deque[tuple[str, str, Message]] = deque()
        """To, from, message: delivered in the order in which they were sent."""
        self.steady_ms = 10**9
        self.committed: dict[str, tuple[bytes, int]] = {}
        """Member → block, and the view that decided for it."""
        for name, replica in self.replicas.items():
            state = replica.state
            state.peers = {peer: None for peer in self.replicas if peer != name}
            state.steady_ms = self.steady_ms
            view_change.give_up(state, self.view)

    def run(self, liar_says: Message | None = None, liar: str = "", beside: str = "") -> None:
        """Let all that is sent arrive, and timers run, until all have committed. Before anything else the primary of W
        may hear what the liar says, and of the others only the request of `beside`.
        """
        sent = {name: replica.settle() for name, replica in self.replicas.items()}
        if liar_says is not None:
            self._deliver(self.leader, liar, liar_says)
            self._deliver(self.leader, beside, self.replicas[beside].state.own[1, self.view, ViewChange][1])
        for name, effects in sent.items():
            self._perform(name, effects)
        for _ in range(ROUNDS_MAX):
            while self.on_the_way:
                self._deliver(*self.on_the_way.popleft())
            if len(self.committed) == len(self.replicas):
                return
            self.steady_ms += ROUND_MS
            for name, replica in self.replicas.items():
                replica.tick(replica.state.now_ms, self.steady_ms)
                self._perform(name, replica.settle())

    def _deliver(self, to: str, peer: str, message: Message) -> None:
        self.replicas[to].receive(peer, message)
        self._perform(to, self.replicas[to].settle())

    def _perform(self, name: str, effects: list[Effect]) -> None:
        replica = self.replicas[name]
        if replica.state.tip.height and name not in self.committed:
            self.committed[name] = decided(replica)
        for effect in effects:
            if isinstance(effect, Halt):
                raise BrokenError(f"{name} stops: {effect.error}")
            if isinstance(effect, Send):
                to = effect.peers or tuple(self.replicas)
                self.on_the_way += [
                    (peer, name, effect.message) for peer in to if peer in self.replicas and peer != name
                ]
            elif isinstance(effect, Verify):
                replica.offer(tuple(decode_transaction(raw) for raw in effect.raws))
                self._perform(name, replica.settle())


def check_release(members: list[Member], ats: tuple[int, ...]) -> str:
    """The block that the honest members, the liar silent, go on to from these local states. Raises BrokenError unless
    there is one.
    """
    continuation = Continuation(members, ats)
    continuation.run()
    return _end(continuation, members, "the liar's silence")


def check_resisted(members: list[Member], ats: tuple[int, ...], shown: int | None) -> list[str]:
    """The blocks that they go on to if the primary of W first takes the liar's request (a word that shows a
    certificate, or one that shows none), and beside it that of each other in turn. Raises BrokenError unless they
    commit in W itself.
    """
    language = members[0].language
    assert language.liar is not None
    liar = kit.NAMES[language.liar]
    blocks: list[str] = []
    for beside in members:
        continuation = Continuation(members, ats)
        if beside.name == continuation.leader:
            continue
        certificate = None
        if shown is not None:
            request = language.real[shown]
            assert isinstance(request, ViewChange)
            certificate = request.certificate
        continuation.run(kit.view_change(liar, continuation.view, certificate), liar, beside.name)
        what = language.words[shown].block if shown is not None else "nothing"
        blocks.append(_end(continuation, members, f"the liar's showing {what}", continuation.view))
    return blocks


def _end(continuation: Continuation, members: list[Member], cause: str, view: int | None = None) -> str:
    blocks = {block for block, _ in continuation.committed.values()}
    if len(blocks) > 1:
        raise BrokenError("two commits in the continuation")
    if len(continuation.committed) < len(members):
        raise BrokenError(f"nothing releases the members after {cause}")
    if view is not None and any(by != view for _, by in continuation.committed.values()):
        raise BrokenError(f"nothing releases the members in view {view} after {cause}")
    (digest,) = blocks
    return members[0].language.names.get(digest, "fresh")


def check_late(member: Member, at: int) -> int:
    """Raise BrokenError unless a member in this local state takes any committed block from a peer's tail. Returns their
    number.
    """
    language = member.language
    peer = kit.NAMES[member.position - 1]
    for block, header in language.headers.items():
        replica = fork(member.locals[at].replica)
        state = replica.state
        state.peers[peer] = None
        replica.receive(peer, Status(0, 1, 0))
        state.round.deadline_ms = None
        replica.tick(state.now_ms, state.steady_ms + state.timing.still_ms)
        if not any(isinstance(effect, Send) and isinstance(effect.message, FetchBlocks) for effect in replica.settle()):
            raise BrokenError(f"{member.name} is behind and does not ask")
        votes = [kit.commit(name, header, language.views - 1) for name in kit.NAMES[:3]]
        certificate = CommitCertificate(language.views - 1, tuple(Vote(vote.voter, vote.signature) for vote in votes))
        replica.receive(peer, SealedBlocks((), (CommittedBlock(header, certificate, (language.bodies[block].raw,)),)))
        replica.settle()
        if not state.tip.height or language.names[state.tip.header_hash] != block:
            raise BrokenError(f"{member.name} does not take the committed block {block}")
    return len(language.headers)
