"""`python -m benchmarks.kernels`: measures kernels on a grid of shapes; prints, keeps and draws what came out."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from benchmarks import report
from benchmarks.kernels import table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.kernels.cells import Cell, Run

RESULTS: Final = Path(__file__).resolve().parents[1] / "results"
DTYPES: Final = ("bfloat16", "float32", "float16")
ROUNDS: Final = 31
COPY_BYTES: Final = 512 << 20
SMALL_COPY_BYTES: Final = 16 << 20


def main() -> None:
    """Read the command line and run."""
    given = parse(sys.argv[1:])
    if given.dry_run:
        os.environ["TRITON_INTERPRET"] = "1"
    import torch

    from benchmarks.kernels.cells import Run, grid, warm
    from benchmarks.kernels.device import describe, device_name
    from perfkit_kernels import KERNELS

    names = [spec.name for spec in KERNELS]
    if unknown := sorted(set(given.names) - set(names)):
        sys.exit(f"no such kernel: {', '.join(unknown)}; there are {', '.join(names)}")
    device = torch.device("cuda" if torch.cuda.is_available() and not given.dry_run else "cpu")
    dtypes = given.dtypes.split(",") if not given.dry_run else ["float32"]
    chosen = [spec for spec in KERNELS if not given.names or spec.name in given.names]
    cells = grid(chosen, dtypes, small=given.dry_run)
    run = Run(device, 3, "aot_eager") if given.dry_run else Run(device, given.rounds)
    deadline = time.monotonic() + given.seconds
    if given.warm:
        for cell in cells:
            if time.monotonic() < deadline:
                warm(cell, run)
        return
    machine = describe(device)
    if given.dry_run and not given.output:
        sys.exit("a dry run measures nothing that is worth keeping: say --output FILE")
    path = given.output or RESULTS / f"kernels-{device_name(machine)}.json"
    kept = measure_all(cells, run, path, deadline, machine)
    if given.dry_run:
        print("Dry run: in Triton's interpreter, on small shapes. The numbers say nothing about speed.\n")
    for line in table.markdown(machine, kept):
        print(line)
    if given.plot:
        from benchmarks.figures import speed_by_shape

        speed_by_shape(machine, kept, given.plot)


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.kernels", description="Measures kernels.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="kernels; all by default")
    parser.add_argument("--dtypes", default=",".join(DTYPES), help="in this order; by default %(default)s")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="of all in turns; by default %(default)s")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="begin no cell after that long")
    parser.add_argument("--output", type=Path, help="results; cells that are there already are not measured again")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw speed by shape, as .svg or .png")
    parser.add_argument("--warm", action="store_true", help="only compile, so that a later run finds all compiled")
    parser.add_argument("--dry-run", action="store_true", help="walk through in Triton's interpreter, on small shapes")
    return parser.parse_args(arguments)


def measure_all(
    cells: Sequence[Cell], run: Run, path: Path, deadline: float, machine: dict[str, Any]
) -> list[dict[str, Any]]:
    """Measure the cells that the file does not have, keeping each at once; return all that the file has then."""
    from benchmarks.kernels.cells import measure
    from benchmarks.kernels.timing import copy_bandwidth

    kept: list[dict[str, Any]] = json.loads(path.read_text())["cells"] if path.exists() else []
    known = {(cell["kernel"], cell["dtype"], tuple(cell["shape"])) for cell in kept}
    missing = [cell for cell in cells if cell.key not in known]
    size = SMALL_COPY_BYTES if run.device.type == "cpu" else COPY_BYTES
    copied = copy_bandwidth(run.device, size, run.rounds) if missing else {}
    for at, cell in enumerate(missing):
        if time.monotonic() > deadline:
            print(f"out of time: {len(missing) - at} of {len(cells)} cells are left", file=sys.stderr)
            break
        print(f"{cell.spec.name} {cell.dtype} {'x'.join(map(str, cell.shape))}", file=sys.stderr, flush=True)
        kept.append(measure(cell, run) | {"copy_gb_s": copied})
        left = len(missing) - at - 1
        report.write(path, {"machine": machine, "left": left, "cells": kept})
    return kept


if __name__ == "__main__":
    main()
