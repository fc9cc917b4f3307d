"""What an operation is looked for by, its exact forms, and what a match is."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import torch
    from torch import fx

    from perfkit.fix.regions import Region

    Function = Callable[..., tuple[torch.Tensor, ...]]

__all__ = ["Form", "Function", "Match", "Pattern", "epsilons", "rows", "split"]

LARGEST_EPS: Final = 0.1


class Form(NamedTuple):
    """One exact form of an operation, to be tried.

    Attributes:
        kind: What it is.
        title: The same with its numbers, for people.
        reference: Computes all outputs, given the region's inputs in its order.
        native: What PyTorch has for it: a name and a function like the reference; None for nothing.
        kernel: What `perfkit_kernels` has: the name of a SPEC, and what makes the region's inputs its arguments.
        hostile: Values that an implementation has to treat as what is there does, whole rows of them.
        products: Whether its gradients are sums of products of all of the inputs, as those of attention are.
        called: Whether the native function is what is there.
    """

    kind: str
    title: str
    reference: Function
    native: tuple[str, Function] | None = None
    kernel: tuple[str, Function] | None = None
    hostile: tuple[float, ...] = (0.0, 1e4, math.nan, math.inf)
    products: bool = False
    called: bool = False


class Match(NamedTuple):
    """A region, and what it computes.

    Attributes:
        region: The region.
        form: What it computes.
        outputs: Which of its nodes are wanted, its last one first.
        pattern: Kind of the pattern that it was found by.
        modules: Modules whose parameters the replacement has a copy of.
        held: Paths of buffers in the owner that have to stay what they are, such as a causal mask.
    """

    region: Region
    form: Form
    outputs: tuple[fx.Node, ...]
    pattern: str = ""
    modules: tuple[torch.nn.Module, ...] = ()
    held: tuple[str, ...] = ()


class Pattern(NamedTuple):
    """An operation that is looked for.

    Attributes:
        kind: What it is.
        names: Functions one of which has to be in it.
        least: The fewest nodes.
        forms: Yields its forms that a region could be.
        sums: Whether it gives the sum that it begins with, too: a second output.
        drops: Whether its forms take account of elements dropped at random.
    """

    kind: str
    names: tuple[str, ...]
    least: int
    forms: Callable[[Region], Iterator[Form]]
    sums: bool = False
    drops: bool = False


def rows(region: Region) -> list[fx.Node]:
    """Return the inputs that are of the output's shape."""
    shape = region.output.meta["form"][0]
    return [node for node in region.inputs if node.meta["form"][0] == shape]


def split(region: Region, rows: int, weights: int) -> tuple[list[int], list[int]] | None:
    """Return where among the inputs the rows are, and where the weights; None if there are others."""
    shape = region.output.meta["form"][0]
    if not shape:
        return None
    order = range(len(region.inputs))
    held = [at for at in order if region.inputs[at].meta["form"][0] == shape[-1:] and len(shape) > 1]
    given = [at for at in order if region.inputs[at].meta["form"][0] == shape]
    if len(given) != rows or len(held) > weights or len(given) + len(held) != len(region.inputs):
        return None
    return given, held


def epsilons(region: Region) -> list[float | None]:
    """Return what could be an epsilon: none given, the small numbers that stand in a region, zero."""
    return [None, *sorted(value for value in region.constants() if 0 < value < LARGEST_EPS), 0.0]
