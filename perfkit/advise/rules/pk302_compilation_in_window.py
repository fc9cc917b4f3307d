"""PK302 compilation-in-window: kernels are compiled or loaded meanwhile.

What it does:
    Counts the time in which a device was idle while the thread that feeds it
    was compiling (`torch.compile`, Inductor, Triton) or loading code onto the
    device (`cuModuleLoadData`, `cuLibraryLoadData`).

Why it is slow:
    Compiling takes seconds, loading takes milliseconds, and nothing runs
    meanwhile. Once at the start is normal. In the middle of a program it
    means that shapes, dtypes or Python values keep changing, so that guards
    fail and a new variant is compiled, or that kernels are loaded when they
    are first called.

Example:
    model = torch.compile(model)
    for batch in loader:        # a new length: a new compilation
        model(batch)

Fix:
    Record after a warm-up to see the steady state. If it compiles there too:
    `TORCH_LOGS=recompiles` says why; pad to a few lengths, mark the dimension
    with `torch._dynamo.mark_dynamic`, or pass `dynamic=True`.

Fix safety:
    Safe. The same kernels run, only earlier.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from perfkit.advise.loss import largest_loss
from perfkit.advise.rule import Rule
from perfkit.model.prediction import RemoveHostTime

if TYPE_CHECKING:
    from collections.abc import Iterator

    from perfkit.model.advice import Finding
    from perfkit.model.attribution import Attribution

__all__ = ["RULE"]


def evaluate(attribution: Attribution) -> Iterator[Finding]:
    """Find time lost to compiling and loading code."""
    loss = largest_loss(attribution, ("compilation",))
    if loss is None:
        return
    yield loss.finding(
        "PK302",
        RULE.title,
        evidence=loss.culprits(),
        fix="Compile in a warm-up, outside the recording; if it happens again later, `TORCH_LOGS=recompiles` says why.",
        safety="safe",
        what_if=(RemoveHostTime("compilation"),),
    )


RULE = Rule(
    code="PK302",
    name="compilation-in-window",
    title="Kernels are compiled or loaded inside the window",
    symptom="waits for kernels to be compiled",
    thread_symptom="compiles or loads kernels",
    documentation=__doc__ or "",
    evaluate=evaluate,
)
