"""SQLite files that somebody broke, and what must hold of how each is read."""

from __future__ import annotations

import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from perfkit.errors import PerfkitError
from perfkit.ingest.database import MAGIC
from tests.fuzz.databases import (
    ENCODING_AT,
    RESERVED_AT,
    Outcome,
    differences,
    make_database,
    native,
    open_with_twin,
    read_all,
    shared_files,
)

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from perfkit.ingest.database import Database

MADE = 12
EXCERPT_ROWS = 30
SMALLEST_CELL_BYTES = 2

BYTES = (0x00, 0x01, 0x02, 0x05, 0x0A, 0x0D, 0x7F, 0x80, 0x81, 0xFE, 0xFF)
HEADER_PLACES = (16, 17, 18, 19, RESERVED_AT, 21, 22, 23, 28, 31, 52, 55, ENCODING_AT + 3, 96)


def is_database(document: bytes) -> bool:
    """Whether it is to be read as a database, however broken."""
    return document.startswith(MAGIC)


def sound_databases(rng: random.Random) -> list[bytes]:
    """Small databases of all kinds, and excerpts of the exports at hand."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "database.sqlite")
        for _ in range(MADE):
            make_database(path, rng, tables=2, rows=40)
            found.append(path.read_bytes())
        for file in shared_files():
            path.unlink()
            _excerpt(file, path, rng.choice((512, 1024, 4096)))
            found.append(path.read_bytes())
    return found


def _excerpt(file: Path, path: Path, page_bytes: int) -> None:
    """Copies the first rows of every table."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA page_size = {page_bytes}")
        connection.execute("ATTACH ? AS whole", (f"{file.resolve().as_uri()}?mode=ro&immutable=1",))
        tables = connection.execute("SELECT name, sql FROM whole.sqlite_master WHERE type = 'table'").fetchall()
        for name, sql in tables:
            connection.execute(sql)
            connection.execute(f'INSERT INTO main."{name}" SELECT * FROM whole."{name}" LIMIT {EXCERPT_ROWS}')
        connection.commit()


def break_database(content: bytes, rng: random.Random) -> bytes:
    """The file with a few faults; it still begins as a database does."""
    changed = bytearray(content)
    stored = int.from_bytes(content[16:18], "big")
    page = 65536 if stored == 1 else max(stored, 512)
    for _ in range(rng.choice((1, 1, 2, 3, 8))):
        rng.choice((_damage_page, _damage_page, _damage_page, _damage_page, _damage_whole))(changed, page, rng)
    return MAGIC + bytes(changed[len(MAGIC) :])


def _damage_page(content: bytearray, page: int, rng: random.Random) -> None:
    """Changes bytes of one page: its header, the pointers to its cells, a cell, or anything."""
    start = rng.randrange(max(len(content) // page, 1)) * page
    begin = start + (100 if start == 0 else 0)
    cells = int.from_bytes(content[begin + 3 : begin + 5], "big")
    pointer = begin + 8 + 2 * rng.randrange(max(min(cells, page // 4), 1))
    cell = start + int.from_bytes(content[pointer : pointer + 2], "big")
    at = rng.choice(
        (begin + rng.randrange(12), pointer, pointer + 1, cell, cell + 1, cell + rng.randrange(12),
         cell + rng.randrange(60), start + rng.randrange(page), start + page - 1 - rng.randrange(min(page, 200)))
    )  # fmt: skip
    if rng.random() < 0.1:
        at = rng.choice(HEADER_PLACES)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        if at < len(content):
            content[at] = rng.choice((content[at] ^ 1 << rng.randrange(8), rng.choice(BYTES), rng.randrange(256)))
        at += 1


def _damage_whole(content: bytearray, page: int, rng: random.Random) -> None:
    """Cuts the file, or puts one page where another was."""
    pages = max(len(content) // page, 1)
    one, other = (rng.randrange(pages) * page for _ in range(2))
    way = rng.random()
    if way < 0.2:
        del content[rng.randrange(len(content) + 1) :]
    elif way < 0.4:
        del content[one:]
    elif way < 0.5:
        content[one : one + page] = bytes(page)
    elif way < 0.7:
        content[one + 8 : one + 12] = (other // page + 1).to_bytes(4, "big")  # the last child of an inner page
    else:
        content[one : one + page] = content[other : other + page]


def database_faults(content: bytes) -> list[str]:
    """What is wrong with how a file is read; an error that perfkit raises is no fault."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "database.sqlite")
        path.write_bytes(content)
        twin = _outcome(open_with_twin, path)
        open_natively = native()
        one = _outcome(open_natively, path) if open_natively is not None else twin
        sound = _is_sound(path)
    if one is None or twin is None:
        return ["one reader opens it, the other does not"] if sound and one is not twin else []
    faults = [
        f"{table}: more values than the file has room for"
        for (table, _), columns in one.values.items()
        for values in columns.values()
        if len(values) * SMALLEST_CELL_BYTES > len(content)
    ]
    return faults + differences(one, twin) if sound else faults


def _is_sound(path: Path) -> bool:
    """Whether SQLite finds nothing wrong: of other files it says one thing or another, as it comes upon them."""
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro&immutable=1", uri=True)) as connection:
        try:
            return connection.execute("PRAGMA integrity_check(1)").fetchall() == [("ok",)]
        except (sqlite3.Error, UnicodeError):
            return False


def _outcome(open_with: Callable[[str], Database], path: Path) -> Outcome | None:
    try:
        return read_all(open_with(str(path)))
    except PerfkitError:
        return None
