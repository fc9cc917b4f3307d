"""Process ids that several programs share, as where ranks that each ran in a container of its own were merged."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from perfkit.attribute.work import Calls

    Ints = NDArray[np.int64]

__all__ = ["mixed_processes", "repeated_launches"]

FEW: Final = 0.01
"""Up to this part of the calls of one program may look like those of two: recordings have faults."""
ROUNDING_NS: Final = 1_000
"""Calls of one thread can seem to overlap by this much, where times were rounded to microseconds."""


def repeated_launches(calls: Calls) -> Ints:
    """Return the launches that bear the correlation of an earlier one of their process, by process."""
    launching = np.flatnonzero(calls.with_activity | (calls.launches & (calls.correlation >= 0)))
    process, correlation = calls.process[launching], calls.correlation[launching]
    order = np.lexsort((correlation, process))
    process, correlation = process[order], correlation[order]
    again = np.flatnonzero((correlation[1:] == correlation[:-1]) & (process[1:] == process[:-1])) + 1
    found: Ints = launching[order[again]]
    return found


def mixed_processes(calls: Calls) -> frozenset[int]:
    """Return the processes that seem to be several programs.

    Of one program correlations do not repeat, and the calls of a thread lie one after or within another.
    """
    if not len(calls.row):
        return frozenset()
    most = FEW * np.bincount(calls.process)
    strange = np.zeros(len(calls.row), bool)
    strange[repeated_launches(calls)] = True
    strange[crossing_calls(calls)] = True
    return frozenset(np.flatnonzero(np.bincount(calls.process[strange], minlength=len(most)) > most).tolist())


def crossing_calls(calls: Calls) -> Ints:
    """Return the calls that begin inside the one before on their thread and end after it."""
    order = np.argsort(calls.thread, kind="stable")
    thread, start, end = calls.thread[order], calls.start[order], calls.end[order]
    inside = (thread[1:] == thread[:-1]) & (start[1:] < end[:-1]) & (end[1:] > end[:-1] + ROUNDING_NS)
    return order[np.flatnonzero(inside) + 1]
