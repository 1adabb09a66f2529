"""Drivers who charge again and again at the piles of a fleet. They know the consortium by its API alone, as an app
does.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import aiohttp
import msgspec
import structlog
from msgspec import Struct

from ledger.errors import ClientError
from ledger.keys import Signer
from ledger.transaction import decode_transaction
from node.calls import signed_call
from node.clock import ChainClock
from node.demo.api_client import ApiClient
from node.demo.drivers import Charger
from node.demo.plan import deposit_for
from node.library import library_abi

ENERGY_WH = (2_000, 12_000)
"""What a car wants, at least and at most."""
POWER_W = 7_000
PAUSE_S = (1.0, 5.0)
"""Real time between two cars of a driver; also before the next try after a refusal."""
RETRY_S = 0.5
SILENCE_S_MAX = 40.0
"""A stream sends a heartbeat every 15 s; one that is silent for longer is dead."""
INDEX_MAX = 10**9 - 1

log = structlog.get_logger()


class Motorist(Struct, frozen=True):
    """A driver and the pile where it charges."""

    signer: Signer
    api: str
    """Address of the home operator's node."""
    pile: str


class Bill(Struct, frozen=True):
    """What a driver keeps of a step's data; the sums come with the last one."""

    session: str
    energy_wh: int = 0
    total_fen: int = 0


class Step(Struct, frozen=True):
    """A step of a session, as the stream tells it."""

    event: str
    data: Bill


class SessionFeed:
    """Ends of sessions, from the streams of all nodes: one that is up and cut off from the others tells nothing new."""

    def __init__(self, session: aiohttp.ClientSession, addresses: Sequence[str]) -> None:
        """Listen to these nodes."""
        self._session = session
        self._cursors = dict.fromkeys(addresses, "")
        self._waiting: dict[str, asyncio.Future[Step]] = {}
        self.follows = asyncio.Event()
        """Set from the first connection on: no end of a session opened after that is missed."""

    async def run(self) -> None:
        """Follow until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for address in self._cursors:
                tasks.create_task(self._keep_following(address))

    @contextmanager
    def end_of(self, session_id: str) -> Iterator[asyncio.Future[Step]]:
        """How a session ends. To be asked before it is opened, for an answer may come later than the end."""
        self._waiting[session_id] = future = asyncio.get_running_loop().create_future()
        try:
            yield future
        finally:
            del self._waiting[session_id]

    async def _keep_following(self, address: str) -> None:
        """A cursor makes it loss-free across connections."""
        while True:
            try:
                await self._follow(address)
            except (aiohttp.ClientError, TimeoutError, ValueError) as error:
                log.debug("feed.lost", address=address, error=str(error))
            await asyncio.sleep(RETRY_S)

    async def _follow(self, address: str) -> None:
        if not self._cursors[address]:
            async with self._session.get(f"http://{address}/v1/status", raise_for_status=True) as response:
                self._cursors[address] = f"{(await response.json())['height']}-{INDEX_MAX}"
        timeout = aiohttp.ClientTimeout(total=None, sock_read=SILENCE_S_MAX)
        url, headers = f"http://{address}/v1/stream/sessions", {"Last-Event-ID": self._cursors[address]}
        async with self._session.get(url, headers=headers, timeout=timeout, raise_for_status=True) as response:
            self.follows.set()
            async for line in response.content:
                if line.startswith(b"id: "):
                    self._cursors[address] = line[4:].decode().strip()
                elif line.startswith(b"data: "):
                    self._take(msgspec.json.decode(line[6:], type=Step))

    def _take(self, step: Step) -> None:
        future = self._waiting.get(step.data.session)
        if step.event in ("settled", "expired") and future and not future.done():
            future.set_result(step)


class Traffic:
    """All drivers. `run` until cancelled."""

    def __init__(
        self, chain_id: bytes, clock: ChainClock, chargers: Mapping[str, Charger], motorists: Sequence[Motorist]
    ) -> None:
        """Let each driver charge at its pile."""
        self._chain_id = chain_id
        self._clock = clock
        self._chargers = chargers
        self._motorists = motorists
        self._rng = random.Random("traffic")
        self.settled = 0
        self.energy_wh = 0
        self.failed: Counter[str] = Counter()
        """Reason -> sessions that came to nothing."""

    async def run(self) -> None:
        """Charge until cancelled."""
        addresses = sorted({motorist.api for motorist in self._motorists})
        async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as tasks:
            feed, api = SessionFeed(session, addresses), ApiClient(session, addresses)
            tasks.create_task(feed.run())
            await feed.follows.wait()
            for motorist in self._motorists:
                tasks.create_task(self._drive(motorist, feed, api))

    async def _drive(self, motorist: Motorist, feed: SessionFeed, api: ApiClient) -> None:
        while True:
            await asyncio.sleep(self._rng.uniform(*PAUSE_S))
            energy_wh = self._rng.randrange(*ENERGY_WH)
            try:
                reason = await self._charge(motorist, energy_wh, feed, api)
            except ClientError as error:
                reason = error.code
            if reason:
                self.failed[reason] += 1
                log.warning("traffic.failed", pile=motorist.pile, reason=reason)

    async def _charge(self, motorist: Motorist, energy_wh: int, feed: SessionFeed, api: ApiClient) -> str:
        """One session; the reason if it came to nothing."""
        deposit_fen = deposit_for(energy_wh)
        call = library_abi().encode_call(
            "session", "open", pile=motorist.pile, connector=1, deposit_fen=deposit_fen, accept_unverified=False
        )
        raw = signed_call(call, motorist.signer, self._chain_id, self._clock)
        with feed.end_of(decode_transaction(raw).id.hex()) as ending:
            opened = await api.submit(raw, motorist.api)
            if opened.code:
                return opened.code_name
            stay_ms = 2 * 3_600_000 * energy_wh // POWER_W
            self._chargers[motorist.pile].plug_in(energy_wh, POWER_W, stay_ms)
            end = await ending
        if end.event != "settled":
            return end.event
        self.settled += 1
        self.energy_wh += end.data.energy_wh
        log.info("traffic.settled", pile=motorist.pile, energy_wh=end.data.energy_wh, total_fen=end.data.total_fen)
        return ""
