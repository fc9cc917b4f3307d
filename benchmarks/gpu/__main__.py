"""`python -m benchmarks.gpu`: runs parts, brings their results together, says what fell short."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks.gpu import checks, models, overhead, planted, samples, speed
from benchmarks.gpu.build import prepare
from benchmarks.gpu.results import TITLES, gains, merge, shortfalls
from benchmarks.gpu.steps import ROOT, Place, has_torch, run, tell

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from benchmarks.gpu.steps import Step

PARTS: Final[Mapping[int, Callable[[Place], Iterator[Step]]]] = {
    1: checks.steps,
    2: speed.steps,
    3: models.steps,
    4: planted.steps,
    5: samples.steps,
    6: overhead.steps,
}
SECONDS: Final = {1: 320, 2: 450, 3: 450, 4: 390, 5: 220, 6: 170}
"""What each part takes at most: the sum is below 34 minutes, and the extension is built before."""


def main() -> None:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu", description="Gathers what only a GPU can show.", epilog=described()
    )
    parser.add_argument("--part", type=int, action="append", choices=sorted(PARTS), help="may be given several times")
    parser.add_argument("--out", type=Path, required=True, help="folder of results; steps in it are not repeated")
    parser.add_argument(
        "--seconds", type=float, help=f"for each part; by default {', '.join(map(str, SECONDS.values()))}"
    )
    parser.add_argument("--wheels", type=Path, default=ROOT / ".whl", help="wheels to unpack, such as Liger's")
    parser.add_argument("--dry-run", action="store_true", help="walk through on the CPU, on small shapes")
    parser.add_argument("--plan", action="store_true", help="only list the steps")
    parser.add_argument("--merge", action="store_true", help="put --out into benchmarks/results; say what fell short")
    given = parser.parse_args()
    if given.merge:
        bring_together(given.out)
        return
    if not has_torch():
        sys.exit("torch is not installed")
    place = Place(given.out.resolve(), given.dry_run)
    prepare(place, given.wheels)
    import torch

    if not (given.dry_run or given.plan or torch.cuda.is_available()):
        sys.exit("torch sees no GPU; --dry-run walks through without one")
    for number in given.part or sorted(PARTS):
        if given.plan:
            print(*(f"{number} {step.name}" for step in PARTS[number](place)), sep="\n")
            continue
        from benchmarks.kernels.device import describe

        machine = describe(torch.device("cpu" if given.dry_run else "cuda"))
        timed = Place(place.out, place.dry_run, time.monotonic() + (given.seconds or SECONDS[number]))
        run(number, PARTS[number](timed), timed, machine)


def bring_together(out: Path) -> None:
    """Merge, and list what fell short."""
    try:
        path = merge(out, ROOT / "benchmarks" / "results")
    except ValueError as error:
        sys.exit(str(error))
    tell(f"kept in {path.relative_to(ROOT)}")
    document = json.loads(path.read_text())
    for line in (*gains(document), *shortfalls(document)):
        print(line)


def described() -> str:
    """List the parts."""
    return "Parts: " + "; ".join(f"{number} {title}" for number, title in TITLES.items())


if __name__ == "__main__":
    main()
