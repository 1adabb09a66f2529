"""The contracts of this chain and their methods, in one table."""

from contracts.contract import Method
from tests.oracles import accusations, companies, governance, identity, margin, money, registry, seats, session, tariff
from tests.oracles.contract import Contract

CONTRACTS: tuple[Contract, ...] = (
    identity.CONTRACT,
    money.CONTRACT,
    registry.CONTRACT,
    tariff.CONTRACT,
    session.CONTRACT,
    seats.CONTRACT,
)
PARTS = (accusations, companies, governance, margin)
"""Modules that add methods to a contract of another: importing them is what does it."""
BY_NUMBER: dict[int, Contract] = {contract.number: contract for contract in CONTRACTS}
BY_NAME: dict[str, Contract] = {contract.name: contract for contract in CONTRACTS}
METHODS: dict[tuple[int, str], Method] = {
    (contract.number, method.name): method for contract in CONTRACTS for method in contract.methods.values()
}
"""By contract number and method name: what the executor and calls between contracts look up."""
