"""Softmax of the last dimension of scaled, masked scores, as attention written out computes it.

    z = scale * x + mask,    y_j = exp(z_j - max z) / sum_k exp(z_k - max z)

where z is minus infinity for the keys that a causal query must not see. With dy the gradient is

    dx = scale * y * (dy - sum_k y_k * dy_k)

Milakov and Gimelshein, Online normalizer calculation for softmax, 2018 (arXiv:1805.02867): a row that is too long to be
held is read once for its maximum and its sum. As in eager PyTorch z is rounded to its dtype after each step, and a row
all of whose keys are masked is NaN.

Bytes moved: forward, x and y once, and the mask; backward, y, dy and dx once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import torch

from perfkit_kernels.dialect import cdiv, jit, tl
from perfkit_kernels.operators import expands, fixed, gradients, register, usable
from perfkit_kernels.rows import as_rows, merged, tile
from perfkit_kernels.spec import Compilation, Spec, Traffic, pointer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from perfkit_kernels.spec import Maker

__all__ = ["SPEC", "softmax"]

WIDEST: Final = 16_384


def reference(x: torch.Tensor, mask: torch.Tensor | None, scale: float = 1.0, causal: bool = False) -> torch.Tensor:
    """Return what eager PyTorch makes of it; the softmax itself is of float32, as models ask for."""
    z = x * scale
    if mask is not None:
        z = z + mask
    if causal:
        z = z.masked_fill(~_seen(x), -torch.inf)
    return torch.softmax(z, -1, dtype=torch.promote_types(z.dtype, torch.float32)).to(z.dtype)


def _seen(x: torch.Tensor) -> torch.Tensor:
    """Tell which keys each query sees: the last one sees all."""
    queries, keys = x.shape[-2:]
    return torch.ones(queries, keys, dtype=torch.bool, device=x.device).tril(keys - queries)


@jit
def _scores(x_ptr, mask_ptr, inside, scale, MASK: tl.constexpr):
    """Load a tile of scores: minus infinity outside."""
    x = tl.load(x_ptr, mask=inside, other=0.0)
    z = (x.to(tl.float32) * scale).to(x.dtype).to(tl.float32)
    if MASK:
        z = (z + tl.load(mask_ptr, mask=inside, other=0.0).to(tl.float32)).to(x.dtype).to(tl.float32)
    return tl.where(inside, z, -float("inf"))


@jit
def _forward(
    x_ptr, mask_ptr, y_ptr, x_stride, outer_stride, middle_stride, inner_stride,
    rows, width, middle, inner, queries, scale,
    MASK: tl.constexpr, CAUSAL: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr, WHOLE: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    column = tl.arange(0, BLOCK)
    last = tl.zeros([ROWS], tl.int64) + (width - 1)
    if CAUSAL:
        last = row % queries + (width - queries)
    last, real = last[:, None], (row < rows)[:, None]
    x_row, y_row = x_ptr + row[:, None] * x_stride, y_ptr + row[:, None] * width
    mask_row = mask_ptr
    if MASK:
        around = row // inner
        mask_at = row % inner * inner_stride + around % middle * middle_stride + around // middle * outer_stride
        mask_row += mask_at[:, None]
    if WHOLE:
        at = column[None, :]
        z = _scores(x_row + at, mask_row + at, real & (at < width) & (at <= last), scale, MASK)
        e = tl.exp(z - tl.max(z, 1)[:, None])
        y = e / tl.sum(e, 1)[:, None]
        tl.store(y_row + at, y.to(y_ptr.dtype.element_ty), mask=real & (at < width))
    else:
        highest = tl.full([ROWS, BLOCK], -float("inf"), tl.float32)
        total = tl.zeros([ROWS, BLOCK], tl.float32)
        for start in range(0, width, BLOCK):
            at = start + column[None, :]
            z = _scores(x_row + at, mask_row + at, real & (at < width) & (at <= last), scale, MASK)
            higher = tl.maximum(highest, z)
            base = tl.where(higher == -float("inf"), 0.0, higher)
            total = total * tl.exp(highest - base) + tl.exp(z - base)
            highest = higher
        top = tl.max(highest, 1)
        total = tl.sum(total * tl.exp(highest - tl.where(top == -float("inf"), 0.0, top)[:, None]), 1)
        for start in range(0, width, BLOCK):
            at = start + column[None, :]
            z = _scores(x_row + at, mask_row + at, real & (at < width) & (at <= last), scale, MASK)
            y = tl.exp(z - top[:, None]) / total[:, None]
            tl.store(y_row + at, y.to(y_ptr.dtype.element_ty), mask=real & (at < width))


@jit
def _weighed(total, weights):
    """Divide by the sum of the probabilities, which rounding has left beside 1."""
    return total / tl.where(weights == 0.0, 1.0, weights)


@jit
def _backward(
    dy_ptr, y_ptr, dx_ptr, dy_stride, y_stride, rows, width, queries, scale,
    CAUSAL: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr, WHOLE: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    column = tl.arange(0, BLOCK)
    last = tl.zeros([ROWS], tl.int64) + (width - 1)
    if CAUSAL:
        last = row % queries + (width - queries)
    last, real = last[:, None], (row < rows)[:, None]
    dy_row, y_row = dy_ptr + row[:, None] * dy_stride, y_ptr + row[:, None] * y_stride
    dx_row = dx_ptr + row[:, None] * width
    if WHOLE:
        at = column[None, :]
        inside = real & (at < width)
        dy = tl.load(dy_row + at, mask=inside, other=0.0).to(tl.float32)
        y = tl.load(y_row + at, mask=inside, other=0.0)
        mean = _weighed(tl.sum(y.to(tl.float32) * dy, 1), tl.sum(y.to(tl.float32), 1))
        dz = y.to(tl.float32) * (dy - mean[:, None])
        dx = tl.where(at <= last, dz.to(y.dtype).to(tl.float32) * scale, 0.0)
        tl.store(dx_row + at, dx.to(dx_ptr.dtype.element_ty), mask=inside)
    else:
        total = tl.zeros([ROWS, BLOCK], tl.float32)
        weights = tl.zeros([ROWS, BLOCK], tl.float32)
        for start in range(0, width, BLOCK):
            at = start + column[None, :]
            inside = real & (at < width)
            dy = tl.load(dy_row + at, mask=inside, other=0.0).to(tl.float32)
            y = tl.load(y_row + at, mask=inside, other=0.0).to(tl.float32)
            total += y * dy
            weights += y
        mean = _weighed(tl.sum(total, 1), tl.sum(weights, 1))[:, None]
        for start in range(0, width, BLOCK):
            at = start + column[None, :]
            inside = real & (at < width)
            dy = tl.load(dy_row + at, mask=inside, other=0.0).to(tl.float32)
            y = tl.load(y_row + at, mask=inside, other=0.0)
            dz = y.to(tl.float32) * (dy - mean)
            dx = tl.where(at <= last, dz.to(y.dtype).to(tl.float32) * scale, 0.0)
            tl.store(dx_row + at, dx.to(dx_ptr.dtype.element_ty), mask=inside)


def _launch(x: torch.Tensor, mask: torch.Tensor | None, scale: float, causal: bool) -> torch.Tensor:
    y = _empty(x, mask, scale, causal)
    if not x.numel():
        return y
    sizes, strides = (1, 1, 1), (0, 0, 0)
    if mask is not None:
        mask = (mask if mask.shape[-1] == x.shape[-1] else mask.expand(*mask.shape[:-1], x.shape[-1])).expand(x.shape)
        steps = merged(mask) if mask.stride(-1) == 1 or x.shape[-1] == 1 else None
        if steps is None:
            mask = mask.contiguous()
            steps = merged(mask)
        assert steps is not None
        sizes, strides = steps.sizes, steps.strides[0]
    queries = x.shape[-2] if causal else 1
    x = as_rows(x)
    rows, width = x.shape
    shape = tile(width, widest=WIDEST, live=4)
    _forward[cdiv(rows, shape.rows),](
        x, x if mask is None else mask, y, x.stride(0), *strides, rows, width, sizes[1], sizes[2], queries, scale,
        MASK=mask is not None, CAUSAL=causal,
        ROWS=shape.rows, BLOCK=shape.block, WHOLE=shape.whole, num_warps=shape.warps,
    )  # fmt: skip
    return y


def _plain(x: torch.Tensor, mask: torch.Tensor | None, scale: float, causal: bool) -> torch.Tensor:
    return reference(x, mask, scale, causal).contiguous()


def _empty(x: torch.Tensor, _: torch.Tensor | None, __: float, ___: bool) -> torch.Tensor:
    return torch.empty(x.shape, dtype=x.dtype, device=x.device)


def _launch_backward(dy: torch.Tensor, y: torch.Tensor, scale: float, causal: bool) -> torch.Tensor:
    dx = _empty_backward(dy, y, scale, causal)
    if not y.numel():
        return dx
    queries = y.shape[-2] if causal else 1
    dy, y = as_rows(dy), as_rows(y)
    rows, width = y.shape
    shape = tile(width, widest=WIDEST, live=4)
    _backward[cdiv(rows, shape.rows),](
        dy, y, dx, dy.stride(0), y.stride(0), rows, width, queries, scale, CAUSAL=causal,
        ROWS=shape.rows, BLOCK=shape.block, WHOLE=shape.whole, num_warps=shape.warps,
    )  # fmt: skip
    return dx


def _plain_backward(dy: torch.Tensor, y: torch.Tensor, scale: float, causal: bool) -> torch.Tensor:
    slope, wide = dy.float(), y.float()
    dz = (wide * (slope - (wide * slope).sum(-1, keepdim=True))).to(y.dtype)
    if causal:
        dz = dz.masked_fill(~_seen(y), 0)
    return (dz * scale).contiguous()


def _empty_backward(_: torch.Tensor, y: torch.Tensor, __: float, ___: bool) -> torch.Tensor:
    return torch.empty(y.shape, dtype=y.dtype, device=y.device)


_softmax = register("softmax(Tensor x, Tensor? mask, float scale, bool causal) -> Tensor", _launch, _plain, _empty)
_softmax_backward = register(
    "softmax_backward(Tensor dy, Tensor y, float scale, bool causal) -> Tensor",
    _launch_backward, _plain_backward, _empty_backward,
)  # fmt: skip


class _Softmax(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x: torch.Tensor, mask: torch.Tensor | None, scale: float, causal: bool) -> Any:
        return _softmax(x, mask, scale, causal)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        x, mask, ctx.scale, ctx.causal = inputs
        ctx.save_for_backward(x, mask, output)

    @staticmethod
    def backward(ctx: Any, dy: torch.Tensor) -> Any:
        x, mask, y = ctx.saved_tensors
        if torch.is_grad_enabled():
            return *gradients(reference, (x, mask, ctx.scale, ctx.causal), (dy,)), None, None
        return _softmax_backward(dy, y, ctx.scale, ctx.causal), None, None, None


def softmax(
    x: torch.Tensor, mask: torch.Tensor | None = None, scale: float = 1.0, causal: bool = False
) -> torch.Tensor:
    """Scale scores, add a mask, and take the softmax of the last dimension.

    Args:
        x: ``[..., queries, keys]``, of any strides; ``[..., keys]`` where it is not causal.
        mask: Added to the scaled scores; of the dtype of x, and expands to its shape. One of another dtype, or one
            whose gradient is wanted, goes the way of the reference.
        scale: Multiplies the scores.
        causal: Whether a query sees only the keys up to its own, the last query all of them.

    Returns:
        ``[..., queries, keys]``, contiguous; differentiable in x, twice too.
    """
    fits = x.dim() > int(causal) and x.shape[-1] > 0
    if fits and mask is not None:
        fits = mask.dtype == x.dtype and fixed(mask) and expands(mask, x)
    if not fits or not usable(x, mask):
        return reference(x, mask, scale, causal)
    y: torch.Tensor = _Softmax.apply(x, mask, scale, causal)
    return y


# ------------------------------------------------------------------------------------------------------------- spec


def _make(
    maker: Maker, shape: tuple[int, ...], mask: bool = True, scale: float = 0.125, causal: bool = False
) -> tuple[Any, ...]:
    form = (*(1 for _ in shape[:-2]), *shape[-2:])
    hidden = torch.where(maker.integers(4, *form) == 0, torch.finfo(maker.dtype).min, 0.0).to(maker.dtype)
    return maker.normal(*shape, scale=4.0), hidden if mask else None, scale, causal


def _traffic(x: torch.Tensor, mask: torch.Tensor | None, *_: Any) -> Traffic:
    return Traffic(2 * x.nbytes + (0 if mask is None else mask.untyped_storage().nbytes()), 3 * x.nbytes)


def _compilations(dtype: str) -> Iterator[Compilation]:
    t = pointer(dtype)
    for width in (64, 1_024, 16_384, 131_072):
        for causal in (False, True):
            shape, name = tile(width, widest=WIDEST, live=4), f"{'causal ' if causal else ''}{width}"
            types = {
                "x_ptr": t, "mask_ptr": t, "y_ptr": t, "x_stride": "i32", "outer_stride": "i32",
                "middle_stride": "i32", "inner_stride": "i32", "rows": "i32", "width": "i32", "middle": "i32",
                "inner": "i32", "queries": "i32", "scale": "fp32",
            }  # fmt: skip
            constants = {"CAUSAL": causal, "ROWS": shape.rows, "BLOCK": shape.block, "WHOLE": shape.whole}
            yield Compilation(f"forward {name}", _forward, types, constants | {"MASK": True}, shape.warps)
            types = {
                "dy_ptr": t, "y_ptr": t, "dx_ptr": t, "dy_stride": "i32", "y_stride": "i32", "rows": "i32",
                "width": "i32", "queries": "i32", "scale": "fp32",
            }  # fmt: skip
            yield Compilation(f"backward {name}", _backward, types, constants, shape.warps)


SPEC = Spec(
    name="softmax",
    title="scaled, masked, causal softmax",
    source="arXiv:1805.02867",
    function=softmax,
    reference=reference,
    make=_make,
    shapes=((1, 1), (3, 7), (2, 3, 5, 64), (5, 257), (0, 16), (2, 0, 8), (1, 16_411), (2, 2, 9, 5)),
    variants=({"mask": True}, {"causal": True}, {"mask": False, "scale": 1.0}),
    grid=tuple((rows, width) for width in (128, 1_024, 4_096, 32_768) for rows in (512, (1 << 27) // width)),
    traffic=_traffic,
    compilations=_compilations,
    operators=("perfkit::softmax", "perfkit::softmax_backward"),
    constant=(1,),
)
