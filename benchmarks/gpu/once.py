"""Runs kernels once, forward and backward, for tools that watch: `python -m benchmarks.gpu.once NAME... [--large]`.

With `--large`, on the largest shape of the grid, and only that call is between the marks that Nsight Compute heeds.
"""

from __future__ import annotations

import argparse
import math
from typing import TYPE_CHECKING, Any

import torch

from perfkit_kernels import KERNELS
from perfkit_kernels.spec import Maker

if TYPE_CHECKING:
    from perfkit_kernels import Spec


def differentiable(spec: Spec, arguments: tuple[Any, ...]) -> list[torch.Tensor]:
    """Ask for gradients of what a kernel is differentiable in."""
    return [
        value.requires_grad_()
        for index, value in enumerate(arguments)
        if isinstance(value, torch.Tensor) and value.is_floating_point() and index not in spec.constant
    ]


def once(spec: Spec, arguments: tuple[Any, ...], *, backward: bool) -> None:
    """Call a kernel, and its backward."""
    wanted = differentiable(spec, arguments) if backward else []
    outputs = spec.function(*arguments)
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    sloped = [output for output in outputs if output.requires_grad]
    if sloped and wanted:
        torch.autograd.grad(sloped, wanted, [torch.ones_like(output) for output in sloped], allow_unused=True)


def main() -> None:
    """Run the named kernels, or all."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu.once", description=main.__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--large", action="store_true", help="forward only, on the largest shape, between marks")
    given = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    for spec in KERNELS:
        if given.names and spec.name not in given.names:
            continue
        maker = Maker(torch.bfloat16 if device.type == "cuda" else torch.float32, device)
        if given.large and device.type == "cuda":
            arguments = spec.make(maker, max(spec.grid, key=math.prod), **spec.variants[0])
            once(spec, arguments, backward=False)
            torch.cuda.synchronize()
            torch.cuda.cudart().cudaProfilerStart()
            once(spec, arguments, backward=False)
            torch.cuda.synchronize()
            torch.cuda.cudart().cudaProfilerStop()
        else:
            for shape in spec.shapes[:4]:
                once(spec, spec.make(maker, shape, **spec.variants[0]), backward=True)
        if device.type == "cuda":
            torch.cuda.synchronize()
        print(spec.name, flush=True)


if __name__ == "__main__":
    main()
