"""Signs of faults: what a trace shows beside times, gathered so that rules need not look at events.

Each row belongs to one timeline and counts what began within its window. Times are integer nanoseconds. ``time_ns`` is
the time on the timeline: of the device work that was launched, or of the host thread itself where there is no device.
``rows`` are rows of the trace, for a replay to find the events again.
"""

from __future__ import annotations

from typing import NamedTuple

from perfkit.model.table import Table

__all__ = ["NO_SIGNS", "Chain", "Loader", "Memory", "Signs", "Stretch", "Transfer", "Update", "Wait", "Width", "Work"]


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


class Transfer(NamedTuple):
    """Data copied only to have another layout or type: ``kind`` is ``layout`` or ``type``."""

    timeline: str
    kind: str
    operator: str
    where: str
    module: str
    calls: int
    time_ns: int
    idle_ns: int
    rows: tuple[int, ...]


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
        late_ns: Time in all calls beyond what a call takes whose batch is ready, first calls of epochs aside.
        epochs: How often a new iterator was made within the window, and with it its workers.
        making_ns: What making them took.
        startup_ns: The same, and what the first batch of each took beyond a typical one.
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
    epochs: int
    making_ns: int
    startup_ns: int


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


class Work(NamedTuple):
    """What kind of program a process is: whether it ran a backward pass, and how requests came.

    ``requests`` counts marked requests, ``request_ns`` is their union, ``waiting_ns`` the time between them,
    ``together`` the most that were open at once.
    """

    timeline: str
    backward: bool
    requests: int
    request_ns: int
    waiting_ns: int
    together: int


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
        names: Names of the most frequent ones.
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


NO_SIGNS = Signs()
"""Of many ranks together, or of nothing."""
