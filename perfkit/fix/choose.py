"""Chooses at each site of a model: the fastest that is right and surely faster, or what is there."""

from __future__ import annotations

import contextlib
import platform
import time
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import torch

from perfkit.fix.candidates import ERRORS, contenders, present, right
from perfkit.fix.optimized import Optimized, build, put_in, take_out
from perfkit.fix.sites import captured, group, predicted_ns, sites_of
from perfkit.model.patch import Candidate, Patch, Site
from perfkit.model.quantity import duration, percent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from perfkit.fix.candidates import Agree, Contender, Function
    from perfkit.fix.optimized import Draw, Replacement
    from perfkit.fix.patterns import Match
    from perfkit.fix.sites import Place
    from perfkit.fix.verdicts import Verdicts
    from perfkit.model.measurement import Measure, Measurement

__all__ = ["LEAST_GAIN", "Given", "choose"]

LEAST_GAIN: Final = 1.03
"""How much faster a candidate has to be at its site, by the lower end of the interval."""
LEAST_SHARE: Final = 0.002
"""Sites that could not save this share of the model's time are left alone."""
COPIED_BYTES: Final = {"cuda": 512 << 20}
COPIED_BYTES_OF_HOST: Final = 64 << 20


class Given(NamedTuple):
    """What `choose` works with: a model and how it is called, and functions of other stages."""

    model: torch.nn.Module
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    train: bool
    measure: Measure
    agree: Agree
    verdicts: Verdicts
    wanted: frozenset[str]

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        tensors = (*self.model.parameters(), *self.model.buffers(), *(t for t in self.args if torch.is_tensor(t)))
        return tensors[0].device if tensors else torch.device("cpu")

    def step(self) -> None:
        """Do what the model is for, once: forward, and where it trains backward, with no gradient kept."""
        with torch.set_grad_enabled(self.train):
            outputs = self.model(*self.args, **self.kwargs)
            if self.train:
                wanted = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
                sloped = [y for y in leaves(outputs) if y.requires_grad]
                if wanted and sloped:
                    torch.autograd.grad(sloped, wanted, [torch.ones_like(y) for y in sloped], allow_unused=True)


def choose(given: Given, draw: Draw) -> Optimized:
    """Find the sites of a model, try what could stand there, and put in what is right and surely faster.

    Args:
        given: The model, how it is called, and functions of other stages.
        draw: Draws the patch, for `Optimized.report`.
    """
    kind = given.device.type
    with undisturbed(given.model, train=given.train):
        with torch.set_grad_enabled(given.train):
            sought = sites_of(given.model, given.args, given.kwargs)
        speed = bandwidth(given.device)
        began = step_ns(given)
        accepted: list[Replacement] = []
        sites: list[Site] = []
        groups = [
            (predicted_ns(places[0].match, kind, speed, train=given.train), key, places)
            for key, places in group(sought.places).items()
        ]
        for predicted, key, places in sorted(groups, key=lambda entry: -entry[0] * len(entry[2])):
            site = _describe(places, predicted)
            if predicted * len(places) < LEAST_SHARE * began:
                share = percent(predicted * len(places), began)
                sites.append(site._replace(reason=f"could save {share} of the model's time at most"))
                continue
            sites.append(_decide(given, site, key, places, accepted))
        patched = build(accepted)
        whole = in_model(given, [], accepted) if accepted else None
        if whole is not None and whole.low <= 1.0:
            patched, sites = [], [_withdrawn(site) for site in sites]
    patch = Patch(
        "train" if given.train else "infer", processor(given.device), torch.__version__, triton_version(),
        tuple(sites), sought.passed, whole, speed,
    )  # fmt: skip
    optimized = Optimized(given.model, patch, patched, draw)
    optimized.apply()
    return optimized


def _describe(places: Sequence[Place], predicted: int) -> Site:
    region = places[0].match.region
    forms = [node.meta["form"] for node in region.inputs]
    return Site(
        kind=places[0].match.form.kind,
        title=places[0].match.form.title,
        where=region.output.meta.get("where", ""),
        modules=tuple(dict.fromkeys(place.frame.path for place in places)),
        calls=len(places),
        operators=len(region.nodes),
        shapes=tuple(f"{str(form[2]).removeprefix('torch.')}{list(form[0])}" for form in forms),
        predicted_ns=predicted,
        chosen="",
        reason="",
        candidates=(),
    )


def _decide(
    given: Given, site: Site, key: tuple[str, ...], places: Sequence[Place], accepted: list[Replacement]
) -> Site:
    """Judge what could stand at a site; what is applied is added to what is accepted."""
    full_key = (*environment(given), *key)
    remembered = given.verdicts.read(full_key)
    tried = remembered or _tried(given, places[0])
    if remembered is None:
        given.verdicts.write(full_key, tried)
    hopeful = [candidate for candidate in tried if candidate.alone is not None and not candidate.reason]
    judged = {candidate.name: candidate for candidate in tried}
    chosen, reason = "", _why_left(tried)
    for candidate in sorted(hopeful, key=lambda one: one.alone.candidate_ns if one.alone else 0):
        if chosen:
            slower = f"right and faster, but {chosen} is the fastest"
            judged[candidate.name] = candidate._replace(reason=slower)
            continue
        replacements = [(place, _function(given, place, candidate.name)) for place in places]
        measured = in_model(given, accepted, [*accepted, *replacements])
        faster = measured.low > 1.0
        verdict = "the fastest that is right" if faster else f"does not show in the model: {spread(measured)}"
        judged[candidate.name] = candidate._replace(accepted=faster, reason=verdict, in_model=measured)
        if faster:
            chosen, reason = candidate.name, ""
            accepted.extend(replacements)
        else:
            reason = f"{candidate.name} {verdict}"
    return site._replace(
        chosen=chosen, reason=reason, candidates=tuple(judged.values()), remembered=remembered is not None
    )


def _tried(given: Given, place: Place) -> tuple[Candidate, ...]:
    """Return each candidate with its numerics and its times; without a reason where it may be applied."""
    match, owner, kind = place.match, place.frame.owner, given.device.type
    inputs = captured(given.model, given.args, given.kwargs, place, train=given.train)
    now = present(match, owner)
    return tuple(
        _judge(given, contender, now, match, inputs) for contender in contenders(match, owner, kind, given.wanted)
    )


def _judge(
    given: Given, contender: Contender, now: Function, match: Match, inputs: Sequence[torch.Tensor]
) -> Candidate:
    tried = Candidate(contender.name, contender.title, accepted=False, reason=contender.reason)
    function = contender.function
    if function is None:
        return tried
    verdict = right(function, now, match, inputs, given.agree, train=given.train)
    tried = tried._replace(reason="", error=verdict.error, replaced_error=verdict.replaced_error)
    if not verdict.right:
        return tried._replace(reason=verdict.reason)
    kind = given.device.type
    try:
        alone = given.measure(
            task(now, inputs, train=given.train), task(function, inputs, train=given.train), device=kind
        )
        forward = None
        if given.train:
            forward = given.measure(task(now, inputs, train=False), task(function, inputs, train=False), device=kind)
    except ERRORS as failure:
        return tried._replace(reason=f"fails: {type(failure).__name__}")
    slower = alone.low < LEAST_GAIN
    reason = f"not surely {percent(LEAST_GAIN - 1, digits=0)} faster: {spread(alone)}" if slower else ""
    return tried._replace(reason=reason, alone=alone, forward=forward)


def _function(given: Given, place: Place, name: str) -> Function:
    found = contenders(place.match, place.frame.owner, given.device.type, frozenset({name}))
    return next(contender.function for contender in found if contender.function is not None)


def _why_left(tried: Sequence[Candidate]) -> str:
    reasons = [f"{candidate.name} {candidate.reason}" for candidate in tried if candidate.reason]
    return "; ".join(reasons) or "there is nothing else to try"


def _withdrawn(site: Site) -> Site:
    if not site.chosen:
        return site
    reason = "all changes together do not make the model faster"
    candidates = tuple(one._replace(accepted=False, reason=reason) if one.accepted else one for one in site.candidates)
    return site._replace(chosen="", reason=reason, candidates=candidates)


# --------------------------------------------------------------------------------------------------------- measuring


def task(function: Function, inputs: Sequence[torch.Tensor], *, train: bool) -> Callable[[], object]:
    """Return what to time: the function, and its backward where the model trains."""
    wanted = [value for value in inputs if value.requires_grad] if train else []
    if not wanted:

        def forward() -> object:
            with torch.no_grad():
                return function(*inputs)

        return forward
    slopes = [torch.ones_like(y) for y in function(*inputs)]

    def both() -> object:
        return torch.autograd.grad(function(*inputs), wanted, slopes, allow_unused=True)

    return both


def in_model(given: Given, before: Sequence[Replacement], after: Sequence[Replacement]) -> Measurement:
    """Time the model with some replacements against the model with others."""
    sides = [build(before), build(after)]

    def with_side(patched: Sequence[Any]) -> Callable[[], None]:
        def step() -> None:
            put_in(patched)
            try:
                given.step()
            finally:
                take_out(patched)

        return step

    return given.measure(with_side(sides[0]), with_side(sides[1]), device=given.device.type)


def step_ns(given: Given) -> int:
    """Return the shortest of a few steps, ns: what sites are too small for is told by it, and nothing else."""
    times = []
    for _ in range(4):
        begun = time.perf_counter_ns()
        given.step()
        settle(given.device)
        times.append(time.perf_counter_ns() - begun)
    return min(times)


def bandwidth(device: torch.device) -> float:
    """Return the bytes a second of a copy on a device: read and written."""
    size = COPIED_BYTES.get(device.type, COPIED_BYTES_OF_HOST)
    source = torch.ones(size, dtype=torch.int8, device=device)
    target = torch.empty_like(source)
    times = []
    for _ in range(4):
        settle(device)
        begun = time.perf_counter_ns()
        target.copy_(source)
        settle(device)
        times.append(time.perf_counter_ns() - begun)
    return 2 * size / (min(times) / 1e9)


def settle(device: torch.device) -> None:
    """Wait for the work of a device."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


@contextlib.contextmanager
def undisturbed(model: torch.nn.Module, *, train: bool) -> Iterator[None]:
    """Put a model into a mode; afterwards its modes, buffers and the random numbers to come are what they were."""
    modes = [(module, module.training) for module in model.modules()]
    buffers = [(buffer, buffer.detach().clone()) for buffer in model.buffers()]
    devices = [torch.cuda.current_device()] if torch.cuda.is_available() and torch.cuda.is_initialized() else []
    with torch.random.fork_rng(devices=devices):
        model.train(train)
        try:
            yield
        finally:
            for module, training in modes:
                module.training = training
            with torch.no_grad():
                for buffer, value in buffers:
                    if not torch.equal(buffer, value):
                        buffer.copy_(value)


# ----------------------------------------------------------------------------------------------------------- looking


def environment(given: Given) -> tuple[object, ...]:
    """Return what a verdict depends on, beside the site."""
    from perfkit_kernels import KERNELS

    device = given.device
    driver = torch.version.cuda if device.type == "cuda" else platform.machine()
    autocast = torch.is_autocast_enabled(device.type) and torch.get_autocast_dtype(device.type)
    return (
        given.train, sorted(given.wanted), processor(device), driver, torch.__version__, triton_version(),
        torch.get_num_threads() if device.type == "cpu" else 0, autocast,
        torch.are_deterministic_algorithms_enabled(), torch.get_float32_matmul_precision(), len(KERNELS),
    )  # fmt: skip


def processor(device: torch.device) -> str:
    """Name a device."""
    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    names = [line.split(":", 1)[1].strip() for line in _processor_lines() if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _processor_lines() -> list[str]:
    try:
        from pathlib import Path

        return Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines()
    except OSError:
        return []


def triton_version() -> str:
    """Return the version of Triton, or nothing."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("triton")
    except PackageNotFoundError:
        return ""


def spread(measured: Measurement) -> str:
    """Say how much faster: ``1.02x (0.99 to 1.05)``, and from which times."""
    times = f"{duration(measured.base_ns)} against {duration(measured.candidate_ns)}"
    return f"{measured.speedup:.2f}x ({measured.low:.2f} to {measured.high:.2f}), {times}"


def leaves(value: Any) -> list[torch.Tensor]:
    """Return the tensors in what a model returned."""
    from torch.utils import _pytree as pytree

    return [leaf for leaf in pytree.tree_leaves(value) if torch.is_tensor(leaf)]
