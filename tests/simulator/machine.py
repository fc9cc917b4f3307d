"""The machine that runs a workload: host threads, streams and events, in integer nanoseconds.

Each host thread is a generator that yields its clock before it touches a device; the thread with the earliest clock
goes on. Work on a stream starts in the order of its calls, so an activity's place is known as soon as it is enqueued.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass

from tests.simulator import actions as do
from tests.simulator import host
from tests.simulator.host import HostMachine, HostThread, Label, ProcessState, Row, Run

COPY_NAMES = {
    "HtoD": "Memcpy HtoD (Pinned -> Device)",
    "DtoH": "Memcpy DtoH (Device -> Pinned)",
    "DtoD": "Memcpy DtoD (Device -> Device)",
    "PtoP": "Memcpy PtoP (Device -> Device)",
}


@dataclass(eq=False)
class Activity:
    """Work of a device. `launch`, `thread` and `step` are None where its call is not in the recording. `kind` is a busy
    class; the step counts from 1, 0 is before the first mark, and None after the last.
    """

    row: Row
    kind: str
    launch: Row | None
    thread: HostThread | None
    step: int | None


@dataclass(frozen=True)
class Launched:
    """Who launched something: the call's row, its thread, and the step that it was made in."""

    call: Row
    thread: HostThread
    step: int | None


class Machine(HostMachine):
    """Runs one workload and records it."""

    def __init__(self, workload: do.Workload) -> None:
        super().__init__(workload)
        self.activities: list[Activity] = []
        self._run |= {
            do.Launch: self._launch,
            do.GraphLaunch: self._graph_launch,
            do.Copy: self._copy,
            do.Memset: self._memset,
            do.Synchronize: self._synchronize,
            do.RecordEvent: self._record_event,
            do.WaitEvent: self._wait_event,
        }

    def run(self) -> None:
        """Runs every thread to its end, always the one that is furthest behind."""
        waiting: list[tuple[int, int, Run]] = []
        for process in self.processes:
            self._place_orphans(process)
            programs = [self._main(process)]
            programs += [self._all(process, process.thread(n), a) for n, a in process.program.beside.items()]
            waiting += [(0, len(waiting) + at, program) for at, program in enumerate(programs)]
        heapq.heapify(waiting)
        while waiting:
            _, order, program = heapq.heappop(waiting)
            clock = next(program, None)
            if clock is not None:
                heapq.heappush(waiting, (clock, order, program))

    def _main(self, process: ProcessState) -> Run:
        thread, program = process.thread("main"), process.program
        yield from self._all(process, thread, program.before)
        for at, step in enumerate(program.steps):
            yield thread.clock
            if self.workload.marks:
                process.step = at + 1
                name = f"ProfilerStep#{program.first_step + at}"
                yield from self._annotation(process, thread, do.Annotation(name, step))
            else:
                yield from self._all(process, thread, step)
            if at + 1 == len(program.steps) and self.workload.marks:
                yield thread.clock
                process.step = None
            thread.spend(program.between_ns)
        yield from self._all(process, thread, program.after)

    def _place_orphans(self, process: ProcessState) -> None:
        for orphan in process.program.orphans:
            process.correlation += 1
            span = process.stream(orphan.device, orphan.stream).place(orphan.start_ns, 900, orphan.ns)
            row = Row("kernel", orphan.kernel, *span, process.program.devices[orphan.device], orphan.stream)
            row.correlation = process.correlation
            self.activities.append(Activity(row, "compute", None, None, None))

    def _add_activity(
        self,
        process: ProcessState,
        launched: Launched,
        row: Row,
        kind: str,
    ) -> None:
        """Keeps an activity; the work of a hidden thread has no launch that anyone could know."""
        row.pid = process.program.devices[row.pid]
        row.correlation, row.external, row.step = launched.call.correlation, launched.call.external, launched.step
        if launched.thread.hidden:
            self.activities.append(Activity(row, kind, None, None, None))
        else:
            self.activities.append(Activity(row, kind, launched.call, launched.thread, launched.step))

    def _launch(self, process: ProcessState, thread: HostThread, action: do.Launch) -> Run:
        yield thread.clock
        step, start = process.step, thread.clock
        with thread.within(Label(self._launch_label(process, thread, action))):
            if action.module_ns:
                yield from self._compile(process, thread, do.Compile(action.module_ns))
            thread.spend(action.call_ns - action.module_ns)
        call = self._record_call(process, thread, "LaunchKernel", start)
        if action.lost:
            return
        yield thread.clock  # only now it is handed over: others may have gone on, if the call took long
        stream = process.stream(action.device, action.stream)
        span = stream.place(thread.clock + action.latency_ns, action.queue_ns, action.ns)
        row = Row("kernel", action.kernel, *span, action.device, action.stream, args=dict(action.arguments))
        kind = "exposed_communication" if action.communication else "compute"
        self._add_activity(process, Launched(call, thread, step), row, kind)

    @staticmethod
    def _launch_label(process: ProcessState, thread: HostThread, action: do.Launch | do.GraphLaunch) -> int:
        """A call over 1 ms that is the first to launch a kernel is initialization."""
        if isinstance(action, do.Launch):
            kernels = set() if action.lost else {action.kernel}
        else:
            kernels = {node.kernel for node in action.nodes}
        new = kernels - process.kernels
        if not thread.hidden:
            process.kernels |= kernels
        return host.INITIALIZATION if new and action.call_ns > host.MS else host.LAUNCH

    def _graph_launch(self, process: ProcessState, thread: HostThread, action: do.GraphLaunch) -> Run:
        yield thread.clock
        step, start = process.step, thread.clock
        with thread.within(Label(self._launch_label(process, thread, action))):
            thread.spend(action.call_ns)
        call = self._record_call(process, thread, "GraphLaunch", start)
        yield thread.clock
        first = thread.clock + action.latency_ns
        for node in action.nodes:
            stream = process.stream(action.device, node.stream)
            span = stream.place(max(first, stream.free_at + node.after_ns), action.queue_ns, node.ns)
            row = Row("kernel", node.kernel, *span, action.device, node.stream)
            row.args = {"graph id": 3, "graph node id": len(self.activities)}
            self._add_activity(process, Launched(call, thread, step), row, "compute")

    def _copy(self, process: ProcessState, thread: HostThread, action: do.Copy) -> Run:
        yield thread.clock
        step, start = process.step, thread.clock
        stream = process.stream(action.device, action.stream)
        span = stream.place(start + action.call_ns + action.latency_ns, action.queue_ns, action.ns)
        with thread.within(Label(host.COPY)):
            thread.spend(action.call_ns)
            if action.blocking:
                thread.spend(span[1] + action.return_ns - thread.clock)
        call = self._record_call(process, thread, action.function, start)
        if "Async" not in action.function or (action.kind == "DtoH" and thread.clock >= span[1]):
            thread.syncs.append((start, thread.clock))
        name = COPY_NAMES[action.kind]
        name = name.replace("Pinned", "Pageable") if action.blocking else name
        row = Row("gpu_memcpy", name, *span, action.device, action.stream, args={"bytes": action.bytes})
        kind = "exposed_communication" if action.kind == "PtoP" else "exposed_copy"
        self._add_activity(process, Launched(call, thread, step), row, kind)

    def _memset(self, process: ProcessState, thread: HostThread, action: do.Memset) -> Run:
        yield thread.clock
        step, start = process.step, thread.clock
        with thread.within(Label(host.COPY)):
            thread.spend(action.call_ns)
        call = self._record_call(process, thread, "MemsetAsync", start)
        if not action.lost:
            yield thread.clock
            stream = process.stream(action.device, action.stream)
            span = stream.place(thread.clock + action.latency_ns, action.queue_ns, action.ns)
            row = Row("gpu_memset", "Memset (Device)", *span, action.device, action.stream, args={"bytes": 4096})
            self._add_activity(process, Launched(call, thread, step), row, "compute")

    def _synchronize(self, process: ProcessState, thread: HostThread, action: do.Synchronize) -> Run:
        yield thread.clock
        start = thread.clock
        if action.scope == "stream":
            until = process.stream(action.device, action.stream).free_at
        elif action.scope == "device":
            until = max((s.free_at for (device, _), s in process.streams.items() if device == action.device), default=0)
        else:
            until = process.events.get(action.event, 0)
        thread.spend(max(action.call_ns, until + action.return_ns - start))
        thread.syncs.append((start, thread.clock))
        self._record_call(process, thread, f"{action.scope.capitalize()}Synchronize", start)

    def _record_event(self, process: ProcessState, thread: HostThread, action: do.RecordEvent) -> Run:
        yield thread.clock
        process.events[action.event] = process.stream(action.device, action.stream).free_at
        yield from self._simple_call(process, thread, "EventRecord", action.call_ns, host.SILENT)

    def _wait_event(self, process: ProcessState, thread: HostThread, action: do.WaitEvent) -> Run:
        yield thread.clock
        stream = process.stream(action.device, action.stream)
        stream.wait_until = max(stream.wait_until, process.events.get(action.event, 0))
        yield from self._simple_call(process, thread, "StreamWaitEvent", action.call_ns, host.SILENT)
