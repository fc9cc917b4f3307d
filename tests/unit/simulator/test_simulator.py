"""The simulator's own truth against the slow attribution of what it wrote: two accounts that share no code."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests import simulator, slow_attribution
from tests.simulator.endless import write_steps
from tests.simulator.kineto import EPOCH_NS

if TYPE_CHECKING:
    from pathlib import Path

    from tests.simulator import Machine, Style

WINDOWS = ("device-span", "steps")
STYLES = (
    simulator.Style(),
    simulator.Style(layout="compact", absolute=False, shuffled=5),
    simulator.Style(layout="pretty", numbers_as_text=True),
    simulator.Style(old_names=True, top_level_list=True, extras=False),
)


def known(machine: Machine, window: str, epoch_ns: int) -> list[tuple[object, ...]]:
    """The truth as comparable tuples."""
    return [
        (t.device, t.start_ns + epoch_ns, t.end_ns + epoch_ns, t.busy, t.idle, t.unlinked_activities)
        for t in simulator.timelines(machine, window)
    ]


def computed(trace: slow_attribution.Trace, window: str) -> list[tuple[object, ...]]:
    """The slow attribution as the same tuples."""
    found = [trace.attribute(key, window) for key in sorted(trace.activities, key=lambda key: int(key[1]))]
    return [
        (int(t.device), t.start, t.end, {k: ns for k, ns in t.busy.items() if ns}, t.idle, t.unlinked)
        for t in found
        if t is not None
    ]


def epoch_of(style: Style) -> int:
    return EPOCH_NS if style.absolute else 0


@pytest.mark.parametrize("seed", range(40))
def test_truth_equals_the_slow_attribution_of_the_written_file(seed: int, tmp_path: Path) -> None:
    machine = simulator.record(simulator.random_program(seed))
    style = STYLES[seed % len(STYLES)]
    path = tmp_path / ("trace.json.gz" if seed % 3 == 0 else "trace.json")
    simulator.write(machine, path, style)
    trace = slow_attribution.Trace(slow_attribution.read_rows(path))
    for window in WINDOWS:
        assert computed(trace, window) == known(machine, window, epoch_of(style))


def test_every_nanosecond_has_one_owner_and_every_cause_occurs() -> None:
    seen: set[str] = set()
    for seed in range(200):
        machine = simulator.record(simulator.random_program(seed))
        for timeline in (t for window in WINDOWS for t in simulator.timelines(machine, window)):
            assert sum(timeline.busy.values()) + sum(timeline.idle.values()) == timeline.window_ns
            seen |= timeline.idle.keys() | timeline.busy.keys()
    assert seen == {
        *("compute", "exposed_communication", "exposed_copy"),
        *("queued_same_stream", "queued_cross_stream", "queued_in_graph", "launch_latency"),
        *("data_loading", "synchronization", "allocation", "compilation", "initialization", "launch_overhead"),
        *("copy_submission", "operator_dispatch", "host_compute", "python", "profiler_overhead"),
        *("unattributed_host_silent", "unattributed_no_launch"),
    }


def test_the_same_seed_writes_the_same_bytes(tmp_path: Path) -> None:
    paths = [tmp_path / "one.json.gz", tmp_path / "two.json.gz", tmp_path / "other.json.gz"]
    for path, seed in zip(paths, (8, 8, 9), strict=True):
        simulator.write(simulator.record(simulator.random_program(seed)), path)
    assert paths[0].read_bytes() == paths[1].read_bytes() != paths[2].read_bytes()


@pytest.mark.parametrize("cause", simulator.PLANTED_CAUSES)
def test_a_planted_cause_costs_what_the_makespan_grows_by(cause: str) -> None:
    for seed in range(10):
        pair = simulator.planted(cause, seed)
        dear, free = (
            simulator.timelines(simulator.record(workload), "device-span")[0]
            for workload in (pair.with_cause, pair.without)
        )
        grown = dear.window_ns - free.window_ns
        assert cause not in free.idle
        assert grown > 12_000_000
        assert dear.idle[cause] == pytest.approx(grown, rel=0.02)


@pytest.mark.parametrize("layout", ["compact", "kineto", "pretty"])
def test_a_trace_of_any_size_has_the_truth_that_is_given_for_it(layout: str, tmp_path: Path) -> None:
    path = tmp_path / "steps.json"
    written = write_steps(path, 900_000, seed=3, style=simulator.Style(layout=layout), sections=2)
    assert path.stat().st_size == written.json_bytes >= 900_000
    assert len(json.loads(path.read_bytes())["traceEvents"]) == written.events
    trace = slow_attribution.Trace(slow_attribution.read_rows(path))
    for window, truth in (("device-span", written.device_span), ("steps", written.device_steps)):
        (found,) = computed(trace, window)
        idle = {cause: ns for cause, ns in truth.idle.items() if ns}
        assert found == (0, truth.start_ns + EPOCH_NS, truth.end_ns + EPOCH_NS, truth.busy, idle, 0)
        assert sum(truth.busy.values()) + sum(idle.values()) == truth.window_ns
    calls = [r.correlation for r in trace.rows if slow_attribution.is_call(r)]
    assert len(calls) == len(set(calls))
