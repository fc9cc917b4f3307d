"""Draws a Diagnosis as one screen of text: as much of it as the height of the screen leaves room for."""

from __future__ import annotations

from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from perfkit.model.quantity import count, duration, percent
from perfkit.report import outline

if TYPE_CHECKING:
    from collections.abc import Sequence

    from perfkit.model.advice import Finding
    from perfkit.model.attribution import Timeline
    from perfkit.model.diagnosis import Diagnosis
    from perfkit.report.pen import Pen, Tone

__all__ = ["NARROWEST", "WIDEST", "draw"]

NARROWEST: Final = 40
WIDEST: Final = 100
"""Lines longer than this are hard to read, however wide the screen."""

MARGIN: Final = 2
TAB: Final = 7
LABEL: Final = 22
LONGEST_PLACE: Final = 100
PROFILE: Final = 26
"""Cells of the column of a profiled kernel."""
WIDTHS: Final = (9, 8, 10)
"""Cells of the columns at the right: a count, a share, a time."""


class Detail(NamedTuple):
    """How many lines each part may have; the defaults are the least."""

    portions: int = 4
    findings: int = 3
    read: int = 1
    evidence: int = 1
    amounts: bool = False
    assumptions: int = 0
    fixes: int = 0
    rows: int = 0
    ranks: int = 1
    operators: bool = False
    elsewhere: int = 0
    problems: int = 1
    notes: int = 1
    next_steps: int = 1


# What to add where there is room for it, the most useful first.
MORE: Final[tuple[dict[str, Any], ...]] = (
    {"read": 2},
    {"portions": 5},
    {"portions": 6},
    {"rows": 1},
    {"fixes": 1},
    {"notes": 2},
    {"next_steps": 2},
    {"ranks": 4},
    {"portions": 8},
    {"evidence": 2},
    {"rows": 3},
    {"problems": 2},
    {"fixes": 2},
    {"evidence": 4},
    {"operators": True},
    {"ranks": 8},
    {"portions": 10},
    {"rows": 5},
    {"problems": 4},
    {"next_steps": 4},
    {"elsewhere": 3},
    {"evidence": 9, "amounts": True},
    {"portions": 24},
    {"problems": 12, "notes": 4},
    {"elsewhere": 16},
    {"ranks": 16},
    {"evidence": 40, "assumptions": 9, "fixes": 9},
)


def draw(diagnosis: Diagnosis, pen: Pen, *, height: int | None = None, top: int | None = None) -> str:
    """Return the text, each line ending in a line break and no longer than the pen's width.

    Args:
        diagnosis: What to draw.
        pen: Width, colour and character set.
        height: Lines that there are; None for any number. One of them is left for the prompt.
        top: Rows of each table and number of findings; None leaves it to the height, and a number overrides it.
    """
    detail = Detail(**{name: value for more in MORE for name, value in more.items()})
    lines = Sheet(diagnosis, pen, detail, top).lines()
    if height is not None and top is None and len(lines) >= height:
        lines = fill(diagnosis, pen, height)
    return "".join(f"{line.rstrip()}\n" for line in lines)


def fill(diagnosis: Diagnosis, pen: Pen, height: int) -> list[str]:
    """Return fewer lines than ``height``, with as much detail as that leaves room for."""
    detail = Detail()
    lines = Sheet(diagnosis, pen, detail, None).lines()
    for more in MORE:
        richer = detail._replace(**more)
        drawn = Sheet(diagnosis, pen, richer, None).lines()
        if len(drawn) < height:
            detail, lines = richer, drawn
    return lines


class Sheet:
    """A Diagnosis being drawn in one degree of detail."""

    def __init__(self, diagnosis: Diagnosis, pen: Pen, detail: Detail, top: int | None) -> None:
        self.diagnosis = diagnosis
        self.pen = pen
        self.detail = detail
        self.findings = detail.findings if top is None else top
        self.rows = detail.rows if top is None else top
        self.timeline = outline.main_timeline(diagnosis)
        attribution = diagnosis.attribution
        self.window_ns = sum(timeline.window_ns for timeline in attribution.timelines)
        kernels, operators = attribution.kernels[: self.rows or 1], attribution.operators[: self.rows or 1]
        self.kernels = [(outline.kernel_name(row.name), row.calls, row.device_ns) for row in kernels]
        self.operators = [
            (name, row.calls, row.device_ns or row.host_ns)
            for name, row in zip(outline.operator_names(operators), operators, strict=True)
        ]

    def lines(self) -> list[str]:
        """Return the lines of all parts, parts separated by an empty one."""
        return self.joined(
            self.verdict(),
            self.load(),
            self.read() if self.diagnosis.trace.events or self.diagnosis.load is None else [],
            self.causes(),
            self.ranks(),
            self.profiles(),
            self.bottlenecks(),
            self.hot_spots(),
            self.elsewhere(),
            [*self.hottest(), *self.recording(), *self.problems(), *self.next_steps()],
        )

    def verdict(self) -> list[str]:
        """Draw the sentence to read first."""
        tone: Tone = "bad" if self.diagnosis.advice.findings else "good"
        return [self.pen.paint(line, tone) for line in self.pen.wrap(self.diagnosis.advice.verdict, self.pen.width, 4)]

    def read(self) -> list[str]:
        """Say what was read, and which part of it is looked at."""
        name = PurePath(self.diagnosis.trace.path).name or self.diagnosis.trace.path
        lines = [f"{name}: {outline.recorded(self.diagnosis)}"]
        if self.timeline:
            lines.append(outline.windowed(self.diagnosis, self.timeline))
        return [line for text in lines for line in self.pen.wrap(text, self.pen.width, self.detail.read)]

    def causes(self) -> list[str]:
        """Draw a bar for each owner of time."""
        timeline = self.timeline
        if timeline is None or not timeline.window_ns:
            return []
        rows = outline.portions(timeline)
        shown = rows if len(rows) <= self.detail.portions else rows[: self.detail.portions - 1]
        lines = [self.header("Where the time goes", ("share", "a step" if timeline.steps else "time"))]
        for row in shown:
            bar = self.pen.paint(self.pen.bar(row.ns / timeline.window_ns, self.bar_width), row.group)
            lines.append(self.row(row.label, bar, row.ns, timeline))
        rest = sum(row.ns for row in rows[len(shown) :])
        if rest:
            lines.append(self.row(f"{len(rows) - len(shown)} smaller", " " * self.bar_width, rest, timeline))
        return lines

    @property
    def bar_width(self) -> int:
        """Return the cells left for a bar."""
        return self.pen.width - MARGIN - self.label_width - 1 - sum(WIDTHS[-2:])

    @property
    def label_width(self) -> int:
        """Return the cells for a label: fewer on a narrow screen."""
        return min(LABEL, self.pen.width - MARGIN - sum(WIDTHS[-2:]) - 3)

    def header(self, title: str, columns: tuple[str, ...] = ()) -> str:
        """Draw a heading, with the names of the last columns at its right where it has some."""
        right = numbers(*columns)
        left = self.pen.fit(title, self.pen.width - len(right))
        return self.pen.paint(left if right else left.rstrip(), "heading") + self.pen.paint(right, "quiet")

    def row(self, label: str, bar: str, ns: int, timeline: Timeline) -> str:
        """Draw one owner of time."""
        amounts = numbers(percent(ns, timeline.window_ns), duration(ns / max(len(timeline.steps), 1)))
        return f"{' ' * MARGIN}{self.pen.fit(label, self.label_width)} {bar}{amounts}"

    def bottlenecks(self) -> list[str]:
        """Draw the largest findings with their evidence."""
        findings = self.diagnosis.advice.findings
        if not findings:
            return []
        unit = "a step" if self.timeline and self.timeline.steps else "time"
        lines = [self.header("Largest bottlenecks", ("up to", unit))]
        for number, finding in enumerate(findings[: self.findings], 1):
            lines.extend(self.bottleneck(number, finding))
        hidden = len(findings) - self.findings
        if hidden > 0 and self.detail.evidence > 1:
            lines.append(
                self.pen.paint(f"{' ' * MARGIN}and {count(hidden, 'smaller one')}: --top {len(findings)}", "quiet")
            )
        return lines

    def bottleneck(self, number: int, finding: Finding) -> list[str]:
        """Draw one finding: what, how much, why we think so, what to do."""
        price = numbers(*outline.price(finding, self.diagnosis))
        title = self.pen.fit(f"{number} {finding.rule} {finding.title}", self.pen.width - len(price))
        lines = [f"{title}{self.pen.paint(price, 'idle')}"]
        # The first sentence repeats the price: where there is no room it is left out, unless it has to name the device.
        brief = (
            len(finding.evidence) > 1 and not self.detail.amounts and finding.timeline == self.diagnosis.advice.timeline
        )
        evidence = " ".join(finding.evidence[1:] if brief else finding.evidence)
        where = finding.where if len(finding.where) <= LONGEST_PLACE else f"{finding.where[: LONGEST_PLACE - 3]}..."
        if where not in evidence[: self.detail.evidence * self.pen.width]:
            evidence = f"At `{where}`. {evidence}"
        texts = [(evidence, self.detail.evidence)]
        if self.detail.assumptions and finding.assumptions:
            texts.append((f"Assumed: {' '.join(finding.assumptions)}", self.detail.assumptions))
        if self.detail.fixes:
            texts.append((f"Fix ({finding.safety}): {finding.fix}", self.detail.fixes))
        indent = " " * (MARGIN + 1)
        for text, most in texts:
            lines.extend(f"{indent}{line}" for line in self.pen.wrap(text, self.pen.width - len(indent), most))
        return lines

    def ranks(self) -> list[str]:
        """Draw what the ranks say together: a line for each, and one for each kind of collective."""
        if self.diagnosis.fleet is None:
            return []
        from perfkit.report import fleet

        found = self.diagnosis.fleet
        remarks = [text for text in fleet.remarks(found) if text != self.diagnosis.advice.verdict]
        most = self.detail.ranks if self.rows == self.detail.rows else self.rows
        return self.joined(
            self.grid(fleet.title(found), fleet.head(found), fleet.rank_rows(found), most),
            self.grid("Collectives", fleet.COLLECTIVE_HEAD, fleet.collective_rows(found), self.rows),
            self.labelled(fleet.title(found), remarks[: max(self.detail.ranks // 2, 1)]),
        )

    def load(self) -> list[str]:
        """Draw how a service did under load: its tables, and what is to be said of them."""
        if self.diagnosis.load is None:
            return []
        from perfkit.report import load

        found = self.diagnosis.load
        tables = load.tables(found)
        titles = ["Under load", *("" for _ in tables[1:])]
        grids = [self.grid(title, head, rows, len(rows)) for title, (head, rows) in zip(titles, tables, strict=True)]
        said = [line for text in load.sentences(found) for line in self.pen.wrap(text, self.pen.width - MARGIN, 4)]
        return self.joined(*grids, [f"{' ' * MARGIN}{line}" for line in said])

    def profiles(self) -> list[str]:
        """Draw profiled kernels: a column each, as many as fit, and what is to be said of them."""
        kernels = self.diagnosis.profiles
        if not kernels:
            return []
        from perfkit.report import profiles

        shown = kernels[: max((self.pen.width - LABEL) // PROFILE, 1)]
        rows = [tuple(self.pen.fit(cell, PROFILE - 2).rstrip() for cell in row) for row in profiles.rows(shown)]
        head = tuple(self.pen.fit(cell, PROFILE - 2).rstrip() for cell in profiles.head(shown))
        lines = self.grid("Profiled kernels", head, rows, len(rows))
        if len(kernels) > len(shown):
            lines.append(
                self.pen.paint(f"{' ' * MARGIN}and {len(kernels) - len(shown):,} more: --format json", "quiet")
            )
        said = [text for kernel in shown for text in profiles.sentences(kernel)]
        return self.joined(lines, [line for text in said for line in self.pen.wrap(text, self.pen.width, 4)])

    def grid(self, title: str, head: Sequence[str], rows: Sequence[Sequence[str]], most: int) -> list[str]:
        """Draw a table of cells, its first column at the left; columns that find no room are left out."""
        if not rows or not most:
            return []
        shown = rows[:most]
        widths = [max(len(self.pen.clean(cell)) for cell in column) for column in zip(head, *shown, strict=True)]
        room = self.pen.width - MARGIN - sum(width + 2 for width in widths[1:])
        while room < min(widths[0], LABEL) and len(widths) > 2:  # noqa: PLR2004  the name and one number
            room += widths.pop() + 2
        first = min(widths[0], room)

        def line(cells: Sequence[str]) -> str:
            numbers = "".join(
                f"  {self.pen.clean(cell).rjust(width)}" for cell, width in zip(cells[1:], widths[1:], strict=False)
            )
            return f"{' ' * MARGIN}{self.pen.fit(cells[0], first)}{numbers}"

        named = [self.header(title)] if title else []
        lines = [*named, self.pen.paint(line(head), "quiet"), *map(line, shown)]
        if len(rows) > most > 1:
            lines.append(self.pen.paint(f"{' ' * MARGIN}and {len(rows) - most:,} more: --top {len(rows)}", "quiet"))
        return lines

    def hot_spots(self) -> list[str]:
        """Draw the kernels and operators with the most time."""
        kernels = self.table("Top kernels", self.kernels)
        wanted = self.detail.operators or not kernels
        return self.joined(kernels, self.table("Top operators", self.operators) if wanted else [])

    def hottest(self) -> list[str]:
        """Name the first kernel or operator in a line, where there is no room for a table."""
        rows = self.kernels or self.operators
        if not rows or self.rows:
            return []
        name, calls, ns = rows[0]
        amounts = numbers(f"{calls:,}x", percent(ns, self.window_ns), duration(ns))
        shown = self.pen.fit(name, self.pen.width - TAB - len(amounts))
        return [f"{self.pen.paint('Top'.ljust(TAB), 'heading')}{shown}{amounts}"]

    def table(self, title: str, rows: Sequence[tuple[str, int, int]]) -> list[str]:
        """Draw the first rows, given as name, calls and time."""
        if not rows or not self.rows:
            return []
        lines = [self.header(title, ("calls", "share", "time"))]
        space = self.pen.width - MARGIN - sum(WIDTHS)
        for name, calls, ns in rows[: self.rows]:
            shown = self.pen.fit(name or "(no name)", space)
            lines.append(f"{' ' * MARGIN}{shown}{numbers(f'{calls:,}', percent(ns, self.window_ns), duration(ns))}")
        return lines

    def elsewhere(self) -> list[str]:
        """Draw what the other timelines do, and how long host threads were held up."""
        most = self.detail.elsewhere
        if self.diagnosis.fleet is not None:
            return []
        others = outline.other_timelines(self.diagnosis)[:most]
        blocked = outline.blocked_sentences(self.diagnosis)
        return self.joined(
            self.listed("Other devices", others),
            self.listed("Host threads held up", blocked[:most]),
        )

    @staticmethod
    def joined(*parts: list[str]) -> list[str]:
        """Put parts together, with an empty line between those that have lines."""
        drawn: list[str] = []
        for part in parts:
            drawn.extend(["", *part] if drawn and part else part)
        return drawn

    def problems(self) -> list[str]:
        """Draw what is wrong with the trace."""
        problems = outline.problems(self.diagnosis)
        most = self.detail.problems
        if len(problems) > most:
            problems = [
                *problems[: most - 1],
                f"{problems[most - 1]}; and {count(len(problems) - most, 'more problem')}",
            ]
        return self.labelled("Trace", problems)

    def recording(self) -> list[str]:
        """Say how the trace came to be, and what that cost the program."""
        said = self.labelled("Record", outline.recorded_how(self.diagnosis)[: self.detail.problems + 1])
        return [*said, *self.labelled("Energy", outline.energy(self.diagnosis))]

    def next_steps(self) -> list[str]:
        """Draw what to run next."""
        return self.labelled("Next", self.diagnosis.advice.next_steps[: self.detail.next_steps])

    def listed(self, title: str, texts: Sequence[str]) -> list[str]:
        """Draw a heading and each text, its second line indented."""
        if not texts:
            return []
        wrapped = [self.pen.wrap(text, self.pen.width - 2 * MARGIN, 2) for text in texts]
        lines = [f"{' ' * MARGIN * (1 + (place > 0))}{line}" for some in wrapped for place, line in enumerate(some)]
        return [self.header(title), *lines]

    def labelled(self, label: str, texts: Sequence[str]) -> list[str]:
        """Draw texts beside a label."""
        wrapped = [line for text in texts for line in self.pen.wrap(text, self.pen.width - TAB, self.detail.notes)]
        return [
            f"{self.pen.paint(label.ljust(TAB), 'heading') if index == 0 else ' ' * TAB}{line}"
            for index, line in enumerate(wrapped)
        ]


def numbers(*cells: str) -> str:
    """Draw the last columns of a row."""
    return "".join(cell.rjust(width) for cell, width in zip(cells, WIDTHS[len(WIDTHS) - len(cells) :], strict=True))
