"""Attach: record processes that run already, each in the best way that it allows."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any, Final

from perfkit.errors import UsageError
from perfkit.record.attach.daemon import Daemon
from perfkit.record.attach.remote import can_inject, inject
from perfkit.record.attach.stacks import MISSING, record_stacks
from perfkit.record.attach.target import Target, look_at
from perfkit.record.collect import collect, statuses
from perfkit.record.launch import WORK, discard, make_folder
from perfkit.record.sensors import Sampler, open_sensor

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from perfkit.model.recording import Recording
    from perfkit.record.plan import Plan

__all__ = ["attach"]

ASKS_WITHIN_S: Final = 15.0
"""A process asks its daemon every five seconds."""
STEPS_WITHIN_S: Final = 120.0
WRITES_WITHIN_S: Final = 120.0
DONE: Final = frozenset({"recorded", "ended"})
POLL_S: Final = 0.1
DEFAULT_S: Final = 5.0


def attach(pids: Sequence[int], plan: Plan, folder: Path, *, by_steps: bool) -> Recording:
    """Record processes that run.

    Args:
        pids: Their process ids.
        plan: What to record; ``duration_s`` is how long.
        folder: Where to, an empty folder or none yet.
        by_steps: Record ``plan.steps`` steps and no stretch of time.

    Returns:
        The recording; the traces and `RECORDING_FILE` are in the folder.

    Raises:
        MissingExtraError: A process can only be sampled, and py-spy is not installed.
        UnreadableTraceError: The traces cannot be written.
        UsageError: A process cannot be recorded; the message says why and what would help.
    """
    targets = [look_at(pid) for pid in dict.fromkeys(pids)]
    made = make_folder(folder)
    share(made, targets)
    sampler = Sampler(open_sensor(), idle=False)
    try:
        with sampler:
            record_each(targets, plan, made, by_steps=by_steps)
        return collect(made, ["attached", *map(str, pids)], None, sampler.log())
    except BaseException:
        discard(made)
        raise


def record_each(targets: Sequence[Target], plan: Plan, folder: Path, *, by_steps: bool) -> None:
    """Record each process in the best way that it allows."""
    asking = [target for target in targets if target.asks_daemon]
    if asking:
        by_daemon(asking, plan, folder, by_steps=by_steps)
    for target in targets:
        if not target.asks_daemon and can_inject(target.pid):
            by_injection(target, plan, folder, by_steps=by_steps)
        elif not target.asks_daemon:
            by_stacks(target, plan, folder, by_steps=by_steps)


def share(folder: Path, targets: Sequence[Target]) -> None:
    """Let the processes of another user write into a folder, where we are root."""
    users = {target.user for target in targets} - {os.geteuid()}
    if len(users) > 1:
        message = "the processes belong to different users: record those of one user at a time"
        raise UsageError(message)
    for user in users:
        os.chown(folder, user, -1)
        os.chown(folder / WORK, user, -1)


def by_daemon(targets: Sequence[Target], plan: Plan, folder: Path, *, by_steps: bool) -> None:
    """Have processes record that ask a daemon, all at the same time."""
    orders = {target.pid: order(plan, folder, by_steps=by_steps) for target in targets}
    with Daemon() as daemon:
        given = daemon.answer(orders, ASKS_WITHIN_S)
    for target in targets:
        if target.pid not in given:
            message = (
                f"process {target.pid} has KINETO_USE_DAEMON set, and did not ask within {ASKS_WITHIN_S:.0f} s what to "
                f"record: it has not imported torch yet, or its torch is built without that"
            )
            raise UsageError(message)
    length = STEPS_WITHIN_S if by_steps else (plan.duration_s or DEFAULT_S)
    end = time.monotonic() + length + WRITES_WITHIN_S
    for target in targets:
        written = folder / f"trace_{target.pid}.json"
        while not written.exists():
            if not target.is_alive():
                message = f"process {target.pid} ended while it was recorded, and left no trace"
                raise UsageError(message)
            if time.monotonic() > end or (by_steps and time.monotonic() > end - WRITES_WITHIN_S and not begun(written)):
                raise UsageError(no_trace(target, by_steps=by_steps))
            time.sleep(POLL_S)
        add(folder, target, written.rename(folder / f"trace-{target.pid}.json"))


def order(plan: Plan, folder: Path, *, by_steps: bool) -> str:
    """Return what a process is told; the keys are those of Kineto's ``Config.cpp``. It adds its id to the name."""
    lines = {
        "ACTIVITIES_LOG_FILE": f"{folder}/trace.json",
        "PROFILE_REPORT_INPUT_SHAPES": str(plan.shapes).lower(),
        "PROFILE_WITH_STACK": str(plan.stacks).lower(),
        "PROFILE_PROFILE_MEMORY": str(plan.memory).lower(),
    }
    if by_steps:
        lines |= {"PROFILE_START_ITERATION": "0", "ACTIVITIES_ITERATIONS": str(plan.steps)}
    else:
        lines["ACTIVITIES_DURATION_MSECS"] = str(round(1000 * (plan.duration_s or DEFAULT_S)))
    return "\n".join(f"{key}={value}" for key, value in lines.items())


def begun(written: Path) -> bool:
    """Tell whether a trace is being written."""
    return written.with_name(f"{written.name}.tmp").exists()


def no_trace(target: Target, *, by_steps: bool) -> str:
    """Say that a process was told to record and wrote nothing."""
    if by_steps:
        return (
            f"process {target.pid} made too few optimizer steps within {STEPS_WITHIN_S:.0f} s, and will record when it "
            f"makes them: give --duration for a program that trains nothing"
        )
    return f"process {target.pid} wrote no trace: its disk may be full, or another profiler may hold the GPU"


def by_injection(target: Target, plan: Plan, folder: Path, *, by_steps: bool) -> None:
    """Have a process load the agent, and wait until it has recorded."""
    length = None if by_steps else plan.duration_s or DEFAULT_S
    inject(target.pid, plan._replace(duration_s=length, after_s=0, warmup=2), folder, folder / WORK / "inject.py")
    end = time.monotonic() + (STEPS_WITHIN_S if by_steps else (length or 0)) + WRITES_WITHIN_S
    while not any(said["pid"] == target.pid and said["phase"] in DONE for said in statuses(folder)):
        if time.monotonic() > end or not target.is_alive():
            message = f"process {target.pid} recorded nothing: it made no step, ended, or never ran its main thread"
            raise UsageError(message)
        time.sleep(POLL_S)


def by_stacks(target: Target, plan: Plan, folder: Path, *, by_steps: bool) -> None:
    """Sample the stacks of a process, the only thing that it allows."""
    if by_steps:
        message = (
            f"process {target.pid} was not started with `perfkit run`, so its steps cannot be seen: give --duration "
            f"for its stacks alone, or start it with `perfkit run -- COMMAND`"
        )
        raise UsageError(message)
    path = folder / f"trace-{target.pid}.json"
    record_stacks(target.pid, plan.duration_s or DEFAULT_S, path)
    add(folder, target, path, fault=MISSING)


def add(folder: Path, target: Target, trace: Path, fault: str = "") -> None:
    """Leave for `collect` what the agent would have left of a process."""
    import json

    said: dict[str, Any] = {
        "pid": target.pid,
        "rank": None,
        "program": target.program,
        "trace": str(trace),
        "journal": str(folder / WORK / "none"),
        "phase": "recorded",
        "how": "whole",
        "fault": fault,
    }
    (folder / WORK / f"{target.pid}.status").write_text(json.dumps(said), encoding="utf-8")
