"""The Program: what a recorded program did on host and device, each activity linked to the call that launched it.

Times are integer nanoseconds relative to the epoch of the trace; arrays are int64 unless said otherwise.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from perfkit.model.prediction import Which

    Ints = NDArray[np.int64]
    Mask = NDArray[np.bool_]

__all__ = ["NO_STEP", "WAITS", "Activities", "Calls", "Program", "Selection", "Spans", "StepMarks", "StepTimes"]

WAITS: Final = ("nothing", "own_copy", "stream", "device")
"""What a call can wait for: the copy that it launched, one stream (or an event on it), or all streams of a device."""


NO_STEP: Final = -2
"""Of what was launched after the last step, and in steps that are not looked at."""


class Calls(NamedTuple):
    """Runtime and driver calls, by start; ``launches`` marks those that hand work to a device."""

    row: Ints
    start: Ints
    end: Ints
    thread: NDArray[np.int32]
    process: NDArray[np.int32]
    correlation: Ints
    is_copy: NDArray[np.bool_]
    is_graph: NDArray[np.bool_]
    launches: NDArray[np.bool_]
    with_activity: NDArray[np.bool_]


class Activities(NamedTuple):
    """Device activities, by start, then correlation (those without one last).

    ``call`` is a position in Calls or -1, ``owner`` the host process or -1, ``track`` the thread column. The end of an
    ``impossible`` one is not known, and taken to be its start. A ``whole_graph`` stands for all kernels of a graph.
    """

    row: Ints
    start: Ints
    end: Ints
    category: NDArray[np.uint8]
    name: NDArray[np.int32]
    track: NDArray[np.int32]
    device: NDArray[np.int32]
    stream: NDArray[np.int32]
    call: Ints
    owner: NDArray[np.int32]
    communicates: NDArray[np.bool_]
    whole_graph: NDArray[np.bool_]
    impossible: NDArray[np.bool_]


class Spans(NamedTuple):
    """Stretches of host threads, by thread, then start; ``row`` is the trace's row of each."""

    thread: NDArray[np.int32]
    start: Ints
    end: Ints
    row: Ints

    def take(self, some: Ints | Mask) -> Spans:
        """Return some of them, in the order given."""
        return Spans(self.thread[some], self.start[some], self.end[some], self.row[some])


class StepMarks(NamedTuple):
    """The marks that tell a launch its step.

    Attributes:
        thread: The host thread that they are on.
        time: ``[n]``: when they begin, and the end of the last.
        step: ``[n + 1]``: the step of what is launched before the first of these times, and after each: an index into
            the steps, -1 for those before them, and ``NO_STEP``.
    """

    thread: int
    time: Ints
    step: Ints


class StepTimes(NamedTuple):
    """The steps of one timeline of an Attribution, or its whole window as the only one.

    Attributes:
        timeline: Its id.
        edges: ``[n + 1]``: step i is ``[edges[i], edges[i + 1])``; a step of a device ends with the last activity that
            was launched in it.
        thread: The host thread of a timeline without device activity; -1 for a device.
        activity: Positions in Activities of those that bound the steps; none for a host thread.
        step: The step of each, -1 for those launched before the first.
        marks: What says so, if the marks of steps are all on one thread.
    """

    timeline: str
    edges: Ints
    thread: int
    activity: Ints
    step: Ints
    marks: StepMarks | None = None


class Program(NamedTuple):
    """What the replay of a trace starts from.

    Attributes:
        calls: Calls of runtime and driver.
        activities: Device activities.
        waits: What each call waits for, an index into WAITS, int8.
        waited_stream: The stream that a call waits for where the trace says so, else the minimum of int32.
        records_event: Calls that record an event on a stream.
        awaits_event: Calls that make a stream wait for an event.
        host: All that the trace shows of host threads: operators, annotations, calls, Python.
        loading: DataLoader's ``__next__`` and its like, disjoint on each thread.
        loaded_by_workers: Which of these take what other processes have loaded.
        process_of_thread: Index of the process of each thread of the trace, int32.
        steps: The timelines' steps.
    """

    calls: Calls
    activities: Activities
    waits: NDArray[np.int8]
    waited_stream: NDArray[np.int32]
    records_event: NDArray[np.bool_]
    awaits_event: NDArray[np.bool_]
    host: Spans
    loading: Spans
    loaded_by_workers: NDArray[np.bool_]
    process_of_thread: NDArray[np.int32]
    steps: tuple[StepTimes, ...]


class Selection(Protocol):
    """Finds the events that a `Which` means in the Program of a trace: names and lines are the trace's."""

    def calls(self, which: Which) -> Mask:
        """Mark the calls of runtime and driver."""

    def activities(self, which: Which) -> Mask:
        """Mark the device activities: by their names, and by the lines and threads that they were launched from."""

    def operators(self, which: Which) -> Spans:
        """Return operators (and annotations, where they are named), the outermost ones, disjoint on each thread."""

    def operators_around(self, calls: Ints) -> Spans:
        """Return the innermost operators around calls, given by position; disjoint on each thread."""

    def host_time(self, cause: str, which: Which) -> Spans:
        """Return the time of host threads that is owed to an idle cause, disjoint on each thread."""
