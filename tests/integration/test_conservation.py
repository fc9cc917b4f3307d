"""Every nanosecond has one owner: in public traces, malformed ones, merged ones, and a thousand simulated ones."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

import perfkit
from perfkit.attribute import attribute
from perfkit.errors import UnknownFormatError, UnreadableTraceError
from tests import simulator
from tests.integration.shared import (
    NOTHING_IN_IT,
    NOTHING_TO_READ,
    TRACES,
    WINDOWS,
    Window,
    attribution,
    check_sums,
    kineto_files,
    needs_shared,
)

if TYPE_CHECKING:
    from pathlib import Path

    from perfkit.model.attribution import Timeline
    from perfkit.model.trace import Trace

Events = list[dict[str, Any]]

SIMULATED, BATCHES = 1_000, 20
ON_DEVICE = ("kernel", "gpu_memcpy", "gpu_memset", "gpu_user_annotation")
STYLES = (
    simulator.Style(),
    simulator.Style(layout="compact", absolute=False, shuffled=5),
    simulator.Style(layout="pretty", numbers_as_text=True),
    simulator.Style(old_names=True, top_level_list=True, extras=False),
    simulator.Style(layout="compact", flows=False, numbers_as_text=True, absolute=False),
)


@needs_shared
@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("file", sorted({*kineto_files(malformed=True)} - {*NOTHING_TO_READ}))
def test_public_traces(file: str, window: Window) -> None:
    found = attribution(file, window)
    check_sums(found)
    assert bool(found.timelines) == (file not in NOTHING_IN_IT)


@needs_shared
@pytest.mark.parametrize("file", NOTHING_TO_READ)
def test_what_is_no_trace_is_refused_in_one_line(file: str) -> None:
    with pytest.raises((UnreadableTraceError, UnknownFormatError), match=r"^[^\n]+$"):
        perfkit.load(TRACES / file)


def rank(number: int) -> Events:
    """The events of one rank of the DLRM job, of one step on one device each."""
    (path,) = (TRACES / "param" / "dlrm").glob(f"worker{number}_*")
    events: Events = json.loads(path.read_bytes())["traceEvents"]
    return events


def on_device(events: Events, device: int) -> Events:
    """The same on another device."""
    return [
        {**e, "pid": device, "args": {**e["args"], "device": device}} if e.get("cat") in ON_DEVICE else e
        for e in events
    ]


def of_process(events: Events, old: int, new: int) -> Events:
    """The same of another process."""
    return [{**e, "pid": new} if e.get("pid") == old else e for e in events]


def merged(tmp_path: Path, *ranks: Events) -> Trace:
    path = tmp_path / "merged.json"
    path.write_text(json.dumps({"traceEvents": [event for events in ranks for event in events]}), "utf-8")
    return perfkit.load(path)


def facts(timeline: Timeline, epoch_ns: int) -> tuple[object, ...]:
    """What a timeline says, but for where its device is said to be."""
    start_ns, end_ns = timeline.start_ns + epoch_ns, timeline.end_ns + epoch_ns
    steps = [(step.name, step.start_ns + epoch_ns, dict(step.busy), dict(step.idle)) for step in timeline.steps]
    counts = (timeline.activities, timeline.unlinked_activities, timeline.kernel_sum_ns)
    return timeline.process, start_ns, end_ns, dict(timeline.busy), dict(timeline.idle), steps, counts


@needs_shared
@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("same_device", [False, True])
def test_a_merged_file_says_of_each_rank_what_its_own_file_says(
    same_device: bool, turned: bool, window: Window, tmp_path: Path
) -> None:
    """Correlations of the ranks collide; on a device with the same number their activities do, too."""
    ranks = [rank(0), rank(1)]
    if same_device:
        ranks = [on_device(events, 0) for events in ranks]
    alone = [merged(tmp_path, events) for events in ranks]
    expected = [facts(line, one.epoch_ns) for one in alone for line in attribute(one, window=window).timelines]
    both = merged(tmp_path, *(ranks[::-1] if turned else ranks))
    found = attribute(both, window=window)
    check_sums(found)
    assert sorted(map(str, (facts(line, both.epoch_ns) for line in found.timelines))) == sorted(map(str, expected))


@needs_shared
@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("same_device", [False, True])
def test_ranks_with_one_process_id_are_one_process(same_device: bool, window: Window, tmp_path: Path) -> None:
    """Nothing tells them apart, as where each ran in a container of its own; device time is right all the same."""
    one, other = rank(0), of_process(rank(1), 59812, 59811)
    if same_device:
        one, other = on_device(one, 0), on_device(other, 0)
    found = attribute(merged(tmp_path, one, other), window=window)
    check_sums(found)
    assert {line.process for line in found.timelines} == {"59811"}
    assert {line.confidence for line in found.timelines} == {"low"}
    assert [defect.count for defect in found.defects if defect.kind == "shared_process_id"] == [1]
    if same_device:
        assert [line.device for line in found.timelines] == [0]
    elif window == "device-span":
        alone = [attribute(merged(tmp_path, events), window=window).timelines[0] for events in (one, other)]
        assert [line.busy for line in found.timelines] == [line.busy for line in alone]


def truth_of(machine: simulator.Machine, window: str) -> dict[int, tuple[object, ...]]:
    """What is true of each device; nothing of those whose only step with work is the first, which is kept then."""
    return {
        line.device: (line.window_ns, line.busy, line.idle, line.unlinked_activities)
        for line in simulator.timelines(machine, window)
        if line.window_ns or window == "device-span"
    }


@pytest.mark.parametrize("batch", range(BATCHES))
def test_simulated_traces(batch: int, tmp_path: Path) -> None:
    """The sums are exact, and of a machine that knows what it did they are the truth."""
    path = tmp_path / "trace.json"
    for seed in range(batch, SIMULATED, BATCHES):
        machine = simulator.record(simulator.random_program(seed))
        simulator.write(machine, path, STYLES[seed % len(STYLES)])
        trace = perfkit.load(path)
        for window in WINDOWS:
            found = attribute(trace, window=window)
            check_sums(found)
            known = truth_of(machine, window)
            for line in found.timelines:
                busy = {name: ns for name, ns in line.busy.items() if ns}
                said = line.window_ns, busy, dict(line.idle), line.unlinked_activities
                assert said == known.get(line.device, said), (seed, window, line.id)
