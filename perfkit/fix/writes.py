"""Functions that write into a tensor, as functions that do not: a graph of the latter has no order to be kept.

What is written into a tensor that the module made itself can be a new tensor, if nothing sees the old one afterwards:
no caller (it was given, or is a parameter), and no view of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import torch

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["overlap", "storage_of", "without_writing", "written_into"]

OPERATORS: Final = {
    "__iadd__": "add", "__isub__": "sub", "__imul__": "mul", "__itruediv__": "div", "__idiv__": "div",
    "__ipow__": "pow", "__setitem__": "__setitem__", "__ifloordiv__": "__ifloordiv__", "__imod__": "__imod__",
    "__iand__": "__iand__", "__ior__": "__ior__", "__ixor__": "__ixor__",
}  # fmt: skip
ALIKE: Final = frozenset(
    {
        "add", "sub", "mul", "div", "pow", "neg", "exp", "sqrt", "rsqrt", "reciprocal", "square", "tanh", "sigmoid",
        "erf", "masked_fill", "relu", "clamp", "tril", "triu",
    }
)  # fmt: skip
"""Methods that give, without writing, what they write with an underscore."""
LARGEST_MARKED: Final = 1 << 26


def written_into(name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> torch.Tensor | None:
    """Return the tensor that a call writes into; None if there is none."""
    if isinstance(kwargs.get("out"), torch.Tensor):
        return kwargs["out"]
    writes = (name.endswith("_") and not name.endswith("__")) or name in OPERATORS
    if writes or kwargs.get("inplace") is True:
        return next((value for value in (*args, *kwargs.values()) if isinstance(value, torch.Tensor)), None)
    return None


def without_writing(
    function: Any, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> tuple[str, Any, tuple[Any, ...], dict[str, Any]]:
    """Return kind, target and arguments of a node that gives what a call writes."""
    if kwargs.get("inplace") is True:
        return "call_function", function, args, {**kwargs, "inplace": False}
    plain = OPERATORS.get(name, name.removesuffix("_"))
    target = args[0]
    tensors = [value for value in args if isinstance(value, torch.Tensor)]
    if plain in ALIKE and all(value.dtype == target.dtype or not value.dim() for value in tensors):
        return "call_method", plain, args, dict(kwargs)
    return "call_function", on_a_copy, (name, *args), dict(kwargs)


def on_a_copy(name: str, target: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
    copy = target.clone()
    getattr(copy, name)(*args, **kwargs)
    return copy


def storage_of(tensor: torch.Tensor) -> int:
    """Return what tells the memory of a tensor from other memory."""
    try:
        return int(tensor.untyped_storage()._cdata)  # noqa: SLF001  an address, which no public function gives
    except (RuntimeError, NotImplementedError):
        return id(tensor)


def overlap(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Whether two tensors of the same memory share elements of it; yes where that is not to be told."""
    if not one.numel() or not other.numel():
        return False
    if one.dtype != other.dtype or one.untyped_storage().nbytes() > LARGEST_MARKED:
        return True
    marks = torch.zeros(one.untyped_storage().nbytes() // one.element_size(), dtype=torch.bool)
    marks.as_strided(one.shape, one.stride(), one.storage_offset()).fill_(True)  # noqa: FBT003
    return bool(marks.as_strided(other.shape, other.stride(), other.storage_offset()).any())
