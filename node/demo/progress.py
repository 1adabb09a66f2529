"""What the demo shows while it runs: one table that is drawn over and over on a terminal, a line now and then
elsewhere.
"""

import asyncio
from collections.abc import Callable

from msgspec import Struct
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn
from rich.table import Table

DRAW_S = 0.5
LINE_S = 5.0


class NodeView(Struct, frozen=True):
    """A node now."""

    company: str
    height: int | None
    """Sealed; None while its core is down."""
    books: int
    """Non-empty blocks that it kept the book of."""
    memory_mb: int


class View(Struct, frozen=True):
    """The day now."""

    clock: str
    height: int
    offered: int
    total: int
    charging: int
    settled: int
    refused: int
    failed: int
    energy_wh: int
    money_fen: int
    """Billed."""
    diverted: int
    waited: int
    faults: tuple[str, ...]
    nodes: tuple[NodeView, ...]


async def show(view: Callable[[], View], console: Console) -> None:
    """Show the day until cancelled."""
    if not console.is_terminal:
        while True:
            console.print(line(view()), highlight=False, soft_wrap=True)
            await asyncio.sleep(LINE_S)
    with Live(console=console, auto_refresh=False, transient=True) as live:
        while True:
            live.update(picture(view()), refresh=True)
            await asyncio.sleep(DRAW_S)


def line(view: View) -> str:
    """The day in one line."""
    nodes = " ".join(f"{node.company}:{'down' if node.height is None else node.height}" for node in view.nodes)
    return (
        f"{view.clock} block {view.height} sessions {view.settled}/{view.total} settled, {view.charging} open, "
        f"{view.refused} refused, {view.failed} failed, {view.energy_wh / 1000:.1f} kWh, "
        f"{view.money_fen / 100:.2f} yuan, nodes {nodes}"
    )


def picture(view: View) -> RenderableType:
    """The day as a table."""
    bar = Progress(
        TextColumn("sessions settled"),
        BarColumn(None),
        TaskProgressColumn(),
        TextColumn(f"{view.settled}/{view.total}"),
    )
    bar.add_task("", total=max(1, view.total), completed=view.settled)
    day = Table.grid(padding=(0, 3))
    day.add_row(
        f"[bold]{view.clock}",
        f"block {view.height}",
        f"{view.charging} open",
        f"{view.refused} refused",
        f"{view.failed} failed",
    )
    day.add_row(
        f"{view.energy_wh / 1000:,.1f} kWh",
        f"{view.money_fen / 100:,.2f} yuan",
        f"{view.offered} came",
        f"{view.diverted} went elsewhere",
        f"{view.waited} waited",
    )
    nodes = Table("node", "height", "books kept", "memory", box=None, header_style="dim")
    for node in view.nodes:
        height = "[red]down" if node.height is None else str(node.height)
        nodes.add_row(node.company, height, str(node.books), f"{node.memory_mb} MB")
    return Group(bar, day, nodes, *(f"[yellow]{fault}" for fault in view.faults))
