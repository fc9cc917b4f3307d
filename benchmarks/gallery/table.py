"""The table of the gallery, and its record to keep."""

from __future__ import annotations

import statistics
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from benchmarks.gallery.score import tally

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from benchmarks.gallery.score import Found, Score


def draw(title: str, scores: Sequence[Score]) -> Iterator[str]:
    """Draw a line a program, and below what all of them come to."""
    yield f"\n{title}"
    yield (
        f"  {'program':22} {'step ms':>8} {'expected':11} {'found first':18} {'top 1':5} {'top 3':5} "
        f"{'gain %, 95 % of n':19} {'predicted %':17} {'in':3} false alarms"
    )
    for score in scores:
        yield f"  {_row(score)}"
    yield from _totals(scores)


def draw_simulated(scores: Mapping[str, Sequence[Score]]) -> Iterator[str]:
    """Draw a line a fault that was planted into simulated programs, and below what all of them come to."""
    number = max(map(len, scores.values()), default=0)
    yield f"\nfaults planted in the simulator, {number} programs of each"
    yield (
        f"  {'fault':24} {'expected':11} {'top 1':>5} {'top 3':>5} {'gain %':17} "
        f"{'predicted - gain %':19} {'in':>3} {'wide':>4} {'alarms':>6}"
    )
    for name, some in scores.items():
        yield f"  {_row_of_many(name, some)}"
    yield from _totals([score for some in scores.values() for score in some])


def _row_of_many(name: str, scores: Sequence[Score]) -> str:
    gains = [100 * score.gain.share for score in scores]
    missed = [100 * (score.predicted.saving - score.gain.share) for score in scores if score.predicted]
    return (
        f"{name:24} {' '.join(scores[0].expected):11} {sum(score.first for score in scores):5} "
        f"{sum(score.among_first for score in scores):5} {_spread(gains):17} {_spread(missed):19} "
        f"{sum(score.inside for score in scores):3} {sum(not score.narrow for score in scores):4} "
        f"{sum(bool(score.alarms) for score in scores):6}"
    )


def _spread(values: Sequence[float]) -> str:
    """Give the median, the least and the most."""
    if not values:
        return "none"
    return f"{statistics.median(values):.1f} [{min(values):.1f}, {max(values):.1f}]"


def _totals(scores: Sequence[Score]) -> Iterator[str]:
    for line in tally(scores):
        yield f"  {'holds' if line.holds else 'FAILS':6}{line.what}: {line.good} of {line.of}, wanted {line.wanted}"


def record(score: Score) -> dict[str, Any]:
    """Return what is kept of one program."""
    return {
        "program": score.name,
        "expected": list(score.expected),
        "top_1": score.first,
        "top_3": score.among_first,
        "inside": score.inside,
        "narrow": score.narrow,
        "gain": asdict(score.gain),
        "findings": [found._asdict() for found in score.findings],
        "alarms": [found._asdict() for found in score.alarms],
    }


def record_simulated(score: Score) -> dict[str, Any]:
    """Return what is kept of one simulated program: its gain is exact, and of findings the one that names the fault."""
    kept = record(score)
    promised = score.predicted._asdict() if score.predicted else None
    return {
        **{key: kept[key] for key in ("program", "expected", "top_1", "top_3", "inside", "narrow")},
        "share": score.gain.share,
        "predicted": promised,
        "alarms": len(score.alarms),
    }


def _row(score: Score) -> str:
    first = score.findings[0] if score.findings else None
    gain, predicted = score.gain, score.predicted
    measured = f"{100 * gain.share:.1f} [{100 * gain.low:.1f}, {100 * gain.high:.1f}] {gain.n}"
    promised = "none"
    if predicted:
        promised = f"{100 * predicted.saving:.1f} [{100 * predicted.low:.1f}, {100 * predicted.high:.1f}]"
    wide = "" if score.narrow or not predicted else " wide"
    return (
        f"{score.name:22} {gain.faulty_ns / 1e6:8.2f} {' '.join(score.expected):11} "
        f"{_shown(first) if first else 'nothing':18} {_mark(score.first):5} {_mark(score.among_first):5} "
        f"{measured:19} {promised:17} {_mark(score.inside):3} "
        f"{', '.join(_shown(found) for found in score.alarms) or 'none'}{wide}"
    )


def _shown(found: Found) -> str:
    return f"{found.rule} {100 * found.saving:.1f} %"


def _mark(good: bool) -> str:  # noqa: FBT001
    return "yes" if good else "no"
