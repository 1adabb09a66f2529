"""Scenario files: commands, and below each group of them the trace that it gave.

    # What it shows.
    nodes 4
    submit Bohui 2
    run 20
    ----
       1 ms  Bohui → all: PRE-PREPARE 1.0 a (2 transactions)

A message of height h and view v reads `h.v`; blocks are called a, b, c … in the order in which they are first seen. A
copy that arrived is shown once, however often it is repeated. Every message takes 1 ms, so nothing depends on chance.
"""

import hashlib
from collections.abc import Callable, Sequence
from functools import partial
from random import Random

from msgspec.structs import replace

from consensus import messages
from consensus.messages import (
    Bodies,
    Checkpoint,
    Commit,
    FetchBlocks,
    FetchBodies,
    Message,
    NewView,
    Prepare,
    PrePrepare,
    Scope,
    SealedBlocks,
    Shown,
    ViewChange,
)
from ledger.block import Block, Header, branch_table, header_hash
from ledger.codec import decode, encode
from ledger.hashing import Tag
from ledger.keys import Signer
from ledger.transaction import decode_transaction, sign_transaction
from tests.sim.plan import Weather
from tests.sim.signing import make_signer
from tests.sim.world import Plan, World

SHOWN = ("PrePrepare", "Prepare", "Commit", "ViewChange", "NewView", "commit", "seal")
"""What a trace tells that does not say `show`: kinds of message, and what nodes do."""
LIAR_MS = 1
"""By how much the second block of an equivocating primary is later than the first."""


class Script:
    """Performs one scenario's commands on a simulated consortium, and tells what happened."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self.do_nodes("4")

    def perform(self, commands: Sequence[str]) -> str:
        """The trace of some commands."""
        self._lines = []
        for command in commands:
            name, *words = command.split()
            getattr(self, f"do_{name}")(*words)
            self._tell()
        return "\n".join(self._lines)

    # ── commands ────────────────────────────────────────────────────────────────────────────────────────────────────

    def do_nodes(self, count: str) -> None:
        """`nodes 4`: begin, in fair weather."""
        world = self.world = World(1, Plan(nodes=int(count)))
        self._shown: tuple[str, ...] = SHOWN
        self._muted: tuple[type, ...] = ()
        self._liars: dict[str, tuple[str, ...]] = {}
        """Primary → who gets another proposal of it than the rest."""
        self._spoilt = ""
        """A primary that proposes what nobody may accept."""
        self._labels: dict[bytes, str] = {}
        """Header hash → the block's letter."""
        self._arrived: set[tuple[str, str, bytes]] = set()
        """(sender, receiver, message) of what has been told."""
        self._events: list[tuple[int, str, str, str]] = []
        """(time, who, what, to whom) since the last command."""
        world.network.weather = Weather(delay_ms_max=1)
        world.network.adversary = self._pass
        world.checker.committed = self._watch(world.checker.committed, self._committed)  # type: ignore[method-assign]
        world.checker.stored = self._watch(world.checker.stored, self._stored)  # type: ignore[method-assign]
        world.run(10)

    def do_show(self, *kinds: str) -> None:
        """`show Checkpoint seal`: these kinds of message, and what nodes do, from now on; `show` alone: nothing."""
        self._shown = kinds

    def do_mute(self, *kinds: str) -> None:
        """`mute Commit`: lose all of these kinds; `mute` alone: none."""
        self._muted = tuple(getattr(messages, kind) for kind in kinds)

    def do_cut(self, *lines: str) -> None:
        """`cut Anneng>Bohui`: lose all from Anneng to Bohui; `*` is everybody; `cut` alone: nothing."""
        names = list(self.world.nodes)
        pairs = [line.split(">") for line in lines]
        self.world.network.cut = {
            (a, b) for left, right in pairs for a in names for b in names if left in ("*", a) and right in ("*", b)
        }

    def do_equivocate(self, primary: str, *deceived: str) -> None:
        """`equivocate Bohui Dianneng`: Dianneng gets another proposal of Bohui than the rest."""
        self._liars = {primary: deceived}

    def do_spoil(self, primary: str) -> None:
        """`spoil Bohui`: all get, in place of Bohui's proposals, one whose only transaction has expired."""
        self._spoilt = primary

    def do_ask(self, name: str, view: str) -> None:
        """`ask Dianneng 7`: a faulty member asks for a view, out of the blue."""
        state = self.world.state(name)
        height, voter = state.round.height, state.validators_at(state.round.height).index_of(name)
        assert voter is not None
        signature = key_of(name).sign(state.round.scope.view_change_digest(int(view), None))
        self.world.network.send(name, (), ViewChange(height, int(view), voter, None, signature))

    def do_submit(self, to: str, count: str = "1") -> None:
        """`submit Bohui 2`: a client gives a node transactions."""
        self.world.submit(to=to, count=int(count))

    def do_grow(self, to: str, count: str) -> None:
        """`grow Bohui 3`: give a node one transaction, wait until some node commits a block, and again."""
        hashes = self.world.checker.hashes
        for target in range(len(hashes) + 1, len(hashes) + 1 + int(count)):
            self.world.submit(to=to)
            assert self.world.run_until(partial(self._has_committed, target), 5_000)
            self.world.run(50)

    def _has_committed(self, height: int) -> bool:
        return len(self.world.checker.hashes) >= height

    def do_run(self, duration_ms: str) -> None:
        """`run 100`: let time pass."""
        self.world.run(int(duration_ms))

    def do_execute(self, duration_ms: str) -> None:
        """`execute 60000`: how long a block's execution takes from now on."""
        for node in self.world.nodes.values():
            node.execution_ms = int(duration_ms)

    def do_crash(self, *names: str) -> None:
        """`crash Bohui`, `crash all`: lose the memory, keep the disk."""
        for name in self._names(names):
            self.world.nodes[name].crash()

    def do_restart(self, *names: str) -> None:
        """`restart Bohui`, `restart all`: begin again from the disk."""
        for name in self._names(names):
            self.world.nodes[name].start()

    def do_state(self) -> None:
        """`state`: where the nodes stand."""
        for name, node in self.world.nodes.items():
            self._lines.append(f"{name:<10} {self._stand(name) if node.is_up else 'down'}")

    def do_turns(self) -> None:
        """`turns`: whose turn the next heights are, as each node knows it."""
        told: dict[str, list[str]] = {}
        for name, node in self.world.nodes.items():
            if node.is_up:
                round_ = self.world.state(name).round
                members = round_.validators.validators
                turns = f"from {round_.height} on: {', '.join(members[at].name for at in round_.turns)}"
                told.setdefault(turns, []).append(name)
        self._lines += [f"{self._list(names)}: {turns}" for turns, names in told.items()]

    # ── what happens ────────────────────────────────────────────────────────────────────────────────────────────────

    def _pass(self, sender: str, receiver: str, message: Message) -> list[Message]:
        if isinstance(message, PrePrepare) and receiver in self._liars.get(sender, ()):
            header = decode(Header, message.header)
            message = signed_again(sender, message, replace(header, time_ms=header.time_ms + LIAR_MS))
        sent = [message]
        if isinstance(message, PrePrepare) and sender == self._spoilt:
            sent = self._expired(sender, message)
            message = sent[0]
        lost = isinstance(message, self._muted) or (sender, receiver) in self.world.network.cut
        copy = (sender, "" if lost else receiver, encode(message))
        if type(message).__name__ in self._shown and copy not in self._arrived:
            self._arrived.add(copy)
            self._note(sender, self._describe(message), "" if lost else receiver)
        return [] if lost else sent

    def _expired(self, primary: str, message: PrePrepare) -> list[Message]:
        key = key_of(primary)
        made = decode_transaction(self.world.application.make(Random(1), 0))
        body = replace(made.body, sender=key.public_key, valid_until_ms=1)
        transaction = decode_transaction(sign_transaction(body, key))
        rows, root = branch_table([(body.branch, transaction.leaf)], {})
        header = replace(decode(Header, message.header), tx_root=root, tx_count=1, branches=rows)
        proposal = replace(signed_again(primary, message, header), leaves=transaction.leaf)
        return [proposal, Bodies(header_hash(proposal.header), b"", (transaction.raw,))]

    def _committed(self, node: str, block: Block, _voters: frozenset[str]) -> None:
        label = self._label(block.header_raw)
        if "commit" in self._shown:
            self._note(node, f"commit {block.header.height} {label}")

    def _stored(self, node: str, height: int, _digest: bytes) -> None:
        if "seal" in self._shown:
            self._note(node, f"seal {height}")

    @staticmethod
    def _watch(check: Callable[..., None], also: Callable[..., None]) -> Callable[..., None]:
        def watched(*given: object) -> None:
            check(*given)
            also(*given)

        return watched

    def _note(self, who: str, what: str, to: str = "*") -> None:
        self._events.append((self.world.scheduler.now_ms, who, what, to))

    # ── telling ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def _tell(self) -> None:
        """One line for what several did at one time, in the order of who began."""
        sent: dict[tuple[int, str, str], set[str]] = {}
        for time_ms, who, what, to in self._events:
            sent.setdefault((time_ms, what, who), set()).add(to)
        lines: dict[tuple[int, str, str], list[str]] = {}
        for (time_ms, what, who), receivers in sent.items():
            lines.setdefault((time_ms, what, self._receivers(who, receivers)), []).append(who)
        for (time_ms, what, to), names in lines.items():
            self._lines.append(f"{time_ms:5} ms  {self._list(names)}{to}{what}")
        self._events = []
        charged: dict[str, set[str]] = {}
        for name, node in self.world.nodes.items():
            for charge in node.charges:
                charged.setdefault(f"{charge.peer}: {charge.code}", set()).add(name)
            node.charges.clear()
        self._lines += [f"          {self._list(sorted(by))} charge {fault}" for fault, by in sorted(charged.items())]

    def _receivers(self, sender: str, receivers: set[str]) -> str:
        arrived = sorted(receivers - {""})
        if arrived == ["*"]:
            return " "
        if not arrived:
            return " → lost: "
        return f" → {'all' if len(arrived) == len(self.world.nodes) - 1 else ', '.join(arrived)}: "

    def _describe(self, message: Message) -> str:
        if isinstance(message, PrePrepare):
            header = decode(Header, message.header)
            count = {0: "empty", 1: "1 transaction"}.get(header.tx_count, f"{header.tx_count} transactions")
            return f"PRE-PREPARE {header.height}.{message.view} {self._label(message.header)} ({count})"
        if isinstance(message, Prepare | Commit):
            label = self._labels.get(message.header_hash, "?")
            return f"{type(message).__name__.upper()} {message.height}.{message.view} {label}"
        if isinstance(message, Checkpoint):
            return f"CHECKPOINT {message.height}"
        if isinstance(message, ViewChange):
            return f"VIEW-CHANGE {message.height}.{message.view}{self._prepared(message)}"
        if isinstance(message, NewView):
            members = list(self.world.nodes)
            by = ", ".join(members[change.voter] for change in message.view_changes)
            block = self._label(message.proposal.header)
            return f"NEW-VIEW {message.height}.{message.view} {block}, as {by} asked"
        if isinstance(message, FetchBlocks):
            return f"FETCH-BLOCKS {message.first} to {message.last}"
        if isinstance(message, Shown):
            return f"SHOWN {self._label(message.proposal.header)}"
        if isinstance(message, FetchBodies):
            return f"FETCH-BODIES {self._labels.get(message.header_hash, '?')}"
        if isinstance(message, Bodies):
            return f"BODIES {self._labels.get(message.header_hash, '?')}"
        assert isinstance(message, SealedBlocks)
        sealed = [str(decode(Header, block.sealed.header).height) for block in message.blocks]
        tail = [str(decode(Header, block.header).height) for block in message.tail]
        return f"BLOCKS sealed: {' '.join(sealed) or 'none'}, committed: {' '.join(tail) or 'none'}"

    def _prepared(self, message: ViewChange) -> str:
        shown = message.certificate
        return "" if shown is None else f", {self._label(shown.header)} prepared in view {shown.view}"

    def _stand(self, name: str) -> str:
        status, round_ = self.world.status(name), self.world.state(name).round
        lock = f", locked on {self._label(round_.lock.header)} in view {round_.lock.view}" if round_.lock else ""
        return f"sealed {status.sealed}, at {round_.height}.{status.view} {status.phase}{lock}"

    def _label(self, header_raw: bytes) -> str:
        digest = header_hash(header_raw)
        return self._labels.setdefault(digest, letters(len(self._labels)))

    def _names(self, names: Sequence[str]) -> list[str]:
        return list(self.world.nodes) if list(names) == ["all"] else list(names)

    def _list(self, names: list[str]) -> str:
        return "all" if len(names) == len(self.world.nodes) else ", ".join(sorted(names))


def signed_again(primary: str, message: PrePrepare, header: Header) -> PrePrepare:
    """The proposal with another header."""
    raw = encode(header)
    scope = Scope(header.chain_id, header.set_hash, header.height)
    signature = key_of(primary).sign(scope.vote_digest(Tag.PRE_PREPARE, message.view, header_hash(raw)))
    return replace(message, header=raw, signature=signature)


def key_of(name: str) -> Signer:
    """A member's vote key, which only a faulty member uses outside of its node."""
    return make_signer(hashlib.sha256(name.encode()).digest(), False)


def letters(number: int) -> str:
    """a … z, aa, ab …"""
    return (letters(number // 26 - 1) if number >= 26 else "") + chr(ord("a") + number % 26)


def run_file(text: str) -> str:
    """The file as it should read: comments and commands as they are, each trace as it is now."""
    script, out = Script(), []
    for paragraph in text.strip().split("\n\n"):
        given = paragraph.split("\n----")[0].splitlines()
        commands = [line for line in given if not line.startswith("#")]
        trace = script.perform(commands)
        out.append("\n".join([*given, *(["----", *trace.splitlines()] if commands else [])]))
    return "\n\n".join(out) + "\n"
