"""Programs to run: random ones of every kind, and pairs with one planted cause."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.simulator import actions as do

if TYPE_CHECKING:
    from collections.abc import Sequence

MS = 1_000_000
NAMES = ("aten::linear", "aten::add_", "aten::layer_norm", "aten::_softmax", "aten::cat", "fbgemm::dense_to_jagged")
KERNELS = (
    "ampere_sgemm_128x64_tn",
    "void at::native::vectorized_elementwise_kernel<4, at::native::AddFunctor<float> >(int)",
    "void (anonymous namespace)::layer_norm_kernel<float>(float*)",
    "triton_poi_fused_add_relu_0",
)


class Author:
    """Writes the random programs of one process. Every length is drawn in ns."""

    def __init__(self, seed: int, devices: int, scale: int = 1) -> None:
        self.random = random.Random(seed)
        self.devices = devices
        self.scale = scale
        self.kernel_scale = self.random.choice((1_500, 8_000, 60_000, 300_000))
        self.host_scale = self.random.choice((2_000, 9_000, 25_000))
        self.copy_stream = self.random.choice((7, 20))
        self.communicates = self.random.random() < 0.4
        self.graphs = self.random.random() < 0.3
        self.events = 0

    def around(self, ns: int) -> int:
        """A length of that order."""
        return self.random.randint(ns // 3, 2 * ns) + self.random.randint(0, 999)

    def chance(self, probability: float) -> bool:
        """True with that probability."""
        return self.random.random() < probability

    def work(self) -> do.Work:
        """Host time of the order of an operator's."""
        return do.Work(self.around(self.host_scale))

    def launch(self, stream: int = 7) -> do.Launch:
        """A kernel launch: at times slow, lost, early, with a lazy module load, or of an empty kernel."""
        call_ns = self.around(4_500) if self.chance(0.99) else self.around(2 * MS)
        return do.Launch(
            kernel=self.random.choice(KERNELS) if self.chance(0.9) else f"lazy_kernel_{self.random.randint(0, 10**9)}",
            ns=self.random.choice((0, 1, 700)) if self.chance(0.03) else self.around(self.kernel_scale),
            stream=stream,
            device=self.random.randrange(self.devices),
            call_ns=call_ns,
            latency_ns=self.random.randint(-min(call_ns, 2_500), 4_000),
            queue_ns=self.random.randint(0, 2_000) if self.chance(0.9) else self.around(90_000),
            module_ns=self.random.randint(0, call_ns) if self.chance(0.02) else 0,
            lost=self.chance(0.02),
        )

    def copy(self) -> do.Copy:
        """A copy call of any kind."""
        blocking = self.chance(0.4)
        return do.Copy(
            kind=self.random.choice(("HtoD", "HtoD", "DtoH", "DtoD", "PtoP")),
            bytes=self.random.randint(4, 1 << 22),
            ns=self.around(self.random.choice((900, 30_000))),
            stream=self.copy_stream,
            device=self.random.randrange(self.devices),
            function=self.random.choice(("Memcpy", "MemcpyAsync")) if blocking else "MemcpyAsync",
            blocking=blocking,
            call_ns=self.around(6_000),
            queue_ns=self.random.randint(0, 1_500),
        )

    def item(self) -> do.Operator:
        """`aten::item`: a blocking copy to the host, then a stream synchronization."""
        read = do.Copy("DtoH", 4, self.around(900), blocking=True, call_ns=self.around(5_000))
        inner = do.Operator("aten::_local_scalar_dense", [self.work(), read, do.Synchronize("stream"), self.work()])
        return do.Operator("aten::item", [self.work(), inner], ((),))

    def collective(self) -> do.Annotation:
        """An all-reduce on its own stream, between event waits both ways."""
        self.events += 1
        before, after = f"ready{self.events}", f"reduced{self.events}"
        named = self.chance(0.7)
        arguments = (("Collective name", "allreduce"), ("In msg nelems", 4096), ("Group size", 8), ("dtype", "Float"))
        kernel = do.Launch(
            "ncclDevKernel_AllReduce_Sum_f32_RING_LL(ncclDevKernelArgsStorage<4096ul>)",
            self.around(2 * self.kernel_scale),
            stream=13,
            communication=True,
            queue_ns=self.around(self.random.choice((900, 40_000))),
            arguments=arguments if named else (),
        )
        waits: list[do.Action] = [
            do.RecordEvent(before),
            do.WaitEvent(before, 13),
            self.work(),
            kernel,
            do.RecordEvent(after, 13),
        ]
        operator = do.Operator("c10d::allreduce_", [self.work(), do.Operator("nccl::record_param_comms", waits)])
        tail: list[do.Action] = [do.WaitEvent(after)] if self.chance(0.7) else []
        return do.Annotation("nccl:all_reduce", [operator, *tail])

    def graph(self) -> do.Operator:
        """A graph launch of several kernels on one or two streams."""
        nodes = [
            do.GraphNode(
                self.random.choice(KERNELS),
                self.around(self.kernel_scale),
                self.random.choice((0, 900, 9_000)),
                self.random.choice((7, 7, 29)),
            )
            for _ in range(self.random.randint(2, 12))
        ]
        return do.Operator("cuda::graph_replay", [self.work(), do.GraphLaunch(nodes, call_ns=self.around(20_000))])

    def operator(self, depth: int = 0) -> do.Operator:
        """An operator with launches, nested operators, and the calls that operators make."""
        children: list[do.Action] = [self.work()]
        for _ in range(self.random.randint(1, 3)):
            draw = self.random.random()
            if draw < 0.6:
                children.append(self.launch())
            elif draw < 0.8 and depth < 2:
                children.append(self.operator(depth + 1))
            elif draw < 0.88:
                children.append(do.Memset(self.around(1_200), lost=self.chance(0.2)))
            elif draw < 0.94:
                children.append(
                    do.Call(self.random.choice(("StreamIsCapturing", "FuncGetAttributes")), self.around(500))
                )
            else:
                children.append(do.Operator("aten::view", [self.work()]))
            if self.chance(0.3):
                children.append(self.work())
        return do.Operator(self.random.choice(NAMES), children, ((self.random.randint(1, 512), 64),))

    def rare(self) -> do.Action:
        """Something that does not happen in every step."""
        ns = self.around(self.random.choice((60_000, 1 * MS)))
        return self.random.choice(
            (
                do.Operator(
                    "aten::empty", [self.work(), do.Allocate(ns, self.random.choice(("Malloc", "Free", "HostAlloc")))]
                ),
                do.Allocate(ns),
                do.Operator("aten::mul", [do.Compile(ns), self.launch()]),
                do.Compile(ns, self.random.choice(("triton", "dynamo", "module"))),
                do.Frame("triton/runtime/jit.py(561): run", [self.work(), do.Compile(ns // 2, "stack"), self.launch()]),
                do.Operator("aten::bincount", [do.Work(ns), do.Operator("aten::unique", [do.Work(ns // 2)])]),
                do.Annotation("## metrics ##", [do.Work(ns)]),
                do.Frame("train.py(40): log_metrics", [do.Work(ns), self.operator()]),
                do.Overhead(ns),
                do.Work(ns),
                self.item(),
                self.copy(),
                do.Synchronize("device", device=self.random.randrange(self.devices)),
            )
        )

    def section(self, length: int) -> list[do.Action]:
        """A run of operators and what stands between them."""
        actions: list[do.Action] = []
        for _ in range(length):
            draw = self.random.random()
            if draw < 0.62:
                actions.append(self.operator())
            elif draw < 0.72:
                actions.append(self.work())
            elif draw < 0.76:
                actions.append(self.item())
            elif draw < 0.80 and self.communicates:
                actions.append(self.collective())
            elif draw < 0.84 and self.graphs:
                actions.append(self.graph())
            elif draw < 0.90:
                actions.append(self.copy())
            else:
                actions.append(self.rare())
        return actions

    def step(self, workers: int | None, autograd: bool) -> list[do.Action]:
        """One training step."""
        length = self.random.randint(3, 9) * self.scale
        actions: list[do.Action] = [self.work()]
        if workers is not None:
            wait = self.around(self.random.choice((30_000, 900_000)))
            inside = (
                [do.Operator("aten::stack", [do.Work(self.around(40_000))]) for _ in range(3)] if workers == 0 else []
            )
            actions += [do.Loader([*inside, do.Work(wait)], workers), self.copy()]
        actions.append(
            do.Frame(
                "train.py(12): forward",
                [self.work(), do.Annotation("## forward ##", self.section(length)), self.work()],
            )
        )
        backward = self.section(length)
        actions += [do.RunOn("autograd", backward)] if autograd else backward
        actions.append(do.Annotation("Optimizer.step#SGD.step", self.section(2)))
        if self.chance(0.4):
            actions.append(do.Synchronize(self.random.choice(("device", "stream"))))
        return actions


def random_process(seed: int, at: int, devices: Sequence[int], steps: int, scale: int) -> do.Process:
    """A random process; `at` is its place among the processes."""
    author = Author(seed, len(devices), scale)
    workers, autograd = author.random.choice((None, 0, 4)), author.chance(0.6)
    beside: dict[str, Sequence[do.Action]] = {}
    hidden = set()
    if author.chance(0.25):
        beside["prefetch"] = [part for _ in range(3) for part in (do.Work(author.around(200_000)), author.copy())]
    if author.chance(0.2):
        beside["unseen"] = [part for _ in range(4) for part in (do.Work(author.around(300_000)), author.launch(31))]
        hidden.add("unseen")
    orphans: list[do.Orphan] = []
    if author.chance(0.3):
        orphans = [do.Orphan(KERNELS[0], author.around(20_000) * (n + 1), author.around(15_000)) for n in range(5)]
    return do.Process(
        pid=4100 + 17 * at,
        steps=[author.step(workers, autograd) for _ in range(steps)],
        before=author.section(2) if author.chance(0.6) else [],
        after=author.section(2) if author.chance(0.4) else [],
        beside=beside,
        hidden=frozenset(hidden),
        devices=tuple(devices),
        orphans=orphans,
        between_ns=author.random.randint(1, 20_000),
    )


def random_program(seed: int, scale: int = 1) -> do.Workload:
    """A random workload: one or two processes with one or two devices each, with or without marks and stacks.

    It has ``scale`` times as many steps, each of them as many times as long.
    """
    chooser = random.Random(f"workload {seed}")
    processes, steps = chooser.choice((1, 1, 1, 2)), chooser.randint(1, 4) * scale
    per_process = chooser.choice((1, 1, 2))
    return do.Workload(
        [
            random_process(1_000_003 * at + seed, at, range(at * per_process, (at + 1) * per_process), steps, scale)
            for at in range(processes)
        ],
        marks=chooser.random() < 0.75,
        stacks=chooser.random() < 0.5,
        vendor=chooser.choice(("cuda", "cuda", "hip")),
    )


@dataclass(frozen=True)
class Planted:
    """A workload with a cause of `ns` in every step, and the same with the cause zeroed."""

    cause: str
    with_cause: do.Workload
    without: do.Workload


PLANTED_CAUSES = ("data_loading", "allocation", "compilation", "initialization", "host_compute", "python")


def planted(cause: str, seed: int, ns: int = 4 * MS, steps: int = 4) -> Planted:
    """A pair in which only the host time of `cause` differs: `ns` and some more in each step, against none.

    The device always waits for the host: kernels are a fraction of what their launches take, and nothing synchronizes.
    """
    return Planted(cause, _exposed(cause, seed, ns, steps), _exposed(cause, seed, 0, steps))


def _exposed(cause: str, seed: int, ns: int, steps: int) -> do.Workload:
    chooser = random.Random(f"planted {seed}")
    all_steps: list[list[do.Action]] = []
    for _ in range(steps):
        step: list[do.Action] = []
        for _ in range(chooser.randint(6, 20)):
            work, kernel_ns = chooser.randint(8_000, 30_000), chooser.randint(900, 5_000)
            launch = do.Launch(chooser.choice(KERNELS), kernel_ns, latency_ns=chooser.randint(-1_500, 2_500))
            step.append(do.Operator(chooser.choice(NAMES), [do.Work(work), launch]))
        # Drawn alike with and without the cause, so that nothing else differs. A launch always follows it.
        length, place = ns + int(chooser.random() * ns / 2), chooser.randint(1, len(step) - 1)
        step.insert(place, _cause(cause, length, len(all_steps)))
        all_steps.append(step)
    return do.Workload([do.Process(4100, all_steps)], marks=chooser.random() < 0.5, stacks=True)


def _cause(cause: str, ns: int, step: int) -> do.Action:
    """The action that costs `ns` of `cause`; of no length it leaves no row, but for a launch that stays."""
    launch = do.Launch(f"new_kernel_{step}", 2_000, call_ns=5_000 + ns)
    if cause == "initialization":
        return do.Operator("aten::conv2d", [do.Work(10_000), launch])
    if not ns:
        return do.Work(0)
    actions: dict[str, do.Action] = {
        "data_loading": do.Loader([do.Operator("aten::stack", [do.Work(ns // 2)]), do.Work(ns - ns // 2)]),
        "allocation": do.Allocate(ns),
        "compilation": do.Compile(ns, ("module", "triton", "dynamo")[step % 3]),
        "host_compute": do.Operator("aten::sort", [do.Work(ns)]),
        "python": do.Frame("train.py(77): tokenize", [do.Work(ns)]),
    }
    return actions[cause]
