"""What happens after a model was optimized: a canary, and calls that were not measured."""

from __future__ import annotations

import warnings
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

import perfkit  # noqa: E402
from tests.unit.fix import models  # noqa: E402
from tests.unit.fix.measures import faster  # noqa: E402


def optimized(monkeypatch: pytest.MonkeyPatch, length: int = models.LENGTH) -> tuple[Any, Any, list[float]]:
    monkeypatch.setattr("perfkit.fix.choose.LEAST_SHARE", 0.0)
    wrong = [0.0]
    native = torch.nn.functional.rms_norm

    def rms_norm(*given: Any) -> Any:
        return native(*given) * (1 + wrong[0])

    monkeypatch.setattr(torch.nn.functional, "rms_norm", rms_norm)
    x = torch.randn(2, length, models.WIDTH, generator=torch.Generator().manual_seed(0))
    outcome = perfkit.optimize(models.Norm(), x, mode="train", candidates=["native"], measure=faster)
    assert outcome.patch.sites[0].chosen == "native"
    return outcome, x, wrong


def test_a_canary_takes_out_what_drifts_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    outcome, x, wrong = optimized(monkeypatch)
    with outcome.reverted():
        right = outcome(x)
    outcome.watch(0.5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(4):
            torch.testing.assert_close(outcome(x), right)
        wrong[0] = 1e-3
        assert not torch.equal(outcome(x), right)  # the fifth is not compared
    with pytest.warns(RuntimeWarning, match="drifted in call 6"):
        seen = outcome(x)
    assert torch.equal(seen, right)
    assert torch.equal(outcome(x), right)
    assert seen.requires_grad
    (drift,) = outcome.drifts
    assert (drift.kind, drift.calls) == ("rms_norm", 6)
    assert outcome.patch.sites[0].chosen == ""
    assert "drifted in call 6" in " ".join(outcome.report().split())


def test_nothing_is_compared_unless_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    outcome, x, wrong = optimized(monkeypatch)
    wrong[0] = 1.0
    outcome(x)
    outcome.watch(1.0)
    outcome.watch(0)
    outcome(x)
    assert outcome.drifts == []
    with pytest.raises(ValueError, match="share of 2"):
        outcome.watch(2)


def test_other_shapes_run_as_before_until_they_are_tuned(monkeypatch: pytest.MonkeyPatch) -> None:
    outcome, x, wrong = optimized(monkeypatch)
    other = torch.randn(3, 5, models.WIDTH)
    (patched,) = outcome._patched
    with outcome.reverted():
        right = outcome(other)
    used = patched.used
    for _ in range(2):
        assert torch.equal(outcome(other), right)
    assert patched.used == used
    (unseen,) = outcome.unseen
    assert (unseen.shapes, unseen.calls) == ((f"float32[3, 5, {models.WIDTH}]",), 2)
    outcome.tune(other)
    assert outcome.applied
    assert [site.chosen for site in outcome.patch.sites] == ["native", "native"]
    (patched,) = outcome._patched
    torch.testing.assert_close(outcome(other), right)
    outcome(x)
    assert patched.used == 2
    assert outcome.unseen == ()
    outcome.revert()
    wrong[0] = 1.0
    assert torch.equal(outcome(other), right)
    assert "forward" not in vars(outcome.model)


def test_signatures_that_are_counted_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    outcome, _, _ = optimized(monkeypatch)
    for length in range(1, 50):
        outcome(torch.randn(1, length, models.WIDTH))
    assert len(outcome.unseen) == 32
