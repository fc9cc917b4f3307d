"""From a trace and some changes to a Forecast."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final, Literal

from perfkit.attribute import attribute, examine
from perfkit.errors import UsageError
from perfkit.ingest import choose_among, find, is_folder, load
from perfkit.ingest.compiled import compiled
from perfkit.model.diagnosis import TraceSummary
from perfkit.model.prediction import Forecast
from perfkit.model.trace import Trace
from perfkit.simulate.engine import Twin
from perfkit.simulate.simulation import Simulation

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import BinaryIO

    from perfkit.attribute import Examined
    from perfkit.model.attribution import Attribution
    from perfkit.model.prediction import Prediction, WhatIf

    Path = str | os.PathLike[str]

__all__ = ["simulation", "what_if"]

SAME_STEPS: Final = 0.02
"""How far the attribution of a changed trace may be from what was predicted, and still be that of the same time."""


def simulation(examined: Examined) -> Simulation:
    """Return the replay of an examined trace, computed by the compiled module where there is one."""
    return Simulation(examined.program, examined.selection, compiled() or Twin())


def what_if(
    source: Path | BinaryIO | Trace,
    *changes: WhatIf,
    window: Literal["steps", "device-span"] | None = None,
    rank: int | None = None,
    progress: Callable[[int, int | None], None] | None = None,
) -> Forecast:
    """Predict what a recorded program would take with changes made, all of them together.

    Args:
        source: A file, a folder of ranks (with ``rank``), ``-`` for standard input, a binary file object, or a Trace.
        changes: The changes, of `perfkit.model.prediction`.
        window: ``steps`` for the recorded steps without the first, ``device-span`` for all activity of each device;
            None for steps where there are some.
        rank: Which of several traces to read.
        progress: Called now and then with the bytes read, and how many there are (None if not known).

    Returns:
        A prediction for each timeline: none where the trace has no events.

    Raises:
        UnreadableTraceError: The file cannot be read.
        UnknownFormatError: It is not a trace.
        UsageError: No change is given, or the traces of several ranks.
    """
    if not changes:
        message = "no change is asked for: say what would be different"
        raise UsageError(message)
    trace = source if isinstance(source, Trace) else read(source, rank, progress)
    chosen = window or "steps"
    replay = simulation(examine(trace, window=chosen))
    predictions = []
    for timeline in replay.timelines():
        prediction = replay.predict(*changes, timeline=timeline)
        if prediction is not None:
            after = attribute(replay.recast(trace, *changes, timeline=timeline), window=chosen)
            predictions.append(with_buckets(prediction, after))
    return Forecast(TraceSummary.of(trace), tuple(predictions))


def read(source: Path | BinaryIO, rank: int | None, progress: Callable[[int, int | None], None] | None) -> Trace:
    """Read the one trace that is meant."""
    if isinstance(source, (str, os.PathLike)) and is_folder(source):
        found = [file for file in find(source) if file.holds == "timeline"]
        if len(found) > 1 and rank is None:
            known = any(trace.rank is not None for trace in found)
            which = "say which one, as in --rank 0" if known else "give one of them"
            message = f"{os.fspath(source)} has the traces of {len(found)} {'ranks' if known else 'processes'}: {which}"
            raise UsageError(message)
        source = choose_among(found, rank, os.fspath(source)).path
    return load(source, rank=rank, progress=progress)


def with_buckets(prediction: Prediction, after: Attribution) -> Prediction:
    """Say who owns the time of a timeline once the changes are made; nobody where its steps come to lie otherwise."""
    for timeline in after.timelines:
        if timeline.id == prediction.timeline:
            buckets = {**timeline.busy, **timeline.idle}
            if abs(sum(buckets.values()) - prediction.predicted_ns) <= SAME_STEPS * prediction.predicted_ns:
                return prediction._replace(buckets=buckets)
    return prediction
