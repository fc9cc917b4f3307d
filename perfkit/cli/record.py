"""``perfkit record``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from perfkit.cli.program import record_into, recording_options

__all__ = ["command"]


@click.command(
    "record",
    short_help="Run a program and record some of its steps.",
    context_settings={"allow_interspersed_args": False},
    epilog="""\b
Examples:
  perfkit record -- python train.py --epochs 3
  perfkit record --stacks --shapes -- python -m package.train
  perfkit record --warmup 50 --stop -- torchrun --nproc-per-node 4 train.py
  perfkit record --duration 5s --after 20s -- python serve.py
  perfkit diagnose perfkit-20260131-120000      # what was recorded""",
)
@click.argument("program", metavar="COMMAND...", nargs=-1, required=True, type=click.UNPROCESSED)
@click.option("--output", "-o", type=click.Path(), help="Folder to write to.  [default: perfkit-DATE-TIME]")
@recording_options()
@click.pass_context
def command(context: click.Context, /, *, program: tuple[str, ...], output: str | None, **asked: Any) -> None:
    """Run COMMAND and record some of its steps, with no change to the program.

    Steps are seen from its optimizer, its DataLoader or its own profiler. All threads are recorded, and each Python
    process that uses torch; DataLoader workers are timed. The folder is for `perfkit diagnose`. The exit status is that
    of COMMAND, or 2 if nothing was recorded.
    """
    from perfkit.record import default_folder

    stop = asked["stop"]
    recording = record_into(Path(output) if output else default_folder(), program, asked)
    status = recording.exit_status or 0
    context.exit(0 if stop else 128 - status if status < 0 else status)
