"""W2: how long one payment takes on an idle chain, from submitting it to holding its sealed receipt with all proofs."""

import asyncio
import time
from pathlib import Path
from typing import Any

from bench.consortium import Member, about, percentiles_ms, report, running
from bench.load import sign_payment
from ledger.block import Receipt, check_sealed, verify_receipt
from ledger.codec import decode, encode
from ledger.errors import OurError, require
from ledger.keys import Scheme
from ledger.transaction import decode_transaction
from node.testnet.consortium import Driver

WAIT_S_MAX = 10.0
PAUSE_S = 0.02
"""Between two payments: the chain is idle when the next comes."""


async def latency(nodes: int, count: int, scheme: Scheme) -> dict[str, Any]:
    """Send payments one by one, to the nodes in turn; return the figures."""
    drivers = [Driver("payer", "SGCC", 1_000_000), Driver("payee", "Teld", 0)]
    async with running(nodes, scheme, drivers) as (testnet, members):
        chain_id = members[0].home.genesis().hash()
        payer, payee = (testnet.signer("driver", driver.name) for driver in drivers)
        followers = [_Follower(member) for member in members]
        tasks = [asyncio.create_task(follower.run()) for follower in followers]
        latencies_ms = []
        for number in range(count):
            raw = sign_payment(payer, payee.public_key, 1, chain_id, number)
            begun = time.perf_counter()
            await followers[number % nodes].pay(raw)
            latencies_ms.append((time.perf_counter() - begun) * 1000)
            await asyncio.sleep(PAUSE_S)
        for task in tasks:
            task.cancel()
    return about(nodes, scheme) | {"payments": count, "latency_ms": percentiles_ms(latencies_ms)}


def run(nodes: int, count: int, scheme: Scheme, file: Path | None) -> None:
    """Run, print, and write the JSON file."""
    report(asyncio.run(latency(nodes, count, scheme)), file)


class _Follower:
    """Waits at one node for receipts, as its edge process does."""

    def __init__(self, member: Member) -> None:
        self._member = member
        self._moved = asyncio.Event()
        self._genesis = member.home.genesis()

    async def run(self) -> None:
        async for _ in self._member.client.sealed():
            self._moved.set()

    async def pay(self, raw: bytes) -> None:
        """Return when the payment's receipt is proven. Raises OurError if it is refused, failed or not proven."""
        ((code, message),) = await self._member.client.submit([raw])
        require(not code, "payment-refused", f"{code}: {message}")
        id_ = decode_transaction(raw).id
        async with asyncio.timeout(WAIT_S_MAX):
            while not self._proven(id_):
                self._moved.clear()
                await self._moved.wait()

    def _proven(self, id_: bytes) -> bool:
        with self._member.reader.snapshot() as snapshot:
            place = snapshot.locate(id_)
            if place is None:
                return False
            sealed = snapshot.sealed(place.height)
            receipt = snapshot.receipts(place.height)[place.position]
            proof = snapshot.prove_receipt(place.height, place.position)
        if sealed is None:
            raise OurError("store-damaged", f"height {place.height} has a transaction and no seal")
        _, result = check_sealed(sealed, self._genesis.validators, self._genesis.hash())
        done = decode(Receipt, receipt)
        require(verify_receipt(result, encode(done), proof), "receipt-unproven", id_.hex())
        require(done.call_id == id_ and done.code == 0, "payment-failed", f"code {done.code}")
        return True
