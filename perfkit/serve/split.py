"""The requests that were sent, joined with the marks that traces have of them: where the time of a request goes."""

from __future__ import annotations

from statistics import fmean
from typing import TYPE_CHECKING, Final, NamedTuple

from perfkit.model.load import RequestSplit
from perfkit.model.requests import REQUEST_PARTS
from perfkit.serve.measure import errors_of, quantiles
from perfkit.serve.service_time import fit

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from perfkit.model.load import ServiceTime
    from perfkit.model.requests import RequestTime
    from perfkit.serve.client import Outcome

__all__ = ["Seen", "around", "fit_service", "split"]

TAIL: Final = 0.1
"""The slowest of ten requests are looked at apart."""
PARTS: Final = ("sending", *REQUEST_PARTS)


class Seen(NamedTuple):
    """What the traces of a service have of requests.

    Attributes:
        requests: The marks of those that are whole.
        cut: Names of those that were still open at the end of a trace.
        low: When all traces were being recorded, from here...
        high: ...to here, in ns of `time.perf_counter_ns`.
        linked: How work was linked to them, as in `perfkit.model.requests.RequestTimes`.
        processes: How many processes were traced.
        elsewhere: How many others serve the same port.
    """

    requests: Sequence[RequestTime]
    cut: frozenset[str]
    low: int
    high: int
    linked: str
    processes: int = 1
    elsewhere: int = 0


def split(outcomes: Sequence[Outcome], seen: Seen) -> RequestSplit:
    """Say where the time of requests goes, from due to answered, and which of them the traces have.

    What is outside of the mark in the service, but for what the generator was late, is queueing, too: the request waits
    in a socket or for the service's event loop. On loopback the way itself takes some hundredths of a millisecond.
    """
    marks = {request.id: request for request in seen.requests if request.id}
    ours = [outcome for outcome in outcomes if outcome.id in marks]
    missing = [one for one in outcomes if one.id not in marks and under_way(one, seen)]
    lost = [one.id for one in missing if one.sent >= seen.low and one.ended <= seen.high and one.id not in seen.cut]
    well = [outcome for outcome in ours if not outcome.error]
    answered = [*well, *(outcome for outcome in missing if not outcome.error)]
    rows = sorted(
        (parts_of(outcome, marks[outcome.id]) for outcome in well if marks[outcome.id].parts),
        key=lambda parts: sum(parts.values()),
    )
    return RequestSplit(
        seconds=max(seen.high - seen.low, 0) / 1e9,
        sent=len(ours) + len(missing),
        marked=len(ours),
        edge=len(missing) - len(lost),
        lost=tuple(lost),
        others=len(seen.requests) - len(ours),
        processes=seen.processes,
        elsewhere=seen.elsewhere,
        split=len(rows),
        mean_ns=means(rows),
        tail_ns=means(rows[-max(round(TAIL * len(rows)), 1) :]),
        latency=quantiles(outcome.ended - outcome.intended for outcome in answered),
        linked=seen.linked,
        errors=errors_of((*ours, *missing)),
        unlinked=len(well) - len(rows),
    )


def under_way(outcome: Outcome, seen: Seen) -> bool:
    """Tell whether a request was under way while all traces were being recorded."""
    return outcome.sent < seen.high and outcome.ended > seen.low


def around(outcomes: Sequence[Outcome], seen: Seen | None) -> list[Outcome]:
    """Return the requests that `split` does not count; without marks to split, those are all."""
    if seen is None:
        return list(outcomes)
    marked = {request.id for request in seen.requests if request.id}
    return [outcome for outcome in outcomes if outcome.id not in marked and not under_way(outcome, seen)]


def parts_of(outcome: Outcome, mark: RequestTime) -> dict[str, int]:
    """Return what the time of a request went to."""
    outside = max(outcome.ended - outcome.sent - (mark.end_ns - mark.start_ns), 0)
    return {
        "sending": outcome.sent - outcome.intended,
        **mark.parts,
        "queueing": mark.parts["queueing"] + outside,
    }


def means(rows: Sequence[Mapping[str, int]]) -> dict[str, float]:
    """Return the mean of each part; empty for no rows."""
    return {part: fmean(row[part] for row in rows) for part in PARTS} if rows else {}


def fit_service(outcomes: Iterable[Outcome], seen: Seen | None, untraced: Iterable[Outcome]) -> ServiceTime | None:
    """Fit the service time: from the work that the traces link to requests, else from what the client saw.

    A batch of a trace counts the items of the requests in it, and once, though each of its requests has it. What the
    client saw holds queueing, so only the fastest quarter of each size counts.
    """
    items = {outcome.id: outcome.items for outcome in outcomes}
    if seen is not None:
        batches = dict.fromkeys(batch for mark in seen.requests for batch in mark.batches)
        found = fit([(sum(items.get(name, 1) for name in batch.of), batch.took_ns) for batch in batches], seen.linked)
        if found is not None:
            return found
    by_size: dict[int, list[int]] = {}
    for outcome in untraced:
        if not outcome.error:
            by_size.setdefault(outcome.items, []).append(outcome.ended - outcome.sent)
    return fit(
        [(size, took) for size, spent in by_size.items() for took in sorted(spent)[: -(-len(spent) // 4)]], "client"
    )
