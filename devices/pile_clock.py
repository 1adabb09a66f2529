"""A pile's idea of chain time: its own clock, corrected by the times of sealed heads.

A head proves that chain time is at least the head's; how much more, it does not say. So the least that the own clock
was ever ahead of a head just heard is the best bound on how far it runs ahead (the minimum filter of NTP, RFC 5905
section 10). A clock within the tolerance is left alone.
"""

from devices.pile_parts import PileConfig, PileState

FORGET_MS = 24 * 60 * 60 * 1000
"""A bound this old says nothing of a clock that drifts."""


class PileClock:
    """Turns the device's own clock into chain time."""

    def __init__(self, config: PileConfig, state: PileState) -> None:
        """Begin with the correction of this state; it is learned anew from the heads that come now."""
        self._state = state
        self._tolerance_ms = 4 * config.retry_first_ms
        self._least_ms: int | None = None
        self._least_at_ms = 0
        self._last_ms = 0

    def now(self, local_ms: int) -> int:
        """Chain time: never before the head, and never backwards in a session that has begun (its readings)."""
        now_ms = max(local_ms - self._state.clock_lead_ms, self._state.light.time_ms)
        self._last_ms = max(now_ms, self._last_ms) if self._fixed() else now_ms
        return self._last_ms

    def local(self, chain_ms: int) -> int:
        """The device's own clock at a chain time."""
        return chain_ms + self._state.clock_lead_ms

    def hear(self, local_ms: int) -> bool:
        """A newer head was heard just now; whether that moves the clock."""
        ahead_ms = local_ms - self._state.light.time_ms
        if self._least_ms is None or ahead_ms < self._least_ms or local_ms - self._least_at_ms > FORGET_MS:
            self._least_ms, self._least_at_ms = ahead_ms, local_ms
        lead_ms = min(self._least_ms, max(0, self._least_ms - self._tolerance_ms))
        if self._fixed() or lead_ms == self._state.clock_lead_ms:
            return False
        self._state.clock_lead_ms = lead_ms
        return True

    def _fixed(self) -> bool:
        session = self._state.session
        return session is not None and bool(session.borders)
