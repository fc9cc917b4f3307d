"""``perfkit diagnose --pid`` on processes of their own that run: unchanged, started ready for it, or not."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import perfkit
from perfkit.model.recording import RECORDING_FILE, WORK

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from tests.integration.disk import Disk

pytest.importorskip("torch", reason="attaches to programs that use torch")
if not sys.platform.startswith("linux"):
    pytest.skip("abstract sockets and /proc are Linux's", allow_module_level=True)

pytestmark = pytest.mark.alone

PROGRAM = Path(__file__).parent / "programs" / "train.py"
PERFKIT = (sys.executable, "-m", "perfkit.cli")
AS_NOBODY = """
import os, pwd, sys
import perfkit.cli, perfkit.cli.diagnose, perfkit.pipeline.record  # another user may not read this Python
import perfkit.record.attach
os.setgid(65534)
os.setuid(pwd.getpwnam("nobody").pw_uid)
perfkit.cli.main()
"""
WITHOUT_PTRACE = """
import ctypes, os, sys
drop_from_bounding_set, sys_ptrace = 24, 19
assert ctypes.CDLL(None).prctl(drop_from_bounding_set, sys_ptrace, 0, 0, 0) == 0
os.execv(sys.executable, [sys.executable, "-m", "perfkit.cli", *sys.argv[1:]])
"""
MANY_STEPS = 200_000
ADDRESS = b"\0dynolog\0"


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user, and less than itself")


def wait_until(holds: Callable[[], object]) -> None:
    end = time.monotonic() + 120
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.05)


@contextmanager
def killed_at_last(
    command: list[str], env: dict[str, str] | None = None
) -> Generator[subprocess.Popen[str], None, None]:
    """Run a command, and end it however the test does."""
    with subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


@contextmanager
def running(*before: str, more: tuple[object, ...] = (), times: int = 1) -> Generator[tuple[int, ...], None, None]:
    """Run the program, once or several times beside itself, and give the process ids once they train."""
    command = [*before, sys.executable, str(PROGRAM), str(MANY_STEPS), "--say", *map(str, more)]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) for _ in range(times)]
    try:
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == b"training\n"
        yield tuple(process.pid for process in processes)
    finally:
        for process in processes:
            process.kill()
            process.communicate()


@pytest.fixture(scope="module")
def ready() -> Generator[tuple[int, ...], None, None]:
    """Two processes started by `perfkit run`."""
    with running(*PERFKIT, "run", "--", times=2) as pids:
        yield pids


def start(folder: Path, *options: object, perfkit: tuple[str, ...] = PERFKIT) -> subprocess.Popen[str]:
    command = [*perfkit, "diagnose", "--folder", folder, *options]
    return subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def diagnose(folder: Path, *options: object, perfkit: tuple[str, ...] = PERFKIT) -> subprocess.CompletedProcess[str]:
    attached = start(folder, *options, perfkit=perfkit)
    output, said = attached.communicate(timeout=300)
    return subprocess.CompletedProcess(attached.args, attached.returncode, output, said)


def at_work_on(folder: Path) -> list[bytes]:
    """Return the command lines of processes that name a folder; a daemon's socket goes with its process."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            found.append(path.read_bytes())
    return [line for line in found if str(folder).encode() in line]


def refusal(folder: Path, *options: object, perfkit: tuple[str, ...] = PERFKIT) -> str:
    """Expect one line, exit code 2 and nothing left; return the line."""
    done = diagnose(folder, *options, perfkit=perfkit)
    assert done.returncode == 2, done
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert not folder.exists()
    assert not at_work_on(folder)
    return line.removeprefix("perfkit: error: ")


def traces(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.name != RECORDING_FILE)


def test_steps_are_exact_and_threads_are_there(ready: tuple[int, ...], tmp_path: Path) -> None:
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


def test_several_record_at_the_same_time(ready: tuple[int, ...], tmp_path: Path) -> None:
    done = diagnose(tmp_path / "two", "--pid", ready[0], "--pid", ready[1], "--duration", "300ms")
    assert done.returncode == 0, done.stderr
    assert {path.name for path in traces(tmp_path / "two")} == {f"trace-{pid}.json.gz" for pid in ready}
    for path in traces(tmp_path / "two"):
        (timeline,) = perfkit.diagnose(path).attribution.timelines
        assert 0.1e9 < timeline.end_ns < 3e9
    assert not at_work_on(tmp_path / "two")


def test_another_daemon_is_named(ready: tuple[int, ...], tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        other.bind(ADDRESS)
        done = diagnose(tmp_path / "out", "--pid", ready[0], "--duration", "1s")
    assert done.returncode == 2
    assert f"process {os.getpid()}" in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(shutil.which("py-spy", path=str(Path(sys.executable).parent)) is None, reason="py-spy is missing")
def test_a_process_not_started_for_it_gives_its_stacks_and_says_what_is_missing(tmp_path: Path) -> None:
    with running() as (pid,):
        assert "was not started with `perfkit run`" in refusal(tmp_path / "no", "--pid", pid, "--steps", 3)
        done = diagnose(tmp_path / "out", "--pid", pid, "--duration", "1s")
        if "may not be read" in done.stderr:
            pytest.skip("this machine lets nobody read another process's memory")
        assert done.returncode == 0, done.stderr
        os.kill(pid, 0)
    headline = " ".join(done.stdout.split("\n\n")[0].split())
    assert headline.startswith("The busiest thread runs Python")
    assert "no operator was recorded" in headline
    assert "operators, shapes, steps and the GPU are not in it" in done.stdout.replace("\n       ", " ")
    trace = perfkit.load(traces(tmp_path / "out")[0])
    assert any("train.py(" in trace.strings[name] for name in trace.columns["name"].tolist())


def test_wrong_processes_are_refused_in_a_line(tmp_path: Path) -> None:
    assert refusal(tmp_path / "a", "--pid", 2**22 + 1) == (
        f"there is no process {2**22 + 1}: give the id of a Python process that runs"
    )
    gone = subprocess.Popen([sys.executable, "-c", ""])
    os.waitid(os.P_PID, gone.pid, os.WEXITED | os.WNOWAIT)  # dead, and not buried yet
    assert refusal(tmp_path / "c", "--pid", gone.pid).startswith("there is no process")
    gone.wait()
    assert refusal(tmp_path / "b", "--pid", gone.pid).startswith("there is no process")


def test_a_process_that_never_asks_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import perfkit.record.attach as attach_to
    from perfkit.errors import UsageError
    from perfkit.record.plan import Plan

    monkeypatch.setattr(attach_to, "ASKS_WITHIN_S", 0.2)
    with (
        killed_at_last(["sleep", "60"], env={"KINETO_USE_DAEMON": "1"}) as silent,
        pytest.raises(UsageError, match="did not ask within"),
    ):
        attach_to.attach([silent.pid], Plan(duration_s=1.0), tmp_path / "out", by_steps=False)
    assert not (tmp_path / "out").exists()


@needs_root
def test_the_process_of_another_user_is_refused(tmp_path: Path) -> None:
    said = refusal(tmp_path / "out", "--pid", os.getpid(), perfkit=(sys.executable, "-c", AS_NOBODY))
    assert said == f"process {os.getpid()} belongs to root: run perfkit as that user"


@needs_root
def test_a_process_that_may_not_be_traced_is_refused(tmp_path: Path) -> None:
    said = refusal(tmp_path / "out", "--pid", os.getpid(), perfkit=(sys.executable, "-c", WITHOUT_PTRACE))
    assert said.startswith(f"process {os.getpid()} cannot be looked at (Permission denied): run perfkit as its user")
    assert "`--cap-add SYS_PTRACE`" in said


@pytest.mark.parametrize("said", ["Error: Permission Denied: Try running again with elevated permissions", "EPERM"])
def test_stacks_that_may_not_be_read_are_refused_with_the_remedy(said: str) -> None:
    from perfkit.record.attach.stacks import refusal as line

    assert line(4711, said).startswith("the stacks of process 4711 may not be read: use sudo, start the container with")


def test_a_program_that_is_no_python_is_refused(tmp_path: Path) -> None:
    with killed_at_last(["sleep", "60"]) as other:
        said = refusal(tmp_path / "out", "--pid", other.pid, "--duration", "1s")
    assert said.startswith((f"py-spy cannot read process {other.pid}: ", "process"))


def test_a_folder_that_cannot_be_written_is_refused(small_disk: Disk) -> None:
    small_disk.forbid_writing()
    assert "out cannot be made: Read-only file system" in refusal(small_disk.place / "out", "--pid", os.getpid())


def test_a_disk_that_fills_up_is_said_in_a_line(ready: tuple[int, ...], small_disk: Disk) -> None:
    folder = small_disk.place / "out"
    attached = start(folder, "--pid", ready[0], "--duration", "3s")
    wait_until(lambda: list(folder.glob("trace_*.tmp")))
    small_disk.fill()
    assert attached.communicate(timeout=300) == (
        "",
        f"perfkit: error: {folder} cannot be written: No space left on device. Make room, or choose another folder "
        "(`perfkit record --output`, `perfkit diagnose --folder`)\n",
    )
    assert attached.returncode == 2
    assert list(small_disk.place.iterdir()) == [small_disk.filler]
    assert "MB left: make room, or choose another folder" in refusal(folder, "--pid", ready[0])


def test_a_disk_that_is_full_when_a_trace_is_compressed_keeps_what_can_be_diagnosed_later(
    ready: tuple[int, ...], small_disk: Disk
) -> None:
    folder = small_disk.place / "out"
    attached = start(folder, "--pid", ready[1], "--duration", "1s")
    wait_until(lambda: list(folder.glob("trace_*.tmp")))
    attached.send_signal(signal.SIGSTOP)
    wait_until((folder / f"trace_{ready[1]}.json").exists)
    small_disk.fill()
    attached.send_signal(signal.SIGCONT)
    output, said = attached.communicate(timeout=30)
    assert (attached.returncode, output) == (2, "")
    no_room = f"{folder} cannot be written: No space left on device. What was recorded so far is still in it"
    assert said == f"perfkit: error: {no_room}\n"
    assert {path.suffix for path in folder.iterdir()} == {"", ".json"}  # and no file that is half written
    small_disk.make_room()
    assert perfkit.diagnose(folder).attribution.timelines[0].busy["compute"] > 0


def test_a_disk_that_fills_up_while_stacks_are_sampled_is_said_in_a_line(small_disk: Disk) -> None:
    folder = small_disk.place / "out"
    with running() as (pid,):
        attached = start(folder, "--pid", pid, "--duration", "2s")
        wait_until((folder / WORK).exists)
        small_disk.fill()
        output, said = attached.communicate(timeout=60)
    if "may not be read" in said:
        pytest.skip("this machine lets nobody read another process's memory")
    assert (attached.returncode, output) == (2, "")
    (line,) = said.splitlines()
    assert line.startswith(f"perfkit: error: {folder} cannot be written: No space left on device. Make room")
    assert list(small_disk.place.iterdir()) == [small_disk.filler]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_perfkit_interrupted_leaves_nothing(ready: tuple[int, ...], tmp_path: Path, number: signal.Signals) -> None:
    attached = start(tmp_path / "out", "--pid", ready[1], "--steps", 100)
    wait_until((tmp_path / "out" / WORK).exists)
    attached.send_signal(number)
    output, said = attached.communicate(timeout=300)
    assert (output, said.strip()) == ("", "")
    assert attached.returncode == 128 + number
    assert not (tmp_path / "out").exists()
    assert not at_work_on(tmp_path / "out")


def test_a_process_that_dies_meanwhile_is_said(tmp_path: Path) -> None:
    with running(*PERFKIT, "run", "--") as (pid,):
        attached = start(tmp_path / "out", "--pid", pid, "--duration", "60s")
        wait_until(lambda: list((tmp_path / "out").glob("trace_*.tmp")))
        os.kill(pid, signal.SIGKILL)
        _, said = attached.communicate(timeout=300)
    assert attached.returncode == 2
    assert said == (
        f"perfkit: error: process {pid} was killed by SIGKILL while it was recorded, so its trace is lost: record a "
        "shorter time, or start it with `perfkit record -- COMMAND`, which keeps what was recorded until then\n"
    )
    assert not (tmp_path / "out").exists()


def test_a_program_that_ends_meanwhile_ends_well(tmp_path: Path) -> None:
    code = (
        "import pathlib, sys, torch\nm = torch.nn.Linear(8, 1); o = torch.optim.SGD(m.parameters(), lr=1e-6)\n"
        "while not pathlib.Path(sys.argv[1]).exists(): m(torch.ones(4, 8)).sum().backward(); o.step()\n"
    )
    command = [*PERFKIT, "run", "--", sys.executable, "-c", code, str(tmp_path / "end")]
    with killed_at_last(command) as program:
        attached = start(tmp_path / "out", "--pid", program.pid, "--duration", "60s")
        wait_until(lambda: list((tmp_path / "out").glob("trace_*.tmp")))
        (tmp_path / "end").touch()
        _, said = program.communicate(timeout=300)
    assert program.returncode == 0, said
    assert "ended while it was recorded" in attached.communicate(timeout=300)[1]


def test_of_several_processes_the_traces_of_those_that_live_are_kept(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with running(*PERFKIT, "run", "--", times=2) as (dies, lives):
        attached = start(out, "--pid", dies, "--pid", lives, "--duration", "1s")
        wait_until(lambda: len(list(out.glob("trace_*.tmp"))) == 2)
        os.kill(dies, signal.SIGKILL)
        output, said = attached.communicate(timeout=30)
    assert attached.returncode == 0, said
    assert [path.name for path in traces(out)] == [f"trace-{lives}.json.gz"]
    assert f"process {dies} was killed by SIGKILL while it was recorded, so its trace is lost" in said
    assert f"process {dies} was killed by SIGKILL" in output.replace("\n       ", " ")


def test_a_process_that_can_be_asked_to_run_a_script_records_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python 3.14 is asked by `sys.remote_exec`; here the program looks for the script at each of its steps."""
    import perfkit.record.attach as attach_to
    from perfkit.record.attach.remote import script
    from perfkit.record.plan import Plan

    asked = tmp_path / "asked.py"

    def inject(_: int, plan: Plan, folder: Path, path: Path) -> None:
        path.write_text(script(plan, folder))
        path.rename(asked)

    monkeypatch.setattr(attach_to, "can_inject", lambda _: True)
    monkeypatch.setattr(attach_to, "inject", inject)
    with running(more=("--run", asked)) as (pid,):
        (process,) = attach_to.attach([pid], Plan(steps=3), tmp_path / "steps", by_steps=True).processes
        assert (process.pid, process.steps, process.source, process.how) == (pid, 3, "Optimizer.step", "whole")
        assert process.slowdown is not None

        def kill() -> None:
            wait_until(lambda: list((tmp_path / "killed").glob(".work/*.journal.json")))
            os.kill(pid, signal.SIGKILL)

        killer = threading.Thread(target=kill)
        killer.start()
        (process,) = attach_to.attach([pid], Plan(duration_s=60), tmp_path / "killed", by_steps=False).processes
        killer.join()
    assert process.how == "the program was killed"
    assert perfkit.diagnose(tmp_path / "killed").attribution.timelines[0].steps
