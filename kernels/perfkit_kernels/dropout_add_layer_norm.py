"""Dropout, a residual added, and layer normalisation: how a block of a BERT-like model ends.

    s = dropout(x) + residual,    y = layer_norm(s)

see `dropout` and `layer_norm`. As in eager PyTorch what is left of x and the sum are rounded to their dtype. The
gradient of s joins that of the norm; it is the residual's, and where x was kept and scaled that of x.

Bytes moved: forward, x, residual, s and y once; backward, dy, s and the residual's gradient once, ds where the sum is
used, and the gradient of x where something was dropped. The mask is made again and not stored.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from perfkit_kernels import layer_norm_rows as kernels
from perfkit_kernels.dropout import draw, dropped, kept
from perfkit_kernels.operators import gradients, register, usable, widened
from perfkit_kernels.spec import Spec, Traffic

if TYPE_CHECKING:
    from collections.abc import Iterator

    from perfkit_kernels.spec import Compilation, Maker

__all__ = ["SPEC", "dropout_add_layer_norm"]


def reference(
    x: torch.Tensor, residual: torch.Tensor, weight: torch.Tensor | None, bias: torch.Tensor | None,
    seed: torch.Tensor | None = None, p: float = 0.0, eps: float = 1e-5,
) -> tuple[torch.Tensor, torch.Tensor]:  # fmt: skip
    """Return the normalised sum, and the sum."""
    total = dropped(x, seed, p) + residual
    return torch.nn.functional.layer_norm(total, total.shape[-1:], weight, bias, eps), total


def _launch(
    x: torch.Tensor, residual: torch.Tensor, weight: torch.Tensor | None, bias: torch.Tensor | None,
    seed: torch.Tensor | None, p: float, eps: float, wide: bool,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:  # fmt: skip
    return kernels.run_forward(x, weight, bias, eps, wide=wide, residual=residual, seed=seed, p=p)


def _plain(
    x: torch.Tensor, residual: torch.Tensor, weight: torch.Tensor | None, bias: torch.Tensor | None,
    seed: torch.Tensor | None, p: float, eps: float, wide: bool,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:  # fmt: skip
    total = (dropped(x, seed, p) + residual).contiguous()
    y, mean, r = kernels.plain_forward(total, weight, bias, eps, wide=wide)
    return y, total, mean, r


def _empty(
    x: torch.Tensor, _: torch.Tensor, __: Any, ___: Any, ____: Any, _____: float, ______: float, wide: bool
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    y, mean, r = kernels.empty_forward(x, wide=wide)
    return y, torch.empty(x.shape, dtype=x.dtype, device=x.device), mean, r


def _launch_backward(
    dy: torch.Tensor, ds: torch.Tensor | None, s: torch.Tensor, weight: torch.Tensor | None,
    bias: torch.Tensor | None, mean: torch.Tensor, r: torch.Tensor, seed: torch.Tensor | None, p: float,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:  # fmt: skip
    dx, db, dw, dbias = kernels.run_backward(dy, s, weight, bias, mean, r, ds=ds, seed=seed, p=p)
    return dx if p > 0 else dx.new_empty(0), db, dw, dbias


def _plain_backward(
    dy: torch.Tensor, ds: torch.Tensor | None, s: torch.Tensor, weight: torch.Tensor | None,
    bias: torch.Tensor | None, mean: torch.Tensor, r: torch.Tensor, seed: torch.Tensor | None, p: float,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:  # fmt: skip
    db, dw, dbias = kernels.plain_backward(dy, s, weight, bias, mean, r)
    if ds is not None:
        db = db + ds
    dx = db.new_empty(0) if seed is None or p == 0 else db * kept(seed, s.shape, p) * (1.0 / (1.0 - p))
    return dx, db, dw, dbias


def _empty_backward(
    dy: torch.Tensor, _: torch.Tensor | None, s: torch.Tensor, weight: torch.Tensor | None,
    bias: torch.Tensor | None, __: torch.Tensor, ___: torch.Tensor, ____: torch.Tensor | None, p: float,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:  # fmt: skip
    db, dw, dbias = kernels.empty_backward(dy, s, weight, bias)
    return torch.empty_like(db) if p > 0 else db.new_empty(0), db, dw, dbias


_forward = register(
    "dropout_add_layer_norm(Tensor x, Tensor residual, Tensor? weight, Tensor? bias, Tensor? seed, float p, float eps,"
    " bool wide) -> (Tensor, Tensor, Tensor, Tensor)",
    _launch, _plain, _empty,
)  # fmt: skip
_backward = register(
    "dropout_add_layer_norm_backward(Tensor dy, Tensor? ds, Tensor s, Tensor? weight, Tensor? bias, Tensor mean,"
    " Tensor r, Tensor? seed, float p) -> (Tensor, Tensor, Tensor, Tensor)",
    _launch_backward, _plain_backward, _empty_backward,
)  # fmt: skip


class _DropoutAddLayerNorm(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(*given: Any) -> Any:
        return _forward(*given)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        x, residual, weight, bias, seed, ctx.p, ctx.eps, _ = inputs
        ctx.set_materialize_grads(False)  # a sum that nothing uses has no gradient to read
        ctx.mark_non_differentiable(*output[2:])
        ctx.save_for_backward(x, residual, weight, bias, seed, *output[1:])

    @staticmethod
    def backward(ctx: Any, dy: torch.Tensor | None, ds: torch.Tensor | None, *_: Any) -> Any:
        x, residual, weight, bias, seed, s, mean, r = ctx.saved_tensors
        dy = torch.zeros_like(s) if dy is None else dy
        if torch.is_grad_enabled():
            slopes = dy, torch.zeros_like(s) if ds is None else ds
            found = gradients(reference, (x, residual, weight, bias, seed, ctx.p, ctx.eps), slopes)
            return *found, None, None, None
        dx, db, dw, dbias = _backward(dy, ds, s, weight, bias, mean, r, seed, ctx.p)
        parameters = None if weight is None else dw, None if bias is None else dbias
        return dx if ctx.p > 0 else db, db, *parameters, None, None, None, None


def dropout_add_layer_norm(
    x: torch.Tensor, residual: torch.Tensor, weight: torch.Tensor | None = None, bias: torch.Tensor | None = None,
    seed: torch.Tensor | None = None, p: float = 0.0, eps: float = 1e-5,
) -> tuple[torch.Tensor, torch.Tensor]:  # fmt: skip
    """Drop elements, add a residual, and normalise the sum.

    Args:
        x: ``[..., width]``, of any strides.
        residual: The same shape and dtype; others go the way of the reference.
        weight: ``[width]``, of the dtype of x unless under autocast; or None.
        bias: Likewise.
        seed: ``[1]`` of int64, the seed of the mask; None draws one from PyTorch's generator of the device.
        p: Probability to drop an element; 0, which is exact, in evaluation.
        eps: Added to the variance.

    Returns:
        The normalised sum and the sum, ``[..., width]``, contiguous; the first of float32 under autocast on a GPU, as
        in eager PyTorch. Differentiable, twice too.

    Raises:
        ValueError: The probability is not one.
    """
    if not 0.0 <= p <= 1.0:
        message = f"p is {p}, not a probability"
        raise ValueError(message)
    fits = kernels.fitting(x, weight, bias) and x.shape == residual.shape and x.dtype == residual.dtype
    if not fits or p == 1.0 or not usable(x, residual, weight, bias):
        return reference(x, residual, weight, bias, seed if p < 1.0 else None, p, eps)
    parameters = (None if given is None else given.contiguous() for given in (weight, bias))
    seed = None if p == 0.0 else draw(x.device) if seed is None else seed
    y, total, *_ = _DropoutAddLayerNorm.apply(x, residual, *parameters, seed, p, eps, widened(x))
    return y, total


def _make(maker: Maker, shape: tuple[int, ...], p: float = 0.1, weight: bool = True) -> tuple[Any, ...]:
    w, b = maker.normal(shape[-1], scale=0.1) + 1.0, maker.normal(shape[-1], scale=0.1)
    parameters = (w, b) if weight else (None, None)
    return maker.normal(*shape), maker.normal(*shape), *parameters, maker.integers(1 << 40, 1), p, 1e-5


def _traffic(x: torch.Tensor, *given: Any) -> Traffic:
    return Traffic(4 * x.nbytes, (5 if given[-2] else 4) * x.nbytes)


def _compilations(dtype: str) -> Iterator[Compilation]:
    return kernels.compilations(dtype, add=True)


SPEC = Spec(
    name="dropout_add_layer_norm",
    title="dropout, residual add and layer normalisation",
    source="arXiv:1607.06450",
    function=dropout_add_layer_norm,
    reference=reference,
    make=_make,
    shapes=kernels.SHAPES,
    variants=({"p": 0.1}, {"p": 0.0}, {"p": 0.5, "weight": False}),
    grid=kernels.GRID,
    traffic=_traffic,
    compilations=_compilations,
    operators=("perfkit::dropout_add_layer_norm", "perfkit::dropout_add_layer_norm_backward"),
)
