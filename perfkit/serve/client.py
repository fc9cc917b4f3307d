"""One request over HTTP/1.1, timed, and what went wrong with it in a few words."""

from __future__ import annotations

import asyncio
import os
import time
from typing import TYPE_CHECKING, Final, NamedTuple

from perfkit.errors import MissingExtraError, PerfkitError
from perfkit.serve.streaming import Stream

if TYPE_CHECKING:
    import aiohttp

    from perfkit.serve.target import Target

__all__ = ["Client", "Outcome", "ServiceError", "warm_up"]

REQUEST_HEADER: Final = "X-Perfkit-Request"
"""Header with the name of a request, which marks in the service repeat."""
LONGEST_ANSWER: Final = 64 * 1024 * 1024
TIMEOUT_S: Final = 30.0
WARMUP: Final = 3


class ServiceError(PerfkitError):
    """The service does not answer, or not as it should. The message says how, and what to check."""


class Outcome(NamedTuple):
    """One request; times are of `time.perf_counter_ns`.

    Attributes:
        id: Its name, as in the header.
        items: Inputs of the model that it held.
        intended: When it was to be sent.
        sent: When it was.
        ended: When the last of the answer was there, or it failed.
        error: What went wrong; empty if nothing did.
        tokens: When each piece of a streamed answer came.
        counted: Tokens in the answer as the service counts them; 0 if it does not.
    """

    id: str
    items: int
    intended: int
    sent: int
    ended: int
    error: str = ""
    tokens: tuple[int, ...] = ()
    counted: int = 0


class Client:
    """Sends requests to one service, on as many connections as there are requests under way.

    Use it as an asynchronous context manager.
    """

    def __init__(self, target: Target, *, insecure: bool = False, timeout_s: float = TIMEOUT_S) -> None:
        """Connect nowhere yet; ``insecure`` takes any certificate."""
        self.target = target
        self.insecure = insecure
        self.timeout_s = timeout_s
        self.session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Client:
        try:
            import aiohttp
        except ImportError as error:
            raise MissingExtraError("`perfkit diagnose --url`", "serve") from error

        self.session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ssl=not self.insecure),
            timeout=aiohttp.ClientTimeout(total=self.timeout_s),
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self.session is not None:
            await self.session.close()

    async def post(self, url: str, content: bytes = b"", timeout_s: float | None = None) -> tuple[int, bytes]:
        """Ask for something beside the load; returns status and answer, status 0 if there is none."""
        import aiohttp

        assert self.session is not None
        timeout = aiohttp.ClientTimeout(total=timeout_s or self.timeout_s)
        headers = {"Content-Type": "application/json", "Connection": "close"}  # so that any worker may answer the next
        try:
            async with self.session.post(url, data=content, headers=headers, timeout=timeout) as response:
                return response.status, await response.content.read(LONGEST_ANSWER)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            return 0, str(error).encode()

    async def send(self, name: str, number: int, intended: int) -> Outcome:
        """Send request ``number`` now, and wait for all of its answer. Raises nothing that the service can cause."""
        import aiohttp

        assert self.session is not None
        body = self.target.body(number)
        sent = time.perf_counter_ns()
        stream = Stream() if self.target.streams else None
        error = ""
        try:
            async with self.session.request(
                self.target.method,
                self.target.url,
                data=body.content or None,
                headers={**self.target.headers, REQUEST_HEADER: name},
                allow_redirects=False,
            ) as response:
                length = 0
                async for piece in response.content.iter_any():
                    length += len(piece)
                    if length > LONGEST_ANSWER:
                        error = "answer of over 64 MB"
                        break
                    if stream is not None and response.ok:
                        stream.take(piece, time.perf_counter_ns())
                if not 200 <= response.status < 300:  # noqa: PLR2004  the class of success
                    error = f"HTTP {response.status}"
        except (TimeoutError, aiohttp.ClientError, OSError) as failure:
            error = described(failure)
        ended = time.perf_counter_ns()
        if stream is None:
            return Outcome(name, body.items, intended, sent, ended, error)
        return Outcome(
            name, body.items, intended, sent, ended, error or stream.problem, tuple(stream.times), stream.counted
        )


def described(failure: BaseException) -> str:
    """Say what went wrong, the same words for the same thing."""
    import aiohttp

    if isinstance(failure, aiohttp.ClientSSLError):
        return f"TLS: {str(failure.args[-1] if failure.args else failure) or type(failure).__name__}"
    if isinstance(failure, aiohttp.ClientConnectorError) and not isinstance(failure, aiohttp.ClientConnectorDNSError):
        return os.strerror(failure.os_error.errno).lower() if failure.os_error.errno else "cannot connect"
    words: tuple[tuple[type[BaseException] | tuple[type[BaseException], ...], str], ...] = (
        (aiohttp.ClientConnectorDNSError, "no such host"),
        (asyncio.TimeoutError, "no answer in time"),
        ((aiohttp.ServerDisconnectedError, ConnectionError), "connection closed by the service"),
        (aiohttp.ClientPayloadError, "answer broken off"),
    )
    return next((said for kind, said in words if isinstance(failure, kind)), type(failure).__name__)


async def warm_up(client: Client) -> list[Outcome]:
    """Send a few requests one by one, and return what came of them.

    Raises:
        ServiceError: None of them was answered well.
    """
    outcomes = [await client.send(f"warm-up-{one}", one, time.perf_counter_ns()) for one in range(WARMUP)]
    if all(outcome.error for outcome in outcomes):
        problem = outcomes[-1].error
        message = f"{client.target.shown}: {problem}: {remedy(problem)}"
        raise ServiceError(message)
    return outcomes


def remedy(problem: str) -> str:
    """Say what to check after such a problem."""
    if problem.startswith("TLS"):
        return "check the certificate and the scheme, or give --insecure to take any"
    if problem.startswith("HTTP 404"):
        return "check the path of the URL"
    if problem.startswith("HTTP"):
        return "check the URL and what --body sends"
    if "stream" in problem or "JSON" in problem or "token" in problem:
        return "with --openai the service has to be OpenAI-compatible, and --model one that it serves"
    return "check that the service runs, and its host and port"
