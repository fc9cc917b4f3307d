"""A sensor like NVML's, of a device whose energy is known: a counter that jumps, power averaged in part."""

from __future__ import annotations

import math
from dataclasses import dataclass

from perfkit.model.energy import SensorLog, SensorSample

FINEST = 1_000_000  # ns
SECOND = 1_000_000_000


@dataclass(frozen=True)
class Device:
    """A device that takes ``idle`` watts, ``busy`` watts for a part of each of its periods, from ``begins`` on."""

    idle: float
    busy: float
    period_ns: int
    part: float
    begins_ns: int
    update_ns: int = 100_000_000
    duty: float = 0.25
    phase_ns: int = 0
    counts: bool = True
    full_mj: int | None = None
    """Where the counter begins at nothing again."""

    def power(self, time_ns: int) -> float:
        """Watts at a moment."""
        if time_ns < self.begins_ns:
            return self.idle
        return self.busy if (time_ns - self.begins_ns) % self.period_ns < self.part * self.period_ns else self.idle

    def joules(self, start_ns: int, end_ns: int) -> float:
        """True energy, in closed form."""

        def since_begin(time_ns: int) -> float:
            time_ns = max(time_ns - self.begins_ns, 0)
            whole, rest = divmod(time_ns, self.period_ns)
            return (whole * self.part * self.period_ns + min(rest, self.part * self.period_ns)) / SECOND

        active = since_begin(end_ns) - since_begin(start_ns)
        return self.idle * (end_ns - start_ns) / SECOND + (self.busy - self.idle) * active

    def sample(self, time_ns: int) -> SensorSample:
        """What the sensor says at a moment: what it knew when it was renewed last."""
        renewed = (time_ns - self.phase_ns) // self.update_ns * self.update_ns + self.phase_ns
        seen = round(self.duty * self.update_ns)
        watts = self.joules(renewed - seen, renewed) / (seen / SECOND)
        energy = math.floor(1000 * self.joules(-10 * SECOND, renewed)) if self.counts else -1
        if self.full_mj is not None:
            energy %= self.full_mj
        return SensorSample(time_ns, 0, round(1000 * watts), energy)

    def log(self, end_ns: int, every_ns: int, first_ns: int = 0) -> SensorLog:
        """What a program that reads the sensor now and then would write down."""
        return SensorLog(
            samples=tuple(self.sample(time) for time in range(first_ns, end_ns, every_ns)),
            names=("simulated",),
            update_ns=self.update_ns,
            duty=self.duty,
            least_mw=round(1000 * self.idle),
            most_mw=round(1000 * self.busy),
            idle_until_ns=self.begins_ns,
        )
