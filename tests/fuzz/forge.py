"""Forged and truncated proofs by the hundred thousand: `python -m tests.fuzz.forge --count 1000000`.

Every forgery is said to a light client that stands somewhere on a true chain. None may be believed, and none may move
the client to anything false. Chains, devices and lies follow from the seed. Exit status 1 if one was believed.
"""

import argparse
import sys
import time
from collections import Counter
from enum import Enum
from random import Random
from typing import get_args

from msgspec import Struct, field, structs

from devices.light_client import SET_CHANGES_MAX, LightClient, SealCache
from devices.light_state import LightState
from devices.wire import Head, SessionOpen, SetChange, State, decode_down
from ledger.block import Header, result_digest
from ledger.codec import decode, encode
from ledger.errors import PeerError
from ledger.keys import verify
from tests.fuzz.attacks import ATTACKS
from tests.fuzz.liars import Liar, Said
from tests.true_chain import OWNER, Message, TrueChain

FORGERIES_PER_CHAIN = 2_000
"""Then another chain: making one takes as long as forty forgeries."""


class Tally(Struct):
    """What came of an attack run."""

    forged: Counter[str] = field(default_factory=Counter)
    """Attack -> how many forgeries a light client has judged."""
    unread: Counter[str] = field(default_factory=Counter)
    """Attack -> how many more the codec has refused: no light client saw them."""
    believed: list[str] = field(default_factory=list)
    """Findings: the attack, and where in the run."""

    @property
    def count(self) -> int:
        """Of all forgeries."""
        return self.forged.total() + self.unread.total()


def is_forged(chain: TrueChain, state: LightState, message: Message) -> bool:
    """Whether a device in this state must not take the message for proven: not so, of the past, or not by its owner."""
    if not chain.true(message):
        return True
    sealed = message.proof.sealed if isinstance(message, SessionOpen) else message.sealed
    height = decode(Header, sealed.header).height
    match message:
        case Head(_, word):
            by_owner = verify(OWNER.public_key, result_digest(sealed.result), word)
            return height <= confirmed_height(state) or (_owner_must_speak(state) and not by_owner)
        case SetChange():
            return height < confirmed_height(state)
        case State():
            return height < state.height or _owner_must_speak(state)
    return _owner_must_speak(state)


def _owner_must_speak(state: LightState) -> bool:
    cold = bool(state.owner_key) and not state.owner_spoke
    return cold or state.set_changes > SET_CHANGES_MAX or state.fallback is not None


def _is_word(chain: TrueChain, state: LightState, message: Message) -> bool:
    """Whether it holds the owner's word on that very block, a newer one than the device is sure of; its seal aside."""
    if not isinstance(message, Head):
        return False
    sealed = message.sealed
    heights = [
        made.height for made in chain.blocks if (made.header_raw, made.result_raw) == (sealed.header, sealed.result)
    ]
    by_owner = verify(OWNER.public_key, result_digest(sealed.result), message.owner_signature)
    return by_owner and any(height > confirmed_height(state) for height in heights)


def believes(light: LightClient, message: Message) -> bool:
    """Whether a device takes any part of a message for proven; a hand-over, for more than a guess."""
    match message:
        case SetChange():
            return TrueChain.tell(light, message) and light.state.fallback is None
        case State(sealed, entries):
            return any(TrueChain.tell(light, State(sealed, (entry,))) for entry in entries)
    return TrueChain.tell(light, message)


def confirmed_height(state: LightState) -> int:
    """Height of the newest head that the device believes in."""
    return state.fallback.height if state.fallback else state.height


def false_state(chain: TrueChain, state: LightState) -> bool:
    """Whether a device has come to stand on what is not so."""
    stand = state.fallback or state
    if stand.head is not None and not chain.truly_sealed(stand.head):
        return True
    return stand.validators is not None and stand.validators not in chain.sets


class Outcome(Enum):
    """What came of a message."""

    TRUE = "no forgery"
    UNREAD = "refused by the codec"
    REFUSED = "refused by the light client"
    BELIEVED = "believed, or it undid what was true"


def told(chain: TrueChain, light: LightClient, said: Said) -> Outcome:
    """Tell a device."""
    data = said if isinstance(said, bytes) else encode(said)
    try:
        message = decode_down(data)
    except PeerError:
        return Outcome.UNREAD
    if not isinstance(message, get_args(Message)):
        return Outcome.TRUE
    before, forged = light.state, is_forged(chain, light.state, message)
    if believes(light, message) and forged:
        return Outcome.BELIEVED
    if false_state(chain, light.state) or confirmed_height(light.state) < confirmed_height(before):
        return Outcome.BELIEVED
    # A quorum of the confirmed set may hand over otherwise, and the owner's own word puts a guess aside; nothing else
    # undoes what was followed.
    undone = light.state.set_since < before.set_since
    if undone and not isinstance(message, SetChange) and not _is_word(chain, before, message):
        return Outcome.BELIEVED
    return Outcome.REFUSED if forged else Outcome.TRUE


def device(
    random: Random, chain: TrueChain, cache: SealCache, states: dict[tuple[int, str], LightState]
) -> LightClient:
    """A device somewhere on the chain, and its owner: none, one that has spoken, one that has not yet, or one that has
    to speak again.
    """
    height, owner = random.randint(0, chain.height), random.choice(("none", "spoke", "mute", "spoke long ago"))
    if (height, owner) not in states:
        state = chain.client(height, owned=owner != "none").state
        changes = state.set_changes + (SET_CHANGES_MAX + 1 if owner == "spoke long ago" else 0)
        states[height, owner] = structs.replace(state, owner_spoke=owner.startswith("spoke"), set_changes=changes)
    return LightClient(states[height, owner], cache)


def run(count: int, seed: int, only: str = "", believed_max: int = 10) -> Tally:
    """Forge until so many forgeries were told, or so many were believed."""
    attacks = [attack for attack in ATTACKS if only in attack.__name__]
    tally, round_ = Tally(), 0
    while tally.count < count and len(tally.believed) < believed_max:
        random = Random(f"{seed} {round_}")
        chain, cache = TrueChain(random.randrange(2**32)), SealCache(1_024)
        states: dict[tuple[int, str], LightState] = {}
        end, turn = min(count, tally.count + FORGERIES_PER_CHAIN), 0
        while tally.count < end and len(tally.believed) < believed_max:
            attack = attacks[turn % len(attacks)]
            light = device(random, chain, cache, states)
            liar = Liar(random, chain, light.state.height)
            for said in attack(liar):
                outcome = told(chain, light, said)
                tally.forged[attack.__name__] += outcome in (Outcome.REFUSED, Outcome.BELIEVED)
                tally.unread[attack.__name__] += outcome is Outcome.UNREAD
                if outcome is Outcome.BELIEVED:
                    tally.believed.append(f"{attack.__name__}: seed {seed}, round {round_}, turn {turn}: {said!r}")
            turn += 1
        round_ += 1
    return tally


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.forge", description=__doc__)
    parser.add_argument("--count", type=int, default=10_000, help="forgeries to tell")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", help="attacks whose name holds this")
    options = parser.parse_args()
    begin = time.perf_counter()
    tally = run(options.count, options.seed, options.only)
    seconds = time.perf_counter() - begin
    print(f"{'attack':28}{'judged':>10}{'unread':>10}")
    for name, forged in sorted(tally.forged.items()):
        print(f"{name:28}{forged:10,}{tally.unread[name]:10,}")
    for finding in tally.believed:
        print(f"BELIEVED {finding[:2_000]}")
    judged, unread, believed = tally.forged.total(), tally.unread.total(), len(tally.believed)
    print(
        f"{judged:,} forgeries judged, {believed} believed, {judged / seconds:,.0f} per second; {unread:,} not decoded"
    )
    return 1 if tally.believed else 0


if __name__ == "__main__":
    sys.exit(main())
