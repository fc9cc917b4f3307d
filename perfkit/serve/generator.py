"""An open-loop load generator: requests go out when they are due, whether or not earlier ones were answered.

Each is timed from the moment it was due. So a service that stalls is charged for every request that would have been
there meanwhile, and a generator that is late charges itself (no coordinated omission: G. Tene, wrk2).
"""

from __future__ import annotations

import asyncio
import time
import uuid
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from perfkit.serve.client import Client, Outcome

__all__ = ["Arrivals", "Drive", "Plan", "drive", "schedule"]

Arrivals = Literal["poisson", "constant"]

MOST_AT_ONCE: Final = 1000
"""Requests under way; above it they wait to be sent, and are timed from when they were due all the same."""
PROGRESS_S: Final = 0.1
COARSE_NS: Final = 1_500_000
"""The event loop wakes up to a millisecond late, in steps of one: what is left of a wait is spent awake."""
EXACT_PER_S: Final = 100
"""Above this rate, to be awake that long before each request would take too much of a processor."""


class Plan(NamedTuple):
    """A rate for some time; ``seed`` makes the arrivals the same each time."""

    rate: float
    seconds: float
    arrivals: Arrivals = "poisson"
    seed: int = 0


class Drive(NamedTuple):
    """What came of a plan: an outcome for each request that was sent, in order of sending, and why it ended early."""

    plan: Plan
    planned: int
    outcomes: list[Outcome]
    stopped: str


def schedule(plan: Plan) -> NDArray[np.int64]:
    """Return when each request is due, in ns from the start.

    A Poisson process of given length and number has its arrivals uniformly and independently distributed, so the rate
    is exactly the one asked for (S. Ross, Introduction to Probability Models, theorem 5.2).
    """
    count = max(round(plan.rate * plan.seconds), 1)
    if plan.arrivals == "constant":
        due = np.arange(count) / plan.rate
    else:
        due = np.sort(np.random.default_rng(plan.seed).uniform(0, plan.seconds, count))
    moments: NDArray[np.int64] = (due * 1e9).astype(np.int64)
    return moments


async def drive(
    client: Client,
    plan: Plan,
    *,
    progress: Callable[[int, int | None], None] | None = None,
    stop_when: Callable[[Outcome], str] | None = None,
) -> Drive:
    """Send the requests of a plan, and wait until each is answered or its time is up.

    Args:
        client: With what to send.
        plan: When to send.
        progress: Called now and then with how many requests are done, and how many there will be.
        stop_when: Looks at each outcome; what it returns, if anything, ends the sending for that reason.
    """
    prefix = uuid.uuid4().hex[:8]
    due = schedule(plan)
    outcomes: list[Outcome] = []
    stopped = ""
    gate = asyncio.Semaphore(MOST_AT_ONCE)
    shown = 0.0

    async def one(number: int, intended: int) -> None:
        nonlocal stopped, shown
        try:
            outcome = await client.send(f"{prefix}-{number}", number, intended)
        finally:
            gate.release()
        outcomes.append(outcome)
        if stop_when is not None and not stopped:
            stopped = stop_when(outcome)
        if progress is not None and time.monotonic() - shown > PROGRESS_S:
            shown = time.monotonic()
            progress(len(outcomes), len(due))

    begin = time.perf_counter_ns()
    async with asyncio.TaskGroup() as group:
        for number, offset in enumerate(due.tolist()):
            await until(begin + offset, exactly=plan.rate <= EXACT_PER_S)
            await gate.acquire()
            if stopped:
                gate.release()
                break
            group.create_task(one(number, begin + offset))
    outcomes.sort(key=lambda outcome: outcome.sent)
    return Drive(plan, len(due), outcomes, stopped)


async def until(moment: int, *, exactly: bool) -> None:
    """Wait until a moment of `time.perf_counter_ns`, while answers go on being read."""
    rest = moment - time.perf_counter_ns()
    spare = COARSE_NS if exactly else 0
    if rest > spare:
        await asyncio.sleep((rest - spare) / 1e9)
    while time.perf_counter_ns() < moment:
        await asyncio.sleep(0)
