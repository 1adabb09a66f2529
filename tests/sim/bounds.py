"""I7: nothing that an engine holds grows past its bound, whatever peers and clients send."""

from collections import Counter
from collections.abc import Iterator

from consensus.round import VIEWS_KEPT
from ledger.terms import K
from node.engine import Engine
from tests.sim.checker import InvariantError

VOTE_KINDS = 5
"""PRE-PREPARE, PREPARE, COMMIT, VIEW-CHANGE, NEW-VIEW: what `later` keeps of a peer and height."""
ARRIVED_MAX = 64
"""Blocks of one answer that wait to be looked at: honest ones hold K."""


def check_bounds(name: str, engine: Engine, companies: int) -> None:
    """Raise InvariantError if something is too long, with so many companies that vote now and then."""
    for what, length, limit in _lengths(engine, companies):
        if length > limit:
            raise InvariantError(f"I7: {name} holds {length} {what}, at most {limit}")


def _lengths(engine: Engine, companies: int) -> Iterator[tuple[str, int, int]]:
    state, pool = engine._state, engine._pool
    round_, limits = state.round, pool._limits
    n = round_.validators.size
    yield "entries", len(state.entries), 2 * K
    yield "candidates", len(round_.candidates), VIEWS_KEPT + 1
    for what, tally in (("prepares", round_.prepares), ("commits", round_.commits)):
        yield f"voters of {what}", len(tally._votes), n
        yield f"views of {what}", max(map(len, tally._votes.values()), default=0), VIEWS_KEPT
    yield "view changes", len(round_.view_changes), n
    yield "heights of checkpoints", len(state.checkpoints), 2 * K
    yield "checkpoints of a height", max(map(len, state.checkpoints.values()), default=0), companies
    early = Counter(peer for _, peer, _ in state.later)
    yield "early messages of a peer", max(early.values(), default=0), (K + 1) * VOTE_KINDS
    yield "peers", len(state.peers), companies
    yield "repeated", len(state.repeated_ms), companies
    for what, pace in (("answering", state.answering), ("verifying", state.verifying)):
        yield f"peers in {what}", len(pace._busy_until_ms), companies
    yield "failed donors", len(state.fetch.failed), companies
    yield "accused", len(state.accused), n
    yield "fetched blocks", len(state.fetch.arrived), ARRIVED_MAX
    yield "blocks of the log", len(state.found_blocks), 4 * K * (VIEWS_KEPT + 1)
    yield "transactions", len(pool), limits.count_max
    yield "bytes", pool.size_bytes, limits.bytes_max
    yield "expected", len(pool._expected), limits.count_max
