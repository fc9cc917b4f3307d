"""Findings from signs: what would be saved, in three numbers, where the fault's own time tells."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, NamedTuple

from perfkit.advise.loss import LEAST_NS, LEAST_SHARE, part_of, subject
from perfkit.model.advice import Finding

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Literal

    from perfkit.model.attribution import Attribution, Timeline
    from perfkit.model.prediction import WhatIf
    from perfkit.model.signs import Chain, Width, Work

__all__ = [
    "LESS_OFTEN",
    "WRITTEN_BACK",
    "Saving",
    "called_ns",
    "rows_of",
    "timelines",
    "together",
    "width_of",
    "work_of",
]

LESS_OFTEN: Final = (0.7, 0.85, 0.95)
"""Part of what is done once for each batch that larger ones save: a few to a dozen become one."""

WRITTEN_BACK: Final = 1 / 3
"""What a processor writes stays in its caches, and goes to memory while others run: one in three of the bytes that a
copy moves, for it reads what is there, and the place where it writes, too. As many are fetched from memory by what
follows, where they are not copied."""


class Saving(NamedTuple):
    """What would be saved on one timeline, over its window: at least, probably and at most. Times are ns.

    ``lost_ns`` is what the fault takes, needed or not.
    """

    attribution: Attribution
    timeline: Timeline
    lost_ns: float
    low_ns: float
    ns: float
    high_ns: float

    @property
    def matters(self) -> bool:
        """Whether it is above the noise."""
        return self.ns >= LEAST_NS and self.ns >= LEAST_SHARE * self.timeline.window_ns

    def amount(self) -> str:
        """Say how much the fault takes, in a step where there are some."""
        text = part_of(self.timeline, self.lost_ns)
        if len(self.attribution.timelines) == 1:
            return f"{text}."
        return f"{text} on {subject(self.attribution, self.timeline)}."

    def finding(  # noqa: PLR0913  a field each
        self,
        rule: str,
        title: str,
        *,
        where: str,
        evidence: tuple[str, ...],
        fix: str,
        safety: Literal["safe", "check", "lossy"],
        what_if: tuple[WhatIf, ...] = (),
        records: int = 0,
    ) -> Finding:
        """Make the Finding; nothing is saved beyond the window."""
        window = self.timeline.window_ns
        low, expected, high = (int(min(max(ns, 0), window)) for ns in (self.low_ns, self.ns, self.high_ns))
        return Finding(
            rule=rule,
            title=title,
            timeline=self.timeline.id,
            where=where,
            share=min(max(self.lost_ns / window, 0.0), 1.0),
            saving_ns=expected,
            saving_low_ns=min(low, expected),
            saving_high_ns=max(high, expected),
            evidence=(self.amount(), *evidence) if self.lost_ns else evidence,
            fix=fix,
            safety=safety,
            command="",
            what_if=what_if,
            records=records,
        )


def together(*parts: tuple[float, float, float]) -> tuple[float, float, float]:
    """Add up what is saved in several ways: what one is off says nothing of the others, so that squares add up."""
    usual = sum(part[1] for part in parts)
    least = math.hypot(*(part[1] - part[0] for part in parts))
    most = math.hypot(*(part[2] - part[1] for part in parts))
    return usual - least, usual, usual + most


def called_ns(attribution: Attribution, timeline: Timeline, matrix_ns: int) -> int:
    """Return what a thread that computes takes beside matrix work and updates: mostly, it calls operators."""
    updates = sum(row.host_ns for row in attribution.signs.updates if row.timeline == timeline.id)
    return max(timeline.busy_ns + timeline.idle.get("python", 0) - matrix_ns - updates, 0)


def timelines(attribution: Attribution) -> Iterator[Timeline]:
    """Yield the timelines that have a window."""
    yield from (timeline for timeline in attribution.timelines if timeline.window_ns)


def width_of(attribution: Attribution, timeline: Timeline) -> Width | None:
    """Return what is known of the width of a timeline's work."""
    return next((row for row in attribution.signs.widths if row.timeline == timeline.id), None)


def rows_of(chains: Iterable[Chain]) -> tuple[int, ...]:
    """Return the rows of chains: their operators, and the kernels that those launched."""
    return tuple(row for chain in chains for rows in (chain.rows, *chain.kernels, *chain.backward) for row in rows)


def work_of(attribution: Attribution, timeline: Timeline) -> Work | None:
    """Return what is known of the kind of a timeline's program."""
    return next((row for row in attribution.signs.works if row.timeline == timeline.id), None)
