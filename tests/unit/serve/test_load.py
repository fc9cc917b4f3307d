from __future__ import annotations

import asyncio
import json
import socket
from typing import TYPE_CHECKING

import numpy as np
import pytest

from perfkit.errors import PerfkitError, UsageError
from perfkit.model.load import Objective
from perfkit.pipeline.load import Asked, diagnose_service
from perfkit.serve.client import Client, Outcome, ServiceError
from perfkit.serve.generator import Drive, Plan, drive, schedule
from perfkit.serve.measure import stretch
from perfkit.serve.target import Target, find_target
from tests.unit.serve.servers import OneAtATime, served, stream_of

if TYPE_CHECKING:
    from pathlib import Path


pytestmark = pytest.mark.alone


def target(url: str, model: str | None = None) -> Target:
    return find_target(url, [], model, allow_remote=False)


def driven(url: str, plan: Plan) -> Drive:
    async def run() -> Drive:
        async with Client(target(url)) as client:
            return await drive(client, plan)

    return asyncio.run(run())


@pytest.mark.parametrize("arrivals", ["poisson", "constant"])
def test_schedules_have_the_rate_and_length_that_was_asked_for(arrivals: str) -> None:
    due = schedule(Plan(200.0, 5.0, arrivals))  # type: ignore[arg-type]
    assert len(due) == 1000
    assert 0 <= due.min() <= due.max() < 5e9
    gaps = np.diff(due) / 1e9
    spread = gaps.std() / gaps.mean()
    assert spread == pytest.approx(1.0 if arrivals == "poisson" else 0.0, abs=0.1)


def test_a_stall_is_charged_to_every_request_that_was_due_meanwhile() -> None:
    service = OneAtATime(0.002, stall_after_s=1.0, stall_s=1.0)
    with served({"/": service.answer}) as url:
        done = driven(url, Plan(50.0, 4.0, "constant"))
    found = stretch(done)
    assert (found.sent, found.answered, found.late) == (200, 200, False)
    # What a client that knows no coordinated omission has to see, from the service's own log and when each was due.
    ended = {name: end for name, _, end in service.log}
    expected = sorted(ended[one.id] - one.intended / 1e9 for one in done.outcomes)
    p99 = expected[int(0.99 * len(expected))]
    assert p99 > 0.9
    assert found.latency.p99_ns / 1e9 == pytest.approx(p99, rel=0.1)
    assert sum(one.ended - one.intended > 10_000_000 for one in done.outcomes) >= 50  # one second of them, at least


def test_every_request_is_in_the_log_of_the_service() -> None:
    service = OneAtATime(0.0)
    with served({"/": service.answer}) as url:
        done = driven(url, Plan(300.0, 1.0))
    assert sorted(name for name, _, _ in service.log) == sorted(one.id for one in done.outcomes)
    assert len(done.outcomes) == 300


def test_tokens_of_a_stream_are_timed(tmp_path: Path) -> None:
    with served({"/v1/chat/completions": stream_of(0.08, 0.02, 10)}) as url:
        done = diagnose_service(target(url, "tiny"), Asked(Plan(20.0, 1.0, "constant"), tmp_path / "out", traced_s=0))
    assert done.load is not None
    found = done.load.tokens
    assert found is not None
    assert 79 <= found.first.p50_ns / 1e6 < 130  # of a machine that others use, too
    assert found.between.p50_ns / 1e6 == pytest.approx(20, abs=8)
    assert found.per_token.p50_ns / 1e6 == pytest.approx(20, abs=8)
    assert (found.tokens, found.counted, found.between.number) == (200, "usage", 180)


@pytest.mark.parametrize(
    ("text", "said"),
    [("<html>hello</html>", "no event stream"), ("data: {oops\n\n", "not JSON"), ("", "without a token")],
)
def test_what_is_no_stream_is_said_in_a_line(text: str, said: str, tmp_path: Path) -> None:
    from aiohttp import web

    async def answer(_: web.Request) -> web.Response:
        return web.Response(text=f"{text}\n")

    with (
        served({"/v1/chat/completions": answer}) as url,
        pytest.raises(ServiceError, match=said),
    ):
        diagnose_service(target(url, "tiny"), Asked(Plan(5.0, 1.0), tmp_path / "out"))


def test_a_dead_service_is_said_in_a_line(tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/"
    with pytest.raises(ServiceError, match="connection refused: check that the service runs"):
        diagnose_service(target(url), Asked(Plan(5.0, 1.0), tmp_path / "out"))


def test_errors_are_counted_and_no_latency(tmp_path: Path) -> None:
    from aiohttp import web

    calls = 0

    async def answer(_: web.Request) -> web.Response:
        nonlocal calls
        calls += 1
        return web.Response(status=503 if calls > 13 else 200)

    with served({"/": answer}) as url:
        done = diagnose_service(target(url), Asked(Plan(100.0, 0.5), tmp_path / "out", traced_s=0))
    assert done.load is not None
    assert done.load.stretch.errors == {"HTTP 503": 40}
    assert done.load.stretch.latency.number == 10
    assert "80.0 % failed" in done.advice.verdict


def test_a_service_that_falls_behind_is_not_taken_for_a_slow_generator(monkeypatch: pytest.MonkeyPatch) -> None:
    from perfkit.serve import generator

    monkeypatch.setattr(generator, "MOST_AT_ONCE", 1)
    monkeypatch.setattr(generator, "FARTHEST_NS", 1_000_000_000)
    with served({"/": OneAtATime(0.02).answer}) as url:
        done = driven(url, Plan(200.0, 2.0))
    found = stretch(done)
    assert done.held > 0
    assert not found.late
    assert not found.unsendable  # by how little it computed, this machine can send more
    assert found.achieved_per_s < 60
    assert (found.stopped, found.sent < found.planned) == ("the service fell behind", True)
    assert found.latency.p99_ns > 9e8  # from when they were due all the same


@pytest.mark.parametrize(
    ("rate", "busy", "waits_ms", "unsendable"),
    [
        (50_000.0, 0.5, 600, True),  # 1,000 were sent in a second of which half was busy: 2,000 are possible
        (1_500.0, 0.5, 600, False),
        (50_000.0, 0.01, 600, False),
        (50_000.0, 0.5, 60_000, False),  # most of their time they wait for an answer
    ],
)
def test_a_rate_is_more_than_can_be_sent_by_how_busy_the_generator_was(
    rate: float, busy: float, waits_ms: int, unsendable: bool
) -> None:
    outcomes = []
    for number in range(8_000):
        due, sent = round(number * 1e9 / rate), number * 1_000_000
        outcomes.append(Outcome(f"{number}", 1, due, sent, sent + waits_ms * 1_000_000))
    found = stretch(Drive(Plan(rate, 1.0), len(outcomes), outcomes, "the service fell behind", 7_000, busy))
    assert (found.unsendable, found.late) == (unsendable, False)


def test_capacity_is_that_of_a_service_that_does_100_a_second(tmp_path: Path) -> None:
    with served({"/": OneAtATime(0.01).answer}) as url:
        done = diagnose_service(
            target(url), Asked(Plan(40.0, 0.5), tmp_path / "out", traced_s=0, objective=Objective(0.8, 150_000_000))
        )
    assert done.load is not None
    found = done.load.capacity
    assert found is not None
    assert 30 <= found.holds_per_s < 140  # in half a second the queue of a higher rate is not long enough yet
    assert found.breaks_per_s is not None
    assert found.holds_per_s < found.breaks_per_s <= 160
    assert found.first.startswith(("the queue", "the tail"))
    assert len(found.steps) <= 14


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("localhost:8000", "is not a URL"),
        ("ftp://127.0.0.1/", "is not a URL"),
        ("http://127.0.0.1:99999/", "is not a URL"),
        ("http://192.0.2.1/", "--allow-remote"),
    ],
)
def test_targets_are_checked(url: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        target(url)


def test_users_and_passwords_are_not_shown() -> None:
    found = target("http://user:secret@127.0.0.1:1/x?key=secret")
    assert found.shown == "http://127.0.0.1:1/x"


def test_load_is_bounded(tmp_path: Path) -> None:
    for plan in (Plan(1.0, 601.0), Plan(10_000.0, 60.0)):
        with pytest.raises(UsageError, match="give a"):
            diagnose_service(target("http://127.0.0.1:9/"), Asked(plan, tmp_path / "out"))


def test_bodies_are_sent_in_turn(tmp_path: Path) -> None:
    from aiohttp import web

    got: list[int] = []

    async def answer(request: web.Request) -> web.Response:
        rows = len((await request.json())["inputs"])
        got.append(rows)
        await asyncio.sleep(0.004 + 0.002 * rows)
        return web.Response()

    bodies = []
    for items in (1, 8):
        path = tmp_path / f"{items}.json"
        path.write_text(json.dumps({"inputs": [0] * items}))
        bodies.append((path, items))
    with served({"/": answer}) as url:
        done = diagnose_service(
            find_target(url, bodies, None, allow_remote=False),
            Asked(Plan(40.0, 1.0, "constant"), tmp_path / "out", traced_s=0),
        )
    assert sorted(got[3:]) == [1] * 20 + [8] * 20
    assert done.load is not None
    assert done.load.service is not None
    assert done.load.service.each_ns is not None
    assert done.load.service.each_ns[0] / 1e6 == pytest.approx(2, abs=1)
    assert done.load.service.headroom is not None
    assert done.load.service.headroom[0] == pytest.approx((4 + 2) / 2, abs=2)


def test_a_body_that_is_no_object_cannot_be_streamed(tmp_path: Path) -> None:
    path = tmp_path / "body.json"
    path.write_text("[1]")
    with pytest.raises(PerfkitError, match="must be a JSON object"):
        find_target("http://127.0.0.1:1", [(path, 1)], "tiny", allow_remote=False)
