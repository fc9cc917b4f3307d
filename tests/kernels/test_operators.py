"""Kernels as PyTorch operators: tracing, compiling, exporting, differentiating twice, autocast."""

from __future__ import annotations

import inspect
import math
from typing import Any

import pytest
import torch
from torch.utils.checkpoint import checkpoint

from perfkit_kernels import KERNELS, Spec
from perfkit_kernels.spec import Maker
from tests.kernels.agreement import Calls, differentiable, evaluate

EACH = [
    pytest.param(spec, variant, id=f"{spec.name}-{list(variant.values())}")
    for spec in KERNELS
    for variant in spec.variants
]


def arguments_of(spec: Spec, variant: dict[str, Any], dtype: torch.dtype = torch.float32) -> tuple[Any, ...]:
    """Return arguments whose gradients are wanted."""
    made = spec.make(Maker(dtype), spec.strided_shape, **variant)
    return tuple(differentiable(made, spec.constant))


def evaluated(spec: Spec, function: Any, arguments: tuple[Any, ...]) -> list[torch.Tensor]:
    """Return what a function gives, and its gradients."""
    return evaluate(function, arguments, spec.constant).tensors


@pytest.fixture
def as_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have tensors of the CPU take the way that tensors of a GPU take, with the operators' plain kernels."""
    for spec in KERNELS:
        module = inspect.getmodule(spec.function)
        monkeypatch.setattr(module, "usable", lambda *_: True)


def close(mine: list[torch.Tensor], theirs: list[torch.Tensor]) -> None:
    """Hold results in float32 to each other."""
    assert len(mine) == len(theirs)
    for one, other in zip(mine, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_the_names_are_sorted_and_those_of_the_functions() -> None:
    names = [spec.name for spec in KERNELS]
    assert names == sorted(set(names))
    assert names == [spec.function.__name__ for spec in KERNELS]


@pytest.mark.parametrize(("spec", "variant"), EACH)
@pytest.mark.usefixtures("as_on_a_gpu")
def test_the_operator_is_what_the_reference_is(spec: Spec, variant: dict[str, Any]) -> None:
    arguments = arguments_of(spec, variant)
    close(
        evaluated(spec, spec.function, arguments),
        evaluated(spec, spec.reference, arguments),
    )


@pytest.mark.parametrize(("spec", "variant"), EACH)
@pytest.mark.usefixtures("as_on_a_gpu")
def test_opcheck(spec: Spec, variant: dict[str, Any]) -> None:
    with Calls() as calls:
        evaluated(spec, spec.function, arguments_of(spec, variant))
    assert calls.made
    assert {str(function.name()) for function, _ in calls.made} <= set(spec.operators)
    calls.check()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch itself, while it traces
@pytest.mark.parametrize(("spec", "variant"), EACH)
@pytest.mark.usefixtures("as_on_a_gpu")
def test_compiled_whole(spec: Spec, variant: dict[str, Any]) -> None:
    arguments = arguments_of(spec, variant)
    compiled = torch.compile(spec.function, fullgraph=True, backend="aot_eager")
    close(evaluated(spec, compiled, arguments), evaluated(spec, spec.function, arguments))


@pytest.mark.parametrize("spec", KERNELS, ids=lambda spec: spec.name)
@pytest.mark.usefixtures("as_on_a_gpu")
def test_exported(spec: Spec) -> None:
    class Model(torch.nn.Module):
        def forward(self, *tensors: torch.Tensor) -> Any:
            given = iter(tensors)
            return spec.function(*(next(given) if isinstance(value, torch.Tensor) else value for value in arguments))

    arguments = tuple(
        value.detach() if isinstance(value, torch.Tensor) else value
        for value in arguments_of(spec, dict(spec.variants[0]))
    )
    tensors = tuple(value for value in arguments if isinstance(value, torch.Tensor))
    program = torch.export.export(Model(), tensors)
    assert any("perfkit" in str(node.target) for node in program.graph.nodes)
    one, other = program.module()(*tensors), spec.function(*arguments)
    close(list(one) if isinstance(one, tuple) else [one], list(other) if isinstance(other, tuple) else [other])


@pytest.mark.parametrize("spec", KERNELS, ids=lambda spec: spec.name)
@pytest.mark.usefixtures("as_on_a_gpu")
def test_checkpointed_and_functional(spec: Spec) -> None:
    arguments = arguments_of(spec, dict(spec.variants[0]))
    expected = evaluated(spec, spec.function, arguments)
    again = evaluated(spec, lambda *given: checkpoint(spec.function, *given, use_reentrant=False), arguments)
    close(again, expected)

    def total(value: torch.Tensor) -> torch.Tensor:
        outputs = spec.function(value, *arguments[1:])
        first: torch.Tensor = outputs[0] if isinstance(outputs, tuple) else outputs
        return (first.square() / math.sqrt(max(1, first.numel()))).sum()

    slope = torch.autograd.grad(total(arguments[0]), arguments[0])[0]
    torch.testing.assert_close(torch.func.grad(total)(arguments[0].detach()), slope, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("spec", "variant"), EACH)
@pytest.mark.usefixtures("as_on_a_gpu")
def test_second_derivatives_are_those_of_the_reference(spec: Spec, variant: dict[str, Any]) -> None:
    arguments = arguments_of(spec, variant)

    def penalty(function: Any) -> torch.Tensor:
        outputs = function(*arguments)
        first = outputs[0] if isinstance(outputs, tuple) else outputs
        slope = torch.autograd.grad(first.square().sum(), arguments[0], create_graph=True)[0]
        return torch.autograd.grad(slope.square().sum(), arguments[0])[0]

    torch.testing.assert_close(penalty(spec.function), penalty(spec.reference), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(("spec", "variant"), EACH)
@pytest.mark.usefixtures("as_on_a_gpu")
def test_halves_beside_float32_give_the_dtypes_of_the_reference(spec: Spec, variant: dict[str, Any]) -> None:
    arguments = arguments_of(spec, variant)
    mixed = (arguments[0].detach().to(torch.bfloat16).requires_grad_(), *arguments[1:])
    results = []
    for function in (spec.function, spec.reference):
        with torch.autocast("cpu", torch.bfloat16):
            results.append([(tensor.dtype, tensor.shape) for tensor in evaluated(spec, function, mixed)])
    assert results[0] == results[1]


@pytest.mark.parametrize("spec", KERNELS, ids=lambda spec: spec.name)
def test_on_a_cpu_it_is_the_reference(spec: Spec) -> None:
    arguments = arguments_of(spec, dict(spec.variants[0]))
    for one, other in zip(
        evaluated(spec, spec.function, arguments),
        evaluated(spec, spec.reference, arguments),
        strict=True,
    ):
        assert torch.equal(one, other)
