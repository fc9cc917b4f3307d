"""Measures contestants in turns, and compares them round by round: what slows the machine down slows all of them down.

Each measurement is a process of its own, so that peak memory is that of one reading and no one profits from another's
warm caches. This process stays small: a child inherits the peak of the process that starts it.
"""

from __future__ import annotations

import json
import statistics
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from benchmarks.subjects import warm

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SCRIPT: Final = Path(__file__).with_name("contestants.py")
SPARE: Final = 0.85
"""The share of the free memory that a contestant may be expected to need."""


@dataclass(frozen=True)
class Limits:
    """How long to measure: at most `rounds`; a contestant that has used `patience_s` leaves after `fewest` rounds."""

    rounds: int
    fewest: int
    patience_s: float
    longest_s: float = 900


@dataclass
class Score:
    """What was measured of one contestant on one file: the samples by round, or why there are none."""

    samples: dict[int, dict[str, Any]] = field(default_factory=dict)
    skipped: str = ""

    def median(self, key: str) -> float:
        """Return the median of one value of the samples."""
        return float(statistics.median(sample[key] for sample in self.samples.values()))

    @property
    def peak_bytes(self) -> int:
        """The largest peak of all rounds."""
        return int(max(sample["peak_bytes"] for sample in self.samples.values()))


@dataclass(frozen=True)
class Spread:
    """The median of `n` values, with their 10th and 90th percentiles."""

    median: float
    low: float
    high: float
    n: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Summarise at least one value."""
        if len(values) == 1:
            return cls(values[0], values[0], values[0], 1)
        deciles = statistics.quantiles(values, n=10, method="inclusive")
        return cls(statistics.median(values), deciles[0], deciles[-1], len(values))


def ratio(slow: Score, fast: Score) -> Spread | None:
    """Return how many times as long `slow` took, over the rounds that have both; None without one."""
    both = sorted(slow.samples.keys() & fast.samples.keys())
    ratios = [slow.samples[at]["seconds"] / fast.samples[at]["seconds"] for at in both]
    return Spread.of(ratios) if ratios else None


def compete(path: Path, pythons: Mapping[str, Path], limits: Limits, skipped: Mapping[str, str]) -> dict[str, Score]:
    """Let contestants read a file in turns.

    Args:
        path: The trace.
        pythons: Contestants, and the interpreter that each is installed for.
        limits: How long.
        skipped: Contestants that do not take part, and why.
    """
    scores = {name: Score(skipped=skipped.get(name, "")) for name in pythons}
    running = [name for name in pythons if not scores[name].skipped]
    for at in range(limits.rounds):
        turn = at % max(len(running), 1)
        for name in running[turn:] + running[:turn]:
            warm(path)
            _measure(name, path, pythons[name], scores[name], at)
        running = [name for name in running if not scores[name].skipped and not _is_done(scores[name], limits)]
    return scores


def _is_done(score: Score, limits: Limits) -> bool:
    used = sum(sample["seconds"] for sample in score.samples.values())
    return len(score.samples) >= limits.fewest and used * (1 + 1 / len(score.samples)) > limits.patience_s


def _measure(name: str, path: Path, python: Path, score: Score, at: int) -> None:
    """Take one sample; a contestant that fails says why, and takes no further part."""
    done = subprocess.run([python, "-P", SCRIPT, name, path], capture_output=True, text=True, check=False)
    if done.returncode == 0:
        score.samples[at] = json.loads(done.stdout.splitlines()[-1])
        return
    last = done.stderr.strip().splitlines()[-1:]
    score.skipped = f"failed: {last[0][:120]}" if last else f"ended with code {done.returncode}"
    score.samples.clear()


def too_much(score: Score, times: float, limits: Limits) -> str:
    """Say why a contestant should not read a file `times` as large as the one of its score; empty if it can."""
    if not score.samples:
        return score.skipped
    seconds = score.median("seconds") * times
    own = max(sample["peak_bytes"] - sample["import_bytes"] for sample in score.samples.values())
    need, free = own * times, _free_bytes()
    if free is not None and need > SPARE * free:
        return f"would need about {need / 1e9:.0f} GB of memory, of which {free / 1e9:.0f} GB are free"
    if seconds > limits.longest_s:
        return f"would take about {seconds / 60:.0f} minutes"
    return ""


def _free_bytes() -> int | None:
    """Return the memory that is free, where the operating system says so."""
    meminfo = Path("/proc/meminfo")
    if not meminfo.exists():
        return None
    entries = dict(line.split(":", 1) for line in meminfo.read_text().splitlines())
    return int(entries["MemAvailable"].split()[0]) * 1024
