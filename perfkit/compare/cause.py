"""What likely made a change."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from perfkit.model.difference import Cause

if TYPE_CHECKING:
    from collections.abc import Sequence

    from perfkit.model.difference import Bucket, RowChange

__all__ = ["find_cause"]

MOST_OF_IT: Final = 0.5
"""Part of a bucket's change that a row must account for to be named."""


def find_cause(buckets: Sequence[Bucket], rows: Sequence[RowChange], change_ns: int) -> Cause | None:
    """Return the owner of time that moved most in the direction of the change, and the row that moved most within it.

    Among rows that moved nearly as much as the first, one with a source line or module is preferred.
    """
    sign = 1 if change_ns > 0 else -1
    bucket = max(buckets, key=lambda bucket: sign * bucket.change_ns, default=None)
    if bucket is None or sign * bucket.change_ns <= 0:
        return None
    enough = MOST_OF_IT * sign * bucket.change_ns
    inside = [row for row in candidates(bucket, rows, sign) if sign * row.change_ns >= enough]
    largest = max((sign * row.change_ns for row in inside), default=0)
    near = [row for row in inside if 2 * sign * row.change_ns >= largest]
    row = max(near, key=lambda row: (bool(row.where or row.module), sign * row.change_ns), default=None)
    return Cause(bucket, row)


def candidates(bucket: Bucket, rows: Sequence[RowChange], sign: int) -> list[RowChange]:
    """Return the rows that belong to a bucket.

    An operator's work may lie in several: it is taken to have computed unless a copy or collective moved about as much.
    """
    inside = [row for row in rows if row.table != "operator" and row.bucket == bucket.name]
    if bucket.name == "compute":
        elsewhere = [sign * row.change_ns for row in rows if row.bucket in {"exposed_copy", "exposed_communication"}]
        other = max((ns for ns in elsewhere if ns > 0), default=0)
        inside += [row for row in rows if row.table == "operator" and sign * row.change_ns > 2 * other]
    return inside
