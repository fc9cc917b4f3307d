"""Faults planted into programs of `tests/simulator`: it runs each again without its fault, so the true gain is known.

A program keeps its device busy, until one fault is planted into every step. Everything is drawn anew for each seed.
"""

from __future__ import annotations

import random
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from benchmarks.gallery.gain import Gain
from benchmarks.gallery.score import judge
from tests import simulator
from tests.simulator import actions as do
from tests.simulator import without

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.gallery.score import Document, Score
    from tests.simulator import Workload

    Actions = list[do.Action]

US: Final = 1_000
QUEUE_NS: Final = 300
"""Between two kernels that are queued, or of one graph."""
FEWEST_STEPS, MOST_STEPS = 5, 12
WORK: Final = (
    ("aten::linear", "ampere_bf16_s16816gemm_bf16_128x64_ldg8_f2f_stages_32x6_tn"),
    ("aten::conv2d", "sm80_xmma_fprop_implicit_gemm_bf16bf16_bf16f32_f32_nhwckrsc_nhwc_tilesize128x128x32"),
    ("fbgemm::dense_to_jagged", "void fbgemm_gpu::jagged_dense_kernel<long, float>(float*)"),
)
"""Operators with the kernels that they launch: none of them is a fault.

Two of them would be fused if they were element-wise."""


class Draw(random.Random):
    """Draws what differs from seed to seed."""

    def around(self, ns: float) -> int:
        """Draw a length of that order."""
        return round(ns * self.uniform(0.5, 1.5))


class Fault(NamedTuple):
    """A fault that is planted into every step.

    Attributes:
        name: What it is called.
        rules: Codes of the rules that name it; any of them is right.
        plant: Makes the actions to put between two operators of a step; they are to cost about so many ns.
        remove: Makes the program without it, of the program and its seed.
        hidden: Whether a host that runs ahead of its device hides it, if it is short.
        reads: Whether a step may end by reading its loss, which keeps the host from running ahead.
    """

    name: str
    rules: tuple[str, ...]
    plant: Callable[[Draw, int], Actions]
    remove: Callable[[Workload, int], Workload]
    hidden: bool = True
    reads: bool = True


def program(fault: Fault, seed: int) -> Workload:
    """Write a program with a fault."""
    draw = Draw(f"{fault.name} {seed}")
    kernel_ns, work_ns = draw.choice((60, 120, 250)) * US, draw.randint(4, 15) * US
    if fault is LAUNCH_BOUND:
        kernel_ns, work_ns = draw.randint(8, 25) * US, draw.randint(30, 90) * US
    operators: Actions = [
        do.Operator(name, [do.Work(draw.around(work_ns)), do.Launch(kernel, draw.around(kernel_ns), queue_ns=QUEUE_NS)])
        for name, kernel in draw.choices(WORK, k=draw.randint(30, 120))
    ]
    busy_ns = sum(kernel.ns for kernel in launched(operators))
    reads = fault.hidden and fault.reads and draw.random() < 0.5
    cost_ns = round(busy_ns * (draw.uniform(1.3, 2.5) if fault.hidden and not reads else draw.uniform(0.15, 0.9)))
    place = draw.randrange(1, 4 if reads else len(operators))  # late in a step, a device has work left
    steps = [
        [
            *operators[:place],
            *fault.plant(draw, round(cost_ns * draw.uniform(0.9, 1.1))),
            *operators[place:],
            *([do.Synchronize("stream")] if reads else []),
        ]
        for _ in range(draw.randint(FEWEST_STEPS, MOST_STEPS))
    ]
    return simulator.Workload([do.Process(4100, steps)], stacks=True)


def launched(step: Actions) -> list[do.Launch]:
    """Return the kernels of a step."""
    return [one for action in step for one in getattr(action, "children", ()) if isinstance(one, do.Launch)]


def loads(_: Draw, ns: int) -> Actions:
    """The program loads its own batch."""
    return [do.Loader([do.Operator("aten::stack", [do.Work(ns // 3)]), do.Work(ns - ns // 3)])]


def starves(draw: Draw, ns: int) -> Actions:
    """Workers take longer to make a batch than a step does."""
    return [do.Loader([do.Batch(ns), do.Work(draw.around(60 * US))], 4)]


def allocates(_: Draw, ns: int) -> Actions:
    """Memory is asked for."""
    return [do.Allocate(ns)]


def compiles(draw: Draw, ns: int) -> Actions:
    """Something is compiled."""
    return [do.Compile(ns, draw.choice(("module", "triton", "dynamo")))]


def computes(draw: Draw, ns: int) -> Actions:
    """The host computes."""
    return [do.Operator(draw.choice(("aten::bincount", "aten::sort", "aten::topk")), [do.Work(ns)])]


def interprets(_: Draw, ns: int) -> Actions:
    """Python runs."""
    return [do.Frame("train.py(77): tokenize", [do.Work(ns)])]


def reads(draw: Draw, ns: int) -> Actions:
    """A number is read, and Python makes something of it: the device runs dry meanwhile."""
    read = do.Copy("DtoH", 4, 900, blocking=True)
    inner = do.Operator("aten::_local_scalar_dense", [do.Work(2 * US), read, do.Synchronize("stream")])
    item = do.Operator("aten::item", [do.Work(US), inner], ((),))
    return [do.Frame("train.py(31): log_loss", [item, do.Work(draw.around(ns // 4))])]


def waits(draw: Draw, ns: int) -> Actions:
    """The whole device is waited for."""
    return [do.Frame("train.py(52): timed", [do.Synchronize("device"), do.Work(draw.around(ns // 4))])]


def copies(_: Draw, ns: int) -> Actions:
    """A batch is copied to the device while nothing computes."""
    return [do.Copy("HtoD", ns * 10, ns // 2, function="Memcpy", blocking=True)]


def communicates(draw: Draw, ns: int) -> Actions:
    """Gradients are summed over ranks, and waited for."""
    ready, reduced = f"ready{draw.random()}", f"reduced{draw.random()}"
    arguments = (("Collective name", "allreduce"), ("In msg nelems", 4096), ("Group size", 8), ("dtype", "Float"))
    name = "ncclDevKernel_AllReduce_Sum_f32_RING_LL(ncclDevKernelArgsStorage<4096ul>)"
    kernel = do.Launch(name, ns // 2, stream=13, communication=True, arguments=arguments)
    operator = do.Operator(
        "c10d::allreduce_", [do.Work(9 * US), do.RecordEvent(ready), do.WaitEvent(ready, 13), kernel]
    )
    return [operator, do.RecordEvent(reduced, 13), do.WaitEvent(reduced)]


def nothing(_: Draw, _ns: int) -> Actions:
    """The operators themselves are at fault."""
    return []


def uncomputed(workload: Workload, _: int) -> Workload:
    """No operator works on the host alone."""
    return without.edited(
        workload,
        lambda action, _: [] if isinstance(action, do.Operator) and not do.launches(action.children) else None,
    )


def captured(workload: Workload, _: int) -> Workload:
    """All kernels of a step are launched as one graph."""

    def graph(step: Actions) -> Actions:
        nodes = [do.GraphNode(kernel.kernel, kernel.ns, QUEUE_NS) for kernel in launched(step)]
        rest = [action for action in step if not isinstance(action, do.Operator)]
        return [do.Operator("cuda::graph_replay", [do.Work(5 * US), do.GraphLaunch(nodes)]), *rest]

    (process,) = workload.processes
    steps = [graph(list(step)) for step in process.steps]
    return simulator.Workload(
        [do.Process(process.pid, steps)], marks=workload.marks, stacks=workload.stacks, vendor=workload.vendor
    )


def host_time(cause: str) -> Callable[[Workload, int], Workload]:
    """Make what removes the host time of a cause."""
    return lambda workload, _: without.without_host_time(workload, cause)


LAUNCH_BOUND: Final = Fault("short kernels", ("PK301",), nothing, captured, hidden=False)
FAULTS: Final = (
    Fault("loading in the step", ("PK103",), loads, without.overlapped_loader),
    Fault("workers too slow", ("PK101",), starves, without.overlapped_loader, reads=False),
    Fault("a number read", ("PK201",), reads, lambda workload, _: without.without_syncs(workload), hidden=False),
    Fault("a device waited for", ("PK203",), waits, lambda workload, _: without.without_syncs(workload), hidden=False),
    LAUNCH_BOUND,
    Fault("Python in the step", ("PK304",), interprets, host_time("python")),
    Fault("an operator on the host", ("PK305",), computes, uncomputed),
    Fault("memory asked for", ("PK202",), allocates, host_time("allocation")),
    Fault("code compiled", ("PK302",), compiles, host_time("compilation")),
    Fault(
        "a copy in the way",
        ("PK102", "PK106"),
        copies,
        lambda workload, _: without.overlapped_copies(workload),
        hidden=False,
    ),
    Fault(
        "a collective in the way",
        ("PK601",),
        communicates,
        lambda workload, _: without.overlapped_collectives(workload),
        hidden=False,
    ),
)


def scores(programs: int) -> dict[str, list[Score]]:
    """Diagnose each fault in as many programs, and their twins without it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.json"
        return {fault.name: [score(fault, seed, path) for seed in range(programs)] for fault in FAULTS}


def score(fault: Fault, seed: int, path: Path) -> Score:
    """Score the diagnosis of one program: the gain is exact, for the simulator has no noise."""
    faulty = program(fault, seed)
    repaired = fault.remove(faulty, seed)
    (before, faulty_ns), (after, repaired_ns) = (diagnosed(workload, path) for workload in (faulty, repaired))
    share = 1 - repaired_ns / faulty_ns
    gain = Gain(share, share, share, 1, faulty_ns, repaired_ns)
    return judge(f"{fault.name}, {seed}", fault.rules, before, after, gain)


def diagnosed(workload: Workload, path: Path) -> tuple[Document, int]:
    """Record a program and diagnose it; also return the true length of its window, ns."""
    from perfkit import diagnose
    from perfkit.report.json import build

    machine = simulator.record(workload)
    simulator.write(machine, path)
    (line,) = simulator.timelines(machine, "steps" if workload.marks else "device-span")
    return build(diagnose(path)), line.window_ns
