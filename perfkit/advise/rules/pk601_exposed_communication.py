"""PK601 exposed-communication: the device does nothing but communicate.

What it does:
    Counts the time in which a device ran a collective or a transfer between
    devices, and no other kernel. Communication that runs beside computation
    costs little and is not counted.

Why it is slow:
    Part of that time moves data, the rest waits for the slowest rank to
    arrive. The trace of one rank tells them apart only where a collective
    took far longer than another one that moved as much: PK603 has that part.
    The other ranks' traces tell all of it. Gradients are reduced late if they
    come in one large bucket, and an all-gather that is asked for only when
    its result is needed has nothing to hide behind.

Example:
    loss.backward()
    for parameter in model.parameters():    # one by one, at the end
        dist.all_reduce(parameter.grad)

Fix:
    `DistributedDataParallel` with buckets (`bucket_cap_mb`) reduces during
    the backward pass; FSDP prefetches. Communicate less (`no_sync()` while
    accumulating gradients, bf16 gradients), and give every rank the same
    amount of work.

Fix safety:
    Check. Reducing in lower precision or less often changes the numbers;
    overlap alone does not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from perfkit.advise.loss import largest_loss, quote
from perfkit.advise.rule import Rule
from perfkit.model.prediction import OverlapCollectives
from perfkit.model.quantity import count, duration, percent
from perfkit.model.table import Table

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from perfkit.advise.loss import Loss
    from perfkit.model.advice import Finding
    from perfkit.model.attribution import Attribution
    from perfkit.model.fleet import Fleet

__all__ = ["RULE"]

MOST_COLLECTIVES: Final = 3
EXPOSED: Final = "exposed_communication"
SAME: Final = "moving data and waiting look the same"


def evaluate(attribution: Attribution) -> Iterator[Finding]:
    """Find time in which a device does nothing but communicate, without what is waiting for certain: PK603 has it."""
    waited: dict[str, int] = {}
    for row in attribution.signs.meetings:
        waited[row.timeline] = waited.get(row.timeline, 0) + row.exposed_ns
    remark = "beyond what PK603 counts, waiting looks the same as moving data" if waited else SAME
    yield from find(without(attribution, waited), f"{remark}.")


def evaluate_fleet(attribution: Attribution, fleet: Fleet) -> Iterator[Finding]:
    """Find such time once all ranks have arrived: PK602 or PK603 has the rest."""
    waited = {f"rank{row.rank}:{row.timeline}": row.exposed_wait_ns for row in fleet.ranks}
    yield from find(without(attribution, waited), "waiting for ranks that come late is not counted.")


def without(attribution: Attribution, waited: Mapping[str, int]) -> Attribution:
    """Return the attribution with less exposed communication on each timeline."""
    lines = []
    for line in attribution.timelines:
        moving = max(line.busy.get(EXPOSED, 0) - waited.get(line.id, 0), 0)
        lines.append(line._replace(busy={**line.busy, EXPOSED: moving}))
    return attribution._replace(timelines=Table(lines))


def find(attribution: Attribution, remark: str) -> Iterator[Finding]:
    """Find time in which a device does nothing but communicate, and remark on what is in it."""
    loss = largest_loss(attribution, (EXPOSED,))
    if loss is None:
        return
    collectives = sorted(attribution.collectives, key=lambda collective: -collective.device_ns)
    yield loss.finding(
        "PK601",
        RULE.title,
        evidence=evidence(loss, remark),
        fix="Overlap it with the backward pass (buckets, prefetch), communicate less, even out the ranks' work.",
        safety="check",
        where=collectives[0].name if collectives else "",
        what_if=(OverlapCollectives(),),
    )


def evidence(loss: Loss, remark: str) -> tuple[str, ...]:
    """Say how much of the communication is exposed, and which collectives there are."""
    total = loss.timeline.communication_ns
    share = percent(loss.ns, total)
    exposed = f"Of {duration(total)} of communication {share} is exposed; {remark}"
    named = ", ".join(
        f"{quote(collective.name)} ({count(collective.calls, 'call')}, {duration(collective.device_ns)})"
        for collective in sorted(loss.attribution.collectives, key=lambda row: -row.device_ns)[:MOST_COLLECTIVES]
    )
    return (exposed, f"The longest: {named}.") if named else (exposed,)


RULE = Rule(
    code="PK601",
    name="exposed-communication",
    title="Communication runs while nothing else does",
    symptom="does nothing but communicate",
    thread_symptom="does nothing but communicate",
    documentation=__doc__ or "",
    evaluate=evaluate,
    evaluate_fleet=evaluate_fleet,
)
