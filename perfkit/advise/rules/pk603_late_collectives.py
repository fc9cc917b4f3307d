"""PK603 late-collectives: collectives wait, now for one rank, now for another.

What it does:
    From the trace of one rank: looks for collectives that took more than
    twice as long as one that moved as much data, or more, on the same
    stream, and counts what they took beyond that while nothing computed.
    From the traces of many ranks: counts the time in which a collective ran
    and not every rank had arrived, where no single rank is to blame; PK602
    has the case that one is.

Why it is slow:
    A collective begins when its last member arrives. If ranks take now
    longer and now shorter, each step is as long as the longest of all.

Example:
    for batch in loader:                    # texts of 20 to 2,000 tokens
        loss = model(batch)
        loss.backward()                     # all wait for the longest text

Fix:
    Give ranks the same work in each step: batches by tokens instead of by
    samples, sequences of similar length together, experts with a capacity.
    Collect garbage on all ranks at the same step (`gc.freeze()`, then
    `gc.collect()` every so many steps), log and evaluate on all or none.
    Record all ranks: `perfkit diagnose FOLDER` names who was late and why.

Fix safety:
    Check. Another distribution of work among ranks changes the order of
    sums.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from perfkit.advise.loss import quote
from perfkit.advise.rule import Rule
from perfkit.advise.saving import Saving, timelines
from perfkit.model.quantity import count, duration

if TYPE_CHECKING:
    from collections.abc import Iterator

    from perfkit.model.advice import Finding
    from perfkit.model.attribution import Attribution
    from perfkit.model.fleet import Fleet, LateArrival

__all__ = ["RULE"]

MOST_NAMED: Final = 3
FIX_ALONE: Final = (
    "Record all ranks and diagnose the folder: it names who comes late, and why. Then even out their work."
)
FIX: Final = "Even out the ranks' work in each step, and do what is done now and then on all ranks at once."


def evaluate(attribution: Attribution) -> Iterator[Finding]:
    """Find collectives of one rank that wait for others."""
    for timeline in timelines(attribution):
        rows = [row for row in attribution.signs.meetings if row.timeline == timeline.id]
        exposed = sum(row.exposed_ns for row in rows)
        lost = min(exposed, timeline.busy.get("exposed_communication", 0))
        saving = Saving(attribution, timeline, lost, 0, lost, lost)
        if not saving.matters:
            continue
        yield saving.finding(
            RULE.code,
            RULE.title,
            where=rows[0].name,
            evidence=tuple(
                f"{quote(row.name)}: {row.late} of {count(row.calls, 'call')} took more than twice as long as one that "
                f"moves as much, up to {duration(row.longest_ns)} longer."
                for row in rows[:MOST_NAMED]
            ),
            fix=FIX_ALONE,
            safety="check",
        )
        return


def evaluate_fleet(attribution: Attribution, fleet: Fleet) -> Iterator[Finding]:
    """Find waiting for which no rank is to blame more than others: the mean over ranks is what evenness would save."""
    waited = {row.rank: row.exposed_wait_ns for row in fleet.ranks}
    longest = max(waited, key=lambda rank: waited[rank], default=-1)
    line = next((line for line in timelines(attribution) if line.rank == longest), None)
    if fleet.straggler or line is None:
        return
    saving = Saving(attribution, line, waited[longest], 0, sum(waited.values()) / len(waited), waited[longest])
    if saving.matters:
        yield saving.finding(
            RULE.code,
            RULE.title,
            where=f"rank {longest}",
            evidence=tuple(describe(late) for late in fleet.late_arrivals[:MOST_NAMED]),
            fix=FIX,
            safety="check",
        )


def describe(late: LateArrival) -> str:
    """Say who came how late to what, and by which cause."""
    group = f" of {quote(late.group)}" if late.group else ""
    cause = f", most of it {late.bucket.replace('_', ' ')} ({duration(late.bucket_ns)})" if late.bucket else ""
    return f"Rank {late.rank} came {duration(late.late_ns)} late to {late.kind} {late.call + 1}{group}{cause}."


RULE = Rule(
    code="PK603",
    name="late-collectives",
    title="Collectives wait for ranks that come late",
    symptom="waits for other ranks",
    thread_symptom="waits for other ranks",
    documentation=__doc__ or "",
    evaluate=evaluate,
    evaluate_fleet=evaluate_fleet,
)
