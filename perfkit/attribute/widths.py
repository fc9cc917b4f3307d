"""How much there is to do at once: blocks of kernels, batches of matrix work, requests; and how memory was used."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

import numpy as np

from perfkit.attribute.intervals import Union
from perfkit.attribute.shapes import flops_of
from perfkit.model.arrays import distinct, quantile
from perfkit.model.signs import Memory, Width, Work
from perfkit.model.trace import Category

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from perfkit.attribute.scene import Scene
    from perfkit.model.trace import Device

    Ints = NDArray[np.int64]

__all__ = ["memory", "recording", "width", "work_of"]

MATRIX: Final = b"wmv"
LEADING: Final = {"linear": 0, "addmm": 1, "mm": 0, "matmul": 0, "addmv": 1, "conv1d": 0, "conv2d": 0, "conv3d": 0}
"""Which input of an operator has the batch as its first dimension."""
PROCESSORS: Final = ("numSms", "multiProcessorCount", "numMultiprocessors")
CAPABILITY: Final = ("computeMajor",)
FEWEST_RECORDS: Final = 100
CLOSEST: Final = 0.05
"""Part of the distances between beginnings that are as close or closer."""
MOST_RECORD_NS: Final = 1_000
"""Where events are never close together; `benchmarks.record_cost` measures 250 ns to 1 us."""
PROCESSOR: Final = "perfkitProcessor"
"""In the header: what a recording by perfkit has measured of the processor."""
MOST_FLOPS_PER_S: Final = 1e15
"""Nothing that is called a processor comes near."""
CAPACITY: Final = ("totalGlobalMem", "totalMemory")


def width(scene: Scene) -> Width:
    """Say how wide the work of a timeline is."""
    processors = known(device_of(scene), PROCESSORS)
    kernel_ns, narrow_ns = narrow(scene, processors)
    batch, matrix_ns = batch_of(scene)
    capability = known(device_of(scene), CAPABILITY)
    full = full_precision(scene)
    gathered_ns = gathering(scene)
    activities, inside = scene.host.work.activities, scene.reading.inside
    graphs = inside[activities.whole_graph[inside]]
    graph_ns = int((activities.end - activities.start)[graphs].sum())
    work = batch, matrix_ns, *full, gathered_ns, graph_ns, flops_per_s(scene), peak_flops_per_s(scene)
    return Width(scene.id, processors, capability, kernel_ns, narrow_ns, *work)


def device_of(scene: Scene) -> Device | None:
    """Return the device of a timeline as the header describes it."""
    wanted = scene.reading.timeline.device
    return next((device for device in scene.host.work.trace.devices if device.index == wanted), None)


def known(device: Device | None, keys: tuple[str, ...]) -> int:
    """Return the first property that the header has a number for, or 0."""
    values = [device.properties.get(key) for key in keys] if device else []
    return next((int(value) for value in values if isinstance(value, int | float) and value > 0), 0)


def full_precision(scene: Scene) -> tuple[int, tuple[str, ...]]:
    """Return time and names of the kernels that multiply matrices in full single precision."""
    work = scene.host.work
    activities, inside = work.activities, scene.reading.inside
    some = inside[work.names.match("device", "full_precision_matrix", activities.row[inside])]
    names = tuple(work.trace.strings[index] for index in distinct(activities.name[some]).tolist())
    return int((activities.end - activities.start)[some].sum()), names


def gathering(scene: Scene) -> int:
    """Return the time in which gradients were added up: as much for a small batch as for a large one."""
    work = scene.host.work
    columns = work.trace.columns
    total = 0
    for thread in scene.threads:
        rows = scene.within(scene.host.of_thread(thread, Category.OPERATOR, Category.ANNOTATION))
        rows = rows[work.names.match("operator", "gather", rows)]
        union = Union.of(columns["start"][rows], columns["end"][rows])
        total += int(scene.own_time(thread, union.start, union.end).sum())
    return total


def narrow(scene: Scene, processors: int) -> tuple[int, int]:
    """Return the time of kernels of a known grid, and of those with fewer blocks than there are processors."""
    work = scene.host.work
    if not scene.on_device or not processors or "grid" not in work.trace.columns:
        return 0, 0
    activities, inside = work.activities, scene.reading.inside
    some = inside[(activities.category[inside] == Category.KERNEL) & ~activities.communicates[inside]]
    grid = work.trace.columns["grid"][activities.row[some]]
    some, grid = some[grid >= 0], grid[grid >= 0]
    distinct, code = np.unique(grid, return_inverse=True)
    blocks = np.array([blocks_of(work.trace.strings[index]) for index in distinct.tolist()], np.int64)
    lasted = (activities.end - activities.start)[some]
    small = (blocks[code] > 0) & (blocks[code] < processors) if len(code) else np.zeros(0, bool)
    return int(lasted.sum()), int(lasted[small].sum())


def blocks_of(text: str) -> int:
    """Return the number of blocks of a grid such as ``[32, 1, 1]``, or 0 where it is none."""
    try:
        sizes = json.loads(text)
        return int(np.prod([int(size) for size in sizes], dtype=np.float64)) if sizes else 0
    except (ValueError, TypeError, OverflowError):
        return 0


def batch_of(scene: Scene) -> tuple[int, int]:
    """Return how many rows most of the forward pass's matrix work has by time, and the time of matrix work."""
    work = scene.host.work
    columns, strings = work.trace.columns, work.trace.strings
    sizes: dict[int, int] = {}
    total = 0
    for thread in scene.threads:
        total += matrix_time(scene, thread)
        tokens = scene.tokens(thread)
        at = np.flatnonzero(np.isin(np.frombuffer(tokens.letters, np.uint8), list(MATRIX)))
        if "shapes" not in columns or not len(at):
            continue
        own = scene.own_time(thread, tokens.start[at], tokens.end[at])
        key = tokens.name[at].astype(np.int64) * (len(strings) + 1) + columns["shapes"][tokens.row[at]]
        _, index, code = np.unique(key, return_index=True, return_inverse=True)
        time = np.bincount(code, own, len(index)).astype(np.int64)
        for first, spent in zip(at[index].tolist(), time.tolist(), strict=True):
            size = leading(strings[int(tokens.name[first])], strings[int(columns["shapes"][tokens.row[first]])])
            if size:
                sizes[size] = sizes.get(size, 0) + spent
    half, reached = sum(sizes.values()) / 2, 0
    for size in sorted(sizes):
        reached += sizes[size]
        if reached >= half:
            return size, total
    return 0, total


def matrix_time(scene: Scene, thread: int) -> int:
    """Return the time of the matrix work of a thread, the backward pass's included."""
    work = scene.host.work
    operators, nest = scene.places.operators(thread)
    name = work.trace.columns["name"][operators[nest.order]]
    matrix = work.names.verdicts("operator", "matrix", name) > 0
    outer = matrix & ((nest.parent < 0) | ~matrix[nest.parent]) & (nest.start >= scene.low) & (nest.start < scene.high)
    return int(scene.own_time(thread, nest.start[outer], nest.end[outer]).sum())


def flops_per_s(scene: Scene) -> float:
    """Return at which rate a thread that computes multiplies matrices, where their shapes were recorded, else 0."""
    columns, strings = scene.host.work.trace.columns, scene.host.work.trace.strings
    if scene.on_device or "shapes" not in columns:
        return 0.0
    rows = scene.within(scene.host.of_thread(scene.threads[0], Category.OPERATOR))
    rows = rows[scene.host.work.names.match("operator", "multiplies", rows)]
    key = columns["name"][rows].astype(np.int64) * (len(strings) + 1) + columns["shapes"][rows]
    _, index, code = np.unique(key, return_index=True, return_inverse=True)
    lasted = np.bincount(code, columns["end"][rows] - columns["start"][rows], len(index))
    flops, took = 0.0, 0.0
    for first, calls, ns in zip(rows[index].tolist(), np.bincount(code).tolist(), lasted.tolist(), strict=True):
        one = flops_of(strings[int(columns["name"][first])], strings[int(columns["shapes"][first])])
        flops, took = flops + one * calls, took + ns * (one > 0)
    return flops / took * 1e9 if took else 0.0


def peak_flops_per_s(scene: Scene) -> float:
    """Return what the processor comes to where only arithmetic counts, if that was measured as the trace was made."""
    said = scene.host.work.trace.header.get(PROCESSOR)
    rate = said.get("flops_per_s") if isinstance(said, dict) else None
    return float(rate) if isinstance(rate, int | float) and 0 < rate < MOST_FLOPS_PER_S and not scene.on_device else 0.0


def leading(name: str, shapes: str) -> int:
    """Return how many rows an operator works on at once, by the shapes of its inputs, or 0."""
    place = LEADING.get(name.rpartition("::")[2])
    if place is None or not shapes:
        return 0
    try:
        dims = json.loads(shapes)[place]
        # Every dimension but that of channels is one more row of the product: the last one, of convolutions the second.
        rows = [*dims[:1], *dims[2:]] if "conv" in name else dims[:-1] or dims
        return int(np.prod([int(size) for size in rows], dtype=np.float64)) if rows else 0
    except (ValueError, TypeError, IndexError, KeyError, OverflowError):
        return 0


def work_of(scene: Scene) -> Work:
    """Say whether there was a backward pass, and how requests came."""
    work = scene.host.work
    columns, names = work.trace.columns, work.names
    backward, starts, ends = False, [], []
    for thread in scene.threads:
        rows = scene.within(scene.host.of_thread(thread, Category.OPERATOR, Category.ANNOTATION))
        backward = backward or bool(names.match("operator", "backward", rows).any())
    process = scene.reading.timeline.process
    rows = scene.within(work.trace.rows(Category.ANNOTATION))
    rows = rows[names.match("host", "request", rows)]
    mine = np.array([thread.process == process for thread in work.trace.threads])
    rows = rows[mine[columns["thread"][rows]]]
    rows = rows[np.argsort(columns["start"][rows], kind="stable")]
    starts, ends = columns["start"][rows], columns["end"][rows]
    union = Union.of(starts, ends)
    between = np.maximum(union.start[1:] - union.end[:-1], 0)
    open_now = np.arange(1, len(rows) + 1) - np.searchsorted(np.sort(ends), starts, "right")
    together = int(open_now.max()) if len(rows) else 0
    return Work(scene.id, backward, len(rows), union.total, int(between.sum()), together, *recording(scene))


def recording(scene: Scene) -> tuple[int, int]:
    """Return how many events of a thread that computes were written down, and what one took, by those closest together.

    Between the beginnings of two events lies one record, and hardly anything else where they are as close as they get.
    """
    if scene.on_device:
        return 0, 0
    written = scene.written(scene.threads[0])
    written = written[np.searchsorted(written, scene.low) : np.searchsorted(written, scene.high)]
    if len(written) < FEWEST_RECORDS:
        return 0, 0
    return len(written), min(int(quantile(np.diff(written), CLOSEST)), MOST_RECORD_NS)


def tried_again(operator: Ints, freed: NDArray[np.bool_], taken: NDArray[np.bool_]) -> Ints:
    """Return the operators in which memory was asked for, then freed, then asked for again; calls are by start."""
    found = []
    for one in sorted(set(operator[freed].tolist()) & set(operator[taken].tolist())):
        mine = operator == one
        asked, given = np.flatnonzero(taken & mine), np.flatnonzero(freed & mine)
        # To free before anything was asked for is how a context is made.
        if one >= 0 and ((given > asked[0]) & (given < asked[-1])).any():
            found.append(one)
    return np.array(found, np.int64)


def memory(scene: Scene) -> Memory | None:
    """Say how the memory of a device was used, where anything is recorded of it."""
    work = scene.host.work
    columns = work.trace.columns
    if not scene.on_device:
        return None
    peaks = {"total_allocated": 0, "total_reserved": 0}
    rows = scene.within(work.trace.rows(Category.MEMORY))
    if len(rows) and "total_allocated" in columns:
        rows = rows[columns["device"][rows] == scene.reading.timeline.device]
        peaks = {name: int(columns[name][rows].max(initial=0)) for name in peaks if name in columns}
    allocations = retries = lost = 0
    where, longest = "", 0
    for thread in scene.threads:
        calls = scene.within(scene.host.allocations(thread))
        took = columns["end"][calls] - columns["start"][calls]
        freed, taken = (work.names.match("runtime", group, calls) for group in ("give_memory", "take_memory"))
        allocations += int(taken.sum())
        operator = scene.places.innermost("operators", thread, columns["start"][calls])
        both = tried_again(operator, freed, taken)
        mine = np.isin(operator, both)
        retries += len(both)
        lost += int(took[mine].sum())
        if mine.any() and took[mine].max() > longest:
            worst = np.flatnonzero(mine)[np.argmax(took[mine])]
            longest = int(took[worst])
            where = scene.places.line_at(thread, int(columns["start"][calls[worst]]))
    capacity = known(device_of(scene), CAPACITY)
    if not (allocations or retries or any(peaks.values())):
        return None
    return Memory(
        scene.id,
        capacity,
        peaks.get("total_allocated", 0),
        peaks.get("total_reserved", 0),
        allocations,
        retries,
        lost,
        where,
    )
