"""Stable numbers of the contracts: the first four bytes of their keys in the state, and what transactions address."""

from ledger.charging import SESSION_CONTRACT

IDENTITY = 1
MONEY = 2
REGISTRY = 3
TARIFF = 4
SESSION = SESSION_CONTRACT
GOVERNANCE = 6
