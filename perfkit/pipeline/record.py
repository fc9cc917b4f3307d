"""Record a program, then say where its time goes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perfkit.errors import UsageError
from perfkit.model.recording import OWN_PROFILER
from perfkit.record import record

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from perfkit.model.recording import Recording
    from perfkit.record.plan import Plan

__all__ = ["record_program"]


def record_program(command: Sequence[str], plan: Plan, folder: Path, *, stop: bool = False) -> Recording:
    """Run a program and record it into a folder, which can then be diagnosed.

    Args:
        command: The command and its arguments.
        plan: What to record.
        folder: An empty folder or none yet.
        stop: End the program once it is recorded.

    Raises:
        UnreadableTraceError: The traces cannot be written.
        UsageError: The folder cannot be used, the command not be run, or there was nothing to record.
    """
    recording = record(command, plan, folder, stop=stop)
    if not any(process.trace for process in recording.processes):
        raise UsageError(why_nothing(recording, plan))
    return recording


def why_nothing(recording: Recording, plan: Plan) -> str:
    """Say why nothing was recorded, and what would help."""
    status = recording.exit_status
    ended = f" (it ended with status {status})" if status else ""
    if not recording.processes:
        return (
            f"nothing was recorded: no Python of this command imported torch{ended}. A Python that "
            f"is run with -I or -E, or by another user, keeps perfkit out"
        )
    process = max(recording.processes, key=lambda process: process.seen)
    if process.fault:
        return f"nothing was recorded of process {process.pid}{ended}: {process.fault}"
    if process.how == OWN_PROFILER:
        return (
            f"nothing was recorded: {OWN_PROFILER} whenever it was time to{ended}. Take it out, or diagnose the trace "
            f"that it writes"
        )
    if plan.duration_s is not None:
        return (
            f"nothing was recorded: the program ended{ended} before {plan.after_s:g} s had passed since it imported "
            f"torch. Give a smaller --after"
        )
    if process.seen:
        return (
            f"nothing was recorded: the program made {process.seen} steps (by {process.source}){ended}, "
            f"and {plan.warmup} were to pass first. Give a smaller --warmup"
        )
    return (
        f"nothing was recorded: the program made no step that perfkit can see (of an optimizer, a DataLoader or a "
        f"profiler){ended}. Record some time instead, such as --duration 2s --after 0s"
    )
