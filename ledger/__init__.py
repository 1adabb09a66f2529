"""What everyone agrees on: the data of the ledger and the rules that make it checkable.

Types, canonical codec, hashes, signatures, transactions, blocks and branches, Merkle and state proofs, validator
sets, quorum certificates, genesis, errors. Pure: no socket, file, clock, randomness or event loop. Imports no other
room; every other room may import this one.
"""
