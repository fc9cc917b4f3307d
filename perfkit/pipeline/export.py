"""From a trace to its whole Picture, for other viewers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from perfkit.attribute.picture import depict
from perfkit.pipeline.what_if import read

if TYPE_CHECKING:
    from collections.abc import Callable

    from perfkit.model.picture import Picture

__all__ = ["picture"]


def picture(
    path: str,
    *,
    rank: int | None = None,
    window: Literal["steps", "device-span"] = "steps",
    progress: Callable[[int, int | None], None] | None = None,
) -> Picture:
    """Return the picture of a trace with every element.

    Args:
        path: A file, or a folder in which there is one of this rank.
        rank: Which of several traces to read.
        window: As in `perfkit.diagnose`: of it the owners of time and the flame graphs are.
        progress: Called now and then with the bytes read, and how many there are (None if not known).

    Raises:
        UnreadableTraceError: The file cannot be read.
        UnknownFormatError: It is not a trace.
        UsageError: There is no such rank, or no rank is named where there are several.
    """
    return depict(read(path, rank, progress), window=window, whole=True)
