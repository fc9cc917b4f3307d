"""Delays of devices that show only where nothing else held an activity up: what they usually are, and draws of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from perfkit.model import arrays
from perfkit.model.trace import Category

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from perfkit.model.program import Activities, Program
    from perfkit.simulate.streams import Streams

    Ints = NDArray[np.int64]
    Numbers = NDArray[np.int32]

__all__ = ["Delays", "Draws", "Seen", "in_graphs"]

SURELY, LIKELY = 0.9, 0.5
"""So many launches get there sooner than one whose stream was not free yet."""
CLEARLY_NS: Final = 5_000
"""What began so long after nine in ten launches would have got there had paused; shorter pauses do not show."""
UNKNOWN_LATENCY_NS: Final = 5_000
UNKNOWN_QUEUE_NS: Final = 1_500
KERNELS, COPIES, COLLECTIVES, IN_GRAPHS = range(4)
CLASSES: Final = 4
FEW: Final = 8
"""Of a class that shows fewer delays, as many of all as are missing are drawn as well."""
HARDLY_ANY: Final = 3
"""Fewer pauses of a queue than that may all have been waits for something else."""
KEPT: Final = 1024
SIZE: Final = 256
LANES: Final = 101
NODES: Final = 1_000_000
"""Lanes times nodes are no more, as long as there are a few lanes: what many draws add up to differs little."""
FEWEST_LANES: Final = 5
USUAL: Final = 9
"""Of so many delays all are taken to be usual, and one more for unusual, until so many are seen;"""
LATE: Final = 10
"""What began so many times later than usual had waited for something that is not seen."""
UNSEEN: Final = 300
"""which in a queue is up to so many times the usual one: all scales are as likely."""
SEED: Final = 15


class Delays(NamedTuple):
    """What delays are taken to be, ns by activity.

    Attributes:
        latency: From the launch to the start, where nothing else held it up.
        queue: From the end of what was waited for to the start.
    """

    latency: Ints
    queue: Ints


class Draws(NamedTuple):
    """Tables to draw delays from: ``values`` ``[lanes, tables, size]``, and the table of each activity's delays.

    Of the first lane, every value is the usual one.
    """

    values: Ints
    latency: Numbers
    queue: Numbers


class Seen(NamedTuple):
    """The delays that activities show, by class, and the class of each activity.

    ``likely`` are the pauses in queues of all that likely queued, not only of what surely did: how often pauses are
    long shows there, and how long short ones are does not, so that these are as long as those of what surely queued.
    """

    kind: Numbers
    latency: tuple[Ints, ...]
    queue: tuple[Ints, ...]
    likely: tuple[Ints, ...]

    @classmethod
    def find(cls, program: Program, streams: Streams, links: tuple[Ints, Ints] | None = None) -> Seen:
        """Measure delays on the activities that show them.

        Args:
            program: The program.
            streams: Its streams.
            links: Pairs of activities of which the second waits for the first, on another stream, as far as known.
        """
        activities = program.activities
        before, launched = streams.before, streams.launched
        free = np.where(before >= 0, activities.end[before], np.iinfo(np.int64).min) if len(before) else before
        if links is not None:
            np.maximum.at(free, links[1], activities.end[links[0]])
        linked = activities.call >= 0
        at_once = linked & (free <= launched)
        copies = program.calls.is_copy[activities.call] & linked if len(program.calls.row) else linked
        collectives = activities.communicates & (activities.category != Category.MEMCPY)
        kind = np.where(collectives, COLLECTIVES, np.where(copies, COPIES, KERNELS)).astype(np.int32)
        kind[in_graphs(activities)] = IN_GRAPHS
        latency = of_classes(activities.start - launched, kind, at_once)
        # When a launch got there, its stream was not free: surely, or likely.
        late, usual = (delay_of(latency, quantile) for quantile in (SURELY, LIKELY))
        surely, likely = (linked & (free > launched + some[kind]) for some in (late, usual))
        long = likely & (activities.start - launched > late[kind] + CLEARLY_NS)
        queue = of_classes(activities.start - free, kind, surely)
        shown = of_classes(activities.start - free, kind, surely | long)
        short = np.bincount(kind[likely & ~surely & ~long], minlength=CLASSES)
        return cls(kind, latency, queue, tuple(map(with_short, shown, queue, short.tolist())))

    def delays(self, quantile: float) -> Delays:
        """Return a quantile of what delays were."""
        latency = delay_of(self.latency, quantile)
        queue = [quantile_of(some, quantile, UNKNOWN_QUEUE_NS, HARDLY_ANY) for some in self.queue]
        return Delays(latency[self.kind], np.array(queue)[self.kind])

    def mean_pauses(self, most: int) -> Ints:
        """Return the mean pause of a queue, were none longer than ``most``."""
        means = [np.minimum(some, most).mean() if len(some) else most for some in with_others(self.queue)]
        return np.array(means, np.int64)[self.kind]

    def draws(self, nodes: int) -> Draws:
        """Return tables for a graph of so many nodes."""
        lanes = min(LANES, max(FEWEST_LANES, NODES // max(nodes, 1)))
        chooser = np.random.default_rng(SEED)
        found = []
        for own, seen in zip(self.latency, with_others(self.latency), strict=True):
            usual = quantile_of(own, 0.5, UNKNOWN_LATENCY_NS)
            unseen = chooser.integers(0, 2 * UNKNOWN_LATENCY_NS, lanes)
            found.append(table(chooser, seen[seen <= LATE * max(usual, UNKNOWN_LATENCY_NS)], usual, unseen))
        for own, seen in zip(self.queue, with_others(self.likely), strict=True):
            usual = quantile_of(own, 0.5, UNKNOWN_QUEUE_NS, HARDLY_ANY)
            least = max(usual, UNKNOWN_QUEUE_NS)
            unseen = (least * UNSEEN ** chooser.random(lanes)).astype(np.int64)
            found.append(table(chooser, seen[seen <= UNSEEN * least], usual, unseen))
        values = np.stack(found, axis=1)
        return Draws(np.ascontiguousarray(values), self.kind, self.kind + np.int32(CLASSES))


def in_graphs(activities: Activities) -> NDArray[np.bool_]:
    """Mark what a graph has launched: many activities by one call."""
    linked = activities.call >= 0
    count = np.bincount(activities.call[linked], minlength=1)
    found: NDArray[np.bool_] = linked & (count[np.maximum(activities.call, 0)] > 1)
    return found


def delay_of(latency: Sequence[Ints], quantile: float) -> Ints:
    """Return a quantile of the latency of each class."""
    return np.array([quantile_of(some, quantile, UNKNOWN_LATENCY_NS) for some in latency])


def with_short(shown: Ints, sure: Ints, count: int) -> Ints:
    """Return pauses that are shown, and ``count`` short ones, as long as those among the ``sure`` ones."""
    short = sure[sure <= CLEARLY_NS]
    return np.append(shown, np.resize(short, count) if len(short) else np.full(count, UNKNOWN_QUEUE_NS))


def of_classes(values: Ints, kind: Numbers, shown: NDArray[np.bool_]) -> tuple[Ints, ...]:
    """Return the values that are shown, by class."""
    return tuple(values[shown & (kind == one)] for one in range(CLASSES))


def with_others(by_class: Sequence[Ints]) -> list[Ints]:
    """Return the values of each class, filled up by those of all, at equal distances, where it has few."""
    everything = np.sort(np.concatenate(by_class))
    found = []
    for some in by_class:
        missing = min(max(FEW - len(some), 0), len(everything))
        places = ((np.arange(missing) + 0.5) / max(missing, 1) * len(everything)).astype(np.int64)
        found.append(np.append(some, everything[places]))
    return found


def quantile_of(values: Ints, quantile: float, unknown: int, least: int = 1) -> int:
    """Return a quantile of what was measured, with what is usual elsewhere where that is less than ``least`` values."""
    padding = least if len(values) < least else 0
    return int(arrays.quantile(np.append(values, np.full(padding, unknown)), quantile))


def table(chooser: np.random.Generator, seen: Ints, usual: int, unseen: Ints) -> Ints:
    """Return ``[lanes, size]`` draws of a delay, of what was ``seen`` and one for each lane that was not.

    Each lane has another view of how often what was seen comes about.
    """
    lanes = len(unseen)
    if len(seen) > KEPT:
        seen = np.sort(seen)[np.linspace(0, len(seen) - 1, KEPT).astype(np.int64)]
    known = np.append(seen, np.full(max(USUAL - len(seen), 0), usual))
    pool = np.concatenate((np.tile(known, (lanes, 1)), unseen[:, None]), axis=1)
    count = len(known) + 1
    view = np.take_along_axis(pool, chooser.integers(0, count, (lanes, count)), axis=1)
    found: Ints = np.take_along_axis(view, chooser.integers(0, count, (lanes, SIZE)), axis=1)
    found[0] = usual
    return found
