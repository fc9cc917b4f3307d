"""A module's forward with parts of it replaced, for the calls it was proved for; any other call takes the old way."""

from __future__ import annotations

import contextlib
import inspect
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import torch
from torch import fx
from torch.utils import _pytree as pytree

from perfkit.fix.frames import has_hooks
from perfkit.fix.regions import callable_of
from perfkit.fix.signature import UnfamiliarError, attributes, signature

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator, Sequence

    from perfkit.fix.frames import Frame
    from perfkit.fix.patterns import Match

    Replacement = tuple[Match, Callable[..., Any]]

__all__ = ["Patched", "Variant", "rewritten"]


MOST_UNSEEN: Final = 32
"""Signatures of calls that were not measured, of which the number is kept."""


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

    Calls of a signature that nothing was measured for are counted in ``unseen``.
    It is an attribute of the module. A copy of the module, whether by `copy.deepcopy` or through a file, has its own
    forward there again: what was proved was proved of this module, and whoever loads the file needs no perfkit.
    """

    def __init__(self, owner: torch.nn.Module) -> None:
        self.owner = owner
        with contextlib.suppress(ValueError, TypeError):
            self.__signature__ = inspect.signature(type(owner).forward.__get__(owner))  # trainers choose columns by it
        self.variants: dict[Hashable, Variant] = {}
        self.used = 0
        self.unseen: dict[Hashable, int] = {}

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the replacement, or the module's own forward if the call is one that nothing was proved for."""
        tensors: list[torch.Tensor] = []
        try:
            key = signature((args, kwargs), tensors)
            variant = self.variants.get(key)
        except (UnfamiliarError, TypeError):
            key = variant = None
        if variant is not None and variant.holds():
            self.used += 1
            return variant.run(self.owner, *tensors)
        if key is not None and variant is None and (key in self.unseen or len(self.unseen) < MOST_UNSEEN):
            self.unseen[key] = self.unseen.get(key, 0) + 1
        return type(self.owner).forward(self.owner, *args, **kwargs)

    def __reduce__(self) -> tuple[Any, ...]:
        """Be the module's own forward in a copy."""
        return getattr, (self.owner, "forward")


def rewritten(frame: Frame, graph: fx.Graph, replacements: Sequence[Replacement]) -> Variant:
    """Return what a frame's graph does with some regions of it replaced."""
    copy = fx.Graph()
    copied: dict[fx.Node, fx.Node] = {}
    results = copy.graph_copy(graph, copied)
    replaced: dict[fx.Node, fx.Node] = {}
    spare: list[fx.Node] = []
    for number, (match, function) in enumerate(_in_turn(replacements)):
        inputs = [copied[node] for node in match.region.inputs]
        last = max(inputs, key=[*copy.nodes].index)
        called = _named(function, f"{match.form.kind}_{number}")
        with copy.inserting_after(_after_given(copy, last)):
            whole = copy.call_function(called, tuple(inputs))
        at = whole
        for position, output in enumerate(match.outputs):
            with copy.inserting_after(at):
                at = copy.call_function(_part, (whole, position))
            copied[output].replace_all_uses_with(at)
            results = fx.node.map_arg(results, lambda node, old=copied[output], new=at: new if node is old else node)
            copied[output], replaced[output] = at, copied[output]
        for node in reversed(match.region.nodes):
            copy.erase_node(replaced.get(node, copied[node]))
        spare.extend(copied[node] for node in match.region.inputs if node.meta.get("constant"))
    copy.output(results)
    _erase_unused(copy, spare)
    run = callable_of(copy, "rewritten")

    def whole_result(module: torch.nn.Module, *tensors: torch.Tensor) -> Any:
        return pytree.tree_unflatten(run(module, *tensors), frame.spec)

    return Variant(whole_result, _holding(frame.owner, graph, [match for match, _ in replacements]))


def _in_turn(replacements: Sequence[Replacement]) -> Iterator[Replacement]:
    """Yield each replacement after those that make its inputs."""
    left = list(replacements)
    while left:
        waiting = {node for match, _ in left for node in match.region.nodes}
        ready = next(one for one in left if waiting.isdisjoint(one[0].region.inputs))
        left.remove(ready)
        yield ready


def _erase_unused(graph: fx.Graph, spare: list[fx.Node]) -> None:
    """Erase what made a mask that no replacement asks for any more."""
    while spare:
        node = spare.pop()
        if not node.users and node.op in {"call_function", "call_method", "get_attr"} and node.graph is graph:
            spare.extend(before for before in node.all_input_nodes if before.op != "placeholder")
            node.args, node.kwargs = (), {}
            graph.erase_node(node)


def _holding(owner: torch.nn.Module, graph: fx.Graph, matches: Sequence[Match]) -> Callable[[], bool]:
    """Return what tells whether a replacement is still that of what the modules are now."""
    paths = {node.meta["inlined"] for node in graph.nodes if node.meta.get("inlined")}
    inner = [owner.get_submodule(path) for path in paths]
    folded = [module for match in matches for module in match.modules]
    same = attributes([owner, *inner, *folded])
    quiet = [*inner, *folded]
    places = [_held_as(owner, path) for path in paths]
    buffers = [_held_as(owner, path, "_buffers") for match in matches for path in match.held]
    weights = [
        (held, name, value, value._version)  # noqa: SLF001  counts what was written into it
        for module in folded
        for held in (module._parameters, module._buffers)  # noqa: SLF001
        for name, value in held.items()
        if value is not None
    ] + [(held, name, value, value._version) for held, name, value in buffers]  # noqa: SLF001

    def holds() -> bool:
        return (
            same()
            and all(held.get(name) is module for held, name, module in places)
            and not any("forward" in vars(module) and not isinstance(module.forward, Patched) for module in inner)
            and not any(map(has_hooks, quiet))
            and all(held.get(name) is value and value._version == version for held, name, value, version in weights)  # noqa: SLF001
        )

    return holds


def _held_as(owner: torch.nn.Module, path: str, kind: str = "_modules") -> tuple[dict[str, Any], str, Any]:
    """Return what holds a module or a buffer, under what name, and what it is."""
    outer, _, name = path.rpartition(".")
    held: dict[str, Any] = getattr(owner.get_submodule(outer), kind)
    return held, name, held[name]


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


def _part(whole: Any, number: int) -> Any:
    return whole[number]
