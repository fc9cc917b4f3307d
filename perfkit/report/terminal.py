"""Draws a Diagnosis as one screen of text: as much of it as the height of the screen leaves room for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Final

from perfkit.model.quantity import count, duration, percent
from perfkit.report import outline

if TYPE_CHECKING:
    from collections.abc import Sequence

    from perfkit.model.advice import Finding
    from perfkit.model.attribution import Kernel, Operator, Timeline
    from perfkit.model.diagnosis import Diagnosis
    from perfkit.report.pen import Pen, Tone

__all__ = ["NARROWEST", "WIDEST", "draw"]

NARROWEST: Final = 40
WIDEST: Final = 100
"""Lines longer than this are hard to read, however wide the screen."""

MARGIN: Final = 2
TAB: Final = 7
LABEL: Final = 22
SHARE: Final = 8
AMOUNT: Final = 10


@dataclass(frozen=True, slots=True)
class Detail:
    """How many lines each part may have."""

    portions: int
    findings: int
    evidence: int
    rows: int
    problems: int
    next_steps: int
    fixes: bool
    more: bool


# From the most to the least; the second but last is meant for 24 lines.
DETAILS: Final = (
    Detail(portions=24, findings=3, evidence=8, rows=5, problems=6, next_steps=4, fixes=True, more=True),
    Detail(portions=10, findings=3, evidence=4, rows=5, problems=4, next_steps=3, fixes=True, more=True),
    Detail(portions=8, findings=3, evidence=2, rows=3, problems=2, next_steps=2, fixes=True, more=False),
    Detail(portions=7, findings=3, evidence=2, rows=1, problems=1, next_steps=1, fixes=False, more=False),
    Detail(portions=6, findings=3, evidence=1, rows=1, problems=1, next_steps=1, fixes=False, more=False),
    Detail(portions=4, findings=3, evidence=1, rows=0, problems=1, next_steps=1, fixes=False, more=False),
)


def draw(diagnosis: Diagnosis, pen: Pen, *, height: int | None = None, top: int | None = None) -> str:
    """Return the text, each line ending in a line break and no longer than the pen's width.

    Args:
        diagnosis: What to draw.
        pen: Width, colour and character set.
        height: Lines that there are; None for any number. One of them is left for the prompt.
        top: Rows of each table and number of findings; None leaves it to the height, and a number overrides it.
    """
    for detail in DETAILS:
        lines = Sheet(diagnosis, pen, detail, top).lines()
        if height is None or top is not None or len(lines) < height:
            break
    return "".join(f"{line.rstrip()}\n" for line in lines)


class Sheet:
    """A Diagnosis being drawn in one degree of detail."""

    def __init__(self, diagnosis: Diagnosis, pen: Pen, detail: Detail, top: int | None) -> None:
        self.diagnosis = diagnosis
        self.pen = pen
        self.detail = detail
        self.findings = detail.findings if top is None else top
        self.rows = detail.rows if top is None else top
        self.timeline = outline.main_timeline(diagnosis)

    def lines(self) -> list[str]:
        """Return the lines of all parts, parts separated by an empty one."""
        parts = (
            self.verdict(),
            self.read(),
            self.causes(),
            self.bottlenecks(),
            self.hot_spots(),
            self.elsewhere(),
            [*self.problems(), *self.next_steps()],
        )
        drawn: list[str] = []
        for part in parts:
            if part and drawn:
                drawn.append("")
            drawn.extend(part)
        return drawn

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
        most = 2 if self.detail.fixes else 1
        return [line for text in lines for line in self.pen.wrap(text, self.pen.width, most)]

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
        return self.pen.width - MARGIN - self.label_width - 1 - SHARE - AMOUNT

    @property
    def label_width(self) -> int:
        """Return the cells for a label: fewer on a narrow screen."""
        return min(LABEL, self.pen.width - MARGIN - SHARE - AMOUNT - 3)

    def header(self, title: str, columns: tuple[str, str] | None = None) -> str:
        """Draw a heading, with the names of the two columns at its right where it has some."""
        right = f"{columns[0].rjust(SHARE)}{columns[1].rjust(AMOUNT)}" if columns else ""
        left = self.pen.fit(title, self.pen.width - len(right))
        return self.pen.paint(left, "heading") + self.pen.paint(right, "quiet")

    def row(self, label: str, bar: str, ns: int, timeline: Timeline) -> str:
        """Draw one owner of time."""
        share = percent(ns, timeline.window_ns).rjust(SHARE)
        amount = duration(ns / max(len(timeline.steps), 1)).rjust(AMOUNT)
        return f"{' ' * MARGIN}{self.pen.fit(label, self.label_width)} {bar}{share}{amount}"

    def bottlenecks(self) -> list[str]:
        """Draw the largest findings with their evidence."""
        findings = self.diagnosis.advice.findings
        if not findings:
            return []
        lines = [self.header("Largest bottlenecks")]
        for number, finding in enumerate(findings[: self.findings], 1):
            lines.extend(self.bottleneck(number, finding))
        hidden = len(findings) - self.findings
        if hidden > 0 and self.detail.fixes:
            lines.append(
                self.pen.paint(f"{' ' * MARGIN}and {count(hidden, 'smaller one')}: --top {len(findings)}", "quiet")
            )
        return lines

    def bottleneck(self, number: int, finding: Finding) -> list[str]:
        """Draw one finding: what, how much, why we think so, what to do."""
        price = outline.price(finding, self.timeline)
        space = self.pen.width - 2 - len(price) - 2
        title = f"{finding.title} ({finding.rule})"
        lines = [f"{number} {self.pen.fit(title, space)}  {self.pen.paint(price, 'idle')}"]
        # The first sentence repeats the price: it is left out where there is no room and something else to say.
        evidence = finding.evidence[1:] if len(finding.evidence) > 1 and not self.detail.more else finding.evidence
        texts = [(" ".join(evidence), self.detail.evidence)]
        if self.detail.fixes:
            texts.append((f"Fix ({finding.safety}): {finding.fix}", 2))
        indent = " " * (MARGIN + 1)
        for text, most in texts:
            lines.extend(f"{indent}{line}" for line in self.pen.wrap(text, self.pen.width - len(indent), most))
        return lines

    def hot_spots(self) -> list[str]:
        """Draw the kernels and operators with the most time."""
        attribution = self.diagnosis.attribution
        lines = self.table("Top kernels", attribution.kernels)
        if self.detail.more or not lines:
            lines.extend(self.table("Top operators", attribution.operators))
        return lines

    def table(self, title: str, rows: Sequence[Kernel | Operator]) -> list[str]:
        """Draw the first rows: name, calls, time."""
        if not rows or not self.rows:
            return []
        window = sum(timeline.window_ns for timeline in self.diagnosis.attribution.timelines)
        lines = [self.header(title, ("share", "time"))]
        for row in rows[: self.rows]:
            ns = row.device_ns or getattr(row, "host_ns", 0)
            calls = count(row.calls, "call").rjust(13)
            space = self.pen.width - MARGIN - len(calls) - SHARE - AMOUNT
            name = self.pen.fit(row.name.removeprefix("void ") or "(no name)", space)
            lines.append(f"{' ' * MARGIN}{name}{calls}{percent(ns, window).rjust(SHARE)}{duration(ns).rjust(AMOUNT)}")
        return lines

    def elsewhere(self) -> list[str]:
        """Draw what the other timelines do, and how long host threads were held up."""
        if not self.detail.more:
            return []
        others = outline.other_timelines(self.diagnosis)[: self.detail.problems]
        blocked = [outline.blocked_sentence(row) for row in self.diagnosis.attribution.blocked if row.ns]
        return self.listed("Other devices", others) + self.listed(
            "Host threads held up", blocked[: self.detail.problems]
        )

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

    def next_steps(self) -> list[str]:
        """Draw what to run next."""
        return self.labelled("Next", self.diagnosis.advice.next_steps[: self.detail.next_steps])

    def listed(self, title: str, texts: Sequence[str]) -> list[str]:
        """Draw a heading and a line for each text."""
        if not texts:
            return []
        return [self.header(title), *(f"{' ' * MARGIN}{self.pen.fit(text, self.pen.width - MARGIN)}" for text in texts)]

    def labelled(self, label: str, texts: Sequence[str]) -> list[str]:
        """Draw texts beside a label."""
        most = 2 if self.detail.fixes else 1
        wrapped = [line for text in texts for line in self.pen.wrap(text, self.pen.width - TAB, most)]
        return [
            f"{self.pen.paint(label.ljust(TAB), 'heading') if index == 0 else ' ' * TAB}{line}"
            for index, line in enumerate(wrapped)
        ]
