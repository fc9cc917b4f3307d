"""The highest rate at which a service keeps its objective: the rate is stepped up until it breaks, then bisected."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from perfkit.model.load import Capacity, CapacityStep, Objective
from perfkit.model.quantity import duration, percent
from perfkit.model.table import Table
from perfkit.serve.generator import Plan, drive
from perfkit.serve.measure import stretch
from perfkit.serve.target import MOST_REQUESTS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from perfkit.serve.client import Client, Outcome
    from perfkit.serve.generator import Drive

__all__ = ["MOST_STEPS", "find_capacity"]

MOST_STEPS: Final = 14
FACTOR: Final = 2.0
NEAR: Final = 1.1
"""Rates this close are as good as one."""
BEYOND: Final = 10
"""Requests beyond the quantile that a step must be able to have, for the quantile to mean anything."""
MOST_ERRORS: Final = 0.01


async def find_capacity(
    client: Client,
    plan: Plan,
    objective: Objective,
    stage: Callable[[str], Callable[[int, int | None], None]],
) -> Capacity:
    """Step the rate from that of a plan, each step for as long as the plan says or its quantile needs.

    A step ends early once so many requests are slow that the objective cannot be kept any more.
    """
    steps: list[CapacityStep] = []
    drives: list[Drive] = []
    holds, breaks, rate = 0.0, None, plan.rate
    while len(steps) < MOST_STEPS:
        seconds = max(plan.seconds, BEYOND / (1 - objective.quantile) / rate)
        if rate * seconds > MOST_REQUESTS:
            break
        tried = plan._replace(rate=rate, seconds=seconds, seed=len(steps))
        broken = Broken(objective, round(rate * seconds))
        done = await drive(client, tried, stop_when=broken, progress=stage(f"{rate:.3g} requests/s to"))
        steps.append(judge(done, objective))
        drives.append(done)
        if not steps[-1].broke:
            holds = max(holds, rate)
        elif breaks is None or rate < breaks:
            breaks = rate
        if steps[-1].load.late or (breaks is not None and holds > 0 and breaks / holds <= NEAR):
            break
        if breaks is None:
            rate *= FACTOR
        else:
            rate = (holds * breaks) ** 0.5 if holds > 0 else rate / FACTOR
    return Capacity(objective, Table(steps), holds, breaks, first_broken(steps, drives, objective))


class Broken:
    """Counts requests that are slow or failed, and says when they are too many."""

    def __init__(self, objective: Objective, planned: int) -> None:
        """Count from none."""
        self.objective = objective
        self.most = max((1 - objective.quantile) * planned, 1)
        self.over = 0

    def __call__(self, outcome: Outcome) -> str:
        """Return why no more is to be sent, or an empty string."""
        self.over += bool(outcome.error) or outcome.ended - outcome.intended > self.objective.limit_ns
        return "the objective is broken" if self.over > self.most else ""


def judge(done: Drive, objective: Objective) -> CapacityStep:
    """Say whether a step kept the objective, and if not, what broke it; a failed request is one that took too long."""
    load = stretch(done)
    spent = sorted(outcome.ended - outcome.intended for outcome in done.outcomes if not outcome.error)
    failed = len(done.outcomes) - len(spent)
    place = int(objective.quantile * len(done.outcomes))
    reached = spent[min(place, len(spent) - 1)] if spent else 0
    broke = ""
    if load.late:
        broke = "the load generator"
    elif failed > MOST_ERRORS * max(len(done.outcomes), 1):
        broke = "errors"
    elif load.stopped or place >= len(spent) or reached > objective.limit_ns:
        broke = "latency"
    return CapacityStep(load, reached, broke)


def first_broken(steps: Sequence[CapacityStep], drives: Sequence[Drive], objective: Objective) -> str:
    """Say what broke at the lowest rate at which anything did."""
    broken = [pair for pair in zip(steps, drives, strict=True) if pair[0].broke]
    if not broken:
        return ""
    step, done = min(broken, key=lambda pair: pair[0].load.asked_per_s)
    if step.broke == "the load generator":
        return "this machine cannot send more: the service may be able to do more than was tried"
    if step.broke == "errors":
        error, times = next(iter(step.load.errors.items()))
        return f"errors: {percent(times, step.load.sent)} of the requests got `{error}`"
    growth = growing(done)
    if growth is not None:
        grown = f"latency grew from {duration(growth[0])} to {duration(growth[1])} within the step"
        return f"the queue: {grown}, so more requests came than are served"
    median_ns = step.load.latency.p50_ns
    return (
        f"the tail: half of the requests took at most {duration(median_ns)}, "
        f"and P{100 * objective.quantile:g} reached {duration(step.quantile_ns)}"
    )


def growing(done: Drive) -> tuple[float, float] | None:
    """Return the median latencies of the first and the last quarter of a step, if the last is over twice the first."""
    spent = [outcome.ended - outcome.intended for outcome in sorted(done.outcomes, key=lambda one: one.intended)]
    quarter = len(spent) // 4
    if not quarter:
        return None
    first, last = (sorted(some)[quarter // 2] for some in (spent[:quarter], spent[-quarter:]))
    return (first, last) if last > 2 * first else None
