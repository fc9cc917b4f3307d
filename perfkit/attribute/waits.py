"""What made host threads wait for a device: by the operator that asked, and the line it stands on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from perfkit.attribute.blame import thread_name
from perfkit.attribute.intervals import Union
from perfkit.attribute.names import pattern
from perfkit.model.signs import Wait

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from perfkit.attribute.scene import Scene

    Ints = NDArray[np.int64]

__all__ = ["waits"]

BY_OPERATOR: Final = ("mask", "nonzero", "item")
"""Groups of operators that wait, the one that says most first: a mask is made of a search for what is not zero."""
MOST: Final = 50


def waits(scene: Scene) -> list[Wait]:
    """Return the waits within the host's window, those that block longest first; none without a device."""
    if not scene.on_device:
        return []
    work = scene.host.work
    columns = work.trace.columns
    found = []
    for thread in scene.threads:
        rows = scene.within(scene.host.synchronizations(thread))
        if not len(rows):
            continue
        start = columns["start"][rows]
        inner, outer = around(scene, thread, start)
        printing = scene.places.printing(thread, start)
        line = scene.line_strings(thread, start)
        key = np.stack((columns["name"][rows].astype(np.int64), inner[1], outer[1], printing, line))
        _, index, group = np.unique(key, axis=1, return_index=True, return_inverse=True)
        group = group.reshape(-1)
        for number in range(len(index)):
            mine = np.flatnonzero(group == number)
            found.append(wait(scene, thread, rows[mine], int(inner[0][mine[0]]), printing=bool(printing[mine[0]])))
    return sorted(found, key=lambda row: -row.blocked_ns)[:MOST]


def around(scene: Scene, thread: int, moments: Ints) -> tuple[tuple[Ints, Ints], tuple[Ints, Ints]]:
    """Return position and name of the innermost and of the outermost operator around moments, -1 for none."""
    rows, nest = scene.places.operators(thread)
    if not len(rows):
        nothing = np.full(len(moments), -1, np.int64)
        return (nothing, nothing), (nothing, nothing)
    name = scene.host.work.trace.columns["name"][rows[nest.order]].astype(np.int64)
    place = np.full(len(rows), -1, np.int64)
    place[nest.order] = np.arange(len(rows))
    inner = nest.innermost(moments)
    inner = np.where(inner >= 0, place[inner], -1)
    outer = inner.copy()
    while (climbing := (outer >= 0) & (nest.parent[outer] >= 0)).any():
        outer[climbing] = nest.parent[outer[climbing]]
    return (inner, np.where(inner >= 0, name[inner], -1)), (outer, np.where(outer >= 0, name[outer], -1))


def wait(scene: Scene, thread: int, rows: Ints, inner: int, *, printing: bool) -> Wait:
    """Sum the waits of one kind at one place."""
    work = scene.host.work
    columns, strings = work.trace.columns, work.trace.strings
    start, end = columns["start"][rows], columns["end"][rows]
    call = strings[int(columns["name"][rows[0]])]
    above = operators_above(scene, thread, inner)
    longest = int(np.argmax(end - start))
    return Wait(
        timeline=scene.id,
        kind="print" if printing else kind_of(above, call, to_host=scene.to_host(rows)),
        operator=next((name for name in reversed(above) if pattern("operator", "native").search(name)), call),
        call=call,
        thread=thread_name(scene.host, thread),
        where=scene.places.line_at(thread, int(start[longest])),
        calls=len(rows),
        blocked_ns=Union.of(start, end).within(scene.low, scene.high),
        rows=tuple(rows.tolist()),
    )


def operators_above(scene: Scene, thread: int, inner: int) -> list[str]:
    """Return the names of an operator and of those around it, from the inside."""
    rows, nest = scene.places.operators(thread)
    trace = scene.host.work.trace
    names = []
    while inner >= 0:
        names.append(trace.strings[int(trace.columns["name"][rows[nest.order[inner]]])])
        inner = int(nest.parent[inner])
    return names


def kind_of(above: list[str], call: str, *, to_host: bool) -> str:
    """Say what asked for a wait: an operator around the call, or the kind of call."""
    for group in BY_OPERATOR:
        if any(pattern("operator", group).search(name) for name in above):
            return group
    if any(pattern("operator", "move").search(name) for name in above):
        return "copy_to_host" if to_host else "copy_to_device"
    if pattern("runtime", "device_wide").search(call):
        return "device"
    if pattern("runtime", "copy").search(call):
        return "copy_to_host" if to_host else "copy_to_device"
    return "event" if pattern("runtime", "event").search(call) else "stream"
