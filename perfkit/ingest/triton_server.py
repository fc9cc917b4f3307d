"""Traces of Triton Inference Server (``--trace-config triton,file=``): a list of timestamps of requests.

What of a request was computed is on a row of its model, one for each batch at a time: requests of a batch have the same
times. What it waited for is on rows of the requests. ``docs/user_guide/trace.md`` of the server has the layout; before
2.20 a request was one record, and timestamps had lower-case names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from perfkit.ingest.json_values import EACH, JsonValues
from perfkit.ingest.records import Records, lanes, text, whole
from perfkit.model.columns import MISSING_INT
from perfkit.model.trace import Category, Thread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from perfkit.ingest.source import Content
    from perfkit.model.columns import Column
    from perfkit.model.trace import Trace

    Progress = Callable[[int, int | None], None]

__all__ = ["FORMAT", "read_trace"]

FORMAT: Final = "triton-server"

_COMPUTED: Final = (
    ("input", "COMPUTE_START", "COMPUTE_INPUT_END"),
    ("infer", "COMPUTE_INPUT_END", "COMPUTE_OUTPUT_START"),
    ("output", "COMPUTE_OUTPUT_START", "COMPUTE_END"),
)
_WAITED: Final = (
    ("receive", "HTTP_RECV_START", "HTTP_RECV_END"),
    ("queue", "QUEUE_START", "COMPUTE_START"),
    ("send", "HTTP_SEND_START", "HTTP_SEND_END"),
    ("send", "GRPC_SEND_START", "GRPC_SEND_END"),
)

_RENAMED: Final = {
    "REQUEST_HANDLER_START": "REQUEST_START",
    "REQUEST_HANDLER_END": "REQUEST_END",
    "GRPC_WAIT/READ_START": "GRPC_WAITREAD_START",
    "GRPC_WAIT/READ_END": "GRPC_WAITREAD_END",
}

_BEFORE_THE_REQUEST: Final = "GRPC_WAITREAD_START"
"""From here on the server waits for a request to come."""


class _Request:
    """One request to one model, as its records come in."""

    def __init__(self) -> None:
        self.model = ""
        self.inside = False
        self.when: dict[str, int] = {}

    def take(self, record: dict[str, Any]) -> None:
        """Take what one record says of it."""
        if name := text(record.get("model_name")):
            version = whole(record.get("model_version"))
            self.model = f"{name} v{version}" if version > 0 else name
        self.inside = self.inside or "parent_id" in record
        stamps = record.get("timestamps")
        for stamp in stamps if isinstance(stamps, list) else ():
            if isinstance(stamp, dict) and (ns := whole(stamp.get("ns"))) != MISSING_INT:
                name = text(stamp.get("name")).upper().replace(" ", "_")
                self.when.setdefault(_RENAMED.get(name, name), ns)

    def span(self, first: str, last: str) -> tuple[int, int] | None:
        """Return the time between two of its moments."""
        return (self.when[first], self.when[last]) if first in self.when and last in self.when else None

    def presence(self) -> tuple[int, int]:
        """Return the time in which the server had it."""
        times = [ns for name, ns in self.when.items() if name != _BEFORE_THE_REQUEST] or [*self.when.values()]
        return min(times), max(times)


class _Batch(NamedTuple):
    """What a model computed at one time; ``between`` are the two moments within, where known."""

    start: int
    end: int
    between: tuple[int, ...]


def read_trace(content: Content, columns: Sequence[Column], progress: Progress | None) -> Trace:
    """Read a trace to its end, as `perfkit.ingest.formats.TraceReader` has it."""
    values = JsonValues(content.chunks(progress), {(EACH,)})
    requests: dict[Any, _Request] = {}
    for _, record in values:
        if isinstance(record, dict):
            requests.setdefault(whole(record.get("id")), _Request()).take(record)
    rows = Records()
    _add_requests(rows, [one for one in requests.values() if one.when])
    _add_batches(rows, requests.values())
    return rows.trace(content.source, FORMAT, columns, broken=values.defects)


def _add_requests(rows: Records, requests: Sequence[_Request]) -> None:
    """Add when each request was there, and what it waited for, on as many rows as there were requests at a time."""
    spans = [one.presence() for one in requests]
    for one, span, lane in zip(requests, spans, lanes(spans), strict=True):
        thread = Thread("server", f"requests {lane}", f"requests {lane}")
        model = one.model or "an unnamed model"
        if not one.inside:
            rows.add(Category.ANNOTATION, f"inference request {model}", span, thread)
        for name, first, last in _WAITED:
            if (waited := one.span(first, last)) is not None:
                rows.add(Category.ANNOTATION, f"{name} ({model})", waited, thread)


def _add_batches(rows: Records, requests: Iterable[_Request]) -> None:
    """Add what was computed, on as many rows for each model as it had batches at a time."""
    by_model: dict[str, set[_Batch]] = {}
    for one in requests:
        if (span := one.span("COMPUTE_START", "COMPUTE_END")) is not None:
            inner = tuple(one.when[name] for name in ("COMPUTE_INPUT_END", "COMPUTE_OUTPUT_START") if name in one.when)
            by_model.setdefault(one.model or "an unnamed model", set()).add(_Batch(*span, inner))
    for model, batches in by_model.items():
        ordered = sorted(batches)
        for batch, lane in zip(ordered, lanes([(one.start, one.end) for one in ordered]), strict=True):
            thread = Thread("server", f"{model} instance {lane}", f"{model} instance {lane}")
            for name, span in _parts(batch):
                rows.add(Category.OPERATOR, f"{model}: {name}", span, thread)


def _parts(batch: _Batch) -> Iterator[tuple[str, tuple[int, int]]]:
    """Return what is known of the time of a batch: input, infer and output, or all of it as one."""
    moments = (batch.start, *batch.between, batch.end)
    if len(moments) == len(_COMPUTED) + 1 and list(moments) == sorted(moments):
        for (name, _, _), start, end in zip(_COMPUTED, moments, moments[1:], strict=False):
            yield name, (start, end)
    else:
        yield "compute", (batch.start, batch.end)
