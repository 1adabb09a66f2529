"""A pile's side of the link: numbered and signed envelopes, questions with a bounded back-off, and batches of readings.

Pure. It decides what is sent and when it is sent again; it never decides what is true.
"""

from collections.abc import Callable, Mapping

from devices.light_client import Answer, Verdict
from devices.pile_parts import Effect, Note, PileConfig, PileState, Save, Send
from devices.pile_states import Status
from devices.session import Pending, ReadingLog
from devices.wire import (
    READINGS_BATCH_MAX,
    AskReceipt,
    AskSetChanges,
    AskState,
    Hello,
    Readings,
    Submit,
    UpPayload,
    seal_up,
)
from ledger.charging import SESSION_CONTRACT
from ledger.codec import Wire, encode
from ledger.keys import Signer
from ledger.transaction import Body, Branch, ExpiryClass, decode_transaction, sign_transaction

HELLO = "hello?"
"""Kinds of questions that end with `?` come up again by themselves."""
READINGS = "readings"


class Uplink:
    """Collects effects for one pile; `take` hands them over, the save first."""

    def __init__(self, config: PileConfig, state: PileState, signer: Signer, salt: Callable[[], bytes]) -> None:
        """Speak for the pile with this state; message ids and back-off are kept here and there."""
        self._config = config
        self._state = state
        self._signer = signer
        self._salt = salt
        self._effects: list[Effect] = []
        self._dirty = False
        self._asked: dict[str, tuple[int, int]] = {}
        """Kind of question -> (when it may be asked again, wait after that): nobody can make the device flood its
        own link.
        """

    def add(self, *effects: Effect) -> None:
        """Append effects."""
        self._effects += effects

    def changed(self) -> None:
        """The state must reach flash before the effects that follow."""
        self._dirty = True

    def take(self) -> list[Effect]:
        """All effects since the last time, in order, behind the save that they rely on."""
        effects: list[Effect] = [Save(), *self._effects] if self._dirty else self._effects
        self._effects, self._dirty = [], False
        return effects

    def send(self, now_ms: int, message: UpPayload) -> int:
        """Put a message into a signed envelope of its own number, and return that."""
        # The clock in the number keeps it growing even where the flash was replaced.
        self._state.message_id = max(self._state.message_id + 1, now_ms)
        data = seal_up(self._state.light.chain_id, self._config.name, self._state.message_id, message, self._signer)
        self.add(Send(data, type(message).__name__))
        self.changed()
        return self._state.message_id

    def transaction(self, method: str, args: Wire, valid_until_ms: int) -> Pending:
        """A signed transaction to the session contract, of the device class."""
        body = Body(
            chain_id=self._state.light.chain_id,
            sender=self._signer.public_key,
            branch=Branch.CHARGING,
            expiry_class=ExpiryClass.DEVICE,
            contract=SESSION_CONTRACT,
            method=method,
            args=encode(args),
            gas_limit=self._config.gas_limit,
            valid_until_ms=valid_until_ms,
            salt=self._salt(),
        )
        decoded = decode_transaction(sign_transaction(body, self._signer))
        return Pending(decoded.raw, decoded.id, valid_until_ms)

    def submit(self, now_ms: int, pending: Pending) -> None:
        """Send an unsealed transaction if it is its turn: the same bytes each time, further apart each time."""
        if now_ms < pending.next_try_ms:
            return
        self.send(now_ms, Submit(pending.raw))
        pending.next_try_ms = now_ms + self._wait_ms(pending.tries)
        pending.tries += 1

    def ask(self, now_ms: int, kind: str, message: UpPayload) -> None:
        """Ask once, and no sooner again than the back-off of this kind of question allows."""
        at_ms, tries = self._asked.get(kind, (now_ms, 0))
        if now_ms >= at_ms:
            self.send(now_ms, message)
            self._asked[kind] = (now_ms + self._wait_ms(tries), tries + 1)

    def hello(self, now_ms: int) -> None:
        """Tell the gateway where the device stands; it answers with what the device missed."""
        self.ask(now_ms, HELLO, self._hello())

    def ask_open(self, now_ms: int, keys: tuple[bytes, ...]) -> None:
        """Ask what stays open until it is answered: a first head, an open that a plugged vehicle waits for, values of
        the state.
        """
        state = self._state
        known = state.light.head is not None
        wanted: dict[str, UpPayload] = {}
        if not known or (state.status is Status.PREPARING and state.session is None):
            wanted[HELLO] = self._hello()
        if known and keys:
            wanted[f"{b''.join(keys).hex()}?"] = AskState(keys)
        # An open mostly comes by itself within seconds.
        self._ask_all(now_ms, wanted, {HELLO: self._config.retry_first_ms} if known else {})

    def _hello(self) -> Hello:
        return Hello(self._state.light.height, self._state.light.validators is not None)

    def _ask_all(self, now_ms: int, wanted: Mapping[str, UpPayload], after_ms: Mapping[str, int]) -> None:
        """Ask what is wanted and due; forget the back-off of what is wanted no more. `after_ms`: first wait by kind,
        else none.
        """
        for kind in [kind for kind in self._asked if kind not in wanted and kind.endswith("?")]:
            del self._asked[kind]
        for kind, message in wanted.items():
            self._asked.setdefault(kind, (now_ms + after_ms.get(kind, 0), 0))
            self.ask(now_ms, kind, message)

    def due_ms(self) -> list[int]:
        """When questions come up again."""
        return [at_ms for kind, (at_ms, _) in self._asked.items() if kind.endswith("?")]

    def need(self, now_ms: int, verdict: Verdict, tx_id: bytes) -> None:
        """Ask for what the light client needs before it can decide."""
        match verdict.code:
            case "set-change":
                self.ask(now_ms, verdict.code, AskSetChanges(verdict.height))
            case "history" if tx_id:
                self.ask(now_ms, verdict.code, AskReceipt(tx_id, self._state.light.height))
            case "genesis":
                self.ask(now_ms, verdict.code, Hello(0, know_set=False))

    def judge(self, now_ms: int, what: str, verdict: Verdict, tx_id: bytes = b"") -> bool:
        """Whether a claim is proven; otherwise note it, and ask for what is missing."""
        if verdict.true:
            self.changed()
            return True
        if verdict.answer is Answer.MORE:
            self.need(now_ms, verdict, tx_id)
        if verdict.code != "head-old":  # retained heads and late answers are no news
            self.add(Note(verdict.code, f"{what} is not proven"))
        return False

    def send_readings(self, now_ms: int, log: ReadingLog, closed: bool) -> None:
        """Send full batches, and the rest of a session that has ended; again from the start if the archive stays
        silent.
        """
        if now_ms < log.paused_until_ms:
            return
        at_ms, tries = self._asked.get(READINGS, (now_ms, 0))
        if log.sent > log.first and now_ms >= at_ms:
            log.sent = log.first
        while log.end - log.sent >= self._config.readings_batch or (closed and log.sent < log.end):
            begin = log.sent - log.first
            batch = tuple(log.readings[begin : begin + min(READINGS_BATCH_MAX, self._config.readings_batch)])
            log.message_id = self.send(now_ms, Readings(log.session, batch))
            log.sent += len(batch)
            self._asked[READINGS] = (now_ms + self._wait_ms(tries), tries + 1)

    def readings_due_ms(self) -> list[int]:
        """When unconfirmed readings are sent again."""
        at_ms, _ = self._asked.get(READINGS, (0, 0))
        return [max(at_ms, log.paused_until_ms) for log in self._state.logs if log.sent > log.first]

    def readings_confirmed(self, now_ms: int) -> None:
        """The archive took some: begin the back-off anew. What is under way stays so; no answer without progress makes
        the pile send anything, or two that disagree would never be quiet.
        """
        self._asked[READINGS] = (now_ms + self._wait_ms(0), 1)

    def reset(self) -> None:
        """Something fundamental changed (link, validator set): everything may be asked at once."""
        self._asked.clear()

    def _wait_ms(self, tries: int) -> int:
        return min(self._config.retry_first_ms << min(tries, 16), self._config.retry_max_ms)
