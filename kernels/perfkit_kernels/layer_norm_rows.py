"""Kernels of `layer_norm` and `dropout_add_layer_norm`, which normalise x, or with ADD s = dropout(x) + residual."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import torch

from perfkit_kernels.dialect import cdiv, jit, tl
from perfkit_kernels.dropout import kept_tile, threshold
from perfkit_kernels.operators import widened
from perfkit_kernels.rows import as_rows, persistent_programs, tile
from perfkit_kernels.spec import Compilation, pointer

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "GRID",
    "SHAPES",
    "compilations",
    "empty_backward",
    "empty_forward",
    "fitting",
    "plain_backward",
    "plain_forward",
    "run_backward",
    "run_forward",
]

WIDEST_FORWARD: Final = 8_192
WIDEST_BACKWARD: Final = 4_096
SHAPES: Final = ((1, 1), (3, 7), (2, 3, 5, 64), (5, 257), (0, 16), (2, 0, 8), (1, 8_209), (2, 4_127))
GRID: Final = tuple((rows, width) for width in (256, 1_024, 4_096, 16_384) for rows in (512, (1 << 27) // width))

# --------------------------------------------------------------------------------------------------------- kernels


@jit
def _summed(
    x_row, b_row, at, inside, seed, row, start, limit, scale,
    ADD: tl.constexpr, DROP: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Load a tile of x, or with ADD of its sum with the residual, each step rounded."""
    x = tl.load(x_row + at, mask=inside, other=0.0)
    if DROP:
        keep = kept_tile(seed, row, start, limit, ROWS, BLOCK)
        x = (x.to(tl.float32) * tl.where(keep, scale, 0.0)).to(x.dtype)
    if ADD:
        x = (x.to(tl.float32) + tl.load(b_row + at, mask=inside, other=0.0).to(tl.float32)).to(x.dtype)
    return x


@jit
def _scaled(n, w_ptr, bias_ptr, column, width, WEIGHT: tl.constexpr, BIAS: tl.constexpr):
    """Apply weight and bias to a normalised tile."""
    if WEIGHT:
        n *= tl.load(w_ptr + column, mask=column < width, other=0.0).to(tl.float32)[None, :]
    if BIAS:
        n += tl.load(bias_ptr + column, mask=column < width, other=0.0).to(tl.float32)[None, :]
    return n


@jit
def _forward(
    x_ptr, b_ptr, w_ptr, bias_ptr, seed_ptr, s_ptr, y_ptr, mean_ptr, r_ptr, x_stride, b_stride, rows, width, eps,
    limit, scale, WEIGHT: tl.constexpr, BIAS: tl.constexpr, ADD: tl.constexpr, DROP: tl.constexpr,
    ROWS: tl.constexpr, BLOCK: tl.constexpr, WHOLE: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    column, real = tl.arange(0, BLOCK), (row < rows)[:, None]
    x_row, b_row = x_ptr + row[:, None] * x_stride, b_ptr + row[:, None] * b_stride
    s_row, y_row = s_ptr + row[:, None] * width, y_ptr + row[:, None] * width
    seed = 0
    if DROP:
        seed = tl.load(seed_ptr)
    if WHOLE:
        inside = real & (column < width)[None, :]
        s = _summed(x_row, b_row, column[None, :], inside, seed, row, 0, limit, scale, ADD, DROP, ROWS, BLOCK)
        mean = tl.sum(s.to(tl.float32), 1) / width
        centred = tl.where(inside, s.to(tl.float32) - mean[:, None], 0.0)
        r = 1.0 / tl.sqrt_rn(tl.sum(centred * centred, 1) / width + eps)
        y = _scaled(centred * r[:, None], w_ptr, bias_ptr, column, width, WEIGHT, BIAS)
        if ADD:
            tl.store(s_row + column[None, :], s, mask=inside)
        tl.store(y_row + column[None, :], y.to(y_ptr.dtype.element_ty), mask=inside)
    else:
        total = tl.zeros([ROWS, BLOCK], tl.float32)
        for start in range(0, width, BLOCK):
            at = start + column
            inside = real & (at < width)[None, :]
            s = _summed(x_row, b_row, at[None, :], inside, seed, row, start, limit, scale, ADD, DROP, ROWS, BLOCK)
            total += s.to(tl.float32)
            if ADD:
                tl.store(s_row + at[None, :], s, mask=inside)
        mean = tl.sum(total, 1) / width
        squares = tl.zeros([ROWS, BLOCK], tl.float32)
        for start in range(0, width, BLOCK):
            at = start + column
            inside = real & (at < width)[None, :]
            s = _summed(x_row, b_row, at[None, :], inside, seed, row, start, limit, scale, ADD, DROP, ROWS, BLOCK)
            centred = tl.where(inside, s.to(tl.float32) - mean[:, None], 0.0)
            squares += centred * centred
        r = 1.0 / tl.sqrt_rn(tl.sum(squares, 1) / width + eps)
        for start in range(0, width, BLOCK):
            at = start + column
            inside = real & (at < width)[None, :]
            s = _summed(x_row, b_row, at[None, :], inside, seed, row, start, limit, scale, ADD, DROP, ROWS, BLOCK)
            n = (s.to(tl.float32) - mean[:, None]) * r[:, None]
            y = _scaled(n, w_ptr, bias_ptr, at, width, WEIGHT, BIAS)
            tl.store(y_row + at[None, :], y.to(y_ptr.dtype.element_ty), mask=inside)
    tl.store(mean_ptr + row, mean, mask=row < rows)
    tl.store(r_ptr + row, r, mask=row < rows)


@jit
def _slopes(
    dy_row, x_row, w_ptr, at, inside, mean, r, width, WEIGHT: tl.constexpr,
):  # fmt: skip
    """Load dy, the normalised row n, and m."""
    dy = tl.load(dy_row + at[None, :], mask=inside, other=0.0).to(tl.float32)
    x = tl.load(x_row + at[None, :], mask=inside, other=0.0).to(tl.float32)
    n, m = tl.where(inside, (x - mean[:, None]) * r[:, None], 0.0), dy
    if WEIGHT:
        m = dy * tl.load(w_ptr + at, mask=at < width, other=0.0).to(tl.float32)[None, :]
    return dy, n, m


@jit
def _leave(
    dx, ds_row, dx_row, db_row, at, inside, seed, row, start, limit, scale,
    ADD: tl.constexpr, DROP: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Store the gradient of the sum, and with DROP that of what was dropped from."""
    if ADD:
        dx += tl.load(ds_row + at[None, :], mask=inside, other=0.0).to(tl.float32)
    if DROP:
        tl.store(db_row + at[None, :], dx.to(db_row.dtype.element_ty), mask=inside)
        dx *= tl.where(kept_tile(seed, row, start, limit, ROWS, BLOCK), scale, 0.0)
    tl.store(dx_row + at[None, :], dx.to(dx_row.dtype.element_ty), mask=inside)


@jit
def _backward(
    dy_ptr, ds_ptr, x_ptr, w_ptr, seed_ptr, mean_ptr, r_ptr, dx_ptr, db_ptr, dw_ptr, dbias_ptr,
    dy_stride, ds_stride, x_stride, rows, width, tiles, limit, scale,
    WEIGHT: tl.constexpr, SUMS: tl.constexpr, ADD: tl.constexpr, DROP: tl.constexpr,
    ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Rows that fit: each program walks over tiles of rows, and keeps sums of its own for weight and bias."""
    column = tl.arange(0, BLOCK)
    dw, dbias = tl.zeros([ROWS, BLOCK], tl.float32), tl.zeros([ROWS, BLOCK], tl.float32)
    seed = 0
    if DROP:
        seed = tl.load(seed_ptr)
    for tile_at in range(tl.program_id(0), tiles, tl.num_programs(0)):
        row = (tl.zeros([ROWS], tl.int64) + tile_at) * ROWS + tl.arange(0, ROWS)
        inside = (row < rows)[:, None] & (column < width)[None, :]
        mean = tl.load(mean_ptr + row, mask=row < rows, other=0.0)
        r = tl.load(r_ptr + row, mask=row < rows, other=0.0)
        dy, n, m = _slopes(
            dy_ptr + row[:, None] * dy_stride, x_ptr + row[:, None] * x_stride, w_ptr, column, inside, mean, r, width,
            WEIGHT,
        )  # fmt: skip
        dx = (m - (tl.sum(m, 1) / width)[:, None] - n * (tl.sum(m * n, 1) / width)[:, None]) * r[:, None]
        _leave(
            dx, ds_ptr + row[:, None] * ds_stride, dx_ptr + row[:, None] * width, db_ptr + row[:, None] * width,
            column, inside, seed, row, 0, limit, scale, ADD, DROP, ROWS, BLOCK,
        )  # fmt: skip
        if SUMS:
            dw += dy * n
            dbias += dy
    if SUMS:
        tl.store(dw_ptr + tl.program_id(0).to(tl.int64) * width + column, tl.sum(dw, 0), mask=column < width)
        tl.store(dbias_ptr + tl.program_id(0).to(tl.int64) * width + column, tl.sum(dbias, 0), mask=column < width)


@jit
def _backward_row(
    dy_ptr, ds_ptr, x_ptr, w_ptr, seed_ptr, mean_ptr, r_ptr, dx_ptr, db_ptr, dy_stride, ds_stride, x_stride, width,
    limit, scale, WEIGHT: tl.constexpr, ADD: tl.constexpr, DROP: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Dx of one row that does not fit: it is walked along twice."""
    row, column = tl.program_id(0).to(tl.int64) + tl.zeros([1], tl.int64), tl.arange(0, BLOCK)
    mean, r = tl.load(mean_ptr + row), tl.load(r_ptr + row)
    dy_row, x_row = dy_ptr + row[:, None] * dy_stride, x_ptr + row[:, None] * x_stride
    ds_row, dx_row = ds_ptr + row[:, None] * ds_stride, dx_ptr + row[:, None] * width
    seed = 0
    if DROP:
        seed = tl.load(seed_ptr)
    total, weighed = tl.zeros([1, BLOCK], tl.float32), tl.zeros([1, BLOCK], tl.float32)
    for start in range(0, width, BLOCK):
        at = start + column
        _, n, m = _slopes(dy_row, x_row, w_ptr, at, (at < width)[None, :], mean, r, width, WEIGHT)
        total += m
        weighed += m * n
    first, second = tl.sum(total, 1) / width, tl.sum(weighed, 1) / width
    for start in range(0, width, BLOCK):
        at = start + column
        inside = (at < width)[None, :]
        _, n, m = _slopes(dy_row, x_row, w_ptr, at, inside, mean, r, width, WEIGHT)
        _leave(
            (m - first[:, None] - n * second[:, None]) * r[:, None], ds_row, dx_row, db_ptr + row[:, None] * width,
            at, inside, seed, row, start, limit, scale, ADD, DROP, 1, BLOCK,
        )  # fmt: skip


@jit
def _backward_sums(
    dy_ptr, x_ptr, mean_ptr, r_ptr, dw_ptr, dbias_ptr, dy_stride, x_stride, rows, width, part,
    ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Gradients of some columns' weights and biases, over ``part`` rows."""
    column = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    first = tl.program_id(1).to(tl.int64) * part
    dw, dbias = tl.zeros([ROWS, BLOCK], tl.float32), tl.zeros([ROWS, BLOCK], tl.float32)
    for start in range(0, part, ROWS):
        row = first + start + tl.arange(0, ROWS)
        real = (row < rows) & (row < first + part)
        inside = real[:, None] & (column < width)[None, :]
        mean, r = tl.load(mean_ptr + row, mask=real, other=0.0), tl.load(r_ptr + row, mask=real, other=0.0)
        dy, n, _ = _slopes(
            dy_ptr + row[:, None] * dy_stride, x_ptr + row[:, None] * x_stride, x_ptr, column, inside, mean, r, width,
            False,
        )  # fmt: skip
        dw += dy * n
        dbias += dy
    at = tl.program_id(1).to(tl.int64) * width + column
    tl.store(dw_ptr + at, tl.sum(dw, 0), mask=column < width)
    tl.store(dbias_ptr + at, tl.sum(dbias, 0), mask=column < width)


# -------------------------------------------------------------------------------------------------------- launchers

COLUMNS: Final = 128
"""Columns that a program of `_backward_sums` sums."""
ROWS_AT_ONCE: Final = 16
PARTS: Final = 64
"""Into how many parts the rows are cut for that."""


def _chance(p: float) -> tuple[int, float]:
    """Return what the kernels take of a probability: a limit of random bits, and the scale of what is kept."""
    return threshold(p), 1.0 / (1.0 - p)


def run_forward(
    x: torch.Tensor, weight: torch.Tensor | None, bias: torch.Tensor | None, eps: float, *, wide: bool,
    residual: torch.Tensor | None = None, seed: torch.Tensor | None = None, p: float = 0.0,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:  # fmt: skip
    """Return y, the sum (x where there is no residual), and for each row its mean and factor."""
    y, mean, r = empty_forward(x, wide=wide)
    s = x if residual is None else torch.empty(x.shape, dtype=x.dtype, device=x.device)
    if x.numel():
        rows_of_x = as_rows(x)
        b = rows_of_x if residual is None else as_rows(residual)
        rows, width = rows_of_x.shape
        shape = tile(width, widest=WIDEST_FORWARD, live=2)
        _forward[cdiv(rows, shape.rows),](
            rows_of_x, b, weight, bias, seed, s, y, mean, r, rows_of_x.stride(0), b.stride(0), rows, width, eps,
            *_chance(p), WEIGHT=weight is not None, BIAS=bias is not None, ADD=residual is not None, DROP=p > 0,
            ROWS=shape.rows, BLOCK=max(4, shape.block), WHOLE=shape.whole, num_warps=shape.warps,
        )  # fmt: skip
    return y, s, mean, r


def empty_forward(x: torch.Tensor, *, wide: bool) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Make y, means and factors."""
    rows = x.shape[:-1].numel()
    y = torch.empty(x.shape, dtype=torch.float32 if wide else x.dtype, device=x.device)
    return y, x.new_empty(rows, dtype=torch.float32), x.new_empty(rows, dtype=torch.float32)


def run_backward(
    dy: torch.Tensor, s: torch.Tensor, weight: torch.Tensor | None, bias: torch.Tensor | None, mean: torch.Tensor,
    r: torch.Tensor, *, ds: torch.Tensor | None = None, seed: torch.Tensor | None = None, p: float = 0.0,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:  # fmt: skip
    """Return the gradients of x, of the residual, of weight and bias; the second is the first where nothing drops."""
    dx, dw, dbias = empty_backward(dy, s, weight, bias)
    db = torch.empty_like(dx) if p > 0 else dx
    if not s.numel():
        return dx, db, dw.zero_(), dbias.zero_()
    dy, x = as_rows(dy), as_rows(s)
    ds_rows = dy if ds is None else as_rows(ds)
    strides = dy.stride(0), ds_rows.stride(0), x.stride(0)
    rows, width = x.shape
    sums = weight is not None or bias is not None
    flags = {"WEIGHT": weight is not None, "ADD": ds is not None, "DROP": p > 0}
    shape = tile(width, widest=WIDEST_BACKWARD, live=4)
    block = max(4, shape.block)
    inputs = dy, ds_rows, x, weight, seed, mean, r, dx, db
    if shape.whole:
        tiles = cdiv(rows, shape.rows)
        programs = persistent_programs(x.device, tiles)
        partial = x.new_empty(2, programs, width, dtype=torch.float32)
        _backward[programs,](
            *inputs, partial[0], partial[1], *strides, rows, width, tiles, *_chance(p), **flags, SUMS=sums,
            ROWS=shape.rows, BLOCK=block, num_warps=shape.warps,
        )  # fmt: skip
    else:
        _backward_row[rows,](*inputs, *strides, width, *_chance(p), **flags, BLOCK=block, num_warps=shape.warps)
        part = cdiv(cdiv(rows, PARTS), ROWS_AT_ONCE) * ROWS_AT_ONCE
        partial = x.new_empty(2, cdiv(rows, part), width, dtype=torch.float32)
        if sums:
            _backward_sums[cdiv(width, COLUMNS), partial.shape[1]](
                dy, x, mean, r, partial[0], partial[1], strides[0], strides[2], rows, width, part,
                ROWS=ROWS_AT_ONCE, BLOCK=COLUMNS, num_warps=4,
            )  # fmt: skip
    if sums:
        total = partial.sum(1)
        dw = dw if weight is None else total[0].to(dw.dtype)
        dbias = dbias if bias is None else total[1].to(dbias.dtype)
    return dx, db, dw, dbias


def empty_backward(
    _: torch.Tensor, s: torch.Tensor, weight: torch.Tensor | None, bias: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Make dx and the parameters' gradients."""
    dx = torch.empty(s.shape, dtype=s.dtype, device=s.device)
    dw, dbias = (
        s.new_empty(0) if parameter is None else torch.empty_like(parameter, memory_format=torch.contiguous_format)
        for parameter in (weight, bias)
    )
    return dx, dw, dbias


def plain_forward(
    x: torch.Tensor, weight: torch.Tensor | None, bias: torch.Tensor | None, eps: float, *, wide: bool
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return y, means and factors in plain PyTorch."""
    variance, mean = torch.var_mean(x.float(), -1, correction=0)
    given = (tensor if tensor is None or not wide else tensor.float() for tensor in (x, weight, bias))
    y = torch.nn.functional.layer_norm(next(given), x.shape[-1:], *given, eps)
    return y.contiguous(), mean.reshape(-1), torch.rsqrt(variance + eps).reshape(-1)


def plain_backward(
    dy: torch.Tensor, s: torch.Tensor, weight: torch.Tensor | None, bias: torch.Tensor | None, mean: torch.Tensor,
    r: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:  # fmt: skip
    """Return the gradients in plain PyTorch."""
    rows = (*s.shape[:-1], 1)
    slope, n = dy.float(), (s.float() - mean.reshape(rows)) * r.reshape(rows)
    m = slope if weight is None else slope * weight.float()
    dx = r.reshape(rows) * (m - m.mean(-1, keepdim=True) - n * (m * n).mean(-1, keepdim=True))
    _, dw, dbias = empty_backward(dy, s, weight, bias)
    if weight is not None:
        dw = (slope * n).reshape(-1, s.shape[-1]).sum(0).to(weight.dtype)
    if bias is not None:
        dbias = slope.reshape(-1, s.shape[-1]).sum(0).to(bias.dtype)
    return dx.to(s.dtype).contiguous(), dw, dbias


def fitting(x: torch.Tensor, weight: torch.Tensor | None, bias: torch.Tensor | None) -> bool:
    """Whether shapes and dtypes are such as eager PyTorch takes on a GPU."""
    if not x.dim() or not x.shape[-1]:
        return False
    given = [parameter for parameter in (weight, bias) if parameter is not None]
    return all(parameter.shape == x.shape[-1:] and (parameter.dtype == x.dtype or widened(x)) for parameter in given)


def compilations(dtype: str, *, add: bool) -> Iterator[Compilation]:
    """Yield what to compile, for x alone or for a sum with what is left of x."""
    t, flags, kept = pointer(dtype), {"WEIGHT": True, "ADD": add, "DROP": add}, {"limit": "i32", "scale": "fp32"}
    row_types = {
        "dy_ptr": t, "ds_ptr": t, "x_ptr": t, "w_ptr": t, "seed_ptr": "*i64", "mean_ptr": "*fp32", "r_ptr": "*fp32",
        "dx_ptr": t, "db_ptr": t, "dy_stride": "i32", "ds_stride": "i32", "x_stride": "i32", "width": "i32",
    }  # fmt: skip
    for width in (64, 1_024, 4_096, 8_192, 131_072):
        shape = tile(width, widest=WIDEST_FORWARD, live=2)
        types = {
            "x_ptr": t, "b_ptr": t, "w_ptr": t, "bias_ptr": t, "seed_ptr": "*i64", "s_ptr": t, "y_ptr": t,
            "mean_ptr": "*fp32", "r_ptr": "*fp32", "x_stride": "i32", "b_stride": "i32", "rows": "i32",
            "width": "i32", "eps": "fp32",
        }  # fmt: skip
        constants = {"BIAS": True, "ROWS": shape.rows, "BLOCK": shape.block, "WHOLE": shape.whole}
        yield Compilation(f"forward {width}", _forward, types | kept, flags | constants, shape.warps)
        shape = tile(width, widest=WIDEST_BACKWARD, live=4)
        if shape.whole:
            types = row_types | {"dw_ptr": "*fp32", "dbias_ptr": "*fp32", "rows": "i32", "tiles": "i32"}
            constants = {"SUMS": True, "ROWS": shape.rows, "BLOCK": shape.block}
            yield Compilation(f"backward {width}", _backward, types | kept, flags | constants, shape.warps)
            continue
        constants = {"BLOCK": shape.block}
        yield Compilation(f"backward dx {width}", _backward_row, row_types | kept, flags | constants, shape.warps)
        types = {
            "dy_ptr": t, "x_ptr": t, "mean_ptr": "*fp32", "r_ptr": "*fp32", "dw_ptr": "*fp32", "dbias_ptr": "*fp32",
            "dy_stride": "i32", "x_stride": "i32", "rows": "i32", "width": "i32", "part": "i32",
        }  # fmt: skip
        constants = {"ROWS": ROWS_AT_ONCE, "BLOCK": COLUMNS}
        yield Compilation(f"backward dw {width}", _backward_sums, types, constants, 4, vectorised=False)
