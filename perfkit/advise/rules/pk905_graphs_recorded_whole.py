"""PK905 graphs-recorded-whole: a graph is one record, whatever is in it.

What it does:
    Counts the time of CUDA graphs that were recorded as a whole, as Nsight
    Systems does by default.

Why it is slow:
    Nothing is slower for it. But which kernels take the time inside of a
    graph, and whether the device idles between them, is not known: such a
    graph counts as computing from beginning to end.

Example:
    nsys profile --trace=cuda,nvtx python serve.py

Fix:
    nsys profile --trace=cuda,nvtx --cuda-graph-trace=node python serve.py

Fix safety:
    Safe. Nothing but the recording changes; it costs more than the default.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from perfkit.advise.rule import Rule
from perfkit.advise.saving import Saving, timelines, width_of
from perfkit.model.quantity import duration, percent

if TYPE_CHECKING:
    from collections.abc import Iterator

    from perfkit.model.advice import Finding
    from perfkit.model.attribution import Attribution

__all__ = ["RULE"]

LEAST_SHARE: Final = 0.05


def evaluate(attribution: Attribution) -> Iterator[Finding]:
    """Find graphs that were recorded as one piece."""
    for timeline in timelines(attribution):
        width = width_of(attribution, timeline)
        if width is None or width.graph_ns < LEAST_SHARE * timeline.window_ns:
            continue
        yield Saving(attribution, timeline, 0, 0, 0, 0).finding(
            RULE.code,
            RULE.title,
            where="",
            evidence=(
                f"{duration(width.graph_ns)} of graphs ({percent(width.graph_ns, timeline.window_ns)} of the window) "
                f"count as computing from beginning to end.",
            ),
            fix="Record with `--cuda-graph-trace=node`.",
            safety="safe",
        )
        return


RULE = Rule(
    code="PK905",
    name="graphs-recorded-whole",
    title="Kernels inside CUDA graphs were not recorded",
    symptom="runs graphs whose kernels were not recorded",
    thread_symptom="runs graphs whose kernels were not recorded",
    documentation=__doc__ or "",
    evaluate=evaluate,
)
