"""Runs a whole testnet on this machine: broker and all nodes, each under a supervisor of its own, in one process."""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from contracts.genesis import consortium_of
from ledger.errors import ClientError
from node.broker.broker import Broker, BrokerSettings, check_port
from node.config import LogSection, split_address
from node.ipc.status import core_status
from node.logs import configure_logs
from node.supervisor import Supervisor, parts_of
from node.testnet.make import Testnet

READY_S_MAX = 60.0
LOOK_S = 0.1


@asynccontextmanager
async def running(testnet: Testnet) -> AsyncIterator[dict[str, Supervisor]]:
    """Broker and nodes, up as long as the block lasts; their supervisors by company. Logs go to files of its `logs`
    folder.

    Raises ClientError (in an exception group) when a node cannot be kept up.
    """
    configure_logs(LogSection(level="warning"))
    _check_ports(testnet)
    async with Broker(_broker_settings(testnet)) as broker, asyncio.TaskGroup() as tasks:
        watcher = tasks.create_task(_watch(broker))
        supervisors = {
            name: Supervisor(testnet.home(name), parts_of(testnet.home(name)), testnet.logs) for name in testnet.nodes
        }
        for supervisor in supervisors.values():
            tasks.create_task(supervisor.run())
        try:
            yield supervisors
        finally:
            watcher.cancel()
            for supervisor in supervisors.values():
                supervisor.stop()


def _check_ports(testnet: Testnet) -> None:
    """Raise ClientError `port-taken` before anything starts: half a testnet with a stranger's broker is a riddle."""
    nodes = [at for node in testnet.nodes.values() for at in (node.p2p, node.api, node.ops)]
    for address in [testnet.broker, *nodes]:
        check_port(*split_address(address))


async def _watch(broker: Broker) -> None:
    status = await broker.wait()
    raise ClientError("broker-ended", f"{broker.kind} ended by itself with status {status}")


async def until_ready(testnet: Testnet) -> None:
    """Return when every core answers and every API listens. Raises ClientError `testnet-not-ready` after a minute."""
    company = ""
    try:
        async with asyncio.timeout(READY_S_MAX):
            for company, addresses in testnet.nodes.items():
                # A process that is starting has no event to wait for.
                while not (await _answers(testnet, company) and await _listens(addresses.api)):  # noqa: ASYNC110
                    await asyncio.sleep(LOOK_S)
    except TimeoutError as error:
        raise ClientError(
            "testnet-not-ready", f"{company} does not answer after {READY_S_MAX:.0f} s; see its log"
        ) from error


async def run_testnet(testnet: Testnet, say: Callable[[str], None]) -> None:
    """Run a testnet until SIGINT or SIGTERM."""
    stopping = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    async with running(testnet):
        await until_ready(testnet)
        first = next(iter(testnet.nodes.values()))
        say(f"all {len(testnet.nodes)} nodes answer; live page: http://{first.api}/ (Ctrl-C stops)")
        await stopping.wait()


def _broker_settings(testnet: Testnet) -> BrokerSettings:
    genesis = testnet.genesis()
    return BrokerSettings(
        folder=testnet.root / "broker",
        chain_id=genesis.hash(),
        secret=testnet.broker_secret,
        devices=tuple(setup.pile.name for setup in consortium_of(genesis).piles),
        companies=tuple(testnet.nodes),
        port=split_address(testnet.broker)[1],
        durable=False,  # what is lost is sent again
    )


async def _answers(testnet: Testnet, company: str) -> bool:
    try:
        await core_status(testnet.home(company))
    except ClientError:
        return False
    return True


async def _listens(address: str) -> bool:
    try:
        _, writer = await asyncio.open_connection(*split_address(address))
    except OSError:
        return False
    writer.close()
    return True
