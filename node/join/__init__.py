"""Joining by snapshot: what a node without a ledger asks its peers for, whom it believes, and the store that comes of
it.
"""
