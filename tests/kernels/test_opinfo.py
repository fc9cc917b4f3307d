"""Kernels on the arguments that PyTorch tests its own operators with (OpInfo), wherever they take such arguments.

Of each operator those samples are taken that a kernel computes: over the last dimension, with class indices for
targets, without weights of samples or classes. A generated kernel is made for the operators that are pointwise or
reduce the last dimension.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812  as everybody does

from perfkit_kernels.bias_gelu import bias_gelu
from perfkit_kernels.cross_entropy import cross_entropy
from perfkit_kernels.embedding_bag import embedding_bag
from perfkit_kernels.gated_activation import gated_activation
from perfkit_kernels.generate import Generated, Refusal, generate
from perfkit_kernels.group_norm_silu import group_norm_silu
from perfkit_kernels.layer_norm import layer_norm
from perfkit_kernels.rms_norm import rms_norm
from perfkit_kernels.softmax import softmax
from tests.kernels.agreement import check, differentiable

if TYPE_CHECKING:
    from collections.abc import Callable

pytest.importorskip("expecttest", reason="PyTorch's own tests need expecttest")
from torch.testing._internal.common_methods_invocations import op_db

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")  # the interpreter computes with numpy

OPERATORS = {(op.name, op.variant_test_name): op for op in op_db}
DTYPES = (torch.float32, torch.bfloat16)
Adapted = tuple["Callable[..., Any]", "Callable[..., Any]", tuple[Any, ...]]


def of_softmax(sample: Any) -> Adapted | None:
    x, (dim,) = sample.input, sample.args
    return (softmax, lambda x: torch.softmax(x, -1), (x,)) if x.dim() and dim in {-1, x.dim() - 1} else None


def of_layer_norm(sample: Any) -> Adapted | None:
    shape, *parameters = sample.args
    weight, bias = [*parameters, None, None][:2]
    eps = sample.kwargs.get("eps", 1e-5)
    given = (sample.input, weight, bias)
    reference = lambda x, w, b: F.layer_norm(x, shape, w, b, eps)  # noqa: E731
    return (lambda x, w, b: layer_norm(x, w, b, eps), reference, given) if len(shape) == 1 else None


def of_rms_norm(sample: Any) -> Adapted | None:
    shape, *parameters = sample.args
    eps = sample.kwargs.get("eps", 1e-5)
    given = (sample.input, *[*parameters, None][:1])
    function = lambda x, w: rms_norm(x, w, eps, "torch")  # noqa: E731
    return (function, lambda x, w: F.rms_norm(x, shape, w, eps), given) if len(shape) == 1 else None


def of_cross_entropy(sample: Any) -> Adapted | None:
    (target,), options = sample.args, sample.kwargs
    if sample.input.dim() > 2 or target.is_floating_point() or "weight" in options:
        return None
    function = lambda x, t: cross_entropy(x, t, **options)  # noqa: E731
    reference = lambda x, t: F.cross_entropy(x.to(torch.promote_types(x.dtype, torch.float32)), t, **options)  # noqa: E731
    return function, reference, (sample.input, target)


def of_gelu(sample: Any) -> Adapted:
    how = sample.kwargs["approximate"]
    name = "gelu_tanh" if how == "tanh" else "gelu"
    return lambda x: bias_gelu(x, None, name), lambda x: F.gelu(x, approximate=how), (sample.input,)


def of_silu(sample: Any) -> Adapted:
    return lambda x: gated_activation(x, torch.ones_like(x)), F.silu, (sample.input,)


def of_group_norm(sample: Any) -> Adapted | None:
    (groups,), options = sample.args, sample.kwargs
    if "weight" not in options or "bias" not in options:
        return None
    given, eps = (sample.input, options["weight"], options["bias"]), options.get("eps", 1e-5)
    function = lambda x, w, b: group_norm_silu(x, groups, w, b, eps)  # noqa: E731
    return function, lambda x, w, b: F.silu(F.group_norm(x, groups, w, b, eps)), given


def of_embedding_bag(sample: Any) -> Adapted | None:
    (indices,), options = sample.args, sample.kwargs
    sums = options.get("mode") == "sum" and options.keys() <= {"mode", "per_sample_weights"}
    if not sums or indices.dim() != 2 or indices.dtype != torch.int64:
        return None
    return embedding_bag, lambda w, i: F.embedding_bag(i, w, mode="sum"), (sample.input, indices)


ADAPTERS: dict[str, Callable[[Any], Adapted | None]] = {
    "nn.functional.cross_entropy": of_cross_entropy,
    "nn.functional.embedding_bag": of_embedding_bag,
    "nn.functional.gelu": of_gelu,
    "nn.functional.group_norm": of_group_norm,
    "nn.functional.layer_norm": of_layer_norm,
    "nn.functional.rms_norm": of_rms_norm,
    "nn.functional.silu": of_silu,
    "softmax": of_softmax,
}
GENERATED = (
    "add", "clamp", "exp", "expm1", "lerp", "log_softmax", "logsumexp", "mean", "nn.functional.elu",
    "nn.functional.gelu",
    "nn.functional.hardswish", "nn.functional.layer_norm", "nn.functional.logsigmoid", "nn.functional.mish",
    "nn.functional.rms_norm", "nn.functional.softplus", "reciprocal", "sigmoid", "softmax", "sub", "tanh", "var",
    "where",
)  # fmt: skip


def samples(name: str, device: Any, dtype: torch.dtype, seed: int) -> list[Any]:
    """Return PyTorch's own samples of an operator, of a seed."""
    torch.manual_seed(seed)
    return list(OPERATORS[name, ""].sample_inputs(device, dtype))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", ADAPTERS)
def test_kernels(device: Any, name: str, dtype: torch.dtype) -> None:
    adapt, done = ADAPTERS[name], 0
    for index, sample in enumerate(samples(name, device, dtype, 0)):
        adapted = adapt(sample)
        if adapted is None:
            continue

        def draw(seed: int, index: int = index) -> tuple[Any, ...]:
            again = adapt(samples(name, device, dtype, seed)[index])
            assert again is not None
            return again[2]

        check(*adapted[:2], draw)
        done += 1
    assert done


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", GENERATED)
def test_generated(device: Any, name: str, dtype: torch.dtype) -> None:
    refused, done = set[str](), 0
    for index, sample in enumerate(itertools.islice(samples(name, device, dtype, 0), 4)):
        places = [place for place, value in enumerate(sample.args) if isinstance(value, torch.Tensor)]

        def function(x: torch.Tensor, *tensors: torch.Tensor, sample: Any = sample, places: Any = tuple(places)) -> Any:
            args = [*sample.args]
            for place, tensor in zip(places, tensors, strict=True):
                args[place] = tensor
            return OPERATORS[name, ""].op(x, *args, **sample.kwargs)

        def draw(seed: int, index: int = index, places: Any = tuple(places)) -> tuple[Any, ...]:
            again = samples(name, device, dtype, seed)[index]
            return (again.input, *(again.args[place] for place in places))

        module = generate(function, differentiable(draw(0)))
        if isinstance(module, Refusal):
            refused.add(module.name)
            continue
        assert isinstance(module, Generated)
        check(module, function, draw)
        done += 1
    assert done, refused
    assert refused <= {"alias", "reductions", "shape"}, refused
