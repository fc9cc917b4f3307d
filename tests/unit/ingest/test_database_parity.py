"""The compiled reader of SQLite files and its twin say the same of every sound file."""

from __future__ import annotations

import random
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from perfkit.ingest import _database_twin
from tests.fuzz import databases
from tests.fuzz.databases import differences, open_with_twin, read_all

if TYPE_CHECKING:
    from pathlib import Path

NATIVE = databases.native()

pytestmark = pytest.mark.skipif(NATIVE is None, reason="perfkit was installed without its native scanner")


def disagreement(path: Path) -> list[str]:
    assert NATIVE is not None
    return differences(read_all(NATIVE(str(path))), read_all(open_with_twin(str(path))))


@pytest.mark.parametrize("file", databases.shared_files(), ids=lambda file: file.name)
def test_exports_of_nsight(file: Path) -> None:
    assert disagreement(file) == []


@pytest.mark.parametrize("seed", range(40))
def test_made_databases(seed: int, tmp_path: Path) -> None:
    databases.make_database(tmp_path / "made.sqlite", random.Random(seed))
    assert disagreement(tmp_path / "made.sqlite") == []


values = st.one_of(
    st.none(),
    st.integers(-(2**63), 2**63 - 1),
    st.sampled_from(databases.INTEGERS),
    st.floats(allow_nan=False),
    st.text(max_size=30),
    st.binary(max_size=30),
    st.integers(0, 5000).map(lambda length: "t" * length),
)
tables = st.lists(st.sampled_from(databases.DECLARED), min_size=1, max_size=8).flatmap(
    lambda declared: st.tuples(
        st.just(declared), st.lists(st.tuples(*[values] * len(declared)), max_size=12), st.sampled_from([1, 1, 30])
    )
)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)
@given(st.lists(tables, min_size=1, max_size=3), st.sampled_from(databases.PAGE_BYTES), st.booleans())
def test_generated_tables(
    tmp_path: Path, made: list[tuple[list[str], list[tuple[object, ...]], int]], page_bytes: int, vacuum: bool
) -> None:
    path = tmp_path / "generated.sqlite"
    path.unlink(missing_ok=True)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(f"PRAGMA page_size = {page_bytes}")
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("BEGIN")
        for number, (declared, rows, times) in enumerate(made):
            columns = ", ".join(f'"{place}" {kind}' for place, kind in enumerate(declared))
            connection.execute(f"CREATE TABLE t{number} ({columns})")
            places = ", ".join("?" * len(declared))
            connection.executemany(f"INSERT OR IGNORE INTO t{number} VALUES ({places})", rows * times)
        connection.execute("COMMIT")
        if vacuum:
            connection.execute("VACUUM")
    assert disagreement(path) == []


def test_hundreds_of_tables_and_several_levels_of_pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "many.sqlite"
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA page_size = 512")
        connection.execute("BEGIN")
        for number in range(300):
            connection.execute(f'CREATE TABLE "table number {number}" (id INTEGER PRIMARY KEY, a INTEGER, b TEXT)')
        rows = [(number * 7 - 10_000, number * number, f"{number % 77}") for number in range(30_000)]
        connection.executemany('INSERT INTO "table number 150" VALUES (?, ?, ?)', rows)
        connection.execute("COMMIT")
    assert NATIVE is not None
    with monkeypatch.context() as patch:
        patch.delattr(_database_twin.Database, "_batches")  # all of it is read natively
        found = read_all(NATIVE(str(path)), ways=("int", "both"))
    assert found.values["table number 150", "int"]["id"] == [row[0] for row in rows]
    assert found.values["table number 150", "int"]["a"] == [row[1] for row in rows]
    assert differences(found, read_all(open_with_twin(str(path)), ways=("int", "both"))) == []
