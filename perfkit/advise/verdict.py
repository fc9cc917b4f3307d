"""The sentence to read first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from perfkit.advise.loss import quote, subject
from perfkit.model.quantity import count, duration, percent

if TYPE_CHECKING:
    from perfkit.model.advice import Finding
    from perfkit.model.attribution import Attribution, Timeline

__all__ = ["AVERAGES", "largest_kernel", "pronounce"]

LARGE: Final = 0.05
"""Part of the window from which the largest finding is the news; below it, the news is that little can be won."""
LITTLE: Final = 0.01
BUSY: Final = 0.9
"""Part of the window from which a device with no findings is simply busy."""
SHORT_NS: Final = 1_000_000
"""A window below this is a handful of kernels."""

AVERAGES: Final = frozenset({"trtexec-profile"})
"""Formats that hold how long things take and not when: of these, idle time is not known."""


def pronounce(
    attribution: Attribution,
    timeline: Timeline | None,
    symptom: str,
    worst: Finding | None,
    recorded_as: str = "",
    *,
    every: bool = True,
) -> str:
    """Sum up a timeline in a sentence.

    Args:
        attribution: Where the time goes.
        timeline: The timeline to speak of, or None where none has a window.
        symptom: What the device does under the largest finding; empty where there is none.
        worst: The largest finding.
        recorded_as: The format of the trace.
        every: Whether all rules were evaluated.

    Returns:
        One sentence.
    """
    if timeline is None and not attribution.timelines and recorded_as == "perfkit":
        return "Nothing ran while it was recorded: have the program work meanwhile, or load a service by its --url."
    if timeline is None:
        return nothing_recorded(attribution)
    name = subject(attribution, timeline)
    if len(attribution.timelines) > 1:
        name = f"{name} (of {len(attribution.timelines)})"
    name = f"{name[0].upper()}{name[1:]}"
    period = {0: "of the time", 1: "of the step"}.get(len(timeline.steps), "of each step")
    window = timeline.window_ns
    if worst is None and not timeline.busy_ns and python_alone(timeline):
        return f"{name} {stacks_say(attribution, timeline)}."
    if worst is None:
        does = "computes" if timeline.kind == "host_thread" else "is busy"
        works = f"{does} {percent(timeline.busy_ns, window, digits=0)} {period}"
        return f"{name} {works}: {nothing_to_win(timeline, every=every)}."
    computes = f"{percent(timeline.busy.get('compute', 0), window, digits=0)}"
    lost = f"{symptom} {percent(worst.share, digits=0)}"
    if max(worst.share, worst.saving_ns / window) < LARGE:
        return f"{name} computes {computes} {period}; the largest that has a remedy is small: it {lost}."
    return f"{name} {lost} {period} and computes {computes}."


def largest_kernel(attribution: Attribution) -> str:
    """Say of which kernel most of the time is, where no more is known."""
    total = sum(kernel.device_ns for kernel in attribution.kernels)
    largest = max(attribution.kernels, key=lambda kernel: kernel.device_ns, default=None)
    if largest is None or not total:
        return nothing_recorded(attribution)
    share = percent(largest.device_ns, total, digits=0)
    return (
        f"`{largest.name}` takes {share} of an average run of {duration(total)}; whether the device idles is not known."
    )


def python_alone(timeline: Timeline) -> bool:
    """Tell whether hardly anything is known of a timeline but that it ran Python, or waited for work."""
    return timeline.idle.get("python", 0) + timeline.idle.get("no_work", 0) >= BUSY * timeline.window_ns


def stacks_say(attribution: Attribution, timeline: Timeline) -> str:
    """Say what stacks alone tell of a thread."""
    python, waits, window = timeline.idle.get("python", 0), timeline.idle.get("no_work", 0), timeline.window_ns
    if python < LITTLE * window:
        return "waits for work all the time: nothing was asked of the program while it was recorded"
    share, waiting = (percent(ns, window, digits=0) for ns in (python, waits))
    said = f"waits for work {waiting} of the time and runs Python {share}" if waits else "runs Python"
    lines = [row for row in attribution.blame if row.timeline == timeline.id and row.cause == "python" and row.where]
    if lines:
        most = max(lines, key=lambda row: row.ns)
        said += f", most at {quote(most.where)} ({percent(most.ns, window, digits=0)})"
    return f"{said}, and no operator was recorded: what was computed is not in this trace"


def nothing_to_win(timeline: Timeline, *, every: bool) -> str:
    """Say why there are no findings."""
    unasked = timeline.idle.get("no_request", 0) + timeline.idle.get("no_work", 0)
    if unasked and timeline.busy_ns + unasked >= BUSY * timeline.window_ns:
        return "for the most of the rest it has nothing to do"
    if timeline.window_ns < SHORT_NS:
        return f"{duration(timeline.window_ns)} are too short to tell anything from"
    if not every:
        return "nothing that was looked for is worth your time"
    if timeline.busy_ns >= BUSY * timeline.window_ns:
        return "nothing that holds it up is worth your time"
    return "no single cause of its idle time is worth your time"


def nothing_recorded(attribution: Attribution) -> str:
    """Say that there is no time to attribute."""
    found = [timeline for timeline in attribution.timelines if timeline.activities]
    if any(timeline.window_kind == "steps" for timeline in found):
        return "Nothing ran within the recorded steps: look at the whole recording with `--window device-span`."
    if found:
        activities = count(sum(timeline.activities for timeline in found), "device activity", "device activities")
        return f"The trace holds {activities} of no length: there is no time to attribute."
    return "The trace holds no activity whose time could be attributed."
