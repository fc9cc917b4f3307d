"""What a repair really gains: a program and its twin in turns, without the profiler, and how sure that is."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.gallery.actor import Actor
    from benchmarks.programs import Pair

ROUND_NS: Final = 150_000_000
"""About how long a round is for each of the two."""
FIRST_STEPS: Final = 4
"""Steps to learn from how long one takes."""
RESAMPLES: Final = 10_000
CONFIDENCE: Final = 0.95


@dataclass(frozen=True)
class Gain:
    """The part of a step that a repair saves, 0 to 1: the median of the rounds, and its confidence interval.

    Attributes:
        share: The median over the rounds of 1 - repaired / faulty.
        low: Lower end of the interval in which that median lies, at 95 %, by the bootstrap.
        high: Its upper end.
        n: The rounds.
        faulty_ns: Time of one item in the median round of the faulty program.
        repaired_ns: The same of the repaired twin.
    """

    share: float
    low: float
    high: float
    n: int
    faulty_ns: float
    repaired_ns: float

    @classmethod
    def of(cls, faulty_ns: Sequence[float], repaired_ns: Sequence[float]) -> Gain:
        """Compare round by round: what slows the machine down slows both down."""
        shares = 1 - np.array(repaired_ns) / np.array(faulty_ns)
        drawn = np.random.default_rng(0).integers(0, len(shares), (RESAMPLES, len(shares)))
        medians = np.median(shares[drawn], axis=1)
        low, high = np.quantile(medians, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
        medians_ns = statistics.median(faulty_ns), statistics.median(repaired_ns)
        return cls(float(np.median(shares)), float(low), float(high), len(shares), *medians_ns)


def measure(pair: Pair, faulty: Actor, repaired: Actor, rounds: int) -> Gain:
    """Time both in turns, each first in every other round."""
    actors = {"faulty": faulty, "repaired": repaired}
    steps = {role: steps_for(pair, actor, ROUND_NS) for role, actor in actors.items()}
    item_ns: dict[str, list[float]] = {role: [] for role in actors}
    for at in range(rounds):
        for role in sorted(actors, reverse=bool(at % 2)):
            took_ns = actors[role].time(pair.settling_steps, steps[role])
            item_ns[role].append(took_ns / steps[role] / pair.items[role])
    return Gain.of(item_ns["faulty"], item_ns["repaired"])


def steps_for(pair: Pair, actor: Actor, wanted_ns: int) -> int:
    """Return how many steps take about that long: whole periods, at least one."""
    first = -(-FIRST_STEPS // pair.period) * pair.period
    actor.time(pair.settling_steps, first)
    step_ns = actor.time(pair.settling_steps, first) / first
    return max(1, round(wanted_ns / step_ns / pair.period)) * pair.period
