"""From the outcomes of requests to the numbers of a stretch of load."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from perfkit.errors import MissingExtraError
from perfkit.model.load import Quantiles, Stretch, Tally, Tokens

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from perfkit.serve.client import Outcome
    from perfkit.serve.generator import Drive

__all__ = ["NONE", "errors_of", "quantiles", "stretch", "tally", "tokens"]

LONGEST_NS: Final = 3_600_000_000_000
DIGITS: Final = 3

LATE_NS: Final = 20_000_000
MOSTLY_LATE: Final = 0.25
"""A generator has not kept the rate up if half of its requests went out later than this, and this share of their times
is that: one stall is no lack of it, and neither is a little beside a service that takes seconds."""

KEPT: Final = 0.9
"""Of a rate: what a generator could send may be told from how busy it was to about a tenth."""

NONE: Final = Quantiles(0, 0, 0, 0, 0, 0.0, "")
"""Quantiles of nothing."""


def quantiles(times_ns: Iterable[int]) -> Quantiles:
    """Return the quantiles of some times, by an HdrHistogram of three digits; the maximum is exact."""
    times = list(times_ns)
    if not times:
        return NONE
    try:
        from hdrh.histogram import HdrHistogram
    except ImportError as error:
        raise MissingExtraError("a load", "serve") from error

    histogram = HdrHistogram(1, LONGEST_NS, DIGITS)
    for value in times:
        histogram.record_value(min(max(value, 1), LONGEST_NS))
    largest = max(times)
    p50, p90, p99 = (min(int(histogram.get_value_at_percentile(p)), largest) for p in (50, 90, 99))
    return Quantiles(len(times), p50, p90, p99, largest, sum(times) / len(times), histogram.encode().decode())


def stretch(drive: Drive) -> Stretch:
    """Say how some load went."""
    outcomes = drive.outcomes
    answered = [outcome for outcome in outcomes if not outcome.error]
    lateness = quantiles(outcome.sent - outcome.intended for outcome in outcomes)
    latency = quantiles(outcome.ended - outcome.intended for outcome in answered)
    due = [outcome.intended for outcome in outcomes]
    sent = [outcome.sent for outcome in outcomes]
    asked_s = (max(due) - min(due)) / 1e9 if due else 0.0
    took_s = (max(sent) - min(due)) / 1e9 if due else 0.0
    kept = min(asked_s / took_s, 1.0) if took_s > 0 and len(due) > 1 else 1.0
    unsent = 2 * lateness.p50_ns > latency.p50_ns > 0
    late = lateness.p50_ns > max(LATE_NS, MOSTLY_LATE * latency.p50_ns)
    return Stretch(
        asked_per_s=drive.plan.rate,
        achieved_per_s=drive.plan.rate * kept,
        seconds=took_s,
        planned=drive.planned,
        sent=len(outcomes),
        answered=len(answered),
        errors=errors_of(outcomes),
        latency=latency,
        lateness=lateness,
        late=late and not drive.held_by_service,
        stopped=drive.stopped,
        unsendable=unsent and kept < KEPT * drive.busy,
    )


def errors_of(outcomes: Iterable[Outcome]) -> dict[str, int]:
    """Count what went wrong, the most frequent first."""
    return dict(Counter(outcome.error for outcome in outcomes if outcome.error).most_common())


def tally(outcomes: Sequence[Outcome]) -> Tally:
    """Count some requests."""
    errors = errors_of(outcomes)
    return Tally(len(outcomes), len(outcomes) - sum(errors.values()), errors)


def tokens(outcomes: Sequence[Outcome]) -> Tokens | None:
    """Say how the tokens of streamed answers came; None if there were none."""
    streamed = [outcome for outcome in outcomes if outcome.tokens and not outcome.error]
    if not streamed:
        return None
    counted = all(outcome.counted for outcome in streamed)
    counts = [outcome.counted if counted else len(outcome.tokens) for outcome in streamed]
    begin, end = min(outcome.sent for outcome in streamed), max(outcome.ended for outcome in streamed)
    return Tokens(
        first=quantiles(outcome.tokens[0] - outcome.intended for outcome in streamed),
        between=quantiles(
            later - earlier
            for outcome in streamed
            for earlier, later in zip(outcome.tokens, outcome.tokens[1:], strict=False)
        ),
        per_token=quantiles(
            (outcome.tokens[-1] - outcome.tokens[0]) // (count - 1)
            for outcome, count in zip(streamed, counts, strict=True)
            if count > 1
        ),
        tokens=sum(counts),
        per_s=sum(counts) / max((end - begin) / 1e9, 1e-9),
        counted="usage" if counted else "pieces",
    )
