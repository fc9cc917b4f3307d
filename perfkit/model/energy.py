"""Energy: what a sensor said while a program was recorded, and the joules that follow from it."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["Carbon", "Energy", "SensorLog", "SensorSample"]


class SensorSample(NamedTuple):
    """What the sensor of one device said at a time.

    Attributes:
        time_ns: Nanoseconds since 1970.
        device: Index of the device.
        power_mw: Power in milliwatts; -1 where it is not said.
        energy_mj: Energy since the driver was loaded, in millijoules; -1 where it is not counted.
        clock_mhz: Clock of the processors; -1 where it is not said.
        busy_pct: Part of the time in which a kernel ran, as the driver has it; -1 where it is not said.
        memory_bytes: Memory in use; -1 where it is not said.
    """

    time_ns: int
    device: int
    power_mw: int = -1
    energy_mj: int = -1
    clock_mhz: int = -1
    busy_pct: int = -1
    memory_bytes: int = -1


class SensorLog(NamedTuple):
    """What sensors said, in order of time.

    Attributes:
        samples: The samples of all devices.
        names: Name of each device, by index.
        update_ns: The longest time that a value stands before the sensor renews it.
        duty: Part of that time over which the sensor averages power; the rest it does not see. 0 to 1.
        least_mw: The least power that a device takes.
        most_mw: The most, its enforced limit.
        idle_until_ns: Until when nothing of the program ran: the samples before are of an idle device.
        missing: Why there are no samples; empty where there are some.
    """

    samples: tuple[SensorSample, ...] = ()
    names: tuple[str, ...] = ()
    update_ns: int = 100_000_000
    duty: float = 1.0
    least_mw: int = 0
    most_mw: int = 0
    idle_until_ns: int = 0
    missing: str = ""


class Energy(NamedTuple):
    """The energy of one device over a window.

    Attributes:
        device: Index of the device.
        name: Its name.
        joules: The estimate.
        low_joules: The least that agrees with what the sensor said.
        high_joules: The most.
        idle_watts: What it takes when nothing runs; None where that was not measured.
        window_ns: Length of the window.
        steps: Steps in it; 0 for none.
        method: ``counter`` for the sensor's own sum, ``power`` for one over samples of power.
    """

    device: int
    name: str
    joules: float
    low_joules: float
    high_joules: float
    idle_watts: float | None
    window_ns: int
    steps: int
    method: str

    @property
    def idle_joules(self) -> float | None:
        """What it would have taken over the window without any work."""
        return None if self.idle_watts is None else self.idle_watts * self.window_ns / 1e9


class Carbon(NamedTuple):
    """What turns energy into carbon.

    Attributes:
        grams_per_kwh: Intensity of the grid in grams of CO2e a kWh.
        year: Of which year it is; None where that was not given.
        source: Where it is from; empty where that was not given.
        pue: Power usage effectiveness: what the building takes for each joule of its computers.
    """

    grams_per_kwh: float
    year: int | None = None
    source: str = ""
    pue: float = 1.0
