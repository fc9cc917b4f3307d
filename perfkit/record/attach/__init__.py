"""Attach: record processes that run already, each in the best way that it allows."""

from __future__ import annotations

import errno
import os
import threading
import time
from typing import TYPE_CHECKING, Any, Final

from perfkit.errors import UnreadableTraceError, UsageError
from perfkit.model.recording import WORK
from perfkit.record.attach.daemon import Daemon
from perfkit.record.attach.family import family
from perfkit.record.attach.remote import can_inject, inject
from perfkit.record.attach.stacks import MISSING, find_sampler, record_stacks
from perfkit.record.attach.target import Target, ends_for_memory, look_at
from perfkit.record.collect import KILLED, collect, statuses
from perfkit.record.launch import discard, is_full, make_folder, unwritable
from perfkit.record.sensors import Sampler, open_sensor

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from perfkit.model.recording import Recording
    from perfkit.record.plan import Plan

__all__ = ["attach", "check"]

ASKS_WITHIN_S: Final = 25.0
"""A process asks its daemon every second under `perfkit run`, else every five, or ten if nobody answered."""
HEARD_WITHIN_S: Final = 11.0
"""After its order a process asks twice within this, which is answered in case that it has not heard the first."""
STEPS_WITHIN_S: Final = 120.0
WRITES_WITHIN_S: Final = 120.0
LEAVES_SOMETHING: Final = frozenset({"recording", "saving", "recorded"})
"""Phases from which the agent's journal or trace is there, even if the process is killed."""
INJECTED_WARMUP: Final = 5
"""Steps until a loop's optimizer has been seen, not only its loader."""
AFTERWARDS_S: Final = 3.0
"""For so long a process that has recorded is watched on, to see how long its steps take otherwise."""
POLL_S: Final = 0.1
DEFAULT_S: Final = 5.0
SET_UP_S: Final = 5
"""What the profiler takes to set itself up for a GPU by default; nothing without one."""
NEVER: Final = threading.Event()


def check(pids: Sequence[int]) -> list[Target]:
    """Look at processes, and make sure that there is a way to record each.

    Raises:
        MissingExtraError: A process can only be sampled, and py-spy is not installed.
        UsageError: A process cannot be recorded; the message says why and what would help.
    """
    targets = [look_at(pid) for pid in dict.fromkeys(pids)]
    for target in targets:
        if not target.asks_daemon and not can_inject(target.pid):
            find_sampler(target.pid)
    return targets


def attach(
    pids: Sequence[int], plan: Plan, folder: Path, *, by_steps: bool, cancelled: threading.Event = NEVER
) -> Recording:
    """Record processes that run.

    Args:
        pids: Their process ids.
        plan: What to record; ``duration_s`` is how long.
        folder: Where to, an empty folder or none yet.
        by_steps: Record ``plan.steps`` steps and no stretch of time.
        cancelled: Set by another thread to have it give up.

    Returns:
        The recording; the traces and `RECORDING_FILE` are in the folder.

    Raises:
        MissingExtraError: A process can only be sampled, and py-spy is not installed.
        UnreadableTraceError: The traces cannot be written.
        UsageError: A process cannot be recorded; the message says why and what would help.
    """
    targets = [worker for pid in dict.fromkeys(pids) for worker in workers_of(look_at(pid))]
    made = make_folder(folder)
    try:  # from here on, for to open a sensor takes a while, in which there may be an interrupt
        share(made, targets)
        with Sampler(open_sensor(), idle=False) as sampler:
            record_each(targets, plan, made, cancelled, by_steps=by_steps)
    except OSError as error:
        kept = any(made.glob("trace-*.json"))
        if not kept:
            discard(made)
        raise UnreadableTraceError(unwritable(made, error, kept=kept)) from error
    except BaseException:
        discard(made)
        raise
    return collect(made, ["attached", *map(str, pids)], None, sampler.log())


def record_each(
    targets: Sequence[Target], plan: Plan, folder: Path, cancelled: threading.Event, *, by_steps: bool
) -> None:
    """Record each process in the best way that it allows."""
    asking = [target for target in targets if target.asks_daemon]
    if asking:
        by_daemon(asking, plan, folder, cancelled, by_steps=by_steps)
    for target in targets:
        if not target.asks_daemon and can_inject(target.pid):
            by_injection(target, plan, folder, by_steps=by_steps)
        elif not target.asks_daemon:
            by_stacks(target, plan, folder, by_steps=by_steps)


def workers_of(target: Target) -> list[Target]:
    """Return what is to be recorded of a process: itself, or, if it only started others, as uvicorn does, those."""
    if target.uses_torch or not target.asks_daemon:
        return [target]
    return [one for one in family({target.pid}) if one.asks_daemon] or [target]


def share(folder: Path, targets: Sequence[Target]) -> None:
    """Let the processes of another user write into a folder, where we are root."""
    users = {target.user for target in targets} - {os.geteuid()}
    if len(users) > 1:
        message = "the processes belong to different users: record those of one user at a time"
        raise UsageError(message)
    for user in users:
        os.chown(folder, user, -1)
        os.chown(folder / WORK, user, -1)


def by_daemon(
    targets: Sequence[Target], plan: Plan, folder: Path, cancelled: threading.Event, *, by_steps: bool
) -> None:
    """Have processes record that ask a daemon, all at the same time."""
    set_up_s = SET_UP_S if any(target.uses_gpu for target in targets) else 0
    settle_s = settled(max(target.asks_every_s for target in targets))
    begin_s = time.time() + settle_s + set_up_s if len(targets) > 1 else 0.0
    told = order(plan, folder, set_up_s, begin_s, by_steps=by_steps)
    orders = {target.pid: told for target in targets}
    before = ends_for_memory()
    with Daemon() as daemon:
        given = daemon.answer(orders, ASKS_WITHIN_S, cancelled)
        for target in targets:
            if target.pid not in given:
                message = (
                    f"process {target.pid} has KINETO_USE_DAEMON set, and did not ask within {ASKS_WITHIN_S:.0f} s "
                    f"what to record: it has not imported torch yet, or its torch is built without that"
                )
                raise UsageError(message)
        heard = time.monotonic() + HEARD_WITHIN_S
        while time.monotonic() < heard and not all(begun(folder, target) for target in targets):
            daemon.answer_one(orders, POLL_S, cancelled)
    length = STEPS_WITHIN_S if by_steps else (plan.duration_s or DEFAULT_S) + max(begin_s - time.time(), 0)
    end = time.monotonic() + length + WRITES_WITHIN_S
    lost: list[str] = []
    for target in targets:
        if wait_for_trace(target, folder, end, cancelled, by_steps=by_steps):
            written = folder / f"trace_{target.pid}.json"
            add(folder, target, written.rename(folder / f"trace-{target.pid}.json"))
        else:
            lost.append(killed(target, out_of_memory=ends_for_memory() > before))
            add(folder, target, fault=lost[-1])
            (folder / f"trace_{target.pid}.json.tmp").unlink(missing_ok=True)
    if len(lost) == len(targets):
        raise UsageError(lost[0])


def wait_for_trace(target: Target, folder: Path, end: float, cancelled: threading.Event, *, by_steps: bool) -> bool:
    """Wait until a process has written its trace; False if it has ended without one.

    Raises:
        OSError: The disk is full.
        UsageError: It has written none in time, which is up at ``end`` of `time.monotonic`.
    """
    written = folder / f"trace_{target.pid}.json"
    while not written.exists():
        if not target.is_alive():
            return written.exists()
        if is_full(folder):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        left = end - time.monotonic()
        if left < 0 or (left < WRITES_WITHIN_S and not begun(folder, target)):
            raise UsageError(no_trace(target, by_steps=by_steps))
        if cancelled.wait(POLL_S):
            raise KeyboardInterrupt
    return True


def killed(target: Target, *, out_of_memory: bool) -> str:
    """Say that a process has ended within its window, of which the profiler writes nothing before the end."""
    how = target.how_it_ended()
    memory = ", as the kernel does where memory runs out" if out_of_memory and how.endswith("SIGKILL") else ""
    return (
        f"process {target.pid} {how}{memory} while it was recorded, so its trace is lost: record a shorter time, or "
        f"start it with `perfkit record -- COMMAND`, which keeps what was recorded until then"
    )


def settled(every_s: int) -> int:
    """Return within what (s) each of several processes has heard its order, one question late if need be.

    They begin together then.
    """
    return 2 * every_s + 4


def order(plan: Plan, folder: Path, set_up_s: int, begin_s: float, *, by_steps: bool) -> str:
    """Return what a process is told; the keys are those of Kineto's ``Config.cpp``. It adds its id to the name.

    A stretch of time begins at a time in seconds since 1970, or at once for 0; either way after having been set up.
    """
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
        lines["ACTIVITIES_WARMUP_PERIOD_SECS"] = str(set_up_s)
        if begin_s:
            lines["PROFILE_START_TIME"] = str(round(1000 * begin_s))
    return "\n".join(f"{key}={value}" for key, value in lines.items())


def begun(folder: Path, target: Target) -> bool:
    """Tell whether a process records, or has recorded."""
    names = (f"trace_{target.pid}.json", f"trace_{target.pid}.json.tmp")
    return not target.is_alive() or any((folder / name).exists() for name in names)


def no_trace(target: Target, *, by_steps: bool) -> str:
    """Say that a process was told to record and wrote nothing."""
    if by_steps:
        return (
            f"process {target.pid} made too few steps (of an optimizer, or requests of uvicorn under `perfkit run`) "
            f"within {STEPS_WITHIN_S:.0f} s, and will record when it makes them: give --duration for any other program"
        )
    return (
        f"process {target.pid} wrote no trace: it may still record for somebody who gave up waiting (try again in a "
        f"minute), its disk may be full, or another profiler may hold the GPU"
    )


def by_injection(target: Target, plan: Plan, folder: Path, *, by_steps: bool) -> None:
    """Have a process load the agent, and wait until it has recorded."""
    length = None if by_steps else plan.duration_s or DEFAULT_S
    inject(
        target.pid,
        plan._replace(duration_s=length, after_s=0, warmup=INJECTED_WARMUP),
        folder,
        folder / WORK / "inject.py",
    )
    end = time.monotonic() + (STEPS_WITHIN_S if by_steps else (length or 0)) + WRITES_WITHIN_S
    recorded_at = 0.0
    while (phase := phase_of(target, folder)) != "ended":
        alive, now = target.is_alive(), time.monotonic()
        recorded_at = recorded_at or (now if phase == "recorded" else 0.0)
        if (recorded_at and now > recorded_at + AFTERWARDS_S) or (not alive and phase in LEAVES_SOMETHING):
            return
        if now > end or not alive:
            message = f"process {target.pid} recorded nothing: it made no step, ended, or never ran its main thread"
            raise UsageError(message)
        time.sleep(POLL_S)


def phase_of(target: Target, folder: Path) -> str:
    """Return how far the agent in a process has come; empty for not begun."""
    return next((str(said["phase"]) for said in statuses(folder) if said["pid"] == target.pid), "")


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


def add(folder: Path, target: Target, trace: Path | None = None, fault: str = "") -> None:
    """Leave for `collect` what the agent would have left of a process; None is for no trace."""
    import json

    said: dict[str, Any] = {
        "pid": target.pid,
        "rank": None,
        "program": target.program,
        "trace": str(trace or folder / "none"),
        "journal": str(folder / WORK / "none"),
        "phase": "ended",
        "how": "whole" if trace else KILLED,
        "fault": fault,
    }
    (folder / WORK / f"{target.pid}.status").write_text(json.dumps(said), encoding="utf-8")
