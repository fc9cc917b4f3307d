"""ONNX Runtime profiles (``SessionOptions.enable_profiling``): a list of Chrome events, read by the scanner of those.

Nodes of the graph become operators, named by their kind (``MatMul``); ``model_run`` marks a step; what a node's kernels
were launched by is the node itself, since no launch calls are recorded. ``docs/decisions/0009`` has the reasons.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from perfkit.ingest.defects import MESSAGES
from perfkit.ingest.torch_profiler import Dialect, columns_for, read_events
from perfkit.model.columns import MISSING_INT, MISSING_SMALL, Column
from perfkit.model.trace import DEVICE_CATEGORIES, Category, Defect, Strings, Thread, Trace

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from perfkit.ingest.source import Content

    Ints = NDArray[np.int64]
    Columns = dict[str, NDArray[Any]]

__all__ = ["FORMAT", "read_trace"]

FORMAT: Final = "onnxruntime"

_EVENT_LIMIT: Final = 1_000_000
"""ONNX Runtime stops recording at so many events, and says so only in its log."""

_DEVICE: Final = 0
"""Profiles do not tell devices apart."""

_RUN: Final = b"model_run"
_NODE: Final = re.compile(rb"(.*)_kernel_time\Z", re.DOTALL)
_FENCE: Final = re.compile(rb"_fence_(?:before|after)\Z")
_EXECUTOR: Final = re.compile(rb"(?:Sequential|Parallel)\w*Executor::")
_COPY: Final = re.compile(rb"memcpy|copybuffer", re.IGNORECASE)
_FILL: Final = re.compile(rb"memset|fillbuffer", re.IGNORECASE)

_OWN_COLUMNS: Final = (
    Column("op_name", "text", ("op_name",)),
    Column("provider", "text", ("provider",)),
    Column("parent_name", "text", ("parent_name",)),
    Column("stream_key", "key", ("stream",)),
    Column("shapes", "json", ("input_type_shape",)),
)


def read_trace(
    content: Content, columns: Sequence[Column], progress: Callable[[int, int | None], None] | None
) -> Trace:
    """Read a profile to its end, as `perfkit.ingest.formats.TraceReader` has it."""
    scanned = (*(column for column in columns_for(()) if column.place == "event"), *_OWN_COLUMNS)
    trace = read_events(content, scanned, progress, Dialect(FORMAT, _categories))
    profile = _Profile(trace)
    profile.mark_runs()
    profile.place_kernels()
    profile.name_nodes()
    return profile.trace(columns)


def _categories(
    category: NDArray[np.int32], name: NDArray[np.int32], strings: Sequence[bytes]
) -> tuple[NDArray[np.uint8], int, str]:
    """Map category and name of every row; also return how many are not known, and what they are called."""
    category = np.maximum(category, -1)
    table = np.full((len(strings) + 1, 2), (Category.OTHER, 1), np.int64)  # the last row is for what has no category
    by_name = {b"Session": _session, b"Node": _node, b"Kernel": _kernel}
    codes = np.full(len(category), Category.OTHER, np.uint8)
    for index, label in enumerate(strings):
        if label in by_name or label == b"Api":
            table[index, 1] = 0
        if label == b"Api":
            table[index, 0] = Category.RUNTIME
    codes[:] = table[category, 0]
    for label, code_of in by_name.items():
        rows = np.flatnonzero(category == (strings.index(label) if label in strings else len(strings)))
        if len(rows):
            names, which = np.unique(name[rows], return_inverse=True)
            found = [code_of(strings[index]) if index >= 0 else Category.OTHER for index in names.tolist()]
            codes[rows] = np.array(found, np.uint8)[which.reshape(-1)]
    strange = table[category, 1] > 0
    shown = [strings[index] if index >= 0 else b"(none)" for index in np.unique(category[strange])[:3].tolist()]
    return codes, int(np.count_nonzero(strange)), ", ".join(repr(one[:40].decode("utf-8", "replace")) for one in shown)


def _session(name: bytes) -> Category:
    return Category.OTHER if _EXECUTOR.match(name) else Category.ANNOTATION


def _node(name: bytes) -> Category:
    return Category.OTHER if _FENCE.search(name) else Category.OPERATOR


def _kernel(name: bytes) -> Category:
    return Category.MEMCPY if _COPY.search(name) else Category.MEMSET if _FILL.search(name) else Category.KERNEL


class _Profile:
    """The rows of a profile, while their meaning is added."""

    def __init__(self, trace: Trace) -> None:
        """Take what the scanner read; derived rows come after those of the file."""
        self._read = trace
        self._strings = [*trace.strings.raw]
        self._threads = [*trace.threads]
        self._columns: Columns = dict(trace.columns)
        self._columns["correlation"] = np.full(len(trace), MISSING_INT)
        for name in ("device", "stream", "module"):
            self._columns[name] = np.full(len(trace), MISSING_SMALL, np.int32)

    def _append(self, rows: Ints, **changes: Any) -> None:
        """Repeat rows with other values in some columns."""
        for name, column in self._columns.items():
            added = column[rows]
            if name in changes:
                added = np.broadcast_to(changes[name], len(rows)).astype(column.dtype)
            self._columns[name] = np.concatenate([column, added])

    def _rows(self, *categories: Category) -> Ints:
        return np.flatnonzero(np.isin(self._columns["category"], categories))

    def _called(self, rows: Ints, pattern: re.Pattern[bytes]) -> Ints:
        """Return those of the rows whose name matches."""
        fits = np.array([bool(pattern.match(text)) for text in self._strings], bool)
        rows = rows[self._columns["name"][rows] >= 0]
        found: Ints = rows[fits[self._columns["name"][rows]]]
        return found

    def mark_runs(self) -> None:
        """Make steps of the runs, and show run and executor as work where the nodes are on the same thread.

        Then the time of a run between its nodes belongs to the executor. A mark is on a row of its own: it says that
        the model ran, not what a thread did.
        """
        category, thread = self._columns["category"], self._columns["thread"]
        with_nodes = np.isin(thread, np.unique(thread[self._rows(Category.OPERATOR)]))
        executors = self._called(self._rows(Category.OTHER), _EXECUTOR)
        category[executors[with_nodes[executors]]] = Category.OPERATOR
        runs = self._called(self._rows(Category.ANNOTATION), re.compile(re.escape(_RUN) + rb"\Z"))
        working = runs[with_nodes[runs]]
        rows_of_marks = thread.copy()
        for number in np.unique(thread[runs]).tolist():
            of = self._threads[number]
            rows_of_marks[thread == number] = len(self._threads)
            self._threads.append(Thread(of.process, f"{of.key} runs", f"runs of {of.name}"))
        self._append(working, category=Category.OPERATOR)
        self._columns["thread"][runs] = rows_of_marks[runs]

    def place_kernels(self) -> None:
        """Put kernels on the streams of a device, and link each to the node that launched it."""
        kernels = self._rows(*DEVICE_CATEGORIES)
        if not len(kernels):
            return
        nodes = self._called(self._rows(Category.OPERATOR), _NODE)
        parent = self._parents(kernels, nodes)
        linked = parent >= 0
        launching, number = np.unique(parent[linked], return_inverse=True)
        self._columns["correlation"][kernels[linked]] = number.reshape(-1) + 1
        owners = {self._threads[index].process for index in np.unique(self._columns["thread"][nodes]).tolist()}
        owner = owners.pop() if len(owners) == 1 else ""
        keys, which = np.unique(self._columns["stream_key"][kernels], return_inverse=True)
        texts = [self._strings[key].decode("utf-8", "replace") if key >= 0 else "" for key in keys.tolist()]
        streams = [int(key) if re.fullmatch(r"\d{1,9}", key) else place for place, key in enumerate(texts)]
        self._columns["device"][kernels] = _DEVICE
        self._columns["stream"][kernels] = np.array(streams, np.int32)[which.reshape(-1)]
        self._columns["thread"][kernels] = len(self._threads) + which.reshape(-1)
        self._threads += [Thread(str(_DEVICE), key, f"GPU stream {key or '?'}", owner) for key in texts]
        self._append(launching, category=Category.RUNTIME, correlation=np.arange(len(launching)) + 1)

    def _parents(self, kernels: Ints, nodes: Ints) -> Ints:
        """Return the node that launched each kernel, or -1: the one it names, or else the one it follows in the file.

        Of several nodes of that name it is the last that began by then.
        """
        parent = np.full(len(kernels), -1, np.int64)
        if not len(nodes):
            return parent
        before = np.searchsorted(nodes, kernels) - 1
        parent[before >= 0] = nodes[before[before >= 0]]
        name, start = self._columns["name"], self._columns["start"]
        wanted = self._columns["parent_name"][kernels]
        order = np.lexsort((start[nodes], name[nodes]))
        nodes = nodes[order]
        for label in np.unique(wanted[wanted >= 0]).tolist():
            some = np.flatnonzero(wanted == label)
            low, high = np.searchsorted(name[nodes], [label, label + 1])
            found = low + np.searchsorted(start[nodes[low:high]], start[kernels[some]], "right") - 1
            parent[some] = nodes[np.maximum(found, low)] if high > low else -1
        return parent

    def name_nodes(self) -> None:
        """Name nodes by what they do; their own name goes into ``module``.

        Where some run on another provider than most, the name says on which.
        """
        nodes = self._called(self._rows(Category.OPERATOR, Category.RUNTIME), _NODE)
        columns = self._columns
        triples = np.stack([columns[key][nodes].astype(np.int64) for key in ("name", "op_name", "provider")], axis=1)
        distinct, which = np.unique(triples, axis=0, return_inverse=True)
        several = len(np.unique(distinct[:, 2])) > 1
        numbers = {text: index for index, text in enumerate(self._strings)}
        labels, modules = [], []
        for name, kind, provider in distinct.tolist():
            match = _NODE.match(self._strings[name])
            own = match[1] if match else self._strings[name]
            label = self._strings[kind] if kind >= 0 else own
            if several and provider >= 0:
                label += b" (" + self._strings[provider].removesuffix(b"ExecutionProvider") + b")"
            labels.append(numbers.setdefault(label, len(numbers)))
            modules.append(numbers.setdefault(own, len(numbers)))
        columns["name"][nodes] = np.array(labels, np.int32)[which.reshape(-1)]
        columns["module"][nodes] = np.array(modules, np.int32)[which.reshape(-1)]
        self._strings = [*numbers]

    def trace(self, wanted: Sequence[Column]) -> Trace:
        """Return the trace with the columns that are wanted; those that no profile has are absent."""
        table: Columns = {name: self._columns[name] for name in ("start", "end", "name", "category", "thread")}
        count = len(table["start"])
        for column in wanted:
            if column.place == "args":
                missing = np.full(count, column.missing, np.int64 if column.missing == MISSING_INT else np.int32)
                table[column.name] = self._columns.get(column.name, missing)
        defects = self._read.defects
        if self._read.events == _EVENT_LIMIT:
            kind = "profiler_diagnostic"
            message = f"{MESSAGES[kind]} ({_EVENT_LIMIT:,} events: ONNX Runtime stops recording there)"
            defects = (*defects, Defect(kind, 1, -1, message))
        return replace(
            self._read, columns=table, strings=Strings(self._strings), threads=tuple(self._threads), defects=defects
        )
