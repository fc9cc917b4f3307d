"""The Recording: how traces came to be, and what making them cost the program."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from perfkit.model.energy import SensorLog

if TYPE_CHECKING:
    from collections.abc import Mapping

    from perfkit.model.table import Table

__all__ = ["OWN_PROFILER", "RECORDING_FILE", "WORK", "RecordedProcess", "Recording"]

RECORDING_FILE = "recording.json"
"""Name of the file that says, in the folder of a recording, how its traces came to be."""
WORK: Final = ".work"
"""Name of the folder in it to which the processes of the program write while they run; gone once it is finished."""
OWN_PROFILER: Final = "the program's own profiler was at work"
"""Why nothing was recorded, in the words of the agent, which imports nothing of perfkit."""

NOT_READ: Final = SensorLog(missing="no sensor was read")


class RecordedProcess(NamedTuple):
    """One process that torch ran in.

    Attributes:
        pid: Its process id.
        rank: Its rank, or None if it is none of a job's.
        program: What it ran.
        trace: Name of its trace in the folder; empty if there is none.
        steps: Whole steps that were recorded.
        seen: Steps that were seen in all.
        source: What was taken for a step: ``Optimizer.step``, ``DataLoader``, ``ProfilerStep``; empty for none.
        how: How the recording ended: ``whole``, or why it is not.
        fault: Why there is no trace, or what it lacks; empty for nothing.
        other_step_ns: Lengths of steps before and after the recording.
        step_ns: Lengths of recorded steps.
        slowdown: How many times as long steps took while recorded, with a 95 % interval; None where that is not known.
        held_up: Seconds for which the program was held up, by part: ``prepare``, ``start``, ``stop``, ``save``.
    """

    pid: int
    rank: int | None
    program: str
    trace: str
    steps: int
    seen: int
    source: str
    how: str
    fault: str
    other_step_ns: tuple[int, ...]
    step_ns: tuple[int, ...]
    slowdown: tuple[float, float, float] | None
    held_up: Mapping[str, float]


class Recording(NamedTuple):
    """What `perfkit record` did.

    Attributes:
        command: The command that was run.
        exit_status: How it ended; negative for a signal; None where it went on.
        processes: Every process of it that imported torch, those with a trace first.
        sensors: What sensors of the devices said meanwhile.
    """

    command: str
    exit_status: int | None
    processes: Table[RecordedProcess]
    sensors: SensorLog = NOT_READ
