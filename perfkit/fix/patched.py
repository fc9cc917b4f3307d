"""A module's forward with parts of it replaced, for the calls it was proved for; any other call takes the old way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import fx
from torch.utils import _pytree as pytree

from perfkit.fix.frames import has_hooks
from perfkit.fix.regions import callable_of
from perfkit.fix.signature import UnfamiliarError, attributes, flatten, form, modes

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    from perfkit.fix.patterns import Match

__all__ = ["Patched", "Variant", "rewritten"]


class Variant(NamedTuple):
    """What a module does in calls of one signature.

    Attributes:
        run: The replacement, called with the module and the tensors of the call, in order.
        holds: Whether what it was made for still is so: attributes, hooks, folded weights.
    """

    run: Callable[..., Any]
    holds: Callable[[], bool]


class Patched:
    """Stands in for the forward of one module.

    It is an attribute of the module. A copy of the module, whether by `copy.deepcopy` or through a file, has its own
    forward there again: what was proved was proved of this module, and whoever loads the file needs no perfkit.
    """

    def __init__(self, owner: torch.nn.Module) -> None:
        self.owner = owner
        self.variants: dict[Hashable, Variant] = {}
        self.used = 0

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the replacement, or the module's own forward if the call is one that nothing was proved for."""
        state = modes()
        if state is not None:
            tensors: list[torch.Tensor] = []
            try:
                key = flatten((args, kwargs), tensors), tuple(map(form, tensors)), state
                variant = self.variants.get(key)
            except (UnfamiliarError, TypeError):
                variant = None
            if variant is not None and variant.holds():
                self.used += 1
                return variant.run(self.owner, *tensors)
        return type(self.owner).forward(self.owner, *args, **kwargs)

    def __reduce__(self) -> tuple[Any, ...]:
        """Be the module's own forward in a copy."""
        return getattr, (self.owner, "forward")


def rewritten(
    graph: fx.Graph, owner: torch.nn.Module, replacements: Sequence[tuple[Match, Callable[..., Any]]]
) -> Variant:
    """Return what a graph does with some regions of it replaced."""
    copy = fx.Graph()
    copied: dict[fx.Node, fx.Node] = {}
    result = copy.graph_copy(graph, copied)
    copied_order = {node: number for number, node in enumerate(graph.nodes)}
    for number, (match, function) in enumerate(replacements):
        last = max(match.region.inputs, key=copied_order.__getitem__)
        called = _named(function, f"{match.form.kind}_{number}")
        with copy.inserting_after(_after_given(copy, copied[last])):
            whole = copy.call_function(called, tuple(copied[node] for node in match.region.inputs))
        at = whole
        for position, output in enumerate(match.outputs):
            with copy.inserting_after(at):
                at = copy.call_function(_part, (whole, position))
            copied[output].replace_all_uses_with(at)
            result = fx.node.map_arg(result, lambda node, old=copied[output], new=at: new if node is old else node)
        for node in reversed(match.region.nodes):
            copy.erase_node(copied[node])
    leaves, shape = pytree.tree_flatten(_mutable(result))
    copy.output(tuple(leaves))
    run = callable_of(copy, "rewritten")
    inner = [owner.get_submodule(path) for path in {n.meta["inlined"] for n in graph.nodes if n.meta.get("inlined")}]
    bare = isinstance(result, fx.Node)

    def whole_result(module: torch.nn.Module, *tensors: torch.Tensor) -> Any:
        outcome = run(module, *tensors)
        return outcome[0] if bare else pytree.tree_unflatten(outcome, shape)

    return Variant(
        whole_result, _holding(owner, inner, [module for match, _ in replacements for module in match.modules])
    )


def _holding(
    owner: torch.nn.Module, inner: Sequence[torch.nn.Module], folded: Sequence[torch.nn.Module]
) -> Callable[[], bool]:
    """Return what tells whether a replacement is still that of what the modules are now."""
    same = attributes([owner, *inner, *folded])
    quiet = [*inner, *folded]
    weights = [
        (held, name, value, value._version)  # noqa: SLF001  counts what was written into it
        for module in folded
        for held in (module._parameters, module._buffers)  # noqa: SLF001
        for name, value in held.items()
        if value is not None
    ]

    def holds() -> bool:
        return (
            same()
            and not any("forward" in vars(module) and not isinstance(module.forward, Patched) for module in inner)
            and not any(map(has_hooks, quiet))
            and all(held.get(name) is value and value._version == version for held, name, value, version in weights)  # noqa: SLF001
        )

    return holds


def _after_given(graph: fx.Graph, node: fx.Node) -> fx.Node:
    """Return a node, or the last placeholder if the node is one: those have to stay together."""
    if node.op != "placeholder":
        return node
    return [other for other in graph.nodes if other.op == "placeholder"][-1]


def _named(function: Callable[..., Any], name: str) -> Callable[..., Any]:
    """Give a function a name that generated code can call it by."""

    def called(*inputs: torch.Tensor) -> Any:
        return function(*inputs)

    called.__name__ = name
    return called


def _mutable(value: Any) -> Any:
    """Return lists and dicts as such, not as the frozen ones of a graph."""
    if isinstance(value, (tuple, list)):
        return (list if isinstance(value, list) else tuple)(map(_mutable, value))
    return {key: _mutable(part) for key, part in value.items()} if isinstance(value, dict) else value


def _part(whole: Any, number: int) -> Any:
    return whole[number]
