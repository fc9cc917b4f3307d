"""How long the command line takes from a cold shell, in turns with bare interpreters.

`python -m benchmarks.cold_start` measures nothing else, with the interpreter that it runs on.
"""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Final

from benchmarks import report
from benchmarks.claims import cold_claims
from benchmarks.machine import file_name, fingerprint
from benchmarks.rounds import Score
from benchmarks.subjects import RECORDED, ROOT, find_subject

RESULTS: Final = Path(__file__).parent / "results"
ROUNDS: Final = 25
SMALL_BYTES: Final = 1_000_000
LARGE_BYTES: Final = 60_000_000
HEAVY: Final = ("numpy", "pandas")
NUMPY: Final = "python -c 'import numpy'"


def main() -> None:
    """Measure, print the table and the promises, and keep the results."""
    load_before = os.getloadavg()[0]
    python = Path(sys.executable)
    machine = fingerprint({"perfkit": python})
    cold = cold_starts(python, traces_to_diagnose(RECORDED))
    claims = list(cold_claims(cold, heavy_imports(python)))
    print(*report.cold_table(cold), *report.claim_table(claims), sep="\n")
    loads = {"load_before": round(load_before, 2), "load_after": round(os.getloadavg()[0], 2)}
    kept = {"machine": machine | loads, "cold_start": cold_record(cold), "claims": [vars(claim) for claim in claims]}
    report.write(RESULTS / f"cold-start-{file_name(machine)}", kept)


def cold_starts(python: Path, traces: dict[str, Path], rounds: int = ROUNDS) -> dict[str, Score]:
    """Time the commands, all of them once a round.

    Args:
        python: The interpreter of an environment that perfkit is installed in.
        traces: Labels and traces to diagnose.
        rounds: How many times.
    """
    # Who installs a package has its bytecode; an editable installation writes it in the first round.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    perfkit = python.with_name("perfkit")
    commands: dict[str, list[str | Path]] = {
        "python -c pass": [python, "-c", "pass"],
        NUMPY: [python, "-c", "import numpy"],
        "perfkit --help": [perfkit, "--help"],
        **{f"perfkit diagnose, {label}": [perfkit, "diagnose", path] for label, path in traces.items()},
    }
    scores = {name: Score() for name in commands}
    for at in range(-2, rounds):  # two rounds more, which fill the caches of the disk and of bytecode
        for name, command in commands.items():
            start = time.perf_counter()
            subprocess.run(command, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL, env=environment, check=True)
            if at >= 0:
                scores[name].samples[at] = {"seconds": round(time.perf_counter() - start, 6)}
    return scores


def heavy_imports(python: Path) -> list[str]:
    """Return which heavy packages `perfkit --help` imports."""
    command: list[str | Path] = [python, "-X", "importtime", python.with_name("perfkit"), "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()}
    return sorted(imported.intersection(HEAVY))


def traces_to_diagnose(folder: Path) -> dict[str, Path]:
    """Return labels and paths: the smallest sample of a megabyte of JSON or more, and a trace of some 60 MB."""
    sizes = {path: len(gzip.decompress(path.read_bytes())) for path in sorted((ROOT / "traces").glob("*.json.gz"))}
    small = min(sizes, key=lambda path: (sizes[path] < SMALL_BYTES, sizes[path]))
    large = find_subject(LARGE_BYTES, folder)
    return {megabytes(sizes[small]): small, megabytes(large.json_bytes): large.gzip}


def megabytes(size: int) -> str:
    """Say how much JSON a trace has."""
    return f"{size / 1e6:.1f} MB of JSON"


def cold_record(cold: dict[str, Score]) -> dict[str, Any]:
    """Return what is kept of the commands."""
    return {name: report.score_record(score, cold[NUMPY]) for name, score in cold.items()}


if __name__ == "__main__":
    main()
