"""The category names of ten years of exporters, mapped onto `Category`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from perfkit.model.trace import Category

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["category_codes"]

_CODES: Final = {
    b"cpu_op": Category.OPERATOR,
    b"hpu_op": Category.OPERATOR,
    b"user_annotation": Category.ANNOTATION,
    b"runtime": Category.RUNTIME,
    b"driver": Category.RUNTIME,
    b"python_function": Category.PYTHON,
    b"cuda_sync": Category.SYNC_RECORD,
    b"cuda_event": Category.SYNC_RECORD,
    b"overhead": Category.OVERHEAD,
    b"kernel": Category.KERNEL,
    b"concurrent_kernel": Category.KERNEL,
    b"mtia_ccp_events": Category.KERNEL,
    b"memcpy": Category.MEMCPY,
    b"gpu_memcpy": Category.MEMCPY,
    b"memset": Category.MEMSET,
    b"gpu_memset": Category.MEMSET,
    b"gpu_user_annotation": Category.DEVICE_ANNOTATION,
    b"trace": Category.SPAN,
    b"cpu_instant_event": Category.MEMORY,
    # Known, and none of the above.
    b"cuda_profiler_range": Category.OTHER,
    b"external_correlation": Category.OTHER,
    b"collective_comm": Category.OTHER,
    b"mtia_insight": Category.OTHER,
    b"mtia_counters": Category.OTHER,
    b"gpu_pm_counter": Category.OTHER,
}
"""Names in lower case: the releases of 2021 capitalised them."""

_SUFFIXES: Final = ((b"_runtime", Category.RUNTIME), (b"_driver", Category.RUNTIME), (b"_sync", Category.SYNC_RECORD))
"""Each kind of accelerator has its own prefix: ``cuda_runtime``, ``xpu_runtime``, ``privateuse1_driver``..."""

_MIXED: Final = b"operator"
"""In 2021 the category of operators and of annotations alike; an operator has ``::`` in its name."""

_MEMORY_NAME: Final = b"[memory]"

_UNKNOWN_SHOWN: Final = 3


def category_codes(
    category: NDArray[np.int32], name: NDArray[np.int32], strings: Sequence[bytes]
) -> tuple[NDArray[np.uint8], int, str]:
    """Map the category of every row.

    Args:
        category: Index of each row's category in `strings`, or negative; overwritten.
        name: Index of each row's name in `strings`.
        strings: The string table.

    Returns:
        The codes, how many rows have a category that is not known, and the names of those categories, to be shown.
    """
    np.maximum(category, -1, out=category)
    table = np.full(len(strings) + 1, Category.OTHER, dtype=np.uint8)  # the last one is for rows without a category
    mixed, unknown = [], []
    for index in _present(category, len(strings)):
        label = strings[index].lower() if index < len(strings) else b""
        code = _code(label)
        if code is not None:
            table[index] = code
        elif label == _MIXED:
            mixed.append(index)
        else:
            unknown.append(index)
    codes = table[category]
    for index in mixed:
        rows = np.flatnonzero(category == index)
        codes[rows] = _operator_or_annotation(name[rows], strings)
    count = _settle_unknown(codes, category, unknown, name, strings)
    shown = ", ".join(_label(strings, index) for index in unknown[:_UNKNOWN_SHOWN])
    return codes, count, shown + (", ..." if len(unknown) > _UNKNOWN_SHOWN else "")


def _code(label: bytes) -> Category | None:
    code = _CODES.get(label)
    if code is None:
        code = next((code for suffix, code in _SUFFIXES if label.endswith(suffix)), None)
    return code


def _present(indices: NDArray[np.int32], size: int) -> list[int]:
    """Return the distinct values of `indices`, ascending, with -1 as `size`; no sort."""
    seen = np.zeros(size + 1, dtype=bool)
    seen[indices] = True
    found: list[int] = np.flatnonzero(seen).tolist()
    return found


def _operator_or_annotation(name: NDArray[np.int32], strings: Sequence[bytes]) -> NDArray[np.uint8]:
    table = np.full(len(strings), Category.ANNOTATION, dtype=np.uint8)
    for index in _present(name, len(strings)):
        if index < len(strings) and b"::" in strings[index]:
            table[index] = Category.OPERATOR
    codes: NDArray[Any] = table[name]
    return codes


def _settle_unknown(
    codes: NDArray[np.uint8],
    category: NDArray[np.int32],
    unknown: list[int],
    name: NDArray[np.int32],
    strings: Sequence[bytes],
) -> int:
    """Give old memory records, which have no category, their code; count the rows of unknown category that are left."""
    count = 0
    for index in unknown:
        rows = np.flatnonzero(category == (index if index < len(strings) else -1))
        if index == len(strings) and _MEMORY_NAME in strings:
            memory = rows[name[rows] == strings.index(_MEMORY_NAME)]
            codes[memory] = Category.MEMORY
            count -= len(memory)
        count += len(rows)
    return count


def _label(strings: Sequence[bytes], index: int) -> str:
    return repr(strings[index][:40].decode("utf-8", "replace")) if index < len(strings) else "(none)"
