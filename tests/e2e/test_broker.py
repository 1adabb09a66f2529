"""The broker itself: a city at once, ports that are taken, and starts at the port of the one before."""

import asyncio
import os
import signal
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from devices.mqtt import MqttLink, MqttSettings
from devices.wire import device_of, down_topic, head_topic, topic_root, up_topic
from ledger.errors import ClientError
from node.broker.broker import Broker, BrokerSettings, gateway_user, password_of
from node.config import split_address
from node.demo import fleet
from node.demo.fleet import Fleet
from node.testnet.make import TestnetPlan, example_piles, free_ports, make_testnet
from tests.e2e.test_mqtt_sessions import BROKERS, SECRET, until

CHAIN_ID = bytes(range(32))
PILES = tuple(f"Pile-{number}" for number in range(600))
QUESTIONS = 1
"""Of each pile; together fewer than the queue of a link holds."""
LOAD_S_MAX = 30.0
"""Takes 3 s on two cores; a broker that loses one message never gets there."""


def settings(folder: Path, port: int, kind: str) -> BrokerSettings:
    """A broker of a whole city."""
    return BrokerSettings(folder, CHAIN_ID, SECRET, PILES, ("SGCC",), port, durable=False, embedded=kind == "amqtt")


def login(port: int, user: str, senders: int = 1) -> MqttSettings:
    """Settings of one of its clients."""
    return MqttSettings("127.0.0.1", port, user, password_of(SECRET, user), senders=senders)


@pytest.mark.parametrize("kind", BROKERS)
async def test_F40_no_message_is_lost_while_a_city_connects(tmp_path: Path, kind: str):
    port = free_ports(1)[0]
    heads: Counter[str] = Counter()
    answers: Counter[tuple[str, bytes]] = Counter()
    head = head_topic(CHAIN_ID)

    def answer(topic: str, payload: bytes) -> None:
        gateway.publish(down_topic(CHAIN_ID, device_of(topic)), payload)

    def pile(name: str) -> MqttLink:
        def hear(topic: str, payload: bytes) -> None:
            if topic == head:
                heads[name] += 1
            else:
                answers[name, payload] += 1

        def ask() -> None:
            for number in range(QUESTIONS):
                link.publish(up_topic(CHAIN_ID, name), b"question %d" % number)

        link = MqttLink(login(port, name), (down_topic(CHAIN_ID, name), head), hear, ask)
        return link

    gateway = MqttLink(
        login(port, gateway_user("SGCC"), senders=8), (f"{topic_root(CHAIN_ID)}/d/+/up",), answer, lambda: None
    )
    async with Broker(settings(tmp_path, port, kind)):
        tasks = [asyncio.create_task(gateway.run())]
        gateway.publish(head, b"retained", retain=True)
        await until(lambda: gateway.connected)
        for name in PILES:
            tasks.append(asyncio.create_task(pile(name).run()))
            await asyncio.sleep(0.002)
        try:
            await until(lambda: len(answers) == len(PILES) * QUESTIONS and len(heads) == len(PILES), LOAD_S_MAX)
        finally:
            for task in tasks:
                task.cancel()
            for task in tasks:
                with suppress(asyncio.CancelledError):
                    await task
    assert "Traceback" not in (tmp_path / f"{kind}.log").read_text(encoding="utf-8")


@pytest.mark.parametrize("kind", BROKERS)
async def test_a_strangers_broker_is_not_taken_for_ours(tmp_path: Path, kind: str):
    stranger = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    async with stranger:
        port = stranger.sockets[0].getsockname()[1]
        with pytest.raises(ClientError, match=f"127.0.0.1:{port}: Address already in use") as caught:
            await Broker(settings(tmp_path, port, kind)).start()
    assert caught.value.code == "port-taken"


@pytest.mark.parametrize("kind", BROKERS)
async def test_a_broker_starts_again_at_its_port(tmp_path: Path, kind: str):
    broker = Broker(settings(tmp_path, free_ports(1)[0], kind))
    link = MqttLink(
        login(broker.settings.port, PILES[0]), (down_topic(CHAIN_ID, PILES[0]),), lambda *_: None, lambda: None
    )
    client = asyncio.create_task(link.run())
    for _ in range(3):
        async with broker:
            await until(lambda: link.connected)
        await until(lambda: not link.connected)
    client.cancel()
    with suppress(asyncio.CancelledError):
        await client


@pytest.mark.parametrize("kind", BROKERS)
async def test_F40_a_link_outlives_a_broker_that_acknowledges_late(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
):
    port = free_ports(1)[0]
    heard: list[bytes] = []
    topic = up_topic(CHAIN_ID, PILES[0])
    pile = MqttLink(login(port, PILES[0]), (), lambda *_: None, lambda: None)
    gateway = MqttLink(
        login(port, gateway_user("SGCC")), (topic,), lambda _, payload: heard.append(payload), lambda: None
    )
    async with Broker(settings(tmp_path, port, kind)) as broker:
        tasks = [asyncio.create_task(gateway.run())]
        await until(lambda: gateway.connected)
        monkeypatch.setattr("devices.mqtt.TIMEOUT_S", 0.2)
        tasks.append(asyncio.create_task(pile.run()))
        await until(lambda: pile.connected)
        assert broker.pid is not None
        os.kill(broker.pid, signal.SIGSTOP)
        pile.publish(topic, b"while it stands still")
        await asyncio.sleep(0.5)  # longer than the link waits
        os.kill(broker.pid, signal.SIGCONT)
        pile.publish(topic, b"after")
        await until(lambda: heard == [b"while it stands still", b"after"], 5)
        for task in tasks:
            task.cancel()
        for task in tasks:
            with suppress(asyncio.CancelledError):
                await task


async def test_an_end_of_the_broker_is_noticed(tmp_path: Path):
    broker = Broker(settings(tmp_path, free_ports(1)[0], "amqtt"))
    async with broker:
        ended = asyncio.create_task(broker.wait())
        await asyncio.sleep(0)
        await broker.stop()
        assert await ended != 0


async def test_F61_a_fleet_tells_how_many_of_its_piles_were_connected_when_it_ended(tmp_path: Path, monkeypatch):
    fleets: list[Fleet] = []

    class Watched(Fleet):
        def __init__(self, *given: Any) -> None:
            super().__init__(*given)
            fleets.append(self)

    monkeypatch.setattr(fleet, "Fleet", Watched)
    piles = example_piles(2)
    testnet = make_testnet(tmp_path / "net", TestnetPlan(base_port=0, piles=piles))
    names, port = tuple(pile.name for pile in piles), split_address(testnet.broker)[1]
    chain_id = testnet.genesis().hash()
    async with Broker(BrokerSettings(tmp_path, chain_id, testnet.broker_secret, names, ("SGCC",), port)):
        running = asyncio.create_task(fleet.run_fleet(testnet, 2, 0, None))
        await until(lambda: bool(fleets) and fleets[0].connected == 2)
        running.cancel()
        told = await running
    assert (told["piles"], told["connected"], fleets[0].connected) == (2, 2, 0)
