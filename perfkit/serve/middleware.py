"""The ASGI application around an application: marks its requests, and profiles it when asked to from this machine."""

from __future__ import annotations

import asyncio
import gzip
import ipaddress
import json
import shutil
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from perfkit.serve.marks import Marked

if TYPE_CHECKING:
    from perfkit.serve.marks import App, Message, Receive, Scope, Send

__all__ = ["Instrumented"]

START: Final = "/start_profile"
STOP: Final = "/stop_profile"


class Instrumented(Marked):
    """An application whose requests are marked, and which can be profiled."""

    def __init__(self, app: App, profile_into: str | Path | None) -> None:
        """Wrap an application."""
        super().__init__(app)
        self.recorder = None if profile_into is None else Recorder(Path(profile_into))

    def __getattr__(self, name: str) -> Any:
        """Return an attribute of the application."""
        if name == "app":  # not there yet while it is being unpickled
            raise AttributeError(name)
        return getattr(self.app, name)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one connection."""
        asked = scope["type"] == "http" and scope["method"] == "POST" and scope["path"] in {START, STOP}
        if asked and self.recorder is not None:
            await respond(send, *await self.recorder.answer(scope, receive))
        else:
            await super().__call__(scope, receive, send)


class Recorder:
    """Records traces with PyTorch's profiler: all threads, from one request to another."""

    def __init__(self, folder: Path) -> None:
        """Record nothing yet."""
        self.folder = folder
        self.profiler: Any = None

    async def answer(self, scope: Scope, receive: Receive) -> tuple[int, dict[str, str]]:
        """Start or stop; returns a status and what to say."""
        host = (scope.get("client") or ("",))[0]
        if not is_local(host):
            return 403, {"error": "profiling is for this machine only"}
        if "torch" not in sys.modules:
            return 409, {"error": "this process has not imported torch"}
        if scope["path"] == START:
            return self.start(options_in(await receive()))
        return await self.stop()

    def start(self, options: dict[str, bool]) -> tuple[int, dict[str, str]]:
        """Start to record."""
        if self.profiler is not None:
            return 409, {"error": "the profiler is running"}
        torch: Any = sys.modules["torch"]  # it has been imported, by the application

        config = torch._C._profiler._ExperimentalConfig(profile_all_threads=True)  # noqa: SLF001  the only way to it
        profiler = torch.profiler.profile(experimental_config=config, **options)
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
            await asyncio.to_thread(export, profiler, path)
        except (OSError, RuntimeError) as error:
            return 500, {"error": f"the trace cannot be written: {error}"}
        return 200, {"trace": str(path.resolve())}


def export(profiler: Any, path: Path) -> None:
    """Write a compressed trace, or leave nothing: the profiler would leave its text in the folder for such files."""
    path.parent.mkdir(parents=True, exist_ok=True)
    raw = path.with_suffix(".part")
    try:
        profiler.export_chrome_trace(str(raw))
        if not raw.exists():
            message = "the disk may be full"
            raise OSError(message)
        with raw.open("rb") as file, gzip.open(path, "wb", compresslevel=1) as out:
            shutil.copyfileobj(file, out)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    finally:
        raw.unlink(missing_ok=True)
        raw.with_suffix(".part.tmp").unlink(missing_ok=True)


def options_in(message: Message) -> dict[str, bool]:
    """Return the options of the profiler that a request asks for; SGLang calls them so, too."""
    try:
        asked = json.loads(message.get("body", b""))
    except ValueError:
        return {}
    known = ("with_stack", "record_shapes")
    return {name: asked[name] is True for name in known if name in asked} if isinstance(asked, dict) else {}


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
