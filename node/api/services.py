"""What the handlers may use: the parts of the edge process, handed in once."""

import asyncio
from typing import Any

from msgspec import Struct, field

from ledger.genesis import Genesis
from node.api.agreement import Agreement
from node.blocks import Blocks
from node.core_link import CoreLink
from node.read_queries import ReadQueries
from node.reader import LedgerReader
from node.sealed_waits import SealedWaits


class Services(Struct, frozen=True):
    """Parts of the edge."""

    company: str
    """Whose node this is."""
    genesis: Genesis
    ledger: LedgerReader
    link: CoreLink
    blocks: Blocks
    waits: SealedWaits
    read_model: ReadQueries
    agreement: Agreement
    streams: dict[asyncio.Task[Any] | None, str] = field(default_factory=dict)
    """Tasks of the open event streams with their subscribers' addresses; ended when the process stops."""
