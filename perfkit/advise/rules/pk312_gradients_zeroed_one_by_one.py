"""PK312 gradients-zeroed-one-by-one: a launch for each parameter.

What it does:
    Looks into `Optimizer.zero_grad` for operators that write zeros.

Why it is slow:
    One small launch for each parameter, and the backward pass then has to
    read the zeros and add to them. Dropping the gradients costs nothing: the
    backward pass writes the new ones.

Example:
    optimizer.zero_grad(set_to_none=False)      # the default until PyTorch 2

Fix:
    optimizer.zero_grad(set_to_none=True)

Fix safety:
    Check. Code that reads `parameter.grad` has to expect None, and
    optimizers skip parameters without a gradient where zeros would still
    have decayed them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from perfkit.advise.loss import quote
from perfkit.advise.rule import Rule
from perfkit.advise.saving import Saving, timelines
from perfkit.model.quantity import count

if TYPE_CHECKING:
    from collections.abc import Iterator

    from perfkit.model.advice import Finding
    from perfkit.model.attribution import Attribution

__all__ = ["RULE"]


def evaluate(attribution: Attribution) -> Iterator[Finding]:
    """Find gradients that are filled with zeros."""
    for timeline in timelines(attribution):
        for update in attribution.signs.updates:
            if update.timeline != timeline.id or not update.name.endswith(".zero_grad") or not update.launches:
                continue
            own = update.host_ns if timeline.kind == "host_thread" else update.time_ns + update.idle_ns
            saving = Saving(attribution, timeline, own, 0.3 * own, 0.8 * own, own)
            if not saving.matters:
                continue
            yield saving.finding(
                RULE.code,
                RULE.title,
                where=update.where or f"Optimizer.{update.name}",
                evidence=(f"{quote(update.name)}: {count(update.launches, 'fill')} in {count(update.calls, 'call')}.",),
                fix="`zero_grad(set_to_none=True)`, the default since PyTorch 2.",
                safety="check",
            )
            return


RULE = Rule(
    code="PK312",
    name="gradients-zeroed-one-by-one",
    title="Gradients are set to zero one by one",
    symptom="waits while gradients are set to zero",
    thread_symptom="sets gradients to zero",
    documentation=__doc__ or "",
    evaluate=evaluate,
)
