"""Every kernel against its reference in float64: outputs and gradients, on awkward shapes and on hostile values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch

from perfkit_kernels import KERNELS, Spec
from perfkit_kernels.spec import DTYPES, Maker
from tests.kernels import agreement
from tests.kernels.agreement import evaluate

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


def drawing(spec: Spec, dtype: str, device: Any, shape: Any, variant: dict[str, Any]) -> Callable[[int], Any]:
    """Return what makes arguments of a seed."""
    return lambda seed: spec.make(Maker(getattr(torch, dtype), device, seed), shape, **variant)


def check(spec: Spec, draw: Callable[[int], tuple[Any, ...]]) -> None:
    """Hold a kernel to its reference."""
    agreement.check(spec.function, spec.reference, draw, spec.constant)


@pytest.mark.parametrize(("spec", "dtype", "variant", "shape"), CASES)
def test_agrees_with_float64(device: Any, spec: Spec, dtype: str, variant: dict[str, Any], shape: Any) -> None:
    check(spec, drawing(spec, dtype, device, shape, variant))


@pytest.mark.parametrize(("spec", "dtype", "variant"), FIRST)
def test_any_strides(device: Any, spec: Spec, dtype: str, variant: dict[str, Any]) -> None:
    draw = drawing(spec, dtype, device, spec.strided_shape, variant)
    for form in (every_other, transposed):
        check(spec, agreement.changed(draw, form))


def every_other(_: int, tensor: torch.Tensor) -> torch.Tensor:
    """Return the same values, every other element of a larger tensor."""
    wide = tensor.new_zeros(*tensor.shape[:-1], 2 * tensor.shape[-1]) if tensor.dim() else tensor.clone()
    if tensor.dim():
        wide[..., ::2] = tensor
        return wide[..., ::2]
    return wide


def transposed(_: int, tensor: torch.Tensor) -> torch.Tensor:
    """Return the same values with the strides of a transposed tensor."""
    return tensor.mT.contiguous().mT if tensor.dim() > 1 else tensor


def spoilers(values: tuple[float, ...]) -> Iterator[Callable[[int, torch.Tensor], torch.Tensor]]:
    """Yield what puts into the first tensor what numerical code breaks on: in whole rows, and in single places."""
    for value in values:
        for place in ((..., slice(1), slice(None)), (..., -1)):

            def spoil(index: int, tensor: torch.Tensor, place: Any = place, value: float = value) -> torch.Tensor:
                spoiled = tensor.clone()
                if not index:
                    spoiled[place] = value
                return spoiled

            yield spoil


@pytest.mark.parametrize(("spec", "dtype", "variant"), FIRST)
def test_hostile_values_behave_as_in_eager(device: Any, spec: Spec, dtype: str, variant: dict[str, Any]) -> None:
    draw = drawing(spec, dtype, device, spec.strided_shape, variant)
    for spoil in spoilers(spec.hostile):
        check(spec, agreement.changed(draw, spoil))


@pytest.mark.parametrize(("spec", "dtype", "variant"), FIRST)
def test_two_runs_are_equal_to_the_bit(device: Any, spec: Spec, dtype: str, variant: dict[str, Any]) -> None:
    arguments = spec.make(Maker(getattr(torch, dtype), device), spec.strided_shape, **variant)
    results = (evaluate(spec.function, arguments, spec.constant).tensors for _ in range(2))
    for one, other in zip(*results, strict=True):
        assert torch.equal(one, other)
