"""Start and end of every row, relative to the earliest one, and which rows have no usable time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from perfkit.model.columns import MISSING_INT
from perfkit.model.trace import DEVICE_CATEGORIES, Category

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from perfkit.ingest.defects import DefectList

    NameOf = Callable[[int], str]

__all__ = ["clock_of", "ends", "rows_with_a_time", "shift_to_zero"]

_REACH_NS: Final = 2**61
"""73 years: no event is further from the others, and the sum of three of these still fits in 64 bits."""

_TIMELESS_NS: Final = 60 * 10**9
"""Rows at time 0 have no time if all others come more than a minute later; a clock that starts at 0 is no such case."""

_NAME_SHOWN: Final = 60

_YEAR_2000_NS: Final = 946_684_800 * 10**9
_YEAR_2100_NS: Final = 4_102_444_800 * 10**9


def rows_with_a_time(
    start: NDArray[np.int64], codes: NDArray[np.uint8], defects: DefectList, name_of: NameOf | None = None
) -> NDArray[np.bool_] | None:
    """Return a mask of the rows to keep, or None if that is all of them; ``name_of`` names a row in messages."""
    keep = _not_timeless(start, codes, defects, name_of)
    kept = start if keep is None else start[keep]
    if not len(kept) or int(kept.max()) - int(kept.min()) <= _REACH_NS:
        return keep
    middle = int(np.partition(kept, len(kept) // 2)[len(kept) // 2])
    near = start >= max(middle - _REACH_NS // 2, MISSING_INT)
    near &= start <= min(middle + _REACH_NS // 2, -MISSING_INT - 1)
    if keep is not None:
        near &= keep
    far = ~near if keep is None else ~near & keep
    defects.add("time_out_of_range", len(kept) - int(np.count_nonzero(near)), detail=_first(far, name_of))
    return near


def _not_timeless(
    start: NDArray[np.int64], codes: NDArray[np.uint8], defects: DefectList, name_of: NameOf | None
) -> NDArray[np.bool_] | None:
    if not len(start) or start.min() > 0:
        return None
    timed = start != 0
    next_ns = int(start.min(where=timed, initial=np.iinfo(np.int64).max))
    if timed.all() or not timed.any() or next_ns <= _TIMELESS_NS:
        return None
    on_device = ~timed & np.isin(codes, DEVICE_CATEGORIES)
    others = ~timed & ~on_device
    defects.add("activity_without_timestamps", int(np.count_nonzero(on_device)), detail=_first(on_device, name_of))
    defects.add("event_without_time", int(np.count_nonzero(others)), detail=_first(others, name_of))
    keep: NDArray[np.bool_] = timed
    return keep


def shift_to_zero(start: NDArray[np.int64]) -> int:
    """Make `start` relative to its minimum, in place; return the minimum."""
    if not len(start):
        return 0
    earliest = int(start.min())
    np.subtract(start, earliest, out=start)
    return earliest


def ends(
    start: NDArray[np.int64],
    duration: NDArray[np.int64],
    codes: NDArray[np.uint8],
    defects: DefectList,
    name_of: NameOf | None = None,
) -> NDArray[np.int64]:
    """Turn durations into ends, in place; a duration that cannot be used counts as 0.

    ``start`` is relative to the earliest row; ``name_of`` names a row in messages.
    """
    missing = duration == MISSING_INT
    negative = duration < 0
    negative &= ~missing
    missing &= codes != Category.MEMORY  # points in time
    defects.add("missing_duration", int(np.count_nonzero(missing)), detail=_first(missing, name_of, start))
    defects.add("negative_duration", int(np.count_nonzero(negative)), detail=_first(negative, name_of, start))
    np.maximum(duration, 0, out=duration)
    huge = duration > _REACH_NS
    defects.add("number_out_of_range", int(np.count_nonzero(huge)), detail=_first(huge, name_of, start))
    duration[huge] = 0
    return np.add(start, duration, out=duration)


def _first(rows: NDArray[np.bool_], name_of: NameOf | None, start: NDArray[np.int64] | None = None) -> str:
    """Say which of the rows is the first in the file, and when it starts; columns hold no offsets of rows."""
    if name_of is None or not rows.any():
        return ""
    row = int(np.argmax(rows))
    when = f" at {int(start[row]) / 1e6:.6f} ms" if start is not None else ""
    return f"first {name_of(row)[:_NAME_SHOWN]!r}{when}"


def clock_of(epoch_ns: int) -> str:
    """Return ``unix`` if this is a time of our century on that clock, else ``profiler``."""
    return "unix" if _YEAR_2000_NS <= epoch_ns < _YEAR_2100_NS else "profiler"
