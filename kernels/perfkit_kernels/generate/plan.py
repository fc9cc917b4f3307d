"""How a graph is laid out for one kernel: what are its rows and columns, how much a program takes, what it leaves.

A row runs along the axes that are reduced. Where nothing is reduced, it runs along as many of the innermost axes as lie
one after the other in all tensors. A gradient that is a sum over all rows is left as one partial sum for each program;
a sum over anything else is left to PyTorch, as is what follows such sums: tensors as small as a bias.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, NamedTuple

from torch import fx

from perfkit_kernels.dialect import next_power_of_2
from perfkit_kernels.generate.axes import REDUCTIONS, Axes, shape_of
from perfkit_kernels.generate.refusal import RefusedError
from perfkit_kernels.generate.trace import cut, output_of
from perfkit_kernels.rows import POINTS, WARPS_OF_POINTS, Tile, tile

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

__all__ = ["Lie", "Plan", "Result", "contiguous", "needed_for", "plan"]

HELD: Final = 48 << 10
"""Values that a program holds of its rows, of all its tensors together: 100 registers of each thread of 16 warps."""


class Lie(NamedTuple):
    """How a tensor lies: its strides along the groups of axes of rows and of columns; 0 where it has no such axis."""

    rows: tuple[int, ...]
    columns: tuple[int, ...]


class Result(NamedTuple):
    """What a kernel leaves.

    Attributes:
        node: A value; or a sum, of which it leaves partial ones, or its terms.
        term: What is stored or summed.
        kind: ``whole`` for a tensor of values, ``vector`` or ``scalar`` for partial sums of programs.
    """

    node: fx.Node
    term: fx.Node
    kind: str


class Plan(NamedTuple):
    """The layout of a kernel.

    Attributes:
        graph: What it computes.
        axes: Its axes.
        rows: Sizes of the groups of axes that rows are counted along, outermost first.
        columns: Likewise of the columns.
        column_axes: The axes that columns are counted along.
        lies: How what is loaded and stored lies.
        reduces: Whether rows are reduced.
        tile: What a program takes at once.
        results: What it leaves.
        late: What PyTorch makes of the results and of the inputs; None if nothing is to be done.
    """

    graph: fx.Graph
    axes: Axes
    rows: tuple[int, ...]
    columns: tuple[int, ...]
    column_axes: frozenset[int]
    lies: dict[fx.Node, Lie]
    reduces: bool
    tile: Tile
    results: tuple[Result, ...]
    late: fx.Graph | None

    @property
    def height(self) -> int:
        """How many rows there are."""
        return math.prod(self.rows)

    @property
    def width(self) -> int:
        """How long they are."""
        return math.prod(self.columns)

    @property
    def sums(self) -> bool:
        """Whether programs leave partial sums."""
        return any(result.kind != "whole" for result in self.results)


def plan(graph: fx.Graph, strides: Sequence[tuple[int, ...]]) -> Plan:
    """Lay a graph out.

    Args:
        graph: Of primitive operators.
        strides: Of its inputs.

    Raises:
        RefusedError: It cannot be one kernel.
    """
    outputs = output_of(graph)
    inputs = [node for node in graph.nodes if node.op == "placeholder"]
    final = _final_sums(graph, outputs)
    axes = _axes(graph, outputs, final)
    columns = _reduced(axes, final)
    here = {node for node in final if axes.reduced(node) <= columns}
    final -= here
    axes = _axes(graph, outputs, final) if here else axes
    for node in axes.dims:
        if node.target in REDUCTIONS and node not in final and axes.reduced(node) not in {columns, frozenset()}:
            raise RefusedError("reductions", "reduces what is reduced already")

    stored = _early(outputs, final)
    terms = [node.all_input_nodes[0] for node in final]
    used = needed_for([*stored, *terms])
    along = {node: _along(axes, node, steps) for node, steps in zip(inputs, strides, strict=True) if node in used}
    along |= {node: _along(axes, node, contiguous(shape_of(node))) for node in [*stored, *terms] if node not in along}
    across = columns or _kept(axes, final)
    groups = _merged(axes.sizes, list(along.values()), across)
    inner = [group for group in groups if across & {*group}] if across else groups[-1:]
    outer = [group for group in groups if group not in inner]
    height, width = (math.prod(axes.sizes[axis] for group in some for axis in group) for some in (outer, inner))

    inner_axes = frozenset(axis for group in inner for axis in group)
    shape = _tile(height, width, _alive(graph, axes, [*stored, *terms]), reduces=bool(columns))
    kinds = [Result(node, node, "whole") for node in stored]
    for node, term in zip(final, terms, strict=True):
        kind = _kind(axes, node, inner_axes) if shape.whole or not columns else "whole"
        if kind != "whole" or not (_is_given(term) or any(one.term is term and one.kind == kind for one in kinds)):
            kinds.append(Result(node, term, kind))
    lies = {
        node: Lie(*(tuple(steps[group[-1]] for group in some) for some in (outer, inner)))
        for node, steps in along.items()
    }
    sizes = [tuple(math.prod(axes.sizes[axis] for axis in group) for group in some) for some in (outer, inner)]
    sources = [result.term if result.kind == "whole" else result.node for result in kinds]
    late = cut([*sources, *(node for node in inputs if node not in sources)], outputs) if final else None
    return Plan(graph, axes, sizes[0], sizes[1], inner_axes, lies, bool(columns), shape, tuple(kinds), late)


# ------------------------------------------------------------------------------------------------------ reductions


def _final_sums(graph: fx.Graph, outputs: list[fx.Node]) -> set[fx.Node]:
    """Return the sums that nothing follows but what is as small as they are: gradients of what was broadcast."""
    found = set()
    for node in graph.nodes:
        if node.op == "call_function" and node.target is SUM:
            size = math.prod(shape_of(node))
            following = _after({node}) - {node}
            if all(math.prod(shape_of(one)) <= size for one in following):
                found.add(node)
    return found - set[fx.Node]().union(*(_after({node}) - {node} for node in found))


SUM: Final = next(target for target in REDUCTIONS if "sum" in str(target))


def _after(nodes: Collection[fx.Node]) -> frozenset[fx.Node]:
    """Return nodes and all that is made of them, but the output."""
    found, left = set[fx.Node](), [*nodes]
    while left:
        node = left.pop()
        if node not in found and node.op != "output":
            found.add(node)
            left.extend(node.users)
    return frozenset(found)


def needed_for(nodes: Iterable[fx.Node]) -> set[fx.Node]:
    """Return nodes and all that they are made of."""
    found, left = set[fx.Node](), [*nodes]
    while left:
        node = left.pop()
        if node not in found:
            found.add(node)
            left.extend(node.all_input_nodes)
    return found


def _trailing(axes: Axes, count: int) -> frozenset[int]:
    return frozenset(range(len(axes.sizes) - count, len(axes.sizes)))


def _early(outputs: Iterable[fx.Node], final: Collection[fx.Node]) -> list[fx.Node]:
    """Return the outputs, each once, that none of the last sums goes into."""
    after = _after(final)
    return [node for node in dict.fromkeys(outputs) if node not in after]


def _axes(graph: fx.Graph, outputs: Iterable[fx.Node], final: Collection[fx.Node]) -> Axes:
    """Find the axes of all that a kernel computes, up to the last sums."""
    needed = needed_for([*_early(outputs, final), *final])
    return Axes([node for node in graph.nodes if node in needed])


def _reduced(axes: Axes, final: set[fx.Node]) -> frozenset[int]:
    """Return the axes that rows run along because they are reduced; none where nothing is."""
    calls = [node for node in axes.dims if node.target in REDUCTIONS and node not in final]
    found = {axes.reduced(node) for node in calls} - {frozenset()}
    if not found:  # a gradient of what has one value for each row
        ends = {axes.reduced(node) for node in final}
        found = {one for one in ends if one and one == _trailing(axes, len(one)) and len(one) < len(axes.sizes)}
        found = found if len(found) == 1 else set()
    if len(found) > 1:
        raise RefusedError("reductions", "reduces over different dimensions")
    columns = next(iter(found), frozenset[int]())
    if columns != _trailing(axes, len(columns)):
        raise RefusedError("reductions", "reduces over other than its last dimensions")
    return columns


def _kept(axes: Axes, final: Iterable[fx.Node]) -> frozenset[int]:
    """Return the last axes, if a sum is over all others: a gradient of what all rows share."""
    for node in final:
        kept = frozenset(range(len(axes.sizes))) - axes.reduced(node)
        if kept and kept == _trailing(axes, len(kept)):
            return kept
    return frozenset()


def _kind(axes: Axes, node: fx.Node, columns: frozenset[int]) -> str:
    """Say what is left of a sum."""
    (term,) = node.all_input_nodes
    everything = {*range(len(axes.sizes))}
    kept = everything - axes.reduced(node)
    if {axis for axis in axes.dims[term] if axis is not None} != everything:
        return "whole"
    return "scalar" if not kept else "vector" if kept == columns else "whole"


# ----------------------------------------------------------------------------------------------------------- layout


def contiguous(shape: Sequence[int]) -> tuple[int, ...]:
    """Return the strides of a tensor that is laid out anew."""
    steps, step = [], 1
    for size in reversed(shape):
        steps.append(step)
        step *= max(size, 1)
    return tuple(reversed(steps))


def _along(axes: Axes, node: fx.Node, strides: tuple[int, ...]) -> list[int]:
    """Return the stride of a tensor along each axis."""
    steps = [0] * len(axes.sizes)
    for axis, stride in zip(axes.dims[node], strides, strict=True):
        if axis is not None:
            steps[axis] = stride
    return steps


def _merged(sizes: list[int], along: list[list[int]], columns: frozenset[int]) -> list[list[int]]:
    """Put axes together that lie one after the other in all tensors, those of rows and of columns apart."""
    groups: list[list[int]] = []
    for axis, size in enumerate(sizes):
        last = groups[-1] if groups else []
        follows = last and (last[-1] in columns) == (axis in columns)
        if follows and all(steps[last[-1]] == steps[axis] * size for steps in along):
            last.append(axis)
        else:
            groups.append([axis])
    return groups


def _alive(graph: fx.Graph, axes: Axes, results: list[fx.Node]) -> int:
    """Count the tiles that are held at the same time, at most."""
    needed = needed_for(results)
    order = [node for node in graph.nodes if node in needed]
    last = {source: place for place, node in enumerate(order) for source in node.all_input_nodes}
    full = {node for node in order if len(axes.varies[node]) == len(axes.sizes) and not _is_cast(node)}
    alive = [
        sum(node in full and order.index(node) <= place < last.get(node, place + 1) for node in order)
        for place in range(len(order))
    ]
    return max(alive, default=1) + 1


def _is_given(node: fx.Node) -> bool:
    """Whether a node is an input, maybe of another dtype."""
    return node.op == "placeholder" or (_is_cast(node) and _is_given(node.all_input_nodes[0]))


def _is_cast(node: fx.Node) -> bool:
    return "convert" in str(node.target)


def _tile(height: int, width: int, alive: int, *, reduces: bool) -> Tile:
    """Choose what a program takes at once."""
    if reduces:
        widest = 1 << (HELD // alive).bit_length() - 1
        shape = tile(width, widest=widest, live=max(2, alive // 2))
        if not shape.whole:
            block = min(shape.block, 1 << (HELD // 4 // alive).bit_length() - 1)
            return Tile(1, block, max(4, block // 256), whole=False)
        return shape._replace(rows=min(shape.rows, next_power_of_2(max(height, 1))), block=max(4, shape.block))
    block = max(4, min(next_power_of_2(width), POINTS))
    return Tile(max(1, min(POINTS // block, next_power_of_2(max(height, 1)))), block, WARPS_OF_POINTS, width <= block)
