"""GELU, of a sum with a bias where there is one, in one pass; also what models write out in six operators.

    y = gelu(x + bias),    dx = dy * gelu'(x + bias),    dbias = sum over rows of dx

see `activations`. Where the sum comes out of a matrix product, its epilogue is the better place for both.

Bytes moved: forward, x and y once, and the bias; backward, dy, x and dx once, and dx again for a bias.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import torch

from perfkit_kernels.activations import activate, activated, derivative, slope
from perfkit_kernels.dialect import cdiv, jit, tl
from perfkit_kernels.operators import gradients, register, usable
from perfkit_kernels.rows import POINTS, WARPS_OF_POINTS, as_points, as_rows
from perfkit_kernels.spec import Compilation, Spec, Traffic, pointer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from perfkit_kernels.spec import Maker

__all__ = ["SPEC", "bias_gelu"]

ACTIVATIONS: Final = ("gelu", "gelu_tanh")


def reference(x: torch.Tensor, bias: torch.Tensor | None, activation: str = "gelu") -> torch.Tensor:
    """Return what eager PyTorch makes of it."""
    return activated(x if bias is None else x + bias, activation)


@jit
def _biased(x_ptr, bias_ptr, column, inside, BIAS: tl.constexpr):
    """Load values with their bias, rounded as the sum of eager PyTorch is."""
    x = tl.load(x_ptr, mask=inside, other=0.0)
    if BIAS:
        bias = tl.load(bias_ptr + column, mask=inside, other=0.0).to(tl.float32)
        x = (x.to(tl.float32) + bias).to(x.dtype)
    return x.to(tl.float32)


@jit
def _forward(
    x_ptr, bias_ptr, y_ptr, x_stride, width, blocks,
    BIAS: tl.constexpr, ACTIVATION: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    program = tl.program_id(0).to(tl.int64)
    row, column = program // blocks, (program % blocks) * BLOCK + tl.arange(0, BLOCK)
    inside = column < width
    x = _biased(x_ptr + row * x_stride + column, bias_ptr, column, inside, BIAS)
    tl.store(y_ptr + row * width + column, activate(x, ACTIVATION).to(y_ptr.dtype.element_ty), mask=inside)


@jit
def _backward(
    dy_ptr, x_ptr, bias_ptr, dx_ptr, dy_stride, x_stride, width, blocks,
    BIAS: tl.constexpr, ACTIVATION: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    program = tl.program_id(0).to(tl.int64)
    row, column = program // blocks, (program % blocks) * BLOCK + tl.arange(0, BLOCK)
    inside = column < width
    x = _biased(x_ptr + row * x_stride + column, bias_ptr, column, inside, BIAS)
    dy = tl.load(dy_ptr + row * dy_stride + column, mask=inside, other=0.0).to(tl.float32)
    dx = dy * slope(x, ACTIVATION)
    tl.store(dx_ptr + row * width + column, dx.to(dx_ptr.dtype.element_ty), mask=inside)


def _arranged(bias: torch.Tensor | None, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Lay tensors out for the kernels: as rows where columns have a bias of their own."""
    return as_points(*tensors) if bias is None else tuple(as_rows(tensor) for tensor in tensors)


def _launch(x: torch.Tensor, bias: torch.Tensor | None, activation: str) -> torch.Tensor:
    y = _empty(x, bias, activation)
    if y.numel():
        (x,) = _arranged(bias, x)
        rows, width = x.shape
        blocks = cdiv(width, POINTS)
        _forward[rows * blocks,](
            x, bias, y, x.stride(0), width, blocks,
            BIAS=bias is not None, ACTIVATION=activation, BLOCK=POINTS, num_warps=WARPS_OF_POINTS,
        )  # fmt: skip
    return y


def _plain(x: torch.Tensor, bias: torch.Tensor | None, activation: str) -> torch.Tensor:
    return reference(x, bias, activation).contiguous()


def _empty(x: torch.Tensor, _: torch.Tensor | None, __: str) -> torch.Tensor:
    return torch.empty(x.shape, dtype=x.dtype, device=x.device)


def _launch_backward(dy: torch.Tensor, x: torch.Tensor, bias: torch.Tensor | None, activation: str) -> torch.Tensor:
    dx = _empty(x, bias, activation)
    if x.numel():
        dy, x = _arranged(bias, dy, x)
        rows, width = x.shape
        blocks = cdiv(width, POINTS)
        _backward[rows * blocks,](
            dy, x, bias, dx, dy.stride(0), x.stride(0), width, blocks,
            BIAS=bias is not None, ACTIVATION=activation, BLOCK=POINTS, num_warps=WARPS_OF_POINTS,
        )  # fmt: skip
    return dx


def _plain_backward(dy: torch.Tensor, x: torch.Tensor, bias: torch.Tensor | None, activation: str) -> torch.Tensor:
    total = x if bias is None else x + bias
    return (dy.float() * derivative(total.float(), activation)).to(x.dtype).contiguous()


def _empty_backward(_: torch.Tensor, x: torch.Tensor, bias: torch.Tensor | None, activation: str) -> torch.Tensor:
    return _empty(x, bias, activation)


_bias_gelu = register("bias_gelu(Tensor x, Tensor? bias, str activation) -> Tensor", _launch, _plain, _empty)
_bias_gelu_backward = register(
    "bias_gelu_backward(Tensor dy, Tensor x, Tensor? bias, str activation) -> Tensor",
    _launch_backward, _plain_backward, _empty_backward,
)  # fmt: skip


class _BiasGELU(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x: torch.Tensor, bias: torch.Tensor | None, activation: str) -> Any:
        return _bias_gelu(x, bias, activation)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        del output
        x, bias, ctx.activation = inputs
        ctx.save_for_backward(x, bias)

    @staticmethod
    def backward(ctx: Any, dy: torch.Tensor) -> Any:
        x, bias = ctx.saved_tensors
        if torch.is_grad_enabled():
            return *gradients(reference, (x, bias, ctx.activation), (dy,)), None
        dx = _bias_gelu_backward(dy, x, bias, ctx.activation)
        return dx, None if bias is None else dx.reshape(-1, x.shape[-1]).sum(0), None


def bias_gelu(x: torch.Tensor, bias: torch.Tensor | None, activation: str = "gelu") -> torch.Tensor:
    """Add a bias and apply GELU.

    Args:
        x: ``[..., width]``, of any strides.
        bias: ``[width]`` of the same dtype, or None.
        activation: ``gelu``, or ``gelu_tanh`` for its approximation.

    Returns:
        ``[..., width]``, contiguous; differentiable, twice too.

    Raises:
        ValueError: There is no such activation.
    """
    if activation not in ACTIVATIONS:
        message = f"activation is {activation!r}, not one of {', '.join(ACTIVATIONS)}"
        raise ValueError(message)
    fits = x.dim() > 0 and (bias is None or (bias.shape == x.shape[-1:] and bias.dtype == x.dtype))
    if not fits or not usable(x, bias):
        return reference(x, bias, activation)
    y: torch.Tensor = _BiasGELU.apply(x, None if bias is None else bias.contiguous(), activation)
    return y


def _make(maker: Maker, shape: tuple[int, ...], activation: str = "gelu", bias: bool = True) -> tuple[Any, ...]:
    return maker.normal(*shape), maker.normal(shape[-1]) if bias else None, activation


def _traffic(x: torch.Tensor, bias: torch.Tensor | None, _: str) -> Traffic:
    return Traffic(2 * x.nbytes, 3 * x.nbytes + (0 if bias is None else x.nbytes))


def _compilations(dtype: str) -> Iterator[Compilation]:
    t, counts = pointer(dtype), {"x_stride": "i32", "width": "i32", "blocks": "i32"}
    for activation in ACTIVATIONS:
        constants = {"BIAS": True, "ACTIVATION": activation, "BLOCK": POINTS}
        types = {"x_ptr": t, "bias_ptr": t, "y_ptr": t} | counts
        yield Compilation(f"forward {activation}", _forward, types, constants, WARPS_OF_POINTS)
        types = {"dy_ptr": t, "x_ptr": t, "bias_ptr": t, "dx_ptr": t, "dy_stride": "i32"} | counts
        yield Compilation(f"backward {activation}", _backward, types, constants, WARPS_OF_POINTS)


SPEC = Spec(
    name="bias_gelu",
    title="GELU, with or without a bias",
    source="arXiv:1606.08415",
    function=bias_gelu,
    reference=reference,
    make=_make,
    shapes=((1, 1), (3, 7), (2, 3, 5, 64), (5, 2_053), (0, 16), (2, 0, 8)),
    variants=({"activation": "gelu"}, {"activation": "gelu_tanh"}, {"bias": False}),
    grid=tuple((rows, width) for width in (1_024, 4_096, 16_384) for rows in (16, 1_024, 16_384)),
    traffic=_traffic,
    compilations=_compilations,
    hostile=(0.0, 1e4, -1e4, math.nan),  # PyTorch's GELU of infinity differs between CPU and GPU
    operators=("perfkit::bias_gelu", "perfkit::bias_gelu_backward"),
)
