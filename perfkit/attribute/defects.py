"""What the attribution found wrong with a trace: things that a reader must know before believing a number."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from perfkit.attribute.host import CODE, Host
from perfkit.attribute.mixed import repeated_launches
from perfkit.model.quantity import count, duration, percent
from perfkit.model.trace import Category, Defect

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from perfkit.attribute.timeline import Reading

    Ints = NDArray[np.int64]
    Counted = tuple[str, int, str]

__all__ = ["find_defects"]

SILENCE_THAT_MATTERS: Final = 0.01
"""Part of a timeline's window from which on the silence of its host is worth a word."""

LONGEST_NAME: Final = 60

HOW_TO_RECORD: Final = {
    "onnxruntime": (
        "was ONNX Runtime built with `--enable_cuda_profiling`?",
        "the profile holds what ONNX Runtime did; record the caller with torch.profiler or Nsight Systems",
    ),
    "nsight-systems": (
        "was `--trace=cuda` given, and may this user profile?",
        "record with `--trace=cuda,nvtx,osrt --sample=process-tree` to see more of the host",
    ),
    "nsight-systems-json": (
        "was `--trace=cuda` given, and may this user profile?",
        "export the report as SQLite (`nsys export --type sqlite`): it says what the host did",
    ),
    "rocprofv3": (
        "were `--kernel-trace` and `--memory-copy-trace` given, and may this user profile?",
        "record with `--hip-trace --marker-trace` to see more of the host",
    ),
    "triton-server": (
        "the server records none",
        "requests were there, received, queued or sent, while the model did not compute",
    ),
    "trtexec": (
        "were the queries exported?",
        "between its calls `trtexec` waits for queries to end, and prepares more",
    ),
}
"""Format to what to ask where no device activity was recorded, and how to see more of the host."""
IN_PYTORCH: Final = (
    "was ProfilerActivity.CUDA on, and may this user profile?",
    "record with with_stack=True to see Python code",
)


def find_defects(host: Host, readings: Sequence[Reading]) -> tuple[Defect, ...]:
    """Return the defects that show only once activities, launches, steps and threads are put together."""
    counted = [*activity_defects(host), *launch_defects(host), *empty_steps(readings), *silence(host, readings)]
    return tuple(Defect(kind, number, -1, message) for kind, number, message in counted if number)


def activity_defects(host: Host) -> Iterator[Counted]:
    """Count activities that overlap on one stream, or cannot have lasted as long as they say; each with an example."""
    activities, calls = host.work.activities, host.work.calls
    if not len(activities.row):
        lost = int(calls.launches.sum())
        question, _ = HOW_TO_RECORD.get(host.work.trace.format, IN_PYTORCH)
        yield "no_device_activity", lost, f"{count(lost, 'launch', 'launches')} but no device activity: {question}"
        return
    order = np.argsort(activities.track, kind="stable")
    track, start, end = activities.track[order], activities.start[order], activities.end[order]
    first = np.flatnonzero(np.append(True, track[1:] != track[:-1]))
    reach = np.concatenate([np.maximum.accumulate(part) for part in np.split(end, first[1:])])
    overlaps = order[np.flatnonzero((start[1:] < reach[:-1]) & (track[1:] == track[:-1])) + 1]
    yield (
        "overlapping_activities",
        len(overlaps),
        f"{count(len(overlaps), 'activity starts', 'activities start')} before the one before on the same stream ends"
        f"{example(host, activities.row[overlaps])}",
    )
    impossible = np.flatnonzero(activities.impossible)
    yield (
        "impossible_duration",
        len(impossible),
        f"{count(len(impossible), 'activity ends', 'activities end')} after a synchronization that waited for it: "
        f"taken as no time at all"
        f"{example(host, activities.row[impossible])}",
    )


def launch_defects(host: Host) -> Iterator[Counted]:
    """Count what is wrong with the links between launches and activities; each with an example."""
    work = host.work
    activities, calls = work.activities, work.calls
    if not len(activities.row):
        return
    orphans = np.flatnonzero(activities.call < 0)
    yield (
        "activities_without_launch",
        len(orphans),
        f"{len(orphans):,} of {len(activities.row):,} activities without a recorded launch: counted as busy, the gaps "
        f"before as unattributed{example(host, activities.row[orphans])}",
    )
    repeated = repeated_launches(calls)
    yield (
        "repeated_correlation",
        len(repeated),
        f"{count(len(repeated), 'launch', 'launches')} with another's correlation: activities go to the latest before"
        f"{example(host, calls.row[repeated])}",
    )
    linked = np.flatnonzero(activities.call >= 0)
    early = linked[activities.start[linked] < calls.start[activities.call[linked]]] if len(calls.row) else linked
    yield (
        "activity_before_launch",
        len(early),
        f"{count(len(early), 'activity', 'activities')} earlier than launched: host and device clocks disagree"
        f"{example(host, activities.row[early])}",
    )
    names = ", ".join(sorted(work.processes[process] for process in work.mixed)[:3])
    yield (
        "shared_process_id",
        len(work.mixed),
        f"{count(len(work.mixed), 'process id')} of several programs, as where ranks were merged into one file "
        f"({names}): give each rank's own trace",
    )


def example(host: Host, rows: NDArray[Any]) -> str:
    """Name the earliest of some rows and say when it was."""
    if not len(rows):
        return ""
    trace = host.work.trace
    row = int(rows[np.argmin(trace.columns["start"][rows])])
    name = trace.strings[int(trace.columns["name"][row])]
    shown = name if len(name) <= LONGEST_NAME else f"{name[:LONGEST_NAME]}..."
    return f"; first {shown!r} at {int(trace.columns['start'][row]) / 1e6:.6f} ms"


def empty_steps(readings: Sequence[Reading]) -> Iterator[Counted]:
    """Count the recorded steps that launched nothing on a device that has steps."""
    empty = [(reading.timeline.id, reading.without_work) for reading in readings if reading.without_work]
    number = sum(len(names) for _, names in empty)
    if empty:
        line, names = empty[0]
        yield (
            "steps_without_work",
            number,
            f"{count(number, 'recorded step')} launched nothing on the device: not counted as steps there, the time "
            f"belongs to the next one; first {names[0][:LONGEST_NAME]!r} on {line}",
        )


def silence(host: Host, readings: Sequence[Reading]) -> Iterator[Counted]:
    """Count the moments at which a launching thread shows no event although the device waits for it, if it matters."""
    silent = "unattributed_host_silent"
    lines = [
        reading
        for reading in readings
        if reading.timeline.idle.get(silent, 0) >= max(1, SILENCE_THAT_MATTERS * reading.timeline.window_ns)
    ]
    number = sum(int(reading.losses.pieces[CODE[silent]]) for reading in lines)
    silent_ns = sum(reading.timeline.idle[silent] for reading in lines)
    window_ns = sum(reading.timeline.window_ns for reading in lines)
    stacks = len(host.work.trace.rows(Category.PYTHON, Category.SAMPLE))
    _, more = HOW_TO_RECORD.get(host.work.trace.format, IN_PYTORCH)
    advice = "it waits for another thread or runs unrecorded code" if stacks else more
    yield (
        "host_events_missing",
        number,
        f"at {count(number, 'moment')} ({duration(silent_ns)}, {percent(silent_ns, window_ns)} of the window) the host "
        f"thread to blame shows no event: {advice}",
    )
