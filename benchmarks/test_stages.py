"""Each stage of a diagnosis alone, on a simulated trace of a million events: `pytest benchmarks`.

What is compared with peers is measured in turns instead (`benchmarks.rounds`): pytest-benchmark finishes one function
before it begins the next, so that a machine which slows down halfway flatters one of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pytest

import perfkit
from benchmarks.subjects import cache_folder, simulated
from perfkit.advise import advise
from perfkit.attribute import attribute
from perfkit.report import json, markdown

if TYPE_CHECKING:
    from pathlib import Path

    from perfkit.model.diagnosis import Diagnosis
    from perfkit.model.trace import Trace

EVENTS_JSON_BYTES: Final = 226_000_000
"""The JSON of a million events, of every phase, as the simulator writes them."""


@pytest.fixture(scope="module")
def path() -> Path:
    """Simulate the trace, once."""
    return simulated(EVENTS_JSON_BYTES, cache_folder()).json


@pytest.fixture(scope="module")
def trace(path: Path) -> Trace:
    """Read it."""
    return perfkit.load(path)


@pytest.fixture(scope="module")
def diagnosis(trace: Trace) -> Diagnosis:
    """Diagnose it."""
    return perfkit.diagnose(trace)


def test_load(benchmark: Any, path: Path) -> None:
    """From the file to columns."""
    trace = benchmark(perfkit.load, path)
    benchmark.extra_info["events"] = trace.events
    assert trace.events > 0.95e6


def test_attribute(benchmark: Any, trace: Trace) -> None:
    """From columns to times by cause."""
    attribution = benchmark(attribute, trace)
    benchmark.extra_info["events"] = trace.events
    line = attribution.timelines[0]
    assert sum(line.busy.values()) + sum(line.idle.values()) == line.end_ns - line.start_ns


def test_advise(benchmark: Any, diagnosis: Diagnosis) -> None:
    """From times to findings."""
    assert benchmark(advise, diagnosis.attribution) == diagnosis.advice


def test_draw_json(benchmark: Any, diagnosis: Diagnosis) -> None:
    """The report for programs."""
    assert '"timelines"' in benchmark(json.draw, diagnosis)


def test_draw_markdown(benchmark: Any, diagnosis: Diagnosis) -> None:
    """The report for people."""
    assert "### Next" in benchmark(markdown.draw, diagnosis)
