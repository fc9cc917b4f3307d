"""Stacks of a process that nothing else can record: py-spy reads them from outside, and the process takes no notice."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import sysconfig
from typing import TYPE_CHECKING, Any, Final

from perfkit.errors import MissingExtraError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["MISSING", "record_stacks"]

SAMPLES_PER_S: Final = 100
MISSING: Final = (
    "stacks alone, sampled 100 times a second: operators, shapes, steps and the GPU are not in it. Start the program "
    "with `perfkit run -- COMMAND` next time"
)


def record_stacks(pid: int, seconds: float, path: Path) -> None:
    """Write the stacks of a process over some time as a trace.

    Raises:
        MissingExtraError: py-spy is not installed.
        UsageError: py-spy cannot read the process.
    """
    found = shutil.which("py-spy", path=sysconfig.get_path("scripts")) or shutil.which("py-spy")
    if found is None:
        purpose = f"process {pid} was not started with `perfkit run`, and reading its stacks"
        raise MissingExtraError(purpose, "record")
    raw = path.with_name(f"{path.name}.part")
    command = [found, "record", "-p", str(pid), "-d", str(max(1, round(seconds))), "-r", str(SAMPLES_PER_S)]
    command += ["-f", "chrometrace", "-o", str(raw), "--threads", "--nonblocking"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=seconds + 60)
        if done.returncode or not raw.exists():
            raise UsageError(refusal(pid, done.stderr))
        events = list(as_ranges(json.loads(raw.read_bytes())))
    except subprocess.TimeoutExpired as error:
        message = f"py-spy did not come to an end with process {pid}: try again, or a shorter --duration"
        raise UsageError(message) from error
    finally:
        raw.unlink(missing_ok=True)
    path.write_text(json.dumps({"traceEvents": events}), encoding="utf-8")


def refusal(pid: int, said: str) -> str:
    """Say in a line why py-spy failed, and what would help."""
    if "Permission" in said or "ptrace" in said.lower() or "EPERM" in said:
        return (
            f"the stacks of process {pid} may not be read: use sudo, start the container with `--cap-add SYS_PTRACE`, "
            f"or start the program with `perfkit run -- COMMAND`"
        )
    last = next((line for line in reversed(said.splitlines()) if line.strip()), "it said nothing")
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    return f"py-spy cannot read process {pid}: {last.strip()} (is it a Python such as {python}?)"


def as_ranges(events: list[dict[str, Any]]) -> Any:
    """Yield calls as a profiler of Python has them, from the beginnings and ends of frames that py-spy gives."""
    open_frames: dict[Any, list[dict[str, Any]]] = {}
    last = max((event["ts"] for event in events if "ts" in event), default=0)
    for event in events:
        if not (event.get("args") or {}).get("filename"):  # the frame that stands for the thread
            continue
        if event.get("ph") == "B":
            open_frames.setdefault(event["tid"], []).append(event)
        elif event.get("ph") == "E" and open_frames.get(event["tid"]):
            yield call(open_frames[event["tid"]].pop(), event["ts"])
    for frames in open_frames.values():
        while frames:
            yield call(frames.pop(), last)


def call(begin: dict[str, Any], end: int) -> dict[str, Any]:
    """Return one call."""
    where = begin.get("args") or {}
    place = f"{where.get('filename', '')}({where.get('line', 0)}): {begin.get('name', '')}"
    return {
        "ph": "X",
        "cat": "python_function",
        "name": place,
        "pid": begin.get("pid", 0),
        "tid": begin["tid"],
        "ts": begin["ts"],
        "dur": max(end - begin["ts"], 0),
    }
