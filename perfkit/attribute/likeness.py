"""Whether one step of a device is like another: a graph that is captured once can only be run again if it is."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from perfkit.model.signs import Likeness
from perfkit.model.trace import Category

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from perfkit.attribute.scene import Scene

    Ints = NDArray[np.int64]

__all__ = ["likeness"]


def likeness(scene: Scene) -> Likeness | None:
    """Compare the steps of a device; None without at least two of them."""
    times, work = scene.reading.step_times, scene.host.work
    steps = len(scene.reading.timeline.steps)
    if not scene.on_device or times is None or steps < 2:  # noqa: PLR2004  two can be compared
        return None
    activities = work.activities
    kernels = (times.step >= 0) & (activities.category[times.activity] == Category.KERNEL)
    mine, step = times.activity[kernels], times.step[kernels]
    start = work.calls.start[activities.call[mine]] if len(work.calls.start) else activities.start[mine]
    order = np.lexsort((activities.start[mine], start, step))
    mine, step = mine[order], step[order]
    grid = work.trace.columns.get("grid")
    sizes = np.full(len(mine), -1) if grid is None else grid[activities.row[mine]]
    bounds = np.searchsorted(step, np.arange(steps + 1))
    names, grids = activities.name[mine], sizes.astype(np.int64)
    spans = list(zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True))
    usual = most_frequent([names[low:high].tobytes() for low, high in spans])
    sized = most_frequent([grids[spans[at][0] : spans[at][1]].tobytes() for at in usual])
    return Likeness(scene.id, steps, len(usual), len(sized), compiled(scene), graphs(scene))


def most_frequent(texts: list[bytes]) -> list[int]:
    """Return where the most frequent text is."""
    ((usual, _),) = Counter(texts).most_common(1)
    return [at for at, text in enumerate(texts) if text == usual]


def compiled(scene: Scene) -> int:
    """Return how many regions of `torch.compile` were entered."""
    work = scene.host.work
    rows = scene.within(work.trace.rows(Category.OPERATOR, Category.ANNOTATION))
    return int(work.names.match("host", "compiled_region", rows).sum())


def graphs(scene: Scene) -> int:
    """Return how many calls launched more than one activity, as graphs do."""
    call = scene.host.work.activities.call[scene.reading.inside]
    return int((np.bincount(call[call >= 0]) > 1).sum()) if (call >= 0).any() else 0
