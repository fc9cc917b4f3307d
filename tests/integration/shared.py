"""Public traces and independent answers for them, where they lie beside the repository; read once for all tests."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import pytest

import perfkit
from perfkit.attribute import attribute

if TYPE_CHECKING:
    from perfkit.model.attribution import Attribution, Timeline
    from perfkit.model.trace import Trace

Window = Literal["steps", "device-span"]

SHARED: Final = Path(__file__).parents[3] / "shared"
TRACES: Final = SHARED / "traces"
WINDOWS: Final[tuple[Window, ...]] = ("steps", "device-span")

NOTHING_TO_READ: Final = ("malformed/git_lfs_pointer.json.gz", "malformed/zero_bytes.json")
NOTHING_IN_IT: Final = ("malformed/empty_events.json",)

needs_shared = pytest.mark.skipif(not TRACES.is_dir(), reason="the shared traces are not beside this checkout")


def kineto_files(*, malformed: bool = False) -> list[str]:
    """Return the PyTorch Profiler traces, relative to TRACES."""
    folders = ["hta", "kineto", "param", "tracelens", *(["malformed"] if malformed else [])]
    found = [path for folder in folders for path in (TRACES / folder).rglob("*.json*")]
    return sorted(path.relative_to(TRACES).as_posix() for path in found)


def exact_unions() -> dict[str, dict[str, Any]]:
    """Return the oracle's answers by file."""
    lines = SHARED / "oracles" / "exact_union_ns.jsonl"
    answers = map(json.loads, lines.read_text("utf-8").splitlines()) if lines.exists() else ()
    return {answer["file"]: answer for answer in answers}


@functools.cache
def load(file: str) -> Trace:
    """Read a trace."""
    return perfkit.load(TRACES / file)


@functools.cache
def attribution(file: str, window: Window) -> Attribution:
    """Attribute a trace."""
    return attribute(load(file), window=window)


def only_timeline(file: str, window: Window) -> Timeline:
    """Return the timeline of a trace that has one."""
    (timeline,) = attribution(file, window).timelines
    return timeline


def defect_counts(file: str, window: Window) -> dict[str, int]:
    """Return the defects of the file and of its attribution, by kind."""
    return {defect.kind: defect.count for defect in (*load(file).defects, *attribution(file, window).defects)}


def check_sums(found: Attribution) -> None:
    """Every ns of every timeline and step has one owner, and the steps make up the timeline."""
    for line in found.timelines:
        assert sum(line.busy.values()) + sum(line.idle.values()) == line.end_ns - line.start_ns
        assert min([*line.busy.values(), *line.idle.values()]) >= 0
        for step in line.steps:
            assert sum(step.busy.values()) + sum(step.idle.values()) == step.end_ns - step.start_ns
        if line.steps:
            assert (line.steps[0].start_ns, line.steps[-1].end_ns) == (line.start_ns, line.end_ns)
            assert all(one.end_ns == after.start_ns for one, after in zip(line.steps, line.steps[1:], strict=False))
            for cause in line.idle:
                assert sum(step.idle.get(cause, 0) for step in line.steps) == line.idle[cause]
