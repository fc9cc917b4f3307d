"""`python -m benchmarks`: measures reading, the stages and the command line, prints tables and keeps the results.

Run by `make bench`, with the interpreter of an environment in which perfkit is installed as a user would.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from benchmarks import report
from benchmarks.claims import LOAD, cold_claims, reading_claims, stage_claims
from benchmarks.cold_start import cold_record, cold_starts, heavy_imports, traces_to_diagnose
from benchmarks.contestants import CONTESTANTS
from benchmarks.machine import file_name, fingerprint
from benchmarks.rounds import Limits, compete, too_much
from benchmarks.subjects import RECORDED, ROOT, find_subject

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from benchmarks.rounds import Score
    from benchmarks.subjects import Subject

RESULTS: Final = Path(__file__).parent / "results"

SIZES: Final = {
    20_000_000: Limits(rounds=9, fewest=3, patience_s=20),
    60_000_000: Limits(rounds=7, fewest=3, patience_s=20),
    500_000_000: Limits(rounds=5, fewest=2, patience_s=45),
}
LARGE: Final = {3_000_000_000: Limits(rounds=3, fewest=1, patience_s=60)}
SLOW: Final = "perfkit.load, Python scanner"
SLOW_UP_TO: Final = 20_000_000

Results = list[tuple["Subject", str, dict[str, "Score"]]]


def main() -> None:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measures perfkit against its peers.")
    parser.add_argument(
        "--hta", type=Path, required=True, help="interpreter that HolisticTraceAnalysis is installed for"
    )
    parser.add_argument(
        "--large", action="store_true", help="with a trace of 3 GB (needs 4 GB of disk, and half an hour)"
    )
    parser.add_argument("--traces", type=Path, default=RECORDED, help="recorded traces")
    parser.add_argument("--output", type=Path, help="where to keep the results")
    given = parser.parse_args()
    pythons = dict.fromkeys(CONTESTANTS, Path(sys.executable)) | {"HolisticTraceAnalysis": given.hta}
    load_before = os.getloadavg()[0]
    machine = fingerprint({"perfkit": Path(sys.executable), "HolisticTraceAnalysis": given.hta})
    stages = time_stages()
    show(report.stage_table(stages))
    cold = cold_starts(Path(sys.executable), traces_to_diagnose(given.traces))
    show(report.cold_table(cold))
    results = readings(SIZES | (LARGE if given.large else {}), pythons, given.traces)
    claims = [
        *reading_claims(results),
        *stage_claims(stages),
        *cold_claims(cold, heavy_imports(Path(sys.executable))),
    ]
    show(report.claim_table(claims))
    kept = {
        "machine": machine | {"load_before": round(load_before, 2), "load_after": round(os.getloadavg()[0], 2)},
        "reading": [report.reading_record(*result) for result in results],
        "stages": stages,
        "cold_start": cold_record(cold),
        "claims": [vars(claim) for claim in claims],
    }
    output = given.output or RESULTS / file_name(machine)
    report.write(output, kept)
    print(f"\nkept in {output.name}; load average {load_before:.1f} before, {os.getloadavg()[0]:.1f} after")


def readings(sizes: Mapping[int, Limits], pythons: Mapping[str, Path], traces: Path) -> Results:
    """Let all contestants read a trace of each size, in both forms, showing each table when it is there."""
    results: Results = []
    before: dict[str, tuple[Subject, Mapping[str, Score]]] = {}
    for size, limits in sizes.items():
        subject = find_subject(size, traces)
        for form, path in ((".json", subject.json), (".json.gz", subject.gzip)):
            skipped = {} if size <= SLOW_UP_TO else {SLOW: f"measured up to {SLOW_UP_TO // 10**6} MB"}
            if form == ".json":
                skipped["zlib alone"] = "not compressed"
            if form in before:
                smaller, known = before[form]
                times = subject.json_bytes / smaller.json_bytes
                found = {name: too_much(score, times, limits) for name, score in known.items()}
                skipped = {name: why for name, why in found.items() if why} | skipped
            scores = compete(path, pythons, limits, skipped)
            if not scores[LOAD].samples:
                sys.exit(f"perfkit.load on {subject.label} {form} {scores[LOAD].skipped}")
            results.append((subject, form, scores))
            before[form] = subject, scores
            show(report.reading_table(*results[-1]))
    return results


def time_stages() -> dict[str, dict[str, float]]:
    """Run `test_stages.py`, and return the statistics of each stage."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "stages.json"
        command: list[str | Path] = [
            sys.executable,
            "-P",
            "-m",
            "pytest",
            "-q",
            "--no-header",
            "-p",
            "no:cacheprovider",
        ]
        # Appended: what is installed comes before what lies here.
        command += ["--import-mode=append", "--benchmark-quiet", f"--benchmark-json={output}"]
        command += [Path(__file__).with_name("test_stages.py")]
        done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
        if done.returncode:
            sys.exit(done.stdout)
        entries: list[dict[str, Any]] = json.loads(output.read_text())["benchmarks"]
    return {
        entry["name"].removeprefix("test_"): {
            "median_s": entry["stats"]["median"],
            "iqr_s": entry["stats"]["iqr"],
            "min_s": entry["stats"]["min"],
            "max_s": entry["stats"]["max"],
            "n": entry["stats"]["rounds"],
            **entry["extra_info"],
        }
        for entry in entries
    }


def show(lines: Iterator[str]) -> None:
    """Print at once: a run takes minutes."""
    for line in lines:
        print(line, flush=True)


if __name__ == "__main__":
    main()
