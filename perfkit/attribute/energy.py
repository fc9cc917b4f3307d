"""From what a sensor said to joules over a window, with the interval that the sensor's own limits leave.

A counter of energy stands still for up to an update period and then jumps to the true sum. So at any moment the true
sum is at least what the counter says, and at most what it says one period later; two moments give both ends of the
interval. Power is an average over a part of each period (a quarter of it on recent chips: Yang et al., "Part-time Power
Measurements", 2023): what happened in the rest lies between the least and the most that the device can take.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from itertools import pairwise
from statistics import fmean, median
from typing import TYPE_CHECKING

from perfkit.model.energy import Energy

if TYPE_CHECKING:
    from collections.abc import Sequence

    from perfkit.model.energy import SensorLog, SensorSample

__all__ = ["measure_energy"]


def measure_energy(log: SensorLog, start_ns: int, end_ns: int, steps: int) -> tuple[Energy, ...]:
    """Return the energy of each device over a window; none where its sensor says too little.

    Args:
        log: What sensors said.
        start_ns: Beginning of the window, nanoseconds since 1970.
        end_ns: End of it.
        steps: Steps in the window.
    """
    found = []
    for device in sorted({sample.device for sample in log.samples}):
        samples = [sample for sample in log.samples if sample.device == device]
        counted = [sample for sample in samples if sample.energy_mj >= 0]
        powered = [sample for sample in samples if sample.power_mw >= 0]
        method, bounds = "counter", by_counter(counted, log, start_ns, end_ns)
        if bounds is None:
            method, bounds = "power", by_power(powered, log, start_ns, end_ns)
        if bounds is None:
            continue
        name = log.names[device] if device < len(log.names) else f"device {device}"
        joules, low, high = (value / 1000 for value in bounds)
        idle = idle_watts(powered, log)
        found.append(Energy(device, name, joules, low, high, idle, end_ns - start_ns, steps, method))
    return tuple(found)


def by_counter(
    samples: Sequence[SensorSample], log: SensorLog, start_ns: int, end_ns: int
) -> tuple[float, float, float] | None:
    """Return estimate, least and most in millijoules, by the counter; None where it does not cover the window.

    Nor where it fell meanwhile: it begins at nothing again when the driver is loaded, or when it is full.
    """
    first, last = places_at(samples, log, start_ns), places_at(samples, log, end_ns)
    if first is None or last is None:
        return None
    counted = [sample.energy_mj for sample in samples[first[0] : last[1] + 1]]
    if any(later < earlier for earlier, later in pairwise(counted)):
        return None
    start, end = ([samples[place].energy_mj for place in places] for places in (first, last))
    low, high = max(0, end[0] - start[1]), end[1] - start[0]
    return min(max((sum(end) - sum(start)) / 2, low), high), low, high


def places_at(samples: Sequence[SensorSample], log: SensorLog, time_ns: int) -> tuple[int, int] | None:
    """Return the samples between which the true sum of energy lies at a moment."""
    before = bisect_right(samples, time_ns, key=lambda sample: sample.time_ns) - 1
    after = bisect_left(samples, time_ns + log.update_ns, key=lambda sample: sample.time_ns)
    if before < 0 or after >= len(samples):
        return None
    return before, after


def by_power(
    samples: Sequence[SensorSample], log: SensorLog, start_ns: int, end_ns: int
) -> tuple[float, float, float] | None:
    """Return estimate, least and most in millijoules, by samples of power; None where they do not cover the window.

    What was seen counts with the part of the time that the sensor sees; the rest lies between the device's limits. A
    value stands for an update period, so that at either end of the window as much again is not known.
    """
    inside = [sample for sample in samples if start_ns <= sample.time_ns <= end_ns + log.update_ns]
    if not inside or not samples or samples[0].time_ns > start_ns or samples[-1].time_ns < end_ns:
        return None
    powers = [sample.power_mw for sample in inside]
    seconds = (end_ns - start_ns) / 1e9
    blind = (1 - log.duty) * seconds + log.duty * min(seconds, 2 * log.update_ns / 1e9)
    low = min(powers) * (seconds - blind) + min(log.least_mw, *powers) * blind
    high = max(powers) * (seconds - blind) + max(log.most_mw, *powers) * blind
    return fmean(powers) * seconds, low, high


def idle_watts(samples: Sequence[SensorSample], log: SensorLog) -> float | None:
    """Return what the device takes when nothing runs, from before the program began."""
    before = [sample.power_mw for sample in samples if sample.time_ns < log.idle_until_ns]
    return median(before) / 1000 if before else None
