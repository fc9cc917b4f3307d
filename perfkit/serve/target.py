"""What to ask for: a URL, a body, and the limits of what may be asked."""

from __future__ import annotations

import ipaddress
import json
import socket
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import urlsplit, urlunsplit

from perfkit.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

__all__ = ["MOST_REQUESTS", "MOST_SECONDS", "Body", "Target", "check_bounds", "find_target"]

MOST_REQUESTS: Final = 200_000
MOST_SECONDS: Final = 600.0
"""Bounds on what one run asks of a service, whatever it is told."""
PROMPT: Final = "Count from one to fifty in words."
DEFAULT_TOKENS: Final = 64


class Body(NamedTuple):
    """What a request sends; ``items`` is how many inputs of the model that is."""

    content: bytes
    items: int = 1


class Target(NamedTuple):
    """Where requests go, and what they are.

    Attributes:
        url: The URL with all that it takes.
        shown: The URL for people: without user and password.
        method: ``GET``, or ``POST`` where there is a body.
        bodies: What is sent, in turn; none for ``GET``.
        streams: The answers are streams of an OpenAI-compatible service.
    """

    url: str
    shown: str
    method: str
    bodies: tuple[Body, ...]
    streams: bool

    @property
    def origin(self) -> str:
        """Return scheme and host, where a server has its other endpoints."""
        parts = urlsplit(self.url)
        return urlunsplit((parts.scheme, parts.netloc, "", "", ""))

    @property
    def headers(self) -> dict[str, str]:
        """Return the headers that say what is sent."""
        return {"Content-Type": "application/json"} if self.bodies else {}

    def body(self, number: int) -> Body:
        """Return what request ``number`` sends."""
        return self.bodies[number % len(self.bodies)] if self.bodies else Body(b"")


def find_target(url: str, bodies: Sequence[tuple[Path, int]], model: str | None, *, allow_remote: bool) -> Target:
    """Check what is asked for.

    Args:
        url: An ``http`` or ``https`` URL.
        bodies: Files to send in turn, each with how many inputs of the model it holds.
        model: Ask an OpenAI-compatible service for streamed answers of this model; None for any other service.
        allow_remote: The service may be on another machine.

    Raises:
        UsageError: The URL is none, is that of another machine, or a body cannot be read.
    """
    try:
        parts = urlsplit(url)
        known = parts.scheme in {"http", "https"} and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        known = False
    if not known:
        message = f"{url!r} is not a URL of a service: give one such as http://127.0.0.1:8000/predict"
        raise UsageError(message)
    if not allow_remote and not is_loopback(parts.hostname or ""):
        message = f"{parts.hostname} is not this machine: give --allow-remote if you may put load on it"
        raise UsageError(message)
    sent = tuple(Body(read(path), items) for path, items in bodies)
    if model is not None:
        parts = parts._replace(path=completions_path(parts.path))
        sent = tuple(body._replace(content=streamed(body.content, model)) for body in sent or (Body(b"{}"),))
    shown = parts._replace(netloc=parts.netloc.rpartition("@")[2], query="")
    return Target(urlunsplit(parts), urlunsplit(shown), "POST" if sent else "GET", sent, streams=model is not None)


def is_loopback(host: str) -> bool:
    """Tell whether every address of a host is this machine's loopback."""
    try:
        found = [entry[4][0] for entry in socket.getaddrinfo(host, None)]
    except OSError:
        return host == "localhost"
    return bool(found) and all(ipaddress.ip_address(str(address).partition("%")[0]).is_loopback for address in found)


def read(path: Path) -> bytes:
    """Read a body.

    Raises:
        UsageError: It cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        message = f"{path} cannot be read: {error.strerror or error}"
        raise UsageError(message) from error


def completions_path(path: str) -> str:
    """Return the path of the endpoint that completes, given it or a base."""
    bare = path.rstrip("/")
    if bare.endswith("/completions"):
        return bare
    return f"{bare}/chat/completions" if bare.endswith("/v1") else f"{bare}/v1/chat/completions"


def streamed(content: bytes, model: str) -> bytes:
    """Return a body that asks for a stream, and for the number of its tokens at the end.

    Raises:
        UsageError: The body is no JSON object.
    """
    try:
        asked: Any = json.loads(content)
    except ValueError:
        asked = None
    if not isinstance(asked, dict):
        message = 'with --openai a body must be a JSON object, such as {"messages": [...], "max_tokens": 64}'
        raise UsageError(message)
    default: dict[str, Any] = {"max_tokens": DEFAULT_TOKENS}
    if not {"messages", "prompt"} & set(asked):
        default["messages"] = [{"role": "user", "content": PROMPT}]
    return json.dumps(
        {**default, **asked, "model": model, "stream": True, "stream_options": {"include_usage": True}}
    ).encode()


def check_bounds(rate: float, seconds: float) -> None:
    """Make sure that the load stays within bounds.

    Raises:
        UsageError: It would not.
    """
    if seconds > MOST_SECONDS:
        message = f"{seconds:g} s is more than the {MOST_SECONDS:g} s that a load may last: give a shorter --duration"
        raise UsageError(message)
    if rate * seconds > MOST_REQUESTS:
        message = (
            f"{rate:g} requests/s for {seconds:g} s are more than {MOST_REQUESTS:,} requests: "
            f"give a lower --rate or a shorter --duration"
        )
        raise UsageError(message)
