"""Layer normalisation of the last dimension.

    y = (x - mean(x)) / sqrt(var(x) + eps) * w + b        over rows of ``width`` elements

Ba, Kiros and Hinton, Layer Normalization, 2016 (arXiv:1607.06450). With n = (x - mean) * r, r = 1 / sqrt(var + eps) and
m = dy * w the gradients are

    dx = r * (m - mean(m) - n * mean(m * n)),    dw = sum over rows of dy * n,    db = sum over rows of dy

Bytes moved: forward, x and y once, w and b; backward, dy, x and dx once, and the parameters with their gradients.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from perfkit_kernels import layer_norm_rows as kernels
from perfkit_kernels.operators import gradients, register, usable, widened
from perfkit_kernels.spec import Spec, Traffic

if TYPE_CHECKING:
    from collections.abc import Iterator

    from perfkit_kernels.spec import Compilation, Maker

__all__ = ["SPEC", "layer_norm"]


def reference(
    x: torch.Tensor, weight: torch.Tensor | None, bias: torch.Tensor | None, eps: float = 1e-5
) -> torch.Tensor:
    """Return what eager PyTorch makes of it."""
    return torch.nn.functional.layer_norm(x, x.shape[-1:], weight, bias, eps)


def _launch(
    x: torch.Tensor, weight: torch.Tensor | None, bias: torch.Tensor | None, eps: float, wide: bool
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    y, _, mean, r = kernels.run_forward(x, weight, bias, eps, wide=wide)
    return y, mean, r


def _plain(
    x: torch.Tensor, weight: torch.Tensor | None, bias: torch.Tensor | None, eps: float, wide: bool
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    return kernels.plain_forward(x, weight, bias, eps, wide=wide)


def _empty(
    x: torch.Tensor, _: torch.Tensor | None, __: torch.Tensor | None, ___: float, wide: bool
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    return kernels.empty_forward(x, wide=wide)


def _launch_backward(
    dy: torch.Tensor, x: torch.Tensor, weight: torch.Tensor | None, bias: torch.Tensor | None, mean: torch.Tensor,
    r: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:  # fmt: skip
    dx, _, dw, db = kernels.run_backward(dy, x, weight, bias, mean, r)
    return dx, dw, db


def _empty_backward(
    dy: torch.Tensor, x: torch.Tensor, weight: torch.Tensor | None, bias: torch.Tensor | None, *_: Any
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    return kernels.empty_backward(dy, x, weight, bias)


_forward = register(
    "layer_norm(Tensor x, Tensor? weight, Tensor? bias, float eps, bool wide) -> (Tensor, Tensor, Tensor)",
    _launch, _plain, _empty,
)  # fmt: skip
_backward = register(
    "layer_norm_backward(Tensor dy, Tensor x, Tensor? weight, Tensor? bias, Tensor mean, Tensor r)"
    " -> (Tensor, Tensor, Tensor)",
    _launch_backward, kernels.plain_backward, _empty_backward,
)  # fmt: skip


class _LayerNorm(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x: torch.Tensor, weight: torch.Tensor | None, bias: torch.Tensor | None, eps: float, wide: bool) -> Any:
        return _forward(x, weight, bias, eps, wide)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        x, weight, bias, ctx.eps, _ = inputs
        ctx.mark_non_differentiable(*output[1:])
        ctx.save_for_backward(x, weight, bias, *output[1:])

    @staticmethod
    def backward(ctx: Any, dy: torch.Tensor, *_: Any) -> Any:
        x, weight, bias, mean, r = ctx.saved_tensors
        if torch.is_grad_enabled():
            return *gradients(reference, (x, weight, bias, ctx.eps), (dy,)), None, None
        dx, dw, db = _backward(dy, x, weight, bias, mean, r)
        return dx, None if weight is None else dw, None if bias is None else db, None, None


def layer_norm(
    x: torch.Tensor, weight: torch.Tensor | None = None, bias: torch.Tensor | None = None, eps: float = 1e-5
) -> torch.Tensor:
    """Normalise the last dimension by its mean and variance.

    Args:
        x: ``[..., width]``, of any strides.
        weight: ``[width]``, of the dtype of x unless under autocast; or None.
        bias: Likewise.
        eps: Added to the variance.

    Returns:
        ``[..., width]``, contiguous; of float32 under autocast on a GPU, as in eager PyTorch; differentiable
        twice.
    """
    if not kernels.fitting(x, weight, bias) or not usable(x, weight, bias):
        return reference(x, weight, bias, eps)
    parameters = (None if given is None else given.contiguous() for given in (weight, bias))
    y: torch.Tensor = _LayerNorm.apply(x, *parameters, eps, widened(x))[0]
    return y


def _make(maker: Maker, shape: tuple[int, ...], weight: bool = True, bias: bool = True) -> tuple[Any, ...]:
    w, b = maker.normal(shape[-1], scale=0.1) + 1.0, maker.normal(shape[-1], scale=0.1)
    return maker.normal(*shape), w if weight else None, b if bias else None, 1e-5


def _traffic(x: torch.Tensor, *given: Any) -> Traffic:
    parameters = sum(tensor.nbytes for tensor in given if isinstance(tensor, torch.Tensor))
    return Traffic(2 * x.nbytes + parameters, 3 * x.nbytes + 2 * parameters)


def _compilations(dtype: str) -> Iterator[Compilation]:
    return kernels.compilations(dtype, add=False)


SPEC = Spec(
    name="layer_norm",
    title="layer normalisation",
    source="arXiv:1607.06450",
    function=layer_norm,
    reference=reference,
    make=_make,
    shapes=kernels.SHAPES,
    variants=({"weight": True}, {"bias": False}, {"weight": False, "bias": False}),
    grid=kernels.GRID,
    traffic=_traffic,
    compilations=_compilations,
    operators=("perfkit::layer_norm", "perfkit::layer_norm_backward"),
)
