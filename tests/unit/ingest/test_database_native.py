"""What the compiled reader of SQLite files does alone: damaged files, and calls that make no sense."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from perfkit.errors import UnreadableTraceError
from perfkit.ingest.database import open_database
from perfkit.model.columns import MISSING_INT, MISSING_SMALL

_scan = pytest.importorskip("perfkit.ingest._scan", reason="perfkit was installed without its native scanner")

if TYPE_CHECKING:
    from pathlib import Path

PAGE = 512
ROWS = 2000


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A database of one table that begins on page 2 and has an inner page."""
    monkeypatch.setenv("PERFKIT_SCANNER", "native")
    path = tmp_path / "database.sqlite"
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(f"PRAGMA page_size = {PAGE}")
        connection.execute("CREATE TABLE t (a INTEGER, b TEXT)")
        connection.execute("BEGIN")
        connection.executemany("INSERT INTO t VALUES (?, ?)", [(n, f"text {n}") for n in range(ROWS)])
        connection.execute("COMMIT")
    return path


def change(file: Path, offset: int, data: bytes) -> None:
    with file.open("r+b") as opened:
        opened.seek(offset)
        opened.write(data)


def read(file: Path, table: str = "t") -> tuple[list[int], list[tuple[str, int, str]]]:
    with open_database(str(file)) as database:
        rows: list[int] = database.read(table, ("a",))["a"].tolist()
        return rows, database.defects


def raw(file: Path, root: int, columns: list[tuple[int, str]]) -> Any:
    with file.open("rb") as opened:
        table = _scan.Table(opened.fileno(), root, columns, _scan.Texts(), 100)
        while table.read(1):
            pass
        return table


def test_a_sound_file(file: Path) -> None:
    assert read(file) == (list(range(ROWS)), [])


@pytest.mark.parametrize("pages", [1, 3, 8])
def test_a_file_that_breaks_off(file: Path, pages: int) -> None:
    whole = file.stat().st_size
    with file.open("r+b") as opened:
        opened.truncate(whole - pages * PAGE - 100)
    rows, defects = read(file)
    assert 0 < len(rows) < ROWS
    assert rows == sorted(set(rows))
    assert defects == [("damaged_table", 1, "t")]


def test_a_list_of_tables_with_a_broken_entry(file: Path) -> None:
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute("CREATE TABLE other (a INTEGER, note TEXT)")
    content = file.read_bytes()
    file.write_bytes(content.replace(b"TABLE other (a", b"TABLE other )a"))
    rows, defects = read(file)
    assert rows == list(range(ROWS))
    assert defects == [("damaged_table", 1, "sqlite_schema")]


@pytest.mark.parametrize(
    "statement",
    [
        b"CREATE TABLE other AS WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) SELECT n FROM r",
        b"CREATE TABLE other (a); CREATE TABLE more (a)",
        b"CREATE TABLE other (a) \0",
    ],
)
def test_a_list_of_tables_that_wants_something_run(file: Path, statement: bytes) -> None:
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        original = f"CREATE TABLE other (a /* {'x' * len(statement)} */)"
        connection.execute(original)
    change(file, file.read_bytes().index(original.encode()), statement.ljust(len(original)))
    with open_database(str(file)) as database:
        assert "t" in database.tables
        assert "more" not in database.tables
        assert len(database.read("t", ("a",))["a"]) == ROWS


def test_a_list_of_tables_that_is_gone(file: Path) -> None:
    change(file, 100, bytes(PAGE - 100))
    with pytest.raises(UnreadableTraceError, match="cannot be read as an SQLite database"):
        read(file)


def test_pages_that_lead_back_to_the_first(file: Path) -> None:
    change(file, PAGE + 8, (2).to_bytes(4, "big"))
    rows, defects = read(file)
    assert rows == list(range(len(rows)))
    assert defects == [("damaged_table", 1, "t")]


def test_cells_that_lie_on_one_another_make_no_more_rows_than_a_page_has_room_for(file: Path) -> None:
    page = bytearray(PAGE)
    page[0], page[3:5] = 0x0D, (200).to_bytes(2, "big")
    page[8:408] = (500).to_bytes(2, "big") * 200
    page[500:504] = bytes((3, 1, 2, 1))  # three bytes: a header of two, one integer of one byte, 0
    change(file, PAGE, bytes(page))
    table = raw(file, 2, [(0, "int")])
    assert 0 < table.rows <= PAGE // 4
    assert table.rows + table.broken_rows >= 200


def test_the_root_of_another_kind_is_left_alone(file: Path) -> None:
    change(file, PAGE, b"\x0a")
    assert not raw(file, 2, [(0, "int")]).readable
    change(file, PAGE, b"\x07")
    assert raw(file, 2, [(0, "int")]).readable
    assert raw(file, 2, [(0, "int")]).broken_pages == 1


@pytest.mark.parametrize("root", [0, 10_000, 2**32 - 1])
def test_a_root_that_is_not_in_the_file(file: Path, root: int) -> None:
    table = raw(file, root, [(0, "int")])
    assert (table.rows, table.broken_pages) == (0, 1)


def test_places_that_rows_do_not_have(file: Path) -> None:
    table = raw(file, 2, [(5, "int"), (30_000, "text"), (0, "rowid")])
    assert set(table.column(0).tolist()) == {MISSING_INT}
    assert set(table.column(1).tolist()) == {MISSING_SMALL}
    assert table.column(2).tolist() == list(range(1, ROWS + 1))
    for number in (2, 3):
        with pytest.raises(ValueError, match="no such column"):
            table.column(number)


@pytest.mark.parametrize("columns", [[(0, "real")], [(0, "int"), (0, "text")], [(40_000, "int")]])
def test_columns_that_cannot_be(file: Path, columns: list[tuple[int, str]]) -> None:
    with pytest.raises(ValueError, match=r"not a kind|twice|no such place"):
        raw(file, 2, columns)


def test_what_is_no_database(tmp_path: Path) -> None:
    for content in (b"", b"SQLite format 3\0", b"x" * 4096, b"SQLite format 3\0" + bytes(4080)):
        (tmp_path / "file").write_bytes(content)
        assert not raw(tmp_path / "file", 1, [(0, "int")]).readable


def test_a_closed_file(file: Path) -> None:
    with file.open("rb") as opened:
        descriptor = opened.fileno()
    table = _scan.Table(descriptor, 2, [(0, "int")], _scan.Texts(), 100)
    assert not table.readable
    assert not table.read(10)
    assert table.rows == 0


def test_texts_are_numbered_once() -> None:
    texts = _scan.Texts()
    assert [texts.add(text) for text in (b"b", b"", b"b", b"\xff\0", b"")] == [0, 1, 0, 2, 1]
    assert texts.strings == [b"b", b"", b"\xff\0"]
    with pytest.raises(ValueError, match="length"):
        texts.add(b"x" * ((1 << 20) + 1))
