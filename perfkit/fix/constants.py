"""Tensors of a graph that are the same in each call: masks and indices that a module makes, or holds in a buffer."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import torch
from torch import fx

from perfkit.fix.regions import name_of

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Constant", "constant_of"]

LIKE: Final = frozenset({"ones_like", "zeros_like", "full_like", "new_ones", "new_zeros", "new_full"})
"""Functions that take of a tensor no more than its form."""
PURE: Final = LIKE | frozenset(
    {
        "ones", "zeros", "full", "arange", "tril", "triu", "eye", "view", "reshape", "unsqueeze", "expand", "getitem",
        "to", "float", "bool", "type_as", "eq", "ne", "lt", "le", "gt", "ge", "masked_fill", "where", "mul", "add",
        "sub", "rsub", "logical_not", "bitwise_not", "invert", "transpose", "mT", "T", "t", "contiguous", "squeeze",
        "neg", "int", "long", "half", "bfloat16", "on_a_copy", "and", "or", "radd", "rmul", "clone",
    }
)  # fmt: skip


MASKED: Final = -1e3
"""What is added to a score that is not to count is less than this."""


class Constant(NamedTuple):
    """The value of a node, the buffers of the owner that it was made from, and a text that tells values apart."""

    value: torch.Tensor
    buffers: tuple[str, ...]
    digest: str


def constant_of(node: fx.Node, owner: torch.nn.Module) -> Constant | None:
    """Return the value of a node if it is a mask or indices and the same in each call; None otherwise."""
    buffers: dict[str, None] = {}
    known: dict[fx.Node, Any] = {}

    def value_of(node: fx.Node) -> Any:
        if node not in known:
            known[node] = _evaluate(node, owner, buffers, value_of)
        return known[node]

    try:
        value = value_of(node)
    except (LookupError, RuntimeError, TypeError, ValueError, AttributeError):
        return None
    if not isinstance(value, torch.Tensor) or not _is_mask(value):
        return None
    digest = hashlib.sha256(value.cpu().float().numpy().tobytes()).hexdigest()
    return Constant(value.detach(), tuple(buffers), digest)


def _is_mask(value: torch.Tensor) -> bool:
    if not value.is_floating_point():
        return True
    return bool(((value == 0) | (value == 1) | (value <= MASKED)).all())


def _evaluate(
    node: fx.Node, owner: torch.nn.Module, buffers: dict[str, None], value_of: Callable[[fx.Node], Any]
) -> Any:
    """Evaluate a node; LookupError if it is no constant."""
    if node.op == "get_attr":
        path, _, name = str(node.target).rpartition(".")
        held = owner.get_submodule(path)._buffers[name]  # noqa: SLF001  KeyError for parameters and attributes
        buffers[str(node.target)] = None
        return held
    name = name_of(node)
    if node.op not in {"call_function", "call_method"} or name not in PURE:
        raise LookupError(name)
    given = [*node.args]
    if name in LIKE or name == "type_as":
        form = given[-1 if name == "type_as" else 0].meta["form"]
        given[-1 if name == "type_as" else 0] = torch.empty((), dtype=form[2], device=form[3]).expand(form[0])
    args, kwargs = fx.node.map_arg((tuple(given), dict(node.kwargs)), value_of)
    if node.op == "call_method":
        return getattr(args[0], str(node.target))(*args[1:], **kwargs)
    return node.target(*args, **kwargs)
