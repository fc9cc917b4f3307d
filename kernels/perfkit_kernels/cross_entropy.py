"""Cross-entropy of logits and class indices, with label smoothing, an ignored index and the z-loss.

    loss = lse(x) - (1 - e) * x_t - e * mean(x) + z * lse(x)^2,    lse(x) = log sum_j exp(x_j)
    dx_j = dloss * (p_j - (1 - e) * [j = t] - e / classes + 2 * z * lse * p_j),    p = softmax(x)

Szegedy et al., Rethinking the Inception Architecture, 2015 (arXiv:1512.00567) for the smoothing e; Chowdhery et al.,
PaLM, 2022 (arXiv:2204.02311) for z. A row is read once for its maximum and its sum (arXiv:1805.02867); the two are kept
apart, for their sum would lose the last places of logits that are large. The loss is float32, as where a model makes
its logits float32 first.

Bytes moved: forward, the logits once; backward, the logits and their gradient once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import torch

from perfkit_kernels.dialect import cdiv, jit, tl
from perfkit_kernels.operators import gradients, register, usable
from perfkit_kernels.rows import POINTS, WARPS_OF_POINTS, as_rows, tile
from perfkit_kernels.spec import Compilation, Spec, Traffic, pointer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from perfkit_kernels.spec import Maker

__all__ = ["REDUCTIONS", "SPEC", "cross_entropy", "reduced", "row_losses", "row_slopes"]

REDUCTIONS: Final = ("mean", "sum", "none")
WIDEST: Final = 4_096

# ------------------------------------------------------------------------------------------------------- reference


def reference(
    logits: torch.Tensor, target: torch.Tensor, ignore_index: int = -100, label_smoothing: float = 0.0,
    z_loss: float = 0.0, reduction: str = "mean",
) -> torch.Tensor:  # fmt: skip
    """Return what eager PyTorch makes of it; float64 stays float64."""
    flat = logits.reshape(-1, logits.shape[-1])
    flat, wanted = flat.to(torch.promote_types(flat.dtype, torch.float32)), target.reshape(-1)
    losses = torch.nn.functional.cross_entropy(
        flat, wanted, ignore_index=ignore_index, label_smoothing=label_smoothing, reduction="none"
    )
    if z_loss:
        losses = losses + (z_loss * torch.logsumexp(flat, -1).square()).masked_fill(wanted == ignore_index, 0.0)
    return reduced(losses, target, ignore_index, reduction)


def reduced(losses: torch.Tensor, target: torch.Tensor, ignore_index: int, reduction: str) -> torch.Tensor:
    """Reduce the losses of rows; the mean is over those that are not ignored."""
    if reduction == "none":
        return losses.reshape(target.shape)
    total = losses.sum()
    return total / (target != ignore_index).sum() if reduction == "mean" else total


# --------------------------------------------------------------------------------------------------------- kernels


@jit
def _forward(
    x_ptr, target_ptr, loss_ptr, top_ptr, log_ptr, x_stride, rows, width, ignored, smoothing, z,
    SMOOTH: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    column, real = tl.arange(0, BLOCK)[None, :], (row < rows)[:, None]
    x_row = x_ptr + row[:, None] * x_stride
    highest = tl.full([ROWS, BLOCK], -float("inf"), tl.float32)
    total = tl.zeros([ROWS, BLOCK], tl.float32)
    sums = tl.zeros([ROWS, BLOCK], tl.float32)
    # Logits are summed less one of them: a mean of large values would lose what distinguishes them.
    pivot = tl.load(x_ptr + row * x_stride, mask=row < rows, other=0.0).to(tl.float32)
    pivot = tl.where(tl.abs(pivot) < float("inf"), pivot, 0.0)
    for start in range(0, width, BLOCK):
        inside = real & (start + column < width)
        x = tl.load(x_row + start + column, mask=inside, other=-float("inf")).to(tl.float32)
        higher = tl.maximum(highest, x)
        base = tl.where(higher == -float("inf"), 0.0, higher)
        total = total * tl.exp(highest - base) + tl.exp(x - base)
        highest = higher
        if SMOOTH:
            sums += tl.where(inside, x - pivot[:, None], 0.0)
    top = tl.max(highest, 1)
    log = tl.log(tl.sum(total * tl.exp(highest - top[:, None]), 1))
    target = tl.load(target_ptr + row, mask=row < rows, other=ignored)
    wanted = (target >= 0) & (target < width)
    hit = tl.load(x_ptr + row * x_stride + target, mask=wanted & (row < rows), other=float("nan")).to(tl.float32)
    if SMOOTH:
        mean = tl.sum(sums, 1) / width + (pivot - top)
        loss = log - (1.0 - smoothing) * (hit - top) - smoothing * mean
    else:
        loss = log - (hit - top)
    loss += z * (top + log) * (top + log)
    tl.store(loss_ptr + row, tl.where(target == ignored, 0.0, loss), mask=row < rows)
    tl.store(top_ptr + row, top, mask=row < rows)
    tl.store(log_ptr + row, log, mask=row < rows)


@jit
def _backward(
    dloss_ptr, x_ptr, target_ptr, top_ptr, log_ptr, dx_ptr, x_stride, width, blocks, ignored, smoothing, z,
    first, classes, BLOCK: tl.constexpr,
):  # fmt: skip
    program = tl.program_id(0).to(tl.int64)
    row, column = program // blocks, (program % blocks) * BLOCK + tl.arange(0, BLOCK)
    target = tl.load(target_ptr + row)
    slope = tl.where(target == ignored, 0.0, tl.load(dloss_ptr + row))
    top, log = tl.load(top_ptr + row), tl.load(log_ptr + row)
    x = tl.load(x_ptr + row * x_stride + column, mask=column < width, other=0.0).to(tl.float32)
    p = tl.exp(x - top - log)
    q = tl.where(column + first == target, 1.0 - smoothing, 0.0) + smoothing / classes
    dx = slope * ((p - q) + p * (2.0 * z) * (top + log))
    tl.store(dx_ptr + row * width + column, dx.to(dx_ptr.dtype.element_ty), mask=column < width)


# -------------------------------------------------------------------------------------------------------- operators


def _launch(
    logits: torch.Tensor, target: torch.Tensor, ignore_index: int, label_smoothing: float, z_loss: float
) -> tuple[torch.Tensor, torch.Tensor]:
    losses, parts = _empty(logits, target, ignore_index, label_smoothing, z_loss)
    if losses.numel():
        x, target = as_rows(logits), target.reshape(-1).contiguous()
        rows, width = x.shape
        shape = tile(width, widest=WIDEST, live=3)
        _forward[cdiv(rows, shape.rows),](
            x, target, losses, parts[0], parts[1], x.stride(0), rows, width, ignore_index, label_smoothing, z_loss,
            SMOOTH=label_smoothing > 0, ROWS=shape.rows, BLOCK=shape.block, num_warps=shape.warps,
        )  # fmt: skip
    return losses, parts


def _plain(
    logits: torch.Tensor, target: torch.Tensor, ignore_index: int, label_smoothing: float, z_loss: float
) -> tuple[torch.Tensor, torch.Tensor]:
    wide = logits.reshape(-1, logits.shape[-1]).float()
    top = wide.amax(-1)
    log = torch.logsumexp(wide - top[:, None], -1)
    return reference(logits, target, ignore_index, label_smoothing, z_loss, "none").reshape(-1), torch.stack((top, log))


def _empty(logits: torch.Tensor, *_: Any) -> tuple[torch.Tensor, torch.Tensor]:
    rows = logits.shape[:-1].numel()
    return logits.new_empty(rows, dtype=torch.float32), logits.new_empty(2, rows, dtype=torch.float32)


def _launch_backward(
    slopes: torch.Tensor, logits: torch.Tensor, target: torch.Tensor, parts: torch.Tensor,
    ignore_index: int, label_smoothing: float, z_loss: float, first: int, classes: int,
) -> torch.Tensor:  # fmt: skip
    dx = _empty_backward(slopes, logits)
    if dx.numel():
        x, target, slopes = as_rows(logits), target.reshape(-1).contiguous(), slopes.contiguous()
        rows, width = x.shape
        blocks = cdiv(width, POINTS)
        _backward[rows * blocks,](
            slopes, x, target, parts[0], parts[1], dx, x.stride(0), width, blocks,
            ignore_index, label_smoothing, z_loss, first, classes, BLOCK=POINTS, num_warps=WARPS_OF_POINTS,
        )  # fmt: skip
    return dx


def _plain_backward(
    slopes: torch.Tensor, logits: torch.Tensor, target: torch.Tensor, parts: torch.Tensor,
    ignore_index: int, label_smoothing: float, z_loss: float, first: int, classes: int,
) -> torch.Tensor:  # fmt: skip
    target, (top, log) = target.reshape(-1, 1), parts[:, :, None]
    p = torch.exp(logits.reshape(-1, logits.shape[-1]).float() - top - log)
    hit = torch.arange(first, first + logits.shape[-1], device=logits.device) == target
    slope = slopes[:, None].masked_fill(target == ignore_index, 0.0)
    q = (1 - label_smoothing) * hit + label_smoothing / classes
    dx = slope * (p - q + p * (2 * z_loss) * (top + log))
    return dx.to(logits.dtype).reshape(logits.shape).contiguous()


def _empty_backward(_: torch.Tensor, logits: torch.Tensor, *__: Any) -> torch.Tensor:
    return torch.empty(logits.shape, dtype=logits.dtype, device=logits.device)


row_losses = register(
    "cross_entropy(Tensor logits, Tensor target, int ignore_index, float label_smoothing, float z_loss)"
    " -> (Tensor, Tensor)",
    _launch, _plain, _empty,
)  # fmt: skip
"""Losses of the rows, ``[rows]``, and for each its maximum and the logarithm of its sum, ``[2, rows]``; float32."""

row_slopes = register(
    "cross_entropy_backward(Tensor slopes, Tensor logits, Tensor target, Tensor parts, int ignore_index,"
    " float label_smoothing, float z_loss, int first, int classes) -> Tensor",
    _launch_backward, _plain_backward, _empty_backward,
)  # fmt: skip
"""Gradient of the logits of classes from ``first`` on, of ``classes`` in all."""


class _CrossEntropy(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(
        logits: torch.Tensor, target: torch.Tensor, ignore_index: int, label_smoothing: float, z_loss: float
    ) -> Any:
        return row_losses(logits, target, ignore_index, label_smoothing, z_loss)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        logits, target, *ctx.options = inputs
        ctx.mark_non_differentiable(output[1])
        ctx.save_for_backward(logits, target, output[1])

    @staticmethod
    def backward(ctx: Any, slopes: torch.Tensor, _: Any) -> Any:
        logits, target, parts = ctx.saved_tensors
        if torch.is_grad_enabled():
            arguments = (logits, target, *ctx.options, "none")
            return *gradients(reference, arguments, (slopes.reshape(target.shape),)), None, None, None
        return row_slopes(slopes, logits, target, parts, *ctx.options, 0, logits.shape[-1]), None, None, None, None


def cross_entropy(
    logits: torch.Tensor, target: torch.Tensor, ignore_index: int = -100, label_smoothing: float = 0.0,
    z_loss: float = 0.0, reduction: str = "mean",
) -> torch.Tensor:  # fmt: skip
    """Take the cross-entropy of logits and the indices of the right classes.

    Args:
        logits: ``[..., classes]``, of any strides.
        target: ``[...]`` of int64; a class that does not exist makes its loss NaN on a GPU.
        ignore_index: Rows with this target have no loss.
        label_smoothing: Share of a target's weight that is spread over all classes.
        z_loss: Weight of the square of the log-sum-exp, which keeps it near 0.
        reduction: ``mean`` of the rows that are not ignored, ``sum``, or ``none``.

    Returns:
        The loss in float32, one number, or ``[...]`` of them; differentiable in the logits, twice too.

    Raises:
        ValueError: There is no such reduction.
    """
    if reduction not in REDUCTIONS:
        message = f"reduction is {reduction!r}, not one of {', '.join(REDUCTIONS)}"
        raise ValueError(message)
    fits = (
        logits.dim() > 0
        and logits.shape[-1] > 0
        and target.shape == logits.shape[:-1]
        and target.dtype == torch.int64
        and target.device == logits.device
    )
    if not fits or not usable(logits):
        return reference(logits, target, ignore_index, label_smoothing, z_loss, reduction)
    losses = _CrossEntropy.apply(logits, target, ignore_index, label_smoothing, z_loss)[0]
    return reduced(losses, target, ignore_index, reduction)


# ------------------------------------------------------------------------------------------------------------- spec


def _make(maker: Maker, shape: tuple[int, ...], reduction: str = "mean", **options: float) -> tuple[Any, ...]:
    rows, classes = shape[:-1], shape[-1]
    target = maker.integers(classes, *rows)
    target.view(-1)[1::5] = -100
    extra = options.get("label_smoothing", 0.0), options.get("z_loss", 0.0)
    return maker.normal(*shape, scale=3.0), target, -100, *extra, reduction


def _traffic(logits: torch.Tensor, *_: Any) -> Traffic:
    return Traffic(logits.nbytes, 2 * logits.nbytes)


def _compilations(dtype: str) -> Iterator[Compilation]:
    t = pointer(dtype)
    numbers = {"x_stride": "i32", "width": "i32", "ignored": "i32", "smoothing": "fp32", "z": "fp32"}
    for width in (128, 4_096, 131_072):
        shape = tile(width, widest=WIDEST, live=3)
        types = {
            "x_ptr": t, "target_ptr": "*i64", "loss_ptr": "*fp32", "top_ptr": "*fp32", "log_ptr": "*fp32",
            "rows": "i32",
        }  # fmt: skip
        for smooth in (False, True):
            constants = {"SMOOTH": smooth, "ROWS": shape.rows, "BLOCK": shape.block}
            label = f"forward {'smooth ' if smooth else ''}{width}"
            yield Compilation(label, _forward, types | numbers, constants, shape.warps)
    types = {
        "dloss_ptr": "*fp32", "x_ptr": t, "target_ptr": "*i64", "top_ptr": "*fp32", "log_ptr": "*fp32", "dx_ptr": t,
        "blocks": "i32", "first": "i32", "classes": "i32",
    }  # fmt: skip
    yield Compilation("backward", _backward, types | numbers, {"BLOCK": POINTS}, WARPS_OF_POINTS)


SPEC = Spec(
    name="cross_entropy",
    title="cross-entropy",
    source="arXiv:1512.00567, arXiv:2204.02311",
    function=cross_entropy,
    reference=reference,
    make=_make,
    shapes=((1, 1), (3, 7), (2, 3, 5, 64), (5, 257), (0, 16), (2, 0, 8), (2, 8_209)),
    variants=(
        {"reduction": "mean"},
        {"reduction": "sum", "label_smoothing": 0.1},
        {"reduction": "none", "label_smoothing": 0.1, "z_loss": 1e-3},
    ),
    grid=tuple((rows, width) for width in (1_024, 32_000, 128_256) for rows in (512, (1 << 27) // width)),
    traffic=_traffic,
    compilations=_compilations,
    strided_shape=(2, 2, 48),
    operators=("perfkit::cross_entropy", "perfkit::cross_entropy_backward"),
)
