"""A linked program's methods as the executor and other contracts call them."""

from collections.abc import Callable, Sequence
from typing import Any

from contracts.contract import Business, Method, Role
from contracts.host import Host
from contracts.vm.layout import args_class, field_name
from contracts.vm.link import Linked
from contracts.vm.program import MethodDef
from ledger.transaction import Branch, ExpiryClass


def methods_of(linked: Linked, functions: Sequence[Callable[..., Any]]) -> dict[tuple[int, str], Method]:
    """The methods of a program, whose functions run by one of the engines, by contract number and name."""
    return {
        (linked.contract, declared.name): _method(linked, declared, functions[declared.function])
        for declared in linked.program.methods
    }


def _method(linked: Linked, declared: MethodDef, body: Callable[..., Any]) -> Method:
    names = [field_name(place) for place in range(len(declared.params))]

    def run(host: Host, args: Any) -> Any:
        return body(host, *[getattr(args, name) for name in names])

    result = linked.program.functions[declared.function].result
    return Method(
        contract=linked.contract,
        name=declared.name,
        args=linked.args_of(declared),
        branch=Branch(linked.program.branch),
        expiry_class=ExpiryClass.DEVICE if declared.device else ExpiryClass.ORDINARY,
        business=Business(declared.business),
        roles=tuple(Role(role) for role in declared.roles),
        callers=declared.callers,
        run=run,
        result=args_class(result, linked.classes),
        counter=field_name([param.name for param in declared.params].index("counter")) if declared.device else "",
    )
