"""Gated linear units: an activation of one half times the other, in one pass.

    y = act(a) * b,    da = dy * b * act'(a),    db = dy * act(a)

with silu (SwiGLU) or gelu (GeGLU), see `activations`. Shazeer, GLU Variants Improve Transformer, 2020
(arXiv:2002.05202). As in eager PyTorch the activation is rounded to its dtype before it is multiplied.

Bytes moved: forward, a, b and y once; backward, dy, a, b, da and db once.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch

from perfkit_kernels.activations import ACTIVATIONS, activate, activated, derivative, slope
from perfkit_kernels.dialect import cdiv, jit, tl
from perfkit_kernels.operators import gradients, register, usable
from perfkit_kernels.rows import POINTS, WARPS_OF_POINTS, as_points
from perfkit_kernels.spec import Compilation, Spec, Traffic, pointer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from perfkit_kernels.spec import Maker

__all__ = ["SPEC", "gated_activation"]


def reference(a: torch.Tensor, b: torch.Tensor, activation: str = "silu") -> torch.Tensor:
    """Return what eager PyTorch makes of it."""
    return activated(a, activation) * b


@jit
def _forward(
    a_ptr, b_ptr, y_ptr, a_stride, b_stride, width, blocks,
    ACTIVATION: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    program = tl.program_id(0).to(tl.int64)
    row, column = program // blocks, (program % blocks) * BLOCK + tl.arange(0, BLOCK)
    inside = column < width
    a = tl.load(a_ptr + row * a_stride + column, mask=inside, other=0.0)
    b = tl.load(b_ptr + row * b_stride + column, mask=inside, other=0.0).to(tl.float32)
    y = activate(a.to(tl.float32), ACTIVATION).to(a.dtype).to(tl.float32) * b
    tl.store(y_ptr + row * width + column, y.to(y_ptr.dtype.element_ty), mask=inside)


@jit
def _backward(
    dy_ptr, a_ptr, b_ptr, da_ptr, db_ptr, dy_stride, a_stride, b_stride, width, blocks,
    ACTIVATION: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    program = tl.program_id(0).to(tl.int64)
    row, column = program // blocks, (program % blocks) * BLOCK + tl.arange(0, BLOCK)
    inside = column < width
    dy = tl.load(dy_ptr + row * dy_stride + column, mask=inside, other=0.0).to(tl.float32)
    a = tl.load(a_ptr + row * a_stride + column, mask=inside, other=0.0).to(tl.float32)
    b = tl.load(b_ptr + row * b_stride + column, mask=inside, other=0.0).to(tl.float32)
    da, db = dy * b * slope(a, ACTIVATION), dy * activate(a, ACTIVATION)
    tl.store(da_ptr + row * width + column, da.to(da_ptr.dtype.element_ty), mask=inside)
    tl.store(db_ptr + row * width + column, db.to(db_ptr.dtype.element_ty), mask=inside)


def _launch(a: torch.Tensor, b: torch.Tensor, activation: str) -> torch.Tensor:
    y = _empty(a, b, activation)
    if y.numel():
        a, b = as_points(a, b)
        rows, width = a.shape
        blocks = cdiv(width, POINTS)
        _forward[rows * blocks,](
            a, b, y, a.stride(0), b.stride(0), width, blocks,
            ACTIVATION=activation, BLOCK=POINTS, num_warps=WARPS_OF_POINTS,
        )  # fmt: skip
    return y


def _plain(a: torch.Tensor, b: torch.Tensor, activation: str) -> torch.Tensor:
    return reference(a, b, activation).contiguous()


def _empty(a: torch.Tensor, _: torch.Tensor, __: str) -> torch.Tensor:
    return torch.empty(a.shape, dtype=a.dtype, device=a.device)


def _launch_backward(
    dy: torch.Tensor, a: torch.Tensor, b: torch.Tensor, activation: str
) -> tuple[torch.Tensor, torch.Tensor]:
    da, db = _empty_backward(dy, a, b, activation)
    if a.numel():
        dy, a, b = as_points(dy, a, b)
        rows, width = a.shape
        blocks = cdiv(width, POINTS)
        _backward[rows * blocks,](
            dy, a, b, da, db, dy.stride(0), a.stride(0), b.stride(0), width, blocks,
            ACTIVATION=activation, BLOCK=POINTS, num_warps=WARPS_OF_POINTS,
        )  # fmt: skip
    return da, db


def _plain_backward(
    dy: torch.Tensor, a: torch.Tensor, b: torch.Tensor, activation: str
) -> tuple[torch.Tensor, torch.Tensor]:
    wide, slopes = a.float(), dy.float()
    da = slopes * b.float() * derivative(wide, activation)
    return da.to(a.dtype).contiguous(), (slopes * activated(wide, activation)).to(b.dtype).contiguous()


def _empty_backward(_: torch.Tensor, a: torch.Tensor, b: torch.Tensor, __: str) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.empty(a.shape, dtype=a.dtype, device=a.device), torch.empty(b.shape, dtype=b.dtype, device=b.device)


_gated = register("gated_activation(Tensor a, Tensor b, str activation) -> Tensor", _launch, _plain, _empty)
_gated_backward = register(
    "gated_activation_backward(Tensor dy, Tensor a, Tensor b, str activation) -> (Tensor, Tensor)",
    _launch_backward, _plain_backward, _empty_backward,
)  # fmt: skip


class _GatedActivation(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(a: torch.Tensor, b: torch.Tensor, activation: str) -> Any:
        return _gated(a, b, activation)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        del output
        a, b, ctx.activation = inputs
        ctx.save_for_backward(a, b)

    @staticmethod
    def backward(ctx: Any, dy: torch.Tensor) -> Any:
        a, b = ctx.saved_tensors
        if torch.is_grad_enabled():
            return *gradients(reference, (a, b, ctx.activation), (dy,)), None
        return *_gated_backward(dy, a, b, ctx.activation), None


def gated_activation(a: torch.Tensor, b: torch.Tensor, activation: str = "silu") -> torch.Tensor:
    """Multiply the activation of one tensor by another.

    Args:
        a: ``[..., width]``, of any strides: the halves of one projection will do.
        b: The same shape and dtype; others go the way of the reference.
        activation: ``silu``, ``gelu`` or ``gelu_tanh``.

    Returns:
        ``[..., width]``, contiguous; differentiable, twice too.

    Raises:
        ValueError: There is no such activation.
    """
    if activation not in ACTIVATIONS:
        message = f"activation is {activation!r}, not one of {', '.join(ACTIVATIONS)}"
        raise ValueError(message)
    if not a.dim() or a.shape != b.shape or a.dtype != b.dtype or not usable(a, b):
        return reference(a, b, activation)
    y: torch.Tensor = _GatedActivation.apply(a, b, activation)
    return y


def _make(maker: Maker, shape: tuple[int, ...], activation: str = "silu") -> tuple[Any, ...]:
    return maker.normal(*shape), maker.normal(*shape), activation


def _traffic(a: torch.Tensor, *_: Any) -> Traffic:
    return Traffic(3 * a.nbytes, 5 * a.nbytes)


def _compilations(dtype: str) -> Iterator[Compilation]:
    t, counts = pointer(dtype), {"width": "i32", "blocks": "i32"}
    for activation in ACTIVATIONS:
        constants = {"ACTIVATION": activation, "BLOCK": POINTS}
        types = {"a_ptr": t, "b_ptr": t, "y_ptr": t, "a_stride": "i32", "b_stride": "i32"} | counts
        yield Compilation(f"forward {activation}", _forward, types, constants, WARPS_OF_POINTS)
        types = {
            "dy_ptr": t, "a_ptr": t, "b_ptr": t, "da_ptr": t, "db_ptr": t,
            "dy_stride": "i32", "a_stride": "i32", "b_stride": "i32",
        }  # fmt: skip
        yield Compilation(f"backward {activation}", _backward, types | counts, constants, WARPS_OF_POINTS)


SPEC = Spec(
    name="gated_activation",
    title="SwiGLU and GeGLU",
    source="arXiv:2002.05202",
    function=gated_activation,
    reference=reference,
    make=_make,
    shapes=((1, 1), (3, 7), (2, 3, 5, 64), (5, 2_053), (0, 16), (2, 0, 8)),
    variants=tuple({"activation": activation} for activation in ACTIVATIONS),
    grid=tuple((rows, width) for width in (1_024, 11_008) for rows in (16, 1_024, 16_384)),
    traffic=_traffic,
    compilations=_compilations,
    hostile=(0.0, 1e4, -1e4, math.nan),  # PyTorch's GELU of infinity differs between CPU and GPU
    operators=("perfkit::gated_activation", "perfkit::gated_activation_backward"),
)
