"""Judges a diagnosis by what is known: which fault was planted, and what repairing it really gains."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from benchmarks.gallery.gain import Gain

Document = dict[str, Any]
"""What `perfkit diagnose --format json` prints."""

LEAST_ALARM: Final = 0.03
"""A finding on a repaired twin that promises more than this part of a step is a false alarm."""
WIDEST: Final = 0.30
"""An interval wider than this part of a step says too little."""
TOP: Final = 3


class Found(NamedTuple):
    """A finding, in parts of the window: what it promises to save."""

    rule: str
    where: str
    saving: float
    low: float
    high: float


@dataclass(frozen=True)
class Score:
    """How a program was diagnosed.

    Attributes:
        name: The program.
        expected: Codes of the rules that name its fault.
        findings: What was found, in order.
        alarms: What was found on the repaired twin that promises more than LEAST_ALARM.
        gain: What the repair gains.
    """

    name: str
    expected: tuple[str, ...]
    findings: tuple[Found, ...]
    alarms: tuple[Found, ...]
    gain: Gain

    @property
    def first(self) -> bool:
        """Whether the first finding names the fault."""
        return any(found.rule in self.expected for found in self.findings[:1])

    @property
    def among_first(self) -> bool:
        """Whether one of the first three does."""
        return any(found.rule in self.expected for found in self.findings[:TOP])

    @property
    def predicted(self) -> Found | None:
        """The first finding that names the fault, with what it promises."""
        return next((found for found in self.findings if found.rule in self.expected), None)

    @property
    def inside(self) -> bool:
        """Whether the measured gain lies within the predicted interval."""
        return self.predicted is not None and self.predicted.low <= self.gain.share <= self.predicted.high

    @property
    def narrow(self) -> bool:
        """Whether the interval is narrow enough to say something."""
        return self.predicted is not None and self.predicted.high - self.predicted.low <= WIDEST


def judge(name: str, expected: Sequence[str], faulty: Document, repaired: Document, gain: Gain) -> Score:
    """Score the diagnosis of a program and of its twin."""
    alarms = tuple(found for found in findings(repaired) if found.saving > LEAST_ALARM)
    return Score(name, tuple(expected), findings(faulty), alarms, gain)


def findings(document: Document) -> tuple[Found, ...]:
    """Return the findings of a diagnosis, savings as parts of the window of the timeline that each is about."""
    windows = {timeline["id"]: timeline["window_ns"] for timeline in document["timelines"]}
    return tuple(_found(finding, windows[finding["timeline"]]) for finding in document["findings"])


def _found(finding: Mapping[str, Any], window_ns: int) -> Found:
    ends = (finding[key] / window_ns for key in ("saving_ns", "saving_low_ns", "saving_high_ns"))
    return Found(finding["rule"], finding["where"], *ends)


class Tally(NamedTuple):
    """What came out of all programs together, and what was aimed at."""

    what: str
    good: int
    of: int
    wanted: int

    @property
    def holds(self) -> bool:
        """Whether the aim was reached."""
        return self.good >= self.wanted


def tally(scores: Sequence[Score]) -> tuple[Tally, ...]:
    """Count over all programs. Of twelve, eleven are to be named first, and ten gains predicted."""
    of = len(scores)
    return (
        Tally("first finding names the fault", sum(score.first for score in scores), of, -(-11 * of // 12)),
        Tally("one of the first three does", sum(score.among_first for score in scores), of, -(-11 * of // 12)),
        Tally("nothing above 3 % on the repaired twin", sum(not score.alarms for score in scores), of, of),
        Tally("measured gain inside the interval", sum(score.inside for score in scores), of, -(-10 * of // 12)),
        Tally("interval at most 30 % of the step", sum(score.narrow for score in scores), of, of),
    )
