"""Record: from a command, or a process that runs, to a folder of traces.

What runs inside the program is `perfkit.record.agent`; everything else here runs beside it, and imports no torch.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from perfkit.errors import UsageError
from perfkit.record.collect import collect, statuses
from perfkit.record.launch import discard, environment, make_folder, run
from perfkit.record.sensors import Sampler, open_sensor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from perfkit.model.recording import Recording
    from perfkit.record.plan import Plan

__all__ = ["default_folder", "record"]


def default_folder() -> Path:
    """Return where a recording goes that was given no name."""
    return Path(time.strftime("perfkit-%Y%m%d-%H%M%S"))


def record(command: Sequence[str], plan: Plan, folder: Path, *, stop: bool = False) -> Recording:
    """Run a program, and record every Python process of it that uses torch.

    Args:
        command: The command and its arguments; ``-m module`` and ``script.py`` are run by this Python.
        plan: What to record.
        folder: Where to, an empty folder or none yet.
        stop: End the program once it is recorded.

    Returns:
        The recording; the traces and `RECORDING_FILE` are in the folder, which is removed if there is no trace.

    Raises:
        UnreadableTraceError: The traces cannot be written.
        UsageError: The folder cannot be used, or the command not be run.
    """
    made = make_folder(folder)
    try:
        with Sampler(open_sensor()) as sampler:
            status = run(completed(command), environment(plan, made), (lambda: all_done(made)) if stop else None)
    except (UsageError, KeyboardInterrupt, SystemExit):
        discard(made)
        raise
    recording = collect(made, command, status, sampler.log())
    if not any(process.trace for process in recording.processes):
        discard(made)
    return recording


def completed(command: Sequence[str]) -> list[str]:
    """Return a command that can be run: a module or a file of Python is run by the Python of this process."""
    first = command[0]
    is_script = first.endswith(".py") and not os.access(first, os.X_OK)
    return [sys.executable, *command] if first == "-m" or is_script else list(command)


def all_done(folder: Path) -> bool:
    """Tell whether at least one process has recorded what it should, and none is at it."""
    phases = {said["phase"] for said in statuses(folder)}
    return "ended" in phases and not phases & {"prepared", "recording", "saving"}
