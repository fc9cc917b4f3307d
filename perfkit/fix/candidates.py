"""What could stand at a site: PyTorch's own function, the region compiled, a kernel of ours; whether it is right."""

from __future__ import annotations

import contextlib
import math
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

import numpy as np
import torch

from perfkit.fix.certainty import certain
from perfkit.fix.generated import Generating
from perfkit.fix.regions import callable_of, region_graph
from perfkit_kernels.dialect import AVAILABLE, FAILURES, INTERPRETING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from perfkit.fix.patterns import Match

    Function = Callable[..., tuple[torch.Tensor, ...]]

__all__ = ["Agree", "AgreeOver", "Contender", "Verdict", "contenders", "present", "right"]

ERRORS: Final[tuple[type[Exception], ...]] = (
    *FAILURES,
    RuntimeError,
    TypeError,
    ValueError,
    NotImplementedError,
    IndexError,
    AttributeError,
)

DRAWS: Final = 16
"""Draws of the inputs, and places of hostile values, that are judged together where one is not enough."""
FEW: Final = 1 << 22
"""Values of the inputs that may have been lucky; of more, one draw says as much."""
LARGEST_CHANGE: Final = 1 / 32
"""What other draws of the inputs take off them: more than rounding, less than would make them others."""


class UnsteadyError(ValueError):
    """An implementation does not give the same bits of the same inputs."""


class Agree(Protocol):
    """The function that holds a result to what it replaces; this stage is given it."""

    def __call__(
        self, candidate: torch.Tensor, replaced: torch.Tensor, exact: torch.Tensor, *, magnitude: float = 0.0
    ) -> Any:
        """Compare; the answer has ``right``, ``reason``, ``error`` and ``replaced_error``."""


class AgreeOver(Protocol):
    """The function that does so with all results of one draw of the inputs, or of several; this stage is given it."""

    def __call__(self, draw: Callable[[int], Sequence[tuple[Any, ...]]], draws: int = 1, /) -> Sequence[Any]:
        """Compare what is drawn for a seed: candidate, replaced, exact, and magnitude of each result."""


class Contender(NamedTuple):
    """An implementation that could be tried; without a function, why it cannot."""

    name: str
    title: str
    function: Function | None
    reason: str = ""


class Verdict(NamedTuple):
    """Whether an implementation is right."""

    right: bool
    reason: str
    error: float | None
    replaced_error: float | None


def present(match: Match, owner: torch.nn.Module) -> Function:
    """Return what is there now."""
    run = callable_of(region_graph(match.region.inputs, match.region.nodes, match.outputs), match.form.kind)

    def function(*inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        outputs: tuple[torch.Tensor, ...] = run(owner, *inputs)
        return outputs

    return function


def contenders(match: Match, owner: torch.nn.Module, device: str, wanted: frozenset[str]) -> Iterator[Contender]:
    """Yield what could be tried at a site, of the names that are wanted."""
    form = match.form
    if form.native is not None and "native" in wanted:
        title, function = form.native
        yield Contender("native", title, None if form.called else function, "is what the model calls already")
    if "compile" in wanted and match.region.chance():
        yield Contender("compile", "torch.compile of these operators", None, "drops other elements than is asked for")
    elif "compile" in wanted and not match.modules:
        yield Contender("compile", "torch.compile of these operators", _compiled(match))
    if form.kernel is not None and "kernel" in wanted:
        lacks = _lacks(device)
        yield Contender("kernel", f"perfkit_kernels.{form.kernel[0]}", None if lacks else form.kernel[1], lacks)
    if "generated" in wanted and not match.modules and not match.region.chance():
        lacks, function = _lacks(device), Generating(present(match, owner))
        yield Contender("generated", "a kernel generated for these operators", None if lacks else function, lacks)


def _compiled(match: Match) -> Function:
    """Return the operators of a match compiled, one function for all that are written alike and of the same forms.

    Each has code of its own: Dynamo compiles the same code for so many forms, and then no more. Of other shapes, which
    values may have decided on, it is not compiled again.
    """
    graph = region_graph(match.region.inputs, match.region.nodes, match.outputs)
    key = f"{graph}{[node.meta['form'] for node in match.region.inputs]}"
    if key not in _known:
        shapes = [node.meta["form"][0] for node in match.region.inputs]
        plain = callable_of(graph, match.form.kind)
        run = torch.compile(plain, dynamic=False)  # of a full graph, it would raise where it was compiled too often
        _known[key] = lambda *inputs: (run if [x.shape for x in inputs] == shapes else plain)(None, *inputs)
    return _known[key]


_known: Final[dict[str, Function]] = {}


def _lacks(device: str) -> str:
    """Say why no kernel of Triton runs on a device; nothing if one does."""
    if INTERPRETING or (AVAILABLE and device == "cuda"):
        return ""
    return "Triton is not installed" if device == "cuda" else "runs on a GPU"


def right(
    function: Function,
    now: Function,
    match: Match,
    inputs: Sequence[torch.Tensor],
    agree_over: AgreeOver,
    *,
    train: bool,
) -> Verdict:
    """Hold an implementation to what is there now: outputs and gradients, the same ones twice, and on hostile values.

    Args:
        function: The implementation.
        now: What is there.
        match: What it is to compute.
        inputs: The model's own.
        agree_over: Compares all results, over several draws of few values where one is not enough.
        train: Whether gradients are wanted.
    """
    error = replaced = 0.0
    draws = DRAWS if sum(tensor.numel() for tensor in inputs) <= FEW else 1
    for value in (None, *match.form.hostile):

        def draw(seed: int, value: float | None = value) -> list[tuple[Any, ...]]:
            return _results(function, now, match, spoiled(varied(inputs, seed), value, seed), train=train)

        try:
            answers = agree_over(draw, draws)
        except ERRORS as failure:
            reason = str(failure) if isinstance(failure, UnsteadyError) else f"fails: {_first_line(failure)}"
            return Verdict(right=False, reason=reason, error=None, replaced_error=None)
        wrong = next((answer for answer in answers if not answer.right), None)
        if wrong is not None:
            where = "" if value is None else f", with a row of the inputs set to {value:g}"
            return Verdict(False, f"{wrong.reason}{where}", wrong.error, wrong.replaced_error)  # noqa: FBT003
        if value is None:
            error = max((answer.error for answer in answers), default=0.0)
            replaced = max((answer.replaced_error for answer in answers), default=0.0)
    return Verdict(right=True, reason="", error=error, replaced_error=replaced)


def _results(
    function: Function, now: Function, match: Match, given: Sequence[torch.Tensor], *, train: bool
) -> list[tuple[Any, ...]]:
    """Return each result of an implementation, of what is there, and exact, with the size of its terms.

    Raises:
        UnsteadyError: The implementation gives other bits in a second run.
    """
    with certain() if match.region.chance() else contextlib.nullcontext():
        theirs, sizes = evaluate(now, given, train=train, products=match.form.products)
        truth, _ = evaluate(match.form.reference, [wide(value) for value in given], train=train)
        mine, _ = evaluate(function, given, train=train)
        again, _ = evaluate(function, given, train=train)
    if not all(torch.equal(one.nan_to_num(), twice.nan_to_num()) for one, twice in zip(mine, again, strict=True)):
        message = "gives other bits in a second run"
        raise UnsteadyError(message)
    return [*zip(mine, theirs, truth, sizes, strict=True)]


def varied(inputs: Sequence[torch.Tensor], seed: int) -> Sequence[torch.Tensor]:
    """Return the inputs of a seed: 0 for those given; of others, floating-point values are up to 3 % smaller.

    So that they are rounded otherwise, and zeros, infinities and masks stay what they are.
    """
    made: list[torch.Tensor] = []
    for value in inputs if seed else ():
        random = torch.Generator(device=value.device).manual_seed(1_000 * seed + len(made))
        change = 1 - torch.rand(value.shape, generator=random, device=value.device) * LARGEST_CHANGE
        changed = value.detach() * change if value.is_floating_point() else value
        made.append(value.detach().clone().copy_(changed).requires_grad_(value.requires_grad))
    return made or inputs


def spoiled(inputs: Sequence[torch.Tensor], value: float | None, row: int) -> list[torch.Tensor]:
    """Return the inputs with a row of each tensor, but of weights and masks, filled with what code breaks on."""
    changed = []
    for tensor in inputs:
        copy = tensor.detach().clone()
        if value is not None and copy.is_floating_point() and copy.dim() > 1 and copy.numel():
            copy[np.unravel_index(row % math.prod(copy.shape[:-1]), copy.shape[:-1])] = value
        changed.append(copy.requires_grad_(tensor.requires_grad))
    return changed


def evaluate(
    function: Function, inputs: Sequence[torch.Tensor], *, train: bool, products: bool = False
) -> tuple[list[torch.Tensor], list[float]]:
    """Return outputs, then gradients, and for each the size of what rounding leaves of the terms it may be a sum of."""
    given = [value.detach().requires_grad_(train and value.requires_grad) for value in inputs]
    wanted = [value for value in given if value.requires_grad]
    with torch.set_grad_enabled(bool(wanted)):
        outputs = [*function(*given)]
        sloped = [y for y in outputs if y.requires_grad]
        slopes = [_slope(y) for y in sloped]
        gradients = torch.autograd.grad(sloped, wanted, slopes, allow_unused=True) if sloped else ()
    found = [(gradient, value) for gradient, value in zip(gradients, wanted, strict=False) if gradient is not None]
    factors = [largest(value) for value in given if value.is_floating_point()] if products else [largest(*outputs)]
    terms = max((size for value in given for size in value.shape), default=1) if products else 1
    whole = math.prod(factors) * largest(*slopes) * math.sqrt(terms)
    sizes = [0.0] * len(outputs) + [whole / (largest(value) or 1.0) for _, value in found]
    return [y.detach() for y in outputs] + [gradient for gradient, _ in found], sizes


def _slope(y: torch.Tensor) -> torch.Tensor:
    values = torch.cos(torch.arange(y.numel(), device=y.device, dtype=torch.float32) * 0.7)
    return values.reshape(y.shape).to(y.dtype)


def largest(*tensors: torch.Tensor) -> float:
    """Return the largest finite magnitude."""
    values = [t.detach() for t in tensors if t.numel() and t.dtype != torch.bool]
    return max((float(value.abs().nan_to_num(0.0, 0.0, 0.0).max()) for value in values), default=0.0)


def wide(value: torch.Tensor) -> torch.Tensor:
    """Return floating-point values in float64."""
    return value.detach().double().requires_grad_(value.requires_grad) if value.is_floating_point() else value


def _first_line(failure: BaseException) -> str:
    lines = str(failure).strip().splitlines()
    return f"{type(failure).__name__}{f': {lines[0][:120]}' if lines else ''}"
