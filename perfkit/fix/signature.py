"""What a call was made with, as a key: what a replacement was proved for, and when it has to step aside."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Iterator

__all__ = ["SIMPLE", "UnfamiliarError", "attributes", "filled", "flatten", "form", "modes", "signature"]

SIMPLE: Final = frozenset(
    {int, float, bool, str, type(None), complex, torch.dtype, torch.device, torch.layout, torch.memory_format}
)
"""Types of which a value says all there is to know."""
TENSOR: Final = "<tensor>"


class UnfamiliarError(Exception):
    """A value is of a type of which nothing is known; its name is the message."""


def flatten(value: Any, tensors: list[torch.Tensor]) -> Hashable:
    """Add the tensors in a value to a list, and return the rest of it as something that can be compared.

    Raises:
        UnfamiliarError: Something in it is neither a tensor, a simple value nor a tuple, list or dict.
    """
    kind = type(value)
    if kind is torch.Tensor or kind is torch.nn.Parameter:
        tensors.append(value)
        return TENSOR
    if kind in SIMPLE:
        return kind, value
    if kind is tuple or kind is list or kind is torch.Size:
        return kind, tuple([flatten(item, tensors) for item in value])
    if kind is dict:
        return kind, tuple([(key, flatten(item, tensors)) for key, item in value.items()])
    raise UnfamiliarError(kind.__name__)


def filled(value: Any, tensors: Iterator[torch.Tensor]) -> Any:
    """Return a value that `flatten` knows with other tensors in it, in the same order."""
    if isinstance(value, torch.Tensor):
        return next(tensors)
    if isinstance(value, (tuple, list)) and not isinstance(value, torch.Size):
        return type(value)([filled(item, tensors) for item in value])
    return {key: filled(item, tensors) for key, item in value.items()} if isinstance(value, dict) else value


def signature(value: Any, tensors: list[torch.Tensor]) -> Hashable:
    """Return what a call of a module is known by, and add the tensors of the call to a list; None for none.

    None is returned while somebody traces or transforms: then nothing was proved of the call.

    Raises:
        UnfamiliarError: As `flatten`.
    """
    state = modes()
    return None if state is None else (flatten(value, tensors), tuple(map(form, tensors)), state)


def form(tensor: torch.Tensor) -> Hashable:
    """Return what a replacement depends on: shape, strides, dtype, device, gradient, alignment of 16 bytes."""
    return (
        tensor.shape, tensor.stride(), tensor.dtype, tensor.device, tensor.requires_grad,
        tensor.storage_offset() * tensor.element_size() % 16,
    )  # fmt: skip


def modes(*, recording: bool = False) -> Hashable:
    """Return what else of PyTorch's state decides what operators do; None while somebody traces or transforms."""
    if not recording and (
        torch.compiler.is_compiling()
        or torch._C._get_tracing_state() is not None  # noqa: SLF001  no public function tells
        or torch._C._functorch.peek_interpreter_stack() is not None  # noqa: SLF001
        or torch._C._len_torch_function_stack()  # noqa: SLF001
        or torch._C._len_torch_dispatch_stack()  # noqa: SLF001
    ):
        return None
    autocast = tuple(
        torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else None for kind in ("cpu", "cuda")
    )
    return torch.is_grad_enabled(), autocast, torch.are_deterministic_algorithms_enabled()


def attributes(modules: Iterable[torch.nn.Module]) -> Callable[[], bool]:
    """Return what tells whether the simple attributes of modules, such as an epsilon, are still what they are now."""
    known = []
    for module in modules:
        state = vars(module)
        names = [name for name, value in state.items() if type(value) in SIMPLE and name != "_is_full_backward_hook"]
        known.append((state, tuple((name, state[name]) for name in names)))

    def same() -> bool:
        return all(state.get(name) == value for state, pairs in known for name, value in pairs)

    return same
