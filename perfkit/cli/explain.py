"""``perfkit explain``."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

__all__ = ["command"]


def complete(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer the codes that begin with what was typed."""
    from click.shell_completion import CompletionItem

    from perfkit.advise.registry import installed

    rules = installed().rules
    return [CompletionItem(rule.code, help=rule.title) for rule in rules if rule.code.startswith(incomplete.upper())]


@click.command("explain", short_help="Explain a fault, and how to repair it.")
@click.argument("rule", shell_complete=complete)
def command(rule: str) -> None:
    """Explain a fault: what RULE looks for, why that is slow, and how to repair it.

    RULE is a code or a name from `perfkit rules`, such as PK101 or loader-starves-device.
    """
    from perfkit.advise.registry import installed, look_up

    found = look_up(rule, installed())
    title, _, body = found.documentation.strip().partition("\n")
    body = re.sub(r"^(\S.*):$", lambda heading: click.style(heading[1], bold=True), body, flags=re.MULTILINE)
    click.echo(f"{click.style(title, bold=True)}\n{body}")
