"""Triton, or stand-ins under which the kernels' modules can be imported where it is not installed.

Bodies of kernels load bfloat16 and convert it to float32 at once: the interpreter's arithmetic on bfloat16 is wrong.
"""

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import Any, Final

__all__ = ["AVAILABLE", "FAILURES", "INTERPRETING", "cdiv", "jit", "next_power_of_2", "tl"]

try:
    import triton
    import triton.language as tl

    AVAILABLE = True
    FAILURES: tuple[type[Exception], ...] = (triton.TritonError,)
    jit: Any = triton.jit
except ImportError:
    AVAILABLE = False
    FAILURES = ()
    tl = SimpleNamespace(constexpr=object)

    def jit(function: Any = None, **_: Any) -> Any:
        """Leave a kernel as it is: nothing here could run it."""
        return function if function is not None else jit


INTERPRETING: Final = AVAILABLE and os.environ.get("TRITON_INTERPRET") == "1"
"""Whether Triton runs kernels in its interpreter, which works on tensors of the CPU."""


def cdiv(size: int, part: int) -> int:
    """Return how many parts it takes to hold a size."""
    return -(-size // part)


def next_power_of_2(size: int) -> int:
    """Return the smallest power of two that is no less than a size."""
    return 1 << max(size - 1, 0).bit_length()
