"""A stub with the profiling endpoints of vLLM, whose trace is a real one of PyTorch's profiler."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from perfkit.pipeline.load import Asked, diagnose_service
from perfkit.serve.generator import Plan
from perfkit.serve.target import find_target
from tests.unit.cli.command_line import trace
from tests.unit.serve.servers import OneAtATime, served

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from aiohttp import web

    Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Profiler:
    """``/start_profile`` and ``/stop_profile``; writes to its own folder, or to where it is told, as SGLang does."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self.told = ""
        self.calls: list[str] = []

    async def start(self, request: web.Request) -> web.Response:
        from aiohttp import web

        self.told = (await request.json())["output_dir"]
        self.calls.append("start")
        return web.Response()

    async def stop(self, _: web.Request) -> web.Response:
        from pathlib import Path

        from aiohttp import web

        self.calls.append("stop")
        shutil.copy(trace("sync_bound_cpu"), Path(self.folder or self.told) / "host_1.1795.pt.trace.json.gz")
        return web.Response()

    def routes(self) -> dict[str, Handler]:
        return {"/": OneAtATime(0.001).answer, "/start_profile": self.start, "/stop_profile": self.stop}


@pytest.mark.parametrize("manner", ["vLLM", "SGLang"])
def test_the_trace_of_a_server_is_diagnosed(manner: str, tmp_path: Path) -> None:
    folder = tmp_path / "traces"
    folder.mkdir()
    shutil.copy(trace("loader_bound_cpu"), folder / "old.json.gz")
    profiler = Profiler(folder if manner == "vLLM" else None)
    with served(profiler.routes()) as url:
        done = diagnose_service(
            find_target(url, [], None, allow_remote=False),
            Asked(Plan(20.0, 0.5), tmp_path / "out", traced_s=0.5, profile_dir=folder if manner == "vLLM" else None),
        )
    assert profiler.calls == ["start", "stop"]
    assert done.trace.path.endswith("host_1.1795.pt.trace.json.gz")
    assert done.attribution.timelines
    assert done.load is not None
    assert done.load.traced_by == "/start_profile"


def test_a_folder_that_is_not_known_is_said(tmp_path: Path) -> None:
    profiler = Profiler(tmp_path)
    with served(profiler.routes()) as url, pytest.MonkeyPatch.context() as patch:
        patch.setattr("perfkit.serve.profiling.SETTLE_S", 0.6)
        done = diagnose_service(
            find_target(url, [], None, allow_remote=False), Asked(Plan(20.0, 0.2), tmp_path / "out", traced_s=0.2)
        )
    assert profiler.calls == ["start", "stop"]
    assert done.load is not None
    assert any("--profile-dir" in note for note in done.load.notes)
    assert done.load.around == (4, 4, {})  # there is no trace, and they were sent all the same
