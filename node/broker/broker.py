"""The MQTT broker of a test network: mosquitto where it is installed, else amqtt. Same users, same rules.

A device may use its own topics only, retained and will messages included, and its client id is its user name, so nobody
takes over another's connection. Passwords follow from one secret per network; brokers in the field use client
certificates instead (`deploy/mosquitto`).
"""

import asyncio
import base64
import hashlib
import hmac
import json
import os
import pwd
import shutil
import socket
import sys
from collections.abc import Iterable
from pathlib import Path

import structlog
from msgspec import Struct

from devices.wire import DOWN_BYTES_MAX, topic_root
from ledger.errors import ClientError, OurError
from node.child import die_with

START_MAX_S = 10.0
"""How long a broker may take until it accepts connections."""
STOP_MAX_S = 5.0
PATH_OF_BROKERS = "/usr/sbin:/usr/local/sbin"
"""Where Debian and others put brokers; not on every user's PATH."""
_ITERATIONS = 101
"""Of PBKDF2 in mosquitto's password file, its own default: the passwords are 128-bit secrets, not words."""

log = structlog.get_logger()


def gateway_user(company: str) -> str:
    """User name of a company's gateway."""
    return "gateway-" + "".join(sign if sign.isascii() and sign.isalnum() else "-" for sign in company)


def password_of(secret: bytes, user: str) -> str:
    """Password of a user in a network whose broker secret this is."""
    return hmac.new(secret, user.encode(), hashlib.sha256).hexdigest()[:32]


class BrokerSettings(Struct, frozen=True):
    """What a broker is started with."""

    folder: Path
    """Its configuration, and its store where it is durable."""
    chain_id: bytes
    secret: bytes
    devices: tuple[str, ...]
    companies: tuple[str, ...]
    """Whose gateways may connect."""
    port: int
    host: str = "127.0.0.1"
    durable: bool = True
    """Keep retained heads and queued messages through a restart."""
    embedded: bool = False
    """Do not look for mosquitto."""

    def users(self) -> dict[str, str]:
        """User name -> password."""
        names = (*self.devices, *(gateway_user(company) for company in self.companies))
        return {name: password_of(self.secret, name) for name in names}


class Broker:
    """A running broker: `async with Broker(settings)`."""

    def __init__(self, settings: BrokerSettings) -> None:
        """Choose the program."""
        self.settings = settings
        self.program = None if settings.embedded else find_mosquitto()
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> "Broker":
        """Start, and wait until it accepts connections."""
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop."""
        await self.stop()

    @property
    def kind(self) -> str:
        """Which program serves."""
        return "mosquitto" if self.program else "amqtt"

    @property
    def pid(self) -> int | None:
        """Process id while it runs."""
        return self._process.pid if self._process else None

    async def start(self) -> None:
        """Start, and wait until it accepts connections. Raises ClientError `port-taken` or `broker-start`."""
        check_port(self.settings.host, self.settings.port)  # a stranger's broker would answer in our broker's place
        if self.program:
            command = [self.program, "-c", str(write_mosquitto(self.settings))]
        else:
            # In a process of its own: its work must not wait for ours, nor ours for its.
            command = [sys.executable, "-m", "node.broker.embedded", str(write_amqtt(self.settings))]
        with (self.settings.folder / f"{self.kind}.log").open("ab") as output:
            self._process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # a terminal's Ctrl-C is for us, who stop it last
                preexec_fn=die_with(os.getpid()),
            )
        await self._wait_for_port(self._process)
        log.info("broker.listens", kind=self.kind, address=self._address)

    async def wait(self) -> int:
        """Until the broker ends by itself: its exit code. Raises OurError `broker-not-started`."""
        if self._process is None:
            raise OurError("broker-not-started", "start the broker before waiting for its end")
        return await self._process.wait()

    async def stop(self) -> None:
        """Stop it, gently first."""
        process, self._process = self._process, None
        if process is None or process.returncode is not None:
            return
        process.terminate()
        try:
            async with asyncio.timeout(STOP_MAX_S):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()

    @property
    def _address(self) -> str:
        return f"{self.settings.host}:{self.settings.port}"

    async def _wait_for_port(self, process: asyncio.subprocess.Process) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + START_MAX_S
        while loop.time() < deadline and process.returncode is None:
            try:
                _, writer = await asyncio.open_connection(self.settings.host, self.settings.port)
            except OSError:
                await asyncio.sleep(0.05)
                continue
            writer.close()
            return
        await self.stop()
        raise ClientError("broker-start", f"{self.kind} does not accept connections at {self._address}; see its log")


def check_port(host: str, port: int) -> None:
    """Raise ClientError `port-taken` where another program listens."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections that are just ending do not count
        try:
            probe.bind((host, port))
        except OSError as error:
            message = f"{host}:{port}: {error.strerror}; choose another port (--base-port)"
            raise ClientError("port-taken", message) from error


def find_mosquitto() -> str | None:
    """Path of the program, if it is installed."""
    return shutil.which("mosquitto") or shutil.which("mosquitto", path=PATH_OF_BROKERS)


# ── mosquitto ───────────────────────────────────────────────────────────────────────────────────────────────────────


def write_mosquitto(settings: BrokerSettings) -> Path:
    """Write configuration, passwords and access rules; returns the configuration's path."""
    folder = settings.folder
    _write_private(folder / "acl", mosquitto_rules(settings.chain_id, settings.companies))
    _write_private(folder / "passwords", [_mosquitto_password(*user) for user in settings.users().items()])
    lines = [
        f"listener {settings.port} {settings.host}",
        "# Otherwise a broker that root starts could not read its own private files.",
        f"user {pwd.getpwuid(os.geteuid()).pw_name}",
        "allow_anonymous false",
        f"password_file {folder / 'passwords'}",
        f"acl_file {folder / 'acl'}",
        "# A connection belongs to its user: nobody else can take it over by its client id.",
        "use_username_as_clientid true",
        f"max_packet_size {2 * DOWN_BYTES_MAX}",
        "max_inflight_messages 20",
        "# Per client that is slow or away; older knowledge is asked for again.",
        "max_queued_messages 1000",
        "log_dest stderr",
        "log_type error",
        f"persistence {'true' if settings.durable else 'false'}",
    ]
    if settings.durable:
        lines += [f"persistence_location {folder}/", "autosave_interval 60"]
    config = folder / "mosquitto.conf"
    config.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return config


def mosquitto_rules(chain_id: bytes, companies: Iterable[str]) -> list[str]:
    """Lines of mosquitto's access rules, the same as `deploy/mosquitto/acl`, for the gateways of these companies."""
    root = topic_root(chain_id)
    rules = [f"pattern write {root}/d/%u/up", f"pattern read {root}/d/%u/down", f"pattern read {root}/head"]
    for company in companies:
        rules += [
            f"user {gateway_user(company)}",
            f"topic read {root}/d/+/up",
            f"topic write {root}/d/+/down",
            f"topic readwrite {root}/head",
        ]
    return rules


def _mosquitto_password(user: str, password: str) -> str:
    """A line of mosquitto's password file: PBKDF2 with SHA-512, as its own tool writes it."""
    salt = hashlib.sha256(f"{user}:{password}".encode()).digest()[:12]
    digest = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, _ITERATIONS)
    return f"{user}:$7${_ITERATIONS}${base64.b64encode(salt).decode()}${base64.b64encode(digest).decode()}"


# ── amqtt ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def write_amqtt(settings: BrokerSettings) -> Path:
    """Write the embedded broker's configuration, passwords included; returns its path."""
    module = "__main__"  # of the broker's process
    config = {
        "listeners": {"default": {"type": "tcp", "bind": f"{settings.host}:{settings.port}"}},
        "plugins": {
            f"{module}.Passwords": {"users": settings.users()},
            f"{module}.Rules": {
                "root": topic_root(settings.chain_id),
                "gateways": [gateway_user(company) for company in settings.companies],
            },
        },
    }
    path = settings.folder / "amqtt.json"
    _write_private(path, [json.dumps(config)])
    return path


def _write_private(path: Path, lines: list[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)
    path.chmod(0o600)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
