"""A planted cause costs what removing it saves, and the attribution says so."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import perfkit
from perfkit.attribute import attribute
from tests import simulator

if TYPE_CHECKING:
    from pathlib import Path

    from perfkit.model.attribution import Timeline


def timeline(workload: simulator.Workload, path: Path) -> Timeline:
    """Write what a workload records, and attribute it."""
    simulator.write(simulator.record(workload), path)
    (line,) = attribute(perfkit.load(path), window="device-span").timelines
    return line


@pytest.mark.parametrize("cause", simulator.PLANTED_CAUSES)
def test_time_lost_is_what_zeroing_the_cause_saves(cause: str, tmp_path: Path) -> None:
    for seed in range(30):
        pair = simulator.planted(cause, seed)
        faulty = timeline(pair.with_cause, tmp_path / "with.json")
        repaired = timeline(pair.without, tmp_path / "without.json")
        saved_ns = faulty.window_ns - repaired.window_ns
        lost_ns = faulty.idle[cause] - repaired.idle.get(cause, 0)
        assert abs(lost_ns - saved_ns) <= 0.02 * saved_ns
