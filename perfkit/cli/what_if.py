"""``perfkit what-if``."""

from __future__ import annotations

import math
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Final, Literal

import click

from perfkit.cli.diagnose import FORMAT_OF_SUFFIX, pen_for
from perfkit.cli.output import STANDARD, deliver, refuse_overwriting
from perfkit.errors import UsageError
from perfkit.model import prediction as what

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TextIO

    from perfkit.model.prediction import Forecast, WhatIf, Which

__all__ = ["command"]

Format = Literal["text", "markdown", "json"]

CAUSES: Final = (
    "allocation",
    "compilation",
    "host_compute",
    "initialization",
    "launch_overhead",
    "operator_dispatch",
    "os_wait",
    "profiler_overhead",
    "python",
)


LEAST, MOST = 0.001, 1_000_000


class Factor(click.FloatRange):
    """A number of times that can be computed with; nan is none."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the number."""
        found = super().convert(value, param, ctx)
        return self.fail(f"{value!r} is no number.", param, ctx) if math.isnan(found) else found


@click.command(
    "what-if",
    options_metavar="[OPTIONS]",
    epilog="""\b
Examples:
  perfkit what-if trace.json.gz --overlap loader
  perfkit what-if trace.json.gz --overlap loader --workers 4
  perfkit what-if trace.json.gz --remove sync --overlap copies
  perfkit what-if trace.json.gz --remove sync:cudaDeviceSynchronize
  perfkit what-if trace.json.gz --remove "sync@train.py(31)"
  perfkit what-if trace.json.gz --faster aten::mm=2 --faster loader=3
  perfkit what-if trace.json.gz --fuse "*elementwise*" --capture
  perfkit what-if trace.json.gz --batch 2 --format json""",
)
@click.argument("path", metavar="PATH")
@click.option(
    "--overlap",
    multiple=True,
    type=click.Choice(["loader", "copies", "collectives"]),
    help="Loading in worker processes, copies from pinned memory, or collectives, beside the computation.",
)
@click.option("--workers", type=click.IntRange(min=1), help="With --overlap loader: so many.  [default: enough]")
@click.option(
    "--remove",
    multiple=True,
    metavar="WHAT[:NAME][@LINE]",
    help=f"sync, or host time of {', '.join(CAUSES)}; of calls or operators of that name, from that line of Python.",
)
@click.option("--defer", multiple=True, metavar="sync[:NAME][@LINE]", help="Synchronization a step later.")
@click.option(
    "--faster", multiple=True, metavar="NAME=FACTOR", help="A kernel or operator (or loader) so many times as fast."
)
@click.option("--fuse", multiple=True, metavar="NAME", help="Each run of such kernels as one kernel.")
@click.option(
    "--capture", is_flag=False, flag_value="*", multiple=True, metavar="NAME", help="Launches in a CUDA graph a step."
)
@click.option("--batch", type=Factor(LEAST, MOST), metavar="FACTOR", help="Batches so many times as large.")
@click.option("--window", type=click.Choice(["steps", "device-span"]), help="What to predict.  [default: steps if any]")
@click.option("--rank", type=click.IntRange(min=0), help="Which trace of a folder to read.")
@click.option(
    "--format",
    "-f",
    "form",
    type=click.Choice(["text", "markdown", "json"]),
    help="What to print.  [default: by the suffix of --output, else text]",
)
@click.option("--output", "-o", type=click.Path(dir_okay=False), help="File to write to instead of standard output.")
def command(
    *,
    path: str,
    form: Format | None,
    output: str | None,
    window: Literal["steps", "device-span"] | None,
    rank: int | None,
    **asked: Any,
) -> None:
    """Predict what a change would save, by replaying the trace.

    All changes are made together. NAME is a name in the trace in full, `*` in it stands for any text; LINE is the
    beginning of a line of Python as `perfkit diagnose` prints it.
    """
    changes = tuple(parse(**asked))
    file = None if output == STANDARD else output
    if file is not None and path != STANDARD:
        refuse_overwriting(file, path)
    forecast = predict(path, changes, window, rank)
    check(forecast, path)
    form = form or FORMAT_OF_SUFFIX.get(PurePath(file or "").suffix.lower(), "text")
    deliver(lambda stream: draw(forecast, form, stream), form, file)


def parse(  # noqa: PLR0913  an option each
    *,
    overlap: tuple[str, ...],
    workers: int | None,
    remove: tuple[str, ...],
    defer: tuple[str, ...],
    faster: tuple[str, ...],
    fuse: tuple[str, ...],
    capture: tuple[str, ...],
    batch: float | None,
) -> Iterator[WhatIf]:
    """Turn options into changes."""
    if workers and "loader" not in overlap:
        message = "--workers says how many load data: give --overlap loader, too"
        raise UsageError(message)
    kinds: dict[str, WhatIf] = {
        "loader": what.OverlapLoader(workers or 0),
        "copies": what.OverlapCopies(),
        "collectives": what.OverlapCollectives(),
    }
    yield from (kinds[name] for name in overlap)
    for text in remove:
        subject, which = split(text)
        if subject != "sync" and subject not in CAUSES:
            message = f"--remove {subject} is nothing that can be removed: sync, {', '.join(CAUSES)}"
            raise UsageError(message)
        yield what.RemoveSync(which) if subject == "sync" else what.RemoveHostTime(subject, which)
    for text in defer:
        subject, which = split(text)
        if subject != "sync":
            message = f"--defer {subject}: only sync can be deferred"
            raise UsageError(message)
        yield what.RemoveSync(which, deferred=True)
    for text in faster:
        name, factor = named_factor(text)
        yield what.SpeedUpLoader(factor) if name == "loader" else what.SpeedUp(what.Which(names=(name,)), factor)
    yield from (what.FuseKernels(what.Which(names=(name,))) for name in fuse)
    yield from (what.CaptureGraph(what.EVERYTHING if name == "*" else what.Which(names=(name,))) for name in capture)
    if batch is not None:
        yield what.ScaleBatch(batch)


def split(text: str) -> tuple[str, Which]:
    """Take ``WHAT[:NAME][@LINE]`` apart."""
    text, at, line = text.partition("@")
    subject, colon, name = text.partition(":")
    return subject, what.Which(names=(name,) if colon else (), where=(line,) if at else ())


def named_factor(text: str) -> tuple[str, float]:
    """Take ``NAME=FACTOR`` apart."""
    name, _, factor = text.rpartition("=")
    try:
        value = float(factor)
    except ValueError:
        value = 0.0
    if not name or not LEAST <= value <= MOST:
        message = f"--faster {text} has no factor from {LEAST:g} to {MOST:,.0f}: write it as in --faster aten::mm=2"
        raise UsageError(message)
    return name, value


def predict(
    path: str, changes: tuple[WhatIf, ...], window: Literal["steps", "device-span"] | None, rank: int | None
) -> Forecast:
    """Predict, with a progress bar if reading takes long."""
    from perfkit.cli.progress import LateProgress
    from perfkit.pipeline.what_if import what_if

    with LateProgress(f"reading {PurePath(path).name}") as progress:
        return what_if(path, *changes, window=window, rank=rank, progress=progress)


def check(forecast: Forecast, path: str) -> None:
    """Make sure that every change is about something.

    Raises:
        UsageError: There is no such event, or nothing to replay.
    """
    from perfkit.report.forecast import change_words

    if not forecast.predictions:
        message = f"{path} has no events to replay"
        raise UsageError(message)
    for place, change in enumerate(forecast.predictions[0].what_if):
        if not any(prediction.matched[place] for prediction in forecast.predictions):
            message = f"{path} has nothing that could be changed for {change_words(change)!r}"
            if getattr(change, "which", what.EVERYTHING) != what.EVERYTHING:
                message += ": give a name in full, or with `*`, as in '*gemm*'; `perfkit diagnose` has them"
            raise UsageError(message)


def draw(forecast: Forecast, form: Format, stream: TextIO | None) -> str:
    """Draw a forecast for a stream, or for a file if there is none."""
    from perfkit.report import forecast as report

    if form == "json":
        return report.draw_json(forecast)
    if form == "markdown":
        return report.draw_markdown(forecast)
    return report.draw_text(forecast, pen_for(stream))
