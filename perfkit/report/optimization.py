"""Draws a Patch: text, Markdown, JSON."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import perfkit
from perfkit.model.quantity import count, duration, rate, size
from perfkit.report.json import write
from perfkit.report.markdown import bullets, code, prose, table

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from perfkit.model.measurement import Measurement
    from perfkit.model.patch import Candidate, Passed, Patch, Site
    from perfkit.report.pen import Pen

__all__ = ["SCHEMA", "draw_json", "draw_markdown", "draw_text"]

SCHEMA: Final = "perfkit.optimization/1"
MOST_LINES: Final = 8
MODULES_SHOWN: Final = 3
NOT_LOOKED_INTO: Final = "Not looked into, but for the modules inside"


def headline(patch: Patch) -> str:
    """Say in a sentence what was done."""
    changed = [site for site in patch.sites if site.chosen]
    found = sum(site.calls for site in patch.sites)
    if not patch.sites:
        return "Nothing was found that could be done in another way."
    if not changed or patch.model is None:
        looked_at = count(found, "computation")
        return f"The model is left as it is: of {looked_at} looked at in a call, none is surely faster in another way."
    calls = sum(site.calls for site in changed)
    return f"{faster(patch.model)} as a whole, by {count(calls, 'change')} in {count(found, 'computation')} a call."


def faster(measured: Measurement) -> str:
    """Say how much faster something is, and how surely."""
    times = f"{duration(measured.base_ns)} to {duration(measured.candidate_ns)}"
    return f"{measured.speedup:.2f} times as fast ({measured.low:.2f} to {measured.high:.2f}; {times})"


def place(modules: Sequence[str]) -> str:
    """Say which modules."""
    names = [name or "the model itself" for name in modules]
    shown = ", ".join(names[:MODULES_SHOWN])
    return f"{shown} and {len(names) - MODULES_SHOWN:,} more" if len(names) > MODULES_SHOWN else shown


def facts(site: Site) -> Iterator[str]:
    """Yield what a site is."""
    remembered = "; judged in an earlier run" if site.remembered else ""
    if site.operators:
        yield f"{count(site.operators, 'operator')}, {count(site.calls, 'time')} a call, in {place(site.modules)}"
    yield f"of {', '.join(site.shapes)}{f', at {source(site.where)}' if site.where else ''}{remembered}"
    if site.predicted_ns:
        yield f"predicted by bytes and operators: {duration(site.predicted_ns)} saved each time{measured(site)}"


def measured(site: Site) -> str:
    """Say what the best candidate saved where it was measured, as against what was predicted."""
    saved = [one.alone.base_ns - one.alone.candidate_ns for one in site.candidates if one.alone is not None]
    best = max(saved, default=None)
    if best is None:
        return ""
    return f"; measured: {duration(best)}" if best > 0 else f"; measured: {duration(-best)} lost at best"


def source(where: str) -> str:
    """Shorten a file to what is known of it: a package's own path, or where it is from here."""
    for folder in ("/site-packages/", "/dist-packages/", f"{Path.cwd()}/"):
        if folder in where:
            return where.rsplit(folder, 1)[1]
    return where


def passed_over(passed: Passed) -> str:
    """Say what was not looked into, and why."""
    return f"{place(passed.modules)}: {passed.reason}"


def tried(candidate: Candidate) -> str:
    """Say what became of a candidate."""
    verdict = "applied" if candidate.accepted else "left out"
    parts = [f"{candidate.title}: {verdict}, {candidate.reason}"]
    if candidate.alone is not None and (candidate.accepted or candidate.in_model is not None):
        parts.append(f"{faster(candidate.alone)} at its place")
    if candidate.in_model is not None and candidate.accepted:
        parts.append(f"{candidate.in_model.speedup:.2f} times in the model")
    if candidate.error is not None and candidate.replaced_error is not None:
        parts.append(f"error {candidate.error:.1e}, before {candidate.replaced_error:.1e}")
    if candidate.alone is not None and candidate.alone.candidate_peak_bytes is not None:
        before = candidate.alone.base_peak_bytes or 0
        parts.append(f"peak memory {size(candidate.alone.candidate_peak_bytes)}, before {size(before)}")
    return "; ".join(parts)


def outcome(site: Site) -> str:
    """Say what was done at a site."""
    return f"now {site.chosen}" if site.chosen else f"left: {site.reason}"


def outcome_alone(site: Site) -> str:
    """Say the same, without what the candidates below say for themselves."""
    said = any(site.reason.startswith(f"{one.name} {one.reason}") for one in site.candidates)
    return "left as it is" if said and not site.chosen else outcome(site)


def measured_on(patch: Patch) -> str:
    """Say on what the figures were measured."""
    what = "forward and backward" if patch.mode == "train" else "forward"
    triton = f", Triton {patch.triton}" if patch.triton else ""
    return f"{what} on {patch.device}, torch {patch.torch}{triton}; a copy moves {rate(patch.bytes_per_s)}"


def draw_text(patch: Patch, pen: Pen) -> str:
    """Return the text, each line ending in a line break and no longer than the pen's width."""
    lines = [pen.paint(line, "good") for line in pen.wrap(headline(patch), pen.width, MOST_LINES)]
    lines += pen.wrap(measured_on(patch), pen.width, MOST_LINES)
    for site in patch.sites:
        lines += ["", *(pen.paint(line, "heading") for line in pen.wrap(site.title, pen.width, MOST_LINES))]
        for fact in (*facts(site), outcome_alone(site)):
            lines += [f"  {line}" for line in pen.wrap(fact, pen.width - 2, MOST_LINES)]
        for candidate in site.candidates:
            first, *others = pen.wrap(tried(candidate), pen.width - 6, MOST_LINES)
            lines += [f"    - {first}", *(f"      {line}" for line in others)]
    if patch.passed:
        lines += ["", pen.paint(NOT_LOOKED_INTO, "heading")]
        for passed in patch.passed:
            lines += [f"  {line}" for line in pen.wrap(passed_over(passed), pen.width - 2, MOST_LINES)]
    return "\n".join(line.rstrip() for line in lines) + "\n"


def draw_markdown(patch: Patch) -> str:
    """Return GitHub-flavoured Markdown."""
    rows = [
        (prose(site.title), code(place(site.modules), in_table=True), str(site.calls), prose(outcome(site)))
        for site in patch.sites
    ]
    parts = [f"**{prose(headline(patch))}**", prose(measured_on(patch))]
    if rows:
        parts.append(table(("Found", "Where", "Times", "Done"), "llrl", rows))
    for site in patch.sites:
        if site.candidates:
            parts += [
                f"**{prose(site.title)}**",
                bullets((*facts(site), *map(tried, site.candidates))),
            ]
    if patch.passed:
        parts += [
            f"{NOT_LOOKED_INTO}:",
            bullets(map(passed_over, patch.passed)),
        ]
    return "\n\n".join(parts) + "\n"


def draw_json(patch: Patch) -> str:
    """Return the JSON text, ASCII only, ending in a line break."""
    return write({"schema": SCHEMA, "perfkit": perfkit.__version__, **_document(patch)})


def _document(value: Any) -> Any:
    """Turn records into mappings, all the way down."""
    if hasattr(value, "_asdict"):
        return {name: _document(part) for name, part in value._asdict().items()}
    return list(map(_document, value)) if isinstance(value, tuple) else value
