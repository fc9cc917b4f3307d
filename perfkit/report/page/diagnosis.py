"""The page of a Diagnosis: verdict, bars, findings, timeline, flame graphs, steps and tables."""

from __future__ import annotations

from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from perfkit.model.quantity import sentence
from perfkit.report import outline
from perfkit.report.labels import cause_label
from perfkit.report.page import elements
from perfkit.report.page.grids import cut
from perfkit.report.page.shell import clean, render
from perfkit.report.page.tables import grids

if TYPE_CHECKING:
    from collections.abc import Sequence

    from perfkit.model.attribution import Timeline
    from perfkit.model.diagnosis import Diagnosis
    from perfkit.model.load import Load

__all__ = ["draw"]

SCRIPTS: Final = (
    "base.js",
    "steps.js",
    "timeline_data.js",
    "timeline_view.js",
    "timeline_paint.js",
    "timeline_move.js",
    "timeline_overview.js",
    "timeline.js",
    "flame.js",
    "tables.js",
)
MOST_TIMELINES: Final = 64


class Bar(NamedTuple):
    """A timeline as one bar: its owners, each with name, label and time."""

    label: str
    title: str
    window_ns: int
    parts: Sequence[tuple[str, str, int]]


def draw(diagnosis: Diagnosis, *, top: int | None = None) -> str:
    """Return the page.

    Args:
        diagnosis: What to draw; the timeline and the flame graphs are there if it has a picture.
        top: Rows of each table; None for as many as fit.
    """
    picture = diagnosis.picture
    lines = diagnosis.attribution.timelines
    main = outline.main_timeline(diagnosis)
    origin = picture.start_ns if picture else min((line.start_ns for line in lines), default=0)
    shown = [line for line in lines if line is main or picture] if main else []
    evidence = elements.evidence(diagnosis)
    data: dict[str, Any] = {
        "timelines": elements.timelines(shown[:MOST_TIMELINES], origin),
        "main": clean(main.id) if main else "",
        "findings": evidence,
    }
    if picture:
        data |= {"picture": elements.tracks(picture), "flames": elements.flames(picture)}
    path = PurePath(diagnosis.trace.path).name or diagnosis.trace.path
    verdict = diagnosis.advice.verdict
    headline, end, rest = verdict.partition(". ") if diagnosis.load else (verdict, "", "")
    return render(
        "diagnosis.html.j2",
        SCRIPTS,
        data,
        diagnosis=diagnosis,
        headline=f"{headline}{end.strip()}",
        rest=rest,
        path=path,
        recorded=outline.recorded(diagnosis),
        windowed=outline.windowed(diagnosis, main) if main else "",
        main=bar(main) if main else None,
        steps=len(main.steps) if main else 0,
        bars=[bar(line) for line in lines[:MOST_TIMELINES]] if len(lines) > 1 else [],
        bars_left_out=max(len(lines) - MOST_TIMELINES, 0),
        evidence=evidence,
        prices=[outline.price(finding, diagnosis) for finding in diagnosis.advice.findings],
        grids=cut(grids(diagnosis), top),
        remarks=remarks(diagnosis),
        problems=outline.problems(diagnosis),
        made=made(diagnosis),
        under=under(diagnosis.load) if diagnosis.load else None,
        picture=picture,
        by_line=bool(picture and any(flame.by == "line" for flame in picture.flames)),
    )


def bar(line: Timeline) -> Bar:
    """Return a timeline as a bar: what is busy first, then what is idle, the largest first."""
    busy, idle = ([(name, cause_label(name), ns) for name, ns in part.items() if ns] for part in (line.busy, line.idle))
    parts = [*sorted(busy, key=lambda part: -part[2]), *sorted(idle, key=lambda part: -part[2])]
    label = f"rank {line.rank}" if line.rank is not None else line.id
    return Bar(label, line.device_name or line.process, line.window_ns, parts)


def made(diagnosis: Diagnosis) -> list[tuple[str, list[str]]]:
    """Return how the trace was recorded and what the devices took, a heading and its sentences each."""
    said = (("How it was recorded", outline.recorded_how(diagnosis)), ("Energy", outline.energy(diagnosis)))
    return [(title, [sentence(text) for text in texts]) for title, texts in said]


def under(load: Load) -> dict[str, Any]:
    """Return what there is to show of a service under load."""
    from perfkit.report import load as words
    from perfkit.report.page import load as charts

    return {
        "histogram": charts.histogram(load),
        "splits": charts.splits(load),
        "curve": charts.curve(load.capacity),
        "tables": words.tables(load),
        "sentences": words.sentences(load),
    }


def remarks(diagnosis: Diagnosis) -> list[str]:
    """Return what many ranks say together, and what profiled kernels do, a sentence each."""
    found = []
    if diagnosis.fleet is not None:
        from perfkit.report import fleet

        found += fleet.remarks(diagnosis.fleet)
    if diagnosis.profiles:
        from perfkit.report import profiles

        found += [text for kernel in diagnosis.profiles for text in profiles.sentences(kernel)]
    return found
