"""Options that many commands share, and what all of them print with."""

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from node.home import Home, find_home


class Format(StrEnum):
    """How a command prints."""

    TEXT = "text"
    JSON = "json"


HomeOption = Annotated[
    Path | None, typer.Option("--home", help="Folder of the node; else PILECHAIN_HOME, else ~/.pilechain.")
]
OutputOption = Annotated[Format, typer.Option("--output", "-o", help="text for people, json for programs.")]
YesOption = Annotated[bool, typer.Option("--yes", help="Do not ask.")]


def home_of(flag: Path | None) -> Home:
    """The home that the flag, the environment or the default names."""
    return find_home(flag)


def emit(value: Any, output: Format) -> None:
    """Print a JSON-able value: as JSON, or as lines of `name  value` with tables for lists."""
    if output is Format.JSON:
        sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n")
        sys.stdout.buffer.flush()
        return
    for line in _lines(value, ""):
        typer.echo(line)


def _lines(value: Any, indent: str) -> list[str]:
    if isinstance(value, dict):
        width = max((len(str(name)) for name in value), default=0)
        lines = []
        for name, item in value.items():
            if isinstance(item, dict | list) and item:
                lines += [f"{indent}{name}", *_lines(item, indent + "  ")]
            else:
                lines.append(f"{indent}{name!s:<{width}}  {_cell(item)}")
        return lines
    if isinstance(value, list):
        if value and all(isinstance(row, dict) for row in value) and len({tuple(row) for row in value}) == 1:
            return _table(value, indent)
        return [line for item in value for line in _lines(item, indent)]
    return [indent + _cell(value)]


def _table(rows: list[dict[str, Any]], indent: str) -> list[str]:
    cells = [list(rows[0]), *([_cell(item) for item in row.values()] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return [
        indent + "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    ]


def _cell(value: Any) -> str:
    if isinstance(value, str):
        return value
    return msgspec.json.encode(value).decode() if value not in ({}, []) else "-"
