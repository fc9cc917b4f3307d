"""Traces in a folder, told by their content, and their ranks."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from perfkit.errors import PerfkitError, UnknownFormatError, UnreadableTraceError, UsageError
from perfkit.ingest.formats import FORMATS_READ, format_of
from perfkit.ingest.header import distributed_rank
from perfkit.ingest.source import open_source

if TYPE_CHECKING:
    from collections.abc import Iterator

    from perfkit.ingest.source import Source

__all__ = ["Found", "choose", "find", "is_folder", "rank_in_name"]

_DEEPEST: Final = 4
_MOST_FILES: Final = 10_000
_HEAD_BYTES: Final = 64 << 10
_TAIL_BYTES: Final = 1 << 20
_RANKS_SHOWN: Final = 16

_RANK_IN_NAME: Final = re.compile(r"(?<![a-z])(?:rank|worker)[-_]?(\d{1,6})(?!\d)", re.IGNORECASE)

_TRACE_KEYS: Final = re.compile(rb'"(?:traceEvents|schemaVersion|deviceProperties|distributedInfo|ph)"\s*:')


@dataclass(frozen=True, slots=True)
class Found:
    """A trace in a folder, and its rank where its header or its name tells."""

    path: str
    rank: int | None


def find(path: str | os.PathLike[str]) -> list[Found]:
    """List the traces at a path: a file itself, or what a folder holds, four levels deep, hidden ones left out.

    Returns:
        The traces, those of the lowest rank first, then by path.

    Raises:
        UnknownFormatError: There is no trace.
        UnreadableTraceError: The path cannot be read.
    """
    place = os.fspath(path)
    files = list(_files(place)) if is_folder(place) else [place]
    found = [trace for trace in map(_look_at, files) if trace is not None]
    if not found:
        message = f"{place} holds no trace: {len(files):,} files looked at. {FORMATS_READ}."
        raise UnknownFormatError(message)
    return sorted(found, key=lambda trace: (trace.rank is None, trace.rank or 0, trace.path))


def is_folder(path: str | os.PathLike[str]) -> bool:
    """Return whether there is a folder at a path; a path that cannot be is none."""
    try:
        return os.fspath(path) != "" and Path(path).is_dir()
    except (OSError, ValueError):  # too long; a NUL in it
        return False


def choose(path: str | os.PathLike[str], rank: int | None) -> Found:
    """Return the trace of a rank in a folder, or of the lowest rank for None.

    Raises:
        UsageError: No trace has that rank.
    """
    found = find(path)
    if rank is None:
        return found[0]
    for trace in found:
        if trace.rank == rank:
            return trace
    ranks = sorted({trace.rank for trace in found if trace.rank is not None})
    listed = ", ".join(map(str, ranks[:_RANKS_SHOWN])) + (f" ... {ranks[-1]}" if len(ranks) > _RANKS_SHOWN else "")
    known = f"there are ranks {listed}" if ranks else "none of its traces says its rank"
    message = f"{os.fspath(path)} has no trace of rank {rank}: {known}"
    raise UsageError(message)


def rank_in_name(path: str) -> int | None:
    """Return the rank that a file name gives, as in ``rank-3.json``, ``rank_3.json`` or ``worker3.pt.trace.json``."""
    matches = _RANK_IN_NAME.findall(Path(path).name)
    return int(matches[0]) if matches else None


def _files(folder: str) -> Iterator[str]:
    """Yield the visible files of a folder in order of their names, at most `_MOST_FILES` of them."""
    left = _MOST_FILES
    pending = [(folder, 1)]
    while pending and left:
        here, depth = pending.pop()
        try:
            with os.scandir(here) as scan:
                entries = sorted((entry for entry in scan if not entry.name.startswith(".")), key=lambda e: e.name)
        except OSError as error:
            if here == folder:
                message = f"{folder} cannot be listed: {error.strerror or error}"
                raise UnreadableTraceError(message) from error
            continue
        for entry in entries:
            if left and _is_file(entry):
                left -= 1
                yield entry.path
        if depth < _DEEPEST:
            folders = [entry for entry in entries if entry.is_dir(follow_symlinks=False)]
            pending.extend((entry.path, depth + 1) for entry in reversed(folders))


def _is_file(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file()
    except OSError:  # a link to itself
        return False


def _look_at(path: str) -> Found | None:
    """Return what a file is by its first bytes; None if it is not a trace."""
    try:
        with open_source(path) as source:
            head = next(source.chunks(_HEAD_BYTES), b"")
            known = format_of(head)
            if known is None or (known.name == "torch-profiler" and not _TRACE_KEYS.search(head)):
                return None
            rank = distributed_rank(head)
            if rank is None:
                rank = rank_in_name(path)
            if rank is None:
                rank = _rank_at_end(source)
    except PerfkitError:
        return None
    return Found(path, rank)


def _rank_at_end(source: Source) -> int | None:
    """Look for the rank in the last bytes of a plain file: some exporters write their header there."""
    if source.compression or source.size_bytes is None or source.size_bytes <= _HEAD_BYTES:
        return None
    try:
        source.file.seek(max(_HEAD_BYTES, source.size_bytes - _TAIL_BYTES))
        return distributed_rank(source.file.read(_TAIL_BYTES))
    except OSError:
        return None
