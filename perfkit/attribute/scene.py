"""One timeline with the host threads that feed it: device time and idle time of whatever happened on them."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Final

import numpy as np

from perfkit.attribute.intervals import Union
from perfkit.attribute.operators import labels, module_class
from perfkit.attribute.tokens import tokens_of
from perfkit.model.arrays import distinct
from perfkit.model.trace import Category

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from perfkit.attribute.host import Host
    from perfkit.attribute.places import Places
    from perfkit.attribute.timeline import Reading

    Ints = NDArray[np.int64]

__all__ = ["Scene"]

MOST_CALLING_NS: Final = 50_000
"""To call an operator takes no longer: what lies between two of them for longer is work of its own."""


class Scene:
    """A reading of a timeline, ready to be asked what stretches of its host threads cost.

    ``tokens`` are the operators of the forward pass on a thread.

    Attributes:
        host: The host threads.
        places: Look-ups on them.
        reading: The timeline.
        id: Its id.
        on_device: Whether it is a device's.
        low: Start of the host's part of the window.
        high: End of it.
        threads: The threads of its process that have any event.
    """

    def __init__(self, host: Host, places: Places, reading: Reading) -> None:
        """Look at nothing yet."""
        self.host = host
        self.places = places
        self.reading = reading
        self.id = reading.timeline.id
        self.on_device = reading.timeline.kind == "device"
        self.low, self.high = reading.host
        busy = host.bounds[1:] > host.bounds[:-1]
        threads = host.work.trace.threads
        mine = [index for index in np.flatnonzero(busy).tolist() if threads[index].process == reading.timeline.process]
        self.threads = mine if self.on_device else [reading.thread]
        self.launched = functools.cache(self._launched)
        self.written = functools.cache(self._written)
        self.tokens = functools.cache(functools.partial(tokens_of, self))

    def _launched(self, thread: int) -> tuple[Ints, Ints]:
        """Return starts of the calls of a thread that launched work here, and the device time before each."""
        calls = self.host.work.calls
        call, lasted = self.per_call
        mine = calls.thread[call] == thread
        return calls.start[call[mine]], np.concatenate(([0], np.cumsum(lasted[mine])))

    @functools.cached_property
    def per_call(self) -> tuple[Ints, Ints]:
        """The calls that launched what is inside the window, and the time of what each launched."""
        activities, inside = self.host.work.activities, self.reading.inside
        linked = inside[activities.call[inside] >= 0]
        call = activities.call[linked]
        sums = np.bincount(call, (activities.end - activities.start)[linked], len(self.host.work.calls.row))
        launching = distinct(call)
        return launching, sums[launching].astype(np.int64)

    def device_time(self, thread: int, start: Ints, end: Ints) -> tuple[Ints, Ints]:
        """Return the time of the device work launched in each stretch of a thread, and the number of launches."""
        begun, before = self.launched(thread)
        first, last = np.searchsorted(begun, start), np.searchsorted(begun, end)
        return before[last] - before[first], last - first

    def kernels(self, thread: int, start: Ints, end: Ints) -> tuple[tuple[int, ...], ...]:
        """Return the rows of the kernels launched in each stretch of a thread that launched some, in order."""
        return tuple(rows for rows in self.launches(thread, start, end) if rows) if self.on_device else ()

    def launches(self, thread: int, start: Ints, end: Ints) -> list[tuple[int, ...]]:
        """Return the rows of the kernels launched in each stretch of a thread."""
        activities, calls = self.host.work.activities, self.host.work.calls
        inside = self.reading.inside
        mine = inside[(activities.call[inside] >= 0) & (activities.category[inside] == Category.KERNEL)]
        mine = mine[calls.thread[activities.call[mine]] == thread]
        begun = calls.start[activities.call[mine]]
        order = np.argsort(begun, kind="stable")
        rows, begun = activities.row[mine[order]], begun[order]
        bounds = zip(np.searchsorted(begun, start).tolist(), np.searchsorted(begun, end).tolist(), strict=True)
        return [tuple(rows[first:last].tolist()) for first, last in bounds]

    def own_time(self, thread: int, start: Ints, end: Ints) -> Ints:
        """Return what each stretch of a thread costs on the timeline: device work, or the stretch itself."""
        return self.device_time(thread, start, end)[0] if self.on_device else end - start

    def idle_time(self, start: Ints, end: Ints) -> Ints:
        """Return for how long the device had nothing to do in each stretch of host time; 0 on a host thread."""
        if not self.on_device or not len(start):
            return np.zeros(len(start), np.int64)
        line = self.reading.timeline
        start, end = np.clip(start, line.start_ns, line.end_ns), np.clip(end, line.start_ns, line.end_ns)
        idle: Ints = end - start - (self.busy.covered(end) - self.busy.covered(start))
        return idle

    @functools.cached_property
    def busy(self) -> Union:
        """When the device was busy."""
        activities, inside = self.host.work.activities, self.reading.inside
        return Union.of(activities.start[inside], activities.end[inside])

    def _written(self, thread: int) -> Ints:
        """Return when the profiler began to write down each event of a thread that it follows call by call."""
        rows = self.host.of_thread(thread, Category.OPERATOR, Category.ANNOTATION, Category.PYTHON)
        starts: Ints = self.host.work.trace.columns["start"][rows]
        return starts

    def records(self, thread: int, start: Ints, end: Ints) -> Ints:
        """Return how many events were written down in each stretch of a thread that computes; 0 of a device's."""
        if self.on_device:
            return np.zeros(len(start), np.int64)
        written = self.written(thread)
        return np.searchsorted(written, end) - np.searchsorted(written, start)

    def calling_time(self, thread: int, start: Ints) -> Ints:
        """Return the time from the end of the operator before to each of these, on a thread that computes, else 0."""
        if self.on_device:
            return np.zeros(len(start), np.int64)
        _, nest = self.places.operators(thread)
        outer = nest.parent < 0
        ends = np.sort(nest.end[outer])
        place = np.searchsorted(ends, start, "right") - 1
        apart: Ints = np.where(place >= 0, start - ends[np.maximum(place, 0)], 0) if len(ends) else np.zeros_like(start)
        return np.minimum(apart, MOST_CALLING_NS)

    def within(self, rows: Ints) -> Ints:
        """Return the rows that begin in the host's part of the window."""
        start = self.host.work.trace.columns["start"][rows]
        kept: Ints = rows[(start >= self.low) & (start < self.high)]
        return kept

    def line_strings(self, thread: int, moments: Ints) -> Ints:
        """Return the string of the user's line of Python around each moment, or -1."""
        line = self.places.innermost("lines", thread, moments)
        return np.where(line >= 0, self.host.work.trace.columns["name"][line], -1)

    def classes(self, thread: int, moments: Ints) -> tuple[list[str], Ints]:
        """Return the classes of modules, and the position in them of the one around each moment."""
        work = self.host.work
        module = self.places.innermost("modules", thread, moments)
        return labels(work, np.where(module >= 0, work.trace.columns["name"][module], -1), module_class)

    def to_host(self, rows: Ints) -> bool:
        """Tell whether calls, by their rows, copied to the host."""
        return bool(self.host.copies_to_host[self.host.call_at[rows]].any())
