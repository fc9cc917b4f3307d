"""The values beside the events at the top of a trace: devices, rank, base time; one that cannot be read is dropped."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from perfkit.model.trace import Device

if TYPE_CHECKING:
    from collections.abc import Mapping

    from perfkit.ingest.defects import DefectList

__all__ = ["Header", "distributed_rank", "parse_header"]

_LARGEST_BASE_NS: Final = 2**63

_RANK_IN_JSON: Final = re.compile(rb'"distributedInfo"\s*:\s*\{[^{}]*?"rank"\s*:\s*"?(\d{1,9})\b')


@dataclass(frozen=True, slots=True)
class Header:
    """What the header of a trace says."""

    values: Mapping[str, Any]
    devices: tuple[Device, ...]
    rank: int | None
    world_size: int | None
    base_ns: int


def parse_header(raw: Mapping[bytes, bytes], defects: DefectList) -> Header:
    """Parse the values of a header, each from its JSON text; one that is not JSON is dropped, as a defect."""
    values: dict[str, Any] = {}
    unreadable: list[str] = []
    for key, text in raw.items():
        name = key.decode("utf-8", "replace")
        try:
            values[name] = json.loads(text.decode("utf-8", "replace"), strict=False)
        except (ValueError, RecursionError):
            unreadable.append(name)
    if unreadable:
        defects.add("unreadable_header", len(unreadable), detail=repr(unreadable[0][:40]))
    job = values.get("distributedInfo")
    job = job if isinstance(job, dict) else {}
    base_ns = _whole(values.get("baseTimeNanoseconds"))
    if base_ns is None or abs(base_ns) >= _LARGEST_BASE_NS:
        base_ns = 0
    return Header(
        values,
        _devices(values.get("deviceProperties")),
        _count(job.get("rank")),
        _count(job.get("world_size")),
        base_ns,
    )


def distributed_rank(text: bytes) -> int | None:
    """Find the rank in a piece of a trace's text, without parsing it."""
    match = _RANK_IN_JSON.search(text)
    return int(match[1]) if match else None


def _devices(listed: object) -> tuple[Device, ...]:
    if not isinstance(listed, list):
        return ()
    return tuple(_device(index, entry) for index, entry in enumerate(listed) if isinstance(entry, dict))


def _device(position: int, entry: dict[str, Any]) -> Device:
    index = _count(entry.get("id"))
    name, uuid = entry.get("name"), entry.get("uuid")
    return Device(
        position if index is None else index,
        name if isinstance(name, str) else "",
        uuid if isinstance(uuid, str) else "",
        entry,
    )


def _count(value: object) -> int | None:
    """Return a non-negative integer, given as a number or as text."""
    number = _whole(value)
    return number if number is not None and 0 <= number < 2**31 else None


def _whole(value: object) -> int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        value = value.strip()
        return int(value) if re.fullmatch(r"-?[0-9]{1,19}", value) else None
    if isinstance(value, float):
        return int(value) if value.is_integer() else None
    return value if isinstance(value, int) else None
