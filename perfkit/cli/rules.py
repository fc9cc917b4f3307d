"""``perfkit rules``."""

from __future__ import annotations

import click

__all__ = ["command"]


@click.command("rules")
def command() -> None:
    """List the faults that perfkit knows."""
    from perfkit.advise import RULES

    width = max(len(rule.name) for rule in RULES)
    for rule in RULES:
        click.echo(f"{rule.code}  {rule.name:<{width}}  {rule.title}")
