"""PK301 launch-bound: the host launches more slowly than the device runs.

What it does:
    Counts the time in which a device was idle while the thread that feeds it
    was inside an operator on its way to a launch, inside the launch call
    itself, or had just launched and the kernel had not begun yet. On a CPU it
    counts stretches of operators that each take less than 20 microseconds,
    without what recording them takes, with the Python between them and what
    takes a tensor apart for them or puts it together again.

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
    without the host. Which way is open, the recorded steps tell: where all
    of them run the same kernels with the same grids and nothing waits for
    the device within, a CUDA graph does (`torch.cuda.graph`, or
    `torch.compile(model, mode="reduce-overhead")`). Where sizes differ,
    `torch.compile(model, dynamic=True)`, or a graph for each of a few sizes
    to which inputs are padded. Where a result is read within the step, no
    graph reaches across that: compile what lies between, or read it later.
    Where compiled regions are entered several times a step, the code between
    them is what breaks the graph: `TORCH_LOGS=graph_breaks` names it.

Fix safety:
    Check. Compiled and fused kernels round differently; a CUDA graph replays
    the same addresses and the same shapes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from perfkit.advise.loss import largest_loss, quote
from perfkit.advise.rule import Rule
from perfkit.advise.short_operators import calling
from perfkit.model.prediction import CaptureGraph
from perfkit.model.quantity import count, duration

if TYPE_CHECKING:
    from collections.abc import Iterator

    from perfkit.advise.loss import Loss
    from perfkit.model.advice import Finding
    from perfkit.model.attribution import Attribution, Timeline

__all__ = ["RULE"]

LESS: Final = "Launch less: fused optimizer, larger batch, `torch.compile`."
EITHER: Final = "Launch less: fused optimizer, larger batch, `torch.compile`; or with no host at all: CUDA graphs."
GRAPH: Final = 'Capture the step in a CUDA graph: `torch.cuda.graph`, or `torch.compile(..., mode="reduce-overhead")`.'
DYNAMIC: Final = "`torch.compile(..., dynamic=True)`; or pad to a few sizes, and capture a CUDA graph for each."
VARIED: Final = "`torch.compile`, or larger operators: no CUDA graph stands for steps that differ in what they do."
BETWEEN: Final = (
    "`torch.compile` what lies between the waits, or read the result later: no CUDA graph reaches across a wait."
)
BROKEN: Final = (
    'Have one compiled region a step (`TORCH_LOGS=graph_breaks` names what breaks it), with `mode="reduce-overhead"`.'
)
REDUCED: Final = 'Compile with `mode="reduce-overhead"`: the region still launches kernel by kernel.'
MOSTLY: Final = 0.75
"""Part of the steps that have to be alike: one odd step in four, in which something is logged, hinders no graph."""


def evaluate(attribution: Attribution) -> Iterator[Finding]:
    """Find time lost to dispatching operators, launching kernels, and waiting for the launched kernel to begin."""
    yield from calling(attribution, RULE.code)
    loss = largest_loss(attribution, ("operator_dispatch", "launch_overhead", "launch_latency"))
    if loss is None:
        return
    graph = loss.timeline.kind == "device"
    fix, why = way_out(attribution, loss.timeline) if graph else (LESS, ())
    # A graph takes the Python between launches off the path, too.
    most = min(loss.ns + loss.timeline.idle.get("python", 0), loss.timeline.window_ns)
    finding = loss.finding(
        RULE.code,
        RULE.title,
        evidence=(*pace(loss), *why, *loss.culprits()),
        fix=fix,
        safety="check",
        what_if=(CaptureGraph(),) if graph and fix not in (DYNAMIC, VARIED) else (),
    )
    yield finding._replace(saving_high_ns=most)


def way_out(attribution: Attribution, timeline: Timeline) -> tuple[str, tuple[str, ...]]:
    """Choose between a graph, compilation and both, by what the steps have in common; says why in a sentence."""
    found = next((row for row in attribution.signs.likeness if row.timeline == timeline.id), None)
    if found is None:
        return EITHER, ()
    regions = found.compiled / found.steps
    waits = [row for row in attribution.signs.waits if row.timeline == timeline.id and row.calls >= found.steps]
    if regions >= 1:
        said = f"Compiled regions are entered {regions:.3g} times a step, and launch kernel by kernel."
        return (BROKEN if regions > 1 else REDUCED), (said,)
    alike = f"{found.same_work} of {count(found.steps, 'step')} run the same kernels in the same order"
    if found.same_work < MOSTLY * found.steps:
        return VARIED, (f"No more than {alike}.",)
    if found.same_sizes < MOSTLY * found.steps:
        return DYNAMIC, (f"{alike}, but only {found.same_sizes} with the same grids: sizes differ.",)
    if waits:
        calls = sum(row.calls for row in waits) / found.steps
        place = f", most at {quote(waits[0].where)}" if waits[0].where else ""
        return BETWEEN, (f"{alike} and sizes, but the host waits for the device {calls:.3g} times in each{place}.",)
    return GRAPH, (f"{alike} with the same grids, and none waits for the device: one graph can stand for all.",)


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
