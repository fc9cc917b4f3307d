"""A Diagnosis read back from the JSON that `perfkit diagnose --format json` wrote."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final, TypeVar

from perfkit.errors import UnknownFormatError, UnreadableTraceError
from perfkit.ingest.source import open_content
from perfkit.model.advice import Advice
from perfkit.model.attribution import (
    BUSY_CLASSES,
    Attribution,
    Blame,
    Blocked,
    Collective,
    Copy,
    Kernel,
    LaunchDelay,
    Operator,
    Step,
    Timeline,
    Window,
)
from perfkit.model.diagnosis import Diagnosis, TraceSummary
from perfkit.model.table import Table
from perfkit.model.trace import Defect, Device

if TYPE_CHECKING:
    from collections.abc import Mapping

    from perfkit.ingest.source import Target

__all__ = ["load_diagnosis"]

Record = TypeVar("Record")

VERSION: Final = "1"
MOST_BYTES: Final = 256 << 20
"""Far more than any diagnosis takes: its tables have a row for each name, not for each event."""
LARGEST: Final = 2**63 - 1

_HEAD: Final = re.compile(rb'(?:\xef\xbb\xbf)?\s*\{\s*"schema"\s*:\s*"perfkit\.diagnosis/(\d{1,9})"')
_ALIASES: Final = {"kind": "class"}
"""What the contract calls a field of a kernel that the model calls otherwise."""


def load_diagnosis(path: Target) -> Diagnosis | None:
    """Read a saved diagnosis, with its findings left out; None if the file is none.

    Raises:
        UnknownFormatError: It was written to another version of the contract.
        UnreadableTraceError: It is not what the contract promises: cut off, edited, or with times that do not add up.
    """
    with open_content(path) as content:
        found = _HEAD.match(content.head)
        if found is None:
            return None
        label = content.source.label
        if found[1].decode() != VERSION:
            message = f"{label} is a diagnosis of version {found[1].decode()}: this perfkit reads version {VERSION}"
            raise UnknownFormatError(message)
        text = bytearray()
        for chunk in content.chunks():
            text += chunk
            if len(text) > MOST_BYTES:
                message = f"{label} is larger than any diagnosis ({MOST_BYTES >> 20} MiB): give the trace itself"
                raise UnreadableTraceError(message)
    try:
        return _diagnosis(json.loads(text))
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
        message = (
            f"{label} is a saved diagnosis that cannot be read ({error}): write it again, or give the trace itself"
        )
        raise UnreadableTraceError(message) from error


def _diagnosis(document: Mapping[str, Any]) -> Diagnosis:
    """Make a Diagnosis of the document."""
    timelines = Table(_timeline(item) for item in _items(document, "timelines"))
    window = document["window"]
    window_kind: Any = _text(window["kind"])
    defects = tuple(_record(Defect, item) for item in _items(document["trace"], "defects"))
    return Diagnosis(
        trace=_trace(document["trace"], defects),
        attribution=Attribution(
            window=Window(
                window_kind,
                _text(window["source"]),
                tuple(_text(name) for name in _items(window, "dropped")),
            ),
            timelines=timelines,
            blame=_table(Blame, document, "blame"),
            blocked=_table(Blocked, document["host"], "blocked"),
            operators=_table(Operator, document, "operators"),
            kernels=_table(Kernel, document, "kernels"),
            copies=_table(Copy, document, "copies"),
            collectives=_table(Collective, document, "collectives"),
            launches=_table(LaunchDelay, document, "launches"),
            defects=(),
        ),
        advice=Advice(_text(document["verdict"]), _text(document["timeline"]), Table(), ()),
        shapes={
            name: {_text(shape): _whole(calls) for shape, calls in shapes.items()}
            for name, shapes in document.get("shapes", {}).items()
        },
    )


def _trace(value: Mapping[str, Any], defects: tuple[Defect, ...]) -> TraceSummary:
    """Make the summary of the trace."""
    return TraceSummary(
        path=_text(value["path"]),
        format=_text(value["format"]),
        epoch_ns=int(_text(value["epoch_ns"])),
        clock=_text(value["clock"]),
        hardware=tuple(
            Device(_whole(item["index"]), _text(item["name"]), _text(item["uuid"]))
            for item in _items(value, "hardware")
        ),
        rank=None if value["rank"] is None else _whole(value["rank"]),
        world_size=None if value["world_size"] is None else _whole(value["world_size"]),
        events=_whole(value["events"]),
        defects=defects,
    )


def _timeline(value: Mapping[str, Any]) -> Timeline:
    """Make a timeline, and make sure that its times add up."""
    given = {name: value[name] for name in Timeline._fields if name not in {"busy", "idle", "steps", "rank"}}
    for name, item in given.items():
        check = _whole if name.endswith("_ns") or name in {"device", "activities", "unlinked_activities"} else _text
        check(item)
    steps = Table(
        Step(
            _text(step["name"]), _whole(step["start_ns"]), _whole(step["end_ns"]), _busy(step), _durations(step["idle"])
        )
        for step in _items(value, "steps")
    )
    rank = value.get("rank")
    line = Timeline(
        **given,
        busy=_busy(value),
        idle=_durations(value["idle"]),
        steps=steps,
        rank=None if rank is None else _whole(rank),
    )
    parts = [(line.window_ns, line.busy, line.idle), *((s.end_ns - s.start_ns, s.busy, s.idle) for s in steps)]
    if any(sum(busy.values()) + sum(idle.values()) != length for length, busy, idle in parts):
        message = f"the times of timeline {line.id} do not add up"
        raise ValueError(message)
    return line


def _busy(value: Mapping[str, Any]) -> dict[str, int]:
    """Return the classes of work, with every known one."""
    return dict.fromkeys(BUSY_CLASSES, 0) | _durations(value["busy"])


def _durations(value: Mapping[str, Any]) -> dict[str, int]:
    """Return a mapping from names to times."""
    times = {_text(name): _whole(ns) for name, ns in value.items()}
    if any(ns < 0 for ns in times.values()):
        message = "a time is negative"
        raise ValueError(message)
    return times


def _table(kind: type[Record], value: Mapping[str, Any], name: str) -> Table[Any]:
    """Return a table of records."""
    return Table(_record(kind, item) for item in _items(value, name))


def _record(kind: type[Record], value: Mapping[str, Any]) -> Record:
    """Make a record whose fields are texts and numbers; which, their names tell as they do in the model."""
    fields: tuple[str, ...] = getattr(kind, "_fields", ()) or tuple(kind.__annotations__)
    annotations = {name: str(getattr(note, "__forward_arg__", note)) for name, note in kind.__annotations__.items()}
    checks = {"str": _text, "int": _whole, "float": _number}
    alias = _ALIASES if kind is Kernel else {}
    return kind(**{name: checks[annotations[name]](value[alias.get(name, name)]) for name in fields})


def _items(value: Mapping[str, Any], name: str) -> list[Any]:
    """Return a list."""
    items = value[name]
    if not isinstance(items, list):
        message = f"{name} is no list"
        raise TypeError(message)
    return items


def _text(value: object) -> str:
    """Return a text."""
    if not isinstance(value, str):
        message = f"{str(value)[:40]!r} where a text belongs"
        raise TypeError(message)
    return value


def _whole(value: object) -> int:
    """Return an integer of at most 64 bits."""
    if not isinstance(value, int) or isinstance(value, bool) or abs(value) > LARGEST:
        message = f"{str(value)[:40]!r} where an integer belongs"
        raise TypeError(message)
    return value


def _number(value: object) -> float:
    """Return a number; null stands for one that JSON cannot hold."""
    if value is None:
        return 0.0
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        message = f"{str(value)[:40]!r} where a number belongs"
        raise TypeError(message)
    return float(value)
