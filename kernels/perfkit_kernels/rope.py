"""Rotary position embedding of queries and keys: pairs of elements are turned by an angle of their position.

    y_a = x_a * cos_a - x_b * sin_a,    y_b = x_b * cos_b + x_a * sin_b

Su et al., RoFormer, 2021 (arXiv:2104.09864). The partner of an element is in the other half of a head (as Llama has
it), or is its neighbour, interleaved (as GPT-J has it). Cosines and sines are given for each element, as models keep
them. The gradient turns back: dx_a = dy_a * cos_a + dy_b * sin_b,  dx_b = dy_b * cos_b - dy_a * sin_a.

Bytes moved, forward or backward: q and k read and written once, cosines and sines once for all heads.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import torch

from perfkit_kernels.dialect import cdiv, jit, next_power_of_2, tl
from perfkit_kernels.operators import expands, fixed, register, usable
from perfkit_kernels.rows import merged
from perfkit_kernels.spec import Compilation, Spec, Traffic, pointer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from perfkit_kernels.spec import Maker

__all__ = ["SPEC", "rope", "turn", "turned"]

ELEMENTS: Final = 2_048
"""Elements that a program turns."""
MOST_ROWS: Final = 64
WIDEST: Final = 1_024
WARPS: Final = 4


def reference(
    q: torch.Tensor, k: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, interleaved: bool = False
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return what eager PyTorch makes of it."""
    return turned(q, cos, sin, interleaved), turned(k, cos, sin, interleaved)


def turned(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, interleaved: bool = False) -> torch.Tensor:
    """Return what eager PyTorch makes of one of them."""
    return x * cos + _partner(x, interleaved=interleaved) * sin


def _partner(x: torch.Tensor, *, interleaved: bool) -> torch.Tensor:
    """Put the other of its pair in each element's place, the second negated."""
    if interleaved:
        return torch.stack((-x[..., 1::2], x[..., ::2]), -1).flatten(-2)
    first, second = x.chunk(2, -1)
    return torch.cat((-second, first), -1)


@jit
def _pairs(row, at, real, HALF: tl.constexpr, PAIRS: tl.constexpr, INTERLEAVED: tl.constexpr):
    """Load the first and the second of each pair, ``[ROWS, PAIRS]``."""
    if INTERLEAVED:
        column = tl.arange(0, 2 * PAIRS)[None, :]
        both = tl.load(row + column, mask=real & (column < 2 * HALF), other=0.0).to(tl.float32)
        first, second = tl.split(tl.reshape(both, [both.shape[0], PAIRS, 2]))
    else:
        first = tl.load(row + at, mask=real & (at < HALF), other=0.0).to(tl.float32)
        second = tl.load(row + HALF + at, mask=real & (at < HALF), other=0.0).to(tl.float32)
    return first, second


@jit
def _turn(
    x_ptr, cos_ptr, sin_ptr, y_ptr, x_outer_stride, x_middle_stride, x_inner_stride,
    cos_outer_stride, cos_middle_stride, cos_inner_stride, sin_outer_stride, sin_middle_stride, sin_inner_stride,
    rows, middle, inner,
    BACK: tl.constexpr, INTERLEAVED: tl.constexpr, HALF: tl.constexpr, ROWS: tl.constexpr, PAIRS: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    c, b, a = row % inner, row // inner % middle, row // inner // middle
    at, real = tl.arange(0, PAIRS)[None, :], (row < rows)[:, None]
    x_row = x_ptr + (a * x_outer_stride + b * x_middle_stride + c * x_inner_stride)[:, None]
    cos_row = cos_ptr + (a * cos_outer_stride + b * cos_middle_stride + c * cos_inner_stride)[:, None]
    sin_row = sin_ptr + (a * sin_outer_stride + b * sin_middle_stride + c * sin_inner_stride)[:, None]
    first, second = _pairs(x_row, at, real, HALF, PAIRS, INTERLEAVED)
    cos_first, cos_second = _pairs(cos_row, at, real, HALF, PAIRS, INTERLEAVED)
    sin_first, sin_second = _pairs(sin_row, at, real, HALF, PAIRS, INTERLEAVED)
    if BACK:
        one = first * cos_first + second * sin_second
        other = second * cos_second - first * sin_first
    else:
        one = first * cos_first - second * sin_first
        other = second * cos_second + first * sin_second
    y_row = y_ptr + row[:, None] * (2 * HALF)
    if INTERLEAVED:
        column = tl.arange(0, 2 * PAIRS)[None, :]
        both = tl.reshape(tl.join(one, other), [ROWS, 2 * PAIRS])
        tl.store(y_row + column, both.to(y_ptr.dtype.element_ty), mask=real & (column < 2 * HALF))
    else:
        tl.store(y_row + at, one.to(y_ptr.dtype.element_ty), mask=real & (at < HALF))
        tl.store(y_row + HALF + at, other.to(y_ptr.dtype.element_ty), mask=real & (at < HALF))


def _run(
    x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, y: torch.Tensor, *, interleaved: bool, back: bool
) -> torch.Tensor:
    """Fill y."""
    if not x.numel():
        return y
    given = [
        tensor if tensor.stride(-1) == 1 else tensor.contiguous()
        for tensor in (x, cos.expand(*cos.shape[:-1], x.shape[-1]), sin.expand(*sin.shape[:-1], x.shape[-1]))
    ]
    given = [tensor.expand(x.shape) for tensor in given]
    steps = merged(*given)
    if steps is None:
        given = [tensor.contiguous() for tensor in given]
        steps = merged(*given)
    assert steps is not None
    rows, half = x.shape[:-1].numel(), x.shape[-1] // 2
    pairs = next_power_of_2(half)
    at_once = max(1, min(ELEMENTS // (2 * pairs), MOST_ROWS))
    strides = (stride for tensor in steps.strides for stride in tensor)
    _turn[cdiv(rows, at_once),](
        *given, y, *strides, rows, *steps.sizes[1:],
        BACK=back, INTERLEAVED=interleaved, HALF=half, ROWS=at_once, PAIRS=pairs, num_warps=WARPS,
    )  # fmt: skip
    return y


def _launch(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, interleaved: bool) -> torch.Tensor:
    return _run(x, cos, sin, _empty(x, cos, sin, interleaved), interleaved=interleaved, back=False)


def _plain(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, interleaved: bool) -> torch.Tensor:
    return turned(x, cos, sin, interleaved).contiguous()


def _empty(x: torch.Tensor, cos: torch.Tensor, _: torch.Tensor, __: bool) -> torch.Tensor:
    return torch.empty(x.shape, dtype=torch.promote_types(x.dtype, cos.dtype), device=x.device)


def _launch_backward(
    dy: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, interleaved: bool, dtype: torch.dtype
) -> torch.Tensor:
    return _run(dy, cos, sin, _empty_backward(dy, cos, sin, interleaved, dtype), interleaved=interleaved, back=True)


def _plain_backward(
    dy: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, interleaved: bool, dtype: torch.dtype
) -> torch.Tensor:
    return (dy * cos - _partner(dy * sin, interleaved=interleaved)).to(dtype).contiguous()


def _empty_backward(dy: torch.Tensor, _: torch.Tensor, __: torch.Tensor, ___: bool, dtype: torch.dtype) -> torch.Tensor:
    return torch.empty(dy.shape, dtype=dtype, device=dy.device)


_rope = register("rope(Tensor x, Tensor cos, Tensor sin, bool interleaved) -> Tensor", _launch, _plain, _empty)
_rope_backward = register(
    "rope_backward(Tensor dy, Tensor cos, Tensor sin, bool interleaved, ScalarType dtype) -> Tensor",
    _launch_backward, _plain_backward, _empty_backward,
)  # fmt: skip


class _RoPE(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, interleaved: bool) -> Any:
        return _rope(x, cos, sin, interleaved)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        del output
        x, cos, sin, ctx.interleaved = inputs
        ctx.dtype = x.dtype
        ctx.save_for_backward(cos, sin)

    @staticmethod
    def backward(ctx: Any, dy: torch.Tensor) -> Any:
        # To turn is linear, and what is not a kernel is differentiable.
        back = _plain_backward if torch.is_grad_enabled() else _rope_backward
        cos, sin = ctx.saved_tensors
        return back(dy, cos, sin, ctx.interleaved, ctx.dtype), None, None, None


def rope(
    q: torch.Tensor, k: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, interleaved: bool = False
) -> tuple[torch.Tensor, torch.Tensor]:
    """Turn queries and keys by their positions; see `turn`."""
    return turn(q, cos, sin, interleaved), turn(k, cos, sin, interleaved)


def turn(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, interleaved: bool = False) -> torch.Tensor:
    """Turn queries, or keys, by their positions.

    Args:
        x: ``[..., width]``, such as ``[batch, heads, positions, width]``; of any strides.
        cos: Cosine for each element, of a shape that expands to that of x.
        sin: Sine likewise. Where gradients of the two are wanted, the reference computes them.
        interleaved: Whether neighbours are a pair, and not an element of each half.

    Returns:
        What x turns into, contiguous; differentiable in x, twice too.
    """
    width = x.shape[-1] if x.dim() else 0
    fits = (
        0 < width <= WIDEST
        and width % 2 == 0
        and cos.dtype == sin.dtype
        and fixed(cos, sin)
        and expands(cos, x)
        and expands(sin, x)
    )
    if not fits or not usable(x, cos, sin):
        return turned(x, cos, sin, interleaved)
    y: torch.Tensor = _RoPE.apply(x, cos, sin, interleaved)
    return y


# ------------------------------------------------------------------------------------------------------------- spec


def _make(maker: Maker, shape: tuple[int, ...], interleaved: bool = False) -> tuple[Any, ...]:
    *outer, positions, width = shape
    angles = maker.normal(positions, width // 2, dtype=torch.float32)
    angles = angles.repeat_interleave(2, -1) if interleaved else torch.cat((angles, angles), -1)
    k = maker.normal(*outer[:-1], *(1 for _ in outer[-1:]), positions, width)  # one head for all
    return maker.normal(*shape), k, angles.cos().to(maker.dtype), angles.sin().to(maker.dtype), interleaved


def _traffic(q: torch.Tensor, k: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, *_: Any) -> Traffic:
    moved = 2 * (q.nbytes + k.nbytes) + cos.nbytes + sin.nbytes
    return Traffic(moved, moved)


def _compilations(dtype: str) -> Iterator[Compilation]:
    t = pointer(dtype)
    types = {"x_ptr": t, "cos_ptr": t, "sin_ptr": t, "y_ptr": t, "rows": "i32", "middle": "i32", "inner": "i32"}
    types |= {f"{x}_{place}_stride": "i32" for x in ("x", "cos", "sin") for place in ("outer", "middle", "inner")}
    for half in (32, 64, 128):
        for interleaved in (False, True):
            rows = max(1, min(ELEMENTS // (2 * half), MOST_ROWS))
            constants = {"BACK": False, "INTERLEAVED": interleaved, "HALF": half, "ROWS": rows, "PAIRS": half}
            label = f"{'neighbours' if interleaved else 'halves'} {2 * half}"
            yield Compilation(label, _turn, types, constants, WARPS)


SPEC = Spec(
    name="rope",
    title="rotary position embedding",
    source="arXiv:2104.09864",
    function=rope,
    reference=reference,
    make=_make,
    shapes=((1, 1, 1, 2), (2, 3, 5, 64), (1, 2, 7, 6), (3, 2), (0, 2, 3, 16), (2, 2, 0, 8), (2, 5, 3, 2, 80), (7, 96)),
    variants=({"interleaved": False}, {"interleaved": True}),
    grid=tuple((batch, 32, positions, 128) for positions in (1, 512, 4_096) for batch in (1, 8)),
    traffic=_traffic,
    compilations=_compilations,
    operators=("perfkit::rope", "perfkit::rope_backward"),
    constant=(2, 3),
)
