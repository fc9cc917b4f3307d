"""How data was loaded: which kind of loader, how evenly it delivered, and what each beginning of an epoch cost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from perfkit.attribute.intervals import Union
from perfkit.attribute.names import pattern
from perfkit.model.arrays import distinct, quantile
from perfkit.model.signs import Loader
from perfkit.model.trace import Category

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from perfkit.attribute.scene import Scene

    Ints = NDArray[np.int64]

__all__ = ["loaders", "makings"]

FEWEST: Final = 4
"""Calls from which some can be told to be unlike the others."""
FAR_LONGER: Final = 4
LEAST_STALL_NS: Final = 500_000
LEAST_WORK: Final = 4
"""A batch is worked on by at least such a part of the operators that the program usually has for one."""
MOST_READY_NS: Final = 3_000_000
"""To take over a batch that a worker has ready takes no longer, large ones and a profiler of stacks included."""


def loaders(scene: Scene) -> list[Loader]:
    """Return the loaders of the threads of a timeline, those with most time first."""
    columns = scene.host.work.trace.columns
    found = []
    for thread in scene.threads:
        rows = scene.within(scene.host.loaders(thread))
        names = distinct(columns["name"][rows]).tolist()
        found += [loader(scene, thread, rows[columns["name"][rows] == name]) for name in names]
    return sorted(found, key=lambda row: -row.ns)


def loader(scene: Scene, thread: int, rows: Ints) -> Loader:
    """Describe the calls of one loader."""
    columns, strings = scene.host.work.trace.columns, scene.host.work.trace.strings
    name = strings[int(columns["name"][rows[0]])]
    start, end = columns["start"][rows], columns["end"][rows]
    took = end - start
    anew, prepared = beginnings(scene, thread, start, end)
    # The call that finds no more batch hands none over: the next one begins an epoch, with workers that stood still.
    last = without_work(scene, thread, start, end)
    edge = anew | last | np.append(False, last[:-1])
    inner = took[~edge] if (~edge).any() else took
    typical = int(np.median(inner))
    stalled = (took > FAR_LONGER * typical) & (took > LEAST_STALL_NS) & ~edge
    if len(rows) < FEWEST:
        stalled[:] = False
    began = anew & (np.arange(len(rows)) > 0)
    ready = min(int(quantile(inner, 0.1)), MOST_READY_NS) if pattern("loader", "workers").search(name) else 0
    idle = held_up(scene, "idling", thread, start, end)
    late = np.maximum(took - ready, 0)
    if idle.any():
        late = np.maximum(np.minimum(late, idle), held_up(scene, "waits_for_batch", thread, start, end))
    late[edge] = 0
    # Ending the workers of an epoch is part of starting others.
    making = prepared + np.append(0, np.where(last, took, 0)[:-1])
    startup = np.where(began, np.maximum(took - typical, 0) + making, 0)
    kinds = [kind for kind in ("in_process", "workers") if pattern("loader", kind).search(name)]
    return Loader(
        timeline=scene.id,
        name=name,
        kind=kinds[0] if kinds else "other",
        calls=len(rows),
        ns=int(took.sum()),
        typical_ns=typical,
        longest_ns=int(took.max()),
        stalled=int(stalled.sum()),
        stalled_ns=int((took - typical)[stalled].sum()),
        period=period(stalled),
        late_ns=int(late.sum()),
        waited_ns=int(took[~edge].sum()),
        epochs=int(began.sum()),
        making_ns=int(making[began].sum()),
        startup_ns=int(startup.sum()),
        longer_ns=longer(scene, start[began]),
        idling_ns=int(idle.sum()),
        records=int(scene.records(thread, start, end).sum()),
    )


def without_work(scene: Scene, thread: int, start: Ints, end: Ints) -> NDArray[np.bool_]:
    """Mark the calls after which hardly any operator runs before the next: there was no batch."""
    _, nest = scene.places.operators(thread)
    outer = nest.start[nest.parent < 0]
    between = np.searchsorted(outer, np.append(start[1:], scene.high)) - np.searchsorted(outer, end)
    found: NDArray[np.bool_] = LEAST_WORK * between < np.median(between)
    found[-1:] = False  # the window may end here
    return found


def longer(scene: Scene, moments: Ints) -> int:
    """Return by how much the steps around some moments are longer than others usually are."""
    steps = scene.reading.timeline.steps
    start, end = (np.array([getattr(step, name) for step in steps], np.int64) for name in ("start_ns", "end_ns"))
    some = np.zeros(len(start), bool)
    if len(start):
        some[np.clip(np.searchsorted(start, moments, "right") - 1, 0, None)] = True
    if some.all() or not some.any():
        return 0
    lengths = end - start
    return max(int((lengths[some] - np.median(lengths[~some])).sum()), 0)


def held_up(scene: Scene, group: str, thread: int, start: Ints, end: Ints) -> Ints:
    """Return the time within each call in which the thread is seen in functions of a group: to sleep, or to wait."""
    host = scene.host
    columns = host.work.trace.columns
    rows = scene.within(host.of_thread(thread, Category.PYTHON))
    rows = rows[host.work.names.match("python", group, rows)]
    waits = Union.of(columns["start"][rows], columns["end"][rows])
    return waits.covered(end) - waits.covered(start)


def makings(scene: Scene, thread: int) -> tuple[Ints, Ints]:
    """Return when the iterators of loaders were made, and their workers started."""
    columns = scene.host.work.trace.columns
    rows = scene.host.loaders(thread)
    start, end = columns["start"][rows], columns["end"][rows]
    anew, made = beginnings(scene, thread, start, end) if len(rows) else (np.zeros(0, bool), start)
    return (start - made)[anew], start[anew]


def beginnings(scene: Scene, thread: int, start: Ints, end: Ints) -> tuple[NDArray[np.bool_], Ints]:
    """Mark the calls before which a new iterator was made, and say how long making it took.

    A new iterator draws a seed for its workers, and only then starts them; one that is used again draws none. The seed
    of a sampler, which a permutation follows, is another.
    """
    work = scene.host.work
    operators, nest = scene.places.operators(thread)
    name = work.trace.columns["name"][operators[nest.order]]
    seeds, drawn = (nest.start[work.names.verdicts("operator", group, name) > 0] for group in ("seed", "permutation"))
    after = np.append(scene.low, end[:-1])
    first, last = np.searchsorted(seeds, after), np.searchsorted(seeds, start)
    permutations = np.searchsorted(drawn, start) - np.searchsorted(drawn, after)
    anew = last - first > permutations
    made = np.where(anew, start - seeds[np.minimum(first, len(seeds) - 1)], 0) if len(seeds) else np.zeros_like(start)
    return anew, made


def period(stalled: NDArray[np.bool_]) -> int:
    """Return after how many calls a stall comes again, where that is regular, else 0."""
    at = np.flatnonzero(stalled)
    if len(at) < FEWEST - 1:
        return 0
    apart = np.diff(at)
    usual = int(np.median(apart))
    return usual if usual > 1 and np.mean(np.abs(apart - usual) <= usual // FEWEST) > 0.7 else 0  # noqa: PLR2004  most
