"""Batches: which of them worker processes load, when those arrived, and how soon after one another they could."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from perfkit.model.arrays import distinct

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from perfkit.model.program import Program

    Ints = NDArray[np.int64]

__all__ = ["Batches", "find_batches"]

MOST_HANDLING_NS: Final = 100_000
"""To take a batch from a queue of workers takes no longer, where all we see of it waits."""
CLEARLY: Final = 2
FOREVER: Final = 1 << 60
FEW: Final = 8
"""Of fewer late batches, nobody knows how long others may take to make."""


class Batches(NamedTuple):
    """The batches of a program, one for each span of loading, by thread, then time.

    Attributes:
        by_workers: Those that worker processes load.
        late: Of these the ones that were waited for.
        arrived: When each arrived, ns; of those not late, that they had arrived before they were taken is all we know.
        handling: How long it takes to take each from the queue, ns.
        first: The first one on the same thread.
        previous: The batch before on the same thread, or -1.
        previous_late: The last one before that was late, or -1.
        usual_making: How long after that one, or after the first was asked for, each usually arrives, ns: as often as
            a batch is made where that shows, which is where one was late; else 0.
        longest_making: The same, as batches are made that take longest; beyond anything where few are late.
    """

    by_workers: NDArray[np.bool_]
    late: NDArray[np.bool_]
    arrived: Ints
    handling: Ints
    first: Ints
    previous: Ints
    previous_late: Ints
    usual_making: Ints
    longest_making: Ints


def find_batches(program: Program) -> Batches:
    """Find when batches arrived from what their readers waited."""
    loading, by_workers = program.loading, program.loaded_by_workers
    lasted = loading.end - loading.start
    place = np.arange(len(lasted))
    first = np.append(True, loading.thread[1:] != loading.thread[:-1])[: len(place)]
    begins = np.maximum.accumulate(np.where(first, place, 0))
    handling = lasted.copy()
    for thread in distinct(loading.thread[by_workers]).tolist():
        mine = by_workers & (loading.thread == thread)
        handling[mine] = np.minimum(lasted[mine], min(int(lasted[mine].min()), MOST_HANDLING_NS))
    late = by_workers & (lasted > CLEARLY * handling)
    last_late = np.maximum.accumulate(np.where(late, place, -1))
    before = np.append(-1, last_late[:-1])[: len(place)]
    arrived = np.where(late, loading.end - handling, loading.start)
    previous_late = np.where(before >= begins, before, -1)
    since = np.where(previous_late >= 0, arrived[previous_late], loading.start[begins])
    behind = place - np.where(previous_late >= 0, previous_late, begins - 1)
    usual, longest = np.zeros(len(place), np.int64), np.zeros(len(place), np.int64)
    for thread in distinct(loading.thread[late]).tolist():
        mine, shown = loading.thread == thread, late & (loading.thread == thread)
        each = (arrived - since)[shown] / behind[shown]
        usual[mine] = np.rint(behind[mine] * np.median(each)).astype(np.int64)
        most = each.max() if len(each) >= FEW else FOREVER / len(mine)
        longest[mine] = np.rint(behind[mine] * most).astype(np.int64)
    return Batches(
        by_workers=by_workers,
        late=late,
        arrived=arrived,
        handling=handling,
        first=begins,
        previous=np.where(first, -1, place - 1),
        previous_late=previous_late,
        usual_making=usual,
        longest_making=longest,
    )
