"""A model as a CUDA graph: what it launches is recorded once and launched as a whole, without the host.

PyTorch's `make_graphed_callables` records forward and backward. What it returns lies in the graph's own memory, which
the next call writes: outputs are copied out of it here, and whoever judges a graph has to see whether gradients of two
calls add up, for autograd may keep those as they are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch.utils import _pytree as pytree

from perfkit.fix.frames import has_hooks
from perfkit.fix.patched import Variant
from perfkit.fix.signature import attributes, filled

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = ["graphed", "obstacle", "unchanged"]


def obstacle(model: torch.nn.Module, device: torch.device) -> str:
    """Say why a model cannot be tried as a CUDA graph; nothing if it can."""
    if device.type != "cuda":
        return "runs on a GPU"
    if torch.is_autocast_enabled("cuda"):
        return "does not go with autocast"
    if any(map(has_hooks, model.modules())):
        return "would not call the hooks"
    if any(buffer.requires_grad for buffer in model.buffers()):
        return "takes no buffers that are trained"
    return ""


class Held(torch.nn.Module):
    """A model that takes and gives nothing but tensors."""

    def __init__(self, model: torch.nn.Module, forward: Callable[..., Any], example: Any) -> None:
        super().__init__()
        self.model, self.training = model, model.training
        self.called, self.example = forward, example
        self.leaves: list[Any] = []
        self.spec: Any = None

    def forward(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Call the model, and remember what is around the tensors of its outputs."""
        args, kwargs = filled(self.example, iter(tensors))
        self.leaves, self.spec = pytree.tree_flatten(self.called(*args, **kwargs))
        tensors = tuple(leaf for leaf in self.leaves if torch.is_tensor(leaf))
        self.leaves = [None if torch.is_tensor(leaf) else (leaf,) for leaf in self.leaves]
        return tensors

    def whole(self, tensors: Sequence[torch.Tensor]) -> Any:
        """Return outputs as the model's own forward does."""
        given = iter(tensors)
        return pytree.tree_unflatten([leaf[0] if leaf else next(given).clone() for leaf in self.leaves], self.spec)


def graphed(
    model: torch.nn.Module, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> Variant:
    """Record a model's call.

    Args:
        model: The model, in the mode it is to run in.
        forward: What to call: its own forward, or one with replacements in it.
        args: What it is called with.
        kwargs: The same.
    """
    held = Held(model, forward, (args, dict(kwargs)))
    tensors = pytree.tree_leaves((args, dict(kwargs)))
    tensors = [leaf for leaf in tensors if torch.is_tensor(leaf)]
    sample = tuple(t.detach().clone().requires_grad_(t.requires_grad) for t in tensors)
    recorded = torch.cuda.make_graphed_callables(held, sample, allow_unused_input=True)

    def run(_: torch.nn.Module, *given: torch.Tensor) -> Any:
        return held.whole(recorded(*given))

    return Variant(run, unchanged(model))


def unchanged(model: torch.nn.Module) -> Callable[[], bool]:
    """Return what tells whether a model is still the one that was recorded: modules, hooks, where its tensors lie."""
    modules = list(model.modules())
    same = attributes(modules)
    inner = [(module._modules, dict(module._modules), vars(module).get("forward")) for module in modules[1:]]  # noqa: SLF001
    tensors = [
        (held, name, value.data_ptr())
        for module in modules
        for held in (module._parameters, module._buffers)  # noqa: SLF001
        for name, value in held.items()
        if value is not None
    ]

    def holds() -> bool:
        return (
            same()
            and not any(map(has_hooks, modules))
            and all(now == then for now, then, _ in inner)
            and all(
                vars(module).get("forward") is known for module, (_, _, known) in zip(modules[1:], inner, strict=True)
            )
            and all(held.get(name) is not None and held[name].data_ptr() == at for held, name, at in tensors)
        )

    return holds
