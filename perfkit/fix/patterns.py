"""What is looked for in a graph, and what of it is found."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Final

from torch import fx

from perfkit.fix.constants import constant_of
from perfkit.fix.operations import activations, attention, embeddings, losses, norms, rotary
from perfkit.fix.operations.form import Form, Match, Pattern, rows
from perfkit.fix.operations.probing import Trial, nearest
from perfkit.fix.regions import name_of, regions

if TYPE_CHECKING:
    import torch

    from perfkit.fix.regions import Region

__all__ = ["PATTERNS", "Form", "Match", "Pattern", "found_in", "match", "spelling"]

PATTERNS: Final = (
    *attention.PATTERNS, *losses.PATTERNS, *norms.PATTERNS, *rotary.PATTERNS, *activations.PATTERNS,
    *embeddings.PATTERNS,
)  # fmt: skip
"""In the order in which they are tried, and preferred where they end alike."""
NAMES: Final = frozenset(name for pattern in PATTERNS for name in pattern.names)
RANKS: Final = {pattern.kind: rank for rank, pattern in enumerate(PATTERNS)}


def match(region: Region) -> Match | None:
    """Return what a region computes, or None if it is nothing that is known."""
    names, chance = region.names(), region.chance()
    trials: dict[tuple[fx.Node, ...], Trial] = {}
    for pattern in PATTERNS:
        if len(region.nodes) < pattern.least or names.isdisjoint(pattern.names) or (chance and not pattern.drops):
            continue
        outputs = _outputs(region, sums=pattern.sums)
        forms = [*pattern.forms(region)] if outputs is not None else []
        if outputs is None or not forms:
            continue
        trial = trials[outputs] = trials.get(outputs) or Trial(region, outputs)
        found = [form for form in forms if trial.sound and trial.computes(form)]
        if found:
            return Match(region, nearest(trial, found), outputs, pattern.kind)
    return None


def _worth(matched: Match) -> tuple[int, int]:
    """Say how much a match is worth: first by what it is, then by how much it takes in."""
    return -RANKS[matched.pattern], len(matched.region.nodes)


def _match_once(region: Region, known: dict[str, Match | None]) -> Match | None:
    """Return what a region computes, tried only for the first of those that are written alike."""
    if NAMES.isdisjoint(region.names()):
        return None
    key = spelling(region)
    if key not in known:
        known[key] = match(region)
    first = known[key]
    if first is None:
        return None
    outputs = tuple(region.nodes[first.region.nodes.index(node)] for node in first.outputs)
    constants = [node.meta["constant"] for node in region.inputs if node.meta.get("constant")]
    held = tuple(dict.fromkeys(path for constant in constants for path in constant.buffers))
    return first._replace(region=region, outputs=outputs, held=held)


def spelling(region: Region) -> str:
    """Return a text that is the same for regions that are written alike, of tensors of the same forms."""
    numbers = {node: f"%{number}" for number, node in enumerate((*region.inputs, *region.nodes))}
    forms = [
        (node.meta["form"][:4], node.op == "get_attr", getattr(node.meta.get("constant"), "digest", ""))
        for node in region.inputs
    ]
    calls = [
        (getattr(node.target, "__module__", ""), name_of(node), fx.node.map_arg((node.args, node.kwargs), numbers.get))
        for node in region.nodes
    ]
    return f"{forms}{calls}{[numbers[node] for node in region.outside]}"


def _outputs(region: Region, *, sums: bool) -> tuple[fx.Node, ...] | None:
    """Return what a replacement has to give; None if something else of the region is used outside of it."""
    if not sums:
        return None if region.outside else (region.output,)
    given = {*rows(region), *region.chance()}
    found = [
        node
        for node in region.nodes
        if len(node.all_input_nodes) == 2 and {*node.all_input_nodes} <= given and node is not region.output  # noqa: PLR2004
    ]
    if len(found) != 1 or any(node is not found[0] for node in region.outside):
        return None
    return region.output, found[0]


def _constants(graph: fx.Graph, owner: torch.nn.Module) -> None:
    """Note of nodes that are masks or indices, and no others, whether they are always the same."""
    for node in graph.nodes:
        form = node.meta.get("form")
        if form is None or node.op == "placeholder" or (form[2].is_floating_point and len(form[0]) < 2):  # noqa: PLR2004
            continue
        constant = constant_of(node, owner)
        if constant is not None:
            node.meta["constant"] = constant


def found_in(graph: fx.Graph, owner: torch.nn.Module, known: dict[str, Match | None]) -> list[Match]:
    """Return what is found in a graph, nothing twice: of the regions that end alike, the one of most worth.

    Args:
        graph: The graph.
        owner: The module whose it is.
        known: What was found out about regions written alike; grows.
    """
    _constants(graph, owner)
    found: list[Match] = []
    taken: set[fx.Node] = set()
    for _, ending_alike in itertools.groupby(regions(graph), key=lambda region: region.output):
        matches = [_match_once(region, known) for region in ending_alike if not taken & {*region.nodes}]
        best = max(filter(None, matches), key=_worth, default=None)
        if best is not None:
            found.append(best)
            taken.update(best.region.nodes)
    return found
