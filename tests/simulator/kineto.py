"""Writes a recording as Kineto JSON, in the layouts and namings of several years."""

from __future__ import annotations

import gzip
import json
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from tests.simulator.host import Row

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from tests.simulator.machine import Machine

GPU = ("kernel", "gpu_memcpy", "gpu_memset")
CALLS = ("cuda_runtime", "cuda_driver")
NAMES_2021 = {
    "cpu_op": "Operator",
    "user_annotation": "Operator",
    "kernel": "Kernel",
    "gpu_memcpy": "Memcpy",
    "gpu_memset": "Memset",
    "cuda_runtime": "Runtime",
    "cuda_driver": "Runtime",
}
EPOCH_NS = 1_754_000_000_123_456_000


@dataclass(frozen=True)
class Style:
    """How a file is written: categories of 2021 or of today, a list or an object, `compact`, `kineto` or `pretty` text.

    `absolute` puts the epoch into every timestamp; else they are small and `baseTimeNanoseconds` carries it.
    `shuffled` is the seed of a shuffle of the rows. `epoch_ns` is the absolute time of the machine's beginning, and
    `header` what else stands at the top level.
    """

    old_names: bool = False
    top_level_list: bool = False
    layout: str = "kineto"
    absolute: bool = True
    flows: bool = True
    extras: bool = True
    numbers_as_text: bool = False
    shuffled: int | None = None
    epoch_ns: int = EPOCH_NS
    header: tuple[tuple[str, object], ...] = ()


class Numbers(Protocol):
    """How the numbers that differ from step to step are written."""

    def time(self, ns: int) -> str:
        """A timestamp, ns to decimal microseconds."""

    def identity(self, number: int) -> str:
        """A correlation or an external id."""


class Plain:
    """Numbers as they are, times shifted by `shift_ns`."""

    def __init__(self, shift_ns: int) -> None:
        self.shift_ns = shift_ns

    def time(self, ns: int) -> str:
        """Decimal microseconds with three decimals."""
        return microseconds(ns + self.shift_ns)

    def identity(self, number: int) -> str:
        """The number itself."""
        return str(number)


def microseconds(ns: int) -> str:
    """Integer ns as decimal microseconds with three decimals."""
    return f"{ns // 1000}.{ns % 1000:03d}"


Fields = list[tuple[str, str]]


class Renderer:
    """Rows to JSON text."""

    def __init__(self, style: Style, numbers: Numbers) -> None:
        self.style, self.numbers = style, numbers
        gap, indent, colon, end = {
            "compact": (",", "", ":", ""),
            "kineto": (", ", "", ": ", "\n    "),
            "pretty": (",\n      ", "\n      ", ": ", "\n    "),
        }[style.layout]
        self._join, self._open, self._colon, self._close = gap, indent, colon, end

    def event(self, fields: Fields, args: Fields | None = None) -> str:
        """One event; `fields` and `args` are keys and JSON texts."""
        colon = self._colon
        text = self._join.join(f'"{key}"{colon}{value}' for key, value in fields)
        if args is not None:
            inner = self._join.join(f'"{key}"{colon}{value}' for key, value in args)
            text += f'{self._join}"args"{colon}{{{inner}}}'
        return f"{{{self._open}{text}{self._close}}}"

    def number(self, text: str) -> str:
        """A number, as text where the style says so."""
        return f'"{text}"' if self.style.numbers_as_text else text

    def row(self, row: Row) -> str:
        """One complete event."""
        category = NAMES_2021.get(row.category, row.category) if self.style.old_names else row.category
        tid = f'"stream {row.tid}"' if self.style.old_names and row.category in GPU else str(row.tid)
        fields = [
            ("ph", '"X"'),
            ("cat", json.dumps(category)),
            ("name", json.dumps(row.name)),
            ("pid", str(row.pid)),
            ("tid", tid),
            ("ts", self.number(self.numbers.time(row.start))),
            ("dur", self.number(microseconds(row.end - row.start))),
        ]
        return self.event(fields, self._args(row))

    def _args(self, row: Row) -> Fields:
        external = "external id" if self.style.old_names else "External id"
        args: Fields = []
        if row.external is not None:
            args.append((external, self.numbers.identity(row.external)))
            if row.category == "cpu_op" and self.style.extras:
                args += [("Record function id", "0"), ("Sequence number", "12"), ("Fwd thread id", "0")]
                args.append(("Ev Idx", self.numbers.identity(row.external)))
        if row.python is not None:
            number, caller = row.python
            args.append(("Python id", self.numbers.identity(number)))
            args.append(("Python parent id", "null" if caller is None else self.numbers.identity(caller)))
        if row.category in CALLS:
            args.append(("cbid", "211"))
        if row.category in GPU:
            args += [("device", str(row.pid)), ("context", "1"), ("stream", str(row.tid))]
        if row.correlation is not None:
            args.append(("correlation", self.numbers.identity(row.correlation)))
        if row.category == "kernel" and self.style.extras:
            blocks = len(row.name) * 8
            args += [
                ("queued", "0"),
                ("registers per thread", "32"),
                ("shared memory", "0"),
                ("warps per SM", "7.407407"),
            ]
            args += [("grid", f"[{blocks}, 1, 1]"), ("block", "[128, 1, 1]"), ("est. achieved occupancy %", "44")]
        return args + [(key, json.dumps(value)) for key, value in row.args.items()]

    def flow(self, call: Row, activity: Row) -> Iterator[str]:
        """The arrow from a call to what it launched."""
        category = "async" if self.style.old_names else "ac2g"
        for phase, row in (("s", call), ("f", activity)):
            identity = self.numbers.identity(call.correlation or 0)
            fields = [("ph", f'"{phase}"'), ("id", identity), ("pid", str(row.pid)), ("tid", str(row.tid))]
            fields += [
                ("ts", self.number(self.numbers.time(row.start))),
                ("cat", f'"{category}"'),
                ("name", f'"{category}"'),
            ]
            yield self.event([*fields, ("bp", '"e"')] if phase == "f" else fields)


def extra_rows(machine: Machine, rows: list[Row]) -> Iterator[Row]:
    """Rows that are no work: sync rows, step marks as the device saw them."""
    for row in rows:
        if row.category in CALLS and row.name.endswith("StreamSynchronize"):
            yield Row("cuda_sync", "Stream Sync", row.start, row.end, machine.processes[0].program.devices[0], -1)
        if row.name.startswith("ProfilerStep#"):
            device = next(p.program.devices[0] for p in machine.processes if p.program.pid == row.pid)
            yield Row("gpu_user_annotation", row.name, row.start, row.end, device, 7)


def metadata(machine: Machine, renderer: Renderer) -> Iterator[str]:
    """The names of processes and threads."""
    for process in machine.processes:
        named = [(process.program.pid, '"python"')] + [(d, '"python"') for d in process.program.devices]
        for pid, name in named:
            fields = [("name", '"process_name"'), ("ph", '"M"'), ("ts", renderer.numbers.time(0)), ("pid", str(pid))]
            yield renderer.event([*fields, ("tid", "0")], [("name", name)])


def event_texts(machine: Machine, renderer: Renderer, step: int | None = None) -> list[str]:
    """The file's events as JSON text; with `step` only those of that step, counted from 1."""
    style = renderer.style
    rows = [row for row in machine.rows if step in (None, row.step)]
    activities = [a for a in machine.activities if step in (None, a.row.step)]
    texts = list(metadata(machine, renderer)) if style.extras and step is None else []
    texts += [renderer.row(row) for row in rows]
    texts += [renderer.row(activity.row) for activity in activities]
    if style.flows:
        linked = [(a.launch, a.row) for a in activities if a.launch is not None]
        texts += [text for call, row in linked for text in renderer.flow(call, row)]
    if style.extras and not style.old_names:
        texts += [renderer.row(row) for row in extra_rows(machine, rows)]
    if style.shuffled is not None:
        random.Random(style.shuffled).shuffle(texts)
    return texts


def frame(style: Style, base_ns: int, devices: Iterable[int]) -> tuple[str, str]:
    """What stands before the first and after the last event."""
    if style.top_level_list:
        return "[\n", "\n]\n"
    properties = [{"id": d, "name": "Simulated GPU", "totalGlobalMem": 85_000_000_000, "numSms": 132} for d in devices]
    head: dict[str, object] = {
        "schemaVersion": 1,
        "deviceProperties": properties,
        "record_shapes": 1,
        "displayTimeUnit": "ms",
    }
    if base_ns:
        head["baseTimeNanoseconds"] = base_ns
    head |= dict(style.header)
    return json.dumps(head)[:-1] + ',\n"traceEvents": [\n', '\n],\n"traceName": "simulated.pt.trace.json"\n}\n'


def write(machine: Machine, path: Path, style: Style | None = None) -> None:
    """Writes a recording; a path that ends in .gz is compressed."""
    style = style or Style()
    devices = [d for process in machine.processes for d in process.program.devices]
    head, tail = frame(style, 0 if style.absolute else style.epoch_ns, devices)
    separator = "," if style.layout == "compact" else ",\n  "
    renderer = Renderer(style, Plain(style.epoch_ns if style.absolute else 0))
    data = (head + separator.join(event_texts(machine, renderer)) + tail).encode()
    path.write_bytes(gzip.compress(data, 1, mtime=0) if path.suffix == ".gz" else data)
