"""Requests that were sent against marks of traces: all are accounted for, and the time of each adds up."""

from __future__ import annotations

import numpy as np
import pytest

from perfkit.model.requests import REQUEST_PARTS, RequestTime, Work
from perfkit.serve.client import Outcome
from perfkit.serve.measure import tally
from perfkit.serve.service_time import fit
from perfkit.serve.split import Seen, around, fit_service, split

MS = 1_000_000


def sent(name: str, start: int, end: int, *, due: int | None = None, error: str = "", items: int = 1) -> Outcome:
    return Outcome(name, items, (start if due is None else due) * MS, start * MS, end * MS, error)


def mark(name: str, length: int, **parts: int) -> RequestTime:
    known = {part: parts.get(part, 0) * MS for part in REQUEST_PARTS} if parts else {}
    return RequestTime(name, 0, length * MS, known, ())


def seen(*marks: RequestTime, cut: tuple[str, ...] = (), processes: int = 1) -> Seen:
    return Seen(marks, frozenset(cut), 100 * MS, 200 * MS, "marks", processes)


def test_every_request_of_the_window_is_in_the_trace_cut_or_lost() -> None:
    outcomes = [
        sent("before", 80, 95),
        sent("begins", 95, 105),  # the profiler did not see it begin
        sent("in", 110, 120),
        sent("lost", 130, 140),
        sent("failed", 150, 160, error="HTTP 500"),
        sent("cut", 185, 199),  # its mark ends with the trace
        sent("ends", 190, 210),
        sent("after", 205, 215),
    ]
    found = split(outcomes, seen(mark("in", 8), mark("failed", 8), mark("other", 5), cut=("cut",)))
    assert (found.sent, found.marked, found.edge, found.lost, found.others) == (6, 2, 3, ("lost",), 1)
    assert found.sent == found.marked + found.edge + len(found.lost)
    assert found.latency.number == 5  # but for the one that failed
    assert found.seconds == 0.1
    assert (found.errors, found.split, found.unlinked) == ({"HTTP 500": 1}, 0, 1)


def test_requests_outside_of_the_window_are_counted_beside_it() -> None:
    outcomes = [
        sent("before", 80, 95, error="HTTP 503"),
        sent("begins", 95, 105),
        sent("in", 110, 120),
        sent("late mark", 205, 215),  # of another process that was recorded for longer
        sent("after", 205, 215),
    ]
    window = seen(mark("in", 8), mark("late mark", 8))
    rest = around(outcomes, window)
    assert [one.id for one in rest] == ["before", "after"]
    assert split(outcomes, window).sent + len(rest) == len(outcomes)
    assert tally(rest) == (2, 1, {"HTTP 503": 1})
    assert around(outcomes, None) == outcomes


def test_the_parts_of_a_request_are_all_of_it() -> None:
    slow = mark("slow", 30, queueing=5, host_preparation=4, device=15, device_wait=1, response=5)
    quick = mark("quick", 10, queueing=1, host_preparation=2, device=6, response=1)
    outcomes = [sent("slow", 112, 150, due=110), sent("quick", 160, 172), *(sent(f"x{n}", 180, 181) for n in range(3))]
    found = split(outcomes, seen(slow, quick, mark("x0", 1)))
    assert found.split == 2  # x0 has no parts
    assert found.mean_ns == {
        "sending": 1 * MS,
        "queueing": (5 + 8 + 1 + 2) / 2 * MS,  # what is outside of the mark is queueing, too: 8 and 2
        "host_preparation": 3 * MS,
        "device": 10.5 * MS,
        "device_wait": 0.5 * MS,
        "response": 3 * MS,
    }
    assert sum(found.tail_ns.values()) == 40 * MS  # the slowest of them, from when it was due


def test_service_time_and_the_headroom_of_batching() -> None:
    """S(n) = 6 ms + 2 ms n: large batches serve (6 + 2) / 2 = 4 times as many."""
    noise = np.random.default_rng(0).normal(0, 0.2e6, 400)
    sizes = [1, 2, 4, 8] * 100
    found = fit([(n, round(6e6 + 2e6 * n + error)) for n, error in zip(sizes, noise, strict=True)], "marks")
    assert found is not None
    assert found.fixed_ns is not None
    assert found.each_ns is not None
    assert found.headroom is not None
    for (value, low, high), truth in ((found.fixed_ns, 6e6), (found.each_ns, 2e6), (found.headroom, 4.0)):
        assert low <= truth <= high
        assert low <= value <= high
        assert high - low < 0.1 * truth
    assert found.sizes[8][0] == 100


@pytest.mark.parametrize("factor", [3.0, 10.0])
def test_a_few_slow_batches_do_not_tilt_the_line(factor: float) -> None:
    batches = [(n, round((6e6 + 2e6 * n) * (factor if i == 0 else 1))) for n in (1, 4, 8) for i in range(20)]
    found = fit(batches, "marks")
    assert found is not None
    assert found.headroom is not None
    assert found.headroom[0] == pytest.approx(4.0, rel=0.01)


def test_service_time_that_grows_with_nothing_or_has_no_fixed_part() -> None:
    flat = fit([(n, 5_000_000) for n in (1, 2, 8) for _ in range(5)], "marks")
    steep = fit([(n, n * 3_000_000) for n in (1, 2, 8) for _ in range(5)], "marks")
    assert flat is not None
    assert steep is not None
    assert flat.fixed_ns is not None
    assert steep.headroom is not None
    assert flat.fixed_ns[0] == pytest.approx(5e6, rel=1e-6)
    assert steep.headroom[0] == pytest.approx(1.0, rel=1e-6)  # batching saves nothing


def test_a_batch_counts_once_and_the_items_of_all_its_requests() -> None:
    together = Work(0, 22 * MS, ("a", "b"))
    alone = Work(50 * MS, 8 * MS, ("c",))
    marks = [
        mark(name, 30)._replace(batches=(batch,)) for name, batch in (("a", together), ("b", together), ("c", alone))
    ]
    outcomes = [sent("a", 100, 130, items=4), sent("b", 100, 130, items=4), sent("c", 150, 160)]
    found = fit_service(outcomes, seen(*marks), ())
    assert found is not None
    assert found.sizes == {1: (1, 8 * MS), 8: (1, 22 * MS)}
    assert (found.headroom, found.source) == (None, "marks")  # three batches of a size, at least


def test_without_marks_the_client_sees_the_service_time_where_nothing_queues() -> None:
    slow = [sent(f"s{n}", 0, 30, items=1) for n in range(12)]
    quick = [sent(f"q{n}", 0, 6 + items, items=items) for n in range(12) for items in (1, 8)]
    found = fit_service((), None, [*slow, *quick])
    assert found is not None
    assert found.source == "client"
    assert found.each_ns is not None
    assert found.each_ns[0] == pytest.approx(1 * MS)
