"""Executing committed blocks in a thread: contracts, then the state tree, then the receipts' root, one block after the
other.

The thread holds the interpreter lock while it computes and gives it up when another has waited for Python's default of
5 ms, so that votes are answered meanwhile. Measured: with 0.5 ms the threads that verify signatures, which need the
lock for a moment after each, interrupt it so often that a transaction costs 5 % more.
"""

import asyncio
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from contracts.executor import BlockInput, execute_block
from ledger.block import Block, receipt_leaf, receipts_root
from ledger.errors import require
from ledger.genesis import Genesis
from ledger.state_tree import StateTree
from ledger.validators import Failure
from node.core.layers import Layer, LayeredState
from node.core.stages import Stages
from node.effects import Outcome
from node.storage.reader import LedgerReader
from node.storage.store import BlockWork

T = TypeVar("T")


class Execution:
    """Executes blocks on top of the store's state."""

    def __init__(
        self, reader: LedgerReader, genesis: Genesis, executed: Callable[[Outcome], None], stages: Stages
    ) -> None:
        """Start at the store's height. `executed(outcome)` is called on the loop, in order of height."""
        self._reader = reader
        self._genesis = genesis
        self._chain_id = genesis.hash()
        self._executed = executed
        self._stages = stages
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="execute")
        self._layers: list[Layer] = []
        """Of the blocks above the store's height, in order."""
        with reader.snapshot() as snapshot:
            self._height = snapshot.height
            self._root = snapshot.state_root

    def execute(self, block: Block, failures: tuple[Failure, ...], failed: Callable[[BaseException], None]) -> None:
        """Queue a block, the next height. Bounded by the engine: at most 2 K are executed and not stored."""

        def done(future: asyncio.Future[Outcome]) -> None:
            error = None if future.cancelled() else future.exception()
            if error:
                failed(error)
            elif not future.cancelled():
                self._executed(future.result())

        asyncio.get_running_loop().run_in_executor(self._thread, self.run, block, failures).add_done_callback(done)

    def run(self, block: Block, failures: tuple[Failure, ...]) -> Outcome:
        """Execute a block, the next height, given the turns that failed up to it. In the thread."""
        header = block.header
        require(header.height == self._height + 1, "execute-order", f"height {header.height} on top of {self._height}")
        given = BlockInput(
            chain_id=self._chain_id,
            height=header.height,
            time_ms=header.time_ms,
            proposer=header.proposer,
            transactions=block.transactions,
            failures=failures,
        )
        with self._reader.snapshot() as base:
            layers = [layer for layer in self._layers if layer.height > base.height]
            state = LayeredState(base, layers)
            with self._stages.measure("execute"):
                result = _exhaust(execute_block(state, given))
            with self._stages.measure("state"):
                change = _exhaust(StateTree(state, self._root).update(result.changes))
        with self._stages.measure("execute"):
            root = receipts_root([receipt_leaf(receipt) for receipt in result.receipts])
            changes = tuple(sorted(result.changes.items()))
        layers.append(Layer(header.height, result.changes, [key for key, _ in changes], change.tiles))
        self._layers = layers
        self._height, self._root = header.height, change.root
        work = BlockWork(changes, change.tiles, result.receipts)
        return Outcome(header.height, block.hash, change.root, root, result.timeline, work)

    def close(self) -> None:
        """Stop the thread after the block under way."""
        self._thread.shutdown(wait=True, cancel_futures=True)


def _exhaust(steps: Generator[None, None, T]) -> T:
    """Run a sliced computation in one go: the interpreter lock is handed over by time, not by slice."""
    while True:
        try:
            next(steps)
        except StopIteration as done:
            value: T = done.value
            return value
