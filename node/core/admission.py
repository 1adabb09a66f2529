"""The door for transactions: decode, check cheaply, verify signatures in batches in threads, hand the good ones to the
engine.

Clients are answered with the code of what was wrong; a peer that gossips a bad transaction is charged for it. Every
transaction's bytes are decoded, hashed and verified once per node. Libsodium and libcrypto release the interpreter lock
while they verify, so a thread or two use the other cores; one call per 128 transactions keeps the price of crossing
threads (30 µs) below a quarter µs each.
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from ledger.errors import ClientError, PeerError
from ledger.keys import verify_many
from ledger.transaction import Transaction, decode_transaction, transaction_leaf
from node.core.stages import Stages
from node.effects import Admitted
from node.ipc.socket import BUSY, Answers

THREADS = 2
BATCH_MAX = 128
"""Transactions prepared on the loop in one go (some 10 µs each), and verified by one call."""
BATCHES_MAX = 4 * THREADS
"""Batches in the threads, where each always finds the next one waiting, or on their way from there into the engine,
which may have to wait for the disk.
"""
WAITING_MAX = 8_000
"""Transactions of one source that wait for their turn: four full blocks."""
WAITING_BYTES_MAX = 16 * 1024 * 1024
"""The same in bytes."""
KNOWN_BAD_MAX = 16_384
"""Bad transactions remembered, the latest."""
ACCEPTED = ("", "")


class _Request:
    """A client's submission: its future holds the answers when the last one is there."""

    def __init__(self, count: int) -> None:
        self.answers: Answers = [ACCEPTED] * count
        self.missing = count
        self.future: asyncio.Future[Answers] = asyncio.get_running_loop().create_future()


class _Item:
    """A transaction on its way through the door."""

    __slots__ = ("position", "raw", "request", "source")

    def __init__(self, raw: bytes, source: str | None, request: _Request | None, position: int) -> None:
        self.raw = raw
        self.source = source
        """The peer that sent it; None for a client."""
        self.request = request
        self.position = position

    def answer(self, code: str, message: str) -> None:
        """Tell the client, if it was one."""
        request = self.request
        if request:
            request.answers[self.position] = (code, message)
            request.missing -= 1
            if not request.missing and not request.future.done():
                request.future.set_result(request.answers)


class _Queue:
    """What one source has waiting."""

    def __init__(self) -> None:
        self.items: deque[_Item] = deque()
        self.size_bytes = 0


class Admission:
    """One node's door. Lives on the event loop; only signatures are checked elsewhere."""

    def __init__(
        self,
        precheck: Callable[[Transaction], None],
        holds: Callable[[bytes], bool],
        admitted: Callable[[Admitted], None],
        charge: Callable[[str, str, str], None],
        stages: Stages,
    ) -> None:
        """`precheck` raises the engine's ClientError; `holds(leaf)` says whether a transaction waits in the pool;
        `charge(peer, code, reason)` is told of a peer's bad transactions.
        """
        self._precheck = precheck
        self._holds = holds
        self._admitted = admitted
        self._charge = charge
        self._stages = stages
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="verify")
        self._queues: dict[str | None, _Queue] = {}
        """Sources with something waiting, in the order of their turns."""
        self._checking: dict[bytes, list[_Item]] = {}
        """Leaf -> whoever sent this transaction while it is in the threads, or waits for the engine."""
        self._known_bad: OrderedDict[bytes, tuple[str, str]] = OrderedDict()
        """Leaf (the hash of everything, so that a copy with a bad signature cannot block the good one) -> code and
        message.
        """
        self._batches = 0

    @property
    def waiting(self) -> int:
        """Transactions that wait or are being verified."""
        return len(self._checking) + sum(len(queue.items) for queue in self._queues.values())

    async def submit(self, raws: Sequence[bytes]) -> Answers:
        """Admit a client's transactions; for each ("", "") or code and message."""
        if not raws:
            return []
        request = _Request(len(raws))
        self._enqueue([_Item(raw, None, request, position) for position, raw in enumerate(raws)], None)
        return await request.future

    def verify(self, raws: Sequence[bytes], source: str) -> None:
        """Admit what a peer sent."""
        self._enqueue([_Item(raw, source, None, 0) for raw in raws], source)

    def handled(self, event: Admitted) -> None:
        """The engine has taken up what `admitted` was told: answer for it, and let the next batch in.

        Only now, because the pool may have filled up, or the transaction expired, while its signature was verified.
        """
        for transaction in event.transactions:
            verdict = self._verdict(transaction)
            for item in self._checking.pop(transaction.leaf):
                item.answer(*verdict)
        self._batches -= 1
        self._pump()

    def close(self) -> None:
        """Stop the threads; what waits is forgotten, as a crash would do."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _enqueue(self, items: list[_Item], source: str | None) -> None:
        queue = self._queues.setdefault(source, _Queue())
        for item in items:
            # A peer's surplus is dropped: whoever needs it for a proposal asks again.
            if len(queue.items) >= WAITING_MAX or queue.size_bytes + len(item.raw) > WAITING_BYTES_MAX:
                item.answer(*BUSY)
            else:
                queue.items.append(item)
                queue.size_bytes += len(item.raw)
        self._pump()

    def _pump(self) -> None:
        """Send batches to the threads, one source after the other."""
        while self._queues and self._batches < BATCHES_MAX:
            source, queue = next(iter(self._queues.items()))
            del self._queues[source]
            with self._stages.measure("decode"):
                batch = self._prepare(queue)
            if queue.items:
                self._queues[source] = queue  # to the end of the line
            if batch:
                self._batches += 1
                work = asyncio.get_running_loop().run_in_executor(self._threads, self._verify_batch, batch)
                work.add_done_callback(partial(self._finish, source, batch))

    def _prepare(self, queue: _Queue) -> list[Transaction]:
        """Take a batch out of a queue, answer what needs no signature, return the rest. Cheapest checks first."""
        batch = []
        for _ in range(min(BATCH_MAX, len(queue.items))):
            item = queue.items.popleft()
            queue.size_bytes -= len(item.raw)
            leaf = transaction_leaf(item.raw)
            known = self._known_bad.get(leaf)
            if known:
                self._refuse(item, *known)
                continue
            if leaf in self._checking:
                self._checking[leaf].append(item)
                continue
            try:
                transaction = decode_transaction(item.raw, leaf)
                if item.source is None:
                    # Not for peers: a proposal may need what the pool has no room for. The engine judges theirs
                    # afterwards.
                    self._precheck(transaction)
            except PeerError as error:
                self._remember_bad(leaf, error.code, error.message)
                self._refuse(item, error.code, error.message)
            except ClientError as error:
                # Seen, expired, over quota: no fault of the peer that passed it on, and it may be otherwise in a
                # moment.
                item.answer(error.code, error.message)
            else:
                self._checking[leaf] = [item]
                batch.append(transaction)
        return batch

    def _verify_batch(self, batch: list[Transaction]) -> list[bool]:
        """In a thread."""
        with self._stages.measure("verify"):
            return verify_many([(tx.body.sender, tx.id, tx.signature) for tx in batch])

    def _finish(self, source: str | None, batch: list[Transaction], verdicts: asyncio.Future[list[bool]]) -> None:
        good = []
        for transaction, is_valid in zip(batch, verdicts.result(), strict=True):
            if is_valid:
                good.append(transaction)
                continue
            bad = ("signature-invalid", "the signature does not verify with the sender's key")
            self._remember_bad(transaction.leaf, *bad)
            for item in self._checking.pop(transaction.leaf):
                self._refuse(item, *bad)
        if good:
            self._admitted(Admitted(tuple(good), source))  # the batch counts until the engine has handled it
        else:
            self._batches -= 1
            self._pump()

    def _verdict(self, transaction: Transaction) -> tuple[str, str]:
        if self._holds(transaction.leaf):
            return ACCEPTED
        try:
            self._precheck(transaction)
        except ClientError as error:
            return error.code, error.message
        return BUSY  # not taken, and nothing against it by now

    def _refuse(self, item: _Item, code: str, message: str) -> None:
        item.answer(code, message)
        if item.source is not None:
            self._charge(item.source, code, message)

    def _remember_bad(self, leaf: bytes, code: str, message: str) -> None:
        self._known_bad[leaf] = (code, message)
        if len(self._known_bad) > KNOWN_BAD_MAX:
            self._known_bad.popitem(last=False)
