"""I7: nothing that an engine holds grows past its bound, whatever peers and clients send."""

from collections import Counter
from collections.abc import Iterator

from consensus.messages import BLOCKS_MAX
from consensus.round import ACCEPTED_KEPT, VIEWS_KEPT
from consensus.state import EARLY_BYTES_MAX
from ledger.terms import DECISION_DELAY, K
from node.engine import Engine
from tests.sim.checker import InvariantError

VOTE_KINDS = 5
"""PRE-PREPARE, PREPARE, COMMIT, VIEW-CHANGE, NEW-VIEW: what `later` keeps of a peer and height, `own` of a view."""

VIEWS_MAX = 500
"""Of one height, in the longest fights: each takes longer than the one before, so there are few in any real time."""


def check_bounds(name: str, engine: Engine, companies: int) -> None:
    """Raise InvariantError if something is too long, with so many companies that vote now and then."""
    for what, length, limit in _lengths(engine, companies):
        if length > limit:
            raise InvariantError(f"I7: {name} holds {length} {what}, at most {limit}")


def _lengths(engine: Engine, companies: int) -> Iterator[tuple[str, int, int]]:
    state = engine._state
    round_ = state.round
    n = round_.validators.size
    # Nothing is committed beyond K above the last seal, nor beyond 2 K above the last stored block; what the log held
    # is of the same heights and the open one; terms are known up to DECISION_DELAY above the last executed block.
    yield "entries", len(state.entries), 2 * K
    yield "unsealed blocks", state.tip.height - state.sealed, K
    yield "terms", len(state.timeline), 2 * K + DECISION_DELAY + 1
    accepted = sum(candidate.durable for candidate in round_.candidates.values())
    yield "candidates", len(round_.candidates) - accepted, VIEWS_KEPT + 1
    yield "accepted candidates", accepted, ACCEPTED_KEPT + 1
    for what, tally in (("prepares", round_.prepares), ("commits", round_.commits)):
        yield f"voters of {what}", len(tally._votes), n
        yield f"views of {what}", max(map(len, tally._votes.values()), default=0), VIEWS_KEPT
    yield "view changes", len(round_.view_changes), n
    yield "peers shown a proposal", len(round_.shown), companies
    yield "other proposals shown", len(round_.others), companies
    yield "heights of checkpoints", len(state.checkpoints), K + DECISION_DELAY
    yield "checkpoints of a height", max(map(len, state.checkpoints.values()), default=0), companies
    yield "heights of own votes", len({height for height, _, _ in state.own}), 2 * K + 1
    yield "own votes", len(state.own), VOTE_KINDS * (2 * K + VIEWS_MAX)
    early, bytes_ = Counter[str](), Counter[str]()
    for (_, peer, _), (_, size) in state.later.items():
        early[peer] += 1
        bytes_[peer] += size
    yield "early messages of a peer", max(early.values(), default=0), (K + 1) * (VOTE_KINDS + 1)
    yield "bytes of early messages", max(bytes_.values(), default=0), EARLY_BYTES_MAX
    yield "peers", len(state.peers), companies
    yield "repeated", len(state.repeated_ms), companies
    for what, pace in (("answering", state.answering), ("verifying", state.verifying)):
        yield f"peers in {what}", len(pace._busy_until_ms), companies
    yield "failed donors", len(state.fetch.failed), companies
    yield "accused", len(state.accused), n
    yield "fetched blocks", len(state.fetch.arrived), 2 * BLOCKS_MAX
    found = {"blocks": {height for height, _ in state.found_blocks.values()}, "locks": set(state.found_locks)}
    for what, heights in found.items():
        yield f"heights of {what} of the log", len(heights), 2 * K + 1
        yield f"{what} of the log below the open height", sum(height < round_.height for height in heights), 0
    yield from _lengths_of_pool(engine)


def _lengths_of_pool(engine: Engine) -> Iterator[tuple[str, int, int]]:
    pool = engine._pool
    limits = pool._limits
    newest = next(reversed(pool._by_id.values()), None)
    yield "transactions", len(pool), limits.count_max
    yield "transactions by leaf", len(pool._by_leaf), len(pool)
    yield "bytes before the newest transaction", pool.size_bytes - (len(newest.raw) if newest else 0), limits.bytes_max
    yield "senders' queues", len(pool._queues), len(pool)
    yield "transactions of a sender", max(map(len, pool._queues.values()), default=0), limits.sender_max
    yield "transactions in queues", sum(map(len, pool._queues.values())), len(pool)
    yield "expected", len(pool._expected), limits.count_max
