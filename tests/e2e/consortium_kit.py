"""A running consortium of four real nodes, and the means of its enemies: what the tests of bad input stand on."""
# ruff: noqa: ASYNC110 (tests ask until it is so)

import asyncio
import json
import ssl
import struct
import time
from typing import Any

import aiohttp
import aiomqtt

from contracts import views
from devices.wire import UpPayload, decode_down, down_topic, seal_up, up_topic
from node.broker.broker import password_of
from node.storage.reader import LedgerReader
from node.testnet.make import Testnet
from tests.e2e.test_F50_submit import Driver


class Net:
    """A running consortium, and its enemies' means."""

    def __init__(self, testnet: Testnet, supervisors: Any, session: aiohttp.ClientSession, folder: Any) -> None:
        self.testnet, self.supervisors, self.session, self.folder = testnet, supervisors, session, folder
        self.driver = Driver(testnet, session)
        self.chain_id = self.driver.genesis.hash()
        self.killed = 0
        """Processes, by a test on purpose."""

    async def money(self) -> tuple[int, int, int]:
        """Wallets of both drivers, and the sum of all balances."""
        keys = (self.driver.key.public_key, self.driver.payee)
        wallets = [(await self.driver.get(f"/v1/accounts/{key.hex()}"))["wallet_fen"] for key in keys]
        return wallets[0], wallets[1], (await self.driver.get("/v1/companies"))["balances_sum_fen"]

    async def state_root(self) -> str:
        """Of the newest block."""
        return (await self.driver.get("/v1/network"))["state_root"]

    async def keys_registered(self) -> None:
        """Every node has its next vote key registered: after that the chain is quiet."""
        companies = sorted(self.testnet.nodes)
        reader = LedgerReader(self.testnet.home(companies[0]).ledger, 4 << 30)
        try:
            async with asyncio.timeout(30):
                while True:
                    with reader.snapshot() as snapshot:
                        if all(views.next_vote_key(snapshot, company) for company in companies):
                            return
                    await asyncio.sleep(0.05)
        finally:
            reader.close()

    async def goes_on(self) -> None:
        """A good payment is sealed, by way of another node, and all nodes come to the same state."""
        status, answer = await self.driver.post(self.driver.pay(amount_fen=1), node=2)
        assert (status, answer["code_name"]) == (200, "done"), answer
        async with asyncio.timeout(10):
            for node in range(4):
                while (await self.driver.get("/v1/status", node))["height"] < answer["height"]:
                    await asyncio.sleep(0.02)
        path = f"/v1/headers/{answer['height']}"
        assert len({(await self.driver.get(path, node))["result"]["state_root"] for node in range(4)}) == 1

    def log(self, company: str, part: str) -> list[dict[str, Any]]:
        """Lines of a process's log."""
        lines = (self.testnet.logs / f"{company}-{part}.log").read_text().splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    def charged(self, peer: str) -> list[str]:
        """Codes that SGCC's core charged a peer or address with, as logged."""
        return sorted(line["code"] for line in self.log("SGCC", "core") if line.get("peer") == peer)

    async def attack(self, context: ssl.SSLContext | None, data: bytes) -> None:
        """Send bytes to SGCC's TCP port three times; each time the connection must be ended by the node."""
        host, _, port = self.testnet.nodes["SGCC"].p2p.partition(":")
        for _ in range(3):
            try:
                async with asyncio.timeout(5):
                    reader, writer = await asyncio.open_connection(host, int(port), ssl=context)
                    writer.write(data)
                    await reader.read()
                    writer.close()
            except OSError:
                pass


def not_canonical(encoded: bytes) -> bytes:
    """The same array with its header in the longer form."""
    assert encoded[0] & 0xF0 == 0x90
    return b"\xdc" + struct.pack(">H", encoded[0] & 0x0F) + encoded[1:]


class Device:
    """Whoever speaks MQTT as a device."""

    def __init__(self, net: Net, user: str, password: str | None = None) -> None:
        host, _, port = net.testnet.broker.partition(":")
        self.net, self.user, self.number = net, user, int(time.time() * 1000)
        self.key = net.testnet.signer("pile", user)
        password = password or password_of(net.testnet.broker_secret, user)
        self.client = aiomqtt.Client(host, int(port), username=user, password=password, identifier=user, timeout=5)

    async def __aenter__(self) -> "Device":
        """Connect, and listen on its own topic."""
        await self.client.__aenter__()
        await self.client.subscribe(down_topic(self.net.chain_id, self.user), qos=1)
        return self

    async def __aexit__(self, *error: Any) -> None:
        """Go."""
        await self.client.__aexit__(*error)

    def sealed_up(self, message: UpPayload, **changes: Any) -> bytes:
        """A message in its signed envelope, perhaps signed wrong."""
        self.number += 1
        given = {"chain_id": self.net.chain_id, "device": self.user, "signer": self.key} | changes
        return seal_up(given["chain_id"], given["device"], self.number, message, given["signer"])

    async def send(self, data: bytes, topic: str = "") -> None:
        """Publish."""
        await self.client.publish(topic or up_topic(self.net.chain_id, self.user), data, qos=1)

    async def hear(self, kind: type) -> Any:
        """The next message of a kind."""
        async with asyncio.timeout(10):
            async for message in self.client.messages:
                assert isinstance(message.payload, bytes)
                if isinstance(found := decode_down(message.payload), kind):
                    return found
        raise EOFError
