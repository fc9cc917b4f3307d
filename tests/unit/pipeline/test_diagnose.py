from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Literal

import pytest

import perfkit
from perfkit.model.diagnosis import Diagnosis

TRACES = sorted((Path(__file__).parents[3] / "traces").glob("*.json.gz"))
TRACE = next(path for path in TRACES if path.name.startswith("loader_bound"))


@pytest.mark.parametrize("path", TRACES, ids=lambda path: path.name)
@pytest.mark.parametrize("window", ["steps", "device-span", None])
def test_every_sample_is_diagnosed_to_the_nanosecond(
    path: Path, window: Literal["steps", "device-span"] | None
) -> None:
    diagnosis = perfkit.diagnose(path, window=window)
    assert isinstance(diagnosis, Diagnosis)
    assert diagnosis.attribution.timelines
    for timeline in diagnosis.attribution.timelines:
        assert timeline.busy_ns + timeline.idle_ns == timeline.window_ns
        assert bool(timeline.steps) == (window != "device-span")


def test_a_trace_that_was_loaded_gives_the_same() -> None:
    assert perfkit.diagnose(perfkit.load(TRACE)) == perfkit.diagnose(TRACE)


def test_a_file_object_gives_the_same() -> None:
    with TRACE.open("rb") as file:
        assert perfkit.diagnose(file).attribution == perfkit.diagnose(TRACE).attribution


def test_the_summary_is_that_of_the_trace() -> None:
    trace = perfkit.load(TRACE)
    summary = perfkit.diagnose(trace).trace
    for name in summary._fields:
        if name not in {"hardware", "notes"}:
            assert getattr(summary, name) == getattr(trace, name)
    assert summary.hardware == trace.devices


def test_the_rank_of_a_loaded_trace_must_be_the_one_asked_for() -> None:
    trace = dataclasses.replace(perfkit.load(TRACE), rank=3)
    assert perfkit.diagnose(trace, rank=3).trace.rank == 3
    with pytest.raises(perfkit.UsageError, match="is of rank 3, not 4"):
        perfkit.diagnose(trace, rank=4)


def test_progress_is_told_of_a_large_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("perfkit.ingest.source._PROGRESS_S", 0)
    told: list[tuple[int, int | None]] = []
    perfkit.diagnose(TRACE, progress=lambda done, total: told.append((done, total)))
    assert told
    assert told[-1][1] == TRACE.stat().st_size
