"""When a pile reads its register, and what becomes of the readings until the archive confirms them."""

from devices.pile_parts import ARCHIVE_PAUSE_MS, LOGS_MAX, PileConfig, PileState
from devices.session import Prices, ReadingLog, Session
from devices.wire import Archived, archived_digest
from ledger.charging import ReadingReason, reading_digest
from ledger.errors import PeerError
from ledger.keys import Signer, verify

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

    def confirm(self, now_ms: int, archived: Archived) -> bool:
        """Forget what the archive has signed for; whether there was any.

        Raises PeerError: `archive-forged` (not signed by the operator's archive), `archive-behind` (it has lost what it
        confirmed, so the rest can never follow) or `archive-other` (it holds other readings than these).
        """
        log = next((log for log in self._state.logs if log.session == archived.session), None)
        if log is None:
            return False
        session, count, digest = archived.session, archived.count, archived.digest
        signed = archived_digest(self._state.light.chain_id, self._config.name, session, count, digest)
        if not verify(self._config.archive_key, signed, archived.signature):
            # Anybody on the broker could make the pile destroy its evidence.
            raise PeerError("archive-forged", "that confirmation is not signed by the operator's archive")
        if count == log.first:
            return False
        if count < log.first:
            self._pause(log, now_ms)
            raise PeerError("archive-behind", f"the archive holds {count} readings, {log.first} were confirmed")
        if count > log.end or reading_digest(log.readings[count - log.first - 1].reading) != digest:
            self._pause(log, now_ms)
            raise PeerError("archive-other", "the archive holds other readings of that session")
        log.forget(count)
        if not log.readings and not self.is_open(log):
            self.drop(session)
        return True

    def refused(self, now_ms: int, message_id: int) -> None:
        """The archive would not take a message: let its log rest. The refusal is unsigned, so nothing is dropped."""
        carried = [log for log in self._state.logs if log.message_id >= message_id]
        if carried:
            self._pause(min(carried, key=lambda log: log.message_id), now_ms)

    @staticmethod
    def _pause(log: ReadingLog, now_ms: int) -> None:
        log.paused_until_ms = now_ms + ARCHIVE_PAUSE_MS

    def drop(self, session: bytes) -> None:
        """Forget a session's log."""
        self._state.logs = [log for log in self._state.logs if log.session != session]
