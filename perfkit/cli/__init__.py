"""The command line. Commands, and with them everything heavy, are imported when they are called."""

from __future__ import annotations

import difflib
import signal
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from perfkit import __version__
from perfkit.errors import PerfkitError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["cli", "main"]

COMMANDS: Final[Mapping[str, str]] = {
    "completion": "perfkit.cli.completion",
    "diagnose": "perfkit.cli.diagnose",
    "diff": "perfkit.cli.diff",
    "export": "perfkit.cli.export",
    "explain": "perfkit.cli.explain",
    "record": "perfkit.cli.record",
    "rules": "perfkit.cli.rules",
    "what-if": "perfkit.cli.what_if",
    "run": "perfkit.cli.run",
}
"""Name of each command, and the module that holds it as ``command``."""

INTERRUPTED: Final = 130
ENDINGS: Final = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))
BROKEN_PIPE: Final = 141
"""What a shell reports of a program that the signal of a closed pipe has ended."""


class LazyGroup(click.Group):
    """Commands that are imported when they are looked up."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Name the commands in order."""
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(COMMANDS[cmd_name]).command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that is asked for; what is none may be near one, or what `diagnose` reads."""
        if args[0] not in COMMANDS and not args[0].startswith("-"):
            close = difflib.get_close_matches(args[0], COMMANDS, 1)
            meant = f"{close[0]}" if close else f"diagnose {args[0]}" if Path(args[0]).exists() else ""
            if meant:
                ctx.fail(f"No such command {args[0]!r}. Did you mean `perfkit {meant}`?")
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> object:
        """Run a command; that its reader goes away early is no error."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            from perfkit.cli.output import abandon_standard_output

            abandon_standard_output()
            ctx.exit(BROKEN_PIPE)


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Try: perfkit diagnose trace.json.gz",
)
@click.version_option(__version__, "-V", "--version", prog_name="perfkit")
def cli() -> None:
    """Say where the time of a slow PyTorch program goes, and what would help."""


def main() -> None:
    """Run the command line and end the process: 0 for success, 2 for a wrong request or unusable data."""
    for number in ENDINGS:
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, ended)
    try:
        status = cli.main(prog_name="perfkit", standalone_mode=False)
    except PerfkitError as error:
        click.echo(f"perfkit: error: {error}", err=True)
        status = error.exit_code
    except click.ClickException as error:
        error.show()
        status = error.exit_code
    except (click.Abort, KeyboardInterrupt):
        status = INTERRUPTED
    sys.exit(status)


def ended(number: int, _: object) -> None:
    """End by a signal as by an error, so that whatever was begun cleans up after itself."""
    sys.exit(128 + number)
