"""Predicts what a program would take with changes made, by replaying its graph with and without them."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Final

import numpy as np

from perfkit.model.prediction import Prediction
from perfkit.simulate.assumptions import assumptions
from perfkit.simulate.changes import apply
from perfkit.simulate.graph import build
from perfkit.simulate.recast import recast
from perfkit.simulate.replay import edges_of_steps, prepare, replay
from perfkit.simulate.subject import SLOW, SWIFT, USUAL, Subject

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from perfkit.model.prediction import WhatIf
    from perfkit.model.program import Program, Selection, StepTimes
    from perfkit.model.trace import Trace
    from perfkit.simulate.engine import Engine
    from perfkit.simulate.graph import Graph
    from perfkit.simulate.replay import Replayed

    Ints = NDArray[np.int64]

__all__ = ["Simulation"]

MODELLED: Final = 3
"""The place in `Graph.lags` of delays between host and device as the model has them, not as the trace shows them."""
ENOUGH_STEPS: Final = 3
MANY_LANES: Final = 40


class Simulation:
    """The replay of one program; what is expensive is done when first asked for."""

    def __init__(self, program: Callable[[], Program], selection: Callable[[], Selection], engine: Engine) -> None:
        """Take what makes the program and what finds events in it, and what computes replays."""
        self._make_program = program
        self._make_selection = selection
        self.engine = engine

    @functools.cached_property
    def graph(self) -> Graph:
        """The program's graph."""
        return build(self._make_program(), self.engine)

    @functools.cached_property
    def selection(self) -> Selection:
        """What finds events."""
        return self._make_selection()

    @functools.cached_property
    def recorded(self) -> Replayed:
        """The replay without a change."""
        return replay(self.graph, self.engine, prepare(self.graph), 1)

    @functools.cached_property
    def modelled(self) -> Replayed:
        """The same with every delay between host and device as the model has it."""
        return replay(self.graph, self.engine, prepare(self.graph, MODELLED), 1)

    def timelines(self) -> tuple[str, ...]:
        """Name the timelines that predictions can be made for."""
        return tuple(steps.timeline for steps in self.graph.program.steps)

    def predict(self, *what_if: WhatIf, timeline: str = "") -> Prediction | None:
        """Predict what a timeline takes with changes made together: see `perfkit.model.prediction.Predict`."""
        steps = next((steps for steps in self.graph.program.steps if timeline in ("", steps.timeline)), None)
        if steps is None:
            return None
        subject = Subject(self.graph, self.selection, steps)
        measured, before = np.diff(steps.edges), self.steps(steps, self.recorded)[:, 0]
        lengths: dict[int, Ints] = {}
        for assumed in (SWIFT, SLOW, USUAL):  # of each replay only the steps are kept
            run = self.changed(subject, what_if, assumed)
            lengths[assumed] = self.steps(steps, run)
        middle = middle_lane(lengths[USUAL])
        saved = {assumed: before.sum() - some.sum(axis=0) for assumed, some in lengths.items()}
        least, most = ends(list(saved.values()))
        whole, fidelity = int(measured.sum()), self.fidelity(steps)
        predicted = whole - int(saved[USUAL][middle])
        doubt = round((1 - fidelity) * abs(whole - predicted))
        doubt += spread(lengths[USUAL][:, middle], self.work(steps)) if least or most else 0
        found = Prediction(
            what_if=what_if,
            timeline=steps.timeline,
            matched=run.matched,
            measured_ns=whole,
            replayed_ns=int(before.sum()),
            predicted_ns=max(predicted, 0),
            low_ns=max(whole - most - doubt, 0),
            high_ns=max(whole - least + doubt, 0),
            measured_step_ns=tuple(measured.tolist()),
            replayed_step_ns=tuple(self.steps(steps, self.modelled)[:, 0].tolist()),
            predicted_step_ns=tuple(lengths[USUAL][:, middle].tolist()),
            fidelity=fidelity,
            assumptions=(),
        )
        return found._replace(assumptions=assumptions(found))

    def changed(self, subject: Subject, what_if: tuple[WhatIf, ...], assumed: int) -> Replayed:
        """Replay with changes made."""
        run = prepare(self.graph, assumed)
        matched = tuple(apply(subject, run, change, assumed) for change in what_if)
        return replay(self.graph, self.engine, run, len(self.graph.draws.values))._replace(matched=matched)

    def steps(self, steps: StepTimes, run: Replayed) -> Ints:
        """Return the lengths of steps ``[steps, lanes]`` in a replay."""
        return np.diff(edges_of_steps(self.graph, steps, run), axis=0)

    def work(self, steps: StepTimes) -> Ints:
        """Return how much each step does: activities of a device, or what a host thread's trace shows."""
        count = len(steps.edges) - 1
        if steps.thread < 0:
            return np.bincount(steps.step[steps.step >= 0], minlength=count)[:count]
        host = self.graph.program.host
        start = np.sort(host.start[host.thread == steps.thread])
        return np.diff(np.searchsorted(start, steps.edges))

    def fidelity(self, steps: StepTimes) -> float:
        """Return how well the model reproduces the steps, 0 to 1.

        For this, no delay between host and device is taken from where it is seen; each is what such delays usually are.
        """
        measured = np.diff(steps.edges)
        off = np.abs(self.steps(steps, self.modelled)[:, 0] - measured).sum()
        return max(0.0, 1 - float(off) / max(float(measured.sum()), 1.0))

    def recast(self, trace: Trace, *what_if: WhatIf, timeline: str = "") -> Trace:
        """Return the trace as it would have been recorded with changes made."""
        steps = next(steps for steps in self.graph.program.steps if timeline in ("", steps.timeline))
        run = self.changed(Subject(self.graph, self.selection, steps), what_if, USUAL)
        middle = middle_lane(self.steps(steps, run))
        return recast(self.graph, trace, run.time[:, middle], run.own)


def middle_lane(lengths: Ints) -> int:
    """Return the lane in which steps take together as long as in the middle one."""
    total = lengths.sum(axis=0)
    return int(np.argsort(total, kind="stable")[len(total) // 2])


def ends(saved: Sequence[Ints]) -> tuple[int, int]:
    """Return the least and the most that is saved in any lane of replays; or would be in many, where lanes are few."""
    least, most = min(int(some.min()) for some in saved), max(int(some.max()) for some in saved)
    for some in saved if len(saved[0]) < MANY_LANES else ():
        wide = 2 * float(some.std())
        least, most = min(least, int(some.mean() - wide)), max(most, int(some.mean() + wide))
    return least, most


def spread(lengths: Ints, work: Ints) -> int:
    """Return by how much the sum of steps can differ in another run: two standard errors.

    Only steps that do the same ``work`` tell; of others, no two would be alike in any run.
    """
    _, kind, count = np.unique(work, return_inverse=True, return_counts=True)
    variance = 0.0
    for one in np.flatnonzero(count >= ENOUGH_STEPS).tolist():
        variance += float(np.var(lengths[kind == one], ddof=1)) * int(count[one])
    return int(2 * variance**0.5)
