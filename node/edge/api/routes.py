"""What a route is: one table from which requests are dispatched, checked and documented, so that the three cannot
differ.
"""

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import msgspec
from aiohttp import web

from ledger.errors import ClientError
from node.edge.api.services import Services

P = TypeVar("P", bound=msgspec.Struct)


class Route(msgspec.Struct, frozen=True):
    """One operation."""

    method: str
    path: str
    """With {names} of path parameters, which are fields of `parameters` like those of the query."""
    name: str
    """The OpenAPI operationId."""
    summary: str
    tag: str
    parameters: type[msgspec.Struct]
    response: Any
    """Type of the answer's body, or of one event's data if `stream`."""
    handler: Callable[[Services, web.Request, Any], Awaitable[Any]]
    accepted: Any = None
    """Type of a 202 answer, if there may be one."""
    takes_transaction: bool = False
    """Whether the body is a transaction."""
    stream: bool = False
    """Answers with server-sent events."""


def read_parameters(kind: type[P], request: web.Request) -> P:
    """Path and query parameters of a request as its route's struct. Raises ClientError `request-invalid`, naming the
    field.
    """
    given: dict[str, str] = {}
    for name, value in request.query.items():
        if name in given:
            raise ClientError("request-invalid", f"query parameter {name} is given twice")
        given[name] = value
    given.update(request.match_info)
    try:
        return msgspec.convert(given, kind, strict=False)
    except msgspec.ValidationError as error:
        raise ClientError("request-invalid", str(error)) from error
