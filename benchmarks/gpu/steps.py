"""A part is a list of steps; what a step gave is kept at once, and a part run again does only what is missing."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from benchmarks import report

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

ROOT: Final = Path(__file__).resolve().parents[2]
TAIL: Final = 3_000
"""Characters of a failed command's output that are kept."""


class SkipError(Exception):
    """A step cannot be done here; the message says why."""


class FailedError(Exception):
    """A command failed; the message has the end of what it wrote."""


@dataclass(frozen=True)
class Step:
    """One thing to do.

    Attributes:
        name: What it is called in the results.
        seconds: About how long it takes: it is not begun with less time left, and is stopped after twice as long.
        act: Does it, and returns what is kept.
    """

    name: str
    seconds: float
    act: Callable[[], dict[str, Any]]


@dataclass(frozen=True)
class Place:
    """Where steps run.

    Attributes:
        out: Folder of the results.
        dry_run: Walk through on the CPU, on small shapes.
        deadline: Of `time.monotonic`, when to end.
    """

    out: Path
    dry_run: bool = False
    deadline: float = float("inf")

    @property
    def left_s(self) -> float:
        """Seconds until the end."""
        return self.deadline - time.monotonic()

    def python(self, *arguments: str | Path, seconds: float, env: Mapping[str, str] | None = None) -> str:
        """Run this interpreter in the repository; see `command`."""
        return self.command(sys.executable, *arguments, seconds=seconds, env=env)

    def command(self, *arguments: str | Path, seconds: float, env: Mapping[str, str] | None = None) -> str:
        """Run a command and return its standard output.

        Raises:
            FailedError: It ended with another code than 0, or was stopped after that many seconds or at the deadline.
        """
        process = subprocess.Popen(
            [str(argument) for argument in arguments],
            cwd=ROOT,
            env=self.environment() | dict(env or {}),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        try:
            wrote, said = process.communicate(timeout=max(min(seconds, self.left_s), 1))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            wrote, said = process.communicate()
            message = f"stopped after {seconds:.0f} s: {(wrote + said)[-TAIL:]}"
            raise FailedError(message) from None
        if process.returncode:
            message = f"ended with code {process.returncode}: {(wrote + said)[-TAIL:]}"
            raise FailedError(message)
        return wrote

    def environment(self) -> dict[str, str]:
        """Return the environment of commands: they find perfkit in this repository."""
        found = [str(ROOT), str(ROOT / "kernels"), str(ROOT / "build" / "gpu" / "site"), os.environ.get("PYTHONPATH")]
        mine = {"PYTHONPATH": os.pathsep.join(filter(None, found)), "PYTHONUNBUFFERED": "1"}
        if self.dry_run:
            mine |= {"CUDA_VISIBLE_DEVICES": "", "TRITON_INTERPRET": "1"}
        return dict(os.environ) | mine


def has_torch() -> bool:
    """Whether torch is there."""
    return importlib.util.find_spec("torch") is not None


def run(number: int, steps: Iterable[Step], place: Place, machine: Mapping[str, Any]) -> dict[str, Any]:
    """Do the steps of a part that are not done yet, and keep each in ``part-N.json``.

    Returns:
        What the file holds: machine, and by step what came of it, how long it took, or why there is nothing.
    """
    path = place.out / f"part-{number}.json"
    place.out.mkdir(parents=True, exist_ok=True)
    kept: dict[str, Any] = json.loads(path.read_text())["steps"] if path.exists() else {}
    for step in steps:
        if kept.get(step.name, {}).get("state") == "done":
            continue
        kept[step.name] = _do(step, place)
        tell(f"part {number}, {step.name}: {_said(kept[step.name])}")
        report.write(path, {"machine": dict(machine), "dry_run": place.dry_run, "steps": kept})
    return {"machine": dict(machine), "dry_run": place.dry_run, "steps": kept}


def _do(step: Step, place: Place) -> dict[str, Any]:
    if place.left_s < step.seconds:
        return {"state": "left", "why": "no time was left"}
    began = time.monotonic()
    try:
        result = step.act()
        outcome: dict[str, Any] = {"state": "done", "result": result}
        if result.get("left"):
            outcome |= {"state": "left", "why": f"no time was left for {result['left']} of it"}
    except SkipError as reason:
        outcome = {"state": "skipped", "why": str(reason)}
    except Exception as error:  # noqa: BLE001  whatever is wrong with a step, the others go on
        outcome = {"state": "failed", "why": f"{type(error).__name__}: {error}"}
    return outcome | {"seconds": round(time.monotonic() - began, 1)}


def _said(outcome: Mapping[str, Any]) -> str:
    why = str(outcome.get("why", "")).strip().splitlines()
    seconds = f", {outcome['seconds']} s" if "seconds" in outcome else ""
    return f"{outcome['state']}{seconds}{': ' + why[-1][:200] if why else ''}"


def tell(line: str) -> None:
    """Say on the standard error what was done: a part takes minutes."""
    print(line, file=sys.stderr, flush=True)
