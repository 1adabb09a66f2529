"""The embedded MQTT broker, for machines without mosquitto: amqtt with the users and access rules of a test network, in
a process of its own (`python -m node.broker.embedded amqtt.json`).

It holds nothing for clients that are away: what they missed is asked for, or sent, again.
"""

import asyncio
import hmac
import logging
import sys
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import amqtt.broker
import msgspec
import uvloop
from amqtt.broker import AMQTT_MAGIC_VALUE_RET_SUBSCRIBED as REFUSED
from amqtt.broker import Broker
from amqtt.contexts import Action
from amqtt.errors import AMQTTError, MQTTError
from amqtt.mqtt.connack import NOT_AUTHORIZED, ConnackPacket
from amqtt.mqtt.protocol.broker_handler import BrokerProtocolHandler
from amqtt.plugins.base import BaseAuthPlugin, BaseTopicPlugin
from amqtt.session import Session


class EmbeddedBroker(Broker):  # type: ignore[misc]  # the library has no types
    """amqtt (0.12) for a city of piles, each with filters of its own.

    The library compares every message with every client's filter, about a millisecond per message at 600 piles, and
    loses the message when a client subscribes meanwhile, because it walks through a dictionary that grows. At each
    connection it offers retained messages on the filters of all clients, subscribed or not, along the same walk. After
    each subscription it spells all of them out for a log that nobody asked for. The four methods below look up instead.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        """Set up with amqtt's own configuration (`node.broker.broker.write_amqtt`)."""
        super().__init__(dict(config))
        self._subscriptions = _Filters()
        self._patterns: set[str] = set()
        """Filters with wildcards; the access rules leave one."""

    async def add_subscription(self, subscription: tuple[str, int], session: Session) -> int:
        """Code of the SUBACK: the granted quality of service, or a refusal."""
        code: int = await super().add_subscription(subscription, session)
        if code != REFUSED and not {"+", "#"}.isdisjoint(subscription[0]):
            self._patterns.add(subscription[0])
        return code

    async def _run_broadcast(self, running_tasks: deque[asyncio.Task[Any]]) -> None:
        """Hand the next message to those who subscribed to it. Who may not read a topic could not subscribe to it."""
        message = await self._broadcast_queue.get()
        topic = message["topic"]
        for a_filter in (topic, *(pattern for pattern in self._patterns if self._matches(topic, pattern))):
            for session, granted in self._subscriptions.get(a_filter, ()):
                handler = self._get_handler(session)
                if handler and session.transitions.state == "connected":
                    qos = message.get("qos", granted)
                    running_tasks.append(asyncio.create_task(_send(handler, topic, message["data"], qos)))

    async def _publish_retained_messages_for_subscription(
        self, subscription: tuple[str, int], session: Session
    ) -> None:
        """Send what is retained to a client that subscribed."""
        if any(member is session for member, _ in self._subscriptions.get(subscription[0], ())):
            await super()._publish_retained_messages_for_subscription(subscription, session)


async def _send(handler: BrokerProtocolHandler, topic: str, data: bytes, qos: int) -> None:
    """Send to one client. One that takes longer than the library's 5 s to acknowledge has it, or asks again."""
    with suppress(TimeoutError):
        await handler.mqtt_publish(topic, data, qos, retain=False)


class _Filters(dict[str, list[tuple[Session, int]]]):
    """Filter -> who subscribed to it, with a short name for logs."""

    def __repr__(self) -> str:
        return f"<{len(self)} filters>"


class _PasswordFirst(BrokerProtocolHandler):  # type: ignore[misc]  # the library has no types
    """Checks the password of a connection before anything else.

    The library ends the session that a client id names before it authenticates whoever named it (0.12): anybody could
    make a gateway deaf by its name.
    """

    @classmethod
    async def init_from_connect(cls, reader: Any, writer: Any, plugins: Any, loop: Any = None) -> Any:
        """Handler and session of a CONNECT packet. Raises MQTTError for a wrong password."""
        handler, session = await super().init_from_connect(reader, writer, plugins, loop)
        answers = await plugins.map_plugin_auth(session=session)
        if not all(answers.values()):
            await ConnackPacket.build(0, NOT_AUTHORIZED).to_stream(writer)
            raise MQTTError(f"wrong user or password of {session.username}")
        # The library keeps messages for sessions that are away without any bound.
        session.clean_session = True
        return handler, session


amqtt.broker.BrokerProtocolHandler = _PasswordFirst


class Passwords(BaseAuthPlugin):  # type: ignore[misc]  # the library has no types
    """Users of the embedded broker; a client id must be the user's name."""

    async def authenticate(self, *, session: Session) -> bool | None:
        """Whether a client may connect."""
        users: Mapping[str, str] = self.config.users
        user, password = session.username or "", session.password or ""
        return (
            session.client_id == user
            and hmac.compare_digest(users.get(user, "").encode(), password.encode())
            and (user in users)
        )

    @dataclass
    class Config:
        """User name -> password."""

        users: dict[str, str]


class Rules(BaseTopicPlugin):  # type: ignore[misc]  # the library has no types
    """Access rules of the embedded broker: those of `node.broker.broker.write_mosquitto`."""

    async def topic_filtering(
        self, *, session: Session | None = None, topic: str | None = None, action: Action | None = None
    ) -> bool | None:
        """Whether a client may publish to a topic, or subscribe to it."""
        user, root = (session.username if session else "") or "", self.config.root
        writes = action == Action.PUBLISH
        if user in self.config.gateways:
            parts = (topic or "").removeprefix(f"{root}/").split("/")
            own_direction = len(parts) == 3 and parts[0] == "d" and parts[2] == ("down" if writes else "up")
            return topic == f"{root}/head" or own_direction
        return topic in ((f"{root}/d/{user}/up",) if writes else (f"{root}/d/{user}/down", f"{root}/head"))

    @dataclass
    class Config:
        """Beginning of the topics, and who is a gateway."""

        root: str
        gateways: list[str]


async def serve(config: Mapping[str, Any]) -> None:
    """Serve until the process is ended. Raises AMQTTError where it cannot listen."""
    await EmbeddedBroker(config).start()
    await asyncio.Event().wait()


def main(config_path: str) -> None:
    """The process: errors to standard error, as mosquitto does."""
    logging.basicConfig(level=logging.ERROR)
    try:
        uvloop.run(serve(msgspec.json.decode(Path(config_path).read_bytes())))
    except AMQTTError as error:
        sys.exit(f"amqtt cannot serve: {error}")


if __name__ == "__main__":
    main(sys.argv[1])
