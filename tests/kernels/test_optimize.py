"""Kernels of ours as candidates of `perfkit.optimize`: found, right on the model's own tensors, and put in."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import perfkit
from perfkit.model.measurement import Measurement
from tests.unit.fix import models

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")  # the interpreter computes with numpy


EXPECTED = {
    "kernel": {"add_rms_norm": "kernel", "rms_norm": "kernel", "gated_activation": "kernel", "attention": ""},
    "generated": dict.fromkeys(("add_rms_norm", "rms_norm", "gated_activation"), "generated") | {"attention": ""},
}


def counted(answers: list[bool]) -> Any:
    """Return a method that asks whether arguments fit a kernel, and keeps the answer."""
    from perfkit_kernels.generate import Generated

    fits = Generated.fits

    def asked(self: Any, inputs: Any) -> bool:
        answers.append(fits(self, inputs))
        return answers[-1]

    return asked


@pytest.mark.parametrize("candidate", EXPECTED)
def test_kernels_are_put_in_where_they_are_right(candidate: str, device: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("perfkit.fix.choose.LEAST_SHARE", 0.0)
    torch.manual_seed(0)
    model = models.gemma().to(device, torch.bfloat16)
    x = torch.randn(2, models.LENGTH, models.WIDTH).to(device, torch.bfloat16)

    def faster(base: Any, candidate: Any, *, device: str) -> Measurement:
        base()
        candidate()
        return Measurement(2_000, 1_000, 2.0, 1.9, 2.1, 21 if device else 0)

    optimized = perfkit.optimize(model, x, mode="train", candidates=[candidate], measure=faster)
    inside = [site for site in optimized.patch.sites if site.reason == "is computed by what is put in around it"]
    assert [site.modules for site in inside] == [("norm2",)]
    chosen = {site.kind: site.chosen for site in optimized.patch.sites if site not in inside}
    assert chosen == EXPECTED[candidate]
    titles = {site.title for site in optimized.patch.sites}
    assert "RMSNorm, eps 1e-06, times 1 + weight" in titles
    answers: list[bool] = []
    monkeypatch.setattr("perfkit_kernels.generate.operator.Generated.fits", counted(answers))
    changed = model(x)
    assert all(answers)
    assert bool(answers) == (candidate == "generated")
    optimized.revert()
    torch.testing.assert_close(changed, model(x))
