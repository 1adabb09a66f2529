"""Ledgers with a big state and no blocks yet, made before the nodes start.

A state of a million keys need not stand in a genesis document: a core that finds a ledger compares its genesis document
and goes on from there. All nodes are given the same file, so their state roots agree.
"""

import shutil
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from contracts.genesis import genesis_state
from contracts.records.identity import ACCOUNTS, Account
from contracts.records.money import WALLETS, Wallet
from ledger.codec import encode
from ledger.hashing import Tag, sm3
from ledger.keys import Scheme
from node.home import read_genesis
from node.storage.layout import DATA_FILE
from node.storage.store import Store
from node.testnet.consortium import COMPANIES
from node.testnet.make import Testnet

KEYS_PER_WALLET = 2
"""The account, and its wallet."""
OPERATORS = tuple(company.name for company in COMPANIES if "operator" in company.roles)


def give_state(testnet: Testnet, keys: int) -> list[bytes]:
    """Give all nodes a ledger at height 0 with at least so many keys; returns the accounts of the wallets that were
    added, of which nobody has the key.
    """
    homes = [testnet.home(name) for name in testnet.nodes]
    first, *others = [home.ledger for home in homes]
    # In a process of its own: a million keys take a gigabyte while the tree is built.
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        added = pool.submit(_make, homes[0].genesis_file, first, homes[0].config().store.map_bytes, keys).result()
    for folder in others:
        folder.mkdir(parents=True)
        shutil.copyfile(first / DATA_FILE, folder / DATA_FILE)
    return [account_of(number) for number in range(added)]


def account_of(number: int) -> bytes:
    """An added account: it can be paid, and cannot pay."""
    return bytes([Scheme.ED25519]) + sm3(Tag.KEY_SEED, b"added", number.to_bytes(8, "big"))


def _make(genesis_file: Path, folder: Path, map_bytes: int, keys: int) -> int:
    genesis = read_genesis(genesis_file)
    state = genesis_state(genesis)
    added = max(1, (keys - len(state)) // KEYS_PER_WALLET)
    for number in range(added):
        account, home = account_of(number), OPERATORS[number % len(OPERATORS)]
        state[ACCOUNTS.key(account)] = encode(Account(home))
        state[WALLETS.key(account)] = encode(Wallet(home, 0))
    Store(folder, genesis, state, map_bytes).close()
    return added
