"""The timeline of a trace without device activity: the busiest host thread, in the same vocabulary."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

import numpy as np

from perfkit.attribute.blame import Losses, thread_name
from perfkit.attribute.host import CODE, Host, Layer, Pieces, paint
from perfkit.attribute.intervals import EMPTY, Union
from perfkit.attribute.steps import find_marks
from perfkit.attribute.timeline import Reading, add_by_step, busy_by_class, idle_by_cause, step_table
from perfkit.attribute.unasked import makes_steps, unasked, without_work
from perfkit.attribute.worker_time import worker_threads
from perfkit.model.attribution import IDLE_CAUSES, Timeline
from perfkit.model.program import StepTimes
from perfkit.model.trace import Category

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from perfkit.attribute.places import Places
    from perfkit.attribute.steps import Marks

    Ints = NDArray[np.int64]

__all__ = ["read_host"]

RANGES: Final = (Category.ANNOTATION, Category.RUNTIME, Category.PYTHON)
"""What a thread without operators and samples can be seen to do."""


def read_host(host: Host, places: Places, window: Literal["steps", "device-span"]) -> tuple[list[Reading], str]:
    """Attribute the busiest thread; an empty list if no thread has any event.

    Operators are computation, or communication if they are collectives, except inside data loading or compilation.
    Where nothing else is known of a moment, a sample says that the thread ran: that is computation, too. A wait in the
    operating system is none.

    Returns:
        The reading, and what the steps were found from.
    """
    work = host.work
    if not len(host.rows):
        return [], "none"
    thread = busiest(host)
    process = int(work.process_of_thread[thread])
    marks = find_marks(work, process)
    edges, names, dropped = bounds(host, thread, marks if window == "steps" else None)
    pieces = paint(edges[:1], edges[-1:], layers(host, thread), edges[1:-1], "unattributed_host_silent")
    time = np.zeros((len(edges) - 1, len(CODE)), np.int64)
    add_by_step(time, edges, pieces)
    total = time.sum(axis=0)
    idle = pieces.cause < len(IDLE_CAUSES)
    only = bool(names) and not dropped
    timeline = Timeline(
        id=f"{work.processes[process]}/{thread_name(host, thread)}",
        kind="host_thread",
        window_kind="steps" if names else "host-span",
        process=work.processes[process],
        device=-1,
        device_name="",
        uuid="",
        start_ns=int(edges[0]),
        end_ns=int(edges[-1]),
        busy=busy_by_class(total),
        kernel_union_ns=0,
        kernel_sum_ns=0,
        communication_ns=int(total[CODE["exposed_communication"]]),
        copy_ns=0,
        idle=idle_by_cause(total),
        activities=0,
        unlinked_activities=0,
        lead_in_ns=0,
        lead_out_ns=0,
        confidence="low" if only else "medium",
        confidence_reason=(
            "only one step was recorded, so warm-up cannot be told apart"
            if only
            else "no device activity was recorded, so this is the busiest host thread"
        ),
        steps=step_table(names, edges, time),
    )
    losses = Losses(host, places)
    losses.add(Pieces(*(getattr(pieces, name)[idle] for name in Pieces._fields)))
    times = StepTimes(timeline.id, edges, thread, EMPTY, EMPTY)
    span = timeline.start_ns, timeline.end_ns
    reading = Reading(timeline, losses, EMPTY, dropped, span, thread, step_times=times)
    return [reading], marks.source if names or window == "device-span" else "none"


def busiest(host: Host) -> int:
    """Return the thread with most time in operators; where there are none, in samples, then in any events at all.

    A thread that makes the steps comes before all others that have operators: one that computes beside it may have more
    of them while the steps wait for data. To wait in the operating system, or for work, is not to be busy: a thread
    that does nothing else comes last. Workers of data loaders are left out: theirs is another timeline.
    """
    columns = host.work.trace.columns

    def total(thread: int, *categories: Category) -> int:
        rows = host.of_thread(thread, *categories)
        return Union.of(columns["start"][rows], columns["end"][rows]).total

    def waiting(thread: int) -> int:
        waits = without_work(host, thread)
        return int((waits.end - waits.start).sum())

    present = [thread for thread in range(len(host.bounds) - 1) if host.bounds[thread] < host.bounds[thread + 1]]
    workers = worker_threads(host.work)
    threads = [thread for thread in present if thread not in workers] or present
    threads = [thread for thread in threads if makes_steps(host, thread)] or threads
    for categories in ((Category.OPERATOR,), (Category.SAMPLE,)):
        cover = [total(thread, *categories) for thread in threads]
        if any(cover):
            return threads[int(np.argmax(cover))]
    return max(threads, key=lambda thread: total(thread, *RANGES) - waiting(thread))


def bounds(host: Host, thread: int, marks: Marks | None) -> tuple[Ints, tuple[str, ...], tuple[str, ...]]:
    """Return edges, names and dropped names of steps on a host thread; step k lasts until mark k + 1."""
    if marks is not None and len(marks):
        edges = np.maximum.accumulate(np.append(marks.start, marks.end.max()))
        drop = 1 if len(marks) > 1 else 0
        if edges[-1] > edges[drop]:
            return edges[drop:], marks.names[drop:], marks.names[:drop]
    rows = host.rows[host.bounds[thread] : host.bounds[thread + 1]]
    columns = host.work.trace.columns
    return np.array([columns["start"][rows].min(), columns["end"][rows].max()]), (), ()


def layers(host: Host, thread: int) -> list[Layer]:
    """Return what a host thread does, as layers in order of precedence."""
    columns = host.work.trace.columns
    operators = host.of_thread(thread, Category.OPERATOR)
    ranges = host.of_thread(thread, Category.OPERATOR, Category.ANNOTATION)
    rows = {
        "data_loading": host.loaders(thread),
        "compilation": host.compilations(thread),
        "exposed_communication": ranges[host.work.names.match("host", "collective", ranges)],
        "compute": operators,
    }
    below = {
        "os_wait": host.of_thread(thread, Category.OS_CALL),
        "python": host.of_thread(thread, Category.PYTHON, Category.ANNOTATION),
        "profiler_overhead": host.of_thread(thread, Category.OVERHEAD),
    }
    own, other = (
        [Layer.of(cause, some, columns["start"][some], columns["end"][some]) for cause, some in kinds.items()]
        for kinds in (rows, below)
    )
    samples = host.of_thread(thread, Category.SAMPLE)
    ran = Layer.of("compute", samples, columns["start"][samples], columns["end"][samples])
    process = int(host.work.process_of_thread[thread])
    return [*own, *unasked(host, thread), *other, host.overhead(process), ran]
