"""Predictions against the truth: the simulator runs the same program again, with the fault removed.

The programs are the simulator's random ones, written for other tests: streams that threads share, launches that nobody
recorded, graphs, collectives, several devices and processes. Nothing in the replay knows them.
"""

from __future__ import annotations

import collections
import statistics
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

import perfkit
from perfkit.attribute import examine
from perfkit.model import prediction as what
from perfkit.model.prediction import Which
from perfkit.pipeline.what_if import simulation
from tests import simulator
from tests.simulator import without
from tests.simulator.programs import KERNELS, NAMES

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.simulator import Workload

PROGRAMS = 200
TOGETHER = 4
"""Kinds of change tried on each program."""
NOTHING_NS = 1_000
"""Clocks do not tell less apart."""


class Miss(NamedTuple):
    """How far a predicted window is off, relative to the true one, and whether the interval holds the true one."""

    error: float
    held: bool


class Kind(NamedTuple):
    """A change, and the program with it made; both may depend on the seed of the program."""

    change: Callable[[int], what.WhatIf]
    made: Callable[[Workload, int], Workload]


def removed(cause: str) -> Kind:
    """The host time of a cause removed."""
    return Kind(lambda _: what.RemoveHostTime(cause), lambda program, _: without.without_host_time(program, cause))


KINDS: dict[str, Kind] = {
    "loader overlapped": Kind(lambda _: what.OverlapLoader(), without.overlapped_loader),
    "loader faster": Kind(lambda _: what.SpeedUpLoader(3), lambda program, _: without.faster_loader(program, 3)),
    "sync removed": Kind(lambda _: what.RemoveSync(), lambda program, _: without.without_syncs(program)),
    "copies overlapped": Kind(lambda _: what.OverlapCopies(), lambda program, _: without.overlapped_copies(program)),
    "collectives overlapped": Kind(
        lambda _: what.OverlapCollectives(), lambda program, _: without.overlapped_collectives(program)
    ),
    "kernel faster": Kind(
        lambda seed: what.SpeedUp(Which(names=(KERNELS[seed % 4],)), 3),
        lambda program, seed: without.faster_kernel(program, KERNELS[seed % 4], 3),
    ),
    "operator faster": Kind(
        lambda seed: what.SpeedUp(Which(names=(NAMES[seed % 6],)), 2.5),
        lambda program, seed: without.faster_operator(program, NAMES[seed % 6], 2.5),
    ),
    "batch doubled": Kind(lambda _: what.ScaleBatch(2), lambda program, _: without.larger_batch(program, 2, 2_000)),
} | {f"{cause} removed": removed(cause) for cause in ("allocation", "compilation", "operator_dispatch", "python")}


# Where a process has no graphs, whose kernels could be fused as well, and streams are those of one process.
PLAIN: dict[str, Kind] = {
    "kernels fused": Kind(
        lambda _: what.FuseKernels(Which(names=KERNELS[1:3])), lambda program, _: without.fused(program, KERNELS[1:3])
    ),
    "sync deferred": Kind(
        lambda _: what.RemoveSync(Which(names=("*StreamSynchronize",)), deferred=True),
        lambda program, _: without.deferred_syncs(program),
    ),
}


@pytest.fixture(scope="module")
def misses(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Miss]]:
    """How far predicted windows are off, by kind of change, over all devices of all programs."""
    path = tmp_path_factory.mktemp("predictions") / "trace.json"
    found: dict[str, list[Miss]] = collections.defaultdict(list)
    names = sorted(KINDS)
    for seed in range(PROGRAMS):
        chosen = [names[(seed * TOGETHER + place) % len(names)] for place in range(TOGETHER)]
        for kind, miss in of_program(seed, chosen, path):
            found[kind].append(miss)
    return found


def of_program(seed: int, kinds: list[str], path: Path) -> list[tuple[str, Miss]]:
    """Predict some changes of one program, and make them."""
    program = without.with_workers(simulator.random_program(seed), seed)
    simulator.write(simulator.record(program), path)
    examined = examine(perfkit.load(path))
    replay, found = simulation(examined), []
    for kind in kinds:
        change, made = (KINDS | PLAIN)[kind]
        again = simulator.record(made(program, seed))
        for line in examined.attribution.timelines:
            window = "steps" if line.window_kind == "steps" else "device-span"
            truth = {t.device: t.window_ns for t in simulator.timelines(again, window)}.get(line.device)
            predicted: Any = replay.predict(change(seed), timeline=line.id)
            if truth:
                held = predicted.low_ns - NOTHING_NS <= truth <= predicted.high_ns + NOTHING_NS
                found.append((kind, Miss(abs(predicted.predicted_ns / truth - 1), held)))
    return found


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_what_is_predicted_is_what_happens(misses: dict[str, list[Miss]], kind: str) -> None:
    mistakes = [miss.error for miss in misses[kind]]
    assert len(mistakes) > PROGRAMS / 4
    assert statistics.median(mistakes) < 0.005
    assert sum(mistake <= 0.05 for mistake in mistakes) >= 0.9 * len(mistakes)


def test_nearly_all_predictions_are_within_five_percent(misses: dict[str, list[Miss]]) -> None:
    found = [miss for some in misses.values() for miss in some]
    assert sum(miss.error <= 0.05 for miss in found) >= 0.96 * len(found)


def test_nearly_all_other_predictions_say_how_far_off_they_may_be(misses: dict[str, list[Miss]]) -> None:
    found = [miss for some in misses.values() for miss in some]
    assert sum(miss.error <= 0.05 or miss.held for miss in found) >= 0.975 * len(found)


def test_fused_kernels_and_deferred_waits(tmp_path: Path) -> None:
    programs = [seed for seed in range(100) if is_plain(simulator.random_program(seed))]
    assert len(programs) > 50
    found = [miss for seed in programs for _, miss in of_program(seed, sorted(PLAIN), tmp_path / "trace.json")]
    assert max(miss.error for miss in found) < 0.05


def is_plain(program: Workload) -> bool:
    """Whether a program is one process without graphs."""
    return len(program.processes) == 1 and "GraphLaunch" not in repr(program)
