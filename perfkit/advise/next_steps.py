"""What to run, or to record differently, to learn more than this trace can tell."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from perfkit.model.advice import Finding
    from perfkit.model.attribution import Attribution, Timeline

__all__ = ["propose"]

FEW_STEPS: Final = 3
HOST_CAUSES: Final = frozenset(
    {"synchronization", "operator_dispatch", "launch_overhead", "host_compute", "os_wait", "python"}
)


def propose(attribution: Attribution, timeline: Timeline | None, findings: Sequence[Finding]) -> tuple[str, ...]:
    """Return sentences, the most useful first.

    Args:
        attribution: Where the time goes.
        timeline: The timeline that the advice is about.
        findings: What was found, largest first.
    """
    steps = []
    if findings:
        steps.append(f"`perfkit explain {findings[0].rule}`: what it means, and how to repair it.")
    if timeline is None:
        return tuple(steps)
    if timeline.kind == "host_thread":
        steps.append(
            "If the program uses a GPU, record it too: `activities=[CPU, CUDA]`. This trace has host activity only."
        )
    if attribution.window.source == "none":
        steps.append("Call `profiler.step()` once an iteration: then times are given per step, without the warm-up.")
    elif 0 < len(timeline.steps) < FEW_STEPS:
        steps.append("Record five steps or more after a warm-up: with fewer, one odd step decides.")
    if findings and not has_lines(attribution):
        steps.append("Record with `with_stack=True`: this trace does not name the lines of Python to blame.")
    return tuple(steps)


def has_lines(attribution: Attribution) -> bool:
    """Tell whether the trace names a line of Python for anything that Python could cause."""
    rows = [row for row in attribution.blame if row.cause in HOST_CAUSES]
    return not rows or any(row.where for row in rows)
