"""Everything that can be said at the one height, numbered: what was said is a set, and a set is one integer.

A *word* is a message without what makes no difference: which quorum's signatures a certificate or a NEW-VIEW carries.
The real message behind a word is the first one that a real replica made, or one that the liar can make with its own
key.
"""

from typing import NamedTuple

from consensus.messages import Message
from consensus.messages import PreparedCertificate as Certificate
from ledger.block import Vote, header_hash
from ledger.transaction import Transaction
from tests.unit import consensus_kit as kit

SIZE = len(kit.NAMES)
OPEN, HIDDEN = kit.make_transaction(0), kit.make_transaction(1)
"""A transaction that every pool holds, and one that gossip did not bring."""


class Word(NamedTuple):
    """A message."""

    kind: str
    """`proposal` (PRE-PREPARE in view 0, NEW-VIEW later), `prepare`, `commit`, `change` (VIEW-CHANGE)."""
    view: int
    block: str
    """Of a `change`: the block that its certificate shows, or empty."""
    shown: int
    """Of a `change`: the view of its certificate, or -1."""
    voter: int


def primary(view: int) -> int:
    """Position of the view's primary at height 1."""
    return (1 + view) % SIZE


class Language:
    """Blocks and words of a case. A block's name is the view of its first proposal, with a dash for a liar's second."""

    def __init__(self, liar: int | None, views: int) -> None:
        self.liar = liar
        self.views = views
        names = [f"{view}" for view in range(views)]
        names += [f"{view}'" for view in range(views) if primary(view) == liar]
        self.blocks = sorted(names)
        hidden = {name for name in names if name.endswith("'")} or {"0"}
        self.bodies: dict[str, Transaction] = {name: HIDDEN if name in hidden else OPEN for name in names}
        self.headers = {name: kit.make_header(self.bodies[name], view=int(name[0])) for name in names}
        self.names = {header_hash(header): name for name, header in self.headers.items()}
        self.words = list(self._all())
        self.number = {word: at for at, word in enumerate(self.words)}
        self.real: dict[int, Message] = {}
        """Word number → a real message that says so."""

    def _all(self):
        for view in range(self.views):
            for block in self.blocks:
                if int(block[0]) > view or (view == 0 and block[0] != "0"):
                    continue
                yield Word("proposal", view, block, -1, primary(view))
                for voter in range(SIZE):
                    yield Word("prepare", view, block, -1, voter)
                    yield Word("commit", view, block, -1, voter)
                    for wanted in range(view + 1, self.views + (voter == self.liar)):
                        yield Word("change", wanted, block, view, voter)
        for wanted in range(1, self.views):
            for voter in range(SIZE):
                yield Word("change", wanted, "", -1, voter)

    def mask(self, choose) -> int:
        """The set of the words that a condition holds for."""
        return sum(1 << at for at, word in enumerate(self.words) if choose(word))

    def spell(self, words: int) -> list[int]:
        """The numbers in a set, in order."""
        numbers = []
        while words:
            low = words & -words
            numbers.append(low.bit_length() - 1)
            words ^= low
        return numbers

    def read(self, number: int) -> str:
        """A word for people."""
        word = self.words[number]
        if word.kind == "change":
            return f"change to {word.view} showing {f'{word.block} of {word.shown}' if word.block else 'nothing'}"
        return f"{word.kind} {word.block} in {word.view}"

    def certificate(self, view: int, block: str, voters: tuple[int, ...]) -> Certificate:
        """The certificate that these voters' PREPAREs make."""
        header = self.headers[block]
        votes = tuple(Vote(voter, kit.prepare(kit.NAMES[voter], header, view).signature) for voter in voters)
        return Certificate(view, header, kit.pre_prepare(header, view=view).signature, votes)
