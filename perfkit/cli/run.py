"""``perfkit run``."""

from __future__ import annotations

import os
import sys

import click

from perfkit.errors import UsageError

__all__ = ["command"]


@click.command(
    "run",
    short_help="Run a program so that it can be diagnosed while it runs.",
    context_settings={"allow_interspersed_args": False},
    epilog="""\b
Examples:
  perfkit run -- uvicorn service:app &
  perfkit diagnose --pid $! --duration 5s
  perfkit run -- torchrun --nproc-per-node 4 train.py""",
)
@click.argument("program", metavar="COMMAND...", nargs=-1, required=True, type=click.UNPROCESSED)
def command(*, program: tuple[str, ...]) -> None:
    """Run COMMAND in place of perfkit, ready for `perfkit diagnose --pid`.

    The profiler of torch in it, and in the processes that it starts, asks every few seconds whether to record. That is
    all: KINETO_USE_DAEMON=1 in its environment does the same. COMMAND keeps this process id.
    """
    if not sys.platform.startswith("linux"):
        message = "`perfkit run` needs Linux: use `perfkit diagnose -- COMMAND` instead"
        raise UsageError(message)
    variables = {"KINETO_LOG_LEVEL": "99", **os.environ, "KINETO_USE_DAEMON": "1"}
    try:
        os.execvpe(program[0], list(program), variables)
    except OSError as error:
        message = f"{program[0]} cannot be run: {error.strerror or error}"
        raise UsageError(message) from error
