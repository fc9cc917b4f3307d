"""The Picture: what a trace looks like, as rows of a timeline and as flame graphs, thinned to what can be drawn.

Times are integer nanoseconds relative to the epoch of the trace; arrays are int64. A name is an index into ``names``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from perfkit.model.attribution import BUSY_CLASSES, IDLE_CAUSES

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Ints = NDArray[np.int64]

__all__ = ["KINDS", "OWNERS", "Flame", "Picture", "Track"]

OWNERS: Final = (*BUSY_CLASSES, *IDLE_CAUSES)
"""Who can own a moment of a timeline."""

KINDS: Final = (
    *OWNERS,
    "kernel",
    "communication",
    "copy",
    "memset",
    "operator",
    "annotation",
    "call",
    "launch",
    "wait",
    "module",
    "line",
    "overhead",
    "system",
    "sample",
    "waiting_for_ranks",
)
"""What an element of a track can be; those of a track of owners are owners, those of a rank communication."""


class Track(NamedTuple):
    """A row of the timeline; its elements are ordered by level, then start, and those of a level do not overlap.

    Attributes:
        role: Who owns the time of a timeline, a stream of its device, a host thread, or the collectives of a rank.
        timeline: Id of the Timeline that it belongs to; empty for host threads without one.
        group: What it stands under: the process, or the rank of the process.
        label: What to call it.
        start: Start of each element.
        end: End of each element.
        level: How deep it is nested, 0 for the outermost.
        kind: Index into KINDS.
        name: Its name, or, for an owner, the host event that it is owed to; -1 for none.
        merged: How many neighbours were made one element to save room; it has the name, kind and row of the longest.
        row: Row of the trace that it shows; -1 for none.
        shapes: The shapes of its inputs, an index into the names, -1 for none; None where the picture was thinned.
    """

    role: Literal["owners", "stream", "thread", "rank"]
    timeline: str
    group: str
    label: str
    start: Ints
    end: Ints
    level: Ints
    kind: Ints
    name: Ints
    merged: Ints
    row: Ints
    shapes: Ints | None = None


class Flame(NamedTuple):
    """A flame graph: a forest of frames, parents before children.

    Attributes:
        by: What the frames are: modules with their operators and kernels, or lines of Python with their operators.
        measure: What is measured: time on devices, by where it was launched, or time of host threads.
        parent: Position of each frame's parent, -1 for an outermost one.
        name: Its name.
        self_ns: Time of the frame itself, without its children.
        left_out_ns: Time of the frames that were too small to keep; it is in ``self_ns`` of their parents, or, without
            one, only here.
    """

    by: Literal["module", "line"]
    measure: Literal["device", "host"]
    parent: Ints
    name: Ints
    self_ns: Ints
    left_out_ns: int


class Picture(NamedTuple):
    """What a trace looks like.

    Attributes:
        names: The texts that are named.
        start_ns: Start of the first element.
        end_ns: End of the last one.
        tracks: The rows of the timeline.
        focus: A stretch that is thinned less than the rest, such as a typical step; None where nothing was thinned.
        elements: How many elements there were before they were thinned.
        threads_left_out: Host threads that are not shown since others do more.
        flames: The flame graphs that the trace can give.
        marks: For each finding the elements that prove it, where it names rows: positions of tracks, each with
            positions of elements.
        launches: ``[n, 2]``: rows of the call and of the activity of each launch; None where the picture was thinned.
    """

    names: tuple[str, ...]
    start_ns: int
    end_ns: int
    tracks: tuple[Track, ...]
    focus: tuple[int, int] | None
    elements: int
    threads_left_out: int
    flames: tuple[Flame, ...]
    marks: tuple[tuple[tuple[int, Ints], ...], ...] = ()
    launches: Ints | None = None
