"""The prices that a pile charges at: those that the session's own record on the chain fixed when it opened.

A tariff published or a fee set in the meantime changes nothing, so what was proven can never be stale.
"""

from devices.pile_parts import PileConfig, PileState
from devices.session import Prices


class Pricing:
    """Keeps the few state values that the session's prices rest on."""

    def __init__(self, config: PileConfig, state: PileState) -> None:
        """Keep them in this state."""
        self._book = config.price_book
        self._state = state

    def prices(self) -> Prices | None:
        """Of the session; None without one, and until they are proven."""
        session = self._state.session
        return self._book.prices(self._state.price_values, session.id) if session else None

    def wanted(self) -> tuple[bytes, ...]:
        """State keys to ask for: before a session can start, and when nobody knows whether it did."""
        session = self._state.session
        if session is None:
            return ()
        if session.late:
            return (self.record_key(session.id),)
        known = self._state.price_values
        return tuple(key for key in self._book.keys(known, session.id) if key not in known)

    def learn(self, key: bytes, value: bytes) -> None:
        """Take a proven value, if the session's prices rest on it: a gateway cannot fill the flash."""
        session = self._state.session
        if session is None or session.started or key not in self._book.keys(self._state.price_values, session.id):
            return
        known = {**self._state.price_values, key: value}
        keys = self._book.keys(known, session.id)
        # The last session's tariff stays until it is known whether it is this one's too.
        self._state.price_values = {name: known[name] for name in keys} if known.keys() >= set(keys) else known

    def record_key(self, session: bytes) -> bytes:
        """State key of a session's record."""
        return self._book.keys({}, session)[0]

    def runs(self, record: bytes) -> bool:
        """Whether a session's record says that it runs."""
        return self._book.runs(record)
