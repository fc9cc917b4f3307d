"""PK311 unfused-optimizer: a step of the optimizer is many operators.

What it does:
    Looks into `Optimizer.step` of Adam, AdamW, SGD and Adagrad for operators
    that each do a part of the update, one parameter after another or, as
    `_foreach_`, all parameters at once. What the fused one would take is
    estimated from the part that takes longest.

Why it is slow:
    AdamW reads and writes some twenty values a parameter when it is made of
    operators, and seven when it is fused. On small parameters it is the
    number of calls that costs, a dozen for each.

Example:
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)

Fix:
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)

Fix safety:
    Check. The same update, rounded differently in the last digits; it does
    not take every hook and every type of tensor.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from perfkit.advise.loss import quote
from perfkit.advise.rule import Rule
from perfkit.advise.saving import WRITTEN_BACK, Saving, timelines
from perfkit.model.quantity import count, duration

if TYPE_CHECKING:
    from collections.abc import Iterator

    from perfkit.model.advice import Finding
    from perfkit.model.attribution import Attribution, Timeline
    from perfkit.model.signs import Update

__all__ = ["RULE"]

FUSED_ONES: Final = ("Adam.", "AdamW.", "SGD.", "Adagrad.")
TRAFFIC: Final = 1.75
"""A fused update moves so many times the bytes of its widest part: it reads and writes all of the state, once."""
CALL_PART: Final = 0.2
"""What is left of the calls: preparing the lists of tensors."""


def evaluate(attribution: Attribution) -> Iterator[Finding]:
    """Find an optimizer whose step is not one operator."""
    found = []
    for timeline in timelines(attribution):
        for update in attribution.signs.updates:
            if update.timeline == timeline.id and can_be_fused(update):
                saving = saving_of(attribution, timeline, update)
                if saving.matters:
                    found.append((saving, update))
    if not found:
        return
    saving, update = max(found, key=lambda pair: pair[0].ns)
    how = "one parameter after another" if update.style == "loop" else "by `_foreach_` operators"
    on_device = saving.timeline.kind == "device"
    number = count(update.launches, "launch", "launches") if on_device else count(update.launches, "operator")
    host = duration(update.host_ns / update.calls)
    yield saving.finding(
        RULE.code,
        RULE.title,
        where=update.where or f"Optimizer.{update.name}",
        evidence=(
            f"{quote(update.name)} works {how}: {number} in {count(update.calls, 'call')}, {host} of the host each.",
        ),
        fix=f"`torch.optim.{update.name.partition('.')[0]}(..., fused=True)`.",
        safety="check",
        records=update.records,
    )


def can_be_fused(update: Update) -> bool:
    """Tell whether PyTorch has the step of this optimizer as one operator, and this is another way."""
    return update.name.startswith(FUSED_ONES) and update.name.endswith(".step") and update.style != "fused"


def saving_of(attribution: Attribution, timeline: Timeline, update: Update) -> Saving:
    """Return what one operator saves: the work beyond one pass, and the calls; at most all but its widest part.

    What a processor writes in those passes is written to memory while others run.
    """
    work = min(TRAFFIC * update.widest_ns, update.time_ns)
    if timeline.kind == "device":
        lost, later = update.time_ns + update.idle_ns, 0.0
        calls = update.idle_ns
    else:
        lost, later = update.host_ns, WRITTEN_BACK * (update.time_ns - work)
        calls = update.host_ns - update.time_ns
    saved = lost - work - CALL_PART * calls
    return Saving(attribution, timeline, lost, 0.7 * saved, saved, max(lost - update.widest_ns, saved) + later)


RULE = Rule(
    code="PK311",
    name="unfused-optimizer",
    title="The optimizer goes over the parameters many times",
    symptom="waits for an optimizer that is not fused",
    thread_symptom="steps an optimizer that is not fused",
    documentation=__doc__ or "",
    evaluate=evaluate,
)
