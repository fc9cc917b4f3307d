"""A residual added, then root mean square normalisation: both the sum and its normalised form are wanted.

    s = x + residual,    y = s / sqrt(mean(s^2) + eps) * w

as every block of a Llama-like model computes it twice. The mathematics and the kernels are those of `rms_norm`; the sum
is rounded to its dtype before it is normalised, as in eager PyTorch. The gradient of s joins that of the norm.

Bytes moved: forward, x, residual, s and y once, and w; backward, dy, ds, s and the common gradient once, w and dw.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from perfkit_kernels import rms_norm as norm
from perfkit_kernels.operators import gradients, register, usable
from perfkit_kernels.spec import Spec, Traffic

if TYPE_CHECKING:
    from collections.abc import Iterator

    from perfkit_kernels.spec import Compilation, Maker

__all__ = ["SPEC", "add_rms_norm"]


def reference(
    x: torch.Tensor, residual: torch.Tensor, weight: torch.Tensor | None, eps: float = 1e-6, casting: str = "llama"
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the normalised sum, and the sum."""
    total = x + residual
    return norm.reference(total, weight, eps, casting), total


def _launch(
    x: torch.Tensor, residual: torch.Tensor, weight: torch.Tensor | None, eps: float, casting: str
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    y, total, r = _empty(x, residual, weight, eps, casting)
    norm.run_forward(x, weight, y, r, eps, casting, residual=residual, total=total)
    return y, total, r


def _plain(
    x: torch.Tensor, residual: torch.Tensor, weight: torch.Tensor | None, eps: float, casting: str
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    y, total = reference(x, residual, weight, eps, casting)
    r = torch.rsqrt(total.float().pow(2).mean(-1) + eps)
    return y.contiguous(), total.contiguous(), r.reshape(-1)


def _empty(
    x: torch.Tensor, _: torch.Tensor, weight: torch.Tensor | None, eps: float, casting: str
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    y, r = norm.empty_forward(x, weight, eps, casting)
    return y, torch.empty(x.shape, dtype=x.dtype, device=x.device), r


def _launch_backward(
    dy: torch.Tensor, ds: torch.Tensor, s: torch.Tensor, weight: torch.Tensor | None, r: torch.Tensor, casting: str
) -> tuple[torch.Tensor, torch.Tensor]:
    return norm.run_backward(dy, s, weight, r, casting, ds)


def _plain_backward(
    dy: torch.Tensor, ds: torch.Tensor, s: torch.Tensor, weight: torch.Tensor | None, r: torch.Tensor, casting: str
) -> tuple[torch.Tensor, torch.Tensor]:
    dx, dw = norm.plain_backward(dy, s, weight, r, casting)
    return dx + ds, dw


def _empty_backward(
    dy: torch.Tensor, _: torch.Tensor, s: torch.Tensor, weight: torch.Tensor | None, r: torch.Tensor, casting: str
) -> tuple[torch.Tensor, torch.Tensor]:
    return norm.empty_backward(dy, s, weight, r, casting)


_forward = register(
    "add_rms_norm(Tensor x, Tensor residual, Tensor? weight, float eps, str casting) -> (Tensor, Tensor, Tensor)",
    _launch, _plain, _empty,
)  # fmt: skip
_backward = register(
    "add_rms_norm_backward(Tensor dy, Tensor ds, Tensor s, Tensor? weight, Tensor r, str casting) -> (Tensor, Tensor)",
    _launch_backward, _plain_backward, _empty_backward,
)  # fmt: skip


class _AddRMSNorm(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x: torch.Tensor, residual: torch.Tensor, weight: torch.Tensor | None, eps: float, casting: str) -> Any:
        return _forward(x, residual, weight, eps, casting)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        _, _, weight, ctx.eps, ctx.casting = inputs
        ctx.mark_non_differentiable(output[2])
        ctx.save_for_backward(*inputs[:2], weight, output[1], output[2])

    @staticmethod
    def backward(ctx: Any, dy: torch.Tensor, ds: torch.Tensor, _: Any) -> Any:
        x, residual, weight, s, r = ctx.saved_tensors
        if torch.is_grad_enabled():
            return *gradients(reference, (x, residual, weight, ctx.eps, ctx.casting), (dy, ds)), None, None
        dx, dw = _backward(dy, ds, s, weight, r, ctx.casting)
        return dx, dx, None if weight is None else dw, None, None


def add_rms_norm(
    x: torch.Tensor, residual: torch.Tensor, weight: torch.Tensor | None, eps: float = 1e-6, casting: str = "llama"
) -> tuple[torch.Tensor, torch.Tensor]:
    """Add a residual, and normalise the sum.

    Args:
        x: ``[..., width]``, of any strides.
        residual: The same shape and dtype; others go the way of the reference.
        weight: ``[width]``, or None for no weight.
        eps: Added to the mean square.
        casting: ``llama``, ``gemma`` or ``torch``: where halves are rounded, see `rms_norm`.

    Returns:
        The normalised sum and the sum, ``[..., width]``, contiguous; differentiable, twice too.

    Raises:
        ValueError: There is no such casting.
    """
    if casting not in norm.CASTINGS:
        message = f"casting is {casting!r}, not one of {', '.join(norm.CASTINGS)}"
        raise ValueError(message)
    fits = (
        x.dim() > 0
        and x.shape[-1] > 0
        and x.shape == residual.shape
        and x.dtype == residual.dtype
        and (weight is None or weight.shape == x.shape[-1:])
    )
    if not fits or not usable(x, residual, weight):
        return reference(x, residual, weight, eps, casting)
    y, total, _ = _AddRMSNorm.apply(x, residual, None if weight is None else weight.contiguous(), eps, casting)
    return y, total


def _make(maker: Maker, shape: tuple[int, ...], casting: str = "llama", weight: bool = True) -> tuple[Any, ...]:
    w = maker.normal(shape[-1], scale=0.1) + (0.0 if casting == "gemma" else 1.0)
    return maker.normal(*shape), maker.normal(*shape), w if weight else None, 1e-6, casting


def _traffic(x: torch.Tensor, _: torch.Tensor, weight: torch.Tensor | None, *__: Any) -> Traffic:
    w = 0 if weight is None else weight.nbytes
    return Traffic(4 * x.nbytes + w, 4 * x.nbytes + 2 * w)


def _compilations(dtype: str) -> Iterator[Compilation]:
    return norm.compilations(dtype, add=True)


SPEC = Spec(
    name="add_rms_norm",
    title="residual add and root mean square normalisation",
    source="arXiv:1910.07467",
    function=add_rms_norm,
    reference=reference,
    make=_make,
    shapes=norm.SHAPES,
    variants=({"casting": "llama"}, {"casting": "gemma"}, {"weight": False}),
    grid=norm.GRID,
    traffic=_traffic,
    compilations=_compilations,
    operators=("perfkit::add_rms_norm", "perfkit::add_rms_norm_backward"),
)
