"""Writes a Difference as JSON, to the contract in ``schema/difference-1.json``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import perfkit
from perfkit.report import diff_words as words
from perfkit.report.json import write

if TYPE_CHECKING:
    from perfkit.model.difference import Bucket, Difference, RowChange, TableName

__all__ = ["SCHEMA", "build", "draw"]

SCHEMA: Final = "perfkit.difference/1"
"""Name and major version of the contract; it changes when a reader of the old one would break."""
KEYS: Final[dict[TableName, str]] = {"kernel": "kernels", "copy": "copies", "operator": "operators", "idle": "waits"}
"""Kind of row to the list that it stands in."""


def draw(difference: Difference, *, top: int | None = None) -> str:
    """Return the JSON text, ASCII only, ending in a line break.

    Args:
        difference: What to write.
        top: Rows of each kind to keep; None keeps all.
    """
    return write(build(difference, top=top))


def build(difference: Difference, *, top: int | None = None) -> dict[str, Any]:
    """Return the document as plain dicts and lists.

    Args:
        difference: What to write.
        top: Rows of each kind to keep; None keeps all.
    """
    cause = difference.cause
    return {
        "schema": SCHEMA,
        "perfkit": perfkit.__version__,
        "verdict": difference.verdict,
        "summary": words.headline(difference),
        "likely_cause": words.cause(difference),
        "obstacles": [obstacle._asdict() for obstacle in difference.obstacles],
        "unit": difference.unit,
        "base": difference.base._asdict(),
        "head": difference.head._asdict(),
        "change_ns": difference.change_ns,
        "interval": difference.interval and difference.interval._asdict(),
        "threshold": difference.threshold,
        "work_ratio": difference.work,
        "per_call_ratio": difference.per_call,
        "cause": cause and {"bucket": _bucket(cause.bucket), "row": cause.row and _row(cause.row)},
        "buckets": [_bucket(bucket) for bucket in difference.buckets],
        "steps": [pair._asdict() for pair in difference.steps],
        **{key: [_row(row) for row in difference.rows if row.table == name][:top] for name, key in KEYS.items()},
        "notes": words.notes(difference),
    }


def _bucket(bucket: Bucket) -> dict[str, Any]:
    """Describe an owner of time."""
    interval = bucket.interval and bucket.interval._asdict()
    return {**bucket._asdict(), "interval": interval, "change_ns": bucket.change_ns}


def _row(row: RowChange) -> dict[str, Any]:
    """Describe a kernel, copy, operator or host event."""
    record = row._asdict()
    record["change"] = record.pop("kind")
    del record["table"]
    return {**record, "change_ns": row.change_ns}
