"""Piles, broker and gateway for real, over MQTT: only the validators are played by the test."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from devices.agent import PileAgent
from devices.battery import Battery
from devices.flash import MemoryFlash, with_checksum
from devices.light_client import SealCache
from devices.mqtt import MqttSettings
from devices.pile_parts import PileState
from devices.pile_states import Status
from ledger.charging import SessionSettled
from ledger.codec import decode, encode
from node.broker.broker import Broker, BrokerSettings, gateway_user, password_of
from node.clock import ChainClock
from node.gateway.archive import Archive
from node.gateway.gateway import Gateway
from node.testnet.make import free_ports
from tests.consortium import HOUR, T0, signer
from tests.device_chain import REGISTER_WH, Core, DeviceChain

SPEED = 300
SECRET = b"broker secret of a test network"
BROKERS = [pytest.param("amqtt"), pytest.param("mosquitto", marks=pytest.mark.needs_mosquitto)]


class City:
    """Everything that a test needs, running."""

    def __init__(self, folder: Path, kind: str, piles: int) -> None:
        self.names = tuple(f"Pile-{i + 1}" for i in range(piles))
        self.chain = DeviceChain(folder, self.names, drivers=piles, n=4, speed=SPEED)
        self.clock = started_clock()
        self.core = Core(self.chain, self.clock)
        self.archive = Archive(folder / "readings.sqlite")
        self.port = free_ports(1)[0]
        self.broker = Broker(
            BrokerSettings(
                folder / "broker",
                self.chain.chain_id,
                SECRET,
                self.names,
                ("SGCC",),
                self.port,
                durable=False,
                embedded=kind == "amqtt",
            )
        )
        self.cache = SealCache(256)
        self.flashes = {name: MemoryFlash() for name in self.names}
        self.tasks: list[asyncio.Task[None]] = []

    def login(self, user: str, mqtt5: bool = False, senders: int = 1) -> MqttSettings:
        """Settings of a client of this broker."""
        return MqttSettings("127.0.0.1", self.port, user, password_of(SECRET, user), mqtt5=mqtt5, senders=senders)

    def gateway(self, mqtt5: bool = False) -> Gateway:
        """The gateway of the piles' operator."""
        mqtt = self.login(gateway_user("SGCC"), mqtt5, senders=8)
        return Gateway(
            "SGCC",
            self.chain.store,
            self.core,  # type: ignore[arg-type]
            self.archive,
            signer("archive SGCC"),
            self.clock,
            mqtt,
        )

    def agent(self, name: str, mqtt5: bool = False) -> PileAgent:
        """A pile, switched on."""
        flash = self.flashes[name]
        if flash.load() is None:
            flash.save(with_checksum(encode(PileState(self.chain.anchor(), register_mwh=REGISTER_WH * 1000))))
        config = self.chain.config(
            name, retry_first_ms=2_000 * SPEED, retry_max_ms=10_000 * SPEED, reading_interval_ms=60_000
        )
        return PileAgent(
            config, self.chain.anchor(), signer(name), self.clock, self.login(name, mqtt5), flash, self.cache
        )

    def start(self, agent: PileAgent | Gateway) -> asyncio.Task[None]:
        """Run it beside the test."""
        task = asyncio.create_task(agent.run())
        self.tasks.append(task)
        return task

    def settled(self) -> list[bytes]:
        """Sessions that the contract has settled."""
        return [r.call_id for r in self.chain.receipts if any(e.name == "session.settled" for e in r.events)]


def started_clock() -> ChainClock:
    """A fast clock that now stands an hour after genesis."""
    wall = ChainClock().now_ms()
    return ChainClock(T0 + HOUR, wall, SPEED)


@asynccontextmanager
async def city(folder: Path, kind: str, piles: int, mqtt5: bool = False) -> AsyncIterator[City]:
    """A running broker and gateway, and a chain with a first block."""
    made = City(folder, kind, piles)
    async with made.broker:
        made.core.seal()
        made.start(made.gateway(mqtt5))
        try:
            yield made
        finally:
            for task in made.tasks:
                task.cancel()
            for task in made.tasks:
                with suppress(asyncio.CancelledError):
                    await task
    made.chain.close()


async def until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    """Wait for something to become true; the test fails if it does not."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110  # what a test watches tells nobody
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("kind", BROKERS)
async def test_F43_twenty_sessions_and_a_power_cut(tmp_path: Path, kind: str):
    async with city(tmp_path, kind, piles=20) as it:
        agents = {name: it.agent(name) for name in it.names}
        running = {name: it.start(agent) for name, agent in agents.items()}
        await until(lambda: all(agent.pile.light.state.height for agent in agents.values()))
        leaves_ms = it.clock.now_ms() + 30 * 60_000
        for agent in agents.values():
            agent.plug_in(Battery.wanting(20_000, 40_000), leaves_ms)
        for at, name in enumerate(it.names):
            it.core.seal(it.chain.open(f"d{at}", name))
        await until(lambda: all(agent.status is Status.CHARGING for agent in agents.values()))

        victim = it.names[3]
        car = agents[victim].vehicle
        running[victim].cancel()  # the power is cut: only the flash is left
        session = agents[victim].pile.state.session
        again = agents[victim] = it.agent(victim)
        assert again.status is Status.SUSPENDED_EVSE
        assert not again.closed
        it.start(again)
        assert car is not None
        again.plug_in(car, leaves_ms)
        await until(lambda: again.closed, 1)  # its start was proven before the cut
        resumed = again.pile.state.session
        assert session is not None
        assert resumed is not None
        assert resumed.id == session.id
        # It goes on where the flash stood: a reading may have come since.
        assert resumed.digests[: len(session.digests)] == session.digests

        await until(lambda: len(it.settled()) == 20)
        await until(lambda: all(not agent.pile.state.logs for agent in agents.values()))
        await until(lambda: all(agent.status is Status.AVAILABLE for agent in agents.values()))
        for agent in agents.values():
            assert agent.pile.meter_wh > REGISTER_WH + 10_000
        for tx in it.settled():
            assert tx is not None
    energy = sum(agent.pile.meter_wh - REGISTER_WH for agent in agents.values())
    assert energy == billed_wh(it)


def billed_wh(it: City) -> int:
    """Energy of all bills."""

    events = (event for receipt in it.chain.receipts for event in receipt.events)
    settled = [decode(SessionSettled, event.data) for event in events if event.name == "session.settled"]
    return sum(event.energy_wh for event in settled)


@pytest.mark.parametrize("kind", BROKERS)
async def test_F43_a_puback_closes_no_contactor(tmp_path: Path, kind: str):
    async with city(tmp_path, kind, piles=1) as it:
        agent = it.agent("Pile-1")
        it.start(agent)
        await until(lambda: agent.pile.light.state.height > 0)
        it.core.seals = False  # the broker acknowledges, core takes it, and nothing is sealed
        agent.plug_in(Battery.wanting(20_000, 40_000), it.clock.now_ms() + 120 * 60_000)
        it.core.seal(it.chain.open("d0", "Pile-1"))
        await until(lambda: len(it.core.submitted) >= 2)
        assert not agent.closed
        assert len(set(it.core.submitted)) == 1, "sent again byte for byte"
        assert agent.status is Status.PREPARING
        it.core.seals = True
        await until(lambda: agent.closed and agent.status is Status.CHARGING)


@pytest.mark.needs_mosquitto
async def test_mqtt_5_works_alike(tmp_path: Path):
    async with city(tmp_path, "mosquitto", piles=1, mqtt5=True) as it:
        agent = it.agent("Pile-1", mqtt5=True)
        it.start(agent)
        await until(lambda: agent.pile.light.state.height > 0)
        agent.plug_in(Battery.wanting(20_000, 40_000), it.clock.now_ms() + 10 * 60_000)
        it.core.seal(it.chain.open("d0", "Pile-1"))
        await until(lambda: len(it.settled()) == 1)


async def test_mqtt_5_falls_back_where_it_is_not_offered(tmp_path: Path):
    async with city(tmp_path, "amqtt", piles=1) as it:
        agent = it.agent("Pile-1", mqtt5=True)
        it.start(agent)
        await until(lambda: agent.pile.light.state.height > 0)


@pytest.mark.parametrize("kind", BROKERS)
async def test_mqtt_an_open_before_a_gateway_crash_is_still_delivered(tmp_path: Path, kind: str):
    async with city(tmp_path, kind, piles=1) as it:
        agent = it.agent("Pile-1")
        it.start(agent)
        await until(lambda: agent.pile.light.state.height > 0)
        it.tasks[0].cancel()
        await asyncio.sleep(0)
        it.core.seal(it.chain.open("d0", "Pile-1"))
        it.start(it.gateway())
        await until(lambda: agent.status is Status.RESERVED)
        agent.plug_in(Battery.wanting(5_000, 40_000), it.clock.now_ms() + 10 * 60_000)
        await until(lambda: len(it.settled()) == 1)
