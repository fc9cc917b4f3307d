"""`python -m benchmarks.nsight`: reads Nsight Systems exports in turns with pandas and nsys-ai; keeps the results."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from benchmarks import report
from benchmarks.claims import LOAD, shown
from benchmarks.contestants import NSIGHT
from benchmarks.machine import file_name, fingerprint
from benchmarks.rounds import Limits, compete, ratio
from benchmarks.subjects import ROOT, cache_folder

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from benchmarks.rounds import Score

RESULTS: Final = Path(__file__).parent / "results"
RECORDED: Final = "nsys/nsys-ai/mfu_2gpu_before.sqlite"
STEPS: Final = 1200
LIMITS: Final = Limits(rounds=7, fewest=3, patience_s=20)


def main() -> None:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.nsight", description=__doc__)
    parser.add_argument("--nsys-ai", type=Path, required=True, help="interpreter that nsys-ai is installed for")
    parser.add_argument("--traces", type=Path, default=ROOT.parent / "shared" / "traces", help="recorded traces")
    given = parser.parse_args()
    pythons = {name: given.nsys_ai if name.startswith("nsys-ai") else Path(sys.executable) for name in NSIGHT}
    load_before = os.getloadavg()[0]
    machine = fingerprint({"perfkit": Path(sys.executable), "nsys-ai": given.nsys_ai})
    kept = []
    with tempfile.TemporaryDirectory() as folder:
        os.environ["BENCHMARK_FOLDER"] = folder
        for label, path in subjects(given.traces):
            scores = compete(path, pythons, LIMITS, {})
            for line in table(label, path, scores):
                print(line, flush=True)
            kept.append(record(label, path, scores))
    output = RESULTS / f"nsight-{file_name(machine)}"
    loads = {"load_before": round(load_before, 2), "load_after": round(os.getloadavg()[0], 2)}
    report.write(output, {"machine": machine | loads, "reading": kept})
    print(f"\nkept in {output.name}")


def subjects(traces: Path) -> Iterator[tuple[str, Path]]:
    """Yield a recorded export, where there is one, and a simulated one, which is made once."""
    if (recorded := traces / RECORDED).exists():
        yield f"recorded, {recorded.name}", recorded
    simulated = cache_folder() / f"simulated-{STEPS}-steps.sqlite"
    if not simulated.exists():
        from tests.simulator import nsight, ranks

        run = ranks.run(ranks.Job(ranks=2, steps=STEPS))
        partial = simulated.with_name(f"partial-{simulated.name}")
        partial.unlink(missing_ok=True)
        nsight.write(run.rank(0), partial, run.export(0))
        partial.replace(simulated)
    yield f"simulated, {STEPS:,} steps", simulated


def table(label: str, path: Path, scores: Mapping[str, Score]) -> Iterator[str]:
    """Draw what reading one file took; ratios are to `perfkit.load` in the same rounds."""
    yield f"\n{path.stat().st_size / 1e6:,.1f} MB of SQLite, {label}"
    yield f"  {'':29} {'median ms':>9} {'peak MB':>8} {'rows':>9}   times perfkit.load [10 %, 90 %]"
    for name, score in scores.items():
        if not score.samples:
            yield f"  {name:29} skipped: {score.skipped}"
            continue
        numbers = f"{score.median('seconds') * 1e3:9.1f} {score.peak_bytes / 1e6:8,.0f} {score.median('count'):9,.0f}"
        to_load = ratio(score, scores[LOAD])
        yield f"  {name:29} {numbers}   {shown(to_load) if to_load else ''}"


def record(label: str, path: Path, scores: Mapping[str, Score]) -> dict[str, Any]:
    """Return what is kept of one file."""
    contestants = {name: report.score_record(score, scores[LOAD]) for name, score in scores.items()}
    return {"trace": label, "bytes": path.stat().st_size, "contestants": contestants}


if __name__ == "__main__":
    main()
