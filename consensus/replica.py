"""The PBFT replica: events in, ordered effects out.

It owns the state and decides who handles what; the protocol itself is in the modules that it calls. After every event
it draws conclusions until there are none left.
"""

from collections.abc import Callable
from typing import Any, get_args

from consensus import bodies, catch_up, checkpoint, normal, recovery, view_change
from consensus.effects import Charge, Effect, Halt, Outcome
from consensus.messages import (
    Bodies,
    Checkpoint,
    Commit,
    FetchBlocks,
    FetchBodies,
    Message,
    NewView,
    Own,
    Prepare,
    PrePrepare,
    SealedBlocks,
    Shown,
    Status,
    ViewChange,
)
from consensus.round import Round
from consensus.state import State
from ledger.errors import OurError, PeerError
from ledger.transaction import Transaction

Handler = Callable[[State, str, Any], None]

HANDLERS: dict[type[Message], Handler] = {
    PrePrepare: normal.on_pre_prepare,
    Prepare: normal.on_prepare,
    Commit: normal.on_commit,
    Checkpoint: checkpoint.on_checkpoint,
    ViewChange: view_change.on_view_change,
    NewView: view_change.on_new_view,
    Status: catch_up.on_status,
    FetchBlocks: catch_up.on_fetch_blocks,
    SealedBlocks: catch_up.on_sealed_blocks,
    FetchBodies: bodies.on_fetch_bodies,
    Bodies: bodies.on_bodies,
    Shown: normal.on_shown,
}

CUTTING = frozenset(
    {
        *("vote-forged", "vote-stranger", "proposal-forged", "checkpoint-forged"),
        *("view-change-forged", "new-view-forged", "certificate-forged", "certificate-short", "votes-repeated"),
        *("proposal-root",),
    }
)
"""Faults that no honest member commits and that cost us a signature's verification, or a tree of hashes, each: its
connection is cut, and with it what else it has queued, so that nobody makes us work for ever. It may connect again.
"""

SIGNED = (*get_args(Own), Shown)
"""Messages that cost us a signature's verification or more."""

READING = (FetchBlocks, FetchBodies, Status)
"""Messages that are answered even when the disk is full."""

CONCLUSIONS: tuple[Callable[[State], bool], ...] = (
    normal.advance,
    checkpoint.try_seal,
    view_change.try_follow,
    view_change.try_new_view,
    normal.try_propose,
)
"""What may follow from what has arrived, in the order in which it is tried."""


class Replica:
    """A member, or an observer, of the consensus."""

    def __init__(self, state: State, records: list[bytes]) -> None:
        """Begin from the last sealed block and the log's records; the first event brings out what follows from them."""
        self.state = state
        self.halted = False
        self._resumed: Round | None = None
        self._told_ms = 0
        self._told_sealed = -1
        recovery.restore(state, records)

    def tick(self, now_ms: int, steady_ms: int) -> None:
        """Time passes. The chain clock may jump, the steady one never runs backwards."""
        state = self.state
        state.now_ms = now_ms
        state.steady_ms = max(steady_ms, state.steady_ms)
        view_change.watch(state)  # no timer runs while the disk is full, so none is over when there is room again
        if state.disk_full:
            return
        bodies.ask(state)
        bodies.show(state)
        catch_up.ask(state)

    def receive(self, peer: str, message: Message) -> None:
        """Handle a peer's message; one that breaks a rule is charged to the peer and changes nothing."""
        state = self.state
        if state.disk_full and not isinstance(message, READING):
            return
        handler = HANDLERS.get(type(message))
        if handler is None:
            state.ignore("not for the replica", peer, message)
            return
        before_ms = state.verification_ms
        try:
            if isinstance(message, SIGNED) and not state.verifying.allows(peer, state.steady_ms):
                raise PeerError(
                    "signs-too-much", f"{type(message).__name__} dropped: more signatures than members need"
                )
            handler(state, peer, message)
        except PeerError as error:
            state.out.append(Charge(peer, error.code, error.message, cut=error.code in CUTTING))
        if cost_ms := state.verification_ms - before_ms:
            state.verifying.spend(peer, state.steady_ms, cost_ms)

    def peer_up(self, peer: str) -> None:
        """A connection is ready: the peer learns where we stand, and a member gets what it may have missed."""
        self.state.peers.setdefault(peer, None)
        self.state.send(catch_up.position(self.state), peer)
        catch_up.greet(self.state, peer)

    def peer_down(self, peer: str) -> None:
        """A connection is gone, and with it what we asked for."""
        self.state.peers.pop(peer, None)
        self.state.round.shown.discard(peer)
        if self.state.fetch.peer == peer:
            self.state.fetch.peer = None
            self.state.fetch.arrived.clear()

    def offer(self, transactions: tuple[Transaction, ...]) -> None:
        """Verified transactions arrived."""
        bodies.offer(self.state, transactions)

    def executed(self, outcome: Outcome) -> None:
        """A block is executed."""
        checkpoint.on_executed(self.state, outcome)

    def stored(self, height: int) -> None:
        """A sealed block is in the store."""
        checkpoint.on_stored(self.state, height)

    def set_disk_full(self, full: bool) -> None:
        """Stop voting while the disk is full: a vote that cannot be kept must not be given."""
        state = self.state
        state.disk_full = full
        state.log("warning", "disk full, not voting" if full else "disk has room again, voting")
        if not full:
            normal.vote_late(state)
            checkpoint.sign_late(state)

    def settle(self) -> list[Effect]:
        """Look at the next fetched block, draw all conclusions, tell where we stand if it is time, and hand out the
        effects in their order.
        """
        state = self.state
        if not self.halted:
            try:
                catch_up.take_next(state)
                self._resume()
                while any(conclude(state) for conclude in CONCLUSIONS):
                    self._resume()
                self._tell()
            except OurError as error:
                self.halt(error)
        effects, state.out = state.out, []
        return effects

    def halt(self, error: OurError) -> None:
        """Stop for good: our own bug, or a quorum against us."""
        self.halted = True
        self.state.out.append(Halt(error))

    def _resume(self) -> None:
        """At a height that has just opened: find our former votes, then handle the messages that came too early."""
        state = self.state
        if state.round is not self._resumed:
            self._resumed = state.round
            recovery.resume(state)
            state.later = {key: early for key, early in state.later.items() if key[0] >= state.round.height}
        if not state.later or not state.has_room or state.disk_full:
            return
        due = [key for key in state.later if key[0] == state.round.height]
        for key in sorted(due, key=lambda key: (key[1], key[2].__name__)):
            self.receive(key[1], state.later.pop(key)[0])

    def _tell(self) -> None:
        """Gossip our position every `status_ms`, sooner when the sealed height moved and peers may want to know."""
        state = self.state
        moved = state.sealed != self._told_sealed
        pause_ms = state.timing.status_ms // 5 if moved else state.timing.status_ms
        if state.steady_ms >= self._told_ms + pause_ms:
            self._told_ms, self._told_sealed = state.steady_ms, state.sealed
            state.send(catch_up.position(state))
