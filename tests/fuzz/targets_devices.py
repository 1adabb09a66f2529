"""Bytes that devices, their gateways and their flash claim to be messages, proofs, readings or states."""

from collections.abc import Iterator
from pathlib import Path
from random import Random

from msgspec import structs

from devices.agent import PileAgent
from devices.flash import MemoryFlash, with_checksum
from devices.light_client import LightClient, SealCache
from devices.light_state import LightState, encode_state
from devices.mqtt import MqttSettings
from devices.pile_parts import Send
from devices.readings import ChainEnd, sign_reading, verify_chain
from devices.session import opened_in
from devices.wire import (
    AskHead,
    AskReceipt,
    AskSetChanges,
    Genesis,
    Up,
    check_up,
    decode_down,
    message_digest,
    open_up,
    seal_up,
)
from ledger.block import Event, Receipt
from ledger.charging import ReadingReason, SessionOpened, SignedReading
from ledger.codec import decode, encode
from ledger.errors import OurError, PeerError
from node.clock import ChainClock
from node.gateway.archive import Archive
from node.gateway.serve import Storing, Submission, serve
from tests import chain, consortium
from tests.device_chain import validator_set
from tests.fuzz.engine import Target, unguarded
from tests.fuzz.forge import Outcome, told
from tests.fuzz.liars import Liar
from tests.fuzz.targets import target
from tests.fuzz.test_device_wire import CHAIN
from tests.fuzz.test_device_wire import MESSAGES as UP_MESSAGES
from tests.pile_bench import PileBench
from tests.true_chain import TrueChain

SESSION = bytes(range(32))
MINUTE_MS = 60_000


def readings() -> list[SignedReading]:
    """A session's first three readings."""
    end, signed = ChainEnd(), []
    for number, reason in enumerate((ReadingReason.BEGIN, ReadingReason.PERIODIC, ReadingReason.END)):
        reading, end = sign_reading(SESSION, end, 60_000 * number, 1_000 + number, reason, consortium.signer("Pile-1"))
        signed.append(reading)
    return signed


@target("devices.readings.verify_chain", "devices.readings.read")
def meter_readings(_: Path) -> Iterator[Target]:
    """Only what the pile signed, in its order, is taken for its readings."""
    signed = readings()

    def parse(data: bytes) -> None:
        claimed = decode(tuple[SignedReading, ...], data)
        verify_chain(SESSION, consortium.key("Pile-1"), claimed)
        assert list(claimed) == signed[: len(claimed)]

    yield Target(parse, [encode(tuple(signed))])


# ── what a pile kept in flash ─────────────────────────────────────────────────────────────────────────────────────────


@target()
def light_states(_: Path) -> Iterator[Target]:
    """What a light client kept in flash."""
    story = TrueChain(5)

    def parse(data: bytes) -> None:
        assert encode(decode(LightState, data)) == data

    yield Target(parse, [encode_state(story.client(story.height, owned=True).state)])


@target("devices.agent.PileAgent.__init__", "devices.flash.without_checksum")
def pile_states(folder: Path) -> Iterator[Target]:
    """What a pile kept in flash: it goes on where it was, or says that its flash is damaged."""
    bench = PileBench(folder)
    bench.chain.seal()
    states = [bench.flash]
    bench.do(bench.pile.plug_in(bench.now_ms))
    bench.down(bench.open())
    states.append(bench.flash)
    bench.tick(40 * MINUTE_MS, 7_000)
    states.append(bench.flash)
    samples = [with_checksum(state) for state in states]
    settings, clock = MqttSettings("127.0.0.1", 1, bench.name), ChainClock()

    def parse(data: bytes) -> None:
        flash = MemoryFlash()
        flash.save(data)
        PileAgent(bench.config, bench.chain.anchor(), bench.signer, clock, settings, flash)
        assert data in samples

    yield Target(parse, samples, refusals=(OurError,))
    bench.chain.close()


# ── what devices say ──────────────────────────────────────────────────────────────────────────────────────────────────


@target("devices.wire.open_up", "devices.wire.check_up")
def device_messages(_: Path) -> Iterator[Target]:
    """What devices say over MQTT: only what they signed."""
    samples = [seal_up(CHAIN, "Pile-1", 5, message, consortium.signer("Pile-1")) for message in UP_MESSAGES]

    def parse(data: bytes) -> None:
        check_up(open_up(data), CHAIN, "Pile-1", consortium.key("Pile-1"))
        assert data in samples

    yield Target(parse, samples)


@target("node.gateway.serve.serve", "node.gateway.archive.Archive.append")
def device_payloads(folder: Path) -> Iterator[Target]:
    """What a registered device has truly signed, whatever it is: answered in messages that devices can read, stored, or
    refused.
    """
    bench = PileBench(folder)
    bench.chain.seal()
    bench.session(40)
    bench.chain.seal(next_set=validator_set(bench.chain.names, epoch=1))
    bench.chain.seal()
    sent = [effect for effect in bench.effects if isinstance(effect, Send)]
    said = {effect.kind: open_up(effect.data).payload for effect in reversed(sent)}  # the first of each kind
    known = bench.chain.receipts[0].call_id
    samples = [*said.values(), encode(AskHead()), encode(AskReceipt(known, 1)), encode(AskSetChanges(1))]
    archive, public_key = Archive(folder / "another.sqlite"), consortium.key(bench.name)

    def parse(data: bytes) -> None:
        digest = message_digest(bench.chain.chain_id, bench.name, 1, data)
        payload = check_up(Up(1, data, bench.signer.sign(digest)), bench.chain.chain_id, bench.name, public_key)
        with bench.chain.store.snapshot() as snapshot:
            for answer in serve(snapshot, bench.chain.blocks, bench.name, public_key, 1, payload):
                with unguarded():
                    if isinstance(answer, Storing):
                        archive.append([answer.batch])
                    elif not isinstance(answer, Submission):
                        assert decode_down(encode(answer)) == answer

    # The answers to a few bytes are proofs of several kilobytes.
    yield Target(parse, samples, refusals=(PeerError,), iterations=1_500, memory_fixed=4 << 20)
    archive.close()
    bench.chain.close()


# ── what gateways say ─────────────────────────────────────────────────────────────────────────────────────────────────


@target(
    "devices.wire.decode_down",
    "devices.light_client.LightClient.check_receipt",
    "devices.light_client.LightClient._sealed",
    "devices.light_client.LightClient._heed_owner",
    "devices.light_client.LightClient._hand_over",
    "devices.light_client.LightClient._from_history",
)
def gateway_messages(_: Path) -> Iterator[Target]:
    """What gateways say over MQTT, to light clients, one of them under a set that only its owner can confirm: nothing
    false is believed.
    """
    story, random, cache = TrueChain(5), Random(1), SealCache()
    height = story.height - 1
    cold = LightClient(structs.replace(story.client(0, owned=True).state, owner_spoke=False))
    assert story.tell(cold, story.change(0, random))
    states = [story.client(height, owned=True).state, cold.state]
    samples = [encode(Liar(random, story, height).true_message()) for _ in range(40)]
    samples += [encode(story.head(at, random, by_owner=True)) for at in (1, height)]
    samples.append(encode(Genesis(story.document.summary())))

    def parse(data: bytes) -> None:
        decode_down(data)
        with unguarded():
            for state in states:
                assert told(story, LightClient(state, cache), data) is not Outcome.BELIEVED

    yield Target(parse, samples)


@target("devices.session.opened_in")
def receipts_of_opens(_: Path) -> Iterator[Target]:
    """Receipts that a pile reads after they are proven."""
    opened = SessionOpened(SESSION, "Pile-1", 1, consortium.key("d1"), 5_000, chain.START_MS)

    def parse(data: bytes) -> None:
        opened_in(Receipt(SESSION, 0, 1, b"", (Event(4, "session.opened", data),)))

    yield Target(parse, [encode(opened)])
