"""What a node says of itself: its core over the unix socket, its edge at the operations listener."""

import http.client
from typing import Any

import msgspec

from ledger.errors import ClientError
from node.config import split_address
from node.home import Home
from node.ipc.socket import CoreClient

READY_S_MAX = 5.0
"""For an answer of a listener on the same machine."""


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


def readiness(home: Home) -> dict[str, Any]:
    """What /readyz answers: `ready`, and the `reasons` if not. Raises ClientError `node-unreachable`."""
    address = home.config().ops.listen
    connection = http.client.HTTPConnection(*split_address(address), timeout=READY_S_MAX)
    try:
        connection.request("GET", "/readyz")
        return msgspec.json.decode(connection.getresponse().read(), type=dict[str, Any])
    except (OSError, http.client.HTTPException, msgspec.DecodeError) as error:
        raise ClientError(
            "node-unreachable", f"the operations listener at {address} does not answer: {error}"
        ) from error
    finally:
        connection.close()
