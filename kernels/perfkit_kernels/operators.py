"""Kernels as PyTorch operators: a schema, a kernel for the GPU, plain PyTorch for the CPU, and shapes for tracing.

An operator is registered with `torch.library.Library` and wrapped in an `autograd.Function`, its backward being an
operator of its own: on each call that costs a third of what `custom_op` with `register_autograd` does, and it survives
`torch.compile`, export, checkpointing and `torch.func`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from perfkit_kernels.dialect import AVAILABLE, INTERPRETING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["NAMESPACE", "expands", "fixed", "gradients", "register", "usable", "widened"]

NAMESPACE = "perfkit"
SUPPORTED = frozenset({torch.float32, torch.float16, torch.bfloat16})

_library = torch.library.Library(NAMESPACE, "FRAGMENT")


def register(
    schema: str, kernel: Callable[..., Any], plain: Callable[..., Any], shapes: Callable[..., Any]
) -> Callable[..., Any]:
    """Define an operator.

    Args:
        schema: Such as ``twice(Tensor x) -> Tensor``; the operator never writes into its arguments.
        kernel: What launches Triton.
        plain: The same in PyTorch operators, for the CPU and for machines without Triton.
        shapes: Makes empty outputs, for tracing.

    Returns:
        The operator, to be called with positional arguments.
    """
    name = schema.split("(", maxsplit=1)[0]
    _library.define(schema, tags=[torch.Tag.needs_fixed_stride_order, torch.Tag.pt2_compliant_tag])
    _library.impl(name, kernel if INTERPRETING else plain, "CPU")
    _library.impl(name, kernel if AVAILABLE else plain, "CUDA")
    torch.library.register_fake(f"{NAMESPACE}::{name}", shapes, lib=_library)
    operator: Callable[..., Any] = getattr(getattr(torch.ops, NAMESPACE), name).default
    return operator


def usable(*tensors: torch.Tensor | None) -> bool:
    """Whether the kernels take these tensors: of one device they run on, and of dtypes they are written for.

    Tensors of the CPU are better off with PyTorch's own operators, which `autograd` knows.
    """
    given = [tensor for tensor in tensors if tensor is not None]
    first = given[0].device
    runs = (first.type == "cuda" and AVAILABLE) or (first.type == "cpu" and INTERPRETING)
    return runs and all(tensor.device == first and tensor.dtype in SUPPORTED for tensor in given)


def fixed(*tensors: torch.Tensor | None) -> bool:
    """Whether no gradient is wanted of tensors that a kernel takes as they are."""
    return not any(tensor is not None and tensor.requires_grad for tensor in tensors)


def widened(x: torch.Tensor) -> bool:
    """Whether autocast would have a norm of x in float32: on a GPU it does."""
    return x.device.type == "cuda" and bool(torch.is_autocast_enabled("cuda"))


def expands(tensor: torch.Tensor, whole: torch.Tensor) -> bool:
    """Whether a tensor's shape expands to that of another, and not the other way round."""
    return 0 < tensor.dim() <= whole.dim() and all(
        size in {1, wanted} for size, wanted in zip(tensor.shape[::-1], whole.shape[::-1], strict=False)
    )


def gradients(
    reference: Callable[..., Any], arguments: tuple[Any, ...], slopes: tuple[torch.Tensor, ...]
) -> tuple[torch.Tensor | None, ...]:
    """Return the gradients of a reference in its leading tensors, themselves differentiable: for second derivatives.

    Args:
        reference: Returns a tensor, or a tuple of them.
        arguments: What to call it with; those that are tensors, or None, come first.
        slopes: The gradient of each output.
    """
    leading = [argument for argument in arguments if argument is None or isinstance(argument, torch.Tensor)]
    wanted = [tensor for tensor in leading if tensor is not None and tensor.requires_grad]
    outputs = reference(*arguments)
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    found = iter(torch.autograd.grad(outputs, wanted, slopes, create_graph=True, allow_unused=True))
    return tuple(next(found) if tensor is not None and tensor.requires_grad else None for tensor in leading)
