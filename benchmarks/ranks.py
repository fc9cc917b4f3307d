"""`python -m benchmarks.ranks`: diagnoses folders of 8, 64 and 1,024 simulated ranks, in processes and on Ray.

Each measurement is a process of its own, `python -m benchmarks.ranks FOLDER MEANS`, which prints a JSON object: seconds
of the diagnosis, peak memory of the process that compares, and the largest peak of a process that reads.
"""

from __future__ import annotations

import json
import os
import re
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, Final

from benchmarks import report
from benchmarks.contestants import peak_bytes
from benchmarks.machine import file_name, fingerprint
from benchmarks.subjects import ROOT, cache_folder

RESULTS: Final = Path(__file__).parent / "results"
RANKS: Final = {8: 3, 64: 3, 1024: 1}
"""Ranks to rounds."""
STEPS: Final = 3
MEANS: Final = ("processes", "ray")
FLAT: Final = 1.5
"""Time and memory of a rank among 1,024 may be so many times those of one among 64."""
SAMPLED_S: Final = 0.1


def main() -> None:
    """Make the folders, measure in turns, print a table and keep the results."""
    if len(sys.argv) > 1:
        sys.stdout.write(json.dumps(measure(Path(sys.argv[1]), sys.argv[2])))
        return
    load_before = os.getloadavg()[0]
    machine = fingerprint({"perfkit": Path(sys.executable)})
    kept: dict[str, Any] = {}
    print(
        f"{'':22} {'s a run':>8} {'[least, most]':>16} {'ms a rank':>9} {'reader MB':>9} {'comparer MB':>11} {'n':>3}"
    )
    for ranks, rounds in RANKS.items():
        folder = job(ranks)
        samples: dict[str, list[dict[str, float]]] = {means: [] for means in MEANS}
        for _ in range(rounds):
            for means in MEANS:
                command = [sys.executable, "-m", "benchmarks.ranks", str(folder), means]
                done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
                samples[means].append(json.loads(done.stdout.splitlines()[-1]))
        for means, found in samples.items():
            kept[f"{ranks} ranks, {means}"] = row = summary(found, ranks)
            print(
                f"{ranks:6,} ranks, {means:9} {row['seconds']:8.2f} [{row['least_s']:6.2f}, {row['most_s']:6.2f}] "
                f"{row['ms_a_rank']:9.1f} {row['reader_mb']:9.0f} {row['comparer_mb']:11.0f} {row['n']:3}",
                flush=True,
            )
    claims = [claim(kept, means, what) for means in MEANS for what in ("ms_a_rank", "reader_mb")]
    for line in claims:
        print(line)
    loads = {"load_before": round(load_before, 2), "load_after": round(os.getloadavg()[0], 2)}
    output = RESULTS / f"ranks-{file_name(machine)}"
    report.write(output, {"machine": machine | loads, "steps": STEPS, "runs": kept, "claims": claims})
    print(f"kept in {output.name}")


def job(ranks: int) -> Path:
    """Return a folder of the ranks of a job, every other one an export of Nsight Systems; it is made once."""
    folder = cache_folder() / f"job-{ranks}-ranks-{STEPS}-steps"
    if not folder.exists():
        from tests.simulator import ranks as simulator

        partial = folder.with_name(f"partial-{folder.name}")
        partial.mkdir(exist_ok=True)
        simulator.run(simulator.Job(ranks=ranks, steps=STEPS)).write(partial, ("kineto", "nsight"))
        partial.replace(folder)
    return folder


def measure(folder: Path, means: str) -> dict[str, float]:
    """Diagnose a folder once; a Ray is started before the clock is."""
    import perfkit
    from perfkit.pipeline.fleet import Means

    if means == "ray":
        import logging

        import ray

        ray.init(include_dashboard=False, logging_level=logging.ERROR, log_to_driver=False, num_cpus=os.cpu_count())
    jobs = os.cpu_count()
    with Readers() as readers:
        before = time.perf_counter()
        given = Means(jobs=jobs, ray="local" if means == "ray" else None, cache=False)
        found = perfkit.diagnose(folder, means=given)
        seconds = time.perf_counter() - before
    fleet = found.fleet
    if fleet is None or fleet.failed or fleet.missing:
        sys.exit(f"not every rank of {folder} was read")
    return {
        "seconds": round(seconds, 4),
        "reader_bytes": readers.peak_bytes,
        "comparer_bytes": peak_bytes(),
        "ranks": len(fleet.ranks),
    }


class Readers:
    """Watches the processes that descend from this one: the largest peak of one that reads ranks."""

    def __init__(self) -> None:
        """Begin with nothing seen."""
        self.peak_bytes = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Readers:
        """Watch."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Look once more, and stop."""
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(SAMPLED_S):
            self.peak_bytes = max([self.peak_bytes, *map(peak_of, readers_of(os.getpid()))])


def readers_of(ancestor: int) -> list[int]:
    """Return the processes below one that run perfkit: here, all but those of Ray itself."""
    parents: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
    below, found = {ancestor}, []
    while grown := {pid for pid, parent in parents.items() if parent in below} - below:
        below |= grown
    for pid in below - {ancestor}:
        try:
            name = Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            continue
        if name.startswith(b"ray::") or (b"ray" not in name and b"python" in name):
            found.append(pid)
    return found


def peak_of(pid: int) -> int:
    """Return the largest resident size of a process so far; 0 if it is gone."""
    try:
        match = re.search(r"VmHWM:\s*(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    except OSError:
        return 0
    return int(match[1]) * 1024 if match else 0


def summary(found: list[dict[str, float]], ranks: int) -> dict[str, Any]:
    """Return the median of the rounds, their spread, and every sample."""
    seconds = [sample["seconds"] for sample in found]
    median = statistics.median(seconds)
    return {
        "n": len(found),
        "seconds": median,
        "least_s": min(seconds),
        "most_s": max(seconds),
        "ms_a_rank": median / ranks * 1e3,
        "reader_mb": max(sample["reader_bytes"] for sample in found) / 1e6,
        "comparer_mb": max(sample["comparer_bytes"] for sample in found) / 1e6,
        "samples": found,
    }


def claim(kept: dict[str, Any], means: str, what: str) -> str:
    """Say whether a figure of a rank stays what it is from 64 to 1,024 ranks."""
    few, many = (kept[f"{ranks} ranks, {means}"][what] for ranks in (64, 1024))
    holds = "holds" if many <= FLAT * few else "FAILS"
    return f"{holds}: {what} of {means} is flat from 64 to 1,024 ranks: {few:.1f} to {many:.1f}"


if __name__ == "__main__":
    main()
