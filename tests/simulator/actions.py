"""What a simulated program does: plain data, run by the machine. Every length is an integer number of nanoseconds."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True)
class Work:
    """Host time spent in whatever is open: an operator, a stack frame, an annotation, or nothing that is recorded."""

    ns: int


@dataclass(frozen=True)
class Operator:
    """An operator around its children."""

    name: str
    children: Sequence[Action]
    shapes: tuple[tuple[int, ...], ...] = ()


@dataclass(frozen=True)
class Annotation:
    """A `record_function` block around its children."""

    name: str
    children: Sequence[Action]


@dataclass(frozen=True)
class Frame:
    """A Python stack frame around its children; only its children where the workload records no stacks."""

    name: str
    children: Sequence[Action]


@dataclass(frozen=True)
class Loader:
    """DataLoader `__next__`: with no workers its children run in it, with workers it waits."""

    children: Sequence[Action]
    workers: int = 0


@dataclass(frozen=True)
class Batch:
    """Waits for the next batch of a process's workers, which make one every `made_ns`, whoever takes it."""

    made_ns: int


@dataclass(frozen=True)
class Launch:
    """A kernel launch. `latency_ns` runs from the call's end (negative: the kernel starts before the call returns);
    `queue_ns` is the delay after what it queues behind; `module_ns` of the call is a nested module load. A lost launch
    leaves no activity. A collective's `arguments` make the kernel communication.
    """

    kernel: str
    ns: int
    stream: int = 7
    device: int = 0
    call_ns: int = 5_000
    latency_ns: int = 2_000
    queue_ns: int = 800
    module_ns: int = 0
    lost: bool = False
    communication: bool = False
    arguments: tuple[tuple[str, object], ...] = ()


@dataclass(frozen=True)
class GraphNode:
    """One kernel of a graph: `after_ns` after the previous node on its stream."""

    kernel: str
    ns: int
    after_ns: int
    stream: int = 7


@dataclass(frozen=True)
class GraphLaunch:
    """A graph launch: one correlation owns every node's activity."""

    nodes: Sequence[GraphNode]
    device: int = 0
    call_ns: int = 20_000
    latency_ns: int = 3_000
    queue_ns: int = 1_000


@dataclass(frozen=True)
class Collective:
    """A collective of `members`, which are ranks: its kernel starts on each when the stream is ready for it, and ends
    on all of them `transfer_ns` after the last has started. Calls of one `group` meet in their order.
    """

    name: str
    kernel: str
    group: str
    members: tuple[int, ...]
    transfer_ns: int
    stream: int = 13
    call_ns: int = 7_000
    latency_ns: int = 2_000
    queue_ns: int = 900
    arguments: tuple[tuple[str, object], ...] = ()


@dataclass(frozen=True)
class Copy:
    """A copy call. `kind` is HtoD, DtoH, DtoD or PtoP. A blocking one returns `return_ns` after the copy ended.
    `function` is the call's name without the vendor's prefix.
    """

    kind: str
    bytes: int
    ns: int
    stream: int = 7
    device: int = 0
    function: str = "MemcpyAsync"
    blocking: bool = False
    call_ns: int = 6_000
    latency_ns: int = 1_500
    queue_ns: int = 700
    return_ns: int = 2_500


@dataclass(frozen=True)
class Memset:
    """A memset call; a lost one (a no-op) leaves no activity."""

    ns: int
    stream: int = 7
    device: int = 0
    call_ns: int = 4_000
    latency_ns: int = 1_500
    queue_ns: int = 700
    lost: bool = False


@dataclass(frozen=True)
class Synchronize:
    """Waits for a stream, for every stream of a device, or for a recorded event; takes at least `call_ns`."""

    scope: str
    stream: int = 7
    device: int = 0
    event: str = ""
    call_ns: int = 3_000
    return_ns: int = 2_000


@dataclass(frozen=True)
class RecordEvent:
    """Records an event on a stream: it completes with the work that the stream holds now."""

    event: str
    stream: int = 7
    device: int = 0
    call_ns: int = 1_200


@dataclass(frozen=True)
class WaitEvent:
    """Makes a stream wait for a recorded event."""

    event: str
    stream: int = 7
    device: int = 0
    call_ns: int = 1_100


@dataclass(frozen=True)
class Allocate:
    """A `Malloc`, `Free` or other allocation call."""

    ns: int
    function: str = "Malloc"


@dataclass(frozen=True)
class Compile:
    """Compilation as a `module` load call, a `triton` annotation, a `dynamo` operator, or a `stack` frame of Triton."""

    ns: int
    form: str = "module"


@dataclass(frozen=True)
class Overhead:
    """A row of the profiler's own work on this thread."""

    ns: int
    name: str = "Buffer Flush"


@dataclass(frozen=True)
class Call:
    """Any other runtime call, named without the vendor's prefix."""

    function: str
    ns: int


@dataclass(frozen=True)
class RunOn:
    """Runs the children on another thread of the process (autograd) and waits for it."""

    thread: str
    children: Sequence[Action]
    handoff_ns: int = 15_000


Action: TypeAlias = (
    Work
    | Batch
    | Operator
    | Annotation
    | Frame
    | Loader
    | Launch
    | GraphLaunch
    | Collective
    | Copy
    | Memset
    | Synchronize
    | RecordEvent
    | WaitEvent
    | Allocate
    | Compile
    | Overhead
    | Call
    | RunOn
)


@dataclass(frozen=True)
class Orphan:
    """Work that was launched before the recording began."""

    kernel: str
    start_ns: int
    ns: int
    stream: int = 7
    device: int = 0


@dataclass(frozen=True)
class Process:
    """One process: what its main thread does before, in and after its steps, and what other threads do meanwhile.

    Threads in `beside` start with the process. The launches of those in `hidden` are not recorded, nor anything else on
    them. `devices` are global device numbers; an action's device is an index into them.
    """

    pid: int
    steps: Sequence[Sequence[Action]]
    before: Sequence[Action] = ()
    after: Sequence[Action] = ()
    beside: dict[str, Sequence[Action]] = field(default_factory=dict)
    hidden: frozenset[str] = frozenset()
    devices: tuple[int, ...] = (0,)
    orphans: Sequence[Orphan] = ()
    first_step: int = 5
    between_ns: int = 3_000


@dataclass(frozen=True)
class Workload:
    """Processes run side by side; whether step marks and Python stacks are recorded; `cuda` or `hip` names."""

    processes: Sequence[Process]
    marks: bool = True
    stacks: bool = False
    vendor: str = "cuda"


LAUNCHING = (Launch, GraphLaunch, Collective, Copy, Memset)
NESTING = (Operator, Annotation, Frame, Loader)


def launches(actions: Sequence[Action]) -> bool:
    """Whether any action launches device work from this thread."""
    return any(isinstance(a, LAUNCHING) or (isinstance(a, NESTING) and launches(a.children)) for a in actions)
