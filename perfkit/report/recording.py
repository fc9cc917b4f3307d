"""What a recording has to say of itself: how much of the program it holds, and what it cost the program."""

from __future__ import annotations

from statistics import fmean
from typing import TYPE_CHECKING

from perfkit.model.quantity import count, duration

if TYPE_CHECKING:
    from collections.abc import Iterator

    from perfkit.model.recording import RecordedProcess, Recording

__all__ = ["build", "sentences"]


def sentences(recording: Recording) -> list[str]:
    """Say of each recorded process what was recorded and what that cost, and how the program ended."""
    traced = [process for process in recording.processes if process.trace]
    said = [text for process in traced for text in described(process, named=len(traced) > 1)]
    if len(traced) > 1 and len(costs := set(map(cost, traced))) == 1:  # nothing of it is measured
        said = [*said[::2], *costs]
    said += [process.fault for process in recording.processes if process.fault and not process.trace]
    if recording.exit_status is not None and recording.exit_status != 0:
        said.append(ending(recording.exit_status))
    return said


def described(process: RecordedProcess, *, named: bool) -> Iterator[str]:
    """Describe one recorded process; ``named`` says which one it is."""
    name = f"rank {process.rank}: " if process.rank is not None else f"process {process.pid}: "
    prefix = name if named else ""
    source = f" (by {process.source})" if process.source else ""
    steps = count(process.steps, "step") if process.steps else "a stretch of time"
    cut = f"; cut short: {process.how}" if process.how != "whole" else ""
    lost = f"; {process.fault}" if process.fault else ""
    yield f"{prefix}{steps}{source} of `{process.program}`{cut}{lost}"
    yield f"{prefix}{cost(process)}"


def cost(process: RecordedProcess) -> str:
    """Say what the recording cost: how much longer steps were, and for how long it held the program up."""
    if not process.held_up and process.how == "whole":
        return "cost: not measured, for a recording from outside does not see how long steps take otherwise"
    if not process.held_up:
        return "cost: not known, for a program says it at its end"
    held = f"held up for {duration(sum(process.held_up.values()) * 1e9)} to start, stop and save"
    if process.slowdown is None:
        return f"cost: {held}; too few steps to compare with others"
    inside, outside = fmean(process.step_ns), fmean(process.other_step_ns)
    times, low, high = process.slowdown
    numbers = f"{len(process.step_ns)} and {len(process.other_step_ns)} steps"
    return (
        f"cost: a step took {duration(inside)} while recorded and {duration(outside)} otherwise, {times:.2f} times "
        f"as long (95 % interval {low:.2f} to {high:.2f}, of {numbers}); {held}"
    )


def ending(status: int) -> str:
    """Say how a program ended that did not end well."""
    if status < 0:
        return f"the program was ended by signal {-status}"
    return f"the program ended with status {status}"


def build(recording: Recording) -> dict[str, object]:
    """Return a recording as JSON has it."""
    return {
        "command": recording.command,
        "exit_status": recording.exit_status,
        "processes": [process._asdict() for process in recording.processes],
    }
