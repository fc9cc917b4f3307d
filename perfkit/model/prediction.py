"""Predictions: what a program would take if something about it were different, by replaying its trace.

A rule asks for the saving of exactly what it blames: it names the events by a `Which`, puts that into one of the
changes below, and hands the change to the `Predict` function that it is given.

    predict(RemoveSync(Which(names=("cudaStreamSynchronize",), where=("train.py(31): step",))), timeline=line.id)
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol, TypeAlias

from perfkit.model.quantity import percent

if TYPE_CHECKING:
    from collections.abc import Mapping

    from perfkit.model.diagnosis import TraceSummary

__all__ = [
    "EVERYTHING",
    "FAITHFUL",
    "FAR",
    "CaptureGraph",
    "Forecast",
    "FuseKernels",
    "OverlapCollectives",
    "OverlapCopies",
    "OverlapLoader",
    "Predict",
    "Prediction",
    "RemoveHostTime",
    "RemoveSync",
    "ScaleBatch",
    "SpeedUp",
    "SpeedUpLoader",
    "WhatIf",
    "Which",
    "doubts",
    "reach",
]


class Which(NamedTuple):
    """Which events of a trace: those that meet every condition that is given; without any, all of a kind.

    Attributes:
        names: Names of calls, operators or kernels, in full, any of them; ``*`` stands for any text, at either end.
        where: Lines of the user's Python (as `Blame.where` has them, or the beginning of one), any of them.
        threads: Names of threads, as `Blame.thread` has them, any of them.
        rows: Rows of the trace, any of them.
    """

    names: tuple[str, ...] = ()
    where: tuple[str, ...] = ()
    threads: tuple[str, ...] = ()
    rows: tuple[int, ...] = ()


EVERYTHING = Which()

FAITHFUL: Final = 0.95
"""A replay that reproduces less of the steps is a doubtful one,"""
FAR: Final = 0.05
"""and so is a prediction that may be off by more, relative to what comes about, without its interval being wrong."""


def reach(predicted: int, low: int, high: int) -> float:
    """Return how far a prediction is off at the further end of its interval, relative to that end."""
    return max(abs(predicted - end) / max(end, 1) for end in (low, high))


def doubts(fidelity: float, reach: float) -> tuple[str, ...]:
    """Say why a prediction is a rough one; nothing where it is not."""
    found = []
    if fidelity < FAITHFUL:
        found.append(f"The model reproduces only {percent(fidelity)} of the recorded steps.")
    if reach > FAR:
        most = f"up to {percent(reach)}" if reach < 1 else "more than 100 %"
        found.append(f"The prediction may be {most} off, by what the trace does not show.")
    if found:
        found.append("So it is a rough one: more steps, or longer ones, would tell more.")
    return tuple(found)


class OverlapLoader(NamedTuple):
    """Data is loaded by other processes while the program computes; ``workers`` 0 is as many as keep up.

    ``computes`` is the part of its time, at most, in which loading keeps a core busy.
    """

    workers: int = 0
    computes: float = 1.0


class SpeedUpLoader(NamedTuple):
    """Data is loaded ``factor`` times as fast, where it is loaded now."""

    factor: float


class RemoveSync(NamedTuple):
    """Calls that wait for the device are removed, blocking copies stop blocking.

    ``deferred`` keeps them, but has each wait for what was launched before its step began: a value read a step later.
    """

    which: Which = EVERYTHING
    deferred: bool = False


class RemoveHostTime(NamedTuple):
    """What a host thread does no longer takes time. ``cause`` is an idle cause, such as ``compilation``, or ``python``.

    For loading and synchronization there are changes of their own.
    """

    cause: str
    which: Which = EVERYTHING


class OverlapCopies(NamedTuple):
    """Copies between host and device are from pinned memory and on a stream of their own: nothing waits for them.

    What follows a copy on its stream still waits for the data, and the data is there a step ahead.
    """

    which: Which = EVERYTHING


class FuseKernels(NamedTuple):
    """Kernels that follow one another on a stream become one.

    Attributes:
        which: The kernels; a set is a run of them with no other kernel between. Or, with ``runs``, nothing.
        runs: The sets themselves, as rows of the trace, each in order.
        fused_ns: What one fused kernel takes, bytes moved over measured bandwidth; 0 is unknown: then the longest of
            its parts, for parts that read what the one before wrote.
        fused_ends_ns: What it takes at least and at most, where that is known.
    """

    which: Which = EVERYTHING
    runs: tuple[tuple[int, ...], ...] = ()
    fused_ns: int = 0
    fused_ends_ns: tuple[int, int] | None = None


class CaptureGraph(NamedTuple):
    """What is launched inside these operators, or everything, is captured in a CUDA graph and replayed each step."""

    which: Which = EVERYTHING


class SpeedUp(NamedTuple):
    """Kernels, or operators with all that they launch, are ``factor`` times as fast."""

    which: Which
    factor: float


class OverlapCollectives(NamedTuple):
    """Collectives run beside computation: only the end of a step waits for them."""

    which: Which = EVERYTHING


class ScaleBatch(NamedTuple):
    """Batches are ``factor`` times as large. Step times are those of the larger step."""

    factor: float


WhatIf: TypeAlias = (
    OverlapLoader
    | SpeedUpLoader
    | RemoveSync
    | RemoveHostTime
    | OverlapCopies
    | FuseKernels
    | CaptureGraph
    | SpeedUp
    | OverlapCollectives
    | ScaleBatch
)
"""One change to a program."""


class Prediction(NamedTuple):
    """What a timeline would take with some changes made.

    Attributes:
        what_if: The changes, made together.
        timeline: Id of the timeline.
        matched: How many events each change applied to; 0 means that the trace has none such.
        measured_ns: Length of the window as recorded.
        replayed_ns: Its length as replayed without a change.
        predicted_ns: Its length with the changes: what was measured, less what the replay saves.
        low_ns: Lower end of the interval around it.
        high_ns: Upper end.
        measured_step_ns: Length of every step as recorded; the window alone where there are no steps.
        replayed_step_ns: As replayed without a change, all delays between host and device taken to be usual ones.
        predicted_step_ns: As replayed with the changes.
        fidelity: How well the replay without a change reproduces the steps, 0 to 1.
        assumptions: Sentences: what the prediction and its interval take for granted.
        buckets: Busy classes and idle causes of the window with the changes made, ns; empty where nobody asked.
    """

    what_if: tuple[WhatIf, ...]
    timeline: str
    matched: tuple[int, ...]
    measured_ns: int
    replayed_ns: int
    predicted_ns: int
    low_ns: int
    high_ns: int
    measured_step_ns: tuple[int, ...]
    replayed_step_ns: tuple[int, ...]
    predicted_step_ns: tuple[int, ...]
    fidelity: float
    assumptions: tuple[str, ...]
    buckets: Mapping[str, int] = MappingProxyType({})

    @property
    def saving_ns(self) -> int:
        """What the changes save over the window; negative where they cost."""
        return self.measured_ns - self.predicted_ns

    @property
    def saving_low_ns(self) -> int:
        """Lower end of the saving's interval."""
        return self.measured_ns - self.high_ns

    @property
    def saving_high_ns(self) -> int:
        """Upper end of the saving's interval."""
        return self.measured_ns - self.low_ns

    @property
    def reach(self) -> float:
        """How far the prediction is off at the further end of its interval, relative to that end."""
        return reach(self.predicted_ns, self.low_ns, self.high_ns)

    @property
    def rough(self) -> bool:
        """Whether the trace tells too little: in short windows, what did not show makes much of a difference."""
        return bool(self.doubts)

    @property
    def doubts(self) -> tuple[str, ...]:
        """Why it is rough, in sentences."""
        return doubts(self.fidelity, self.reach)

    @property
    def bottleneck(self) -> str:
        """The busy class or idle cause that has most of the window once the changes are made."""
        return max(self.buckets, key=lambda name: self.buckets[name], default="")


class Forecast(NamedTuple):
    """What `perfkit what-if` answers: a trace, and a prediction for each of its timelines."""

    trace: TraceSummary
    predictions: tuple[Prediction, ...]


class Predict(Protocol):
    """The function that predicts; a stage that needs one is given it."""

    def __call__(self, *what_if: WhatIf, timeline: str = "") -> Prediction | None:
        """Predict what a timeline (the first, if none is named) takes with changes made together.

        Returns:
            The prediction; None where there is no such timeline, or its trace cannot be replayed.
        """
