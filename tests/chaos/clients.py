"""Clients of a chaos run: payers who ask until they hold a sealed receipt with its proof, and readers of balances."""

import asyncio
import random
import time
from collections import deque
from collections.abc import Sequence
from math import inf
from typing import Any

import aiohttp
from msgspec import Struct

from contracts.abi import GAS_LIMIT
from contracts.codes import Code as HostCode
from devices.light_client import LightClient, SealCache
from devices.light_state import LightState
from devices.wire import ReceiptProof
from ledger.block import SealedHeader, TransactionProof
from ledger.codec import decode
from ledger.genesis import Genesis
from ledger.keys import SoftSigner
from ledger.merkle import MerkleProof
from ledger.transaction import Body, decode_transaction, sign_transaction
from node.library import library_abi
from tests.chaos.history import Executed, History, Payment, Read
from tests.oracles.codes import Code

ANSWER_S_MAX = 45.0
"""A node answers within its own limits (15 s to submit, then the wait for the seal), or its process is gone. Longer is
a request that never ends.
"""
SEALED_MS_MAX = 4_000
"""How long a node is asked to wait for the seal."""
PATIENCE_S = 25.0
"""A payer that has no receipt by then gives up: its payment stays indeterminate."""
PAUSE_S = 0.15
VALID_MS = 120_000
READ_S = 0.3
REFUSALS = frozenset({"transaction-chain", "transaction-expired", "transaction-too-far", "sender-quota", "pool-full"})
"""Codes with which a node says that it has not taken the transaction."""
FORGETFUL, OVERSPENDING, STALE = 0.06, 0.03, 0.02
"""Shares of payments that are sent once without waiting, that cannot be paid, and that are out of date."""
AGAIN = 0.15
"""Share of a payer's turns in which it sends something again for which it holds a receipt."""
AGAIN_KEPT = 20
"""So many of its newest receipts a payer can do that with: it makes two payments a second, and they are valid for two
minutes.
"""
FRESH_S = 10.0
"""So long after its start a node is asked again before the others."""


class Node(Struct, frozen=True):
    """Where a member's API is."""

    name: str
    api: str


class Clients:
    """What all clients share."""

    def __init__(self, genesis: Genesis, nodes: Sequence[Node], history: History, web: aiohttp.ClientSession) -> None:
        """Ask these nodes and write the history."""
        self.genesis = genesis
        self.chain_id = genesis.hash()
        self.nodes = nodes
        self.history = history
        self.stopping = asyncio.Event()
        self.height = 0
        """Newest that anybody has a receipt of."""
        self.advances_s: list[float] = []
        """When it rose."""
        self.started_s: dict[str, float] = {}
        """Node → when a process of it was last killed or started again."""
        self.acknowledged = asyncio.Event()
        """Set and replaced at each receipt from a new height."""
        self._web = web
        state = LightState(self.chain_id, b"", validators=genesis.validators, time_ms=genesis.time_ms)
        self._light = LightClient(state, SealCache())

    def just_started(self) -> list[Node]:
        """Nodes that may have forgotten something."""
        now_s = time.monotonic()
        return [node for node in self.nodes if now_s - self.started_s.get(node.name, -inf) < FRESH_S]

    async def until_above(self, height: int) -> None:
        """Return when a receipt from above a height has come."""
        while self.height <= height:
            await self.acknowledged.wait()

    async def post(self, node: Node, payment: Payment, raw: bytes, wait: bool) -> None:
        """Submit, and note what became of it."""
        try:
            status, content = await self._submit(node, raw, wait)
        except aiohttp.ClientConnectorError:
            self.history.requests["not connected"] += 1
            return  # nothing was sent
        except (aiohttp.ClientError, OSError, ValueError):
            payment.doubtful = True
            self.history.requests["connection lost"] += 1
            return
        if status == 200:
            self.history.requests["sealed"] += 1
            self._take(node, payment, raw, content)
            return
        code = content.get("code", "accepted")
        self.history.requests[code] += 1
        if code in REFUSALS:
            payment.refused = code
        else:
            payment.doubtful = True

    async def post_again(self, node: Node, payment: Payment, raw: bytes, wait: bool) -> None:
        """Submit what has been acknowledged. A node that waits finds the same receipt; one that only submits asks its
        core, which knows the transaction, or still lags behind the block that holds it. The stores tell whether it
        was executed again.
        """
        try:
            status, content = await self._submit(node, raw, wait)
        except (aiohttp.ClientError, OSError, ValueError):
            self.history.requests["again: connection lost"] += 1
            return
        when = "just started" if node in self.just_started() else "again"
        self.history.requests[f"{when}: {'sealed' if status == 200 else content.get('code', 'accepted')}"] += 1
        if status == 200 and (found := self._proven(node, raw, content)) and found != payment.acknowledged:
            self.history.wrong.append(f"{node.name} gave another receipt of {payment.id.hex()[:12]} than before")

    async def _submit(self, node: Node, raw: bytes, wait: bool) -> tuple[int, dict[str, Any]]:
        """Status and content of the answer. Raises as the web client does; what never ends is noted as wrong."""
        query = f"?wait=sealed&timeout_ms={SEALED_MS_MAX}" if wait else ""
        try:
            async with self._web.post(
                f"{node.api}/v1/transactions{query}", data=raw, headers={"Content-Type": "application/octet-stream"}
            ) as answer:
                return answer.status, await answer.json(content_type=None)
        except TimeoutError:
            self.history.wrong.append(f"{node.name} did not answer a submission within {ANSWER_S_MAX:.0f} s")
            raise

    def _take(self, node: Node, payment: Payment, raw: bytes, answer: dict[str, Any]) -> None:
        """Keep a receipt that is proven."""
        found = self._proven(node, raw, answer)
        if not found:
            return
        payment.acknowledged = found
        payment.acknowledged_s, payment.acknowledged_by = time.monotonic(), node.name
        if found.height > self.height:
            self.height = found.height
            self.advances_s.append(payment.acknowledged_s)
            self.acknowledged.set()
            self.acknowledged = asyncio.Event()

    def _proven(self, node: Node, raw: bytes, answer: dict[str, Any]) -> Executed | None:
        """A receipt, if its proof holds, as a light client would see it."""
        proof = answer["proof"]
        sealed = decode(SealedHeader, bytes.fromhex(proof["sealed_header"]))
        receipt = bytes.fromhex(answer["receipt_raw"])
        claim = ReceiptProof(
            sealed=sealed,
            old=None,
            transaction=decode(TransactionProof, bytes.fromhex(proof["transaction_proof"])),
            receipt=receipt,
            receipt_path=decode(MerkleProof, bytes.fromhex(proof["receipt_proof"])),
        )
        verdict = self._light.check_receipt(raw, claim)
        height = answer["height"]
        if not verdict.true:
            self.history.wrong.append(f"{node.name}: a receipt at height {height} is not proven: {verdict.code}")
            return None
        if not self.history.saw_sealed(height, sealed):
            self.history.wrong.append(f"two blocks are sealed at height {height}")
        return Executed(height, answer["index"], receipt)

    async def read(self, node: Node, account: bytes) -> None:
        """Ask for a balance."""
        begun_s = time.monotonic()
        try:
            async with self._web.get(f"{node.api}/v1/accounts/{account.hex()}") as answer:
                content = await answer.json(content_type=None)
                if answer.status != 200:
                    self.history.requests[f"read: {content.get('code')}"] += 1
                    return
        except TimeoutError:
            self.history.wrong.append(f"{node.name} did not answer a read within {ANSWER_S_MAX:.0f} s")
            return
        except (aiohttp.ClientError, OSError, ValueError):
            self.history.requests["read: connection lost"] += 1
            return
        self.history.requests["read"] += 1
        height, balance_fen = content["height"], content["wallet_fen"]
        self.history.reads.append(Read(node.name, begun_s, time.monotonic(), account, height, balance_fen))

    async def told_height(self, api: str) -> int:
        """Height that a node's API tells; -1 if it does not answer."""
        try:
            async with self._web.get(f"{api}/v1/status", timeout=aiohttp.ClientTimeout(total=5)) as answer:
                return (await answer.json(content_type=None))["height"] if answer.status == 200 else -1
        except (aiohttp.ClientError, OSError):
            return -1

    async def pause(self, seconds: float) -> None:
        """Wait, but not beyond the end."""
        try:
            async with asyncio.timeout(seconds):
                await self.stopping.wait()
        except TimeoutError:
            pass


class Payer:
    """Pays one after the other, each until it holds the receipt or loses patience."""

    def __init__(self, clients: Clients, key: SoftSigner, payee: bytes, seed: str) -> None:
        """Pay from this key's wallet."""
        self._clients = clients
        self._key = key
        self._payee = payee
        self._rng = random.Random(seed)
        self._count = 0
        self._kept: deque[tuple[Payment, bytes]] = deque(maxlen=AGAIN_KEPT)
        """Acknowledged, and still valid."""

    async def run(self) -> None:
        """Until told to stop."""
        clients, rng = self._clients, self._rng
        while not clients.stopping.is_set():
            if self._kept and rng.random() < AGAIN:
                await self._send_again()
                continue
            payment, raw = self._next()
            clients.history.payments.append(payment)
            if rng.random() < FORGETFUL:
                # Sent to two nodes, never asked for again.
                await asyncio.gather(
                    *(clients.post(node, payment, raw, False) for node in rng.sample(clients.nodes, 2))
                )
            else:
                await self.ask(payment, raw)
            if payment.acknowledged:
                self._kept.append((payment, raw))
            await clients.pause(rng.uniform(0, 2 * PAUSE_S))

    async def ask(self, payment: Payment, raw: bytes, node: Node | None = None) -> None:
        """Submit the same bytes to one node after the other until the receipt is there."""
        clients, end_s = self._clients, time.monotonic() + PATIENCE_S
        while not payment.acknowledged and time.monotonic() < end_s and not clients.stopping.is_set():
            await clients.post(node or self._rng.choice(clients.nodes), payment, raw, True)
            if payment.refused and self._is_stale(raw):
                return  # as it must be
            if not payment.acknowledged:
                await clients.pause(self._rng.uniform(0, 2 * PAUSE_S))

    async def _send_again(self) -> None:
        """Something acknowledged, rather to a node that has just been started again."""
        clients, rng = self._clients, self._rng
        payment, raw = rng.choice(self._kept)
        node = rng.choice(clients.just_started() or clients.nodes)
        await clients.post_again(node, payment, raw, rng.random() < 0.3)

    def pay(self, amount_fen: int, valid_ms: int = VALID_MS, code: int = HostCode.DONE) -> tuple[Payment, bytes]:
        """A signed payment, and the code that it must have if it is executed."""
        self._count += 1
        call = library_abi().encode_call("money", "pay", to=self._payee, amount_fen=amount_fen, memo=self._count)
        body = Body(
            chain_id=self._clients.chain_id,
            sender=self._key.public_key,
            branch=call.branch,
            expiry_class=call.expiry_class,
            contract=call.contract,
            method=call.method,
            args=call.args,
            gas_limit=GAS_LIMIT,
            valid_until_ms=time.time_ns() // 1_000_000 + valid_ms,
            salt=self._count.to_bytes(8, "big"),
        )
        raw = sign_transaction(body, self._key)
        id_ = decode_transaction(raw).id
        return Payment(id_, self._key.public_key, self._payee, amount_fen, time.monotonic(), code), raw

    def _next(self) -> tuple[Payment, bytes]:
        kind = self._rng.random()
        if kind < OVERSPENDING:
            return self.pay(10**12, code=Code.OVERSPENT)
        if kind < OVERSPENDING + STALE:
            # Older than a clock that is an hour slow.
            return self.pay(1, -2 * 3_600_000)
        return self.pay(self._rng.randint(1, 97))

    @staticmethod
    def _is_stale(raw: bytes) -> bool:
        return decode_transaction(raw).body.valid_until_ms < time.time_ns() // 1_000_000 - 3_600_000


async def read_balances(clients: Clients, node: Node, accounts: Sequence[bytes], seed: str) -> None:
    """Ask one node for balances until told to stop."""
    rng = random.Random(seed)
    while not clients.stopping.is_set():
        await clients.read(node, rng.choice(accounts))
        await clients.pause(READ_S)
