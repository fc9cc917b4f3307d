"""The mask of a dropout: as many are dropped as should be, whoever makes it, and it is not the same twice."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from perfkit_kernels.dropout import kept
from perfkit_kernels.dropout_add_layer_norm import dropout_add_layer_norm

SEEDS = (0, 1, 1 << 40)


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_as_many_are_kept_as_should_be(p: float) -> None:
    shape = (128, 511)
    masks = [kept(torch.tensor([seed]), shape, p).double() for seed in SEEDS]
    spread = (p * (1 - p)) ** 0.5
    for mask in masks:
        assert abs(mask.mean() - (1 - p)) < 5 * spread / mask.numel() ** 0.5
        assert ((mask.mean(0) - (1 - p)).abs() < 6 * spread / shape[0] ** 0.5).all()
        assert ((mask.mean(1) - (1 - p)).abs() < 6 * spread / shape[1] ** 0.5).all()
        for step in (1, 2, 4):  # neighbours know nothing of each other
            mean = ((mask[:, step:] - (1 - p)) * (mask[:, :-step] - (1 - p))).mean()
            assert abs(mean) < 5 * spread**2 / mask.numel() ** 0.5
    together = ((masks[0] - (1 - p)) * (masks[1] - (1 - p))).mean()
    assert abs(together) < 5 * spread**2 / masks[0].numel() ** 0.5


def test_backward_drops_what_forward_dropped(device: Any) -> None:
    x = torch.ones(8, 64, device=device, requires_grad=True)
    torch.manual_seed(1)
    _, total = dropout_add_layer_norm(x, torch.zeros_like(x), p=0.25)
    (slope,) = torch.autograd.grad(total.sum(), x)
    assert torch.equal(slope, total)
    assert 0 < int((total == 0).sum()) < total.numel() // 2


def test_a_mask_is_drawn_as_pytorch_draws(device: Any) -> None:
    x = torch.ones(8, 64, device=device)
    drawn = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        drawn.append(dropout_add_layer_norm(x, torch.zeros_like(x), p=0.25)[1])
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


def test_nothing_is_dropped_in_evaluation(device: Any) -> None:
    x = torch.randn(8, 64, device=device)
    assert torch.equal(dropout_add_layer_norm(x, torch.zeros_like(x), p=0.0)[1], x)
