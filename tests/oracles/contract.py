"""How the oracles are declared: a contract collects its methods and events."""

from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

from contracts.contract import Business, Method, Role
from contracts.host import Failure, Host
from ledger.codec import Wire
from ledger.transaction import Branch, ExpiryClass

A = TypeVar("A", bound=Wire)
R = TypeVar("R")
Body = Callable[[Host, A], R]


class Contract:
    """A contract: collects its methods as they are defined, and the events that it may emit."""

    def __init__(self, number: int, name: str, business: Business, branch: Branch) -> None:
        self.number = number
        self.name = name
        self.business = business
        self.branch = branch
        self.methods: dict[str, Method] = {}
        self.events: dict[str, type[Wire]] = {}

    def event(self, name: str, data: type[Wire]) -> str:
        """Declare an event; returns its name."""
        self.events[name] = data
        return name

    def method(
        self,
        args: type[A],
        roles: tuple[Role, ...],
        *,
        business: Business | None = None,
        expiry_class: ExpiryClass = ExpiryClass.ORDINARY,
    ) -> Callable[[Body[A, R]], Body[A, R]]:
        """Declare a method that transactions call. A method of device class has a field `counter` in its arguments."""

        def declare(run: Body[A, R]) -> Body[A, R]:
            self._add(run, args, expiry_class, business or self.business, roles, ())
            return run

        return declare

    def internal(self, args: type[A], *callers: int) -> Callable[[Body[A, R]], Body[A, R]]:
        """Declare a method that only the contracts in `callers` call; with none, only the schedule of the contract
        itself.
        """

        def declare(run: Body[A, R]) -> Body[A, R]:
            self._add(run, args, ExpiryClass.ORDINARY, self.business, (), callers)
            return run

        return declare

    def _add(
        self,
        run: Callable[[Host, Any], Any],
        args: type[Wire],
        expiry_class: ExpiryClass,
        business: Business,
        roles: tuple[Role, ...],
        callers: tuple[int, ...],
    ) -> None:
        name = run.__name__.rstrip("_")  # `open_` keeps clear of the built-in
        method = Method(self.number, name, args, self.branch, expiry_class, business, roles, callers, run)
        self.methods[name] = method


def fail(code: int) -> NoReturn:
    """End the call."""
    raise Failure(code)
