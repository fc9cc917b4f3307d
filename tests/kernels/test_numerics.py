"""Every kernel against its reference in float64: outputs and gradients, on awkward shapes and on hostile values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
import torch

from perfkit.verify.numerics import agree
from perfkit_kernels import KERNELS, Spec
from perfkit_kernels.spec import DTYPES, Maker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")  # the interpreter computes with numpy

CASES = [
    pytest.param(spec, dtype, variant, shape, id=f"{spec.name}-{dtype}-{list(variant.values())}-{shape}")
    for spec in KERNELS
    for dtype in DTYPES
    for index, variant in enumerate(spec.variants)
    for shape in (spec.shapes if index == 0 else spec.shapes[:4])  # the interpreter is slow
]
FIRST = [
    pytest.param(spec, dtype, variant, id=f"{spec.name}-{dtype}-{list(variant.values())}")
    for spec in KERNELS
    for dtype in DTYPES
    for variant in spec.variants
]


class Results(NamedTuple):
    """Outputs, then the gradient of each floating-point argument; and the size of the terms that each is a sum of."""

    tensors: list[torch.Tensor]
    magnitudes: list[float]


def largest(*tensors: torch.Tensor) -> float:
    """Return the largest finite magnitude."""
    return max((float(t.detach().abs().nan_to_num(0.0, 0.0, 0.0).max()) for t in tensors if t.numel()), default=0.0)


def differentiable(arguments: tuple[Any, ...], constant: tuple[int, ...] = ()) -> list[Any]:
    """Return the arguments, of whose floating-point tensors gradients are wanted, but of those at some positions."""
    return [
        value.detach().requires_grad_(index not in constant)
        if isinstance(value, torch.Tensor) and value.is_floating_point()
        else value
        for index, value in enumerate(arguments)
    ]


def evaluate(function: Callable[..., Any], arguments: tuple[Any, ...], constant: tuple[int, ...] = ()) -> Results:
    """Evaluate a function and its gradients; a gradient's terms are of the size of slope times output over input."""
    given = differentiable(arguments, constant)
    outputs = function(*given)
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    sloped = [output for output in outputs if output.requires_grad]
    random = torch.Generator().manual_seed(1)
    slopes = [torch.randn(y.shape, generator=random).to(y.device, y.dtype) for y in sloped]
    wanted = [value for value in given if isinstance(value, torch.Tensor) and value.requires_grad]
    gradients = torch.autograd.grad(sloped, wanted, slopes, allow_unused=True) if sloped else ()
    whole = largest(*slopes) * largest(*sloped)
    known = [(gradient, value) for gradient, value in zip(gradients, wanted, strict=False) if gradient is not None]
    return Results(
        [*outputs, *(gradient for gradient, _ in known)],
        [0.0] * len(outputs) + [whole / (largest(value) or 1.0) for _, value in known],
    )


def widen(arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return the arguments in float64."""
    return tuple(
        value.double() if isinstance(value, torch.Tensor) and value.is_floating_point() else value
        for value in arguments
    )


def check(spec: Spec, arguments: tuple[Any, ...]) -> None:
    """Hold a kernel to its reference."""
    mine, theirs, truth = (
        evaluate(function, given, spec.constant)
        for function, given in (
            (spec.function, arguments),
            (spec.reference, arguments),
            (spec.reference, widen(arguments)),
        )
    )
    for index, (one, other, exact, magnitude) in enumerate(
        zip(mine.tensors, theirs.tensors, truth.tensors, truth.magnitudes, strict=True)
    ):
        agreement = agree(one, other, exact, magnitude=magnitude)
        assert agreement.right, f"result {index}: {agreement.reason}"


@pytest.mark.parametrize(("spec", "dtype", "variant", "shape"), CASES)
def test_agrees_with_float64(device: Any, spec: Spec, dtype: str, variant: dict[str, Any], shape: Any) -> None:
    check(spec, spec.make(Maker(getattr(torch, dtype), device), shape, **variant))


@pytest.mark.parametrize(("spec", "dtype", "variant"), FIRST)
def test_any_strides(device: Any, spec: Spec, dtype: str, variant: dict[str, Any]) -> None:
    arguments = spec.make(Maker(getattr(torch, dtype), device), spec.strided_shape, **variant)
    for form in (every_other, transposed):
        check(spec, tuple(form(value) if isinstance(value, torch.Tensor) else value for value in arguments))


def every_other(tensor: torch.Tensor) -> torch.Tensor:
    """Return the same values, every other element of a larger tensor."""
    wide = tensor.new_zeros(*tensor.shape[:-1], 2 * tensor.shape[-1]) if tensor.dim() else tensor.clone()
    if tensor.dim():
        wide[..., ::2] = tensor
        return wide[..., ::2]
    return wide


def transposed(tensor: torch.Tensor) -> torch.Tensor:
    """Return the same values with the strides of a transposed tensor."""
    return tensor.mT.contiguous().mT if tensor.dim() > 1 else tensor


def hostile(tensor: torch.Tensor, values: tuple[float, ...]) -> Iterator[torch.Tensor]:
    """Yield tensors that hold what numerical code breaks on, in whole rows and in single places."""
    for value in values:
        spoiled = tensor.clone()
        spoiled[..., :1, :] = value
        yield spoiled
        one = tensor.clone()
        one[..., -1] = value
        yield one


@pytest.mark.parametrize(("spec", "dtype", "variant"), FIRST)
def test_hostile_values_behave_as_in_eager(device: Any, spec: Spec, dtype: str, variant: dict[str, Any]) -> None:
    arguments = spec.make(Maker(getattr(torch, dtype), device), spec.strided_shape, **variant)
    for spoiled in hostile(arguments[0], spec.hostile):
        check(spec, (spoiled, *arguments[1:]))


@pytest.mark.parametrize(("spec", "dtype", "variant"), FIRST)
def test_two_runs_are_equal_to_the_bit(device: Any, spec: Spec, dtype: str, variant: dict[str, Any]) -> None:
    arguments = spec.make(Maker(getattr(torch, dtype), device), spec.strided_shape, **variant)
    results = (evaluate(spec.function, arguments, spec.constant).tensors for _ in range(2))
    for one, other in zip(*results, strict=True):
        assert torch.equal(one, other)
