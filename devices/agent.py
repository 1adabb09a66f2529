"""A pile in the world: its firmware, its MQTT connection, its flash, and the vehicle that is plugged in.

Driven by events, never by polling: the agent sleeps until the next moment at which anything changes (a reading, a
tariff border, the deposit's worth, a full battery, a departure, a message to send again) or until a message comes. All
of that is chain time; energy is computed at the very moments, so a late wake-up changes no reading.
"""

import asyncio
import math
import secrets
from collections.abc import Callable
from typing import Protocol

import structlog

from devices.battery import Battery
from devices.flash import Flash, with_checksum, without_checksum
from devices.light_client import SealCache
from devices.light_state import LightState
from devices.mqtt import MqttLink, MqttSettings
from devices.pile import Pile
from devices.pile_parts import Changed, Contactor, Effect, Note, PileConfig, PileState, Save, Send
from devices.pile_states import Status
from devices.wire import decode_down, down_topic, head_topic, up_topic
from ledger.codec import decode
from ledger.errors import PeerError
from ledger.keys import Signer

log = structlog.get_logger()

SLEEP_MAX_S = 3600.0
SLEEP_MIN_S = 0.25
"""Moments closer together are lived through at one wake-up, each at its own time: on a clock hundreds of times faster,
hundreds of piles would otherwise wake for every single reading. A message wakes a pile at once.
"""
CATCH_UP_MAX = 10_000
"""Moments handled before the loop turns to others again; more than a day's readings."""


class Clock(Protocol):
    """The chain clock."""

    @property
    def speed(self) -> int:
        """Chain seconds per second."""

    def now_ms(self) -> int:
        """Chain time."""


class PileAgent:
    """Runs one pile. Several live in one loop, each with its own connection, as real piles have."""

    def __init__(
        self,
        config: PileConfig,
        anchor: LightState,
        signer: Signer,
        clock: Clock,
        mqtt: MqttSettings,
        flash: Flash,
        cache: SealCache | None = None,
        on_effect: Callable[["PileAgent", Effect], None] | None = None,
    ) -> None:
        """Come up with the state in `flash`, or as provisioned with `anchor`. `on_effect` watches what the pile
        does. Raises OurError `flash-damaged`.
        """
        saved = flash.load()
        state = PileState(anchor) if saved is None else decode(PileState, without_checksum(saved, config.name))
        self.pile = Pile(config, state, signer, lambda: secrets.token_bytes(8), cache)
        self.vehicle: Battery | None = None
        self.closed = False
        """The contactor."""
        self.notes: dict[str, int] = {}
        """Code -> how often: what the display would have shown. As many entries as there are codes in the program."""
        self._clock = clock
        self._flash = flash
        self._on_effect = on_effect
        self._departure_ms = 0
        self._at_ms = clock.now_ms()
        self._rest_mwh = 0.0
        self._wake = asyncio.Event()
        chain_id = anchor.chain_id
        self._up_topic = up_topic(chain_id, config.name)
        self.link = MqttLink(
            mqtt, (down_topic(chain_id, config.name), head_topic(chain_id)), self._on_message, self._on_link_up
        )
        self._perform(self.pile.boot(self._at_ms))

    @property
    def status(self) -> Status:
        """OCPP status."""
        return self.pile.state.status

    async def run(self) -> None:
        """Work until cancelled; cancelling is a power cut."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.link.run())
            tasks.create_task(self._live())

    def plug_in(self, vehicle: Battery, departure_ms: int) -> None:
        """A vehicle comes, and leaves at `departure_ms` whatever its charge."""
        now_ms = self._pass_time()
        self.vehicle, self._departure_ms = vehicle, departure_ms
        self._perform(self.pile.plug_in(now_ms))

    def set_limit(self, limit_w: int) -> None:
        """A load command."""
        self._perform(self.pile.set_limit(self._pass_time(), limit_w))

    def fault(self, code: str) -> None:
        """Something breaks."""
        self._perform(self.pile.fault(self._pass_time(), code))

    def clear(self) -> None:
        """It is mended."""
        self._perform(self.pile.clear(self._pass_time()))

    # ── time and energy ─────────────────────────────────────────────────────────────────────────────────────────────

    async def _live(self) -> None:
        while True:
            now_ms = self._live_through()
            due_ms = self._next_ms()
            sleep_s = SLEEP_MAX_S if due_ms is None else max(SLEEP_MIN_S, (due_ms - now_ms) / 1000 / self._clock.speed)
            self._wake.clear()
            try:
                async with asyncio.timeout(min(sleep_s, SLEEP_MAX_S)):
                    await self._wake.wait()
            except TimeoutError:
                continue

    def _live_through(self) -> int:
        """Every moment up to now at which something changes, in order; returns now."""
        now_ms = max(self._clock.now_ms(), self._at_ms)
        for _ in range(CATCH_UP_MAX):
            due_ms = self._next_ms()
            if due_ms is None or due_ms > now_ms:
                break
            self._step(max(due_ms, self._at_ms))
        return now_ms

    def _pass_time(self) -> int:
        """The same, and the energy up to now: something comes from outside."""
        now_ms = self._live_through()
        if self.closed:
            self._step(now_ms)
        self._at_ms = now_ms
        return now_ms

    def _next_ms(self) -> int | None:
        due = [self.pile.next_due_ms()]
        if self.vehicle is not None:
            due.append(self._departure_ms)
            if self.closed:
                limit_w = self.pile.limit_w
                due.append(self._after(self.vehicle.ms_until(self.vehicle.wanted_wh, limit_w)))
                left_wh = (self.pile.energy_left_mwh() - self._rest_mwh) / 1000
                due.append(self._after(self.vehicle.ms_until(left_wh, limit_w)))
        known = [at for at in due if at is not None]
        return min(known) if known else None

    def _after(self, wait_ms: float) -> int | None:
        return None if math.isinf(wait_ms) else self._at_ms + max(1, math.ceil(wait_ms))

    def _step(self, at_ms: int) -> None:
        """Let current flow until a moment, and tell the pile."""
        energy_mwh, full = 0, False
        if self.closed and self.vehicle is not None:
            taken = self.vehicle.charge(self.pile.limit_w, at_ms - self._at_ms) * 1000 + self._rest_mwh
            energy_mwh = int(taken)
            self._rest_mwh = taken - energy_mwh
            full = self.vehicle.wanted_wh < 1e-6
        self._at_ms = at_ms
        self._perform(self.pile.tick(at_ms, energy_mwh, full))
        if self.vehicle is not None and at_ms >= self._departure_ms:
            self.vehicle = None
            self._perform(self.pile.unplug(at_ms))

    # ── world ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def _perform(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Save():
                    self._flash.save(with_checksum(self.pile.encode()))
                case Send(data):
                    self.link.publish(self._up_topic, data)
                case Contactor(closed):
                    self.closed = closed
                case Note(code, message):
                    self.notes[code] = self.notes.get(code, 0) + 1
                    log.debug("pile", pile=self.pile.config.name, code=code, message=message)
                case Changed():
                    pass
            if self._on_effect:
                self._on_effect(self, effect)
        if effects:
            self._wake.set()

    def _on_link_up(self) -> None:
        self._perform(self.pile.link_up(self._pass_time()))

    def _on_message(self, _topic: str, payload: bytes) -> None:
        try:
            message = decode_down(payload)
        except PeerError as error:
            # A gateway that speaks nonsense is no reason to stop charging.
            self.notes[error.code] = self.notes.get(error.code, 0) + 1
            return
        self._perform(self.pile.received(self._pass_time(), message))
