"""Kernels written on demand: of a function of tensors, one Triton kernel that computes it and one for its gradients.

`generate` takes pointwise operators and reductions over the last dimensions, all over the same ones. The function is
traced with its backward pass to primitive operators (`trace`), their dimensions are matched up (`axes`), laid out as
rows and columns (`plan`), and written as Triton (`source`, `expressions`); `operator` registers what came of it.
Whatever is not of this kind is refused, and the refusal says why.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from perfkit_kernels.generate.operator import Generated
from perfkit_kernels.generate.refusal import Refusal, RefusedError
from perfkit_kernels.generate.trace import trace

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import torch

__all__ = ["Generated", "Refusal", "generate"]


def generate(function: Callable[..., Any], inputs: Sequence[torch.Tensor]) -> Generated | Refusal:
    """Write a kernel for a function, and one for its gradients.

    Args:
        function: Takes tensors and returns one, or a tuple of them: a `torch.fx.GraphModule`, or any other. It is
            called itself where the kernel does not fit.
        inputs: What to write it for: their shapes, strides and dtypes, and which of them are to have a gradient.

    Returns:
        A module that is called as the function is; or why there is none.
    """
    try:
        return Generated(function, inputs, trace(function, inputs))
    except RefusedError as refused:
        return refused.refusal
