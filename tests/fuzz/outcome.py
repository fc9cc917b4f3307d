"""All that a scanner says of a document, for comparison with what another one says."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

from perfkit.ingest import _scan_twin, _twin_event
from perfkit.model.columns import COLUMNS, DEFAULT_FIELDS

if TYPE_CHECKING:
    from numpy.typing import NDArray

ColumnSpec = tuple[str, str, tuple[str, ...], str]

ALL_COLUMNS: tuple[ColumnSpec, ...] = tuple((c.name, c.kind, c.keys, c.place) for c in COLUMNS)
"""Every column, so that memory events are rows too."""

DEFAULT_COLUMNS = tuple(c for c in ALL_COLUMNS if c[3] == "event" or c[0] in DEFAULT_FIELDS)
"""What is read for a diagnosis."""

Scanner = Callable[[Sequence[ColumnSpec]], Any]

TWIN: Scanner = _scan_twin.Scanner


def native() -> Scanner | None:
    """The compiled scanner, None where it was not built."""
    try:
        module = import_module("perfkit.ingest._scan")
    except ImportError:
        return None
    scanner: Scanner = module.Scanner
    return scanner


@dataclass(frozen=True)
class Outcome:
    """What a scanner gave."""

    facts: dict[str, Any]
    columns: dict[str, NDArray[Any]]


def scan(
    scanner: Scanner, document: bytes, cuts: Iterable[int] = (), columns: Sequence[ColumnSpec] = ALL_COLUMNS
) -> Outcome:
    """Feeds the document, cut into pieces at `cuts`, and takes everything the scanner has to give."""
    scan_of = scanner(columns)
    edges = [0, *sorted(cuts), len(document)]
    for start, stop in itertools.pairwise(edges):
        scan_of.feed(memoryview(document)[start:stop])
    scan_of.finish()
    facts = {
        name: getattr(scan_of, name)
        for name in ("rows", "top", "events_seen", "bytes_seen", "phases", "defects", "header", "metadata", "strings")
    }
    return Outcome(facts, {column[0]: scan_of.column(column[0]) for column in columns})


def differences(one: Outcome, other: Outcome) -> list[str]:
    """What differs, a line each; empty if nothing does."""
    found = [
        f"{name}: {_shorten(one.facts[name])} != {_shorten(other.facts[name])}"
        for name in one.facts
        if one.facts[name] != other.facts[name]
    ]
    for name, values in one.columns.items():
        others = other.columns[name]
        if values.dtype != others.dtype or values.shape != others.shape:
            found.append(f"column {name}: {values.dtype}{values.shape} != {others.dtype}{others.shape}")
        elif not np.array_equal(values, others):
            row = int(np.flatnonzero(values != others)[0])
            found.append(f"column {name}, row {row}: {values[row]} != {others[row]}")
    return found


def _shorten(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 400 else f"{text[:300]} ... {text[-90:]}"


@contextmanager
def small_batches(size: int = 1) -> Iterator[None]:
    """Makes the twin scan as soon as it has `size` bytes, so that small documents too are cut where they are fed."""
    before = _scan_twin._BATCH
    _scan_twin._BATCH = size  # type: ignore[misc]
    try:
        yield
    finally:
        _scan_twin._BATCH = before  # type: ignore[misc]


@contextmanager
def no_plain_events() -> Iterator[None]:
    """Makes the twin walk through every event, as if none were plain."""
    reader = _twin_event.EventReader
    before = reader.read_plain
    reader.read_plain = lambda *_: 0  # type: ignore[method-assign]
    try:
        yield
    finally:
        reader.read_plain = before  # type: ignore[method-assign]
