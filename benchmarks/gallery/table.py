"""The table of the gallery, and its record to keep."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from benchmarks.gallery.score import tally

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

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
