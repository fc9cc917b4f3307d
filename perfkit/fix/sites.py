"""The sites of a model: what is found in the graphs of its modules, alike ones together, and what they cost."""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import torch

from perfkit.fix.chains import chains, fits, kept_out
from perfkit.fix.folding import foldable
from perfkit.fix.inlining import inlined
from perfkit.fix.patterns import found_in, spelling
from perfkit.fix.recording import record
from perfkit.fix.regions import LAYOUT, callable_of, name_of, region_graph
from perfkit.model.patch import Passed

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from torch import fx

    from perfkit.fix.frames import Frame
    from perfkit.fix.patterns import Match

__all__ = ["Place", "Sought", "calls_of", "captured", "chains_of", "group", "sites_of", "taken_in"]

COPYING: Final = frozenset({"contiguous", "clone", "repeat", "repeat_interleave"})


class Place(NamedTuple):
    """One match, and where it is."""

    frame: Frame
    graph: fx.Graph
    match: Match


class Sought(NamedTuple):
    """What was found in a model, and the calls of modules that it was looked for in."""

    places: list[Place]
    passed: tuple[Passed, ...]
    frames: tuple[Frame, ...] = ()


def sites_of(model: torch.nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Sought:
    """Run a model, then twice more, and return what is found in the modules that did the same both times."""
    model(*args, **kwargs)  # what is set up in a first call is set up
    first, second = record(model, args, kwargs), record(model, args, kwargs)
    if len(first) != len(second):
        return Sought([], (Passed("calls other modules each time", ("",)),))
    places: list[Place] = []
    passed: dict[str, dict[str, None]] = {}
    known: dict[str, Match | None] = {}
    frames: dict[tuple[int, Any], Frame] = {}
    for frame, again in zip(first, second, strict=True):
        if not frame.obstacle and not again.obstacle and str(frame.graph) != str(again.graph):
            frame.obstacle = "does not do the same each time"
        frame.obstacle = frame.obstacle or again.obstacle
        if frame.obstacle:
            if not _is_of_torch(frame.owner):
                passed.setdefault(frame.obstacle, {})[frame.path] = None
        elif (id(frame.owner), frame.key) in frames:
            frames[id(frame.owner), frame.key].calls += 1
        else:
            frames[id(frame.owner), frame.key] = frame
            _add_places(frame, places, functools.partial(_matches, frame=frame, known=known), inlined)
    return Sought(places, _passed(passed), tuple(frames.values()))


def chains_of(frames: Iterable[Frame], kept: Sequence[Place]) -> Sought:
    """Return the chains in frames; what is kept in them is no part of any, and is called as it was."""
    places: list[Place] = []
    passed: dict[str, dict[str, None]] = {}
    owners, within = {id(place.frame.owner) for place in kept}, taken_in(kept)
    for frame in frames:
        if frame.path in within:
            continue
        for obstacle in kept_out(frame.graph):
            passed.setdefault(obstacle, {})[frame.path] = None
        mine = [place for place in kept if place.frame is frame]
        if mine:
            graph, regions = mine[0].graph, [place.match.region for place in mine]
            places.extend(Place(frame, graph, match) for match in chains(graph, regions))
        else:
            _add_places(frame, places, lambda graph: [*chains(graph)], functools.partial(_taking_in, owners=owners))
    return Sought(places, _passed(passed))


def _taking_in(frame: Frame, only: Collection[str] | None = None, *, owners: set[int]) -> fx.Graph:
    """Return the graph of a frame with modules taken in that are made of what fits into chains, but for some."""
    free = {path for path, module in frame.owner.named_modules() if id(module) not in owners}
    return inlined(frame, free if only is None else free.intersection(only), fits)


def taken_in(places: Iterable[Place]) -> set[str]:
    """Return the paths in the model of the modules that are taken in where places are: nothing calls those any more."""
    each = {id(place.graph): place for place in places}
    return {
        f"{place.frame.path}.{path}".removeprefix(".")
        for place in each.values()
        for node in place.graph.nodes
        for path in _and_outer(node.meta.get("inlined", ""))
    }


def _passed(reasons: Mapping[str, Iterable[str]]) -> tuple[Passed, ...]:
    return tuple(Passed(reason, tuple(paths)) for reason, paths in reasons.items())


def _add_places(
    frame: Frame,
    places: list[Place],
    found_in: Callable[[fx.Graph], list[Match]],
    taking_in: Callable[..., fx.Graph],
) -> None:
    """Add what is found in a frame, and in no module in it alone; of those, what has to be taken in is found here.

    Args:
        frame: The frame.
        places: What was found in others; grows.
        found_in: Returns what is found in a graph.
        taking_in: Returns the graph of a frame with modules taken in: any, or those of some paths.
    """
    inside = {_origin(place.match): place for place in places}
    graph = taking_in(frame)
    matches = found_in(graph)
    news = [match for match in matches if _origin(match) not in inside]
    paths = {path for match in news for node in match.region.nodes for path in _and_outer(node.meta["inlined"])}
    if not {node.meta["inlined"] for node in graph.nodes if "inlined" in node.meta} <= {"", *paths}:
        graph = taking_in(frame, paths)
        matches = found_in(graph)
    for match in matches:
        whole = {node.meta.get("inlined", "") for node in match.region.nodes}
        before = inside.get(_origin(match))
        if before is not None and before in places and whole != {""}:
            places.remove(before)
        places[:] = [place for place in places if not _serves_only(place, match)]
        places.append(Place(frame, graph, match))


def _serves_only(place: Place, match: Match) -> bool:
    """Whether a place is the softmax of an attention: who replaces the latter has no use for the former."""
    inside = {node.meta["origin"] for node in match.region.nodes} if match.form.kind == "attention" else set()
    return place.match.form.kind == "softmax" and place.match.region.output.meta["origin"] in inside


def _matches(graph: fx.Graph, frame: Frame, known: dict[str, Match | None]) -> list[Match]:
    return [*foldable(graph, frame.owner), *found_in(graph, frame.owner, known)]


def _origin(match: Match) -> tuple[str, str, fx.Node]:
    """Return what a match is in the graph of the module that it ends in."""
    return match.form.kind, match.form.title, match.region.output.meta["origin"]


def _and_outer(path: str) -> list[str]:
    """Return a path, and those of the modules around it."""
    parts = path.split(".") if path else []
    return [".".join(parts[: number + 1]) for number in range(len(parts))]


def _is_of_torch(module: torch.nn.Module) -> bool:
    return type(module).__module__.startswith("torch.")


def group(places: Sequence[Place]) -> dict[tuple[str, ...], list[Place]]:
    """Put places together that compute the same, in the same way, of tensors of the same form."""
    groups: dict[tuple[str, ...], list[Place]] = {}
    for place in places:
        groups.setdefault(identity(place), []).append(place)
    return groups


def calls_of(places: Iterable[Place]) -> int:
    """Return how often places are computed in one call of the model."""
    return sum(place.frame.calls for place in places)


def identity(place: Place) -> tuple[str, ...]:
    """Return what a site is, whichever module it is in: the operation, how it is written, the forms of its inputs."""
    region = place.match.region
    text = spelling(region) if not place.match.modules else ""
    forms = [str(node.meta["form"]) for node in region.inputs]
    layers = [repr(module) for module in place.match.modules]
    return place.match.form.kind, place.match.form.title, text, *forms, *layers


def predicted_ns(match: Match, bytes_per_s: float, operator_ns: float, *, train: bool) -> int:
    """Return what fusing a site saves in one call: bytes that need not be moved, operators that are not called.

    Args:
        match: The site.
        bytes_per_s: Of a copy, read and written.
        operator_ns: What calling one takes, however small its tensors; where the model trains, its backward with it.
        train: Whether the model trains.
    """
    region = match.region
    moved = sum(_bytes(node) + sum(map(_bytes, node.all_input_nodes)) for node in region.nodes if _moves(node))
    least = sum(map(_bytes, region.inputs)) + sum(map(_bytes, match.outputs))
    operators = sum(map(_moves, region.nodes)) - 1
    passes = 3 if train else 1  # a backward pass moves about twice what a forward does
    return round(passes * max(moved - least, 0) / bytes_per_s * 1e9 + max(operators, 0) * operator_ns)


def _moves(node: fx.Node) -> bool:
    """Whether a node reads and writes its elements; to reshape what was expanded copies it."""
    name = name_of(node)
    copies = name in COPYING or (name == "reshape" and 0 in node.all_input_nodes[0].meta["form"][1])
    return "form" in node.meta and (name not in LAYOUT or copies)


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
