"""``perfkit diagnose --pid`` on processes of their own that run: unchanged, started ready for it, or not."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import perfkit
from perfkit.model.recording import RECORDING_FILE

if TYPE_CHECKING:
    from collections.abc import Generator

pytest.importorskip("torch", reason="attaches to programs that use torch")
if not sys.platform.startswith("linux"):
    pytest.skip("abstract sockets and /proc are Linux's", allow_module_level=True)

PROGRAM = Path(__file__).parent / "programs" / "train.py"
PERFKIT = (sys.executable, "-m", "perfkit.cli")
MANY_STEPS = 20_000
ADDRESS = b"\0dynolog\0"


@contextmanager
def running(*before: str, steps: int = MANY_STEPS) -> Generator[int, None, None]:
    """Run the program, and give its process id once it trains."""
    command = [*before, sys.executable, str(PROGRAM), str(steps), "--say"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"training\n"
        yield process.pid
    finally:
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def ready() -> Generator[tuple[int, int], None, None]:
    """Two processes started by `perfkit run`."""
    with running(*PERFKIT, "run", "--") as first, running(*PERFKIT, "run", "--") as second:
        yield first, second


def diagnose(folder: Path, *options: object, **changes: str) -> subprocess.CompletedProcess[str]:
    command = [*PERFKIT, "diagnose", "--folder", folder, *options]
    environment = os.environ | changes
    return subprocess.run(
        list(map(str, command)), capture_output=True, text=True, check=False, timeout=90, env=environment
    )


def refusal(folder: Path, *options: object, **changes: str) -> str:
    """Expect one line, exit code 2 and nothing left; return the line."""
    done = diagnose(folder, *options, **changes)
    assert done.returncode == 2, done
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert not folder.exists()
    assert "@dynolog" not in Path("/proc/net/unix").read_text("utf-8")
    return line.removeprefix("perfkit: error: ")


def traces(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.name != RECORDING_FILE)


def test_steps_are_exact_and_threads_are_there(ready: tuple[int, int], tmp_path: Path) -> None:
    done = diagnose(tmp_path / "out", "--pid", ready[0], "--steps", 7)
    assert done.returncode == 0, done.stderr
    (path,) = traces(tmp_path / "out")  # and the other process recorded nothing
    assert path.name == f"trace-{ready[0]}.json.gz"
    trace = perfkit.load(path)
    names = [trace.strings[name] for name in trace.columns["name"].tolist()]
    assert names.count("Optimizer.step#SGD.step") == 7
    assert "aten::cumsum" in names
    diagnosis = perfkit.diagnose(tmp_path / "out")
    assert diagnosis.recording is not None
    assert [process.pid for process in diagnosis.recording.processes] == [ready[0]]
    assert "(Optimizer.step" in done.stdout


def test_several_record_at_the_same_time(ready: tuple[int, int], tmp_path: Path) -> None:
    done = diagnose(tmp_path / "two", "--pid", ready[0], "--pid", ready[1], "--duration", "300ms")
    assert done.returncode == 0, done.stderr
    assert {path.name for path in traces(tmp_path / "two")} == {f"trace-{pid}.json.gz" for pid in ready}
    for path in traces(tmp_path / "two"):
        (timeline,) = perfkit.diagnose(path).attribution.timelines
        assert 0.1e9 < timeline.end_ns < 0.9e9
    assert "@dynolog" not in Path("/proc/net/unix").read_text("utf-8")


def test_another_daemon_is_named(ready: tuple[int, int], tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        other.bind(ADDRESS)
        done = diagnose(tmp_path / "out", "--pid", ready[0], "--duration", "1s")
    assert done.returncode == 2
    assert f"process {os.getpid()}" in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(shutil.which("py-spy", path=str(Path(sys.executable).parent)) is None, reason="py-spy is missing")
def test_a_process_not_started_for_it_gives_its_stacks_and_says_what_is_missing(tmp_path: Path) -> None:
    with running() as pid:
        assert "was not started with `perfkit run`" in refusal(tmp_path / "no", "--pid", pid, "--steps", 3)
        done = diagnose(tmp_path / "out", "--pid", pid, "--duration", "1s")
        if "may not be read" in done.stderr:
            pytest.skip("this machine lets nobody read another process's memory")
        assert done.returncode == 0, done.stderr
        os.kill(pid, 0)
    assert "operators, shapes, steps and the GPU are not in it" in done.stdout.replace("\n       ", " ")
    trace = perfkit.load(traces(tmp_path / "out")[0])
    assert any("train.py(" in trace.strings[name] for name in trace.columns["name"].tolist())


def test_wrong_processes_are_refused_in_a_line(tmp_path: Path) -> None:
    assert refusal(tmp_path / "a", "--pid", 2**22 + 1) == (
        f"there is no process {2**22 + 1}: give the id of a Python process that runs"
    )
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    assert refusal(tmp_path / "b", "--pid", gone.pid).startswith("there is no process")


def test_a_process_that_never_asks_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import perfkit.record.attach as attach_to
    from perfkit.errors import UsageError
    from perfkit.record.plan import Plan

    silent = subprocess.Popen(["sleep", "60"], env={"KINETO_USE_DAEMON": "1"})
    monkeypatch.setattr(attach_to, "ASKS_WITHIN_S", 0.2)
    try:
        with pytest.raises(UsageError, match="did not ask within"):
            attach_to.attach([silent.pid], Plan(duration_s=1.0), tmp_path / "out", by_steps=False)
    finally:
        silent.kill()
        silent.wait()
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
def test_the_process_of_another_user_is_refused() -> None:
    code = (  # everything is imported by root: another user may not be allowed to read this Python
        "import os, pwd, sys; from perfkit.record.attach.target import look_at;"
        "os.setgid(65534); os.setuid(pwd.getpwnam('nobody').pw_uid); look_at(int(sys.argv[1]))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(os.getpid())], capture_output=True, text=True, check=False)
    assert f"process {os.getpid()} belongs to root: run perfkit as that user" in done.stderr


def test_a_process_that_dies_meanwhile_is_said(tmp_path: Path) -> None:
    with running(*PERFKIT, "run", "--") as pid:
        command = [*PERFKIT, "diagnose", "--folder", tmp_path / "out", "--pid", pid, "--duration", "60s"]
        attached = subprocess.Popen(list(map(str, command)), stderr=subprocess.PIPE, text=True)
        end = time.monotonic() + 30
        while not list((tmp_path / "out").glob("trace_*.tmp")) and time.monotonic() < end:
            time.sleep(0.1)
        os.kill(pid, signal.SIGKILL)
        _, said = attached.communicate(timeout=30)
    assert attached.returncode == 2
    assert said == f"perfkit: error: process {pid} ended while it was recorded, and left no trace\n"
    assert not (tmp_path / "out").exists()


def test_what_is_injected_records_the_process_that_runs_it(tmp_path: Path) -> None:
    """Python 3.14 runs the script by `sys.remote_exec`; here the program runs it itself."""
    from perfkit.record.attach.remote import script
    from perfkit.record.collect import collect
    from perfkit.record.launch import make_folder
    from perfkit.record.plan import Plan

    folder = make_folder(tmp_path / "out")
    file = tmp_path / "inject.py"
    file.write_text(script(Plan(steps=3, warmup=2), folder))
    subprocess.run(
        [sys.executable, str(PROGRAM), "40", "--say", "--run", str(file)], check=True, stdout=subprocess.DEVNULL
    )
    (process,) = collect(folder, ["attached"], None).processes
    assert (process.steps, process.how) == (3, "whole")
    assert json.loads((folder / RECORDING_FILE).read_text())["processes"][0]["steps"] == 3
