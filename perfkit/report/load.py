"""A service under load as every report says it: tables and sentences."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from perfkit.model.quantity import count, duration, percent

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from perfkit.model.load import Load, Quantiles, RequestSplit, ServiceTime, Stretch

__all__ = ["build", "sentences", "tables"]

LATENCY_HEAD: Final = ("time", "count", "P50", "P90", "P99", "max")
SPLIT_HEAD: Final = ("a request", "mean", "share", "slowest 10 %", "share")
PARTS: Final = {
    "sending": "late at the generator",
    "queueing": "queueing, on the way",
    "host_preparation": "host preparation",
    "device": "computing",
    "device_wait": "waiting for the device",
    "response": "response",
}
MOST_NAMED: Final = 5
MOSTLY_LATE: Final = 0.25
"""Of the P99: from here on it says as much of the load generator's machine as of the service."""
LINKED: Final = {
    "marks": "work is marked",
    "order": "work is not marked, and taken to be for the request that is answered next",
    "alone": "work is not marked, so only requests that were alone are split",
}
UNLINKED: Final = {
    "marks": "that no mark of work names",
    "order": "that were never the next to be answered while work ran",
    "alone": "that were never alone while work ran",
}


def tables(load: Load) -> list[tuple[tuple[str, ...], list[tuple[str, ...]]]]:
    """Return the tables that have rows, each with the names of its columns."""
    found = ((LATENCY_HEAD, latency_rows(load)), (SPLIT_HEAD, split_rows(load)), (step_head(load), step_rows(load)))
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
        if mean[part] or tail[part]
    ]


def step_head(load: Load) -> tuple[str, ...]:
    """Return the names of the columns of the rates that were tried."""
    quantile = load.capacity.objective.quantile if load.capacity is not None else 0
    return ("requests/s", "sent", f"P{100 * quantile:g}", "broken by")


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
    late, all_in_all = load.stretch.lateness.p99_ns, load.stretch.latency.p99_ns
    if late > MOSTLY_LATE * all_in_all > 0 and not load.stretch.unsendable:
        said.append(f"This machine sent some late (P99 {duration(late)}), which is in these times: see what else runs.")
    if load.stretch.errors:
        said.append(f"Failed: {named(load.stretch.errors)}")
    if load.tokens is not None:
        unit = (
            "tokens by the service's own count" if load.tokens.counted == "usage" else "pieces, each taken for a token"
        )
        said.append(f"{load.tokens.tokens:,} {unit}, {load.tokens.per_s:,.0f} a second in all.")
    said += [*traced(load), *beside(load)]
    if load.service is not None:
        said.append(served(load.service))
    if load.capacity is not None:
        said += capacity(load)
    return [*said, *load.notes]


def sent(stretch: Stretch, arrivals: str) -> str:
    """Say what was asked for and what was sent."""
    kept = f"{stretch.achieved_per_s:.4g} of {stretch.asked_per_s:g} requests/s ({arrivals} arrivals)"
    most = f"{count(stretch.sent, 'request')} in {stretch.seconds:.1f} s, {stretch.answered:,} answered well"
    why = "requests went out far too late" if stretch.unsendable else stretch.stopped
    ended = f" The sending ended early: {why}." if stretch.stopped else ""
    return f"Sent {kept}: {most}; each is timed from when it was due.{ended}"


def named(errors: Mapping[str, int]) -> str:
    """Say what went wrong, and how often."""
    return ", ".join(f"{error} ({times:,})" for error, times in errors.items())


def beside(load: Load) -> list[str]:
    """Account for the requests that are in none of the tables."""
    if load.split is not None:
        when = "while the recording was set up and written"
    else:
        when = "while it was traced" if load.traced_by else "while a trace was tried"
    kinds = [(some, why) for some, why in ((load.warm_up, "to warm up"), (load.around, when)) if some and some.sent]
    if not kinds:
        return []
    (first, why), *rest = kinds
    errors: Counter[str] = sum((Counter(some.errors) for some, _ in kinds), Counter())
    said = f"{first.sent:,} more {'was' if first.sent == 1 else 'were'} sent {why}"
    said += "".join(f", and {some.sent:,} {why}" for some, why in rest)
    return [f"{said}: {f'failed {named(errors)}' if errors else 'all answered well'}."]


def traced(load: Load) -> list[str]:
    """Say what the trace has of the requests, and what the tracing cost."""
    split = load.split
    if split is None:
        if load.notes and not load.traced_by:
            return []
        if load.traced_by:
            return [
                "The trace has no marks of requests: start the service with `perfkit run -- uvicorn ...`, or put "
                "`perfkit.instrument(app)` around it, and they are told apart and split."
            ]
        return [
            "There is no trace of the service: start it with `perfkit run -- uvicorn ...`, with the profiling "
            "endpoints of vLLM or SGLang, or with `perfkit.instrument(app, profile_into=...)`."
        ]
    said = [" ".join(accounts(split))]
    if split.split:
        said.append(
            f"Split: {count(split.split, 'request')}; {LINKED.get(split.linked, split.linked)}.{left_out(split)}"
        )
    elif split.unlinked:
        said.append("No work could be linked to requests: mark it by `with perfkit.request():`.")
    if split.errors:
        said.append(f"Failed while it was traced: {named(split.errors)}.")
    before, during = load.stretch.latency.p50_ns, split.latency.p50_ns
    if before and during:
        said.append(f"The median request took {duration(during)} while it was traced, {compared(during / before)}.")
    return said


def left_out(split: RequestSplit) -> str:
    """Say why requests that the trace has whole are not split."""
    failed = split.marked - split.split - split.unlinked
    reasons = ((failed, "that failed"), (split.unlinked, UNLINKED.get(split.linked, "without work")))
    said = ", ".join(f"{number:,} {why}" for number, why in reasons if number)
    return f" Left out: {said}." if said else ""


def compared(times: float) -> str:
    """Say how many times as long something took, unless that is no longer: the machine does that, and no profiler."""
    return f"{times:.2f} times as long as before" if times > 1 else "no longer than before"


def accounts(split: RequestSplit) -> Iterator[str]:
    """Account for every request that was under way while the service was traced."""
    by = f" in {count(split.processes, 'process', 'processes')}" if split.processes > 1 else ""
    edge = f"; {split.edge:,} {'was' if split.edge == 1 else 'were'} cut by its beginning or end" if split.edge else ""
    others = f", and {split.others:,} that were not ours" if split.others else ""
    yield (
        f"Traced for {split.seconds:.1f} s{by}, in which {count(split.sent, 'request')} of ours were under way: the "
        f"trace has {split.marked:,} whole{others}{edge}."
    )
    if split.lost and split.elsewhere:
        yield (
            f"{count(len(split.lost), 'other')} went to processes of the same port that were not traced: start the "
            f"service with `perfkit run`, and leave --pid out."
        )
    elif split.lost:
        names = ", ".join(f"`{name}`" for name in split.lost[:MOST_NAMED])
        yield f"It lacks {count(len(split.lost), 'other')}: {names}{', ...' if len(split.lost) > MOST_NAMED else ''}."


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
