"""What lies beside the traces of a recording: how they came to be."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from perfkit.model.energy import SensorLog, SensorSample
from perfkit.model.recording import RECORDING_FILE, RecordedProcess, Recording
from perfkit.model.table import Table

if TYPE_CHECKING:
    import os

__all__ = ["read_recording"]

MOST_BYTES: Final = 64 << 20
KINDS: Final[dict[str, tuple[type, ...]]] = {
    "pid": (int,),
    "rank": (int, type(None)),
    "program": (str,),
    "trace": (str,),
    "steps": (int,),
    "seen": (int,),
    "source": (str,),
    "how": (str,),
    "fault": (str,),
    "other_step_ns": (list,),
    "step_ns": (list,),
    "slowdown": (list, type(None)),
    "held_up": (dict,),
}
"""What the fields of a `RecordedProcess` are in JSON."""


def read_recording(folder: str | os.PathLike[str]) -> Recording | None:
    """Return how the traces in a folder came to be, or None where that is not known, or cannot be understood."""
    path = Path(folder) / RECORDING_FILE
    try:
        if path.stat().st_size > MOST_BYTES:
            return None
        said = json.loads(path.read_bytes())
        processes = Table(_process(entry) for entry in said["processes"])
        command, status = said["command"], said["exit_status"]
        sensors = _sensors(said["sensors"])
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None
    return Recording(" ".join(map(str, command)), status if isinstance(status, int) else None, processes, sensors)


def _sensors(said: dict[str, Any]) -> SensorLog:
    """Understand what sensors said."""
    samples = tuple(SensorSample(*map(int, sample)) for sample in said["samples"])
    numbers = {name: int(said[name]) for name in ("update_ns", "least_mw", "most_mw", "idle_until_ns")}
    names = tuple(str(name) for name in said["names"])
    return SensorLog(samples, names, duty=float(said["duty"]), missing=str(said["missing"]), **numbers)


def _process(entry: Any) -> RecordedProcess:
    """Understand one process.

    Raises:
        KeyError: A field is missing.
        TypeError: A field is not what it should be.
    """
    fields = {name: entry[name] for name in RecordedProcess._fields}
    for name, kinds in KINDS.items():
        if not isinstance(fields[name], kinds) or isinstance(fields[name], bool):
            raise TypeError(name)
    for name in ("other_step_ns", "step_ns"):
        fields[name] = tuple(int(ns) for ns in fields[name])
    if fields["slowdown"] is not None:
        estimate, low, high = (float(number) for number in fields["slowdown"])
        fields["slowdown"] = estimate, low, high
    fields["held_up"] = {str(part): float(seconds) for part, seconds in fields["held_up"].items()}
    return RecordedProcess(**fields)
