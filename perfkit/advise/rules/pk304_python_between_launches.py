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

from perfkit.advise.loss import largest_loss, quote
from perfkit.advise.rule import Rule
from perfkit.advise.saving import Saving, timelines
from perfkit.model.prediction import RemoveHostTime
from perfkit.model.quantity import count, duration

if TYPE_CHECKING:
    from collections.abc import Iterator

    from perfkit.model.advice import Finding
    from perfkit.model.attribution import Attribution

__all__ = ["RULE"]

RECURRING: Final = 0.75
"""Part of the steps in which a thread that computes has to run Python for long: once is a whim of the machine."""

LEAST_SAVED: Final = 0.5
"""Part of the Python that is saved at least: what a worker does instead has to be handed over, and takes a core that
the program may want. A batch that is ready takes 1 to 10 ms by its size (two virtual cores of an Intel Xeon)."""
FIXES: Final = {
    "": "Move it out of the step, into a worker of the loader or a thread, or do it by an operator.",
    "idling": "Have nothing to wait for in a step: hold locks for less, and let another thread read, write and wait.",
    "print": "Do not write a tensor as text in a step: print a number, or every hundred steps.",
    "collecting": "Collect no garbage in a step: `gc.freeze()` once all is set up, and `gc.collect()` every so often.",
}
"""What Python does, to how to do without."""
REFILLING_NS: Final = 400_000
"""Python has filled the caches with other things: to fetch 2 MB of a core's own again takes 0.11 ms in order, and 1.5
ms in any other (`sum` and indexing in PyTorch, two virtual cores of an Intel Xeon)."""


def evaluate(attribution: Attribution) -> Iterator[Finding]:
    """Find time lost to Python code between operators."""
    yield from between_operators(attribution)
    loss = largest_loss(attribution, ("python",))
    if loss is None or loss.on_thread:
        return
    yield loss.finding(
        RULE.code,
        RULE.title,
        evidence=loss.culprits(),
        fix="Move bookkeeping out of the step, or take Python off the path: `torch.compile` or CUDA graphs.",
        safety="check",
        what_if=(RemoveHostTime("python"),),
    )


def between_operators(attribution: Attribution) -> Iterator[Finding]:
    """Find Python that runs for long between the operators of a thread that computes."""
    for timeline in timelines(attribution):
        rows = [row for row in attribution.signs.stretches if row.timeline == timeline.id and row.kind == "no_operator"]
        calls, ns = sum(row.calls for row in rows), sum(row.ns for row in rows)
        saving = Saving(attribution, timeline, ns, LEAST_SAVED * ns, ns, ns + calls * REFILLING_NS)
        if not saving.matters or calls < RECURRING * len(timeline.steps):
            continue
        yield saving.finding(
            RULE.code,
            "Python code runs between the operators",
            where=rows[0].where,
            evidence=(
                f"No operator ran for {duration(ns / calls)} at a time, {count(calls, 'time')}"
                f"{f', most of it at {quote(rows[0].where)}' if rows[0].where else ''}"
                f"{''.join(f', in {quote(name)}' for name in rows[0].names)}.",
            ),
            fix=FIXES[rows[0].doing],
            safety="check",
            records=sum(row.records for row in rows),
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
