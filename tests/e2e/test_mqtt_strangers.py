"""Strangers on MQTT, and devices on topics that are not theirs: refused by the broker, or by the gateway, once."""

import asyncio
from pathlib import Path

import aiomqtt
import pytest
import structlog

from devices.wire import AskHead, Refused, Submit, decode_down, down_topic, head_topic, seal_up, up_topic
from node.broker.broker import gateway_user, password_of
from tests.consortium import signer
from tests.e2e.test_mqtt_sessions import BROKERS, SECRET, City, city, until


class Client:
    """A bare MQTT client that may try anything."""

    def __init__(self, it: City, user: str, password: str | None = None, client_id: str | None = None) -> None:
        self.it = it
        self.client = aiomqtt.Client(
            "127.0.0.1",
            it.port,
            username=user,
            password=password_of(SECRET, user) if password is None else password,
            identifier=client_id or user,
            timeout=5,
        )
        self.heard: list[tuple[str, bytes]] = []

    async def listen(self, seconds: float = 0.5) -> None:
        """Collect what comes."""
        try:
            async with asyncio.timeout(seconds):
                async for message in self.client.messages:
                    assert isinstance(message.payload, bytes)
                    self.heard.append((message.topic.value, message.payload))
        except TimeoutError:
            pass


@pytest.mark.parametrize("kind", BROKERS)
async def test_F40_a_stranger_does_not_get_in(tmp_path: Path, kind: str):
    async with city(tmp_path, kind, piles=1) as it:
        for user, password in (("Pile-1", "wrong"), ("Nobody", "any"), (gateway_user("SGCC"), "guess")):
            with pytest.raises(aiomqtt.MqttError):
                async with Client(it, user, password).client:
                    pass


@pytest.mark.parametrize("kind", BROKERS)
async def test_F40_a_stranger_who_knows_names_disturbs_nobody(tmp_path: Path, kind: str):
    async with city(tmp_path, kind, piles=1) as it:
        victim = Client(it, "Pile-1")
        async with victim.client:
            await victim.client.subscribe(down_topic(it.chain.chain_id, "Pile-1"), qos=1)
            for user in ("Pile-1", gateway_user("SGCC")):
                with pytest.raises(aiomqtt.MqttError):
                    async with Client(it, user, "guess").client:
                        pass
            up = seal_up(it.chain.chain_id, "Pile-1", 1, AskHead(), signer("Pile-1"))
            await victim.client.publish(up_topic(it.chain.chain_id, "Pile-1"), up, qos=1)
            await victim.listen()
        assert len(victim.heard) == 1, "asked, and answered"


@pytest.mark.parametrize("kind", BROKERS)
async def test_F40_a_device_uses_its_own_topics_only(tmp_path: Path, kind: str):
    async with city(tmp_path, kind, piles=2) as it:
        chain_id = it.chain.chain_id
        thief, victim = Client(it, "Pile-2"), Client(it, "Pile-1")
        async with thief.client, victim.client:
            await victim.client.subscribe(down_topic(chain_id, "Pile-1"), qos=1)
            for topic in (down_topic(chain_id, "Pile-1"), up_topic(chain_id, "Pile-1"), "#", "pilechain/#"):
                try:
                    await thief.client.subscribe(topic, qos=1)
                except aiomqtt.MqttError:
                    continue
            forged = seal_up(chain_id, "Pile-1", 1, AskHead(), signer("Pile-2"))
            await thief.client.publish(up_topic(chain_id, "Pile-1"), forged, qos=1)
            await thief.client.publish(down_topic(chain_id, "Pile-1"), b"lies", qos=1)
            await thief.client.publish(head_topic(chain_id), b"lies", qos=1, retain=True)
            true = seal_up(chain_id, "Pile-1", 2, AskHead(), signer("Pile-1"))
            await victim.client.publish(up_topic(chain_id, "Pile-1"), true, qos=1)
            await asyncio.gather(victim.listen(), thief.listen())
        assert len(victim.heard) == 1, "the answer to its own question"
        assert all(topic == head_topic(chain_id) for topic, _ in thief.heard)
        assert all(payload != b"lies" for _, payload in victim.heard + thief.heard)


@pytest.mark.needs_mosquitto
async def test_F40_nobody_takes_over_the_connection_of_another(tmp_path: Path):
    async with city(tmp_path, "mosquitto", piles=2) as it:
        victim = Client(it, "Pile-1")
        async with victim.client:
            await victim.client.subscribe(down_topic(it.chain.chain_id, "Pile-1"), qos=1)
            async with Client(it, "Pile-2", client_id="Pile-1").client:
                up = seal_up(it.chain.chain_id, "Pile-1", 1, AskHead(), signer("Pile-1"))
                await victim.client.publish(up_topic(it.chain.chain_id, "Pile-1"), up, qos=1)
                await victim.listen()
        assert len(victim.heard) == 1, "still connected"


@pytest.mark.parametrize("kind", BROKERS)
async def test_F40_who_is_not_on_the_chain_is_refused_and_logged_once(tmp_path: Path, kind: str):
    made = City.__init__

    def with_a_stranger(self: City, folder: Path, broker: str, piles: int) -> None:
        made(self, folder, broker, piles)
        settings = self.broker.settings
        self.broker.settings = type(settings)(
            **{name: getattr(settings, name) for name in settings.__struct_fields__}
            | {"devices": (*settings.devices, "Stranger")}
        )

    with pytest.MonkeyPatch.context() as patch, structlog.testing.capture_logs() as logs:
        patch.setattr(City, "__init__", with_a_stranger)
        async with city(tmp_path, kind, piles=1) as it:
            client = Client(it, "Stranger")
            chain_id = it.chain.chain_id
            async with client.client:
                await client.client.subscribe(down_topic(chain_id, "Stranger"), qos=1)
                for number in range(20):
                    data = seal_up(chain_id, "Stranger", number + 1, AskHead(), signer("Stranger"))
                    await client.client.publish(up_topic(chain_id, "Stranger"), data, qos=1)
                await client.client.publish(up_topic(chain_id, "Stranger"), b"nonsense", qos=1)
                await client.listen()
    refusals = [decode_down(payload) for _, payload in client.heard]
    assert [refusal.code for refusal in refusals if isinstance(refusal, Refused)] == ["device-unknown"]
    assert len([entry for entry in logs if entry["event"] == "gateway.stranger"]) == 1


async def test_F40_each_bad_message_has_its_own_code(tmp_path: Path):
    async with city(tmp_path, "amqtt", piles=1) as it:
        chain_id = it.chain.chain_id
        client = Client(it, "Pile-1")
        foreign = it.chain.open("d0", "Pile-1").raw
        pile = signer("Pile-1")
        async with client.client:
            await client.client.subscribe(down_topic(chain_id, "Pile-1"), qos=1)
            for data in (
                b"nonsense",
                seal_up(chain_id, "Pile-1", 1, Submit(foreign), pile),
                seal_up(chain_id, "Pile-1", 2, Submit(b"no transaction"), pile),
                seal_up(bytes(32), "Pile-1", 3, AskHead(), pile),
                seal_up(chain_id, "Pile-1", 4, AskHead(), pile),
                seal_up(chain_id, "Pile-1", 4, AskHead(), pile),
            ):
                await client.client.publish(up_topic(chain_id, "Pile-1"), data, qos=1)
            await client.listen()
        heard = [decode_down(payload) for _, payload in client.heard]
        codes = {message.code for message in heard if isinstance(message, Refused)}
        assert codes == {"encoding-malformed", "sender-other", "message-forged"}
        assert len([m for m in heard if not isinstance(m, Refused)]) == 1, "done once"


@pytest.mark.needs_mosquitto
async def test_F40_a_gateway_outlives_its_broker(tmp_path: Path):
    async with city(tmp_path, "mosquitto", piles=1) as it:
        agent = it.agent("Pile-1")
        it.start(agent)
        await until(lambda: agent.pile.light.state.height == 1)
        await it.broker.stop()
        await asyncio.sleep(0.3)
        it.core.seal()
        await it.broker.start()
        await until(lambda: agent.pile.light.state.height == 2)
