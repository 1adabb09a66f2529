"""The edge's one connection to core: submits, says how far the chain is, and comes back when core does.

Everything in the edge that follows the chain waits here for a height and then reads the store, so a slow follower costs
the others, and
core, nothing.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Any, Protocol, TypeVar

import structlog

from ledger.errors import ClientError
from node.storage.reader import LedgerReader

BACK_OFF_MIN_S = 0.1
BACK_OFF_MAX_S = 5.0
"""Between attempts to reach core: at once after a restart, and cheap while an operator repairs it."""
STATUS_AGE_MAX_S = 0.5
"""How old a status answer may be: a flood of questions to the edge is one question to core."""
SUBMIT_MAX_S = 15.0
"""How long core may take to check what was submitted."""
STATUS_MAX_S = 2.0
"""How long core may take to say how it is: longer, and it is stopped or swamped."""

T = TypeVar("T")

log = structlog.get_logger()


class Core(Protocol):
    """A connection to the core process. Its methods raise OSError (ConnectionError) when core is gone."""

    async def submit(self, raws: list[bytes]) -> list[tuple[str, str]]:
        """("", "") for each accepted transaction, else (code, message)."""

    async def status(self) -> dict[str, Any]:
        """What core says of itself."""

    def sealed(self) -> AsyncIterator[int]:
        """Heights as they are sealed; some may be left out when many come at once."""

    async def close(self) -> None:
        """End the connection."""


class CoreLink:
    """Follows core. `height` never falls and is never above what the store holds."""

    def __init__(self, ledger: LedgerReader, connect: Callable[[], Awaitable[Core]]) -> None:
        """Link by way of `connect`, which makes a new connection or raises OSError."""
        self._connect = connect
        self._client: Core | None = None
        self._changed = asyncio.Event()
        self.last_status: dict[str, Any] = {}
        """Core's newest answer, however old."""
        self._status_at = float("-inf")
        self._status_lock = asyncio.Lock()
        with ledger.snapshot() as snapshot:
            self.height = snapshot.height

    @property
    def connected(self) -> bool:
        """Whether core is reachable right now."""
        return self._client is not None

    async def run(self) -> None:
        """Stay connected for ever: the supervisor restarts core, and the edge goes on serving reads meanwhile."""
        delay_s = BACK_OFF_MIN_S
        while True:
            try:
                client = await self._connect()
            except (OSError, EOFError) as error:
                log.debug("core.unreachable", error=str(error))
            else:
                log.info("core.connected")
                delay_s = BACK_OFF_MIN_S
                await self._follow(client)
            await asyncio.sleep(delay_s)
            delay_s = min(2 * delay_s, BACK_OFF_MAX_S)

    async def wait_above(self, height: int) -> int:
        """The sealed height, as soon as it is larger than `height`."""
        while self.height <= height:
            await self._changed.wait()
        return self.height

    async def submit(self, raws: list[bytes]) -> list[tuple[str, str]]:
        """Core's answers, in order: ("", "") or (code, message). Raises ClientError `core-unreachable`."""
        return await self._ask(lambda client: client.submit(raws), SUBMIT_MAX_S)

    async def status(self) -> dict[str, Any]:
        """Core's status, at most half a second old. Raises ClientError `core-unreachable`."""
        async with self._status_lock:
            now = asyncio.get_running_loop().time()
            if not self.connected or now - self._status_at > STATUS_AGE_MAX_S:
                self.last_status = await self._ask(lambda client: client.status(), STATUS_MAX_S)
                self._status_at = now
            return self.last_status

    async def _ask(self, question: Callable[[Core], Awaitable[T]], timeout_s: float) -> T:
        client = self._client
        if client is None:
            raise ClientError(
                "core-unreachable", "this node's core process is not reachable; try again or ask another node"
            )
        try:
            async with asyncio.timeout(timeout_s):
                return await question(client)
        except (OSError, EOFError) as error:  # TimeoutError is an OSError
            raise ClientError(
                "core-unreachable", "core went away or did not answer in time; sending again is safe"
            ) from error

    async def _follow(self, client: Core) -> None:
        self._client = client
        try:
            async for height in client.sealed():
                self._advance(height)
        except (OSError, EOFError) as error:
            log.warning("core.lost", error=str(error))
        finally:
            self._client = None
            with suppress(OSError):
                await client.close()

    def _advance(self, height: int) -> None:
        if height > self.height:
            self.height = height
            self._changed.set()
            self._changed = asyncio.Event()
