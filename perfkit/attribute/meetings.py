"""Collectives that wait for other ranks, as far as the trace of one rank can tell.

A collective begins on each rank when that rank is there, and moves its data when all are. What moves as much data, or
more, over the same ways in less time shows how long it takes once everybody has come; the rest was waiting. Of what is
always waited for in the same way, nothing can be told from one rank.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from perfkit.attribute.collective_labels import said_by, values
from perfkit.attribute.intervals import Union
from perfkit.model.signs import Meeting
from perfkit.model.trace import Category

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from perfkit.attribute.scene import Scene

    Ints = NDArray[np.int64]

__all__ = ["meetings"]

MOST: Final = 50
"""Names that are kept."""
LATE: Final = 2.0
"""Times what it can take from which on a collective waits: two that share a link take twice as long by that alone."""


def meetings(scene: Scene) -> list[Meeting]:
    """Return collectives that wait, by name, those with most waiting first."""
    activities, trace = scene.host.work.activities, scene.host.work.trace
    inside = scene.reading.inside
    runs = inside[activities.communicates[inside] & (activities.category[inside] == Category.KERNEL)]
    if not scene.on_device or not len(runs):
        return []
    start, lasted = activities.start[runs], (activities.end - activities.start)[runs]
    rows = said_by(scene.host.work, scene.places, runs)
    said = values(scene.host.work, "collective", rows)
    name = np.where(said >= 0, said, activities.name[runs])
    least = least_times(scene, runs, np.stack((name, activities.name[runs], activities.stream[runs]), axis=1), rows)
    late = lasted > LATE * least
    computes = inside[~activities.communicates[inside] & (activities.category[inside] != Category.MEMCPY)]
    busy = Union.of(activities.start[computes], activities.end[computes])
    found = []
    for mine in together(name[:, None], np.flatnonzero(late)):
        label = int(name[mine[0]])
        wait = (lasted - least)[mine]
        waiting = Union.of(start[mine], start[mine] + wait)
        hidden = int((busy.covered(waiting.end) - busy.covered(waiting.start)).sum())
        found.append(
            Meeting(
                timeline=scene.id,
                name=trace.strings[label],
                calls=int((name == label).sum()),
                late=len(mine),
                longest_ns=int(wait.max()),
                wait_ns=int(wait.sum()),
                exposed_ns=waiting.total - hidden,
            )
        )
        if len(found) == MOST:
            break
    return sorted(found, key=lambda row: -row.exposed_ns)


def together(key: Ints, some: Ints) -> list[Ints]:
    """Split elements into those that have the same key, a row each; those with the most elements first."""
    if not len(some):
        return []
    _, group = np.unique(key[some], axis=0, return_inverse=True)
    group = group.reshape(-1)
    order = np.argsort(group, kind="stable")
    parts = np.split(some[order], np.flatnonzero(np.diff(group[order])) + 1)
    return sorted(parts, key=len, reverse=True)


def least_times(scene: Scene, runs: Ints, kind: Ints, rows: Ints) -> Ints:
    """Return the shortest time of a run of the same kind (a row of ``kind`` each) that moves as much as each, or more.

    Where sizes are not recorded, that of the run at the same place of another step, if steps have equally many.
    """
    activities = scene.host.work.activities
    lasted = (activities.end - activities.start)[runs]
    elements = values(scene.host.work, "in_elements", rows)
    place = places_in_steps(scene, runs)
    sized = elements > 0
    least = lasted.copy()
    for mine in together(kind, np.flatnonzero(sized)):
        order = mine[np.argsort(-elements[mine], kind="stable")]
        shortest = np.minimum.accumulate(lasted[order])
        # Of runs of one size all count, whichever comes first.
        least[order] = shortest[np.searchsorted(-elements[order], -elements[order], "right") - 1]
    for mine in together(place[:, None], np.flatnonzero(~sized & (place >= 0))):
        least[mine] = lasted[mine].min()
    return least


def places_in_steps(scene: Scene, runs: Ints) -> Ints:
    """Return which run of its step each is, counted by start; -1 where steps do not have equally many."""
    times = scene.reading.step_times
    edges = times.edges if times is not None else np.empty(0, np.int64)
    start = scene.host.work.activities.start[runs]
    step = np.searchsorted(edges, start, "right") - 1
    counts = np.bincount(step[step >= 0], minlength=max(len(edges) - 1, 1))
    none = np.full(len(runs), -1)
    if len(edges) < 3 or (counts != counts[0]).any():  # noqa: PLR2004  two steps have three edges
        return none
    order = np.argsort(start, kind="stable")
    none[order] = np.arange(len(runs)) % max(int(counts[0]), 1)
    return none
