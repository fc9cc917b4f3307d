"""A service under load on a page: its latencies as a histogram, where requests spend their time, the rates tried."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, NamedTuple

from perfkit.model.quantity import count, duration
from perfkit.report.load import PARTS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from perfkit.model.load import Capacity, CapacityStep, Load, Quantiles

__all__ = ["Chart", "curve", "histogram", "splits"]

WIDTH, HEIGHT = 640, 190
LEFT, RIGHT, TOP, BOTTOM = 62, 14, 22, 26
BINS: Final = 56
COLOUR_OF_PART: Final = {
    "sending": "profiler_overhead",
    "queueing": "data_loading",
    "host_preparation": "python",
    "device": "compute",
    "device_wait": "synchronization",
    "response": "exposed_copy",
}
MULTIPLES: Final = (1, 2, 5)


class Box(NamedTuple):
    """A column of a histogram, and what to say of it."""

    x: float
    y: float
    width: float
    height: float
    title: str


class Mark(NamedTuple):
    """A place on an axis, or a point: where, and its text."""

    x: float
    y: float
    text: str
    bad: bool = False


class Chart(NamedTuple):
    """What is drawn: columns, or a line through points; ticks of both axes, and lines that stand for a number."""

    label: str
    columns: Sequence[Box] = ()
    points: Sequence[Mark] = ()
    line: str = ""
    below: Sequence[Mark] = ()
    beside: Sequence[Mark] = ()
    marks: Sequence[Mark] = ()
    width: int = WIDTH
    height: int = HEIGHT
    floor: int = HEIGHT - BOTTOM
    left: int = LEFT
    right: int = WIDTH - RIGHT


class Scale(NamedTuple):
    """Numbers to places, in proportion or by their logarithm."""

    low: float
    high: float
    start: float
    end: float
    logarithmic: bool = True

    def at(self, value: float) -> float:
        """Return the place of a number."""
        low, high, value = (
            (map(math.log, (self.low, self.high, value))) if self.logarithmic else (self.low, self.high, value)
        )
        part = (value - low) / (high - low) if high > low else 0.5
        return round(self.start + part * (self.end - self.start), 2)

    def ticks(self) -> list[float]:
        """Return round numbers of a logarithmic scale: some, if there would be many."""
        decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        several = MULTIPLES if len(decades) <= 4 else MULTIPLES[:1]  # noqa: PLR2004  twelve texts fit
        found = [multiple * 10.0**decade for decade in decades for multiple in several]
        return [value for value in found if self.low <= value <= self.high]


def histogram(load: Load) -> Chart | None:
    """Return the latencies, without a profiler, as columns of equal width on a logarithmic scale; None if unknown."""
    latency = load.stretch.latency
    found = list(recorded(latency))
    if not found:
        return None
    low, high = 0.9 * min(value for value, _ in found), 1.1 * max(value for value, _ in found)
    x = Scale(low, high, LEFT, WIDTH - RIGHT)
    each = (WIDTH - RIGHT - LEFT) / BINS
    counts = [0] * BINS
    for value, number in found:
        counts[min(int((x.at(value) - LEFT) / each), BINS - 1)] += number
    y = Scale(0, max(counts), HEIGHT - BOTTOM, TOP, logarithmic=False)
    edges = [low * (high / low) ** (place / BINS) for place in range(BINS + 1)]
    columns = [
        Box(
            round(LEFT + place * each, 2),
            y.at(number),
            round(each - 0.6, 2),
            round(HEIGHT - BOTTOM - y.at(number), 2),
            f"{duration(edges[place])} to {duration(edges[place + 1])}: {count(number, 'request')}",
        )
        for place, number in enumerate(counts)
        if number
    ]
    quantiles = (("P50", latency.p50_ns), ("P90", latency.p90_ns), ("P99", latency.p99_ns))
    return Chart(
        label=f"Latency of {count(latency.number, 'request')}, at most {duration(latency.max_ns)}",
        columns=columns,
        below=[Mark(x.at(value), 0, duration(value)) for value in x.ticks()],
        beside=[Mark(0, y.at(value), f"{value:,}") for value in sorted({0, max(counts)})],
        marks=[Mark(x.at(ns), 0, name) for name, ns in quantiles if low <= ns <= high],
    )


def recorded(latency: Quantiles) -> Iterable[tuple[int, int]]:
    """Yield the times that were recorded, ascending, and how often each; nothing where they cannot be read."""
    if not latency.histogram:
        return
    try:
        from hdrh.histogram import HdrHistogram
    except ImportError:
        return
    for bucket in HdrHistogram.decode(latency.histogram).get_recorded_iterator():
        yield int(bucket.value_iterated_to), int(bucket.count_added_in_this_iter_step)


def splits(load: Load) -> list[tuple[str, list[tuple[str, str, float]]]]:
    """Return bars, each with its name and its parts: colour, label and time."""
    if load.split is None or not load.split.mean_ns:
        return []
    rows = (("a request on average", load.split.mean_ns), ("the slowest tenth", load.split.tail_ns))
    return [(name, parts(times)) for name, times in rows if sum(times.values())]


def parts(times: Mapping[str, float]) -> list[tuple[str, str, float]]:
    """Return the parts of a request that take time."""
    return [(COLOUR_OF_PART.get(part, "other"), PARTS.get(part, part), ns) for part, ns in times.items() if ns > 0]


def curve(found: Capacity | None) -> Chart | None:
    """Return the quantile that has an objective over the rate that was asked for; None without steps."""
    steps = sorted(found.steps, key=lambda step: step.load.asked_per_s) if found else []
    steps = [step for step in steps if step.quantile_ns > 0]
    if found is None or not steps:
        return None
    limit = found.objective.limit_ns
    times = [*(step.quantile_ns for step in steps), limit]
    x = Scale(0, 1.05 * steps[-1].load.asked_per_s, LEFT, WIDTH - RIGHT, logarithmic=False)
    y = Scale(min(times) / 1.3, max(times) * 1.3, HEIGHT - BOTTOM, TOP)
    points = [
        Mark(
            x.at(step.load.asked_per_s),
            y.at(step.quantile_ns),
            said(step),
            bool(step.broke),
        )
        for step in steps
    ]
    line = "M" + "L".join(f"{point.x},{point.y}" for point in points)
    return Chart(
        label=f"P{100 * found.objective.quantile:g} of the latency, by requests a second",
        points=points,
        line=line,
        below=[Mark(x.at(step.load.asked_per_s), 0, f"{step.load.asked_per_s:.3g}") for step in apart(steps, x)],
        beside=[Mark(0, y.at(value), duration(value)) for value in y.ticks()],
        marks=[Mark(0, y.at(limit), f"objective {found.objective}")],
    )


def said(step: CapacityStep) -> str:
    """Say how a rate went."""
    broke = f", broken by {step.broke}" if step.broke else ""
    return f"{step.load.asked_per_s:.4g} requests/s: {duration(step.quantile_ns)}{broke}"


def apart(steps: Sequence[CapacityStep], x: Scale) -> list[CapacityStep]:
    """Return steps whose places on the axis leave room for their texts."""
    kept: list[CapacityStep] = []
    for step in steps:
        if not kept or x.at(step.load.asked_per_s) - x.at(kept[-1].load.asked_per_s) > 44:  # noqa: PLR2004  a text's width
            kept.append(step)
    return kept
