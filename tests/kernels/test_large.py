"""More than 2^31 elements: the last rows come out as they do alone. A smaller form of it runs in the interpreter."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pytest
import torch

from perfkit_kernels import KERNELS, Spec
from perfkit_kernels.spec import Maker

if TYPE_CHECKING:
    from collections.abc import Mapping

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")  # the interpreter computes with numpy

LAST = 2
NEEDED_BYTES = 70 << 30


def ends_agree(spec: Spec, maker: Maker, shape: tuple[int, ...], variant: Mapping[str, Any]) -> bool:
    """Whether the last rows of the first dimension come out as they do when nothing stands before them."""
    arguments = spec.make(maker, shape, **variant)
    cut = [
        value[-LAST:] if isinstance(value, torch.Tensor) and value.dim() and value.shape[0] == shape[0] else value
        for value in arguments
    ]
    whole = forward(spec, arguments)
    alone = forward(spec, tuple(cut))
    pairs = [(one[-LAST:], other) for one, other in zip(whole, alone, strict=True) if one.dim()]
    pairs = [(one, other) for one, other in pairs if one.shape == other.shape]
    return bool(pairs) and all(torch.equal(one, other) for one, other in pairs)


def forward(spec: Spec, arguments: tuple[Any, ...]) -> list[torch.Tensor]:
    """Return outputs and, of the same slope for each element, gradients."""
    given = [
        value.detach().requires_grad_(value.is_floating_point() and index not in spec.constant)
        if isinstance(value, torch.Tensor)
        else value
        for index, value in enumerate(arguments)
    ]
    outputs = spec.function(*given)
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    wanted = [value for value in given if isinstance(value, torch.Tensor) and value.requires_grad]
    gradients = torch.autograd.grad(outputs, wanted, [torch.ones_like(y) for y in outputs], allow_unused=True)
    return [*(output.detach() for output in outputs), *(gradient for gradient in gradients if gradient is not None)]


def separable(spec: Spec, device: Any) -> Mapping[str, Any]:
    """Return the first variant whose rows do not depend on each other; skips where there is none."""
    for variant in spec.variants:
        if ends_agree(spec, Maker(torch.float32, device), (5, *spec.strided_shape[1:]), variant):
            return variant
    pytest.skip("rows depend on each other in all its variants")


@pytest.mark.parametrize("spec", KERNELS, ids=lambda spec: spec.name)
def test_offsets_beyond_2_31(device: Any, spec: Spec) -> None:
    variant = separable(spec, device)
    if device.type != "cuda":
        return  # the last rows agreed, which is all that fits in an interpreter
    if torch.cuda.mem_get_info()[0] < NEEDED_BYTES:
        pytest.skip(f"needs {NEEDED_BYTES >> 30} GiB of free GPU memory")
    inner = max(spec.grid, key=math.prod)[1:]
    shape = ((1 << 31) // math.prod(inner) + 3, *inner)
    assert ends_agree(spec, Maker(torch.bfloat16, device), shape, variant)
    torch.cuda.empty_cache()
