"""PK602 late-rank: the other ranks wait for one that comes late.

What it does:
    Takes the traces of many ranks, brings their clocks together, and looks at
    each collective for the rank that arrived last. Speaks up when one rank
    causes far more than its part of the waiting, and says in what it spent
    the time by which it was late. The traces of all ranks are needed:
    `perfkit diagnose` takes the folder they lie in.

Why it is slow:
    A collective begins when its last member arrives. Whatever holds up one
    rank is paid for by all of them, every time, and in their own traces it
    looks like slow communication.

Example:
    for batch in loader:                    # rank 7's shard has longer texts
        loss = model(batch)
        loss.backward()                     # the others wait in all_reduce

Fix:
    Look at what the evidence names. In `compute`: uneven work (longer
    sequences, more experts, a larger shard), or a slower or throttled device.
    In `data_loading`: a slower disk, fewer workers. In a cause of the host:
    a busy machine, or code that only this rank runs, such as logging.
    When it is `before_recording`, record longer.

Fix safety:
    Check. Another distribution of work among ranks changes the order of
    sums.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from perfkit.advise.loss import LEAST_NS
from perfkit.advise.rule import Rule
from perfkit.model.advice import Finding
from perfkit.model.attribution import BUSY_CLASSES
from perfkit.model.fleet import BEFORE_RECORDING
from perfkit.model.quantity import count, duration, percent, sentence

if TYPE_CHECKING:
    from collections.abc import Iterator

    from perfkit.model.attribution import Attribution
    from perfkit.model.fleet import Fleet

__all__ = ["RULE"]

FIXES: Final = {
    "": "Compare its trace with another rank's: nothing in it takes longer than on the others.",
    "compute": "Give it as much work as the others, or another device: compare clocks, power and temperature.",
    "data_loading": "See to what its loader reads from: a disk as fast, and as many workers, as the others have.",
    BEFORE_RECORDING: "Record longer: it was late before anything was recorded, and that tells nothing of the steps.",
}
FIX_BUSY: Final = "Compare what it moves with the others: it is linked less well, or moves more."
FIX_IDLE: Final = (
    "See what its process does that the others' do not: `perfkit diagnose` with its `--rank` names the lines."
)


def evaluate(_: Attribution) -> Iterator[Finding]:
    """Find nothing: one rank does not tell."""
    yield from ()


def evaluate_fleet(attribution: Attribution, fleet: Fleet) -> Iterator[Finding]:
    """Find the rank that the others wait for."""
    late = fleet.straggler
    line = late and next((line for line in attribution.timelines if line.rank == late.rank), None)
    if not late or not line or not line.window_ns or late.delay_ns < LEAST_NS:
        return
    share = min(late.delay_ns / line.window_ns, 1.0)
    cost = (
        f"Rank {late.rank} arrives {duration(late.delay_ns)} after the last of the others, over "
        f"{count(late.late, 'collective')}: {percent(share)} of a window of {duration(line.window_ns)}."
    )
    yield Finding(
        rule=RULE.code,
        title=f"The other ranks wait for rank {late.rank}",
        timeline=line.id,
        where=f"rank {late.rank}",
        share=share,
        saving_ns=min(late.delay_ns, line.window_ns),
        saving_low_ns=0,
        saving_high_ns=min(late.delay_ns, line.window_ns),
        evidence=(cost, *map(sentence, late.evidence)),
        fix=FIXES.get(late.bucket, FIX_BUSY if late.bucket in BUSY_CLASSES else FIX_IDLE),
        safety="check",
        command="",
    )


RULE = Rule(
    code="PK602",
    name="late-rank",
    title="The other ranks wait for one that comes late",
    symptom="keeps the other ranks waiting",
    thread_symptom="keeps the other ranks waiting",
    documentation=__doc__ or "",
    evaluate=evaluate,
    evaluate_fleet=evaluate_fleet,
)
