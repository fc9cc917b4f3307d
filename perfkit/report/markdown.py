"""Draws a Diagnosis as GitHub-flavoured Markdown, for a pull request; names from the trace stand in code spans."""

from __future__ import annotations

import re
from pathlib import PurePath
from typing import TYPE_CHECKING, Final

from perfkit.model.quantity import duration, percent, rate, size
from perfkit.report import outline
from perfkit.report.pen import plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from perfkit.model.advice import Finding
    from perfkit.model.attribution import Timeline
    from perfkit.model.diagnosis import Diagnosis
    from perfkit.model.fleet import Fleet
    from perfkit.model.load import Load

__all__ = ["MOST_CHARACTERS", "code", "draw", "prose"]

MOST_CHARACTERS: Final = 65_000
"""GitHub refuses comments that are longer than 65,536 characters."""
DEFAULT_ROWS: Final = 20
LONGEST_NAME: Final = 200
BAR: Final = 20
MOST_KERNELS: Final = 8

# A zero-width space keeps @names and #numbers from becoming mentions and references.
SPECIAL: Final = {character: f"\\{character}" for character in "\\*_[]<>|~&"} | {"@": "@\u200b", "#": "#\u200b"}


def draw(diagnosis: Diagnosis, *, top: int | None = None) -> str:
    """Return the text, at most ``MOST_CHARACTERS`` long: tables are cut until it fits.

    Args:
        diagnosis: What to draw.
        top: Rows of each table; None for some twenty.
    """
    return fitted(lambda rows: parts(diagnosis, rows), top)


def fitted(parts: Callable[[int], Iterable[str]], top: int | None) -> str:
    """Return paragraphs, and tables with so many rows (None: some twenty), or as many as a comment holds."""
    rows = DEFAULT_ROWS if top is None else top
    while True:
        text = "\n\n".join(part for part in parts(rows) if part) + "\n"
        if len(text) <= MOST_CHARACTERS or rows == 0:
            return text[:MOST_CHARACTERS]
        rows //= 2


def parts(diagnosis: Diagnosis, rows: int) -> Iterable[str]:
    """Yield the paragraphs and tables in order."""
    timeline = outline.main_timeline(diagnosis)
    yield f"**{prose(diagnosis.advice.verdict)}**"
    path = PurePath(diagnosis.trace.path).name or diagnosis.trace.path
    if diagnosis.load is not None:
        yield from under_load(diagnosis.load)
    if diagnosis.trace.events or diagnosis.load is None:
        yield f"{code(path)}: {prose(outline.recorded(diagnosis))}"
    if timeline:
        yield prose(outline.windowed(diagnosis, timeline))
        yield causes(timeline)
    if diagnosis.fleet is not None:
        yield from ranks(diagnosis.fleet, rows)
    if diagnosis.profiles:
        yield from kernels(diagnosis)
    findings = diagnosis.advice.findings
    if findings:
        yield "### Largest bottlenecks"
        yield "\n".join(
            bottleneck(number, finding, diagnosis) for number, finding in enumerate(findings[: rows or 1], 1)
        )
    yield folded("Kernels, operators and copies", tables(diagnosis, rows))
    if diagnosis.fleet is None:
        yield folded("Other devices", [bullets(outline.other_timelines(diagnosis)[:rows])])
    blocked = outline.blocked_sentences(diagnosis)
    yield folded("Host threads held up", [bullets(blocked[:rows])])
    yield section("Energy", outline.energy(diagnosis))
    yield section("How it was recorded", outline.recorded_how(diagnosis)[: rows or 1])
    yield section("About the trace", outline.problems(diagnosis)[: rows or 1])
    yield section("Next", diagnosis.advice.next_steps)


def under_load(found: Load) -> Iterable[str]:
    """Yield how a service did under load."""
    from perfkit.report import load

    yield f"### {code(found.url)} under load"
    for head, rows in load.tables(found):
        cells = [tuple(map(prose, row)) for row in rows]
        yield table([name.capitalize() for name in head], "l" + "r" * (len(head) - 1), cells)
    yield bullets(load.sentences(found))


def ranks(found: Fleet, rows: int) -> Iterable[str]:
    """Yield what the ranks say together."""
    from perfkit.report import fleet

    yield f"### {fleet.title(found)}"
    yield bullets(fleet.remarks(found)[: rows or 1])
    cells = [tuple(map(prose, row)) for row in fleet.rank_rows(found)[:rows]]
    yield table([name.capitalize() for name in fleet.head(found)], "r" * len(fleet.head(found)), cells)
    cells = [(code(row[0], in_table=True), *map(prose, row[1:])) for row in fleet.collective_rows(found)[:rows]]
    yield table(
        [name.capitalize() for name in fleet.COLLECTIVE_HEAD], "l" + "r" * (len(fleet.COLLECTIVE_HEAD) - 1), cells
    )


def kernels(diagnosis: Diagnosis) -> Iterable[str]:
    """Yield what was measured of single kernels."""
    from perfkit.report import profiles

    shown = diagnosis.profiles[:MOST_KERNELS]
    head = [code(name, in_table=True) if name else "" for name in profiles.head(shown)]
    yield "### Profiled kernels"
    yield table(head, "l" + "r" * len(shown), [tuple(map(prose, row)) for row in profiles.rows(shown)])
    yield bullets([text for kernel in shown for text in profiles.sentences(kernel)])


def causes(timeline: Timeline) -> str:
    """Return the table of the owners of time."""
    steps = len(timeline.steps)
    rows = [
        (
            prose(row.label),
            percent(row.ns, timeline.window_ns),
            duration(row.ns / max(steps, 1)),
            "█" * round(BAR * row.ns / timeline.window_ns),
        )
        for row in outline.portions(timeline)
    ]
    return table(("Where the time goes", "Share", "A step" if steps else "Time", ""), "lrrl", rows)


def bottleneck(number: int, finding: Finding, diagnosis: Diagnosis) -> str:
    """Return one finding as an item of a numbered list."""
    where = f" at {code(finding.where)}" if finding.where else ""
    share, time = outline.price(finding, diagnosis)
    unit = " a step" if diagnosis.attribution.timelines[0].steps else ""
    worth = f": up to {share}, {time}{unit}" if finding.saving_ns else ""
    lines = [f"{number}. **{prose(finding.title)}** ({finding.rule}){where}{worth}"]
    lines.extend(f"   - {prose(sentence)}" for sentence in finding.evidence)
    if finding.assumptions:
        lines.append(f"   - *Assumed*: {prose(' '.join(finding.assumptions))}")
    lines.append(f"   - *Fix ({finding.safety})*: {prose(finding.fix)}")
    return "\n".join(lines)


def tables(diagnosis: Diagnosis, rows: int) -> list[str]:
    """Return the tables of kernels, operators, copies and collectives that have rows."""
    attribution = diagnosis.attribution
    kernels = [
        (code(row.name, in_table=True), row.kind, f"{row.calls:,}", duration(row.device_ns), duration(row.mean_ns))
        for row in attribution.kernels[:rows]
    ]
    operators = [
        (
            code(row.name, in_table=True),
            code(row.where, in_table=True) if row.where else "",
            f"{row.calls:,}",
            f"{row.launches:,}",
            duration(row.device_ns),
            duration(row.host_ns),
        )
        for row in attribution.operators[:rows]
    ]
    copies = [
        (
            code(row.kind, in_table=True),
            f"{row.calls:,}",
            duration(row.device_ns),
            size(row.bytes) if row.bytes else "",
            rate(row.bytes_per_s) if row.bytes else "",
        )
        for row in attribution.copies[:rows]
    ]
    collectives = [
        (code(row.name, in_table=True), f"{row.calls:,}", duration(row.device_ns), size(row.bytes) if row.bytes else "")
        for row in attribution.collectives[:rows]
    ]
    return [
        table(("Kernel", "Class", "Calls", "Time", "Mean"), "llrrr", kernels),
        table(("Operator", "Line", "Calls", "Launches", "Device", "Host"), "llrrrr", operators),
        table(("Copy", "Calls", "Time", "Bytes", "Rate"), "lrrrr", copies),
        table(("Collective", "Calls", "Time", "Bytes"), "lrrr", collectives),
    ]


def table(head: Sequence[str], sides: str, rows: Sequence[Sequence[str]]) -> str:
    """Return a table, or nothing where it has no rows; ``sides`` holds ``l`` or ``r`` for each column."""
    if not rows:
        return ""
    rule = ["---" if side == "l" else "--:" for side in sides]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, rule, *rows))


def folded(title: str, blocks: Iterable[str]) -> str:
    """Return blocks that are shown when asked for, or nothing where all are empty."""
    shown = [block for block in blocks if block]
    if not shown:
        return ""
    return "\n\n".join((f"<details><summary>{title}</summary>", *shown, "</details>"))


def section(title: str, texts: Sequence[str]) -> str:
    """Return a heading and a list, or nothing where the list is empty."""
    return f"### {title}\n\n{bullets(texts)}" if texts else ""


def bullets(texts: Iterable[str]) -> str:
    """Return a list."""
    return "\n".join(f"- {prose(text)}" for text in texts)


def prose(text: str) -> str:
    """Escape a sentence; what stands between backticks becomes a code span."""
    pieces = plain(text).split("`")
    if len(pieces) % 2 == 0:  # a backtick without its twin is only a character
        pieces = [*pieces[:-2], f"{pieces[-2]}'{pieces[-1]}"]
    return "".join(
        code(piece) if index % 2 else "".join(SPECIAL.get(character, character) for character in piece)
        for index, piece in enumerate(pieces)
    )


def code(name: str, *, in_table: bool = False) -> str:
    """Return a name as a code span, in which neither Markdown nor HTML means anything."""
    name = plain(name) or "(no name)"
    name = name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 3]}..."
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", name)), default=0))
    pad = " " if name[0] in "` " or name[-1] in "` " else ""
    if in_table:
        name = name.replace("|", "\\|")
    return f"{fence}{pad}{name}{pad}{fence}"
