"""Put load on a service, have it traced under that load, and say where the time of its requests goes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from perfkit.advise import EVERY_RULE
from perfkit.errors import UsageError
from perfkit.model.advice import Advice
from perfkit.model.diagnosis import Diagnosis, TraceSummary
from perfkit.model.load import Load
from perfkit.model.table import Table
from perfkit.pipeline.diagnose import diagnose, recorded
from perfkit.pipeline.profiles import EMPTY
from perfkit.pipeline.traced import ATTACH_S, Tracing, read, trace_service
from perfkit.record.launch import discard, empty_folder
from perfkit.serve.capacity import find_capacity
from perfkit.serve.client import Client, warm_up
from perfkit.serve.generator import Plan, drive
from perfkit.serve.measure import stretch, tally, tokens
from perfkit.serve.split import around, fit_service, split
from perfkit.serve.target import Target, check_bounds
from perfkit.serve.verdict import say, too_fast

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from perfkit.advise import RuleSet
    from perfkit.model.load import Capacity, Objective
    from perfkit.pipeline.traced import Traced
    from perfkit.serve.client import Outcome
    from perfkit.serve.generator import Drive

    Stage = Callable[[str], Callable[[int, int | None], None]]
    """Is told what is being done now, and returns what to tell how much of it is done."""

__all__ = ["Asked", "diagnose_service"]

TRACED_S: Final = 5.0


class Asked(NamedTuple):
    """What to do to a service.

    Attributes:
        plan: Rate, time and arrivals.
        folder: Where to keep what is recorded; an empty folder, or none yet.
        traced_s: For how long to have it traced afterwards, under the same load; 0 for not at all.
        objective: Find the capacity under it; None for not to.
        profile_dir: Where the service writes its traces, if it says so itself nowhere.
        pids: Processes of it; none for those that listen on its port.
        stacks: Record the lines of Python.
        shapes: Record the shapes of operators' inputs.
        insecure: Take any TLS certificate.
        timeout_s: How long to wait for an answer.
        window: What of the trace to look at, as in `perfkit.pipeline.diagnose`.
        rules: What to look for.
        picture: Also make the picture that a page draws.
    """

    plan: Plan
    folder: Path
    traced_s: float = TRACED_S
    objective: Objective | None = None
    profile_dir: Path | None = None
    pids: tuple[int, ...] = ()
    stacks: bool = False
    shapes: bool = False
    insecure: bool = False
    timeout_s: float = 30.0
    window: Literal["steps", "device-span"] | None = None
    rules: RuleSet = EVERY_RULE
    picture: bool = False


class Driven(NamedTuple):
    """What came of it all, before anything is made of it."""

    warm_up: list[Outcome]
    untraced: Drive
    traced: Traced
    capacity: Capacity | None


def silent(_: str) -> Callable[[int, int | None], None]:
    """Show no progress."""
    return lambda _done, _total: None


def diagnose_service(target: Target, asked: Asked, stage: Stage = silent) -> Diagnosis:
    """Put load on a service, trace it where that can be done, and diagnose both.

    Raises:
        MissingExtraError: Packages of the extra ``serve``, or what its process takes to be traced, are missing.
        ServiceError: The service does not answer, or not as it should.
        UsageError: More was asked for than a run may do or this machine can, or the process cannot be traced.
    """
    check_bounds(asked.plan.rate, asked.plan.seconds + (asked.traced_s + ATTACH_S if asked.traced_s > 0 else 0))
    folder = empty_folder(asked.folder)
    try:
        driven = asyncio.run(put_load_on(target, asked, folder, stage))
        return diagnosed(target, asked, driven, folder)
    finally:
        if folder.exists() and not any(folder.iterdir()):
            discard(folder)


async def put_load_on(target: Target, asked: Asked, folder: Path, stage: Stage) -> Driven:
    """Warm up, load without a trace, then with one, then look for the capacity."""
    async with Client(target, insecure=asked.insecure, timeout_s=asked.timeout_s) as client:
        warm = await warm_up(client)  # a worker that has answered has loaded what it takes to trace it
        tracing = Tracing.of(target, asked.pids, asked.profile_dir) if asked.traced_s > 0 else None
        untraced = await drive(client, asked.plan, progress=stage("timing"))
        if stretch(untraced).late:
            raise UsageError(too_fast(stretch(untraced)))
        plan = asked.plan._replace(seconds=asked.traced_s, seed=asked.plan.seed + 1)
        options = {"with_stack": asked.stacks, "record_shapes": asked.shapes}
        traced = await trace_service(client, plan, tracing, options, folder, stage("tracing"))
        capacity = None
        if asked.objective is not None:
            capacity = await find_capacity(client, asked.plan, asked.objective, stage)
        return Driven(warm, untraced, traced, capacity)


def diagnosed(target: Target, asked: Asked, driven: Driven, folder: Path) -> Diagnosis:
    """Put everything together."""
    trace, seen, notes = read(driven.traced)
    outcomes = driven.untraced.outcomes
    found = Load(
        url=target.shown,
        arrivals=asked.plan.arrivals,
        stretch=stretch(driven.untraced),
        tokens=tokens(outcomes) if target.streams else None,
        traced_by=driven.traced.by if trace is not None else "",
        split=split(driven.traced.outcomes, seen) if seen is not None else None,
        service=None if target.streams else fit_service(driven.traced.outcomes, seen, outcomes),
        capacity=driven.capacity,
        notes=notes,
        warm_up=tally(driven.warm_up),
        around=tally(around(driven.traced.outcomes, seen)) if driven.traced.outcomes else None,
    )
    if trace is None:
        summary = TraceSummary(target.shown, "load", 0, "none", (), None, None, 0, ())
        return Diagnosis(summary, EMPTY, Advice(say(found), "", Table(), ()), load=found)
    options: dict[str, Any] = {"window": asked.window, "rules": asked.rules, "picture": asked.picture}
    diagnosis = recorded(diagnose(trace, recorded_as="perfkit", **options), folder)
    advice = diagnosis.advice
    return diagnosis._replace(load=found, advice=advice._replace(verdict=f"{say(found)} {advice.verdict}"))
