"""What one member that lies can say: all that it can sign with its own key, given what the others have said.

Whether a certificate or a NEW-VIEW that it can put together would be believed, the real code judges.
"""

from itertools import product

from consensus.messages import Message, ViewChange
from tests.model.real import Pool, fork, start
from tests.model.words import OPEN, SIZE, Language, Word, primary
from tests.unit import consensus_kit as kit


class Liar:
    """The member's voice."""

    def __init__(self, language: Language, position: int) -> None:
        self.language = language
        self.position = position
        self.name = kit.NAMES[position]
        self._judges = {view: self._judge(view) for view in range(language.views + 1)}
        self._valid: dict[tuple, bool] = {}
        self._known: dict[int, int] = {}
        self._heeded = language.mask(
            lambda word: word.kind in ("prepare", "change", "proposal") and word.voter != position
        )
        self._always = self._plain()

    def _judge(self, view: int):
        judge = next(at for at in range(SIZE) if at not in (self.position, primary(view)))
        return start(kit.NAMES[judge], (), Pool(OPEN))[0]

    def speak(self, said: int) -> int:
        """All that was said by the honest, and can be said by the liar."""
        heeded = said & self._heeded
        found = self._known.get(heeded)
        if found is None:
            found = self._known[heeded] = self._always | self._bound(heeded)
        return said | found

    def _plain(self) -> int:
        """Votes for anything, requests that show nothing, first proposals."""
        words = 0
        for number, word in enumerate(self.language.words):
            if word.voter != self.position:
                continue
            message: Message
            header = self.language.headers[word.block] if word.block else b""
            if word.kind == "prepare":
                message = kit.prepare(self.name, header, word.view)
            elif word.kind == "commit":
                message = kit.commit(self.name, header, word.view)
            elif word.kind == "change" and word.shown < 0:
                message = kit.view_change(self.name, word.view)
            elif word.kind == "proposal" and word.view == 0:
                message = kit.pre_prepare(header, self.language.bodies[word.block])
            else:
                continue
            self.language.real[number] = message
            words |= 1 << number
        return words

    def _bound(self, said: int) -> int:
        """Requests that show a certificate, and NEW-VIEWs."""
        language = self.language
        heard = {language.words[number] for number in language.spell(said)}
        words = 0
        for number, word in enumerate(language.words):
            if (
                word.voter == self.position
                and word.kind == "change"
                and word.shown >= 0
                and self._can_show(heard, word)
            ):
                words |= 1 << number
        for view in range(1, language.views):
            if primary(view) == self.position:
                words |= self._new_views(said | words | self._always, view)
        return words

    def _can_show(self, heard: set[Word], word: Word) -> bool:
        """Whether it can put the certificate together, and would be believed."""
        view, leader = word.shown, primary(word.shown)
        if leader != self.position and Word("proposal", view, word.block, -1, leader) not in heard:
            return False
        backups = [
            voter
            for voter in range(SIZE)
            if voter == self.position or Word("prepare", view, word.block, -1, voter) in heard
        ]
        for voters in (tuple(voter for voter in backups if voter != leader), tuple(backups)):
            shown = self.language.certificate(view, word.block, voters)
            message = kit.view_change(self.name, word.view, shown)
            place = word, voters
            if place not in self._valid:
                judge = fork(self._judges[word.view])
                judge.receive(self.name, message)
                self._valid[place] = bool(judge.state.round.view_changes)
            if self._valid[place]:
                self.language.real[self.language.number[word]] = message
                return True
        return False

    def _new_views(self, said: int, view: int) -> int:
        """Every NEW-VIEW that some choice of requests supports."""
        language = self.language
        requests: list[list[int | None]] = [[None] for _ in range(SIZE)]
        for number in language.spell(said):
            word = language.words[number]
            if word.kind == "change" and word.view == view:
                requests[word.voter].append(number)
        words = 0
        for some in product(*requests):
            shown = tuple(number for number in some if number is not None)
            for block in language.blocks:
                word = Word("proposal", view, block, -1, self.position)
                if int(block[0]) <= view and shown and self._supports(shown, word):
                    words |= 1 << language.number[word]
        return words

    def _supports(self, requests: tuple[int, ...], word: Word) -> bool:
        place = requests, word
        if place not in self._valid:
            language, transaction = self.language, self.language.bodies[word.block]
            proposal = kit.pre_prepare(language.headers[word.block], transaction, view=word.view)
            changes = [change for number in requests if isinstance(change := language.real[number], ViewChange)]
            message = kit.new_view(changes, proposal, word.view)
            judge = fork(self._judges[word.view])
            judge.receive(self.name, message)
            self._valid[place] = judge.state.round.view == word.view
            if self._valid[place]:
                language.real.setdefault(language.number[word], message)
        return self._valid[place]
