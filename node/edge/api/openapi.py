"""The OpenAPI 3.1 document, made from the route table and its structs."""

import inspect
from functools import cache
from typing import Any, get_type_hints

import msgspec

import node
from node.edge.api.problems import Problem
from node.edge.api.routes import Route
from node.edge.api.transactions import BODY_BYTES_MAX, TransactionBody

_REFERENCE = "#/components/schemas/{name}"


@cache
def openapi_document(routes: tuple[Route, ...]) -> bytes:
    """The document as JSON."""
    responses = [kind for route in routes for kind in (route.response, route.accepted) if kind is not None]
    kinds = list(dict.fromkeys([*responses, Problem, TransactionBody]))
    _, components = msgspec.json.schema_components(kinds, ref_template=_REFERENCE)
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    document = {
        "openapi": "3.1.0",
        "info": {
            "title": "PileChain",
            "version": node.__version__,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
            "description": "A node of the charging consortium. Bytes are lower-case hex, money in fen, energy in Wh, "
            "prices in 0.0001 yuan per kWh, time in ms since 1970. Errors are problem+json with a stable `code`.",
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {"schemas": components},
    }
    return msgspec.json.encode(document)


def _operation(route: Route) -> dict[str, Any]:
    media = "text/event-stream" if route.stream else "application/json"
    responses = {"200": _answer(_summary(route.response), media, route.response)}
    if route.accepted is not None:
        responses["202"] = _answer(_summary(route.accepted), media, route.accepted)
    responses["default"] = _answer("An error: its `code` is stable", "application/problem+json", Problem)
    operation: dict[str, Any] = {
        "operationId": route.name,
        "summary": route.summary,
        "description": inspect.getdoc(route.handler) or "",
        "tags": [route.tag],
        "parameters": _parameters(route),
        "responses": responses,
    }
    if route.takes_transaction:
        operation["requestBody"] = {
            "required": True,
            "description": f"The transaction's bytes. Bodies have at most {BODY_BYTES_MAX} bytes.",
            "content": {
                "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
                "application/json": {"schema": _reference(TransactionBody)},
            },
        }
    return operation


def _parameters(route: Route) -> list[dict[str, Any]]:
    _, components = msgspec.json.schema_components([route.parameters], ref_template=_REFERENCE)
    schema = components[route.parameters.__name__]
    parameters = []
    for name in get_type_hints(route.parameters):
        in_path = f"{{{name}}}" in route.path
        place = {"name": name, "in": "path" if in_path else "query", "required": name in schema.get("required", ())}
        parameters.append(place | {"schema": schema["properties"][name]})
    if route.stream:
        resume = {"name": "Last-Event-ID", "in": "header", "required": False, "schema": {"type": "string"}}
        parameters.append(resume | {"description": "Cursor of the last event that was received"})
    return parameters


def _answer(description: str, media: str, kind: Any) -> dict[str, Any]:
    return {"description": description, "content": {media: {"schema": _reference(kind)}}}


def _reference(kind: Any) -> dict[str, str]:
    return {"$ref": _REFERENCE.format(name=kind.__name__)}


def _summary(kind: Any) -> str:
    return (inspect.getdoc(kind) or kind.__name__).partition("\n")[0]
