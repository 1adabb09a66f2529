"""F40: true and false messages in any order, power cuts between them: a light client believes what is so, never goes
back, and no lie keeps the truth out afterwards.
"""

from random import Random

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from devices.light_client import LightClient
from devices.light_state import STATE_BYTES_MAX, LightState, encode_state
from devices.wire import Genesis, State
from ledger.codec import decode
from tests.fuzz.attacks import ATTACKS, long_range, words_of_the_owner
from tests.fuzz.forge import Outcome, confirmed_height, false_state, told
from tests.fuzz.liars import Liar
from tests.true_chain import OWNER, TrueChain

SEEDS = st.integers(0, 2**32 - 1)


class Device(RuleBasedStateMachine):
    """One device on one chain."""

    @initialize(seed=SEEDS, owned=st.booleans())
    def begin(self, seed: int, owned: bool) -> None:
        """From the chain's id alone, or from the genesis set."""
        self.chain = TrueChain(seed)
        self.light = LightClient(LightState(self.chain.chain_id, OWNER.public_key if owned else b""))
        self.highest = 0
        if seed % 4:
            self.genesis()

    @property
    def confirmed(self) -> int:
        """Number of the set that the device is sure of."""
        state = self.light.state
        known = (state.fallback or state).validators
        return self.chain.sets.index(known) if known else 0

    @rule()
    def genesis(self) -> None:
        """The true facts behind the chain's id."""
        assert self.chain.tell(self.light, Genesis(self.chain.document.summary()))

    @rule(seed=SEEDS, by_owner=st.booleans())
    def head(self, seed: int, by_owner: bool) -> None:
        """A true head, with the owner's word or without; taken if it is newer, of the device's set, and word enough."""
        random, state = Random(seed), self.light.state
        height = random.randint(1, self.chain.height)
        believed = self.chain.tell(self.light, self.chain.head(height, random, by_owner))
        if state.fallback is None:
            reachable = state.validators is not None and self.chain.epoch_at(height) == self.confirmed
            enough = by_owner or state.owner_spoke or not state.owner_key
            assert believed == (reachable and enough and height > state.height)

    @rule(seed=SEEDS, next_one=st.booleans())
    def change(self, seed: int, next_one: bool) -> None:
        """A true hand-over; followed if it is the next one, also from a set that is a guess."""
        random, chain, state = Random(seed), self.chain, self.light.state
        if state.validators is None:
            return
        here = chain.sets.index(state.validators) if state.validators in chain.sets else self.confirmed
        epoch = min(here, len(chain.sets) - 2) if next_one else random.randrange(len(chain.sets) - 1)
        believed = chain.tell(self.light, chain.change(epoch, random))
        assert believed or epoch not in (self.confirmed, here)

    @precondition(lambda self: self.light.state.head is not None and self.light.state.fallback is None)
    @rule(seed=SEEDS)
    def proofs(self, seed: int) -> None:
        """Receipts of then and now, and the state at the head."""
        self.take_proofs(Random(seed))

    @rule(seed=SEEDS, attack=st.sampled_from(ATTACKS))
    def lie(self, seed: int, attack) -> None:
        """Any attack, against the device where it stands."""
        height = max(self.highest, self.chain.last_of(self.confirmed - 1) if self.confirmed else 0)
        followed = self.light.state.set_since
        for said in attack(Liar(Random(seed), self.chain, height, self.confirmed)):
            outcome = told(self.chain, self.light, said)
            assert outcome is not Outcome.BELIEVED, f"{attack.__name__}: {said!r}"
        # Only a quorum of the confirmed set can put another hand-over in the place of one that was followed, and only
        # a true word of the owner can put it aside.
        assert self.light.state.set_since >= followed or attack in (long_range, words_of_the_owner)

    @rule()
    def power_cut(self) -> None:
        """Only the state comes back."""
        self.light = LightClient(decode(LightState, encode_state(self.light.state)))

    @invariant()
    def holds(self) -> None:
        """What must be so at all times."""
        state = self.light.state
        assert not false_state(self.chain, state)
        assert confirmed_height(state) >= self.highest
        self.highest = confirmed_height(state)
        assert len(encode_state(state)) <= STATE_BYTES_MAX

    def teardown(self) -> None:
        """An honest gateway comes last: whatever was said before, the device gets to the chain's end."""
        if not hasattr(self, "light"):
            return
        random, chain = Random(1), self.chain
        self.genesis()
        for epoch in range(self.confirmed, len(chain.sets) - 1):
            assert chain.tell(self.light, chain.change(epoch, random))
        if confirmed_height(self.light.state) < chain.height:
            head = chain.head(chain.height, random, by_owner=bool(self.light.state.owner_key))
            assert chain.tell(self.light, head)
        assert confirmed_height(self.light.state) == chain.height
        if self.light.state.fallback is None:  # else it knew the end before the lie, and waits for the next block
            self.take_proofs(random)

    def take_proofs(self, random: Random) -> None:
        """True things about the head and the blocks before it."""
        chain, height = self.chain, self.light.state.height
        assert self.light.state.validators is not None
        epoch = chain.sets.index(self.light.state.validators)
        if chain.epoch_at(height) != epoch:
            return  # it stands at a hand-over: nothing is sealed by its new set yet
        for made in (made for made in chain.blocks[:height] if made.transactions):
            newer = made.height if chain.epoch_at(made.height) == epoch else height
            assert chain.tell(
                self.light, chain.open(made.height, random.randrange(len(made.transactions)), newer, random)
            )
        keys = [b"key %d" % random.randrange(40) for _ in range(3)]
        for key in keys:
            assert chain.tell(self.light, State(chain.sealed(height, random), (chain.at(height).entry(key),)))


TestDevice = Device.TestCase
TestDevice.settings = settings(max_examples=100, stateful_step_count=30)
