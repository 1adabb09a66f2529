"""How fast one peer is answered and listened to: a member that asks, or signs, again and again costs a line's worth of
work, or a core's small part, and no more.
"""

from ledger.keys import Scheme

ANSWER_BYTES_MAX = 1024 * 1024
"""Bytes of transactions in one answer (one block more may go beyond it): what a 100 Mbit/s line carries in a tenth of a
second.
"""
BYTES_PER_MS = ANSWER_BYTES_MAX // 100
"""100 Mbit/s: more than that nobody reads."""
ANSWER_MS_MIN = 10
"""What the smallest answer counts for."""
ANSWERS_AHEAD_MS = 100
"""How far answers may run ahead of that line: one full answer may follow another at once."""


VERIFICATION_MS: dict[int, int] = {Scheme.ED25519: 1, Scheme.SM2: 4}
"""What a signature counts for: ten times what verifying it takes, so one peer takes a tenth of a core."""
VERIFYING_AHEAD_MS = 1_000
"""How far verifications may run ahead of that: the largest NEW-VIEW of 40 members, of 20 with SM2, or all that a peer
repeats after a cut.
"""


class Pace:
    """Until when what each peer had of us keeps its share busy. There are as many entries as members."""

    def __init__(self, ahead_ms: int) -> None:
        """`ahead_ms`: how far ahead of its share a peer may be."""
        self._ahead_ms = ahead_ms
        self._busy_until_ms: dict[str, int] = {}

    def allows(self, peer: str, steady_ms: int) -> bool:
        """Whether the peer may have more now; who may not asks another, or comes again later."""
        return self._busy_until_ms.get(peer, 0) <= steady_ms + self._ahead_ms

    def spend(self, peer: str, steady_ms: int, cost_ms: int) -> None:
        """Note that the peer had so much."""
        self._busy_until_ms[peer] = max(self._busy_until_ms.get(peer, 0), steady_ms) + cost_ms


def answer_ms(size_bytes: int) -> int:
    """What an answer, or a search for one, of this size counts for."""
    return max(ANSWER_MS_MIN, size_bytes // BYTES_PER_MS)
