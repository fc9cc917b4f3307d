"""``perfkit diff``."""

from __future__ import annotations

from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

import click

from perfkit.cli.diagnose import PAGE_OF_SUFFIX, pen_for
from perfkit.cli.output import STANDARD, deliver, refuse_overwriting
from perfkit.errors import UsageError
from perfkit.model.difference import ObstacleKind

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import TextIO

    from perfkit.model.difference import Difference

__all__ = ["command"]

Format = Literal["text", "markdown", "json", "html"]

SEPARATOR: Final = "--"
APART: Final = "\0"
"""What stands for the separator while options are parsed, which may then come after it, too; no file is called so."""
STATUS: Final = {"slower": 1, "not_comparable": 3}
"""Exit status of the verdicts that a caller may ask to fail on."""
OBSTACLES: Final = tuple(kind for kind in get_args(ObstacleKind) if kind != "empty")


class DiffCommand(click.Command):
    """A command whose arguments are two lists with ``--`` between them."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Keep the separator, which click would drop."""
        return super().parse_args(ctx, [APART if word == SEPARATOR else word for word in args])


@click.command(
    "diff",
    cls=DiffCommand,
    options_metavar="[OPTIONS]",
    epilog="""\b
Examples:
  perfkit diff before.json.gz after.json.gz
  perfkit diff main*.json.gz -- branch*.json.gz    # several runs a side
  perfkit diff before.json.gz after.sqlite         # of different profilers
  perfkit diff saved.json after.json.gz            # diagnose --format json
  perfkit diff before/ after/                      # folders of ranks
  perfkit diff before.json after.json --output comment.md
  perfkit diff before.json after.json -o page.html
  perfkit diff before.json after.json --fail-on slower

\b
Exit status: 0, or what --fail-on asks for (1 slower, 3 not comparable);
2 for a wrong request or unusable data.""",
)
@click.argument("paths", metavar="BASE... [--] HEAD...", nargs=-1, required=True)
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
    help="Compare the recorded steps without the first, or all of a device's activity.  [default: steps if any]",
)
@click.option(
    "--threshold",
    type=click.FloatRange(min=0, max=100),
    metavar="PERCENT",
    help="Smaller changes count as none.  [default: 1 for several runs a side, 3 for the steps of one, else 5]",
)
@click.option(
    "--allow",
    multiple=True,
    type=click.Choice(OBSTACLES),
    help="Compare although this differs; may be given again.",
)
@click.option("--top", type=click.IntRange(min=1), help="Rows of each table.  [default: a few; json: all]")
@click.option("--output", "-o", type=click.Path(dir_okay=False), help="File to write to instead of standard output.")
@click.option(
    "--fail-on",
    multiple=True,
    type=click.Choice(["slower", "not-comparable"]),
    help="End with status 1 if HEAD is slower, 3 if it cannot be compared; may be given again.",
)
@click.pass_context
def command(
    ctx: click.Context,
    /,
    *,
    paths: tuple[str, ...],
    form: Format | None,
    top: int | None,
    output: str | None,
    fail_on: tuple[str, ...],
    **asked: Any,
) -> None:
    """Say what changed between recordings, and why.

    BASE and HEAD are what `perfkit diagnose` takes, or what it wrote with --format json: a trace, or a folder with the
    ranks of one job. Several of each are several runs, and `--` stands between the sides.
    """
    base, head = sides(paths)
    file = None if output == STANDARD else output
    if file is not None:
        for path in (*base, *head):
            refuse_overwriting(file, path)
    form = form or PAGE_OF_SUFFIX.get(PurePath(file or "").suffix.lower(), "text")
    difference = read(base, head, **asked)
    deliver(lambda stream: draw(difference, form, top, stream), form, file)
    if difference.verdict.replace("_", "-") in fail_on:
        ctx.exit(STATUS[difference.verdict])


def sides(paths: Sequence[str]) -> tuple[list[str], list[str]]:
    """Tell the runs of the base from those of the head.

    Raises:
        UsageError: It is not clear which are which, or one of them is standard input.
    """
    if STANDARD in paths:
        message = "standard input cannot be a side: give two paths"
        raise UsageError(message)
    if paths.count(APART) == 1:
        at = paths.index(APART)
        base, head = list(paths[:at]), list(paths[at + 1 :])
        if base and head:
            return base, head
        message = f"no path {'after' if base else 'before'} `--`: give at least one on each side"
        raise UsageError(message)
    if len(paths) == 2 and APART not in paths:  # noqa: PLR2004  one a side
        return [paths[0]], [paths[1]]
    message = "give BASE and HEAD, or several runs of each with one `--` between: perfkit diff a1 a2 -- b1 b2"
    raise UsageError(message)


def read(base: Sequence[str], head: Sequence[str], threshold: float | None, **asked: Any) -> Difference:
    """Compare, with a progress bar if it takes long."""
    from perfkit.cli.progress import LateProgress
    from perfkit.pipeline.diff import diff

    with LateProgress(f"reading {len(base) + len(head)} recordings") as progress:
        part = None if threshold is None else threshold / 100
        return diff(base, head, threshold=part, progress=progress, **asked)


def draw(difference: Difference, form: Format, top: int | None, stream: TextIO | None) -> str:
    """Draw a difference for a stream, or for a file if there is none."""
    if form == "json":
        from perfkit.report import diff_json

        return diff_json.draw(difference, top=top)
    if form == "markdown":
        from perfkit.report import diff_markdown

        return diff_markdown.draw(difference, top=top)
    if form == "html":
        from perfkit.report.page import difference as page

        return page.draw(difference, top=top)
    from perfkit.report import diff_text

    return diff_text.draw(difference, pen_for(stream), top=top)
