"""One run gives one attribution, whichever profiler's form it was written in."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import perfkit
from perfkit.attribute import attribute
from perfkit.ingest.formats import FORMATS
from tests import simulator
from tests.integration.forms import cuda_run, facts
from tests.integration.shared import WINDOWS, check_sums
from tests.simulator import nsight

if TYPE_CHECKING:
    from pathlib import Path

SEEDS = 60
reads_nsight = pytest.mark.skipif(
    all(known.name != "nsight-systems" for known in FORMATS), reason="this perfkit reads no Nsight Systems exports"
)


@pytest.mark.parametrize("style", [simulator.Style(layout="compact", absolute=False, shuffled=5)])
def test_layouts_of_kineto(style: simulator.Style, tmp_path: Path) -> None:
    for seed in range(SEEDS):
        machine, found = cuda_run(seed), []
        for written in (simulator.Style(), style):
            simulator.write(machine, tmp_path / "t.json", written)
            trace = perfkit.load(tmp_path / "t.json")
            found.append(facts(attribute(trace), trace.epoch_ns))
        assert found[0] == found[1], seed


@reads_nsight
@pytest.mark.parametrize("whole_graphs", [False, True])
@pytest.mark.parametrize("export", nsight.EXPORTS, ids=lambda export: ".".join(map(str, export.schema)))
def test_nsight_as_kineto(export: nsight.Export, whole_graphs: bool, tmp_path: Path) -> None:
    for seed in range(SEEDS):
        machine = nsight.with_whole_graphs(cuda_run(seed)) if whole_graphs else cuda_run(seed)
        simulator.write(machine, tmp_path / "t.json")
        nsight.write(machine, tmp_path / "t.sqlite", export)
        one, other = perfkit.load(tmp_path / "t.json"), perfkit.load(tmp_path / "t.sqlite")
        for window in WINDOWS:
            kineto, nsys = attribute(one, window=window), attribute(other, window=window)
            check_sums(nsys)
            assert facts(nsys, other.epoch_ns) == facts(kineto, one.epoch_ns), (seed, window)
