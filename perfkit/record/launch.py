"""Runs a program with the agent in it, in the foreground, and leaves nothing behind but the recording."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from perfkit.errors import UsageError
from perfkit.model.recording import WORK

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from perfkit.record.plan import Plan

__all__ = ["discard", "empty_folder", "environment", "is_full", "make_folder", "ready", "run", "unwritable"]

INJECTED: Final = Path(__file__).with_name("inject")
PROFILER: Final = "KINETO_CONFIG"
"""Names the settings of torch's profiler, which are otherwise in PROFILER_FILE."""
PROFILER_FILE: Final = Path("/etc/libkineto.conf")
LEAST_BYTES: Final = 16 << 20
FULL_BYTES: Final = 1 << 16
ANOTHER: Final = "another folder (`perfkit record --output`, `perfkit diagnose --folder`)"
POLL_S: Final = 0.1


def make_folder(path: Path) -> Path:
    """Make the folder of a recording, in which processes can work, and return its absolute path.

    Raises:
        UsageError: It cannot be made, holds something already, or its disk is full.
    """
    folder = empty_folder(path)
    (folder / WORK).mkdir()
    return folder


def empty_folder(path: Path) -> Path:
    """Make a folder, and return its absolute path.

    Raises:
        UsageError: It cannot be made, holds something already, or its disk is full.
    """
    folder = path.absolute()
    try:
        there = folder.exists()
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            message = f"{path} is not empty: choose {ANOTHER}"
            raise UsageError(message)
        free = shutil.disk_usage(folder).free
    except OSError as error:
        message = f"{path} cannot be made: {error.strerror or error}. Choose {ANOTHER}"
        raise UsageError(message) from error
    if free < LEAST_BYTES:
        if not there:
            folder.rmdir()
        message = f"the disk of {path} has {free / 1e6:.1f} MB left: make room, or choose {ANOTHER}"
        raise UsageError(message)
    return folder


def is_full(folder: Path) -> bool:
    """Tell whether hardly anything can be written any more."""
    return shutil.disk_usage(folder).free < FULL_BYTES


def unwritable(folder: Path, error: OSError, *, kept: bool) -> str:
    """Say that nothing more can be written into a folder, and whether what is in it is kept."""
    then = "What was recorded so far is still in it" if kept else f"Make room, or choose {ANOTHER}"
    return f"{folder} cannot be written: {error.strerror or error}. {then}"


def discard(folder: Path) -> None:
    """Remove the folder of a recording in which there is nothing."""
    shutil.rmtree(folder, ignore_errors=True)


def environment(plan: Plan, folder: Path) -> dict[str, str]:
    """Return the environment in which each Python of a program records itself into a folder."""
    return injected(PERFKIT_RECORD=plan.text(str(folder)))


def ready() -> dict[str, str]:
    """Return the environment in which a program can be recorded while it runs, and its requests are marked."""
    own = PROFILER in os.environ or PROFILER_FILE.exists()
    often = {} if own else {PROFILER: str(INJECTED / "kineto.conf")}
    return injected(PERFKIT_RUN="1", KINETO_USE_DAEMON="1", **often)


def injected(**told: str) -> dict[str, str]:
    """Return this environment with the agent in it, told so."""
    paths = [str(INJECTED), os.environ.get("PYTHONPATH", "")]
    quiet = {"KINETO_LOG_LEVEL": "99"}  # the profiler would write to the program's standard error
    return {**quiet, **os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths)), **told}


def run(command: Sequence[str], variables: dict[str, str], watch: Callable[[], bool] | None = None) -> int:
    """Run a command to its end, with the terminal's signals its own, and return its exit status.

    Args:
        command: The command and its arguments.
        variables: Its environment.
        watch: Asked some ten times a second whether the command is to be ended.

    Raises:
        UsageError: There is no such command, or it cannot be run.
    """
    try:
        process = subprocess.Popen(command, env=variables)
    except OSError as error:
        message = f"{command[0]} cannot be run: {error.strerror or error}"
        raise UsageError(message) from error
    with forwarding(process):
        while True:
            try:
                return process.wait(POLL_S if watch is not None else None)
            except subprocess.TimeoutExpired:
                if watch is not None and watch():
                    process.send_signal(signal.SIGTERM)
                    watch = None


@contextmanager
def forwarding(process: subprocess.Popen[Any]) -> Generator[None, None, None]:
    """Pass on signals that end this process, so that the program ends first; those of a terminal reach it anyhow."""

    def forward(number: int, _: object) -> None:
        if number != signal.SIGINT or not in_foreground():
            with suppress(ProcessLookupError):
                process.send_signal(number)

    numbers = [signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])]
    before = {number: signal.signal(number, forward) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def in_foreground() -> bool:
    """Tell whether a terminal sends its interrupts to this process, and so to its children."""
    try:
        terminal = os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY)
    except (OSError, AttributeError):
        return False
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return False
    finally:
        os.close(terminal)
