"""What every report says, in the same words and order; the drawers escape it, shorten it and lay it out."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from perfkit.model.quantity import count, duration, percent
from perfkit.report.labels import cause_label

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from perfkit.model.advice import Finding
    from perfkit.model.attribution import Operator, Timeline
    from perfkit.model.diagnosis import Diagnosis
    from perfkit.model.trace import Defect

__all__ = [
    "Portion",
    "blocked_sentences",
    "defects",
    "energy",
    "kernel_name",
    "main_timeline",
    "operator_names",
    "other_timelines",
    "portions",
    "price",
    "problems",
    "recorded",
    "recorded_how",
    "windowed",
]

Group = Literal["busy", "idle", "unknown"]
NAMESPACES: Final = re.compile(r"\Avoid |at::native::|\(anonymous namespace\)::")


class Portion(NamedTuple):
    """A part of a window with one owner."""

    label: str
    group: Group
    ns: int


def main_timeline(diagnosis: Diagnosis) -> Timeline | None:
    """Return the timeline that the verdict speaks of."""
    wanted = diagnosis.advice.timeline
    return next((timeline for timeline in diagnosis.attribution.timelines if timeline.id == wanted), None)


def portions(timeline: Timeline) -> list[Portion]:
    """Return the owners of a timeline's window, largest first, without those that own nothing."""
    rows = [Portion(cause_label(name), "busy", ns) for name, ns in timeline.busy.items()]
    for name, ns in timeline.idle.items():
        rows.append(Portion(cause_label(name), "unknown" if name.startswith("unattributed") else "idle", ns))
    return sorted((row for row in rows if row.ns), key=lambda row: -row.ns)


def recorded(diagnosis: Diagnosis) -> str:
    """Say what was read, after the file's name."""
    trace = diagnosis.trace
    parts = [trace.format, count(trace.events, "event")]
    if trace.rank is not None:
        parts.append(f"rank {trace.rank}{f' of {trace.world_size}' if trace.world_size else ''}")
    return ", ".join([*parts, *trace.notes])


def windowed(diagnosis: Diagnosis, timeline: Timeline) -> str:
    """Say which stretch of time of which device is looked at, and how it was found."""
    if timeline.kind == "host_thread":
        name = f"the busiest thread, {timeline.device_name or timeline.process or timeline.id}"
    else:
        name = timeline.device_name or f"device {timeline.device}"
    if len(diagnosis.attribution.timelines) > 1:
        name = f"{timeline.id}, {name}"
    return f"{name}: {stepped(diagnosis, timeline) if timeline.steps else spanned(diagnosis, timeline)}"


def stepped(diagnosis: Diagnosis, timeline: Timeline) -> str:
    """Say how many steps there are, how long they are, and where they come from."""
    number = len(timeline.steps)
    dropped = len(diagnosis.attribution.window.dropped)
    left_out = f", first{f' {dropped}' if dropped > 1 else ''} left out" if dropped else ""
    length = duration(timeline.window_ns / number)
    return f"{count(number, 'step')} of {length} ({diagnosis.attribution.window.source}{left_out})"


def spanned(diagnosis: Diagnosis, timeline: Timeline) -> str:
    """Say how long the whole recording is, and what the host did outside of it."""
    text = f"{duration(timeline.window_ns)} from first to last activity"
    if diagnosis.attribution.window.source == "none":
        text = f"{text}, no steps found"
    outside = ((timeline.lead_in_ns, "before"), (timeline.lead_out_ns, "after"))
    alone = " and ".join(f"{duration(ns)} {when}" for ns, when in outside if ns)
    return f"{text}; host alone {alone}" if alone else text


def price(finding: Finding, diagnosis: Diagnosis) -> tuple[str, str]:
    """Return what a finding saves: part of its window, and time, of a step if it has steps; ``-`` where it is none."""
    timeline = next((line for line in diagnosis.attribution.timelines if line.id == finding.timeline), None)
    if timeline is None or not finding.saving_ns:
        return "-", "-"
    return percent(finding.saving_ns, timeline.window_ns), duration(finding.saving_ns / max(len(timeline.steps), 1))


def defects(diagnosis: Diagnosis) -> list[Defect]:
    """Return the defects of the file and of what is in it, each once."""
    return list(dict.fromkeys((*diagnosis.trace.defects, *diagnosis.attribution.defects)))


def problems(diagnosis: Diagnosis) -> list[str]:
    """Say what is wrong with the trace, a sentence each."""
    found = [f"{defect.message}{occurrence(defect)}" for defect in defects(diagnosis)]
    timeline = main_timeline(diagnosis)
    if timeline and timeline.confidence != "high":
        found.insert(0, f"{timeline.confidence} confidence: {timeline.confidence_reason}")
    return [f"{text[:1].upper()}{text[1:]}" for text in (*found, *diagnosis.advice.problems)]


def occurrence(defect: Defect) -> str:
    """Say how often a defect was seen, unless its message does, and where first."""
    often = defect.count > 1 and f"{defect.count:,}" not in defect.message
    parts = [f"{defect.count:,} times"] if often else []
    if defect.first_offset >= 0:
        parts.append(f"{'first ' if defect.count > 1 else ''}at byte {defect.first_offset:,}")
    return f" ({', '.join(parts)})" if parts else ""


def recorded_how(diagnosis: Diagnosis) -> list[str]:
    """Say how the trace came to be, and what that cost the program, a sentence each."""
    if diagnosis.recording is None:
        return []
    from perfkit.report import recording  # few have one

    return recording.sentences(diagnosis.recording)


def energy(diagnosis: Diagnosis) -> list[str]:
    """Say what the devices took, or why that is not known; nothing of a trace that was not recorded here."""
    if diagnosis.recording is None and diagnosis.carbon is None:
        return []
    from perfkit.report import energy as words  # few have some

    return words.sentences(diagnosis)


def kernel_name(name: str) -> str:
    """Shorten the name of a kernel by what many begin with, so that the end of a row of a table tells them apart."""
    return NAMESPACES.sub("", name)


def operator_names(operators: Sequence[Operator]) -> list[str]:
    """Name operators with the module they ran in, or else their line; those of one name so far with both."""
    names = [(row.name, row.module.removeprefix("nn.Module: ")) for row in operators]
    often = Counter(names)
    found = []
    for row, (name, module) in zip(operators, names, strict=True):
        line = row.where.rpartition("/")[2] if not module or often[name, module] > 1 else ""
        place = ", ".join(filter(None, (module, line)))
        found.append(f"{name} in {place}" if place else name)
    return found


def blocked_sentences(diagnosis: Diagnosis) -> list[str]:
    """Say how long host threads were held up, and what each waited for the longest where that is known."""
    found = []
    for row in diagnosis.attribution.blocked:
        if not row.ns:
            continue
        share = percent(row.ns, row.window_ns)
        found.append(
            f"{row.thread}: {cause_label(row.cause)} {share}, {duration(row.ns)} in {count(row.calls, 'call')}"
        )
        waits = [wait for wait in diagnosis.attribution.signs.waits if wait.thread == row.thread]
        if row.cause == "synchronization" and waits:
            longest = max(waits, key=lambda wait: wait.blocked_ns)
            place = f", {longest.where}" if longest.where else ""
            found.append(f"longest: {duration(longest.blocked_ns)} in {longest.operator}{place}")
    return found


def other_timelines(diagnosis: Diagnosis) -> list[str]:
    """Say of each timeline but the main one how busy it is, and what it loses most time to."""
    others = [timeline for timeline in diagnosis.attribution.timelines if timeline.id != diagnosis.advice.timeline]
    return [
        f"{other.id}: busy {percent(other.busy_ns, other.window_ns)} of {duration(other.window_ns)}{most(other.idle)}"
        for other in others
    ]


def most(idle: Mapping[str, int]) -> str:
    """Name the largest idle cause."""
    cause = max(idle, key=lambda name: idle[name], default="")
    return f", idle most by {cause_label(cause)} ({duration(idle[cause])})" if cause and idle[cause] else ""
