"""Many piles in one process: each a `PileAgent` with a connection of its own, as real piles have.

They share what is the same for all of them and costs time: the process, the clock, and the cache of verified seals.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from msgspec import structs

from contracts.genesis import consortium_of
from devices.agent import PileAgent
from devices.battery import Battery
from devices.flash import FileFlash, MemoryFlash
from devices.light_client import SealCache
from devices.light_state import LightState
from devices.mqtt import MqttSettings
from devices.pile_parts import Contactor, Effect, PileConfig
from ledger.errors import ClientError
from ledger.genesis import Genesis
from node.broker.broker import password_of
from node.clock import ChainClock
from node.config import split_address
from node.demo.percentiles import percentiles
from node.demo.traffic import Motorist, Traffic
from node.gateway.pile_prices import SessionPrices
from node.network.tls import broker_context
from node.testnet.consortium import Pile
from node.testnet.containers import DEVICES
from node.testnet.make import Testnet, example_drivers

CONNECTS_PER_S = 200
"""New connections to the broker: a stampede of hundreds would make some of them time out."""
START_PATIENCE = 2
"""A car that is not served within so many start limits leaves."""

EffectWatcher = Callable[[PileAgent, Effect], None]


class Charger:
    """A pile as its driver sees it: plug in, and the car leaves by itself when its stay is over."""

    def __init__(self, clock: ChainClock, patience_ms: int, agent: Callable[[EffectWatcher], PileAgent]) -> None:
        """Stays count from the moment current flows; a car that waits longer than `patience_ms` for that leaves.

        `agent` makes the pile's agent, which tells its effects to what it is given.
        """
        self._clock = clock
        self._patience_ms = patience_ms
        self._car: tuple[Battery, int] | None = None
        self.agent = agent(self._on_effect)

    def plug_in(self, energy_wh: int, power_w: int, stay_ms: int) -> None:
        """Connect a car that wants so much energy and stays so long after its session began."""
        self._car = Battery.wanting(energy_wh, power_w), stay_ms
        self.agent.plug_in(self._car[0], self._clock.now_ms() + self._patience_ms)

    def drive_off(self) -> None:
        """The car that was there when the power was cut has left: its session ends."""
        self.agent.plug_in(Battery.wanting(0, 0), self._clock.now_ms())

    def _on_effect(self, _: PileAgent, effect: Effect) -> None:
        """When the contactor closes for the first time, the stay begins."""
        if isinstance(effect, Contactor) and effect.closed and self._car:
            (vehicle, stay_ms), self._car = self._car, None
            # Not at once: the agent is in the middle of its effects.
            asyncio.get_running_loop().call_soon(self.agent.plug_in, vehicle, self._clock.now_ms() + stay_ms)


class Fleet:
    """Piles of a testnet."""

    def __init__(
        self, testnet: Testnet, genesis: Genesis, clock: ChainClock, piles: Sequence[Pile], flash: Path | None = None
    ) -> None:
        """Set up, not yet connected. Piles keep their memory in files of the folder `flash` and go on from there; with
        none they begin with the genesis, which they do not believe in after 90 days of chain time.
        """
        self._cache = SealCache()
        if flash:
            flash.mkdir(parents=True, exist_ok=True)
        patience_ms = START_PATIENCE * genesis.parameters.session_start_max_ms
        anchor = LightState(
            chain_id=genesis.hash(), owner_key=b"", validators=genesis.validators, time_ms=genesis.time_ms
        )

        def agent(pile: Pile, on_effect: EffectWatcher) -> PileAgent:
            return PileAgent(
                _config(pile, testnet),
                anchor,
                testnet.signer("pile", pile.name),
                clock,
                _login(pile.name, testnet),
                FileFlash(flash / f"{pile.name}.flash") if flash else MemoryFlash(),
                self._cache,
                on_effect,
            )

        self.chargers = {pile.name: Charger(clock, patience_ms, partial(agent, pile)) for pile in piles}
        for charger in self.chargers.values():
            if charger.agent.pile.state.session:
                charger.drive_off()

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for charger in self.chargers.values():
                tasks.create_task(charger.agent.run())
                await asyncio.sleep(1 / CONNECTS_PER_S)

    @property
    def connected(self) -> int:
        """Piles with a connection to the broker."""
        return sum(charger.agent.link.connected for charger in self.chargers.values())

    @property
    def unarchived(self) -> int:
        """Piles that hold readings which no archive has confirmed."""
        return sum(bool(charger.agent.pile.state.logs) for charger in self.chargers.values())

    def bytes_per_pile(self) -> list[int]:
        """MQTT bytes of each pile so far, both directions."""
        links = (charger.agent.link for charger in self.chargers.values())
        return [link.bytes_up + link.bytes_down for link in links]

    def statuses(self) -> Mapping[str, int]:
        """OCPP status -> piles in it."""
        return Counter(charger.agent.status.value for charger in self.chargers.values())

    def notes(self) -> Mapping[str, int]:
        """Code -> how often any pile's display showed it: refusals, and proofs that did not hold."""
        total: Counter[str] = Counter()
        for charger in self.chargers.values():
            total.update(charger.agent.notes)
        return total


def _login(name: str, testnet: Testnet) -> MqttSettings:
    """How a pile makes itself known to the broker: by certificate or password."""
    broker = split_address(testnet.broker)
    if not testnet.certificates:
        return MqttSettings(*broker, name, password_of(testnet.broker_secret, name))
    folder = testnet.root / DEVICES
    return MqttSettings(*broker, name, tls=broker_context(folder / "ca.pem", folder / f"{name}.pem", None, b""))


def _config(pile: Pile, testnet: Testnet) -> PileConfig:
    """A pile's settings; waits for answers are real time, so they grow with the speed of the clock."""
    archive_key = testnet.signer("archive", pile.operator).public_key
    normal = PileConfig(pile.name, pile.power_w, SessionPrices(), archive_key)
    return structs.replace(
        normal,
        retry_first_ms=normal.retry_first_ms * testnet.clock.speed,
        retry_max_ms=normal.retry_max_ms * testnet.clock.speed,
    )


async def run_fleet(
    testnet: Testnet, count: int, drivers: int, seconds: float | None, flash: Path | None = None
) -> dict[str, Any]:
    """Run the first piles of a testnet whose nodes and broker run, for so long or until cancelled; what they did.
    The first drivers charge at them, each at its own. `flash` as for `Fleet`.

    Raises ClientError `fleet-too-large` when fewer piles or drivers are registered.
    """
    genesis = testnet.genesis()
    consortium = consortium_of(genesis)
    records = [setup.pile for setup in consortium.piles][:count]
    if len(records) < count:
        raise ClientError("fleet-too-large", f"{count} piles wanted, {len(records)} are registered")
    if drivers > min(count, len(consortium.accounts)):
        message = f"{drivers} drivers wanted for {count} piles, {len(consortium.accounts)} are registered"
        raise ClientError("fleet-too-large", message)
    piles = [Pile(p.name, p.operator, p.latitude_e7, p.longitude_e7, p.power_w) for p in records]
    fleet = Fleet(testnet, genesis, testnet.clock, piles, flash)
    motorists = [
        Motorist(testnet.signer("driver", driver.name), testnet.nodes[driver.home].api, pile.name)
        for driver, pile in zip(example_drivers(drivers), piles, strict=False)
    ]
    traffic = Traffic(genesis.hash(), testnet.clock, fleet.chargers, motorists)
    connected = 0
    with suppress(asyncio.CancelledError):
        async with asyncio.TaskGroup() as tasks:
            work = [tasks.create_task(each.run()) for each in ((fleet, traffic) if motorists else (fleet,))]
            try:
                await asyncio.wait(work, timeout=seconds)
            finally:
                connected = fleet.connected  # before all links are closed
                for task in work:
                    task.cancel()
    return {
        "piles": count,
        "connected": connected,
        "statuses": dict(fleet.statuses()),
        "bytes_per_pile": percentiles(fleet.bytes_per_pile()),
        "notes": dict(fleet.notes()),
        "settled": traffic.settled,
        "energy_wh": traffic.energy_wh,
        "failed": dict(traffic.failed),
    }
