"""What commands that run a program have in common: their options, and what they say."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import click

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from perfkit.model.energy import Carbon
    from perfkit.model.recording import Recording
    from perfkit.record.plan import Plan

__all__ = [
    "PROGRAM",
    "CommandOrProgram",
    "Seconds",
    "attach_into",
    "carbon_of",
    "plan_of",
    "record_into",
    "recording_options",
]

PROGRAM: Final = "perfkit.program"

INTENSITY: Final = re.compile(
    r"\s*(?P<number>\d+(?:\.\d*)?|\.\d+)\s*(?:(?P<unit>k?g)(?:\s*/\s*kWh)?)?"
    r"(?:\s*,\s*(?P<year>(?:19|20)\d\d)\s*,\s*(?P<source>\S.*?))?\s*"
)
UNITS: Final = {"ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


class Seconds(click.ParamType):  # type: ignore[type-arg]  # an older click has no parameter
    """A duration, such as ``500ms``, ``5s``, ``2m`` or ``5``; seconds."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the seconds."""
        if isinstance(value, float):
            return value
        found = re.fullmatch(r"(\d+(?:\.\d*)?|\.\d+)\s*(ms|s|m|h)?", str(value).strip())
        if found is None:
            self.fail(f"{value!r} is no duration: give one such as 500ms, 5s or 2m", param, ctx)
        return float(found[1]) * UNITS[found[2] or "s"]


class CommandOrProgram(click.Command):
    """A command that takes what follows ``--`` as a program to run, as ``context.meta[PROGRAM]``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Take the program away, and parse the rest."""
        if "--" in args:
            place = args.index("--")
            ctx.meta[PROGRAM] = tuple(args[place + 1 :])
            args = args[:place]
        return super().parse_args(ctx, args)


OPTIONS: Final = {
    "steps": click.option("--steps", type=click.IntRange(1, 10_000), help="Steps to record.  [default: 5]"),
    "warmup": click.option("--warmup", type=click.IntRange(0), help="Steps to let pass first.  [default: 10]"),
    "duration": click.option("--duration", type=Seconds(), help="Record so long instead of steps, such as 5s."),
    "after": click.option("--after", type=Seconds(), help="With --duration: let so long pass first.  [default: 5s]"),
    "shapes": click.option("--shapes", is_flag=True, help="Record the shapes of operators' inputs."),
    "stacks": click.option("--stacks", is_flag=True, help="Record the lines of Python. Costs time at each call."),
    "memory": click.option("--memory", is_flag=True, help="Record allocations."),
    "stop": click.option("--stop", is_flag=True, help="End the program once it is recorded."),
}


def recording_options(*names: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Add the options of these names, or all that say what to record."""

    def add(command: Callable[..., Any]) -> Callable[..., Any]:
        for name in reversed(names or tuple(OPTIONS)):
            command = OPTIONS[name](command)
        return command

    return add


def plan_of(asked: dict[str, Any]) -> Plan:
    """Return what to record, and take those options away."""
    from perfkit.record.plan import Plan

    names = {"steps": "steps", "warmup": "warmup", "duration": "duration_s", "after": "after_s"}
    numbers = {field: value for name, field in names.items() if (value := asked.pop(name, None)) is not None}
    return Plan(**numbers, **{name: asked.pop(name, False) for name in ("shapes", "stacks", "memory")})


def record_into(folder: Path, program: tuple[str, ...], asked: dict[str, Any]) -> Recording:
    """Run a program, record it, and say on standard error what was recorded and what it cost."""
    from perfkit.pipeline.record import record_program

    stop = asked.pop("stop")
    return told(record_program(program, plan_of(asked), folder, stop=stop), folder)


def attach_into(folder: Path, pids: tuple[int, ...], asked: dict[str, Any]) -> Recording:
    """Record processes that run, and say on standard error what was recorded."""
    from perfkit.record.attach import attach

    asked.pop("stop")
    by_steps = asked["steps"] is not None and asked["duration"] is None
    return told(attach(pids, plan_of(asked), folder, by_steps=by_steps), folder)


def told(recording: Recording, folder: Path) -> Recording:
    """Say on standard error what was recorded."""
    from perfkit.report.recording import sentences

    for sentence in sentences(recording):
        click.echo(f"perfkit: {sentence}", err=True)
    click.echo(f"perfkit: written to {folder}", err=True)
    return recording


def carbon_of(asked: dict[str, Any]) -> Carbon | None:
    """Return what turns energy into carbon, and take those options away.

    Raises:
        UsageError: It is no intensity, or one with a year and no source.
    """
    text, pue = asked.pop("carbon"), asked.pop("pue")
    if text is None:
        return None
    from perfkit.errors import UsageError
    from perfkit.model.energy import Carbon

    found = INTENSITY.fullmatch(text)
    if found is None:
        message = (
            f"--carbon {text}: give the intensity of your grid, such as 400 (g CO2e/kWh) or 0.4kg/kWh, and its year "
            f"and source: 400,2024,Ember. National averages: https://ourworldindata.org/grapher/carbon-intensity-electricity"
        )
        raise UsageError(message)
    grams = float(found["number"]) * (1000 if found["unit"] == "kg" else 1)
    return Carbon(grams, int(found["year"] or 0) or None, found["source"] or "", pue)
