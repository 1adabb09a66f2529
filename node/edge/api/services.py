"""What the handlers may use: the parts of the edge process, handed in once."""

import asyncio
from typing import Any

from msgspec import Struct, field

from ledger.genesis import Genesis
from node.edge.api.agreement import Agreement
from node.edge.blocks import Blocks
from node.edge.read_queries import ReadQueries
from node.edge.sealed_waits import SealedWaits
from node.ipc.link import CoreLink
from node.storage.reader import LedgerReader


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
