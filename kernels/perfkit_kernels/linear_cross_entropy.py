"""Cross-entropy of a linear layer's outputs, whose logits are never all there: what saves memory, not time.

    logits = hidden @ weight^T,    loss = cross_entropy(logits, target)

see `cross_entropy`. The forward pass takes some rows at a time, and keeps of their logits a maximum and a sum. The
backward pass takes some classes at a time and computes their logits anew, so that the weight's gradient of a class is
one product, rounded once; what it adds to the gradient of ``hidden`` is added up in float32.

Bytes moved: forward, hidden and weight once; backward, twice and their gradients once. The products take the time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import torch

from perfkit_kernels import cross_entropy as entropy
from perfkit_kernels.operators import gradients, register, usable
from perfkit_kernels.spec import Spec, Traffic

if TYPE_CHECKING:
    from collections.abc import Iterator

    from perfkit_kernels.spec import Compilation, Maker

__all__ = ["SPEC", "linear_cross_entropy"]

LOGITS: Final = 1 << 26
"""Logits that are held at once."""


def reference(
    hidden: torch.Tensor, weight: torch.Tensor, target: torch.Tensor, ignore_index: int = -100,
    label_smoothing: float = 0.0, z_loss: float = 0.0, reduction: str = "mean", logits_at_once: int = LOGITS,
) -> torch.Tensor:  # fmt: skip
    """Return what eager PyTorch makes of it."""
    del logits_at_once
    logits = torch.nn.functional.linear(hidden, weight)
    return entropy.reference(logits, target, ignore_index, label_smoothing, z_loss, reduction)


def _run(
    hidden: torch.Tensor, weight: torch.Tensor, target: torch.Tensor, ignore_index: int, label_smoothing: float,
    z_loss: float, logits_at_once: int,
) -> tuple[torch.Tensor, torch.Tensor]:  # fmt: skip
    losses, parts = _empty(hidden)
    rows = max(1, logits_at_once // weight.shape[0])
    hidden, target = hidden.reshape(losses.shape[0], hidden.shape[-1]), target.reshape(-1)
    for start in range(0, losses.shape[0], rows):
        some = slice(start, start + rows)
        found = entropy.row_losses(hidden[some] @ weight.T, target[some], ignore_index, label_smoothing, z_loss)
        losses[some], parts[:, some] = found
    return losses, parts


def _empty(hidden: torch.Tensor, *_: Any) -> tuple[torch.Tensor, torch.Tensor]:
    rows = hidden.shape[:-1].numel()
    return hidden.new_empty(rows, dtype=torch.float32), hidden.new_empty(2, rows, dtype=torch.float32)


def _run_backward(
    slopes: torch.Tensor, hidden: torch.Tensor, weight: torch.Tensor, target: torch.Tensor, parts: torch.Tensor,
    ignore_index: int, label_smoothing: float, z_loss: float, logits_at_once: int,
) -> tuple[torch.Tensor, torch.Tensor]:  # fmt: skip
    _, dw = _empty_backward(slopes, hidden, weight)
    rows, classes = slopes.shape[0], weight.shape[0]
    flat, target = hidden.reshape(rows, hidden.shape[-1]), target.reshape(-1)
    dh = torch.zeros(flat.shape, dtype=torch.float32, device=flat.device)
    at_once = max(1, logits_at_once // max(1, rows))
    for first in range(0, classes, at_once):
        some = weight[first : first + at_once]
        dx = entropy.row_slopes(
            slopes, flat @ some.T, target, parts, ignore_index, label_smoothing, z_loss, first, classes
        )
        dw[first : first + at_once] = dx.T @ flat
        dh += dx @ some
    return dh.to(hidden.dtype).reshape(hidden.shape), dw


def _empty_backward(
    _: torch.Tensor, hidden: torch.Tensor, weight: torch.Tensor, *__: Any
) -> tuple[torch.Tensor, torch.Tensor]:
    dh = torch.empty(hidden.shape, dtype=hidden.dtype, device=hidden.device)
    return dh, torch.empty(weight.shape, dtype=weight.dtype, device=weight.device)


_losses = register(
    "linear_cross_entropy(Tensor hidden, Tensor weight, Tensor target, int ignore_index, float label_smoothing,"
    " float z_loss, int logits_at_once) -> (Tensor, Tensor)",
    _run, _run, _empty,
)  # fmt: skip
_slopes = register(
    "linear_cross_entropy_backward(Tensor slopes, Tensor hidden, Tensor weight, Tensor target, Tensor parts,"
    " int ignore_index, float label_smoothing, float z_loss, int logits_at_once) -> (Tensor, Tensor)",
    _run_backward, _run_backward, _empty_backward,
)  # fmt: skip


class _LinearCrossEntropy(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(
        hidden: torch.Tensor, weight: torch.Tensor, target: torch.Tensor, ignore_index: int, label_smoothing: float,
        z_loss: float, logits_at_once: int,
    ) -> Any:  # fmt: skip
        return _losses(hidden, weight, target, ignore_index, label_smoothing, z_loss, logits_at_once)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        *tensors, ignored, smoothing, z, at_once = inputs
        ctx.options = ignored, smoothing, z, at_once
        ctx.mark_non_differentiable(output[1])
        ctx.save_for_backward(*tensors, output[1])

    @staticmethod
    def backward(ctx: Any, slopes: torch.Tensor, _: Any) -> Any:
        hidden, weight, target, parts = ctx.saved_tensors
        if torch.is_grad_enabled():
            arguments = (hidden, weight, target, *ctx.options[:3], "none")
            return *gradients(reference, arguments, (slopes.reshape(target.shape),)), None, None, None, None
        return *_slopes(slopes, hidden, weight, target, parts, *ctx.options), None, None, None, None, None


def linear_cross_entropy(
    hidden: torch.Tensor, weight: torch.Tensor, target: torch.Tensor, ignore_index: int = -100,
    label_smoothing: float = 0.0, z_loss: float = 0.0, reduction: str = "mean", logits_at_once: int = LOGITS,
) -> torch.Tensor:  # fmt: skip
    """Take the cross-entropy of ``hidden @ weight.T`` and the indices of the right classes.

    Args:
        hidden: ``[..., width]``.
        weight: ``[classes, width]``, of the same dtype, or of any under autocast.
        target: ``[...]`` of int64; a class that does not exist makes its loss NaN on a GPU.
        ignore_index: Rows with this target have no loss.
        label_smoothing: Share of a target's weight that is spread over all classes.
        z_loss: Weight of the square of the log-sum-exp.
        reduction: ``mean`` of the rows that are not ignored, ``sum``, or ``none``.
        logits_at_once: How many logits are held at most: more take more memory and less time.

    Returns:
        The loss in float32, one number, or ``[...]`` of them; differentiable in hidden and weight, twice too.

    Raises:
        ValueError: There is no such reduction.
    """
    if reduction not in entropy.REDUCTIONS:
        message = f"reduction is {reduction!r}, not one of {', '.join(entropy.REDUCTIONS)}"
        raise ValueError(message)
    given = hidden, weight
    if torch.is_autocast_enabled(hidden.device.type):
        half = torch.get_autocast_dtype(hidden.device.type)
        given = hidden.to(half), weight.to(half)
    fits = (
        hidden.dim() > 0
        and weight.dim() == 2  # noqa: PLR2004
        and weight.numel() > 0
        and hidden.shape[-1] == weight.shape[-1]
        and given[0].dtype == given[1].dtype
        and target.shape == hidden.shape[:-1]
        and target.dtype == torch.int64
        and target.device == hidden.device
    )
    if not fits or not usable(*given):
        return reference(hidden, weight, target, ignore_index, label_smoothing, z_loss, reduction)
    losses = _LinearCrossEntropy.apply(*given, target, ignore_index, label_smoothing, z_loss, logits_at_once)[0]
    return entropy.reduced(losses, target, ignore_index, reduction)


def _make(
    maker: Maker, shape: tuple[int, ...], reduction: str = "mean", logits_at_once: int = LOGITS, **options: float
) -> tuple[Any, ...]:
    *rows, width, classes = shape
    target = maker.integers(classes, *rows)
    target.view(-1)[1::5] = -100
    extra = options.get("label_smoothing", 0.0), options.get("z_loss", 0.0)
    weight = maker.normal(classes, width, scale=width**-0.5)
    return maker.normal(*rows, width), weight, target, -100, *extra, reduction, logits_at_once


def _traffic(hidden: torch.Tensor, weight: torch.Tensor, *_: Any) -> Traffic:
    return Traffic(hidden.nbytes + weight.nbytes, 3 * (hidden.nbytes + weight.nbytes))


def _compilations(dtype: str) -> Iterator[Compilation]:
    return entropy.SPEC.compilations(dtype)


SPEC = Spec(
    name="linear_cross_entropy",
    title="linear layer and cross-entropy in chunks",
    source="arXiv:1512.00567, arXiv:2204.02311",
    function=linear_cross_entropy,
    reference=reference,
    make=_make,
    shapes=((1, 1, 1), (3, 5, 7), (2, 3, 16, 11), (6, 8, 30), (0, 4, 5)),
    variants=({"logits_at_once": 40}, {"reduction": "none", "label_smoothing": 0.1, "z_loss": 1e-3}),
    grid=tuple((rows, 4_096, classes) for classes in (32_000, 128_256) for rows in (2_048, 8_192)),
    traffic=_traffic,
    compilations=_compilations,
    bandwidth_bound=False,
    strided_shape=(2, 2, 6, 10),
    operators=("perfkit::linear_cross_entropy", "perfkit::linear_cross_entropy_backward", *entropy.SPEC.operators),
)
