"""PK301 launch-bound: the host launches more slowly than the device runs.

What it does:
    Counts the time in which a device was idle while the thread that feeds it
    was inside an operator on its way to a launch, inside the launch call
    itself, or had just launched and the kernel had not begun yet. On a CPU it
    counts stretches of operators that each take less than 20 microseconds,
    with the Python between them.

Why it is slow:
    An eager operator costs the host some ten microseconds before its kernel
    runs. Kernels shorter than that leave the device waiting between any two
    of them. Small batches, many small layers, optimizers that loop over
    parameters and element-wise arithmetic written out in Python have this
    fault.

Example:
    for parameter in model.parameters():        # some launches for each
        parameter.data.mul_(1 - lr * decay).add_(parameter.grad, alpha=-lr)

Fix:
    Fewer, larger operators: one `baddbmm` for a loop of `addmm`, an `LSTM`
    for a cell written out, `torch._foreach_*`, a larger batch. Or launch
    without the host: `torch.compile(model, mode="reduce-overhead")` or a
    CUDA graph, where shapes are fixed.

Fix safety:
    Check. Compiled and fused kernels round differently; a CUDA graph replays
    the same addresses and the same shapes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from perfkit.advise.loss import largest_loss
from perfkit.advise.rule import Rule
from perfkit.advise.short_operators import calling
from perfkit.model.prediction import CaptureGraph
from perfkit.model.quantity import count, duration

if TYPE_CHECKING:
    from collections.abc import Iterator

    from perfkit.advise.loss import Loss
    from perfkit.model.advice import Finding
    from perfkit.model.attribution import Attribution

__all__ = ["RULE"]


def evaluate(attribution: Attribution) -> Iterator[Finding]:
    """Find time lost to dispatching operators, launching kernels, and waiting for the launched kernel to begin."""
    yield from calling(attribution, RULE.code)
    loss = largest_loss(attribution, ("operator_dispatch", "launch_overhead", "launch_latency"))
    if loss is None:
        return
    # A graph takes the Python between launches off the path, too.
    most = min(loss.ns + loss.timeline.idle.get("python", 0), loss.timeline.window_ns)
    finding = loss.finding(
        RULE.code,
        RULE.title,
        evidence=(*pace(loss), *loss.culprits()),
        fix="Launch less: fused optimizer, larger batch, `torch.compile`; or with no host at all: CUDA graphs.",
        safety="check",
        what_if=(CaptureGraph(),) if loss.timeline.kind == "device" else (),
    )
    yield finding._replace(saving_high_ns=most)


def pace(loss: Loss) -> tuple[str, ...]:
    """Compare how long an activity runs with how long the device waits for the next, where there is device activity."""
    timeline = loss.timeline
    if timeline.kind != "device" or not timeline.activities:
        return ()
    mean = (timeline.kernel_sum_ns + timeline.copy_ns) / timeline.activities
    wait = duration(loss.ns / timeline.activities)
    steps = len(timeline.steps)
    number = count(round(timeline.activities / max(steps, 1)), "activity", "activities")
    where = f"{number} a step" if steps else number
    return (f"{where}: each runs {duration(mean)} on average, then the device waits {wait} for the next launch.",)


RULE = Rule(
    code="PK301",
    name="launch-bound",
    title="The host launches more slowly than the device computes",
    symptom="waits for the host to launch work",
    thread_symptom="calls operators too small to matter",
    documentation=__doc__ or "",
    evaluate=evaluate,
)
