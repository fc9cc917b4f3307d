"""Whether what could stand at a site is right and faster there: cheap reasons against it first, then the clock."""

from __future__ import annotations

import contextlib
import math
from typing import TYPE_CHECKING, Final

import torch

from perfkit.fix.candidates import ERRORS, contenders, present, right
from perfkit.fix.generated import Generating
from perfkit.fix.sites import captured
from perfkit.model.patch import Candidate
from perfkit.model.quantity import duration, percent, rate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from perfkit.fix.candidates import Contender, Function
    from perfkit.fix.given import Given
    from perfkit.fix.patterns import Match
    from perfkit.fix.sites import Place
    from perfkit.model.measurement import Measurement

__all__ = ["LEAST_GAIN", "compile_report", "spread", "surely", "tried"]

LEAST_GAIN: Final = 1.03
"""How much faster a candidate has to be at its site, by the lower end of the interval."""
LEAST_BYTES: Final = {"cuda": 256 << 20}
LEAST_BYTES_OF_HOST: Final = 256 << 20
"""What has to be moved for the speed of a copy to be a limit: more than caches hold."""


def tried(given: Given, place: Place, bytes_per_s: float) -> tuple[Candidate, ...]:
    """Return each candidate of a site with its numerics and times; without a reason where it may be applied."""
    match, owner, kind = place.match, place.frame.owner, given.device.type
    inputs = captured(given.model, given.args, given.kwargs, place, train=given.train)
    now = present(match, owner)
    found = list(contenders(match, owner, kind, given.wanted))
    limit = at_the_limit(given, match, task(now, inputs, train=given.train), bytes_per_s)
    if limit:
        found = [
            contender._replace(function=None, reason=limit) if contender.function else contender for contender in found
        ]
    return tuple(_judge(given, contender, now, match, inputs) for contender in found)


def at_the_limit(given: Given, match: Match, now: Callable[[], object], bytes_per_s: float) -> str:
    """Say that what is there moves the bytes that anything would have to move as fast as a copy; nothing if not.

    A backward pass moves at least what the forward does.
    """
    kind = given.device.type
    least = (2 if given.train else 1) * least_bytes(match)
    if least < LEAST_BYTES.get(kind, LEAST_BYTES_OF_HOST):
        return ""
    taken = given.measure(now, now, device=kind).base_ns
    reached = least / max(taken, 1) * 1e9
    return f"what is there moves {rate(reached)}, as fast as a copy" if reached * LEAST_GAIN > bytes_per_s else ""


def least_bytes(match: Match) -> int:
    """Return the bytes that go in and come out of a site, what is repeated by a stride of zero counted once."""
    forms = [node.meta["form"] for node in {*match.region.inputs, *match.outputs}]
    sizes = [[size for size, stride in zip(form[0], form[1], strict=True) if stride] for form in forms]
    return sum(math.prod(size) * form[2].itemsize for size, form in zip(sizes, forms, strict=True))


def _judge(
    given: Given, contender: Contender, now: Function, match: Match, inputs: Sequence[torch.Tensor]
) -> Candidate:
    judged = Candidate(contender.name, contender.title, accepted=False, reason=contender.reason)
    function = contender.function
    if function is None:
        return judged
    if isinstance(function, Generating) and (obstacle := function.obstacle(inputs)):
        return judged._replace(reason=obstacle)
    with compile_report(given) as report:
        verdict = right(function, now, match, inputs, given.agree_over, train=given.train)
    judged = judged._replace(reason="", error=verdict.error, replaced_error=verdict.replaced_error)
    if not verdict.right:
        return judged._replace(reason=verdict.reason)
    if report:
        return judged._replace(reason=report[0])
    kind = given.device.type
    try:
        alone = given.measure(
            task(now, inputs, train=given.train), task(function, inputs, train=given.train), device=kind
        )
        forward = None
        if given.train:
            forward = given.measure(task(now, inputs, train=False), task(function, inputs, train=False), device=kind)
    except ERRORS as failure:
        return judged._replace(reason=f"fails: {type(failure).__name__}")
    return judged._replace(reason=surely(alone), alone=alone, forward=forward)


@contextlib.contextmanager
def compile_report(given: Given) -> Iterator[list[str]]:
    """Give a list, and add to it what is wrong with the kernels of ours that were compiled meanwhile."""
    said: list[str] = []
    if given.device.type != "cuda":
        yield said
        return
    from perfkit_kernels.launched import faults, launched

    with launched() as kernels:
        yield said
    if wrong := faults(kernels):
        said.append(wrong)


def surely(measured: Measurement) -> str:
    """Say that a candidate is not surely faster; nothing if it is."""
    if measured.low >= LEAST_GAIN:
        return ""
    return f"not surely {percent(LEAST_GAIN - 1, digits=0)} faster: {spread(measured)}"


def spread(measured: Measurement) -> str:
    """Say how much faster: ``1.02x (0.99 to 1.05)``, and from which times."""
    times = f"{duration(measured.base_ns)} against {duration(measured.candidate_ns)}"
    return f"{measured.speedup:.2f}x ({measured.low:.2f} to {measured.high:.2f}), {times}"


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
