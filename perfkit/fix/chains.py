"""Chains: operators on elements, with what is reduced over the same dimensions, that are no operation with a name.

Of which kind an operator is PyTorch says itself, by the tags of what it dispatches to. A chain takes in all of them
that are next to each other and can be computed at one time: after all of its inputs, and before anybody uses what it
gives. What it gives is new: views at its ends stay outside of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import torch
from torch import fx
from torch.utils._python_dispatch import TorchDispatchMode

from perfkit.fix.operations.form import Form, Match
from perfkit.fix.regions import Region, callable_of, name_of, region_graph, region_of, widened

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["chains", "fits", "kept_out"]

MOST_NODES: Final = 64
FEWEST: Final = 2
"""Operators that compute: one alone is a kernel already."""
COPIES: Final = frozenset({torch.ops.aten._to_copy.default, torch.ops.aten._unsafe_view.default})  # noqa: SLF001
"""What has no tag, and is of the kind."""
VARIES: Final = "gives a tensor whose shape depends on values"
REDUCTION: Final = getattr(torch.Tag, "reduction", None)
"""Which old versions of PyTorch do not tell: there, chains end at what reduces."""
TAGS: Final = frozenset({torch.Tag.pointwise, REDUCTION})


class Kind(NamedTuple):
    """What a node does.

    Attributes:
        fits: Whether it may be in a chain.
        computes: Whether it gives new values, and no view.
        reductions: From which shape to how many values it reduces.
        obstacle: Why it is in no chain, where that is worth saying.
    """

    fits: bool = False
    computes: bool = False
    reductions: frozenset[tuple[torch.Size, int]] = frozenset()
    obstacle: str = ""


def chains(graph: fx.Graph, others: Iterable[Region] = ()) -> Iterator[Match]:
    """Yield the chains of a graph that share no node with other regions, those that end last first."""
    at = {node: float(number) for number, node in enumerate(graph.nodes)}
    taken: set[fx.Node] = set()
    for region in others:
        _settle({*region.nodes}, at, taken)
    order = dict(at)
    for end in reversed(graph.nodes):
        if end in taken or not _kind(end).computes:
            continue
        loose: set[fx.Node] = set()
        nodes = _grown(end, at, taken)
        while views := {node for node in nodes if _is_loose(node, nodes)}:
            loose |= views
            nodes = _grown(end, at, taken | loose)
        count = sum(_kind(node).computes for node in nodes)
        last = max(nodes, key=order.__getitem__)
        region = region_of(nodes, _inputs(nodes), last, order)
        floats = any(node.meta["form"][2].is_floating_point for node in (last, *region.outside))
        if count >= FEWEST and floats:
            _settle(nodes, at, taken)
            yield _match(region, count)


def fits(node: fx.Node) -> bool:
    """Whether a node may be in a chain."""
    return _kind(node).fits


def kept_out(graph: fx.Graph) -> Iterator[str]:
    """Say what is next to operators that fit into a chain and is in none, where that is worth saying."""
    for node in graph.nodes:
        obstacle = _kind(node).obstacle
        if obstacle and any(_kind(other).computes for other in (*node.all_input_nodes, *node.users)):
            yield f"{name_of(node)} is in no chain: it {obstacle}"


def _match(region: Region, count: int) -> Match:
    outputs = region.output, *region.outside
    run = callable_of(widened(region_graph(region.inputs, region.nodes, outputs)), "chain")

    def reference(*inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        made: tuple[torch.Tensor, ...] = run(None, *inputs)
        return made

    return Match(region, Form("chain", f"chain of {count} operators", reference), outputs, "chain")


def _grown(seed: fx.Node, at: dict[fx.Node, float], kept: set[fx.Node]) -> set[fx.Node]:
    """Take in neighbours, the latest first, as long as there are any that fit."""
    nodes, left = {seed}, [seed]
    while left and len(nodes) < MOST_NODES:
        near = {other for node in nodes for other in (*node.all_input_nodes, *node.users)} - nodes - kept
        left = [node for node in near if fits(node) and _at_one_time({*nodes, node}, at)]
        nodes |= {max(left, key=at.__getitem__)} if left else set()
    return nodes


def _at_one_time(nodes: set[fx.Node], at: dict[fx.Node, float]) -> bool:
    """Whether nodes can be computed when all inputs are there, before anybody needs them, and reduce alike."""
    begin = max((at[node] for node in _inputs(nodes)), default=0.0)
    return len(frozenset[Any]().union(*(_kind(node).reductions for node in nodes))) <= 1 and all(
        at[user] > begin for node in nodes for user in node.users if user not in nodes
    )


def _settle(nodes: set[fx.Node], at: dict[fx.Node, float], taken: set[fx.Node]) -> None:
    """Note when nodes are computed from now on: right after the last of their inputs."""
    taken |= nodes
    begin = max((at[node] for node in _inputs(nodes)), default=0.0)
    at.update(dict.fromkeys(nodes, begin + 1 / len(at)))


def _inputs(nodes: set[fx.Node]) -> set[fx.Node]:
    return {source for node in nodes for source in node.all_input_nodes} - nodes


def _is_loose(node: fx.Node, nodes: set[fx.Node]) -> bool:
    """Whether a node is a view at an end of a chain; one that repeats elements is not, at its beginning."""
    first = nodes.isdisjoint(node.all_input_nodes) and 0 not in node.meta["form"][1]
    return not _kind(node).computes and (first or not nodes >= node.users.keys())


# ------------------------------------------------------------------------------------------------------------- kinds


def _kind(node: fx.Node) -> Kind:
    known: Kind | None = node.meta.get("kind")
    if known is None:
        known = node.meta["kind"] = _found_out(node)
    return known


def _found_out(node: fx.Node) -> Kind:
    """Run a node on tensors without values, and look at what it dispatches to."""
    from torch._subclasses.fake_tensor import FakeTensorMode

    forms = [one.meta.get("form") for one in (node, *node.all_input_nodes)]
    if node.op not in {"call_function", "call_method"} or len(forms) == 1 or None in forms:
        return Kind()
    if any(form[2].is_complex for form in forms):
        return Kind()
    if any(_kind(one).obstacle == VARIES for one in node.all_input_nodes):
        return Kind(obstacle=VARIES)
    seen = _Seen()
    with torch.no_grad(), FakeTensorMode(), seen:
        made = {
            one: torch.empty_strided(form[0], form[1], dtype=form[2], device=form[3])
            for one, form in zip(node.all_input_nodes, forms[1:], strict=True)
        }
        args, kwargs = fx.node.map_arg((node.args, dict(node.kwargs)), made.__getitem__)
        seen.given, seen.operators = [*made.values()], []
        try:
            node.target(*args, **kwargs) if node.op == "call_function" else getattr(args[0], node.target)(
                *args[1:], **kwargs
            )
        except Exception:  # noqa: BLE001  whatever does not run without values is in no chain
            seen.fits = False
    tags = {tag for operator in seen.operators for tag in operator.tags}
    if torch.Tag.nondeterministic_seeded in tags:
        return Kind(obstacle="draws random numbers")
    if torch.Tag.dynamic_output_shape in tags and not seen.fits:
        return Kind(obstacle=VARIES)
    fit = seen.fits and all(operator.is_view or _is_arithmetic(operator) for operator in seen.operators)
    computes = fit and not all(operator.is_view for operator in seen.operators)
    return Kind(fit, computes, frozenset(seen.reductions))


def _is_arithmetic(operator: Any) -> bool:
    return operator in COPIES or not TAGS.isdisjoint(operator.tags)


class _Seen(TorchDispatchMode):
    """Keeps the operators that are dispatched to; those that write into what is given do not fit."""

    def __init__(self) -> None:
        super().__init__()
        self.given: list[torch.Tensor] = []
        self.operators: list[Any] = []
        self.reductions: set[tuple[torch.Size, int]] = set()
        self.fits = True

    def __torch_dispatch__(self, operator: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        del types
        if operator.namespace != "prim":  # questions, such as for a device
            self.operators.append(operator)
        if operator._schema.is_mutable and any(args[0] is one for one in self.given):  # noqa: SLF001  nothing else tells
            self.fits = False
        result = operator(*args, **(kwargs or {}))
        if REDUCTION in operator.tags and torch.is_tensor(result):
            self.reductions.add((args[0].shape, result.numel()))
        return result
