"""Contracts on the chain: codes by their hash with the texts that they came from, and which of them rules from when.

Everything is in the state, so whoever executes a block of long ago, on the state of then, runs the codes of then. A
code that rules stays for good: readers look rules up by it.
"""

from collections.abc import Iterable
from typing import Annotated

from msgspec import Meta

from contracts.host import SYSTEM, StateReader, Table
from contracts.vm.program import CODE_BYTES_MAX
from ledger.codec import Wire
from ledger.units import U32, U63, Hash

SOURCE_CHARACTERS_MAX = 128 * 1024
NUMBER_MAX = 4_000_000
"""Of a contract: a receipt's code, 1,000 times the number and the contract's own, stays within 32 bits."""
DEPLOYMENTS_MAX = 1_000
"""Versions ever: a company's contracts change a few times a year."""


class StoredCode(Wire):
    """A program and its text. Key: the code's hash."""

    code: Annotated[bytes, Meta(max_length=CODE_BYTES_MAX)]
    source: Annotated[str, Meta(max_length=SOURCE_CHARACTERS_MAX)]
    proposals: U32
    """How many proposals of it wait."""


class Deployment(Wire):
    """From a height on, a code rules under a number."""

    number: U32
    from_height: U63
    code_hash: Hash


class Deployments(Wire):
    """All of them, by number and height."""

    deployments: Annotated[tuple[Deployment, ...], Meta(max_length=DEPLOYMENTS_MAX)]


CODES = Table(SYSTEM, b"k", StoredCode)
DEPLOYMENTS = Table(SYSTEM, b"d", Deployments)
"""One entry, under the empty key."""


def ruling(deployments: Iterable[Deployment], height: int) -> dict[int, bytes]:
    """Number → hash of the code that rules at a height."""
    found: dict[int, bytes] = {}
    for each in deployments:
        if each.from_height <= height:
            found[each.number] = each.code_hash
    return found


def deployments_of(state: StateReader) -> tuple[Deployment, ...]:
    """All versions of a state."""
    found = DEPLOYMENTS.read(state)
    return found.deployments if found else ()
