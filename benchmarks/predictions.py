"""`python -m benchmarks.predictions --seeds 0:200`: predictions against the simulator run again with the fault removed.

One line for each kind of change: how far predicted windows are off, how many true ones lie outside their interval, and
how wide intervals are, relative to the prediction; how many predictions call themselves rough, and how many of the
others are off all the same. With `--scale 4`, programs have four times as many steps, each four times as long.
"""

from __future__ import annotations

import argparse
import collections
import itertools
import json
import multiprocessing
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from tests import simulator
from tests.simulator.what_ifs import KINDS, PLAIN, Outcome, is_plain, outcomes
from tests.simulator.without import DRAWN, GRANTED, Hidden

if TYPE_CHECKING:
    from collections.abc import Sequence

FAR: Final = 0.05
HEAD: Final = (
    *("change", "n", "median", "95 % below", "largest", "above 5 %", "outside", "both", "width", "95 % below"),
    *("rough", "others above 5 %"),
)


def main() -> None:
    """Read the command line, run and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.predictions", description=str(__doc__).split("\n")[2])
    parser.add_argument("--seeds", default="0:200", help="of the random programs, FIRST:END (default 0:200)")
    parser.add_argument("--scale", type=int, default=1, help="how much longer steps are, and how many more (default 1)")
    parser.add_argument(
        "--granted", action="store_true", help="what no trace shows is as predictions take it for granted, not drawn"
    )
    parser.add_argument("--kinds", default="", help="kinds of change, separated by commas; default all")
    parser.add_argument("--jobs", type=int, default=2, help="processes (default 2)")
    parser.add_argument("--misses", action="store_true", help="name the predictions that are off")
    parser.add_argument("--output", type=Path, help="where to keep every prediction, as JSON")
    given = parser.parse_args()
    known = (*sorted(KINDS), *sorted(PLAIN))
    kinds = tuple(given.kinds.split(",")) if given.kinds else known
    if not re.fullmatch(r"\d+:\d+", given.seeds) or not set(kinds) <= set(known):
        parser.error(f"seeds are FIRST:END, and kinds some of {', '.join(known)}")
    first, end = map(int, given.seeds.split(":"))
    hidden = GRANTED if given.granted else DRAWN
    tasks = [(seed, given.scale, kinds, hidden) for seed in range(first, end)]
    with multiprocessing.Pool(given.jobs) as pool:
        found = list(itertools.chain(*pool.imap(of_seed, tasks)))
    if not found:
        parser.error("nothing can be predicted of these programs: take more seeds")
    print("\n".join(table(found)))
    if given.misses:
        print(*misses(found), sep="\n")
    if given.output:
        given.output.write_text(json.dumps([one._asdict() for one in found]))


def of_seed(task: tuple[int, int, Sequence[str], Hidden]) -> list[Outcome]:
    """Predict what applies to the program of a seed."""
    seed, scale, kinds, hidden = task
    plain = is_plain(simulator.random_program(seed, scale))
    some = [kind for kind in kinds if kind in KINDS or plain]
    with tempfile.TemporaryDirectory() as folder:
        return outcomes(seed, some, Path(folder) / "trace.json", scale, hidden)


def table(found: Sequence[Outcome]) -> list[str]:
    """Return a Markdown table, a row for each kind of change and one for all."""
    by_kind: dict[str, list[Outcome]] = collections.defaultdict(list)
    for one in found:
        by_kind[one.kind].append(one)
    sets = {
        **by_kind,
        "all": found,
        "all but captured graphs": [one for one in found if one.kind != "graph captured"],
        "those that are rough": [one for one in found if one.rough],
        "the others": [one for one in found if not one.rough],
    }
    rows = [row(name, some) for name, some in sets.items() if some]
    lines = [HEAD, ("---", *["--:"] * (len(HEAD) - 1)), *rows]
    return [f"| {' | '.join(line)} |" for line in lines]


def row(name: str, found: Sequence[Outcome]) -> tuple[str, ...]:
    """Return what is said of some predictions."""
    error = np.array([one.error for one in found])
    width = np.array([one.width for one in found])
    out = np.array([not one.held for one in found])
    numbers: list[Any] = [len(found)]
    numbers += [f"{100 * value:.2f} %" for value in (np.median(error), np.quantile(error, 0.95), error.max())]
    numbers += [int((error > FAR).sum()), int(out.sum()), int(((error > FAR) & out).sum())]
    numbers += [f"{100 * value:.1f} %" for value in (np.median(width), np.quantile(width, 0.95))]
    numbers += [sum(one.rough for one in found), sum(one.error > FAR and not one.rough for one in found)]
    return (name, *map(str, numbers))


def misses(found: Sequence[Outcome]) -> list[str]:
    """Name the predictions that are off or whose interval does not hold, worst first."""
    some = sorted((one for one in found if one.error > FAR or not one.held), key=lambda one: -one.error)
    return [
        f"{one.kind}: seed {one.seed}, device {one.device}: {one.measured_ns:,} ns, then {one.true_ns:,}; predicted "
        f"{one.predicted_ns:,} [{one.low_ns:,}, {one.high_ns:,}], off by {100 * one.error:.1f} %, "
        f"{'held' if one.held else 'not held'}{', rough' if one.rough else ''}"
        for one in some
    ]


if __name__ == "__main__":
    main()
