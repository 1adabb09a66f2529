"""Calls as people type them: `--name value`, keys and hashes in hexadecimal, enums by name, structs and lists as JSON.
The inverse of `ledger.readable`, for the types that arguments of contracts are made of.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec import inspect

from contracts.abi import Abi, EncodedCall
from ledger.codec import decode
from ledger.errors import ClientError, PeerError
from ledger.readable import from_readable

OWN = frozenset(("key", "list", "wait", "api", "dry_run", "gas_limit", "home", "output", "help"))
"""Options of `pilechain tx`: what is called so among a call's arguments is typed `--arg-key`."""


def describe_methods(abi: Abi) -> list[dict[str, str]]:
    """Every method that transactions can call."""
    return [
        {
            "call": f"{method.contract} {method.method}",
            "arguments": " ".join(map(_option, method.args.__struct_fields__)),
            "roles": " ".join(role.name.lower() for role in method.roles),
            "what": method.summary,
        }
        for contract in abi.contracts
        for method in contract.methods
        if method.roles
    ]


def parse_call(abi: Abi, contract: str, method: str, arguments: Sequence[str]) -> EncodedCall:
    """A call from `--name value` or `--name=value` texts. Raises ClientError `contract-unknown`, `method-unknown`,
    `contract-ambiguous`, `args-malformed`.
    """
    found = abi.method(contract, method)
    call = f"{contract} {method}"
    kinds = {field.name: field for field in msgspec.structs.fields(found.args)}
    texts = _pairs(arguments, call, kinds)
    missing = [_option(name) for name, field in kinds.items() if field.required and name not in texts]
    if missing:
        raise ClientError("args-malformed", f"{call} needs {', '.join(missing)}")
    values = {name: _from_text(name, text, inspect.type_info(kinds[name].type)) for name, text in texts.items()}
    try:
        encoded = found.encode(found.args(**values))
        decode(found.args, encoded.args)
    except (OverflowError, ValueError) as error:  # more than 64 bits; no text
        raise ClientError("args-malformed", f"{call}: {error}") from error
    except PeerError as error:  # a length or range that its type does not allow
        raise ClientError("args-malformed", f"{call}: {error.message}") from error
    return encoded


def _pairs(arguments: Sequence[str], call: str, kinds: Mapping[str, Any]) -> dict[str, str]:
    texts: dict[str, str] = {}
    left = iter(arguments)
    for argument in left:
        option, equals, text = argument.partition("=")
        name = option.removeprefix("--").replace("-", "_")
        if name not in kinds:  # an argument that is called like an option of `tx` itself is reached by `--arg-key`
            name = name.removeprefix("arg_")
        if not option.startswith("--") or name not in kinds:
            raise ClientError(
                "args-malformed", f"{call} has no argument {option}; it takes {' '.join(map(_option, kinds))}"
            )
        value = text if equals else next(left, None)
        if value is None:
            raise ClientError("args-malformed", f"{option} has no value")
        texts[name] = value
    return texts


def _option(field: str) -> str:
    return f"--{'arg-' if field in OWN else ''}{field.replace('_', '-')}"


def _from_text(name: str, text: str, kind: inspect.Type) -> Any:
    simple = isinstance(kind, inspect.StrType | inspect.BytesType | inspect.EnumType)
    try:
        return from_readable(text if simple else msgspec.json.decode(text), kind)
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:  # msgspec's are ValueErrors
        raise ClientError("args-malformed", f"{_option(name)} {text!r}: {error}") from error
