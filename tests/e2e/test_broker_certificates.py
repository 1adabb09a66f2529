"""The shipped mosquitto configuration for real: mutual TLS, the certificate's name as user and client id, and rules
that hold for every way to say something, retained and will messages included.
"""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import aiomqtt
import pytest

from devices.mqtt import MqttLink, MqttSettings
from devices.wire import down_topic, head_topic, topic_root, up_topic
from node.broker.broker import find_mosquitto, gateway_user, mosquitto_rules
from node.network.tls import broker_context, make_authority, make_certificate, make_revocation_list
from node.testnet.make import free_ports
from tests.e2e.test_mqtt_sessions import until

pytestmark = pytest.mark.needs_mosquitto

SHIPPED = Path(__file__).resolve().parents[2] / "deploy" / "mosquitto"
CHAIN_ID = bytes(range(32))
GATEWAY, PILE, OTHER, STOLEN = gateway_user("SGCC"), "pile-001", "pile-002", "pile-003"
HEAD = head_topic(CHAIN_ID)
QUIET_S = 0.5
"""Long enough for a message that is let through: one takes some milliseconds."""


class Broker:
    """mosquitto with the shipped files, and certificates for its clients."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_ports(1)[0]
        self.authority = make_authority("test devices")
        for name in (GATEWAY, PILE, OTHER, STOLEN):
            self.certify(name, self.authority)
        certificate, key = make_certificate("broker", *self.authority, hosts=("localhost", "127.0.0.1"))
        stolen = (folder / f"{STOLEN}.pem").read_bytes()
        for name, content in {
            "ca.crt": self.authority[0],
            "server.crt": certificate,
            "server.key": key,
            "ca.crl": make_revocation_list(*self.authority, [stolen]),
            "acl": filled_rules().encode(),
        }.items():
            (folder / name).write_bytes(content)

    def certify(self, name: str, authority: tuple[bytes, bytes]) -> None:
        """A client's certificate and key in one file."""
        file = self.folder / f"{name}.pem"
        file.touch(mode=0o600)
        file.write_bytes(b"".join(make_certificate(name, *authority)))

    def context(self, name: str) -> ssl.SSLContext:
        """The client's side of TLS."""
        return broker_context(self.folder / "ca.crt", self.folder / f"{name}.pem", None, b"")

    def client(self, name: str, claimed: str = "", will: aiomqtt.Will | None = None) -> aiomqtt.Client:
        """A client with the certificate of `name`, which claims to be `claimed`."""
        claimed = claimed or name
        return aiomqtt.Client(
            "127.0.0.1",
            self.port,
            identifier=claimed,
            username=claimed,
            tls_context=self.context(name),
            will=will,
            timeout=5,
        )

    def write_settings(self) -> Path:
        """The shipped configuration, with the places of this test."""
        text = (SHIPPED / "mosquitto.conf").read_text(encoding="utf-8")
        for shipped, ours in {
            "listener 8883": f"user root\nlistener {self.port} 127.0.0.1",
            "/etc/mosquitto/pilechain": str(self.folder),
            "/var/lib/mosquitto/": f"{self.folder}/",
        }.items():
            assert shipped in text
            text = text.replace(shipped, ours)
        path = self.folder / "mosquitto.conf"
        path.write_text(text, encoding="utf-8")
        return path


def filled_rules() -> str:
    """The shipped access rules for the test's chain and gateway."""
    text = (SHIPPED / "acl").read_text(encoding="utf-8")
    return text.replace("CHAIN", CHAIN_ID.hex()[:8]).replace("gateway-OPERATOR", GATEWAY)


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[Broker]:
    """A broker that accepts connections."""
    made = Broker(tmp_path)
    log = tmp_path / "broker.log"
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            str(find_mosquitto()), "-c", str(made.write_settings()), stdin=asyncio.subprocess.DEVNULL, stderr=output
        )
    try:
        async with asyncio.timeout(10):
            while True:
                with suppress(OSError):
                    _, writer = await asyncio.open_connection("127.0.0.1", made.port)
                    writer.close()
                    break
                assert process.returncode is None, log.read_text(encoding="utf-8")
                await asyncio.sleep(0.05)
        yield made
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


class Ear:
    """A client that listens."""

    def __init__(self, client: aiomqtt.Client) -> None:
        self._client = client

    async def next(self) -> bytes:
        """The payload that comes next, within a bound."""
        async with asyncio.timeout(5):
            message = await anext(self._client.messages)
        assert isinstance(message.payload, bytes)
        return message.payload

    async def hears_nothing_more(self) -> None:
        """Whatever was let through has come by the end of this."""
        with suppress(TimeoutError):
            async with asyncio.timeout(QUIET_S):
                message = await anext(self._client.messages)
                pytest.fail(f"{message.topic}: {message.payload!r} was let through")


@asynccontextmanager
async def hearing(broker: Broker, name: str, *topics: str) -> AsyncIterator[Ear]:
    """A client with the certificate of `name` that listens on topics."""
    async with broker.client(name) as client:
        for topic in topics:
            await client.subscribe(topic, qos=1)
        yield Ear(client)


def test_F61_the_testnets_rules_are_the_shipped_ones():
    """What docker-compose.yml's broker works by."""
    shipped = [line for line in filled_rules().splitlines() if line and not line.startswith("#")]
    assert shipped == mosquitto_rules(CHAIN_ID, ("SGCC",))


async def test_F61_pile_and_gateway_hear_each_other_by_certificate_alone(broker: Broker):
    """The way of a session: up, down, and the retained head, over the links that piles and gateways use."""
    heard: dict[str, list[tuple[str, bytes]]] = {PILE: [], GATEWAY: []}
    up, down = up_topic(CHAIN_ID, PILE), down_topic(CHAIN_ID, PILE)

    def link(name: str, *topics: str) -> MqttLink:
        settings = MqttSettings("127.0.0.1", broker.port, name, tls=broker.context(name))
        return MqttLink(settings, topics, lambda *message: heard[name].append(message), lambda: None)

    pile, gateway = link(PILE, down, HEAD), link(GATEWAY, f"{topic_root(CHAIN_ID)}/d/+/up")
    gateway.publish(HEAD, b"head", retain=True)
    tasks = [asyncio.create_task(each.run()) for each in (gateway, pile)]
    try:
        await until(lambda: pile.connected and gateway.connected)
        pile.publish(up, b"hello")
        gateway.publish(down, b"welcome")
        await until(lambda: len(heard[PILE]) == 2 and len(heard[GATEWAY]) == 1)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    assert sorted(heard[PILE]) == sorted([(HEAD, b"head"), (down, b"welcome")])
    assert heard[GATEWAY] == [(up, b"hello")]


FORBIDDEN = (
    up_topic(CHAIN_ID, OTHER),
    down_topic(CHAIN_ID, OTHER),
    down_topic(CHAIN_ID, PILE),  # its gateway's voice
    HEAD,
    up_topic(bytes(32), PILE),  # another chain
)
"""Where a pile must not speak."""


@asynccontextmanager
async def everybody(broker: Broker) -> AsyncIterator[tuple[Ear, Ear]]:
    """The gateway, and another pile: between them they would hear whatever is said on a forbidden topic."""
    async with (
        hearing(broker, GATEWAY, f"{topic_root(CHAIN_ID)}/d/+/up") as gateway,
        hearing(broker, OTHER, down_topic(CHAIN_ID, OTHER), HEAD) as other,
    ):
        yield gateway, other


async def nothing_is_retained(broker: Broker) -> None:
    """Who comes later finds nothing."""
    async with everybody(broker) as ears, hearing(broker, PILE, down_topic(CHAIN_ID, PILE)) as pile:
        for ear in (*ears, pile):
            await ear.hears_nothing_more()


async def test_F61_a_device_speaks_on_its_own_topic_only(broker: Broker):
    """Neither live, nor retained for those who come later."""
    async with everybody(broker) as (gateway, other):
        async with broker.client(PILE) as pile:
            for topic in FORBIDDEN:
                await pile.publish(topic, b"forged", qos=1)
                await pile.publish(topic, b"forged", qos=1, retain=True)
            await pile.publish(up_topic(CHAIN_ID, PILE), b"mine", qos=1)
        assert await gateway.next() == b"mine", "what it may say, and nothing before it"
        await gateway.hears_nothing_more()
        await other.hears_nothing_more()
    await nothing_is_retained(broker)


async def test_F61_nor_by_its_last_will(broker: Broker):
    """The broker says a will when the connection dies, by the rules of who left it."""
    async with everybody(broker) as (gateway, other):
        for topic in FORBIDDEN:
            await die(broker, aiomqtt.Will(topic, b"forged", qos=1))
            await die(broker, aiomqtt.Will(topic, b"forged", qos=1, retain=True))
        await die(broker, aiomqtt.Will(up_topic(CHAIN_ID, PILE), b"my will", qos=1))
        assert await gateway.next() == b"my will", "wills work, within the rules"
        await gateway.hears_nothing_more()
        await other.hears_nothing_more()
    await nothing_is_retained(broker)


async def die(broker: Broker, will: aiomqtt.Will) -> None:
    """Connect with a will and lose the connection without a goodbye."""
    with suppress(aiomqtt.MqttError):
        async with broker.client(PILE, will=will) as client:
            connection = client._client.socket()
            assert isinstance(connection, socket.socket)
            connection.shutdown(socket.SHUT_RDWR)
            await anext(client.messages)


async def test_F61_a_device_hears_its_own_topic_and_heads_only(broker: Broker):
    """Wildcards do not widen it."""
    down = down_topic(CHAIN_ID, PILE)
    wishes = (down, up_topic(CHAIN_ID, OTHER), down_topic(CHAIN_ID, OTHER), f"{topic_root(CHAIN_ID)}/d/+/up", "$SYS/#")
    async with hearing(broker, PILE, *wishes) as pile, broker.client(GATEWAY) as gateway:
        async with broker.client(OTHER) as other:
            await other.publish(up_topic(CHAIN_ID, OTHER), b"secret", qos=1)
        await gateway.publish(down_topic(CHAIN_ID, OTHER), b"secret", qos=1, retain=True)
        await gateway.publish(down, b"for you", qos=1)
        assert await pile.next() == b"for you"
        await pile.hears_nothing_more()


async def test_F61_the_certificate_is_the_name_whatever_a_client_claims(broker: Broker):
    """The user name and client id of another neither lend its voice nor throw it off the broker."""
    async with everybody(broker) as (gateway, other):
        async with broker.client(PILE, claimed=OTHER) as liar:
            await liar.publish(up_topic(CHAIN_ID, OTHER), b"forged", qos=1)
            await liar.publish(up_topic(CHAIN_ID, PILE), b"mine", qos=1)
        assert await gateway.next() == b"mine"
        async with broker.client(GATEWAY, claimed=PILE) as second:  # takes the first one's place
            await second.publish(down_topic(CHAIN_ID, OTHER), b"still here", qos=1)
        assert await other.next() == b"still here"


STRANGERS = {
    "revoked": (STOLEN, "revoked"),
    "another authority": ("foreign", "unknown ca"),
    "no certificate": ("", "certificate required"),
}


@pytest.mark.parametrize(("name", "reason"), STRANGERS.values(), ids=STRANGERS)
async def test_F61_who_has_no_certificate_of_ours_does_not_get_in(broker: Broker, name: str, reason: str):
    """The connection ends before a single MQTT message, and the TLS alert says why."""
    broker.certify("foreign", make_authority("others"))
    certificate = broker.folder / f"{name}.pem" if name else None
    context = broker_context(broker.folder / "ca.crt", certificate, None, b"")
    with pytest.raises(ssl.SSLError, match=reason):
        await asyncio.wait_for(knock(broker.port, context), 5)


async def knock(port: int, context: ssl.SSLContext) -> None:
    """Connect, and wait for the end of the connection."""
    reader, _ = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    await reader.read()
