"""PK303 initialization-in-window: one-time set-up is inside the window.

What it does:
    Counts the time in which a device was idle while its context was created,
    or while the very first launch of a kernel took over a millisecond.

Why it is slow:
    The driver loads a kernel's code when it is launched for the first time,
    libraries create their workspaces then, and some search for their fastest
    algorithm. It happens once; a long run does not feel it, a short recording
    does.

Example:
    with torch.profiler.profile() as profiler:      # from step one
        train(model, steps=3)

Fix:
    Let some steps pass before recording:
    `schedule=torch.profiler.schedule(wait=2, warmup=2, active=5)` and a
    `profiler.step()` in every step. For a service whose first request
    matters, run a request of each shape at start-up, or set
    `CUDA_MODULE_LOADING=EAGER`.

Fix safety:
    Safe. Nothing but the recording changes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from perfkit.advise.loss import largest_loss, lost_ns
from perfkit.advise.rule import Rule
from perfkit.model.prediction import RemoveHostTime

if TYPE_CHECKING:
    from collections.abc import Iterator

    from perfkit.model.advice import Finding
    from perfkit.model.attribution import Attribution

__all__ = ["RULE"]


def evaluate(attribution: Attribution) -> Iterator[Finding]:
    """Find time lost to set-up that happens once."""
    loss = largest_loss(attribution, ("initialization",))
    if loss is None:
        return
    yield loss.finding(
        "PK303",
        RULE.title,
        evidence=loss.culprits(),
        fix="Record after a warm-up: `schedule(wait=2, warmup=2, active=5)`; it is paid once, not in every step.",
        safety="safe",
        # A replay knows only what the trace calls so, and not what operators set up.
        what_if=(RemoveHostTime("initialization"),) if loss.ns == lost_ns(loss.timeline, loss.causes) else (),
    )


RULE = Rule(
    code="PK303",
    name="initialization-in-window",
    title="One-time set-up is inside the window",
    symptom="waits for one-time initialization",
    thread_symptom="waits for one-time initialization",
    documentation=__doc__ or "",
    evaluate=evaluate,
)
