"""Requests in traces made by hand, with the parts of each computed by hand; all times are us."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from perfkit.attribute import read_requests
from tests.unit.attribute.hand_made import LAUNCH, Row, annotation, call, kernel, operator, trace

if TYPE_CHECKING:
    from perfkit.model.requests import RequestTime, RequestTimes

US = 1_000


def read(*rows: Row) -> RequestTimes:
    return read_requests(trace(rows))


def request(name: str, start: int, end: int, *, thread: str = "1") -> Row:
    return annotation(f"perfkit.request #{name}" if name else "perfkit.request", start * US, end * US, thread=thread)


def work(names: str, start: int, end: int, *, thread: str = "2") -> Row:
    marks = " ".join(f"#{name}" for name in names.split())
    return annotation(f"perfkit.request.work {marks}", start * US, end * US, thread=thread)


def op(start: int, end: int, *, thread: str = "2") -> Row:
    return operator("aten::mm", start * US, end * US, thread=thread)


def launch(number: int, called: tuple[int, int], ran: tuple[int, int], *, thread: str = "2") -> list[Row]:
    """A launch call and its kernel."""
    low, high = called
    return [
        call(LAUNCH, low * US, high * US, correlation=number, thread=thread),
        kernel(ran[0] * US, ran[1] * US, number),
    ]


def synchronize(start: int, end: int, *, thread: str = "2") -> Row:
    return call("cudaStreamSynchronize", start * US, end * US, thread=thread)


def parts(request: RequestTime) -> tuple[float, ...]:
    """Queueing, host preparation, device, waiting for the device, response; in us."""
    assert sum(request.parts.values()) == (request.end_ns - request.start_ns if request.parts else 0)
    return tuple(ns / US for ns in request.parts.values())


def test_a_request_of_a_device() -> None:
    found = read(
        request("a", 0, 100),
        work("a", 20, 80),
        op(25, 40),
        *launch(1, (28, 30), (35, 60)),  # given at 30, begun at 35: 5 that it waits in the queue
        *launch(2, (36, 38), (60, 70)),
        synchronize(45, 75),  # of which 5 are after the device was done
    )
    (one,) = found.requests
    # Until 20 it queues; 20-30 host; 30-35 waits; 35-70 device; 70-75 waits for the call; 75-80 host; then the answer.
    assert parts(one) == (20, 15, 35, 10, 20)
    assert [(batch.start_ns, batch.took_ns, batch.of) for batch in one.batches] == [(20 * US, 60 * US, ("a",))]
    assert (found.linked, found.start_ns, found.end_ns) == ("marks", 0, 100 * US)


def test_work_whose_device_is_done_after_the_host() -> None:
    found = read(request("a", 0, 100), work("a", 10, 30), op(12, 28), *launch(1, (20, 22), (22, 60)))
    (one,) = found.requests
    assert parts(one) == (10, 12, 38, 0, 40)  # 10-22 host, 22-60 device, which outlasts the mark
    assert one.batches[0].took_ns == 50 * US


def test_a_batch_is_for_all_its_requests_and_those_wait_for_each_other() -> None:
    found = read(
        request("a", 0, 70),
        request("b", 5, 90),
        request("c", 8, 100),
        work("a b", 10, 40),
        *launch(1, (15, 16), (16, 36)),
        work("c", 50, 90),
        *launch(2, (55, 56), (60, 80)),
    )
    a, b, c = found.requests
    assert parts(a) == (10, 10, 20, 0, 30)  # host 10-16 and 36-40; the answer from 40 to 70
    assert parts(b) == (5, 10, 20, 0, 50)
    assert parts(c) == (42, 16, 20, 4, 10)  # queues from 8 to 50; 56-60 the kernel waits
    assert a.batches == b.batches
    assert (a.batches[0].of, a.batches[0].took_ns, c.batches[0].took_ns) == (("a", "b"), 30 * US, 40 * US)


def test_work_in_pieces_queues_in_between() -> None:
    found = read(request("a", 0, 100), work("a", 10, 30), op(10, 25), work("a", 60, 80), op(65, 80))
    (one,) = found.requests
    # Without a device, operators are what computes: 15 in each piece; 30 between the pieces.
    assert parts(one) == (10 + 30, 5 + 5, 15 + 15, 0, 20)
    assert len(one.batches) == 2


def test_work_that_is_marked_more_closely_within_itself_counts_once() -> None:
    found = read(
        request("a", 0, 100),
        request("b", 0, 100),
        work("a", 10, 80),
        work("b", 15, 30, thread="3"),
        work("a", 20, 60),
        op(25, 50),
        op(16, 20, thread="3"),
    )
    a, b = found.requests
    assert parts(a) == (20, 15, 25, 0, 40)
    assert [[batch.took_ns for batch in one.batches] for one in (a, b)] == [[40 * US], [15 * US]]


def test_work_that_began_before_its_request_counts_from_then() -> None:
    found = read(request("a", 20, 100), work("a", 10, 60), op(15, 50))
    (one,) = found.requests
    assert parts(one) == (0, 10, 30, 0, 40)


def test_unmarked_work_of_one_thread_is_for_the_request_that_is_answered_next() -> None:
    found = read(
        request("a", 0, 50),
        request("b", 5, 90),
        op(10, 20, thread="1"),
        op(22, 30, thread="1"),
        op(60, 80, thread="1"),
        op(95, 99, thread="1"),  # for nobody
    )
    a, b = found.requests
    assert found.linked == "order"
    assert parts(a) == (10, 2, 18, 0, 20)  # both operators and what is between them are one piece of work
    assert parts(b) == (55, 0, 20, 0, 10)
    assert [batch.took_ns for batch in (*a.batches, *b.batches)] == [20 * US, 20 * US]


def test_unmarked_work_of_several_threads_is_known_of_requests_that_are_alone() -> None:
    found = read(
        request("a", 0, 50),
        op(10, 20, thread="2"),
        request("b", 60, 120),
        request("c", 70, 130),
        op(65, 69, thread="3"),  # b alone
        op(80, 90, thread="2"),  # of b or of c
    )
    a, b, c = found.requests
    assert found.linked == "alone"
    assert parts(a) == (10, 0, 10, 0, 30)
    assert parts(b) == (5, 0, 4, 0, 51)
    assert parts(c) == ()


def test_unmarked_work_on_a_device_waits_and_computes() -> None:
    found = read(
        request("", 0, 100),
        op(10, 30, thread="1"),
        *launch(1, (20, 22), (40, 70), thread="1"),
        op(30, 80, thread="1"),
        synchronize(35, 75, thread="1"),
    )
    (one,) = found.requests
    assert (one.id, found.linked) == ("", "order")
    assert parts(one) == (10, 17, 30, 23, 20)  # host 10-22 and 75-80; waits 22-40 and 70-75


@pytest.mark.parametrize("marks", [(), (request("a", 0, 10), work("z", 2, 8))])
def test_work_for_nobody_is_linked_to_nothing(marks: tuple[Row, ...]) -> None:
    found = read(*marks, op(200, 210))
    assert found.linked == "none"
    assert [one.parts for one in found.requests] == [{} for mark in marks[:1]]


def test_a_trace_without_events_has_no_request() -> None:
    found = read()
    assert (len(found.requests), found.start_ns, found.end_ns) == (0, 0, 0)
