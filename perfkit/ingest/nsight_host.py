"""The host's part of an Nsight Systems file: calls, NVTX ranges, system calls, samples, the profiler's own work."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from perfkit.ingest.nsight_names import without_signature
from perfkit.model.columns import MISSING_INT, MISSING_SMALL
from perfkit.model.trace import Category

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from perfkit.ingest.database import Database
    from perfkit.ingest.nsight_names import Names
    from perfkit.ingest.nsight_rows import Rows, Threads

    Columns = dict[str, NDArray[Any]]

__all__ = ["RANGES", "add_host_rows"]

RANGES: Final = "NVTX_EVENTS"
_CALLS: Final = "CUPTI_ACTIVITY_KIND_RUNTIME"
_SYSTEM: Final = "OSRT_API"

_LIBRARIES: Final = (
    ("CUDNN_EVENTS", Category.OTHER),
    ("CUBLAS_EVENTS", Category.OTHER),
    (_SYSTEM, Category.OS_CALL),
    ("PROFILER_OVERHEAD", Category.OVERHEAD),
)
"""Tables of intervals on host threads, and what they are."""

_SAMPLES: Final = "COMPOSITE_EVENTS"
_FRAMES: Final = "SAMPLING_CALLCHAINS"

_PUSH_POP, _START_END = 59, 60
"""Types of NVTX events that have a length."""

_TAIL: Final = re.compile(rb",\s(?:seq|op_id|sizes|input_op_ids|trace_id) = ")
"""Where what `torch.autograd.profiler.emit_nvtx` adds to the name of an operator begins."""
_SEQUENCE: Final = re.compile(rb", seq = (\d{1,18})\b")


def add_host_rows(database: Database, ranges: Columns, names: Names, threads: Threads, rows: Rows) -> None:
    """Add what host threads did; ``ranges`` was read before, since its texts had to be."""
    read = database.read(_CALLS, ("start", "end", "globalTid", "correlationId", "nameId"))
    rows.add(
        Category.RUNTIME,
        start=read["start"],
        end=read["end"],
        name=names.translated(names.of_ids(read["nameId"]), without_signature),
        thread=threads.hosts(read["globalTid"]),
        correlation=read["correlationId"],
    )
    for table, category in _LIBRARIES:
        read = database.read(table, ("start", "end", "globalTid", "nameId"))
        name, thread = names.of_ids(read["nameId"]), threads.hosts(read["globalTid"])
        rows.add(category, start=read["start"], end=read["end"], name=name, thread=thread)
    _add_ranges(ranges, names, threads, rows)
    _add_samples(database, names, threads, rows)


def _add_ranges(ranges: Columns, names: Names, threads: Threads, rows: Rows) -> None:
    """Add NVTX ranges: those with ``::`` in the name or a sequence number are operators, the others annotations."""
    lasting = np.isin(ranges["eventType"], (_PUSH_POP, _START_END))
    ranges = {name: column[lasting] for name, column in ranges.items()}
    told = np.where(ranges["text"] >= 0, ranges["text"], names.of_ids(ranges["textId"]))
    present = np.unique(told[told >= 0]).tolist()
    size = len(names.strings) + 1  # the last one is for ranges without a name
    sequence = np.full(size, MISSING_INT, np.int64)
    operator = np.zeros(size, bool)
    for number in present:
        text = names.strings[number]
        found = _SEQUENCE.search(text)
        sequence[number] = int(found[1]) if found else MISSING_INT
        operator[number] = b"::" in _name(text) or found is not None
    told = np.maximum(told, -1)
    rows.add(
        np.where(operator[told], np.uint8(Category.OPERATOR), np.uint8(Category.ANNOTATION)),
        start=ranges["start"],
        end=ranges["end"],
        name=names.translated(told, _name),
        thread=threads.hosts(ranges["globalTid"]),
        sequence=sequence[told],
    )


def _name(text: bytes) -> bytes:
    return _TAIL.split(text, maxsplit=1)[0]


def _add_samples(database: Database, names: Names, threads: Threads, rows: Rows) -> None:
    """Add samples of the processor, each until the next one of its thread, at most two periods, by their leaf."""
    read = database.read(_SAMPLES, ("id", "start", "globalTid"))
    order = np.lexsort((read["start"], read["globalTid"]))
    order = order[read["start"][order] != MISSING_INT]
    read = {name: column[order] for name, column in read.items()}
    if not len(order):
        return
    length = np.append(np.diff(read["start"]), 0)
    last = np.append(read["globalTid"][1:] != read["globalTid"][:-1], True)
    apart = length[~last & (length > 0)]
    period = int(np.median(apart)) if len(apart) else 0
    length = np.where(last, period, np.minimum(length, 2 * period))
    rows.add(
        Category.SAMPLE,
        start=read["start"],
        end=read["start"] + length,
        name=_leaves(database, names, read["id"]),
        thread=threads.hosts(read["globalTid"]),
    )


def _leaves(database: Database, names: Names, samples: NDArray[np.int64]) -> NDArray[np.int32]:
    """Return the symbol that each sample was in."""
    frames = database.read(_FRAMES, ("id", "symbol", "stackDepth"))
    top = frames["stackDepth"] == 0
    ids, symbols = frames["id"][top], names.of_ids(frames["symbol"][top])
    if not len(ids):
        return np.full(len(samples), MISSING_SMALL, np.int32)
    order = np.argsort(ids, kind="stable")
    ids, symbols = ids[order], symbols[order]
    place = np.minimum(np.searchsorted(ids, samples), len(ids) - 1)
    return np.where(ids[place] == samples, symbols[place], MISSING_SMALL).astype(np.int32)
