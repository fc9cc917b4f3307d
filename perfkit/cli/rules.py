"""``perfkit rules``."""

from __future__ import annotations

import click

__all__ = ["command"]


@click.command(
    "rules",
    epilog="""\b
Some can be switched off: `perfkit diagnose --ignore PK304,PK9`, or for a
project, in its pyproject.toml:
  [tool.perfkit]
  ignore = ["PK304", "PK9"]""",
)
def command() -> None:
    """List the faults that perfkit knows.

    Installed packages can add some.
    """
    from perfkit.advise.registry import installed

    found = installed()
    width = max(len(rule.name) for rule in found.rules)
    for rule in found.rules:
        click.echo(f"{rule.code}  {rule.name:<{width}}  {rule.title}")
    for problem in found.problems:
        click.echo(f"perfkit: warning: {problem}", err=True)
