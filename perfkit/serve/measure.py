"""From the outcomes of requests to the numbers of a stretch of load."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from perfkit.errors import MissingExtraError
from perfkit.model.load import Quantiles, Stretch, Tokens

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from perfkit.serve.client import Outcome
    from perfkit.serve.generator import Drive

__all__ = ["NONE", "quantiles", "stretch", "tokens"]

LONGEST_NS: Final = 3_600_000_000_000
DIGITS: Final = 3

KEPT_UP: Final = 0.98
LATE_NS: Final = 20_000_000
"""A generator has kept the rate up if it sent this share of it, and nine requests of ten no later than this."""

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
    lateness = quantiles(outcome.sent - outcome.intended for outcome in outcomes)
    due = [outcome.intended for outcome in outcomes]
    sent = [outcome.sent for outcome in outcomes]
    asked_s = (max(due) - min(due)) / 1e9 if due else 0.0
    took_s = (max(sent) - min(due)) / 1e9 if due else 0.0
    kept = min(asked_s / took_s, 1.0) if took_s > 0 and len(due) > 1 else 1.0
    answered = [outcome for outcome in outcomes if not outcome.error]
    return Stretch(
        asked_per_s=drive.plan.rate,
        achieved_per_s=drive.plan.rate * kept,
        seconds=took_s,
        planned=drive.planned,
        sent=len(outcomes),
        answered=len(answered),
        errors=dict(Counter(outcome.error for outcome in outcomes if outcome.error).most_common()),
        latency=quantiles(outcome.ended - outcome.intended for outcome in answered),
        lateness=lateness,
        late=kept < KEPT_UP or lateness.p90_ns > LATE_NS,
        stopped=drive.stopped,
    )


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
