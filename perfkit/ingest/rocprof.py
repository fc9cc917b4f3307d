"""rocprofv3 of ROCm as JSON (``--output-format json``): calls, kernels and copies, linked by correlation.

The schema is in ``using-rocprofv3`` of the documentation of ROCprofiler-SDK. Records name kernels, operations, devices
and marks by numbers whose tables may come after them, so what they are called is settled at the end.
"""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from perfkit.ingest.json_values import EACH, JsonValues
from perfkit.ingest.records import Records, text, whole
from perfkit.model.columns import MISSING_INT
from perfkit.model.trace import Category, Device, Thread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from perfkit.ingest.source import Content
    from perfkit.model.columns import Column
    from perfkit.model.trace import Trace

    Progress = Callable[[int, int | None], None]

__all__ = ["FORMAT", "read_trace"]

FORMAT: Final = "rocprofv3"

_TOOL: Final = ("rocprofiler-sdk-tool", EACH)
_BUFFER: Final = (*_TOOL, "buffer_records")

_KERNELS: Final = ("kernel_dispatch", "kernel_dispatches")
_COPIES: Final = ("memory_copy", "memory_copies")
_CALLS: Final = ("hip_api", "hsa_api", "rccl_api")
_MARKS: Final = "marker_api"
_RECORDS: Final = (*_KERNELS, *_COPIES, *_CALLS, _MARKS)

_KERNEL_NAMES: Final = ("formatted_kernel_name", "demangled_kernel_name", "kernel_name")
_CPU, _GPU = 1, 2

_COPY_NAMES: Final = {
    (_CPU, _GPU): "Memcpy HtoD (Host -> Device)",
    (_GPU, _CPU): "Memcpy DtoH (Device -> Host)",
    (_CPU, _CPU): "Memcpy HtoH (Host -> Host)",
}

_COPY_STREAM: Final = -1
"""The stream of copies where a record does not say one."""


class _Agent(NamedTuple):
    """A processor: its kind, and of a GPU its number among them."""

    kind: int
    number: int


_UNKNOWN_AGENT: Final = _Agent(0, 0)


class _Recording:
    """The tables and records of a file, as they come in."""

    def __init__(self) -> None:
        self.process = ""
        self._numbers = array("q")
        self.agents: dict[int, _Agent] = {}
        self.devices: list[Device] = []
        self.kernels: dict[int, str] = {}
        self.operations: list[list[str]] = []
        self.marks: dict[int, str] = {}

    def take(self, where: str, value: dict[str, Any]) -> None:
        """Take one value of a list or table."""
        if where in _RECORDS:
            self._numbers.extend((_RECORDS.index(where), *_numbers(value)))
        elif where == "agents":
            self._take_agent(value)
        elif where == "kernel_symbols":
            names = (text(value.get(name)) for name in _KERNEL_NAMES)
            self.kernels[whole(value.get("kernel_id"))] = next(filter(None, names), "")
        elif where == "operations":
            listed = value.get("operations")
            self.operations.append([text(name) for name in listed] if isinstance(listed, list) else [])
        elif where == "marks":
            self.marks[whole(value.get("key"))] = text(value.get("value"))
        elif where == "metadata":
            process = whole(value.get("pid"))
            self.process = str(process) if process != MISSING_INT else ""

    def _take_agent(self, value: dict[str, Any]) -> None:
        kind = whole(value.get("type"))
        index = len(self.devices) if kind == _GPU else -1
        self.agents[_handle(value, "id")] = _Agent(kind, index)
        if kind == _GPU:
            name = text(value.get("product_name")) or text(value.get("name"))
            self.devices.append(Device(index, name, "", {}))

    def records(self) -> Iterator[tuple[str, _Record]]:
        """Yield the records, each with the name of its list."""
        width = 1 + len(_Record._fields)
        for at in range(0, len(self._numbers), width):
            yield _RECORDS[self._numbers[at]], _Record(*self._numbers[at + 1 : at + width])

    def operation(self, kind: int, number: int) -> str:
        """Name an operation of a kind of record."""
        names = self.operations[kind] if 0 <= kind < len(self.operations) else []
        return names[number] if 0 <= number < len(names) else f"operation {number}"


def read_trace(content: Content, columns: Sequence[Column], progress: Progress | None) -> Trace:
    """Read a recording to its end, as `perfkit.ingest.formats.TraceReader` has it."""
    places = {
        (*_TOOL, "metadata"): "metadata",
        (*_TOOL, "agents", EACH): "agents",
        (*_TOOL, "kernel_symbols", EACH): "kernel_symbols",
        (*_TOOL, "strings", "buffer_records", EACH): "operations",
        (*_TOOL, "strings", _MARKS, EACH): "marks",
    } | {(*_BUFFER, name, EACH): name for name in _RECORDS}
    values = JsonValues(content.chunks(progress), places)
    recording = _Recording()
    for place, value in values:
        if isinstance(value, dict):
            recording.take(places[place], value)
    rows = Records()
    for where, record in recording.records():
        _add(rows, recording, where, record)
    return rows.trace(content.source, FORMAT, columns, broken=values.defects, devices=tuple(recording.devices))


class _Record(NamedTuple):
    """The numbers of one record; those that its kind does not have are `MISSING_INT`."""

    kind: int
    operation: int
    start: int
    end: int
    thread: int
    correlation: int
    agent: int
    source: int
    target: int
    stream: int
    kernel: int
    bytes: int
    grid_x: int
    grid_y: int
    grid_z: int
    block_x: int
    block_y: int
    block_z: int


def _numbers(value: dict[str, Any]) -> tuple[int, ...]:
    info = value.get("dispatch_info")
    info = info if isinstance(info, dict) else {}
    stream = _handle(value, "stream_id")
    names = ("kind", "operation", "start_timestamp", "end_timestamp", "thread_id")
    return (
        *(whole(value.get(name)) for name in names),
        _inside(value, "correlation_id", "internal"),
        _handle(info, "agent_id"),
        _handle(value, "src_agent_id"),
        _handle(value, "dst_agent_id"),
        stream if stream != MISSING_INT else _handle(info, "queue_id"),
        whole(info.get("kernel_id")),
        whole(value.get("bytes")),
        *(_inside(info, size, axis) for size in ("grid_size", "workgroup_size") for axis in "xyz"),
    )


def _inside(value: dict[str, Any], name: str, key: str) -> int:
    inner = value.get(name)
    return whole(inner.get(key)) if isinstance(inner, dict) else MISSING_INT


def _handle(value: dict[str, Any], name: str) -> int:
    return _inside(value, name, "handle")


def _add(rows: Records, recording: _Recording, where: str, record: _Record) -> None:
    span = record.start, record.end
    if where in _KERNELS:
        agent = recording.agents.get(record.agent, _UNKNOWN_AGENT)
        name = recording.kernels.get(record.kernel) or f"kernel {record.kernel}"
        _add_work(rows, recording, Category.KERNEL, name, record, agent.number, **_shape(record))
    elif where in _COPIES:
        source, target = (recording.agents.get(one, _UNKNOWN_AGENT) for one in (record.source, record.target))
        if source.kind == target.kind == _GPU:
            name = "Memcpy DtoD (Device -> Device)" if source == target else "Memcpy PtoP (Device -> Device)"
        else:
            name = _COPY_NAMES.get((source.kind, target.kind), recording.operation(record.kind, record.operation))
        device = target.number if target.kind == _GPU else source.number
        _add_work(rows, recording, Category.MEMCPY, name, record, device)
    else:
        key = str(record.thread) if record.thread != MISSING_INT else ""
        thread = Thread(recording.process, key, f"thread {key}" if key else "unknown thread")
        name = recording.operation(record.kind, record.operation)
        if where == _MARKS:
            name = recording.marks.get(record.correlation) or name
            rows.add(Category.ANNOTATION, name, span, thread)
        else:
            rows.add(Category.RUNTIME, name, span, thread, correlation=record.correlation)


def _add_work(
    rows: Records, recording: _Recording, category: Category, name: str, record: _Record, device: int, **more: str
) -> None:
    device = max(device, 0)
    stream = record.stream if 0 <= record.stream < 2**31 else _COPY_STREAM
    thread = Thread(str(device), str(stream), f"GPU {device} stream {stream}", recording.process)
    rows.add(
        category, name, (record.start, record.end), thread,
        device=device, stream=stream, correlation=record.correlation, bytes=record.bytes, **more,
    )  # fmt: skip


def _shape(record: _Record) -> dict[str, str]:
    """Return grid and block as CUDA has them: here, a grid is counted in threads."""
    threads, block = (record.grid_x, record.grid_y, record.grid_z), (record.block_x, record.block_y, record.block_z)
    if MISSING_INT in threads or min(block) <= 0:
        return {}
    grid = [-(-size // group) for size, group in zip(threads, block, strict=True)]
    return {"grid": str(grid), "block": str([*block])}
