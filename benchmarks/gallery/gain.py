"""What a repair really gains: a program and its twin in turns, without the profiler, and how sure that is."""

from __future__ import annotations

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
QUIET: Final = 0.25
"""Part of the rounds that are as fast or faster."""


@dataclass(frozen=True)
class Gain:
    """The part of a step that a repair saves, 0 to 1, while nobody else is at work, and its confidence interval.

    Whoever shares the machine makes rounds longer and never shorter, and of recordings the fastest is taken, too: the
    first quartile of the rounds counts.

    Attributes:
        share: 1 - repaired / faulty.
        low: Lower end of the interval in which that lies, at 95 %, by the bootstrap over rounds.
        high: Its upper end.
        n: The rounds.
        faulty_ns: Time of one item of the faulty program.
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
        """Compare the two, of rounds that they did in turns."""
        both = np.array((faulty_ns, repaired_ns))
        drawn = np.random.default_rng(0).integers(0, both.shape[1], (RESAMPLES, both.shape[1]))
        faulty, repaired = np.quantile(both[:, drawn], QUIET, axis=2)
        low, high = np.quantile(1 - repaired / faulty, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2]).tolist()
        faulty_quiet, repaired_quiet = np.quantile(both, QUIET, axis=1).tolist()
        return cls(1 - repaired_quiet / faulty_quiet, low, high, len(faulty_ns), faulty_quiet, repaired_quiet)


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
