"""Draws a Forecast: text, Markdown, JSON."""

from __future__ import annotations

import math
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Final

import perfkit
from perfkit.model import prediction as nouns
from perfkit.model.quantity import count, duration, percent, sentence
from perfkit.report.json import write
from perfkit.report.labels import cause_label
from perfkit.report.markdown import bullets, code, prose, table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from perfkit.model.prediction import Forecast, Prediction, WhatIf
    from perfkit.report.pen import Pen

__all__ = ["SCHEMA", "change_words", "draw_json", "draw_markdown", "draw_text"]

SCHEMA: Final = "perfkit.what-if/1"
MOST_LINES: Final = 6
BUCKETS: Final = 4
ALWAYS: Final = (
    "Everything else stays as recorded: the length of each kernel and copy, host work, the order of launches; workers "
    "need for a batch what they did where one was waited for.",
    "Delays between launch and start that the trace does not show are its median ones; the interval has its shortest "
    "and longest tenth, and two standard errors of the predicted steps.",
)
"""What every prediction takes for granted."""
WORDS: Final[Mapping[type, Callable[[Any, str], str]]] = {
    nouns.CaptureGraph: lambda _, which: f"launches{which or ' of each step'} in one CUDA graph",
    nouns.FuseKernels: lambda change, which: f"kernels{which or f' of {len(change.runs):,} sets'} fused",
    nouns.OverlapCollectives: lambda _, which: f"collectives{which} overlapped",
    nouns.OverlapCopies: lambda _, which: f"copies{which} overlapped",
    nouns.OverlapLoader: lambda change, _: (
        f"data loaded by {count(change.workers, 'worker') if change.workers else 'workers'}"
    ),
    nouns.RemoveHostTime: lambda change, which: f"the time of {cause_label(change.cause)}{which} removed",
    nouns.RemoveSync: lambda change, which: f"synchronization{which} {'a step late' if change.deferred else 'removed'}",
    nouns.ScaleBatch: lambda change, _: f"batches {change.factor:g} times as large",
    nouns.SpeedUp: lambda change, which: f"kernels and operators{which} {change.factor:g} times as fast",
    nouns.SpeedUpLoader: lambda change, _: f"data loaded {change.factor:g} times as fast",
}
"""Kind of change to what it is called, given which events it is about."""


def change_words(change: WhatIf) -> str:
    """Say what a change is, to follow `with` and its like."""
    return WORDS[type(change)](change, which_words(getattr(change, "which", nouns.EVERYTHING)))


def which_words(which: nouns.Which) -> str:
    """Say which events are meant."""
    names = [*which.names, *(f"at {line}" for line in which.where), *(f"on {thread}" for thread in which.threads)]
    rows = [count(len(which.rows), "event")] if which.rows else []
    return f" ({', '.join([*names, *rows])})" if names or rows else ""


def headline(prediction: Prediction) -> str:
    """Say in a sentence what a timeline would take."""
    steps = len(prediction.measured_step_ns)
    unit = "step" if steps > 1 else "window"
    before, after = prediction.measured_ns / steps, prediction.predicted_ns / steps
    low, high = duration(prediction.low_ns / steps), duration(prediction.high_ns / steps)
    verb = less_or_more(after, before) if round(before - after) else "no change"
    about = "about " if prediction.rough else ""
    return f"{about}{duration(after)} a {unit} instead of {duration(before)} ({verb}), somewhere from {low} to {high}."


def less_or_more(after: float, before: float) -> str:
    """Say how much less or more something takes."""
    if after <= before:
        return f"{percent(before - after, before)} less"
    return f"{percent(after - before, before)} more"


def facts(prediction: Prediction) -> Iterator[str]:
    """Yield what else there is to say, as sentences."""
    for change, matched in zip(prediction.what_if, prediction.matched, strict=True):
        yield f"{sentence(change_words(change))[:-1]}: {count(matched, 'event')}."
    factor = math.prod(change.factor for change in prediction.what_if if isinstance(change, nouns.ScaleBatch))
    if factor != 1:
        each = [ns / factor for ns in (prediction.predicted_ns, prediction.high_ns, prediction.low_ns)]
        usual, one, other = (less_or_more(ns, prediction.measured_ns) for ns in each)
        if one.rpartition(" ")[2] == other.rpartition(" ")[2]:
            one = one.rpartition(" ")[0]
        yield f"For as many items as before it takes {usual}, somewhere from {one} to {other}."
    if prediction.bottleneck:
        largest = sorted(prediction.buckets.items(), key=lambda item: -item[1])[:BUCKETS]
        whole = sum(prediction.buckets.values())
        named = ", ".join(f"{cause_label(name)} {percent(ns, whole)}" for name, ns in largest if ns)
        yield f"Of the time then: {named}."
    yield f"Fidelity: without a change, the model reproduces {percent(prediction.fidelity)} of what was measured."


def draw_text(forecast: Forecast, pen: Pen) -> str:
    """Return the text, each line ending in a line break and no longer than the pen's width."""
    lines = []
    for prediction in forecast.predictions:
        lines += [pen.paint(line, "heading") for line in pen.wrap(title(prediction), pen.width, MOST_LINES)]
        lines += [pen.paint(line, "good") for line in pen.wrap(headline(prediction), pen.width, MOST_LINES)]
        for fact in facts(prediction):
            lines += [f"  {line}" for line in pen.wrap(fact, pen.width - 2, MOST_LINES)]
        lines += ["", pen.paint("Taken for granted", "heading")]
        for assumption in (*prediction.assumptions, *ALWAYS):
            first, *others = pen.wrap(assumption, pen.width - 4, MOST_LINES)
            lines += [f"  - {first}", *(f"    {line}" for line in others)]
        lines.append("")
    return "\n".join(line.rstrip() for line in lines[:-1]) + "\n"


def title(prediction: Prediction) -> str:
    """Name the timeline and the changes."""
    return f"{prediction.timeline}: {' and '.join(map(change_words, prediction.what_if))}"


def draw_markdown(forecast: Forecast) -> str:
    """Return GitHub-flavoured Markdown."""
    parts = [f"{code(PurePath(forecast.trace.path).name or forecast.trace.path)}: what if?"]
    for prediction in forecast.predictions:
        rows = [
            (prose(name), duration(before), duration(after), duration(after - before))
            for name, before, after in steps(prediction)
        ]
        parts += [
            f"**{prose(title(prediction))}**",
            f"**{prose(headline(prediction))}**",
            bullets(map(prose, facts(prediction))),
            table(("Step", "Measured", "Predicted", "Change"), "lrrr", rows),
            "Taken for granted:",
            bullets(map(prose, (*prediction.assumptions, *ALWAYS))),
        ]
    return "\n\n".join(parts) + "\n"


def steps(prediction: Prediction) -> Iterator[tuple[str, int, int]]:
    """Yield the first steps, and the whole window."""
    pairs = zip(prediction.measured_step_ns, prediction.predicted_step_ns, strict=True)
    several = list(pairs) if len(prediction.measured_step_ns) > 1 else []
    for number, (before, after) in enumerate(several[:10], 1):
        yield f"{number}", before, after
    yield "window", prediction.measured_ns, prediction.predicted_ns


def draw_json(forecast: Forecast) -> str:
    """Return the JSON text, ASCII only, ending in a line break."""
    return write(
        {
            "schema": SCHEMA,
            "perfkit": perfkit.__version__,
            "trace": {"path": forecast.trace.path, "format": forecast.trace.format, "rank": forecast.trace.rank},
            "predictions": [prediction_document(prediction) for prediction in forecast.predictions],
        }
    )


def prediction_document(prediction: Prediction) -> dict[str, Any]:
    """Describe a prediction."""
    changes = [
        {"kind": type(change).__name__, "says": change_words(change), "events": matched}
        for change, matched in zip(prediction.what_if, prediction.matched, strict=True)
    ]
    return {
        **prediction._asdict(),
        "what_if": changes,
        "assumptions": [*prediction.assumptions, *ALWAYS],
        "saving_ns": prediction.saving_ns,
        "rough": prediction.rough,
        "bottleneck": prediction.bottleneck,
    }
