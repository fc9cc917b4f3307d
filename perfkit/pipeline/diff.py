"""From two recordings, or several of each, to their Difference."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Literal

from perfkit.compare.diff import diff as compare_runs
from perfkit.errors import UsageError
from perfkit.ingest import is_folder, load
from perfkit.ingest.saved_diagnosis import load_diagnosis
from perfkit.model.columns import DEFAULT_FIELDS
from perfkit.model.diagnosis import Diagnosis
from perfkit.model.difference import Run
from perfkit.model.trace import Trace
from perfkit.pipeline.diagnose import diagnose

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from perfkit.model.difference import Difference

    Window = Literal["steps", "device-span"]
    Source = str | os.PathLike[str] | Trace | Diagnosis
    Progress = Callable[[int, int | None], None]

__all__ = ["diff"]


def diff(
    base: Source | Sequence[Source],
    head: Source | Sequence[Source],
    *,
    window: Window | None = None,
    threshold: float | None = None,
    allow: Collection[str] = (),
    progress: Progress | None = None,
) -> Difference:
    """Say what changed between two recordings of a program, whether it is faster, and why.

    Args:
        base: A trace, a folder with the ranks of one job, or a diagnosis, be it saved as JSON; a list of them is
            several runs.
        head: The same of the other side.
        window: ``steps`` for the recorded steps without the first, ``device-span`` for all of a device's activity; None
            for steps where there are some. A diagnosis keeps its own.
        threshold: Part of the base's time below which a change counts as none; None for 0.01 where there are several
            runs a side, 0.03 where there are only the steps of one, and 0.05 where there is a single sample.
        allow: Kinds of obstacles to comparison to overlook.
        progress: Called now and then with the bytes read of a file, and how many there are (None if not known).

    Raises:
        UnreadableTraceError: A file cannot be read.
        UnknownFormatError: A file is neither a trace nor a saved diagnosis.
        UsageError: A side has no runs.
    """
    sides = [[read(source, window, progress) for source in listed(side)] for side in (base, head)]
    return compare_runs(sides[0], sides[1], threshold=threshold, allow=allow)


def listed(side: Source | Sequence[Source]) -> Sequence[Source]:
    """Return the runs of a side; traces and diagnoses are tuples, too, or none at all."""
    if isinstance(side, (str, os.PathLike, Trace, Diagnosis)):
        return [side]
    if not side:
        message = "a side has no runs: give at least one recording of each"
        raise UsageError(message)
    return side


def read(source: Source, window: Window | None, progress: Progress | None) -> Run:
    """Read one run; the shapes of a trace are read along."""
    if isinstance(source, Diagnosis):
        return Run(source, source.shapes)
    if not isinstance(source, Trace):
        if is_folder(source):
            return Run(diagnose(source, window=window, progress=progress))
        saved = load_diagnosis(source)
        if saved is not None:
            return Run(saved, saved.shapes)
        source = load(source, fields=(*DEFAULT_FIELDS, "shapes"), progress=progress)
    found = diagnose(source, window=window, shapes=True)
    return Run(found, found.shapes)
