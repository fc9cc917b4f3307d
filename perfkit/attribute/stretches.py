"""Stretches of a host thread that computes: those of operators too short to be worth their call, and those of none."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import numpy as np

from perfkit.attribute.host import Layer
from perfkit.attribute.loaders import makings
from perfkit.attribute.unasked import unasked
from perfkit.attribute.widths import recording
from perfkit.model.arrays import distinct
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
HELD_UP: Final = 10
"""Times as long: an operator that another process, or a page of memory, had wait."""
FEWEST: Final = 24
"""Operators in a row: fewer are in every program."""
SILENT_NS: Final = 500_000
"""Python for as long, and no operator, is work of its own and not what it costs to call one."""
MOST: Final = 20
ADDRESS: Final = re.compile(r" object at 0x[0-9a-fA-F]+")
"""Where an object was tells nothing of the next run."""


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
    written = scene.records(thread, start, end)
    own = end - start - recording(scene)[1] * written
    # An operator that is held up once is as brief as it usually is.
    usually = medians(columns["name"][rows], own)
    brief = (own < SHORT_NS) | ((usually < SHORT_NS) & (own < HELD_UP * SHORT_NS))
    # What takes a tensor apart for a loop, and puts it together again, is part of the loop.
    apart = names.match("operator", "apart", rows) & (written >= FEWEST)
    ends = names.match("operator", "together", rows)
    lists = np.where(apart[:-1], (end - start)[:-1], 0) + np.where(ends[1:], (end - start)[1:], 0)
    close = start[1:] - end[:-1] < np.maximum(lists, CLOSE_NS)
    joined = (brief | apart)[:-1] & (brief | apart | ends)[1:] & close
    opens = np.flatnonzero(np.append(True, ~joined)[: len(rows)])
    closes = np.append(opens[1:], len(rows))
    counted = np.append(0, np.cumsum(brief))
    enough = counted[closes] - counted[opens] >= FEWEST
    opens, closes = opens[enough], closes[enough]
    line = scene.line_strings(thread, start[opens])
    asks = np.append(0, np.cumsum(names.match("operator", "item", rows)))
    masks = np.append(0, np.cumsum(names.match("operator", "mask", rows) | names.match("operator", "nonzero", rows)))
    total = np.append(0, np.cumsum(end - start))
    found = []
    for string in distinct(line).tolist():
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
                operator_ns=int((total[last] - total[first]).sum()),
                reads=int((asks[last] - asks[first]).sum()),
                masks=int((masks[last] - masks[first]).sum()),
                names=tuple(scene.host.work.trace.strings[index] for index in common),
                records=int(scene.records(thread, start[first], end[last - 1]).sum()),
            )
        )
    return found


def medians(names: Ints, values: Ints) -> Ints:
    """Return for each value the median (of two, the larger) of those with the same name."""
    order = np.lexsort((values, names))
    _, first, code, number = np.unique(names[order], return_index=True, return_inverse=True, return_counts=True)
    found = np.empty_like(values)
    found[order] = values[order[first + number // 2]][code]
    return found


def silences(scene: Scene, thread: int, rows: Ints, taken: Ints) -> list[Stretch]:
    """Sum the stretches without any operator at the same line, but for those in which there was nothing to do."""
    columns = scene.host.work.trace.columns
    every = np.concatenate((rows, taken))
    made = makings(scene, thread)
    idle = [layer.between(scene.low, scene.high) for layer in unasked(scene.host, thread)]
    start = np.concatenate((columns["start"][every], made[0], *(np.maximum(some.start, scene.low) for some in idle)))
    end = np.concatenate((columns["end"][every], made[1], *(np.minimum(some.end, scene.high) for some in idle)))
    order = np.argsort(start, kind="stable")
    reach = np.maximum.accumulate(np.append(scene.low, end[order]))
    begins = np.append(start[order], scene.high)
    some = (begins - reach > CLOSE_NS) & (reach < scene.high)
    if not some.any():
        return []
    start, end = reach[some], begins[some]
    # Python that calls a brief operator and goes on for as long as none takes has not come to an end.
    opens = np.flatnonzero(np.append(True, start[1:] - end[:-1] >= SHORT_NS))
    lasts, total = (reduce.reduceat(end - start, opens) for reduce in (np.maximum, np.add))
    start, end = start[opens], end[np.append(opens[1:], len(end)) - 1]
    long = lasts > SILENT_NS
    start, end, total = start[long], end[long], total[long]
    middle = (start + end) // 2
    lines, line = np.unique(scene.line_strings(thread, middle), return_inverse=True)
    found = []
    for number in np.argsort(-np.bincount(line, total, len(lines)))[:MOST].tolist():
        mine = np.flatnonzero(line == number)
        worst = mine[np.argmax(total[mine])]
        called, doing = busy_with(scene, thread, int(start[worst]), int(end[worst]))
        found.append(
            Stretch(
                timeline=scene.id,
                kind="no_operator",
                where=scene.places.line_at(thread, int(middle[worst])),
                calls=len(mine),
                ns=int(total[mine].sum()),
                operators=0,
                operator_ns=0,
                reads=0,
                masks=0,
                names=called,
                records=int(scene.records(thread, start[mine], end[mine]).sum()),
                doing=doing,
            )
        )
    return found


def busy_with(scene: Scene, thread: int, start: int, end: int) -> tuple[tuple[str, ...], str]:
    """Return what the user's line called for most of a stretch, where that is known, and what such a call does."""
    places, names = scene.places, scene.host.work.names
    called = places.call_within(thread, start, end)
    line = int(places.innermost("lines", thread, np.array([(start + end) // 2]))[0])
    columns, strings = scene.host.work.trace.columns, scene.host.work.trace.strings
    if called < 0 or called == line or (line >= 0 and columns["start"][called] < columns["start"][line]):
        return (), ""
    row = np.array([called])
    kinds = [kind for kind in ("idling", "collecting", "print") if names.match("python", kind, row).any()]
    return (ADDRESS.sub("", strings[int(columns["name"][called])]),), "".join(kinds)
