"""``perfkit explain``."""

from __future__ import annotations

import difflib
import itertools
import re
from typing import TYPE_CHECKING

import click

from perfkit.errors import UsageError

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from perfkit.advise import Rule

__all__ = ["command"]


def complete(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer the codes that begin with what was typed."""
    from click.shell_completion import CompletionItem

    from perfkit.advise import RULES

    return [CompletionItem(rule.code, help=rule.title) for rule in RULES if rule.code.startswith(incomplete.upper())]


@click.command("explain", short_help="Explain a fault, and how to repair it.")
@click.argument("rule", shell_complete=complete)
def command(rule: str) -> None:
    """Explain a fault: what RULE looks for, why that is slow, and how to repair it.

    RULE is a code or a name from `perfkit rules`, such as PK101 or loader-starves-device.
    """
    found = look_up(rule)
    title, _, body = found.documentation.strip().partition("\n")
    body = re.sub(r"^(\S.*):$", lambda heading: click.style(heading[1], bold=True), body, flags=re.MULTILINE)
    click.echo(f"{click.style(title, bold=True)}\n{body}")


def look_up(wanted: str) -> Rule:
    """Return the rule of this code or name.

    Raises:
        UsageError: There is none.
    """
    from perfkit.advise import RULES

    by_name = {name: rule for rule in RULES for name in (rule.code.lower(), rule.name)}
    found = by_name.get(wanted.lower())
    if found is None:
        close = difflib.get_close_matches(wanted.lower(), by_name)
        # Of codes that are equally close, the one that begins with the same letters.
        alike = max(close, key=lambda name: begins_alike(name, wanted.lower()), default="")
        hint = f"did you mean {by_name[alike].code}?" if close else "`perfkit rules` lists them"
        message = f"there is no rule {wanted!r}: {hint}"
        raise UsageError(message)
    return found


def begins_alike(one: str, other: str) -> int:
    """Return how many characters two texts begin with alike."""
    return sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))
