from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

class Scanner:
    """Reads one trace of Chrome-trace JSON: `feed` it, `finish` it, then take the columns and all else.

    Bytes come in pieces of any size; events go into columns of integers. Nothing raises because of content: every fault
    is a counted defect with the offset of its first occurrence. The GIL is released while bytes are scanned; a call
    from another thread meanwhile raises RuntimeError. `perfkit.ingest._scan_twin` gives the same without a compiler.
    """

    def __init__(self, columns: Sequence[tuple[str, str, tuple[str, ...], str]]) -> None:
        """Take the wanted columns, each as (name, kind, keys, place) of `perfkit.model.columns.Column`.

        Raises:
            ValueError: a column that cannot be.
        """

    def feed(self, data: bytes | memoryview) -> None:
        """Scan the next bytes.

        Raises:
            ValueError: after `finish`.
        """

    def finish(self) -> None:
        """Take the bytes so far for all there is: what is incomplete becomes defects."""

    def column(self, name: str) -> NDArray[np.int64 | np.int32]:
        """The column `name`, as an array of `rows` values; can be taken once.

        Raises:
            ValueError: before `finish`, no such column, or taken before.
        """

    @property
    def rows(self) -> int:
        """Event rows so far."""

    @property
    def strings(self) -> list[bytes]:
        """The string table, as bytes that may be invalid UTF-8. Made anew at each access."""

    @property
    def header(self) -> dict[bytes, bytes]:
        """The raw text of each top-level key but the events. Made anew at each access."""

    @property
    def metadata(self) -> list[tuple[bytes, bytes, bytes, bytes]]:
        """(name, pid, tid, raw args) of each metadata event. Made anew at each access."""

    @property
    def phases(self) -> dict[str, int]:
        """Number of events by phase."""

    @property
    def defects(self) -> list[tuple[str, int, int]]:
        """(kind, count, offset of the first), by that offset, then by kind."""

    @property
    def top(self) -> str:
        """What the file is: "object", "list", or "" while neither was seen."""

    @property
    def events_seen(self) -> bool:
        """Whether the array of events was entered."""

    @property
    def bytes_seen(self) -> int:
        """How many bytes were fed."""
