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

    Ints = NDArray[np.int64]

__all__ = ["Lane", "find_lanes", "match"]

KIND: Final = {kind: code for code, kind in enumerate(COLLECTIVE_KINDS)}
POINT_TO_POINT: Final = ("send", "recv")
SIZES_DIFFER: Final = ("all_to_all", "send_recv", "unknown", "gather", "scatter")
"""Kinds whose message may have another size on each rank."""
SAMPLES: Final = 512
"""Runs by which a shift is judged."""
NEARBY: Final = 8
"""Shifts looked at on either side of the one that the clocks suggest."""
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
    found: dict[tuple[ProcessGroup, str], list[tuple[int, Ints]]] = {}
    for position, member in enumerate(members):
        runs = member.runs
        groups = [ProcessGroup(group.name, "", group.size, group.ranks) for group in runs.groups]
        code = runs.group.astype(np.int64) * len(KIND) + runs.kind
        code[(runs.kind < 0) | (runs.kind == KIND["peer_copy"])] = -1
        for group_index, group in enumerate(groups):
            if group.size == 2:  # noqa: PLR2004  in a pair, one sends what the other receives
                low = group_index * len(KIND)
                code[np.isin(code, [low + KIND[kind] for kind in POINT_TO_POINT])] = low + KIND["send_recv"]
        for value in np.unique(code[code >= 0]).tolist():
            group, kind = groups[value // len(KIND)], COLLECTIVE_KINDS[value % len(KIND)]
            if kind not in POINT_TO_POINT:
                found.setdefault((group, kind), []).append((position, np.flatnonzero(code == value)))
    lanes = []
    for (group, kind), entries in found.items():
        usual = float(np.median([len(runs) for _, runs in entries]))
        kept = [entry for entry in entries if 2 * len(entry[1]) >= usual]
        if len(kept) > 1:
            lanes.append(Lane(group, kind, *map(tuple, zip(*kept, strict=True))))
    return lanes


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
    unsteady = int(np.abs(difference - middle).mean()) // GOOD_NS
    wrong = 0.0
    if sizes is not None and size is not None:
        one, other = sizes[calls], size[calls - shift]
        wrong = float(((one != other) & (one >= 0) & (other >= 0)).mean())
    return wrong, unsteady, middle, shift


def spacing(end: Ints) -> int:
    """Return the usual time from one end to the next."""
    return int(np.median(np.diff(end))) if len(end) > 1 else 2**62
