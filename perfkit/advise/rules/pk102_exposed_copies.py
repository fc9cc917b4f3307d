"""PK102 exposed-copies: the device copies while nothing else runs on it.

What it does:
    Counts the time in which a device did nothing but copy, and the time in
    which it was idle while the host was submitting a copy. Names the kinds of
    copy, their number, size and rate. Where most of it is from pageable
    memory, PK106 speaks instead.

Why it is slow:
    A copy engine works beside the compute units, so a copy can cost nothing.
    It costs its full time when it is on the stream of the kernels that
    follow, or when it is needed at once.

Example:
    for batch in loader:                            # pinned
        batch = batch.to("cuda", non_blocking=True)
        step(batch)                                 # needs it at once

Fix:
    Start the copy for the next batch on a side stream while this one is
    computed. Keep tensors on the device that are copied back and forth, and
    copy many small ones as one.

Fix safety:
    Check. What another stream has copied has to be waited for with an event,
    and `record_stream` keeps its memory from being used again too early.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from perfkit.advise.copies import copying, host_copies, sentence
from perfkit.advise.rule import Rule
from perfkit.model.prediction import OverlapCopies, Which

if TYPE_CHECKING:
    from collections.abc import Iterator

    from perfkit.model.advice import Finding
    from perfkit.model.attribution import Attribution

__all__ = ["RULE"]

MOST_KINDS: Final = 2
WITHIN: Final = "dtod"
FIX: Final = "Copy on a side stream while kernels run, copy less, or keep the data on the device."
FIX_WITHIN: Final = (
    "Write results where they are wanted (`out=`, views) instead of cloning and copying within the device."
)


def evaluate(attribution: Attribution) -> Iterator[Finding]:
    """Find time in which a device does nothing but copy, or waits for a copy to be submitted."""
    found = copying(attribution)
    if found is None or found[1]:
        return
    loss = found[0]
    copies = sorted(attribution.copies, key=lambda copy: -copy.device_ns)
    within = bool(copies) and WITHIN in copies[0].kind.lower()
    names = () if within else host_copies(attribution)
    yield loss.finding(
        RULE.code,
        RULE.title,
        evidence=(*(sentence(copy) for copy in copies[:MOST_KINDS]), *loss.culprits()),
        fix=FIX_WITHIN if within else FIX,
        safety="check",
        where=copies[0].kind if copies else None,
        what_if=(OverlapCopies(Which(names=names)),) if names else (),
    )


RULE = Rule(
    code="PK102",
    name="exposed-copies",
    title="Copies run while nothing else does",
    symptom="does nothing but copy",
    thread_symptom="does nothing but copy",
    documentation=__doc__ or "",
    evaluate=evaluate,
)
