"""Stretches of a host thread that computes: those of operators too short to be worth their call, and those of none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from perfkit.attribute.host import Layer
from perfkit.attribute.loaders import makings
from perfkit.model.signs import Stretch
from perfkit.model.trace import Category

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from perfkit.attribute.scene import Scene

    Ints = NDArray[np.int64]

__all__ = ["SHORT_NS", "stretches"]

SHORT_NS: Final = 20_000
"""Some four times what an operator costs before it does anything, with a profiler beside it."""
CLOSE_NS: Final = 60_000
"""Python between two operators of one stretch; a profiler of stacks takes part of it."""
FEWEST: Final = 24
"""Operators in a row: fewer are in every program."""
SILENT_NS: Final = 500_000
"""Python for as long, and no operator, is work of its own and not what it costs to call one."""
MOST: Final = 20


def stretches(scene: Scene) -> list[Stretch]:
    """Return the stretches of a timeline without a device, those with most time first; none of a device."""
    if scene.on_device:
        return []
    thread = scene.threads[0]
    columns = scene.host.work.trace.columns
    operators, nest = scene.places.operators(thread)
    outer = np.flatnonzero((nest.parent < 0) & (nest.start >= scene.low) & (nest.start < scene.high))
    if not len(outer):  # a thread without any operator is no program of tensors
        return []
    rows = operators[nest.order[outer]].astype(np.int64)
    taken = occupied(scene, thread)
    free = Layer.of("", taken, columns["start"][taken], columns["end"][taken]).holding(nest.start[outer]) < 0
    outer, rows = outer[free], rows[free]
    found = crowds(scene, thread, rows) + silences(scene, thread, rows, taken)
    return sorted(found, key=lambda row: -row.ns)[:MOST]


def occupied(scene: Scene, thread: int) -> Ints:
    """Return the rows in which loaders and optimizers work, compilers and collectives, by start: these have rules."""
    host = scene.host
    columns = host.work.trace.columns
    ranges = host.of_thread(thread, Category.ANNOTATION)
    updates = ranges[host.work.names.match("host", "update", ranges)]
    others = host.of_thread(thread, Category.OS_CALL, Category.OVERHEAD)
    rows = np.concatenate((updates, host.loaders(thread), host.compilations(thread), others))
    return rows[np.argsort(columns["start"][rows], kind="stable")]


def crowds(scene: Scene, thread: int, rows: Ints) -> list[Stretch]:
    """Sum the stretches of short operators at the same line."""
    columns, names = scene.host.work.trace.columns, scene.host.work.names
    start, end = columns["start"][rows], columns["end"][rows]
    brief = end - start < SHORT_NS
    joined = brief[1:] & brief[:-1] & (start[1:] - end[:-1] < CLOSE_NS)
    opens = np.flatnonzero(np.append(True, ~joined)[: len(rows)])
    closes = np.append(opens[1:], len(rows))
    enough = closes - opens >= FEWEST
    opens, closes = opens[enough], closes[enough]
    line = scene.line_strings(thread, start[opens])
    asks = np.append(0, np.cumsum(names.match("operator", "item", rows)))
    masks = np.append(0, np.cumsum(names.match("operator", "mask", rows) | names.match("operator", "nonzero", rows)))
    own = np.append(0, np.cumsum(end - start))
    found = []
    for string in np.unique(line).tolist():
        mine = np.flatnonzero(line == string)
        first, last = opens[mine], closes[mine]
        worst = int(np.argmax(end[last - 1] - start[first]))
        usual, often = np.unique(columns["name"][rows[first[worst] : last[worst]]], return_counts=True)
        common = usual[np.argsort(-often, kind="stable")][:3].tolist()
        found.append(
            Stretch(
                timeline=scene.id,
                kind="short_operators",
                where=scene.places.line_at(thread, int(start[first[worst]])),
                calls=len(mine),
                ns=int((end[last - 1] - start[first]).sum()),
                operators=int((last - first).sum()),
                operator_ns=int((own[last] - own[first]).sum()),
                reads=int((asks[last] - asks[first]).sum()),
                masks=int((masks[last] - masks[first]).sum()),
                names=tuple(scene.host.work.trace.strings[index] for index in common),
            )
        )
    return found


def silences(scene: Scene, thread: int, rows: Ints, taken: Ints) -> list[Stretch]:
    """Sum the stretches without any operator at the same line; while there is no request, there is nothing to do."""
    columns = scene.host.work.trace.columns
    every = np.concatenate((rows, taken))
    made = makings(scene, thread)
    quiet = scene.host.without_request(int(scene.host.work.process_of_thread[thread])).between(scene.low, scene.high)
    start = np.concatenate((columns["start"][every], made[0], np.maximum(quiet.start, scene.low)))
    end = np.concatenate((columns["end"][every], made[1], np.minimum(quiet.end, scene.high)))
    order = np.argsort(start, kind="stable")
    reach = np.maximum.accumulate(np.append(scene.low, end[order]))
    begins = np.append(start[order], scene.high)
    long = np.flatnonzero(begins - reach > SILENT_NS)
    start, end = reach[long], begins[long]
    start, end = start[start < scene.high], end[start < scene.high]
    middle = (start + end) // 2
    line = scene.line_strings(thread, middle)
    found = []
    for string in np.unique(line).tolist():
        mine = np.flatnonzero(line == string)
        worst = mine[np.argmax(end[mine] - start[mine])]
        found.append(
            Stretch(
                timeline=scene.id,
                kind="no_operator",
                where=scene.places.line_at(thread, int(middle[worst])),
                calls=len(mine),
                ns=int((end[mine] - start[mine]).sum()),
                operators=0,
                operator_ns=0,
                reads=0,
                masks=0,
                names=(),
            )
        )
    return found
