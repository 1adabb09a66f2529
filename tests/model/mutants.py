"""Deliberate bugs in the rules of agreement. Each must break a property in some case, or the check proves nothing."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple
from unittest.mock import patch

from consensus import normal, replica, view_change
from consensus.messages import Prepare, PreparedCertificate, ViewChange
from consensus.round import Proposal, Round, Tally
from consensus.state import State
from consensus.table import Trigger
from ledger import validators
from ledger.block import Vote
from ledger.errors import PeerError


class Mutant(NamedTuple):
    """A bug, and the smallest case that shows it."""

    trap: int
    patches: Callable[[], list[Any]]
    liar: int | None
    views: int
    breaks: str
    """How the message begins."""
    crashes: int = 0


def _give_up_the_lock(state: State, view: int, give_up=view_change.give_up) -> None:
    state.round.lock = None
    give_up(state, view)


def _first(view_changes: tuple[ViewChange, ...]) -> PreparedCertificate | None:
    return next((change.certificate for change in view_changes if change.certificate is not None), None)


def _lowest(view_changes: tuple[ViewChange, ...]) -> PreparedCertificate | None:
    certificates = [change.certificate for change in view_changes if change.certificate is not None]
    return min(certificates, key=lambda certificate: certificate.view, default=None)


def _on_prepare(state: State, peer: str, message: Prepare) -> None:
    """`normal.on_prepare` that takes a primary's PREPARE."""
    round_ = state.round
    if message.height == round_.height and message.view >= round_.view:
        normal.check_voter(state, peer, message.height, message.voter)
        round_.prepares.add(message.voter, message.view, message.header_hash, message.signature)


class _Nobody(int):
    """A primary that equals no voter."""

    def __eq__(self, _other: object) -> bool:
        return False

    __hash__ = int.__hash__


def _try_lock(state: State, proposal: Proposal, try_lock=normal._try_lock) -> bool:
    """Counts the primary's PREPARE beside its proposal."""
    with patch.object(state.round, "primary", lambda view, primary=state.round.primary: _Nobody(primary(view))):
        return try_lock(state, proposal)


def _check_prepared(state: State, certificate: PreparedCertificate) -> None:
    """Counts alike."""
    if len(certificate.prepares) + 1 < state.round.validators.quorum:
        raise PeerError("certificate-short", "too few")


class _LooseTally(Tally):
    """Votes for a block count together, whatever their view."""

    def supporters(self, view: int, digest: bytes) -> tuple[Vote, ...]:
        views = {view, *(each for each, _ in self.choices())}
        voters = {vote.voter: vote for each in views for vote in super(_LooseTally, self).supporters(each, digest)}
        return tuple(vote for _, vote in sorted(voters.items()))


def _open_loosely(round_: Round, *args: Any, init: Callable[..., None] = Round.__init__) -> None:
    init(round_, *args)
    round_.commits = _LooseTally()


def _only_the_lock(state: State, proposal: Proposal, prepare=normal._prepare) -> None:
    lock = state.round.lock
    if lock is not None and proposal.header_raw != lock.header:
        state.round.move(Trigger.REFUSED, state.steady_ms)
    else:
        prepare(state, proposal)


def _prepare_in_memory(state: State, proposal: Proposal, prepare=normal._prepare) -> None:
    with patch.object(State, "keep_block", lambda _state, _proposal: None):
        prepare(state, proposal)


MUTANTS: dict[str, Mutant] = {
    "short-quorum": Mutant(
        1,
        lambda: [patch.object(validators, "quorum", lambda n: n - validators.fault_limit(n) - 1)],
        1,
        2,
        "two commits",
    ),
    "commits-across-views": Mutant(5, lambda: [patch.object(Round, "__init__", _open_loosely)], 0, 2, "a commit by"),
    "first-certificate": Mutant(8, lambda: [patch.object(view_change, "choose", _first)], 1, 3, "two commits"),
    "dropped-lock": Mutant(
        9, lambda: [patch.object(view_change, "give_up", _give_up_the_lock)], None, 2, "two commits"
    ),
    "lowest-certificate": Mutant(10, lambda: [patch.object(view_change, "choose", _lowest)], 1, 3, "two commits"),
    "block-in-memory": Mutant(
        12, lambda: [patch.object(normal, "_prepare", _prepare_in_memory)], 1, 2, "nothing releases", 2
    ),
    "eternal-lock": Mutant(17, lambda: [patch.object(normal, "_prepare", _only_the_lock)], 1, 2, "nothing releases"),
    "primary-prepares": Mutant(
        4,
        lambda: [
            patch.dict(replica.HANDLERS, {Prepare: _on_prepare}),
            patch.object(normal, "_try_lock", _try_lock),
            patch.object(view_change, "check_prepared", _check_prepared),
        ],
        1,
        2,
        "two commits",
    ),
}


@contextmanager
def mutated(name: str) -> Iterator[Mutant]:
    """Run with a bug."""
    with ExitStack() as stack:
        for each in MUTANTS[name].patches():
            stack.enter_context(each)
        yield MUTANTS[name]
