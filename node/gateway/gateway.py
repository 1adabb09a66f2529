"""The gateway: devices on MQTT, core and ledger behind it. It decides nothing that a device could not check.

It keeps no state that matters: a device asks again until it holds the sealed receipt, so a gateway that dies loses no
accepted message. What it waits for (receipts of transactions under way) is a cache; readings are confirmed to a device
once they are durable. It serves the piles of its own company; another company's gateway on the same broker serves the
others.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from typing import TypeVar

import structlog

from devices.mqtt import MqttLink, MqttSettings
from devices.session import opened_in
from devices.wire import (
    Archived,
    DownPayload,
    Head,
    Receipt,
    Refused,
    SessionOpen,
    check_up,
    decode_down,
    device_of,
    down_topic,
    head_topic,
    is_device_name,
    open_up,
    sign_archived,
    topic_root,
)
from ledger.block import Header, SealedHeader, check_sealed
from ledger.block import Receipt as TransactionReceipt
from ledger.codec import decode, decode_trusted, encode
from ledger.errors import ClientError, PeerError
from ledger.keys import Signer
from node.clock import ChainClock
from node.edge.blocks import Blocks, read_top
from node.gateway import proofs as gateway_proofs
from node.gateway.admission import Admission
from node.gateway.archive import Archive, Batch
from node.gateway.serve import Storing, Submission, Work, known_device, serve
from node.ipc.link import CoreLink
from node.storage.reader import LedgerReader, Snapshot

HEAD_INTERVAL_MS = 20 * 60 * 1000
"""Chain time between heads that an idle pile hears: 72 a day are 85 kB of its 100."""
HEAD_STAGGER_MS = 30_000
"""Spread over the gateways of one broker: the first one publishes, the others see it and need not."""
INBOX_MAX = 5_000
"""Messages received and not served; more are dropped, and their senders come again."""
WORK_MAX = 2_000
"""Submissions, and reading batches, waiting; as many as core grants credits to a connection."""
WAITING_MAX = 20_000
"""Transactions whose receipt a device waits for."""
SERVE_MAX = 64
"""Messages or receipts served from one snapshot, some milliseconds."""
SUBMIT_TRIES = 5
SUBMIT_WAIT_S = 0.2
"""Between tries while core is busy; doubles. Then the device is told, and comes again by itself."""
BUSY = frozenset({"busy", "pool-full", "core-unreachable"})
"""Codes that say "later"."""
UNDER_WAY = frozenset({"transaction-seen"})
"""Codes that say "I have it"."""

Item = TypeVar("Item")

log = structlog.get_logger()


class Gateway:
    """One gateway. `run` works until cancelled."""

    def __init__(
        self,
        company: str,
        ledger: LedgerReader,
        core: CoreLink,
        archive: Archive,
        archive_signer: Signer,
        clock: ChainClock,
        mqtt: MqttSettings,
    ) -> None:
        """Serve the piles of `company` (of all companies if empty) through the broker of `mqtt`; `archive_signer` holds
        the key that these piles know as their archive's.
        """
        self._company = company
        self._ledger = ledger
        self._core = core
        self._archive = archive
        self._archive_signer = archive_signer
        self._blocks = Blocks(ledger)
        self._clock = clock
        with ledger.snapshot() as snapshot:
            self._chain_id = snapshot.genesis.hash()
            self._start_max_ms = snapshot.genesis.parameters.session_start_max_ms
            members = [member.name for member in snapshot.genesis.validators.validators]
        self._stagger_ms = HEAD_STAGGER_MS * (members.index(company) if company in members else 0)
        self._admission = Admission()
        self._inbox: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue(INBOX_MAX)
        self._submissions: asyncio.Queue[Submission] = asyncio.Queue(WORK_MAX)
        self._storings: asyncio.Queue[Storing] = asyncio.Queue(WORK_MAX)
        self._waiting: OrderedDict[bytes, str] = OrderedDict()
        """Transaction id -> device that waits for its receipt."""
        self._head_ms = 0
        """Sealed time of the head that is retained at the broker."""
        root = topic_root(self._chain_id)
        self._link = MqttLink(mqtt, (f"{root}/d/+/up", head_topic(self._chain_id)), self._on_message, lambda: None)

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for work in (self._link.run(), self._serve(), self._submit(), self._store(), self._follow(), self._heads()):
                tasks.create_task(work)

    # ── from devices ────────────────────────────────────────────────────────────────────────────────────────────────

    def _on_message(self, topic: str, payload: bytes) -> None:
        if topic == head_topic(self._chain_id):
            self._see_head(payload)
        elif not self._inbox.full():
            self._inbox.put_nowait((device_of(topic), payload))

    async def _serve(self) -> None:
        while True:
            batch = [await self._inbox.get()]
            while len(batch) < SERVE_MAX and not self._inbox.empty():
                batch.append(self._inbox.get_nowait())
            with self._ledger.snapshot() as snapshot:
                for device, data in batch:
                    self._serve_one(snapshot, device, data)
            await asyncio.sleep(0)  # the api shares this loop

    def _serve_one(self, snapshot: Snapshot, device: str, data: bytes) -> None:
        message_id = 0
        try:
            record = known_device(snapshot, device)
            if self._company and record.operator != self._company:
                return  # another company's pile: its own gateway answers
            if not self._admission.charge(device, self._clock.now_ms()):
                return  # it was told, a moment ago
            up = open_up(data)
            message_id = up.message_id
            payload = check_up(up, self._chain_id, device, record.public_key)
            if not self._admission.first_time(device, message_id):
                return  # QoS 1 delivers at least once
            for item in serve(snapshot, self._blocks, device, record.public_key, message_id, payload):
                if isinstance(item, Submission | Storing):
                    self._enqueue(item)
                else:
                    self._tell(device, item)
        except PeerError as error:
            self._refuse(device, message_id, error)

    def _enqueue(self, work: Work) -> None:
        full = PeerError("gateway-busy", "more is waiting than this gateway takes; send it again later")
        if isinstance(work, Storing):
            if self._storings.full():
                raise full
            self._storings.put_nowait(work)
            return
        if self._submissions.full():
            raise full
        self._submissions.put_nowait(work)
        self._waiting[work.transaction.id] = work.device
        self._waiting.move_to_end(work.transaction.id)
        if len(self._waiting) > WAITING_MAX:
            self._waiting.popitem(last=False)

    def _refuse(self, device: str, message_id: int, error: PeerError | ClientError) -> None:
        if error.code in ("device-unknown", "message-forged"):
            if not self._admission.stranger(device):
                return  # logged and told once; more would be what a flood is after
            log.warning("gateway.stranger", device=device[:64], code=error.code)
        if is_device_name(device):
            self._tell(device, Refused(message_id, error.code[:64], error.message[:256]))

    def _tell(self, device: str, message: DownPayload) -> None:
        self._link.publish(down_topic(self._chain_id, device), encode(message))

    # ── to core and archive ─────────────────────────────────────────────────────────────────────────────────────────

    async def _submit(self) -> None:
        while True:
            batch = await _take(self._submissions)
            wait_s = SUBMIT_WAIT_S
            for attempt in range(1, SUBMIT_TRIES + 1):
                answers = await self._ask_core([item.transaction.raw for item in batch])
                again = []
                for item, (code, message) in zip(batch, answers, strict=True):
                    if code in BUSY and attempt < SUBMIT_TRIES:
                        again.append(item)
                    elif code and code not in UNDER_WAY:
                        self._waiting.pop(item.transaction.id, None)
                        self._refuse(item.device, item.message_id, ClientError(code, message))
                batch = again
                if not batch:
                    break
                await asyncio.sleep(wait_s)
                wait_s *= 2

    async def _ask_core(self, raws: list[bytes]) -> list[tuple[str, str]]:
        try:
            return await self._core.submit(raws)
        except ClientError as error:
            return [(error.code, error.message)] * len(raws)

    async def _store(self) -> None:
        while True:
            batch = await _take(self._storings)
            answers = await asyncio.to_thread(self._keep, [item.batch for item in batch])
            for item, answer in zip(batch, answers, strict=True):
                if isinstance(answer, PeerError):
                    self._refuse(item.device, item.message_id, answer)
                else:
                    self._tell(item.device, answer)

    def _keep(self, batches: list[Batch]) -> list[Archived | PeerError]:
        """Store readings and sign for them; in a thread, for disk and signatures take their time."""
        return [
            end
            if isinstance(end, PeerError)
            else sign_archived(self._chain_id, batch.pile, batch.session, end.count, end.digest, self._archive_signer)
            for batch, end in zip(batches, self._archive.append(batches), strict=True)
        ]

    # ── from the chain ──────────────────────────────────────────────────────────────────────────────────────────────

    async def _follow(self) -> None:
        """Push receipts and opens of each sealed block. After a restart, from the oldest open that can still be
        started.
        """
        with self._ledger.snapshot() as snapshot:
            done = snapshot.height and (
                gateway_proofs.first_height_after(snapshot, self._clock.now_ms() - self._start_max_ms) - 1
            )
        while True:
            newest = self._core.height if self._core.height > done else await self._core.wait_above(done)
            while done < newest:
                done += 1
                receipts = self._blocks.get(done).receipts
                for first in range(0, len(receipts), SERVE_MAX):
                    with self._ledger.snapshot() as snapshot:
                        for device, message in self._news(snapshot, receipts[first : first + SERVE_MAX]):
                            self._tell(device, message)
                    await asyncio.sleep(0)

    def _news(self, snapshot: Snapshot, receipts: Iterable[TransactionReceipt]) -> Iterator[tuple[str, DownPayload]]:
        for receipt in receipts:
            device = self._waiting.pop(receipt.call_id, None)
            opened = opened_in(receipt)
            opened_here = opened is not None and self._serves(snapshot, opened.pile)
            if not device and not opened_here:
                continue
            found = gateway_proofs.prove_receipt(snapshot, self._blocks, receipt.call_id)
            if found and device:
                yield device, Receipt(receipt.call_id, found[1])
            if found and opened and opened_here:
                yield opened.pile, SessionOpen(*found)

    def _serves(self, snapshot: Snapshot, device: str) -> bool:
        record = gateway_proofs.registered(snapshot, device)
        return record is not None and (not self._company or record.operator == self._company)

    # ── heads ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def _see_head(self, payload: bytes) -> None:
        try:
            message = decode_down(payload)
            if isinstance(message, Head):
                time_ms = self._time_of(message.sealed)
                self._head_ms = max(time_ms, self._head_ms)
        except (PeerError, ClientError) as error:
            log.warning("gateway.head_refused", code=error.code)

    def _time_of(self, sealed: SealedHeader) -> int:
        """Sealed time of a head that a device would believe.

        Raises PeerError as `check_sealed` does, ClientError `height-unknown` above this node's own height: a head from
        the future that anybody put at the broker would keep all gateways silent until then.
        """
        with self._ledger.snapshot() as snapshot:
            header = decode(Header, sealed.header)
            ours = read_top(snapshot, header.height)
            validators = snapshot.validator_set(ours.header.set_hash)
        if validators is None or sealed.header != ours.sealed.header:
            raise PeerError("head-other", f"height {header.height} is another block here")
        check_sealed(sealed, validators, self._chain_id)
        return header.time_ms

    async def _heads(self) -> None:
        """Keep a head retained at the broker that is at most 20 minutes old; one gateway's is enough for all
        devices.
        """
        while True:
            due_ms = self._head_ms + HEAD_INTERVAL_MS + self._stagger_ms
            wait_ms = due_ms - self._clock.now_ms()
            if wait_ms > 0:
                await asyncio.sleep(wait_ms / 1000 / self._clock.speed)
                continue
            with self._ledger.snapshot() as snapshot:
                height, head = snapshot.height, gateway_proofs.sealed_head(snapshot)
            if head:
                time_ms = decode_trusted(Header, head.header).time_ms
                if time_ms > self._head_ms:
                    self._link.publish(head_topic(self._chain_id), encode(Head(head)), retain=True)
                # A chain that stands still has no newer head to tell: look again when one is due.
                self._head_ms = max(time_ms, self._clock.now_ms() - self._stagger_ms - HEAD_INTERVAL_MS // 2)
            else:
                await self._core.wait_above(height)


async def _take(queue: asyncio.Queue[Item]) -> list[Item]:
    """Everything that waits, at least one, at most 256: one submission or one transaction of the archive."""
    batch = [await queue.get()]
    while len(batch) < 256 and not queue.empty():
        batch.append(queue.get_nowait())
    return batch
