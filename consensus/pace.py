"""How fast one peer is answered: a member that asks again and again costs a line's worth of work, and no more."""

ANSWER_BYTES_MAX = 1024 * 1024
"""Bytes of transactions in one answer (one block more may go beyond it): what a 100 Mbit/s line carries in a tenth of a
second.
"""
BYTES_PER_MS = ANSWER_BYTES_MAX // 100
"""100 Mbit/s: more than that nobody reads."""
ANSWER_MS_MIN = 10
"""What the smallest answer counts for."""
AHEAD_MS = 100
"""How far answers may run ahead of that line: one full answer may follow another at once."""


class Pace:
    """When each peer's line has carried what it was sent. Members ask, so there are as many entries as members."""

    def __init__(self) -> None:
        self._busy_until_ms: dict[str, int] = {}

    def allows(self, peer: str, steady_ms: int) -> bool:
        """Whether the peer may be answered now; who is not asks another, or later."""
        return self._busy_until_ms.get(peer, 0) <= steady_ms + AHEAD_MS

    def spend(self, peer: str, steady_ms: int, size_bytes: int) -> None:
        """Note an answer, or a search for one, of this size."""
        busy_ms = max(self._busy_until_ms.get(peer, 0), steady_ms)
        self._busy_until_ms[peer] = busy_ms + max(ANSWER_MS_MIN, size_bytes // BYTES_PER_MS)
