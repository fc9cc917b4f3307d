"""From a trace, or those of many ranks, to a Diagnosis."""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, Literal

from perfkit.advise import EVERY_RULE, advise
from perfkit.attribute import examine
from perfkit.attribute.shapes import operator_shapes
from perfkit.errors import NoTimelineError, UsageError
from perfkit.ingest import choose_among, find, is_folder, load
from perfkit.ingest.recording import read_recording
from perfkit.ingest.remote import is_url
from perfkit.ingest.source import STANDARD_INPUT, STANDARD_INPUT_LABEL
from perfkit.model.columns import DEFAULT_FIELDS, MEMORY_FIELDS, SIZE_FIELDS
from perfkit.model.diagnosis import Diagnosis, TraceSummary
from perfkit.model.recording import WORK
from perfkit.model.trace import Trace

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import BinaryIO

    from perfkit.advise import RuleSet
    from perfkit.ingest import Found
    from perfkit.model.energy import Energy, SensorLog
    from perfkit.model.prediction import Prediction, WhatIf
    from perfkit.model.recording import Recording
    from perfkit.pipeline.fleet import Means
    from perfkit.simulate.simulation import Simulation

    Path = str | os.PathLike[str]

__all__ = ["diagnose"]

PLACES_SHOWN: Final = 2


def diagnose(  # noqa: PLR0913  an option each
    source: Path | BinaryIO | Trace | Sequence[Path],
    *,
    window: Literal["steps", "device-span"] | None = None,
    rank: int | None = None,
    means: Means | None = None,
    kernels: Sequence[Path] = (),
    rules: RuleSet = EVERY_RULE,
    picture: bool = False,
    shapes: bool = False,
    progress: Callable[[int, int | None], None] | None = None,
    recorded_as: str | None = None,
) -> Diagnosis:
    """Say where the time of a trace, or of the traces of many ranks, goes, and what follows from it.

    Args:
        source: A file, a folder, ``-`` for standard input, a binary file object, a Trace, or a list of files and
            folders. Several traces are taken to be those of a job's ranks, unless one rank is asked for.
        window: ``steps`` for the recorded steps without the first, ``device-span`` for all from the first to the last
            activity of each device; None for steps where there are some.
        rank: Which of several traces to read, and no other. A single trace must be of this rank.
        means: With what to read many traces; None for processes of this machine, and to keep summaries.
        kernels: Reports of Nsight Compute to put beside the trace; those among several sources are put beside it, too.
        rules: What to look for: `perfkit.advise.registry` has those of installed packages, too, and chooses among them.
        picture: Also make the picture that a page draws.
        shapes: Also count the shapes of the inputs of operators, of a single trace, for a later comparison.
        progress: Called now and then with the bytes read, and how many there are (None if not known).
        recorded_as: What made a single trace, for what to do next; None to tell by its format and what lies beside it.

    Returns:
        The diagnosis; that of several ranks has a fleet.

    Raises:
        MissingExtraError: It takes a package that is not installed.
        UnreadableTraceError: The file cannot be read, or none of the files can.
        UnknownFormatError: It is not a trace.
        UsageError: There is no such rank.
    """
    if isinstance(source, Trace):
        made_by = recorded_as or source.format
        return beside(of_trace(source, window, rank, rules, made_by, picture=picture, shapes=shapes), kernels)
    finish_recording(source)
    listed, place = files_at(source)
    found = [file for file in listed if file.holds == "timeline"]
    kernels = [*kernels, *in_order([file.path for file in listed if file.holds == "kernels"], source)]
    if listed and not found:
        return of_kernels(kernels, progress)
    if len(found) > 1 and rank is None:
        from perfkit.pipeline.fleet import Means, diagnose_fleet

        many, made_by = means or Means(), "perfkit" if recording_at(source) else ""
        fleet = diagnose_fleet(
            found,
            place,
            window=window or "steps",
            means=many,
            rules=rules,
            recorded_as=recorded_as or made_by,
            picture=picture,
            progress=progress,
        )
        return recorded(beside(fleet, kernels), source)
    chosen: Any = choose_among(found, rank, place).path if found else source
    try:
        trace = load(chosen, rank=rank, fields=(*DEFAULT_FIELDS, *MEMORY_FIELDS, *SIZE_FIELDS), progress=progress)
    except NoTimelineError:
        if kernels or not isinstance(chosen, (str, os.PathLike)) or os.fspath(chosen) == STANDARD_INPUT:
            raise
        return of_kernels([chosen], progress)
    recording = recording_at(source)
    made_by, slowdown = "perfkit" if recording else trace.format, slowdown_of(recording, trace.path)
    examined = of_trace(
        trace, window, rank, rules, recorded_as or made_by, picture=picture, shapes=shapes, slowdown=slowdown
    )
    return recorded(beside(examined, kernels), source)


def of_trace(  # noqa: PLR0913  an option each
    source: Trace,
    window: Literal["steps", "device-span"] | None,
    rank: int | None,
    rules: RuleSet,
    made_by: str,
    *,
    picture: bool,
    shapes: bool,
    slowdown: tuple[float, float, float] | None = None,
) -> Diagnosis:
    """Diagnose a trace."""
    if rank is not None and source.rank != rank:
        message = f"{source.path} is of rank {source.rank}, not {rank}: leave the rank out, or give the other trace"
        raise UsageError(message)
    examined = examine(source, window=window or "steps")

    def predict(*what_if: WhatIf, timeline: str = "") -> Prediction | None:
        """Replay the trace; what that takes is imported, and done, for the first finding that asks."""
        return replay().predict(*what_if, timeline=timeline)

    @functools.cache
    def replay() -> Simulation:
        from perfkit.pipeline.what_if import simulation

        return simulation(examined)

    path = STANDARD_INPUT if source.path == STANDARD_INPUT_LABEL else source.path
    advice = advise(examined.attribution, rules, predict=predict, recorded_as=made_by, path=path, slowdown=slowdown)
    return Diagnosis(
        trace=TraceSummary.of(source),
        attribution=examined.attribution,
        advice=advice,
        picture=examined.picture([finding.rows for finding in advice.findings]) if picture else None,
        shapes=operator_shapes(source) if shapes else {},
    )


def finish_recording(source: Path | BinaryIO | Sequence[Path]) -> None:
    """Finish the recording that a folder holds, where whoever made it could not."""
    if isinstance(source, (str, os.PathLike)) and os.path.isdir(os.path.join(source, WORK)):  # noqa: PTH112, PTH118
        from pathlib import Path as Folder

        from perfkit.record.collect import finish

        finish(Folder(source))


def recorded(diagnosis: Diagnosis, source: Path | BinaryIO | Sequence[Path]) -> Diagnosis:
    """Add how the traces came to be, where they are in the folder of a recording."""
    recording = recording_at(source)
    if recording is None:
        return diagnosis
    return diagnosis._replace(recording=recording, energy=energy_of(diagnosis, recording.sensors))


def recording_at(source: Path | BinaryIO | Sequence[Path]) -> Recording | None:
    """Return how the traces of a folder came to be, where `perfkit record` made it."""
    if not isinstance(source, (str, os.PathLike)) or not is_folder(source) or is_url(os.fspath(source)):
        return None
    return read_recording(source)


def slowdown_of(recording: Recording | None, path: str) -> tuple[float, float, float] | None:
    """Return how many times as long the steps of a trace took for being recorded, with its interval, where known."""
    processes = recording.processes if recording else ()
    return next((process.slowdown for process in processes if process.trace and path.endswith(process.trace)), None)


def energy_of(diagnosis: Diagnosis, sensors: SensorLog) -> tuple[Energy, ...]:
    """Return what each device took over the window of the timeline that the verdict speaks of."""
    timeline = next((line for line in diagnosis.attribution.timelines if line.id == diagnosis.advice.timeline), None)
    if timeline is None or diagnosis.trace.clock != "unix" or not sensors.samples:
        return ()
    from perfkit.attribute.energy import measure_energy

    epoch_ns = diagnosis.trace.epoch_ns
    return measure_energy(sensors, epoch_ns + timeline.start_ns, epoch_ns + timeline.end_ns, len(timeline.steps))


def in_order(found: Sequence[str], source: Path | BinaryIO | Sequence[Path]) -> list[str]:
    """Return files in the order in which they were named, those of folders after them."""
    named = [os.fspath(path) for path in source] if isinstance(source, Sequence) else []
    return sorted(found, key=lambda path: named.index(path) if path in named else len(named))


def of_kernels(paths: Sequence[Path], progress: Callable[[int, int | None], None] | None) -> Diagnosis:
    """Diagnose kernels without a timeline."""
    from perfkit.pipeline.profiles import diagnose_kernels

    return diagnose_kernels(paths, progress)


def beside(diagnosis: Diagnosis, kernels: Sequence[Path]) -> Diagnosis:
    """Put profiled kernels beside a diagnosis."""
    if not kernels:
        return diagnosis
    from perfkit.attribute.kernel_limits import match
    from perfkit.pipeline.profiles import read_profiles

    profiles, _, defects = read_profiles(kernels)
    trace = diagnosis.trace._replace(defects=(*diagnosis.trace.defects, *defects))
    measures = match(diagnosis.attribution.kernels, profiles)
    return diagnosis._replace(trace=trace, profiles=profiles, measures=measures)


def files_at(source: Path | BinaryIO | Sequence[Path]) -> tuple[list[Found], str]:
    """Return the files in a folder or list, and what to call them together; none if it is one file or stream."""
    if isinstance(source, (str, os.PathLike)):
        paths = [os.fspath(source)] if is_folder(source) else []
    else:
        paths = [os.fspath(path) for path in source] if isinstance(source, Sequence) else []
    if not paths:
        return [], ""
    place = ", ".join(paths[:PLACES_SHOWN])
    if len(paths) > PLACES_SHOWN:
        place = f"{place} and {len(paths) - PLACES_SHOWN:,} more"
    return find(*paths), place
