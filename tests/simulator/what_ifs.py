"""Changes that are predicted from a recording, and the same changes made to the program that is then run again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

import perfkit
from perfkit.attribute import examine
from perfkit.model import prediction as what
from perfkit.model.prediction import Which
from perfkit.pipeline.what_if import simulation
from tests import simulator
from tests.simulator import without
from tests.simulator.programs import KERNELS, NAMES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from tests.simulator import Workload
    from tests.simulator.without import Hidden

FIXED_NS: Final = 2_000
"""What a kernel takes whatever the batch."""
NOTHING_NS: Final = 1_000
"""Clocks do not tell less apart."""


class Kind(NamedTuple):
    """A change, and the program with it made; both may depend on the seed of the program."""

    change: Callable[[int], what.WhatIf]
    made: Callable[[Workload, int, Hidden], Workload]


class Outcome(NamedTuple):
    """A prediction of one device's window and what it was, in ns."""

    seed: int
    device: int
    kind: str
    measured_ns: int
    predicted_ns: int
    low_ns: int
    high_ns: int
    true_ns: int
    rough: bool
    """Whether the prediction says that it is one."""

    @property
    def error(self) -> float:
        """How far the prediction is off, relative to the true window."""
        return abs(self.predicted_ns / self.true_ns - 1)

    @property
    def held(self) -> bool:
        """Whether the interval holds the true window."""
        return self.low_ns - NOTHING_NS <= self.true_ns <= self.high_ns + NOTHING_NS

    @property
    def width(self) -> float:
        """The interval, relative to the prediction."""
        return (self.high_ns - self.low_ns) / max(self.predicted_ns, 1)


def removed(cause: str) -> Kind:
    """The host time of a cause removed."""
    return Kind(lambda _: what.RemoveHostTime(cause), lambda program, *_: without.without_host_time(program, cause))


KINDS: Final[Mapping[str, Kind]] = {
    "loader overlapped": Kind(lambda _: what.OverlapLoader(), without.overlapped_loader),
    "workers too few": Kind(lambda _: what.OverlapLoader(1), without.few_workers),
    "graph captured": Kind(lambda _: what.CaptureGraph(), without.captured),
    "loader faster": Kind(lambda _: what.SpeedUpLoader(3), lambda program, *_: without.faster_loader(program, 3)),
    "sync removed": Kind(lambda _: what.RemoveSync(), lambda program, *_: without.without_syncs(program)),
    "copies overlapped": Kind(lambda _: what.OverlapCopies(), lambda program, *_: without.overlapped_copies(program)),
    "collectives overlapped": Kind(
        lambda _: what.OverlapCollectives(), lambda program, *_: without.overlapped_collectives(program)
    ),
    "kernel faster": Kind(
        lambda seed: what.SpeedUp(Which(names=(KERNELS[seed % 4],)), 3),
        lambda program, seed, _: without.faster_kernel(program, KERNELS[seed % 4], 3),
    ),
    "operator faster": Kind(
        lambda seed: what.SpeedUp(Which(names=(NAMES[seed % 6],)), 2.5),
        lambda program, seed, _: without.faster_operator(program, NAMES[seed % 6], 2.5),
    ),
    "batch doubled": Kind(lambda _: what.ScaleBatch(2), lambda program, *_: without.larger_batch(program, 2, FIXED_NS)),
} | {f"{cause} removed": removed(cause) for cause in ("allocation", "compilation", "operator_dispatch", "python")}


# Where a process has no graphs, whose kernels could be fused as well, and streams are those of one process.
PLAIN: Final[Mapping[str, Kind]] = {
    "kernels fused": Kind(
        lambda _: what.FuseKernels(Which(names=KERNELS[1:3])), lambda program, *_: without.fused(program, KERNELS[1:3])
    ),
    "sync deferred": Kind(
        lambda _: what.RemoveSync(Which(names=("*StreamSynchronize",)), deferred=True),
        lambda program, *_: without.deferred_syncs(program),
    ),
}


def is_plain(program: Workload) -> bool:
    """Whether a program is one process without graphs."""
    return len(program.processes) == 1 and "GraphLaunch" not in repr(program)


def outcomes(
    seed: int, kinds: Sequence[str], path: Path, scale: int = 1, hidden: Hidden = without.DRAWN
) -> list[Outcome]:
    """Predict changes of a random program from its trace, which is written to ``path``, and make them."""
    program = without.with_workers(simulator.random_program(seed, scale), seed, hidden)
    simulator.write(simulator.record(program), path)
    window: Literal["steps", "device-span"] = "steps" if program.marks else "device-span"
    examined = examine(perfkit.load(path), window=window)
    replay, found = simulation(examined), []
    for kind in kinds:
        change, made = KINDS[kind] if kind in KINDS else PLAIN[kind]
        again = simulator.record(made(program, seed, hidden))
        for line in examined.attribution.timelines:
            truth = {t.device: t.window_ns for t in simulator.timelines(again, window)}.get(line.device)
            predicted: Any = replay.predict(change(seed), timeline=line.id)
            if truth:
                times = predicted.measured_ns, predicted.predicted_ns, predicted.low_ns, predicted.high_ns
                found.append(Outcome(seed, line.device, kind, *times, truth, predicted.rough))
    return found
