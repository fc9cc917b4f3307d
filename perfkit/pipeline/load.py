"""Put load on a service, have it traced under that load, and say where the time of its requests goes."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from perfkit.advise import advise
from perfkit.attribute import attribute, read_requests
from perfkit.errors import PerfkitError, UnreadableTraceError, UsageError
from perfkit.ingest import load
from perfkit.model.advice import Advice
from perfkit.model.diagnosis import Diagnosis, TraceSummary
from perfkit.model.load import Load
from perfkit.model.table import Table
from perfkit.pipeline.profiles import EMPTY
from perfkit.pipeline.record import record_process
from perfkit.record.plan import Plan as Recorded
from perfkit.serve.capacity import find_capacity
from perfkit.serve.client import Client, ServiceError
from perfkit.serve.generator import Plan, drive
from perfkit.serve.measure import stretch, tokens
from perfkit.serve.profiling import Endpoints, folder_of_process
from perfkit.serve.split import fit_service, split
from perfkit.serve.target import Target, check_bounds
from perfkit.serve.verdict import say

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from perfkit.model.load import Capacity, Objective
    from perfkit.model.trace import Trace
    from perfkit.serve.client import Outcome
    from perfkit.serve.generator import Drive

    Progress = Callable[[int, int | None], None]

__all__ = ["Asked", "diagnose_service"]

WARMUP: Final = 3
ATTACH_S: Final = 15.0
"""To attach to a process may take so long on top."""


class Asked(NamedTuple):
    """What to do to a service.

    Attributes:
        plan: Rate, time and arrivals.
        traced_s: For how long to have it traced afterwards, under the same load; 0 for not at all.
        objective: Find the capacity under it; None for not to.
        profile_dir: Where the service writes its traces, if it says so itself nowhere.
        pid: Its process, which may say where.
        keep: Where to keep traces; None to remove those that were written for this.
        insecure: Take any TLS certificate.
        timeout_s: How long to wait for an answer.
    """

    plan: Plan
    traced_s: float = 5.0
    objective: Objective | None = None
    profile_dir: Path | None = None
    pid: int | None = None
    keep: Path | None = None
    insecure: bool = False
    timeout_s: float = 30.0


class Traced(NamedTuple):
    """What was sent while the service was traced, the traces, how they were made, and what else to know."""

    outcomes: Sequence[Outcome]
    traces: Sequence[Path]
    by: str
    notes: tuple[str, ...] = ()


UNTRACED: Final = Traced((), (), "")


class Driven(NamedTuple):
    """What came of it all, before anything is made of it."""

    untraced: Drive
    traced: Traced
    capacity: Capacity | None


def diagnose_service(target: Target, asked: Asked, progress: Progress | None = None) -> Diagnosis:
    """Put load on a service, trace it where it offers that, and diagnose both.

    Raises:
        MissingExtraError: Packages of the extra ``serve`` are missing.
        ServiceError: The service does not answer, or not as it should.
        UsageError: More was asked for than a run may do.
    """
    check_bounds(asked.plan.rate, asked.plan.seconds + asked.traced_s)
    made = Path(tempfile.mkdtemp(prefix="perfkit-load-"))
    try:
        driven = asyncio.run(put_load_on(target, asked, made, progress))
        trace, notes = read_trace(driven.traced.traces)
        if asked.keep is not None:
            keep(driven.traced.traces, asked.keep)
        return diagnosed(target, asked, driven, trace, (*driven.traced.notes, *notes))
    finally:
        shutil.rmtree(made, ignore_errors=True)


async def put_load_on(target: Target, asked: Asked, made: Path, progress: Progress | None) -> Driven:
    """Warm up, load without a trace, then with one, then look for the capacity."""
    async with Client(target, insecure=asked.insecure, timeout_s=asked.timeout_s) as client:
        await warm_up(client)
        untraced = await drive(client, asked.plan, progress=progress)
        found = await traced(client, asked, made, progress) if asked.traced_s > 0 else UNTRACED
        capacity = None
        if asked.objective is not None:
            capacity = await find_capacity(client, asked.plan, asked.objective, progress)
        return Driven(untraced, found, capacity)


async def traced(client: Client, asked: Asked, made: Path, progress: Progress | None) -> Traced:
    """Put the same load on a service while it is traced: by its own endpoints, or else from outside by its process."""
    plan = asked.plan._replace(seconds=asked.traced_s, seed=asked.plan.seed + 1)
    folders = [asked.profile_dir] if asked.profile_dir else []
    endpoints = Endpoints(client, made, [*folders, *(folder_of_process(asked.pid) if asked.pid else [])])
    try:
        if await endpoints.start():
            outcomes = (await drive(client, plan, progress=progress)).outcomes
            return Traced(outcomes, await endpoints.stop(), "/start_profile")
        if asked.pid:
            return await attached(client, asked.pid, plan, made / "attached", progress)
    except (ServiceError, UsageError, UnreadableTraceError) as error:
        return UNTRACED._replace(notes=(f"No trace: {error}",))
    finally:
        if endpoints.running:  # interrupted: the service is not left with a profiler that runs
            await asyncio.shield(endpoints.end())
    return UNTRACED


async def attached(client: Client, pid: int, plan: Plan, folder: Path, progress: Progress | None) -> Traced:
    """Record a process while the load is on, which lasts until the recording is done."""
    recording = asyncio.create_task(
        asyncio.to_thread(record_process, [pid], Recorded(duration_s=plan.seconds), folder, by_steps=False)
    )
    longest = plan._replace(seconds=plan.seconds + ATTACH_S)
    done = await drive(client, longest, progress=progress, stop_when=lambda _: "recorded" if recording.done() else "")
    process = next(iter((await recording).processes))
    notes = (process.fault,) if process.fault else ()
    return Traced(done.outcomes, [folder / process.trace] if process.trace else [], f"pid {pid}", notes)


async def warm_up(client: Client) -> None:
    """Send a few requests one by one.

    Raises:
        ServiceError: None of them was answered well.
    """
    problems = []
    for number in range(WARMUP):
        outcome = await client.send(f"warm-up-{number}", number, time.perf_counter_ns())
        problems.append(outcome.error)
    if all(problems):
        message = f"{client.target.shown}: {problems[-1]}: {remedy(problems[-1])}"
        raise ServiceError(message)


def remedy(problem: str) -> str:
    """Say what to check after such a problem."""
    if problem.startswith("TLS"):
        return "check the certificate and the scheme, or give --insecure to take any"
    if problem.startswith("HTTP 404"):
        return "check the path of the URL"
    if problem.startswith("HTTP"):
        return "check the URL and what --body sends"
    if "stream" in problem or "JSON" in problem or "token" in problem:
        return "with --openai the service has to be OpenAI-compatible, and --model one that it serves"
    return "check that the service runs, and its host and port"


def read_trace(paths: Sequence[Path]) -> tuple[Trace | None, list[str]]:
    """Read the largest of some traces: vLLM writes one for each worker and a small one of its front end."""
    if not paths:
        return None, []
    largest = max(paths, key=lambda path: path.stat().st_size)
    notes = [f"The service wrote {len(paths)} traces, of which the largest is looked at."] if len(paths) > 1 else []
    try:
        return load(largest), notes
    except PerfkitError as error:
        return None, [f"No trace: {error}"]


def keep(paths: Sequence[Path], folder: Path) -> None:
    """Copy traces to a folder.

    Raises:
        UsageError: It cannot be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path in paths:
            shutil.copy(path, folder)
    except OSError as error:
        message = f"{folder} cannot be written to: {error.strerror or error}"
        raise UsageError(message) from error


def diagnosed(target: Target, asked: Asked, driven: Driven, trace: Trace | None, notes: tuple[str, ...]) -> Diagnosis:
    """Put everything together."""
    times = read_requests(trace) if trace is not None else None
    outcomes = driven.untraced.outcomes
    found = Load(
        url=target.shown,
        arrivals=asked.plan.arrivals,
        stretch=stretch(driven.untraced),
        tokens=tokens(outcomes) if target.streams else None,
        traced_by=driven.traced.by if trace is not None else "",
        split=split(driven.traced.outcomes, times) if times is not None and times.requests else None,
        service=fit_service(driven.traced.outcomes, times, outcomes),
        capacity=driven.capacity,
        notes=notes,
    )
    if trace is None:
        summary = TraceSummary(target.shown, "load", 0, "none", (), None, None, 0, ())
        return Diagnosis(summary, EMPTY, Advice(say(found), "", Table(), ()), load=found)
    attribution = attribute(trace)
    advice = advise(attribution, recorded_as=trace.format)
    advice = advice._replace(verdict=f"{say(found)} {advice.verdict}")
    return Diagnosis(TraceSummary.of(trace), attribution, advice, load=found)
