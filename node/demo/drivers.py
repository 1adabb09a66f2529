"""The people of the demo day: each comes at its time, opens a session through its home operator's node, plugs in, and
leaves when it is over.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Protocol

from msgspec import Struct

from ledger.charging import SessionSettled
from ledger.errors import ClientError
from ledger.keys import Signer
from ledger.transaction import decode_transaction
from node.calls import signed_call
from node.clock import ChainClock
from node.demo.api_client import ApiClient, SealedAnswer
from node.demo.chronicle import Chronicle
from node.demo.parking import Parking
from node.demo.plan import Wish
from node.library import library_abi
from node.storage.reader import Place

NEARBY_M = 5_000
"""How far a driver goes for a free pile instead of waiting."""
PATIENCE_MS = 30 * 60_000
"""Chain time that a driver waits for a pile nearby; then any free one of the city will do."""
TRIES_MAX = 5
"""How often a driver opens anew when the session did not start (its pile was cut off at that moment)."""


class Charger(Protocol):
    """A pile as its driver sees it."""

    def plug_in(self, energy_wh: int, power_w: int, stay_ms: int) -> None:
        """Connect a car that wants so much energy and leaves so long after its session began."""


class Charged(Struct, frozen=True):
    """A car that charged, and its bill."""

    wish: Wish
    pile: str
    """Where it stood."""
    bill: SessionSettled


class Outcome:
    """What the day brought so far."""

    def __init__(self) -> None:
        self.offered = 0
        self.settled: list[Charged] = []
        self.refused: Counter[str] = Counter()
        """Code -> wishes made bad on purpose that were refused with it, as they had to be."""
        self.failed: Counter[str] = Counter()
        """Reason -> honest wishes that came to nothing, and bad ones that went through or were refused with another
        code: must stay empty.
        """
        self.diverted = 0
        """Cars that found their pile taken and went to another."""
        self.waited = 0
        """Cars that waited for a pile."""
        self.acknowledged: list[tuple[bytes, Place]] = []
        """Transactions whose sealed receipt a driver holds, and where the node that answered said they are."""
        self.latencies_ms: list[float] = []
        """Real time from submitting an open to holding its sealed receipt."""
        self.first_settled_s: float | None = None
        """Real time from the start of the day to the first bill."""

    def close(self, wish: Wish, reason: str) -> None:
        """Count a wish that has come to its end: the reason why it came to nothing, empty if it did not."""
        if wish.refusal is None:
            if reason:
                self.failed[reason] += 1
        elif reason == wish.refusal.value:
            self.refused[reason] += 1
        else:
            self.failed[f"{reason or 'let through'} instead of {wish.refusal.value}"] += 1


class Drivers:
    """Plays the day's wishes."""

    def __init__(
        self,
        *,
        chain_id: bytes,
        clock: ChainClock,
        day_ms: int,
        parking: Parking,
        chargers: Mapping[str, Charger],
        chronicle: Chronicle,
        api: ApiClient,
        address_of: Mapping[str, str],
        signer_of: Callable[[str], Signer],
    ) -> None:
        """`day_ms` is the chain time of the day's midnight; `address_of` maps operators to the API of their node."""
        self._chain_id = chain_id
        self._clock = clock
        self._day_ms = day_ms
        self._parking = parking
        self._chargers = chargers
        self._chronicle = chronicle
        self._api = api
        self._address_of = address_of
        self._signer_of = signer_of
        self._left = asyncio.Event()
        """Set, and replaced by the next one, when a car leaves its pile."""
        self.outcome = Outcome()

    async def run(self, wishes: tuple[Wish, ...]) -> None:
        """Play all wishes; returns when the last has come to its end."""
        self._began = asyncio.get_running_loop().time()
        async with asyncio.TaskGroup() as tasks:
            for wish in wishes:
                tasks.create_task(self._play(wish))

    async def _play(self, wish: Wish) -> None:
        await self._sleep_until(self._day_ms + wish.car.arrival_ms)
        self.outcome.offered += 1
        pile = await self._park(wish)
        try:
            reason = await (self._charge(wish, pile) if wish.refusal is None else self._refused(wish, pile))
        except ClientError as error:
            reason = error.code
        finally:
            self._parking.free(pile)
            self._left.set()
            self._left = asyncio.Event()
        self.outcome.close(wish, reason)

    async def _park(self, wish: Wish) -> str:
        if wish.pile not in self._chargers:  # made bad: there is no such pile to stand at
            return wish.pile
        pile = self._parking.take(wish.pile, NEARBY_M)
        if pile is None:
            self.outcome.waited += 1
            until_ms = self._clock.now_ms() + PATIENCE_MS
            while pile is None:
                reach_m = NEARBY_M if self._clock.now_ms() < until_ms else float("inf")
                pile = self._parking.take(wish.pile, reach_m)
                if pile is None:
                    await self._somebody_leaves(until_ms)
        if pile != wish.pile:
            self.outcome.diverted += 1
        return pile

    async def _somebody_leaves(self, until_ms: int) -> None:
        """Wait until a car leaves; while patience lasts, not longer than that."""
        left_s = (until_ms - self._clock.now_ms()) / self._clock.speed / 1000
        with suppress(TimeoutError):
            async with asyncio.timeout(left_s if left_s > 0 else None):
                await self._left.wait()

    async def _charge(self, wish: Wish, pile: str) -> str:
        """Charge at a pile; the reason if it came to nothing."""
        for _ in range(TRIES_MAX):
            opened = await self._open(wish, pile)
            if opened.code:
                return opened.code_name
            self._chargers[pile].plug_in(wish.car.energy_wh, wish.car.power_w, wish.car.stay_ms)
            bill = await self._chronicle.end(bytes.fromhex(opened.id))
            if bill is not None:
                self.outcome.settled.append(Charged(wish, pile, bill))
                if self.outcome.first_settled_s is None:
                    self.outcome.first_settled_s = asyncio.get_running_loop().time() - self._began
                return ""
        return "start-late"

    async def _refused(self, wish: Wish, pile: str) -> str:
        """Try to open a session that must not be opened; the reason why it was not, or nothing if it was."""
        answer = await self._open(wish, pile)
        return answer.code_name if answer.code else ""

    async def _open(self, wish: Wish, pile: str) -> SealedAnswer:
        signer = self._signer_of(wish.driver)
        call = library_abi().encode_call(
            "session", "open", pile=pile, connector=1, deposit_fen=wish.deposit_fen, accept_unverified=False
        )
        raw = signed_call(call, signer, self._chain_id, self._clock)
        loop = asyncio.get_running_loop()
        began = loop.time()
        answer = await self._api.submit(raw, self._address_of[wish.home])
        self.outcome.latencies_ms.append((loop.time() - began) * 1000)
        self.outcome.acknowledged.append((decode_transaction(raw).id, Place(answer.height, answer.index)))
        return answer

    async def _sleep_until(self, time_ms: int) -> None:
        await asyncio.sleep(max(0, time_ms - self._clock.now_ms()) / self._clock.speed / 1000)
