"""Records of the model as JSON and arrays, and back: what is kept of a rank between two runs.

Every list in the JSON says what it was, so nothing has to be guessed: ``["R", name, *fields]`` is a record,
``["L", *items]`` a list, ``["T", *items]`` a tuple, ``["B", *rows]`` a table, ``["M", key, value, ...]`` a mapping,
``["A", n]`` the array ``n``. Only the records listed here are made of it; nothing is unpickled.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, cast

import numpy as np

from perfkit.model import attribution, diagnosis, fleet, signs, trace
from perfkit.model.table import Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Arrays = Sequence[NDArray[Any]]

__all__ = ["RECORDS", "from_json", "to_json"]

RECORDS: Final[Mapping[str, type]] = {
    record.__name__: record
    for record in (
        attribution.Attribution,
        attribution.Blame,
        attribution.Blocked,
        attribution.Collective,
        attribution.Copy,
        attribution.Kernel,
        attribution.LaunchDelay,
        attribution.Operator,
        attribution.Step,
        attribution.Timeline,
        attribution.Window,
        diagnosis.TraceSummary,
        fleet.CollectiveRuns,
        fleet.ProcessGroup,
        fleet.RankSummary,
        signs.Signs,
        trace.Defect,
        trace.Device,
    )
}
"""The records that can be kept, by name."""

_NUMBER_KINDS: Final = "biuf"


def to_json(value: object) -> tuple[str, list[NDArray[Any]]]:
    """Return a value as JSON text, and the arrays in it.

    Raises:
        TypeError: There is something in it that is neither a plain value nor one of `RECORDS`.
    """
    arrays: list[NDArray[Any]] = []
    return json.dumps(_pack(value, arrays), separators=(",", ":")), arrays


def from_json(text: str | bytes, arrays: Arrays) -> object:
    """Return the value that was written.

    Raises:
        ValueError: It was not written by `to_json`, or by one that knew other records.
    """
    try:
        return _unpack(json.loads(text), arrays)
    except (TypeError, KeyError, IndexError, RecursionError) as error:
        message = f"no record: {error}"
        raise ValueError(message) from error


def _pack(value: object, arrays: list[NDArray[Any]]) -> object:
    """Return a value as JSON has it."""
    if value is None or (isinstance(value, (bool, int, float, str)) and not isinstance(value, np.generic)):
        return value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        arrays.append(value)
        return ["A", len(arrays) - 1]
    if type(value).__name__ in RECORDS and RECORDS[type(value).__name__] is type(value):
        return ["R", type(value).__name__, *(_pack(item, arrays) for item in _fields(value))]
    if isinstance(value, Mapping):
        return ["M", *(_pack(item, arrays) for pair in value.items() for item in pair)]
    for tag, kind in (("B", Table), ("T", tuple), ("L", list)):
        if type(value) is kind:
            return [tag, *(_pack(item, arrays) for item in cast("list[object]", value))]
    message = f"{type(value).__name__} is no record that can be kept"
    raise TypeError(message)


def _fields(record: object) -> Sequence[object]:
    """Return the values of a record's fields in order."""
    if isinstance(record, tuple):
        return record
    assert dataclasses.is_dataclass(record)
    return [getattr(record, field.name) for field in dataclasses.fields(record)]


def _unpack(packed: object, arrays: Arrays) -> Any:
    """Undo `_pack`."""
    if not isinstance(packed, list):
        if isinstance(packed, dict):
            message = "an object where only lists are written"
            raise TypeError(message)
        return packed
    tag, *rest = packed
    if tag == "R":
        name, *fields = rest
        return RECORDS[name](*(_unpack(item, arrays) for item in fields))
    if tag == "A":
        array = arrays[rest[0]]
        if array.dtype.kind not in _NUMBER_KINDS:
            message = f"an array of {array.dtype}"
            raise TypeError(message)
        return array
    items = [_unpack(item, arrays) for item in rest]
    if tag == "M":
        return dict(zip(items[::2], items[1::2], strict=True))
    return {"B": Table, "T": tuple, "L": list}[tag](items)
