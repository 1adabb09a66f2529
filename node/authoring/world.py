"""What a contract's test is handed: a chain in memory with the whole library, a company of each role, drivers, an owner
and piles, all with money.

| name | what |
|---|---|
| `grid`, `operator`, `other_operator`, `lab`, `maintenance`, `regulator` | companies of these names, with collateral |
| `driver`, `other_driver`, `owner` | accounts; the second is `other_operator`'s customer |
| `pile`, `other_pile`, `home_pile` | piles of operator, other operator and owner, with two connectors, in service |

Every block is executed by the generated code, as a node does, and by the interpreter, which notes what ran; both must
agree. Calls in the name of a contract are noted, too.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct, inspect
from msgspec.structs import replace

from contracts import executor
from contracts.abi import GOVERNANCE_GAS_LIMIT, Abi, Described, MethodDescription, abi_at
from contracts.compiled import methods_at, program_of
from contracts.contract import Method
from contracts.deployment import deployments_of, ruling
from contracts.digests import node_key_digest, own_key_digest, vote_key_digest
from contracts.genesis import ContractSetup, genesis_state
from contracts.host import SCHEDULE, Failure, Host
from contracts.memory import MemoryState
from contracts.vm import types as vm
from contracts.vm.layout import Records, struct_classes
from contracts.vm.program import Program
from ledger.block import Event, Receipt
from ledger.charging import Reading, ReadingReason, SignedReading, reading_digest
from ledger.codec import Wire, decode, encode
from ledger.errors import ClientError, OurError, PeerError
from ledger.evidence import Equivocation, Phase, Statement, equivocation, statement_digest
from ledger.readable import from_readable
from ledger.transaction import Signed, Transaction, transaction_id, transaction_leaf
from node.authoring.consortium import BEGIN_MS, COMPANIES, DAY_MS, HOUR_MS, MINUTE_MS, genesis_of, signer_of
from node.library import program_of as library_program
from node.library import text_of

Methods = Mapping[tuple[int, str], Method]


class Unexpected(AssertionError):  # noqa: N818  # it is what a test found, not an error of this program
    """A call came to something else than the test says."""


class Done(Struct, frozen=True):
    """A call that was done."""

    id: bytes
    """Of the transaction: what records are named by."""
    gas_used: int
    events: tuple[tuple[str, Wire], ...]
    """Names, and structs with the fields of the contract's text."""

    def event(self, name: str) -> Any:
        """The only event of a name."""
        found = [data for each, data in self.events if each == name]
        if len(found) != 1:
            raise Unexpected(f"{len(found)} events {name} among {[each for each, _ in self.events]}")
        return found[0]


class World:
    """The chain."""

    MINUTE_MS = MINUTE_MS
    HOUR_MS = HOUR_MS
    DAY_MS = DAY_MS

    gas_limit = 0
    """Of calls; 0 for what is usual. A test of a dear contract sets it."""

    def __init__(self, contracts: Sequence[ContractSetup], tested: int, noting: "Noting | None" = None) -> None:
        """`tested` is the contract whose methods and tables need no contract's name before them."""
        self.tested = str(tested)
        self.noting = noting
        self.document = genesis_of(contracts)
        self.chain_id = self.document.hash()
        self.state = MemoryState(genesis_state(self.document))
        self.height = 0
        self.now_ms = BEGIN_MS + HOUR_MS
        self._salt = 0
        self.grid, self.lab, self.maintenance, self.operator, self.other_operator, self.regulator = (
            Party(self, name) for name in COMPANIES
        )
        self.companies = (self.grid, self.lab, self.maintenance, self.operator, self.other_operator, self.regulator)
        self.driver, self.other_driver, self.owner = (Party(self, name) for name in ("driver", "other driver", "owner"))
        self.pile, self.other_pile, self.home_pile = (Party(self, name) for name in ("Pile-1", "Pile-2", "Home-1"))

    @property
    def abi(self) -> Abi:
        """The contracts that rule now."""
        return abi_at(self.state, self.height + 1)

    def party(self, name: str) -> "Party":
        """Somebody nobody knows yet: a key and a name."""
        return Party(self, name)

    def contract(self, name: str) -> "Caller":
        """Another contract, as one that calls."""
        return Caller(self, self.abi.contract(name).number)

    def library(self, name: str) -> tuple[str, bytes]:
        """Text and code of a contract of the library."""
        return text_of(name), encode(library_program(name))

    def record(self, table: str, *key: Any) -> Any:
        """A record by its table, `TABLE` of the tested contract or `contract.TABLE`, and the parts of its key: a struct
        with the fields of the contract's text, or None.
        """
        contract, _, name = table.rpartition(".")
        described = self.abi.contract(contract or self.tested)
        program = self._program(described.number)
        declared = next((each for each in program.tables if each.name == name), None)
        if declared is None:
            raise Unexpected(f"{described.name} has no table {name}; it has {[each.name for each in program.tables]}")
        if len(key) != len(declared.key):
            raise Unexpected(f"the key of {described.name}.{name} has {len(declared.key)} parts, not {len(key)}")
        records = Records(described.number, declared, struct_classes(program.structs))
        raw = self.state.get(records.table.key(records.key(*key)))
        return None if raw is None else decode(described.structs[declared.value], raw)

    def wait(self, time_ms: int) -> list[Done]:
        """Let time pass to one block without transactions; what the schedule did. A scheduled call that is refused is
        unexpected.
        """
        return [self._done("the schedule", receipt) for receipt in self._block((), time_ms)]

    def sent(self, sender: "Party", method: str, fields: Mapping[str, Any]) -> Receipt:
        """One call in a block of its own, a second later."""
        contract, _, name = method.rpartition(".")
        try:
            found = self.abi.method(contract or self.tested, name)
            call = self.abi.encode_call(str(found.number), name, **_values(found, fields))
        except ClientError as error:
            raise Unexpected(f"{sender.name} cannot send {method}: {error.message}") from error
        if self.gas_limit:
            call = replace(call, gas_limit=self.gas_limit)
        self._salt += 1
        body = call.body(self.chain_id, sender.key, self.now_ms + MINUTE_MS, self._salt.to_bytes(8, "big"))
        raw_body = encode(body)
        raw = encode(Signed(raw_body, bytes(64)))  # nobody looks at the signature here
        transaction = Transaction(raw, body, bytes(64), transaction_id(raw_body), transaction_leaf(raw))
        receipt, *scheduled = self._block((transaction,), 1_000)
        for each in scheduled:
            self._done("the schedule", each)
        self._note(call.contract, name, receipt.code, receipt.gas_used)
        return receipt

    def _note(self, contract: int, method: str, code: int, gas_used: int) -> None:
        if self.noting is not None and contract == self.noting.number and code == 0:
            self.noting.used.setdefault(method, []).append(gas_used)

    def _done(self, who: str, receipt: Receipt) -> Done:
        if receipt.code:
            label, sentence = self.abi.describe_code(receipt.code)
            raise Unexpected(f"{who} is refused, {label} ({receipt.code}): {sentence}")
        return Done(receipt.call_id, receipt.gas_used, tuple(map(self._event, receipt.events)))

    def _event(self, event: Event) -> tuple[str, Wire]:
        return event.name, self.abi.decode_event(event)

    def _block(self, transactions: tuple[Transaction, ...], after_ms: int) -> list[Receipt]:
        self.height += 1
        self.now_ms += after_ms
        proposer = sorted(COMPANIES)[self.height % len(COMPANIES)]
        due = {
            executor.scheduled_call_id(key): (int.from_bytes(key[8:12], "big"), call.method)
            for key, call in SCHEDULE.scan(self.state)
        }
        block = executor.BlockInput(self.chain_id, self.height, self.now_ms, proposer, transactions)
        outcome = executor.run(self.state, block)
        if self.noting is not None:
            noted = executor.run(self.state, block, self.noting.methods(self.state, self.height))
            if noted != outcome:
                raise OurError("engines-differ", f"block {self.height}: {outcome.receipts!r}, {noted.receipts!r}")
        self.state.apply(outcome.changes)
        receipts = [decode(Receipt, raw) for raw in outcome.receipts]
        for receipt in receipts[len(transactions) :]:
            self._note(*due[receipt.call_id], receipt.code, receipt.gas_used)
        return receipts

    def asked(self, caller: int, method: str, fields: Mapping[str, Any]) -> Any:
        """What a contract answers another one."""
        contract, _, name = method.rpartition(".")
        described = self.abi.contract(contract or self.tested)
        found = next((each for each in described.methods if each.method == name), None)
        if found is None:
            raise Unexpected(f"{described.name} has no method {name}")
        self.height += 1
        self.now_ms += 1_000
        methods = (self.noting.methods if self.noting else methods_at)(self.state, self.height)
        host = Host(self.state, methods, self.chain_id, self.height, self.now_ms)
        host.begin(self.height.to_bytes(32, "big"), b"", GOVERNANCE_GAS_LIMIT)
        host.contract = caller
        try:
            args = decode(found.args, encode(found.args(**_values(found, fields))))
            result = host.call(described.number, name, args)
        except (TypeError, PeerError) as error:
            raise Unexpected(f"{method}: {error}") from error
        except Failure as failure:
            label, sentence = self.abi.describe_code(failure.code)
            raise Refusal(f"refused, {label} ({failure.code}): {sentence}", label) from failure
        self.state.apply(host.changes())
        self._note(described.number, name, 0, GOVERNANCE_GAS_LIMIT - host.gas_left)
        return self._named(described, name, result)

    def _named(self, described: Described, method: str, result: Any) -> Any:
        """A method's result with the fields of the contract's text."""
        program = self._program(described.number)
        place = next(each.function for each in program.methods if each.name == method)
        for declared in program.functions[place].result:
            match declared:
                case vm.Struct(struct) | vm.Optional(struct) if result is not None:
                    return decode(described.structs[struct], encode(result))
                case vm.List(vm.Struct(struct), _, _):
                    return tuple(decode(described.structs[struct], encode(item)) for item in result)
        return result

    def _program(self, number: int) -> Program:
        return program_of(self.state, ruling(deployments_of(self.state), self.height + 1)[number])


class Refusal(Unexpected):
    """A call between contracts that was refused."""

    def __init__(self, message: str, label: str) -> None:
        super().__init__(message)
        self.label = label


class Party:
    """Somebody with a key."""

    def __init__(self, world: World, name: str) -> None:
        self._world = world
        self.name = name
        self.signer = signer_of(name)
        self.key = self.signer.public_key

    def call(self, method: str, /, **fields: Any) -> Done:
        """A call that must be done: `method` of the tested contract, or `contract.method`."""
        return self._world._done(f"{self.name}: {method}", self._world.sent(self, method, fields))

    def refused(self, code: str, method: str, /, **fields: Any) -> None:
        """A call that must be refused with this code, as its label in the documentation."""
        receipt = self._world.sent(self, method, fields)
        label, sentence = self._world.abi.describe_code(receipt.code)
        if label != code:
            raise Unexpected(f"{self.name}: {method} came to {label} ({sentence}), not {code}")

    def proof(self, company: "Party | str") -> bytes:
        """By which a company registers this party's key as its own, an account's or a pile's."""
        return self.signer.sign(own_key_digest(self._world.chain_id, _name(company), self.key))

    def vote_proof(self, company: "Party | str") -> bytes:
        """By which a company registers this party's key as its vote key."""
        return self.signer.sign(vote_key_digest(self._world.chain_id, _name(company), self.key))

    def node_proof(self, company: "Party | str") -> bytes:
        """By which a company registers this party's key, `key[1:]`, as its node's."""
        return self.signer.sign(node_key_digest(self._world.chain_id, _name(company), self.key[1:]))

    def reading(self, session: bytes, number: int, time_ms: int, meter_wh: int) -> SignedReading:
        """A meter reading that this party, a pile, has signed."""
        reading = encode(Reading(session, number, time_ms, meter_wh, ReadingReason.PERIODIC, bytes(32)))
        return SignedReading(reading, self.signer.sign(reading_digest(reading)))

    def equivocation(self, height: int = 7) -> Equivocation:
        """Two votes of this party that contradict each other. A company's vote key is `chain.party("vote NAME")`."""
        votes = []
        for content in (bytes(32), b"\1" * 32):
            unsigned = Statement(Phase.PREPARE, bytes(32), height, 0, content, bytes(64))
            digest = statement_digest(self._world.chain_id, unsigned)
            votes.append(replace(unsigned, signature=self.signer.sign(digest)))
        return equivocation(self.key, votes[0], votes[1])


class Caller:
    """A contract that calls others."""

    def __init__(self, world: World, number: int) -> None:
        self._world = world
        self.number = number

    def call(self, method: str, /, **fields: Any) -> Any:
        """A call that must be done; its result."""
        return self._world.asked(self.number, method, fields)

    def refused(self, code: str, method: str, /, **fields: Any) -> None:
        """A call that must be refused with this code."""
        try:
            self._world.asked(self.number, method, fields)
        except Refusal as refusal:
            if refusal.label == code:
                return
            raise Unexpected(f"{method} came to {refusal.label}, not {code}") from refusal
        raise Unexpected(f"{method} was done, not refused with {code}")


class Noting:
    """What the tests of one contract have run, and what it took."""

    def __init__(self, noted: Methods, number: int, code_hash: bytes) -> None:
        """`noted` are the methods of the tested contract that note what they run."""
        self.noted = noted
        self.number = number
        self.code_hash = code_hash
        self.used: dict[str, list[int]] = {}
        """Gas of done calls by method."""

    def methods(self, state: MemoryState, height: int) -> Methods:
        """The chain's, with the tested contract's noted while that version of it rules."""
        rules = ruling(deployments_of(state), height).get(self.number) == self.code_hash
        return {**methods_at(state, height), **(self.noted if rules else {})}


def _name(company: Party | str) -> str:
    return company if isinstance(company, str) else company.name


def _values(method: MethodDescription, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments from what tests write: enums by name, structs as dictionaries."""
    kinds = {field.name: inspect.type_info(field.type) for field in msgspec.structs.fields(method.args)}
    try:
        return {name: from_readable(value, kinds[name]) if name in kinds else value for name, value in fields.items()}
    except (ValueError, KeyError, TypeError) as error:
        raise Unexpected(f"{method.contract}.{method.method}: {type(error).__name__}: {error}") from error
