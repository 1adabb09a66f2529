"""Reading a ledger that may be damaged: in a child process, for a damaged LMDB file may kill whoever reads it."""

import os
import traceback
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, TypeVar

from ledger.errors import OurError
from node.child import DEATHS_BY_DAMAGE, die_with
from node.storage.layout import DATA_FILE, damage

T = TypeVar("T")


def shielded(ledger: Path, work: Callable[[], T]) -> T:
    """What `work`, which reads the ledger in a folder, returns or raises. It is done in a child process; what it
    changes in memory is lost. Call it before this process has opened that ledger.

    Raises OurError `store-damaged` if reading kills the child, `child-died` if anything else does.
    """
    context = get_context("fork")
    receive, send = context.Pipe(duplex=False)
    child = context.Process(target=_work, args=(work, send, os.getpid()))
    child.start()
    send.close()
    answer: tuple[T | None, BaseException | None] | None = None
    try:
        with suppress(EOFError):
            answer = receive.recv()
    finally:
        receive.close()  # a child that still answers must not wait for us
        child.join()  # after Ctrl-C, which it got as well, it clears up
    if answer is None:
        died = -(child.exitcode or 0)
        if died in DEATHS_BY_DAMAGE:
            raise damage(ledger / DATA_FILE, f"reading it kills the reader (signal {died})")
        raise OurError(
            "child-died",
            f"the process that reads {ledger} died (exit code {child.exitcode}), and not of what it read: perhaps "
            "the kernel killed it for want of memory; try again",
        )
    found, error = answer
    if error is not None:
        raise error
    return found  # type: ignore[return-value]  # of a work without an error


def _work(work: Callable[[], Any], send: Connection, parent: int) -> None:
    die_with(parent)()
    answer: tuple[Any, BaseException | None]
    try:
        answer = work(), None
    except BaseException as error:  # noqa: BLE001  # whatever it is, the parent raises it
        error.add_note("in a child process:\n" + traceback.format_exc())
        answer = None, error
    send.send(answer)
