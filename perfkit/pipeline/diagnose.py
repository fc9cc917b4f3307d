"""From a trace, or those of many ranks, to a Diagnosis."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, Literal

from perfkit.advise import advise
from perfkit.attribute import attribute
from perfkit.errors import UsageError
from perfkit.ingest import choose_among, find, is_folder, load
from perfkit.model.diagnosis import Diagnosis, TraceSummary
from perfkit.model.trace import Trace

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import BinaryIO

    from perfkit.ingest import Found
    from perfkit.pipeline.fleet import Means

    Path = str | os.PathLike[str]

__all__ = ["diagnose"]

PLACES_SHOWN: Final = 2


def diagnose(
    source: Path | BinaryIO | Trace | Sequence[Path],
    *,
    window: Literal["steps", "device-span"] | None = None,
    rank: int | None = None,
    means: Means | None = None,
    progress: Callable[[int, int | None], None] | None = None,
) -> Diagnosis:
    """Say where the time of a trace, or of the traces of many ranks, goes, and what follows from it.

    Args:
        source: A file, a folder, ``-`` for standard input, a binary file object, a Trace, or a list of files and
            folders. Several traces are taken to be those of a job's ranks, unless one rank is asked for.
        window: ``steps`` for the recorded steps without the first, ``device-span`` for all from the first to the last
            activity of each device; None for steps where there are some.
        rank: Which of several traces to read, and no other. A single trace must be of this rank.
        means: With what to read many traces; None for processes of this machine, and to keep summaries.
        progress: Called now and then with the bytes read, and how many there are (None if not known).

    Returns:
        The diagnosis; that of several ranks has a fleet.

    Raises:
        MissingExtraError: It takes a package that is not installed.
        UnreadableTraceError: The file cannot be read, or none of the files can.
        UnknownFormatError: It is not a trace.
        UsageError: There is no such rank.
    """
    if not isinstance(source, Trace):
        found, place = traces_at(source)
        if len(found) > 1 and rank is None:
            from perfkit.pipeline.fleet import Means, diagnose_fleet

            return diagnose_fleet(found, place, window=window or "steps", means=means or Means(), progress=progress)
        chosen: Any = choose_among(found, rank, place).path if found else source
        source = load(chosen, rank=rank, progress=progress)
    if rank is not None and source.rank != rank:
        message = f"{source.path} is of rank {source.rank}, not {rank}: leave the rank out, or give the other trace"
        raise UsageError(message)
    attribution = attribute(source, window=window or "steps")
    return Diagnosis(trace=TraceSummary.of(source), attribution=attribution, advice=advise(attribution))


def traces_at(source: Path | BinaryIO | Sequence[Path]) -> tuple[list[Found], str]:
    """Return the traces in a folder or list, and what to call them together; none if it is one file or stream."""
    if isinstance(source, (str, os.PathLike)):
        paths = [os.fspath(source)] if is_folder(source) else []
    else:
        paths = [os.fspath(path) for path in source] if isinstance(source, Sequence) else []
    if not paths:
        return [], ""
    place = ", ".join(paths[:PLACES_SHOWN])
    if len(paths) > PLACES_SHOWN:
        place = f"{place} and {len(paths) - PLACES_SHOWN:,} more"
    return [trace for trace in find(*paths) if trace.holds == "timeline"], place
