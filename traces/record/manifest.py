"""MANIFEST.toml: what each sample trace is, where it comes from and what is known to be true of it."""

import datetime
import json
import tomllib
from collections.abc import Mapping
from pathlib import Path

Value = str | int | list[int] | datetime.date
Entry = dict[str, Value | dict[str, Value]]

_HEADING = "# Written by `python -m traces.record`; README.md says what the fields mean.\n"


def update(path: Path, entry: Entry, about: Mapping[str, Value]) -> None:
    """Put one trace's entry into the manifest, in the place of an older entry for the same file.

    Args:
        path: the manifest; made where it is not there yet.
        entry: the trace's values and tables of values, with its file name as `file`.
        about: what is true of every trace in the manifest.

    Raises:
        tomllib.TOMLDecodeError: the manifest that is there cannot be read.
    """
    entries: dict[str, Entry] = {}
    if path.exists():
        entries = {old["file"]: old for old in tomllib.loads(path.read_text(encoding="utf-8"))["trace"]}
    entries[str(entry["file"])] = entry
    tables = [_table(entries[file]) for file in sorted(entries)]
    path.write_text("\n".join([_HEADING, *_lines(about), "", *tables]), encoding="utf-8")


def _table(entry: Entry) -> str:
    """Return one `[[trace]]` table: its plain values first, then its sub-tables."""
    plain = {key: value for key, value in entry.items() if not isinstance(value, dict)}
    lines = ["[[trace]]", *_lines(plain)]
    for key, value in entry.items():
        if isinstance(value, dict):
            lines += ["", f"[trace.{key}]", *_lines(value)]
    return "\n".join(lines) + "\n"


def _lines(values: Mapping[str, Value]) -> list[str]:
    return [f"{key} = {_literal(value)}" for key, value in values.items()]


def _literal(value: Value) -> str:
    """Return a TOML literal. JSON's strings, integers, booleans and arrays of them are TOML's too; dates are not."""
    return value.isoformat() if isinstance(value, datetime.date) else json.dumps(value)
