"""What waits for the engine: events of all parts of the core, in the order in which they came."""

import asyncio
from collections import deque

from node.effects import Event, PeerDown, PeerUp


class RawMessage:
    """A frame from a peer, not decoded yet."""

    __slots__ = ("payload", "peer")

    def __init__(self, peer: str, payload: bytes) -> None:
        self.peer = peer
        self.payload = payload


class Inbox:
    """A queue with a bell. Bounded by its sources: links stop reading at a byte bound, admission has BATCHES_MAX
    batches under way.
    """

    def __init__(self) -> None:
        self._waiting: deque[Event | RawMessage] = deque()
        self._bell = asyncio.Event()

    def put(self, event: Event) -> None:
        """Something happened."""
        self._waiting.append(event)
        self._bell.set()

    def ring(self) -> None:
        """Time passed: the engine is to be asked even if nothing else happened."""
        self._bell.set()

    async def wait(self) -> None:
        """Until something waits, or the bell rings because time passed."""
        if not self._waiting:
            await self._bell.wait()
        self._bell.clear()

    def take(self) -> Event | RawMessage | None:
        """The next one; None if nothing waits."""
        return self._waiting.popleft() if self._waiting else None

    # ── node.transport.PeerEvents ────────────────────────────────────────────────────────────────────────────────────

    def peer_up(self, peer: str) -> None:
        """A connection is ready."""
        self.put(PeerUp(peer))

    def peer_down(self, peer: str) -> None:
        """The connection is gone."""
        self.put(PeerDown(peer))

    def message(self, peer: str, payload: bytes) -> None:
        """A frame came."""
        self._waiting.append(RawMessage(peer, payload))
        self._bell.set()
