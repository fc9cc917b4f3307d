"""An open-loop load generator: requests go out when they are due, whether or not earlier ones were answered.

Each is timed from the moment it was due. So a service that stalls is charged for every request that would have been
there meanwhile, and a generator that is late charges itself (no coordinated omission: G. Tene, wrk2).
"""

from __future__ import annotations

import asyncio
import time
import uuid
from pathlib import Path
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
LATEST_NS: Final = 2_000_000_000
"""A generator that is later than this by its own fault has failed."""
FARTHEST_NS: Final = 10_000_000_000
"""A service that is so far behind, with that many requests under way, has shown what it does."""
BUSY: Final = 0.8
"""Of the time: a generator that computes, or waits for a processor, for so much of it is what holds the rate up."""
BEHIND: Final = "fell behind"
PROGRESS_S: Final = 0.1
COARSE_NS: Final = 1_500_000
"""The event loop wakes up to a millisecond late, in steps of one: what is left of a wait is spent awake."""
EXACT_PER_S: Final = 100
"""Above this rate, to be awake that long before each request would take too much of a processor."""
DOZE_S: Final = 0.2
"""How long to wait at once, where something else may end the wait."""


class Plan(NamedTuple):
    """A rate for some time; ``seed`` makes the arrivals the same each time."""

    rate: float
    seconds: float
    arrivals: Arrivals = "poisson"
    seed: int = 0


class Drive(NamedTuple):
    """What came of a plan.

    Attributes:
        plan: The plan.
        planned: Requests that it asked for.
        outcomes: One for each request that was sent, in order of sending.
        stopped: Why it ended early; empty if it did not.
        held: Requests that could not go out because `MOST_AT_ONCE` were not answered yet.
        busy: Part of the time for which the generator computed, or waited for a processor.
    """

    plan: Plan
    planned: int
    outcomes: list[Outcome]
    stopped: str = ""
    held: int = 0
    busy: float = 0.0

    @property
    def held_by_service(self) -> bool:
        """Tell whether the service, and not this process, kept requests from being sent."""
        return self.held > 0 and self.busy < BUSY


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
    ended: Callable[[], bool] | None = None,
) -> Drive:
    """Send the requests of a plan, and wait until each is answered or its time is up.

    Args:
        client: With what to send.
        plan: When to send.
        progress: Called now and then with how many requests are done, and how many there will be.
        stop_when: Looks at each outcome; what it returns, if anything, ends the sending for that reason.
        ended: Tells whether no more are needed.
    """
    sender = Sender(client, progress, stop_when)
    prefix, due = uuid.uuid4().hex[:8], schedule(plan)
    sender.planned = len(due)
    begin, worked = time.perf_counter_ns(), busy_ns()
    async with asyncio.TaskGroup() as group:
        for number, offset in enumerate(due.tolist()):
            await until(begin + offset, exactly=plan.rate <= EXACT_PER_S, ended=ended)
            if ended is not None and ended():
                break
            sender.look_at_lateness(time.perf_counter_ns() - begin - offset)
            await sender.let_out()
            if sender.stopped:
                break
            group.create_task(sender.send(f"{prefix}-{number}", number, begin + offset))
        busy = (busy_ns() - worked) / max(time.perf_counter_ns() - begin, 1)
    outcomes = sorted(sender.outcomes, key=lambda outcome: outcome.sent)
    done = Drive(plan, len(due), outcomes, sender.stopped, sender.held, busy)
    if sender.stopped == BEHIND:
        return done._replace(stopped=f"{'the service' if done.held_by_service else 'this machine'} {BEHIND}")
    return done


class Sender:
    """Sends requests, not too many at once, and keeps what came of them."""

    def __init__(
        self,
        client: Client,
        progress: Callable[[int, int | None], None] | None,
        stop_when: Callable[[Outcome], str] | None,
    ) -> None:
        """Send nothing yet."""
        self.client, self.progress, self.stop_when = client, progress, stop_when
        self.outcomes: list[Outcome] = []
        self.planned = self.held = 0
        self.stopped = ""
        self.gate = asyncio.Semaphore(MOST_AT_ONCE)
        self.shown = 0.0

    def look_at_lateness(self, late_ns: int) -> None:
        """Stop if there is no catching up: this process is late, or the service has been for long."""
        if late_ns > (FARTHEST_NS if self.held else LATEST_NS):
            self.stopped = BEHIND

    async def let_out(self) -> None:
        """Wait until a request may go out."""
        self.held += self.gate.locked()
        await self.gate.acquire()

    async def send(self, name: str, number: int, intended: int) -> None:
        """Send a request that was let out, and take its answer."""
        try:
            outcome = await self.client.send(name, number, intended)
        finally:
            self.gate.release()
        self.outcomes.append(outcome)
        if self.stop_when is not None and not self.stopped:
            self.stopped = self.stop_when(outcome)
        if self.progress is not None and time.monotonic() - self.shown > PROGRESS_S:
            self.shown = time.monotonic()
            self.progress(len(self.outcomes), self.planned)


def busy_ns() -> int:
    """Return for how long this thread has computed, and waited for a processor where the kernel (Linux) says so."""
    try:
        ran, waited, _ = Path("/proc/thread-self/schedstat").read_bytes().split()
    except OSError:
        return time.thread_time_ns()
    return int(ran) + int(waited)


async def until(moment: int, *, exactly: bool, ended: Callable[[], bool] | None) -> None:
    """Wait until a moment of `time.perf_counter_ns`, or until something else has ended, while answers are read."""
    spare = COARSE_NS if exactly else 0
    while (rest := moment - time.perf_counter_ns() - spare) > 0 and not (ended and ended()):
        await asyncio.sleep(min(rest / 1e9, DOZE_S) if ended else rest / 1e9)
    while time.perf_counter_ns() < moment and not (ended and ended()):
        await asyncio.sleep(0)
