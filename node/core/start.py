"""Starts the core process of a node: `python -m node.core --home FOLDER`. Joins first where there is no ledger yet.

Exit codes: 0 after SIGTERM or SIGINT, 2 for settings or files that somebody must mend, 70 when the node stopped itself
(a bug, or damage to its disk), 75 to be started again: it joins by snapshot then, or the disk may have room.
"""

import asyncio
import gc
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import cast

import structlog
import uvloop

from ledger.errors import ClientError
from node.config import Config
from node.core.lock import home_locked
from node.core.process import Core, RejoinError, tls_contexts
from node.core.vote_keys import forget_votes_without_ledger
from node.home import Home
from node.join.process import Joining
from node.logs import STANDARD_ERROR, configure_logs
from node.storage.layout import DATA_FILE
from node.storage.rebuild import undo_half_replacement
from node.storage.scratch import clear_scratch
from node.storage.wal import is_full, newest_segment
from node.supervisor import EXIT_AGAIN, EXIT_HALTED, EXIT_SETTINGS

HALTED_HINT = (
    "a bug, or damage to the disk: `pilechain repair` examines log and ledger, `pilechain verify` believes nothing"
)
LEDGER_MISSING_HINT = (
    "this node had one; the chain is fetched again, and keys that voted only observe: run `pilechain keys renew` while "
    "the node runs"
)

log = structlog.get_logger()


async def _join(home: Home, config: Config) -> None:
    """Join by snapshot where there is no ledger yet, or where the peers have pruned what this one lacks."""
    with home_locked(home):
        undo_half_replacement(home.ledger)
        clear_scratch(home.ledger.parent)
        is_new = not (home.ledger / DATA_FILE).exists()
        if is_new and forget_votes_without_ledger(home.path(config.keys.vote), newest_segment(home.wal)):
            log.error("ledger_missing", ledger=str(home.ledger), hint=LEDGER_MISSING_HINT)
        if home.rejoin.exists() or (is_new and config.store.join == "snapshot"):
            contexts = tls_contexts(home, config, home.passphrase(config))
            is_joined = await Joining(home, config, home.genesis(), contexts).run()
            if not is_joined and home.rejoin.exists():
                # Started anyway, it would be told the same by its peers, and start again, for ever.
                raise ClientError(
                    "history-pruned",
                    "the peers have pruned the blocks that this node needs, and offer no snapshot; set "
                    "store.snapshot_every on them (or `pilechain snapshot create` on one), then start this node again",
                )
        else:
            shutil.rmtree(home.joining, ignore_errors=True)  # of a join that a crash ended when its ledger was whole


async def _run(home: Home, config: Config) -> None:
    _on_signals(cast("asyncio.Task[None]", asyncio.current_task()).cancel)
    try:
        await _join(home, config)
    except asyncio.CancelledError:
        log.info("join_stopped")
        return
    core = Core(home, config)
    _on_signals(core.stop)
    # What exists now lives as long as the process. Work comes and goes by the ten thousand without cycles; the default
    # thresholds would walk all that waits, for tens of milliseconds, again and again.
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    await core.run()


def _on_signals(stop: Callable[[], object]) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop)


def main(folder: Path) -> int:
    """Run the core process of the node in a folder until it is told to stop; returns the exit code."""
    home = Home(folder.expanduser().absolute())
    try:
        config = home.config()
        configure_logs(config.log, company=config.node.company, process="core")
        uvloop.run(_run(home, config))
    except RejoinError:
        return EXIT_AGAIN
    except ClientError as error:
        STANDARD_ERROR.write(f"pilechain core: {error}\n")
        return EXIT_AGAIN if error.code == "disk-full" else EXIT_SETTINGS  # room may come back by itself
    except Exception as error:
        if isinstance(error, OSError) and is_full(error):
            STANDARD_ERROR.write(f"pilechain core: disk-full: {home.root}: {error}; make room\n")
            return EXIT_AGAIN
        log.critical("core_halted", error=str(error), hint=HALTED_HINT, exc_info=error)
        return EXIT_HALTED
    return 0
