"""Product of a few rows and an int8 weight that is scaled back as it is read: lossy, only for whoever asks for it.

    y_mn = scale_n * sum_k x_mk * weight_nk

Rounding each row of a weight to int8 with a scale of its own: Dettmers et al., LLM.int8(), 2022 (arXiv:2208.07339).
Decoding reads the weight for one row of x at a time; int8 makes that half of the bytes. For many rows a product of
matrices is better: the function leaves those to the reference.

Bytes moved: the weight once, x, scale and y once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import torch

from perfkit_kernels.dialect import cdiv, jit, next_power_of_2, tl
from perfkit_kernels.operators import fixed, register, usable
from perfkit_kernels.rows import as_rows
from perfkit_kernels.spec import Compilation, Spec, Traffic, pointer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from perfkit_kernels.spec import Maker

__all__ = ["SPEC", "int8_matvec"]

MOST_ROWS: Final = 4
OUTPUTS: Final = 8
"""Rows of the weight that a program takes."""
WALKED: Final = 1_024
WARPS: Final = 4


def reference(x: torch.Tensor, weight: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """Return what eager PyTorch makes of it."""
    return torch.nn.functional.linear(x, weight.to(x.dtype)) * scale


@jit
def _forward(
    x_ptr, weight_ptr, scale_ptr, y_ptr, x_stride, weight_stride, outputs, width,
    OUTPUTS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(1).to(tl.int64)
    output = tl.program_id(0).to(tl.int64) * OUTPUTS + tl.arange(0, OUTPUTS)
    column, real = tl.arange(0, BLOCK), (output < outputs)[:, None]
    total = tl.zeros([OUTPUTS, BLOCK], tl.float32)
    for start in range(0, width, BLOCK):
        at = start + column
        x = tl.load(x_ptr + row * x_stride + at, mask=at < width, other=0.0).to(tl.float32)
        inside = real & (at < width)[None, :]
        w = tl.load(weight_ptr + output[:, None] * weight_stride + at[None, :], mask=inside, other=0).to(tl.float32)
        total += w * x[None, :]
    y = tl.sum(total, 1).to(x_ptr.dtype.element_ty).to(tl.float32)
    y *= tl.load(scale_ptr + output, mask=output < outputs, other=0.0).to(tl.float32)
    tl.store(y_ptr + row * outputs + output, y.to(y_ptr.dtype.element_ty), mask=output < outputs)


def _launch(x: torch.Tensor, weight: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    y = _empty(x, weight, scale)
    if y.numel():
        x, weight = as_rows(x), as_rows(weight)
        outputs, width = weight.shape
        _forward[cdiv(outputs, OUTPUTS), x.shape[0]](
            x, weight, scale.contiguous(), y, x.stride(0), weight.stride(0), outputs, width,
            OUTPUTS=OUTPUTS, BLOCK=min(WALKED, next_power_of_2(width)), num_warps=WARPS,
        )  # fmt: skip
    return y


def _plain(x: torch.Tensor, weight: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    return reference(x, weight, scale).contiguous()


def _empty(x: torch.Tensor, weight: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
    return x.new_empty(*x.shape[:-1], weight.shape[0])


_product = register("int8_matvec(Tensor x, Tensor weight, Tensor scale) -> Tensor", _launch, _plain, _empty)


class _Int8Matvec(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x: torch.Tensor, weight: torch.Tensor, scale: torch.Tensor) -> Any:
        return _product(x, weight, scale)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        del output
        ctx.save_for_backward(*inputs[1:])

    @staticmethod
    def backward(ctx: Any, dy: torch.Tensor) -> Any:
        weight, scale = ctx.saved_tensors
        return (dy * scale) @ weight.to(dy.dtype), None, None


def int8_matvec(x: torch.Tensor, weight: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """Multiply a few rows by the transpose of an int8 weight.

    Args:
        x: ``[..., width]``, four rows at most; more go the way of the reference.
        weight: ``[outputs, width]`` of int8.
        scale: ``[outputs]``, of the dtype of x. Where its gradient is wanted, the reference computes it.

    Returns:
        ``[..., outputs]``, contiguous; differentiable in x, twice too.
    """
    fits = (
        x.dim() > 0
        and weight.dim() == 2  # noqa: PLR2004
        and weight.dtype == torch.int8
        and weight.numel() > 0
        and weight.device == x.device
        and x.shape[-1] == weight.shape[-1]
        and x.shape[:-1].numel() <= MOST_ROWS
        and scale.shape == weight.shape[:1]
        and scale.dtype == x.dtype
        and fixed(scale)
        and not torch.is_autocast_enabled(x.device.type)
    )
    if not fits or not usable(x, scale):
        return reference(x, weight, scale)
    y: torch.Tensor = _Int8Matvec.apply(x, weight, scale)
    return y


def _make(maker: Maker, shape: tuple[int, ...]) -> tuple[Any, ...]:
    *rows, width, outputs = shape
    weight = (maker.integers(255, outputs, width) - 127).to(torch.int8)
    scale = maker.normal(outputs, scale=0.1, dtype=torch.float32).abs() * width**-0.5 / 64
    return maker.normal(*rows, width), weight, scale.to(maker.dtype)


def _traffic(x: torch.Tensor, weight: torch.Tensor, scale: torch.Tensor) -> Traffic:
    y = x.shape[:-1].numel() * scale.nbytes
    return Traffic(weight.nbytes + x.nbytes + scale.nbytes + y, weight.nbytes + x.nbytes + scale.nbytes + y)


def _compilations(dtype: str) -> Iterator[Compilation]:
    t = pointer(dtype)
    types = {"x_ptr": t, "weight_ptr": "*i8", "scale_ptr": t, "y_ptr": t}
    types |= dict.fromkeys(("x_stride", "weight_stride", "outputs", "width"), "i32")
    yield Compilation("forward", _forward, types, {"OUTPUTS": OUTPUTS, "BLOCK": WALKED}, WARPS)


SPEC = Spec(
    name="int8_matvec",
    title="product of a few rows and an int8 weight",
    source="arXiv:2208.07339",
    function=int8_matvec,
    reference=reference,
    make=_make,
    shapes=((1, 1, 1), (3, 7, 5), (2, 2, 64, 9), (1, 1_031, 11), (0, 16, 4)),
    variants=({},),
    grid=tuple((rows, width, width) for width in (4_096, 16_384) for rows in (1, 4)),
    traffic=_traffic,
    compilations=_compilations,
    strided_shape=(2, 2, 48, 10),
    operators=("perfkit::int8_matvec",),
    constant=(2,),
)
