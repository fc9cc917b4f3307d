"""Group normalisation and SiLU, as the blocks of a diffusion U-Net begin.

    n = (x - mean) / sqrt(var + eps)    over the channels of a group and all places
    z = n * w + b,    y = z * sigmoid(z)

Wu and He, Group Normalization, 2018 (arXiv:1803.08494). As in eager PyTorch z is rounded to its dtype. With
d = dy * silu'(z), r = 1 / sqrt(var + eps) and means over a group the gradients are

    dx = r * (d * w - mean(d * w) - n * mean(d * w * n)),    dw = sum of d * n,    db = sum of d

A row is one channel of one sample, and a group is ``per`` rows. A first pass leaves two sums for each row, so that
there are programs enough for a single image; the second adds up those of its group.

Bytes moved: forward, x twice and y once; backward, dy and x twice and dx once. What fits the cache is read once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import torch

from perfkit_kernels.activations import activate, derivative, slope
from perfkit_kernels.dialect import cdiv, jit, next_power_of_2, tl
from perfkit_kernels.operators import gradients, register, usable, widened
from perfkit_kernels.spec import Compilation, Spec, Traffic, pointer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from perfkit_kernels.spec import Maker

__all__ = ["SPEC", "group_norm_silu"]

ELEMENTS: Final = 2_048
WARPS: Final = 4
MOST_ROWS: Final = 16
MOST_PER_GROUP: Final = 256


def reference(
    x: torch.Tensor, groups: int, weight: torch.Tensor, bias: torch.Tensor, eps: float = 1e-5
) -> torch.Tensor:
    """Return what eager PyTorch makes of it."""
    return torch.nn.functional.silu(torch.nn.functional.group_norm(x, groups, weight, bias, eps))


def _ordered(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, groups: int, eps: float) -> torch.Tensor:
    """Take the tensors first."""
    return reference(x, groups, weight, bias, eps)


# --------------------------------------------------------------------------------------------------------- kernels


@jit
def _moments(
    x_ptr, parts_ptr, rows, width, ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Means of rows, and the sums of squares about them."""
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    column, real = tl.arange(0, BLOCK)[None, :], (row < rows)[:, None]
    x_row = x_ptr + row[:, None] * width
    total = tl.zeros([ROWS, BLOCK], tl.float32)
    for start in range(0, width, BLOCK):
        total += tl.load(x_row + start + column, mask=real & (start + column < width), other=0.0).to(tl.float32)
    mean = tl.sum(total, 1) / width
    squares = tl.zeros([ROWS, BLOCK], tl.float32)
    for start in range(0, width, BLOCK):
        inside = real & (start + column < width)
        x = tl.load(x_row + start + column, mask=inside, other=0.0).to(tl.float32)
        centred = tl.where(inside, x - mean[:, None], 0.0)
        squares += centred * centred
    tl.store(parts_ptr + row, mean, mask=row < rows)
    tl.store(parts_ptr + rows + row, tl.sum(squares, 1), mask=row < rows)


@jit
def _stats(stats_ptr, row, rows):
    """Load means and factors."""
    mean = tl.load(stats_ptr + row, mask=row < rows, other=0.0)
    return mean, tl.load(stats_ptr + rows + row, mask=row < rows, other=0.0)


@jit
def _affine(x, mean, r, w_ptr, bias_ptr, row, rows, channels, Y: tl.constexpr):
    """Return the normalised tile, its weight, and z rounded as the output is."""
    w = tl.load(w_ptr + row % channels, mask=row < rows, other=0.0).to(tl.float32)
    bias = tl.load(bias_ptr + row % channels, mask=row < rows, other=0.0).to(tl.float32)
    n = (x - mean[:, None]) * r[:, None]
    return n, w, (n * w[:, None] + bias[:, None]).to(Y).to(tl.float32)


@jit
def _apply(
    x_ptr, w_ptr, bias_ptr, parts_ptr, y_ptr, stats_ptr,
    rows, width, blocks, channels, per, eps, ROWS: tl.constexpr, BLOCK: tl.constexpr, PER: tl.constexpr,
):  # fmt: skip
    program = tl.program_id(0).to(tl.int64)
    row = program // blocks * ROWS + tl.arange(0, ROWS)
    column = (program % blocks * BLOCK + tl.arange(0, BLOCK))[None, :]
    inside = (row < rows)[:, None] & (column < width)
    member = tl.arange(0, PER)[None, :]
    known = (row < rows)[:, None] & (member < per)
    at = (row // per * per)[:, None] + member
    means = tl.load(parts_ptr + at, mask=known, other=0.0)
    squares = tl.load(parts_ptr + rows + at, mask=known, other=0.0)
    mean = tl.sum(means, 1) / per
    apart = tl.where(known, means - mean[:, None], 0.0)
    variance = tl.sum(squares / width + apart * apart, 1) / per
    r = 1.0 / tl.sqrt_rn(variance + eps)
    x = tl.load(x_ptr + row[:, None] * width + column, mask=inside, other=0.0).to(tl.float32)
    _, _, z = _affine(x, mean, r, w_ptr, bias_ptr, row, rows, channels, y_ptr.dtype.element_ty)
    y = activate(z, "silu")
    tl.store(y_ptr + row[:, None] * width + column, y.to(y_ptr.dtype.element_ty), mask=inside)
    first = (row < rows) & (program % blocks == 0)
    tl.store(stats_ptr + row, mean, mask=first)
    tl.store(stats_ptr + rows + row, r, mask=first)


@jit
def _sums(
    dy_ptr, x_ptr, w_ptr, bias_ptr, stats_ptr, d_ptr, dn_ptr, rows, width, channels,
    ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Sums of d and of d * n over rows."""
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    column, real = tl.arange(0, BLOCK)[None, :], (row < rows)[:, None]
    mean, r = _stats(stats_ptr, row, rows)
    total, weighed = tl.zeros([ROWS, BLOCK], tl.float32), tl.zeros([ROWS, BLOCK], tl.float32)
    for start in range(0, width, BLOCK):
        at, inside = row[:, None] * width + start + column, real & (start + column < width)
        x = tl.load(x_ptr + at, mask=inside, other=0.0).to(tl.float32)
        dy = tl.load(dy_ptr + at, mask=inside, other=0.0).to(tl.float32)
        n, _, z = _affine(x, mean, r, w_ptr, bias_ptr, row, rows, channels, dy_ptr.dtype.element_ty)
        d = tl.where(inside, dy * slope(z, "silu"), 0.0)
        total += d
        weighed += tl.where(inside, d * n, 0.0)
    tl.store(d_ptr + row, tl.sum(total, 1), mask=row < rows)
    tl.store(dn_ptr + row, tl.sum(weighed, 1), mask=row < rows)


@jit
def _backward(
    dy_ptr, x_ptr, w_ptr, bias_ptr, stats_ptr, d_ptr, dn_ptr, dx_ptr,
    rows, width, blocks, channels, per, ROWS: tl.constexpr, BLOCK: tl.constexpr, PER: tl.constexpr,
):  # fmt: skip
    program = tl.program_id(0).to(tl.int64)
    row = program // blocks * ROWS + tl.arange(0, ROWS)
    column = (program % blocks * BLOCK + tl.arange(0, BLOCK))[None, :]
    inside = (row < rows)[:, None] & (column < width)
    member = tl.arange(0, PER)[None, :]
    known = (row < rows)[:, None] & (member < per)
    group = (row // per * per)[:, None] + member
    weights = tl.load(w_ptr + group % channels, mask=known, other=0.0).to(tl.float32)
    first = tl.sum(tl.load(d_ptr + group, mask=known, other=0.0) * weights, 1) / per / width
    second = tl.sum(tl.load(dn_ptr + group, mask=known, other=0.0) * weights, 1) / per / width
    mean, r = _stats(stats_ptr, row, rows)
    at = row[:, None] * width + column
    x = tl.load(x_ptr + at, mask=inside, other=0.0).to(tl.float32)
    dy = tl.load(dy_ptr + at, mask=inside, other=0.0).to(tl.float32)
    n, w, z = _affine(x, mean, r, w_ptr, bias_ptr, row, rows, channels, dy_ptr.dtype.element_ty)
    dx = (dy * slope(z, "silu") * w[:, None] - first[:, None] - n * second[:, None]) * r[:, None]
    tl.store(dx_ptr + at, dx.to(dx_ptr.dtype.element_ty), mask=inside)


# -------------------------------------------------------------------------------------------------------- operators


def _tile(width: int) -> tuple[int, int]:
    """Return rows and columns that a program takes at once."""
    block = min(next_power_of_2(width), ELEMENTS)
    return min(ELEMENTS // block, MOST_ROWS), block


def _launch(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, groups: int, eps: float, wide: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    y, stats = _empty(x, weight, bias, groups, eps, wide)
    if x.numel():
        x, (rows, width) = x.contiguous(), (x.shape[:2].numel(), x.shape[2:].numel())
        at_once, block = _tile(width)
        parts = torch.empty(2, rows, dtype=torch.float32, device=x.device)
        form = {"ROWS": at_once, "BLOCK": block, "num_warps": WARPS}
        _moments[cdiv(rows, at_once),](x, parts, rows, width, **form)
        blocks, per = cdiv(width, block), x.shape[1] // groups
        _apply[cdiv(rows, at_once) * blocks,](
            x, weight, bias, parts, y, stats, rows, width, blocks, x.shape[1], per, eps,
            PER=next_power_of_2(per), **form,
        )  # fmt: skip
    return y, stats


def _plain(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, groups: int, eps: float, wide: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    per = x.shape[1] // groups
    variance, mean = torch.var_mean(x.float().reshape(x.shape[0], groups, -1), -1, correction=0)
    given = (x.float(), groups, weight.float(), bias.float()) if wide else (x, groups, weight, bias)
    stats = torch.stack((mean, torch.rsqrt(variance + eps)))
    return reference(*given, eps).contiguous(), stats.repeat_interleave(per, -1).reshape(2, -1)


def _empty(
    x: torch.Tensor, _: torch.Tensor, __: torch.Tensor, ___: int, ____: float, wide: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    rows = x.shape[:2].numel()
    y = torch.empty(x.shape, dtype=torch.float32 if wide else x.dtype, device=x.device)
    return y, x.new_empty(2, rows, dtype=torch.float32)


def _launch_backward(
    dy: torch.Tensor, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, stats: torch.Tensor, groups: int,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:  # fmt: skip
    dx, dw, db = _empty_backward(dy, x, weight, bias)
    if not x.numel():
        return dx, dw.zero_(), db.zero_()
    dy, x, (rows, width) = dy.contiguous(), x.contiguous(), (x.shape[:2].numel(), x.shape[2:].numel())
    at_once, block = _tile(width)
    sums = torch.empty(2, rows, dtype=torch.float32, device=x.device)
    form = {"ROWS": at_once, "BLOCK": block, "num_warps": WARPS}
    given = dy, x, weight, bias, stats, sums[0], sums[1]
    _sums[cdiv(rows, at_once),](*given, rows, width, x.shape[1], **form)
    blocks, per = cdiv(width, block), x.shape[1] // groups
    _backward[cdiv(rows, at_once) * blocks,](
        *given, dx, rows, width, blocks, x.shape[1], per, PER=next_power_of_2(per), **form
    )
    total = sums.view(2, *x.shape[:2]).sum(1)
    return dx, total[1].to(dw.dtype), total[0].to(db.dtype)


def _plain_backward(
    dy: torch.Tensor, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, stats: torch.Tensor, groups: int,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:  # fmt: skip
    channels = x.shape[:2]
    mean, r = stats.reshape(2, *channels, 1)
    w = weight.float()[:, None]
    n = (x.float().flatten(2) - mean) * r
    d = dy.float().flatten(2) * derivative((n * w + bias.float()[:, None]).to(dy.dtype).float(), "silu")
    grouped = (part.reshape(x.shape[0], groups, -1).mean(-1) for part in (d * w, d * w * n))
    first, second = (part.repeat_interleave(x.shape[1] // groups, -1)[:, :, None] for part in grouped)
    dx = (r * (d * w - first - n * second)).reshape(x.shape).to(x.dtype).contiguous()
    return dx, (d * n).sum((0, 2)).to(weight.dtype), d.sum((0, 2)).to(bias.dtype)


def _empty_backward(
    _: torch.Tensor, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, *__: Any
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    dx = torch.empty(x.shape, dtype=x.dtype, device=x.device)
    return dx, weight.new_empty(weight.shape), bias.new_empty(bias.shape)


_forward = register(
    "group_norm_silu(Tensor x, Tensor weight, Tensor bias, int groups, float eps, bool wide)"
    " -> (Tensor, Tensor)",
    _launch, _plain, _empty,
)  # fmt: skip
_slopes = register(
    "group_norm_silu_backward(Tensor dy, Tensor x, Tensor weight, Tensor bias, Tensor stats, int groups)"
    " -> (Tensor, Tensor, Tensor)",
    _launch_backward, _plain_backward, _empty_backward,
)  # fmt: skip


class _GroupNormSiLU(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, groups: int, eps: float, wide: bool) -> Any:
        return _forward(x, weight, bias, groups, eps, wide)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        x, weight, bias, ctx.groups, ctx.eps, _ = inputs
        ctx.mark_non_differentiable(output[1])
        ctx.save_for_backward(x, weight, bias, output[1])

    @staticmethod
    def backward(ctx: Any, dy: torch.Tensor, _: Any) -> Any:
        x, weight, bias, stats = ctx.saved_tensors
        if torch.is_grad_enabled():
            return *gradients(_ordered, (x, weight, bias, ctx.groups, ctx.eps), (dy,)), None, None, None
        return *_slopes(dy, x, weight, bias, stats, ctx.groups), None, None, None


def group_norm_silu(
    x: torch.Tensor, groups: int, weight: torch.Tensor, bias: torch.Tensor, eps: float = 1e-5
) -> torch.Tensor:
    """Normalise groups of channels, and apply SiLU.

    Args:
        x: ``[samples, channels, ...]``. The kernel wants it contiguous: channels that lie last (`torch.channels_last`)
            go the way of the reference, which keeps them so; other strides are copied.
        groups: Into how many groups the channels are divided.
        weight: ``[channels]``, of the dtype of x unless under autocast.
        bias: Likewise.
        eps: Added to the variance.

    Returns:
        The shape of x, contiguous; of float32 under autocast on a GPU, as in eager PyTorch; differentiable twice.
    """
    fits = (
        x.dim() > 1
        and groups > 0
        and x.numel() > 0
        and x.shape[1] % groups == 0
        and x.shape[1] // groups <= MOST_PER_GROUP
        and weight.shape == bias.shape == x.shape[1:2]
        and (weight.dtype == bias.dtype == x.dtype or widened(x))
        and not (x.dim() == 4 and x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous())  # noqa: PLR2004
    )
    if not fits or not usable(x, weight, bias):
        return reference(x, groups, weight, bias, eps)
    y: torch.Tensor = _GroupNormSiLU.apply(x, weight.contiguous(), bias.contiguous(), groups, eps, widened(x))[0]
    return y


# ------------------------------------------------------------------------------------------------------------- spec


def _make(maker: Maker, shape: tuple[int, ...], groups: int = 2) -> tuple[Any, ...]:
    channels = shape[1]
    groups = groups if channels % groups == 0 else 1
    w, b = maker.normal(channels, scale=0.1) + 1.0, maker.normal(channels, scale=0.1)
    return maker.normal(*shape), groups, w, b, 1e-5


def _traffic(x: torch.Tensor, *_: Any) -> Traffic:
    return Traffic(2 * x.nbytes, 3 * x.nbytes)


def _compilations(dtype: str) -> Iterator[Compilation]:
    t, f = pointer(dtype), "*fp32"
    numbers = dict.fromkeys(("rows", "width", "blocks", "channels", "per"), "i32")
    for width in (64, 4_096, 65_536):
        rows, block = _tile(width)
        form = {"ROWS": rows, "BLOCK": block}
        types = {"x_ptr": t, "parts_ptr": f, "rows": "i32", "width": "i32"}
        yield Compilation(f"moments {width}", _moments, types, form, WARPS)
        types = {
            "x_ptr": t, "w_ptr": t, "bias_ptr": t, "parts_ptr": f, "y_ptr": t, "stats_ptr": f, "eps": "fp32",
        }  # fmt: skip
        yield Compilation(f"forward {width}", _apply, types | numbers, form | {"PER": 16}, WARPS)
        types = {
            "dy_ptr": t, "x_ptr": t, "w_ptr": t, "bias_ptr": t, "stats_ptr": f, "d_ptr": f, "dn_ptr": f,
        }  # fmt: skip
        few = dict.fromkeys(("rows", "width", "channels"), "i32")
        yield Compilation(f"sums {width}", _sums, types | few, form, WARPS)
        types |= {"dx_ptr": t} | numbers
        yield Compilation(f"backward {width}", _backward, types, form | {"PER": 16}, WARPS)


SPEC = Spec(
    name="group_norm_silu",
    title="group normalisation and SiLU",
    source="arXiv:1803.08494",
    function=group_norm_silu,
    reference=reference,
    make=_make,
    shapes=((2, 2, 1), (3, 6, 7), (2, 4, 5, 6), (1, 3, 257), (0, 4, 3), (2, 4, 0, 3), (1, 2, 3, 701), (2, 8, 2, 3, 2)),
    variants=({"groups": 2}, {"groups": 1}),
    grid=tuple((batch, channels, side, side) for channels, side in ((320, 64), (1_280, 16)) for batch in (1, 4, 32)),
    traffic=_traffic,
    compilations=_compilations,
    strided_shape=(2, 4, 5, 6),
    operators=("perfkit::group_norm_silu", "perfkit::group_norm_silu_backward"),
)
