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

class Texts:
    """Distinct texts, numbered in the order they come."""

    def __init__(self) -> None: ...
    def add(self, text: bytes) -> int:
        """The number of a text of at most 1 MiB.

        Raises:
            ValueError: a longer one.
        """

    @property
    def strings(self) -> list[bytes]:
        """The texts, as bytes that may be invalid UTF-8. Made anew at each access."""

class Table:
    """Reads columns of one table of an SQLite file from its pages, in the order of the rows: `read` it, then take them.

    Nothing raises because of content: pages and rows that cannot be are counted and left out, no page is read twice,
    and a file that changes meanwhile gives other rows or fewer. The GIL is released while pages are read; a call from
    another thread meanwhile, to the table or to another one with the same texts, raises RuntimeError. Columns whose
    names, types, defaults and generation matter are for the caller to tell: a row has places and stored types only.
    """

    def __init__(
        self, file: int, root: int, columns: Sequence[tuple[int, str]], texts: Texts, longest_text: int
    ) -> None:
        """Take what to read.

        Args:
            file: A descriptor; it stays open, and must do so while pages are read.
            root: The page that the table begins on.
            columns: The wanted columns: which place of a row, counted from 0, and ``int``, ``text`` or ``rowid``.
            texts: Where texts are numbered.
            longest_text: Longer ones are cut after so many bytes.

        Raises:
            ValueError: a column that cannot be, or a place wanted twice.
        """

    def read(self, pages: int) -> bool:
        """Read on for about so many pages; False when there are no more."""

    def column(self, number: int) -> NDArray[np.int64 | np.int32]:
        """The wanted column of that number, an array of `rows` values: int64, or for texts their numbers as int32.

        The lowest value of the type stands for NULL and for values of another type. Can be taken once.

        Raises:
            ValueError: no such column, or taken before.
        """

    @property
    def readable(self) -> bool:
        """Whether the table can be read here: not one WITHOUT ROWID, nor texts in UTF-16. If not, it has no rows."""

    @property
    def rows(self) -> int:
        """Rows so far."""

    @property
    def broken_rows(self) -> int:
        """Rows that make no sense: left out."""

    @property
    def broken_pages(self) -> int:
        """Pages that are missing, of another kind, or met twice: left out, with whatever hangs on them."""

    @property
    def wrong_types(self) -> int:
        """Values that are neither NULL nor of the kind of their column."""

    @property
    def long_texts(self) -> int:
        """Texts that were cut."""

    @property
    def bytes_read(self) -> int:
        """The size of the pages read so far."""

def schedule(
    target: NDArray[np.int32], source: NDArray[np.int32], seen: NDArray[np.int32]
) -> tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.int32]]:
    """Order the nodes of a graph so that every edge leads forward; see `perfkit.simulate.engine.Engine`.

    Raises:
        ValueError: arrays that do not belong together.
    """

def replay(
    edges: tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int64], NDArray[np.int32], NDArray[np.uint8]],
    earliest: NDArray[np.int64],
    own: NDArray[np.int64],
    node: NDArray[np.int32],
    draws: NDArray[np.int64],
) -> NDArray[np.int64]:
    """Return the time of every node of a scheduled graph; see `perfkit.simulate.engine.Engine`.

    Raises:
        ValueError: arrays that do not belong together.
    """
