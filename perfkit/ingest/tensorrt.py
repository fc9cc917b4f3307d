"""What trtexec of TensorRT exports: times of queries (``--exportTimes``) and of layers (``--exportProfile``).

Both are lists whose layout is in ``samples/common/sampleReporting.cpp`` of TensorRT. A query is a call to enqueue it, a
copy of its inputs, its computation and a copy of its outputs; which streams they were on is not said. Of layers there
is no time line: the average run is shown, layer after layer, and said to be one.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from perfkit.ingest.json_values import EACH, JsonValues
from perfkit.ingest.records import Records, lanes, text, whole
from perfkit.model.columns import MISSING_INT
from perfkit.model.trace import Category, Thread

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from perfkit.ingest.source import Content
    from perfkit.model.columns import Column
    from perfkit.model.trace import Trace

    Progress = Callable[[int, int | None], None]
    Query = dict[str, Any]

__all__ = ["FORMAT", "PROFILE", "read_trace"]

FORMAT: Final = "trtexec"
PROFILE: Final = "trtexec-profile"

_PROCESS: Final = "trtexec"
_HOST: Final = Thread(_PROCESS, "host", "thread that enqueues")

_DEVICE: Final = 0
"""Exports do not tell devices apart."""

_COPIES: Final = ((("H2d", "In"), "Memcpy HtoD (Host -> Device)"), (("D2h", "Out"), "Memcpy DtoH (Device -> Host)"))
"""Names in a key, today's and those before TensorRT 8.2, and that of the row."""

_DIGITS_NS: Final = 1_000_000_000
"""Times have six digits: from here on the last one is 10 us or more."""


def read_trace(content: Content, columns: Sequence[Column], progress: Progress | None) -> Trace:
    """Read an export to its end, as `perfkit.ingest.formats.TraceReader` has it."""
    values = JsonValues(content.chunks(progress), {(EACH,)})
    found = [record for _, record in values if isinstance(record, dict)]
    rows = Records()
    layers = [record for record in found if "timeMs" in record]
    is_profile = bool(layers) or any("count" in record for record in found)
    if is_profile:
        _add_layers(rows, layers, max((whole(record.get("count")) for record in found), default=0))
    else:
        _add_queries(rows, found)
    return rows.trace(content.source, PROFILE if is_profile else FORMAT, columns, broken=values.defects)


def _nanoseconds(value: object) -> int:
    """Return a time in ms, of six digits, in ns, or `MISSING_INT`."""
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return whole(round(value * 1e6))
    return MISSING_INT


def _span(query: Query, *names: str) -> tuple[int, int] | None:
    """Return the span of the first of these names that a query has."""
    for name in names:
        start, end = (_nanoseconds(query.get(f"{edge}{name}Ms")) for edge in ("start", "end"))
        if MISSING_INT not in (start, end):
            return start, end
    return None


def _add_queries(rows: Records, queries: Sequence[Query]) -> None:
    """Add calls, computations and copies; a copy that took no time was none: data stayed where it was.

    Copies are submitted right before and after the call that is recorded, so a copy that begins later is taken as its.
    """
    computed = [(query, span) for query in queries if (span := _span(query, "Compute")) is not None]
    rows.defects.add("event_without_time", len(queries) - len(computed))
    late = sum(span[1] >= _DIGITS_NS for _, span in computed)
    rows.defects.add("rounded_times", late)
    streams = lanes([span for _, span in computed])
    width = 1 + max(streams, default=0)
    for number, ((query, span), lane) in enumerate(zip(computed, streams, strict=True), 1):
        called = _span(query, "Enq")
        if called is not None:
            rows.add(Category.RUNTIME, "enqueue", called, _HOST, correlation=number)
        place = {"device": _DEVICE, "stream": lane}
        rows.add(Category.KERNEL, "inference", span, _stream(lane, "compute"), correlation=number, **place)
        for offset, (keys, name) in enumerate(_COPIES):
            copied = _span(query, *keys)
            if copied is not None and copied[1] > copied[0]:
                stream = width * (1 + offset) + lane
                thread = _stream(stream, "copies")
                caused = called is not None and called[0] <= copied[0]
                link = {"correlation": number} if caused else {}
                rows.add(Category.MEMCPY, name, copied, thread, device=_DEVICE, stream=stream, **link)


def _stream(number: int, what: str) -> Thread:
    return Thread(str(_DEVICE), str(number), f"GPU {_DEVICE} {what} {number}", _PROCESS)


def _add_layers(rows: Records, layers: Sequence[Query], count: int) -> None:
    """Add one run of average length, its layers in the order in which they ran."""
    rows.defects.add("averages_only", max(count, 1))
    at = 0
    for layer in layers:
        total = _nanoseconds(layer.get("timeMs"))
        average = _nanoseconds(layer.get("averageMs")) if count <= 0 else round(total / count)
        if total == MISSING_INT or average < 0:
            rows.defects.add("event_without_time")
            continue
        span = at, at + average
        rows.add(Category.KERNEL, text(layer.get("name")), span, _stream(0, "layers"), device=_DEVICE, stream=0)
        at = span[1]
