"""Time lost to a set of causes on the timeline that loses the most to them, and the sentences that prove it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from perfkit.model.advice import Finding
from perfkit.model.quantity import count, duration, percent

if TYPE_CHECKING:
    from collections.abc import Collection
    from typing import Literal

    from perfkit.model.attribution import Attribution, Blame, Timeline
    from perfkit.model.prediction import WhatIf

__all__ = ["LEAST_NS", "LEAST_SHARE", "Loss", "largest_loss", "lost_ns", "part_of", "quote", "subject"]

LEAST_SHARE: Final = 0.01
"""A loss below this part of the window is not worth anybody's time."""
LEAST_NS: Final = 50_000
"""A loss below this is within what a profiler adds by itself: about a microsecond for each of some tens of records."""

_SET_UP_NS: Final = 10_000_000
"""An operator that takes so long to launch something, and not in every step, sets something up."""
_LONGEST_NAME: Final = 100
_MOST_CULPRITS: Final = 3
_LEAST_CULPRIT: Final = 0.05


class Loss(NamedTuple):
    """Time lost on one timeline: idle time and exposed work of the given causes."""

    attribution: Attribution
    timeline: Timeline
    causes: tuple[str, ...]
    ns: int

    @property
    def share(self) -> float:
        """Part of the timeline's window, 0 to 1."""
        return self.ns / self.timeline.window_ns

    @property
    def on_thread(self) -> bool:
        """Whether this is the time of a host thread, in a trace without device activity."""
        return self.timeline.kind == "host_thread"

    @property
    def matters(self) -> bool:
        """Whether it is large enough to be worth anybody's time."""
        return self.ns >= LEAST_NS and self.share >= LEAST_SHARE

    def blame(self) -> list[Blame]:
        """Return the host events that the loss is owed to, the worst first; a step as a whole explains nothing."""
        steps = {step.name for step in self.timeline.steps}
        rows = [row for row in self.attribution.blame if row.timeline == self.timeline.id and row.event not in steps]
        return sorted((row for row in rows if cause_of(row, self.timeline) in self.causes), key=lambda row: -row.ns)

    def by_event(self) -> list[Blame]:
        """Return those of them that have a name, each name once, whatever the thread; the worst first."""
        found: dict[str, Blame] = {}
        for row in self.blame():
            name = row.event or row.where
            if name in found:
                one = found[name]
                thread = row.thread if row.thread == one.thread else ""
                found[name] = one._replace(ns=one.ns + row.ns, gaps=one.gaps + row.gaps, thread=thread)
            elif name:
                found[name] = row
        return sorted(found.values(), key=lambda row: -row.ns)

    def amount(self) -> str:
        """Say how much is lost, and on which timeline where there are several."""
        text = part_of(self.timeline, self.ns)
        if len(self.attribution.timelines) == 1:
            return f"{text}."
        return f"{text} on {subject(self.attribution, self.timeline)}; {self._elsewhere()}."

    def culprits(self) -> tuple[str, ...]:
        """Say which host events the loss is owed to, in one sentence, or none where the trace names no event."""
        rows = [row for row in self.by_event() if row.ns >= _LEAST_CULPRIT * self.ns][:_MOST_CULPRITS]
        if not rows:
            return ()
        threads = {row.thread for row in rows}
        thread = f", on {quote(threads.pop())}" if len(threads) == 1 and "" not in threads else ""
        named = [self._culprit(row, " of it" if index == 0 else "") for index, row in enumerate(rows)]
        if self.on_thread:
            return (f"Most of it: {', '.join(named)}.",)
        return (f"The host was in {', '.join(named)}{thread}.",)

    def _culprit(self, row: Blame, of_what: str) -> str:
        """Name one host event, its part of the loss, and where the longest piece of it was."""
        details = [f"{percent(row.ns, self.ns, digits=0)}{of_what}"]
        if not self.on_thread:
            details.append(count(row.gaps, "gap"))
        if row.event and row.where not in ("", row.event):
            details.append(f"longest at {quote(row.where)}")
        return f"{quote(row.event or row.where)} ({', '.join(details)})"

    def finding(  # noqa: PLR0913  a field each
        self,
        rule: str,
        title: str,
        *,
        evidence: tuple[str, ...],
        fix: str,
        safety: Literal["safe", "check", "lossy"],
        where: str | None = None,
        what_if: tuple[WhatIf, ...] = (),
    ) -> Finding:
        """Make the Finding: without a replay, the saving is anything up to all that was lost."""
        culprit = next((row.where or row.event for row in self.blame() if row.where or row.event), "")
        return Finding(
            rule=rule,
            title=title,
            timeline=self.timeline.id,
            where=culprit if where is None else where,
            share=self.share,
            saving_ns=self.ns,
            saving_low_ns=0,
            saving_high_ns=self.ns,
            evidence=(self.amount(), *evidence),
            fix=fix,
            safety=safety,
            command="",
            causes=self.causes,
            what_if=what_if,
        )

    def _elsewhere(self) -> str:
        """Say what the same causes cost the other timelines."""
        others = [
            loss_of(self.attribution, other, self.causes) / other.window_ns
            for other in self.attribution.timelines
            if other.id != self.timeline.id and other.window_ns
        ]
        if not others:
            return "no other has activity in the window"
        low, high = percent(min(others)), percent(max(others))
        if len(others) == 1:
            return f"the other loses {low}"
        return f"the others lose {low if low == high else f'{low} to {high}'}"


def part_of(timeline: Timeline, ns: float) -> str:
    """Say how much of a timeline's window a time is, in a step where there are some."""
    window, steps = timeline.window_ns, len(timeline.steps)
    share = percent(ns, window)
    if steps > 1:
        each = f"{duration(ns / steps)} of each {duration(window / steps)} step ({share})"
        return f"{each}, {duration(ns)} over {count(steps, 'step')}"
    return f"{duration(ns)} of {'the one step' if steps else 'the window'} of {duration(window)} ({share})"


def cause_of(row: Blame, timeline: Timeline) -> str:
    """Return what idle time that a host event is blamed for was lost to: launching, or to set something up before."""
    steps = len(timeline.steps)
    once = row.ns >= _SET_UP_NS * row.gaps and (not steps or row.gaps < steps)
    return "initialization" if once and row.cause == "operator_dispatch" else row.cause


def loss_of(attribution: Attribution, timeline: Timeline, causes: Collection[str]) -> int:
    """Return the time of a timeline that was lost to these causes."""
    lost, taken = lost_ns(timeline, causes), ("initialization" in causes) - ("operator_dispatch" in causes)
    if not taken:
        return lost
    rows = (row for row in attribution.blame if row.timeline == timeline.id and row.cause == "operator_dispatch")
    return lost + taken * sum(row.ns for row in rows if cause_of(row, timeline) == "initialization")


def lost_ns(timeline: Timeline, causes: Collection[str]) -> int:
    """Return the time of a timeline that idle causes and busy classes of these names own."""
    return sum(timeline.idle.get(cause, 0) + timeline.busy.get(cause, 0) for cause in causes)


def largest_loss(attribution: Attribution, causes: tuple[str, ...], *, least_share: float = LEAST_SHARE) -> Loss | None:
    """Return the loss to these causes on the timeline where it is largest, or None where it is too small to matter."""
    losses = [
        Loss(attribution, timeline, causes, loss_of(attribution, timeline, causes))
        for timeline in attribution.timelines
        if timeline.window_ns
    ]
    largest = max(losses, key=lambda loss: loss.ns, default=None)
    if largest is None or largest.ns < LEAST_NS or largest.share < least_share:
        return None
    return largest


def subject(attribution: Attribution, timeline: Timeline) -> str:
    """Name a timeline within a sentence: ``the GPU``, ``GPU 3``, ``GPU 0 of process 71``, ``the busiest thread``."""
    if timeline.rank is not None:
        return of_rank(attribution, timeline)
    timelines = attribution.timelines
    if timeline.kind == "host_thread":
        same = [other for other in timelines if other.kind == "host_thread"]
        return "the busiest thread" if len(same) == 1 else f"the busiest thread of process {quote(timeline.process)}"
    if len(timelines) == 1:
        return "the GPU"
    if sum(other.device == timeline.device for other in timelines) == 1:
        return f"GPU {timeline.device}"
    return f"GPU {timeline.device} of process {quote(timeline.process)}"


def of_rank(attribution: Attribution, timeline: Timeline) -> str:
    """Name a timeline among those of several ranks: ``rank 3``, or ``GPU 1 of rank 3`` where that has several."""
    if timeline.kind == "host_thread":
        return f"the busiest thread of rank {timeline.rank}"
    if sum(other.rank == timeline.rank for other in attribution.timelines) == 1:
        return f"rank {timeline.rank}"
    return f"GPU {timeline.device} of rank {timeline.rank}"


def quote(name: str) -> str:
    """Set a name from the trace between backticks, shortened, with no backtick inside."""
    plain = name.replace("`", "'")
    return f"`{plain if len(plain) <= _LONGEST_NAME else f'{plain[: _LONGEST_NAME - 3]}...'}`"
