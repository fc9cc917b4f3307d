"""PK903 too-short: so little was recorded that one odd moment decides.

What it does:
    Looks at how many steps were recorded, the first one aside, and, where no
    steps are marked, at how long the recording is.

Why it is slow:
    Nothing is slower for it, but all other findings are less certain. A
    single step may be the one in which a checkpoint was written, and it may
    be a warm-up.

Example:
    with torch.profiler.profile() as profiler:
        step(batch)                             # one step

Fix:
    schedule = torch.profiler.schedule(wait=2, warmup=2, active=6)
    with torch.profiler.profile(schedule=schedule) as profiler:
        for batch in loader:
            step(batch)
            profiler.step()

Fix safety:
    Safe. Nothing but the recording changes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from perfkit.advise.rule import Rule
from perfkit.advise.saving import Saving, timelines
from perfkit.model.quantity import count, duration

if TYPE_CHECKING:
    from collections.abc import Iterator

    from perfkit.model.advice import Finding
    from perfkit.model.attribution import Attribution

__all__ = ["RULE"]

FEW_STEPS: Final = 3
SHORT_NS: Final = 1_000_000


def evaluate(attribution: Attribution) -> Iterator[Finding]:
    """Find a recording of too few steps, or of next to no time."""
    longest = max(timelines(attribution), key=lambda timeline: timeline.window_ns, default=None)
    if longest is None:
        return
    steps, window = len(longest.steps), duration(longest.window_ns)
    if steps >= FEW_STEPS or (not steps and longest.window_ns >= SHORT_NS):
        return
    recorded = f"{count(steps, 'step')} of {duration(longest.window_ns / steps)}" if steps else f"{window} in all"
    yield Saving(attribution, longest, 0, 0, 0, 0).finding(
        RULE.code,
        RULE.title,
        where="",
        evidence=(f"It holds {recorded}.",),
        fix="Record five steps or more, after a warm-up: `schedule(wait=2, warmup=2, active=6)`.",
        safety="safe",
    )


RULE = Rule(
    code="PK903",
    name="too-short",
    title="The recording is too short to rely on",
    symptom="was recorded too briefly",
    thread_symptom="was recorded too briefly",
    documentation=__doc__ or "",
    evaluate=evaluate,
)
