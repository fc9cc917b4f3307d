"""Signs of faults: what a trace shows beside times, gathered so that rules need not look at events.

Each row belongs to one timeline and counts what began within its window. Times are integer nanoseconds. ``time_ns`` is
the time on the timeline: of the device work that was launched, or of the host thread itself where there is no device.
``rows`` are rows of the trace, for a replay to find the events again. ``records`` counts the events that a profiler
wrote down within that time, nested ones too, on a host thread that computes; 0 where a device does.
"""

from __future__ import annotations

from typing import NamedTuple

from perfkit.model.table import Table

__all__ = [
    "NO_SIGNS",
    "Chain",
    "Likeness",
    "Loader",
    "Meeting",
    "Memory",
    "Signs",
    "Stretch",
    "Transfer",
    "Update",
    "Wait",
    "Width",
    "Work",
]


class Chain(NamedTuple):
    """Operators that run one after another and could be one.

    Attributes:
        timeline: Id of the timeline.
        pattern: What they are, such as ``rms_norm``, ``attention`` or ``batch_norm``; ``pointwise`` has no name.
        operators: Their names, in order, without ``aten::``.
        where: Line of Python.
        module: Class of the module.
        calls: How often they ran.
        time_ns: Time of all of them, and of their backward pass.
        kept_ns: The part of it that stays when they are one.
        idle_ns: Time in which the device had nothing to do while the host was in them; 0 on a host thread.
        launches: Launches, or operators on a host thread.
        rows: Rows of the forward operators.
        kernels: Rows of the kernels that they launched, a run for each time; none on a host thread.
        arithmetic_ns: Part of ``time_ns`` in which a processor computes rather than moves data; 0 on a device.
        moving_ns: What of ``time_ns`` would stay if arithmetic took no time: as ``kept_ns``, but without operators that
            do some; 0 on a device.
        flops: Operations of the products in attention, two for each multiplication, as a fused backward pass has them,
            if there is one; 0 on a device and where shapes were not recorded.
        calling_ns: Time between the operators of a run; 0 on a device.
        records: See above.
        backward: Rows of the kernels of their backward pass, a run for each time that has some.
    """

    timeline: str
    pattern: str
    operators: tuple[str, ...]
    where: str
    module: str
    calls: int
    time_ns: int
    kept_ns: int
    idle_ns: int
    launches: int
    rows: tuple[int, ...]
    kernels: tuple[tuple[int, ...], ...]
    arithmetic_ns: int = 0
    moving_ns: int = 0
    flops: float = 0.0
    calling_ns: int = 0
    records: int = 0
    backward: tuple[tuple[int, ...], ...] = ()


class Update(NamedTuple):
    """A method of an optimizer, such as ``AdamW.step``; ``style`` is ``loop``, ``foreach`` or ``fused``.

    ``host_ns`` is the time in it, Python included; ``widest_ns`` is the part of ``time_ns`` that the operator which
    takes longest has; ``idle_ns`` and ``launches`` are as in Chain.
    """

    timeline: str
    name: str
    style: str
    where: str
    calls: int
    host_ns: int
    time_ns: int
    widest_ns: int
    idle_ns: int
    launches: int
    records: int = 0


class Transfer(NamedTuple):
    """Data copied only to have another layout or type, or once more.

    ``kind`` is ``layout``, ``library`` (the same, by a kernel of a library), ``type`` or ``copy``. On a host thread
    that computes, ``calling_ns`` is the time between each and the operator before it.
    """

    timeline: str
    kind: str
    operator: str
    where: str
    module: str
    calls: int
    time_ns: int
    idle_ns: int
    rows: tuple[int, ...]
    calling_ns: int = 0
    records: int = 0


class Wait(NamedTuple):
    """Calls of a host thread that wait for a device, by what asked for it and where.

    Attributes:
        timeline: Id of the timeline whose process it is.
        kind: ``item``, ``nonzero``, ``mask``, ``print``, ``copy_to_host``, ``copy_to_device``, ``device``, ``event`` or
            ``stream``.
        operator: The outermost operator around it, or the call itself.
        call: Name of the call.
        thread: The host thread.
        where: Line of Python.
        calls: How often.
        blocked_ns: For how long the thread was held up: not what the device lost by it.
        rows: Rows of the calls.
    """

    timeline: str
    kind: str
    operator: str
    call: str
    thread: str
    where: str
    calls: int
    blocked_ns: int
    rows: tuple[int, ...]


class Loader(NamedTuple):
    """The ``__next__`` of a loader on one thread.

    Attributes:
        timeline: Id of the timeline whose process it is.
        name: Name of the event.
        kind: ``in_process``, ``workers`` or ``other``.
        calls: How often.
        ns: Time in it.
        typical_ns: The median.
        longest_ns: The longest.
        stalled: Calls that took far longer than the typical one.
        stalled_ns: What they took beyond it.
        period: Every which call stalls, where they do so regularly; else 0.
        late_ns: Time in all calls beyond what a call takes whose batch is ready, first calls of epochs aside: at least,
            for where every batch is late, what a ready one takes does not show. No more than they were seen to idle.
        waited_ns: Time in all those calls.
        epochs: How often a new iterator was made within the window, and with it its workers.
        making_ns: What making them took, and ending those before.
        startup_ns: The same, and what the first batch of each took beyond a typical one.
        longer_ns: By how much the steps in which they were made are longer than others; 0 where all are such steps.
        idling_ns: The part of ``ns`` in which the thread was seen to sleep, or to wait for a file or a socket.
        records: See above.
    """

    timeline: str
    name: str
    kind: str
    calls: int
    ns: int
    typical_ns: int
    longest_ns: int
    stalled: int
    stalled_ns: int
    period: int
    late_ns: int
    waited_ns: int
    epochs: int
    making_ns: int
    startup_ns: int
    longer_ns: int = 0
    idling_ns: int = 0
    records: int = 0


class Width(NamedTuple):
    """How wide the work of a timeline is.

    Attributes:
        timeline: Its id.
        processors: Multiprocessors of the device; 0 where the trace does not say.
        capability: Major version of what the device is capable of, such as 8 for an A100; 0 where it is not known.
        kernel_ns: Time of kernels whose grid is known.
        narrow_ns: Time of those with fewer blocks than there are multiprocessors.
        batch: Leading dimension of the inputs of most of the matrix work; 0 where shapes were not recorded.
        matrix_ns: Time of matrix work.
        full_precision_ns: Time of kernels that multiply matrices in single precision, without tensor cores.
        full_precision: The names of those kernels.
        gathering_ns: Time in which gradients were added to those that were there.
        graph_ns: Time of graphs of which only the whole was recorded.
        flops_per_s: Rate at which a host thread multiplies matrices; 0 of a device, and where shapes were not recorded.
        peak_flops_per_s: Rate at which it can, by large ones that were multiplied for that; 0 where nobody did.
    """

    timeline: str
    processors: int
    capability: int
    kernel_ns: int
    narrow_ns: int
    batch: int
    matrix_ns: int
    full_precision_ns: int
    full_precision: tuple[str, ...]
    gathering_ns: int
    graph_ns: int
    flops_per_s: float = 0.0
    peak_flops_per_s: float = 0.0


class Work(NamedTuple):
    """What kind of program a process is: whether it ran a backward pass, and how requests came.

    ``requests`` counts marked requests, ``request_ns`` is their union, ``waiting_ns`` the time between them,
    ``together`` the most that were open at once. ``record_ns`` is what it took to write down an event, where they
    follow each other most closely.
    """

    timeline: str
    backward: bool
    requests: int
    request_ns: int
    waiting_ns: int
    together: int
    records: int = 0
    record_ns: int = 0


class Memory(NamedTuple):
    """Memory of a device as the allocator saw it, in bytes, and the calls that took it; 0 where nothing is recorded.

    ``capacity`` is the device's. ``retries`` counts operators in which memory was freed and then allocated by calls of
    the runtime: the allocator had found none, and emptied its cache. ``retry_ns`` is the time in those calls.
    """

    timeline: str
    capacity: int
    allocated: int
    reserved: int
    allocations: int
    retries: int
    retry_ns: int
    where: str


class Stretch(NamedTuple):
    """Stretches of a host thread that computes, without a device, at one place.

    Attributes:
        timeline: Id of the timeline.
        kind: ``short_operators``, one after another, or ``no_operator``, where only Python ran.
        where: Line of Python.
        calls: How many stretches.
        ns: Time from the beginning of each to its end.
        operators: How many operators, without those inside of others.
        operator_ns: Time in them.
        reads: How many of them read a number from a tensor.
        masks: How many of them look for the elements that are not zero.
        names: Names of the most frequent ones; where only Python ran, what was called for most of the longest.
        records: See above.
        doing: What that call does, where it is known: ``idling``, ``collecting`` garbage, ``print``.
    """

    timeline: str
    kind: str
    where: str
    calls: int
    ns: int
    operators: int
    operator_ns: int
    reads: int
    masks: int
    names: tuple[str, ...]
    records: int = 0
    doing: str = ""


class Likeness(NamedTuple):
    """How much the steps of a device are alike, which is what a graph of one of them takes for granted.

    Attributes:
        timeline: Id of the timeline.
        steps: Steps that were compared.
        same_work: Those that run the kernels of the most frequent kind of step, in its order.
        same_sizes: Those of them that also run them with its grids.
        compiled: Regions of `torch.compile` that were entered.
        graphs: Graphs that were launched.
    """

    timeline: str
    steps: int
    same_work: int
    same_sizes: int
    compiled: int
    graphs: int


class Meeting(NamedTuple):
    """Collectives of one name that took far longer than one of as much data, or more, on the same stream.

    Attributes:
        timeline: Id of the timeline.
        name: Name of the collective, or of its kernel.
        calls: How often it ran.
        late: How often it took more than twice as long as it can.
        longest_ns: The longest time that one of those took beyond what it can.
        wait_ns: The time that all of those took beyond it.
        exposed_ns: The part of it in which nothing computed.
    """

    timeline: str
    name: str
    calls: int
    late: int
    longest_ns: int
    wait_ns: int
    exposed_ns: int


class Signs(NamedTuple):
    """All that was found, each table with most time first."""

    chains: Table[Chain] = Table()
    updates: Table[Update] = Table()
    transfers: Table[Transfer] = Table()
    waits: Table[Wait] = Table()
    loaders: Table[Loader] = Table()
    stretches: Table[Stretch] = Table()
    widths: Table[Width] = Table()
    works: Table[Work] = Table()
    memory: Table[Memory] = Table()
    likeness: Table[Likeness] = Table()
    meetings: Table[Meeting] = Table()


NO_SIGNS = Signs()
"""Of many ranks together, or of nothing."""
