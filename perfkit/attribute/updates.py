"""What optimizers do: their methods, and how they go over the parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from perfkit.attribute.intervals import Union
from perfkit.model.arrays import distinct
from perfkit.model.signs import Update
from perfkit.model.trace import Category

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from perfkit.attribute.scene import Scene

    Ints = NDArray[np.int64]

__all__ = ["updates"]


def updates(scene: Scene) -> list[Update]:
    """Return the methods of optimizers that ran within the window, those with most time first."""
    work = scene.host.work
    columns = work.trace.columns
    found = []
    for thread in scene.threads:
        rows = scene.within(scene.host.of_thread(thread, Category.ANNOTATION))
        rows = rows[work.names.match("host", "update", rows)]
        names = distinct(columns["name"][rows]).tolist()
        found += [update(scene, thread, rows[columns["name"][rows] == name]) for name in names]
    return sorted(found, key=lambda row: -max(row.host_ns, row.time_ns))


def update(scene: Scene, thread: int, rows: Ints) -> Update:
    """Sum the calls of one method."""
    work = scene.host.work
    columns, names = work.trace.columns, work.names
    union = Union.of(columns["start"][rows], columns["end"][rows])
    operators, nest = scene.places.operators(thread)
    at = np.searchsorted(union.start, nest.start, "right") - 1
    inside = np.flatnonzero((nest.parent < 0) & (at >= 0) & (nest.start < union.end[at]))
    name = columns["name"][operators[nest.order[inside]]]
    own = scene.own_time(thread, nest.start[inside], nest.end[inside])
    distinct, group = np.unique(name, return_inverse=True)
    by_name = np.bincount(group, own, len(distinct)) if len(distinct) else np.zeros(1)
    styles = {
        style: bool((names.verdicts("operator", group_name, distinct) > 0).any())
        for style, group_name in (("fused", "fused_update"), ("foreach", "foreach_update"))
    }
    launches = scene.device_time(thread, union.start, union.end)[1].sum() if scene.on_device else len(inside)
    longest = int(np.argmax(columns["end"][rows] - columns["start"][rows]))
    method = work.trace.strings[int(columns["name"][rows[longest]])].partition("#")
    return Update(
        timeline=scene.id,
        name=method[2] or method[0],
        style=next((style for style, there in styles.items() if there), "loop"),
        where=scene.places.line_at(thread, int(columns["start"][rows[longest]])),
        calls=len(rows),
        host_ns=union.total,
        time_ns=int(scene.own_time(thread, union.start, union.end).sum()) if scene.on_device else int(own.sum()),
        widest_ns=int(by_name.max()),
        idle_ns=int(scene.idle_time(union.start, union.end).sum()),
        launches=int(launches),
        records=int(scene.records(thread, union.start, union.end).sum()),
    )
