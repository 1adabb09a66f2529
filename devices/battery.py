"""How a vehicle's battery takes energy: constant power up to a state of charge, then a taper to the cut-off at full.

Lithium-ion chargers hold the current until the cell voltage reaches its limit and then the voltage, so power falls
about in line with the rest of the charge. With limits from pile, vehicle and load command cutting the curve, power over
time is constant and then exponential; both are solved in closed form, so a step may be a second or an hour. Floating
point: this is a device's surroundings, nothing agreed on.
"""

import math

from msgspec import Struct

MS_PER_HOUR = 3_600_000


class Battery(Struct):
    """A battery at one moment. Energies in Wh, powers in W, times in ms."""

    capacity_wh: float
    energy_wh: float
    """What it holds now."""
    peak_power_w: float
    """Most that the cells take, below the taper."""
    vehicle_power_w: float
    """Most that the vehicle's charger or inlet takes."""
    taper_soc: float = 0.8
    """State of charge at which the taper begins."""
    cutoff: float = 0.03
    """Part of the peak power at which charging ends: the battery is full."""

    @classmethod
    def wanting(cls, energy_wh: float, vehicle_power_w: float, capacity_wh: float = 60_000) -> "Battery":
        """A battery of 60 kWh (or as large as needed) that takes `energy_wh` until it is full, with cells good for
        one hour's rate.
        """
        capacity = max(capacity_wh, energy_wh / 0.95)
        return cls(capacity, capacity - energy_wh, capacity, vehicle_power_w)

    @property
    def wanted_wh(self) -> float:
        """Energy until full."""
        return max(0.0, self.capacity_wh - self.energy_wh)

    def power_w(self, limit_w: float) -> float:
        """Power that it takes now under the pile's limit."""
        if self.wanted_wh <= 0:
            return 0.0
        return max(0.0, min(limit_w, self.vehicle_power_w, self.peak_power_w, self._curve_w(self.energy_wh)))

    def charge(self, limit_w: float, duration_ms: float) -> float:
        """Take energy for a while under a limit; returns what was taken, in Wh."""
        power = self.power_w(limit_w)
        if power <= 0 or duration_ms <= 0:
            return 0.0
        taken = 0.0
        steady_wh = max(0.0, self._knee_wh(power) - self.energy_wh)
        steady_ms = min(duration_ms, steady_wh / power * MS_PER_HOUR)
        taken += power * steady_ms / MS_PER_HOUR
        rest_ms = duration_ms - steady_ms
        if rest_ms > 0:
            # de/dt = slope * (zero - e): exponential towards `zero`, cut off at full.
            gap = self._zero_wh - (self.energy_wh + taken)
            taken += gap * -math.expm1(-self._slope * rest_ms / MS_PER_HOUR)
        taken = min(taken, self.wanted_wh)
        self.energy_wh += taken
        return taken

    def ms_until(self, energy_wh: float, limit_w: float) -> float:
        """Time until `energy_wh` more is taken under a limit: infinite where it never is."""
        power = self.power_w(limit_w)
        if energy_wh <= 0:
            return 0.0
        if power <= 0 or energy_wh > self.wanted_wh + 1e-9:
            return math.inf
        steady_wh = min(energy_wh, max(0.0, self._knee_wh(power) - self.energy_wh))
        rest_wh = energy_wh - steady_wh
        time_ms = steady_wh / power * MS_PER_HOUR
        if rest_wh > 0:
            gap = self._zero_wh - (self.energy_wh + steady_wh)
            time_ms += -math.log1p(-rest_wh / gap) / self._slope * MS_PER_HOUR
        return time_ms

    @property
    def _slope(self) -> float:
        """Loss of power per energy in the taper, 1/h."""
        return self.peak_power_w * (1 - self.cutoff) / (self.capacity_wh * (1 - self.taper_soc))

    @property
    def _zero_wh(self) -> float:
        """Energy at which the taper's line would reach no power: a little past full."""
        return self.capacity_wh + self.peak_power_w * self.cutoff / self._slope

    def _curve_w(self, energy_wh: float) -> float:
        return self._slope * (self._zero_wh - energy_wh)

    def _knee_wh(self, power_w: float) -> float:
        """Energy at which the taper cuts below `power_w`."""
        return min(self.capacity_wh, self._zero_wh - power_w / self._slope)
