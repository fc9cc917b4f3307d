"""What is kept of a rank comes back as it was, and nothing else comes back at all."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest

import perfkit
from perfkit.attribute import summarise_ranks
from perfkit.distribute.records import from_json, to_json
from perfkit.distribute.store import Store, default_folder

TRACES = sorted((Path(__file__).parents[3] / "traces").glob("*.json.gz"))


@pytest.mark.parametrize("path", TRACES, ids=lambda path: path.name)
def test_a_summary_comes_back_as_it_was(path: Path, tmp_path: Path) -> None:
    (summary,) = summarise_ranks(perfkit.load(path))
    store = Store(tmp_path / "summaries")
    store.write((str(path), 1), summary)
    kept = store.read((str(path), 1))
    assert type(kept) is type(summary)
    assert to_json(kept)[0] == to_json(summary)[0]
    for one, other in zip(to_json(kept)[1], to_json(summary)[1], strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)
    assert store.read((str(path), 2)) is None


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04", b"\x80\x04\x95", bytes(range(256))])
def test_a_damaged_entry_is_as_good_as_none(damage: bytes, tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.write(("key",), (1, 2))
    (entry,) = tmp_path.iterdir()
    entry.write_bytes(damage)
    assert store.read(("key",)) is None
    store.write(("key",), (3,))
    assert store.read(("key",)) == (3,)


def test_the_entry_that_was_not_asked_for_longest_goes_first(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for number in range(3):
        store.write((number,), (number,))
    for age, entry in enumerate(sorted(tmp_path.iterdir())):
        os.utime(entry, ns=(age, age))
    oldest = min(tmp_path.iterdir(), key=lambda entry: entry.stat().st_mtime_ns)
    store.shrink(sum(entry.stat().st_size for entry in tmp_path.iterdir()) - 1)
    assert not oldest.exists()
    assert len(list(tmp_path.iterdir())) == 2


def test_a_folder_that_cannot_be_written_keeps_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    store = Store(tmp_path / "file" / "summaries")
    store.write(("key",), (1,))
    assert store.read(("key",)) is None


@pytest.mark.parametrize("text", ['["R","eval","1"]', '["A",0]', '{"a":1}', '["X"]', "[]", "[" * 10_000, "nonsense"])
def test_what_was_not_written_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  whatever the parser says of it
        from_json(text, [])


def test_what_is_no_record_is_not_kept() -> None:
    with pytest.raises(TypeError, match="Path is no record"):
        to_json(Path())


def test_the_folder_is_in_the_users_cache_with_and_without_platformdirs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PERFKIT_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(Path("/cache").absolute()))
    known = default_folder()
    monkeypatch.setitem(sys.modules, "platformdirs", None)
    assert default_folder() == Path("/cache").absolute() / "perfkit" / "summaries"
    if sys.platform.startswith("linux"):
        assert known == default_folder()
