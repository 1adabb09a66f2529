"""How the faults of a plan happen, and end."""

from typing import TYPE_CHECKING

from tests.sim.network import FAIR
from tests.sim.plan import Clock, Crash, Cut, Decide, Fault, Full, Lie, Rounds, Weather
from tests.sim.rounds import RoundsAdversary

if TYPE_CHECKING:
    from tests.sim.world import World


class Faults:
    """What goes wrong in a world."""

    def __init__(self, world: "World") -> None:
        self._world = world

    def begin(self, fault: Fault) -> None:
        """Have a fault happen. Those that last end by themselves."""
        world = self._world
        network, nodes, after = world.network, world.nodes, world.scheduler.after
        named = [name for name, _ in fault.seats] if isinstance(fault, Decide) else [getattr(fault, "node", "")]
        if world.is_healed or not {"", *nodes}.issuperset(named):
            return  # a shrunk plan has fewer members than its faults name
        world.note(fault)
        if isinstance(fault, Crash):
            node = nodes[fault.node]
            node.crash_in, node.crash_kind, node.moment = fault.effects, fault.kind, fault.moment
            after(fault.down_ms, self._restart, fault, fault.again)
        elif isinstance(fault, Weather):
            network.weather = fault
            after(fault.for_ms, self._end_weather, fault)
        elif isinstance(fault, Cut):
            self._cut(fault)
        elif isinstance(fault, Rounds):
            network.rounds = RoundsAdversary(
                fault, list(nodes), self._locked, self._place, lambda: world.scheduler.now_ms
            )
            after(fault.for_ms, network.end_rounds, fault)
        elif isinstance(fault, Full):
            nodes[fault.node].fill_disk(fault.first)
            after(fault.for_ms, nodes[fault.node].free_disk)
        elif isinstance(fault, Clock):
            nodes[fault.node].clock_offset_ms = fault.offset_ms
        elif isinstance(fault, Lie):
            world.liars[fault.node].begin(fault)
        elif isinstance(fault, Decide):
            world.decide(fault.seats)

    def _restart(self, fault: Crash, again: int | None) -> None:
        """Start a node again that has crashed, perhaps for another crash in its start; look later at one that has not
        come to its effect.
        """
        world = self._world
        node = world.nodes[fault.node]
        if world.is_healed:
            return
        if node.is_up:
            if node.crash_in is not None:
                world.scheduler.after(fault.down_ms, self._restart, fault, again)
            return
        node.crash_in, node.crash_kind = again, ""
        world.start(fault.node)
        world.note("restart", fault.node)
        if again is not None:
            world.scheduler.after(fault.down_ms, self._restart, fault, None)

    def _end_weather(self, fault: Weather) -> None:
        if self._world.network.weather == fault:
            self._world.network.weather = FAIR

    def _cut(self, fault: Cut) -> None:
        network = self._world.network
        network.cut |= set(fault.pairs)
        network.witness = fault.witness or network.witness
        if fault.witness:
            network.weather = Weather(muted="Commit")
        for one, other in _both_ways(fault):
            self._world.links.part(one, other)
        self._world.scheduler.after(fault.for_ms, self._end_cut, fault)

    def _end_cut(self, fault: Cut) -> None:
        """The others' cuts go on; two that cut the same line end together."""
        network = self._world.network
        network.cut -= set(fault.pairs)
        if fault.witness and network.witness == fault.witness:
            network.witness = ""
            self._end_weather(Weather(muted="Commit"))
        for one, other in _both_ways(fault):
            self._world.links.meet(one, other)

    def _place(self, name: str) -> tuple[int, int]:
        """The height and view in which a node stands."""
        node = self._world.nodes[name]
        return (node.state.round.height, node.state.round.view) if node.is_up else (0, 0)

    def _locked(self, height: int) -> list[str]:
        """Who holds a prepared certificate at a height, that of the highest view last."""
        states = [(node.name, node.state) for node in self._world.nodes.values() if node.is_up]
        locks = [(state.round.lock, name) for name, state in states if state.round.height == height]
        return [name for _, name in sorted((lock.view, name) for lock, name in locks if lock)]


def _both_ways(fault: Cut) -> list[tuple[str, str]]:
    """The lines whose ends notice, each once."""
    pairs = set(fault.pairs)
    return [(a, b) for a, b in fault.pairs if fault.is_noticed and a < b and (b, a) in pairs]
