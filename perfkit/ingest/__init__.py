"""Ingest: from the bytes of a profiler's file to a Trace.

What a file is, is told by its content. What is wrong inside a trace is a defect of the Trace; only a file of which
nothing can be read, or that is no trace, is an error.
"""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

from perfkit.errors import NoTimelineError, UsageError
from perfkit.ingest.directory import Found, choose, choose_among, find, is_folder, rank_in_name
from perfkit.ingest.foreign import recognise
from perfkit.ingest.source import STANDARD_INPUT, open_content
from perfkit.ingest.torch_profiler import columns_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from perfkit.ingest.source import Target
    from perfkit.model.kernel_profile import KernelReport
    from perfkit.model.trace import Trace

__all__ = ["Found", "choose_among", "find", "is_folder", "load", "load_kernels"]


def load(
    path: Target,
    *,
    rank: int | None = None,
    fields: Iterable[str] | None = None,
    progress: Callable[[int, int | None], None] | None = None,
) -> Trace:
    """Read a trace.

    Args:
        path: A file, a folder, the URL of one, ``-`` for standard input, or a binary file object (left open).
        rank: Which trace of a folder to read; by default that of the lowest rank. A single trace must be of this rank.
        fields: Names of further columns (`perfkit.model.columns.COLUMNS`) to read; `DEFAULT_FIELDS` if None.
        progress: Called some ten times a second with the bytes read so far, and how many there are (None if not known).

    Returns:
        The trace, with the defects of the file.

    Raises:
        UnreadableTraceError: The file cannot be opened or decompressed, is empty, or breaks off before its first event.
        UnknownFormatError: It is not a trace; the message says what it looks like.
        UsageError: There is no such rank or field, or the file holds kernels and no timeline.
    """
    columns = columns_for(fields)
    by_name: int | None = None
    if isinstance(path, (str, os.PathLike)) and os.fspath(path) != STANDARD_INPUT:
        if is_folder(path):
            path = choose(path, rank).path
        by_name = rank_in_name(os.fspath(path))
    with open_content(path) as content:
        found = recognise(content.source, content.head)
        if found.holds != "timeline":
            message = (
                f"{content.source.label} is of {found.title}: it holds measured kernels and no timeline. "
                f"`perfkit diagnose` reads it, alone or beside a trace (`--kernels`)"
            )
            raise NoTimelineError(message)
        trace = found.trace_reader()(content, columns, progress)
    if trace.rank is None and by_name is not None:
        trace = replace(trace, rank=by_name)
    if rank is not None and trace.rank != rank:
        holds = "does not say its rank" if trace.rank is None else f"is of rank {trace.rank}"
        message = f"{trace.path} {holds}, not {rank}: leave the rank out, or give the trace of rank {rank}"
        raise UsageError(message)
    return trace


def load_kernels(path: Target, *, progress: Callable[[int, int | None], None] | None = None) -> KernelReport:
    """Read a report of single kernels, such as Nsight Compute writes.

    Args:
        path: A file, ``-`` for standard input, or a binary file object (left open).
        progress: Called some ten times a second with the bytes read so far, and how many there are (None if not known).

    Returns:
        The kernels with what was measured of each, not judged yet, and the defects of the file.

    Raises:
        MissingExtraError: A package that reads such a file is not installed.
        UnreadableTraceError: The file cannot be opened or decompressed, is empty, or no kernel of it can be read.
        UnknownFormatError: It is no such report; the message says what it looks like.
        UsageError: It is a trace: it holds a timeline.
    """
    with open_content(path) as content:
        found = recognise(content.source, content.head)
        if found.holds != "kernels":
            message = f"{content.source.label} is a trace of {found.title}: it holds a timeline, not measured kernels"
            raise UsageError(message)
        return found.kernel_reader()(content, progress)
