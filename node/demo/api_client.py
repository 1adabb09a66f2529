"""A driver's way to the ledger: the API of the home operator's node, and of the next node when that one is down."""

import asyncio
from collections.abc import Sequence

import aiohttp
import msgspec
from msgspec import Struct

from ledger.errors import ClientError

ROUNDS_MAX = 20
"""How often all nodes are asked before a driver gives up: far longer than any node of the demo is away."""
PAUSE_S = 0.5
WAIT_MS = 20_000
"""How long one request waits for the seal."""
REQUEST_S = 30.0


class SealedAnswer(Struct, frozen=True):
    """What a driver keeps of the API's answer to a sealed transaction."""

    id: str
    height: int
    index: int
    code: int
    code_name: str


class Problem(Struct, frozen=True):
    """What a driver keeps of an error of the API (RFC 9457)."""

    code: str = "unknown"
    detail: str = ""


class ApiClient:
    """Submits transactions. Sending the same bytes again is safe: a transaction's id is the hash of its body."""

    def __init__(self, session: aiohttp.ClientSession, addresses: Sequence[str]) -> None:
        """Ask the nodes at these addresses, the first one first."""
        self._session = session
        self._addresses = addresses

    async def submit(self, raw: bytes, first: str) -> SealedAnswer:
        """The sealed outcome of a signed transaction, through the node at `first` if it is up.

        Raises ClientError with the API's code if the transaction was not admitted, `node-unreachable` if no node
        answers.
        """
        order = sorted(self._addresses, key=lambda address: address != first)
        for _ in range(ROUNDS_MAX):
            for address in order:
                answer = await self._try(address, raw)
                if answer is not None:
                    return answer
            await asyncio.sleep(PAUSE_S)
        raise ClientError("node-unreachable", f"none of {', '.join(order)} sealed the transaction")

    async def _try(self, address: str, raw: bytes) -> SealedAnswer | None:
        """One request; None where another node, or the same one later, may do better."""
        try:
            async with self._session.post(
                f"http://{address}/v1/transactions",
                params={"wait": "sealed", "timeout_ms": str(WAIT_MS)},
                data=raw,
                headers={"content-type": "application/octet-stream"},
                timeout=aiohttp.ClientTimeout(total=REQUEST_S),
            ) as response:
                body = await response.read()
        except (aiohttp.ClientError, TimeoutError):
            return None
        if response.status == 200:
            return msgspec.json.decode(body, type=SealedAnswer)
        if response.status == 202 or response.status == 429 or response.status >= 500:
            return None
        problem = msgspec.json.decode(body, type=Problem)
        raise ClientError(problem.code, problem.detail)
