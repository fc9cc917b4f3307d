"""The replay of real traces: how well it reproduces them, and a prediction whose truth was recorded, too."""

from __future__ import annotations

import pytest

import perfkit
from perfkit.attribute import examine
from perfkit.model.prediction import (
    CaptureGraph,
    OverlapCopies,
    OverlapLoader,
    RemoveHostTime,
    RemoveSync,
    SpeedUp,
    Which,
)
from perfkit.pipeline.what_if import simulation
from tests.integration import shared

pytestmark = shared.needs_shared
RESNET = "kineto/resnet50_num_workers_0/worker0.1623143089861.pt.trace.json.gz"


def test_loading_in_workers_predicts_what_was_measured_with_workers() -> None:
    (prediction,) = perfkit.what_if(shared.load(RESNET), OverlapLoader()).predictions
    steps = len(prediction.measured_step_ns)
    assert 112e6 <= prediction.predicted_ns / steps <= 131e6
    assert prediction.low_ns / steps <= 126e6
    assert prediction.high_ns / steps >= 133e6
    assert prediction.high_ns - prediction.low_ns <= 0.25 * prediction.predicted_ns
    assert prediction.bottleneck == "compute"
    assert sum(prediction.buckets.values()) == pytest.approx(prediction.predicted_ns, rel=0.01)


@pytest.mark.parametrize("file", shared.kineto_files(malformed=True))
def test_every_trace_replays(file: str) -> None:
    if file in shared.NOTHING_TO_READ:
        pytest.skip("nothing to read")
    examined = examine(shared.load(file))
    replay = simulation(examined)
    changes = (OverlapLoader(2), RemoveSync(), OverlapCopies(), RemoveHostTime("python"), CaptureGraph())
    assert set(replay.timelines()) == {line.id for line in examined.attribution.timelines}
    for line in examined.attribution.timelines:
        same = replay.predict(timeline=line.id)
        assert same is not None
        # Without a change, a replay gives what was recorded.
        assert same.measured_ns == line.window_ns
        assert same.replayed_ns == pytest.approx(same.measured_ns, rel=1e-6)
        assert (same.low_ns, same.predicted_ns, same.high_ns) == (same.measured_ns,) * 3
        for change in (*changes, SpeedUp(Which(names=("*",)), 2)):
            found = replay.predict(change, timeline=line.id)
            assert found is not None
            assert 0 <= found.low_ns <= found.predicted_ns <= found.high_ns


def test_faithful_on_nearly_all_traces() -> None:
    files = [file for file in shared.kineto_files() if file not in shared.NOTHING_TO_READ]
    fidelity = []
    for file in files:
        replay = simulation(examine(shared.load(file)))
        found = [replay.predict(timeline=line) for line in replay.timelines()]
        fidelity += [prediction.fidelity for prediction in found if prediction is not None]
    assert sum(one >= 0.95 for one in fidelity) >= 0.9 * len(fidelity)
