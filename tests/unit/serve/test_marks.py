from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

import perfkit
from perfkit.serve import marks

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the ranges that are opened, without torch."""
    from contextlib import contextmanager

    names: list[str] = []

    @contextmanager
    def record(name: str) -> Iterator[None]:
        names.append(name)
        yield

    def stand_in(name: str) -> AbstractContextManager[None]:
        return record(name)

    monkeypatch.setattr(marks, "record", stand_in)
    return names


async def call(app: Any, name: str, path: str = "/", client: str = "127.0.0.1") -> list[Any]:
    said: list[Any] = []

    async def send(message: Any) -> None:
        said.append(message)

    async def receive() -> Any:
        return {"type": "http.request"}

    headers = [(b"x-perfkit-request", name.encode())] if name else []
    scope = {"type": "http", "path": path, "method": "POST", "headers": headers, "client": (client, 1)}
    await app(scope, receive, send)
    return said


def test_requests_that_overlap_keep_their_names(recorded: list[str]) -> None:
    seen: dict[str, list[str]] = {}

    async def app(scope: Any, _receive: Any, _send: Any) -> None:
        name = dict(scope["headers"])[b"x-perfkit-request"].decode()
        for _ in range(3):
            await asyncio.sleep(0)
            seen.setdefault(name, []).append(perfkit.request_id())
        with perfkit.request():
            await asyncio.to_thread(lambda: seen[name].append(perfkit.request_id()))

    async def both() -> None:
        await asyncio.gather(*(call(perfkit.instrument(app), name) for name in ("a", "b", "c")))

    asyncio.run(both())
    assert seen == {name: [name] * 4 for name in ("a", "b", "c")}
    assert sorted(recorded) == sorted(
        f"perfkit.request{part} #{name}" for part in ("", ".work") for name in ("a", "b", "c")
    )


def test_what_a_request_gives_to_threads_is_marked_as_its_work(recorded: list[str]) -> None:
    import anyio.to_thread

    seen: list[str] = []

    def work(number: int) -> int:
        seen.append(perfkit.request_id())
        return number + 1

    async def app(_scope: Any, _receive: Any, _send: Any) -> None:
        assert await anyio.to_thread.run_sync(work, 1) == 2
        assert await asyncio.to_thread(work, number=2) == 3

    asyncio.run(call(perfkit.instrument(app), "a"))
    assert seen == ["a", "a"]
    assert recorded == ["perfkit.request #a", *["perfkit.request.work #a"] * 2]
    asyncio.run(asyncio.to_thread(work, 3))  # for nobody
    assert len(recorded) == 3


def test_a_batch_names_its_requests(recorded: list[str]) -> None:
    with perfkit.request("a", "b"):
        pass
    assert recorded == ["perfkit.request.work #a #b"]


def test_outside_of_a_request_it_is_one_of_its_own(recorded: list[str]) -> None:
    with perfkit.request() as name:
        assert perfkit.request_id() == name
    assert perfkit.request_id() == ""
    assert recorded == [f"perfkit.request #{name}"]


def test_a_name_that_is_no_name_is_not_taken_over(recorded: list[str]) -> None:
    async def app(_scope: Any, _receive: Any, _send: Any) -> None:
        return

    asyncio.run(call(perfkit.instrument(app), "x #b \x1b[31m"))
    assert len(recorded) == 1
    assert recorded[0].startswith("perfkit.request #r")


def test_profiling_is_for_this_machine_only(tmp_path: Any) -> None:
    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 404})

    told = perfkit.instrument(app, profile_into=tmp_path)
    assert asyncio.run(call(told, "", "/start_profile", "192.0.2.1"))[0]["status"] == 403
    assert asyncio.run(call(perfkit.instrument(app), "", "/start_profile"))[0]["status"] == 404
    assert list(tmp_path.iterdir()) == []
