"""Which dimensions of a graph's tensors are the same axis of the space that a kernel runs over.

Dimensions are put together by the operators that combine tensors, so a tensor that is transposed, broadcast or lacks a
dimension needs no case of its own. Dimensions of length one are no axes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import torch
from torch import fx

from perfkit_kernels.generate.expressions import require
from perfkit_kernels.generate.refusal import RefusedError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["LITERALS", "REDUCTIONS", "SAME", "Axes", "reduced_dims", "shape_of"]

prims: Final = torch.ops.prims
aten: Final = torch.ops.aten

REDUCTIONS: Final = frozenset({prims.sum.default, prims.amax.default, prims.amin.default})
LITERALS: Final = frozenset(
    {
        aten.empty_permuted.default, aten.full.default, aten.full_like.default, aten.scalar_tensor.default,
        prims.empty_strided.default, prims.fill.default, prims.full.default, prims.scalar_tensor.default,
    }
)  # fmt: skip
"""Operators that give the same number everywhere."""
SAME: Final = frozenset(
    {
        aten.as_strided.default, aten.view.default, prims.as_strided.default, prims.broadcast_in_dim.default,
        prims.collapse.default, prims.collapse_view.default, prims.reshape.default,
        prims.split_dim.default, prims.squeeze.default, prims.transpose.default,
    }
)  # fmt: skip
"""Operators that give the values that they take, in another shape."""


def shape_of(node: fx.Node) -> tuple[int, ...]:
    """Return the shape of a node's tensor."""
    return tuple(int(size) for size in node.meta["val"].shape)


def reduced_dims(node: fx.Node) -> tuple[int, ...]:
    """Return the dimensions that a reduction does away with."""
    dims = node.args[1] if len(node.args) > 1 else None
    count = len(shape_of(node.all_input_nodes[0]))
    return tuple(range(count)) if dims is None or not count else tuple(int(index) % count for index in dims)


class Axes:
    """The axes of a graph's nodes.

    Attributes:
        sizes: Their sizes, outermost first.
        dims: For each node, the axis of each dimension, or None where its length is one.
        varies: For each node, the axes along which its values differ.
    """

    def __init__(self, nodes: Sequence[fx.Node]) -> None:
        """Find the axes of nodes, given in the order of their graph, with all that they are made of."""
        self._same: dict[Any, Any] = {}
        for node in nodes:
            if node.op == "call_function" and node.target not in LITERALS:
                self._join(node)
        found, whole = self._found(nodes)
        if whole is None:
            self._join_broadcast(nodes)
            found, whole = self._found(nodes)
        if whole is None:
            raise RefusedError("shape", "no tensor in it has all the dimensions of the others")
        order = [axis for axis in whole if axis is not None]
        if len(set(order)) != len(order):
            raise RefusedError("shape", "two dimensions of a tensor go along with one of another")
        number = {axis: place for place, axis in enumerate(order)}
        self.sizes = [shape_of(node)[index] for node, index in order]
        self.dims = {
            node: tuple(None if axis is None else number[axis] for axis in axes) for node, axes in found.items()
        }
        self.varies: dict[fx.Node, frozenset[int]] = {}
        for node in nodes:
            own = frozenset(axis for axis in self.dims[node] if axis is not None)
            if node.op == "call_function":
                own &= frozenset[int]().union(*(self.varies[source] for source in node.all_input_nodes))
            self.varies[node] = own

    def reduced(self, node: fx.Node) -> frozenset[int]:
        """Return the axes that a reduction does away with."""
        dims = self.dims[node.all_input_nodes[0]]
        return frozenset(axis for index in reduced_dims(node) if (axis := dims[index]) is not None)

    def _found(self, nodes: Sequence[fx.Node]) -> tuple[dict[fx.Node, tuple[Any, ...]], tuple[Any, ...] | None]:
        """Return the axis of each dimension, and those of a node that has all of them."""
        found = {node: tuple(self._axis(node, index) for index in range(len(shape_of(node)))) for node in nodes}
        known = {axis for axes in found.values() for axis in axes if axis is not None}
        return found, next((axes for axes in reversed(found.values()) if known <= set(axes)), None)

    def _join_broadcast(self, nodes: Sequence[fx.Node]) -> None:
        """Put dimensions that are reduced together with those that nothing but a broadcast makes, as far from the last.

        As a gradient of a mean has them: each is computed and used up before the other is there.
        """
        ends = [
            (source, index)
            for node in nodes
            if node.target in REDUCTIONS
            for source in node.all_input_nodes
            for index in reduced_dims(node)
        ]
        for node in nodes:
            if node.target is prims.broadcast_in_dim.default:
                count = len(shape_of(node))
                made = [(node, index) for index in range(count)]
                self._unite(
                    (one, other)
                    for one in made
                    for other in ends
                    if count - one[1] == len(shape_of(other[0])) - other[1]
                )

    def _axis(self, node: fx.Node, index: int) -> Any:
        return None if shape_of(node)[index] == 1 else self._find((node, index))

    def _find(self, key: Any) -> Any:
        while (further := self._same.get(key, key)) != key:
            key = further
        return key

    def _unite(self, pairs: Iterable[tuple[tuple[fx.Node, int], tuple[fx.Node, int]]]) -> None:
        for (one, index), (other, place) in pairs:
            if shape_of(one)[index] == shape_of(other)[place] != 1:
                self._same[self._find((one, index))] = self._find((other, place))

    def _join(self, node: fx.Node) -> None:
        """Put the dimensions of a node together with those of what it takes."""
        sources, out = node.all_input_nodes, shape_of(node)
        if node.target in REDUCTIONS:
            gone = reduced_dims(node)
            kept = [index for index in range(len(shape_of(sources[0]))) if index not in gone]
            self._unite(((sources[0], index), (node, place)) for place, index in enumerate(kept))
        elif node.target is prims.broadcast_in_dim.default:
            self._unite(((sources[0], index), (node, place)) for index, place in enumerate(node.args[2]))
        elif node.target is prims.transpose.default:
            self._unite(((sources[0], index), (node, place)) for place, index in enumerate(node.args[1]))
        elif node.target in SAME:
            self._reshape(sources[0], node)
        else:
            require(node)
            for source in sources:
                shift = len(out) - len(shape_of(source))
                self._unite(((source, index), (node, index + shift)) for index in range(len(shape_of(source))))

    def _reshape(self, source: fx.Node, node: fx.Node) -> None:
        """Put dimensions together where a view only adds or leaves out some of length one."""
        before, after = ([index for index, size in enumerate(shape_of(one)) if size != 1] for one in (source, node))
        plain = "as_strided" not in str(node.target) or (
            source.meta["val"].is_contiguous() and node.meta["val"].is_contiguous()
        )
        if not plain or [shape_of(source)[index] for index in before] != [shape_of(node)[index] for index in after]:
            raise RefusedError("operator", f"reshapes {list(shape_of(source))} to {list(shape_of(node))}")
        self._unite(((source, index), (node, place)) for index, place in zip(before, after, strict=True))
