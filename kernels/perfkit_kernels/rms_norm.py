"""Root mean square normalisation of the last dimension, in the three castings that models use.

    y = x / sqrt(mean(x^2) + eps) * w        over rows of ``width`` elements

Zhang and Sennrich, Root Mean Square Layer Normalization, 2019 (arXiv:1910.07467). The castings differ for half
precision: ``llama`` rounds the normalised row to the dtype of ``x`` before the weight, ``gemma`` multiplies by
``1 + w`` in float32 and rounds once, ``torch`` (`torch.nn.RMSNorm`) multiplies by ``w`` in float32 and rounds once.

With n = x * r, r = 1 / sqrt(mean(x^2) + eps) and m = dy * w the gradients are

    dx = r * (m - n * mean(m * n)),    dw = sum over rows of dy * n

Bytes moved: forward, x and y once, and w; backward, dy, x and dx once, w and dw.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import torch

from perfkit_kernels.dialect import cdiv, jit, tl
from perfkit_kernels.operators import gradients, register, usable
from perfkit_kernels.rows import as_rows, persistent_programs, tile
from perfkit_kernels.spec import Compilation, Spec, Traffic, pointer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from perfkit_kernels.spec import Maker

__all__ = [
    "CASTINGS",
    "GRID",
    "SHAPES",
    "SPEC",
    "compilations",
    "empty_backward",
    "empty_forward",
    "plain_backward",
    "reference",
    "rms_norm",
    "run_backward",
    "run_forward",
]

CASTINGS: Final = ("llama", "gemma", "torch")
WIDEST_FORWARD: Final = 32_768
WIDEST_BACKWARD: Final = 8_192
SHAPES: Final = ((1, 1), (3, 7), (2, 3, 5, 64), (5, 257), (0, 16), (2, 0, 8), (1, 33_001), (18, 8_209))
GRID: Final = tuple((rows, width) for width in (256, 1_024, 4_096, 8_192, 32_768) for rows in (512, (1 << 27) // width))

# ------------------------------------------------------------------------------------------------------- reference


def reference(x: torch.Tensor, weight: torch.Tensor | None, eps: float = 1e-6, casting: str = "llama") -> torch.Tensor:
    """Return what eager PyTorch makes of it; float64 stays float64."""
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    normal = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + eps)
    if weight is None:
        return normal.to(x.dtype)
    if casting == "llama":
        return weight * normal.to(x.dtype)
    factor = 1.0 + weight.to(wide.dtype) if casting == "gemma" else weight.to(wide.dtype)
    return (normal * factor).to(x.dtype)


# --------------------------------------------------------------------------------------------------------- kernels


@jit
def _weighted(x, r, w_ptr, column, width, ROUND: tl.constexpr, OFFSET: tl.constexpr, WEIGHT: tl.constexpr):
    """Scale a tile by its rows' factors and by the weight."""
    y = x.to(tl.float32) * r[:, None]
    if WEIGHT:
        if ROUND:
            y = y.to(x.dtype).to(tl.float32)
        y *= (tl.load(w_ptr + column, mask=column < width, other=0.0).to(tl.float32) + OFFSET)[None, :]
    return y


@jit
def _summed(x_ptr, b_ptr, inside, ADD: tl.constexpr):
    """Load a tile; with ADD, the rounded sum of two."""
    x = tl.load(x_ptr, mask=inside, other=0.0)
    if ADD:
        x = (x.to(tl.float32) + tl.load(b_ptr, mask=inside, other=0.0).to(tl.float32)).to(x.dtype)
    return x


@jit
def forward_kernel(
    x_ptr, b_ptr, w_ptr, s_ptr, y_ptr, r_ptr, x_stride, b_stride, rows, width, eps,
    ROUND: tl.constexpr, OFFSET: tl.constexpr, WEIGHT: tl.constexpr, ADD: tl.constexpr,
    ROWS: tl.constexpr, BLOCK: tl.constexpr, WHOLE: tl.constexpr,
):  # fmt: skip
    """Rows of x, or with ADD of s = x + b."""
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    column = tl.arange(0, BLOCK)
    x_row, b_row, real = x_ptr + row[:, None] * x_stride, b_ptr + row[:, None] * b_stride, (row < rows)[:, None]
    s_row, y_row = s_ptr + row[:, None] * width, y_ptr + row[:, None] * width
    if WHOLE:
        inside = real & (column < width)[None, :]
        x = _summed(x_row + column[None, :], b_row + column[None, :], inside, ADD)
        squares = x.to(tl.float32) * x.to(tl.float32)
        r = 1.0 / tl.sqrt_rn(tl.sum(squares, 1) / width + eps)
        y = _weighted(x, r, w_ptr, column, width, ROUND, OFFSET, WEIGHT)
        if ADD:
            tl.store(s_row + column[None, :], x, mask=inside)
        tl.store(y_row + column[None, :], y.to(y_ptr.dtype.element_ty), mask=inside)
    else:
        total = tl.zeros([ROWS, BLOCK], tl.float32)
        for start in range(0, width, BLOCK):
            at = start + column
            inside = real & (at < width)[None, :]
            x = _summed(x_row + at[None, :], b_row + at[None, :], inside, ADD).to(tl.float32)
            total += x * x
        r = 1.0 / tl.sqrt_rn(tl.sum(total, 1) / width + eps)
        for start in range(0, width, BLOCK):
            at = start + column
            inside = real & (at < width)[None, :]
            x = _summed(x_row + at[None, :], b_row + at[None, :], inside, ADD)
            y = _weighted(x, r, w_ptr, at, width, ROUND, OFFSET, WEIGHT)
            if ADD:
                tl.store(s_row + at[None, :], x, mask=inside)
            tl.store(y_row + at[None, :], y.to(y_ptr.dtype.element_ty), mask=inside)
    tl.store(r_ptr + row, r, mask=row < rows)


@jit
def backward_kernel(
    dy_ptr, ds_ptr, x_ptr, w_ptr, r_ptr, dx_ptr, dw_ptr, dy_stride, ds_stride, x_stride, rows, width, tiles,
    ROUND: tl.constexpr, OFFSET: tl.constexpr, WEIGHT: tl.constexpr, ADD: tl.constexpr,
    ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Rows that fit: each program walks over tiles of rows, and keeps a sum of its own for dw. ADD adds ds to dx."""
    column = tl.arange(0, BLOCK)
    inner = column < width
    if WEIGHT:
        w = tl.load(w_ptr + column, mask=inner, other=0.0).to(tl.float32) + OFFSET
    dw = tl.zeros([BLOCK], tl.float32)
    for tile_at in range(tl.program_id(0), tiles, tl.num_programs(0)):
        row = (tl.zeros([ROWS], tl.int64) + tile_at) * ROWS + tl.arange(0, ROWS)
        inside = (row < rows)[:, None] & inner[None, :]
        dy = tl.load(dy_ptr + row[:, None] * dy_stride + column[None, :], mask=inside, other=0.0).to(tl.float32)
        x = tl.load(x_ptr + row[:, None] * x_stride + column[None, :], mask=inside, other=0.0)
        r = tl.load(r_ptr + row, mask=row < rows, other=0.0)
        n, m = x.to(tl.float32) * r[:, None], dy
        if WEIGHT:
            m = dy * w[None, :]
        dx = (m - n * (tl.sum(m * n, 1) / width)[:, None]) * r[:, None]
        if ADD:
            ds = tl.load(ds_ptr + row[:, None] * ds_stride + column[None, :], mask=inside, other=0.0)
            dx += ds.to(tl.float32)
        tl.store(dx_ptr + row[:, None] * width + column[None, :], dx.to(dx_ptr.dtype.element_ty), mask=inside)
        if WEIGHT:
            if ROUND:
                n = n.to(x.dtype).to(tl.float32)
            dw += tl.sum(dy * n, 0)
    if WEIGHT:
        tl.store(dw_ptr + tl.program_id(0).to(tl.int64) * width + column, dw, mask=inner)


@jit
def backward_row_kernel(
    dy_ptr, ds_ptr, x_ptr, w_ptr, r_ptr, dx_ptr, dy_stride, ds_stride, x_stride, width,
    OFFSET: tl.constexpr, WEIGHT: tl.constexpr, ADD: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Dx of one row that does not fit: it is walked along twice."""
    row, column = tl.program_id(0).to(tl.int64), tl.arange(0, BLOCK)
    r = tl.load(r_ptr + row)
    total = tl.zeros([BLOCK], tl.float32)
    for start in range(0, width, BLOCK):
        at = start + column
        m = tl.load(dy_ptr + row * dy_stride + at, mask=at < width, other=0.0).to(tl.float32)
        n = tl.load(x_ptr + row * x_stride + at, mask=at < width, other=0.0).to(tl.float32) * r
        if WEIGHT:
            m *= tl.load(w_ptr + at, mask=at < width, other=0.0).to(tl.float32) + OFFSET
        total += m * n
    mean = tl.sum(total, 0) / width
    for start in range(0, width, BLOCK):
        at = start + column
        m = tl.load(dy_ptr + row * dy_stride + at, mask=at < width, other=0.0).to(tl.float32)
        n = tl.load(x_ptr + row * x_stride + at, mask=at < width, other=0.0).to(tl.float32) * r
        if WEIGHT:
            m *= tl.load(w_ptr + at, mask=at < width, other=0.0).to(tl.float32) + OFFSET
        dx = (m - n * mean) * r
        if ADD:
            dx += tl.load(ds_ptr + row * ds_stride + at, mask=at < width, other=0.0).to(tl.float32)
        tl.store(dx_ptr + row * width + at, dx.to(dx_ptr.dtype.element_ty), mask=at < width)


@jit
def backward_weight_kernel(
    dy_ptr, x_ptr, r_ptr, dw_ptr, dy_stride, x_stride, rows, width, part,
    ROUND: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Dw of some columns, over ``part`` rows."""
    column = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    first = tl.program_id(1).to(tl.int64) * part
    dw = tl.zeros([ROWS, BLOCK], tl.float32)
    for start in range(0, part, ROWS):
        row = first + start + tl.arange(0, ROWS)
        real = (row < rows) & (row < first + part)
        inside = real[:, None] & (column < width)[None, :]
        dy = tl.load(dy_ptr + row[:, None] * dy_stride + column[None, :], mask=inside, other=0.0).to(tl.float32)
        x = tl.load(x_ptr + row[:, None] * x_stride + column[None, :], mask=inside, other=0.0)
        n = x.to(tl.float32) * tl.load(r_ptr + row, mask=real, other=0.0)[:, None]
        if ROUND:
            n = n.to(x.dtype).to(tl.float32)
        dw += dy * n
    tl.store(dw_ptr + tl.program_id(1).to(tl.int64) * width + column, tl.sum(dw, 0), mask=column < width)


# -------------------------------------------------------------------------------------------------------- operators

COLUMNS: Final = 128
"""Columns that a program of `backward_weight_kernel` sums."""
ROWS_AT_ONCE: Final = 16
PARTS: Final = 64
"""Into how many parts the rows are cut for that."""


def _style(casting: str) -> dict[str, Any]:
    """Return what the kernels call a casting."""
    return {"ROUND": casting == "llama", "OFFSET": 1.0 if casting == "gemma" else 0.0}


def result_dtype(x: torch.Tensor, weight: torch.Tensor | None, casting: str) -> torch.dtype:
    """Return the dtype of the output: eager `llama` multiplies as PyTorch promotes."""
    return x.dtype if weight is None or casting != "llama" else torch.promote_types(x.dtype, weight.dtype)


def run_forward(
    x: torch.Tensor, weight: torch.Tensor | None, y: torch.Tensor, r: torch.Tensor, eps: float, casting: str,
    *, residual: torch.Tensor | None = None, total: torch.Tensor | None = None,
) -> None:  # fmt: skip
    """Fill y and r; with a residual, of its sum with x, which fills ``total``."""
    if not x.numel():
        return
    x = as_rows(x)
    b = x if residual is None else as_rows(residual)
    rows, width = x.shape
    shape = tile(width, widest=WIDEST_FORWARD)
    forward_kernel[cdiv(rows, shape.rows),](
        x, b, weight, y if total is None else total, y, r, x.stride(0), b.stride(0), rows, width, eps,
        **_style(casting), WEIGHT=weight is not None, ADD=residual is not None,
        ROWS=shape.rows, BLOCK=shape.block, WHOLE=shape.whole, num_warps=shape.warps,
    )  # fmt: skip


def _launch_forward(
    x: torch.Tensor, weight: torch.Tensor | None, eps: float, casting: str
) -> tuple[torch.Tensor, torch.Tensor]:
    y, r = empty_forward(x, weight, eps, casting)
    run_forward(x, weight, y, r, eps, casting)
    return y, r


def _plain_forward(
    x: torch.Tensor, weight: torch.Tensor | None, eps: float, casting: str
) -> tuple[torch.Tensor, torch.Tensor]:
    r = torch.rsqrt(x.float().pow(2).mean(-1) + eps)
    return reference(x, weight, eps, casting).contiguous(), r.reshape(-1)


def empty_forward(
    x: torch.Tensor, weight: torch.Tensor | None, eps: float, casting: str
) -> tuple[torch.Tensor, torch.Tensor]:
    """Make y and r, for a kernel to fill or for tracing."""
    y = torch.empty(x.shape, dtype=result_dtype(x, weight, casting), device=x.device)
    return y, x.new_empty(x.shape[:-1].numel(), dtype=torch.float32)


def run_backward(
    dy: torch.Tensor, x: torch.Tensor, weight: torch.Tensor | None, r: torch.Tensor, casting: str,
    ds: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:  # fmt: skip
    """Return dx, to which ds is added where it is given, and dw."""
    dx, dw = empty_backward(dy, x, weight, r, casting)
    if not x.numel():
        return dx, dw.zero_()
    dy, x = as_rows(dy), as_rows(x)
    ds_rows = dy if ds is None else as_rows(ds)
    strides = dy.stride(0), ds_rows.stride(0), x.stride(0)
    rows, width = x.shape
    shape = tile(width, widest=WIDEST_BACKWARD, live=2)
    style = _style(casting)
    flags = {"OFFSET": style["OFFSET"], "WEIGHT": weight is not None, "ADD": ds is not None}
    if shape.whole:
        tiles = cdiv(rows, shape.rows)
        programs = persistent_programs(x.device, tiles)
        partial = dw if weight is None else x.new_empty(programs, width, dtype=torch.float32)
        backward_kernel[programs,](
            dy, ds_rows, x, weight, r, dx, partial, *strides, rows, width, tiles, **flags, ROUND=style["ROUND"],
            ROWS=shape.rows, BLOCK=shape.block, num_warps=shape.warps,
        )  # fmt: skip
        return dx, dw if weight is None else partial.sum(0).to(dw.dtype)
    backward_row_kernel[rows,](
        dy, ds_rows, x, weight, r, dx, *strides, width, **flags, BLOCK=shape.block, num_warps=shape.warps
    )
    if weight is None:
        return dx, dw
    part = cdiv(cdiv(rows, PARTS), ROWS_AT_ONCE) * ROWS_AT_ONCE
    partial = x.new_empty(cdiv(rows, part), width, dtype=torch.float32)
    backward_weight_kernel[cdiv(width, COLUMNS), partial.shape[0]](
        dy, x, r, partial, dy.stride(0), x.stride(0), rows, width, part,
        ROUND=style["ROUND"], ROWS=ROWS_AT_ONCE, BLOCK=COLUMNS, num_warps=4,
    )  # fmt: skip
    return dx, partial.sum(0).to(dw.dtype)


def plain_backward(
    dy: torch.Tensor, x: torch.Tensor, weight: torch.Tensor | None, r: torch.Tensor, casting: str
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return dx and dw in plain PyTorch."""
    scale = r.reshape(*x.shape[:-1], 1)
    slope, normal = dy.float(), x.float() * scale
    rounded = normal.to(x.dtype).float() if casting == "llama" else normal
    m = slope if weight is None else slope * (weight.float() + (1.0 if casting == "gemma" else 0.0))
    dx = scale * (m - normal * (m * normal).mean(-1, keepdim=True))
    _, dw = empty_backward(dy, x, weight, r, casting)
    if weight is not None:
        dw = (slope * rounded).reshape(-1, x.shape[-1]).sum(0).to(weight.dtype)
    return dx.to(x.dtype).contiguous(), dw


def empty_backward(
    dy: torch.Tensor, x: torch.Tensor, weight: torch.Tensor | None, r: torch.Tensor, casting: str
) -> tuple[torch.Tensor, torch.Tensor]:
    """Make dx and dw."""
    dw = x.new_empty(0) if weight is None else torch.empty_like(weight, memory_format=torch.contiguous_format)
    return torch.empty(x.shape, dtype=x.dtype, device=x.device), dw


_rms_norm = register(
    "rms_norm(Tensor x, Tensor? weight, float eps, str casting) -> (Tensor, Tensor)",
    _launch_forward, _plain_forward, empty_forward,
)  # fmt: skip
_rms_norm_backward = register(
    "rms_norm_backward(Tensor dy, Tensor x, Tensor? weight, Tensor r, str casting) -> (Tensor, Tensor)",
    run_backward, plain_backward, empty_backward,
)  # fmt: skip


class _RMSNorm(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x: torch.Tensor, weight: torch.Tensor | None, eps: float, casting: str) -> Any:
        return _rms_norm(x, weight, eps, casting)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        x, weight, ctx.eps, ctx.casting = inputs
        ctx.mark_non_differentiable(output[1])
        ctx.save_for_backward(x, weight, output[1])

    @staticmethod
    def backward(ctx: Any, dy: torch.Tensor, _: Any) -> Any:
        x, weight, r = ctx.saved_tensors
        if torch.is_grad_enabled():
            return *gradients(reference, (x, weight, ctx.eps, ctx.casting), (dy,)), None, None
        dx, dw = _rms_norm_backward(dy, x, weight, r, ctx.casting)
        return dx, None if weight is None else dw, None, None


def rms_norm(x: torch.Tensor, weight: torch.Tensor | None, eps: float = 1e-6, casting: str = "llama") -> torch.Tensor:
    """Normalise the last dimension by its root mean square.

    Args:
        x: ``[..., width]``, of any strides.
        weight: ``[width]``, or None for no weight.
        eps: Added to the mean square.
        casting: ``llama``, ``gemma`` or ``torch``: where halves are rounded, see above.

    Returns:
        ``[..., width]``, contiguous; differentiable in x and weight, twice too.

    Raises:
        ValueError: There is no such casting.
    """
    if casting not in CASTINGS:
        message = f"casting is {casting!r}, not one of {', '.join(CASTINGS)}"
        raise ValueError(message)
    if not x.dim() or not x.shape[-1] or not usable(x, weight) or (weight is not None and weight.shape != x.shape[-1:]):
        return reference(x, weight, eps, casting)
    y: torch.Tensor = _RMSNorm.apply(x, None if weight is None else weight.contiguous(), eps, casting)[0]
    return y


# ------------------------------------------------------------------------------------------------------------- spec


def _make(maker: Maker, shape: tuple[int, ...], casting: str = "llama", weight: bool = True) -> tuple[Any, ...]:
    w = maker.normal(shape[-1], scale=0.1) + (0.0 if casting == "gemma" else 1.0)
    return maker.normal(*shape), w if weight else None, 1e-6, casting


def _traffic(x: torch.Tensor, weight: torch.Tensor | None, *_: Any) -> Traffic:
    w = 0 if weight is None else weight.nbytes
    return Traffic(2 * x.nbytes + w, 3 * x.nbytes + 2 * w)


def compilations(dtype: str, *, add: bool = False) -> Iterator[Compilation]:
    """Yield what to compile, for x alone or for a sum."""
    t, flags = pointer(dtype), {"OFFSET": 0.0, "WEIGHT": True, "ADD": add}
    row_types = {
        "dy_ptr": t, "ds_ptr": t, "x_ptr": t, "w_ptr": t, "r_ptr": "*fp32", "dx_ptr": t,
        "dy_stride": "i32", "ds_stride": "i32", "x_stride": "i32", "width": "i32",
    }  # fmt: skip
    for width in (64, 1_024, 8_192, 131_072):
        shape = tile(width, widest=WIDEST_FORWARD)
        types = {
            "x_ptr": t, "b_ptr": t, "w_ptr": t, "s_ptr": t, "y_ptr": t, "r_ptr": "*fp32",
            "x_stride": "i32", "b_stride": "i32", "rows": "i32", "width": "i32", "eps": "fp32",
        }  # fmt: skip
        constants = flags | {"ROUND": True, "ROWS": shape.rows, "BLOCK": shape.block, "WHOLE": shape.whole}
        yield Compilation(f"forward {width}", forward_kernel, types, constants, shape.warps)
        shape = tile(width, widest=WIDEST_BACKWARD, live=2)
        if shape.whole:
            types = row_types | {"dw_ptr": "*fp32", "rows": "i32", "tiles": "i32"}
            constants = flags | {"ROUND": True, "ROWS": shape.rows, "BLOCK": shape.block}
            yield Compilation(f"backward {width}", backward_kernel, types, constants, shape.warps)
            continue
        constants = flags | {"BLOCK": shape.block}
        yield Compilation(f"backward dx {width}", backward_row_kernel, row_types, constants, shape.warps)
        types = {
            "dy_ptr": t, "x_ptr": t, "r_ptr": "*fp32", "dw_ptr": "*fp32",
            "dy_stride": "i32", "x_stride": "i32", "rows": "i32", "width": "i32", "part": "i32",
        }  # fmt: skip
        constants = {"ROUND": True, "ROWS": ROWS_AT_ONCE, "BLOCK": COLUMNS}
        yield Compilation(f"backward dw {width}", backward_weight_kernel, types, constants, 4, vectorised=False)


SPEC = Spec(
    name="rms_norm",
    title="root mean square normalisation",
    source="arXiv:1910.07467",
    function=rms_norm,
    reference=reference,
    make=_make,
    shapes=SHAPES,
    variants=(*tuple({"casting": casting} for casting in CASTINGS), {"weight": False}),
    grid=GRID,
    traffic=_traffic,
    compilations=compilations,
    operators=("perfkit::rms_norm", "perfkit::rms_norm_backward"),
    rivals={"F.rms_norm": lambda x, weight, eps, _: torch.nn.functional.rms_norm(x, x.shape[-1:], weight, eps)},
)
