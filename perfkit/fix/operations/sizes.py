"""Smaller tensors to try a region with: what it computes does not depend on how long a sequence is.

A size is made smaller wherever it stands: in the inputs, and as a number where a shape is named. One that stands in
arithmetic stays, and what breaks with other sizes is tried with its own.
"""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Any, Final

from torch import fx

from perfkit.fix.regions import name_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from perfkit.fix.regions import Region

__all__ = ["fitted", "shrinkings"]

SHAPED: Final = frozenset(
    {
        "view", "reshape", "expand", "repeat", "getitem", "ones", "zeros", "full", "arange", "empty",
        "repeat_interleave",
    }
)  # fmt: skip
"""Functions whose numbers are sizes."""
PARTING: Final = frozenset({"getitem", "narrow", "split", "unflatten"})
LARGE: Final = 64
MOST_ELEMENTS: Final = 1 << 22
SMALLER: Final = (11, 13, 17, 19, 23, 29, 31, 37)
"""Sizes instead of others: no multiples of each other, so that two of them are never taken for one."""


def shrinkings(region: Region) -> Iterator[dict[int, int]]:
    """Yield which sizes to replace by which, the most first; only such as leave tensors of a moderate size."""
    given = [node.meta["form"][0] for node in region.inputs]
    shapes = [*given, *(node.meta["form"][0] for node in region.nodes if "form" in node.meta)]
    kept = _numbers(region)
    sizes = {size for shape in given for size in shape} - kept
    batch = {shape[0] for shape in given if len(shape) > 2 and shape[0] > 2} - kept  # noqa: PLR2004
    of_weights = {size for shape in given if len(shape) <= 2 for size in shape}  # noqa: PLR2004
    large = _smaller({size for size in sizes if size > LARGE}, shapes)
    free = _smaller({size for size in sizes if size > SMALLER[-1]} - of_weights, shapes)
    fewer = dict.fromkeys(batch, 2)
    tried: list[dict[int, int]] = []
    for chosen in (large, fewer | large, fewer | free, fewer, {}):
        most = max((math.prod(chosen.get(size, size) for size in shape) for shape in shapes), default=0)
        if most <= MOST_ELEMENTS and chosen not in tried:
            tried.append(chosen)
            yield chosen


def _smaller(sizes: set[int], shapes: list[Any]) -> dict[int, int]:
    """Return smaller sizes, and where one is the product of others, such as of batch and positions, theirs."""
    products: dict[int, tuple[int, ...]] = {}
    for shape in shapes:
        for start, end in itertools.combinations(range(len(shape) + 1), 2):
            run = tuple(size for size in shape[start:end] if size != 1)
            if len(run) > 1:
                products.setdefault(math.prod(run), run)
    single = sorted(size for size in sizes if size not in products)
    chosen = dict(zip(reversed(single), SMALLER, strict=False))
    for size in sorted(sizes & products.keys()):
        chosen[size] = math.prod(chosen.get(part, part) for part in products[size])
    return chosen


def _numbers(region: Region) -> set[int]:
    """Return the sizes that are to stay: whole numbers in arithmetic, and what slices and splits part."""
    found: set[int] = set()
    for node in region.nodes:
        if name_of(node) in PARTING:
            found.update(_parted(node))
        elif name_of(node) not in SHAPED:
            fx.node.map_aggregate((node.args, node.kwargs), lambda value: _note(value, found))
    return found


def _parted(node: fx.Node) -> Iterator[int]:
    """Yield the sizes of the dimensions that a slice with numbers, or a split, takes apart."""
    shape = node.all_input_nodes[0].meta["form"][0] if "form" in node.all_input_nodes[0].meta else ()
    if name_of(node) != "getitem":
        yield from shape
        return
    index = node.args[1] if isinstance(node.args[1], tuple) else (node.args[1],)
    before = index[: index.index(Ellipsis)] if Ellipsis in index else index
    after = index[len(before) + 1 :]
    for parts, sizes in ((before, shape), (after[::-1], shape[::-1])):
        for part, size in zip([part for part in parts if part is not None], sizes, strict=False):
            if isinstance(part, slice) and any(type(end) is int for end in (part.start, part.stop, part.step)):
                yield size


def _note(value: Any, found: set[int]) -> Any:
    if type(value) is int:
        found.add(abs(value))
    elif type(value) is float and value.is_integer():
        found.add(int(abs(value)))
    return value


def fitted(graph: fx.Graph, sizes: dict[int, int]) -> fx.Graph:
    """Replace sizes where a graph names shapes; the graph is changed."""

    def smaller(value: Any) -> Any:
        return sizes.get(value, value) if type(value) is int else value

    for node in graph.nodes if sizes else ():
        if name_of(node) in SHAPED:
            node.args = fx.node.map_aggregate(
                node.args, lambda value: sizes.get(value, value) if type(value) is int else value
            )
    return graph
