"""Firmware of a charging pile as a pure state machine: what happens goes in with the time, what is to be done comes out
in order.

The contactor closes only on the sealed receipt of the pile's own start, verified by its light client. Neither a PUBACK,
nor a gateway's word, nor an old head replayed by a liar says anything about that start. What the pile has signed and
not yet seen sealed it sends again byte for byte until it is sealed or expired. Readings go into flash before they go
out, so a power cut never makes it sign two readings with one number.
"""

from collections.abc import Callable

from devices.light_client import LightClient, SealCache, Verdict, encode_state
from devices.metering import MWH_PER_WH, Metering
from devices.pile_parts import FINAL_REFUSALS, OCCUPIED, Changed, Contactor, Effect, Note, PileConfig, PileState
from devices.pile_states import Status, Trigger, next_status
from devices.pricing import Pricing
from devices.session import Prices, Session, opened_in
from devices.uplink import Uplink
from devices.wire import (
    Archived,
    DownPayload,
    Genesis,
    Head,
    Receipt,
    ReceiptProof,
    Refused,
    SessionOpen,
    SetChange,
    State,
)
from ledger.block import Header
from ledger.block import Receipt as TransactionReceipt
from ledger.charging import ReadingReason
from ledger.codec import decode, encode
from ledger.errors import PeerError
from ledger.keys import Signer
from ledger.transaction import decode_transaction


class Pile:
    """One pile with one connector. Every method takes the chain time in ms and returns the effects in the order they
    must happen.
    """

    def __init__(
        self,
        config: PileConfig,
        state: PileState,
        signer: Signer,
        salt: Callable[[], bytes],
        cache: SealCache | None = None,
    ) -> None:
        """Set up, or come back from a power cut, with the state as saved. `salt` gives 8 fresh bytes."""
        self.config = config
        self.state = state
        self.light = LightClient(state.light, cache)
        self.plugged = False
        self.limit_w = config.power_max_w
        self._meter = Metering(config, state, signer)
        self._pricing = Pricing(config, state)
        self._up = Uplink(config, state, signer, salt)
        self._last_ms = 0

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
                        self._pricing.learn(now_ms, entry.key, entry.value)
            case Archived(session, count):
                if self._meter.confirm(session, count):
                    self._up.readings_confirmed()
                    self._up.changed()
            case Refused(_, code, text):
                self._up.add(Note(code, text))
                if code in FINAL_REFUSALS and self.state.logs:
                    self._meter.drop(self.state.logs[0].session)

    # ── what the surroundings ask ─────────────────────────────────────────────────────────────────────────────────────

    @property
    def meter_wh(self) -> int:
        """The register."""
        return self._meter.meter_wh

    def prices(self) -> Prices | None:
        """Proven prices of the session (without one, of a session that would open now); None until there are any."""
        return self._pricing.prices(self._last_ms)

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
            if not session.started:
                due.append(self._start_deadline(session))
            elif not session.ended:
                due.append(session.begin_ms + self.config.session_ms_max)
                if prices := self.prices():
                    due.append(self._meter.next_reading_ms(session, prices))
        due += self._up.due_ms()
        if any(log.sent > log.first for log in self.state.logs):
            due.append(self._up.readings_due_ms())
        return min(due) if due else None

    def encode(self) -> bytes:
        """State for flash."""
        encode_state(self.state.light)
        return encode(self.state)

    # ── session ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def _on_open(self, now_ms: int, transaction: bytes, proof: ReceiptProof) -> None:
        if self.state.session is not None:
            return  # told twice, or a second car: the chain allows one session per connector
        opened_id = decode_transaction(transaction).id
        if not self._judge(now_ms, "open", self.light.check_receipt(transaction, proof), opened_id):
            return
        opened = opened_in(decode(TransactionReceipt, proof.receipt))
        if opened is None or (opened.session, opened.pile, opened.connector) != (
            opened_id,
            self.config.name,
            self.config.connector,
        ):
            self._up.add(Note("open-other", "the proven open is not for this connector"))
            return
        if now_ms > opened.start_until_ms or self.state.status not in (Status.AVAILABLE, Status.PREPARING):
            return
        block = decode(Header, proof.old.header if proof.old else proof.sealed.header)
        self.state.session = Session.of(opened, block.time_ms)
        self._move(Trigger.OPENED)

    def _on_receipt(self, now_ms: int, tx_id: bytes, proof: ReceiptProof) -> None:
        session = self.state.session
        if session is None or session.pending is None or session.pending.id != tx_id:
            return
        if not self._judge(now_ms, "receipt", self.light.check_receipt(session.pending.raw, proof), tx_id):
            return
        code = decode(TransactionReceipt, proof.receipt).code
        session.pending = None
        self._up.changed()
        if code:
            self._up.add(Note("stop-refused" if session.ended else "start-refused", f"receipt code {code}"))
        if session.ended:
            self.state.session = None
            self._release()
        elif code:
            self._forget_start()
        else:
            session.started = True
            self._move(Trigger.STARTED)
            if self.state.status is Status.FAULTED or not self.plugged:
                self._finish(now_ms)
            elif self.limit_w:
                # The one place where a new session's energy may begin to flow: its own start is sealed.
                self._up.add(Contactor(closed=True))
            else:
                self._move(Trigger.PAUSED)

    def _try_start(self, now_ms: int) -> None:
        session, prices = self.state.session, self.prices()
        if session is None or session.started or session.pending or self.state.status is not Status.PREPARING:
            return
        if prices is None or self._pricing.missing(now_ms) or now_ms >= session.start_until_ms:
            return
        self._meter.read(session, now_ms, ReadingReason.BEGIN, prices)
        self.state.counter += 1
        session.pending = self._up.transaction("start", session.start_args(self.state.counter), session.start_until_ms)

    def _give_up_start(self, session: Session, now_ms: int) -> None:
        if now_ms >= self._start_deadline(session):
            self._up.add(Note("start-late", "the session was not started in time"))
            self._forget_start()

    def _start_deadline(self, session: Session) -> int:
        """Past it no receipt of a start is waited for: the chain refuses a later start, and answers need a little
        time.
        """
        return session.start_until_ms + (4 * self.config.retry_first_ms if session.pending else 0)

    def _forget_start(self) -> None:
        session = self.state.session
        if session:
            self._meter.drop(session.id)
        self.state.session = None
        self._move(Trigger.NOT_STARTED)
        if self.state.status is Status.PREPARING and not self.plugged:
            self._move(Trigger.UNPLUGGED)

    def _resume(self) -> None:
        """Close the contactor again for a session that is started, not spent, and has a car and power."""
        session = self.state.session
        paused = self.state.status is Status.SUSPENDED_EVSE and session is not None and not session.charging_ended_ms
        if paused and self.plugged and self.limit_w:
            self._move(Trigger.RESUMED)
            self._up.add(Contactor(closed=True))

    def _end_current(self, session: Session, now_ms: int, trigger: Trigger) -> None:
        session.charging_ended_ms = now_ms
        self._up.add(Contactor(closed=False))
        self._move(trigger)

    def _finish(self, now_ms: int) -> None:
        """Take the last reading and make the stop."""
        session, prices = self.state.session, self.prices()
        if session is None or prices is None or session.ended:
            return
        if self.state.status is not Status.FAULTED:
            self._up.add(Contactor(closed=False))
        self._meter.read_when_due(session, now_ms, prices)
        session.charging_ended_ms = session.charging_ended_ms or now_ms
        self._meter.read(session, now_ms, ReadingReason.END, prices)
        session.ended = True
        self._make_stop(session, now_ms)
        self._move(Trigger.ENDED)

    def _make_stop(self, session: Session, now_ms: int) -> None:
        self.state.counter += 1
        args = session.stop_args(self.state.counter)
        session.pending = self._up.transaction("stop", args, now_ms + self.config.device_expiry_ms)

    def _release(self) -> None:
        self._move(Trigger.SETTLED)
        if self.state.status is Status.AVAILABLE and self.plugged:
            self._move(Trigger.PLUGGED)

    # ── inside ────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _clock(self, now_ms: int) -> int:
        """Local time corrected by sealed time: never before the head, never backwards."""
        self._last_ms = max(now_ms, self._last_ms, self.light.state.time_ms)
        return self._last_ms

    def _judge(self, now_ms: int, what: str, verdict: Verdict, tx_id: bytes = b"") -> bool:
        self.state.light = self.light.state
        return self._up.judge(now_ms, what, verdict, tx_id)

    def _move(self, trigger: Trigger) -> None:
        status = next_status(self.state.status, trigger)
        if status is not self.state.status:
            self.state.status = status
            self._up.add(Changed(status))
        self._up.changed()

    def _done(self, now_ms: int) -> list[Effect]:
        """What follows from where things now stand: start, send, ask."""
        self._try_start(now_ms)
        session = self.state.session
        if session and session.pending:
            if session.ended and self.light.state.time_ms > session.pending.valid_until_ms:
                # Away for a day: no block may hold that stop any more, so a new one says the same.
                self._make_stop(session, now_ms)
            self._up.submit(now_ms, session.pending)
        for log in self.state.logs:
            self._up.send_readings(now_ms, log, closed=not self._meter.is_open(log))
        self._up.ask_open(now_ms, self._pricing.missing(now_ms))
        return self._up.take()
