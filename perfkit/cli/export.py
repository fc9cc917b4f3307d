"""``perfkit export``."""

from __future__ import annotations

import gzip
from importlib import import_module
from pathlib import PurePath
from typing import TYPE_CHECKING, Literal

import click

from perfkit.cli.output import STANDARD, refuse_overwriting, write_file, write_standard_output
from perfkit.errors import UsageError

if TYPE_CHECKING:
    from perfkit.model.picture import Picture

__all__ = ["command"]


@click.command(
    "export",
    short_help="Write a trace for Perfetto, speedscope or pprof.",
    epilog="""\b
Examples:
  perfkit export trace.json.gz --to perfetto -o trace.perfetto.json.gz
  perfkit export report.sqlite --to perfetto -o report.json
  perfkit export trace.json.gz --to speedscope -o trace.speedscope.json
  perfkit export trace.json.gz --to pprof -o trace.pb.gz""",
)
@click.argument("path")
@click.option("--to", type=click.Choice(["perfetto", "speedscope", "pprof"]), required=True, help="The viewer.")
@click.option(
    "--output",
    "-o",
    type=click.Path(dir_okay=False),
    required=True,
    help="File to write, or - for standard output; .gz compresses.",
)
@click.option("--rank", type=click.IntRange(min=0), help="Which of several ranks in a folder.")
@click.option(
    "--window",
    type=click.Choice(["steps", "device-span"]),
    help="What owners of time and flame graphs are of.  [default: steps if any]",
)
def command(
    path: str,
    to: Literal["perfetto", "speedscope", "pprof"],
    output: str,
    rank: int | None,
    window: Literal["steps", "device-span"] | None,
) -> None:
    """Write a trace for another viewer, with who owns the time of each device.

    Perfetto (ui.perfetto.dev) gets every event, and the owners of time as a track; speedscope and pprof get the flame
    graphs of devices and host threads, by line of Python or by module. PATH is what `perfkit diagnose` takes.
    """
    refuse_overwriting(output, path)
    picture = read(path, rank, window)
    if to != "perfetto" and not picture.flames:
        message = f"{path} holds nothing for a flame graph: neither device work nor operators, calls or stacks"
        raise UsageError(message)
    drawn: str | bytes = import_module(f"perfkit.report.export.{to}").draw(picture, PurePath(path).name)
    data = drawn.encode("utf-8", "replace") if isinstance(drawn, str) else drawn
    if isinstance(drawn, str) and output.endswith(".gz"):
        data = gzip.compress(data, mtime=0)
    if output == STANDARD:
        write_standard_output(data)
    else:
        write_file(output, data)


def read(path: str, rank: int | None, window: Literal["steps", "device-span"] | None) -> Picture:
    """Read a trace as a whole, with a progress bar if it takes long."""
    from perfkit.cli.progress import LateProgress
    from perfkit.pipeline.export import picture

    with LateProgress(f"reading {PurePath(path).name}") as progress:
        return picture(path, rank=rank, window=window or "steps", progress=progress)
