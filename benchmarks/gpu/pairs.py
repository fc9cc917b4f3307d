"""Records a program of the gallery and its twin as sample traces: `python -m benchmarks.gpu.pairs NAME FOLDER`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.programs import PROGRAMS, ROLES
from traces.record.program import Program, Stopwatch
from traces.record.recorder import record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import torch

    from benchmarks.programs import Pair


def program(pair: Pair, role: str) -> Program:
    """Return one of a pair as a program to record."""
    faulty = role == "faulty"
    shows = f"{pair.fault}; the twin has {pair.repair}" if faulty else f"{pair.repair}, where the twin has {pair.fault}"
    return Program(
        name=f"{pair.name}_{role}",
        source=f"benchmarks/programs/ ({pair.name})",
        shows=shows,
        shows_on_cpu=shows,
        fault="",  # it is everywhere in the step: what it costs is the difference to the twin
        steps=_watched(pair, role),
        repaired=_watched(pair, "repaired") if faulty else None,
        with_stack=pair.with_stack,
    )


def _watched(pair: Pair, role: str) -> Callable[[torch.device, Stopwatch], Iterator[None]]:
    def steps(device: torch.device, _: Stopwatch) -> Iterator[None]:
        for _step in pair.steps(role)(device):
            yield None

    return steps


def main() -> None:
    """Record both."""
    name, folder = sys.argv[1:]
    pair = next(pair for pair in PROGRAMS if pair.name == name)
    for role in ROLES:
        path = record(program(pair, role), Path(folder))
        print(f"{path.name}: {path.stat().st_size} bytes", flush=True)


if __name__ == "__main__":
    main()
