"""The Attribution: who owns every nanosecond of a window, on the device and on the host.

Records are named tuples: to define a dataclass takes ten times as long, and each call of the command line defines all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from perfkit.model.signs import NO_SIGNS, Signs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from perfkit.model.table import Table
    from perfkit.model.trace import Defect

__all__ = [
    "BUSY_CLASSES",
    "IDLE_CAUSES",
    "Attribution",
    "Blame",
    "Blocked",
    "Collective",
    "Copy",
    "Kernel",
    "LaunchDelay",
    "Operator",
    "Step",
    "Timeline",
    "Window",
    "WorkerTime",
]

BUSY_CLASSES: Final = ("compute", "exposed_communication", "exposed_copy")
"""What a busy device does; where two overlap, the earlier one owns the time."""

IDLE_CAUSES: Final = (
    "data_loading",
    "synchronization",
    "allocation",
    "compilation",
    "initialization",
    "launch_overhead",
    "copy_submission",
    "operator_dispatch",
    "host_compute",
    "os_wait",
    "python",
    "profiler_overhead",
    "no_request",
    "no_work",
    "host_code",
    "launch_latency",
    "queued_same_stream",
    "queued_cross_stream",
    "queued_in_graph",
    "unattributed_host_silent",
    "unattributed_no_launch",
)
"""Why a device is idle. Readers of the JSON tolerate causes that are not in this list."""

WindowKind = Literal["steps", "device-span", "host-span"]
Confidence = Literal["high", "medium", "low"]


class Step(NamedTuple):
    """One step of the program on one timeline; ``busy`` and ``idle`` sum to ``end_ns - start_ns``."""

    name: str
    start_ns: int
    end_ns: int
    busy: Mapping[str, int]
    idle: Mapping[str, int]


class Window(NamedTuple):
    """The stretch of time that is looked at, and how it was found.

    ``kind`` is that of the first timeline. ``source`` says where the steps come from (``ProfilerStep#``,
    ``Optimizer.step``, the name of a repeated annotation, or ``none``), or would come from if the window were not the
    whole span; ``dropped`` names recorded steps left out of the window (warm-up).
    """

    kind: WindowKind
    source: str
    dropped: tuple[str, ...]


class Timeline(NamedTuple):
    """One device (or, in a trace without device activity, the busiest host thread) over the window.

    ``sum(busy.values()) + sum(idle.values()) == window_ns``, exactly. ``lead_in_ns`` and ``lead_out_ns`` are recorded
    host time before the first and after the last device activity, outside the window. ``rank`` is set where there are
    the timelines of several.
    """

    id: str
    kind: Literal["device", "host_thread"]
    window_kind: WindowKind
    process: str
    device: int
    device_name: str
    uuid: str
    start_ns: int
    end_ns: int
    busy: Mapping[str, int]
    kernel_union_ns: int
    kernel_sum_ns: int
    communication_ns: int
    copy_ns: int
    idle: Mapping[str, int]
    activities: int
    unlinked_activities: int
    lead_in_ns: int
    lead_out_ns: int
    confidence: Confidence
    confidence_reason: str
    steps: Table[Step]
    rank: int | None = None

    @property
    def window_ns(self) -> int:
        """Length of the window."""
        return self.end_ns - self.start_ns

    @property
    def busy_ns(self) -> int:
        """Time in which anything ran."""
        return sum(self.busy.values())

    @property
    def idle_ns(self) -> int:
        """Time in which nothing ran."""
        return sum(self.idle.values())


class Blame(NamedTuple):
    """A host event that idle time is owed to: ``where`` is the Python line, or empty if the trace has none."""

    timeline: str
    cause: str
    event: str
    thread: str
    where: str
    ns: int
    gaps: int


class Blocked(NamedTuple):
    """Time in which a host thread was held up within the window, as a union: not the device's loss, by design."""

    thread: str
    cause: str
    ns: int
    calls: int
    window_ns: int


class Operator(NamedTuple):
    """An operator and the device work launched from directly inside it, within the window.

    ``host_ns`` is the time in the operator; without device activity it is its own, without that of operators inside it.
    """

    name: str
    module: str
    where: str
    calls: int
    device_ns: int
    host_ns: int
    launches: int


class Kernel(NamedTuple):
    """All runs of one kernel within the window.

    ``kind`` is ``compute``, ``communication`` or ``memset``; ``bytes`` 0 is unknown.
    """

    name: str
    kind: str
    calls: int
    device_ns: int
    mean_ns: int
    max_ns: int
    bytes: int
    provenance: str


class Copy(NamedTuple):
    """All copies of one kind within the window; ``bytes`` 0 means that the trace does not say."""

    kind: str
    calls: int
    device_ns: int
    bytes: int
    bytes_per_s: float


class Collective(NamedTuple):
    """Communication of one name within the window; ``bytes`` 0 means that the trace does not say."""

    name: str
    calls: int
    device_ns: int
    bytes: int


class LaunchDelay(NamedTuple):
    """Time from a launch call's end to its activity's start: long if work was queued, short if not."""

    timeline: str
    launches: int
    without_activity: int
    median_ns: int
    p90_ns: int
    max_ns: int


class WorkerTime(NamedTuple):
    """What workers of data loaders noted of their own time.

    ``batch_ns`` and ``collate_ns`` are means of a batch, ``working_share`` is the part of their time in which they made
    batches, 0 to 1, and ``samples_per_s`` what all of them would give if they never waited.
    """

    workers: int
    samples: int
    batches: int
    sample_ns: int
    sample_p90_ns: int
    batch_ns: int
    collate_ns: int
    working_share: float
    samples_per_s: float


class Attribution(NamedTuple):
    """Everything known of where the time goes in one trace."""

    window: Window
    timelines: Table[Timeline]
    blame: Table[Blame]
    blocked: Table[Blocked]
    operators: Table[Operator]
    kernels: Table[Kernel]
    copies: Table[Copy]
    collectives: Table[Collective]
    launches: Table[LaunchDelay]
    defects: tuple[Defect, ...]
    signs: Signs = NO_SIGNS
    worker_time: WorkerTime | None = None
