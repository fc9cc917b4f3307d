"""Modules taken in where they are called, so that an operation that is spread over several of them is seen whole.

Taken in are small modules that are nothing but arithmetic, and modules part of whose results their caller drops, such
as the weights of an attention: what only served those is done no more. A replacement needs them taken in for good, and
steps aside if one gets hooks; so they are taken in only where something is found that way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from torch import fx
from torch.utils import _pytree as pytree

from perfkit.fix.frames import has_hooks, is_pick
from perfkit.fix.regions import is_arithmetic, name_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from perfkit.fix.frames import Frame

    TakesIn = Callable[[str, Frame, int], bool]

__all__ = ["inlined"]

MOST_NODES: Final = 30
RANDOM: Final = frozenset(
    {"dropout", "rand", "randn", "rand_like", "randn_like", "randint", "bernoulli", "normal", "multinomial"}
)


def inlined(
    frame: Frame, only: Collection[str] | None = None, fits: Callable[[fx.Node], bool] = is_arithmetic
) -> fx.Graph:
    """Return the graph of a frame, with modules taken in, and without what nothing comes of.

    Nodes have the path of the module that they are of in ``meta["inlined"]``, empty for the frame's own, and the node
    that they are a copy of in ``meta["origin"]``.

    Args:
        frame: The call of a module.
        only: Paths of the modules that may be taken in; None for any.
        fits: Tells of what small modules are made that are.
    """

    def takes_in(path: str, inner: Frame, taken: int) -> bool:
        return (only is None or path in only) and _takes_in(inner, taken, fits)

    graph = fx.Graph()
    made: dict[fx.Node, Any] = {}
    results = _results_of(frame.graph)
    _copy(graph, frame, made, results, "", takes_in)
    graph.output(fx.node.map_arg(results, made.__getitem__))
    return graph


def _copy(
    graph: fx.Graph, frame: Frame, made: dict[fx.Node, Any], wanted: Iterable[Any], path: str,
    takes_in: TakesIn,
) -> None:  # fmt: skip
    """Copy the nodes that wanted results or the calls of modules depend on; add what they are now to ``made``."""
    needed = _needed(frame.graph, wanted)
    for node in frame.graph.nodes:
        if node in made or node.op == "output" or (node not in needed and node.op != "placeholder"):
            continue
        inner: Frame | None = node.meta.get("frame")
        whole = made.get(node.args[0]) if is_pick(node) else None
        if isinstance(whole, list):
            made[node] = whole[node.args[1]]
            continue
        taken = [user.args[1] for user in node.users if user in needed and is_pick(user)]
        if inner is not None and takes_in(path + str(node.target), inner, len(taken)):
            made[node] = _expand(graph, node, made, taken, path, takes_in)
            continue
        copy = made[node] = graph.node_copy(node, made.__getitem__)
        if node.op in {"get_attr", "call_module"}:
            copy.target = f"{path}{node.target}"
        copy.meta["inlined"] = path.removesuffix(".")
        copy.meta["origin"] = node


def _expand(
    graph: fx.Graph, call: fx.Node, made: dict[fx.Node, Any], taken: list[Any], path: str,
    takes_in: TakesIn,
) -> Any:  # fmt: skip
    """Copy the nodes of a module's graph to where it is called, and return what it returns: a node, or a list."""
    inner: Frame = call.meta["frame"]
    given: list[Any] = []
    fx.node.map_arg((call.args, call.kwargs), lambda node: given.append(made[node]))
    placeholders = [node for node in inner.graph.nodes if node.op == "placeholder"]
    local: dict[fx.Node, Any] = dict(zip(placeholders, given, strict=True))
    results = _results_of(inner.graph)
    single = inner.spec.is_leaf()
    wanted = [result for number, result in enumerate(results) if single or number in taken]
    _copy(graph, inner, local, wanted, f"{path}{call.target}.", takes_in)
    found = [local.get(result) if isinstance(result, fx.Node) else result for result in results]
    return found[0] if single else found


def _needed(graph: fx.Graph, results: Iterable[Any]) -> set[fx.Node]:
    """Return the nodes that results, calls of modules or the random numbers to come depend on."""
    waiting = [node for node in graph.nodes if node.op == "call_module" or name_of(node) in RANDOM]
    fx.node.map_arg(tuple(results), waiting.append)
    needed: set[fx.Node] = set()
    while waiting:
        node = waiting.pop()
        if node not in needed:
            needed.add(node)
            waiting.extend(node.all_input_nodes)
    return needed


def _takes_in(inner: Frame, taken: int, fits: Callable[[fx.Node], bool]) -> bool:
    if inner.obstacle or has_hooks(inner.owner):
        return False
    nodes = [node for node in inner.graph.nodes if node.op not in {"placeholder", "get_attr", "output"}]
    if inner.spec.is_leaf():
        return 0 < len(nodes) <= MOST_NODES and all(map(fits, nodes))
    leaves = inner.spec.num_leaves
    flat = any(inner.spec == pytree.tree_flatten(kind([0] * leaves))[1] for kind in (tuple, list))
    return flat and 0 < taken < leaves


def _results_of(graph: fx.Graph) -> tuple[Any, ...]:
    results: tuple[Any, ...] = next(node for node in reversed(graph.nodes) if node.op == "output").args[0]
    return results
