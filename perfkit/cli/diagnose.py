"""``perfkit diagnose``."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Final, Literal

import click

from perfkit.cli.load import diagnose_url, load_options, take_options
from perfkit.cli.output import STANDARD, deliver, refuse_overwriting
from perfkit.cli.program import PROGRAM, CommandOrProgram, attach_into, carbon_of, record_into, recording_options
from perfkit.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import TextIO

    from perfkit.model.diagnosis import Diagnosis
    from perfkit.report.pen import Pen

__all__ = ["command"]

TextFormat = Literal["text", "markdown", "json"]
Format = Literal["text", "markdown", "json", "html"]
Window = Literal["steps", "device-span"]

FORMAT_OF_SUFFIX: Final[Mapping[str, TextFormat]] = {".json": "json", ".md": "markdown", ".markdown": "markdown"}
PAGE_OF_SUFFIX: Final[Mapping[str, Format]] = {**FORMAT_OF_SUFFIX, ".html": "html", ".htm": "html"}
FILE_WIDTH: Final = 100
PIPE_WIDTH: Final = 80


@click.command(
    "diagnose",
    cls=CommandOrProgram,
    options_metavar="[OPTIONS]",
    short_help="Say where the time of a program goes.",
    epilog="""\b
Examples:
  perfkit diagnose trace.json.gz
  perfkit diagnose -- python train.py     # runs and records it first
  perfkit diagnose --pid 4711 --duration 5s
  perfkit diagnose --url http://localhost:8000/run --rate 50 --body body.json
  perfkit diagnose --url http://localhost:8000 --openai --model NAME
  perfkit diagnose --url http://localhost:8000/run --find-capacity
  perfkit diagnose ranks/                 # compares the ranks
  perfkit diagnose ranks/ --rank 3
  perfkit diagnose trace.json.gz --format json | jq .verdict
  perfkit diagnose kernel.ncu-rep         # of Nsight Compute, or ncu --csv
  perfkit diagnose trace.json.gz --kernels kernel.ncu-rep
  perfkit diagnose trace.json.gz --output report.md
  perfkit diagnose trace.json.gz -o page.html   # to open in a browser
  perfkit diagnose trace.json.gz --ignore PK304,PK9
  curl -s https://example.com/trace.json.gz | perfkit diagnose -""",
)
@click.argument("paths", metavar="[PATH... | -- COMMAND...]", nargs=-1)
@click.option(
    "--format",
    "-f",
    "form",
    type=click.Choice(["text", "markdown", "json", "html"]),
    help="What to print.  [default: by the suffix of --output, else text]",
)
@click.option(
    "--window",
    type=click.Choice(["steps", "device-span"]),
    help="Look at the recorded steps without the first, or at all of a device's activity.  [default: steps if any]",
)
@click.option("--top", type=click.IntRange(min=1), help="Rows of each table.  [default: as many as fit; json: all]")
@click.option("--output", "-o", type=click.Path(dir_okay=False), help="File to write to instead of standard output.")
@click.option("--plots", type=click.Path(file_okay=False), help="Folder for the main pictures, as PNG and SVG.")
@click.option("--rank", type=click.IntRange(min=0), help="Look at this rank alone.  [default: compare all of a folder]")
@click.option(
    "--jobs", "-j", type=click.IntRange(min=1), help="Traces read at once.  [default: by processors and memory]"
)
@click.option(
    "--ray",
    is_flag=False,
    flag_value="local",
    metavar="ADDRESS",
    help="Read traces on a Ray cluster: --ray=HOST:PORT, --ray=auto, or --ray for one started here.",
)
@click.option("--kernels", "-k", multiple=True, metavar="REPORT", help="Nsight Compute report to put beside the trace.")
@click.option(
    "--select", metavar="RULES", help="Only these rules: codes such as PK304, PK3 for all of those, or names."
)
@click.option("--ignore", metavar="RULES", help="Not these rules; see `perfkit rules`.")
@recording_options("steps", "warmup", "duration", "stacks", "shapes", "stop")
@click.option(
    "--pid", multiple=True, type=click.IntRange(min=1), help="Record a process that runs; several may be given."
)
@click.option(
    "--carbon",
    metavar="G[,YEAR,SOURCE]",
    help="Intensity of your grid in g CO2e/kWh, or such as 0.4kg/kWh; its year and source: 400,2024,Ember.",
)
@click.option(
    "--pue", type=click.FloatRange(1.0), default=1.0, help="With --carbon: power usage effectiveness.  [default: 1]"
)
@load_options
@click.option("--folder", type=click.Path(), help="Where to keep what is recorded.  [default: perfkit-DATE-TIME]")
@click.option("--no-cache", is_flag=True, help="Do not use or keep summaries of ranks.")
def command(*, paths: tuple[str, ...], form: Format | None, top: int | None, output: str | None, **asked: Any) -> None:
    """Say where the time of the recorded program goes.

    PATH is a trace of the PyTorch Profiler (.json, .json.gz, .json.zst) or of Nsight Systems (.sqlite, .nsys-rep), or -
    for standard input. COMMAND is run, and some of its steps are recorded (`perfkit record` has more options for that).
    A folder or several traces are the ranks of one job: each is diagnosed, and all are compared. A service is loaded by
    --url: it is timed first, then traced for some seconds under the same load.
    """
    service, program = take_options(asked), click.get_current_context().meta.get(PROGRAM)
    carbon, plots = carbon_of(asked), asked.pop("plots")
    file = None if output == STANDARD else output
    form = form or PAGE_OF_SUFFIX.get(PurePath(file or "").suffix.lower(), "text")
    picture = form == "html" or plots is not None
    if service["url"] is not None:
        diagnosis = diagnose_url(service, asked, others=any((paths, program)), picture=picture)
    else:
        paths = readable(recorded(program, paths, asked), file)
        diagnosis = read(paths, picture=picture, shapes=form == "json", **asked)
    diagnosis = diagnosis._replace(carbon=carbon)
    if plots is not None:
        from perfkit.report.plots import draw as draw_plots

        draw_plots(diagnosis, plots)
    show(diagnosis, form, top, file)


def readable(paths: tuple[str, ...], file: str | None) -> tuple[str, ...]:
    """Make sure that paths can be read, and that none of them is the file to write to.

    Raises:
        UsageError: They cannot, or one is.
    """
    if STANDARD in paths and len(paths) > 1:
        message = "standard input holds one trace: give it alone"
        raise UsageError(message)
    if paths == (STANDARD,) and sys.stdin.isatty():
        message = "standard input is a terminal: pipe a trace into it, or give the path of one"
        raise UsageError(message)
    for path in paths:
        if file is not None and path != STANDARD:
            refuse_overwriting(file, path)
    return paths


def show(diagnosis: Diagnosis, form: Format, top: int | None, file: str | None) -> None:
    """Write a diagnosis to a file, or to standard output if there is none."""
    deliver(lambda stream: draw(diagnosis, form, top, stream), form, file)


def recorded(program: tuple[str, ...] | None, paths: tuple[str, ...], asked: dict[str, Any]) -> tuple[str, ...]:
    """Return what to read: what was given, or the folder into which a program has just been recorded."""
    given = {name: asked.pop(name) for name in ("steps", "warmup", "duration", "stacks", "shapes", "stop", "folder")}
    pids = asked.pop("pid")
    if program is None and not pids:
        for name, value in given.items():
            if value:
                message = f"--{name} is for recording: give a command after --, or a --pid"
                raise UsageError(message)
        if not paths:
            message = "nothing to diagnose: give a trace, a folder, a --pid, or a command after --"
            raise UsageError(message)
        return paths
    if sum(map(bool, (paths, pids, program is not None))) > 1 or program == ():
        message = "give one of these: a trace, a --pid, or a command after --"
        raise UsageError(message)
    from pathlib import Path

    from perfkit.record import default_folder

    folder = given.pop("folder")
    made = Path(folder) if folder else default_folder()
    if program is None:
        attach_into(made, pids, given)
    else:
        record_into(made, program, given)
    return (str(made),)


def read(  # noqa: PLR0913  an option each
    paths: Sequence[str],
    *,
    picture: bool,
    shapes: bool,
    window: Window | None,
    rank: int | None,
    kernels: Sequence[str],
    select: str | None,
    ignore: str | None,
    **means: Any,
) -> Diagnosis:
    """Diagnose, with a progress bar if it takes long; ``means`` are the options for many traces."""
    from perfkit.cli.progress import LateProgress
    from perfkit.cli.settings import chosen_rules
    from perfkit.ingest import is_folder
    from perfkit.pipeline.diagnose import diagnose

    source = paths[0] if len(paths) == 1 else paths
    rules = chosen_rules(select, ignore)
    label = f"reading {PurePath(paths[0]).name}" if len(paths) == 1 else f"reading {len(paths):,} traces"
    with LateProgress(label) as progress:
        if rank is None and (len(paths) > 1 or is_folder(paths[0])):
            from perfkit.pipeline.fleet import Means

            cache = not means.pop("no_cache")
            many = Means(cache=cache, **means)
            return diagnose(
                source, window=window, means=many, kernels=kernels, rules=rules, picture=picture, progress=progress
            )
        return diagnose(
            source,
            window=window,
            rank=rank,
            kernels=kernels,
            rules=rules,
            picture=picture,
            shapes=shapes,
            progress=progress,
        )


def draw(diagnosis: Diagnosis, form: Format, top: int | None, stream: TextIO | None) -> str:
    """Draw a diagnosis for a stream, or for a file if there is none."""
    if form == "json":
        from perfkit.report import json

        return json.draw(diagnosis, top=top)
    if form == "markdown":
        from perfkit.report import markdown

        return markdown.draw(diagnosis, top=top)
    if form == "html":
        from perfkit.report.page import diagnosis as page

        return page.draw(diagnosis, top=top)
    from perfkit.report import terminal

    height = shutil.get_terminal_size().lines if stream is not None and stream.isatty() else None
    return terminal.draw(diagnosis, pen_for(stream), height=height, top=top)


def pen_for(stream: TextIO | None) -> Pen:
    """Choose width, colour and character set for a stream: COLUMNS, NO_COLOR, TERM and the encoding have a say."""
    from perfkit.report.pen import Pen
    from perfkit.report.terminal import NARROWEST, WIDEST

    if stream is None:
        return Pen(width=FILE_WIDTH, colour=False, unicode=True)
    columns = shutil.get_terminal_size((PIPE_WIDTH, 24)).columns
    colour = stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    encoding = (stream.encoding or "").lower().replace("-", "")
    return Pen(width=max(NARROWEST, min(columns, WIDEST)), colour=colour, unicode=encoding.startswith("utf"))
