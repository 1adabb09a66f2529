"""Deliberate bugs. Each must make some seed fail, or the simulator proves nothing."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from msgspec.structs import replace

from consensus import recovery, replay, view_change
from consensus.state import State
from contracts import executor
from contracts.books import WALLETS
from contracts.host import Host
from contracts.library import METHODS
from contracts.numbers import MONEY
from ledger import validators
from node.effects import Effect, Event, Persist
from node.engine import Engine

Patches = list[tuple[Any, str, Any]]


def short_quorum() -> Patches:
    """Trap 1: n - f - 1 votes decide."""
    return [(validators, "quorum", lambda n: n - validators.fault_limit(n) - 1)]


def send_before_persist() -> Patches:
    """A vote leaves before it is on disk."""
    handle = Engine.handle

    def handle_unsafely(engine: Engine, event: Event) -> list[Effect]:
        return sorted(handle(engine, event), key=lambda effect: isinstance(effect, Persist))

    return [(Engine, "handle", handle_unsafely)]


def forgotten_votes() -> Patches:
    """A restart forgets what was voted for."""
    restore = recovery.restore

    def restore_without_votes(state: State, records: list[bytes]) -> None:
        restore(state, records)
        state.own.clear()

    return [(recovery, "restore", restore_without_votes)]


def forgotten_locks() -> Patches:
    """Trap 12: a restart forgets prepared certificates."""
    restore = recovery.restore

    def restore_without_locks(state: State, records: list[bytes]) -> None:
        restore(state, records)
        state.found_locks.clear()

    return [(recovery, "restore", restore_without_locks)]


def dropped_lock() -> Patches:
    """Trap 9: a view change does not show the prepared certificate."""
    give_up = view_change.give_up

    def give_up_the_lock(state: State, view: int) -> None:
        state.round.lock = None
        give_up(state, view)

    return [(view_change, "give_up", give_up_the_lock)]


def no_window() -> Patches:
    """A transaction of an earlier block may come again."""
    return [(replay.ReplayWindow, "__contains__", lambda _window, _id: False)]


def free_payments() -> Patches:
    """Whoever pays keeps the money."""
    pay = METHODS[MONEY, "pay"]

    def pay_without_debit(host: Host, args: Any) -> None:
        purse = host.get(WALLETS, host.caller)
        pay.run(host, args)
        if purse is not None:
            host.put(WALLETS, host.caller, purse)

    methods = {**METHODS, (MONEY, "pay"): replace(pay, run=pay_without_debit)}
    return [(executor, "METHODS", methods)]


MUTANTS: dict[str, Callable[[], Patches]] = {
    "short-quorum": short_quorum,
    "send-before-persist": send_before_persist,
    "forgotten-votes": forgotten_votes,
    "forgotten-locks": forgotten_locks,
    "dropped-lock": dropped_lock,
    "no-window": no_window,
    "free-payments": free_payments,
}


@contextmanager
def mutated(name: str) -> Iterator[None]:
    """Run with a bug."""
    patches = [patch.object(*each) for each in MUTANTS[name]()]
    for each in patches:
        each.start()
    try:
        yield
    finally:
        for each in patches:
            each.stop()
