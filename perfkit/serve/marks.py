"""Marks of requests, made inside a service: traces then know each request, and the work that is done for it.

Torch is used where the program uses it already, and never imported. Without it, marks do nothing.
"""

from __future__ import annotations

import functools
import itertools
import re
import sys
import time
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, MutableMapping
    from contextlib import AbstractContextManager
    from pathlib import Path

    Scope = MutableMapping[str, Any]
    Message = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]
    App = Callable[[Scope, Receive, Send], Awaitable[None]]

__all__ = ["Marked", "instrument", "request", "request_id"]

HEADER: Final = b"x-perfkit-request"
NAME: Final = re.compile(r"[\w.-]{1,64}")
"""What a request may call itself: it ends up in a trace."""

TAKEN: Final = "perfkit.request"
"""In a scope whose request is marked already."""
CURRENT: ContextVar[str] = ContextVar("perfkit.request", default="")
"""The request that this task or thread works on; tasks and `asyncio.to_thread` inherit it."""
WORKING: ContextVar[bool] = ContextVar("perfkit.request.work", default=False)
"""Whether this task or thread has marked what it does now as work for its request."""
NUMBERS: Final = itertools.count()


def instrument(app: App, *, profile_into: str | Path | None = None) -> App:
    """Mark the requests of an ASGI application, such as one of Starlette or FastAPI.

        app = perfkit.instrument(FastAPI())

    Each request is a range ``perfkit.request`` in whatever trace is being recorded, from its first line to the last
    byte of its answer. Work that a batcher or another thread does for requests is marked by `perfkit.request`.

    Args:
        app: The application.
        profile_into: Folder for traces. With it the application answers ``POST /start_profile`` and
            ``POST /stop_profile`` from this machine, as vLLM and SGLang do; without it, it does not.

    Returns:
        The application to serve instead. It has all attributes of the one given.
    """
    from perfkit.serve.middleware import Instrumented

    return Instrumented(app, profile_into)


@contextmanager
def request(*ids: str) -> Iterator[str]:
    """Mark the work for requests, so that traces know for which it was done.

        with perfkit.request():  # in a handler, or on a thread to which its context was handed on
            answer = model(inputs)

        with perfkit.request(*ids):  # a batch, of requests whose handlers gave their `perfkit.request_id()`
            answers = model(batch)

    Outside of an instrumented application, and without ids, it marks a request of its own.

    Args:
        *ids: The requests that the work is for; by default the one at hand.

    Yields:
        Their ids, or the one's, separated by spaces.
    """
    named = ids or tuple(filter(None, (CURRENT.get(),)))
    if named:
        token = WORKING.set(True)
        try:
            with work_for(*named):
                yield " ".join(named)
        finally:
            WORKING.reset(token)
    else:
        with whole_request("") as name:
            yield name


def request_id() -> str:
    """Return the id of the request at hand, to be handed to a batcher; empty outside of any."""
    return CURRENT.get()


class Marked:
    """An ASGI application whose requests are marked (ASGI 3); within another one, it leaves that to the outer one."""

    def __init__(self, app: App, answered: Callable[[str, int, int], None] | None = None) -> None:
        """Wrap an application; ``answered`` is told name, start and end, in ns since 1970, of each request."""
        follow_into_threads()
        self.app = app
        self.answered = answered

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one connection."""
        if scope["type"] != "http" or TAKEN in scope:
            await self.app(scope, receive, send)
            return
        header = next((value for key, value in scope["headers"] if key == HEADER), b"")
        with whole_request(header.decode("latin-1")) as name:
            scope[TAKEN], began = name, time.time_ns()
            await self.app(scope, receive, send)
        if self.answered is not None:
            self.answered(name, began, time.time_ns())


@contextmanager
def whole_request(name: str) -> Iterator[str]:
    """Mark a request as a whole; what calls itself nothing acceptable gets a number."""
    name = name if NAME.fullmatch(name) else f"r{next(NUMBERS)}"
    token = CURRENT.set(name)
    try:
        with record(f"perfkit.request #{name}"):
            yield name
    finally:
        CURRENT.reset(token)


def work_for(*names: str) -> AbstractContextManager[Any]:
    """Mark work for requests."""
    return record(f"perfkit.request.work {' '.join(f'#{name}' for name in names if NAME.fullmatch(name))}")


@functools.cache
def follow_into_threads() -> None:
    """Mark what requests give to pools of threads, from now on: those of the standard library and of anyio.

    Starlette and FastAPI run what is no coroutine on anyio's threads.
    """
    from concurrent.futures import ThreadPoolExecutor

    submit: Any = ThreadPoolExecutor.submit

    @functools.wraps(submit)
    def submitted(pool: Any, function: Callable[..., Any], /, *arguments: Any, **options: Any) -> Any:
        return submit(pool, for_request(function), *arguments, **options)

    ThreadPoolExecutor.submit = submitted  # type: ignore[method-assign]
    anyio: Any = sys.modules.get("anyio.to_thread")
    if anyio is None:
        return
    run = anyio.run_sync

    @functools.wraps(run)
    async def ran(function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        return await run(for_request(function), *arguments, **options)

    anyio.run_sync = ran


def for_request(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that marks what it does as work for the request at hand, unless that is marked already."""
    name = CURRENT.get()
    if not name or WORKING.get():
        return function

    @functools.wraps(function, assigned=(), updated=())
    def call(*arguments: Any, **options: Any) -> Any:
        with work_for(name):
            return function(*arguments, **options)

    return call


def record(name: str) -> AbstractContextManager[Any]:
    """Return a range in the trace that is being recorded, if any; ranges of one thread may overlap."""
    torch = sys.modules.get("torch")
    if torch is None or not hasattr(torch, "autograd"):
        from contextlib import nullcontext

        return nullcontext()
    range_: AbstractContextManager[Any] = torch.autograd.profiler.record_function(name)
    return range_
