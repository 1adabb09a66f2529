"""What waits for the engine: what each peer sent, and the reports of the core's own parts, one of each source in turn.

A queue for each peer, so that a member that floods this node delays its own messages and nobody else's: with one queue
for all, eight megabytes of forged votes would keep honest ones waiting for longer than a view lasts.
"""

import asyncio
from collections import deque

from node.effects import Event, PeerDown, PeerUp
from node.network.peer_link import FRAME_COST_BYTES, INCOMING_BYTES_MAX

PEER_BYTES_MAX = 2 * INCOMING_BYTES_MAX
"""Of frames of one peer. Its connection stops reading at half of that; the rest is for the frames of the one before,
which a peer that connects again and again leaves behind. What is beyond is dropped, as with a connection that breaks.
"""
_OURS = ""
"""No company has this name."""


class RawMessage:
    """A frame from a peer, not decoded yet."""

    __slots__ = ("payload", "peer")

    def __init__(self, peer: str, payload: bytes) -> None:
        self.peer = peer
        self.payload = payload


class _Queue:
    """What one source has waiting; of a peer also its coming and going."""

    __slots__ = ("events", "size_bytes")

    def __init__(self) -> None:
        self.events: deque[Event | RawMessage] = deque()
        self.size_bytes = 0


class Inbox:
    """Queues with a bell. Bounded by their sources: peers by bytes, admission by its batches under way, the rest by the
    blocks under way.
    """

    def __init__(self) -> None:
        self._queues: dict[str, _Queue] = {}
        """Sources with something waiting, in the order of their turns: peers, and our own parts under `_OURS`."""
        self._bell = asyncio.Event()

    def put(self, event: Event) -> None:
        """Something happened in a part of the core."""
        self._put(_OURS, event)

    def ring(self) -> None:
        """Time passed: the engine is to be asked even if nothing else happened."""
        self._bell.set()

    async def wait(self) -> None:
        """Until something waits, or the bell rings because time passed."""
        if not self._queues:
            await self._bell.wait()
        self._bell.clear()

    def take(self) -> Event | RawMessage | None:
        """The next one; None if nothing waits."""
        if not self._queues:
            return None
        source = next(iter(self._queues))
        queue = self._queues.pop(source)
        event = queue.events.popleft()
        if isinstance(event, RawMessage):
            queue.size_bytes -= _cost(event.payload)
        if queue.events:
            self._queues[source] = queue  # to the end of the line
        return event

    def is_drained(self, peer: str) -> bool:
        """Whether nothing of this peer waits."""
        return peer not in self._queues

    def drop(self, peer: str) -> None:
        """Forget the frames of a peer that is cut off; its coming and going stay."""
        queue = self._queues.pop(peer, None)
        for event in queue.events if queue else ():
            if not isinstance(event, RawMessage):
                self._put(peer, event)

    # ── for the network: node.network.transport.PeerEvents ───────────────────────────────────────────────────────────

    def peer_up(self, peer: str) -> None:
        """A connection is ready."""
        self._put(peer, PeerUp(peer))

    def peer_down(self, peer: str) -> None:
        """The connection is gone."""
        self._put(peer, PeerDown(peer))

    def message(self, peer: str, payload: bytes) -> None:
        """A frame came."""
        queue, cost = self._queues.get(peer), _cost(payload)
        if queue is None or queue.size_bytes + cost <= PEER_BYTES_MAX:
            self._put(peer, RawMessage(peer, payload), cost)

    def _put(self, source: str, event: Event | RawMessage, cost: int = 0) -> None:
        queue = self._queues.get(source)
        if queue is None:
            queue = self._queues[source] = _Queue()
        queue.events.append(event)
        queue.size_bytes += cost
        self._bell.set()


def _cost(payload: bytes) -> int:
    return len(payload) + FRAME_COST_BYTES
