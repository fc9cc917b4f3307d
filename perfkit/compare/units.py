"""The times of a side, each per unit: a step, or the whole recording where there are no steps."""

from __future__ import annotations

from fractions import Fraction
from itertools import chain
from typing import TYPE_CHECKING

from perfkit.model.attribution import BUSY_CLASSES
from perfkit.model.difference import Side

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from perfkit.model.attribution import Attribution, Timeline
    from perfkit.model.diagnosis import Diagnosis
    from perfkit.model.difference import Run

__all__ = ["apportion", "main_timeline", "owners", "samples", "side", "step_lengths", "timelines", "units"]


def timelines(attribution: Attribution) -> list[Timeline]:
    """Return the timelines that have a window; where some have steps, those."""
    lines = [line for line in attribution.timelines if line.window_ns]
    return [line for line in lines if line.steps] or lines


def units(attribution: Attribution) -> int:
    """Return how many units the tables of a recording sum over: the steps, or the whole, of each timeline."""
    return sum(len(line.steps) or 1 for line in timelines(attribution)) or 1


def owners(runs: Sequence[Run]) -> dict[str, Fraction]:
    """Return the time of every busy class and idle cause in one unit, averaged over timelines and then over runs."""
    total: dict[str, Fraction] = {}
    for run in runs:
        lines = timelines(run.diagnosis.attribution)
        for line in lines:
            weight = Fraction(1, max(len(line.steps), 1) * len(lines) * len(runs))
            for name, ns in chain(line.busy.items(), line.idle.items()):
                total[name] = total.get(name, Fraction()) + ns * weight
    return total


def apportion(parts: Mapping[str, Fraction]) -> dict[str, int]:
    """Round parts to integers whose sum is that of the parts, rounded: those nearest to the next integer go up."""
    rounded = {name: int(part) for name, part in parts.items()}
    missing = round(sum(parts.values())) - sum(rounded.values())
    for name in sorted(parts, key=lambda name: (rounded[name] - parts[name], name))[:missing]:
        rounded[name] += 1
    return rounded


def main_timeline(diagnosis: Diagnosis) -> Timeline | None:
    """Return the timeline that the verdict of the diagnosis speaks of, if it has a window, else the first that has."""
    lines = timelines(diagnosis.attribution)
    return next((line for line in lines if line.id == diagnosis.advice.timeline), lines[0] if lines else None)


def step_lengths(runs: Sequence[Run]) -> list[float]:
    """Return the length of each step of all runs: the mean over timelines with equally many, else the main one's."""
    lengths = []
    for run in runs:
        lines = timelines(run.diagnosis.attribution)
        if len({len(line.steps) for line in lines}) > 1:
            lines = [line for line in (main_timeline(run.diagnosis),) if line]
        columns = zip(*([step.end_ns - step.start_ns for step in line.steps] for line in lines), strict=True)
        lengths += [sum(column) / len(column) for column in columns]
    return lengths


def samples(runs: Sequence[Run]) -> list[float]:
    """Return the length of the unit in each run."""
    return [float(sum(owners([run]).values())) for run in runs]


def side(runs: Sequence[Run], times: Mapping[str, int]) -> Side:
    """Describe a side whose unit has these times."""
    of_trace = [run.diagnosis.trace for run in runs]
    lines = [timelines(run.diagnosis.attribution) for run in runs]
    named = {line.device_name for run in lines for line in run if line.kind == "device"}
    listed = {device.name for trace in of_trace for device in trace.hardware}  # a device may go by another number there
    busy_ns = sum(times.get(name, 0) for name in BUSY_CLASSES)
    return Side(
        paths=tuple(trace.path for trace in of_trace),
        formats=tuple(dict.fromkeys(trace.format for trace in of_trace)),
        devices=tuple(sorted((named - {""}) or (listed - {""}))),
        kind="device" if any(line.kind == "device" for run in lines for line in run) else "host_thread",
        timelines=max(len(run) for run in lines),
        runs=len(runs),
        steps=sum(max((len(line.steps) for line in run), default=0) for run in lines),
        unit_ns=sum(times.values()),
        busy_ns=busy_ns,
        idle_ns=sum(times.values()) - busy_ns,
    )
