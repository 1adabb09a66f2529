"""What a pile does with one session: from the driver's proven open, through its own start, to its sealed stop.

The contactor closes only on the sealed receipt of the pile's own start, verified by its light client. Neither a PUBACK,
nor a gateway's word, nor an old head replayed by a liar says anything about that start. What the pile has signed and
not yet seen sealed it sends again byte for byte until it is sealed or expired; a start of unknown fate is kept until
the session's record on the chain tells it.
"""

from collections.abc import Callable

from devices.light_client import LightClient, SealCache, Verdict
from devices.metering import Metering
from devices.pile_clock import PileClock
from devices.pile_parts import STOPS_REFUSED_MAX, Changed, Contactor, Effect, Note, PileConfig, PileState
from devices.pile_states import Status, Trigger, next_status
from devices.pricing import Pricing
from devices.session import Pending, Prices, Session, opened_in
from devices.uplink import Uplink
from devices.wire import ReceiptProof
from ledger.block import Receipt as TransactionReceipt
from ledger.charging import ReadingReason
from ledger.codec import decode
from ledger.keys import Signer
from ledger.transaction import decode_transaction


class PileSession:
    """The state of one pile, and the part of its behaviour that serves a session. `devices.pile.Pile` is the whole."""

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
        self._clock_of = PileClock(config, state)
        self._local_ms = 0

    def prices(self) -> Prices | None:
        """Proven prices of the session; None until there are any."""
        return self._pricing.prices()

    # ── session ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def _on_open(self, now_ms: int, transaction: bytes, proof: ReceiptProof) -> None:
        opened_id = decode_transaction(transaction).id
        if self.state.session is not None:
            if self.state.session.id != opened_id:
                # The chain allows one session per connector, so the one before must be over: its receipt is under way.
                self._up.add(Note("open-busy", "another session is not finished here"))
            return
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
        if self._clock(self._local_ms) > opened.start_until_ms:
            self._up.add(Note("open-late", "the open came after its start limit"))
        elif self.state.status not in (Status.AVAILABLE, Status.PREPARING):
            self._up.add(Note("open-status", f"the pile is {self.state.status}"))
        else:
            self.state.session = Session.of(opened)
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
            if code and session.stops_refused < STOPS_REFUSED_MAX:
                # The readings stand; what kept the chain from taking them (a clock ahead of it) may pass.
                session.stops_refused += 1
                self._make_stop(session, now_ms).next_try_ms = now_ms + self.config.retry_max_ms
                return
            self.state.session = None
            self._release()
        elif code:
            self._forget_start()
        else:
            self._started(session, now_ms)

    def _on_record(self, now_ms: int, key: bytes, record: bytes) -> None:
        """The session's record past its start limit: either the start ran, or it never can."""
        session = self.state.session
        if session is None or not session.late or key != self._pricing.record_key(session.id):
            return
        if self.light.state.time_ms < session.start_until_ms:
            return  # a block before the limit may still hold the start
        if self._pricing.runs(record):
            session.pending = None
            self._started(session, now_ms)
        else:
            self._forget_start()

    def _started(self, session: Session, now_ms: int) -> None:
        """The session's start is proven."""
        session.started = True
        late, session.late = session.late, False
        self._move(Trigger.STARTED)
        if self.state.status is Status.FAULTED or not self.plugged or late:
            # Late: the driver was told that it failed. Ended with nothing delivered, it frees deposit and connector.
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
        if prices is None or now_ms >= session.start_until_ms:
            return
        self._meter.read(session, now_ms, ReadingReason.BEGIN, prices)
        self.state.counter += 1
        session.pending = self._up.transaction("start", session.start_args(self.state.counter), session.start_until_ms)

    def _give_up_start(self, session: Session, now_ms: int) -> None:
        if session.late or now_ms < self._start_deadline(session):
            return
        self._up.add(Note("start-late", "the session was not started in time"))
        if session.pending:
            # It may have run all the same: forgotten here, the session would hold connector and deposit for a day.
            session.late = True
            self._up.changed()
        else:
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

    def _make_stop(self, session: Session, now_ms: int) -> Pending:
        self.state.counter += 1
        args = session.stop_args(self.state.counter)
        session.pending = self._up.transaction("stop", args, now_ms + self.config.device_expiry_ms)
        return session.pending

    def _release(self) -> None:
        self._move(Trigger.SETTLED)
        if self.state.status is Status.AVAILABLE and self.plugged:
            self._move(Trigger.PLUGGED)

    # ── inside ────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _clock(self, local_ms: int) -> int:
        self._local_ms = local_ms
        return self._clock_of.now(local_ms)

    def _judge(self, now_ms: int, what: str, verdict: Verdict, tx_id: bytes = b"") -> bool:
        newer = self.light.state.time_ms > self.state.light.time_ms
        self.state.light = self.light.state
        if newer and self._clock_of.hear(self._local_ms):
            self._up.reset()  # the moments at which questions come up again were of the wrong clock
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
        self._up.ask_open(now_ms, self._pricing.wanted())
        return self._up.take()
