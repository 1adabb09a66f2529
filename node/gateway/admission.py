"""Who may cost the gateway anything: rates, repeats and strangers. Pure: the time is an argument.

Only devices that the chain's registry knows are heard. A stranger costs one look-up and one line in the log, however
often it comes.
"""

from collections import OrderedDict

from msgspec import Struct

from ledger.errors import PeerError

MESSAGES_PER_MINUTE = 60
"""Of one device in chain time. An honest one sends a reading batch each quarter of an hour and six messages a
session.
"""
BURST_MESSAGES = 120
"""What a device may send at once: after hours offline it uploads a day's readings, 100 batches."""
TELL_MS = 60_000
"""Between two words to a device that is too fast."""
DEVICES_MAX = 50_000
"""Devices remembered; beyond it the one silent for longest begins anew with a full burst."""
STRANGERS_MAX = 1_000
"""Strangers that are known to have been logged."""
WINDOW = 64
"""Message ids behind the newest that may still come (as in IPsec, RFC 4303 section 3.4.3): senders may be reordered
by a broker.
"""


class _Device(Struct):
    tokens: float
    at_ms: int
    told_ms: int | None = None
    """When it was last told that it is too fast."""
    newest_id: int = 0
    seen: int = 0
    """Bit n: the id `newest_id - n` has come."""


class Admission:
    """Decides before any signature is verified."""

    def __init__(self) -> None:
        """Begin with nobody known."""
        self._devices: OrderedDict[str, _Device] = OrderedDict()
        self._strangers: OrderedDict[str, None] = OrderedDict()

    def charge(self, device: str, now_ms: int) -> bool:
        """Take one message off a device's allowance; False if it has none left.

        Raises PeerError `device-too-fast` instead, once a minute: an answer to each message would double the flood.
        """
        state = self._devices.get(device)
        if state is None:
            state = self._devices[device] = _Device(BURST_MESSAGES, now_ms)
            if len(self._devices) > DEVICES_MAX:
                self._devices.popitem(last=False)
        self._devices.move_to_end(device)
        gained = max(0, now_ms - state.at_ms) * MESSAGES_PER_MINUTE / 60_000
        state.tokens = min(BURST_MESSAGES, state.tokens + gained)
        state.at_ms = max(now_ms, state.at_ms)
        if state.tokens < 1:
            if state.told_ms is not None and now_ms - state.told_ms < TELL_MS:
                return False
            state.told_ms = now_ms
            raise PeerError("device-too-fast", f"at most {MESSAGES_PER_MINUTE} messages a minute")
        state.tokens -= 1
        return True

    def first_time(self, device: str, message_id: int) -> bool:
        """Whether this message id of a charged device is new. Call it after the signature is verified: ids of forgeries
        do not count.

        Raises PeerError `message-old` for an id too far behind to tell.
        """
        state = self._devices[device]
        ahead = message_id - state.newest_id
        if ahead > 0:
            state.seen = (state.seen << min(ahead, WINDOW) | 1) & ((1 << WINDOW) - 1)
            state.newest_id = message_id
            return True
        if ahead <= -WINDOW:
            raise PeerError("message-old", "that message id is far behind the device's newest: an old message replayed")
        bit = 1 << -ahead
        fresh = not state.seen & bit
        state.seen |= bit
        return fresh

    def stranger(self, device: str) -> bool:
        """Note a device that the registry does not know; whether this is the first time (then it is worth a line in
        the log).
        """
        if device in self._strangers:
            return False
        self._strangers[device] = None
        if len(self._strangers) > STRANGERS_MAX:
            self._strangers.popitem(last=False)
        return True
