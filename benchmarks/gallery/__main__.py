"""`python -m benchmarks.gallery`: runs, records and diagnoses the programs, scores the diagnoses, keeps the results.

Run by `make gallery`, with an interpreter that has perfkit and torch.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from benchmarks import report
from benchmarks.gallery import simulated, table
from benchmarks.gallery.actor import ROOT, Actor, jemalloc
from benchmarks.gallery.gain import measure, steps_for
from benchmarks.gallery.score import judge
from benchmarks.machine import file_name, fingerprint
from benchmarks.programs import PROGRAMS, ROLES

if TYPE_CHECKING:
    from benchmarks.gallery.score import Document, Score
    from benchmarks.programs import Pair

SIMULATED: Final = 12
"""Programs of each fault in the simulator."""
RESULTS: Final = ROOT / "benchmarks" / "results"
ROUNDS: Final = 20
RECORDINGS: Final = 3
RECORDED_NS: Final = 1_000_000_000
FEWEST_RECORDED, MOST_RECORDED = 6, 16
"""Steps, and one more: perfkit leaves out the first of those that were recorded."""


def main() -> None:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gallery", description="Scores perfkit on programs whose fault is known."
    )
    names = [pair.name for pair in PROGRAMS]
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"programs, of {', '.join(names)}; all by default")
    parser.add_argument("--record", type=Path, metavar="DIR", help="only record the traces, into this folder")
    parser.add_argument("--traces", type=Path, metavar="DIR", help="keep the traces in this folder")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="rounds of each program and its twin, in turns")
    parser.add_argument("--simulated", type=int, default=SIMULATED, help="simulated programs of each fault; 0 for none")
    parser.add_argument("--output", type=Path, help="where to keep the results")
    parser.add_argument(
        "--check", action="store_true", help="only check that each program and its twin compute the same"
    )
    given = parser.parse_args()
    if unknown := sorted(set(given.names) - set(names)):
        parser.error(f"no such program: {', '.join(unknown)}")
    pairs = [pair for pair in PROGRAMS if not given.names or pair.name in given.names]
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        os.environ["TMPDIR"] = folder  # loader workers that end with their program clean nothing up
        check(pairs)
        if given.record:
            for pair in pairs:
                record_both(pair, given.record)
        elif not given.check:
            run(pairs, given.traces or Path(folder), given)


def check(pairs: list[Pair]) -> None:
    """Leave with an error if a twin computes something else."""
    command = [sys.executable, "-m", "benchmarks.gallery.twins", *(pair.name for pair in pairs)]
    if subprocess.run(command, check=False, cwd=ROOT, stdout=sys.stderr).returncode:
        sys.exit("a repaired twin does not compute what its program does")


def record_both(pair: Pair, folder: Path) -> None:
    """Record a program and its twin without measuring anything."""
    for role in ROLES:
        with Actor(pair.name, role) as actor:
            tell(f"{trace_path(folder, pair, role).name}: {record_one(pair, actor, folder) / 1e6:.1f} ms a step")


def run(pairs: list[Pair], folder: Path, given: argparse.Namespace) -> None:
    """Measure, record, diagnose and score; print the table, and keep everything."""
    load_before = os.getloadavg()[0]
    scores: list[Score] = []
    records: list[dict[str, Any]] = []
    runs_on: dict[str, Any] = {}
    for pair in pairs:
        tell(f"{pair.name}: {pair.fault}")
        with ExitStack() as stack:
            actors = {role: stack.enter_context(Actor(pair.name, role)) for role in ROLES}
            runs_on = actors["faulty"].machine()
            gain = measure(pair, actors["faulty"], actors["repaired"], given.rounds)
            profiled_ns = {role: record_one(pair, actor, folder) for role, actor in actors.items()}
        documents = {role: diagnose(trace_path(folder, pair, role)) for role in ROLES}
        score = judge(pair.name, pair.rules[runs_on["device"]], documents["faulty"], documents["repaired"], gain)
        scores.append(score)
        records.append(table.record(score) | {"fault": pair.fault, "repair": pair.repair, "profiled_ns": profiled_ns})
    where = runs_on.get("gpu", f"{runs_on['cpu']}, {runs_on['cpus']} cores, one thread")
    for line in table.draw(f"planted faults, torch {runs_on['torch']} on {where}", scores):
        print(line)
    tell("the simulator")
    planted = simulated.scores(given.simulated) if given.simulated else {}
    for line in table.draw_simulated(planted):
        print(line)
    machine = (
        fingerprint({"perfkit": Path(sys.executable)})
        | runs_on
        | {"allocator": Path(jemalloc()).name or "the system's"}
    )
    kept = [table.record_simulated(score) for some in planted.values() for score in some]
    loads = {"load_before": round(load_before, 2), "load_after": round(os.getloadavg()[0], 2)}
    output = given.output or RESULTS / f"gallery-{file_name(machine | {'cpu': runs_on.get('gpu', runs_on['cpu'])})}"
    report.write(output, {"machine": machine | loads, "programs": records, "simulated": kept})
    print(f"\nkept in {output.name}; load average {loads['load_before']} before, {loads['load_after']} after")


def trace_path(folder: Path, pair: Pair, role: str) -> Path:
    """Return where the trace of a program lies."""
    return folder / f"{pair.name}_{role}.json.gz"


def record_one(pair: Pair, actor: Actor, folder: Path) -> int:
    """Record whole periods of a program, and one step before them; return the mean time of a step in ns.

    Other processes, of this machine or of its host, can slow a recording down severalfold: the fastest one is kept.
    """
    most = MOST_RECORDED // pair.period * pair.period
    steps = min(max(steps_for(pair, actor, RECORDED_NS), FEWEST_RECORDED), most)
    kept = trace_path(folder, pair, actor.role)
    taken = []
    for at in range(RECORDINGS):
        path = kept.with_name(f"{at}_{kept.name}")
        taken.append((actor.record(steps + 1, path), path))
    step_ns, fastest = min(taken)
    fastest.replace(kept)
    for _, path in taken:
        path.unlink(missing_ok=True)
    return step_ns


def diagnose(trace: Path) -> Document:
    """Diagnose a trace by the command line, as a user would."""
    command: list[str | Path] = [sys.executable, "-m", "perfkit.cli", "diagnose", "--format", "json", trace]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    document: Document = json.loads(done.stdout)
    return document


def tell(line: str) -> None:
    """Say on the standard error what is being done: a run takes minutes."""
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
