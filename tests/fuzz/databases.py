"""SQLite files to start from, and all that a reader says of one."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from importlib import import_module
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, NamedTuple

from perfkit.ingest import _database_twin
from perfkit.ingest.database import LONGEST_TEXT_BYTES
from tests.fuzz.seeds import SHARED

if TYPE_CHECKING:
    import random
    from pathlib import Path

    from perfkit.ingest.database import Database

PAGE_BYTES = (512, 1024, 4096, 65536)
RESERVED_AT, ENCODING_AT = 20, 56

MESSAGE_CHARACTERS = 400

DECLARED = ("INTEGER", "INTEGER NOT NULL", "INT", "TEXT", "TEXT NOT NULL", "REAL", "NUMERIC", "BLOB", "", "DOUBLE")
"""Types as a table may declare them; what is stored under each differs."""

INTEGERS = tuple(
    sign * value
    for power in (0, 1, 7, 8, 15, 16, 23, 24, 31, 32, 47, 48, 62, 63)
    for value in (2**power - 1, 2**power)
    for sign in (1, -1)
    if -(2**63) <= sign * value < 2**63
)
OTHERS = (None, 0.5, 3.0, -1e300, b"", b"\0\xff", b"x" * 300, "", "a\0b", "7", "3.5", "\u00e9\U0001f600")

VIEWS = """
CREATE VIEW shown AS SELECT 1 AS a;
CREATE TABLE parts (a INTEGER PRIMARY KEY, b TEXT, c INTEGER, PRIMARY_ INTEGER) WITHOUT ROWID;
CREATE TABLE backwards (a INTEGER PRIMARY KEY DESC, b INTEGER);
CREATE TABLE key (a INT PRIMARY KEY, b TEXT);
CREATE TABLE pair (a INTEGER, b TEXT, PRIMARY KEY (a, b));
CREATE TABLE late (a INTEGER, "b ""c" TEXT);
CREATE TABLE made (a INTEGER, v INTEGER AS (a + 1) VIRTUAL, b TEXT, s INTEGER AS (a + 2) STORED, c INTEGER);
CREATE INDEX by_b ON key (b, a);
"""
LATER = (
    "ALTER TABLE late ADD COLUMN d INTEGER",
    "ALTER TABLE late ADD COLUMN e INTEGER DEFAULT 5",
    "ALTER TABLE late ADD COLUMN f TEXT DEFAULT 'x'",
)


class Outcome(NamedTuple):
    """What a reader said of every table, its columns asked as integers, as texts, and in turn."""

    tables: dict[str, tuple[str, ...]]
    values: dict[tuple[str, str], dict[str, list[Any]]]
    defects: list[tuple[str, int, str]]


Open = Callable[[str], "Database"]


def open_with_twin(path: str) -> Database:
    """The reader that stands on sqlite3."""
    return _database_twin.Database(path, None, path)


def native() -> Open | None:
    """The compiled reader, None where it was not built."""
    try:
        module = import_module("perfkit.ingest._database_native")
    except ImportError:
        return None

    def open_natively(path: str) -> Database:
        database: Database = module.Database(path, None, path)
        return database

    return open_natively


WAYS = ("int", "text", "both")


def read_all(opened: Database, ways: Sequence[str] = WAYS) -> Outcome:
    """Reads every column of every table; what the numbers of texts are is left to each reader."""
    values = {}
    with opened as database:
        for table, columns in database.tables.items():
            wanted = {"int": (columns, ()), "text": ((), columns), "both": (columns[::2], columns[1::2])}
            for way in ways:
                integers, texts = wanted[way]
                found = database.read(table, integers, texts)
                strings = [*database.strings, None]
                values[table, way] = {
                    name: [strings[max(number, -1)] for number in column.tolist()] if name in texts else column.tolist()
                    for name, column in found.items()
                }
        return Outcome(dict(database.tables), values, sorted(database.defects))


def differences(one: Outcome, other: Outcome) -> list[str]:
    """What differs, a line each; empty if nothing does."""
    found = [
        f"{name}: {getattr(one, name)} != {getattr(other, name)}"[:MESSAGE_CHARACTERS]
        for name in ("tables", "defects")
        if getattr(one, name) != getattr(other, name)
    ]
    for key in sorted(one.values.keys() & other.values.keys()):
        for column in one.values[key].keys() & other.values[key].keys():
            values, others = one.values[key][column], other.values[key][column]
            if values != others:
                place, pair = next(
                    (place, pair) for place, pair in enumerate(zip_longest(values, others)) if pair[0] != pair[1]
                )
                found.append(
                    f"{key}, column {column}, row {place}: {pair}, of {len(values)} and {len(others)}"[
                        :MESSAGE_CHARACTERS
                    ]
                )
    return found


def shared_files() -> list[Path]:
    """Exports of Nsight Systems at hand."""
    return sorted(SHARED.glob("nsys/**/*.sqlite"))


def make_database(path: Path, rng: random.Random, *, tables: int = 4, rows: int = 300) -> None:
    """Writes a database with many of the ways in which SQLite stores things."""
    path.unlink(missing_ok=True)
    size = rng.choice(PAGE_BYTES)
    _write_empty(path, size, rng.choice((0, 0, 8, 32)), utf16=rng.random() < 0.1)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        run = connection.execute
        run(f"PRAGMA auto_vacuum = {rng.choice((0, 0, 1, 2))}")
        run("PRAGMA synchronous = OFF")
        run("PRAGMA journal_mode = OFF")
        run("VACUUM")
        connection.executescript(VIEWS)
        run("BEGIN")
        names = [f"t{number}" for number in range(tables)]
        for name in names:
            columns = [rng.choice(DECLARED) for _ in range(rng.choice((1, 3, 9, 40)))]
            declared = [f"c{number} {kind.removesuffix(' NOT NULL')}" for number, kind in enumerate(columns)]
            if rng.random() < 0.3:
                declared[rng.randrange(len(declared))] = rng.choice(
                    ("id INTEGER PRIMARY KEY", "id integer primary key")
                )
            run(f"CREATE TABLE {name} ({', '.join(declared)})")
        for name in (*names, "parts", "backwards", "key", "pair", "late"):
            _fill(connection, name, rng, rng.randrange(rows))
        connection.executemany("INSERT INTO made VALUES (?, ?, ?)", [(n, f"{n}", -n) for n in range(rng.randrange(50))])
        for statement in LATER:
            run(statement)
        _fill(connection, "late", rng, 5)
        for name in names:
            if rng.random() < 0.4:
                run(f"DELETE FROM {name} WHERE rowid % {rng.randrange(2, 9)} = 0")
        run("COMMIT")
        if rng.random() < 0.3:
            run("VACUUM")


def _write_empty(path: Path, page_bytes: int, reserved: int, *, utf16: bool) -> None:
    """Writes a database without tables, with some bytes of each page kept free, as extensions of SQLite do."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(f"PRAGMA page_size = {page_bytes}")
        connection.execute(f"PRAGMA encoding = '{'UTF-16be' if utf16 else 'UTF-8'}'")
        connection.execute("PRAGMA user_version = 1")
    content = bytearray(path.read_bytes())
    content[RESERVED_AT] = reserved
    content[105:107] = (page_bytes - reserved).to_bytes(3, "big")[-2:]  # where the content of page 1 begins
    path.write_bytes(content)


def _fill(connection: sqlite3.Connection, table: str, rng: random.Random, rows: int) -> None:
    columns = [name for _, name, *_ in connection.execute(f"PRAGMA table_info({table})")]
    places = ", ".join("?" * len(columns))
    for _ in range(rows):
        values = [None if name == "id" else _value(rng) for name in columns]
        try:
            connection.execute(f"INSERT OR IGNORE INTO {table} VALUES ({places})", values)
        except sqlite3.IntegrityError:  # a key that is no integer
            continue


def _value(rng: random.Random) -> object:
    way = rng.random()
    if way < 0.5:
        return rng.choice(INTEGERS)
    if way < 0.7:
        return rng.choice(OTHERS)
    if way < 0.999:
        return "".join(rng.choices("ab\u00e9\u4e16", k=rng.choice((1, 5, 40, 40, 500, 3000))))
    return "l" * (LONGEST_TEXT_BYTES + rng.choice((-1, 0, 1, 9)))
