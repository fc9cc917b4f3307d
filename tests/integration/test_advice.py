"""What is advised on programs of which it is known what is wrong, or that nothing is."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

import perfkit
from perfkit.advise.loss import LEAST_SHARE
from perfkit.model.prediction import OverlapCopies, Which
from perfkit.pipeline.fleet import Means
from tests import simulator
from tests.integration.shared import TRACES, needs_shared
from tests.simulator import actions as do
from tests.simulator import ranks

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from perfkit.model.diagnosis import Diagnosis

US, MS = 1_000, 1_000_000
STEPS = 6


def diagnosed(steps: Sequence[Sequence[do.Action]], path: Path) -> Diagnosis:
    """Record a program in the simulator, and diagnose it."""
    simulator.write(simulator.record(simulator.Workload([do.Process(4100, steps)], stacks=True)), path / "trace.json")
    return perfkit.diagnose(path / "trace.json")


def layers(number: int, kernel_ns: int) -> list[do.Action]:
    """Operators that launch a kernel each, on a stream that the host fills faster than the device empties it."""
    return [
        do.Operator("aten::linear", [do.Work(4 * US), do.Launch("ampere_bf16_s16816gemm_128x64", kernel_ns)])
        for _ in range(number)
    ]


def any_healthy(rng: random.Random) -> list[list[do.Action]]:
    """Steps of a program that feeds its device faster than that works, no two of them of the same lengths."""
    products = ("aten::linear", "aten::conv2d", "aten::_flash_attention_forward")
    between = ("aten::linear", "aten::layer_norm", "aten::relu")
    layers = [
        (rng.choice(products if at % 2 else between), rng.uniform(25, 800) * US, rng.uniform(2, 12) * US)
        for at in range(rng.randint(15, 80))
    ]
    return [
        [
            do.Operator(
                name,
                [do.Work(round(host * rng.uniform(0.8, 1.4))), do.Launch("gemm", round(ns * rng.uniform(0.97, 1.05)))],
            )
            for name, ns, host in layers
        ]
        for _ in range(rng.randint(4, 10))
    ]


@pytest.mark.parametrize("seed", range(12))
def test_nothing_is_advised_where_nothing_is_wrong(seed: int, tmp_path: Path) -> None:
    found = diagnosed(any_healthy(random.Random(seed)), tmp_path)
    assert not found.advice.findings
    assert "nothing that holds it up is worth your time" in found.advice.verdict


@pytest.mark.parametrize("seed", range(12))
def test_a_kernel_that_is_loaded_once_is_answered_with_initialization_and_not_with_graphs(
    seed: int, tmp_path: Path
) -> None:
    rng = random.Random(seed)
    steps = any_healthy(rng)
    at, load_ns = rng.randrange(1, len(steps)), rng.choice((100, 400, 900)) * MS
    # The device has run dry by then, and waits for the driver to load the kernel's code.
    slow = do.Operator("aten::topk", [do.Launch("rarely_used_kernel", 90 * US, call_ns=load_ns)])
    steps[at] = [*steps[at][: rng.randrange(len(steps[at]))], do.Synchronize("stream"), slow, *steps[at]]
    found = diagnosed(steps, tmp_path).advice.findings
    assert found[0].rule == "PK303"
    assert found[0].saving_ns == pytest.approx(load_ns, rel=0.02)
    assert not [finding for finding in found if "raph" in finding.fix]


def test_from_one_rank_it_is_told_that_collectives_wait_and_from_all_for_whom(tmp_path: Path) -> None:
    """Now and then a rank is late: each another one, so that nobody is to blame."""
    late = tuple(ranks.Slow(rank, "compute", 3 * MS, step=2 + rank) for rank in range(4))
    ranks.run(ranks.Job(ranks=4, steps=7, slow=late)).write(tmp_path)
    alone = {finding.rule: finding for finding in perfkit.diagnose(tmp_path / "rank0000.json").advice.findings}
    assert 2.5 * 3 * MS < alone["PK603"].saving_ns < 3.5 * 3 * MS
    together = perfkit.diagnose(tmp_path, means=Means(cache=False))
    assert together.fleet is not None
    assert together.fleet.straggler is None
    (finding,) = [finding for finding in together.advice.findings if finding.rule == "PK603"]
    assert sum("most of it compute" in sentence for sentence in finding.evidence) == 3


def test_ranks_that_come_together_wait_for_nobody(tmp_path: Path) -> None:
    ranks.run(ranks.Job(ranks=4, steps=7, jitter_ns=20 * US)).write(tmp_path)
    assert "PK603" not in {finding.rule for finding in perfkit.diagnose(tmp_path / "rank0000.json").advice.findings}


def test_waits_in_a_step_are_told_by_line_and_cost_what_the_device_lost(tmp_path: Path) -> None:
    read = do.Copy("DtoH", 4, 900, blocking=True)
    item = do.Operator("aten::item", [do.Operator("aten::_local_scalar_dense", [read, do.Synchronize("stream")])])
    line = do.Frame("train.py(31): log_loss", [item, do.Work(300 * US)])
    diagnosis = diagnosed([[*layers(20, 100 * US), line] for _ in range(STEPS)], tmp_path)
    (finding,) = [finding for finding in diagnosis.advice.findings if finding.rule == "PK201"]
    assert finding.where == "train.py(31): log_loss"
    assert ".item()" in finding.fix
    blocked = next(row for row in diagnosis.attribution.blocked if row.cause == "synchronization")
    assert finding.saving_ns < blocked.ns / 2


@needs_shared
def test_owlv2_is_advised_on_loading_then_on_attention_and_its_waits_have_their_source() -> None:
    path = TRACES / "tracelens" / "traces" / "h100" / "google_owlv2-large-patch14-ensemble__1016001.json.gz"
    diagnosis = perfkit.diagnose(path)
    findings = diagnosis.advice.findings
    assert [finding.rule for finding in findings[:2]] == ["PK103", "PK309"]
    assert "modeling_owlv2.py" in findings[1].where
    assert not [finding for finding in findings if finding.rule.startswith("PK2")]
    # Copies to the device are pageable, and pinning them would save half a percent: nobody's time is worth that.
    pinned = perfkit.what_if(path, OverlapCopies(Which(names=("*HtoD*",)))).predictions[0]
    assert 0 < pinned.saving_ns < LEAST_SHARE * pinned.measured_ns
    assert "PK106" not in {finding.rule for finding in findings}
    (longest, *_) = diagnosis.attribution.signs.waits
    assert (longest.operator, longest.kind) == ("aten::to", "copy_to_device")
    assert longest.where.endswith("modeling_owlv2.py(1421): box_predictor")
    assert longest.blocked_ns > 300 * MS


@needs_shared
def test_resnet50_sets_its_gradients_to_zero_one_by_one() -> None:
    """As PyTorch did until its second version: eight hundred fills in five steps, and the device waits for them."""
    (path,) = (TRACES / "kineto" / "resnet50_num_workers_4").glob("*.gz")
    found = {finding.rule: finding for finding in perfkit.diagnose(path).advice.findings}
    assert 0.02 < found["PK312"].share < 0.06
    assert "PK103" not in found
