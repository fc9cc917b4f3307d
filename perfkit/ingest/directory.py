"""Traces in a folder, told by their content, and their ranks."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from perfkit.errors import PerfkitError, UnknownFormatError, UnreadableTraceError, UsageError
from perfkit.ingest.foreign import REPORT_EXTENSIONS, recognise, unknown_content
from perfkit.ingest.formats import FORMATS_READ
from perfkit.ingest.header import distributed_rank
from perfkit.ingest.remote import files_at, is_url, is_url_of_many
from perfkit.ingest.source import open_source

if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Sequence

    from perfkit.ingest.source import Source

__all__ = ["Found", "choose", "choose_among", "find", "is_folder", "rank_in_name"]

_DEEPEST: Final = 4
_MOST_FILES: Final = 10_000
_HEAD_BYTES: Final = 64 << 10
_TAIL_BYTES: Final = 1 << 20
_RANKS_SHOWN: Final = 16
_PLACES_SHOWN: Final = 3
_LOOKS_AT_ONCE: Final = 16

_RANK_IN_NAME: Final = re.compile(r"(?<![a-z])(?:rank|worker)[-_]?(\d{1,6})(?!\d)", re.IGNORECASE)

_TRACE_KEYS: Final = re.compile(rb'"(?:traceEvents|schemaVersion|deviceProperties|distributedInfo|ph)"\s*:')


@dataclass(frozen=True, slots=True)
class Found:
    """A file at a path that was given, and its rank where its header or its name tells.

    Attributes:
        path: Its path or URL.
        rank: Its rank, or None where a look at it does not tell.
        holds: What there is to read: a timeline, or measured kernels.
        problem: Why it cannot be read, in one line; empty for most.
        size_bytes: Its size as stored, 0 where it is not known.
        compressed: Whether it is compressed.
    """

    path: str
    rank: int | None
    holds: Literal["timeline", "kernels"] = "timeline"
    problem: str = ""
    size_bytes: int = 0
    compressed: bool = False


def find(*paths: str | os.PathLike[str]) -> list[Found]:
    """List the traces at some paths: files themselves, and what folders hold, four levels deep, hidden ones left out.

    A file that was named, or that a folder holds in the place of a rank, is listed with its problem where it cannot be
    read; whatever else a folder holds is passed over.

    Returns:
        The traces, those of the lowest rank first, then by path.

    Raises:
        MissingExtraError: A path is a URL, and fsspec is not installed.
        UnknownFormatError: There is no trace.
        UnreadableTraceError: A path cannot be read.
    """
    files: dict[str, bool] = {}  # and whether it was named
    for place in [os.fspath(path) for path in paths]:
        if not is_folder(place):
            files[place] = True
        else:
            listed = files_at(place, _MOST_FILES) if is_url(place) else _files(place)
            files |= {path: False for path in listed if path not in files}
    looked = _look_at_all([path for path in files if files[path] or not _is_exported(path, files)])
    sound = [trace for trace in looked if not trace.problem]
    if not sound:
        first = next((trace.problem for trace in looked if files[trace.path]), "")
        places = ", ".join(os.fspath(path) for path in paths[:_PLACES_SHOWN])
        message = first or f"{places} holds no trace: {len(files):,} files looked at. {FORMATS_READ}."
        raise UnknownFormatError(message)
    ranks, suffixes = {trace.rank for trace in sound}, {Path(trace.path).suffix for trace in sound}
    broken = [
        trace
        for trace in looked
        if trace.problem
        and (files[trace.path] or (trace.rank not in {None, *ranks} and Path(trace.path).suffix in suffixes))
    ]
    return sorted((*sound, *broken), key=lambda trace: (trace.rank is None, trace.rank or 0, trace.path))


def _is_exported(path: str, files: Container[str]) -> bool:
    """Tell whether it is a report of Nsight Systems beside what it was exported to: two files of one run."""
    stem, extension = os.path.splitext(path)  # noqa: PTH122  it may be a URL
    return extension in REPORT_EXTENSIONS and f"{stem}.sqlite" in files


def is_folder(path: str | os.PathLike[str]) -> bool:
    """Return whether there is a folder at a path or URL, or it is a URL with a pattern; a path that cannot be is none.

    Raises:
        MissingExtraError: It is a URL, and fsspec is not installed.
        UnreadableTraceError: It is a URL that nothing can be said of.
    """
    place = os.fspath(path)
    if is_url(place):
        return is_url_of_many(place)
    try:
        return place != "" and Path(place).is_dir()
    except (OSError, ValueError):  # too long; a NUL in it
        return False


def choose(path: str | os.PathLike[str], rank: int | None) -> Found:
    """Return the trace of a rank in a folder, or of the lowest rank for None.

    Raises:
        UsageError: No trace has that rank.
    """
    return choose_among(find(path), rank, os.fspath(path))


def choose_among(found: Sequence[Found], rank: int | None, place: str) -> Found:
    """Return the trace of a rank, or that of the lowest rank for None; ``place`` is where they were found.

    Raises:
        UnreadableTraceError: The trace of that rank cannot be read.
        UsageError: No trace has that rank.
    """
    if rank is None:
        return next(trace for trace in found if not trace.problem)
    for trace in found:
        if trace.rank == rank and trace.problem:
            raise UnreadableTraceError(trace.problem)
        if trace.rank == rank:
            return trace
    ranks = sorted({trace.rank for trace in found if trace.rank is not None})
    listed = ", ".join(map(str, ranks[:_RANKS_SHOWN])) + (f" ... {ranks[-1]}" if len(ranks) > _RANKS_SHOWN else "")
    known = f"there are ranks {listed}" if ranks else "none of its traces says its rank"
    message = f"{place} has no trace of rank {rank}: {known}"
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


def _look_at_all(paths: Sequence[str]) -> list[Found]:
    """Look at files; at those far away, several at once, since each takes as long as the way there and back."""
    if not any(map(is_url, paths)):
        return [_look_at(path) for path in paths]
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(_LOOKS_AT_ONCE) as threads:
        return list(threads.map(_look_at, paths))


def _look_at(path: str) -> Found:
    """Return what a file is by its first bytes."""
    rank = rank_in_name(path)
    try:
        with open_source(path) as source:
            head = next(source.chunks(_HEAD_BYTES), b"")
            known = recognise(source, head)
            if known.name == "torch-profiler" and not _TRACE_KEYS.search(head):
                raise unknown_content(path, head)
            said = distributed_rank(head)
            if said is None and rank is None:
                said = _rank_at_end(source)
            size, compressed = source.size_bytes or 0, bool(source.compression)
    except PerfkitError as error:
        return Found(path, rank, problem=str(error))
    return Found(path, rank if said is None else said, known.holds, size_bytes=size, compressed=compressed)


def _rank_at_end(source: Source) -> int | None:
    """Look for the rank in the last bytes of a plain file: some exporters write their header there."""
    if source.compression or source.size_bytes is None or source.size_bytes <= _HEAD_BYTES:
        return None
    try:
        source.file.seek(max(_HEAD_BYTES, source.size_bytes - _TAIL_BYTES))
        return distributed_rank(source.file.read(_TAIL_BYTES))
    except OSError:
        return None
