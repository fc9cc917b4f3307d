"""The sites of a model: what is found in the graphs of its modules, alike ones together, and what they cost."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import torch

from perfkit.fix.folding import foldable
from perfkit.fix.frames import Frame, record
from perfkit.fix.patterns import found_in
from perfkit.fix.regions import callable_of, inlined, region_graph
from perfkit.model.patch import Passed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import fx

    from perfkit.fix.patterns import Match

__all__ = ["Place", "Sought", "captured", "group", "sites_of"]

LAUNCH_NS: Final = {"cuda": 4_000, "cpu": 1_000}
"""What one more operator costs at the least: its launch, or its dispatch."""


class Place(NamedTuple):
    """One match, and where it is."""

    frame: Frame
    graph: fx.Graph
    match: Match


class Sought(NamedTuple):
    """What was found in a model."""

    places: list[Place]
    passed: tuple[Passed, ...]


def sites_of(model: torch.nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Sought:
    """Run a model twice, and return what is found in the modules that did the same both times."""
    first, second = record(model, args, kwargs), record(model, args, kwargs)
    if len(first) != len(second):
        return Sought([], (Passed("calls other modules each time", ("",)),))
    places: list[Place] = []
    passed: dict[str, dict[str, None]] = {}
    known: dict[str, Match | None] = {}
    seen: set[tuple[int, Any]] = set()
    for frame, again in zip(first, second, strict=True):
        if not frame.obstacle and not again.obstacle and str(frame.graph) != str(again.graph):
            frame.obstacle = "does not do the same each time"
        obstacle = frame.obstacle or again.obstacle
        if obstacle:
            if not _is_of_torch(frame.owner):
                passed.setdefault(obstacle, {})[frame.path] = None
            continue
        if (id(frame.owner), frame.key) not in seen:
            seen.add((id(frame.owner), frame.key))
            places.extend(_places_in(frame, known))
    return Sought(places, tuple(Passed(reason, tuple(paths)) for reason, paths in passed.items()))


def _places_in(frame: Frame, known: dict[str, Match | None]) -> list[Place]:
    graph = inlined(frame)
    matches = [*foldable(graph, frame.owner), *found_in(graph, known)]
    return [Place(frame, graph, match) for match in matches if not _is_of_one_module(match)]


def _is_of_one_module(match: Match) -> bool:
    """Whether all of a match was taken in from one module: it is found there."""
    return len({node.meta.get("inlined", "") for node in match.region.nodes}) == 1 and bool(
        match.region.output.meta.get("inlined")
    )


def _is_of_torch(module: torch.nn.Module) -> bool:
    return type(module).__module__.startswith("torch.")


def group(places: Sequence[Place]) -> dict[tuple[str, ...], list[Place]]:
    """Put places together that compute the same, in the same way, of tensors of the same form."""
    groups: dict[tuple[str, ...], list[Place]] = {}
    for place in places:
        groups.setdefault(identity(place), []).append(place)
    return groups


def identity(place: Place) -> tuple[str, ...]:
    """Return what a site is, whichever module it is in: the operation, how it is written, the forms of its inputs."""
    region = place.match.region
    text = str(region_graph(region.inputs, region.nodes, place.match.outputs)) if not place.match.modules else ""
    forms = [str(node.meta["form"]) for node in region.inputs]
    layers = [repr(module) for module in place.match.modules]
    return place.match.form.kind, place.match.form.title, text, *forms, *layers


def predicted_ns(match: Match, device: str, bytes_per_s: float, *, train: bool) -> int:
    """Return what fusing a site saves in one call, at most: bytes that need not be moved, operators not launched."""
    region = match.region
    moved = sum(_bytes(node) + sum(map(_bytes, node.all_input_nodes)) for node in region.nodes if _moves(node))
    least = sum(map(_bytes, region.inputs)) + sum(map(_bytes, match.outputs))
    operators = sum(map(_moves, region.nodes)) - 1
    passes = 3 if train else 1  # a backward pass moves about twice what a forward does
    return round(
        passes * (max(moved - least, 0) / bytes_per_s * 1e9 + max(operators, 0) * LAUNCH_NS.get(device, 4_000))
    )


def _moves(node: fx.Node) -> bool:
    form = node.meta.get("form")
    views = {"transpose", "mT", "T", "permute", "swapaxes", "unsqueeze", "expand", "_pick"}
    name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "")
    return form is not None and name not in views


def _bytes(node: fx.Node) -> int:
    form = node.meta.get("form")
    return math.prod(form[0]) * form[2].itemsize if form is not None else 0


def captured(
    model: torch.nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any], place: Place, *, train: bool
) -> list[torch.Tensor]:
    """Run a model, and return the tensors that go into a site there."""
    region = place.match.region
    before: list[fx.Node] = []
    for node in place.graph.nodes:
        if node.op == "output" or len(set(before) & {*region.inputs}) == len(region.inputs):
            break
        before.append(node)
    given_nodes = [node for node in place.graph.nodes if node.op == "placeholder"]
    rest = [node for node in before if node.op != "placeholder"]
    run = callable_of(region_graph(given_nodes, rest, region.inputs), "inputs")
    found: list[torch.Tensor] = []

    def hook(module: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if not found:
            tensors: list[torch.Tensor] = []
            from perfkit.fix.signature import flatten

            flatten((args, kwargs), tensors)
            with torch.no_grad():
                found.extend(run(module, *tensors))

    handle = place.frame.owner.register_forward_pre_hook(hook, with_kwargs=True)
    try:
        with torch.set_grad_enabled(train):
            model(*args, **kwargs)
    finally:
        handle.remove()
    return [
        value.detach().clone(memory_format=torch.preserve_format).requires_grad_(train and node.meta["form"][4])
        for value, node in zip(found, region.inputs, strict=True)
    ]
