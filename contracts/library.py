"""The contracts of this chain and their methods, in one table."""

from contracts import identity, margin, money, registry, session, tariff
from contracts.contract import Contract, Method

CONTRACTS: tuple[Contract, ...] = (
    identity.CONTRACT,
    money.CONTRACT,
    registry.CONTRACT,
    tariff.CONTRACT,
    session.CONTRACT,
)
BY_NUMBER: dict[int, Contract] = {contract.number: contract for contract in CONTRACTS}
BY_NAME: dict[str, Contract] = {contract.name: contract for contract in CONTRACTS}
METHODS: dict[tuple[int, str], Method] = {
    (contract.number, method.name): method for contract in CONTRACTS for method in contract.methods.values()
}
"""By contract number and method name: what the executor and calls between contracts look up."""

REWARD = METHODS[money.CONTRACT.number, margin.reward.__name__]
"""What the executor calls after a non-empty block. Importing `margin` is also what gives the money contract its other
half.
"""
