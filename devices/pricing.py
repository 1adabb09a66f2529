"""The prices that a pile charges at: proven from the chain's state, refreshed before a session, fixed during it."""

from devices.pile_parts import PileConfig, PileState
from devices.session import Prices

PRICES_STALE_MS = 60 * 60 * 1000
"""Prices proven longer ago are asked for again before the next session."""


class Pricing:
    """Keeps the few state values that the prices in force rest on."""

    def __init__(self, config: PileConfig, state: PileState) -> None:
        """Keep them in this state."""
        self._config = config
        self._state = state

    def prices(self, now_ms: int) -> Prices | None:
        """Of the session, or without one of a session that would open now; None until they are proven."""
        return self._config.price_book.prices(self._state.price_values, self._at_ms(now_ms))

    def missing(self, now_ms: int) -> tuple[bytes, ...]:
        """State keys to ask for before a session can start."""
        fresh = now_ms - self._state.prices_ms <= PRICES_STALE_MS
        known = self._state.price_values if fresh else {}
        return tuple(key for key in self._config.price_book.keys(known, self._at_ms(now_ms)) if key not in known)

    def learn(self, now_ms: int, key: bytes, value: bytes) -> None:
        """Take a proven value. A running session keeps the prices that it began with."""
        session = self._state.session
        if session and session.started:
            return
        known = {**self._state.price_values, key: value}
        # Only what the prices rest on is kept: earlier tariffs go, and a gateway cannot fill the flash.
        keys = self._config.price_book.keys(known, self._at_ms(now_ms))
        self._state.price_values = {name: known[name] for name in keys if name in known}
        if key in self._state.price_values:
            self._state.prices_ms = now_ms

    def _at_ms(self, now_ms: int) -> int:
        return self._state.session.opened_ms if self._state.session else now_ms
