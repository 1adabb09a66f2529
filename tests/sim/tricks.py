"""All tricks of Byzantine members by name."""

from tests.sim.forgeries import FORGERIES
from tests.sim.lies import LIES, Trick

TRICKS: dict[str, type[Trick]] = {**LIES, **FORGERIES}
