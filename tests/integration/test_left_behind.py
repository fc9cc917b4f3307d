"""What perfkit's commands leave behind beside what they were asked for: no file for a while, and nobody at work."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.integration.services import READY, UNMODIFIED, diagnose, running, start, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

for module in ("torch", "uvicorn", "aiohttp", "hdrh"):
    pytest.importorskip(module, reason=f"{module} is not installed")
if not sys.platform.startswith("linux"):
    pytest.skip("abstract sockets and /proc are Linux's", allow_module_level=True)

pytestmark = pytest.mark.alone
PROGRAM = Path(__file__).parent / "programs" / "train.py"


@pytest.fixture(autouse=True)
def _temporary(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The folder for files for a while, of perfkit and of the programs that it runs; it has to be empty in the end."""
    place = tmp_path_factory.mktemp("t")
    monkeypatch.setenv("TMPDIR", str(place))
    yield
    assert not list(place.iterdir())


def at_work_on(*words: str) -> list[int]:
    """The processes in whose command lines all these words are."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes()
        except OSError:
            continue
        if all(word.encode() in line for word in words):
            found.append(int(path.parent.name))
    return found


@pytest.mark.parametrize("ended", ["by --stop", signal.SIGINT, signal.SIGTERM])
def test_a_recorded_program(ended: str | signal.Signals, tmp_path: Path) -> None:
    out, steps = tmp_path / "out", str(100_000)
    options = ["--stop", "--steps", "3"] if ended == "by --stop" else ["--steps", "9000"]
    program = [sys.executable, str(PROGRAM), steps]
    if ended != signal.SIGINT:  # after an interrupt, a program without perfkit leaves folders of its workers, too
        program += ["--workers", "2", "--sleep-ms", "2"]
    process = start("record", "-o", str(out), "--warmup", "3", *options, "--", *program, folder=tmp_path)
    if isinstance(ended, signal.Signals):
        wait_for(lambda: list(out.glob(".work/*.journal.json")) or process.poll() is not None)
        process.send_signal(ended)
    _, said = process.communicate(timeout=60)
    assert process.returncode == (128 + ended if isinstance(ended, signal.Signals) else 0), said
    assert not at_work_on(str(PROGRAM), steps)
    # Of a program that is interrupted while a step is written down, what was timed is left: a trace that is not packed.
    assert {path.suffix for path in out.iterdir()} <= {".gz", ".json"}
    assert list(out.glob("trace-*"))


def test_a_service_that_is_attached_to_and_loaded_to_the_end_and_not(tmp_path: Path) -> None:
    with running(tmp_path, *READY, *UNMODIFIED) as service:
        attach = ("--pid", str(service.pid), "--duration")
        load = ("--url", service.url, "--duration", "200ms", "--traced")
        assert diagnose(*attach, "200ms", "--folder", "one", folder=tmp_path).returncode == 0
        assert diagnose(*load, "200ms", "--folder", "two", folder=tmp_path).returncode == 0
        for number, options in ((signal.SIGINT, attach), (signal.SIGTERM, load)):
            process = start("diagnose", *options, "3s", "--folder", "three", folder=tmp_path)
            wait_for(lambda: list(tmp_path.glob("three/trace_*.tmp")))
            process.send_signal(number)
            process.communicate(timeout=30)
            assert process.returncode in {130, 143}
            assert not at_work_on(str(tmp_path), "three")
            time.sleep(4)  # nobody can have the profiler of torch end before its time is up
        assert not (tmp_path / "three").exists()
        assert subprocess.run(["ps", "-p", str(service.pid)], capture_output=True, check=False).returncode == 0
