"""A service is traced while it is under load: by its own endpoints, or from outside by its processes."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import urlsplit

from perfkit.attribute import read_requests
from perfkit.errors import PerfkitError, UnreadableTraceError
from perfkit.ingest import load
from perfkit.model.columns import DEFAULT_FIELDS, MEMORY_FIELDS
from perfkit.record.attach import ASKS_WITHIN_S, SET_UP_S, attach, check, settled
from perfkit.record.attach.family import family, listeners
from perfkit.record.attach.target import SELDOM_S, look_at
from perfkit.record.plan import Plan as Recorded
from perfkit.serve.generator import Plan, drive
from perfkit.serve.profiling import Endpoints, folder_of_process
from perfkit.serve.split import Seen
from perfkit.serve.target import is_loopback

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from pathlib import Path

    from perfkit.model.requests import RequestTimes
    from perfkit.model.trace import Trace
    from perfkit.serve.client import Client, Outcome
    from perfkit.serve.target import Target

    Progress = Callable[[int, int | None], None]
    Send = Callable[..., Awaitable[None]]
    """Puts the load of a plan on the service, until something has ended if that is given."""

__all__ = ["ATTACH_S", "Traced", "Tracing", "read", "trace_service"]

ATTACH_S: Final = ASKS_WITHIN_S + settled(SELDOM_S) + SET_UP_S
"""To attach to processes may take so long on top."""


class Tracing(NamedTuple):
    """How a service is to be traced.

    Attributes:
        pids: Its processes that can be recorded from outside.
        ready: Whether they were started so that torch's own profiler in them does that.
        serving: Those that hold the socket of the port, and what they started, if they have loaded torch.
        folders: Where the service itself may write traces.
    """

    pids: tuple[int, ...]
    ready: bool
    serving: frozenset[int]
    folders: tuple[Path, ...]

    @classmethod
    def of(cls, target: Target, pids: Sequence[int], folder: Path | None) -> Tracing:
        """Find the processes of a service: those that are named and what they started, or those that have its port.

        Raises:
            MissingExtraError: A named process can only be sampled, and py-spy is not installed.
            UsageError: A named process cannot be recorded.
        """
        parts = urlsplit(target.url)
        port = parts.port or {"http": 80, "https": 443}[parts.scheme]
        serving = listeners(port) if is_loopback(parts.hostname or "") else set()
        for pid in pids:
            look_at(pid)
        ready = {one.pid for one in family(pids or serving) if one.asks_daemon}
        mine = ready or {one.pid for one in check(pids)}
        everyone = frozenset(one.pid for one in family(serving))
        told = [
            *([folder] if folder else []),
            *(found for pid in (*pids, *serving) for found in folder_of_process(pid)),
        ]
        return cls(tuple(sorted(mine)), bool(ready), everyone, tuple(dict.fromkeys(told)))


class Traced(NamedTuple):
    """What was sent while a service was traced, and what came of that.

    Attributes:
        outcomes: The requests.
        traces: The traces.
        by: How they were made.
        elsewhere: Processes that hold the same socket, and were not traced.
        window: When they were being recorded, in ns of `time.perf_counter_ns`; None where the traces alone know.
        notes: What else to know, a sentence each.
    """

    outcomes: Sequence[Outcome] = ()
    traces: Sequence[Path] = ()
    by: str = ""
    elsewhere: int = 0
    window: tuple[int, int] | None = None
    notes: tuple[str, ...] = ()


async def trace_service(
    client: Client,
    plan: Plan,
    tracing: Tracing | None,
    options: Mapping[str, bool],
    folder: Path,
    progress: Progress,
) -> Traced:
    """Put load on a service while it is traced; where that cannot be done, say why.

    Args:
        client: With what to send.
        plan: The load.
        tracing: How to trace; None for not to.
        options: ``with_stack`` and ``record_shapes``, as the profiler of torch has them.
        folder: An empty folder for traces.
        progress: As in `drive`.
    """
    if tracing is None:
        return Traced()
    sent: list[Outcome] = []

    async def send(some: Plan, ended: Callable[[], bool] | None = None) -> None:
        sent.extend((await drive(client, some, progress=progress, ended=ended)).outcomes)

    traced = Traced()
    endpoints = Endpoints(client, folder, list(tracing.folders))
    try:
        if not tracing.ready and await endpoints.start(options):
            traced = await by_endpoints(endpoints, plan, tracing, send)
        elif tracing.pids:
            traced = await by_processes(plan, tracing, options, folder, send)
    except UnreadableTraceError:  # there is no room for a trace, nor for what else is to be kept
        raise
    except PerfkitError as error:
        traced = Traced(notes=(f"No trace: {error}",))
    finally:
        if endpoints.running:  # interrupted: the service is not left with a profiler that runs
            await asyncio.shield(endpoints.end())
    return traced._replace(outcomes=sent)


async def by_endpoints(endpoints: Endpoints, plan: Plan, tracing: Tracing, send: Send) -> Traced:
    """Load a service that records itself already, then have it stop."""
    low = time.perf_counter_ns()
    await send(plan)
    high = time.perf_counter_ns()
    elsewhere = max(len(tracing.serving) - 1, 0)
    return Traced((), await endpoints.stop(), "/start_profile", elsewhere, (low, high))


async def by_processes(plan: Plan, tracing: Tracing, options: Mapping[str, bool], folder: Path, send: Send) -> Traced:
    """Record processes while the load is on, which lasts until the recording is done."""
    recorded = Recorded(duration_s=plan.seconds, stacks=options["with_stack"], shapes=options["record_shapes"])
    cancelled = threading.Event()
    recording = asyncio.create_task(
        asyncio.to_thread(attach, tracing.pids, recorded, folder, by_steps=False, cancelled=cancelled)
    )
    longest = plan._replace(seconds=plan.seconds + ATTACH_S)
    try:
        await send(longest, recording.done)
        processes = (await recording).processes
    finally:
        cancelled.set()
    by = ", ".join(f"pid {process.pid}" for process in processes if process.trace)
    traces = [folder / process.trace for process in processes if process.trace]
    notes = tuple(f"No trace: {process.fault}." for process in processes if process.fault and not process.trace)
    return Traced((), traces, by, len(tracing.serving.difference(tracing.pids)), notes=notes)


def read(traced: Traced) -> tuple[Trace | None, Seen | None, tuple[str, ...]]:
    """Read the traces of a service: the one with most requests, what all of them have of requests, and what to know.

    vLLM writes a trace for each worker and a small one of its front end; that of a worker is the largest.
    """
    found: list[tuple[RequestTimes, Trace]] = []
    notes = list(traced.notes)
    for path in sorted(traced.traces, key=lambda path: path.stat().st_size):
        try:
            trace = load(path, fields=(*DEFAULT_FIELDS, *MEMORY_FIELDS))
        except PerfkitError as error:
            notes.append(f"No trace: {error}")
        else:
            found.append((read_requests(trace), trace))
    if not found:
        return None, None, tuple(notes)
    times, shown = max(found, key=lambda pair: len(pair[0].requests))
    if not times.requests:
        times, shown = found[-1]
        if traced.elsewhere:
            others = "another process" if traced.elsewhere == 1 else f"{traced.elsewhere} other processes"
            notes.append(f"All requests may have gone to {others} of the service, of which there is no trace.")
    if len(found) > 1:
        notes.append(f"{len(found)} processes were traced; below is the one with most requests, {shown.path}.")
    seen = joined([times for times, _ in found], [trace.epoch_ns for _, trace in found], traced)
    return shown, seen if times.requests else None, tuple(notes)


def joined(times: Sequence[RequestTimes], epochs: Sequence[int], traced: Traced) -> Seen:
    """Put together what traces made at the same time have of requests."""
    to_clock = time.time_ns() - time.perf_counter_ns()
    low = max(epoch + some.start_ns for some, epoch in zip(times, epochs, strict=True)) - to_clock
    high = min(epoch + some.end_ns for some, epoch in zip(times, epochs, strict=True)) - to_clock
    everything: list[Any] = [
        (one, one.end_ns < some.end_ns or traced.window) for some in times for one in some.requests
    ]
    return Seen(
        requests=[one for one, whole in everything if whole],
        cut=frozenset(one.id for one, whole in everything if not whole),
        low=traced.window[0] if traced.window else low,
        high=traced.window[1] if traced.window else high,
        linked=next((some.linked for some in times if some.linked != "none"), "none"),
        processes=len(times),
        elsewhere=traced.elsewhere,
    )
