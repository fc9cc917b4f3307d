"""The slow service of the benchmarks as a process of its own: loaded, traced, diagnosed."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.unit.cli.command_line import fail, run

if TYPE_CHECKING:
    from collections.abc import Iterator

for module in ("torch", "uvicorn", "starlette", "aiohttp", "hdrh"):
    pytest.importorskip(module, reason=f"{module} is not installed")

ROOT = Path(__file__).parents[2]


class Running:
    """A service that runs, and what it said."""

    def __init__(self, folder: Path, *options: str) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.log = folder / "log"
        self.url = f"http://127.0.0.1:{port}/predict"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.programs.slow_service", "--port", str(port), *options],
                cwd=ROOT,
                stdout=log,
                stderr=log,
            )
        until = time.monotonic() + 40
        while time.monotonic() < until and self.process.poll() is None:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    return
            time.sleep(0.1)
        raise AssertionError(self.log.read_text())

    def served(self) -> list[str]:
        """The names of requests that it logged."""
        return [line.split()[1] for line in self.log.read_text().splitlines() if line.startswith("served ")]

    def end(self) -> None:
        self.process.terminate()
        self.process.wait(10)


@pytest.fixture(scope="module", params=["blocking", "none"])
def service(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("service")
    running = Running(folder, "--fault", request.param, "--profile-into", str(folder / "traces"))
    yield running
    running.end()


def test_every_request_is_in_the_trace_and_in_the_log(service: Running, tmp_path: Path) -> None:
    body = tmp_path / "body.json"
    body.write_text('{"inputs": [[1, 2, 3]]}')
    options = ("--rate", "40", "--duration", "1s", "--traced", "1s", "--format", "json")
    before = len(service.served())
    done = run("diagnose", "--url", service.url, "--body", body, *options)
    assert done.returncode == 0, done
    found: dict[str, Any] = json.loads(done.stdout)
    load, split = found["load"], found["load"]["split"]
    assert load["stretch"]["sent"] == load["stretch"]["answered"] == 40
    assert split["sent"] == split["answered"] == split["marked"] == split["split"] == 40
    assert (split["others"], split["linked"]) == (0, "marks")
    names = service.served()[before:]
    assert len(names) == 3 + 80
    assert len(set(names)) == len(names)
    # The parts of a request are all of it.
    assert sum(split["mean_ns"].values()) == pytest.approx(split["latency"]["mean_ns"], rel=0.01)
    assert split["mean_ns"]["device"] > 0
    assert found["timelines"][0]["idle"]["no_request"] > 0
    assert load["service"]["source"] == "marks"


def test_a_service_without_marks_is_timed_all_the_same(tmp_path: Path) -> None:
    running = Running(tmp_path, "--bare")
    try:
        done = run("diagnose", "--url", running.url, "--rate", "20", "--duration", "1s", "--traced", "0")
        text = done.stdout.decode()
        assert done.returncode == 0
        assert "20 answered well" in " ".join(text.split())
        assert "There is no trace of the service" in text
        said = fail("diagnose", "--url", running.url.replace("http:", "https:"))
        assert "TLS" in said
        assert "HTTP 404: check the path" in fail("diagnose", "--url", f"{running.url}/nowhere")
    finally:
        running.end()


def test_requests_for_what_is_not_there_are_refused() -> None:
    assert "--allow-remote" in fail("diagnose", "--url", "http://192.0.2.1/")
    assert "--rate is for loading a service" in fail("diagnose", "trace.json", "--rate", "5")
    assert "alone" in fail("diagnose", "trace.json", "--url", "http://127.0.0.1/")
