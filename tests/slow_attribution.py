"""An independent, slow and simple attribution of a trace, to hold the fast one against.

It reads the raw JSON of a Kineto trace with the `json` module (`slow_nsight` reads exports of Nsight Systems), keeps
every row as a plain object and decides each gap by itself. It shares nothing with the package. Times are integer
nanoseconds.

Where the rules leave room, this file reads them so:

1.  Decimal microseconds become nanoseconds by truncation below the third decimal; an end is start + duration, both in
    ns.
2.  A timeline is one (pid, device) of the activity rows; `device` is `args.device`, else the pid. Where a row names
    the process that owns it, that takes the place of the pid, and the timeline belongs to that process.
3.  Rows without name, ts or dur, and rows with a negative duration, are not read.
4.  Calls are rows whose category ends in `runtime` or `driver`. Of several calls with one correlation the earliest
    counts.
5.  With several host processes in a file, a timeline belongs to the process that has most of its activities'
    (correlation, External id) pairs in calls that begin before the activity; then most correlations; then the lowest
    pid.
6.  A zero-length activity inside a gap cuts the gap in two. It ends at its start, so it also counts as ending there.
7.  A launch that returned exactly when the gap began had returned before it: the gap is queued time.
8.  A launch still open when the gap ends gives the whole gap to its thread; so does one that (skewed) starts later.
9.  An operator contains a launch call when the call starts inside it: op start <= call start < op end.
10. Copy and memset calls are told by name (`cudaMem{cpy,set}*`, `hip...`, `cu...`); they count as launches even with
    no activity.
11. Inside operators that launch nothing the outermost decides: longer than 1 ms is host compute, else operator
    dispatch.
12. Any open annotation is `python`, step marks included; so is any stack row. `DataLoader` rows are those with both
    `DataLoader` and `__next__` in an operator's or annotation's name: stack rows of dataloader.py are not used.
13. "First launch of a kernel" is per process: each process loads its own modules. A graph launch is the first of each
    kernel in it.
14. A launch in the last step starts before the mark's end. Marks are those of the timeline's own process, in order of
    start. A step whose start is undefined (nothing was launched before it) starts at the first activity launched in
    it.
15. Compilation: module, library and link calls, nvrtc and hiprtc; operators and annotations marked `(dynamo_timed)`
    or naming a compile of Triton or Inductor; stack rows of the compile functions of Triton, Inductor and Dynamo.
16. A sync that was open when the gap began explains the gap up to L's start, even where it returned earlier.
17. What a call of the operating system or a sample explains is what no cause before it does, wherever it happened.
    But with no request open, in a process that marks requests, nothing of that counts: that is `no_request`.
18. Overhead rows on threads with nothing else explain any thread; where their process has threads with something else,
    those alone.
19. The communication names are a list of this file's own; they decide the busy split, never an idle cause.

    python -m tests.slow_attribution TRACE [device-span|steps] [smallest gap to list, in ns]
"""

from __future__ import annotations

import bisect
import collections
import dataclasses
import gzip
import json
import re
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeAlias

MS = 1_000_000
KERNELS = ("kernel", "Kernel")
COPIES = ("gpu_memcpy", "Memcpy")
MEMSETS = ("gpu_memset", "Memset")
LAUNCH_NAME = re.compile(r"^(cuda|cu|hip)(Ext)?(Module)?(Launch(Cooperative)?Kernel|GraphLaunch)")
COPY_NAME = re.compile(r"^(cuda|cu|hip)Mem(cpy|set)")
BLOCKING_COPY_NAME = re.compile(r"^(cuda|cu|hip)Memcpy(?!.*Async)")
ALLOCATION_NAME = re.compile(
    r"^(cuda|cu|hip)(Ext)?(Malloc|Free|Host(Alloc|Free|Malloc|Register|Unregister)"
    r"|Mem(Host)?(Alloc|Free|Create|Release|Map|Unmap|AddressReserve|AddressFree|SetAccess|HostRegister|HostUnregister))"
)
COMPILATION_CALL = re.compile(r"^((cu|cuda|hip)(ModuleLoad|ModuleUnload|LibraryLoad|Link)|nvrtc|hiprtc)")
COMPILATION_ROW = re.compile(
    r"\(dynamo_timed\)|(triton|inductor)\S*[ .:_]*compil|compil\w*[ .:_]*(triton|inductor)", re.IGNORECASE
)
COMPILATION_STACK = re.compile(
    r"triton/compiler/compiler\.py\(\d+\): compile$|torch/_inductor/compile_fx\.py\(\d+\): \w*compile\w*$"
    r"|torch/_dynamo/convert_frame\.py\(\d+\): _?compile\w*$"
)
CONTEXT_NAME = re.compile(r"^(cuInit|cuCtxCreate|cuDevicePrimaryCtxRetain|hipCtxCreate|hipDevicePrimaryCtxRetain)")
COMMUNICATION_NAME = re.compile(
    r"nccl|rccl|multimem_|(one|two)_shot_all_?reduce|cross_device_reduce|nvshmem|deep_ep|all_?reduce_kernel"
    r"|Memcpy P(2|to)P",
    re.IGNORECASE,
)
STEP_MARK = re.compile(r"^ProfilerStep#\d+")


@dataclasses.dataclass(eq=False)
class Row:
    """One complete event (`ph` X): times in ns, `thread` is (pid, tid) as text."""

    name: str
    category: str
    start: int
    end: int
    pid: str
    thread: tuple[str, str]
    args: dict[str, Any]
    owner: str = ""  # of an activity: the process that it belongs to, where the format says so
    launch: Row | None = None  # of an activity: the call that launched it
    activities: list[Row] = dataclasses.field(default_factory=list)  # of a call: what it launched

    @property
    def correlation(self) -> int:
        """The correlation id; -1 where the row has none."""
        return int(self.args.get("correlation", -1))

    @property
    def external(self) -> int:
        """The id of the operator that a call or an activity belongs to; -1 where the row has none."""
        return int(self.args.get("External id", self.args.get("external id", -1)))

    @property
    def stream(self) -> str:
        """The stream of an activity, as text."""
        return str(self.args.get("stream", self.thread[1]))


@dataclasses.dataclass
class Gap:
    """An idle interval, the activity that ends it, and its ns by cause."""

    start: int
    end: int
    activity: Row
    causes: dict[str, int]


@dataclasses.dataclass
class Timeline:
    """The attribution of one device over one window."""

    process: str
    device: str
    start: int
    end: int
    busy: dict[str, int]
    idle: dict[str, int]
    gaps: list[Gap]
    steps: list[tuple[str, int, int]]
    unlinked: int


def to_ns(microseconds: object) -> int:
    """Decimal microseconds (number or text) to integer ns."""
    return int(Decimal(str(microseconds)) * 1000)


def read_rows(path: Path) -> list[Row]:
    """Every complete event of a Kineto file, in file order."""
    data = path.read_bytes()
    if data[:2] == b"\x1f\x8b":
        data = gzip.decompress(data)
    document = json.loads(data, parse_float=Decimal)
    rows = []
    for event in document if isinstance(document, list) else document["traceEvents"]:
        if event.get("ph") != "X" or not {"name", "ts", "dur"} <= event.keys():
            continue
        start, duration = to_ns(event["ts"]), to_ns(event["dur"])
        if duration >= 0:
            pid, tid = str(event.get("pid", "")), str(event.get("tid", ""))
            category = str(event.get("cat", ""))
            rows.append(
                Row(str(event["name"]), category, start, start + duration, pid, (pid, tid), event.get("args") or {})
            )
    return rows


def is_activity(row: Row) -> bool:
    """Whether the row is work of a device."""
    return row.category in KERNELS + COPIES + MEMSETS


def is_call(row: Row) -> bool:
    """Whether the row is a runtime or driver call."""
    return row.category.lower().endswith(("runtime", "driver"))


def is_operator(row: Row) -> bool:
    """Whether the row is an operator: in 2021 files only with `::` in its name."""
    return row.category == "cpu_op" or (row.category == "Operator" and "::" in row.name)


def is_annotation(row: Row) -> bool:
    """Whether the row is a host annotation."""
    return row.category == "user_annotation" or (row.category == "Operator" and "::" not in row.name)


def is_copy_call(row: Row) -> bool:
    """Whether a call submits a copy or a memset."""
    return COPY_NAME.match(row.name) is not None


def is_launch_call(row: Row) -> bool:
    """Whether a call launches device work: by what it owns or by its name."""
    return bool(row.activities) or is_copy_call(row) or LAUNCH_NAME.match(row.name) is not None


def is_sync_call(row: Row) -> bool:
    """Whether a call waits for the device."""
    if "Synchronize" in row.name or BLOCKING_COPY_NAME.match(row.name):
        return True
    return any(a.name.startswith("Memcpy DtoH") and row.end >= a.end for a in row.activities)


def busy_class(row: Row) -> str:
    """The busy class of an activity."""
    if "Collective name" in row.args or COMMUNICATION_NAME.search(row.name):
        return "exposed_communication"
    return "exposed_copy" if row.category in COPIES else "compute"


def link(timelines: dict[tuple[str, str], list[Row]], calls: list[Row]) -> dict[tuple[str, str], str]:
    """Links each activity with its launch call; returns the host process of each timeline."""
    by_process: dict[str, dict[int, Row]] = collections.defaultdict(dict)
    for call in sorted(calls, key=lambda c: c.start):
        if call.correlation >= 0:
            by_process[call.pid].setdefault(call.correlation, call)
    owners = {}
    for key, activities in timelines.items():
        best = None
        named = {a.owner for a in activities if a.owner}
        for pid, table in by_process.items():
            if named and pid not in named:
                continue
            same = [(a, table[a.correlation]) for a in activities if a.correlation in table]
            same = [(a, c) for a, c in same if c.start <= a.start] if len(by_process) > 1 else same
            exact = sum(1 for a, c in same if a.external == c.external >= 0)
            rank = (exact, len(same), -int(pid) if pid.lstrip("-").isdigit() else 0)
            if best is None or rank > best[0]:
                best = (rank, pid)
        if best is None:
            owners[key] = min(named, default="")
            continue
        owners[key] = best[1]
        for activity in activities:
            if launch := by_process[best[1]].get(activity.correlation):
                activity.launch = launch
                launch.activities.append(activity)
    return owners


Spans: TypeAlias = list[tuple[int, int]]


def union(spans: Spans) -> Spans:
    """The same points as disjoint intervals in order; empty spans vanish."""
    merged: Spans = []
    for start, end in sorted(spans):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end))
        elif end > start:
            merged.append((start, end))
    return merged


def covered(rows: list[Row]) -> Spans:
    """The points that any of the rows covers."""
    return union([(r.start, r.end) for r in rows])


def within(spans: Spans, start: int, end: int) -> Spans:
    """The parts of disjoint, ordered spans that lie in [start, end)."""
    at = max(0, bisect.bisect_right(spans, (start, sys.maxsize)) - 1)
    found = []
    while at < len(spans) and spans[at][0] < end:
        if min(spans[at][1], end) > max(spans[at][0], start):
            found.append((max(spans[at][0], start), min(spans[at][1], end)))
        at += 1
    return found


def subtract(spans: Spans, taken: Spans) -> Spans:
    """Disjoint spans without the points of `taken` (disjoint and ordered)."""
    left = []
    for start, end in spans:
        at = start
        for low, high in within(taken, start, end):
            if low > at:
                left.append((at, low))
            at = high
        if end > at:
            left.append((at, end))
    return left


def total(spans: Spans) -> int:
    """The length of disjoint spans."""
    return sum(end - start for start, end in spans)


class HostThread:
    """What one host thread was doing: for each cause, in order of precedence, the union of the rows that show it."""

    def __init__(self, rows: list[Row], overhead: list[Row], first_launches: set[Row], requests: Spans) -> None:
        ever = [(-sys.maxsize, sys.maxsize)]
        between = subtract(ever, requests) if requests else []
        waits = covered([r for r in rows if r.category == "os_call"])
        calls = [r for r in rows if is_call(r)]
        launches = sorted(r.start for r in calls if is_launch_call(r))
        operators = [r for r in rows if is_operator(r)]
        launching: list[Row] = []
        silent: list[Row] = []
        for op in operators:
            at = bisect.bisect_left(launches, op.start)
            (launching if at < len(launches) and launches[at] < op.end else silent).append(op)
        named = [r for r in rows if is_operator(r) or is_annotation(r)]
        stack = [r for r in rows if r.category == "python_function"]

        self.loading = covered([r for r in named if "DataLoader" in r.name and "__next__" in r.name])
        self.syncs = covered([r for r in calls if is_sync_call(r)])
        self.causes: list[tuple[str, Spans]] = [
            ("allocation", covered([r for r in calls if ALLOCATION_NAME.match(r.name)])),
            (
                "compilation",
                covered(
                    [r for r in calls if COMPILATION_CALL.match(r.name)]
                    + [r for r in named if COMPILATION_ROW.search(r.name)]
                    + [r for r in stack if COMPILATION_STACK.search(r.name)]
                ),
            ),
            ("initialization", covered([r for r in calls if r in first_launches or CONTEXT_NAME.match(r.name)])),
            ("launch_overhead", covered([r for r in calls if is_launch_call(r) and not is_copy_call(r)])),
            ("copy_submission", covered([r for r in calls if is_copy_call(r)])),
            ("operator_dispatch", covered(launching)),
            ("host_compute", covered([op for op in silent if op.end - op.start > MS])),
            ("operator_dispatch", covered(silent)),
            ("no_request", between),
            ("os_wait", waits),
            ("python", covered(stack + [r for r in rows if is_annotation(r)])),
            ("profiler_overhead", covered([r for r in rows if r.category == "overhead"] + overhead)),
            ("host_code", covered([r for r in rows if r.category == "cpu_sample"])),
        ]

    def divide(self, gap_start: int, until: int, launch_start: int) -> dict[str, int]:
        """The ns of [gap_start, until) by cause; `launch_start` ends the part that a sync explains."""
        causes: dict[str, int] = collections.Counter()
        left = [(gap_start, until)]
        ordered = [("data_loading", self.loading)]
        if within(self.syncs, gap_start, gap_start + 1):
            ordered.append(("synchronization", [(gap_start, max(gap_start, min(launch_start, until)))]))
        for cause, spans in ordered + self.causes:
            remaining = subtract(left, spans)
            causes[cause] += total(left) - total(remaining)
            left = remaining
        causes["unattributed_host_silent"] += total(left)
        return causes


class Trace:
    """The rows of a file, linked, with its device timelines."""

    def __init__(self, rows: list[Row]) -> None:
        self.rows = rows
        self.activities: dict[tuple[str, str], list[Row]] = collections.defaultdict(list)
        for row in self.rows:
            if is_activity(row):
                self.activities[row.owner or row.pid, str(row.args.get("device", row.pid))].append(row)
        for found in self.activities.values():
            found.sort(key=lambda r: (r.start, r.correlation < 0, r.correlation))
        calls = [r for r in self.rows if is_call(r)]
        self.owners = link(self.activities, calls)
        by_thread = collections.defaultdict(list)
        for row in self.rows:
            if not is_activity(row):
                by_thread[row.thread].append(row)
        first = self._first_launches(calls)
        used = {a.launch.thread for rows in self.activities.values() for a in rows if a.launch}
        program = {thread for thread, found in by_thread.items() if any(r.category != "overhead" for r in found)}
        processes = {pid for pid, _ in program}
        loose = [r for r in self.rows if r.category == "overhead" and r.thread not in program]
        overhead = {pid: [r for r in loose if r.pid == pid or r.pid not in processes] for pid in processes}
        requests = [r for r in self.rows if is_annotation(r) and r.name.startswith("perfkit.request")]
        self.threads = {
            thread: HostThread(
                by_thread[thread], overhead[thread[0]], first, covered([r for r in requests if r.pid == thread[0]])
            )
            for thread in used
        }

    @staticmethod
    def _first_launches(calls: list[Row]) -> set[Row]:
        """Launch calls over 1 ms that are the first of a kernel in their process."""
        seen: set[tuple[str, str]] = set()
        first: set[Row] = set()
        for call in sorted(calls, key=lambda c: (c.start, c.correlation)):
            names = {(call.pid, a.name) for a in call.activities if a.category in KERNELS}
            if names - seen and call.end - call.start > MS:
                first.add(call)
            seen |= names
        return first

    def steps(self, key: tuple[str, str]) -> list[tuple[str, int, int]]:
        """The device-side steps of a timeline as (name, start, end), without the first mark's unless it is alone."""
        owner = self.owners[key]
        marks = [r for r in self.rows if is_annotation(r) and STEP_MARK.match(r.name) and r.pid == owner]
        marks.sort(key=lambda r: r.start)
        starts = [m.start for m in marks]
        launched: list[list[Row]] = [[] for _ in range(len(marks) + 1)]  # 0: before the first mark
        for activity in self.activities[key]:
            if activity.launch and marks:
                at = bisect.bisect_right(starts, activity.launch.start)
                if at < len(marks) or activity.launch.start < marks[-1].end:
                    launched[at].append(activity)
        bound = max((a.end for a in launched[0]), default=None)
        steps = []
        for mark, activities in zip(marks, launched[1:], strict=True):
            if not activities and bound is None:
                continue
            start = bound if bound is not None else min(a.start for a in activities)
            bound = max([start, *(a.end for a in activities)])
            steps.append((mark.name, start, bound))
        return steps[1:] if len(steps) > 1 and launched[1] else steps

    def explain(self, gap_start: int, g: Row, on_device: list[Row]) -> dict[str, int]:
        """The ns of the gap from `gap_start` to the start of `g`, by cause."""
        length, launch = g.start - gap_start, g.launch
        if launch is None:
            return {"unattributed_no_launch": length}
        if launch.end <= gap_start:
            if "GraphLaunch" in launch.name:
                return {"queued_in_graph": length}
            same = any(a.end == gap_start and a.stream == g.stream for a in on_device)
            return {"queued_same_stream" if same else "queued_cross_stream": length}
        until = min(launch.end, g.start)
        causes = self.threads[launch.thread].divide(gap_start, until, launch.start)
        causes["launch_latency"] = g.start - until
        return causes

    def attribute(self, key: tuple[str, str], window: str) -> Timeline | None:
        """The timeline `key` over `device-span` or `steps`; None where there are no steps."""
        activities = self.activities[key]
        steps = self.steps(key) if window == "steps" else []
        if window == "steps":
            if not steps:
                return None
            start, end = steps[0][1], steps[-1][2]
        else:
            start, end = activities[0].start, max(a.end for a in activities)
        ending = collections.defaultdict(list)
        for a in activities:
            ending[a.end].append(a)
        gaps, at = [], start
        for a in activities:  # ordered by start, then correlation: the first to start after `at` ends the gap
            if at < a.start <= end:
                causes = {c: ns for c, ns in self.explain(at, a, ending[at]).items() if ns}
                gaps.append(Gap(at, a.start, a, causes))
            at = max(at, a.end)
        idle: dict[str, int] = collections.Counter()
        for gap in gaps:
            for cause, ns in gap.causes.items():
                idle[cause] += ns
        unlinked = sum(a.launch is None for a in activities)
        return Timeline(
            key[0], key[1], start, end, self._busy(activities, start, end), dict(idle), gaps, steps, unlinked
        )

    @staticmethod
    def _busy(activities: list[Row], start: int, end: int) -> dict[str, int]:
        """Ns by busy class in the window: each class without the points of the classes before it."""
        taken: Spans = []
        busy = {}
        for name in ("compute", "exposed_communication", "exposed_copy"):
            spans = union([(max(a.start, start), min(a.end, end)) for a in activities if busy_class(a) == name])
            busy[name] = total(subtract(spans, taken))
            taken = union(taken + spans)
        return busy


def attribute_file(path: Path, window: str) -> list[Timeline]:
    """Every device timeline of a Kineto file, in order of (pid, device)."""
    trace = Trace(read_rows(path))
    found = [trace.attribute(key, window) for key in sorted(trace.activities)]
    return [timeline for timeline in found if timeline is not None]


def listing(timeline: Timeline, smallest_ns: int) -> list[str]:
    """A timeline as lines of text: its sums, then each gap of at least `smallest_ns`."""
    lines = [
        f"{timeline.process}/{timeline.device} {timeline.end - timeline.start} ns",
        f"  {timeline.busy}",
        f"  {timeline.idle}",
    ]
    for gap in timeline.gaps:
        if gap.end - gap.start >= smallest_ns:
            launch = (
                f"{gap.activity.launch.name} on {gap.activity.launch.thread[1]}" if gap.activity.launch else "no launch"
            )
            length = gap.end - gap.start
            lines.append(f"  {gap.start} +{length} before {gap.activity.name[:60]} ({launch}): {gap.causes}")
    return lines


def main(path: str, window: str = "device-span", smallest_ns: str = "0") -> None:
    """Writes the listing of every timeline of a file."""
    for timeline in attribute_file(Path(path), window):
        sys.stdout.write("\n".join(listing(timeline, int(smallest_ns))) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
