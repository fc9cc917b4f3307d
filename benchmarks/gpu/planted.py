"""Part 4: the gallery on the GPU: diagnoses scored, promised gains against measured ones."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from benchmarks.gpu.steps import Step

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.gpu.steps import Place

ROUNDS: Final = 12
PROGRAM_S: Final = 30


def steps(place: Place) -> Iterator[Step]:
    """Yield a step for each program; a dry run does one."""
    from benchmarks.programs import PROGRAMS

    names = ["norm_written_out"] if place.dry_run else [pair.name for pair in PROGRAMS]
    for name in names:
        yield Step(name, 1 if place.dry_run else 20, partial(program, place, name))


def program(place: Place, name: str) -> dict[str, Any]:
    """Run, record and diagnose one program and its twin."""
    path = place.out / "gallery" / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    rounds = 2 if place.dry_run else ROUNDS
    few = ("--rounds", str(rounds), "--simulated", "0")
    place.python("-m", "benchmarks.gallery", name, *few, "--output", path, seconds=4 * PROGRAM_S)
    found: dict[str, Any] = json.loads(path.read_text())["programs"][0]
    return found
