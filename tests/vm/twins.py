"""Registry, tariff and session in the contract language beside their Python twins: two chains that run the same blocks,
and single functions of the contracts' texts.
"""

import random
from collections import Counter
from typing import Any

from msgspec.structs import replace

from contracts.contract import Method, Role
from contracts.genesis import CompanySetup, ConsortiumParameters, PileSetup
from contracts.host import Failure, Host
from contracts.memory import MemoryState
from contracts.numbers import GOVERNANCE, TARIFF
from contracts.vm.entry import methods_of
from contracts.vm.generator import functions
from ledger.codec import decode, encode
from ledger.tariff import PRICE_E4_MAX, Period, Tariff
from ledger.transaction import Transaction
from tests.consortium import HOUR, T0, Call, Chain, consortium, genesis, key, pile
from tests.oracles import registry, session, tariff
from tests.oracles.catalogue import METHODS
from tests.oracles.codes import describe
from tests.oracles.identity import CompanyArgs
from tests.vm.swap import linked_of, running

Methods = dict[tuple[int, str], Method]
CONTRACTS = (registry.CONTRACT, tariff.CONTRACT, session.CONTRACT)
TWIN: Methods = {(each.number, name): method for each in CONTRACTS for name, method in each.methods.items()}


class Machine:
    """One of the three on the machine."""

    def __init__(self, name: str) -> None:
        self.linked = linked_of(name)
        self.functions = functions(self.linked)
        self.methods = methods_of(self.linked, self.functions)

    def call(self, name: str, *values: Any) -> Any:
        """A function of the contract, its methods or not, on an empty chain."""
        host = Host(MemoryState(), METHODS, bytes(32), 1, T0)
        host.begin(bytes(32), bytes(33), 10**9)
        host.contract = self.linked.contract
        names = [function.name for function in self.linked.program.functions]
        place = names.index(name)
        params = self.linked.program.functions[place].locals
        given = [self._as_ours(value, declared) for value, declared in zip(values, params, strict=False)]
        return self.functions[place](host, *given)

    def _as_ours(self, value: Any, declared: Any) -> Any:
        if isinstance(value, int):
            return value
        if isinstance(value, tuple | list):
            return tuple(self._as_ours(each, declared.item) for each in value)
        return decode(self.linked.classes[declared.struct], encode(value))


MACHINES = {each.name: Machine(each.name) for each in CONTRACTS}
MACHINE: Methods = {key: method for each in MACHINES.values() for key, method in each.methods.items()}


class Pair:
    """Two chains that execute the same blocks, one by the twins and one by the machine."""

    def __init__(self) -> None:
        parameters = ConsortiumParameters(
            session_time_out_ms=8 * HOUR, claim_window_ms=4 * HOUR, tariff_notice_ms=HOUR, block_reward_fen=1
        )
        setup = consortium(6, 300_000, 2_000_000, parameters=parameters)
        north = CompanySetup("North", "North", (Role.GRID,), key("North"), 500_000, 1_000)
        fees = tuple(fee for fee in setup.fees if fee.operator != "StarCharge")
        piles = (*setup.piles, PileSetup(pile("Star-1", "StarCharge"), (1_000, 2_000)))
        document = genesis(replace(setup, companies=(*setup.companies, north), fees=fees, piles=piles))
        self.twin, self.other = Chain(document), Chain(document)
        self.codes = Counter[int]()
        self.done = Counter[str]()

    def block(self, calls: list[tuple[Call, Transaction]], after_ms: int) -> None:
        """Execute one block on both and compare all that is left of it."""
        transactions = [transaction for _, transaction in calls]
        with running(METHODS):
            ours = self.twin.run(transactions, after_ms)
        theirs = self.other.run(transactions, after_ms)
        told: list[Any] = [call for call, _ in calls]
        told += ["scheduled"] * (len(ours) - len(told))
        for call, one, other in zip(told, ours, theirs, strict=True):
            assert replace(one, gas_used=0) == replace(other, gas_used=0), (call, describe(other.code))
            self.codes[one.code] += 1
            for event in one.events:
                self.done[event.name] += 1
        assert self.twin.state.entries == self.other.state.entries

    def may_leave(self, company: str) -> int:
        """Whether a company has no region: the code, by both."""
        found = set()
        for methods in (TWIN, MACHINE):
            host = Host(self.twin.state, METHODS | methods, bytes(32), 1, self.twin.now_ms)
            host.begin(bytes(32), bytes(4), 10**8)
            host.contract = GOVERNANCE
            try:
                host.call(TARIFF, "check_no_region", CompanyArgs(company))
                found.add(0)
            except Failure as failure:
                found.add(failure.code)
        assert len(found) == 1, (company, found)
        return found.pop()


def drawn_periods(chance: random.Random, *, sound: bool = True) -> tuple[Period, ...]:
    """Periods of a day, or of something like one."""
    minutes = sorted({0, *(chance.randrange(1, 1_440) for _ in range(chance.choice((0, 1, 2, 5, 23))))})
    if not sound:
        minutes[chance.randrange(len(minutes))] = chance.choice((*minutes, chance.randrange(1_440)))
    dearest = chance.choice((2, 10_000, PRICE_E4_MAX))
    made = []
    for minute in minutes:
        price = chance.randrange(dearest)
        made.append(Period(minute, price, chance.randrange(price + 1 if sound else dearest)))
    return tuple(made)


def drawn_tariff(chance: random.Random) -> Tariff:
    """A well-formed tariff; sometimes two periods in a row have the same prices."""
    return Tariff("Shenzhen", "Grid", T0, chance.choice((480, 480, 0, -1_440, 1_440, 345)), drawn_periods(chance))
