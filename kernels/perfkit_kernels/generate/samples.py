"""Regions of the kinds that models hold, for tests and for `python -m perfkit_kernels`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812  as everybody does

from perfkit_kernels.generate import Generated, generate
from perfkit_kernels.spec import Maker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from perfkit_kernels.spec import Compilation

__all__ = ["SAMPLES", "Sample", "compilations"]

WIDTHS: Final = (64, 4_096, 32_768)
"""Of rows that share a program, that fill one, and that are walked along."""


class Sample(NamedTuple):
    """A region.

    Attributes:
        name: What it is.
        function: What computes it.
        make: Makes its inputs, of the shape of the first, as ``make(maker, shape)``.
    """

    name: str
    function: Callable[..., Any]
    make: Callable[[Maker, tuple[int, ...]], tuple[torch.Tensor, ...]]


def _silu_residual(x: torch.Tensor, bias: torch.Tensor, residual: torch.Tensor) -> torch.Tensor:
    return F.silu(x + bias) * 0.5 + residual


def _gated(a: torch.Tensor, b: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    return torch.sigmoid(a) * b.clamp(-2.0, 2.0) * scale


def _rms_norm(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    wide = x.float()
    return (1 + weight) * (wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + 1e-6)).to(x.dtype)


def _two_outputs(x: torch.Tensor, residual: torch.Tensor, row: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    total = x + residual
    return total, torch.tanh(total) * row


def _masked_softmax(x: torch.Tensor, mask: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    return torch.softmax((x * scale).masked_fill(mask, float("-inf")), -1)


def _layer_norm(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    centred = x - x.mean(-1, keepdim=True)
    return centred / torch.sqrt(x.var(-1, keepdim=True, unbiased=False) + 1e-5) * weight + bias


def _log_sum_exp(x: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    return torch.logsumexp(x + bias, -1) ** 2


SAMPLES: Final = (
    Sample("gated", _gated, lambda m, shape: (m.normal(*shape), m.normal(*shape), m.normal(1))),
    Sample("silu_residual", _silu_residual, lambda m, shape: (m.normal(*shape), m.normal(shape[-1]), m.normal(*shape))),
    Sample("layer_norm", _layer_norm, lambda m, shape: (m.normal(*shape), m.normal(shape[-1]), m.normal(shape[-1]))),
    Sample("log_sum_exp", _log_sum_exp, lambda m, shape: (m.normal(*shape), m.normal(shape[-1]))),
    Sample(
        "masked_softmax",
        _masked_softmax,
        lambda m, shape: (m.normal(*shape), m.integers(4, *shape[-2:]) == 0, m.normal(*shape[:-1], 1)),
    ),
    Sample("rms_norm", _rms_norm, lambda m, shape: (m.normal(*shape), m.normal(shape[-1], scale=0.1))),
    Sample(
        "two_outputs", _two_outputs, lambda m, shape: (m.normal(*shape), m.normal(*shape), m.normal(*shape[:-1], 1))
    ),
)


def compilations(dtype: str) -> Iterator[Compilation]:
    """Yield what to compile ahead of time of the kernels that are generated for the samples."""
    for sample in SAMPLES:
        for width in WIDTHS:
            made = sample.make(Maker(getattr(torch, dtype)), (64, width))
            module = generate(sample.function, [value.requires_grad_(value.is_floating_point()) for value in made])
            assert isinstance(module, Generated), module
            for compilation in module.compilations():
                yield compilation._replace(label=f"{sample.name} {compilation.label} {width}")
