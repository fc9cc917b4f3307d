"""A service under load as every report says it: tables and sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from perfkit.model.quantity import count, duration, percent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from perfkit.model.load import Load, Quantiles, ServiceTime, Stretch

__all__ = ["build", "sentences", "tables"]

LATENCY_HEAD: Final = ("time", "count", "P50", "P90", "P99", "max")
SPLIT_HEAD: Final = ("a request", "mean", "share", "slowest 10 %", "share")
STEP_HEAD: Final = ("requests/s", "sent", "quantile", "broken by")
PARTS: Final = {
    "sending": "late at the generator",
    "queueing": "queueing",
    "host_preparation": "host preparation",
    "device": "device",
    "device_wait": "waiting for the device",
    "response": "response",
}
LINKED: Final = {
    "marks": "work is marked",
    "order": "work is not marked, and taken to be for the request that is answered next",
    "alone": "work is not marked, so only requests that were alone are split",
}


def tables(load: Load) -> list[tuple[tuple[str, ...], list[tuple[str, ...]]]]:
    """Return the tables that have rows, each with the names of its columns."""
    found = ((LATENCY_HEAD, latency_rows(load)), (SPLIT_HEAD, split_rows(load)), (STEP_HEAD, step_rows(load)))
    return [(head, rows) for head, rows in found if rows]


def latency_rows(load: Load) -> list[tuple[str, ...]]:
    """Return a row for each kind of time."""
    kinds: list[tuple[str, Quantiles]] = [("latency", load.stretch.latency)]
    if load.split is not None:
        kinds.append(("latency, traced", load.split.latency))
    if load.tokens is not None:
        kinds.append(("to first token", load.tokens.first))
        kinds.append(("between pieces", load.tokens.between))
        kinds.append(("per token after", load.tokens.per_token))
    kinds.append(("sent late by", load.stretch.lateness))
    return [
        (name, f"{some.number:,}", *map(duration, (some.p50_ns, some.p90_ns, some.p99_ns, some.max_ns)))
        for name, some in kinds
        if some.number
    ]


def split_rows(load: Load) -> list[tuple[str, ...]]:
    """Return a row for each part of a request."""
    if load.split is None or not load.split.mean_ns:
        return []
    mean, tail = load.split.mean_ns, load.split.tail_ns
    return [
        (
            PARTS[part],
            duration(mean[part]),
            percent(mean[part], sum(mean.values())),
            duration(tail[part]),
            percent(tail[part], sum(tail.values())),
        )
        for part in mean
    ]


def step_rows(load: Load) -> list[tuple[str, ...]]:
    """Return a row for each rate that was tried."""
    if load.capacity is None:
        return []
    return [
        (f"{step.load.asked_per_s:.4g}", f"{step.load.sent:,}", duration(step.quantile_ns), step.broke or "-")
        for step in load.capacity.steps
    ]


def sentences(load: Load) -> list[str]:
    """Say what the tables do not."""
    said = [sent(load.stretch, load.arrivals)]
    if load.stretch.errors:
        said.append("Failed: " + ", ".join(f"{error} ({times:,})" for error, times in load.stretch.errors.items()))
    if load.tokens is not None:
        unit = (
            "tokens by the service's own count" if load.tokens.counted == "usage" else "pieces, each taken for a token"
        )
        said.append(f"{load.tokens.tokens:,} {unit}, {load.tokens.per_s:,.0f} a second in all.")
    said += traced(load)
    if load.service is not None:
        said.append(served(load.service))
    if load.capacity is not None:
        said += capacity(load)
    return [*said, *load.notes]


def sent(stretch: Stretch, arrivals: str) -> str:
    """Say what was asked for and what was sent."""
    kept = f"{stretch.achieved_per_s:.4g} of {stretch.asked_per_s:g} requests/s ({arrivals} arrivals)"
    most = f"{count(stretch.sent, 'request')} in {stretch.seconds:.1f} s, {stretch.answered:,} answered well"
    return f"Sent {kept}: {most}; each is timed from when it was due."


def traced(load: Load) -> list[str]:
    """Say what the trace has of the requests, and what the tracing cost."""
    split = load.split
    if split is None:
        if load.traced_by:
            return ["The trace has no marks of requests: `perfkit.instrument(app)` makes them, and splits them."]
        return [
            "There is no trace of the service: start it with `perfkit.instrument(app, profile_into=...)`, or with the "
            "profiling endpoints of vLLM or SGLang."
        ]
    others = f", and {split.others:,} of others" if split.others else ""
    said = [f"While it was traced, {split.sent:,} requests were sent: the trace has {split.marked:,} of them{others}."]
    if split.split:
        said.append(f"Split: {split.split:,} requests; {LINKED.get(split.linked, split.linked)}.")
    else:
        said.append("No work could be linked to requests: mark it by `with perfkit.request():`.")
    if load.stretch.latency.p50_ns and split.latency.p50_ns:
        times = split.latency.p50_ns / load.stretch.latency.p50_ns
        said.append(f"The median request took {times:.2f} times as long while it was traced.")
    return said


def served(service: ServiceTime) -> str:
    """Say how the service time depends on the size of a batch."""
    by = "as the client saw it" if service.source == "client" else "in the trace"
    sizes = ", ".join(f"{duration(took)} for {size} ({times:,})" for size, (times, took) in shown(service))
    if service.fixed_ns is None or service.each_ns is None or service.headroom is None:
        return (
            f"Service time, {by}: {sizes}. All batches were of one size, so what batching would save is not known: "
            f"send bodies of several sizes (--body 1=one.json --body 8=eight.json)."
        )
    times, low, high = service.headroom
    a, b = (
        f"{duration(middle)} ({duration(least)} to {duration(most)})"
        for middle, least, most in (service.fixed_ns, service.each_ns)
    )
    return (
        f"Service time of n items, {by}: {a} + n * {b}; so large batches could serve {times:.1f} times as many "
        f"({low:.1f} to {high:.1f}) as single ones. Seen: {sizes}."
    )


def shown(service: ServiceTime) -> Sequence[tuple[int, tuple[int, int]]]:
    """Return some sizes of batches, the most frequent ones."""
    return sorted(sorted(service.sizes.items(), key=lambda item: -item[1][0])[:5])


def capacity(load: Load) -> list[str]:
    """Say what the service can do, and what breaks first."""
    found = load.capacity
    assert found is not None
    said = []
    if found.holds_per_s:
        upper = "" if found.breaks_per_s is None else f", and breaks it at {found.breaks_per_s:.3g}"
        said.append(f"Capacity: it holds {found.objective} at {found.holds_per_s:.3g} requests/s{upper}.")
    else:
        said.append(f"Capacity: it did not hold {found.objective} at any rate that was tried.")
    return [*said, *([f"First to break: {found.first}."] if found.first else [])]


def build(load: Load) -> dict[str, Any]:
    """Return a load as a dict, to the contract of the JSON report."""
    found: dict[str, Any] = plain(load)
    return found


def plain(value: Any) -> Any:
    """Return named tuples as dicts, all the way down."""
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return {key: plain(item) for key, item in value._asdict().items()}
    if isinstance(value, tuple):
        return [plain(item) for item in value]
    if hasattr(value, "items"):
        return {str(key): plain(item) for key, item in value.items()}
    return value
