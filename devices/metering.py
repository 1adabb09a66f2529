"""When a pile reads its register, and what becomes of the readings until the archive confirms them."""

from devices.pile_parts import LOGS_MAX, PileConfig, PileState
from devices.session import Prices, ReadingLog, Session
from ledger.charging import ReadingReason
from ledger.keys import Signer

MWH_PER_WH = 1000


class Metering:
    """The meter of one pile and the logs of its readings."""

    def __init__(self, config: PileConfig, state: PileState, signer: Signer) -> None:
        """Read the register of this state, signing with the pile's key."""
        self._config = config
        self._state = state
        self._signer = signer

    @property
    def meter_wh(self) -> int:
        """The register."""
        return self._state.register_mwh // MWH_PER_WH

    def read(self, session: Session, time_ms: int, reason: ReadingReason, prices: Prices) -> None:
        """Take one reading now."""
        log = next((log for log in self._state.logs if log.session == session.id), None)
        if log is None:
            log = ReadingLog(session.id, session.chain.count, [])
            self._state.logs = [*self._state.logs, log][-LOGS_MAX:]
        session.take_reading(log, time_ms, self.meter_wh, reason, prices, self._signer)

    def read_when_due(self, session: Session, now_ms: int, prices: Prices) -> bool:
        """Take the readings that are due; whether there were any.

        After a power cut only the last of the minutes missed is read, and every tariff border: no energy flowed
        meanwhile.
        """
        interval, any_due = self._config.reading_interval_ms, False
        while session.borders and (due_ms := self.next_reading_ms(session, prices)) <= now_ms:
            border_ms = prices.next_border_ms(session.borders[-1].time_ms)
            reason = ReadingReason.TARIFF_BORDER
            if due_ms != border_ms:
                reason = ReadingReason.PERIODIC
                due_ms = min(due_ms + (now_ms - due_ms) // interval * interval, border_ms - 1)
            self.read(session, due_ms, reason, prices)
            any_due = True
        return any_due

    def next_reading_ms(self, session: Session, prices: Prices) -> int:
        """Next minute while current may flow, next tariff border in any case."""
        border_ms = prices.next_border_ms(session.borders[-1].time_ms)
        if session.charging_ended_ms:
            return border_ms  # the register stands still; borders are read for the bill's lines
        interval = self._config.reading_interval_ms
        minutes = (session.chain.time_ms - session.begin_ms) // interval + 1
        return min(session.begin_ms + minutes * interval, border_ms)

    def is_open(self, log: ReadingLog) -> bool:
        """Whether more readings of this log will come."""
        session = self._state.session
        return session is not None and session.id == log.session and not session.ended

    def confirm(self, session: bytes, count: int) -> bool:
        """The archive holds so many readings of a session; whether it is one of ours."""
        log = next((log for log in self._state.logs if log.session == session), None)
        if log is None:
            return False
        log.confirm(count)
        if not log.readings and not self.is_open(log):
            self.drop(session)
        return True

    def drop(self, session: bytes) -> None:
        """Forget a session's log."""
        self._state.logs = [log for log in self._state.logs if log.session != session]
