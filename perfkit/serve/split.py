"""The requests that were sent, joined with the marks that the trace has of them: where the time of a request goes."""

from __future__ import annotations

from statistics import fmean
from typing import TYPE_CHECKING, Final

from perfkit.model.load import RequestSplit
from perfkit.model.requests import REQUEST_PARTS
from perfkit.serve.measure import quantiles
from perfkit.serve.service_time import fit

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from perfkit.model.load import ServiceTime
    from perfkit.model.requests import RequestTimes
    from perfkit.serve.client import Outcome

__all__ = ["fit_service", "split"]

TAIL: Final = 0.1
"""The slowest of ten requests are looked at apart."""


def split(outcomes: Sequence[Outcome], times: RequestTimes) -> RequestSplit:
    """Say where the time of requests goes, from due to answered.

    What is outside of the mark in the service, but for what the generator was late, is queueing, too: the request waits
    in a socket or for the service's event loop. On loopback the way itself takes some hundredths of a millisecond.
    """
    marks = {time.id: time for time in times.requests if time.id}
    known = [outcome for outcome in outcomes if outcome.id in marks]
    rows = []
    for outcome in known:
        mark = marks[outcome.id]
        if outcome.error or not mark.parts:
            continue
        outside = max(outcome.ended - outcome.sent - (mark.end_ns - mark.start_ns), 0)
        parts = {"sending": outcome.sent - outcome.intended, **mark.parts}
        parts["queueing"] += outside
        rows.append((outcome.ended - outcome.intended, parts))
    rows.sort(key=lambda row: row[0])
    slowest = rows[-max(round(TAIL * len(rows)), 1) :]
    answered = [outcome for outcome in outcomes if not outcome.error]
    return RequestSplit(
        sent=len(outcomes),
        answered=len(answered),
        marked=len(known),
        others=len(times.requests) - len(known),
        split=len(rows),
        mean_ns=means([parts for _, parts in rows]),
        tail_ns=means([parts for _, parts in slowest]),
        latency=quantiles(outcome.ended - outcome.intended for outcome in answered),
        linked=times.linked,
    )


def means(rows: Sequence[Mapping[str, int]]) -> dict[str, float]:
    """Return the mean of each part; empty for no rows."""
    return {part: fmean(row[part] for row in rows) for part in ("sending", *REQUEST_PARTS)} if rows else {}


def fit_service(
    traced: Sequence[Outcome], times: RequestTimes | None, untraced: Sequence[Outcome]
) -> ServiceTime | None:
    """Fit the service time: from the work that the trace links to requests, else from what the client saw.

    A batch of the trace counts the items of the requests in it, and once, though each of its requests has it. What the
    client saw holds queueing, so only the fastest quarter of each size counts.
    """
    items = {outcome.id: outcome.items for outcome in traced}
    if times is not None:
        batches = dict.fromkeys(batch for mark in times.requests for batch in mark.batches)
        found = fit([(sum(items.get(name, 1) for name in batch.of), batch.took_ns) for batch in batches], times.linked)
        if found is not None:
            return found
    by_size: dict[int, list[int]] = {}
    for outcome in untraced:
        if not outcome.error:
            by_size.setdefault(outcome.items, []).append(outcome.ended - outcome.sent)
    return fit(
        [(size, took) for size, spent in by_size.items() for took in sorted(spent)[: -(-len(spent) // 4)]], "client"
    )
