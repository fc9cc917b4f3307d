"""Stacks of a process that nothing else can record: py-spy reads them from outside, and the process takes no notice."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from typing import TYPE_CHECKING, Any, Final

from perfkit.errors import MissingExtraError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["MISSING", "find_sampler", "record_stacks"]

SAMPLES_PER_S: Final = 100
THREAD: Final = re.compile(r"thread \((\d+)\)(?:: (.*))?")
MISSING: Final = (
    "stacks alone, sampled 100 times a second: operators, shapes, steps and the GPU are not in it. Start the program "
    "with `perfkit run -- COMMAND` next time"
)


def find_sampler(pid: int) -> str:
    """Return the path of py-spy.

    Raises:
        MissingExtraError: It is not installed.
    """
    found = shutil.which("py-spy", path=sysconfig.get_path("scripts")) or shutil.which("py-spy")
    if found is None:
        purpose = f"process {pid} was not started with `perfkit run`, and reading its stacks"
        raise MissingExtraError(purpose, "record")
    return found


def record_stacks(pid: int, seconds: float, path: Path) -> None:
    """Write the stacks of a process over some time as a trace.

    Raises:
        MissingExtraError: py-spy is not installed.
        OSError: The trace cannot be written.
        UsageError: py-spy cannot read the process.
    """
    found = find_sampler(pid)
    raw = path.with_name(f"{path.name}.part")
    command = [found, "record", "-p", str(pid), "-d", str(max(1, round(seconds))), "-r", str(SAMPLES_PER_S)]
    command += [
        "-f",
        "chrometrace",
        "-o",
        str(raw),
        "--threads",
        "--nonblocking",
        "--idle",
    ]  # idle: else what waits seems to run on
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=seconds + 60)
        if "os error 28" in done.stderr:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if done.returncode or not raw.exists():
            raise UsageError(refusal(pid, done.stderr))
        events = as_ranges(json.loads(raw.read_bytes()))
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
    lines = [line.strip() for line in said.splitlines() if line.strip()]  # a trace of its own code may follow
    errors = [line.removeprefix("Error: ") for line in lines if line.startswith("Error: ")]
    why = [*errors, *reversed(lines), "it said nothing"][0]
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    return f"py-spy cannot read process {pid}: {why} (is it a Python such as {python}?)"


def as_ranges(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return calls as a profiler of Python has them, from the beginnings and ends of frames that py-spy gives."""
    calls: list[dict[str, Any]] = []
    threads: dict[Any, dict[str, Any]] = {}
    open_frames: dict[Any, list[dict[str, Any]]] = {}
    last = max((event["ts"] for event in events if "ts" in event), default=0)
    for event in events:
        if not (event.get("args") or {}).get("filename"):  # the frame that stands for the thread
            threads.setdefault(event.get("tid"), thread(event))
        elif event.get("ph") == "B":
            calls.append(call(event, last))
            open_frames.setdefault(event["tid"], []).append(calls[-1])
        elif event.get("ph") == "E" and open_frames.get(event["tid"]):
            ended = open_frames[event["tid"]].pop()
            ended["dur"] = max(event["ts"] - ended["ts"], 0)
    for one in calls:
        one["tid"] = threads.get(one["tid"], one)["tid"]
    return [*threads.values(), *calls]


def thread(event: dict[str, Any]) -> dict[str, Any]:
    """Return the event that names a thread, by the number and the name that its frame has."""
    found = THREAD.fullmatch(event.get("name", ""))
    number, name = (int(found[1]), found[2]) if found else (event.get("tid"), "")
    return {"ph": "M", "name": "thread_name", "pid": event.get("pid", 0), "tid": number, "args": {"name": name}}


def call(begin: dict[str, Any], end: int) -> dict[str, Any]:
    """Return one call; calls around it come before it."""
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
