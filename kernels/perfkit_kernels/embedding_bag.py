"""Rows of an embedding that are looked up and summed, without the rows in between.

    y_b = sum_l weight[index_bl],    dweight_v = sum of dy_b over the places (b, l) that hold v

The backward pass sorts the indices, and one program walks over the places that hold the same: the order of a sum is
always the same, and no two programs add to one row. An index that is there very often makes that walk long.

Bytes moved: forward, each row looked up once and y once; backward, dy once for each place, and the weight's gradient.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import torch

from perfkit_kernels.dialect import cdiv, jit, next_power_of_2, tl
from perfkit_kernels.operators import gradients, register, usable
from perfkit_kernels.rows import as_rows
from perfkit_kernels.spec import Compilation, Spec, Traffic, pointer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from perfkit_kernels.spec import Maker

__all__ = ["SPEC", "embedding_bag"]

WIDEST: Final = 1_024
"""Columns that a program sums."""


def reference(weight: torch.Tensor, indices: torch.Tensor) -> torch.Tensor:
    """Return what eager PyTorch makes of it."""
    return torch.nn.functional.embedding(indices, weight).sum(-2)


@jit
def _forward(
    w_ptr, index_ptr, y_ptr, w_stride, length, classes, width, blocks, BLOCK: tl.constexpr,
):  # fmt: skip
    program = tl.program_id(0).to(tl.int64)
    bag, column = program // blocks, (program % blocks) * BLOCK + tl.arange(0, BLOCK)
    total = tl.zeros([BLOCK], tl.float32)
    for place in range(length):
        index = tl.load(index_ptr + bag * length + place)
        there = (index >= 0) & (index < classes)
        w = tl.load(w_ptr + index * w_stride + column, mask=(column < width) & there, other=0.0).to(tl.float32)
        total += tl.where(there, w, float("nan"))
    tl.store(y_ptr + bag * width + column, total.to(y_ptr.dtype.element_ty), mask=column < width)


@jit
def _backward(
    dy_ptr, sorted_ptr, order_ptr, dw_ptr, dy_stride, length, places, classes, width, blocks, BLOCK: tl.constexpr,
):  # fmt: skip
    program = tl.program_id(0).to(tl.int64)
    place, column = program // blocks, (program % blocks) * BLOCK + tl.arange(0, BLOCK)
    index = tl.load(sorted_ptr + place)
    before = tl.load(sorted_ptr + place - 1, mask=place > 0, other=-1)
    if (index != before) & (index >= 0) & (index < classes):
        total = tl.zeros([BLOCK], tl.float32)
        same = index
        while same == index:
            bag = tl.load(order_ptr + place) // length
            total += tl.load(dy_ptr + bag * dy_stride + column, mask=column < width, other=0.0).to(tl.float32)
            place += 1
            same = tl.load(sorted_ptr + place, mask=place < places, other=-1)
        tl.store(dw_ptr + index * width + column, total.to(dw_ptr.dtype.element_ty), mask=column < width)


def _blocks(width: int) -> tuple[int, int, int]:
    """Return how many columns a program sums, how many programs that takes, and their warps."""
    block = min(next_power_of_2(width), WIDEST)
    return block, cdiv(width, block), max(1, min(4, block // 512))


def _launch(weight: torch.Tensor, indices: torch.Tensor) -> torch.Tensor:
    y = _empty(weight, indices)
    if y.numel():
        weight, indices = as_rows(weight), indices.contiguous()
        width = weight.shape[1]
        block, blocks, warps = _blocks(width)
        _forward[indices.shape[:-1].numel() * blocks,](
            weight, indices, y, weight.stride(0), indices.shape[-1], weight.shape[0], width, blocks,
            BLOCK=block, num_warps=warps,
        )  # fmt: skip
    return y


def _plain(weight: torch.Tensor, indices: torch.Tensor) -> torch.Tensor:
    return reference(weight, indices).contiguous()


def _empty(weight: torch.Tensor, indices: torch.Tensor) -> torch.Tensor:
    return weight.new_empty(*indices.shape[:-1], weight.shape[1])


def _launch_backward(dy: torch.Tensor, indices: torch.Tensor, classes: int) -> torch.Tensor:
    dw = _empty_backward(dy, indices, classes).zero_()
    if indices.numel():
        dy = as_rows(dy)
        places, width = indices.numel(), dy.shape[1]
        ordered, order = torch.sort(indices.reshape(-1), stable=True)
        block, blocks, warps = _blocks(width)
        _backward[places * blocks,](
            dy, ordered, order, dw, dy.stride(0), indices.shape[-1], places, classes, width, blocks,
            BLOCK=block, num_warps=warps,
        )  # fmt: skip
    return dw


def _plain_backward(dy: torch.Tensor, indices: torch.Tensor, classes: int) -> torch.Tensor:
    dw = dy.new_zeros(classes, dy.shape[-1], dtype=torch.float32)
    rows = dy.float().unsqueeze(-2).expand(*indices.shape, dy.shape[-1])
    return dw.index_add(0, indices.reshape(-1), rows.reshape(indices.numel(), dy.shape[-1])).to(dy.dtype)


def _empty_backward(dy: torch.Tensor, _: torch.Tensor, classes: int) -> torch.Tensor:
    return dy.new_empty(classes, dy.shape[-1])


_bag = register("embedding_bag(Tensor weight, Tensor indices) -> Tensor", _launch, _plain, _empty)
_bag_backward = register(
    "embedding_bag_backward(Tensor dy, Tensor indices, int classes) -> Tensor",
    _launch_backward, _plain_backward, _empty_backward,
)  # fmt: skip


class _EmbeddingBag(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(weight: torch.Tensor, indices: torch.Tensor) -> Any:
        return _bag(weight, indices)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        del output
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, dy: torch.Tensor) -> Any:
        weight, indices = ctx.saved_tensors
        if torch.is_grad_enabled():
            return gradients(reference, (weight, indices), (dy,))
        return _bag_backward(dy, indices, weight.shape[0]), None


def embedding_bag(weight: torch.Tensor, indices: torch.Tensor) -> torch.Tensor:
    """Sum the rows that the last dimension of indices names.

    Args:
        weight: ``[classes, width]``.
        indices: ``[..., length]`` of int64; one that does not exist makes its sum NaN on a GPU.

    Returns:
        ``[..., width]``, contiguous; differentiable in the weight, twice too.
    """
    fits = (
        weight.dim() == 2  # noqa: PLR2004
        and weight.numel() > 0
        and indices.dim() > 0
        and indices.dtype == torch.int64
        and indices.device == weight.device
    )
    if not fits or not usable(weight):
        return reference(weight, indices)
    y: torch.Tensor = _EmbeddingBag.apply(weight, indices)
    return y


def _make(maker: Maker, shape: tuple[int, ...]) -> tuple[Any, ...]:
    *places, width = shape
    classes = max(11, torch.Size(places).numel() // 2)
    return maker.normal(classes, width), maker.integers(classes, *places)


def _traffic(weight: torch.Tensor, indices: torch.Tensor) -> Traffic:
    row = weight[:1].nbytes
    looked_up, bags = indices.numel() * row, indices.shape[:-1].numel() * row
    return Traffic(looked_up + bags, looked_up + weight.nbytes)


def _compilations(dtype: str) -> Iterator[Compilation]:
    t = pointer(dtype)
    numbers = dict.fromkeys(("length", "classes", "width", "blocks"), "i32")
    for width in (512, 1_024):
        block, _, warps = _blocks(width)
        types = {"w_ptr": t, "index_ptr": "*i64", "y_ptr": t, "w_stride": "i32"} | numbers
        yield Compilation(f"forward {width}", _forward, types, {"BLOCK": block}, warps)
        types = {"dy_ptr": t, "sorted_ptr": "*i64", "order_ptr": "*i64", "dw_ptr": t, "dy_stride": "i32"} | numbers
        yield Compilation(f"backward {width}", _backward, types | {"places": "i32"}, {"BLOCK": block}, warps)


SPEC = Spec(
    name="embedding_bag",
    title="sum of embeddings",
    source="torch.nn.EmbeddingBag",
    function=embedding_bag,
    reference=reference,
    make=_make,
    shapes=((1, 1, 1), (3, 5, 7), (2, 3, 4, 64), (2, 3, 1_031), (0, 4, 8), (3, 0, 8)),
    variants=({},),
    grid=tuple((bags, 16, width) for width in (128, 1_024) for bags in (512, 65_536)),
    traffic=_traffic,
    compilations=_compilations,
    strided_shape=(3, 4, 48),
    operators=("perfkit::embedding_bag", "perfkit::embedding_bag_backward"),
)
