"""What calls wait for: their own copy, the work of one stream, or that of all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from perfkit.model import arrays
from perfkit.model.arrays import distinct
from perfkit.model.columns import MISSING_SMALL
from perfkit.model.program import WAITS
from perfkit.simulate.streams import by_call, last_before, last_launch

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from perfkit.model.program import Program
    from perfkit.simulate.streams import Streams

    Ints = NDArray[np.int64]

__all__ = ["WaitTimes", "Waits", "find_waits", "wait_times", "waiting_calls"]

SKEW_NS: Final = 20_000
"""A call that waited for something can be recorded to return so long before its end: the clocks differ."""
MICROSECOND: Final = 1_000
"""Some traces have whole ones, for beginnings and for lengths."""
MOST_STREAMS: Final = 64
"""Of more streams in a process, a call that waits for one of them is looked up among those with most work."""
UNKNOWN_NS: Final = 5_000
CLOSE: Final = 2
UNKNOWN_SPREAD: Final = (0.2, 1, 2)
FEW: Final = 8
STREAM, DEVICE = WAITS.index("stream"), WAITS.index("device")


class Waits(NamedTuple):
    """Pairs of a call and an activity that it waits for; a call can have several, or none.

    Not ``sure`` are those of a call that was not held up, and may as well have waited for another device.
    """

    call: Ints
    activity: Ints
    sure: NDArray[np.bool_]


class WaitTimes(NamedTuple):
    """How long calls that wait usually take, ns: ``own`` with nothing to wait for, ``back`` after what is."""

    own: Ints
    back: Ints


def waiting_calls(program: Program) -> NDArray[np.bool_]:
    """Mark the calls that wait: those known to, and copies that returned after their end although they had to queue.

    A copy from or to pageable memory may call itself asynchronous; that it waits shows when its stream was not free,
    and when it was long. A short one of the same kind waits as well, if none is seen not to, or if it returned as soon
    after its end as those that are seen to.
    """
    calls, activities = program.calls, program.activities
    waiting: NDArray[np.bool_] = program.waits != 0
    copies = np.flatnonzero(activities.call >= 0)
    copies = copies[calls.is_copy[activities.call[copies]]]
    call = activities.call[copies]
    after = calls.end[call] >= activities.end[copies]
    queued = activities.start[copies] - calls.start[call] > SKEW_NS
    long = activities.end[copies] - activities.start[copies] > SKEW_NS
    shown = after & (queued | long)
    back, kind = calls.end[call] - activities.end[copies], activities.name[copies].astype(np.int64)
    alike = np.isin(kind, kind[shown]) & ~np.isin(kind, kind[~after])
    if shown.any():
        soon = (back >= back[shown].min() / CLOSE) & (back <= back[shown].max() * CLOSE)
        alike |= soon & np.isin(kind, kind[shown])
    waiting[call[shown | (after & alike)]] = True
    return waiting


def find_waits(program: Program, streams: Streams, waiting: NDArray[np.bool_]) -> Waits:
    """Find what each waiting call waited for."""
    activities, calls = program.activities, program.calls
    own = waiting & (program.waits != STREAM) & (program.waits != DEVICE)
    copies = np.flatnonzero(activities.call >= 0)
    copies = copies[own[activities.call[copies]]]
    found = [(activities.call[copies], copies)]
    clocks_agree = len(copies) > 0 and bool((activities.end[copies] <= calls.end[activities.call[copies]]).all())
    for process in distinct(calls.process[waiting]).tolist():
        mine = np.flatnonzero(streams.process == process)
        size = np.diff(streams.bounds)[mine]
        mine = mine[np.argsort(-size, kind="stable")[:MOST_STREAMS]]
        for kind in (STREAM, DEVICE):
            some = np.flatnonzero((program.waits == kind) & (calls.process == process))
            if len(some) and len(mine):
                only_one = kind == STREAM
                found += of_streams(program, streams, some, mine, only_one=only_one, clocks_agree=clocks_agree)
    call, activity = (np.concatenate(ends) for ends in zip(*found, strict=True))
    sure = own.copy()
    sure[call[activities.end[activity] > calls.start[call]]] = True
    (owner, _), _ = np.unique(np.stack((activities.owner, activities.device)), axis=1, return_index=True)
    process, devices = np.unique(owner, return_counts=True)
    return Waits(call, activity, sure[call] | ~np.isin(calls.process[call], process[devices > 1]))


def crossing_waits(program: Program, streams: Streams, waits: Waits) -> Ints:
    """Return the waits for a stream that another thread than the waiting one launches on."""
    stream, thread = streams.threads(program).T
    of, by = streams.of[waits.activity], program.calls.thread[waits.call]
    others = np.bincount(stream, minlength=len(streams.bounds))[of]
    own = np.isin(of * len(program.process_of_thread) + by, stream * len(program.process_of_thread) + thread)
    known = np.isin(program.waits[waits.call], (STREAM, DEVICE))
    return np.flatnonzero((others > own) & known)


def of_streams(
    program: Program, streams: Streams, some: Ints, mine: Ints, *, only_one: bool, clocks_agree: bool
) -> list[tuple[Ints, Ints]]:
    """Return pairs of the calls ``some`` and the last work handed before to the streams ``mine``, or to one of them.

    Work that went on after the call had returned is none that it waited for, unless clocks may differ by as much; and
    work without a known launch that had ended before it, or hardly held it up, may in another run come after it. Which
    stream a call waited for is that of the record, where there is one; else the one whose work ended last before it
    returned, or, where nothing held it up, the one that its thread last launched on. So is it with devices.
    """
    activities, calls = program.activities, program.calls
    last = np.stack([last_before(program, streams, stream, calls.start[some]) for stream in mine.tolist()])
    end = np.where(last >= 0, activities.end[last], np.iinfo(np.int64).min)
    goes_on = end > calls.end[some] + SKEW_NS
    if clocks_agree:
        after = end > calls.end[some] + (0 if (activities.end % MICROSECOND).any() else 2 * MICROSECOND)
        goes_on |= after & ((last >= 0) & ~after).any(axis=0)
    if not only_one:
        device = activities.device[streams.order[streams.bounds[mine]]]
        for one in distinct(device).tolist():
            goes_on[device == one] = goes_on[device == one].any(axis=0)
    over = (activities.call[last] < 0) & (end <= calls.start[some] + UNKNOWN_NS)
    last = np.where(goes_on | over, -1, last)
    end = np.where(last >= 0, end, np.iinfo(np.int64).min)
    recent = last_launch(program, by_call(activities), some)
    at_hand = (mine[:, None] == streams.of[recent]) & (recent >= 0) & (last >= 0)
    end = np.where(at_hand & (end <= calls.start[some]).all(axis=0), np.iinfo(np.int64).max, end)
    if only_one:
        number = activities.stream[streams.order[streams.bounds[mine]]]
        told = program.waited_stream[some]
        named = (number[:, None] == told) & (told != MISSING_SMALL)
        fits = np.where(named | ~named.any(axis=0), end, np.iinfo(np.int64).min)
        chosen = fits.argmax(axis=0)
        found = last[chosen, np.arange(len(some))]
        return [(some[found >= 0], found[found >= 0])]
    last = np.where(device[:, None] == device[end.argmax(axis=0)], last, -1)
    return [(some[row >= 0], row[row >= 0]) for row in last]


def wait_times(program: Program, waits: Waits, waiting: NDArray[np.bool_], quantile: float) -> WaitTimes:
    """Measure calls that wait: their own time on those that had nothing to wait for, their return on the others."""
    calls, activities = program.calls, program.activities
    lasted = calls.end - calls.start
    last = np.full(len(lasted), np.iinfo(np.int64).min)
    np.maximum.at(last, waits.call, activities.end[waits.activity])
    own, back = np.zeros(len(lasted), np.int64), np.zeros(len(lasted), np.int64)
    for kind in range(len(WAITS)):
        some = waiting & (program.waits == kind)
        copies = kind not in (STREAM, DEVICE)
        alone = calls.is_copy & ~waiting & calls.launches if copies else some & (last <= calls.start)
        held = some & (last > calls.start)
        own[some] = quantile_of(lasted[alone], quantile)
        back[some] = quantile_of((calls.end - last)[held], quantile)
    return WaitTimes(own, back)


def quantile_of(values: Ints, quantile: float) -> int:
    """Return a quantile of what was measured; where that is little, of what is assumed of the unknown as well."""
    known = (
        values if len(values) >= FEW else np.append(values, np.multiply(UNKNOWN_NS, UNKNOWN_SPREAD).astype(np.int64))
    )
    return int(arrays.quantile(known, quantile))
