"""PK305 host-compute: the device waits while the host computes.

What it does:
    Counts the time in which a device was idle while the thread that feeds it
    was inside an operator of over a millisecond that launched nothing: work
    on CPU tensors. Code outside of operators that samples of the processor
    show to have run counts, too.

Why it is slow:
    The work is on the path of the step and uses one or a few cores, while the
    device that could do it faster waits. Typical are tensors made on the CPU
    and moved later, transforms in the training loop, metrics, tokenizers and
    optimizers that keep their state on the host.

Example:
    noise = torch.randn(batch.shape)            # made on the CPU
    batch = batch + noise.to("cuda")

Fix:
    noise = torch.randn(batch.shape, device="cuda")

    What has to stay on the host can move to the loader's workers, or to a
    thread that works one step ahead.

Fix safety:
    Check. Random numbers and rounding differ between the CPU and a GPU.
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
    """Find time lost to long operators that launch nothing, and to code that was only sampled."""
    loss = largest_loss(attribution, ("host_compute", "host_code"))
    if loss is None:
        return
    yield loss.finding(
        "PK305",
        RULE.title,
        evidence=loss.culprits(),
        fix="Make these tensors on the device, or prepare them in the loader's workers, one step ahead.",
        safety="check",
        what_if=(RemoveHostTime("host_compute"),),
    )


RULE = Rule(
    code="PK305",
    name="host-compute",
    title="The host computes while the device waits",
    symptom="waits for computation on the host",
    thread_symptom="computes on the host",
    documentation=__doc__ or "",
    evaluate=evaluate,
)
