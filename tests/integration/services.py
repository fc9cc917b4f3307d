"""Services as processes of their own, on loopback, and perfkit beside them."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema

import perfkit
from tests.unit.cli.command_line import COMMAND, environment

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
UVICORN = (sys.executable, "-m", "uvicorn", "--log-level", "warning")
UNMODIFIED = (*UVICORN, "tests.integration.programs.service:app")
INSTRUMENTED = (*UVICORN, "tests.integration.programs.instrumented:app")
THREADED = (*UVICORN, "tests.integration.programs.threaded:app")
SCHEMA = Path(perfkit.__file__).parent / "report" / "schema" / "diagnosis-1.json"
READY = (*COMMAND, "run", "--")


class Running:
    """A service that runs, and what it said."""

    def __init__(self, folder: Path, *command: str, ready: int = 1, **variables: str) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.log = folder / f"log-{self.port}"
        self.url = f"http://127.0.0.1:{self.port}/predict"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [*command, "--port", str(self.port)],
                cwd=ROOT,
                stdout=log,
                stderr=log,
                env=os.environ | variables,
                start_new_session=True,
            )
        self.pid = self.process.pid
        until = time.monotonic() + 300
        while time.monotonic() < until and self.process.poll() is None:
            if self.listening() and self.has_torch() >= ready:
                return
            time.sleep(0.1)
        self.end()
        raise AssertionError(self.log.read_text())

    def listening(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def has_torch(self) -> int:
        """How many of its processes have loaded torch; none is asked for where there is no /proc."""
        from perfkit.record.attach.family import text, with_children

        if not Path("/proc/self/maps").exists():
            return 99
        return sum("libtorch" in text(Path(f"/proc/{pid}/maps")) for pid in with_children({self.pid}))

    def served(self) -> list[str]:
        """The names of requests that it logged."""
        return [line.split()[1] for line in self.lines()]

    def served_by(self) -> dict[str, int]:
        """The process that served each request of a load."""
        return {words[1]: int(words[2]) for words in map(str.split, self.lines()) if "-" in words[1]}

    def lines(self) -> list[str]:
        return [line for line in self.log.read_text().splitlines() if line.startswith("served ")]

    def end(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(self.pid, signal.SIGKILL)
            self.process.wait()


@contextmanager
def running(folder: Path, *command: str, ready: int = 1, **variables: str) -> Iterator[Running]:
    """Run a service."""
    service = Running(folder, *command, ready=ready, **variables)
    try:
        yield service
    finally:
        service.end()


def left_behind() -> set[str]:
    """What a run must not leave: files for a while, folders of recordings, the address of the daemon."""
    found = {path.name for path in Path(tempfile.gettempdir()).iterdir() if path.name.startswith("perfkit")}
    found |= {path.name for path in Path.cwd().iterdir() if path.name.startswith("perfkit-")}
    sockets = Path("/proc/net/unix")
    return found | ({"@dynolog"} if sockets.exists() and "@dynolog" in sockets.read_text("utf-8") else set())


def start(*arguments: str | Path, folder: Path) -> subprocess.Popen[str]:
    """Start perfkit in a folder."""
    return subprocess.Popen(
        [*COMMAND, *map(str, arguments)],
        cwd=folder,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def diagnose(*arguments: str | Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run `perfkit diagnose` in a folder, to its end."""
    process = start("diagnose", *arguments, folder=folder)
    try:
        out, said = process.communicate(timeout=300)
    finally:
        process.kill()
    return subprocess.CompletedProcess(process.args, process.returncode, out, said)


def refusal(*arguments: str | Path, folder: Path) -> str:
    """Expect one line, exit code 2, and nothing left in the folder or elsewhere; return the line."""
    before, there = left_behind(), set(folder.iterdir())
    done = diagnose(*arguments, folder=folder)
    assert (done.returncode, done.stdout) == (2, ""), done
    (line,) = done.stderr.splitlines()
    assert line.startswith("perfkit: error: ")
    assert left_behind() <= before
    assert set(folder.iterdir()) == there
    return line.removeprefix("perfkit: error: ")


def answer(text: str) -> dict[str, Any]:
    """Read a diagnosis, to its published schema."""
    found: dict[str, Any] = json.loads(text)
    jsonschema.Draft202012Validator(json.loads(SCHEMA.read_bytes())).validate(found)
    return found


def names_in(trace: Path) -> Counter[str]:
    """How often each name occurs in a trace."""
    found = perfkit.load(trace)
    return Counter(found.strings[name] for name in found.columns["name"].tolist())


def ask(service: Running, name: str) -> None:
    """Send a request."""
    asked = urllib.request.Request(service.url, b"", {"X-Perfkit-Request": name})
    urllib.request.urlopen(asked, timeout=60).read()


def wait_for(condition: Any) -> None:
    """Wait until something holds."""
    until = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.05)
