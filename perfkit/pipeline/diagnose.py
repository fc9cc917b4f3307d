"""From a trace to its Diagnosis."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from perfkit.advise import advise
from perfkit.attribute import attribute
from perfkit.errors import UsageError
from perfkit.ingest import load
from perfkit.model.diagnosis import Diagnosis, TraceSummary
from perfkit.model.trace import Trace

if TYPE_CHECKING:
    import os
    from collections.abc import Callable
    from typing import BinaryIO

__all__ = ["diagnose"]


def diagnose(
    source: str | os.PathLike[str] | BinaryIO | Trace,
    *,
    window: Literal["steps", "device-span"] | None = None,
    rank: int | None = None,
    progress: Callable[[int, int | None], None] | None = None,
) -> Diagnosis:
    """Say where the time of a trace goes, and what follows from it.

    Args:
        source: A file, a folder, ``-`` for standard input, a binary file object, or a Trace.
        window: ``steps`` for the recorded steps without the first, ``device-span`` for all from the first to the last
            activity of each device; None for steps where there are some.
        rank: Which trace of a folder to read; by default that of the lowest rank. A single trace must be of this rank.
        progress: Called now and then with the bytes read, and how many there are (None if not known).

    Returns:
        The diagnosis.

    Raises:
        UnreadableTraceError: The file cannot be read.
        UnknownFormatError: It is not a trace.
        UsageError: There is no such rank.
    """
    trace = source if isinstance(source, Trace) else load(source, rank=rank, progress=progress)
    if rank is not None and trace.rank != rank:
        message = f"{trace.path} is of rank {trace.rank}, not {rank}: leave the rank out, or give the other trace"
        raise UsageError(message)
    attribution = attribute(trace, window=window or "steps")
    return Diagnosis(trace=TraceSummary.of(trace), attribution=attribution, advice=advise(attribution))
