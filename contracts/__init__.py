"""The business of the consortium, executed by every validator in the same way.

The executor (block in, state changes and receipts out), the host interface that a contract sees, and the contracts
themselves. Pure and in integers only: the same block gives the same state root on every machine. May import `ledger`;
knows neither `consensus` nor `devices`.
"""
