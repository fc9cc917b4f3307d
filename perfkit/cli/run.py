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

    The profiler of torch in it, and in the processes that it starts, asks every second whether to record; every
    five with nothing but KINETO_USE_DAEMON=1 in its environment. The requests that uvicorn serves are marked, so that
    traces tell them apart; --steps counts them where nothing is trained. COMMAND keeps this process id.
    """
    if not sys.platform.startswith("linux"):
        message = "`perfkit run` needs Linux: use `perfkit diagnose -- COMMAND` instead"
        raise UsageError(message)
    from perfkit.record.launch import ready

    try:
        os.execvpe(program[0], list(program), ready())
    except OSError as error:
        message = f"{program[0]} cannot be run: {error.strerror or error}"
        raise UsageError(message) from error
