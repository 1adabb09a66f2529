"""What agreement itself costs: four engines wired together in one process, without signatures, sockets and disks.

`python -m bench.engine [--transactions N] [--batch N]` prints transactions per second, and microseconds per transaction
and engine.
"""

import argparse
import cProfile
import hashlib
import pstats
import time
from collections import deque

from consensus.head import genesis_head
from consensus.messages import decode_message
from ledger.codec import encode
from ledger.genesis import Genesis, Parameters, Profile
from ledger.keys import Scheme
from ledger.terms import first_timeline
from ledger.transaction import Body, Branch, ExpiryClass, Transaction, decode_transaction, sign_transaction
from ledger.validators import Validator, ValidatorSet
from node.effects import (
    Admitted,
    Event,
    Execute,
    Executed,
    Outcome,
    PeerUp,
    Received,
    Send,
    Stored,
    StoreSealed,
    Tick,
    Verify,
)
from node.engine import Engine, EngineSetup

NAMES = ("Anneng", "Bohui", "Chengdian", "Dianneng")
TIME_MS = 1_700_000_000_000
WAITING_MAX = 4_000
"""Transactions that the clients keep under way."""


class FreeSigner:
    """Signs for nothing."""

    def __init__(self, name: str) -> None:
        """A key named after the company."""
        self.public_key = bytes([Scheme.ED25519]) + hashlib.sha256(name.encode()).digest()

    def sign(self, digest: bytes) -> bytes:
        """64 bytes."""
        return digest + digest


class Loop:
    """Engines and the events that wait for them."""

    def __init__(self) -> None:
        """A fresh chain."""
        signers = {name: FreeSigner(name) for name in NAMES}
        keys = {name: signer.public_key for name, signer in signers.items()}
        members = tuple(Validator(name, keys[name], keys[name], keys[name][1:]) for name in NAMES)
        self.genesis = Genesis(1, "Bench", Profile.INTL, TIME_MS, Parameters(), ValidatorSet(0, members), b"")
        self.decoded: dict[bytes, Transaction] = {}
        self.now_ms = 0
        self.sealed = 0
        self.blocks = 0
        self.busy_s = 0.0
        self._events: deque[tuple[str, Event]] = deque()
        self._engines = {
            name: Engine(
                EngineSetup(
                    genesis=self.genesis,
                    me=name,
                    signers=(signers[name],),
                    head=genesis_head(self.genesis),
                    verify=lambda _key, _digest, _signature: True,
                )
            )
            for name in NAMES
        }
        for name in NAMES:
            self._events += [(name, PeerUp(peer)) for peer in NAMES if peer != name]

    def make(self, count: int) -> list[Transaction]:
        """Transactions of 200 senders."""
        chain_id = self.genesis.hash()
        made = []
        for number in range(count):
            sender = FreeSigner(str(number % 200))
            salt = number.to_bytes(8, "big")
            body = Body(
                chain_id,
                sender.public_key,
                Branch.CHARGING,
                ExpiryClass.ORDINARY,
                2,
                "transfer",
                bytes(60),
                50_000,
                TIME_MS + 500_000,
                salt,
            )
            made.append(decode_transaction(sign_transaction(body, sender)))
        self.decoded = {transaction.raw: transaction for transaction in made}
        return made

    def give(self, transactions: tuple[Transaction, ...], to: str) -> None:
        """Clients of one node submit."""
        self._events.append((to, Admitted(transactions, None)))

    def turn(self) -> None:
        """Handle every event that waits."""
        self.now_ms += 1
        for name in NAMES:
            self._events.appendleft((name, Tick(TIME_MS + self.now_ms, self.now_ms)))
        while self._events:
            name, event = self._events.popleft()
            began = time.process_time()
            effects = self._engines[name].handle(event)
            self.busy_s += time.process_time() - began
            for effect in effects:
                if isinstance(effect, Send):
                    data = encode(effect.message)
                    for peer in effect.peers or NAMES:
                        if peer != name:
                            self._events.append((peer, Received(name, decode_message(data))))
                elif isinstance(effect, Verify):
                    batch = tuple(self.decoded[raw] for raw in effect.raws)
                    self._events.append((name, Admitted(batch, effect.source)))
                elif isinstance(effect, Execute):
                    block = effect.block
                    digest, timeline = bytes(32), first_timeline(self.genesis)
                    outcome = Outcome(block.header.height, block.hash, digest, digest, timeline, None)
                    self._events.append((name, Executed(outcome)))
                elif isinstance(effect, StoreSealed):
                    self._events.append((name, Stored(effect.block.header.height)))
                    if name == NAMES[0]:
                        self.sealed += len(effect.block.transactions)
                        self.blocks += 1


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(prog="python -m bench.engine")
    parser.add_argument("--transactions", type=int, default=40_000)
    parser.add_argument("--batch", type=int, default=50, help="transactions that arrive at once")
    parser.add_argument("--profile", action="store_true")
    options = parser.parse_args()
    loop = Loop()
    transactions = loop.make(options.transactions)
    profile = cProfile.Profile()
    if options.profile:
        profile.enable()
    began = time.perf_counter()
    given = turns = 0
    while loop.sealed < len(transactions):
        while given < len(transactions) and given - loop.sealed < WAITING_MAX:
            batch = tuple(transactions[given : given + options.batch])
            loop.give(batch, NAMES[turns % len(NAMES)])
            given, turns = given + len(batch), turns + 1
        loop.turn()
    seconds = time.perf_counter() - began
    profile.disable()
    if options.profile:
        pstats.Stats(profile).sort_stats("tottime").print_stats(25)
    each_us = loop.busy_s * 1_000_000 / len(transactions) / len(NAMES)
    print(f"{len(transactions)} transactions in {loop.blocks} blocks, {len(NAMES)} engines in one process")
    print(f"{len(transactions) / seconds:,.0f} transactions/s, {each_us:.1f} us per transaction and engine")


if __name__ == "__main__":
    main()
