"""Options of `perfkit diagnose --url`, and what they ask for."""

from __future__ import annotations

import re
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from perfkit.cli.program import UNITS, Seconds
from perfkit.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from perfkit.model.diagnosis import Diagnosis
    from perfkit.model.load import Objective

__all__ = ["diagnose_url", "load_options", "take_options"]

DEFAULT_SECONDS: Final = 10.0
DEFAULT_TRACED: Final = 5.0


class LoadBody(click.ParamType):  # type: ignore[type-arg]  # an older click has no parameter
    """A file to send, or ``N=FILE`` for one that holds N inputs of the model; a path and a number."""

    name = "file"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[Path, int]:
        """Return the path and the number."""
        if isinstance(value, tuple):
            return value
        number, equals, path = str(value).partition("=")
        if equals and number.isdigit() and int(number) > 0:
            return Path(path), int(number)
        return Path(str(value)), 1


class Slo(click.ParamType):  # type: ignore[type-arg]
    """An objective, such as ``p99=200ms``."""

    name = "objective"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Objective:
        """Return the objective."""
        from perfkit.model.load import Objective

        if isinstance(value, Objective):
            return value
        found = re.fullmatch(
            r"p(\d{1,2}(?:\.\d+)?)\s*[=<]\s*(\d+(?:\.\d*)?)\s*(ms|s)", str(value).strip(), re.IGNORECASE
        )
        if found is None or not float(found[1]) or not float(found[2]):
            self.fail(f"{value!r} is no objective: give one such as p99=200ms", param, ctx)
        return Objective(float(found[1]) / 100, round(float(found[2]) * UNITS[found[3].lower()] * 1e9))


OPTIONS: Final = (
    click.option("--url", help="Put load on a service, have it traced meanwhile, and split its requests."),
    click.option("--rate", type=click.FloatRange(0.01, 100_000), help="With --url: requests a second.  [default: 10]"),
    click.option("--arrivals", type=click.Choice(["poisson", "constant"]), help="When they come.  [default: poisson]"),
    click.option("--body", multiple=True, type=LoadBody(), help="What to POST; 8=FILE has 8 inputs. Several in turn."),
    click.option("--openai", is_flag=True, help="An OpenAI-compatible service: time its streamed tokens, too."),
    click.option("--model", help="With --openai: the model to ask for."),
    click.option("--find-capacity", is_flag=True, help="Step the rate until the objective of --slo breaks."),
    click.option("--slo", type=Slo(), help="The objective.  [default: p99=200ms]"),
    click.option("--traced", type=Seconds(), help="Have it traced so long after --duration; 0 not.  [default: 5s]"),
    click.option("--profile-dir", type=click.Path(path_type=Path), help="Where the service writes its traces."),
    click.option("--allow-remote", is_flag=True, help="The service may be on another machine."),
    click.option("--insecure", is_flag=True, help="Take any TLS certificate."),
)
NAMES: Final = (
    *("url", "rate", "arrivals", "body", "openai", "model", "find_capacity", "slo", "traced"),
    *("profile_dir", "allow_remote", "insecure"),
)
NOT_FOR_SERVICES: Final = ("steps", "warmup", "stop", "rank", "kernels", "jobs", "ray", "no_cache")


def load_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say how to load a service."""
    for option in reversed(OPTIONS):
        command = option(command)
    return command


def take_options(asked: dict[str, Any]) -> dict[str, Any]:
    """Take the options of a load away.

    Raises:
        UsageError: One is given without --url.
    """
    given = {name: asked.pop(name) for name in NAMES}
    if given["url"] is None:
        for name, value in given.items():
            if value:
                message = f"--{name.replace('_', '-')} is for loading a service: give its --url"
                raise UsageError(message)
    return given


def diagnose_url(given: dict[str, Any], asked: dict[str, Any], *, others: bool, picture: bool) -> Diagnosis:
    """Load a service and diagnose it, with a progress bar.

    Args:
        given: The options of `take_options`.
        asked: The other options of `perfkit diagnose`.
        others: There is something else to diagnose, too.
        picture: Also make the picture that a page draws.

    Raises:
        UsageError: The options do not go together.
    """
    from perfkit.cli.progress import LateProgress
    from perfkit.cli.settings import chosen_rules
    from perfkit.pipeline.load import Asked, diagnose_service
    from perfkit.record import default_folder
    from perfkit.serve.generator import Plan
    from perfkit.serve.target import find_target

    check(given, asked, others=others)
    model = given["model"] if given["openai"] else None
    target = find_target(given["url"], given["body"], model, allow_remote=given["allow_remote"])
    folder = Path(asked["folder"]) if asked["folder"] else default_folder()
    wanted = Asked(
        plan=Plan(given["rate"] or 10.0, asked["duration"] or DEFAULT_SECONDS, given["arrivals"] or "poisson"),
        folder=folder,
        traced_s=DEFAULT_TRACED if given["traced"] is None else given["traced"],
        objective=objective(given),
        profile_dir=given["profile_dir"],
        pids=asked["pid"],
        stacks=asked["stacks"],
        shapes=asked["shapes"],
        insecure=given["insecure"],
        window=asked["window"],
        rules=chosen_rules(asked["select"], asked["ignore"]),
        picture=picture,
    )
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what is running is ended, and what was made removed
    with LateProgress(target.shown, unit="requests") as progress:
        diagnosis = diagnose_service(target, wanted, progress.stage)
    if folder.exists():
        click.echo(f"perfkit: written to {folder}", err=True)
    return diagnosis


def check(given: dict[str, Any], asked: dict[str, Any], *, others: bool) -> None:
    """Make sure that the options go together.

    Raises:
        UsageError: They do not.
    """
    message = ""
    if others:
        message = "give a --url alone, or with the --pid of its process"
    for name in NOT_FOR_SERVICES:
        if asked[name]:
            message = f"--{name.replace('_', '-')} is not for a service: leave it out, or leave --url out"
    if given["openai"] and not given["model"]:
        message = "--openai needs the --model to ask for"
    if given["slo"] is not None and not given["find_capacity"]:
        message = "--slo is what --find-capacity looks for: give both"
    if message:
        raise UsageError(message)


def objective(given: dict[str, Any]) -> Objective | None:
    """Return the objective to find the capacity for."""
    from perfkit.model.load import Objective

    if not given["find_capacity"]:
        return None
    found: Objective = given["slo"] or Objective(0.99, 200_000_000)
    return found
