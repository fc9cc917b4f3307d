"""Which host call launched which device activity, and which process a device works for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from perfkit.attribute.intervals import EMPTY
from perfkit.model.columns import MISSING_INT

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Ints = NDArray[np.int64]

__all__ = ["Ends", "link"]

MAX_PROCESSES: Final = 256
"""Of more processes with calls, those with fewest calls launched nothing."""

FALLBACK, POSSIBLE, SURE, SURE_AT_HOME = range(4)
"""How well a call fits an activity: it bears its correlation, and began before it, and bears its External id."""


@dataclass(frozen=True, slots=True)
class Ends:
    """One end of the links: calls (by start) or activities, with what identifies a launch within a process."""

    start: Ints
    correlation: Ints
    external: Ints

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.start)

    def some(self, members: Ints) -> Ends:
        """Return those at these positions."""
        return Ends(self.start[members], self.correlation[members], self.external[members])


def link(
    activities: Ends, track: Ints, calls: Ends, process: NDArray[np.int32], named: NDArray[np.int32]
) -> tuple[NDArray[np.int32], Ints]:
    """Give every activity the process that launched it and the launching call.

    Where the format names the process, only its calls can have launched the activity; elsewhere it is inferred.

    Args:
        activities: The activities.
        track: A number of the device of each activity.
        calls: The calls, by start.
        process: Index of the process of each call.
        named: Index of the process that the format names for each activity, or -1.

    Returns:
        Process index (-1: unknown) and position of the call (-1: none) for each activity.
    """
    if not (named >= 0).any():
        return infer(activities, track, calls, process)
    owner, call = named.copy(), np.full(len(activities), -1, np.int64)
    rest = np.flatnonzero(named < 0)
    owner[rest], call[rest] = infer(activities.some(rest), track[rest], calls, process)
    theirs = np.argsort(process, kind="stable")  # so the calls of each process stay in order of start
    ordered = process[theirs]
    order = np.argsort(named, kind="stable")[len(rest) :]
    owners, first = np.unique(named[order], return_index=True)
    for index, mine in zip(owners.tolist(), np.split(order, first[1:]), strict=True):
        low, high = np.searchsorted(ordered, [index, index + 1])
        call[mine] = find_calls(theirs[low:high], calls, activities.some(mine))
    return owner, call


def infer(activities: Ends, track: Ints, calls: Ends, process: NDArray[np.int32]) -> tuple[NDArray[np.int32], Ints]:
    """Find the process and the call of each activity where nothing but numbers tell.

    In a file merged of several processes correlations collide, and an activity does not name its process. A call is
    sure to have launched an activity of its correlation if it bears the same External id and began before it; it is
    possible that it did if an External id is missing. A device belongs to the process with most sure calls, then with
    most possible ones, then with most of the latest ones; a process is at home where it has most. Where several calls
    fit an activity, those of a process at home on its device come first, and of these the latest. A merely possible
    call of a process that is at home elsewhere is a coincidence.

    Args:
        activities: The activities.
        track: A number of the device of each activity.
        calls: The calls.
        process: Index of the process of each call.

    Returns:
        Process index (-1: unknown) and position of the call (-1: none) for each activity.
    """
    sizes = np.bincount(process) if len(process) else np.empty(0, np.int64)
    candidates = np.argsort(-sizes, kind="stable")[: min(MAX_PROCESSES, int(np.count_nonzero(sizes)))].tolist()
    if not candidates or not len(activities):
        return np.full(len(activities), -1, np.int32), np.full(len(activities), -1, np.int64)
    members = [np.flatnonzero(process == candidate) for candidate in candidates]
    if len(candidates) == 1:
        found = find_calls(members[0], calls, activities)
        return np.full(len(activities), candidates[0], np.int32), found
    devices, device = np.unique(track, return_inverse=True)
    owner_of, home = settle(activities, device, calls, members, len(devices))
    owner = owner_of[device]
    call = np.full(len(activities), -1, np.int64)
    rank = np.full(len(activities), -1, np.int64)
    for index in range(len(candidates)):
        found, fit = matches(activities, calls, members[index])
        owned = owner_of[device] == index
        native = owned | (home[index] == device)
        fit[native & (fit == SURE)] = SURE_AT_HOME
        allowed = (found >= 0) & np.where(fit == POSSIBLE, native, (fit >= SURE) | owned)
        worth = np.where(allowed, fit * len(calls) + found, -1)
        take = worth > rank
        owner[take], call[take], rank[take] = index, found[take], worth[take]
    return np.array(candidates, np.int32)[owner], call


def settle(
    activities: Ends, device: Ints, calls: Ends, members: list[Ints], devices: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the process that each device belongs to and the device that each process is at home on, as positions."""
    votes = np.zeros((len(members), devices, 3), np.int64)
    best = np.full(len(activities), -1, np.int64)
    latest = np.full(len(activities), -1, np.int64)
    for index, mine in enumerate(members):
        found, fit = matches(activities, calls, mine)
        for place, level in enumerate((SURE, POSSIBLE)):
            votes[index, :, place] = np.bincount(device[fit >= level], minlength=devices)
        worth = np.where(fit >= POSSIBLE, fit * len(calls) + found, -1)
        take = worth > best
        best[take], latest[take] = worth[take], index
    fits = latest >= 0
    votes[:, :, 2] = np.bincount(latest[fits] * devices + device[fits], minlength=votes[:, :, 2].size).reshape(
        -1, devices
    )
    keys = tuple(votes[::-1, ::-1, place] for place in (2, 1, 0))  # reversed, so that of equals the first wins
    owner_of: Ints = len(members) - 1 - np.lexsort(keys, axis=0)[-1, ::-1]
    home: Ints = devices - 1 - np.lexsort(keys, axis=1)[::-1, -1]
    return owner_of, home


def matches(activities: Ends, calls: Ends, members: Ints) -> tuple[Ints, Ints]:
    """Return, for each activity, the call among ``members`` with its correlation (or -1), and how well it fits."""
    found = find_calls(members, calls, activities)
    mine, theirs = activities.external, calls.external[found]
    known = (mine > 0) & (theirs > 0)
    fit = np.where(known & (mine == theirs), SURE, np.where(known, FALLBACK, POSSIBLE))
    return found, np.where((found >= 0) & (calls.start[found] <= activities.start), fit, FALLBACK)


def find_calls(members: Ints, calls: Ends, activities: Ends) -> Ints:
    """Return for each activity the call among ``members`` (by start) that bears its correlation, or -1.

    Correlations repeat where traces were merged or a counter wrapped: then it is a call that bears the same External
    id, too, and of several the latest begun by then, or the first one where none had begun.
    """
    keys, wanted = calls.correlation[members], activities.correlation
    members, keys = members[keys != MISSING_INT], keys[keys != MISSING_INT]  # so that nothing absent is found
    found, repeats = latest_call(members, keys, calls, wanted, activities.start)
    named = np.flatnonzero(activities.external > 0) if repeats else EMPTY
    if len(named):
        both = pairs(
            np.concatenate((keys, wanted[named])), np.concatenate((calls.external[members], activities.external[named]))
        )
        better, _ = latest_call(members, both[: len(keys)], calls, both[len(keys) :], activities.start[named])
        found[named] = np.where(better >= 0, better, found[named])
    return found


def pairs(one: Ints, other: Ints) -> Ints:
    """Return a number for each pair of values, the same for equal pairs."""
    first, second = np.unique(one, return_inverse=True)[1], np.unique(other, return_inverse=True)[1]
    return first * (int(second.max(initial=0)) + 1) + second


def latest_call(members: Ints, keys: Ints, calls: Ends, wanted: Ints, start: Ints) -> tuple[Ints, bool]:
    """Return the latest call of each wanted key begun by ``start`` (-1: none of that key), and whether keys repeat."""
    if not len(members):
        return np.full(len(wanted), -1, np.int64), False
    order = np.argsort(keys, kind="stable")
    keys = keys[order]
    index = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    repeats = bool((keys[1:] == keys[:-1]).any())
    if repeats:
        # A (correlation, place in time) pair is one integer.
        code = np.cumsum(np.append(0, keys[1:] != keys[:-1])) * len(members)
        begun = np.searchsorted(calls.start[members], start, "right") - 1
        latest = np.searchsorted(code + order, code[index] + begun, "right") - 1
        index = np.where((latest >= index) & (keys[latest] == keys[index]), latest, index)
    return np.where(keys[index] == wanted, members[order[index]], -1), repeats
