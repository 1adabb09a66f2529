"""Complaints about others, each logged once and then at most once a minute: a flood of bad input must not become a
flood of log lines.
"""

import time
from collections import OrderedDict
from typing import Any

SILENCE_S = 60.0
"""The same complaint about the same party is not repeated sooner."""
REMEMBERED_MAX = 4_096
"""Complaints remembered, the latest: an attacker with more addresses than that may fill the log slowly, not the memory.
"""


class Complaints:
    """Who did what wrong, counted."""

    def __init__(self, log: Any) -> None:
        """`log` is a structlog logger."""
        self._log = log
        self._latest: OrderedDict[tuple[str, str], tuple[float, int]] = OrderedDict()
        self.total = 0

    def about(self, who: str, code: str, reason: str) -> None:
        """Log that a peer or address broke a rule, unless the same was logged within the last minute."""
        self.total += 1
        now = time.monotonic()
        logged_at, unsaid = self._latest.pop((who, code), (-SILENCE_S, 0))
        if now - logged_at >= SILENCE_S:
            self._log.warning("peer_charged", peer=who, code=code, reason=reason, repeated=unsaid)
            logged_at, unsaid = now, -1
        self._latest[who, code] = (logged_at, unsaid + 1)
        if len(self._latest) > REMEMBERED_MAX:
            self._latest.popitem(last=False)
