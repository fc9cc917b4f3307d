"""Small traces written by hand, for the tests of ingest."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

from perfkit import ingest

if TYPE_CHECKING:
    from perfkit.model.trace import Trace


def event(name: str = "aten::add", cat: str | None = "cpu_op", **values: Any) -> dict[str, Any]:
    """One complete event; keyword arguments replace or add keys, None removes one."""
    made = {"ph": "X", "cat": cat, "name": name, "pid": 100, "tid": 101, "ts": 1000, "dur": 5, **values}
    return {key: value for key, value in made.items() if value is not None}


def kernel(name: str = "gemm", *, device: int = 0, stream: int = 7, **values: Any) -> dict[str, Any]:
    """One device activity."""
    args = {"device": device, "stream": stream, "correlation": 1}
    return event(name, "kernel", **{"pid": device, "tid": stream, "args": args, **values})


def metadata(kind: str, pid: Any, tid: Any, **args: Any) -> dict[str, Any]:
    """One metadata event."""
    return {"ph": "M", "name": kind, "pid": pid, "tid": tid, "args": args}


def document(*events: Any, **header: Any) -> bytes:
    """A trace, as its file would be."""
    return json.dumps({"schemaVersion": 1, **header, "traceEvents": events}).encode()


def load(text: bytes, **options: Any) -> Trace:
    """Load a trace from memory."""
    return ingest.load(io.BytesIO(text), **options)


def defects(trace: Trace) -> dict[str, tuple[int, int]]:
    """Kind of defect to count and first offset."""
    return {defect.kind: (defect.count, defect.first_offset) for defect in trace.defects}


def names(trace: Trace) -> list[str]:
    """The name of every row."""
    return [trace.strings[index] for index in trace.columns["name"].tolist()]
