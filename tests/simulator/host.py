"""The host side of the machine: threads, what their time is spent on, and the actions that touch no device.

While it runs, a thread logs what its time is spent on. That log, and not the rows written for it, is what the truth is
made of.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field

from tests.simulator import actions as do

MS = 1_000_000
POLL = "<built-in method poll of select.poll object at 0x7f095e92a880>"
"""How stacks show that a thread waits for what another process sends."""
Run = Generator[int, None, None]

# What a thread's time is spent on: the lower one is what counts while both are open.
LOADING, ALLOCATION, COMPILATION, INITIALIZATION, LAUNCH, COPY, OPERATOR, PYTHON, OVERHEAD, SILENT = range(10)
NAMES = (
    "data_loading",
    "allocation",
    "compilation",
    "initialization",
    "launch_overhead",
    "copy_submission",
    "operator_dispatch",
    "python",
    "profiler_overhead",
    "unattributed_host_silent",
)


class Label:
    """What time is spent on. An operator's name is settled only when it ends: it may turn out to be host compute."""

    def __init__(self, rank: int) -> None:
        self.rank = rank
        self.name = NAMES[rank]


@dataclass(eq=False)
class Row:
    """A row to write: category by its modern name, times in ns."""

    category: str
    name: str
    start: int
    end: int
    pid: int
    tid: int
    correlation: int | None = None
    external: int | None = None
    python: tuple[int, int | None] | None = None  # of a stack frame: its id and its caller's
    args: dict[str, object] = field(default_factory=dict)
    step: int | None = None


class HostThread:
    """A host thread: its clock, and its log of (start, end, label) and of the spans it spent in sync calls."""

    def __init__(self, pid: int, tid: int, hidden: bool) -> None:
        self.pid, self.tid, self.hidden = pid, tid, hidden
        self.clock = 0
        self.log: list[tuple[int, int, Label]] = []
        self.syncs: list[tuple[int, int]] = []
        self.labels = [Label(SILENT)]
        self.externals: list[int] = []
        self.frames: list[int] = []

    def spend(self, ns: int) -> None:
        """Passes `ns` of time."""
        if ns > 0:
            self.log.append((self.clock, self.clock + ns, self.labels[-1]))
            self.clock += ns

    @contextlib.contextmanager
    def within(self, label: Label) -> Iterator[None]:
        """Time passed inside is spent on `label`, unless something that counts before it is open."""
        self.labels.append(min(self.labels[-1], label, key=lambda one: one.rank))
        yield
        self.labels.pop()


class Stream:
    """One stream: when what it holds will be done, and what it was told to wait for."""

    def __init__(self) -> None:
        self.free_at = 0
        self.wait_until = 0

    def place(self, ready: int, queue_ns: int, ns: int) -> tuple[int, int]:
        """Enqueues `ns` of work; returns its start and end."""
        busy_until = max(self.free_at, self.wait_until)
        start = ready if ready >= busy_until else busy_until + queue_ns
        self.free_at = start + ns
        return start, self.free_at


class ProcessState:
    """A process as it runs."""

    def __init__(self, program: do.Process, origin: int) -> None:
        self.program = program
        self.threads: dict[str, HostThread] = {}
        self.streams: dict[tuple[int, int], Stream] = {}  # by device index and stream
        self.events: dict[str, int] = {}
        self.kernels: set[str] = set()
        self.correlation = origin
        self.external = 3 * origin + 11 * program.pid
        self.frames = 0
        self.batch_at: int | None = None
        self.step: int | None = 0

    def thread(self, name: str) -> HostThread:
        """The thread of that name; the main thread's id is the pid."""
        if name not in self.threads:
            tid = self.program.pid + (0 if name == "main" else 101 + len(self.threads))
            self.threads[name] = HostThread(self.program.pid, tid, name in self.program.hidden)
        return self.threads[name]

    def stream(self, device: int, stream: int) -> Stream:
        """The stream `stream` of the process's device with index `device`."""
        return self.streams.setdefault((device, stream), Stream())


class HostMachine:
    """Records the host's side of one workload."""

    def __init__(self, workload: do.Workload) -> None:
        self.workload = workload
        self.rows: list[Row] = []
        self.processes = [ProcessState(program, 700 + 3 * at) for at, program in enumerate(workload.processes)]
        self._run: dict[type, Callable[..., Run]] = {
            do.Work: self._work,
            do.Batch: self._batch,
            do.Operator: self._operator,
            do.Annotation: self._annotation,
            do.Frame: self._frame,
            do.Loader: self._loader,
            do.Allocate: self._allocate,
            do.Compile: self._compile,
            do.Overhead: self._overhead,
            do.Call: self._call,
            do.RunOn: self._run_on,
        }

    def _all(self, process: ProcessState, thread: HostThread, actions: Sequence[do.Action]) -> Run:
        for action in actions:
            yield from self._run[type(action)](process, thread, action)

    def _record(self, process: ProcessState, thread: HostThread, category: str, name: str, start: int) -> Row:
        """Records a host row from `start` to now; a hidden thread's is made but not kept."""
        row = Row(category, name, start, thread.clock, thread.pid, thread.tid, step=process.step)
        row.external = thread.externals[-1] if thread.externals else None
        if not thread.hidden:
            self.rows.append(row)
        return row

    def _record_call(self, process: ProcessState, thread: HostThread, function: str, start: int) -> Row:
        """Records a runtime or driver call that began at `start`; `function` has the vendor's prefix or needs it."""
        name = function if function[0].islower() else self.workload.vendor + function
        driver = name.startswith("cu") and not name.startswith("cuda")
        row = self._record(process, thread, "cuda_driver" if driver else "cuda_runtime", name, start)
        process.correlation += 1
        row.correlation = process.correlation
        return row

    def _work(self, _process: ProcessState, thread: HostThread, action: do.Work) -> Run:
        thread.spend(action.ns)
        yield from ()

    def _batch(self, process: ProcessState, thread: HostThread, action: do.Batch) -> Run:
        # Workers begin when a batch is first asked for, as an iterator of PyTorch starts them.
        process.batch_at = (thread.clock if process.batch_at is None else process.batch_at) + action.made_ns
        wait = do.Work(max(process.batch_at - thread.clock, 0))
        if self.workload.stacks and wait.ns:
            return self._stacked(process, thread, POLL, LOADING, [wait])
        return self._work(process, thread, wait)

    def _operator(self, process: ProcessState, thread: HostThread, action: do.Operator) -> Run:
        start, label = thread.clock, Label(OPERATOR)
        process.external += 1
        external = process.external
        thread.externals.append(external)
        with thread.within(label):
            yield from self._all(process, thread, action.children)
        thread.externals.pop()
        if not do.launches(action.children) and thread.clock - start > MS:
            label.name = "host_compute"
        row = self._record(process, thread, "cpu_op", action.name, start)
        row.external = external
        if action.shapes:
            row.args["Input Dims"] = action.shapes
            row.args["Input type"] = ["float"] * len(action.shapes)

    def _nested(
        self,
        process: ProcessState,
        thread: HostThread,
        category: str,
        name: str,
        label: int,
        children: Sequence[do.Action],
        *,
        python: tuple[int, int | None] | None = None,
    ) -> Run:
        start = thread.clock
        with thread.within(Label(label)):
            yield from self._all(process, thread, children)
        self._record(process, thread, category, name, start).python = python

    def _annotation(self, process: ProcessState, thread: HostThread, action: do.Annotation) -> Run:
        return self._nested(process, thread, "user_annotation", action.name, PYTHON, action.children)

    def _frame(self, process: ProcessState, thread: HostThread, action: do.Frame) -> Run:
        if not self.workload.stacks:
            return self._all(process, thread, action.children)
        return self._stacked(process, thread, action.name, PYTHON, action.children)

    def _stacked(
        self, process: ProcessState, thread: HostThread, name: str, label: int, children: Sequence[do.Action]
    ) -> Run:
        process.frames += 1
        number, caller = process.frames, thread.frames[-1] if thread.frames else None
        thread.frames.append(number)
        yield from self._nested(process, thread, "python_function", name, label, children, python=(number, caller))
        thread.frames.pop()

    def _loader(self, process: ProcessState, thread: HostThread, action: do.Loader) -> Run:
        kind = "_MultiProcessingDataLoaderIter" if action.workers else "_SingleProcessDataLoaderIter"
        name = f"enumerate(DataLoader)#{kind}.__next__"
        return self._nested(process, thread, "user_annotation", name, LOADING, action.children)

    def _compile(self, process: ProcessState, thread: HostThread, action: do.Compile) -> Run:
        if action.form == "module":
            function = "cuModuleLoadData" if self.workload.vendor == "cuda" else "hipModuleLoadData"
            return self._simple_call(process, thread, function, action.ns, COMPILATION)
        if action.form == "stack":
            name = "triton/compiler/compiler.py(81): compile"
            return self._stacked(process, thread, name, COMPILATION, [do.Work(action.ns)])
        category, name = {
            "triton": ("user_annotation", "triton_compile: fused_add_kernel"),
            "dynamo": ("cpu_op", "compile_fx.<locals>.fw_compiler_base (dynamo_timed)"),
        }[action.form]
        return self._nested(process, thread, category, name, COMPILATION, [do.Work(action.ns)])

    def _overhead(self, process: ProcessState, thread: HostThread, action: do.Overhead) -> Run:
        return self._nested(process, thread, "overhead", action.name, OVERHEAD, [do.Work(action.ns)])

    def _simple_call(self, process: ProcessState, thread: HostThread, function: str, ns: int, label: int) -> Run:
        start = thread.clock
        with thread.within(Label(label)):
            thread.spend(ns)
        self._record_call(process, thread, function, start)
        yield from ()

    def _allocate(self, process: ProcessState, thread: HostThread, action: do.Allocate) -> Run:
        return self._simple_call(process, thread, action.function, action.ns, ALLOCATION)

    def _call(self, process: ProcessState, thread: HostThread, action: do.Call) -> Run:
        return self._simple_call(process, thread, action.function, action.ns, SILENT)

    def _run_on(self, process: ProcessState, thread: HostThread, action: do.RunOn) -> Run:
        other = process.thread(action.thread)
        other.clock = max(other.clock, thread.clock + action.handoff_ns)
        yield from self._all(process, other, action.children)
        thread.spend(other.clock + action.handoff_ns - thread.clock)
