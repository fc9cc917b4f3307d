"""Which run on one rank is which on another: the k-th of its kind in its process group, once beginnings are aligned."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from perfkit.model.fleet import COLLECTIVE_KINDS, ProcessGroup

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from perfkit.compare.roster import Member
    from perfkit.model.fleet import CollectiveRuns

    Ints = NDArray[np.int64]

__all__ = ["Lane", "find_lanes", "match", "split_unnamed"]

KIND: Final = {kind: code for code, kind in enumerate(COLLECTIVE_KINDS)}
POINT_TO_POINT: Final = ("send", "recv")
SIZES_DIFFER: Final = ("all_to_all", "send_recv", "unknown", "gather", "scatter")
"""Kinds whose message may have another size on each rank."""
SAMPLES: Final = 512
"""Runs by which a shift is judged."""
NEARBY: Final = 8
"""Shifts looked at on either side of the one that the clocks suggest."""
TOGETHER_NS: Final = 50_000
"""Members of one group end together this well in nearly every call, their clocks' distance aside."""
GOOD_NS: Final = 10_000
"""Ends that keep their distance this well, on average, are those of the same calls."""
FEWEST: Final = 3
"""From fewer runs than these no regularity can be told."""
PER_SEQUENCE: Final = 1 << 10
"""Runs of one call at most."""


@dataclass(frozen=True, slots=True)
class Lane:
    """The runs of one kind in one process group.

    ``members`` are positions among all members; ``runs`` has, for each of them, the positions of its runs. Once
    matched, these are arrays of one length, and those at one place are one call.
    """

    group: ProcessGroup
    kind: str
    members: tuple[int, ...]
    runs: tuple[Ints, ...]


def find_lanes(members: Sequence[Member]) -> list[Lane]:
    """Sort the runs of all ranks by process group and kind; a lane with one rank is none.

    What two ranks send and receive is only told apart in a group of two. A rank with less than half as many runs as is
    usual in a lane is left out of it: it would leave nothing for the others.
    """
    found: dict[tuple[ProcessGroup, int, str], list[tuple[int, Ints]]] = {}
    for position, member in enumerate(members):
        runs = member.runs
        groups, group_of = channels(runs)
        code = group_of * len(KIND) + runs.kind
        code[(runs.kind < 0) | (runs.kind == KIND["peer_copy"])] = -1
        for group_index, (group, _) in enumerate(groups):
            if group.size == 2:  # noqa: PLR2004  in a pair, one sends what the other receives
                low = group_index * len(KIND)
                code[np.isin(code, [low + KIND[kind] for kind in POINT_TO_POINT])] = low + KIND["send_recv"]
        for value in np.unique(code[code >= 0]).tolist():
            group, kind = groups[value // len(KIND)], COLLECTIVE_KINDS[value % len(KIND)]
            if kind not in POINT_TO_POINT:
                found.setdefault((*group, kind), []).append((position, np.flatnonzero(code == value)))
    lanes = []
    for (group, _, kind), entries in found.items():
        usual = float(np.median([len(runs) for _, runs in entries]))
        kept = [entry for entry in entries if 2 * len(entry[1]) >= usual]
        if len(kept) > 1:
            lanes.append(Lane(group, kind, *map(tuple, zip(*kept, strict=True))))
    return lanes


def channels(runs: CollectiveRuns) -> tuple[list[tuple[ProcessGroup, int]], Ints]:
    """Return the distinct (group, stream) of runs, and which of them each run is in; a named group has stream -1.

    Where a trace does not name groups, their streams tell some of them apart: a group keeps to its own. The numbers of
    streams differ between ranks, so it is their order that counts.
    """
    named = np.array([bool(group.name or group.ranks) for group in runs.groups], bool)
    order = np.unique(runs.stream, return_inverse=True)[1]
    stream = np.where(named[runs.group], -1, order) if len(named) else np.empty(0, np.int64)
    distinct, place = np.unique(np.stack([runs.group, stream], axis=1), axis=0, return_inverse=True)
    groups = [runs.groups[group] for group in distinct[:, 0].tolist()]
    found = [
        (ProcessGroup(group.name, "", group.size, group.ranks), number)
        for group, number in zip(groups, distinct[:, 1].tolist(), strict=True)
    ]
    return found, place.reshape(-1).astype(np.int64)


def match(lane: Lane, members: Sequence[Member], epochs: Ints, *, sure: bool) -> Lane:
    """Keep the calls that are found on every rank of a lane.

    Args:
        lane: The lane.
        members: All members.
        epochs: What to add to the times of each to bring them onto one clock, as far as is known.
        sure: The clocks are known to be right: then calls that end together belong together. Else a shift is judged by
            how well the ends keep their distance, and the clocks only decide between shifts that are equally good.

    Returns:
        The lane with arrays of one length.
    """
    by_count = by_sequence(lane, members)
    if by_count is not None:
        return by_count
    ends = [members[at].runs.end_ns[runs] + epochs[at] for at, runs in zip(lane.members, lane.runs, strict=True)]
    exact = lane.kind not in SIZES_DIFFER
    sizes = [members[at].runs.bytes[runs] if exact else None for at, runs in zip(lane.members, lane.runs, strict=True)]
    reference = int(np.argmax([len(end) for end in ends]))
    shifts = [
        0 if place == reference else find_shift(ends[reference], sizes[reference], end, size, sure=sure)
        for place, (end, size) in enumerate(zip(ends, sizes, strict=True))
    ]
    low = max(shifts)
    high = min(len(end) + shift for end, shift in zip(ends, shifts, strict=True))
    calls = np.arange(low, max(low, high))
    runs = [own[calls - shift] for own, shift in zip(lane.runs, shifts, strict=True)]
    return same_sizes(Lane(lane.group, lane.kind, lane.members, tuple(runs)), members)


def split_unnamed(lane: Lane, members: Sequence[Member], epochs: Ints) -> list[Lane]:
    """Split the ranks of a lane whose group no trace names into those that end together, call by call.

    Args:
        lane: A lane, not yet matched.
        members: All members.
        epochs: As in `match`.

    Returns:
        The lane itself if it is of a named group, else one for each set of ranks; a rank alone is none.
    """
    if lane.group.name or lane.group.ranks:
        return [lane]
    found = []
    left = list(range(len(lane.members)))
    while len(left) > 1:
        some = of_some(lane, left)
        matched = match(some, members, epochs, sure=False)
        ends = [members[at].runs.end_ns[runs] for at, runs in zip(matched.members, matched.runs, strict=True)]
        apart = [farthest(end - ends[0]) for end in ends]
        together = [place for place, ns in enumerate(apart) if ns <= TOGETHER_NS]
        if len(together) > 1:
            found.append(of_some(some, together))
        left = [at for place, at in enumerate(left) if place not in set(together)]
    return found


def of_some(lane: Lane, places: Sequence[int]) -> Lane:
    """Return a lane of some of its members."""
    runs = tuple(lane.runs[place] for place in places)
    return Lane(lane.group, lane.kind, tuple(lane.members[place] for place in places), runs)


def farthest(difference: Ints) -> int:
    """Return by how much differences differ from their median at most, a twentieth of many aside."""
    if not len(difference):
        return 0
    off = np.abs(difference - int(np.median(difference)))
    return int(np.percentile(off, 95, method="higher"))


def unsteadiness(difference: Ints) -> int:
    """Return by how much differences differ from their median on average, the one that differs most aside."""
    if len(difference) < FEWEST:
        return 0
    off = np.abs(difference - int(np.median(difference)))
    return int((off.sum() - off.max()) // (len(off) - 1))


def by_sequence(lane: Lane, members: Sequence[Member]) -> Lane | None:
    """Match by the group's own count of its calls; None where some run has none."""
    keys = []
    for at, runs in zip(lane.members, lane.runs, strict=True):
        sequence = members[at].runs.sequence[runs]
        if (sequence < 0).any() or (sequence > 2**48).any() or (np.diff(sequence) < 0).any():
            return None
        first = np.flatnonzero(np.append(True, sequence[1:] != sequence[:-1]))
        nth = np.arange(len(sequence)) - np.repeat(first, np.diff(np.append(first, len(sequence))))
        keys.append(sequence * PER_SEQUENCE + np.minimum(nth, PER_SEQUENCE - 1))
    common = keys[0]
    for key in keys[1:]:
        common = common[np.isin(common, key, assume_unique=True)]
    found = [own[np.searchsorted(key, common)] for key, own in zip(keys, lane.runs, strict=True)]
    return same_sizes(Lane(lane.group, lane.kind, lane.members, tuple(found)), members)


def same_sizes(lane: Lane, members: Sequence[Member]) -> Lane:
    """Drop the calls whose message is known to have another size on some rank than on the first."""
    if lane.kind in SIZES_DIFFER:
        return lane
    sizes = np.stack([members[at].runs.bytes[runs] for at, runs in zip(lane.members, lane.runs, strict=True)])
    agree = ((sizes == sizes[0]) | (sizes < 0) | (sizes[0] < 0)).all(axis=0)
    return Lane(lane.group, lane.kind, lane.members, tuple(runs[agree] for runs in lane.runs))


def find_shift(reference: Ints, sizes: Ints | None, end: Ints, size: Ints | None, *, sure: bool) -> int:
    """Return s so that run i of a rank is call i + s of the reference.

    Args:
        reference: Ends of the reference's runs, ascending or nearly so.
        sizes: Sizes of their messages; None if they may differ between ranks.
        end: Ends of the rank's runs.
        size: Sizes of their messages.
        sure: As in `match`.
    """
    middle = len(end) // 2
    near = int(np.searchsorted(reference, end[middle])) - middle
    after = len(reference) - len(end)
    best = judged(reference, sizes, end, size, 0 if not after else near)
    if not sure and best[:2] == (0, 0) and abs(best[2]) < spacing(end) // 4:
        return best[3]
    wanted = {0, after, *range(near - NEARBY, near + NEARBY + 1)}
    verdicts = [judged(reference, sizes, end, size, shift) for shift in sorted(wanted, key=abs)]
    fewest = min(verdict[0] for verdict in verdicts)
    verdicts = [verdict for verdict in verdicts if verdict[0] == fewest]
    if not sure:
        steady = max(2 * min(verdict[1] for verdict in verdicts), 1)
        verdicts = [verdict for verdict in verdicts if verdict[1] <= steady]
        if not after and any(verdict[3] == 0 for verdict in verdicts):
            return 0  # as many runs, as steady: they were recorded together, whatever their clocks say
    return min(verdicts, key=lambda verdict: abs(verdict[2]))[3]


def judged(
    reference: Ints, sizes: Ints | None, end: Ints, size: Ints | None, shift: int
) -> tuple[float, int, int, int]:
    """Judge a shift: the share of sizes that disagree, unsteadiness in units of GOOD_NS, median difference, itself."""
    low, high = max(0, shift), min(len(reference), len(end) + shift)
    few = min(FEWEST, len(end), len(reference))
    if high - low < max(few, min(len(end), len(reference)) // 4):
        return 2.0, 0, 0, shift
    calls = np.arange(low, high)
    if len(calls) > SAMPLES:
        calls = calls[np.linspace(0, len(calls) - 1, SAMPLES).astype(np.int64)]
    difference = end[calls - shift] - reference[calls]
    middle = int(np.median(difference))
    unsteady = unsteadiness(difference) // GOOD_NS
    wrong = 0.0
    if sizes is not None and size is not None:
        one, other = sizes[calls], size[calls - shift]
        wrong = float(((one != other) & (one >= 0) & (other >= 0)).mean())
    return wrong, unsteady, middle, shift


def spacing(end: Ints) -> int:
    """Return the usual time from one end to the next."""
    return int(np.median(np.diff(end))) if len(end) > 1 else 2**62
