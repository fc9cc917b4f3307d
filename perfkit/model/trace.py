"""The Trace: what a profiler recorded, as columns, in one vocabulary whichever profiler it was."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING, Any

import numpy as np

from perfkit.errors import MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd
    from numpy.typing import NDArray

__all__ = ["DEVICE_CATEGORIES", "Category", "Defect", "Device", "Strings", "Thread", "Trace"]


class Category(IntEnum):
    """What kind of event a row is; the drifting category names of the exporters are mapped onto these."""

    OTHER = 0
    OPERATOR = 1
    ANNOTATION = 2
    RUNTIME = 3
    PYTHON = 4
    SYNC_RECORD = 5
    OVERHEAD = 6
    KERNEL = 7
    MEMCPY = 8
    MEMSET = 9
    DEVICE_ANNOTATION = 10
    SPAN = 11
    MEMORY = 12
    OS_CALL = 13
    SAMPLE = 14


DEVICE_CATEGORIES = (Category.KERNEL, Category.MEMCPY, Category.MEMSET)
"""The categories that are work done by a device."""


@dataclass(frozen=True, slots=True)
class Defect:
    """Something wrong with a trace: what, how often, and where first (byte offset in the decompressed file, or -1)."""

    kind: str
    count: int
    first_offset: int
    message: str


@dataclass(frozen=True, slots=True)
class Thread:
    """A row of the timeline in the file: a host thread, or a stream of a device. Keys are the file's own, as text.

    ``owner`` is the process that works with a stream, where the format says so; in a Kineto trace it is inferred.
    """

    process: str
    key: str
    name: str
    owner: str = ""


@dataclass(frozen=True, slots=True)
class Device:
    """A device as the trace's header describes it."""

    index: int
    name: str
    uuid: str
    properties: Mapping[str, Any] = field(repr=False, default_factory=dict)


class Strings:
    """The interned strings of a trace: raw bytes inside, text outside (invalid UTF-8 becomes U+FFFD)."""

    __slots__ = ("raw",)

    def __init__(self, raw: Sequence[bytes]) -> None:
        """Keep ``raw``, one element a string."""
        self.raw = raw

    def __len__(self) -> int:
        """Return the number of strings."""
        return len(self.raw)

    def __getitem__(self, index: int) -> str:
        """Return string ``index``; a negative index (an absent value) is the empty string."""
        return self.raw[index].decode("utf-8", "replace") if index >= 0 else ""


@dataclass(frozen=True, slots=True, eq=False)
class Trace:
    """One recorded trace.

    Attributes:
        path: Where it was read from, for messages.
        format: ``torch-profiler``, ``nsight-systems`` and so on: the name in `perfkit.ingest.formats`.
        epoch_ns: Absolute time of relative time 0, integer nanoseconds.
        clock: What ``epoch_ns`` counts from: ``unix`` or ``profiler`` (an unspecified origin).
        columns: Column name to array, all of one length; ``start`` and ``end`` are int64 nanoseconds relative to
            ``epoch_ns``, ``category`` holds Category values, ``thread`` indexes ``threads``, ``name`` and other texts
            index ``strings``. Rows are in the order of the file. An absent value is the minimum of the dtype.
        strings: The string table.
        threads: The rows of the timeline.
        devices: Devices by the trace's header.
        rank: Rank in the job, or None where the trace does not say.
        world_size: Number of ranks in the job, or None.
        events: Events in the file of every phase, flow events and metadata included.
        defects: What was wrong with the file.
        header: The other top-level values of the file.
    """

    path: str
    format: str
    epoch_ns: int
    clock: str
    columns: Mapping[str, NDArray[Any]]
    strings: Strings
    threads: tuple[Thread, ...]
    devices: tuple[Device, ...]
    rank: int | None
    world_size: int | None
    events: int
    defects: tuple[Defect, ...]
    header: Mapping[str, Any] = field(repr=False, default_factory=dict)

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.columns["start"])

    def __repr__(self) -> str:
        """Say what it is in one line."""
        return (
            f"<Trace {self.path!r}: {len(self):,} rows of {self.events:,} events, {len(self.defects)} kinds of defect>"
        )

    def rows(self, *categories: Category) -> NDArray[np.int64]:
        """Return the indices of the rows of these categories, ascending."""
        wanted = np.zeros(256, dtype=bool)
        wanted[list(categories)] = True
        return np.flatnonzero(wanted[self.columns["category"]])

    def to_pandas(self) -> pd.DataFrame:
        """Return every row with names resolved; as large as the trace, so meant for small ones.

        Raises:
            MissingExtraError: pandas is not installed (``pip install 'perfkit[tables]'``).
        """
        try:
            import pandas as pd  # heavy, and only needed here
        except ImportError as error:
            raise MissingExtraError("to_pandas()", "tables") from error

        frame = pd.DataFrame(dict(self.columns))
        frame["name"] = [self.strings[index] for index in self.columns["name"].tolist()]
        frame["category"] = [Category(code).name.lower() for code in self.columns["category"].tolist()]
        return frame
