"""The aiohttp application: dispatch by the route table, limits before everything else, errors as problems, the live
page beside it.
"""

import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import structlog
from aiohttp import web
from prometheus_client import Histogram

from ledger.errors import ClientError, PeerError
from node.edge.api.limits import RateLimit
from node.edge.api.openapi import openapi_document
from node.edge.api.problems import problem, problem_of, status_of
from node.edge.api.routes import Route, read_parameters
from node.edge.api.services import Services
from node.edge.api.table import ROUTES
from node.edge.api.transactions import BODY_BYTES_MAX

STATIC = Path(__file__).resolve().parent.parent / "static"
PAGES = {
    "/": ("index.html", "text/html"),
    "/docs": ("docs.html", "text/html"),
    "/static/app.js": ("app.js", "text/javascript"),
    "/static/map.js": ("map.js", "text/javascript"),
    "/static/words.js": ("words.js", "text/javascript"),
    "/static/docs.js": ("docs.js", "text/javascript"),
    "/static/style.css": ("style.css", "text/css"),
    "/static/icon.svg": ("icon.svg", "image/svg+xml"),
}
"""Path -> file and type. A list, not a folder: nothing else can be asked for (CVE-2024-23334 was a path out of a static
folder).
"""

SECURITY_HEADERS = {
    # No inline script or style, nothing from elsewhere, no framing: text that somebody wrote onto the chain cannot
    # become code.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}

requests = Histogram(
    "pilechain_api_request_seconds",
    "Time to answer a request",
    ["operation", "status"],
    buckets=(0.001, 0.005, 0.02, 0.1, 0.5, 2, 10),
)
log = structlog.get_logger()

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def make_app(services: Services, requests_per_second_max: int) -> web.Application:
    """The application over these services, with a limit of requests per client address."""
    limit = RateLimit(requests_per_second_max)

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        if not limit.allow(request.remote or "", time.monotonic()):
            return problem("rate-limit", f"more than {requests_per_second_max} requests a second from one address")
        try:
            return await handler(request)
        except (ClientError, PeerError) as error:
            return problem_of(error)
        except web.HTTPRequestEntityTooLarge:
            return problem("body-too-large", f"a body has at most {BODY_BYTES_MAX} bytes")
        except web.HTTPMethodNotAllowed as error:
            allowed = ", ".join(sorted(error.allowed_methods))
            return problem("method-not-allowed", f"{request.path} takes {allowed}", headers={"Allow": allowed})
        except web.HTTPNotFound:
            return problem("route-unknown", "there is nothing here; /openapi.json lists what there is")

    # The limit is one more than allowed, so that a body of exactly the limit passes.
    app = web.Application(middlewares=[guard], client_max_size=BODY_BYTES_MAX)
    for route in ROUTES:
        app.router.add_route(route.method, route.path, _handler(services, route))
    app.router.add_get("/openapi.json", _openapi)
    for path, (name, kind) in PAGES.items():
        app.router.add_get(path, _page(STATIC / name, kind))
    app.on_response_prepare.append(_add_headers)

    async def end_streams(_: web.Application) -> None:
        for task in list(services.streams):
            if task is not None:
                task.cancel()

    app.on_shutdown.append(end_streams)
    return app


def _handler(services: Services, route: Route) -> Handler:
    async def handle(request: web.Request) -> web.StreamResponse:
        began = time.perf_counter()
        status = 500
        try:
            answer = await route.handler(services, request, read_parameters(route.parameters, request))
            response = answer if isinstance(answer, web.StreamResponse) else _json(answer)
            status = response.status
            return response
        except (ClientError, PeerError) as error:
            status = status_of(error.code)
            raise
        finally:
            if not route.stream:
                requests.labels(route.name, status).observe(time.perf_counter() - began)

    return handle


def _json(answer: object) -> web.Response:
    return web.Response(body=msgspec.json.encode(answer), content_type="application/json")


async def _openapi(_: web.Request) -> web.Response:
    return web.Response(body=openapi_document(ROUTES), content_type="application/json")


def _page(path: Path, kind: str) -> Handler:
    content = path.read_bytes()

    async def page(_: web.Request) -> web.Response:
        return web.Response(body=content, content_type=kind, charset="utf-8", headers={"Cache-Control": "no-cache"})

    return page


async def _add_headers(_: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(SECURITY_HEADERS)
