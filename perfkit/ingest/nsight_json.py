"""Nsight Systems exports as Chrome events, as nsys2json and nsightful make them: read by the scanner of those.

Kernels are of category ``cuda``, calls of ``cuda_api``, ranges of ``nvtx``; ranges on the device's clock, of
``nvtx-kernel``, are no work. Processes are ``Device 0`` and ``Host 0``. Kernels bear no correlation, so which call
launched one is not known: https://github.com/chenyu-jiang/nsys2json.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from perfkit.ingest.torch_profiler import Dialect, read_events
from perfkit.model.trace import Category

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from perfkit.ingest.source import Content
    from perfkit.model.columns import Column
    from perfkit.model.trace import Trace

__all__ = ["FORMAT", "read_trace"]

FORMAT: Final = "nsight-systems-json"

_CODES: Final = {
    b"cuda": Category.KERNEL,
    b"cuda_memcpy": Category.MEMCPY,
    b"cuda_api": Category.RUNTIME,
    b"nvtx": Category.ANNOTATION,
    b"nvtx-kernel": Category.DEVICE_ANNOTATION,
}


def read_trace(
    content: Content, columns: Sequence[Column], progress: Callable[[int, int | None], None] | None
) -> Trace:
    """Read an export to its end, as `perfkit.ingest.formats.TraceReader` has it."""
    return read_events(content, columns, progress, Dialect(FORMAT, _categories))


def _categories(
    category: NDArray[np.int32], _name: NDArray[np.int32], strings: Sequence[bytes]
) -> tuple[NDArray[np.uint8], int, str]:
    """Map the category of every row; also return how many are not known, and what they are called."""
    table = np.full(len(strings) + 1, Category.OTHER, np.uint8)  # the last row is for what has no category
    strange = np.ones(len(table), bool)
    for index, label in enumerate(strings):
        if label in _CODES:
            table[index], strange[index] = _CODES[label], False
    category = np.maximum(category, -1)
    found = np.unique(category[strange[category]]).tolist()
    shown = [repr(strings[index][:40].decode("utf-8", "replace")) if index >= 0 else "(none)" for index in found[:3]]
    return table[category], int(np.count_nonzero(strange[category])), ", ".join(shown)
