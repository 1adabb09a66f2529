"""Errors on their way out: problem+json (RFC 9457) with a stable code, and the status that says whose fault it is."""

from collections.abc import Mapping

import msgspec
from aiohttp import web

from ledger.errors import ClientError, PeerError

_STATUS = {
    "request-invalid": 400,
    "encoding-malformed": 400,
    "encoding-not-canonical": 400,
    "transaction-too-large": 413,
    "body-too-large": 413,
    "body-too-slow": 408,
    "media-type": 415,
    "route-unknown": 404,
    "height-unknown": 404,
    "height-pruned": 410,
    "transaction-unknown": 404,
    "account-unknown": 404,
    "session-unknown": 404,
    "contract-unknown": 404,
    "method-not-allowed": 405,
    "transaction-seen": 409,
    "rate-limit": 429,
    "sender-quota": 429,
    "busy": 503,
    "pool-full": 503,
    "core-unreachable": 503,
    "streams-full": 503,
    "waits-full": 503,
    "disk-full": 503,
    "shutting-down": 503,
}
"""HTTP status of a code. What core refuses with a code that is not here is well-formed but cannot be done: 422."""

_RETRY_AFTER_S = 1
"""Told with 429 and 503: a block's time."""


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """Body of every answer that is an error."""

    type: str
    """A URN made of the code."""
    title: str
    """The HTTP status in words."""
    status: int
    code: str
    """Stable; programs decide by it."""
    detail: str
    """For people; what would work."""
    id: str | None = None
    """Id of the transaction that was refused."""


def status_of(code: str) -> int:
    """HTTP status for an error code."""
    return _STATUS.get(code, 422)


def problem(
    code: str, detail: str, *, transaction_id: str | None = None, headers: Mapping[str, str] | None = None
) -> web.Response:
    """Answer with the problem of this code."""
    status = status_of(code)
    body = Problem(f"urn:pilechain:problem:{code}", web_reason(status), status, code, detail, transaction_id)
    response = web.Response(
        body=msgspec.json.encode(body), status=status, content_type="application/problem+json", headers=headers
    )
    if status in (429, 503):
        response.headers["Retry-After"] = str(_RETRY_AFTER_S)
    return response


def web_reason(status: int) -> str:
    """Words for a status, as RFC 9110 has them."""
    return web.Response(status=status).reason or ""


def problem_of(error: PeerError | ClientError) -> web.Response:
    """Answer with what one of our own errors says. To the API even malformed bytes are the client's fault."""
    return problem(error.code, error.message)
