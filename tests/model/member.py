"""One honest member as a table: the real replica's local states, and what each event makes of them.

The replica is deterministic, so what an event makes of a local state is computed once, by the real code, and looked up
ever after. Two replicas are in the same local state if they agree on all that can make a difference later: see `_key`.
Others' votes are forgotten after each event: they stay in the set of what was said, and can be delivered again.
"""

from typing import NamedTuple

from msgspec.structs import replace

from consensus.effects import Charge, Effect, Halt, Persist, Send
from consensus.messages import Bodies, Commit, Message, NewView, Prepare, PrePrepare, Shown, ViewChange, Vouching
from consensus.records import BlockRecord, decode_record
from consensus.replica import Replica
from consensus.state import State
from consensus.table import Phase
from ledger.block import header_hash
from tests.model.real import BrokenError, Pool, decided, fork, start
from tests.model.words import OPEN, SIZE, Language, Word, primary
from tests.unit import consensus_kit as kit

PATIENCE_MS = 100_000
"""Longer than any time-out."""


class Event(NamedTuple):
    """What may happen to a member."""

    kind: str
    """`hear`, `wait` (hear, and if that moves nothing the timer runs out), `shown` (the other first proposal and the
    PREPAREs for it), `admit`, `body`, `restart`.
    """
    words: tuple[int, ...] = ()


class Local(NamedTuple):
    """A local state: a replica that nobody touches (events are tried on forks), its log, and what it has said."""

    replica: Replica
    records: tuple[bytes, ...]
    said: int
    key: tuple
    lock: str | None
    """The block that it is locked on."""

    @property
    def state(self) -> State:
        """The replica's memory."""
        return self.replica.state


class Member:
    """The table of one position."""

    def __init__(self, language: Language, position: int) -> None:
        self.language = language
        self.position = position
        self.name = kit.NAMES[position]
        self._honest = {name for at, name in enumerate(kit.NAMES) if at != language.liar}
        self.locals: list[Local] = []
        self.numbers: dict[tuple, int] = {}
        self.runs = 0
        """Events that the real code has handled."""
        self._results: dict[tuple[int, Event], tuple[int, tuple[int, ...]]] = {}
        self._relevant: list[int] = []
        self._next: dict[tuple[int, int], tuple[tuple[int, ...], tuple[int, ...]]] = {}
        self._committing: dict[tuple, bool] = {}
        self._decides: dict[tuple[int, int], frozenset[str]] = {}
        self._commits = language.mask(lambda word: word.kind == "commit")
        replica, _ = start(self.name, (), self._new_pool())
        self.first = self._intern(replica, ())

    # ── what may happen ─────────────────────────────────────────────────────────────────────────────────────────────

    def follow(self, at: int, heard: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The local states that one event leads to from `at` when `heard` was said: without a crash, and with one."""
        place = at, heard & self._relevant[at]
        found = self._next.get(place)
        if found is None:
            calm: set[int] = set()
            crashed: set[int] = set()
            for event in self._events(at, place[1]):
                done = self._results.get((at, event))
                if done is None:
                    done = self._results[at, event] = self._try(at, event)
                whole, torn = done
                (crashed if event.kind == "restart" else calm).add(whole)
                crashed.update(torn)
            calm.discard(at)
            crashed.discard(at)
            found = self._next[place] = tuple(sorted(calm)), tuple(sorted(crashed))
        return found

    def decides(self, at: int, heard: int) -> frozenset[str]:
        """The blocks that the member may commit in this state, by the COMMITs that were said."""
        place = at, heard & self._commits
        found = self._decides.get(place)
        if found is None:
            complete = tuple(name for name, whole in self.locals[at].key[3] if whole)
            by_block: dict[str, list[int]] = {}
            for number in self.language.spell(place[1]):
                by_block.setdefault(self.language.words[number].block, []).append(number)
            blocks = {block for block, numbers in by_block.items() if self._commits_on(at, complete, tuple(numbers))}
            found = self._decides[place] = frozenset(blocks)
        return found

    def _commits_on(self, at: int, complete: tuple[str, ...], numbers: tuple[int, ...]) -> bool:
        """Whether it would commit if it heard these COMMITs; of its state, only the complete candidates matter."""
        place = complete, numbers
        found = self._committing.get(place)
        if found is None:
            replica = fork(self.locals[at].replica)
            self._perform(replica, Event("hear", numbers))
            found = self._committing[place] = replica.state.tip.height > 0
            if found:
                decided(replica)
        return found

    def _see(self, at: int) -> int:
        """The words that can make a difference to a local state."""
        local, language = self.locals[at], self.language
        round_ = local.state.round
        view, phase, me = round_.view, round_.phase, self.position
        enters = phase in (Phase.WAITING, Phase.CHANGING)
        block = language.names[round_.proposal.hash] if round_.proposal is not None else ""
        may_be_outvoted = view == 0 and phase in (Phase.GATHERING, Phase.REFUSING, Phase.PREPARING)

        def relevant(word: Word) -> bool:
            if word.voter == me or word.view == language.views:
                return False
            if word.kind == "proposal":
                other = may_be_outvoted and word.view == 0 and word.block != block
                return word.view > view or (word.view == view and enters) or other
            if word.kind == "prepare":
                own = phase is Phase.PREPARING and word.block == block
                return word.view == view and (own or (may_be_outvoted and word.block != block))
            if word.kind == "change":
                return word.view > view or (word.view == view and phase is Phase.CHANGING)
            return False

        return language.mask(relevant)

    def _events(self, at: int, heard: int):
        local, language = self.locals[at], self.language
        round_ = local.state.round
        yield Event("restart")
        if not len(local.state.pool):
            yield Event("admit")
        if round_.phase is Phase.GATHERING and round_.proposal is not None and not round_.proposal.complete:
            yield Event("body")
        block = language.names[round_.proposal.hash] if round_.proposal is not None else ""
        prepares: list[int] = []
        others: list[int] = []
        asked: set[tuple[int, int]] = set()
        changes: dict[int, list[int | None]] = {voter: [None] for voter in range(SIZE)}
        for number in language.spell(heard):
            word = language.words[number]
            if word.kind == "proposal" and word.view == round_.view == 0 and block:
                others.insert(0, number)
            elif word.kind == "proposal":
                yield Event("hear", (number,))
            elif word.kind == "prepare":
                (prepares if word.block == block else others).append(number)
            elif primary(word.view) == self.position or (word.voter, word.view) not in asked:
                asked.add((word.voter, word.view))
                changes[word.voter].append(number)
        if prepares:
            yield Event("hear", tuple(prepares))
        if others and language.words[others[0]].kind == "proposal":
            yield Event("shown", tuple(others))
        choices: list[tuple[int, ...]] = [()]
        for voter in range(SIZE):
            choices = [(*some, *([one] if one is not None else [])) for some in choices for one in changes[voter]]
        for some in choices:
            if round_.view + 1 < language.views:
                yield Event("wait", some)
            elif some:
                yield Event("hear", some)

    # ── what it makes of it ─────────────────────────────────────────────────────────────────────────────────────────

    def _try(self, at: int, event: Event) -> tuple[int, tuple[int, ...]]:
        """The local state after an event, and those after a crash between two of its writes and a restart."""
        local = self.locals[at]
        self.runs += 1
        if event.kind == "restart":
            return self._restart(local.records), ()
        replica = fork(local.replica)
        effects = self._perform(replica, event)
        written = tuple(effect.record for effect in effects if isinstance(effect, Persist))
        if replica.state.tip.height:
            raise BrokenError(f"{self.name} committed without being shown a COMMIT quorum")
        for place, cast in local.state.own.items():
            if replica.state.own[place][0] != cast[0]:
                raise BrokenError(f"{self.name} signed two values for {place}")
        for effect in effects:
            if isinstance(effect, Send) and isinstance(effect.message, Vouching):
                cast = replica.state.own[1, getattr(effect.message, "view", 0), type(effect.message)]
                if cast[1] != effect.message:
                    raise BrokenError(f"{self.name} sends a vote that is not on its disk")
        whole = self._intern(replica, (*local.records, *written))
        torn = {self._restart((*local.records, *written[:count])) for count in range(1, len(written))}
        return whole, tuple(torn)

    def _new_pool(self) -> Pool:
        """What waits after a start: clients and gossip bring it again, to the first primary when it is `admit`ted."""
        return Pool() if primary(0) == self.position else Pool(OPEN)

    def _restart(self, records: tuple[bytes, ...]) -> int:
        replica, effects = start(self.name, records, self._new_pool())
        written = tuple(effect.record for effect in effects if isinstance(effect, Persist))
        return self._intern(replica, (*records, *written))

    def _perform(self, replica: Replica, event: Event) -> list[Effect]:
        state = replica.state
        before = state.round.view, state.round.phase
        effects: list[Effect] = []
        for number in event.words:
            word, message = self.language.words[number], self.language.real[number]
            if event.kind == "shown" and isinstance(message, PrePrepare):
                message = Shown(replace(message, leaves=b""))
            replica.receive(kit.NAMES[word.voter], message)
            effects += replica.settle()
        if event.kind == "wait" and (state.round.view, state.round.phase) == before:
            state.round.deadline_ms = None
            for passed_ms in (1, PATIENCE_MS):
                replica.tick(state.now_ms, state.steady_ms + passed_ms)
                effects += replica.settle()
        elif event.kind == "admit":
            state.pool = Pool(self.language.bodies["0"])
            effects += replica.settle()
        elif event.kind == "body" and state.round.proposal is not None:
            transaction = self.language.bodies[self.language.names[state.round.proposal.hash]]
            replica.receive(kit.NAMES[self.position - 1], Bodies(state.round.proposal.hash, transaction.leaf, ()))
            replica.offer((transaction,))
            effects += replica.settle()
        for effect in effects:
            if isinstance(effect, Halt):
                raise BrokenError(f"{self.name} stops: {effect.error}")
            if isinstance(effect, Charge) and effect.peer in self._honest:
                raise BrokenError(f"{self.name} charges the honest {effect.peer}: {effect.code} {effect.reason}")
        return effects

    def _intern(self, replica: Replica, records: tuple[bytes, ...]) -> int:
        self._forget(replica.state)
        key, said = self._key(replica.state, records)
        number = self.numbers.get(key)
        if number is None:
            number = self.numbers[key] = len(self.locals)
            self.locals.append(Local(replica, records, said, key, key[5][1] if key[5] else None))
            self._relevant.append(self._see(number))
        return number

    def _forget(self, state: State) -> None:
        """Drop others' votes: what was said can be heard again."""
        round_ = state.round
        round_.prepares, round_.commits, round_.view_changes = type(round_.prepares)(), type(round_.commits)(), {}
        round_.others = {}
        round_.candidates = {
            digest: candidate
            for digest, candidate in sorted(round_.candidates.items())
            if candidate.complete or candidate is round_.proposal
        }
        for (_, view, kind), (_, message) in sorted(state.own.items(), key=lambda item: item[0][1]):
            if isinstance(message, (Prepare, Commit)):
                tally = round_.prepares if kind is Prepare else round_.commits
                tally.add(message.voter, view, message.header_hash, message.signature)
            elif isinstance(message, ViewChange):
                round_.view_changes[message.voter] = message

    def _key(self, state: State, records: tuple[bytes, ...]) -> tuple[tuple, int]:
        """All that may make a difference later, and what was said so far: whatever is on disk, since nothing else is
        sent.
        """
        language, round_ = self.language, state.round
        said = 0
        own = set()
        for (_, view, kind), (_, message) in state.own.items():
            word = self._word(view, message)
            own.add((kind.__name__, view, word.block, word.shown))
            if kind is not PrePrepare or view == 0:
                number = language.number[word]
                said |= 1 << number
                language.real.setdefault(number, self._listed(message, word.block))
        durable = {
            language.names[header_hash(record.header)]
            for record in map(decode_record, records)
            if isinstance(record, BlockRecord)
        }
        lock = round_.lock
        key = (
            round_.view,
            round_.phase.value,
            language.names[round_.proposal.hash] if round_.proposal is not None else "",
            tuple(sorted((language.names[digest], c.complete) for digest, c in round_.candidates.items())),
            tuple(sorted(durable)),
            (lock.view, language.names[header_hash(lock.header)]) if lock is not None else None,
            tuple(sorted(own)),
            len(state.pool),
        )
        return key, said

    def _word(self, view: int, message: Message) -> Word:
        names = self.language.names
        if isinstance(message, ViewChange):
            shown = message.certificate
            if shown is None:
                return Word("change", view, "", -1, self.position)
            return Word("change", view, names[header_hash(shown.header)], shown.view, self.position)
        if isinstance(message, NewView):
            return Word("proposal", view, names[header_hash(message.proposal.header)], -1, self.position)
        if isinstance(message, PrePrepare):
            return Word("proposal", view, names[header_hash(message.header)], -1, self.position)
        assert isinstance(message, (Prepare, Commit))
        kind = "prepare" if isinstance(message, Prepare) else "commit"
        return Word(kind, view, names[message.header_hash], -1, self.position)

    def _listed(self, message: Message, block: str) -> Message:
        """The message with its list of transactions, which the log leaves out."""
        if isinstance(message, PrePrepare):
            return replace(message, leaves=self.language.bodies[block].leaf)
        if isinstance(message, NewView):
            return replace(message, proposal=replace(message.proposal, leaves=self.language.bodies[block].leaf))
        return message
