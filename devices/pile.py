"""Firmware of a charging pile as a pure state machine: what happens goes in with the time, what is to be done comes out
in order.

The contactor closes only on the sealed receipt of the pile's own start, verified by its light client. Neither a PUBACK,
nor a gateway's word, nor an old head replayed by a liar says anything about that start. What the pile has signed and
not yet seen sealed it sends again byte for byte until it is sealed or expired. Readings go into flash before they go
out, so a power cut never makes it sign two readings with one number.
"""

from devices.light_state import encode_state
from devices.metering import MWH_PER_WH
from devices.pile_parts import FINAL_REFUSALS, OCCUPIED, Contactor, Effect, Note
from devices.pile_session import PileSession
from devices.pile_states import Status, Trigger
from devices.wire import (
    Archived,
    DownPayload,
    Genesis,
    Head,
    Receipt,
    Refused,
    SessionOpen,
    SetChange,
    State,
)
from ledger.codec import encode
from ledger.errors import PeerError


class Pile(PileSession):
    """One pile with one connector. Every method takes the time of the device's own clock in ms (meant to be chain time)
    and returns the effects in the order they must happen.
    """

    # ── what happens ──────────────────────────────────────────────────────────────────────────────────────────────────

    def boot(self, now_ms: int) -> list[Effect]:
        """Power is back. The contactor fell open; a session in the middle waits to be told whether the car is there."""
        now_ms = self._clock(now_ms)
        if self.state.status is Status.CHARGING:
            self._up.add(Contactor(closed=False))
            self._move(Trigger.PAUSED)
        return self._done(now_ms)

    def link_up(self, now_ms: int) -> list[Effect]:
        """The link is back: say hello, and send at once what waits to be sealed."""
        now_ms = self._clock(now_ms)
        self._up.reset()
        self._up.hello(now_ms)
        if self.state.session and self.state.session.pending:
            self.state.session.pending.next_try_ms = now_ms
        return self._done(now_ms)

    def plug_in(self, now_ms: int) -> list[Effect]:
        """A vehicle is plugged in (or, after a power cut, still there)."""
        now_ms = self._clock(now_ms)
        self.plugged = True
        if self.state.status in (Status.AVAILABLE, Status.RESERVED):
            self._move(Trigger.PLUGGED)
        self._resume()
        return self._done(now_ms)

    def unplug(self, now_ms: int) -> list[Effect]:
        """The vehicle leaves."""
        now_ms = self._clock(now_ms)
        self.plugged = False
        session = self.state.session
        if self.state.status is Status.PREPARING and (session is None or session.pending is None):
            self._move(Trigger.UNPLUGGED)
            if session:
                self._move(Trigger.OPENED)
        elif self.state.status in OCCUPIED:
            self._finish(now_ms)
        return self._done(now_ms)

    def set_limit(self, now_ms: int, limit_w: int) -> list[Effect]:
        """A load command: at most this power, 0 to pause."""
        now_ms = self._clock(now_ms)
        self.limit_w = max(0, min(limit_w, self.config.power_max_w))
        if self.limit_w == 0 and self.state.status is Status.CHARGING:
            self._up.add(Contactor(closed=False))
            self._move(Trigger.PAUSED)
        self._resume()
        return self._done(now_ms)

    def fault(self, now_ms: int, code: str) -> list[Effect]:
        """A fault: the contactor opens whatever else is going on, and a running session is stopped."""
        now_ms = self._clock(now_ms)
        self._up.add(Contactor(closed=False), Note(code, "fault"))
        running = self.state.status in OCCUPIED
        self._move(Trigger.FAULT)
        if running:
            self._finish(now_ms)
        return self._done(now_ms)

    def clear(self, now_ms: int) -> list[Effect]:
        """The fault is mended."""
        now_ms = self._clock(now_ms)
        session = self.state.session
        if self.state.status is Status.FAULTED and (session is None or session.ended):
            self._move(Trigger.CLEARED)
            if session is None:
                self._release()
        return self._done(now_ms)

    def set_service(self, now_ms: int, in_service: bool) -> list[Effect]:
        """Take an idle pile out of service, or into it (ChangeAvailability of OCPP)."""
        now_ms = self._clock(now_ms)
        if in_service and self.state.status is Status.UNAVAILABLE:
            self._move(Trigger.ENABLED)
        elif not in_service and self.state.status is Status.AVAILABLE:
            self._move(Trigger.DISABLED)
        return self._done(now_ms)

    def tick(self, now_ms: int, energy_mwh: int = 0, full: bool = False) -> list[Effect]:
        """Time passed, and `energy_mwh` flowed since the last tick; `full`: the vehicle takes no more."""
        if energy_mwh:
            # Even if the clock stood still: what flowed is counted.
            self.state.register_mwh += energy_mwh
            self._up.changed()
        now_ms = self._clock(now_ms)
        session = self.state.session
        if session and session.started and not session.ended:
            if (prices := self.prices()) and self._meter.read_when_due(session, now_ms, prices):
                self._up.changed()
            if self.state.status is Status.CHARGING:
                if full:
                    self._end_current(session, now_ms, Trigger.FULL)
                elif self.energy_left_mwh() <= 0:
                    self._end_current(session, now_ms, Trigger.SPENT)
            if now_ms >= session.begin_ms + self.config.session_ms_max:
                self._finish(now_ms)
        elif session and not session.started:
            self._give_up_start(session, now_ms)
        return self._done(now_ms)

    def received(self, now_ms: int, message: DownPayload) -> list[Effect]:
        """A gateway says something; only what is proven changes anything that matters."""
        try:
            self._hear(self._clock(now_ms), message)
        except PeerError as error:
            self._up.add(Note(error.code, error.message))
        return self._done(self._clock(now_ms))

    def _hear(self, now_ms: int, message: DownPayload) -> None:
        match message:
            case Head(sealed, owner_signature):
                self._judge(now_ms, "head", self.light.see_head(sealed, owner_signature))
            case Genesis(summary):
                if self._judge(now_ms, "genesis", self.light.learn_genesis(summary)):
                    self._up.hello(now_ms)
            case SetChange(sealed, next_set):
                if self._judge(now_ms, "set change", self.light.follow(sealed, next_set)):
                    self._up.reset()
                    self._up.hello(now_ms)
            case SessionOpen(transaction, proof):
                self._on_open(now_ms, transaction, proof)
            case Receipt(transaction_id_, proof):
                self._on_receipt(now_ms, transaction_id_, proof)
            case State(sealed, entries):
                for entry in entries:
                    verdict = self.light.check_state(sealed, entry.key, entry.value, entry.proof)
                    if self._judge(now_ms, "state", verdict) and entry.value is not None:
                        self._pricing.learn(entry.key, entry.value)
                        self._on_record(now_ms, entry.key, entry.value)
            case Archived():
                self._up.changed()
                if self._meter.confirm(now_ms, message):
                    self._up.readings_confirmed(now_ms)
            case Refused(message_id, code, text):
                self._up.add(Note(code, text))
                if code in FINAL_REFUSALS:
                    self._meter.refused(now_ms, message_id)
                    self._up.changed()

    # ── what the surroundings ask ─────────────────────────────────────────────────────────────────────────────────────

    @property
    def meter_wh(self) -> int:
        """The register."""
        return self._meter.meter_wh

    def energy_left_mwh(self) -> int:
        """Energy that the deposit of the running session still pays; 0 without one."""
        session, prices = self.state.session, self.prices()
        if session is None or not session.started or prices is None:
            return 0
        return max(0, session.energy_left_wh(self.meter_wh, prices) * MWH_PER_WH - self.state.register_mwh % MWH_PER_WH)

    def next_due_ms(self) -> int | None:
        """When `tick` is wanted next, at the latest; None if nothing is waited for. Whoever moves energy adds its
        own moments.
        """
        due = []
        session = self.state.session
        if session:
            if session.pending:
                due.append(session.pending.next_try_ms)
            if not session.started and not session.late:
                due.append(self._start_deadline(session))
            elif session.started and not session.ended:
                due.append(session.begin_ms + self.config.session_ms_max)
                if prices := self.prices():
                    due.append(self._meter.next_reading_ms(session, prices))
        due += self._up.due_ms() + self._up.readings_due_ms()
        return self._clock_of.local(min(due)) if due else None

    def encode(self) -> bytes:
        """State for flash."""
        encode_state(self.state.light)
        return encode(self.state)
