"""Which car stands at which pile: a second car at a taken pile goes to a free one nearby, or waits for its own."""

import math
from collections.abc import Mapping

METRES_PER_DEGREE = 111_320
"""Along a meridian."""


class Parking:
    """The piles that are used today, by position, and which of them are taken."""

    def __init__(self, places_e7: Mapping[str, tuple[int, int]]) -> None:
        """Take pile name -> (latitude, longitude) in 1e-7 degree."""
        self._places = dict(places_e7)
        self._taken: set[str] = set()

    def take(self, wanted: str, reach_m: float = math.inf) -> str | None:
        """The wanted pile, or the nearest free one within reach (ties by name), which is taken from now on; None if
        there is none.
        """
        chosen = wanted if wanted not in self._taken else self._nearest(wanted, reach_m)
        if chosen is not None:
            self._taken.add(chosen)
        return chosen

    def free(self, pile: str) -> None:
        """The car has left."""
        self._taken.discard(pile)

    def _nearest(self, wanted: str, reach_m: float) -> str | None:
        near = ((self._distance_m(wanted, pile), pile) for pile in self._places if pile not in self._taken)
        distance_m, pile = min(near, default=(math.inf, ""))
        return pile if pile and distance_m <= reach_m else None

    def _distance_m(self, first: str, second: str) -> float:
        """Flat-earth distance: within a city it is right to a part in a thousand."""
        (latitude, longitude), (other_latitude, other_longitude) = self._places[first], self._places[second]
        north = (other_latitude - latitude) / 1e7
        east = (other_longitude - longitude) / 1e7 * math.cos(math.radians(latitude / 1e7))
        return math.hypot(north, east) * METRES_PER_DEGREE
