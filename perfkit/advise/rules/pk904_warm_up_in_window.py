"""PK904 warm-up-in-window: the first steps take far longer than the rest.

What it does:
    Compares the first steps of the window with the median of those that
    follow. The first recorded step is left out of the window already. What
    compilation and initialization explain has rules of its own.

Why it is slow:
    The first steps fill caches and pools, search for the fastest algorithm
    and wait for workers to start. A long run does not feel it, but in a short
    recording it is a large part, and every other number is mixed with it.

Example:
    schedule = torch.profiler.schedule(wait=0, warmup=0, active=5)

Fix:
    schedule = torch.profiler.schedule(wait=3, warmup=2, active=6)

Fix safety:
    Safe. Nothing but the recording changes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from perfkit.advise.loss import LEAST_NS
from perfkit.advise.rule import Rule
from perfkit.advise.saving import Saving, timelines
from perfkit.model.quantity import count, duration, median

if TYPE_CHECKING:
    from collections.abc import Iterator

    from perfkit.model.advice import Finding
    from perfkit.model.attribution import Attribution

__all__ = ["RULE"]

FAR_LONGER: Final = 1.8
FEWEST: Final = 4
LEAST_SHARE: Final = 0.05
ONE_TIME: Final = ("compilation", "initialization")


def evaluate(attribution: Attribution) -> Iterator[Finding]:
    """Find first steps that take far longer than those that follow."""
    for timeline in timelines(attribution):
        steps = timeline.steps
        if len(steps) < FEWEST:
            continue
        took = [step.end_ns - step.start_ns - sum(step.idle.get(cause, 0) for cause in ONE_TIME) for step in steps]
        usual = median(took[len(took) // 2 :])
        slow = next((place for place, ns in enumerate(took) if ns < FAR_LONGER * usual), len(took))
        if not 0 < slow <= len(took) // 2:
            continue
        excess = sum(took[:slow]) - slow * usual
        if excess < max(LEAST_SHARE * timeline.window_ns, LEAST_NS):
            continue
        yield Saving(attribution, timeline, excess, 0, 0, 0).finding(
            RULE.code,
            RULE.title,
            where=steps[0].name,
            evidence=(
                f"The first {count(slow, 'step')} took {duration(sum(took[:slow]) / slow)}, "
                f"the others {duration(usual)}.",
            ),
            fix="Record later: `schedule(wait=3, warmup=2, active=6)`.",
            safety="safe",
        )
        return


RULE = Rule(
    code="PK904",
    name="warm-up-in-window",
    title="The first steps of the window are a warm-up",
    symptom="is still warming up",
    thread_symptom="is still warming up",
    documentation=__doc__ or "",
    evaluate=evaluate,
)
