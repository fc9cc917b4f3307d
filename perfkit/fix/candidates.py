"""What could stand at a site: PyTorch's own function, the region compiled, a kernel of ours; whether it is right."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

import torch

from perfkit.fix.regions import callable_of, region_graph

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from perfkit.fix.patterns import Match

    Function = Callable[..., tuple[torch.Tensor, ...]]

__all__ = ["Agree", "Contender", "Verdict", "contenders", "present", "right"]

ERRORS: Final = (RuntimeError, TypeError, ValueError, NotImplementedError, IndexError, AttributeError)


class Agree(Protocol):
    """The function that holds a result to what it replaces; this stage is given it."""

    def __call__(
        self, candidate: torch.Tensor, replaced: torch.Tensor, exact: torch.Tensor, *, magnitude: float = 0.0
    ) -> Any:
        """Compare; the answer has ``right``, ``reason``, ``error`` and ``replaced_error``."""


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
    single = len(match.region.nodes) == 1 and not match.modules
    if form.native is not None and "native" in wanted:
        title, function = form.native
        yield Contender("native", title, None if single else function, "is what the model calls already")
    if "compile" in wanted and not match.modules:
        compiled = torch.compile(present(match, owner), dynamic=False, fullgraph=True)
        yield Contender("compile", "torch.compile of these operators", compiled)
    if form.kernel is not None and "kernel" in wanted:
        from perfkit_kernels.dialect import AVAILABLE, INTERPRETING

        title, function = f"perfkit_kernels.{form.kernel[0]}", form.kernel[1]
        if INTERPRETING or (AVAILABLE and device == "cuda"):
            yield Contender("kernel", title, function)
        else:
            lacks = "Triton is not installed" if device == "cuda" else "runs on a GPU"
            yield Contender("kernel", title, None, lacks)


def right(
    function: Function, now: Function, match: Match, inputs: Sequence[torch.Tensor], agree: Agree, *, train: bool
) -> Verdict:
    """Hold an implementation to what is there now: outputs and gradients, the same ones twice, and on hostile values.

    Args:
        function: The implementation.
        now: What is there.
        match: What it is to compute.
        inputs: The model's own.
        agree: Compares one result.
        train: Whether gradients are wanted.
    """
    error = replaced = 0.0
    for number, given in enumerate((inputs, *spoiled(inputs, match.form.hostile))):
        try:
            theirs, sizes = evaluate(now, given, train=train, products=match.form.products)
            truth, _ = evaluate(match.form.reference, [wide(value) for value in given], train=train)
            mine, _ = evaluate(function, given, train=train)
            again, _ = evaluate(function, given, train=train)
        except ERRORS as failure:
            return Verdict(right=False, reason=f"fails: {_first_line(failure)}", error=None, replaced_error=None)
        for one, twice, other, exact, size in zip(mine, again, theirs, truth, sizes, strict=True):
            answer = agree(one, other, exact, magnitude=size)
            if not answer.right:
                where = "" if not number else f" of {match.form.hostile[number - 1]:g}"
                return Verdict(False, f"{answer.reason}{where}", answer.error, answer.replaced_error)  # noqa: FBT003
            if not torch.equal(one.nan_to_num(), twice.nan_to_num()):
                return Verdict(False, "gives other bits in a second run", answer.error, answer.replaced_error)  # noqa: FBT003
            if not number:
                error, replaced = max(error, answer.error), max(replaced, answer.replaced_error)
    return Verdict(right=True, reason="", error=error, replaced_error=replaced)


def spoiled(inputs: Sequence[torch.Tensor], values: Sequence[float]) -> Iterator[list[torch.Tensor]]:
    """Yield the inputs with a row of each tensor, but of weights and masks, filled with what code breaks on."""
    for value in values:
        changed = []
        for tensor in inputs:
            copy = tensor.detach().clone()
            if copy.is_floating_point() and copy.dim() > 1 and copy.numel():
                copy[(0,) * (copy.dim() - 1)] = value
            changed.append(copy.requires_grad_(tensor.requires_grad))
        yield changed


def evaluate(
    function: Function, inputs: Sequence[torch.Tensor], *, train: bool, products: bool = False
) -> tuple[list[torch.Tensor], list[float]]:
    """Return outputs, then gradients, and for each the size of the terms it may be a sum of."""
    given = [value.detach().requires_grad_(train and value.requires_grad) for value in inputs]
    wanted = [value for value in given if value.requires_grad]
    with torch.set_grad_enabled(bool(wanted)):
        outputs = [*function(*given)]
        sloped = [y for y in outputs if y.requires_grad]
        slopes = [_slope(y) for y in sloped]
        gradients = torch.autograd.grad(sloped, wanted, slopes, allow_unused=True) if sloped else ()
    found = [(gradient, value) for gradient, value in zip(gradients, wanted, strict=False) if gradient is not None]
    factors = [largest(value) for value in given if value.is_floating_point()] if products else [largest(*outputs)]
    whole = math.prod(factors) * largest(*slopes)
    sizes = [0.0] * len(outputs) + [whole / (largest(value) or 1.0) for _, value in found]
    return [y.detach() for y in outputs] + [gradient for gradient, _ in found], sizes


def _slope(y: torch.Tensor) -> torch.Tensor:
    values = torch.sin(torch.arange(y.numel(), device=y.device, dtype=torch.float32) * 0.7)
    return values.reshape(y.shape).to(y.dtype)


def largest(*tensors: torch.Tensor) -> float:
    """Return the largest finite magnitude."""
    return max((float(t.detach().abs().nan_to_num(0.0, 0.0, 0.0).max()) for t in tensors if t.numel()), default=0.0)


def wide(value: torch.Tensor) -> torch.Tensor:
    """Return floating-point values in float64."""
    return value.detach().double().requires_grad_(value.requires_grad) if value.is_floating_point() else value


def _first_line(failure: BaseException) -> str:
    lines = str(failure).strip().splitlines()
    return f"{type(failure).__name__}{f': {lines[0][:120]}' if lines else ''}"
