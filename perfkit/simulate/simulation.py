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
    from collections.abc import Callable

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
        return replay(self.graph, self.engine, prepare(self.graph))

    @functools.cached_property
    def modelled(self) -> Replayed:
        """The same with every delay between host and device as the model has it."""
        return replay(self.graph, self.engine, prepare(self.graph, MODELLED))

    def timelines(self) -> tuple[str, ...]:
        """Name the timelines that predictions can be made for."""
        return tuple(steps.timeline for steps in self.graph.program.steps)

    def predict(self, *what_if: WhatIf, timeline: str = "") -> Prediction | None:
        """Predict what a timeline takes with changes made together: see `perfkit.model.prediction.Predict`."""
        found = [steps for steps in self.graph.program.steps if timeline in ("", steps.timeline)]
        if not found:
            return None
        steps = found[0]
        subject = Subject(self.graph, self.selection, steps)
        changed = [self.changed(subject, what_if, assumed) for assumed in (USUAL, SWIFT, SLOW)]
        measured = np.diff(steps.edges)
        before, *after = (self.steps(steps, run) for run in (self.recorded, *changed))
        saved = [int(before.sum() - lengths.sum()) for lengths in after]
        whole, fidelity = int(measured.sum()), self.fidelity(steps)
        predicted = whole - saved[0]
        doubt = round((1 - fidelity) * abs(saved[0])) + (spread(after[USUAL]) if any(saved) else 0)
        return Prediction(
            what_if=what_if,
            timeline=steps.timeline,
            matched=changed[USUAL].matched,
            measured_ns=whole,
            replayed_ns=int(before.sum()),
            predicted_ns=max(predicted, 0),
            low_ns=max(whole - max(saved) - doubt, 0),
            high_ns=max(whole - min(saved) + doubt, 0),
            measured_step_ns=tuple(measured.tolist()),
            replayed_step_ns=tuple(self.steps(steps, self.modelled).tolist()),
            predicted_step_ns=tuple(after[USUAL].tolist()),
            fidelity=fidelity,
            assumptions=assumptions(what_if, fidelity),
        )

    def changed(self, subject: Subject, what_if: tuple[WhatIf, ...], assumed: int) -> Replayed:
        """Replay with changes made."""
        run = prepare(self.graph, assumed)
        matched = tuple(apply(subject, run, change, assumed) for change in what_if)
        return replay(self.graph, self.engine, run)._replace(matched=matched)

    def steps(self, steps: StepTimes, run: Replayed) -> Ints:
        """Return the lengths of steps in a replay."""
        return np.diff(edges_of_steps(self.graph, steps, run))

    def fidelity(self, steps: StepTimes) -> float:
        """Return how well the model reproduces the steps, 0 to 1.

        For this, no delay between host and device is taken from where it is seen; each is what such delays usually are.
        """
        measured = np.diff(steps.edges)
        off = np.abs(self.steps(steps, self.modelled) - measured).sum()
        return max(0.0, 1 - float(off) / max(float(measured.sum()), 1.0))

    def recast(self, trace: Trace, *what_if: WhatIf, timeline: str = "") -> Trace:
        """Return the trace as it would have been recorded with changes made."""
        steps = next(steps for steps in self.graph.program.steps if timeline in ("", steps.timeline))
        run = self.changed(Subject(self.graph, self.selection, steps), what_if, USUAL)
        return recast(self.graph, trace, run.time, run.own)


def spread(lengths: Ints) -> int:
    """Return by how much the sum of steps can differ in another run: two standard errors."""
    if len(lengths) < ENOUGH_STEPS:
        return 0
    return int(2 * float(np.std(lengths, ddof=1)) * len(lengths) ** 0.5)
