"""Copies that only change layout or type, on the device or the host that computes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from perfkit.model.arrays import distinct
from perfkit.model.signs import Transfer
from perfkit.model.trace import Category

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from perfkit.attribute.scene import Scene

    Ints = NDArray[np.int64]

__all__ = ["transfers"]

LEAST_SHARE: Final = 0.002


def transfers(scene: Scene) -> list[Transfer]:
    """Return the copies by what asked for them and where, those with most time first.

    What an operator copies for itself is its own affair, but for kernels of a library whose names say that they bring
    data into another layout.
    """
    work = scene.host.work
    names, strings = work.names, work.trace.strings
    least = LEAST_SHARE * scene.reading.timeline.window_ns
    found = by_kernel(scene)
    for thread in scene.threads:
        tokens = scene.tokens(thread)
        groups = ("cast", "relayout", "clone")
        cast, moved, again = (names.verdicts("operator", group, tokens.name) > 0 for group in groups)
        at = np.flatnonzero((cast | moved) & ~between_memories(scene, thread, tokens.start, tokens.end))
        own = scene.own_time(thread, tokens.start[at], tokens.end[at])
        idle = scene.idle_time(tokens.start[at], tokens.end[at])
        calling = scene.calling_time(thread, tokens.start[at])
        line = scene.line_strings(thread, tokens.start[at])
        classes, module = scene.classes(thread, tokens.start[at])
        key = np.stack((tokens.name[at].astype(np.int64), line, module))
        _, index, group = np.unique(key, axis=1, return_index=True, return_inverse=True)
        group = group.reshape(-1)
        total, empty = (np.bincount(group, some, len(index)).astype(np.int64) for some in (own, idle))
        for number in np.flatnonzero(total + empty >= least).tolist():
            mine = np.flatnonzero(group == number)
            worst = mine[np.argmax(own[mine])]
            found.append(
                Transfer(
                    timeline=scene.id,
                    kind="type" if cast[at[worst]] else "copy" if again[at[worst]] else "layout",
                    operator=strings[int(tokens.name[at[worst]])],
                    where=scene.places.line_at(thread, int(tokens.start[at[worst]])),
                    module=classes[int(module[worst])],
                    calls=len(mine),
                    time_ns=int(total[number]),
                    idle_ns=int(empty[number]),
                    rows=tuple(tokens.row[at[mine]].tolist()),
                    calling_ns=int(calling[mine].sum()),
                    records=int(scene.records(thread, tokens.start[at[mine]], tokens.end[at[mine]]).sum()),
                )
            )
    return sorted(found, key=lambda row: -(row.time_ns + row.idle_ns))


def by_kernel(scene: Scene) -> list[Transfer]:
    """Return the time of kernels that only change a layout, as one row."""
    work = scene.host.work
    activities, inside = work.activities, scene.reading.inside
    some = inside[work.names.match("device", "relayout", activities.row[inside])]
    if not len(some):
        return []
    lasted = activities.end[some] - activities.start[some]
    longest = some[np.argmax(lasted)]
    call = int(activities.call[longest])
    where = scene.places.line_at(int(work.calls.thread[call]), int(work.calls.start[call])) if call >= 0 else ""
    name = work.trace.strings[int(activities.name[longest])]
    return [Transfer(scene.id, "library", name, where, "", len(some), int(lasted.sum()), 0, ())]


def between_memories(scene: Scene, thread: int, start: Ints, end: Ints) -> NDArray[np.bool_]:
    """Tell which stretches of a thread launched a copy from or to the host: these move data, whatever else they do."""
    work = scene.host.work
    activities, calls = work.activities, work.calls
    copies = np.flatnonzero((activities.category == Category.MEMCPY) & (activities.call >= 0))
    copies = copies[work.names.match("device", "to_or_from_host", activities.row[copies])]
    call = distinct(activities.call[copies])
    moments = calls.start[call[calls.thread[call] == thread]]
    return np.searchsorted(moments, start) < np.searchsorted(moments, end)
