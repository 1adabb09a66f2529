"""One charging session as its pile keeps it: the signed readings, the bill so far, and the transactions that start
and stop it.
"""

from typing import Protocol

from msgspec import Struct

from devices.readings import ChainEnd, sign_reading
from ledger.block import Receipt
from ledger.charging import (
    BORDERS_MAX,
    SESSION_CONTRACT,
    BorderReading,
    ReadingReason,
    SessionOpened,
    SignedReading,
    StartArgs,
    StopArgs,
    readings_root,
)
from ledger.codec import decode
from ledger.keys import Signer
from ledger.units import energy_cost_fen

OPENED = "session.opened"
"""Name of the event."""
PRICE_E4_PER_FEN_WH = 100_000
"""Wh x price_e4 in one fen."""


class Prices(Protocol):
    """What a pile must know of the tariff in force."""

    def prices_e4(self, time_ms: int) -> tuple[int, int]:
        """Energy price and service fee at a time, 0.0001 yuan per kWh."""

    def next_border_ms(self, time_ms: int) -> int:
        """The first tariff border after a time."""


class Pending(Struct, array_like=True, forbid_unknown_fields=True):
    """A transaction of the pile that is not known to be sealed. It is sent again byte for byte, so it can run only
    once.
    """

    raw: bytes
    id: bytes
    valid_until_ms: int
    tries: int = 0
    next_try_ms: int = 0


class ReadingLog(Struct, array_like=True, forbid_unknown_fields=True):
    """Signed readings that the archive has not confirmed yet."""

    session: bytes
    first: int
    """Number of the oldest reading kept."""
    readings: list[SignedReading]
    sent: int = 0
    """Number of the first reading not sent yet; goes back to `first` when the archive stays silent."""
    message_id: int = 0
    """Of the message that carried the last of it."""
    paused_until_ms: int = 0
    """An archive that will not take it is left alone until then."""

    @property
    def end(self) -> int:
        """Number of the next reading to come."""
        return self.first + len(self.readings)

    def forget(self, count: int) -> None:
        """Drop the first `count` readings of the session, which the archive is proven to hold."""
        del self.readings[: count - self.first]
        self.first = count
        self.sent = max(self.first, self.sent)
        self.paused_until_ms = 0


class Session(Struct, array_like=True, forbid_unknown_fields=True):
    """From the driver's proven open to the pile's proven stop."""

    id: bytes
    deposit_fen: int
    start_until_ms: int
    pending: Pending | None = None
    """The start, later the stop, while it is under way."""
    late: bool = False
    """The start limit is over and nobody knows yet whether the start ran: no current, but no forgetting either."""
    started: bool = False
    """The start is sealed: only then may the contactor close."""
    ended: bool = False
    """The last reading is taken and the stop made."""
    chain: ChainEnd = ChainEnd()
    digests: list[bytes] = []
    borders: list[BorderReading] = []
    """Begin, and each tariff border passed."""
    closed_lines_fen: int = 0
    """Cost of the bill lines before the present one."""
    charging_ended_ms: int = 0
    """When current stopped for good; 0 while it may flow."""
    stops_refused: int = 0

    @classmethod
    def of(cls, opened: SessionOpened) -> "Session":
        """The session that a proven open describes."""
        return cls(opened.session, opened.deposit_fen, opened.start_until_ms)

    @property
    def begin_ms(self) -> int:
        """When the session began."""
        return self.borders[0].time_ms if self.borders else 0

    def take_reading(
        self, log: ReadingLog, time_ms: int, meter_wh: int, reason: ReadingReason, prices: Prices, signer: Signer
    ) -> None:
        """Read the register: sign, chain and log it, and close a bill line where a tariff period ends."""
        if reason is ReadingReason.BEGIN:
            self.borders.append(BorderReading(time_ms, meter_wh))
        elif reason is ReadingReason.TARIFF_BORDER and len(self.borders) < BORDERS_MAX:
            self.closed_lines_fen += self._line_fen(meter_wh, prices)
            self.borders.append(BorderReading(time_ms, meter_wh))
        signed, self.chain = sign_reading(self.id, self.chain, time_ms, meter_wh, reason, signer)
        self.digests.append(self.chain.digest)
        log.readings.append(signed)

    def cost_fen(self, meter_wh: int, prices: Prices) -> int:
        """The bill up to now, by the very function that settles it."""
        return self.closed_lines_fen + self._line_fen(meter_wh, prices)

    def energy_left_wh(self, meter_wh: int, prices: Prices) -> int:
        """Energy that the deposit still pays at the present prices."""
        line = self.borders[-1]
        left_fen = self.deposit_fen - self.closed_lines_fen
        price_e4 = sum(prices.prices_e4(line.time_ms))
        if price_e4 == 0:
            return 1 << 40
        most = max(0, left_fen) * PRICE_E4_PER_FEN_WH // price_e4
        # Two roundings up may cost a fen more than the exact price.
        while most > 0 and self._cost_of(most, line.time_ms, prices) > left_fen:
            most = max(0, most - 1 - PRICE_E4_PER_FEN_WH // price_e4 // 2)
        return max(0, most - (meter_wh - line.meter_wh))

    def start_args(self, counter: int) -> StartArgs:
        """Arguments of `session.start`."""
        return StartArgs(self.id, counter, self.borders[0].time_ms, self.borders[0].meter_wh)

    def stop_args(self, counter: int) -> StopArgs:
        """Arguments of `session.stop`, after the last reading."""
        end = BorderReading(self.chain.time_ms, self.chain.meter_wh)
        return StopArgs(
            session=self.id,
            counter=counter,
            # A stay that ends on a border has no line behind it.
            borders=(*(border for border in self.borders[1:] if border.time_ms < end.time_ms), end),
            charging_ended_ms=self.charging_ended_ms,
            readings_count=self.chain.count,
            readings_root=readings_root(self.digests),
        )

    def _line_fen(self, meter_wh: int, prices: Prices) -> int:
        line = self.borders[-1]
        return self._cost_of(meter_wh - line.meter_wh, line.time_ms, prices)

    @staticmethod
    def _cost_of(energy_wh: int, time_ms: int, prices: Prices) -> int:
        return sum(energy_cost_fen(energy_wh, price_e4) for price_e4 in prices.prices_e4(time_ms))


def opened_in(receipt: Receipt) -> SessionOpened | None:
    """What the session contract says was opened by a call, None if it failed or opened nothing."""
    data = [event.data for event in receipt.events if (event.contract, event.name) == (SESSION_CONTRACT, OPENED)]
    return decode(SessionOpened, data[0]) if receipt.code == 0 and len(data) == 1 else None
