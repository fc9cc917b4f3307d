"""A trace of a service by its own endpoints ``/start_profile`` and ``/stop_profile``: vLLM, SGLang, `instrument`.

SGLang writes to the ``output_dir`` that it is told. vLLM writes to a folder that it was started with, and ignores what
it is told; its process says which (``--profiler-config`` with ``torch_profiler_dir``, or VLLM_TORCH_PROFILER_DIR).
Sources: the profiling pages of both projects' documentation.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from perfkit.serve.client import ServiceError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from perfkit.serve.client import Client

__all__ = ["Endpoints", "folder_of_process"]

SUFFIXES: Final = (".json", ".json.gz", ".json.zst")
WRITE_S: Final = 300.0
"""vLLM and SGLang answer once a trace is written, which takes minutes for large ones."""
SETTLE_S: Final = 15.0
QUIET_S: Final = 0.5
NOT_RUNNING: Final = 409
MOST_TRIES: Final = 20
MISSING: Final = (404, 405, 501)


class Endpoints:
    """The profiling endpoints of one server."""

    def __init__(self, client: Client, told: Path, folders: list[Path]) -> None:
        """Use none of them yet.

        Args:
            client: With what to ask.
            told: An empty folder, which the server is told to write to.
            folders: Where it may write to instead.
        """
        self.client = client
        self.origin = client.target.origin
        self.told = told
        self.folders = [told, *folders]
        self.before: set[Path] = set()
        self.running = False

    async def start(self, options: Mapping[str, bool]) -> bool:
        """Have the server start to record; false if it offers no such endpoint.

        Args:
            options: ``with_stack`` and ``record_shapes``; vLLM does as it was started to.

        Raises:
            ServiceError: It offers one, which refused.
        """
        self.before = set(self.traces())
        asked = json.dumps({"output_dir": str(self.told), "activities": ["CPU", "GPU"], **options}).encode()
        status, answer = await self.client.post(f"{self.origin}/start_profile", asked)
        if status in MISSING:
            return False
        if not 200 <= status < 300:  # noqa: PLR2004  the class of success
            message = f"{self.origin}/start_profile was refused ({status or 'no answer'}): {excerpt(answer)}"
            raise ServiceError(message)
        self.running = True
        return True

    async def end(self) -> tuple[int, bytes]:
        """Have the server stop, whatever comes of it; returns status and answer.

        Of several workers another one may answer, which has not been started: then it is asked again.
        """
        self.running = False
        status, answer = NOT_RUNNING, b""
        for _ in range(MOST_TRIES):
            if status == NOT_RUNNING:
                status, answer = await self.client.post(f"{self.origin}/stop_profile", b"{}", timeout_s=WRITE_S)
        return status, answer

    async def stop(self) -> list[Path]:
        """Have the server stop, and return the traces that it wrote.

        Raises:
            ServiceError: It refused, or where it wrote to cannot be found.
        """
        status, answer = await self.end()
        if not 200 <= status < 300:  # noqa: PLR2004
            message = f"{self.origin}/stop_profile was refused ({status or 'no answer'}): {excerpt(answer)}"
            raise ServiceError(message)
        named = trace_named(answer)
        if named is not None and named.is_file():
            return [named]
        found = await self.settled()
        if not found:
            looked = ", ".join(map(str, self.folders[1:])) or "none was given"
            message = (
                f"the service was profiled, but where its traces are is not known (looked in: {looked}): "
                f"give its folder by --profile-dir, or its process by --pid"
            )
            raise ServiceError(message)
        return found

    async def settled(self) -> list[Path]:
        """Wait until new traces have come and stopped to grow."""
        sizes: dict[Path, int] = {}
        until = time.monotonic() + SETTLE_S
        while time.monotonic() < until:
            now = {path: path.stat().st_size for path in self.traces() if path not in self.before}
            if now and now == sizes and all(now.values()):
                return sorted(now)
            sizes = now
            await asyncio.sleep(QUIET_S)
        return sorted(sizes)

    def traces(self) -> list[Path]:
        """Return the traces in the folders."""
        return [
            path
            for folder in self.folders
            if folder.is_dir()
            for path in sorted(folder.iterdir())
            if path.name.endswith(SUFFIXES) and path.is_file()
        ]


def trace_named(answer: bytes) -> Path | None:
    """Return the trace that an answer names, as that of `perfkit.instrument` does."""
    try:
        said: Any = json.loads(answer)
    except ValueError:
        return None
    return Path(str(said["trace"])) if isinstance(said, dict) and "trace" in said else None


def folder_of_process(pid: int) -> list[Path]:
    """Return the folders that a process was told to write traces to, by its environment and command line (Linux)."""
    process = Path("/proc") / str(pid)
    try:
        environment = (process / "environ").read_bytes().decode("utf-8", "replace").split("\0")
        command = (process / "cmdline").read_bytes().decode("utf-8", "replace")
    except OSError:
        return []
    names = ("VLLM_TORCH_PROFILER_DIR=", "SGLANG_TORCH_PROFILER_DIR=")
    found = [line.partition("=")[2] for line in environment if line.startswith(names)]
    found += re.findall(r'torch_profiler_dir["=:\s\0]+([^"\0,}\s]+)', command)
    return [Path(folder) for folder in found if folder]


def excerpt(answer: bytes) -> str:
    """Return the beginning of an answer."""
    return answer.decode("utf-8", "replace").strip()[:120] or "no text"
