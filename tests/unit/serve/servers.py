"""Servers to load, on loopback, each on a thread of its own: a stub in aiohttp whose service is known."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("aiohttp", reason="the extra `serve` is not installed")
pytest.importorskip("hdrh", reason="the extra `serve` is not installed")

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class OneAtATime:
    """Serves one request at a time, each for ``service_s``, and stalls once; logs when each came and was done."""

    def __init__(self, service_s: float, stall_after_s: float = 1e9, stall_s: float = 0.0) -> None:
        self.service_s, self.stall_after_s, self.stall_s = service_s, stall_after_s, stall_s
        self.lock = asyncio.Lock()
        self.began: float | None = None
        self.log: list[tuple[str, float, float]] = []

    async def answer(self, request: web.Request) -> web.Response:
        came = time.perf_counter()
        name = request.headers.get("X-Perfkit-Request", "")
        await request.read()
        if self.began is None and not name.startswith("warm-up"):
            self.began = came
        async with self.lock:
            if self.began is not None and time.perf_counter() - self.began > self.stall_after_s:
                self.stall_after_s = 1e9
                await asyncio.sleep(self.stall_s)
            start = time.perf_counter()
            await asyncio.sleep(self.service_s)
            self.log.append((name, start, time.perf_counter()))
        return web.json_response({"ok": True})


def stream_of(first_s: float, between_s: float, tokens: int, *, usage: bool = True) -> Handler:
    """An OpenAI-compatible endpoint with known token times."""

    async def answer(request: web.Request) -> web.StreamResponse:
        asked = await request.json()
        assert asked["stream"] is True
        assert asked["model"] == "tiny"
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        begun = time.perf_counter()

        async def say(value: Any) -> None:
            await response.write(f"data: {json.dumps(value)}\n\n".encode())

        await say({"choices": [{"delta": {"role": "assistant", "content": ""}}]})
        for number in range(tokens):
            await asyncio.sleep(max(begun + first_s + number * between_s - time.perf_counter(), 0))
            await say({"choices": [{"delta": {"content": f"t{number} "}}]})
        if usage:
            await say({"choices": [], "usage": {"completion_tokens": tokens}})
        await response.write(b"data: [DONE]\n\n")
        return response

    return answer


@contextmanager
def served(routes: dict[str, Handler], ssl_context: Any = None) -> Iterator[str]:
    """Serve handlers by path, and return the URL of the server."""
    loop = asyncio.new_event_loop()
    started: list[int] = []
    ready, stop = threading.Event(), asyncio.Event()

    async def run() -> None:
        app = web.Application()
        for path, handler in routes.items():
            app.router.add_route("*", path, handler)
        runner = web.AppRunner(app, shutdown_timeout=1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=ssl_context)
        await site.start()
        started.append(runner.addresses[0][1])
        ready.set()
        await stop.wait()
        await runner.cleanup()

    thread = threading.Thread(target=loop.run_until_complete, args=(run(),))
    thread.start()
    try:
        assert ready.wait(60)
        yield f"{'https' if ssl_context else 'http'}://127.0.0.1:{started[0]}"
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(60)
        loop.close()
