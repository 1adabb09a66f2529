"""What a node's core says of itself: one question over its unix socket."""

from typing import Any

from ledger.errors import ClientError
from node.home import Home
from node.ipc.socket import CoreClient


async def core_status(home: Home) -> dict[str, Any]:
    """Status of a running core. Raises ClientError `core-unreachable`."""
    try:
        client = await CoreClient.connect(home.socket)
        try:
            return await client.status()
        finally:
            await client.close()
    except (OSError, EOFError) as error:
        raise ClientError("core-unreachable", f"no core answers at {home.socket}: {error}") from error
