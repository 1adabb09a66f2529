"""The embedded MQTT broker, for machines without mosquitto: amqtt with the users and access rules of a test network."""

import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import amqtt.broker
from amqtt.broker import Broker
from amqtt.contexts import Action
from amqtt.errors import AMQTTError, MQTTError
from amqtt.mqtt.connack import NOT_AUTHORIZED, ConnackPacket
from amqtt.mqtt.protocol.broker_handler import BrokerProtocolHandler
from amqtt.plugins.base import BaseAuthPlugin, BaseTopicPlugin
from amqtt.session import Session

from devices.wire import topic_root
from ledger.errors import ClientError


async def start_embedded(
    host: str, port: int, chain_id: bytes, users: Mapping[str, str], gateways: list[str]
) -> Broker:
    """Start a broker. `users`: name -> password, devices and gateways; the gateways among them serve all devices.

    Raises ClientError `broker-start`.
    """
    broker = Broker(
        {
            "listeners": {"default": {"type": "tcp", "bind": f"{host}:{port}"}},
            "plugins": {
                "node.broker_embedded.Passwords": {"users": dict(users)},
                "node.broker_embedded.Rules": {"root": topic_root(chain_id), "gateways": gateways},
            },
        }
    )
    try:
        await broker.start()
    except (AMQTTError, OSError) as error:
        raise ClientError("broker-start", f"amqtt cannot listen at {host}:{port}: {error}") from error
    return broker


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
    """Access rules of the embedded broker: those of `node.broker.write_mosquitto`."""

    async def topic_filtering(
        self, *, session: Session | None = None, topic: str | None = None, action: Action | None = None
    ) -> bool | None:
        """Whether a client may publish to, subscribe to or receive from a topic."""
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
