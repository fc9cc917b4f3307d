"""PK304 python-between-launches: the device waits for the interpreter.

What it does:
    Counts the time in which a device was idle while the thread that feeds it
    ran Python: inside a recorded function or annotation, but not inside an
    operator, a loader or a call of the CUDA runtime.

Why it is slow:
    Between two launches the interpreter walks through modules, hooks,
    containers and bookkeeping. Where kernels are short, that is longer than
    the kernels. Recording Python stacks makes it slower still: a trace with
    stacks shows more of it than the program has.

Example:
    for name, parameter in model.named_parameters():    # in every step
        metrics[name].append(parameter.grad.norm())

Fix:
    Move bookkeeping out of the step or do it every hundredth one; compile the
    region (`torch.compile`), so that the interpreter leaves the path, or
    capture it as a CUDA graph.

Fix safety:
    Check. Compiled regions must not depend on side effects in Python.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from perfkit.advise.loss import largest_loss
from perfkit.advise.rule import Rule

if TYPE_CHECKING:
    from collections.abc import Iterator

    from perfkit.model.advice import Finding
    from perfkit.model.attribution import Attribution

__all__ = ["RULE"]

LEAST_THREAD_SHARE: Final = 0.05
"""Every program on a CPU spends a few percent of its time in Python, and more of it while that is recorded."""


def evaluate(attribution: Attribution) -> Iterator[Finding]:
    """Find time lost to Python code between operators."""
    loss = largest_loss(attribution, ("python",))
    if loss is None or (loss.on_thread and loss.share < LEAST_THREAD_SHARE):
        return
    compiled = "`torch.compile`" if loss.on_thread else "`torch.compile` or CUDA graphs"
    yield loss.finding(
        "PK304",
        "Python code runs between the operators" if loss.on_thread else RULE.title,
        evidence=loss.culprits(),
        fix=f"Move bookkeeping out of the step, or take Python off the path: {compiled}.",
        safety="check",
    )


RULE = Rule(
    code="PK304",
    name="python-between-launches",
    title="Python code runs between the launches",
    symptom="waits for Python code",
    thread_symptom="runs Python outside of operators",
    documentation=__doc__ or "",
    evaluate=evaluate,
)
