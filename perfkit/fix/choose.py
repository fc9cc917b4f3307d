"""Chooses at each site of a model: the fastest that is right and surely faster, or what is there."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import torch

from perfkit.fix import optimizers, whole
from perfkit.fix.candidates import contenders
from perfkit.fix.environment import environment, processor, triton_version
from perfkit.fix.given import bandwidth, in_model, operator_ns, step_ns, undisturbed
from perfkit.fix.judge import spread, tried
from perfkit.fix.optimized import Changes, Optimized, build
from perfkit.fix.sites import calls_of, chains_of, group, predicted_ns, sites_of, taken_in
from perfkit.model.patch import Patch, Site
from perfkit.model.quantity import percent

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from perfkit.fix.candidates import Function
    from perfkit.fix.given import Given
    from perfkit.fix.optimized import Draw, Replacement
    from perfkit.fix.sites import Place
    from perfkit.model.measurement import Measurement
    from perfkit.model.patch import Candidate

__all__ = ["choose"]

LEAST_SHARE: Final = 0.002
"""Sites that could not save this share of the model's time are left alone."""
OF_CHAINS: Final = frozenset({"compile", "generated"})
"""Candidates that there are for operators of no name."""
WHOLE: Final = frozenset({"compile", "graph"})
"""Candidates that may stand for the whole model."""


def choose(given: Given, draw: Draw, again: Callable[[Any], Optimized]) -> Optimized:
    """Find the sites of a model, try what could stand there, and put in what is right and surely faster.

    Args:
        given: The model, how it is called, and functions of other stages.
        draw: Draws the patch, for `Optimized.report`.
        again: Does all of this for other inputs, for `Optimized.tune`.
    """
    with undisturbed(given.model, train=given.train):
        with torch.set_grad_enabled(given.train):
            sought = sites_of(given.model, given.args, given.kwargs)
        speed = bandwidth(given.device)
        accepted: list[Replacement] = []
        costs = Costs(step_ns(given), operator_ns(given.device, train=given.train), speed)
        sites, passed = _at_sites(given, sought.places, costs, accepted), sought.passed
        if given.wanted & OF_CHAINS:
            more = chains_of(sought.frames, [place for place, _ in accepted])
            judged = {place.match.region.nodes for place in sought.places}
            places = [place for place in more.places if place.match.region.nodes not in judged]
            sites, passed = sites + _at_sites(given, places, costs, accepted), passed + more.passed
        sites.sort(key=lambda site: -site.predicted_ns * site.calls)
        instead = None
        if given.wanted & WHOLE:
            site, instead = whole.consider(given, build(accepted), [one.reason for one in sought.passed])
            sites.append(site)
            if instead is not None and instead.name == "compile":
                accepted, sites = [], [*(_withdrawn(one, COMPILED) for one in sites[:-1]), site]
        fused = None
        if given.optimizer is not None and "fused" in given.wanted:
            site, fused = _optimizer(given)
            sites.append(site)
        changes = Changes(tuple(accepted), () if instead is None else (instead,), fused)
        everything = _everything(given, changes)
        if everything is not None and everything.low <= 1.0:
            changes, sites = Changes(), [_withdrawn(site, TOGETHER) for site in sites]
        patch = Patch(
            "train" if given.train else "infer", processor(given.device), torch.__version__, triton_version(),
            tuple(sites), passed, everything, speed,
        )  # fmt: skip
        optimized = Optimized(given.model, patch, changes, draw, again, given.agree)
    optimized.apply()
    return optimized


TOGETHER: Final = "all changes together do not make the model faster"
WITHIN: Final = "is computed by what is put in around it"
COMPILED: Final = "the model is compiled as a whole"


class Costs(NamedTuple):
    """What predictions are made with: what a step of the model and calling an operator take, and how fast a copy is."""

    step_ns: int
    operator_ns: float
    bytes_per_s: float


def _at_sites(given: Given, places: Sequence[Place], costs: Costs, accepted: list[Replacement]) -> list[Site]:
    """Decide on each site, the largest prediction first; what is applied is added to what is accepted.

    Places in modules that take others in come before those in the others.
    """
    groups = [
        (predicted_ns(alike[0].match, costs.bytes_per_s, costs.operator_ns, train=given.train), key, alike)
        for key, alike in group(places).items()
    ]
    sites = []
    for predicted, key, alike in sorted(groups, key=lambda entry: (_depth(entry[2]), -entry[0] * calls_of(entry[2]))):
        saved, gone = predicted * calls_of(alike), taken_in(place for place, _ in accepted)
        within, called = ([place for place in alike if (place.frame.path in gone) is told] for told in (True, False))
        if saved < LEAST_SHARE * costs.step_ns:
            share = percent(saved, costs.step_ns)
            reason = f"would save {share} of the model's time by its bytes and operators"
            sites.append(_describe(alike, predicted)._replace(reason=reason))
            continue
        if called:
            full_key = (*key, _alignment(called[0]))
            sites.append(_decide(given, _describe(called, predicted), full_key, called, accepted, costs.bytes_per_s))
        if within:
            sites.append(_describe(within, predicted)._replace(reason=WITHIN))
    return sites


def _depth(places: Sequence[Place]) -> float:
    """Return how deep in the model the first of some places is that takes modules in; infinity if none does."""
    return min((place.frame.path.count(".") for place in places if taken_in([place])), default=math.inf)


def _describe(places: Sequence[Place], predicted: int) -> Site:
    region = places[0].match.region
    forms = [node.meta["form"] for node in region.inputs]
    return Site(
        kind=places[0].match.form.kind,
        title=places[0].match.form.title,
        where=region.output.meta.get("where", ""),
        modules=tuple(dict.fromkeys(place.frame.path for place in places)),
        calls=calls_of(places),
        operators=len(region.nodes),
        shapes=tuple(f"{str(form[2]).removeprefix('torch.')}{list(form[0])}" for form in forms),
        predicted_ns=predicted,
        chosen="",
        reason="",
        candidates=(),
    )


def _alignment(place: Place) -> str:
    """Return how what the module is called with is aligned."""
    key: Any = place.frame.key
    return str([form[-1] for form in key[1]])


def _decide(
    given: Given, site: Site, key: tuple[str, ...], places: Sequence[Place], accepted: list[Replacement], speed: float
) -> Site:
    """Judge what could stand at a site; what is applied is added to what is accepted."""
    full_key = (*environment(given), *key)
    remembered = given.verdicts.read(full_key)
    judged = remembered or tried(given, places[0], speed)
    if remembered is None:
        given.verdicts.write(full_key, judged)
    taken = [candidate.alone.base_ns for candidate in judged if candidate.alone is not None]
    hopeful = [candidate for candidate in judged if candidate.alone is not None and not candidate.reason]
    answers = {candidate.name: candidate for candidate in judged}
    chosen, reason = "", _why_left(judged)
    for candidate in sorted(hopeful, key=lambda one: one.alone.candidate_ns if one.alone else 0):
        if chosen:
            slower = f"right and faster, but {chosen} is the fastest"
            answers[candidate.name] = candidate._replace(reason=slower)
            continue
        replacements = [(place, _function(given, place, candidate.name)) for place in places]
        measured = in_model(given, build(accepted), build([*accepted, *replacements]))
        faster, verdict = _verdict(measured)
        answers[candidate.name] = candidate._replace(accepted=faster, reason=verdict, in_model=measured)
        if faster:
            chosen, reason = candidate.name, ""
            accepted.extend(replacements)
        else:
            reason = f"{candidate.name} {verdict}"
    return site._replace(
        predicted_ns=min([site.predicted_ns, *taken]),  # nothing saves more than what is there takes
        chosen=chosen,
        reason=reason,
        candidates=tuple(answers.values()),
        remembered=remembered is not None,
    )


def _verdict(measured: Measurement) -> tuple[bool, str]:
    faster = measured.low > 1.0
    return faster, "the fastest that is right" if faster else f"does not show in the model: {spread(measured)}"


def _optimizer(given: Given) -> tuple[Site, optimizers.FusedStep | None]:
    """Decide on the fused step of the optimizer: it has to show in a step of the model and of it."""
    assert given.optimizer is not None
    site = optimizers.site_of(given)
    (candidate,) = site.candidates
    if candidate.reason:
        return site, None
    measured = in_model(given, [], [], optimizers.steps_of(given))
    faster, verdict = _verdict(measured)
    candidate = candidate._replace(accepted=faster, reason=verdict, in_model=measured)
    reason = "" if faster else f"{candidate.name} {verdict}"
    site = site._replace(chosen=candidate.name if faster else "", reason=reason, candidates=(candidate,))
    return site, optimizers.FusedStep(given.optimizer) if faster else None


def _everything(given: Given, changes: Changes) -> Measurement | None:
    """Time a step with all that was chosen against one without; None if nothing was."""
    if changes == Changes():
        return None
    patched = build(changes.replacements)
    for one in changes.wholes:
        patched = whole.installed(patched, given.model, one)
    return in_model(given, [], patched, optimizers.steps_of(given) if changes.optimizer else None)


def _function(given: Given, place: Place, name: str) -> Function:
    found = contenders(place.match, place.frame.owner, given.device.type, frozenset({name}))
    return next(contender.function for contender in found if contender.function is not None)


def _why_left(judged: Sequence[Candidate]) -> str:
    reasons = [f"{candidate.name} {candidate.reason}" for candidate in judged if candidate.reason]
    return "; ".join(reasons) or "there is nothing else to try"


def _withdrawn(site: Site, reason: str) -> Site:
    if not site.chosen:
        return site
    candidates = tuple(one._replace(accepted=False, reason=reason) if one.accepted else one for one in site.candidates)
    return site._replace(chosen="", reason=reason, candidates=candidates)
