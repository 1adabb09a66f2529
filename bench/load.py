"""A closed loop of signed payments on the nodes of a benchmark: never more than a bounded number on the way."""

import asyncio
import time
from collections import Counter, deque
from collections.abc import Sequence

from msgspec import Struct, field

from bench.consortium import Member
from ledger.block import Receipt
from ledger.codec import decode_trusted
from ledger.keys import SoftSigner
from ledger.transaction import decode_transaction, sign_transaction
from node.library import library_abi

ON_THE_WAY_MAX = 6_000
"""Payments submitted and not sealed yet: a few blocks, so that the next is full when the last is committed."""
BATCH = 64
"""Payments in one submission; the first of each has its latency measured."""
SUBMITTERS = 2
"""Submissions on the way per node: while one is verified the next is already there."""
DRAIN_S_MAX = 60.0
VALID_MS = 300_000


def sign_payment(payer: SoftSigner, payee: bytes, amount_fen: int, chain_id: bytes, salt: int) -> bytes:
    """A signed `money.pay` that is valid for some minutes; equal but for the salt, two are two payments."""
    call = library_abi().encode_call("money", "pay", to=payee, amount_fen=amount_fen, memo=0)
    valid_until_ms = time.time_ns() // 1_000_000 + VALID_MS
    return sign_transaction(call.body(chain_id, payer.public_key, valid_until_ms, salt.to_bytes(8, "big")), payer)


def sign_payments(
    signers: Sequence[SoftSigner], payees: Sequence[bytes], chain_id: bytes, count: int, part: int
) -> deque[list[bytes]]:
    """Batches of payments from everybody in turn to one of the payees, another each time; `part` tells runs apart."""
    raws = [
        sign_payment(
            signers[i % len(signers)],
            payees[(i * 7 + 1) % len(payees)],
            1 + i % 50,
            chain_id,
            part << 32 | i,
        )
        for i in range(count)
    ]
    return deque(raws[i : i + BATCH] for i in range(0, count, BATCH))


class Tally(Struct):
    """What became of the payments since the start."""

    sent: int = 0
    sealed: int = 0
    """With a receipt that says done."""
    refused: Counter[str] = field(default_factory=Counter)
    """At a node's door, by code."""
    failed: Counter[int] = field(default_factory=Counter)
    """Sealed with a receipt that says why nothing changed, by code."""

    @property
    def on_the_way(self) -> int:
        """Submitted, and no word of them yet."""
        return self.sent - self.sealed - self.failed.total() - self.refused.total()


class Load:
    """Payments on their way through the nodes."""

    def __init__(self, members: Sequence[Member]) -> None:
        self.members = members
        self.tally = Tally()
        self.seals: list[tuple[float, int]] = []
        """When the first node's blocks were found sealed, and the payments sealed up to then."""
        self.latencies_ms: list[float] = []
        """Submitted until the same node told of the seal."""
        self._sampled: list[dict[bytes, float]] = [{} for _ in members]
        self._moved = asyncio.Event()
        self._counted_to = members[0].height()

    async def follow(self, number: int) -> None:
        """Read a node's sealed blocks, for ever: the first node's count, and all tell of sampled payments. Raises
        ConnectionError when the node is gone.
        """
        member, sampled = self.members[number], self._sampled[number]
        async for _ in member.client.sealed():
            now = time.perf_counter()
            if number == 0:
                self._count(now)
            with member.reader.snapshot() as snapshot:
                for id_ in [id_ for id_ in sampled if snapshot.locate(id_)]:
                    self.latencies_ms.append((now - sampled.pop(id_)) * 1000)

    async def offer(self, payments: deque[list[bytes]], until: float) -> None:
        """Submit to all nodes until the time is over (or the payments), then wait until nothing is on the way. Raises
        TimeoutError if that does not come.
        """
        async with asyncio.TaskGroup() as group:
            for number in range(SUBMITTERS * len(self.members)):
                group.create_task(self._submit(number % len(self.members), payments, until))
        async with asyncio.timeout(DRAIN_S_MAX):
            while self.tally.on_the_way > 0:
                await self._move()

    async def _submit(self, number: int, payments: deque[list[bytes]], until: float) -> None:
        member, tally = self.members[number], self.tally
        while payments and time.perf_counter() < until:
            if tally.on_the_way >= ON_THE_WAY_MAX:
                await self._move()
                continue
            batch = payments.popleft()
            tally.sent += len(batch)
            self._sampled[number][decode_transaction(batch[0]).id] = time.perf_counter()
            answers = await member.client.submit(batch)
            tally.refused.update(code for code, _ in answers if code)

    async def _move(self) -> None:
        self._moved.clear()
        await self._moved.wait()

    def _count(self, now: float) -> None:
        tally = self.tally
        with self.members[0].reader.snapshot() as snapshot:
            for height in range(self._counted_to + 1, snapshot.height + 1):
                codes = Counter(decode_trusted(Receipt, raw).code for raw in snapshot.receipts(height))
                tally.sealed += codes.pop(0, 0)
                tally.failed.update(codes)
            self._counted_to = snapshot.height
        self.seals.append((now, tally.sealed))
        self._moved.set()
