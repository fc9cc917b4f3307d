"""The ASGI application around an application: marks its requests, and profiles it when asked to from this machine."""

from __future__ import annotations

import asyncio
import ipaddress
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from perfkit.serve.marks import HEADER, whole_request

if TYPE_CHECKING:
    from perfkit.serve.marks import App, Message, Receive, Scope, Send

__all__ = ["Instrumented"]

START: Final = "/start_profile"
STOP: Final = "/stop_profile"


class Instrumented:
    """An application whose requests are marked (ASGI 3)."""

    def __init__(self, app: App, profile_into: str | Path | None) -> None:
        """Wrap an application."""
        self.app = app
        self.recorder = None if profile_into is None else Recorder(Path(profile_into))

    def __getattr__(self, name: str) -> Any:
        """Return an attribute of the application."""
        if name == "app":  # not there yet while it is being unpickled
            raise AttributeError(name)
        return getattr(self.app, name)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one connection."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
        elif self.recorder is not None and scope["path"] in {START, STOP} and scope["method"] == "POST":
            await respond(send, *await self.recorder.answer(scope))
        else:
            name = next((value for key, value in scope["headers"] if key == HEADER), b"")
            with whole_request(name.decode("latin-1")):
                await self.app(scope, receive, send)


class Recorder:
    """Records traces with PyTorch's profiler: all threads, from one request to another."""

    def __init__(self, folder: Path) -> None:
        """Record nothing yet."""
        self.folder = folder
        self.profiler: Any = None

    async def answer(self, scope: Scope) -> tuple[int, dict[str, str]]:
        """Start or stop; returns a status and what to say."""
        host = (scope.get("client") or ("",))[0]
        if not is_local(host):
            return 403, {"error": "profiling is for this machine only"}
        if "torch" not in sys.modules:
            return 409, {"error": "this process has not imported torch"}
        if scope["path"] == START:
            return self.start()
        return await self.stop()

    def start(self) -> tuple[int, dict[str, str]]:
        """Start to record."""
        if self.profiler is not None:
            return 409, {"error": "the profiler is running"}
        torch: Any = sys.modules["torch"]  # it has been imported, by the application

        config = torch._C._profiler._ExperimentalConfig(profile_all_threads=True)  # noqa: SLF001  the only way to it
        profiler = torch.profiler.profile(experimental_config=config)
        profiler.start()
        self.profiler = profiler
        return 200, {"message": "profiling"}

    async def stop(self) -> tuple[int, dict[str, str]]:
        """Stop to record, and write the trace while the service goes on."""
        if self.profiler is None:
            return 409, {"error": "the profiler is not running"}
        profiler, self.profiler = self.profiler, None
        profiler.stop()
        path = self.folder / f"perfkit-{time.time_ns()}.pt.trace.json.gz"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            await asyncio.to_thread(profiler.export_chrome_trace, str(path))
        except (OSError, RuntimeError) as error:
            return 500, {"error": f"the trace cannot be written: {error}"}
        return 200, {"trace": str(path.resolve())}


def is_local(host: str) -> bool:
    """Tell whether a peer is this machine; one without an address is behind a UNIX socket."""
    try:
        return not host or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


async def respond(send: Send, status: int, said: dict[str, str]) -> None:
    """Send an answer in JSON."""
    content = json.dumps(said).encode()
    head: Message = {"type": "http.response.start", "status": status}
    head["headers"] = [(b"content-type", b"application/json"), (b"content-length", str(len(content)).encode())]
    await send(head)
    await send({"type": "http.response.body", "body": content})
