"""The edge process: api, gateway and indexer as tasks of one loop, or one of them alone. Nothing in it can slow core.

A part that fails with an unexpected error ends the process loudly; the supervisor starts it again, and it goes on from
the store.
"""

import asyncio
import signal
import ssl
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Any

import structlog
import uvloop
from aiohttp import web
from sqlalchemy import Engine

from devices.mqtt import MqttSettings
from ledger.errors import ClientError, OurError
from node.cli.submit import load_signer
from node.config import Config, split_address
from node.edge.api.agreement import Agreement
from node.edge.api.app import make_app
from node.edge.api.limits import listen, make_runner
from node.edge.api.services import Services
from node.edge.blocks import Blocks
from node.edge.indexer import Indexer
from node.edge.ops import make_ops_app
from node.edge.read_model import open_read_model
from node.edge.read_queries import ReadQueries
from node.edge.room import when_room
from node.edge.sealed_waits import SealedWaits
from node.gateway.archive import Archive
from node.gateway.gateway import Gateway
from node.home import Home
from node.ipc.link import BACK_OFF_MAX_S, BACK_OFF_MIN_S, CoreLink
from node.ipc.socket import CoreClient
from node.logs import STANDARD_ERROR, configure_logs
from node.network.tls import broker_context
from node.storage.reader import LedgerReader

PARTS = ("api", "gateway", "indexer")
GATEWAY_SENDERS = 16
"""Publications under way at once: a gateway answers many devices, each in order."""
LEDGER_LOOK_S = 2.0
"""How often the edge looks whether what it reads is still the ledger that core writes."""
EXIT_SETTINGS = 2
EXIT_FAILED = 1

log = structlog.get_logger()


def main(folder: Path, only: str | None = None) -> int:
    """Run the edge of the node in a folder, or one part of it, until it is told to stop; returns the exit code."""
    home = Home(folder.expanduser().absolute())
    try:
        config = home.config()
        configure_logs(config.log, company=config.node.company, process=only or "edge")
        uvloop.run(_run(home, config, frozenset(PARTS if only is None else (only,))))
    except ClientError as error:
        STANDARD_ERROR.write(f"pilechain edge: {error}\n")
        return EXIT_SETTINGS
    except Exception as error:
        log.critical("edge_failed", error=str(error), exc_info=error)
        return EXIT_FAILED
    return 0


async def _run(home: Home, config: Config, parts: frozenset[str]) -> None:
    """Run these parts until a signal comes; raises what the first failing part raised."""
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    serving = asyncio.create_task(_serve(home, config, parts))
    stopped = asyncio.create_task(stopping.wait())
    await asyncio.wait((serving, stopped), return_when=asyncio.FIRST_COMPLETED)
    if not serving.done():
        log.info("edge.stopping")
        serving.cancel()
    with suppress(asyncio.CancelledError):
        await serving


async def _serve(home: Home, config: Config, parts: frozenset[str]) -> None:
    async def connect() -> CoreClient:
        return await CoreClient.connect(home.socket)

    async with AsyncExitStack() as stack:
        ledger = await _open_ledger(home, config.store.map_bytes, connect)
        stack.callback(ledger.close)
        link = CoreLink(ledger, connect)
        engine = await when_room(home.index, partial(open_read_model, home.index))
        stack.callback(engine.dispose)
        indexer = Indexer(ledger, engine, link) if "indexer" in parts else None
        work: list[Coroutine[Any, Any, None]] = [link.run(), _end_with(ledger)]
        if indexer is not None:
            work.append(indexer.run())
        if "gateway" in parts and config.mqtt.broker:
            archive = await when_room(home.archive, partial(Archive, home.archive))
            stack.callback(archive.close)
            work.append(_gateway(home, config, ledger, link, archive).run())
        if "api" in parts:
            services = _services(config, ledger, link, engine)
            stack.callback(services.read_model.close)
            work.append(services.waits.run())
            app = make_app(services, config.api.requests_per_second_max)
            await _listen(stack, app, "api", config.api.listen)
        await _listen(stack, make_ops_app(ledger, link, indexer), "ops", config.ops.listen)
        async with asyncio.TaskGroup() as group:
            for coroutine in work:
                group.create_task(coroutine)


async def _end_with(ledger: LedgerReader) -> None:
    """End the process, to be started again, when core has put another store in the place of this one."""
    while True:
        await asyncio.sleep(LEDGER_LOOK_S)
        if ledger.is_replaced():
            message = "this node joined again by snapshot; the edge starts anew with its new ledger"
            raise OurError("ledger-replaced", message)


def _services(config: Config, ledger: LedgerReader, link: CoreLink, engine: Engine) -> Services:
    with ledger.snapshot() as snapshot:
        genesis = snapshot.genesis
    blocks = Blocks(ledger)
    return Services(
        company=config.node.company,
        genesis=genesis,
        ledger=ledger,
        link=link,
        blocks=blocks,
        waits=SealedWaits(ledger, link, blocks),
        read_model=ReadQueries(engine),
        agreement=Agreement(ledger, link),
    )


def _gateway(home: Home, config: Config, ledger: LedgerReader, link: CoreLink, archive: Archive) -> Gateway:
    mqtt = config.mqtt
    host, port = split_address(mqtt.broker)
    settings = MqttSettings(
        host,
        port,
        client_id=mqtt.username or f"gateway-{config.node.company}",
        password=home.path(mqtt.password_file).read_text(encoding="utf-8").strip() if mqtt.password_file else "",
        tls=_broker_tls(home, config) if mqtt.ca else None,
        senders=GATEWAY_SENDERS,
    )
    archive_signer = load_signer(home, home.path(config.keys.archive))
    return Gateway(config.node.company, ledger, link, archive, archive_signer, config.clock, settings)


def _broker_tls(home: Home, config: Config) -> ssl.SSLContext:
    mqtt = config.mqtt
    certificate, key = (home.path(file) if file else None for file in (mqtt.certificate, mqtt.key))
    return broker_context(home.path(mqtt.ca), certificate, key, home.passphrase(config))


async def _open_ledger(home: Home, map_bytes: int, connect: Callable[[], Awaitable[CoreClient]]) -> LedgerReader:
    """The store; on a node's first start, as soon as core has made it."""
    try:
        return LedgerReader(home.ledger, map_bytes)
    except ClientError as error:
        if error.code != "store-missing":
            raise
    log.info("edge.waits_for_core", socket=str(home.socket))
    delay_s = BACK_OFF_MIN_S
    while True:
        try:
            client = await connect()
        except OSError:
            await asyncio.sleep(delay_s)
            delay_s = min(2 * delay_s, BACK_OFF_MAX_S)
        else:
            await client.close()
            return LedgerReader(home.ledger, map_bytes)


async def _listen(stack: AsyncExitStack, app: web.Application, name: str, address: str) -> None:
    """Serve an application for as long as the stack lives."""
    runner = make_runner(app)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    host, port = split_address(address)
    try:
        server = await listen(runner, host, port)
    except OSError as error:
        raise ClientError("address-taken", f"[{name}] listen = {address!r}: {error.strerror}") from error
    stack.callback(server.close)
    bound = server.sockets[0].getsockname()
    log.info("edge.listens", part=name, address=f"{bound[0]}:{bound[1]}")
