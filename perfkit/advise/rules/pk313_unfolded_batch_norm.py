"""PK313 unfolded-batch-norm: batch norm after convolution, not training.

What it does:
    Looks for batch norms that directly follow a convolution, in a program
    that ran no backward pass.

Why it is slow:
    With fixed statistics a batch norm is one multiplication and one addition
    for each channel. Both can be put into the weights and the bias of the
    convolution before it, once; then it costs nothing.

Example:
    model.eval()
    with torch.inference_mode():
        model(images)               # convolution, batch norm, convolution, ...

Fix:
    from torch.nn.utils.fusion import fuse_conv_bn_eval
    block.conv = fuse_conv_bn_eval(block.conv, block.bn)
    block.bn = torch.nn.Identity()

    `torch.fx.experimental.optimization.fuse(model)` does it for a whole
    model, and so does `torch.compile` with `freezing`.

Fix safety:
    Check. Results differ in the last digits; the model cannot be trained
    any more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from perfkit.advise.rule import Rule
from perfkit.advise.saving import WRITTEN_BACK, Saving, rows_of, timelines, work_of
from perfkit.model.quantity import count, duration

if TYPE_CHECKING:
    from collections.abc import Iterator

    from perfkit.model.advice import Finding
    from perfkit.model.attribution import Attribution

__all__ = ["RULE"]

LEFT_BEHIND: Final = (0.5, 0.8, 1 + WRITTEN_BACK)
"""Part of the norms that a processor saves at least, usually and at most: what they read and wrote was in its caches
after them, and has to be brought there by the operators around them otherwise."""


def evaluate(attribution: Attribution) -> Iterator[Finding]:
    """Find batch norms after convolutions in a program that does not train."""
    for timeline in timelines(attribution):
        work = work_of(attribution, timeline)
        chains = [
            row for row in attribution.signs.chains if row.timeline == timeline.id and row.pattern == "batch_norm"
        ]
        if work is None or work.backward or not chains:
            continue
        norms, idle = sum(row.time_ns - row.kept_ns for row in chains), sum(row.idle_ns for row in chains)
        ends = 0.8 * norms, norms + idle / 3, norms + idle / 2
        if timeline.kind != "device":
            calling = sum(row.calling_ns for row in chains)
            least, usual, most = LEFT_BEHIND
            ends = least * norms + calling / 2, usual * norms + calling, most * norms + calling
        saving = Saving(attribution, timeline, norms + idle / 2, *ends)
        if not saving.matters:
            continue
        calls = sum(row.calls for row in chains)
        yield saving.finding(
            RULE.code,
            RULE.title,
            where=chains[0].where or chains[0].module,
            evidence=(f"{count(calls, 'batch norm')} after a convolution, {duration(norms)}; no backward pass.",),
            fix="Fold them into the convolutions: `torch.nn.utils.fusion.fuse_conv_bn_eval`.",
            safety="check",
            records=sum(row.records for row in chains),
        )._replace(rows=rows_of(chains))
        return


RULE = Rule(
    code="PK313",
    name="unfolded-batch-norm",
    title="Batch norms run that could be folded away",
    symptom="runs batch norms that could be folded",
    thread_symptom="runs batch norms that could be folded",
    documentation=__doc__ or "",
    evaluate=evaluate,
)
