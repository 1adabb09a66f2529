"""A program at its contract number: Python's types for it, its tables, the methods of others that it calls."""

from collections.abc import Sequence
from typing import Any

from contracts.host import Host
from contracts.vm.gas import SCHEDULE_1, Schedule
from contracts.vm.layout import Records, args_class, struct_classes
from contracts.vm.operations import Operations
from contracts.vm.program import ImportDef, MethodDef
from contracts.vm.verifier import Verified
from ledger.codec import Wire


class Imported:
    """A method of another contract, ready to be called."""

    def __init__(self, declared: ImportDef, classes: Sequence[type[Wire]]) -> None:
        self.contract = declared.contract
        self.method = declared.method
        self.args = args_class(declared.params, classes)
        self.result = args_class(declared.result, classes)

    def call(self, host: Host, *values: Any) -> Any:
        """Call it."""
        return host.call(self.contract, self.method, self.args(*values), self.result)


class Scheduled:
    """A method of the contract itself that the chain may be told to call."""

    def __init__(self, method: MethodDef, args: type[Wire]) -> None:
        self.name = method.name
        self.gas = method.scheduled_gas
        self.args = args

    def call(self, host: Host, due_ms: int, call_id: bytes, *values: Any) -> None:
        """Have it called."""
        host.schedule(due_ms, call_id, self.name, self.args(*values), self.gas)


class Linked:
    """All that both engines need besides the tree."""

    def __init__(self, verified: Verified, contract: int, schedule: Schedule = SCHEDULE_1) -> None:
        program = verified.program
        self.program = program
        self.contract = contract
        self.schedule = schedule
        self.operations = Operations(schedule)
        self.classes = struct_classes(program.structs)
        self.tables = [Records(contract, table, self.classes) for table in program.tables]
        self.imports = [Imported(declared, self.classes) for declared in program.imports]
        self.methods = [Scheduled(method, self.args_of(method)) for method in program.methods]

    def args_of(self, method: MethodDef) -> type[Wire]:
        """Struct of a method's arguments."""
        function = self.program.functions[method.function]
        return args_class(function.locals[: function.params], self.classes)
