"""A pile on the bench: its firmware joined to a chain by the gateway's own code, without MQTT, in chain time."""

from collections import Counter
from pathlib import Path

from devices.light_state import LightState
from devices.pile import Pile
from devices.pile_parts import Changed, Contactor, Effect, Note, PileConfig, PileState, Save, Send
from devices.pile_states import Status
from devices.wire import (
    Archived,
    DownPayload,
    Receipt,
    SessionOpen,
    check_up,
    decode_down,
    down_topic,
    open_up,
    sign_archived,
    up_topic,
)
from ledger.block import Receipt as TransactionReceipt
from ledger.charging import SessionSettled
from ledger.codec import decode, encode
from ledger.errors import PeerError
from ledger.transaction import Transaction
from node.gateway import proofs as gateway_proofs
from node.gateway.archive import Archive
from node.gateway.serve import Storing, Submission, known_device, serve
from tests.consortium import signer
from tests.device_chain import REGISTER_WH, DeviceChain

ACK_BYTES = 4


def packet_bytes(topic: str, payload: bytes) -> int:
    """A QoS 1 PUBLISH of MQTT 3.1.1 and its PUBACK."""
    rest = 2 + len(topic) + 2 + len(payload)
    return 1 + (1 if rest < 128 else 2 if rest < 16_384 else 3) + rest + ACK_BYTES


class PileBench:
    """One pile, plugged to a chain. `now_ms` moves by `tick` alone."""

    def __init__(
        self,
        folder: Path,
        chain: DeviceChain | None = None,
        anchor: LightState | None = None,
        clock_ahead_ms: int = 0,
        **config: object,
    ):
        self.chain = chain or DeviceChain(folder)
        self.name = "Pile-1"
        self.signer = signer(self.name)
        self.config: PileConfig = self.chain.config(self.name, **config)
        self.archive_file = folder / "readings.sqlite"
        self.archive = Archive(self.archive_file)
        self.clock_ahead_ms = clock_ahead_ms
        self.now_ms = self.chain.now_ms + clock_ahead_ms
        """Of the pile's own clock."""
        self.closed = False
        self.statuses: list[Status] = []
        self.notes: Counter[str] = Counter()
        self.kinds: Counter[str] = Counter()
        self.effects: list[Effect] = []
        self.reading_bytes = 0
        self.bytes = 0
        """All MQTT bytes of both directions, readings too."""
        self.online = True
        self.sealing = True
        self.held: list[Submission] = []
        self.flash = b""
        state = PileState(anchor or self.chain.anchor(), register_mwh=REGISTER_WH * 1000)
        self.boot(encode(state))

    def boot(self, saved: bytes) -> None:
        """Power on, with what is in flash."""
        salts = iter(range(1, 1 << 32))
        self.closed = False
        self.pile = Pile(self.config, decode(PileState, saved), self.signer, lambda: next(salts).to_bytes(8, "big"))
        self.do(self.pile.boot(self.now_ms))
        self.do(self.pile.link_up(self.now_ms))

    def power_cut(self) -> None:
        """All but the flash is lost."""
        self.boot(self.flash)

    def do(self, effects: list[Effect]) -> None:
        """Perform effects, and what the world answers to them."""
        for effect in effects:
            self.effects.append(effect)
            match effect:
                case Save():
                    self.flash = self.pile.encode()
                case Contactor(closed):
                    self.closed = closed
                case Changed(status):
                    self.statuses.append(status)
                case Note(code, _):
                    self.notes[code] += 1
                case Send(data, kind):
                    self.kinds[kind] += 1
                    if self.online:
                        self.gateway(data)

    def gateway(self, data: bytes) -> None:
        """A message reaches the gateway."""
        self.bytes += packet_bytes(up_topic(self.chain.chain_id, self.name), data)
        up = open_up(data)
        with self.chain.store.snapshot() as snapshot:
            public_key = known_device(snapshot, self.name).public_key
            payload = check_up(up, self.chain.chain_id, self.name, public_key)
            try:
                answers = list(serve(snapshot, self.chain.blocks, self.name, public_key, up.message_id, payload))
            except PeerError as error:
                self.notes[f"gateway {error.code}"] += 1
                return
        for answer in answers:
            if isinstance(answer, Submission):
                self.held.append(answer)
            elif isinstance(answer, Storing):
                self.reading_bytes += sum(len(encode(reading)) for reading in answer.batch.readings)
                (end,) = self.archive.append([answer.batch])
                if isinstance(end, PeerError):
                    self.notes[end.code] += 1
                else:
                    self.down(self.archived(answer.batch.session, end.count, end.digest))
            else:
                self.down(answer)
        if self.sealing:
            self.seal_held()

    def archived(self, session: bytes, count: int, digest: bytes, by: str = "archive SGCC") -> Archived:
        """A confirmation signed with somebody's key."""
        return sign_archived(self.chain.chain_id, self.name, session, count, digest, signer(by))

    def seal_held(self) -> None:
        """Seal what the pile has submitted, and push the receipts."""
        held, self.held = self.held, []
        for item in held:
            self.chain.seal(item.transaction, at_ms=self.now_ms - self.clock_ahead_ms)
            self.push(item.transaction)

    def push(self, transaction: Transaction) -> None:
        """The gateway tells the pile of its sealed transaction."""
        with self.chain.store.snapshot() as snapshot:
            found = gateway_proofs.prove_receipt(snapshot, self.chain.blocks, transaction.id)
        assert found is not None
        self.down(Receipt(transaction.id, found[1]))

    def down(self, message: DownPayload) -> None:
        """A message reaches the pile."""
        data = encode(message)
        self.bytes += packet_bytes(down_topic(self.chain.chain_id, self.name), data)
        self.do(self.pile.received(self.now_ms, decode_down(data)))

    def open(self, deposit_fen: int = 5_000, driver: str = "d0") -> SessionOpen:
        """A driver opens a session; the sealed open as the gateway tells it."""
        transaction = self.chain.open(driver, self.name, deposit_fen)
        (receipt, *_) = self.chain.seal(transaction, at_ms=self.now_ms - self.clock_ahead_ms)
        assert receipt.code == 0, receipt
        with self.chain.store.snapshot() as snapshot:
            found = gateway_proofs.prove_receipt(snapshot, self.chain.blocks, transaction.id)
        assert found is not None
        return SessionOpen(*found)

    def tick(self, ms: int, power_w: int = 0, full: bool = False) -> None:
        """Let time pass minute by minute, energy flowing while the contactor is closed."""
        end_ms = self.now_ms + ms
        while self.now_ms < end_ms:
            due_ms = self.pile.next_due_ms()
            step_ms = min(end_ms, max(due_ms or end_ms, self.now_ms + 1)) - self.now_ms
            energy_mwh = power_w * step_ms // 3_600 if self.closed else 0
            self.now_ms += step_ms
            self.do(self.pile.tick(self.now_ms, energy_mwh, full and self.now_ms >= end_ms))

    def session(self, minutes: int, power_w: int = 7_000, deposit_fen: int = 5_000) -> None:
        """A whole session."""
        self.do(self.pile.plug_in(self.now_ms))
        self.down(self.open(deposit_fen))
        self.tick(minutes * 60_000, power_w)
        self.do(self.pile.unplug(self.now_ms))

    def shows(self, status: Status) -> bool:
        """Whether that is its OCPP status now."""
        return self.pile.state.status is status

    def flows(self) -> bool:
        """Whether the contactor is closed now."""
        return self.closed

    def settled(self) -> list[TransactionReceipt]:
        """Receipts of stops that settled a session."""
        return [r for r in self.chain.receipts if any(event.name == "session.settled" for event in r.events)]


def bill(bench: PileBench) -> SessionSettled:
    """The one bill."""
    (receipt,) = bench.settled()
    (event,) = (event for event in receipt.events if event.name == "session.settled")
    return decode(SessionSettled, event.data)
