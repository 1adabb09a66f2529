"""Our adapter over aiomqtt: one MQTT connection that comes back by itself, QoS 1, with bounded queues and a byte count.

aiomqtt's `publish()` hides refusals (an access rule's "no" is acknowledged like a "yes", and in MQTT 3.1.1 the packet
has no room for a reason), so nothing here reports success: a device believes a sealed receipt, a gateway believes a
device that asks again.
"""

import asyncio
import random
import ssl
from collections.abc import Callable

import aiomqtt
import structlog
from aiomqtt import ProtocolVersion
from msgspec import Struct
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

log = structlog.get_logger()

BACK_OFF_MIN_S = 0.2
BACK_OFF_MAX_S = 30.0
"""Between attempts to connect: a broker that restarts is found at once, one that is gone costs a 4G link little."""
KEEPALIVE_S = 60
"""Below the NAT time-outs of mobile networks, and 6 kB a day."""
INCOMING_MAX = 1000
"""Messages received and not handled yet; more are dropped, as the link itself may."""
EXPIRY_S = 3600
"""Life of a message at a broker that speaks MQTT 5: older ones have been sent again, or matter no more."""
TIMEOUT_S = 5.0
"""For a CONNACK, SUBACK or PUBACK over a slow 4G link."""


class MqttSettings(Struct, frozen=True):
    """Where and as whom to connect."""

    host: str
    port: int
    client_id: str
    """Equal to the user name: the broker lets a device use its own topics only."""
    password: str = ""
    tls: ssl.SSLContext | None = None
    mqtt5: bool = False
    """Speak MQTT 5 to a broker that offers it. 3.1.1 works with every broker."""
    outgoing_max: int = 1000
    """Messages that wait to be sent; more drop the oldest, whose sender will send it again."""
    senders: int = 1
    """Publications under way at once. One keeps the order, as a device wants it; a gateway serves many and wants
    speed.
    """


class MqttLink:
    """One connection and its queue. `run` keeps it up; `publish` never waits."""

    def __init__(
        self,
        settings: MqttSettings,
        subscriptions: tuple[str, ...],
        on_message: Callable[[str, bytes], None],
        on_up: Callable[[], None],
    ) -> None:
        """Deliver what comes on `subscriptions` to `on_message(topic, payload)`; call `on_up` at each
        (re)connection.
        """
        self._settings = settings
        self._subscriptions = subscriptions
        self._on_message = on_message
        self._on_up = on_up
        self._outgoing: asyncio.Queue[tuple[str, bytes, bool]] = asyncio.Queue(settings.outgoing_max)
        self._mqtt5 = settings.mqtt5
        self.connected = False
        self.bytes_up = 0
        """MQTT bytes sent, packet headers and acknowledgements included; TCP's are not."""
        self.bytes_down = 0
        self.dropped = 0
        """Messages that found the outgoing queue full."""

    def publish(self, topic: str, payload: bytes, retain: bool = False) -> None:
        """Queue a message; the oldest gives way if the queue is full."""
        if self._outgoing.full():
            self._outgoing.get_nowait()
            self.dropped += 1
        self._outgoing.put_nowait((topic, payload, retain))

    async def run(self) -> None:
        """Stay connected until cancelled."""
        wait_s = BACK_OFF_MIN_S
        while True:
            try:
                async with self._client() as client:
                    wait_s = BACK_OFF_MIN_S
                    await self._converse(client)
            except aiomqtt.MqttError as error:
                log.debug("mqtt.lost", client=self._settings.client_id, error=str(error))
                if not self.connected:
                    # A broker that does not offer MQTT 5 may refuse it, hang up, or not answer at all.
                    self._mqtt5 = self._settings.mqtt5 and not self._mqtt5
            finally:
                self.connected = False
            _stop_if_cancelled()
            # Jitter: a thousand devices must not come back to a restarted broker in one instant.
            await asyncio.sleep(wait_s * (0.5 + random.random()))
            wait_s = min(2 * wait_s, BACK_OFF_MAX_S)

    async def _converse(self, client: aiomqtt.Client) -> None:
        for topic in self._subscriptions:
            await client.subscribe(topic, qos=1)
        _stop_if_cancelled()
        self.connected = True
        self._on_up()
        senders = [asyncio.create_task(self._send(client)) for _ in range(self._settings.senders)]
        try:
            async for message in client.messages:
                if isinstance(message.payload, bytes):
                    topic = message.topic.value
                    self.bytes_down += _packet_bytes(topic, message.payload, self._mqtt5)
                    self.bytes_up += ACK_BYTES
                    self._on_message(topic, message.payload)
        finally:
            for task in senders:
                task.cancel()
            await asyncio.gather(*senders, return_exceptions=True)

    async def _send(self, client: aiomqtt.Client) -> None:
        while True:
            topic, payload, retain = await self._outgoing.get()
            self.bytes_up += _packet_bytes(topic, payload, self._mqtt5)
            try:
                await client.publish(topic, payload, qos=1, retain=retain, properties=self._expiry(retain))
                self.bytes_down += ACK_BYTES
            except aiomqtt.MqttCodeError:
                return  # the connection is gone: `_converse` ends too, and `run` makes another
            except aiomqtt.MqttError as error:
                # No PUBACK in time: the link or the broker is slow. The message is on its way; the next ones must go.
                log.debug("mqtt.unacknowledged", client=self._settings.client_id, error=str(error))
            _stop_if_cancelled()

    def _client(self) -> aiomqtt.Client:
        settings = self._settings
        return aiomqtt.Client(
            settings.host,
            settings.port,
            identifier=settings.client_id,
            username=settings.client_id,
            password=settings.password or None,
            protocol=ProtocolVersion.V5 if self._mqtt5 else ProtocolVersion.V311,
            # Sessions of the broker are not needed: each side says hello and sends again what was not answered.
            clean_session=None if self._mqtt5 else True,
            tls_context=settings.tls,
            keepalive=KEEPALIVE_S,
            timeout=TIMEOUT_S,
            max_queued_incoming_messages=INCOMING_MAX,
        )

    def _expiry(self, retain: bool) -> Properties | None:
        if not self._mqtt5 or retain:
            return None
        properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]  # paho leaves it out
        properties.MessageExpiryInterval = EXPIRY_S
        return properties


ACK_BYTES = 4
"""A PUBACK."""


def _stop_if_cancelled() -> None:
    """Raise the cancellation that the library may have lost: asyncio.wait_for of Python 3.11 swallows one that comes in
    the very moment of the answer (python/cpython issue 86296), and a task that is told to stop would run on.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


def _packet_bytes(topic: str, payload: bytes, mqtt5: bool) -> int:
    """Length of a QoS 1 PUBLISH packet (MQTT 3.1.1, section 3.3): fixed header, topic, packet id, payload."""
    rest = 2 + len(topic.encode()) + 2 + (6 if mqtt5 else 0) + len(payload)
    length_bytes = 1 if rest < 128 else 2 if rest < 16_384 else 3
    return 1 + length_bytes + rest
