"""Reasons against a candidate that take no clock; what a verdict is remembered by."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

import perfkit  # noqa: E402
from perfkit.fix import environment  # noqa: E402
from perfkit.fix.judge import compile_report  # noqa: E402
from perfkit_kernels import rms_norm  # noqa: E402
from perfkit_kernels.dialect import AVAILABLE, INTERPRETING  # noqa: E402
from tests.unit.fix import models  # noqa: E402
from tests.unit.fix.measures import faster  # noqa: E402

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(("bytes_per_s", "rejected"), [(1.0, True), (1e30, False)])
def test_what_runs_at_the_speed_of_a_copy_is_left(
    bytes_per_s: float, rejected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("perfkit.fix.choose.LEAST_SHARE", 0.0)
    monkeypatch.setattr("perfkit.fix.choose.bandwidth", lambda _: bytes_per_s)
    x = torch.randn(2, models.LENGTH, models.WIDTH)
    options: Any = {"mode": "infer", "candidates": ["native"], "measure": faster}
    assert perfkit.optimize(models.Norm(), x, **options).patch.sites[0].chosen == "native"  # small: caches hold it
    monkeypatch.setattr("perfkit.fix.judge.LEAST_BYTES_OF_HOST", 1)
    (site,) = perfkit.optimize(models.Norm(), x, **options).patch.sites
    assert ("as fast as a copy" in site.reason) == rejected
    assert site.chosen == ("" if rejected else "native")


@pytest.mark.skipif(not AVAILABLE or INTERPRETING, reason="needs Triton, and not its interpreter")
@pytest.mark.parametrize(("spills", "said"), [(0, []), (3, ["spills 3 registers of a thread"])])
def test_kernels_that_spill_are_found_where_they_are_launched(
    spills: int, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from triton.runtime.jit import JITFunction

    function = next(value for value in vars(rms_norm).values() if isinstance(value, JITFunction))

    def run(*_: Any, grid: Any, warmup: bool) -> Any:
        assert grid == (1,)
        assert not warmup
        return SimpleNamespace(n_spills=spills)

    monkeypatch.setattr(function, "run", run)
    gpu: Any = SimpleNamespace(device=torch.device("cuda"))
    with compile_report(gpu) as report:
        function[(1,)]()
    assert report == said
    assert vars(function)["run"] is run
    monkeypatch.undo()
    with compile_report(gpu) as report:
        pass
    assert report == []
    assert "run" not in vars(function)


@pytest.mark.parametrize(
    "line",
    [
        "NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.65.06  Sun Jul 27 07:26:52 UTC 2025",
        "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  Release Build  (root@x)",
    ],
)
def test_the_driver_is_part_of_what_a_verdict_is_remembered_by(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "version").write_text(f"{line}\nGCC version:  gcc version 12.3.0\n")
    monkeypatch.setattr(environment, "DRIVER", tmp_path / "version")
    assert environment.driver(torch.device("cuda")) == "580.65.06"
    assert environment.driver(torch.device("cpu")) != "580.65.06"


def test_kernels_that_were_changed_are_judged_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = environment.kernels.__wrapped__()
    assert environment.kernels.__wrapped__() == known
    (tmp_path / "one.py").write_text("x = 1")
    monkeypatch.setattr("perfkit_kernels.__path__", [str(tmp_path)])
    changed = environment.kernels.__wrapped__()
    (tmp_path / "one.py").write_text("x = 2")
    assert len({known, changed, environment.kernels.__wrapped__()}) == 3
