"""What a kernel's file says about itself: enough for others to test, compile and benchmark it without knowing it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import torch

__all__ = ["DTYPES", "Compilation", "Maker", "Spec", "Traffic", "pointer"]

DTYPES = ("float32", "float16", "bfloat16")
"""What every kernel takes."""


def pointer(dtype: str) -> str:
    """Return what Triton calls a pointer to a dtype of ``DTYPES``."""
    return {"float32": "*fp32", "float16": "*fp16", "bfloat16": "*bf16"}[dtype]


class Traffic(NamedTuple):
    """Bytes that must cross the memory bus at least, each tensor read or written once."""

    forward: int
    backward: int


class Compilation(NamedTuple):
    """One specialisation of a Triton function, to be compiled where there is no GPU.

    Attributes:
        label: What it is, such as ``forward 1x8192``.
        kernel: The function decorated by `jit`.
        types: Types of its run-time arguments, such as ``*bf16``, ``i32``, ``fp32``.
        constants: Its compile-time arguments.
        warps: How many warps it is launched with.
        vectorised: Whether loads of it have to be of 16 bytes.
    """

    label: str
    kernel: Any
    types: Mapping[str, str]
    constants: Mapping[str, Any]
    warps: int
    vectorised: bool = True


class Maker:
    """Makes tensors of one dtype on one device, the same ones for the same seed."""

    def __init__(self, dtype: torch.dtype, device: str | torch.device = "cpu", seed: int = 0) -> None:
        import torch

        self.dtype, self.device = dtype, torch.device(device)
        self._random = torch.Generator(self.device).manual_seed(seed)

    def normal(self, *shape: int, scale: float = 1.0, dtype: torch.dtype | None = None) -> torch.Tensor:
        """Return normally distributed values."""
        import torch

        values = torch.randn(shape, generator=self._random, device=self.device, dtype=torch.float32) * scale
        return values.to(dtype or self.dtype)

    def integers(self, high: int, *shape: int) -> torch.Tensor:
        """Return int64 values of ``[0, high)``."""
        import torch

        return torch.randint(high, shape, generator=self._random, device=self.device)


class Spec(NamedTuple):
    """One kernel.

    Attributes:
        name: Its name, that of its file and of its public function.
        title: What it computes, in a few words.
        source: Where its mathematics is from.
        function: The public function; differentiable, and falls back to the reference where the kernel cannot be used.
        reference: The same in plain PyTorch operators, as a model would write it.
        make: Makes the arguments of a shape: tensors, numbers, flags. Called as ``make(maker, shape, **variant)``.
        shapes: Shapes that are awkward: of length one, prime, of four dimensions, empty, wider than a block.
        variants: Keyword arguments of ``make``, each another form of the operation.
        grid: Shapes to measure, from small to such that move 256 MB and more.
        traffic: The bytes that must be moved, of the arguments that ``make`` returned.
        compilations: What to compile ahead of time, for a dtype of ``DTYPES``.
        operators: Qualified names of the PyTorch operators it registers, forward first.
        constant: Positions of floating-point tensors of which the kernel gives no gradient.
        strided_shape: A shape of at least two dimensions for tests of strides and of hostile values.
        hostile: Values that it has to treat as the reference does, wherever they stand.
        bandwidth_bound: Whether moving bytes is what takes its time.
        rivals: Other implementations by name: native modules of PyTorch with the same arguments.
    """

    name: str
    title: str
    source: str
    function: Callable[..., Any]
    reference: Callable[..., Any]
    make: Callable[..., tuple[Any, ...]]
    shapes: tuple[tuple[int, ...], ...]
    variants: tuple[Mapping[str, Any], ...]
    grid: tuple[tuple[int, ...], ...]
    traffic: Callable[..., Traffic]
    compilations: Callable[[str], Iterator[Compilation]]
    operators: tuple[str, ...]
    constant: tuple[int, ...] = ()
    hostile: tuple[float, ...] = (0.0, 1e4, -1e4, math.nan, math.inf, -math.inf)
    bandwidth_bound: bool = True
    strided_shape: tuple[int, ...] = (3, 4, 48)
    rivals: Mapping[str, Callable[..., Any]] = {}
